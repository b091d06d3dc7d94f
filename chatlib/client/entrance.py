"""Coming in: making an account, logging in, removing an account, changing the password, and all that once more by
itself on the next connection.

Must not know lines, events or time beyond the parameter `now`. Legal order: ``begin`` → ``give`` → ``prove`` (a change
of password may ``prove`` the old one first, and then ``renew``), or ``ask_name`` and ``register``; ``welcomed`` and
``greeted`` for each connection, ``hear`` for each reply to what was sent; ``interrupted`` when a session's is gone.
Invariants: a password is forgotten as soon as it is salted; nothing is proven that was not confirmed; while a session
lasts, and until the next one begins, `signature` is made of the password that the server has last accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chatlib.client import news as n
from chatlib.client.failures import relayed
from chatlib.client.news import Fields, News, Request, integer_of, status_of
from chatlib.client.proof import ClientProof, Salt, Signature
from chatlib.client.trust import Certificate
from chatlib.protocol.commands import State
from chatlib.protocol.scram import MAX_ITERATIONS, MIN_ITERATIONS, ScramError, salted_password, verifier_of
from chatlib.protocol.text import is_name


class EntranceHost(Protocol):
    """The conversation, as far as it concerns coming in."""

    state: State | None
    user: str  # empty before the first login
    wanted: bool  # whether there should be a connection

    def send(self, request: Request, now: float) -> None: ...

    def tell(self, item: News) -> None: ...

    def last_seen(self) -> int:
        """The last seq shown, of what the server at hand has given."""

    def entered(self, reply: Fields, now: float) -> None:
        """A session begins."""

    def shut_out(self, reply: Fields, now: float) -> None:
        """Coming back is refused."""

    def end(self, status: str, text: str) -> None: ...


class Entrance:
    """One user's way in. `iterations`: what the server asks for. `shares`: it lets a user have several sessions.
    `certificate`: the one of this connection, None: it is plain; `offers_tls`: although it need not be."""

    def __init__(self, host: EntranceHost, token: Callable[[], str], salt: Callable[[], bytes]) -> None:
        self.iterations = MIN_ITERATIONS
        self.signature: Signature | None = None  # what signs cheques, since the first login
        self.shares = self.offers_tls = False
        self.certificate: Certificate | None = None
        self._host, self._token, self._new_salt = host, token, salt
        self._keys: dict[Salt, bytes] = {}  # salted passwords, to log in again with
        self._proof: ClientProof | None = None
        self._changing: Salt | None = None  # the salt of a new password that may have been taken
        self._registration: Request | None = None

    # What is asked for.

    def begin(self, action: str, user: str, now: float) -> None:
        """``login`` is proven as soon as it can be, the others when ``prove`` says so."""
        self._proof = ClientProof(action, user, self._token, confirmed=action == "login")
        self._host.wanted = True
        self._begin(now)

    def _begin(self, now: float) -> None:
        if self._proof and self._host.state in (State.GREETED, State.ONLINE):
            self._host.send(self._proof.begin(self._binding), now)

    @property
    def committed(self) -> bool:
        """Whether a password was given."""
        return bool(self._keys) or (self._proof is not None and self._proof.salted is not None)

    @property
    def _binding(self) -> bytes | None:
        """What the server's proof and ours are bound to."""
        if self.certificate:
            return self.certificate.binding
        return None if self.offers_tls else b""

    def give(self, password: str) -> None:
        """Salts `password` (takes a moment) and forgets it. Raises ScramError for a bad one.

        What was to be proven may be over, though Challenged is still being read: then nothing happens.
        """
        if self._proof is not None and self._proof.salt is not None:
            self._proof.give(password)

    def prove(self, now: float, new_password: str | None = None) -> None:
        """Sends the proof that ``give`` prepared. Raises ScramError for a new password that is bad."""
        proof = self._proof
        if proof is None or (new_password is not None and proof.action == "login"):
            return  # the connection was lost: it is told that nothing was changed
        if new_password is not None:
            proof.new_salt, proof.verifier = self._new_password(new_password)
        proof.confirmed = self._host.wanted = True
        if self._host.state is not None and proof.ready:
            self._finish(proof, now)

    def renew(self, now: float, new_password: str) -> None:
        """The new password, behind the proof of the old one, which is made anew. Raises ScramError for a bad one."""
        proof = self._proof
        if proof is not None:
            proof.new_salt, proof.verifier = self._new_password(new_password)
            proof.confirmed = True
            self._begin(now)

    def cancel(self) -> None:
        """Gives up what was begun and not sent."""
        if self._proof and not (self._proof.confirmed and self._proof.proving):
            self._proof = None

    def ask_name(self, user: str, now: float) -> None:
        """Whether `user` may be registered."""
        self._register(Request("register", {"user": user}), now)

    def register(self, user: str, password: str, now: float) -> None:
        """Makes an account. Raises ScramError for a bad password."""
        self._register(Request("register", {"user": user, "verifier": self._new_password(password)[1]}), now)

    def _register(self, request: Request, now: float) -> None:
        self._registration = request
        self._host.wanted = True
        if self._host.state is State.GREETED:
            self._host.send(request, now)

    # What happens.

    def welcomed(self, hello: Fields) -> None:
        """The reply to a hello. Raises ScramError for a server that is not to be trusted."""
        iterations = integer_of(hello, "iterations")
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise ScramError(f"The server asks for {iterations} iterations; more than 4,096 are safe.")
        self.iterations = iterations
        self.shares = integer_of(hello, "sessions") > 0
        self.offers_tls = hello.get("tls") is True

    def greeted(self, now: float) -> bool:
        """The server is ready: goes on with what was begun; whether there was anything."""
        if self._proof:
            self._begin(now)
        elif self._registration:
            self._host.send(self._registration, now)
        return bool(self._proof or self._registration)

    def interrupted(self) -> None:
        """A session's connection is gone: the next one begins with a login, as the user that was."""
        proof = self._proof
        if proof and proof.action == "password":
            self._changing = proof.new_salt if proof.proving else None
            if not self._changing:
                self.changed(False)
        elif proof and proof.action == "sht":
            text = "The connection was lost before the server had answered."
            self._host.tell(n.Answered(Request("sht", {}), {"status": "LOST", "text": text}))
        self._proof = ClientProof("login", self._host.user, self._token)

    def forget(self) -> None:
        """The conversation is over: no password is kept."""
        self._keys.clear()
        self._proof = self.signature = None

    def hear(self, request: Request, reply: Fields, now: float) -> None:
        """The reply to something that was sent here."""
        if request.action == "register":
            if request is self._registration:
                self._registration = None
                if status_of(reply) == "OK" and "verifier" in request.fields:
                    self._proven()
                self._host.tell(n.Answered(request, reply))
            return
        proof = self._proof
        if proof is None or proof.request is not request:
            return  # it was cancelled
        again = bool(self._host.user) and proof.action == "login"
        if status_of(reply) == "CONTINUE":
            self._hear_challenge(proof, reply, again, now)
        else:
            self._hear_verdict(proof, reply, again, now)

    def _hear_challenge(self, proof: ClientProof, reply: Fields, again: bool, now: float) -> None:
        salt = proof.challenged(str(reply.get("scram")))
        if proof.action == "login":
            proof.salted = self._keys.get(salt, proof.salted)
        if proof.ready and proof.confirmed:
            self._finish(proof, now)
        elif again:
            self._host.end("WRONG_PASSWORD", "Your password was changed meanwhile.")
        elif not proof.ready:
            self._host.tell(n.Challenged(proof.action, proof.user))

    def _hear_verdict(self, proof: ClientProof, reply: Fields, again: bool, now: float) -> None:
        if status_of(reply) == "OK":
            proof.check(str(reply.get("scram")))
            self._proven()
            if proof.action == "login":
                self._enter(proof, reply, now)
                return
            if proof.action == "password" and not proof.new_salt:
                proof.confirmed = False
                self._host.tell(n.Proven(proof.action))
                return
            if proof.new_salt:
                self._accepted(proof.new_salt, self._keys[proof.new_salt])
        elif proof.new_salt:
            self._keys.pop(proof.new_salt, None)
        self._proof = None
        if self.certificate and is_name(proof.user) and status_of(reply) == "BAD_REQUEST":
            self._host.end("NOT_TRUSTED", relayed(self.certificate.fingerprint, proof.proving))
        elif again:
            self._host.shut_out(reply, now)
        else:
            self._host.tell(n.Answered(Request(proof.action, {"user": proof.user}), reply))

    def _proven(self) -> None:
        """The server on this connection is the one."""
        if self.certificate:
            self.certificate.proven()

    def _enter(self, proof: ClientProof, reply: Fields, now: float) -> None:
        assert proof.salt is not None and proof.salted is not None
        self._proof = None
        self._accepted(proof.salt, proof.salted)
        self._host.entered(reply, now)
        if self._changing:
            self.changed(self._changing == proof.salt)

    def changed(self, taken: bool) -> None:
        """What became of a change of password that a lost connection left open: the salt at the next login tells."""
        self._changing = None
        text = "The connection was lost before your password was changed."
        reply: Fields = {"status": "OK"} if taken else {"status": "LOST", "text": text}
        self._host.tell(n.Answered(Request("password", {"user": self._host.user}), reply))

    # Inside.

    def _accepted(self, salt: Salt, salted: bytes) -> None:
        self._keys = {salt: salted}
        self.signature = Signature.made(salt, salted)

    def _finish(self, proof: ClientProof, now: float) -> None:
        request = proof.final()
        if proof.action == "login":
            # In the same line: else the server would take for seen what the kernel took, until it hears alive.
            request.fields["seen"] = self._host.last_seen()
            if self._host.user and self.shares:  # what another session has seen meanwhile was not seen here
                request.fields["resume"] = True
        self._host.send(request, now)

    def _new_password(self, password: str) -> tuple[Salt, str]:
        """Its salt and its verifier; a login that meets this salt needs not ask for it."""
        salt, iterations = self._new_salt(), self.iterations
        self._keys[salt, iterations] = salted = salted_password(password, salt, iterations)
        return (salt, iterations), str(verifier_of(salted, salt, iterations))
