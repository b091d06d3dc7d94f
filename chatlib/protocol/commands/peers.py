"""Rows of the command table: introductions, so that two users may talk from machine to machine."""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import AFTER, USER, Field, Role, Row, Runs

ROWS = (
    Row("private", "send a text from machine to machine to a user, who has to agree",
        (USER, Field("text", kinds.TEXT)), role=Role.LOCAL),
    Row("stopprivate", "end the direct connection with a user", (USER,), role=Role.LOCAL),
    Row("getaddress", "ask a user, who is asked in turn, for an address for a private chat", (USER,)),
    Row("yes", "let a user who has asked have your address", (USER,)),
    Row("no", "refuse it", (USER,)),
    Row("allow", "let a user have your address from now on without asking you", (USER,), runs=Runs.CHANGES),
    Row("disallow", "undo that: you are asked again", (USER,), runs=Runs.CHANGES),
    Row("allowed", "whom you allow to have your address", (AFTER,)),
    Row("list", "your balance, and who is online, with the addresses that you may know", (AFTER,)),
    Row("listen", "on which port this client takes direct connections; 0: on none", (Field("port", kinds.PORT),),
        role=Role.WIRE),
)  # fmt: skip
