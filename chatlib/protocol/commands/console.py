"""Rows of the command table: what the administrator types at the server's console."""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import USER, Field, Role, Row

_WHO = Field("who", kinds.WHO)
_FOR = Field("for", kinds.DURATION, required=False)
_WHY = Field("why", kinds.REASON, required=False)

ROWS = tuple(
    Row(name, about, fields, role=Role.ADMIN)
    for name, about, fields in (
        ("online users", "who is online, from where, since when", ()),
        ("blocked users", "who is locked out, from where, for how long; and who blocks whom", ()),
        ("all users", "every registered user", ()),
        ("accounts", "a row for each user: address, port, port for direct connections, balance", ()),
        ("change", "change a parameter; asks for the value when it is not given",
         (Field("name", kinds.WORD), Field("value", kinds.VALUE, required=False))),
        ("kick", "log a user off", (USER,)),
        ("unlock", "lift a user's lockout, from every address", (USER,)),
        ("ban", "keep out a user, an address or a network, for ever or for 30s, 10m, 2h or 3d",
         (_WHO, _FOR, _WHY)),
        ("unban", "undo that", (_WHO,)),
        ("mute", "let a user read, and say nothing to others, for ever or for 10m, 2h or 3d",
         (USER, _FOR, _WHY)),
        ("unmute", "undo that", (USER,)),
        ("bans", "who is banned or muted, until when, since when, and why", ()),
        ("say", "tell everyone online something", (Field("text", kinds.TEXT),)),
        ("files", "the files that wait for someone, with their numbers", ()),
        ("drop", "remove a waiting file", (Field("number", kinds.SEQ),)),
        ("threads", "the threads of the forum, and whose they are", ()),
        ("remove thread", "remove a thread of the forum, with its files", (Field("title", kinds.TITLE),)),
        ("grant", "give a user credits of the bank", (USER, Field("amount", kinds.AMOUNT))),
        ("audit", "compute all balances anew from the ledger, and compare them", ()),
        ("backup", "write all there is into one archive, for server.py --restore", (Field("file", kinds.VALUE),)),
        ("stats", "how the server is doing; for programs as one line of JSON",
         (Field("json", kinds.JSON, required=False),)),
        ("save", "write the text files now", ()),
        ("reload", "take in what was changed by hand: para.txt, credentials.txt, the certificate", ()),
        ("help", "what you can type here", (Field("command", kinds.VALUE, required=False),)),
        ("stop", "save everything and end the server", ()),
    )
)  # fmt: skip
