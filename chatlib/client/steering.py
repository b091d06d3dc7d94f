"""A console from afar, without I/O: bytes in → calls of a person's, bytes out. It lives as long as one connection.

Must not know sockets, screens or the clock: time is the parameter `now`. Legal order: ``connected → received* →
disconnected``, as for a conversation, under a :class:`.Link`; ``give`` behind each ``asked``; ``line``, ``complete``
and ``interrupt`` while ``open``; ``leave`` at any time. After ``over`` nothing happens. A console does not come back by
itself: what was typed last may have been done, or not, and a person decides. A password is kept nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chatlib.client.failures import NEEDS_TLS, relayed, stranger
from chatlib.client.heartbeat import NEVER, Heartbeat
from chatlib.client.news import FINAL, Fields, Request, status_of, text_of
from chatlib.client.proof import ClientProof
from chatlib.client.trust import Certificate
from chatlib.protocol.commands import State
from chatlib.protocol.framing import BadLine, LineBuffer, LineTooLong, decode, encode
from chatlib.protocol.scram import ScramError, new_nonce
from chatlib.protocol.text import ADMIN

LEAVING = 3.0  # seconds that a person waits for what was asked for last


class AtConsole(Protocol):
    """Who sits at the console."""

    def asked(self) -> None:
        """The password is wanted."""

    def refused(self, text: str) -> None:
        """It was wrong; ``asked`` follows."""

    def opened(self) -> None:
        """It was right."""

    def told(self, text: str, at: float) -> None:
        """Lines of the console's; with a time when nobody here has asked for them, else 0."""

    def prompted(self, text: str, question: bool) -> None:
        """What stands before the next line."""

    def completed(self, line: str, items: list[str]) -> None:
        """What a half-typed line may become."""

    def nothing_left(self) -> None:
        """There was nothing to interrupt."""

    def over(self, status: str, text: str) -> None:
        """The end: ``LOGGED_OUT`` when it was left."""


