"""A network in memory: sockets with delays, short reads and writes, resets and half-closes, and selectors on them.

What one end sends arrives in its order; between connections there is none. A cut cable swallows what is under way, and
nobody is told; a reset tells. Must not know what is said.
"""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Callable
from typing import Any

from tests.proofs.sim.machine import Machine
from tests.proofs.sim.nodes import Process, failed

PORT = 1_234
_FIN = b""
Woken = Callable[[], None]


class Network:
    """Who listens, and how things are on the way. `trouble`: how likely a connection breaks at each thing sent."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.listener: Listener | None = None
        self.silent = False  # the server's machine is off: whoever calls hears nothing at all
        self.trouble = 0.0
        self.room = 65_536  # bytes that are on the way, or not read yet, at most
        self.connections: list[tuple[End, End]] = []
        self.broke_silently = False

    def delay(self) -> float:
        return self.machine.chance.choice((0.0001, 0.0005, 0.003, 0.02))

    def cut_all(self, silently: bool) -> None:
        """The server is gone; what it has sent arrives, in part."""
        for ends in self.connections:
            for end in ends:
                end.cut(silently)
        self.connections.clear()


class End:
    """One end of a connection: a socket. `woken` is called when it may be ready for something."""

    family = socket.AF_INET

    def __init__(self, network: Network, process: Process, woken: Woken, address: str) -> None:
        self._network, self._machine, self._process = network, network.machine, process
        self.address, self._woken = address, woken
        self._fd = process.give(self)
        self.other: End | None = None
        self._here = bytearray()  # arrived
        self._error = 0
        self._over = False  # the other sends no more
        self._under_way = 0  # bytes
        self._arrives = 0.0  # when the last of it does
        self._connecting = self._shut = self.closed = self._cut = False

    # As a socket.

    def fileno(self) -> int:
        return -1 if self.closed else self._fd

    def setblocking(self, _: bool) -> None: ...

    def setsockopt(self, *_: object) -> None: ...

    def getsockopt(self, _level: int, _what: int) -> int:
        error, self._error = self._error, 0
        return error

    def getpeername(self) -> tuple[str, int]:
        if self.other is None or self.closed:
            raise failed(errno.ENOTCONN)
        return self.other.address, PORT

    def getsockname(self) -> tuple[str, int]:
        return self.address, PORT

    def connect_ex(self, _place: object) -> int:
        self._connecting = True
        network = self._network
        if network.silent:
            return errno.EINPROGRESS
        self._machine.later(network.delay(), self._connected)
        return errno.EINPROGRESS

    def _connected(self) -> None:
        listener = self._network.listener
        if self.closed:
            return
        self._connecting = False
        if listener is None:
            self._error = errno.ECONNREFUSED
        else:
            self.other = End(self._network, listener.process, self._machine.wake_server, "10.0.0.254")
            self.other.other = self
            self._network.connections.append((self, self.other))
            listener.pending.append(self.other)
            self._machine.wake_server()
        self._machine.note("connects", self.address, self._error)
        self._woken()

    def send(self, data: Any) -> int:
        self._machine.step("send", len(data))
        if self._error or self._shut or self.closed or self.other is None:
            raise failed(self._error or errno.EPIPE)
        room = self._network.room - self._under_way - len(self.other._here)
        if room <= 0:
            raise BlockingIOError(errno.EAGAIN, "full")
        chance = self._machine.chance
        count = min(room, len(data))
        if count > 1 and chance.random() < 0.1:
            count = chance.randint(1, count)
        if chance.random() < self._network.trouble:
            self._cut = True  # nothing behind what is lost may arrive
            self.break_(chance.random() < 0.3)
            return count
        self._on_the_way(bytes(data[:count]))
        return count

    def sendmsg(self, pieces: Any) -> int:
        return self.send(b"".join(bytes(piece) for piece in pieces))

    def _on_the_way(self, data: bytes) -> None:
        chance, machine = self._machine.chance, self._machine
        if self._cut:
            return
        cuts = [chance.randint(1, len(data))] if len(data) > 1 and chance.random() < 0.1 else []
        for piece in (data[: cuts[0]], data[cuts[0] :]) if cuts else (data,):
            self._arrives = max(self._arrives, machine.now + self._network.delay())
            self._under_way += len(piece)
            machine.later(self._arrives - machine.now, lambda piece=piece: self._arrive(piece))  # type: ignore[misc]

    def _arrive(self, piece: bytes) -> None:
        other = self.other
        if self._cut or other is None:
            return
        self._under_way -= len(piece)
        if other.closed:
            self.reset()
            return
        if piece:
            other._here += piece
        else:
            other._over = True
        self._machine.note("arrives", other.address, len(piece), piece[:60])
        other._woken()
        self._woken()  # there is room again, perhaps

    def recv(self, size: int) -> bytes:
        self._machine.step("recv")
        if self._here:
            chance = self._machine.chance
            count = min(size, len(self._here))
            if count > 1 and chance.random() < 0.1:
                count = chance.randint(1, count)
            data = bytes(self._here[:count])
            del self._here[:count]
            if self.other is not None:
                self.other._woken()
            return data
        if self._error:
            raise ConnectionResetError(self._error, "reset")
        if self._over:
            return b""
        raise BlockingIOError(errno.EAGAIN, "nothing")

    def recv_into(self, buffer: Any) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def shutdown(self, _how: int) -> None:
        if self.other is None or self._error:
            raise failed(errno.ENOTCONN)
        if not self._shut:
            self._shut = True
            if not self._cut:
                self._on_the_way(_FIN)

    def close(self) -> None:
        if self.closed:
            return
        if self.other is not None and not self._error:
            if self._here:
                self.reset(mine=False)
            elif not self._shut:
                self.shutdown(socket.SHUT_WR)
        self.closed = True
        if not self._process.over and self._process.open.get(self._fd) is self:
            self._process.close(self._fd)

    # What befalls it.

    def reset(self, mine: bool = True, wake: bool = True) -> None:
        """The other end (or `mine`) learns that the connection is no more."""
        end = self if mine else self.other
        if end is not None and not end.closed:
            end._error = errno.ECONNRESET
            if wake:
                self._machine.later(self._network.delay(), end._woken)

    def break_(self, silently: bool) -> None:
        """The connection breaks, in the middle of what is sent."""
        self._machine.note("breaks", self.address, silently)
        for end in (self, self.other):
            if end is not None:
                end.cut(silently)

    def cut(self, silently: bool) -> None:
        """Nothing arrives from here any more, but for what has."""
        self._network.broke_silently |= silently
        if self._machine.chance.random() < 0.5:
            self._cut = True
        elif not self._cut:
            self._machine.later(0.05, lambda: setattr(self, "_cut", True))
        if not silently:
            self._machine.later(0.06, self.reset)

    # As a channel.

    @property
    def readable(self) -> bool:
        return bool(self._here or self._over or self._error)

    @property
    def writable(self) -> bool:
        if self._connecting or self.closed:
            return False
        if self._error or self.other is None:
            return True
        return self._network.room - self._under_way - len(self.other._here) > 0


class Listener:
    """The server's listening socket."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network, self.process = network, process
        self._fd = process.give(self)
        self.pending: list[End] = []
        self.closed = False
        network.listener = self

    def fileno(self) -> int:
        return -1 if self.closed else self._fd

    def setblocking(self, _: bool) -> None: ...

    def getsockname(self) -> tuple[str, int]:
        return "10.0.0.254", PORT

    def accept(self) -> tuple[End, tuple[str, int]]:
        if not self.pending:
            raise BlockingIOError(errno.EAGAIN, "nobody")
        end = self.pending.pop(0)
        assert end.other is not None
        return end, (end.other.address, PORT)

    def close(self) -> None:
        self.closed = True
        if self._network.listener is self:
            self._network.listener = None
        for end in self.pending:
            end.close()
        if not self.process.over:
            self.process.close(self._fd)

    @property
    def readable(self) -> bool:
        return bool(self.pending)

    writable = False


