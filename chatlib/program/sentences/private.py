"""Sentences about private talk: whom one is connected with, what was delivered, and what could not be."""

from __future__ import annotations

from collections.abc import Iterable

from chatlib.client.news import Fields
from chatlib.program.sentences.book import Line, Sentences, error, spoken, stamp
from chatlib.protocol.text import counted
from chatlib.terminal.screen import style

# On the way to a connection.


def asked(user: str, seconds: object) -> Line:
    text = f"{user} is asked for an address. Your text is kept until there is an answer, for {seconds} seconds at most."
    return (style(text, "dim"),)


def kept(user: str) -> Line:
    return (style(f"Kept for {user} until there is a connection.", "dim"),)


def joined(user: str, called: bool) -> Line:
    """`called`: by the other one."""
    if called:
        text = f"{user} has connected with you directly. To answer, type: private {user} TEXT"
    else:
        text = f"A direct connection with {user} stands."
    return (style(text, "green"),)


def notice(text: str) -> Line:
    """A connection has ended, or there can be none."""
    return (style(text, "yellow"),)


def not_joined(user: str) -> Line:
    return error(f"There is no direct connection with {user}.")


# What is said.


def _private(fields: Fields) -> Line:
    return spoken(fields.get("from"), fields.get("text"), "(private, direct)")


def delivered(user: str, kind: str, said: str, now: float, times: bool) -> Line:
    at = stamp(now, now) if times else ()
    what = "your cheque" if kind == "cheque" else said
    return (*at, style(f"delivered to {user}(private, direct):", "dim head"), f" {what}")


# What could not be said.


def leave_it(why: str, user: str, count: int, unsure: int) -> Line:
    """`unsure`: so many of them may have been shown to `user`, who has not said so."""
    what = "your text" if count == 1 else f"your {counted(count, 'text')}"
    doubt = f" ({user} may have seen {'it' if count == 1 else 'some'})" if unsure else ""
    return (style(f"{why} Leave {what} for {user} with the server{doubt}? yes / no?", "yellow"),)


def left_with_server(user: str) -> Line:
    return (style(f"Sent to {user} by way of the server.", "dim"),)


def unsent(user: str, kind: str, said: str, unsure: bool) -> Line:
    what = f"Perhaps not delivered to {user}:" if unsure else f"Not sent to {user}:"
    return (style(what, "yellow head"), f" {said}")


# Questions in general.


def which(names: Iterable[str]) -> Line:
    """More than one question is open."""
    ways = " or ".join(f'"yes {name}"' for name in names)
    return error(f"More than one question is open. Type {ways}; or no.")


def unanswered(user: str) -> Line:
    return (style(f"You have not answered {user} in time. That counts as no.", "dim"),)


SENTENCES = Sentences(events={"private": _private})
