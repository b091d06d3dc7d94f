"""Sentences about credits: payments, cheques, and what stands in the books."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from chatlib.client.news import Fields
from chatlib.program.sentences.book import Line, Sentences, error, items, quiet, stamp
from chatlib.protocol.cheque import Cheque
from chatlib.terminal.screen import style


def credits_of(number: object) -> str:
    """``1 credit``, ``1,250 credits``."""
    return "1 credit" if number == 1 else f"{_figure(number)} credits"


def _figure(number: object) -> str:
    return f"{number:,}" if isinstance(number, int) else str(number)


def _memo(fields: Fields) -> str:
    return f" ({fields['memo']})" if fields.get("memo") else ""


def _now_has(fields: Fields) -> str:
    return f"You have {credits_of(fields.get('balance'))} now."


# Replies.


def _balance(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
    return [(f"You have {credits_of(reply.get('balance'))}.",)]


def _paid(asked: Fields, reply: Fields, _now: float) -> list[Line]:
    return [(f"You have paid {asked.get('to')} {credits_of(asked.get('amount'))}. {_now_has(reply)}",)]


def _cashed(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
    what = f"{credits_of(reply.get('amount'))}{_memo(reply)}"
    return [(f"You have cashed {reply.get('from')}'s cheque for {what}. {_now_has(reply)}",)]


def _statement(_asked: Fields, reply: Fields, now: float) -> list[Line]:
    found = [each for each in items(reply) if isinstance(each, dict)]
    figures = [[_figure(each.get(name)) for name in ("amount", "balance")] for each in found]
    widths = [max(map(len, column)) for column in zip(*figures, strict=True)]
    return [
        (*stamp(each.get("time"), now), f"{amount:>{widths[0]}}  balance {balance:>{widths[1]}}  {_what(each)}")
        for each, (amount, balance) in zip(found, figures, strict=True)
    ] or [("Nothing was booked yet.",)]


def _what(fields: Fields) -> str:
    """What an entry of the books is about."""
    way = f"{fields.get('from')} to {fields.get('to')}"
    match fields.get("kind"):
        case "open":
            return "from the bank, for the new account"
        case "grant":
            return "from the bank"
        case "cheque":
            return f"{way}, by cheque{_memo(fields)}"
    return f"{way}{_memo(fields)}"


# Cheques.


def written(cheque: Cheque, now: float) -> Line:
    return (f"A cheque for {_said(cheque)}, payable to {cheque.payee}, good until {_until(cheque, now)}.",)


def hand_over(payee: str) -> Line:
    return (style(f"Give {payee} this whole line; nobody else can cash it:", "dim"),)


def given(cheque: Cheque, now: float) -> Line:
    return (style(cheque.payer, "name"), f" has given you a cheque for {_said(cheque)}, good until"
            f" {_until(cheque, now)}. Type: cash {cheque.number}")  # fmt: skip


def no_cheque(giver: str, why: str) -> Line:
    return (style(f"The cheque that {giver} has sent you cannot be cashed. {why}", "yellow"),)


def not_kept(giver: str, why: str) -> Line:
    text = f'{why} This one of {giver} is not kept: to cash it, type "cash" and its whole line.'
    return (style(text, "yellow"),)


def is_number(text: str) -> bool:
    """Whether somebody who typed this meant a number."""
    return " " not in text and "/" not in text


def unknown_number(text: str) -> Line:
    return error(f'You have no cheque with the number "{text}". "cheques" shows those you have.')


def cheques(own: Sequence[Cheque], others: Sequence[Cheque], now: float) -> list[Line]:
    lines: list[Line] = [
        (f"{cheque.number}  {_said(cheque)} to {cheque.payee}, good until {_until(cheque, now)}",) for cheque in own
    ]
    if own:
        lines.insert(0, (f"You wrote {_sum(own)} that nobody has cashed yet:",))
    if others:
        lines.append((f"You can cash {_sum(others)}:",))
        lines += [
            (f"{cheque.number}  {_said(cheque)} from {cheque.payer}, good until {_until(cheque, now)}",)
            for cheque in others
        ]
    return lines or [("No cheques wait to be cashed.",)]


def will_be_void(own: Sequence[Cheque]) -> Line:
    one = len(own) == 1
    what = f"{_sum(own)} that you wrote and nobody has cashed"
    return (style(f"A new password voids {what}: {'it' if one else 'they'} will be worth nothing.", "yellow"),)


def void(own: Sequence[Cheque]) -> Line:
    is_are = "is" if len(own) == 1 else "are"
    return (style(f"Your password was changed: {_sum(own)} that you wrote {is_are} worth nothing now.", "yellow"),)


def _said(cheque: Cheque) -> str:
    return credits_of(cheque.amount) + (f" ({cheque.memo})" if cheque.memo else "")


def _sum(cheques: Sequence[Cheque]) -> str:
    """``2 cheques for 350 credits in all``."""
    count, total = len(cheques), credits_of(sum(cheque.amount for cheque in cheques))
    return f"1 cheque for {total}" if count == 1 else f"{count} cheques for {total} in all"


def _until(cheque: Cheque, now: float) -> str:
    try:
        time, today = datetime.fromtimestamp(cheque.expiry), datetime.fromtimestamp(now)
    except (OverflowError, ValueError, OSError):
        return "?"
    return time.strftime("%H:%M" if time.date() == today.date() else "%Y-%m-%d %H:%M")


# Events.


def _payment(fields: Fields) -> Line:
    what = f"{credits_of(fields.get('amount'))}{_memo(fields)}"
    return (style(str(fields.get("from")), "name"), f" has paid you {what}. {_now_has(fields)}")


def _cheque_cashed(fields: Fields) -> Line:
    what = f"{credits_of(fields.get('amount'))}{_memo(fields)}"
    return (style(str(fields.get("by")), "name"), f" has cashed your cheque for {what}. {_now_has(fields)}")


def _grant(fields: Fields) -> Line:
    return (f"The bank has given you {credits_of(fields.get('amount'))}. {_now_has(fields)}",)


SENTENCES = Sentences(
    replies={"balance": _balance, "pay": _paid, "statement": _statement, "cash": _cashed,
             "cheques": quiet},  # what is listed stands in the book of them
    events={"payment": _payment, "cheque_cashed": _cheque_cashed, "grant": _grant},
)
