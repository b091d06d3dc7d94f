"""What ``--repair`` does with the message store, and with where everybody's messages stand in it.

A damaged line is blanked, as one that was erased; what is missing is filled with blank lines. So all that is whole
stays at its place. Where the mailboxes cannot be trusted, all positions are found anew: by the lines themselves, which
say for whom each is, and from whom. Legal order: ``mend`` → ``find_positions``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from chatlib.core.streams import NO_MAIL, UNKNOWN, SharedStream, Stream
from chatlib.core.threads import forum_of
from chatlib.core.world import World
from chatlib.protocol.framing import BadLine, decode
from chatlib.protocol.text import fold, is_name
from chatlib.server.verifying import seq_of
from chatlib.storage import messagefiles, messagescan
from chatlib.storage.messagefiles import START, Segment
from chatlib.storage.messages import own_length
from chatlib.storage.messagescan import Gap
from chatlib.storage.textfile import is_whole, put

_FILLER = b" " * 63 + b"\n"
_AT_ONCE = 1 << 20


def end_of_store(first: Path, lsn: int) -> int:
    """Where the store ended when LSN `lsn` was the last: behind the last whole line that it can have."""
    there = messagefiles.listing(first)
    end = START
    physical = there[-1].base + there[-1].path.stat().st_size - there[-1].head if there else START
    for found in messagescan.scan(first, there[0].base if there else 0, physical):
        if isinstance(found, Gap) or not found.is_good:
            continue
        if seq_of(found.line) > lsn:
            break
        end = found.offset + len(found.line)
    return max(end, START)


def mend(first: Path, floor: int, length: int) -> list[str]:
    """Makes the store whole from `floor` to `length`. What was lost, in sentences. Raises OSError."""
    lost = []
    _mend_ends(first, floor, length)
    before = 0
    for found in list(_bad(first, floor, length)):
        one = messagefiles.place(first, found.offset)
        at = found.offset - one.base + one.head
        if isinstance(found, Gap):
            _fill(messagefiles.segment(first, max(one.base, START)), at, found.size)
            lost.append(f"{one.path.name}: all messages that stood from byte {at} on, in {found.size:,} bytes")
            continue
        before = found.before
        size = own_length(found.line)
        with open(one.path, "r+b") as file:
            put(file.fileno(), b" " * (size - 1) + b"\n", at)
            os.fsync(file.fileno())
        words = found.line.split(b" ", 2)
        name = words[1].decode("ascii", "replace") if len(words) == 3 else ""
        whom = f' for "{name}"' if is_name(name) or name[:1] == "#" else ""
        lost.append(f"{one.path.name}: one message{whom} (or where messages stand), behind seq {before}")
    return lost


class _Bad(messagescan.StoredLine):
    """A line that is damaged, and the seq of the last whole one before it."""

    before = 0


def _bad(first: Path, floor: int, length: int) -> Iterator[_Bad | Gap]:
    before = 0
    for found in messagescan.scan(first, floor, length):
        if isinstance(found, Gap):
            yield found
        elif found.is_good:
            before = seq_of(found.line) or before
        else:
            bad = _Bad(*found)
            bad.before = before
            yield bad


def _mend_ends(first: Path, floor: int, length: int) -> None:
    """Each segment begins with its first line, and ends where the next one begins."""
    there = messagefiles.needed(first, floor, length)
    for one, following in zip(there, [*there[1:], None], strict=False):
        with open(one.path, "r+b") as file:
            if not messagescan.begins_well(one):
                put(file.fileno(), messagefiles.header(one.base), 0)
            if following and os.fstat(file.fileno()).st_size > following.base - one.base + one.head:
                os.ftruncate(file.fileno(), following.base - one.base + one.head)
            os.fsync(file.fileno())


def _fill(one: Segment, at: int, size: int) -> None:
    fd = os.open(one.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(fd, "r+b") as file:
        put(fd, messagefiles.header(one.base), 0)
        for start in range(0, size, _AT_ONCE):
            count = min(_AT_ONCE, size - start)
            data = _FILLER * (count // 64) + (b" " * (count % 64 - 1) + b"\n" if count % 64 else b"")
            put(fd, data, at + start)
        os.fsync(file.fileno())


def lines_of(first: Path, floor: int, length: int) -> Iterator[tuple[int, str, dict[str, object]]]:
    """Each message: where it stands, for whom, and the event."""
    for found in messagescan.scan(first, floor, length):
        if isinstance(found, Gap) or not is_whole(found.line) or b'{"seqs"' in found.line[:120]:
            continue
        _, receiver, event = found.line.split(b" ", 2)
        try:
            yield found.offset, receiver.decode(), decode(event[:-1])
        except (BadLine, UnicodeDecodeError):
            continue


def find_positions(world: World, first: Path) -> None:
    """All streams anew, from the lines up to where the store ends in `world`."""
    _forget_positions(world)
    for offset, receiver, event in lines_of(first, world.floor_offset, world.store_end):
        seq, sender = event.get("seq"), fold(str(event.get("from", UNKNOWN)))
        if not isinstance(seq, int) or not world.floor <= seq <= world.lsn:
            continue
        if receiver == "all" or receiver.startswith("#"):
            shared = world.streams.setdefault(receiver, SharedStream())
            assert isinstance(shared, SharedStream)
            if event.get("event") == "thread_removed" or not is_name(sender):
                sender = UNKNOWN  # no block hides that
            shared.add_from(sender, seq, offset)
            world.said[sender] = seq
            continue
        account = world.accounts.get(fold(receiver))
        if account is None or seq < account.joined:
            continue
        if account.mail is NO_MAIL:
            account.mail = Stream()
        account.mail.add(seq, offset)
        writer = world.accounts.get(sender)
        if writer and event.get("event") in ("message", "file") and seq > writer.joined:
            if writer.sent is NO_MAIL:
                writer.sent = Stream()
            writer.sent.add(seq, offset)


def _forget_positions(world: World) -> None:
    for name in world.streams:
        world.streams[name] = SharedStream()
    for thread in forum_of(world).values():
        world.streams.setdefault(thread.stream, SharedStream())
    for account in world.accounts.values():
        account.mail = account.sent = NO_MAIL


def lost_positions(world: World, first: Path) -> bool:
    """Whether a line cannot be read that says where messages stand."""
    places: set[int] = set()
    for stream in [*world.streams.values(), *(each for account in world.accounts.values()
                                              for each in (account.mail, account.sent))]:  # fmt: skip
        places.update(stream.places)
    for found in messagescan.scan(first, world.floor_offset, world.store_end):
        if not isinstance(found, Gap) and found.offset in places and is_whole(found.line):
            places.discard(found.offset)
    return bool(places)
