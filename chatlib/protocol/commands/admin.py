"""Rows of the command table: what the administrator's password opens from afar.

``sht`` is a user's, who knows that password, too. ``admin`` turns a connection into a console from afar, where the
others are said. What is typed there are the commands of :mod:`.console`.
"""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import Field, Role, Row, Runs, State

_SCRAM = Field("scram", kinds.SCRAM, typed=False)
_THERE = frozenset({State.CONSOLE})

ROWS = (
    Row("sht", "stop the server; asks for the administrator's password", (_SCRAM,), runs=Runs.PROVES),
    Row("admin", "prove the administrator's password, in two requests: a console from afar", (_SCRAM,), role=Role.WIRE,
        states=frozenset({State.GREETED}), runs=Runs.PROVES),
    Row("console", "a line typed at a console from afar; `columns`: how wide that is", role=Role.WIRE, states=_THERE,
        fields=(Field("line", kinds.LINE), Field("columns", kinds.COUNT, required=False))),
    Row("complete", "what a line half typed there may become", (Field("line", kinds.LINE),), role=Role.WIRE,
        states=_THERE),
    Row("interrupt", "Ctrl+C there: ends a list, leaves a question", role=Role.WIRE, states=_THERE),
    Row("leave", "leave the console; the server goes on", role=Role.WIRE, states=_THERE),
)
