"""Rows of the command table: files that wait for their receivers, and the connections that carry their bytes."""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import BEFORE, Field, Role, Row, Runs, State

_FROM = Field("from", kinds.NAME)
_TICKET = (Field("ticket", kinds.TICKET), Field("offset", kinds.COUNT))
_FIRST = frozenset({State.NEW})

ROWS = (
    Row("file", "put files on the server for a user, who may be away", aliases=("sendfile",), fields=(
        Field("to", kinds.NAME), Field("path", kinds.PATHS, sent=False),
        Field("name", kinds.NEW_FILE_NAME, typed=False), Field("size", kinds.COUNT, typed=False),
        Field("sha256", kinds.SHA256, typed=False))),
    Row("fileget", "fetch files: from a sender by name, or just by name; alone: what waits for you",
        aliases=("getfile",), fields=(
        Field("file", kinds.PATHS, required=False, sent=False),
        Field("from", kinds.NAME, required=False, typed=False),
        Field("name", kinds.FILE_NAME, required=False, typed=False), BEFORE)),
    Row("filedecline", "refuse a file that waits for you", (_FROM, Field("name", kinds.FILE_NAME)), runs=Runs.CHANGES),
    Row("received", "the file is here, whole and verified: it need not wait any longer", role=Role.WIRE,
        runs=Runs.CHANGES, fields=(_FROM, Field("name", kinds.FILE_NAME), Field("sha256", kinds.SHA256))),
    Row("upload", "a file's bytes follow, from `offset`", _TICKET, role=Role.WIRE, states=_FIRST, runs=Runs.CARRIES),
    Row("download", "asks for a file's bytes, from `offset`", _TICKET, role=Role.WIRE, states=_FIRST,
        runs=Runs.CARRIES),
)  # fmt: skip
