"""Rows of the command table: balances, payments, cheques, and what stands in the books."""

from __future__ import annotations

from chatlib.protocol import kinds
from chatlib.protocol.commands.table import Field, Role, Row, Runs

_BEFORE = Field("before", kinds.COUNT, required=False, typed=False)  # a page of entries: those before it
_AFTER = Field("after", kinds.KEY, required=False, typed=False)  # a page of numbers: those behind it

ROWS = (
    Row("balance", "how many credits you have"),
    Row("pay", "pay whole credits to a user, who may be away", (
        Field("to", kinds.NAME), Field("amount", kinds.AMOUNT), Field("memo", kinds.MEMO, required=False)),
        runs=Runs.CHANGES, needs_key=True),
    Row("cheque", "write a cheque, to be cashed within seven days: sent directly, or shown", (
        Field("user", kinds.NAME), Field("amount", kinds.AMOUNT), Field("print", kinds.PRINT, required=False),
        Field("memo", kinds.MEMO, required=False)), role=Role.LOCAL),
    Row("statement", "your last so many entries in the books, or the last ten",
        (Field("count", kinds.NUMBER, required=False), _BEFORE)),
    Row("cash", "cash a cheque that somebody wrote for you", (Field("cheque", kinds.CHEQUE),), runs=Runs.CHANGES,
        needs_key=True),
    Row("cheques", "the cheques that you wrote and nobody has cashed, and those that you can cash", (_AFTER,)),
)  # fmt: skip
