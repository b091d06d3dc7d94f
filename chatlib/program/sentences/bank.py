"""Sentences about credits: payments, cheques, and what stands in the books."""

from __future__ import annotations

from chatlib.client.news import Fields
from chatlib.program.sentences.book import Line, Sentences, items, stamp
from chatlib.terminal.screen import style


def credits_of(number: object) -> str:
    """``1 credit``, ``1,250 credits``."""
    return "1 credit" if number == 1 else f"{_figure(number)} credits"


def _figure(number: object) -> str:
    return f"{number:,}" if isinstance(number, int) else str(number)


def _memo(fields: Fields) -> str:
    return f": {fields['memo']}" if fields.get("memo") else "."


def _has_left(fields: Fields) -> str:
    return f"You have {credits_of(fields.get('balance'))} now"


# Replies.


def _balance(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
    return [(f"You have {credits_of(reply.get('balance'))}.",)]


def _paid(asked: Fields, reply: Fields, _now: float) -> list[Line]:
    return [(f"You have paid {asked.get('to')} {credits_of(asked.get('amount'))}. {_has_left(reply)}.",)]


def _cashed(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
    amount = credits_of(reply.get("amount"))
    return [(f"{reply.get('from')}'s cheque has brought you {amount}. {_has_left(reply)}{_memo(reply)}",)]


def _statement(_asked: Fields, reply: Fields, now: float) -> list[Line]:
    found = [_entry(each, now) for each in items(reply) if isinstance(each, dict)]
    return found or [("There are no entries.",)]


def _entry(fields: Fields, now: float) -> Line:
    amount = _figure(fields.get("amount"))
    source, target, kind = fields.get("from"), fields.get("to"), fields.get("kind")
    match kind:
        case "open" | "grant":
            what = f"{amount} from the bank"
        case _:
            by = " by cheque" if kind == "cheque" else ""
            what = f"{amount}{by} from {source} to {target}"
    return (*stamp(fields.get("time"), now), f"{what}, balance {_figure(fields.get('balance'))}{_memo(fields)}")


def _cheques(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
    found = [str(each.get("number")) for each in items(reply) if isinstance(each, dict)]
    return [(f"Cheque {number} has been cashed.",) for number in found] or [("No cheque of yours was cashed lately.",)]


# Events.


def _payment(fields: Fields) -> Line:
    amount = credits_of(fields.get("amount"))
    return (style(str(fields.get("from")), "cyan"), f" has paid you {amount}. {_has_left(fields)}{_memo(fields)}")


def _cheque_cashed(fields: Fields) -> Line:
    amount = credits_of(fields.get("amount"))
    return (style(str(fields.get("by")), "cyan"),
            f" has cashed your cheque over {amount}. {_has_left(fields)}{_memo(fields)}")  # fmt: skip


def _grant(fields: Fields) -> Line:
    return (f"The bank has given you {credits_of(fields.get('amount'))}. {_has_left(fields)}.",)


SENTENCES = Sentences(
    replies={"balance": _balance, "pay": _paid, "statement": _statement, "cash": _cashed, "cheques": _cheques},
    events={"payment": _payment, "cheque_cashed": _cheque_cashed, "grant": _grant},
)
