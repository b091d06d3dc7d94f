"""Requests that only read: each answers from the world as it is now. Long answers come in pages."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from chatlib.core import entry
from chatlib.core.world import Reply
from chatlib.protocol.framing import MAX_LINE, decode
from chatlib.protocol.text import fold
from chatlib.server import admission

if TYPE_CHECKING:
    from chatlib.server.session import Session

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


def _register(session: Session, request: dict[str, Any]) -> Reply:
    """Without a verifier: whether the name could be registered now."""
    return entry.register_refusal(session.server.world, request["user"]) or {"status": "OK", "user": request["user"]}


def _alive(session: Session, request: dict[str, Any]) -> Reply:
    session.acknowledge(request.get("seen", 0))
    return {"status": "OK"}


def _whoelse(session: Session, request: dict[str, Any]) -> Reply:
    world = session.server.world
    return _page(world.visible(session.user, _after(request)), world.name_of)


def _list_users(session: Session, request: dict[str, Any]) -> Reply:
    world = session.server.world
    hidden = world.accounts[session.user].blocked_by or ()

    def show(user: str) -> dict[str, object]:
        return {"user": world.accounts[user].name, "online": user in world.online and user not in hidden}

    return _page(world.accounts.after(_after(request)), show)


def _wholasthr(session: Session, request: dict[str, Any]) -> Reply:
    world, now = session.server.world, session.server.loop.wall
    minutes = request.get("minutes")
    seconds = world.parameters["LAST_HOUR"] if minutes is None else minutes * 60.0
    return _page(world.seen_lately(session.user, now - seconds, now, _after(request)), world.name_of)


def _blacklist(session: Session, request: dict[str, Any]) -> Reply:
    world = session.server.world
    blocks = world.accounts[session.user].blocks or []
    places = range(bisect_right(blocks, _after(request)), len(blocks))
    return _page((blocks[place] for place in places), world.name_of)


def _history(session: Session, request: dict[str, Any]) -> Reply:
    world, count = session.server.world, request["count"]
    presence = world.online[session.user]
    before, least = request.get("before", world.lsn + 1), 0
    if count == 0:  # what came while away
        before, least, count = min(before, presence.login), presence.away_from + 1, -1
    found: list[dict[str, object]] = []
    size = 0
    for seq, offset in world.history(session.user, before):
        if seq < least or count == 0:
            break
        line = session.stored(seq, offset)
        size += len(line)
        if size > PAGE:
            return {"status": "OK", "messages": found[::-1], "more": True}
        found.append(decode(line[:-1]))
        count -= 1
    return {"status": "OK", "messages": found[::-1]}


def _file(session: Session, request: dict[str, Any]) -> Reply:
    return session.server.transfers.ask_upload(session, request)


def _fileget(session: Session, request: dict[str, Any]) -> Reply:
    return session.server.transfers.ask_download(session, request)


READS: dict[str, Callable[[Session, dict[str, Any]], Reply]] = {
    "hello": admission.hello,
    "register": _register,
    "alive": _alive,
    "whoelse": _whoelse,
    "list_users": _list_users,
    "wholasthr": _wholasthr,
    "blacklist": _blacklist,
    "history": _history,
    "file": _file,
    "fileget": _fileget,
}
