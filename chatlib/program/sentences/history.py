"""Sentences about what was said before: both sides of what went between people, and where something waited."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from chatlib.client.news import Fields
from chatlib.program.sentences.book import Line, Sentences, event, items
from chatlib.terminal.screen import style

NO_MORE: Line = ("There is nothing more to show: \"history\" or \"search\" comes first.",)


def day(which: date) -> Line:
    """Before the first event of another day."""
    return _ruled(f"{which:%A}, {which.day} {which:%B %Y}")


def end_of_missed(where: Iterable[tuple[str, int]]) -> Line:
    """Behind what came while one was away: where it came, the most first."""
    return _ruled(f"end of what you missed: {_places(where)}")


def _ruled(text: str) -> Line:
    return (style("── ", "dim ornament"), style(text, "dim"), style(" ──", "dim ornament"))


def _places(where: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{place or 'elsewhere'} ({count})" for place, count in where)


def _history(asked: Fields, reply: Fields, now: float) -> list[Line]:
    lines = [event(each, now, True) for each in items(reply) if isinstance(each, dict)]
    place = asked.get("place")
    if asked.get("count") == 0:
        nothing = "Nothing came while you were away."
    elif "before" in asked:
        nothing = "There are no earlier messages."
    else:
        nothing = _nothing(str(place)) if place else "There are no messages yet."
    return lines or [(nothing,)]


def _nothing(place: str) -> str:
    if place == "all":
        return "There are no messages to everyone yet."
    if place.startswith("#"):
        return f"There are no messages in {place} yet."
    return f"You and {place} have no messages yet."


def _unread(_asked: Fields, reply: Fields, _now: float) -> list[Line]:
    found = [each for each in items(reply) if isinstance(each, dict)]
    places = _places((str(each.get("place") or ""), each.get("count")) for each in found)
    return [(f"While you were away: {places}" if places else "Nothing came while you were away.",)]


def _search(asked: Fields, reply: Fields, now: float) -> list[Line]:
    lines = [event(each, now, True) for each in items(reply) if isinstance(each, dict)]
    nothing = "Nothing more has these words." if "before" in asked else "Nothing that you may read has these words."
    more: list[Line] = [(style('There is more: type "more".', "dim"),)] if "next" in reply else []
    return (lines or [(nothing,)]) + more


SENTENCES = Sentences(replies={"history": _history, "search": _search, "unread": _unread})