class Flag:
    """A descriptor that is readable when there is an answer: of a syncer, say."""

    writable = False

    def __init__(self, process: Process) -> None:
        self.fd = process.give(self)
        self.count = 0

    @property
    def readable(self) -> bool:
        return self.count > 0


class Selector:
    """As a selector. `waits`: it lets events happen until something is ready, as the server's does."""

    def __init__(self, machine: Machine) -> None:
        assert machine.process is not None
        self._machine, self._process = machine, machine.process
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._waits = machine.process is machine.server

    def register(self, fd: int, events: int, data: Any = None) -> None:
        assert fd not in self._keys and fd in self._process.open, fd
        self._keys[fd] = selectors.SelectorKey(fd, fd, events, data)

    def modify(self, fd: int, events: int, data: Any = None) -> None:
        self._keys[fd] = selectors.SelectorKey(fd, fd, events, data)

    def unregister(self, fd: int) -> None:
        del self._keys[fd]

    def get_map(self) -> dict[int, selectors.SelectorKey]:
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        machine = self._machine
        if not self._waits:
            return self._ready()
        machine.step("tick")
        machine.pass_time(machine.chance.choice((2e-5, 1e-4, 1e-3)))  # a tick takes a while
        until = float("inf") if timeout is None else machine.now + timeout
        while not (ready := self._ready()):
            machine.server_woken = False
            while machine.happen(until):
                if machine.server_woken:
                    break
            else:
                assert until < float("inf"), "nothing will ever happen"
                break
        machine.chance.shuffle(ready)
        return ready

    def _ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        found, opened = [], self._process.open
        for fd, key in self._keys.items():
            one = opened.get(fd)
            assert one is not None, f"descriptor {fd} was closed, and is still watched"
            events = (key.events & selectors.EVENT_READ and one.readable and selectors.EVENT_READ) or 0
            if key.events & selectors.EVENT_WRITE and one.writable:
                events |= selectors.EVENT_WRITE
            if events:
                found.append((key, events))
        return found

    def close(self) -> None:
        self._keys.clear()
