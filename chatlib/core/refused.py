"""When blocks held, in as few numbers as say the same of everything that was said.

By the name of a sender: the LSNs at which a block of that name began, ended, began, and so on. It hides what is later
than a beginning and not later than the end that follows; a block that holds has no end yet. A beginning or an end
between which nothing was said is not kept: so to block and unblock without end costs nothing. `last` is always the
seq of the last thing that the sender has said to more than one (0: nothing), and never later than `lsn`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

Refused = Mapping[str, "array[int]"]


def hides(refused: Refused, sender: str, seq: int) -> bool:
    """Whether a block of `sender` held when `seq` was said."""
    edges = refused.get(sender)
    return edges is not None and bool(bisect_left(edges, seq) & 1)


def begin(refused: dict[str, array[int]], sender: str, lsn: int, last: int) -> None:
    """A block of `sender` begins."""
    edges = refused.setdefault(sender, array("q"))
    if edges and last <= edges[-1]:
        edges.pop()  # nothing was said since the last one: it might as well not have ended
    else:
        edges.append(lsn)


def end(refused: dict[str, array[int]], sender: str, lsn: int, last: int) -> None:
    """The block of `sender` that holds ends."""
    edges = refused[sender]
    if last > edges[-1]:
        edges.append(lsn)
        return
    edges.pop()  # nothing was said meanwhile: it might as well not have begun
    if not edges:
        del refused[sender]


def edges_of(said: Sequence[int], skipped: Iterable[int]) -> array[int]:
    """As an earlier version has kept it: the seqs, in order, of what blocks hid of all that was `said` → the edges."""
    edges = array("q")
    for seq in skipped:
        if edges and bisect_right(said, seq) - bisect_right(said, edges[-1]) == 1:
            edges[-1] = seq
        else:
            edges.extend((seq - 1, seq))
    return edges
