"""A home of format 1, whose messages have no checksums, becomes one of format 2: once, at the first start.

It copies message after message, with a checksum, and moves every position in the mailboxes along. The new store and
the new flat files come into their places as one set, so a crash leaves the home as it was, or upgraded.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator

from chatlib.core import snapshot
from chatlib.core.streams import Stream
from chatlib.core.world import World
from chatlib.storage import checkpoint, messagefiles, messages
from chatlib.storage.home import Home

_MORE = len(messages.at_rest(b" "))  # bytes by which a line grows: its checksum and a blank


def upgrade(home: Home, world: World) -> None:
    """Makes the home one of this format; `world` is what its flat files hold. Raises OSError."""
    home.seal_epoch()
    path, end = checkpoint.where(home.data, home.messages.name), world.store_end
    starts = array("q", (offset for offset, _ in _old_lines(home, end)))
    for box in [world.broadcasts, *(account.mail for account in world.accounts.values())]:
        _move(box, starts)
    world.store_end = end + messagefiles.START - len(messagefiles.OLD_HEADER) + _MORE * len(starts)
    lines = (_checked(line) for _, line in _old_lines(home, end))
    checkpoint.write(
        home.data, world.lsn, snapshot.dump(world), moved_along=[(path.name, messagefiles.ABOUT, lines)]
    )


def _old_lines(home: Home, end: int) -> Iterator[tuple[int, bytes]]:
    with open(checkpoint.where(home.data, home.messages.name), "rb") as file:
        offset = file.seek(len(messagefiles.OLD_HEADER))
        for line in file:
            if offset >= end:
                return
            yield offset, line
            offset += len(line)


def _move(box: Stream, starts: array[int]) -> None:
    growth = messagefiles.START - len(messagefiles.OLD_HEADER)
    for place, offset in enumerate(box.offsets):
        box.offsets[place] = offset + growth + _MORE * bisect_left(starts, offset)


def _checked(line: bytes) -> str:
    if not line.strip():  # erased
        return " " * (len(line) - 1 + _MORE)
    return messages.at_rest(b" " + line).decode()[:-1]
