"""Rows of the command table: accounts, passwords, coming and going."""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import USER, Field, Role, Row, Runs, State

_SCRAM = Field("scram", kinds.SCRAM, typed=False)
_VERIFIER = Field("verifier", kinds.VERIFIER, required=False, typed=False)
_SEEN = Field("seen", kinds.SEQ, required=False, typed=False)
_BEFORE_LOGIN = frozenset({State.GREETED})

ROWS = (
    Row("hello", "greet the server; the first request of every connection", role=Role.WIRE,
        fields=(Field("protocol", kinds.PROTOCOL), Field("client", kinds.CLIENT, required=False),
                Field("console", kinds.FLAG, required=False), Field("connection", kinds.NUMBER, required=False)),
        states=frozenset({State.NEW})),
    Row("register", "make an account", (USER, _VERIFIER), role=Role.WIRE, states=_BEFORE_LOGIN, runs=Runs.CHANGES),
    Row("login", "prove the password, in two requests, and come in", role=Role.WIRE,
        fields=(_SCRAM, _SEEN, Field("resume", kinds.FLAG, required=False, typed=False)), states=_BEFORE_LOGIN,
        runs=Runs.PROVES),
    Row("deregister", "prove the password, in two requests, and remove the account with its mail", (_SCRAM,),
        aliases=("de-register",), role=Role.WIRE, states=_BEFORE_LOGIN, runs=Runs.PROVES),
    Row("alive", "heartbeat; `seen` acknowledges the events up to it; `active`: somebody is there",
        (_SEEN, Field("active", kinds.FLAG, required=False, typed=False)), role=Role.WIRE,
        states=frozenset({State.ONLINE, State.CONSOLE})),
    Row("password", "change your password", runs=Runs.PROVES,
        fields=(Field("scram", kinds.SCRAM, required=False, typed=False), _VERIFIER)),
    # Not asked again: a connection that is gone has the same effect.
    Row("logout", "log out and leave; with a number: end another session of yours",
        (Field("number", kinds.NUMBER, required=False), _SEEN), aliases=("exit", "quit", "xit", "/quit"),
        runs=Runs.CHANGES, repeats=False),
    Row("sessions", "your sessions, with their numbers: where you are logged in"),
    Row("break", "drop the connection; the client comes back by itself", role=Role.LOCAL),
    Row("help", "what you can type, or how one command is used",
        (Field("command", kinds.VALUE, required=False),), aliases=("/help", "?"), role=Role.LOCAL),
)  # fmt: skip
