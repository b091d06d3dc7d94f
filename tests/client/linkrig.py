"""A fake server behind a listening socket, on the loop that a test turns by hand."""

from __future__ import annotations

import socket

from chatlib.reactor.loop import READ, Loop
from tests.client.fake_server import FakeServer


def fault(error: BaseException) -> None:
    raise error


class Peer:
    """A fake server behind a listening socket; two channels in one."""

    def __init__(self, loop: Loop, server: FakeServer | None = None, port: int = 0) -> None:
        self.server = server or FakeServer()
        self.accepted = 0
        self.is_open = True
        self.connection: socket.socket | None = None
        self._loop = loop
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        loop.watch(self._listener.fileno(), READ, self)

    def readable(self) -> None:
        if self.connection is not None:
            try:
                chunk = self.connection.recv(65_536)
            except (BlockingIOError, ConnectionError):
                chunk = None
            if chunk:
                self.connection.sendall(self.server.feed(chunk))
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        self.cut()
        self.connection = connection
        self.server.connect()
        self.accepted += 1
        connection.setblocking(False)
        self._loop.watch(connection.fileno(), READ, self)

    def cut(self, reset: bool = False) -> None:
        if self.connection is not None:
            self._loop.forget(self.connection.fileno(), self)
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
            self.connection = None

    def close(self) -> None:
        self.is_open = False
        self.cut()
        self._loop.forget(self._listener.fileno(), self)
        self._listener.close()

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...
