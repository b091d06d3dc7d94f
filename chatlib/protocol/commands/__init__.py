"""The command table: one row a command, and the only place that says which commands there are.

Dispatch, guards, usage errors, ``help``, tab completion and README's tables are all made from it. A row's name is
both the word a person types and, for what goes over the wire, the request's action. Each feature has a module of rows;
they are listed here, in the order in which ``help`` shows them. What a table can do is in :mod:`.table`.
"""

from __future__ import annotations

from chatlib.protocol.commands import admin, bank, console, entry, files, forum, history, peers, settings, talk
from chatlib.protocol.commands.table import COMMON, Field, Role, Row, Runs, State, Table, UsageError, usage

TABLE = Table(
    talk.ROWS, history.ROWS, peers.ROWS, forum.ROWS, files.ROWS, bank.ROWS, entry.ROWS, settings.ROWS, admin.ROWS,
    console.ROWS
)
# What is looked up, rows by name; rows that are added later are in them, too.
ACTIONS = TABLE.actions
IN_STATE = TABLE.in_state
IS_WELL_FORMED = TABLE.is_well_formed
check, find, parse, status, typed_by = TABLE.check, TABLE.find, TABLE.parse, TABLE.status, TABLE.typed_by

__all__ = [
    "ACTIONS", "COMMON", "IN_STATE", "IS_WELL_FORMED", "TABLE", "Field", "Role", "Row", "Runs", "State", "Table",
    "UsageError", "check", "find", "parse", "status", "typed_by", "usage",
]  # fmt: skip
