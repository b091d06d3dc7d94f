"""Rows of the command table: a person's own settings, which stay in the client."""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import USER, Field, Role, Row

_SWITCH = (Field("on|off", kinds.SWITCH, required=False),)

ROWS = (
    Row("mute", "do not show what a user says; it is kept, and history finds it", (USER,), role=Role.LOCAL),
    Row("unmute", "show what a user says again", (USER,), role=Role.LOCAL),
    Row("muted", "whom you mute", role=Role.LOCAL),
    Row("presence", "whether it is shown who logs in and out", _SWITCH, role=Role.LOCAL),
    Row("bell", "whether the bell rings for a private message, and for your name", _SWITCH, role=Role.LOCAL),
    Row("notify", "whether there is a note on the desktop, while the terminal is not in front", _SWITCH,
        role=Role.LOCAL),
    Row("set", "your settings: show all, show one, or change one",
        (Field("setting", kinds.WORD, required=False), Field("value", kinds.VALUE, required=False)), role=Role.LOCAL),
    Row("unset", "a setting as it was at first; an alias or a user who is muted, no more",
        (Field("setting", kinds.WORD), Field("word", kinds.WORD, required=False)), role=Role.LOCAL),
)  # fmt: skip
