"""Rows of the command table: what the administrator types at the server's console."""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import USER, Field, Role, Row

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
        ("reload", "take in what was changed by hand in para.txt and credentials.txt, and a new certificate", ()),
        ("help", "what you can type here", (Field("command", kinds.VALUE, required=False),)),
        ("stop", "save everything and end the server", ()),
    )
)  # fmt: skip
