"""Rows of the command table: what was said before."""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import BEFORE, Field, Role, Row, Runs

LAST = 20  # messages that people see who do not say how many

ROWS = (
    Row("history", "the last messages, from you and to you, of one place or all; 0: what you missed",
        (Field("place", kinds.PLACE, required=False), Field("count", kinds.COUNT, default=LAST), BEFORE)),
    Row("search", "what you may read that has all of these words, the newest first",
        (Field("words", kinds.WORDS), Field("count", kinds.COUNT, required=False, typed=False), BEFORE),
        runs=Runs.SEARCHES),
    Row("more", "what comes next of the last history or search: what is older", role=Role.LOCAL),
    Row("unread", "how many messages came while you were away, and where"),
)  # fmt: skip
