"""Proving a password, in two requests (RFC 5802): login, deregister, password; and the administrator's: sht, admin.
The costly hashing is the client's.

The first request finds the verifier and answers a challenge; the second is checked here, and becomes a command that
says whether the password was proven, and of which account and verifier: whoever registers the name meanwhile is
somebody else. A change of password may come in three: the old password is proven first, the new verifier follows.
Whether somebody is online is said to nobody before the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chatlib.core import admin, entry, proofs
from chatlib.core.replies import no_such_user, refusal
from chatlib.core.world import Reply, World
from chatlib.protocol.scram import OtherChannel, ScramError, ServerExchange, new_nonce, parse_verifier
from chatlib.protocol.text import ADMIN, fold, is_name
from chatlib.reactor.loop import Loop
from chatlib.server.acknowledged import Acknowledged
from chatlib.server.admission import Seats
from chatlib.server.proof import ProofUnderWay
from chatlib.server.session import Session
from chatlib.server.tlsdoor import TlsDoor

_AS_ADMIN = ("sht", "admin")  # what takes the administrator's password
_ANYONE = ("password", "sht")  # whoever sits at a client that is logged in may be somebody else by now
PROVEN = 180.0  # seconds that a proven old password waits for the new one


class Proving:
    """The proofs of all sessions; each session keeps its own. Legal order: ``step`` for each request."""

    def __init__(
        self, world: World, loop: Loop, seats: Seats, sessions_of: Callable[[str], Sequence[Session]],
        acknowledged: Acknowledged, tls: TlsDoor, node: str = "",
    ) -> None:  # fmt: skip
        """`sessions_of`: those of a user that are open. `node`: what this server is called in its cluster, if any."""
        self._node = node
        self._world, self._loop, self._seats = world, loop, seats
        self._sessions_of, self._acknowledged, self._tls = sessions_of, acknowledged, tls

    def step(self, session: Session, action: str, echo: Any, request_id: Any, request: dict[str, Any]) -> Reply:
        """One request of a proof. An empty reply: a command is on its way, which will be answered."""
        scram = request.get("scram")
        if scram is None:
            return self._change(session, echo, request_id, request)
        if scram.startswith(("n,", "y,", "p=")):
            return self._begin(session, action, scram)
        proof = session.proof
        if proof is None or proof.action != action or proof.until:
            return refusal("BAD_REQUEST", f'Field "scram": "{action}" begins with a first SCRAM message ("n,,n=...").')
        try:
            answer = proof.exchange.verify(scram)
        except ScramError as wrong:
            session.proof = None
            return self._malformed(wrong)
        if answer is None:
            session.proof = None
            return self._submit(session, echo, request_id, proof, "wrong_password", user=proof.user)
        proof.answer = answer
        if action == "login":
            return self._login(session, echo, request_id, proof, request)
        if action == "deregister" or action in _AS_ADMIN:
            return self._submit(session, echo, request_id, proof, action, user=proof.user)
        if "verifier" in request:
            return self._submit(session, echo, request_id, proof, action, by=proof.user, verifier=request["verifier"])
        proof.until = self._loop.now + PROVEN
        return {"status": "OK", "scram": answer}

    def _submit(
        self, session: Session, echo: Any, request_id: Any, proof: ProofUnderWay, action: str, **fields: Any
    ) -> Reply:
        command = {"action": action, "at": self._loop.wall, "address": session.address, **proof.against, **fields}
        if session.client is not None and proof.action != "sht":
            command["client"] = session.client
        session.intake.submit(echo, request_id, command, None, barrier=True)
        return {}

    def _begin(self, session: Session, action: str, scram: str) -> Reply:
        session.proof = None
        try:
            name = ServerExchange.user_of(scram)
        except ScramError as wrong:
            return self._malformed(wrong)
        if not is_name(name):
            return refusal("BAD_REQUEST", 'Field "scram": the user\'s name must be 1 to 32 of A-Z a-z 0-9 _ . -')
        user = fold(name)
        if action == "password" and user != session.user:
            return refusal("BAD_REQUEST", 'Field "scram": you may change your own password only.')
        if action in _AS_ADMIN and user != ADMIN:
            return refusal("BAD_REQUEST", f'Field "scram": this is proven as "{ADMIN}".')
        account = self._world.admin if action in _AS_ADMIN else self._world.accounts.get(user)
        if account is None:
            return admin.no_password(self._world) if action in _AS_ADMIN else no_such_user(name)
        client = session.client if action not in _ANYONE else None
        refused = proofs.lockout_refusal(self._world, account, session.address, client, self._loop.wall)
        if refused:
            return refused
        try:
            exchange = ServerExchange.begin(
                scram, parse_verifier(account.verifier), new_nonce(), session.binding, offers_tls=self._tls.offered
            )
        except ScramError as wrong:
            return self._malformed(wrong)
        session.proof = ProofUnderWay(action, user, proofs.proof_of(account), exchange)
        return {"status": "CONTINUE", "scram": exchange.challenge}

    def _malformed(self, wrong: ScramError) -> Reply:
        if isinstance(wrong, OtherChannel):
            self._tls.somebody_in_between()
        return refusal("BAD_REQUEST", f'Field "scram": {wrong}')

    def _login(
        self, session: Session, echo: Any, request_id: Any, proof: ProofUnderWay, request: dict[str, Any]
    ) -> Reply:
        if self._is_given_up(session, proof):
            session.proof = None
            return entry.already_online(proof.user)
        full = self._seats.refusal(session, proof.user)
        if full:
            session.proof = None
            return full
        self._seats.enters(session, proof.user)
        fields: dict[str, Any] = {"user": proof.user}
        if self._node:  # at execution the world compares them with those of the other servers
            fields |= {"node": self._node, "connection": session.ordinal}
        earlier = self._sessions_of(proof.user)
        if seen := self._acknowledged.seen(proof.user):  # before one is replaced: that is not told again
            fields["seen"] = seen
        if "seen" in request:
            # From the first event on: its connection may break before it could say alive.
            session.reader.acknowledges = True
            fields["seen"] = max(fields.get("seen", 0), min(request["seen"], self._world.lsn))
        if self._world.parameters["DUPLICATE_LOGIN"] == "share":
            proof.resumes = request.get("resume", False)
            fields |= self._goes_on(session, earlier, request)
        return self._submit(session, echo, request_id, proof, "login", **fields)

    def _goes_on(self, session: Session, earlier: Sequence[Session], request: dict[str, Any]) -> dict[str, int]:
        """Where a client that comes back goes on, though other sessions of its user have seen more."""
        known = [self._acknowledged.upto(each) for each in earlier if session.client and each.client == session.client]
        if "seen" in request and (known or request.get("resume")):
            known.append(min(request["seen"], self._world.lsn))
        return {"resume": max(known)} if known else {}

    def _is_given_up(self, session: Session, proof: ProofUnderWay) -> bool:
        """Whether this client has logged in on a newer connection: what arrives on this one was held up under way."""
        if session.client is None:
            return False
        known = (*self._sessions_of(proof.user), *self._seats.entering(proof.user))
        return any(other.client == session.client and other.born > session.born for other in known)

    def _change(self, session: Session, echo: Any, request_id: Any, request: dict[str, Any]) -> Reply:
        """The new verifier, behind the proof of the old password."""
        proof = session.proof
        if "verifier" not in request:
            return refusal("BAD_REQUEST", 'Field "scram" is missing: "password" begins with a first SCRAM message.')
        if proof is None or proof.until < self._loop.now:
            session.proof = None
            return refusal("BAD_REQUEST", 'Field "scram" is missing: prove the old password first.')
        return self._submit(session, echo, request_id, proof, "password", by=proof.user, verifier=request["verifier"])
