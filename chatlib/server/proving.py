"""Proving a password, in two requests (RFC 5802): login, deregister, password. The costly hashing is the client's.

The first request finds the verifier and answers a challenge; the second is checked here, and becomes a command that
says whether the password was proven. Nothing secret is kept longer than the two requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatlib.core import entry
from chatlib.core.talk import no_such_user, refusal
from chatlib.core.world import Reply
from chatlib.protocol.scram import ScramError, ServerExchange, new_nonce, parse_verifier
from chatlib.protocol.text import fold, is_name

if TYPE_CHECKING:
    from chatlib.server.session import Session


@dataclass(slots=True)
class Proof:
    """A conversation under way: for which action, as whom."""

    action: str
    user: str
    exchange: ServerExchange
    answer: str = ""  # the server's own proof, to be sent with OK


def step(session: Session, action: str, echo: Any, request_id: Any, request: dict[str, Any]) -> Reply:
    """The first or the second request. An empty reply: a command is on its way, which will be answered."""
    scram = request["scram"]
    if scram.startswith("n,"):
        return _begin(session, action, scram)
    proof = session.exchange
    if proof is None or proof.action != action:
        return refusal("BAD_REQUEST", f'Field "scram": "{action}" begins with a first SCRAM message ("n,,n=...").')
    if action == "login" and _is_given_up(session, proof):
        session.exchange = None
        return entry.already_online(proof.user)
    if action == "password" and "verifier" not in request:
        return refusal("BAD_REQUEST", 'Field "verifier" is missing: that of the new password.')
    try:
        answer = proof.exchange.verify(scram)
    except ScramError as wrong:
        session.exchange = None
        return refusal("BAD_REQUEST", f'Field "scram": {wrong}')
    command: dict[str, Any] = {"action": action, "at": session.server.loop.wall}
    # The verifier may have changed, or the account gone, since the challenge.
    if answer is None or not _still_holds(session, proof):
        session.exchange = None
        command.update(action="wrong_password", user=proof.user, address=session.address)
    else:
        proof.answer = answer
        command.update(_PROVEN[action](session, proof, request))
    session.submit(echo, request_id, command, barrier=True)
    return {}


def _is_given_up(session: Session, proof: Proof) -> bool:
    """Whether this client has logged in on a newer connection: what arrives on this one now was held up under way."""
    if session.client is None:
        return False
    server = session.server
    known = (server.delivery.sessions.get(proof.user), server.entering.get(proof.user))
    return any(other and other.client == session.client and other.born > session.born for other in known)


def _still_holds(session: Session, proof: Proof) -> bool:
    account = session.server.world.accounts.get(proof.user)
    return account is not None and parse_verifier(account.verifier) == proof.exchange.verifier


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
    now = session.server.loop.wall
    account = world.accounts.get(user)
    if account is None:
        return no_such_user(name)
    if action == "login":
        refused = entry.login_refusal(world, user, session.address, session.client, now)
        if refused:
            return refused
    seconds = world.lockouts.seconds_left(user, world.origin(session.address), now)
    if seconds:
        return entry.locked_out(account.name, seconds)
    if action == "deregister" and user in world.online:
        return entry.already_online(account.name)
    exchange = ServerExchange.begin(scram, parse_verifier(account.verifier), new_nonce())
    session.exchange = Proof(action, user, exchange)
    return {"status": "CONTINUE", "scram": exchange.challenge}


def _login(session: Session, proof: Proof, request: dict[str, Any]) -> dict[str, Any]:
    session.server.entering[proof.user] = session
    fields: dict[str, Any] = {"user": proof.user, "address": session.address}
    if session.client is not None:
        fields["client"] = session.client
    earlier = session.server.delivery.sessions.get(proof.user)
    if earlier is not None:
        fields["seen"] = earlier.seen()  # before it is replaced: what it has seen is not told again
    if "seen" in request:
        # From the first event on: its connection may break before it could say alive.
        session.acknowledges = True
        fields["seen"] = max(fields.get("seen", 0), min(request["seen"], session.server.world.lsn))
    return fields


def _deregister(_session: Session, proof: Proof, _request: dict[str, Any]) -> dict[str, Any]:
    return {"user": proof.user}


def _password(_session: Session, proof: Proof, request: dict[str, Any]) -> dict[str, Any]:
    return {"by": proof.user, "verifier": request["verifier"]}


_PROVEN = {"login": _login, "deregister": _deregister, "password": _password}
