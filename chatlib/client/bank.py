"""What a bot can do with money: a part of :class:`chatlib.client.library.Client`.

Must not know connections, nor how a call waits. Amounts are whole credits. Each call raises Refused for what the server
refuses: too little money, say. Payments and cashed cheques are events, too: ``payment``, ``cheque_cashed``, ``grant``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

from chatlib.client.cheques import Cheques
from chatlib.client.news import Fields, integer_of
from chatlib.protocol.cheque import Cheque, mended


class BankCalls(ABC):
    """Calls about money."""

    _cheques: Cheques

    @abstractmethod
    def request(self, action: str, fields: Fields | None = None, *, key: str | None = None) -> Fields: ...

    @abstractmethod
    def _now(self) -> float: ...

    def balance(self) -> int:
        """How many credits one has."""
        return integer_of(self.request("balance"), "balance")

    def pay(self, to: str, amount: int, memo: str = "", *, key: str | None = None) -> Fields:
        """Pays another user, who may be away; ``["balance"]`` is what one has left.

        What is asked again under one `key` is paid once. Without it a call that ends in an error may have paid.
        """
        return self.request("pay", {"to": to, "amount": amount, **({"memo": memo} if memo else {})}, key=key)

    def statement(self, count: int | None = None) -> list[Fields]:
        """One's last so many entries in the books, oldest first: ``seq``, ``time``, ``kind`` (``open``, ``pay``,
        ``cheque`` or ``grant``), ``from``, ``to`` (``*``: the bank), ``amount``, the ``balance`` behind it, and
        ``memo``."""
        return cast(list[Fields], self.request("statement", {} if count is None else {"count": count})["items"])

    def write_cheque(self, payee: str, amount: int, memo: str = "") -> str:
        """A cheque, as a line to be given to `payee`, who cashes it within seven days; also while the server is away.

        Raises NoCheque for what cannot be written. Nobody looks whether one has the money before it is cashed. A change
        of password voids all that were not cashed.
        """
        return self._cheques.write(payee, amount, memo, self._now())

    def cash(self, cheque: str, *, key: str | None = None) -> Fields:
        """Cashes a cheque's line; ``["amount"]``, ``["from"]`` and ``["memo"]`` say what it was, ``["balance"]`` what
        one has now."""
        return self.request("cash", {"cheque": mended(cheque)}, key=key)

    def cheques(self) -> list[Cheque]:
        """One's own that nobody has cashed: of those that were written with this `memory`, oldest first."""
        self.request("cheques")
        return self._cheques.written(self._now())
