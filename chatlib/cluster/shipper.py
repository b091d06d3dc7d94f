"""The vault of a server that shares its world: a child carries blobs between its disk and the engine.

The child is forked before there is a socket, like the others (:mod:`chatlib.storage.child`): the loop moves no bytes,
and waits for no engine. It has a loop and a link of its own. It gets tasks with a descriptor over a socket pair, and
answers each when it is done, in any order. What the engine wants to be told of us comes to it by the fork.

Two who want one blob fetch it once. A fetched blob is written beside, and named when it is right and synced. Must not
know what a blob is for. Legal order: built → ``put``, ``fetch`` and the loop's calls → ``close``.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import traceback
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from itertools import count
from typing import NamedTuple

from chatlib.cluster.blobs import Mover
from chatlib.cluster.link import EngineLink
from chatlib.cluster.vault import Awaiting, Carried, Outcome, of_disk
from chatlib.protocol.nats import Engine
from chatlib.reactor.loop import READ, Loop
from chatlib.storage.blobs import Blobs
from chatlib.storage.child import Child, ChildDied

_TASK = struct.Struct("=QBQ32s64s")
_ANSWER = struct.Struct("=QBi120s")
AT_ONCE = 64  # tasks that the child has; more wait here
_TICK = 0.1  # seconds
LINGERS = 600.0  # seconds that bytes stay which nobody needs: who fetches them now gets them


class Haul(IntEnum):
    """Which way."""

    PUT = 0  # from the descriptor into the engine
    FETCH = 1  # from there into the descriptor's empty file
    DROP = 2  # nowhere


class Cargo(NamedTuple):
    """One task."""

    number: int
    haul: Haul
    size: int
    sha256: str  # of what is fetched
    blob: str

    def pack(self) -> bytes:
        """As the child gets it."""
        return _TASK.pack(self.number, self.haul, self.size, bytes.fromhex(self.sha256), self.blob.encode())


class Shipper(Child):
    """Legal order: (``start``, and ``ready`` each time that `fileno` is readable)*; ``close`` at the end.

    At most AT_ONCE tasks may be under way.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__("carrying", partial(_serve, engine))

    def start(self, fd: int, cargo: Cargo) -> None:
        """The descriptor may be closed at once. Raises OSError; ChildDied."""
        self._send(cargo.pack(), (fd,))

    def ready(self) -> tuple[int, Carried]:
        """The number of a task that is over, and how; waits for one. Raises ChildDied."""
        number, outcome, error, text = _ANSWER.unpack(self._receive(_ANSWER.size))
        return number, Carried(Outcome(outcome), error, text.rstrip(b"\0").decode(errors="replace"))


# In the child.


def _serve(engine: Engine, pipe: socket.socket) -> None:
    loop = Loop(_fault)
    link = EngineLink(loop, engine)
    hold = _Hold(loop, pipe, Mover(link, engine.name))
    loop.watch(pipe.fileno(), READ, hold)
    loop.run()


def _fault(fault: BaseException) -> None:
    traceback.print_exception(fault)
    os._exit(1)  # the parent says so


class _Hold:
    """The child's end of the pipe, as a channel of its loop."""

    def __init__(self, loop: Loop, pipe: socket.socket, mover: Mover) -> None:
        self._loop, self._pipe, self._mover = loop, pipe, mover
        self._ticks = False

    def readable(self) -> None:
        record, fds, _, _ = socket.recv_fds(self._pipe, _TASK.size, 1)
        if not fds:
            self._loop.stop()
            return
        number, haul, size, sha256, blob = _TASK.unpack(record)
        name, done = blob.rstrip(b"\0").decode(), partial(self._done, number, fds[0])
        if haul == Haul.PUT:
            self._mover.put(name, fds[0], size, done)
        elif haul == Haul.FETCH:
            self._mover.fetch(name, fds[0], size, sha256.hex(), done)
        else:
            self._mover.drop(name, done)
        if not self._ticks:
            self._tick()

    def _tick(self) -> None:
        self._mover.tick()
        self._ticks = self._mover.busy
        if self._ticks:
            self._loop.call_later(_TICK, self._tick)

    def _done(self, number: int, fd: int, ended: Carried) -> None:
        os.close(fd)
        self._pipe.sendall(_ANSWER.pack(number, ended.outcome, ended.error, ended.text.encode()[:120]))

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...


# At the server's loop.


