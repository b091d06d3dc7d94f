"""A client's transfers on a loop that a test turns by hand, a proxy that cuts and holds, and a server that lies."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatlib.client import news as n
from chatlib.client.addresses import ServerAddress
from chatlib.client.conversation import Conversation
from chatlib.client.files import Fetching, Sending, ThreadFiles, UserFiles
from chatlib.client.link import Link
from chatlib.client.outbox import Memory
from chatlib.client.servers import Servers
from chatlib.client.transfers import Transfer, TransferQueue
from chatlib.reactor.loop import READ, WRITE, Loop
from tests.chance import new_chance
from tests.client.fake_server import FakeServer
from tests.patience import LIMIT


def fault(error: BaseException) -> None:
    raise error


class Rig:
    """One user's transfers. `news` is what the conversation told; `told`, what the transfers did."""

    def __init__(self, port: int, user: str, password: str, memory: Memory | None = None) -> None:
        self.loop = Loop(on_fault=fault)
        self.conversation = Conversation(memory)
        self.servers = Servers([ServerAddress("127.0.0.1", port)])
        self.link = Link(self.loop, self.servers, self.conversation, jitter=lambda: 0.0)
        self.transfers = TransferQueue(self.loop, self.conversation, lambda: self.link.peer, jitter=lambda: 0.0)
        self.transfers.listener = self
        self.loop.phases = [self.link.turn, self._collect, self.link.flush]
        self.news: list[Any] = []
        self.begun_at: list[int] = []
        self.anew: list[str] = []
        self.user, self.password = user, password

    def log_in(self) -> Rig:
        self.conversation.login(self.user, self.loop.now)
        self.until(lambda: self.conversation.state is not None and bool(self.conversation.user))
        return self

    def _collect(self) -> None:
        for item in self.conversation.take_news():
            self.transfers.heard(item)
            if isinstance(item, n.Challenged):
                self.conversation.give_password(self.password)
                self.conversation.prove(self.loop.now)
            self.news.append(item)

    def begun(self, transfer: Transfer) -> None:
        self.begun_at.append(transfer.position)

    def begun_anew(self, transfer: Transfer) -> None:
        self.anew.append(transfer.name)

    def ended(self, transfer: Transfer) -> None: ...

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + LIMIT
        self.link.flush()
        while not condition():
            assert time.monotonic() < deadline, self.news[-5:]
            self.loop.call_later(0.02, lambda: None)
            self.loop.tick()

    def send(self, to: str, path: Path) -> Sending:
        upload = Sending(self.transfers, UserFiles(to), str(path))
        self.transfers.add(upload)
        return upload

    def put(self, title: str, path: Path) -> Sending:
        upload = Sending(self.transfers, ThreadFiles(title), str(path))
        self.transfers.add(upload)
        return upload

    def get(self, title: str, name: str, folder: Path) -> Fetching:
        download = Fetching(self.transfers, ThreadFiles(title), name, folder)
        self.transfers.add(download)
        return download

    def ask(self, action: str, **fields: object) -> Any:
        """The reply."""
        request = self.conversation.request(action, dict(fields), self.loop.now)

        def answers() -> list[Any]:
            return [item.reply for item in self.news if isinstance(item, n.Answered) and item.request is request]

        self.until(answers)
        return answers()[0]

    def fetch(self, sender: str, name: str, folder: Path) -> Fetching:
        download = Fetching(self.transfers, UserFiles(sender), name, folder)
        self.transfers.add(download)
        return download

    def done(self, *transfers: Transfer) -> None:
        self.until(lambda: all(transfer.over for transfer in transfers))
        self.until(lambda: not self.conversation.outbox.pending)

    def again(self) -> None: ...

    def broken(self) -> None: ...

    def close(self) -> None:
        self.transfers.stop()
        self.link.close()
        self.loop.close()


class _Side:
    """One socket of a pair; `other` gets what it hears."""

    def __init__(self, pair: _Pair, sock: socket.socket) -> None:
        self.pair, self.socket = pair, sock
        self.waiting = b""
        sock.setblocking(False)
        pair.loop.watch(sock.fileno(), READ, self)

    def readable(self) -> None:
        if self.pair.open:
            self.pair.hears(self)

    def writable(self) -> None:
        if not self.pair.open:
            return
        with contextlib.suppress(BlockingIOError):
            try:
                self.waiting = self.waiting[self.socket.send(self.waiting) :]
            except (BrokenPipeError, ConnectionError):
                self.pair.close()
                return
        self.pair.turn()

    def again(self) -> None: ...

    def broken(self) -> None: ...


