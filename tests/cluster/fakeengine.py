"""A fake engine with faults, on loopback, in a thread of the test's process: streams, direct gets, purge, republish.

    with FakeEngine(nodes=3) as engine:
        link = EngineLink(None, engine.parse())          # nats://127.0.0.1:…,127.0.0.1:…,…/chat
        engine.fates("chat", Fate.UNANSWERED, 2)         # the next two messages are stored, and nobody is told
        engine.nodes[1].kill()

Everything that a test says to it is done when the call returns. What is stored is in ``engine.streams[NAME]`` as soon
as anybody is told. A direct get is answered by the replica of the node one is connected to, as the real one does.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from chatlib.protocol import nats
from tests.cluster.fakestreams import NOT_FOUND, OTHER_CONFIG, FakeStream, Replica, Stored, block, matches, refused

T = TypeVar("T")
DELETE_DENIED = (500, 10057, "message delete not permitted")
UNAVAILABLE = (503, 10008, "JetStream system temporarily unavailable")


class Fate(Enum):
    """What becomes of a message that is published to a stream."""

    STORED = "as it should be"
    UNANSWERED = "stored and republished, and the answer is lost"
    UNHEARD = "stored and answered, and not republished"
    SILENT = "stored, and neither answered nor republished"
    LOST = "nothing at all"
    REFUSED = "503: nobody is there"
    IN_PROCESS = "error 10158, and it is not stored"
    FULL = "error 10077: there is no room"


_ERRORS = {
    Fate.IN_PROCESS: (409, 10158, "duplicate message id is in process"),
    Fate.FULL: (503, 10077, "insufficient storage resources available"),
}


class FakeEngine:
    """Its nodes are one engine: `leader` False means that no node is a leader, so nothing is stored."""

    def __init__(
        self,
        nodes: int = 1,
        *,
        host: str = "127.0.0.1",
        user: str = "",
        password: str = "",
        token: str = "",
        max_payload: int = 1 << 20,
    ) -> None:
        self.host = host
        self.user, self.password, self.token, self.max_payload = user, password, token, max_payload
        self.streams: dict[str, FakeStream] = {}
        self.leader = True
        self.forbidden: set[str] = set()  # subjects that nobody may publish to
        self.asked: list[str] = []  # subjects of the API, in order
        self._fates: dict[str, deque[Fate]] = {}
        self._held: list[Callable[[], object]] | None = None
        self._selector = selectors.DefaultSelector()
        self._orders: deque[tuple[Callable[[], object], threading.Event, list[Any]]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._over = False
        self.nodes = [FakeNode(self, f"n{number}") for number in range(1, nodes + 1)]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """All of it is gone."""
        if not self._over:
            self.do(self._end)
            self._thread.join()
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _end(self) -> None:
        self._over = True
        for node in self.nodes:
            node._kill()

    # What a test says.

    def url(self, name: str = "chat") -> str:
        who = f"{self.user}:{self.password}@" if self.user else f"{self.token}@" if self.token else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"nats://{who}{','.join(f'{host}:{node.port}' for node in self.nodes)}/{name}"

    def parse(self, name: str = "chat") -> nats.Engine:
        return nats.parse(self.url(name))

    def do(self, call: Callable[[], T]) -> T:
        """Makes the call in the engine's thread, between two things that it does."""
        if threading.current_thread() is self._thread:
            return call()
        done, result = threading.Event(), []  # type: tuple[threading.Event, list[Any]]
        self._orders.append((call, done, result))
        os.write(self._wake_write, b"!")
        assert done.wait(60), "the fake engine hangs"
        if isinstance(result[0], BaseException):
            raise result[0]
        answer: T = result[0]
        return answer

    def fates(self, stream: str, fate: Fate, count: int = 1) -> None:
        """What becomes of the next messages to this stream, behind those that were told earlier."""
        self.do(lambda: self._fates.setdefault(stream, deque()).extend([fate] * count))

    def hold(self) -> None:
        """From now on messages are stored, and answers and republished ones wait for ``release``."""
        self.do(lambda: setattr(self, "_held", []))

    def release(self) -> None:
        """Says all that was held."""

        def say() -> None:
            held, self._held = self._held, None
            for call in held or ():
                call()

        self.do(say)

    def make(self, name: str = "chat", **config: Any) -> FakeStream:
        """A stream, as somebody made it before: the log, unless `config` says otherwise."""
        usual: dict[str, Any] = {"name": name, "subjects": [f"{name}.log"], "allow_direct": True, "deny_delete": True}
        usual["republish"] = {"src": f"{name}.log", "dest": f"{name}.out"}
        return self.do(lambda: self.streams.setdefault(name, FakeStream(_completed(usual | config))))

    def store(self, stream: str, payload: bytes, headers: bytes = b"", subject: str = "") -> int:
        """Somebody else publishes this; its place."""
        where = subject or self.streams[stream].config["subjects"][0]
        return self.do(lambda: self._store(self.streams[stream], where, headers, payload).seq)

    def repeat(self, stream: str, seq: int) -> int:
        """A late duplicate: what stands there is stored once more, whatever the engine remembers; its new place."""
        stored = self.streams[stream].messages[seq]
        return self.store(stream, stored.payload, stored.headers, stored.subject)

    # The thread.

    def _run(self) -> None:
        while not self._over:
            for key, events in self._selector.select():
                if key.data is None:
                    os.read(self._wake_read, 4_096)
                else:
                    key.data(events)
            while self._orders:
                call, done, result = self._orders.popleft()
                try:
                    result.append(call())
                except BaseException as error:
                    result.append(error)
                done.set()

    # What clients say.

    def _published(self, client: FakeClient, subject: str, reply: str, headers: bytes, payload: bytes) -> None:
        """`headers`: lines."""
        node = client.node
        if subject.startswith("$JS.API."):
            self.asked.append(subject)
            self._api(node, subject[8:], reply, payload)
            return
        stream = next((stream for stream in self.streams.values() if stream.takes(subject)), None)
        if stream is not None:
            self._to_stream(node, stream, subject, reply, headers, payload)
        elif not self._deliver(node, subject, reply, block(headers) if headers else b"", payload) and reply:
            self._refuse(node, reply)

    def _deliver(self, node: FakeNode, subject: str, reply: str, head: bytes, payload: bytes) -> int:
        """To all who listen, and can be reached from `node`; how many."""
        count = 0
        for other in self.nodes:
            if other is node or not (other.isolated or node.isolated):
                for client in list(other.clients):
                    count += client.hear(subject, reply, head, payload)
        return count

    def _refuse(self, node: FakeNode, reply: str) -> None:
        self._deliver(node, reply, "", block(b"", b" 503"), b"")

    def _answer(self, node: FakeNode, reply: str, said: dict[str, Any]) -> None:
        if reply:
            self._deliver(node, reply, "", b"", json.dumps(said).encode())

    def _to_stream(
        self, node: FakeNode, stream: FakeStream, subject: str, reply: str, headers: bytes, payload: bytes
    ) -> None:
        fates = self._fates.get(stream.name)
        fate = fates.popleft() if fates else Fate.STORED
        if fate is Fate.LOST:
            return
        if fate is Fate.REFUSED or not self.leader or node.isolated:
            self._refuse(node, reply)
            return
        if fate in _ERRORS:
            self._answer(node, reply, refused("", _ERRORS[fate]) | {"stream": stream.name, "seq": 0})
            return
        fields = dict(line.split(b": ", 1) for line in headers.split(b"\r\n") if line)
        number, known = 0, stream.ids.get(fields.get(b"Nats-Msg-Id", b"").decode(), 0)
        if not known:
            number = self._store(stream, subject, headers, payload, fate not in (Fate.UNHEARD, Fate.SILENT)).seq
            if b"Nats-Msg-Id" in fields:
                stream.ids[fields[b"Nats-Msg-Id"].decode()] = number
        said = {"stream": stream.name, "seq": known or number} | ({"duplicate": True} if known else {})
        if fate not in (Fate.UNANSWERED, Fate.SILENT):
            self._later(lambda: self._answer(node, reply, said))

    def _later(self, call: Callable[[], object]) -> None:
        if self._held is None:
            call()
        else:
            self._held.append(call)

    def _store(
        self, stream: FakeStream, subject: str, headers: bytes, payload: bytes, republish: bool = True
    ) -> Stored:
        last = next((one.seq for one in reversed(stream.messages.values()) if one.subject == subject), 0)
        stored = stream.store(subject, headers, payload)
        where = stream.config.get("republish")
        if where and republish:
            head, source = stream.republished(stored, last), next(n for n in self.nodes if not n.isolated)
            self._later(lambda: self._deliver(source, where["dest"], "", head, payload))
        return stored

    # The API.

    def _api(self, node: FakeNode, subject: str, reply: str, payload: bytes) -> None:
        if subject.startswith("DIRECT.GET."):
            name, _, rest = subject[11:].partition(".")
            stream = self.streams.get(name)
            if stream is None:
                self._refuse(node, reply)
                return
            for head, answer in stream.get(rest, payload, node.replica(name)):
                self._deliver(node, reply, "", head, answer)
            return
        if node.isolated:
            return  # silence: whoever leads is elsewhere
        words = subject.split(".")
        named = words[:-1] if words[0] == "STREAM" and words[1] != "NAMES" else words
        kind = f"io.nats.jetstream.api.v1.{'_'.join(named).lower()}_response"
        if not self.leader:
            self._answer(node, reply, refused(kind, UNAVAILABLE))
            return
        try:
            wanted = json.loads(payload) if payload else {}
        except ValueError:
            self._answer(node, reply, refused(kind, (400, 10025, "invalid JSON")))
            return
        self._answer(node, reply, self._about_streams(".".join(words[:2]), words[-1], kind, wanted))

    def _about_streams(self, what: str, name: str, kind: str, wanted: dict[str, Any]) -> dict[str, Any]:
        names = [node.name for node in self.nodes]
        if what == "STREAM.NAMES":
            return {"type": kind, "total": len(self.streams), "streams": sorted(self.streams)}
        if what == "INFO":
            return {"type": kind, "streams": len(self.streams)}
        stream, made = self.streams.get(name), False
        if what == "STREAM.CREATE":
            if stream is None:
                stream = self.streams[name] = FakeStream(_completed(wanted))
                made = True
            elif stream.config != _completed(wanted):
                return refused(kind, OTHER_CONFIG)
        if stream is None:
            return refused(kind, NOT_FOUND)
        if what == "STREAM.DELETE":
            del self.streams[name]
            return {"type": kind, "success": True}
        if what == "STREAM.PURGE":
            return {"type": kind, "success": True, "purged": stream.purge(wanted)}
        if what == "STREAM.MSG":
            gets = kind.endswith("get_response")
            return stream.of_leader(kind, wanted, self.nodes[0].replica(name)) if gets else refused(kind, DELETE_DENIED)
        if what == "STREAM.UPDATE":
            stream.config = _completed(wanted)
        return stream.described(kind, names[0], names, wanted) | ({"did_create": True} if made else {})


