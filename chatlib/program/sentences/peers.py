"""Sentences about introductions: who asks for an address, who is told one, and who has left."""

from __future__ import annotations

from chatlib.client.news import Fields
from chatlib.program.sentences.bank import credits_of
from chatlib.program.sentences.book import Line, Sentences, error, items, lists, named, quiet, says
from chatlib.protocol.text import counted
from chatlib.terminal.screen import style


def asked(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
    """What came of it is an event; that the other is asked first is said here."""
    if reply.get("status") != "ASKED":
        return []
    text = f"{reply.get('user')} is asked, and has {counted(reply.get('seconds'), 'second')} to answer."
    return [(style(text, "dim"),)]


def _list(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
    """The address of those who let it be known behind the name: ``facebook#10.0.0.2#4711``."""
    found = [each for each in items(reply) if isinstance(each, dict)]
    head = f"You have {credits_of(reply.get('balance'))}. {counted(reply.get('online'), 'user')} online:"
    return [(head,), *((place(each),) for each in found)]


def place(fields: Fields) -> str:
    """``name#ip#port``, or only the name."""
    known = [fields[field] for field in ("address", "port") if field in fields]
    return "#".join(str(each) for each in (fields.get("user"), *known))


def _address_asked(fields: Fields) -> Line:
    user = fields.get("from")
    what = f' wants your address for a private chat. yes / no? (Type "yes {user}" or "no {user}".)'
    return (style(str(user), "name"), what)


def _address(fields: Fields) -> Line:
    user = fields.get("user")
    if not fields.get("port"):
        return (style(str(user), "name"), " takes no direct connections, but knows your address now.")
    return (style(place(fields), "cyan"), " can be reached directly, and knows your address.")


def _refused(fields: Fields) -> Line:
    return error(fields.get("text"))


def _over(fields: Fields) -> Line:
    user = fields.get("user")
    if fields.get("status") == "BLOCKED":
        return (style(f"A block has ended what was direct between you and {user}.", "dim"),)
    return (style(f"{user} has left the server.", "dim"),)


SENTENCES = Sentences(
    replies={
        "getaddress": asked,
        "yes": quiet,  # the address follows
        "no": says("{user} does not get your address."),
        "allow": says('"{user}" may have your address from now on without asking you.'),
        "disallow": says('"{user}" has to ask for your address.'),
        "allowed": lists(named, "You allow nobody to have your address without asking you."),
        "list": _list,
    },
    events={"address_asked": _address_asked, "address": _address, "address_refused": _refused,
            "introduction_over": _over},
)  # fmt: skip