class _Pair:
    """A client's connection, and its other half to the server."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.proxy, self.loop = proxy, proxy.loop
        self.open, self.is_transfer, self.held = True, False, False
        self.left: float = float("inf")  # bytes until the cut, or the hold
        self.near = _Side(self, client)
        self.far = _Side(self, socket.create_connection(("127.0.0.1", proxy.server_port)))

    def hears(self, side: _Side) -> None:
        other = self.far if side is self.near else self.near
        try:
            data = side.socket.recv(16_384)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        if side is self.near and data.startswith((b'{"action":"upload"', b'{"action":"download"')):
            self.is_transfer = True
            self.left = self.proxy.budget()
        if side is self.far and self.is_transfer and self.proxy.lose_replies and data.startswith(b'{"action":"upload"'):
            self.proxy.lose_replies -= 1
            self.close(hard=True)
            return
        if side is self.near and not self.is_transfer:
            self.proxy.said += data
        other.waiting += data if self.proxy.holds else data[: int(min(len(data), self.left))]
        self.left -= len(data)
        self.turn()
        if self.left <= 0:
            self.spent()

    def spent(self) -> None:
        if self.proxy.holds:
            self.held = True
            self.turn()
        else:
            self.proxy.cuts += 1
            for side in (self.near, self.far):
                with contextlib.suppress(OSError):
                    side.socket.send(side.waiting)
            self.close(hard=self.proxy.chance.random() < 0.5)

    def turn(self) -> None:
        """Who may be read and written now: nobody is read while his other half has not got all."""
        for side, other in ((self.near, self.far), (self.far, self.near)):
            events = (0 if other.waiting or self.held else READ) | (WRITE if side.waiting else 0)
            self.loop.change(side.socket.fileno(), events, side)
        if self.held and not self.near.waiting:  # only to notice that the client is gone
            self.loop.call_later(0.02, self.look)

    def look(self) -> None:
        if self.open and self.held:
            try:
                if self.near.socket.recv(1, socket.MSG_PEEK) == b"":
                    self.close()
                    return
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
            if not self.proxy.holds:
                self.held, self.left = False, float("inf")
                self.turn()
            else:
                self.loop.call_later(0.02, self.look)

    def close(self, hard: bool = False) -> None:
        if not self.open:
            return
        self.open = False
        self.proxy.pairs.discard(self)
        for side in (self.near, self.far):
            self.loop.forget(side.socket.fileno(), side)
            if hard:
                side.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.socket.close()


class Proxy:
    """Between clients and a server. TransferQueue are cut after `budget()` bytes, or held there if `holds`."""

    def __init__(self, loop: Loop, server_port: int, seed: int = 0) -> None:
        self.loop, self.server_port = loop, server_port
        self.chance = new_chance(seed)
        self.budget: Callable[[], float] = lambda: float("inf")
        self.holds = False
        self.cuts = self.lose_replies = 0
        self.said = b""  # by clients, but for their files
        self.pairs: set[_Pair] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        loop.watch(self._listener.fileno(), READ, self)

    def readable(self) -> None:
        client, _ = self._listener.accept()
        try:
            self.pairs.add(_Pair(self, client))
        except OSError:
            client.close()  # the server is away

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...

    @property
    def transfers(self) -> int:
        return sum(pair.is_transfer for pair in self.pairs)

    def close(self) -> None:
        for pair in list(self.pairs):
            pair.close()
        self.loop.forget(self._listener.fileno(), self)
        self._listener.close()


class ProxyThread:
    """A proxy for programs, turning by itself."""

    def __init__(self, server_port: int) -> None:
        self.loop = Loop(on_fault=fault)
        self.proxy = Proxy(self.loop, server_port)
        self.port = self.proxy.port
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._over = False
        self._thread.start()

    def _run(self) -> None:
        while not self._over:
            self.loop.call_later(0.02, lambda: None)
            self.loop.tick()

    def close(self) -> None:
        self._over = True
        self._thread.join()
        self.proxy.close()
        self.loop.close()


class LyingServer:
    """A fake server on a socket of a rig's loop. `carries`: what each transfer connection is answered, in order."""

    def __init__(self) -> None:
        self.fake = FakeServer()
        self.carries: list[bytes] = []
        self.carried: list[dict[str, Any]] = []
        self.stalls = 0  # how many transfers to leave open when all was said
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._channels: list[_Said] = []

    def join(self, loop: Loop) -> None:
        self.loop = loop
        loop.watch(self._listener.fileno(), READ, self)

    def readable(self) -> None:
        self._channels.append(_Said(self, self._listener.accept()[0]))

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...

    def close(self) -> None:
        self._listener.close()
        for channel in self._channels:
            channel.socket.close()


class _Said:
    def __init__(self, server: LyingServer, sock: socket.socket) -> None:
        self.server, self.socket, self._first = server, sock, True
        self._carries = False
        server.loop.watch(sock.fileno(), READ, self)

    def readable(self) -> None:
        try:
            data = self.socket.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        if self._carries:
            return  # what an upload sends
        if self._first and b'"ticket"' in data:
            self._carries = True
            self.server.carried.append(json.loads(data.split(b"\n")[0]))
            answer = self.server.carries.pop(0)
            self.socket.sendall(answer)
            if self.server.stalls:
                self.server.stalls -= 1
            else:
                self.socket.shutdown(socket.SHUT_WR)
            return
        if self._first:
            self.server.fake.connect()
        self._first = False
        self.socket.sendall(self.server.fake.feed(data))

    def _end(self) -> None:
        self.server.loop.forget(self.socket.fileno(), self)
        self.socket.close()

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...
