"""Requests: what sessions ask for, guarded (known? allowed in this state? well-formed?), becomes answers or commands.

Dispatch and guards come from the command table. What may be answered at once is asked of the world's features, or of
the edge (`edge`: what concerns connections, seats and tickets). Must not know when a command is carried out; what must
happen then is in `_after`. Nothing here raises for what a peer sends: it gets a refusal that names what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from chatlib.core.features import ANSWERS
from chatlib.core.replies import refusal
from chatlib.core.sessions import that_began
from chatlib.core.world import Command, Reply, World
from chatlib.protocol.commands import ACTIONS, IS_WELL_FORMED, Row, Runs, State, check, status
from chatlib.protocol.framing import BadLine
from chatlib.protocol.kinds import ID
from chatlib.protocol.text import counted, printable
from chatlib.reactor.loop import Loop
from chatlib.server import dialects
from chatlib.server.acknowledged import Acknowledged
from chatlib.server.administrators import Administrators
from chatlib.server.admission import Seats
from chatlib.server.dialects import Opening
from chatlib.server.door import Door
from chatlib.server.figures import Figures
from chatlib.server.proving import Proving
from chatlib.server.searches import Searches
from chatlib.server.session import Session
from chatlib.server.sessions import Sessions
from chatlib.storage.serverlog import DEBUG, ServerLog

EdgeAnswer = Callable[[Session, dict[str, Any]], Reply]
After = Callable[[Session, Any, Any, Command, Reply], None]
_CHEAP = frozenset({"alive", "hello"})  # what only reads, and never takes long
_NO_REFUSALS = frozenset({"ASKED", "CONTINUE", "WAITING"})
_TRIED = frozenset({"login", "deregister", "admin"})  # what a stranger proves a password for
_CHANGES = Runs.CHANGES  # looked up once: an enum's member costs more than a global


class Requests:
    """The desk of all sessions (:class:`chatlib.server.session.Desk`)."""

    def __init__(
        self, *, openings: Sequence[Opening], world: World, loop: Loop, log: ServerLog, seats: Seats, proving: Proving,
        sessions: Sessions, acknowledged: Acknowledged, administrators: Administrators, searches: Searches, door: Door,
        edge: Mapping[str, EdgeAnswer], note: Callable[[str], None], figures: Figures,
    ) -> None:  # fmt: skip
        """`openings`: the dialects, in the order in which they are asked."""
        self._openings, self._world, self._loop, self._log, self._seats = openings, world, loop, log, seats
        self._proving, self._sessions, self._acknowledged, self._note = proving, sessions, acknowledged, note
        self._administrators, self._searches, self._door = administrators, searches, door
        self._heard, self._figures = log.heard.append, figures
        self.debugs = False  # each request stands in the log
        self._edge = {"alive": self._alive, **edge}
        # What follows when a command was carried out, in place of just its reply.
        self._after: Mapping[str, After] = {
            "login": self._after_login,
            "register": self._after_account,
            "wrong_password": self._after_account,
            "deregister": self._after_account,
            "password": self._after_proof,
            "depart": self._after_depart,
            "sht": self._after_sht,
            "admin": self._after_admin,
        }

    def begin(self, session: Session, data: bytes) -> None:
        """A connection's first bytes tell what it speaks."""
        dialects.choose(self._openings, session, data)

    def handle(self, session: Session, message: bytes) -> None:
        """One message of a session."""
        assert session.wire is not None
        try:
            request = session.wire.request(message)
        except BadLine as wrong:
            self._refuse(session, None, None, "BAD_REQUEST", str(wrong))
            return
        echo, request_id = request.get("action"), request.get("id")
        row = session.actions.get(echo) if type(echo) is str else None
        if self.debugs:
            self._debug("request", session, row.name if row else None, request_id)
        if row is None:
            self._refuse_action(session, echo, request_id)
        elif not IS_WELL_FORMED[row.name](request):
            self._refuse(session, echo, request_id, status(row, request), check(row, request) or "")
        elif row.runs is _CHANGES and session.user and row.name != "logout":
            loop, user = self._loop, session.user
            session.last_command = loop.now
            self._heard((user, row.name))
            # The record is the client's own line with two fields in front: nothing is encoded again. The guards have
            # refused a line that has these fields itself.
            record = None
            if session.translate is None:
                record = b"%b%b,%b" % (session.stamp, loop.wall_text, message.strip()[1:])
            request["by"], request["at"] = user, loop.wall
            session.intake.submit(echo, request_id, request, record)
        else:
            self._dispatch(session, row, request)

    def _dispatch(self, session: Session, row: Row, request: dict[str, Any]) -> None:
        """Whatever is not a user's ordinary change."""
        intake, echo, request_id = session.intake, request["action"], request.get("id")
        name, runs = row.name, row.runs
        if name != "alive" or request.get("active"):
            session.last_command = self._loop.now
        self._heard((session.user if name != "alive" else "", name))
        if runs is Runs.PROVES:
            step = partial(self._proving.step, session, name, echo, request_id, request)
            last = request.get("scram", "").startswith("c=")
            if session.user or last or self._door.may_try(session):
                intake.read(echo, request_id, step, barrier=True, fresh=not last)
            else:
                wait = partial(self._door.wait, session, step, partial(intake.answered, echo, request_id, {}))
                intake.read(echo, request_id, wait, barrier=True, later=True, fresh=True)
        elif runs is Runs.CARRIES:
            self._refuse(session, echo, request_id, "NOT_ALLOWED", f'"{name}" must be the first line of a connection.')
        elif runs is Runs.SEARCHES:
            begin = partial(self._searches.begin, session, echo, request_id, request)
            intake.read(echo, request_id, begin, barrier=True, later=True)
        elif name in _CHEAP:
            is_first = name == "hello"  # whoever comes from another server knows what that one said
            answer = partial(self._answer, session, name, request)
            intake.read(echo, request_id, answer, barrier=is_first, fresh=is_first)
        elif runs is not _CHANGES:
            intake.read_dearly(echo, request_id, partial(self._answer, session, name, request))
        elif name == "logout":
            if "seen" in request:
                self._acknowledged.acknowledge(session, request["seen"])
            number = request.get("number")
            if self._sessions.ends_another(session, number):
                ending = {"action": "logout", "at": self._loop.wall, "by": session.user, "number": number}
                intake.submit(echo, request_id, ending, None)
                return
            intake.submit(echo, request_id, self._sessions.departure(session), None, barrier=True)
        elif "verifier" not in request:  # register: the question whether the name is free
            intake.read(echo, request_id, partial(self._answer, session, name, request))
        elif refused := self._door.registration(session):
            intake.read(echo, request_id, lambda: refused)
        else:  # register: before login, so nobody's key
            self._door.registers(session)
            changes = {field: value for field, value in request.items() if field not in ("id", "key")}
            intake.submit(echo, request_id, {**changes, "at": self._loop.wall}, None, barrier=True)

    def _answer(self, session: Session, name: str, request: dict[str, Any]) -> Reply:
        if session.over or (session.departed and self._has_left(session)):  # while this waited behind earlier requests
            return refusal("NOT_ALLOWED", "You are no longer logged in.")
        at_the_edge = self._edge.get(name)
        if at_the_edge is not None:
            reply = at_the_edge(session, request)
            if reply:
                return reply
        return ANSWERS[name](self._world, session.user, request, self._loop.wall)

    def _has_left(self, session: Session) -> bool:
        """Whether the world has carried out that this session is over."""
        return that_began(self._world, session.user, session.login) is None

    def _alive(self, session: Session, request: dict[str, Any]) -> Reply:
        if session.login:
            self._acknowledged.acknowledge(session, request.get("seen", 0))
        return {"status": "OK"}

    # Refusals.

    def _refuse_action(self, session: Session, echo: Any, request_id: Any) -> None:
        if type(echo) is str and echo in ACTIONS:
            self._refuse(session, echo, request_id, "NOT_ALLOWED", _not_allowed(ACTIONS[echo], session.state))
        elif type(echo) is str:
            name = printable(echo[:64])
            self._refuse(session, name, request_id, "UNKNOWN_ACTION", f'There is no action "{name}".')
        else:
            self._refuse(session, None, request_id, "BAD_REQUEST", 'Field "action" must be the name of an action.')

    def _refuse(self, session: Session, echo: Any, request_id: Any, status: str, text: str) -> None:
        session.intake.read(echo, request_id if ID.accepts(request_id) else None, lambda: refusal(status, text))
        session.mistaken()

    def refused(self, session: Session, echo: Any, request_id: Any, status: str) -> None:
        """Counts refusals; what is answered with something else than OK need not be one."""
        if status in _NO_REFUSALS:
            return
        self._figures.count(f"refusals: {status}")
        if self.debugs:
            self._debug(status, session, echo if type(echo) is str else None, request_id)

    def _debug(self, what: str, session: Session, action: str | None, request_id: Any) -> None:
        """A record of a request: never of what is in it, but for its name and a number that came as its id."""
        shown = f" id {request_id}" if type(request_id) is int else ""
        who = session.user or session.address
        self._log.write(f"{what} {printable(action) if action else '?'}{shown} of {who}", DEBUG)

    # What follows a command.

    def carried_out(self, session: Session, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        """A request was carried out; for one that only read, `command` is empty."""
        after = self._after.get(command["action"]) if command else None
        if after is not None and not session.user:
            self._tell_door(session, command["action"], reply["status"] == "OK")
        if after is not None:
            after(session, echo, request_id, command, reply)
        elif reply:
            session.reply(echo, request_id, reply)

    def _tell_door(self, session: Session, action: str, done: bool) -> None:
        """What came of a stranger's attempt."""
        if action == "register" and not done:
            self._door.not_registered(session)
            self._door.mistaken(session)  # the hour does not limit it, and the disk has written it
        elif action in _TRIED and done:
            self._door.proven(session)

    def _after_login(self, session: Session, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        proof, session.proof = session.proof, None
        self._seats.entered(session, command["user"])
        if reply["status"] == "OK" and proof is not None:
            reply = {**reply, "scram": proof.answer}
            answer = partial(session.reply, echo, request_id, reply)
            self._sessions.let_in(session, command["user"], reply["seq"], answer, proof.resumes)
        else:
            session.reply(echo, request_id, reply)

    def _after_proof(self, session: Session, echo: Any, request_id: Any, _command: Command, reply: Reply) -> None:
        proof, session.proof = session.proof, None
        if reply["status"] == "OK" and proof is not None and not proof.until:
            reply = {**reply, "scram": proof.answer}
        session.reply(echo, request_id, reply)

    def _after_sht(self, session: Session, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        if reply["status"] != "OK":
            self._after_account(session, echo, request_id, command, reply)
            return
        self._after_proof(session, echo, request_id, command, reply)
        self._administrators.shut_down(self._world.name_of(session.user), session.address)

    def _after_admin(self, session: Session, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        if reply["status"] == "OK":
            reply = self._administrators.welcome(reply)
        if reply["status"] != "OK":
            self._after_account(session, echo, request_id, command, reply)
            return
        self._after_proof(session, echo, request_id, command, reply)
        if not session.over:
            self._sessions.let_in_console(session)
            self._administrators.let_in(session, command)

    def _after_depart(self, session: Session, echo: Any, request_id: Any, _command: Command, _reply: Reply) -> None:
        session.reply(echo, request_id, {"status": "OK"})
        session.end("LOGGED_OUT", "Goodbye!")

    def _after_account(self, session: Session, echo: Any, request_id: Any, command: Command, reply: Reply) -> None:
        what = command["action"].replace("_", " ")
        self._note(f"{what} {command['user']} from {session.address}{_outcome(reply)}")
        self._after_proof(session, echo, request_id, command, reply)


def _outcome(reply: Reply) -> str:
    """What came of it, for the administrator."""
    match reply["status"]:
        case "OK":
            return ""
        case "WRONG_PASSWORD":
            return ": 1 try is left" if reply["tries_left"] == 1 else f": {reply['tries_left']} tries are left"
        case "LOCKED_OUT":
            return f": locked out for {counted(reply['seconds'], 'second')}"
    return f": {reply['status']}"


def _not_allowed(command: Row, state: State) -> str:
    when = " or ".join(sorted(allowed.value for allowed in command.states))
    if state is State.NEW:
        return f'Say {{"action": "hello", "protocol": 1}} first; "{command.name}" is allowed {when}.'
    return f'"{command.name}" is allowed {when}; you are {state.value}.'
