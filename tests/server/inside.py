"""The inside of TLS: a socket for peers that speak it to a house, and a house that offers it."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

from chatlib.protocol.certificate import end_point
from chatlib.reactor.tlsstream import TlsStream
from tests.reactor.certificate import PEM
from tests.server.carrying import Pipe
from tests.server.house import House, Peer

CLIENT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CLIENT.check_hostname = False
CLIENT.verify_mode = ssl.CERT_NONE


def offer(house: House, pem: str = PEM) -> Path:
    """The house offers TLS with this certificate; its file."""
    path = house.server.home.tls
    path.touch(0o600)
    path.write_text(pem)
    house.server.tls.begin(True)
    return path


class TlsSocket:
    """As a socket that does not block; what it carries is inside TLS."""

    def __init__(self, house: House, raw: socket.socket, context: ssl.SSLContext = CLIENT) -> None:
        self.raw, self.stream = raw, TlsStream(context, server=False)
        self.unsent = b""
        for _ in range(200):
            self.stream.shake()
            self.flush()
            if self.stream.secured:
                break
            house.tick()
            with contextlib.suppress(BlockingIOError):
                self.take_in()
        else:
            raise AssertionError("the handshake does not come to its end")

    @property
    def binding(self) -> bytes:
        """What proofs are bound to."""
        return end_point(self.stream.certificate)

    def send(self, data: bytes) -> int:
        self.flush()
        if self.unsent:
            raise BlockingIOError
        self.stream.write(data)
        self.flush()
        return len(data)

    def flush(self) -> None:
        self.unsent += self.stream.give_out()
        with contextlib.suppress(BlockingIOError):
            while self.unsent:
                self.unsent = self.unsent[self.raw.send(self.unsent) :]

    def take_in(self) -> None:
        records = self.raw.recv(1 << 16)
        if not records:
            raise ConnectionResetError("cut")
        self.stream.take_in(records)

    def recv(self, _size: int) -> bytes:
        self.flush()
        while not (data := self.stream.read()) and not self.stream.over:
            self.take_in()
        return data

    def shutdown(self, how: int) -> None:
        self.stream.finish()
        self.flush()
        self.raw.shutdown(how)

    def close(self) -> None:
        self.raw.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def go_inside(peer: Peer, context: ssl.SSLContext = CLIENT) -> Peer:
    """What `peer` says and hears from now on is inside TLS."""
    peer.socket = TlsSocket(peer.house, peer.socket, context)  # type: ignore[assignment]
    peer.binding = peer.socket.binding  # type: ignore[attr-defined]
    return peer


def login(house: House, name: str, context: ssl.SSLContext = CLIENT) -> Peer:
    """Logged in over TLS; what it was told so far counts as heard."""
    peer = go_inside(house.connect(name), context)
    assert peer.hello()["status"] == "OK"
    reply = peer.prove("login", name)
    assert reply["status"] == "OK", reply
    peer.hear()
    return peer


class TlsPipe(Pipe):
    """A connection that carries bytes inside TLS."""

    def __init__(self, house: House, address: str = "10.0.0.1") -> None:
        super().__init__(house, address)
        self.inside = TlsSocket(house, self.socket)
        self.socket = self.inside  # type: ignore[assignment]

    def send(self, data: bytes) -> None:
        super().send(data)
        while self.inside.unsent and not self.closed:
            self.house.tick()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.inside.flush()