def _completed(wanted: dict[str, Any]) -> dict[str, Any]:
    """A stream's configuration as the engine says it back."""
    usual = {
        "retention": "limits",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "discard": "old",
        "storage": "file",
        "num_replicas": 1,
        "duplicate_window": 120_000_000_000,
        "compression": "none",
        "allow_direct": False,
        "mirror_direct": False,
        "sealed": False,
        "deny_delete": False,
        "deny_purge": False,
        "allow_rollup_hdrs": False,
        "consumer_limits": {},
        "allow_msg_ttl": False,
    }
    own = {"_nats.level": "5", "_nats.req.level": "0", "_nats.ver": "2.15.1"}
    metadata = {key: value for key, value in wanted.get("metadata", {}).items() if not key.startswith("_nats.")}
    return usual | wanted | {"metadata": own | metadata}


class FakeNode:
    """One node: a port, its clients, and what is wrong with its replicas."""

    def __init__(self, engine: FakeEngine, name: str) -> None:
        self.engine, self.name = engine, name
        self.clients: list[FakeClient] = []
        self.isolated = False  # it reaches no other node, nor they it
        self.paused = False
        self.greets = True  # it says INFO
        self.reads = True
        self.info: dict[str, Any] = {}  # what it says besides or instead
        self.calls = 0  # how often somebody has connected
        self._replicas: dict[str, Replica] = {}
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    # What a test says.

    def replica(self, stream: str = "chat") -> Replica:
        """What is wrong with its copy: to be changed."""
        return self._replicas.setdefault(stream, Replica())

    def kill(self) -> None:
        """It is gone at once."""
        self.engine.do(self._kill)

    def start(self) -> None:
        """It is there again, on the same port."""
        self.engine.do(self._listen)

    def hang_up(self) -> None:
        """Closes all connections."""
        self.engine.do(lambda: [client.close() for client in list(self.clients)])

    def pause(self, paused: bool = True) -> None:
        """As SIGSTOP: the kernel still takes calls and bytes."""

        def change() -> None:
            self.paused = paused
            for client in list(self.clients):
                client.flush()
            self._watch()

        self.engine.do(change)

    def resume(self) -> None:
        self.pause(False)

    def read(self, wanted: bool) -> None:
        """Whether it takes anything from its clients; it speaks all the same."""

        def change() -> None:
            self.reads = wanted
            for client in list(self.clients):
                client.flush()

        self.engine.do(change)

    def say(self, text: bytes) -> None:
        """Says this to all its clients, whatever it means."""
        self.engine.do(lambda: [client.send(text) for client in list(self.clients)])

    # The thread.

    def _listen(self) -> None:
        family = socket.AF_INET6 if ":" in self.engine.host else socket.AF_INET
        self._listener = socket.create_server((self.engine.host, self.port), family=family, backlog=64)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self.paused = False
        self._watch()

    def _watch(self) -> None:
        listener = self._listener
        if listener is None:
            return
        watched = listener.fileno() in self.engine._selector.get_map()
        if watched and self.paused:
            self.engine._selector.unregister(listener)
        elif not watched and not self.paused:
            self.engine._selector.register(listener, selectors.EVENT_READ, self._accept)

    def _kill(self) -> None:
        if self._listener is None:
            return
        if self._listener.fileno() in self.engine._selector.get_map():
            self.engine._selector.unregister(self._listener)
        self._listener.close()
        self._listener = None
        for client in list(self.clients):
            client.close()

    def _accept(self, _: int) -> None:
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError):
            sock, _address = self._listener.accept()
            self.calls += 1
            self.clients.append(FakeClient(self, sock))


