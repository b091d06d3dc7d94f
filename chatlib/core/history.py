"""What was said before: both sides of what went between people, in all or in one place, and where something waited.

Only answers. Everything is read where it stands already: the lines of the message store, by the streams that an account
follows and by what it sent; of a thread what it says now. A line says from whom it is; for whom it was stored is told
by the store, and shown as `to` of what one sent oneself. Invariant: nobody is shown what was not said to all, to a
thread, to or by that very account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from chatlib.core.feature import Feature, Request
from chatlib.core.following import no_such_thread
from chatlib.core.replies import Reply, page
from chatlib.core.streams import COUNTED, MORE, Position, SharedStream
from chatlib.core.threads import Attachment, Thread, forum_of
from chatlib.protocol.framing import MAX_LINE, decode, dumps
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import World

PAGE = MAX_LINE - 4_096  # bytes that the events of one page may have
FIRST, AT_ONCE = 20, 64  # lines that are read at once
LOOKED_AT = 256  # lines that are read for one page
PLACES = 300  # named by `unread`: with the longest names it still is one line
NAMED = 500  # private messages of which `unread` says from whom: it must not take long

Item = dict[str, Any]


def history(world: World, user: str, request: Request, _now: float) -> Reply:
    """The last of what the user was sent and has sent, everywhere or in one place; 0: what came while away."""
    count, place, presence = request["count"], request.get("place"), world.online[user]
    before, least = request.get("before", world.lsn + 1), 0
    while_away = count == 0
    if while_away:
        before, least, count = min(before, presence.login), presence.away_from + 1, MORE
    if place is not None and place.startswith("#"):
        return _of_thread(world, place[1:], (before, least), count)
    positions = _positions(world, world.accounts[user], place, before, not while_away)
    other = None if place is None or fold(place) == "all" else fold(place)
    return _page(world, user, other, positions, (before, least), count)


def _positions(world: World, account: Account, place: str | None, before: int, sent: bool) -> Iterable[Position]:
    """Among which the messages of `place` are, newest first."""
    if place is None:
        return world.history(account.user, before, sent)
    if fold(place) == "all":
        least = max(account.joined + 1, world.floor)
        return world.broadcasts.kept_before(before, least, account.refused, world.archive)
    return world.between(account, before, sent)


def _page(
    world: World, user: str, other: str | None, positions: Iterable[Position], span: tuple[int, int], count: int
) -> Reply:
    """The first `count` of these that were said within the span; if `other` is given, between the two only."""
    found: list[Item] = []
    (last, least), size, looked_at = span, 0, 0
    for seq, size_of_line, item in _read(world, user, positions):
        if seq < least or len(found) == count:
            break
        if item is MORE_BEHIND or looked_at == LOOKED_AT:
            return page(found[::-1], seq if item is MORE_BEHIND else last)
        if item and (other is None or other in _two(item)):
            size += size_of_line
            if size > PAGE:
                return page(found[::-1], last)
            found.append(item)
        elif other is not None:
            looked_at += 1
        last = seq
    return page(found[::-1], None)


MORE_BEHIND: Item = {}  # in the place of an item: what is earlier than its seq was not looked at


def _read(world: World, user: str, positions: Iterable[Position]) -> Iterator[tuple[int, int, Item]]:
    """The seq, the size and the item of each; the item is empty where nothing is shown."""
    waiting, size = iter(positions), FIRST
    while batch := list(islice(waiting, size)):
        size = AT_ONCE
        more = next((number for number, (_, offset) in enumerate(batch) if offset == MORE), len(batch))
        lines = list(world.archive.lines(batch[:more][::-1], user))
        for (seq, _), (receiver, line) in zip(batch[:more], reversed(lines), strict=True):
            yield seq, len(line) + len(receiver) + 8, _item(world, user, seq, receiver, line)
        if more < len(batch):
            yield batch[more][0], 0, MORE_BEHIND
            return


def _item(world: World, user: str, seq: int, receiver: str, line: bytes) -> Item:
    """What is shown of a line; empty when it is gone with the account that it was for."""
    if not line:
        return {}
    item = decode(line[:-1])
    if not receiver or fold(receiver) == user:
        return item
    account = world.accounts.get(fold(receiver))
    return {} if account is None or account.joined > seq else {**item, "to": receiver}


def _two(item: Item) -> list[str]:
    """Between whom it went."""
    return [fold(name) for field in ("from", "to") if isinstance(name := item.get(field), str)]


def _of_thread(world: World, title: str, span: tuple[int, int], count: int) -> Reply:
    """What stands in a thread now, as events."""
    thread = forum_of(world).named(title)
    if thread is None:
        return no_such_thread(title)
    found: list[Item] = []
    (last, least), size = span, 0
    for entry in islice(thread.before(last), count):
        item = as_event(thread, entry)
        if item["seq"] < least:
            break
        size += len(dumps(item).encode()) + 1
        if size > PAGE:
            return page(found[::-1], last)
        found.append(item)
        last = item["seq"]
    return page(found[::-1], None)


def as_event(thread: Thread, entry: int | Attachment) -> Item:
    """A message of a thread, by its place, or an attachment, as it would be said now."""
    if isinstance(entry, Attachment):
        return {"event": "upload", "seq": entry.seq, "time": entry.at, "thread": thread.title,
                "from": entry.author.name, "name": entry.name, "size": entry.size}  # fmt: skip
    seq = thread.seqs[entry]
    item = {"event": "post", "seq": seq, "time": thread.times[entry], "thread": thread.title,
            "from": thread.authors[entry].name, "number": entry + 1, "text": thread.texts[entry]}  # fmt: skip
    return {**item, "edited": thread.edited[seq]} if seq in thread.edited else item


def unread(world: World, user: str, _request: Request, _now: float) -> Reply:
    """How many messages came while the user was away, by place, the most first.

    Under an empty place stand private ones before the latest NAMED, and those of places beyond the first PLACES.
    """
    account, presence = world.accounts[user], world.online[user]
    since, before = max(presence.away_from, world.floor - 1), presence.login
    counts = _in_mail(world, account, since, before)
    for name, joined in (("all", account.joined), *(account.follows or {}).items()):
        stream = world.streams.get(name)
        if stream is not None and stream.seqs and stream.seqs[-1] > since:
            counts[_place(world, name)] += _unhidden(world, account, stream, (max(since, joined), before))
    places = [(place, count) for place, count in counts.most_common() if count > 0 and place]
    rest = counts[""] + sum(count for _, count in places[PLACES:])
    items = [{"place": place, "count": count} for place, count in (*places[:PLACES], *([("", rest)] if rest else ()))]
    return page(items, None)


def _in_mail(world: World, account: Account, since: int, before: int) -> Counter[str]:
    """The same of private messages, by the other's name."""
    mail, chunks = account.mail, world.archive
    counts = Counter({"": mail.count_after(since, chunks) - mail.count_after(before - 1, chunks)})
    if counts[""]:
        latest = list(islice(mail.before(before, since + 1, chunks), NAMED))
        for _, line in chunks.lines(latest[::-1], account.user):
            event = decode(line[:-1]) if line else {}
            other = event.get("from", event.get("to", ""))  # what became of a file says to whom it went
            if isinstance(other, str) and other:
                counts[""] -= 1
                counts[other] += 1
    return counts


def _unhidden(world: World, account: Account, stream: SharedStream, span: tuple[int, int]) -> int:
    """How many in the span no block hid; of very many, some that a block hid, too."""
    chunks, (since, before) = world.archive, span
    later, refused = max(since, before - 1), account.refused
    count = stream.count_after(since, chunks) - stream.count_after(later, chunks)
    if count and refused:
        hidden = [stream.hidden_after(refused, seq, chunks, COUNTED) for seq in (since, later)]
        count -= hidden[0] - hidden[1]
    return count


def _place(world: World, name: str) -> str:
    """The place that a shared stream is."""
    if not name.startswith("#"):
        return name
    folded = name[1:].rpartition("/")[0]
    thread = forum_of(world).get(folded)
    return f"#{thread.title if thread is not None and thread.stream == name else folded}"


FEATURE = Feature("history", answers={"history": history, "unread": unread})
