"""A server of one connection at a time, without I/O, for tests of the client: just enough of WIRE.md, scriptable."""

from __future__ import annotations

import json
from typing import Any

from chatlib.protocol.framing import LineBuffer
from chatlib.protocol.scram import ScramError, ServerExchange, Verifier, make_verifier, parse_verifier

VERIFIER = make_verifier("secret", 4096, b"saltsaltsaltsalt")


class FakeServer:
    """One user, ``bob``, with the password ``secret``. Keys are honoured; what is not acknowledged comes again."""

    def __init__(self) -> None:
        self.verifiers: dict[str, Verifier] = {"bob": VERIFIER}
        self.hello: dict[str, Any] = {
            "status": "OK", "server": "fake", "protocol": 1, "epoch": "e1", "time": 0, "heartbeat": 30.0,
            "iterations": 4096,
        }  # fmt: skip
        self.scripted: dict[str, list[dict[str, Any]]] = {}  # action → replies to give instead, in order
        self.requests: list[dict[str, Any]] = []  # everything ever heard, but alive
        self.effects: list[str] = []  # texts of messages and broadcasts, as they took effect
        self.keys: dict[str, dict[str, Any]] = {}
        self.mail: list[dict[str, Any]] = []
        self.acknowledged = 0
        self.active: list[bool] = []  # what each alive said of it
        self.seq = 0
        self.clients: list[str] = []
        self.begins = 0  # later than which seq a session is given everything
        self.mute = False  # hears, and says nothing
        self.binding = b""  # what proofs are bound to: there is TLS around this server
        self.offers_tls = False  # or there might be
        self.online = False
        self.connect()

    def connect(self) -> None:
        """A new connection; the one before is gone."""
        self.online = False
        self._lines = LineBuffer()
        self._exchange: ServerExchange | None = None
        self._output: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Bytes from the client → bytes for it."""
        for line in self._lines.feed(data):
            self._hear(json.loads(line))
        return self.take()

    def take(self) -> bytes:
        output = b"" if self.mute else b"".join(self._output)
        self._output.clear()
        return output

    def say(self, message: dict[str, Any]) -> None:
        self._output.append(json.dumps(message).encode() + b"\n")

    def post(self, text: str, sender: str = "ann", time: float = 1_700_000_000.0) -> None:
        """A message for bob."""
        self.seq += 1
        event = {"event": "message", "seq": self.seq, "time": time, "from": sender, "text": text}
        self.mail.append(event)
        if self.online:
            self.say(event)

    def _hear(self, request: dict[str, Any]) -> None:
        action = request["action"]
        if action != "alive":
            self.requests.append(request)
        scripted = self.scripted.get(action)
        reply = scripted.pop(0) if scripted else getattr(self, "_" + action, self._read)(request)
        head = {"action": action, "id": request["id"]}
        waiting = reply.pop("then", [])
        self.say({**head, **reply})
        for event in waiting:
            self.say(event)

    def _hello(self, request: dict[str, Any]) -> dict[str, Any]:
        self.clients.append(request["client"])
        return dict(self.hello)

    def _register(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["user"].lower() in self.verifiers:
            return {"status": "USER_EXISTS", "text": f'There is a user "{request["user"]}" already.'}
        if "verifier" in request:
            self.verifiers[request["user"].lower()] = parse_verifier(request["verifier"])
        return {"status": "OK", "user": request["user"]}

    def _prove(self, request: dict[str, Any]) -> dict[str, Any] | str:
        """A reply, or the server's proof."""
        if request["scram"].startswith(("n,", "y,", "p=")):
            user = ServerExchange.user_of(request["scram"])
            verifier = self.verifiers.get(user.lower())
            if verifier is None:
                return {"status": "NO_SUCH_USER", "text": f'There is no user "{user}".'}
            try:
                self._exchange = ServerExchange.begin(
                    request["scram"], verifier, "servernonce", self.binding, offers_tls=self.offers_tls
                )
            except ScramError as wrong:
                return {"status": "BAD_REQUEST", "text": str(wrong)}
            return {"status": "CONTINUE", "scram": self._exchange.challenge}
        assert self._exchange is not None
        try:
            answer = self._exchange.verify(request["scram"])
        except ScramError as wrong:
            return {"status": "BAD_REQUEST", "text": str(wrong)}
        return answer or {"status": "WRONG_PASSWORD", "tries_left": 2, "text": "Wrong password: 2 tries are left."}

    def _login(self, request: dict[str, Any]) -> dict[str, Any]:
        proven = self._prove(request)
        if isinstance(proven, dict):
            return proven
        self.online = True
        assert self._exchange is not None
        waiting = [{**event, "offline": True} for event in self.mail if event["seq"] > self.acknowledged]
        return {"status": "OK", "scram": proven, "user": self._exchange.user, "unread": len(waiting), "seq": self.seq,
                "since": self.begins, "then": waiting}  # fmt: skip

    def _deregister(self, request: dict[str, Any]) -> dict[str, Any]:
        proven = self._prove(request)
        if isinstance(proven, dict):
            return proven
        assert self._exchange is not None
        del self.verifiers[self._exchange.user.lower()]
        return {"status": "OK", "scram": proven, "user": self._exchange.user}

    def _password(self, request: dict[str, Any]) -> dict[str, Any]:
        proven = self._prove(request)
        if isinstance(proven, dict):
            return proven
        if "verifier" in request:
            self.verifiers["bob"] = parse_verifier(request["verifier"])
        return {"status": "OK", "scram": proven}

    def _alive(self, request: dict[str, Any]) -> dict[str, Any]:
        self.active.append(request.get("active", False))
        if not self.online:
            return {"status": "NOT_ALLOWED", "text": "Log in first."}
        self.acknowledged = max(self.acknowledged, request.get("seen", 0))
        return {"status": "OK"}

    def _logout(self, request: dict[str, Any]) -> dict[str, Any]:
        self.acknowledged = max(self.acknowledged, request["seen"])
        return {"status": "OK", "then": [{"event": "bye", "status": "LOGGED_OUT", "text": "Goodbye!"}]}

    def _once(self, request: dict[str, Any], effect: str) -> dict[str, Any]:
        key = request["key"]
        if key not in self.keys:
            self.effects.append(effect)
            self.seq += 1
            self.keys[key] = {"status": "OK", "seq": self.seq, "delivered": request.get("to") != "away"}
        return dict(self.keys[key])

    def _message(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._once(request, request["text"])

    def _broadcast(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**self._once(request, request["text"]), "undelivered": 0}

    def _block(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**self._once(request, "block " + request["user"]), "user": request["user"]}

    def _read(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"status": "OK", "items": [] if request["action"] in ("fileget", "history") else ["ann"]}


class Wire:
    """A conversation and a fake server, joined by hand; `now` is the time of both."""

    def __init__(self, conversation: Any, server: FakeServer | None = None, size: int = 0) -> None:
        self.conversation = conversation
        self.server = server or FakeServer()
        self.size = size  # bytes that the client is given at once; 0: all
        self.now = 100.0
        self.news: list[Any] = []
        self.at = ""  # which of several servers it is

    def connect(self) -> None:
        self.server.connect()
        self.conversation.connected(self.now, None, self.at)
        self.run()

    def run(self) -> list[Any]:
        """Moves bytes until both are silent; returns the news of it."""
        fresh: list[Any] = []
        while True:
            output = self.conversation.take_output()
            said = self.server.feed(output) + self.server.take()
            if self.conversation.state is not None:
                step = self.size or max(len(said), 1)
                for start in range(0, len(said), step):
                    self.conversation.received(said[start : start + step], self.now)
            fresh += self.conversation.take_news()
            if not said and not output:
                break
        self.news += fresh
        return fresh

    def cut(self) -> list[Any]:
        """The connection is lost, with whatever was on its way."""
        self.conversation.disconnected("The cable was pulled.", self.now)
        self.server.connect()
        return self.run()

    def log_in(self, user: str = "bob", password: str = "secret") -> list[Any]:
        if self.conversation.state is None:
            self.connect()
        self.conversation.login(user, self.now)
        self.run()
        self.conversation.give_password(password)
        self.conversation.prove(self.now)
        return self.run()

    def pass_time(self, seconds: float) -> list[Any]:
        """Time passes; the conversation is called at its deadlines."""
        end, fresh = self.now + seconds, []
        while self.conversation.deadline() <= end:
            self.now = max(self.now, self.conversation.deadline())
            self.conversation.tick(self.now)
            fresh += self.run()
        self.now = end
        return fresh