class Steering:
    """One administrator's console at one server."""

    def __init__(self, person: AtConsole, token: Callable[[], str] = new_nonce) -> None:
        self.state: State | None = None  # None: not connected
        self.user = ""  # nobody's
        self.wanted = True
        self.retry_after = 0.0
        self.spare = False  # whether another server is tried while none has answered: the link says so
        self.passed_over = ""
        self.servers: object = None
        self.committed = False  # a console does not go from server to server
        self.is_over = False
        self.offers_tls = False  # whether the server says so, on a connection without it
        self._certificate: Certificate | None = None
        self._person, self._token = person, token
        self._client = token()
        self._proof: ClientProof | None = None
        self._heartbeat = Heartbeat()
        self._lines = LineBuffer()
        self._heard = 0.0
        self._leaves, self._leave_at = False, NEVER
        self._number = 0
        self._sent: dict[int, tuple[Request, float]] = {}  # unanswered, and since when
        self._output: list[bytes] = []

    # The person's side.

    @property
    def open(self) -> bool:
        """Whether lines are taken."""
        return self.state is State.CONSOLE and not self._leaves

    @property
    def is_calling(self) -> bool:
        """Whether the server has not been heard yet."""
        return self.state in (None, State.NEW) and not self.is_over

    def asks(self, action: str) -> bool:
        """Whether such a request has no answer yet."""
        return any(request.action == action for request, _ in self._sent.values())

    def give(self, password: str, now: float) -> None:
        """Answers ``asked`` (takes a moment). Raises ScramError for what cannot be a password."""
        if self._proof is not None:
            self._proof.give(password)
            self._send(self._proof.final(), now)

    def line(self, text: str, columns: int, now: float) -> None:
        """A line was typed, at a terminal so wide (0: there is none)."""
        self._send(Request("console", {"line": text, "columns": columns}), now)

    def complete(self, line: str, now: float) -> None:
        """Asks what a half-typed line may become."""
        self._send(Request("complete", {"line": line}), now)

    def interrupt(self, now: float) -> None:
        """Ends a list, or leaves a question, if there is one."""
        self._send(Request("interrupt", {}), now)

    def active(self, now: float) -> None:
        """Somebody is there."""
        if self.state is State.CONSOLE:
            self._heartbeat.active(now)

    def leave(self, now: float, patient: bool) -> None:
        """Leaves, when all that was asked for has come; a person does not wait for it long, unless `patient`."""
        if self.state is not State.CONSOLE or self._leaves:
            self.end("LOGGED_OUT", "")
            return
        self._leaves = True
        self._leave_at = NEVER if patient else now + LEAVING
        self._send(Request("leave", {}), now)

    def end(self, status: str, text: str) -> None:
        """It is over now."""
        self.state, self.wanted, self._proof = None, False, None
        text = NEEDS_TLS if status == "TLS_REQUIRED" else text
        if not self.is_over:
            self.is_over = True
            self._person.over(status, text)

    # The connection's side.

    def take_output(self) -> bytes:
        """The bytes to be sent, once."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def connected(self, now: float, certificate: Certificate | None = None, server: str = "") -> None:
        """A connection is there: greets the server."""
        self.state, self._heard, self._certificate = State.NEW, now, certificate
        self._send(Request("hello", {"protocol": 1, "client": self._client, "console": True}), now)

    def received(self, chunk: bytes, now: float) -> None:
        """Bytes from the server."""
        self._heard = now
        try:
            for line in self._lines.feed(chunk):
                if self.state is not None:
                    self._hear(decode(line), now)
        except (BadLine, LineTooLong):
            text = stranger(chunk) if self.is_calling else "The server does not speak this program's protocol."
            self.disconnected(text, now, "PROTOCOL_ERROR")
        except ScramError as error:
            self.end("NOT_TRUSTED", str(error))

    def disconnected(self, text: str, _now: float, status: str = "LOST") -> None:
        """The connection is gone, or could not be made."""
        if self.state is State.NEW and self.spare and status not in FINAL - {"PROTOCOL_ERROR"}:
            self.passed_over = text
            self.forsake()
            return
        self.end("LOGGED_OUT" if self._leaves and status in ("LOST", "LOGGED_OUT") else status, text)

    def forsake(self) -> None:
        """Nothing more is said or heard on this connection; another one follows."""
        self.state = None
        self._sent.clear()
        self._output.clear()
        self._lines = LineBuffer()

    def deadline(self) -> float:
        """When ``tick`` is wanted; infinity: not at all."""
        if self.state is None:
            return NEVER
        return min(self._heartbeat.deadline(), self._leave_at, self._dead_at())

    def tick(self, now: float) -> None:
        """Sends the heartbeat that is due; notices a server that is dead."""
        if self.state is None:
            return
        if now >= self._leave_at:
            self.end("LOGGED_OUT", "")
        elif now >= self._dead_at():
            self.end("LOST", "The server does not answer any more.")
        elif now >= self._heartbeat.deadline():
            self._send(Request("alive", {"active": True} if self._heartbeat.is_active else {}), now)
            self._heartbeat.sent(now)

    # Inside.

    def _send(self, request: Request, now: float) -> None:
        self._number += 1
        self._sent[self._number] = request, now
        self._output.append(encode({**request.message(), "id": self._number}))

    def _dead_at(self) -> float:
        if not self._sent:
            return NEVER
        _, since = next(iter(self._sent.values()))
        return self._heartbeat.dead_at(self._heard, since)

    def _hear(self, message: Fields, now: float) -> None:
        if "event" in message:
            self._hear_event(message)
            return
        number = message.get("id")
        if not isinstance(number, int) or number not in self._sent:
            return  # a refusal of something that was no request; a bye follows
        request, _ = self._sent.pop(number)
        fine = status_of(message) == "OK"
        match request.action:
            case "hello" if fine:
                self._heartbeat.choose(message.get("heartbeat"))
                self.offers_tls = message.get("tls") is True
                self.state = State.GREETED
                self._begin(now)
            case "admin":
                self._hear_proof(message, now)
            case "complete" if fine:
                items = message.get("items")
                found = [str(item) for item in items] if isinstance(items, list) else []
                self._person.completed(str(request.fields["line"]), found)
            case "interrupt" if fine:
                if message.get("left") is not True:
                    self._person.nothing_left()
            case "hello":
                self.disconnected(text_of(message), now, status_of(message))
            case _ if not fine:
                self._person.told(f"Error! {text_of(message)}", 0.0)

    def _begin(self, now: float) -> None:
        self._proof = ClientProof("admin", ADMIN, self._token)
        binding = self._certificate.binding if self._certificate else None if self.offers_tls else b""
        self._send(self._proof.begin(binding), now)

    def _hear_proof(self, reply: Fields, now: float) -> None:
        proof, status = self._proof, status_of(reply)
        if proof is None:
            return
        if status == "CONTINUE":
            proof.challenged(str(reply.get("scram")))
            self._person.asked()
        elif status == "OK":
            proof.check(str(reply.get("scram")))
            if self._certificate:
                self._certificate.proven()
            self._proof, self.state = None, State.CONSOLE
            self._heartbeat.start(now)
            self._person.opened()
        elif status == "WRONG_PASSWORD":
            self._person.refused(text_of(reply))
            if not self.is_over:
                self._begin(now)
        elif self._certificate and status == "BAD_REQUEST":
            self.end("NOT_TRUSTED", relayed(self._certificate.fingerprint, proof.proving))
        else:
            self.end(status, text_of(reply))

    def _hear_event(self, event: Fields) -> None:
        text, at = text_of(event), event.get("time")
        match event["event"]:
            case "bye":
                self.disconnected(text, 0.0, status_of(event))
            case "console":
                self._person.told(str(event.get("text", "")), at if isinstance(at, float | int) else 0.0)
            case "prompt":
                self._person.prompted(str(event.get("text", "")), event.get("question") is True)
