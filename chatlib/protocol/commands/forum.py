"""Rows of the command table: threads that stay, their messages and files, and who follows them."""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import BEFORE, Field, Role, Row, Runs

_TITLE = Field("title", kinds.TITLE)
_NUMBER = Field("number", kinds.NUMBER)
_AFTER = Field("after", kinds.TITLE, required=False, typed=False)  # a page of threads: those behind it
_SEQ = Field("seq", kinds.SEQ, required=False, typed=False)  # which message the number was shown with
_NAME = Field("name", kinds.FILE_NAME)

ROWS = (
    Row("crt", "open a thread", (_TITLE,), runs=Runs.CHANGES),
    Row("lst", "the threads of the forum", (_AFTER,)),
    Row("msg", "write a message into a thread", (_TITLE, Field("text", kinds.TEXT)), runs=Runs.CHANGES),
    Row("dlt", "delete a message of yours from a thread", (_TITLE, _NUMBER, _SEQ), runs=Runs.CHANGES),
    Row("edt", "change a message of yours in a thread", (_TITLE, _NUMBER, _SEQ, Field("text", kinds.TEXT)),
        runs=Runs.CHANGES),
    Row("rdt", "read a thread: all, the last so many messages, or those before a number", (
        _TITLE, Field("count", kinds.NUMBER, required=False), Field("number", kinds.NUMBER, required=False), BEFORE)),
    Row("upd", "put files into a thread", (
        _TITLE, Field("path", kinds.PATHS, sent=False), Field("name", kinds.NEW_FILE_NAME, typed=False),
        Field("size", kinds.COUNT, typed=False), Field("sha256", kinds.SHA256, typed=False))),
    Row("dwn", "fetch a file from a thread", (_TITLE, _NAME)),
    Row("rmv", "remove a thread of yours, with its files", (_TITLE,), runs=Runs.CHANGES),
    Row("rmf", "remove a file of yours, or one from a thread of yours", (_TITLE, _NAME), runs=Runs.CHANGES),
    Row("follow", "hear what happens in a thread", (_TITLE,), runs=Runs.CHANGES),
    Row("unfollow", "hear nothing more of a thread", (_TITLE,), runs=Runs.CHANGES),
    Row("following", "the threads that you follow", (_AFTER,)),
    Row("to", "where lines without a command go: #title, ann, @ann (directly), all, or nowhere",
        (Field("place", kinds.DESTINATION, required=False),), role=Role.LOCAL),
    Row("r", "answer whoever wrote to you last in private", (Field("text", kinds.TEXT),), aliases=("/r",),
        role=Role.LOCAL),
)  # fmt: skip
