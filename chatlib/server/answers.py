"""Requests that only read: each answers from the world as it is now. Long answers come in pages."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from chatlib.core import entry
from chatlib.core.world import Reply, World
from chatlib.protocol.framing import MAX_LINE, decode
from chatlib.protocol.text import fold

PAGE = MAX_LINE - 4_096  # bytes that the entries of one page may have
_PER_PAGE = 1_000  # names of one page


def _page(users: Iterator[str], show: Callable[[str], Any]) -> Reply:
    """The first of `users`, who are sorted."""
    reply: Reply = {"status": "OK", "users": [show(user) for user in islice(users, _PER_PAGE)]}
    if next(users, None) is not None:
        reply["more"] = True
    return reply


def _after(request: dict[str, Any]) -> str:
    """Behind which name the page begins."""
    return fold(request.get("after", ""))


def _register(world: World, user: str, request: dict[str, Any], now: float) -> Reply:
    """Without a verifier: whether the name could be registered now."""
    return entry.register_refusal(world, request["user"]) or {"status": "OK", "user": request["user"]}


def _whoelse(world: World, user: str, request: dict[str, Any], now: float) -> Reply:
    return _page(world.visible(user, _after(request)), world.name_of)


def _list_users(world: World, user: str, request: dict[str, Any], now: float) -> Reply:
    hidden = world.accounts[user].blocked_by or ()

    def show(user: str) -> dict[str, object]:
        return {"user": world.accounts[user].name, "online": user in world.online and user not in hidden}

    return _page(world.accounts.after(_after(request)), show)


def _wholasthr(world: World, user: str, request: dict[str, Any], now: float) -> Reply:
    minutes = request.get("minutes")
    seconds = world.parameters["LAST_HOUR"] if minutes is None else minutes * 60.0
    return _page(world.seen_lately(user, now - seconds, now, _after(request)), world.name_of)


def _blacklist(world: World, user: str, request: dict[str, Any], now: float) -> Reply:
    blocks = world.accounts[user].blocks or []
    places = range(bisect_right(blocks, _after(request)), len(blocks))
    return _page((blocks[place] for place in places), world.name_of)


def _history(world: World, user: str, request: dict[str, Any], now: float) -> Reply:
    count = request["count"]
    presence = world.online[user]
    before, least = request.get("before", world.lsn + 1), 0
    if count == 0:  # what came while away
        before, least, count = min(before, presence.login), presence.away_from + 1, -1
    found: list[dict[str, object]] = []
    size = 0
    for seq, offset in world.history(user, before):
        if seq < least or count == 0:
            break
        line = world.archive.event(seq, offset, user)
        size += len(line)
        if size > PAGE:
            return {"status": "OK", "messages": found[::-1], "more": True}
        found.append(decode(line[:-1]))
        count -= 1
    return {"status": "OK", "messages": found[::-1]}


READS: dict[str, Callable[[World, str, dict[str, Any], float], Reply]] = {
    "register": _register,
    "whoelse": _whoelse,
    "list_users": _list_users,
    "wholasthr": _wholasthr,
    "blacklist": _blacklist,
    "history": _history,
}
