"""Requests: a session's lines, guarded (known? allowed in this state? well-formed?), become answers or commands.

Dispatch and guards come from the command table. Must not know when a command is carried out; what must happen then is
in AFTER. Nothing here raises for what a peer sends: it gets a refusal that names what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from chatlib.core.talk import refusal
from chatlib.core.world import Command, Reply
from chatlib.protocol.commands import ACTIONS, IS_WELL_FORMED, Row, Runs, State, check
from chatlib.protocol.framing import BadLine, decode_request
from chatlib.protocol.kinds import ID
from chatlib.protocol.text import printable
from chatlib.server import admission, answers, proving

if TYPE_CHECKING:
    from chatlib.server.session import Session

_CHEAP = frozenset({"alive", "hello"})  # what only reads, and never takes long
_CHANGES = Runs.CHANGES  # looked up once: an enum's member costs more than a global


def take(session: Session, line: bytes) -> None:
    """One line of a session."""
    try:
        request = decode_request(line)
    except BadLine as wrong:
        _refuse(session, None, None, "BAD_REQUEST", str(wrong))
        return
    echo, request_id = request.get("action"), request.get("id")
    command = session.actions.get(echo) if type(echo) is str else None
    if command is None:
        _refuse_action(session, echo, request_id)
        return
    if not IS_WELL_FORMED[command.name](request):
        _refuse(session, echo, request_id, "BAD_REQUEST", check(command, request) or "")
        return
    _dispatch(session, command, line, request)


def _dispatch(session: Session, command: Row, line: bytes, request: dict[str, Any]) -> None:
    server, loop, intake = session.server, session.server.loop, session.intake
    echo, request_id = request["action"], request.get("id")
    name, runs, user = command.name, command.runs, session.user
    if user and name != "alive":
        session.last_command = loop.now
        server.log.count(user, name)
    elif user and request.get("active"):
        session.last_command = loop.now
    if runs is _CHANGES and user and name != "logout":
        # The record is the client's own line with two fields in front: nothing is encoded again. The guards have
        # refused a line that has these fields itself.
        record = b'{"by":"%b","at":%b,%b' % (user.encode(), loop.wall_text, line.strip()[1:])
        request["by"], request["at"] = user, loop.wall
        intake.submit(echo, request_id, request, record)
    elif runs is Runs.PROVES:
        step = partial(proving.step, session, command.name, echo, request_id, request)
        intake.read(echo, request_id, step, barrier=True)
    elif runs is Runs.CARRIES:
        _refuse(session, echo, request_id, "NOT_ALLOWED", f'"{name}" must be the first line of a connection.')
    elif name in _CHEAP:
        intake.read(echo, request_id, partial(_answer, session, name, request))
    elif runs is not _CHANGES:
        intake.read_dearly(echo, request_id, partial(_answer, session, name, request))
    elif name == "logout":
        if "seen" in request:
            session.acknowledge(request["seen"])
        intake.submit(echo, request_id, session.departure(), None, barrier=True)
    elif "verifier" not in request:  # register: the question whether the name is free
        intake.read(echo, request_id, partial(_answer, session, name, request))
    else:  # register: before login, so nobody's key
        changes = {field: value for field, value in request.items() if field not in ("id", "key")}
        intake.submit(echo, request_id, {**changes, "at": loop.wall}, None, barrier=True)


def _answer(session: Session, name: str, request: dict[str, Any]) -> Reply:
    if session.over:  # it ended while this waited behind earlier requests
        return refusal("NOT_ALLOWED", "You are no longer logged in.")
    return answers.READS[name](session, request)


def _refuse_action(session: Session, echo: Any, request_id: Any) -> None:
    if type(echo) is str and echo in ACTIONS:
        _refuse(session, echo, request_id, "NOT_ALLOWED", _not_allowed(ACTIONS[echo], session.state))
    elif type(echo) is str:
        name = printable(echo[:64])
        _refuse(session, name, request_id, "UNKNOWN_ACTION", f'There is no action "{name}".')
    else:
        _refuse(session, None, request_id, "BAD_REQUEST", 'Field "action" must be the name of an action.')


def _refuse(session: Session, echo: Any, request_id: Any, status: str, text: str) -> None:
    session.intake.read(echo, request_id if ID.accepts(request_id) else None, lambda: refusal(status, text))
    session.mistaken()


def _not_allowed(command: Row, state: State) -> str:
    when = " or ".join(sorted(allowed.value for allowed in command.states))
    if state is State.NEW:
        return f'Say {{"action": "hello", "protocol": 1}} first; "{command.name}" is allowed {when}.'
    return f'"{command.name}" is allowed {when}; you are {state.value}.'


# What follows when a command was carried out, in place of just its reply.


def _after_login(session: Session, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
    proof, session.exchange = session.exchange, None
    if session.server.entering.get(command["user"]) is session:
        del session.server.entering[command["user"]]
    if reply["status"] == "OK" and proof is not None:
        reply = {**reply, "scram": proof.answer}
        admission.came_in(session, command["user"], reply["seq"], lambda: session.reply(echo, request_id, reply))
    else:
        session.reply(echo, request_id, reply)


def _after_proof(session: Session, echo: Any, request_id: Any, _command: Command, reply: Reply) -> None:
    proof, session.exchange = session.exchange, None
    if reply["status"] == "OK" and proof is not None and not proof.until:
        reply = {**reply, "scram": proof.answer}
    session.reply(echo, request_id, reply)


def _after_depart(session: Session, echo: Any, request_id: Any, _command: Command, _reply: Reply) -> None:
    session.reply(echo, request_id, {"status": "OK"})
    session.end("LOGGED_OUT", "Goodbye!")


def _after_account(session: Session, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
    what = command["action"].replace("_", " ")
    session.server.note(f"{what} {command['user']} from {session.address}: {reply['status']}")
    _after_proof(session, echo, request_id, command, reply)


AFTER: dict[str, Callable[[Session, Any, Any, Command, Reply], None]] = {
    "login": _after_login,
    "register": _after_account,
    "wrong_password": _after_account,
    "deregister": _after_account,
    "password": _after_proof,
    "depart": _after_depart,
}
