"""Calling somebody: a connection that is made without waiting for it.

Must not know what it will be used for. ``done`` or ``failed`` is called, exactly one of them, exactly once, after the
constructor has returned; neither after ``cancel``.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from chatlib.reactor.loop import WRITE, Loop

SocketAddress = tuple[socket.AddressFamily, tuple[object, ...]]


class Connector:
    """Connects to `address`, within `patience` seconds. `done` is given the socket, `failed` the reason."""

    def __init__(
        self,
        loop: Loop,
        address: SocketAddress,
        patience: float,
        done: Callable[[socket.socket], object],
        failed: Callable[[str], object],
    ) -> None:
        self._loop, self._done, self._failed = loop, done, failed
        self._socket: socket.socket | None = None
        self._timer = loop.call_later(patience, lambda: self._end(errno.ETIMEDOUT))
        error = self._begin(address)
        if error in (0, errno.EINPROGRESS, errno.EINTR):
            assert self._socket is not None
            loop.watch(self._socket.fileno(), WRITE, self)
        else:
            self.cancel()  # what was never begun would count as writable
            self._timer = loop.call_later(0.0, lambda: self._end(error))

    def _begin(self, address: SocketAddress) -> int:
        family, place = address
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            return self._socket.connect_ex(place)
        except OSError as error:
            return error.errno or errno.EIO
        except OverflowError:  # no port at all
            return errno.EADDRNOTAVAIL

    def cancel(self) -> None:
        """Gives up; nobody is told."""
        self._timer.cancel()
        if self._socket:
            self._loop.forget(self._socket.fileno(), self)
            self._socket.close()
            self._socket = None

    def _end(self, error: int) -> None:
        self.cancel()
        self._failed(os.strerror(error))

    # The channel.

    def writable(self) -> None:
        if self._socket is None:
            return
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._end(error)
            return
        connected, self._socket = self._socket, None
        self._timer.cancel()
        self._loop.forget(connected.fileno(), self)
        self._done(connected)

    def readable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None:
        self.cancel()
