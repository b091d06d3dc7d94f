"""Rows of the command table: messages, broadcasts, who is there to talk to, and blocks."""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import AFTER, USER, Field, Role, Row, Runs

_TEXT = Field("text", kinds.TEXT)

ROWS = (
    Row("message", "send a text to one user, who may be away", (Field("to", kinds.NAME), _TEXT),
        aliases=("send", "/msg"), runs=Runs.CHANGES),
    Row("broadcast", "send a text to everyone registered, except to those who block you", (_TEXT,), runs=Runs.CHANGES),
    Row("/me", "say what you do, where lines without a command go: /me waves", (_TEXT,), role=Role.LOCAL),
    Row("whoelse", "who else is online", (AFTER,), aliases=("online",)),
    Row("list_users", "every registered user, online or not", (AFTER,)),
    Row("wholasthr", "who else was online in the last hour, or in the last so many minutes",
        (Field("minutes", kinds.MINUTES, required=False), AFTER)),
    Row("block", "refuse a user's messages, and hide your coming and going from that user", (USER,),
        aliases=("blacklist add",), runs=Runs.CHANGES),
    Row("unblock", "undo a block", (USER,), aliases=("blacklist rm",), runs=Runs.CHANGES),
    Row("blacklist", "whom you block", (AFTER,)),
)  # fmt: skip