class FakeClient:
    """A connection of somebody to a node."""

    def __init__(self, node: FakeNode, sock: socket.socket) -> None:
        self.node, self._socket = node, sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.subscriptions: dict[str, str] = {}  # number → pattern
        self._in, self._out = bytearray(), bytearray()
        self._admitted = False
        self._open = True
        if node.greets:
            engine = node.engine
            info = {"server_id": node.name, "server_name": node.name, "version": "2.15.1", "proto": 1, "headers": True}
            info |= {"max_payload": engine.max_payload, "jetstream": True, "client_id": node.calls}
            if engine.user or engine.token:
                info["auth_required"] = True
            self.send(b"INFO " + json.dumps(info | node.info).encode() + b" \r\n")
        self.flush()

    def send(self, data: bytes) -> None:
        self._out += data
        self.flush()

    def flush(self) -> None:
        """Sends what it can, and watches for what it may."""
        if not self._open:
            return
        if self._out and not self.node.paused:
            try:
                sent = self._socket.send(self._out)
                del self._out[:sent]
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
        events = selectors.EVENT_READ if self.node.reads and not self.node.paused else 0
        events |= selectors.EVENT_WRITE if self._out and not self.node.paused else 0
        selector = self.node.engine._selector
        watched = self._socket.fileno() in selector.get_map()
        if events and watched:
            selector.modify(self._socket, events, self._ready)
        elif events:
            selector.register(self._socket, events, self._ready)
        elif watched:
            selector.unregister(self._socket)

    def close(self) -> None:
        if self._open:
            self._open = False
            if self._socket.fileno() in self.node.engine._selector.get_map():
                self.node.engine._selector.unregister(self._socket)
            self._socket.close()
            self.node.clients.remove(self)

    def hear(self, subject: str, reply: str, head: bytes, payload: bytes) -> int:
        """Somebody has published this; how often it was said."""
        count = 0
        for number, pattern in list(self.subscriptions.items()):
            if matches(pattern, subject):
                count += 1
                where = f"{subject} {number} {reply} " if reply else f"{subject} {number} "
                sizes = f"{len(head)} {len(head) + len(payload)}" if head else f"{len(payload)}"
                verb = "HMSG" if head else "MSG"
                self.send(f"{verb} {where}{sizes}\r\n".encode() + head + payload + b"\r\n")
        return count

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_READ and self._open:
            try:
                data = self._socket.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            self._in += data
            while self._open and self._take():
                pass
        self.flush()

    def _take(self) -> bool:
        """One thing that the client says."""
        end = self._in.find(b"\r\n")
        if end < 0:
            return False
        verb, *words = self._in[:end].decode().split(" ", 1)
        rest = words[0] if words else ""
        if verb in ("PUB", "HPUB"):
            return self._publish(verb, rest.split(" "), end + 2)
        del self._in[: end + 2]
        if verb == "CONNECT":
            self._connect(json.loads(rest))
        elif not self._admitted:
            self._refuse("Authorization Violation")
        elif verb == "PING":
            self.send(b"PONG\r\n")
        elif verb == "SUB":
            self.subscriptions[rest.split(" ")[-1]] = rest.split(" ")[0]
        elif verb == "UNSUB":
            self.subscriptions.pop(rest.split(" ")[0], None)
        elif verb != "PONG":
            self._refuse("Unknown Protocol Operation")
        return True

    def _connect(self, said: dict[str, Any]) -> None:
        engine = self.node.engine
        given = said.get("user", ""), said.get("pass", ""), said.get("auth_token", "")
        self._admitted = given == (engine.user, engine.password, engine.token)
        if not self._admitted:
            self._refuse("Authorization Violation")

    def _refuse(self, text: str, end: bool = True) -> None:
        self.send(f"-ERR '{text}'\r\n".encode())
        if end:
            self.close()

    def _publish(self, verb: str, words: list[str], start: int) -> bool:
        sizes = [int(word) for word in words[-2 if verb == "HPUB" else -1 :]]
        head, whole = (sizes[0], sizes[1]) if verb == "HPUB" else (0, sizes[0])
        names = words[: -len(sizes)]
        if whole > self.node.engine.max_payload:
            self._refuse("Maximum Payload Violation")
            return False
        if len(self._in) < start + whole + 2:
            return False
        assert self._in[start + whole : start + whole + 2] == b"\r\n", "a message that does not end where it should"
        block_, payload = bytes(self._in[start : start + head]), bytes(self._in[start + head : start + whole])
        del self._in[: start + whole + 2]
        assert not head or block_.startswith(b"NATS/1.0\r\n") and block_.endswith(b"\r\n\r\n")
        subject, reply = names[0], names[1] if len(names) > 1 else ""
        if not self._admitted:
            self._refuse("Authorization Violation")
        elif subject in self.node.engine.forbidden:
            self._refuse(f'Permissions Violation for Publish to "{subject}"', end=False)
        else:
            self.node.engine._published(self, subject, reply, block_[10:-2], payload)
        return True
