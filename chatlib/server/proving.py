"""Proving a password, in two requests (RFC 5802): login, deregister, password. The costly hashing is the client's.

The first request finds the verifier and answers a challenge; the second is checked here, and becomes a command that
says whether the password was proven, and of which account and verifier: whoever registers the name meanwhile is
somebody else. A change of password may come in three: the old password is proven first, the new verifier follows.
Nothing secret is kept longer than that. Whether somebody is online is said to nobody before the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatlib.core import entry
from chatlib.core.talk import no_such_user, refusal
from chatlib.core.world import Command, Reply
from chatlib.protocol.scram import ScramError, ServerExchange, new_nonce, parse_verifier
from chatlib.protocol.text import fold, is_name

if TYPE_CHECKING:
    from chatlib.server.session import Session

PROVEN = 180.0  # seconds that a proven old password waits for the new one


@dataclass(slots=True)
class Proof:
    """A conversation under way: for which action, as whom, against which account and verifier."""

    action: str
    user: str
    against: Command  # what the command says of it
    exchange: ServerExchange
    answer: str = ""  # the server's own proof, to be sent with OK
    until: float = 0.0  # the answer was sent; until then the new verifier may follow


def step(session: Session, action: str, echo: Any, request_id: Any, request: dict[str, Any]) -> Reply:
    """One request of a proof. An empty reply: a command is on its way, which will be answered."""
    scram = request.get("scram")
    if scram is None:
        return _change(session, echo, request_id, request)
    if scram.startswith(("n,", "y,")):
        return _begin(session, action, scram)
    proof = session.exchange
    if proof is None or proof.action != action or proof.until:
        return refusal("BAD_REQUEST", f'Field "scram": "{action}" begins with a first SCRAM message ("n,,n=...").')
    try:
        answer = proof.exchange.verify(scram)
    except ScramError as wrong:
        session.exchange = None
        return refusal("BAD_REQUEST", f'Field "scram": {wrong}')
    if answer is None:
        session.exchange = None
        return _submit(session, echo, request_id, proof, "wrong_password", user=proof.user)
    proof.answer = answer
    if action == "login":
        return _login(session, echo, request_id, proof, request)
    if action == "deregister":
        return _submit(session, echo, request_id, proof, action, user=proof.user)
    if "verifier" in request:
        return _submit(session, echo, request_id, proof, action, by=proof.user, verifier=request["verifier"])
    proof.until = session.server.loop.now + PROVEN
    return {"status": "OK", "scram": answer}


def _submit(session: Session, echo: Any, request_id: Any, proof: Proof, action: str, **fields: Any) -> Reply:
    command = {"action": action, "at": session.server.loop.wall, "address": session.address, **proof.against, **fields}
    if session.client is not None:
        command["client"] = session.client
    session.intake.submit(echo, request_id, command, None, barrier=True)
    return {}


def _begin(session: Session, action: str, scram: str) -> Reply:
    world, session.exchange = session.server.world, None
    try:
        name = ServerExchange.user_of(scram)
    except ScramError as wrong:
        return refusal("BAD_REQUEST", f'Field "scram": {wrong}')
    if not is_name(name):
        return refusal("BAD_REQUEST", 'Field "scram": the user\'s name must be 1 to 32 of A-Z a-z 0-9 _ . -')
    user = fold(name)
    if action == "password" and user != session.user:
        return refusal("BAD_REQUEST", 'Field "scram": you may change your own password only.')
    account = world.accounts.get(user)
    if account is None:
        return no_such_user(name)
    client = session.client if action != "password" else None  # whoever sits there now may be somebody else
    refused = entry.lockout_refusal(world, account, session.address, client, session.server.loop.wall)
    if refused:
        return refused
    exchange = ServerExchange.begin(scram, parse_verifier(account.verifier), new_nonce())
    session.exchange = Proof(action, user, entry.proof_of(account), exchange)
    return {"status": "CONTINUE", "scram": exchange.challenge}


def _login(session: Session, echo: Any, request_id: Any, proof: Proof, request: dict[str, Any]) -> Reply:
    server = session.server
    if _is_given_up(session, proof):
        session.exchange = None
        return entry.already_online(proof.user)
    full = server.seats.refusal(session, proof.user)
    if full:
        session.exchange = None
        return full
    server.entering[proof.user] = session
    fields: dict[str, Any] = {"user": proof.user}
    earlier = server.delivery.sessions.get(proof.user)
    if earlier is not None:
        fields["seen"] = earlier.seen()  # before it is replaced: what it has seen is not told again
    if "seen" in request:
        # From the first event on: its connection may break before it could say alive.
        session.reader.acknowledges = True
        fields["seen"] = max(fields.get("seen", 0), min(request["seen"], server.world.lsn))
    return _submit(session, echo, request_id, proof, "login", **fields)


def _is_given_up(session: Session, proof: Proof) -> bool:
    """Whether this client has logged in on a newer connection: what arrives on this one now was held up under way."""
    if session.client is None:
        return False
    server = session.server
    known = (server.delivery.sessions.get(proof.user), server.entering.get(proof.user))
    return any(other and other.client == session.client and other.born > session.born for other in known)


def _change(session: Session, echo: Any, request_id: Any, request: dict[str, Any]) -> Reply:
    """The new verifier, behind the proof of the old password."""
    proof = session.exchange
    if "verifier" not in request:
        return refusal("BAD_REQUEST", 'Field "scram" is missing: "password" begins with a first SCRAM message.')
    if proof is None or proof.until < session.server.loop.now:
        session.exchange = None
        return refusal("BAD_REQUEST", 'Field "scram" is missing: prove the old password first.')
    return _submit(session, echo, request_id, proof, "password", by=proof.user, verifier=request["verifier"])
