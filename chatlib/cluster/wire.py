"""One connection to one place: bytes out and in, watched by a loop, or by whoever asks what it waits for.

Must not know what the bytes mean. Order: ``opened`` → ``received``* → ``over``, the last once at most, and after
``close`` none of them; nobody is called from ``send`` or ``close``. Invariant: what is not read waits in the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections import deque
from collections.abc import Callable

from chatlib.cluster.lookup import Where
from chatlib.reactor.loop import READ, WRITE, Loop

RECEIVE = 65_536  # bytes asked of the kernel at once
GATHER = 64  # pieces of what waits that are sent with one call


class EngineWire:
    """Calls `where`. Raises OSError when one knows at once that nobody is there."""

    def __init__(
        self,
        loop: Loop | None,
        where: Where,
        opened: Callable[[], object],
        received: Callable[[bytes], object],
        over: Callable[[str], object],
    ) -> None:
        self.events = WRITE  # what it waits for
        self.backlog_size = 0  # bytes that the kernel has not taken
        self.doomed = ""  # why nothing can be sent any more: `over` comes when somebody reads
        self._loop, self._opened, self._received, self._over = loop, opened, received, over
        self._open = False
        self._reads = True
        self._backlog: deque[bytes | memoryview] = deque()
        family, address = where
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            error = self._socket.connect_ex(address)
            if error not in (0, errno.EINPROGRESS, errno.EINTR):
                raise OSError(error, os.strerror(error))
        except OSError:
            self._socket.close()
            raise
        if loop is not None:
            loop.watch(self._socket.fileno(), WRITE, self)

    def fileno(self) -> int:
        return self._socket.fileno()

    # Input.

    def readable(self) -> None:
        """One read. It may be called at any time."""
        if not self.events & READ:
            return
        try:
            data = self._socket.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            self._received(data)
        else:
            self._over("it has hung up")

    def read(self, wanted: bool) -> None:
        """Whether anything is read from now on."""
        self._reads = wanted
        self._watch()

    # Output.

    def send(self, *pieces: bytes) -> bool:
        """Sends them, and keeps what the kernel does not take. False: it is `doomed`."""
        if self.doomed:
            return False
        sent = 0
        if not self._backlog:
            try:
                sent = self._socket.sendmsg(pieces)
            except BlockingIOError:
                pass
            except OSError as error:
                self.doomed = error.strerror or str(error)
                return False
        for piece in pieces:
            if sent >= len(piece):
                sent -= len(piece)
                continue
            self._backlog.append(memoryview(piece)[sent:] if sent else piece)
            self.backlog_size += len(piece) - sent
            sent = 0
        if self._backlog:
            self._watch()
        return True

    def writable(self) -> None:
        if not self._open:
            self._called()
            return
        backlog = self._backlog
        if not backlog:
            return
        try:
            sent = self._socket.sendmsg([backlog[i] for i in range(min(GATHER, len(backlog)))])
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        self.backlog_size -= sent
        while backlog and sent >= len(backlog[0]):
            sent -= len(backlog.popleft())
        if sent:
            backlog[0] = memoryview(backlog[0])[sent:]
        if not backlog:
            self._watch()

    def _called(self) -> None:
        """The network has an answer."""
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._over(os.strerror(error))
            return
        self._open = True
        self._watch()
        self._opened()

    def _watch(self) -> None:
        if self._open:
            events = (READ if self._reads else 0) | (WRITE if self._backlog else 0)
            if events != self.events:
                self.events = events
                if self._loop is not None:
                    self._loop.change(self._socket.fileno(), events, self)

    # The end.

    def _end(self, error: OSError) -> None:
        self._over(error.strerror or str(error))

    def again(self) -> None: ...

    def broken(self) -> None:
        self._over("a fault of ours")

    def close(self) -> None:
        """Now. What waits is not sent."""
        if self.fileno() < 0:
            return
        self.events = 0
        self._open = False
        self._backlog.clear()
        self.backlog_size = 0
        self.doomed = "closed"
        self._opened = self._received = self._over = _tell_nobody
        if self._loop is not None:
            self._loop.forget(self._socket.fileno(), self)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # a forked child may hold it, too
        self._socket.close()


def _tell_nobody(*_: object) -> None: ...