class SharedVault:
    """One channel of the server's loop."""

    def __init__(
        self, loop: Loop, shipper: Shipper, blobs: Blobs, tell: Callable[[str], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:  # fmt: skip
        self._loop, self._shipper, self._blobs, self._tell = loop, shipper, blobs, tell
        self._on_fault = on_fault
        self._numbers = count(1)
        self._under_way: dict[int, Callable[[Carried], None]] = {}  # by the number of a task
        self._waiting: deque[tuple[int, Cargo]] = deque()  # with descriptors of ours
        self._fetches: dict[str, list[Awaiting]] = {}  # who waits for a blob
        self._expected = 0  # bytes of them
        self._unneeded: deque[tuple[float, str]] = deque()  # until when each blob lingers
        self._dead = False
        loop.watch(shipper.fileno(), READ, self)

    def put(self, blob: str, fd: int, size: int, owner: Awaiting) -> None:
        """See Vault."""
        self._start(os.dup(fd), Cargo(0, Haul.PUT, size, "", blob), partial(self._tell_owner, owner))

    def fetch(self, blob: str, size: int, sha256: str, owner: Awaiting) -> None:
        """See Vault."""
        if blob in self._fetches:
            self._fetches[blob].append(owner)
            return
        try:
            if size + self._expected > self._blobs.room():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fd = self._blobs.coming(blob)
        except OSError as error:
            owner.carried(of_disk(error))
            return
        self._fetches[blob] = [owner]
        self._expected += size
        self._start(fd, Cargo(0, Haul.FETCH, size, sha256, blob), partial(self._fetched, blob, size))

    def _fetched(self, blob: str, size: int, ended: Carried) -> None:
        owners = self._fetches.pop(blob)
        self._expected -= size
        try:
            self._blobs.came(blob, ended.outcome is Outcome.DONE)
        except OSError as error:
            ended = of_disk(error)
        for owner in owners:
            self._tell_owner(owner, ended)
        self._blobs.done_with(blob)

    def _tell_owner(self, owner: Awaiting, ended: Carried) -> None:
        try:
            owner.carried(ended)
        except Exception as fault:
            self._on_fault(fault)
            owner.broken()

    def drop(self, blob: str) -> None:
        """See Vault. What is forgotten by a stop, a sweep finds."""
        if not self._unneeded:
            self._loop.call_later(LINGERS, self._drop_due)
        self._unneeded.append((self._loop.now + LINGERS, blob))

    def _drop_due(self) -> None:
        while self._unneeded and self._unneeded[0][0] <= self._loop.now:
            if len(self._under_way) >= AT_ONCE:  # whoever waits comes first
                self._loop.call_later(1.0, self._drop_due)
                return
            nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self._start(nothing, Cargo(0, Haul.DROP, 0, "", self._unneeded.popleft()[1]), lambda ended: None)
        if self._unneeded:
            self._loop.call_at(self._unneeded[0][0], self._drop_due)

    def _start(self, fd: int, cargo: Cargo, over: Callable[[Carried], None]) -> None:
        number = next(self._numbers)
        self._under_way[number] = over
        self._waiting.append((fd, cargo._replace(number=number)))
        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting and len(self._under_way) - len(self._waiting) < AT_ONCE and not self._dead:
            fd, cargo = self._waiting.popleft()
            try:
                self._shipper.start(fd, cargo)
            except ChildDied:
                self._die()
            except OSError as error:
                self._under_way.pop(cargo.number)(of_disk(error))
            finally:
                os.close(fd)
        if self._dead:
            self._end_all()

    def readable(self) -> None:
        try:
            number, ended = self._shipper.ready()
        except ChildDied:
            self._die()
            self._end_all()
            return
        self._under_way.pop(number)(ended)
        self._hand_over()

    def _die(self) -> None:
        """No more answers will come. The chat goes on."""
        self._dead = True
        self._loop.forget(self._shipper.fileno(), self)
        self._tell("The child that carries files to the other servers has died: until this one is started again, it "
                   "takes no more files, and gives none that came to another.")  # fmt: skip

    def _end_all(self) -> None:
        self._drop_waiting()
        while self._under_way:
            _, over = self._under_way.popitem()
            over(Carried(Outcome.DEAD))

    def _drop_waiting(self) -> None:
        while self._waiting:
            os.close(self._waiting.popleft()[0])

    def close(self) -> None:
        """See Vault."""
        self._drop_waiting()
        self._under_way.clear()
        self._shipper.close()

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...
