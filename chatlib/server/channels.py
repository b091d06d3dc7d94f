"""Channels: which listeners follow which streams, and which lines of a tick are for followers alone.

The lines of a tick are a list that :mod:`.delivery` holds; here are only places in it. In a tick in which nothing is
published to followers, all of this costs one look. Must not know what a line says, or how it is sent.

Legal order: ``join``, ``part`` and ``leave`` of a session at any time, but when it has been given all lines before;
``close`` of a stream in which nothing is marked any more; ``mark`` just before a line is added; ``clear`` when the
lines are sent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence

from chatlib.server.session import Session

Group = tuple[list[Session], Sequence[bytes]]


class Channels:
    """Of all listeners. Invariant: `_followed` and `_members` say the same, of sessions and of streams."""

    def __init__(self) -> None:
        self._followed: dict[Session, set[str]] = {}
        self._members: dict[str, dict[Session, None]] = {}
        # Of this tick: the places of the lines of each stream, in order; and of those that are for everyone.
        self._places: dict[str, list[int]] = {}
        self._streams: dict[int, str] = {}  # the same, by place
        self._general: list[int] = []
        self._upto = 0  # the place behind the last line that is marked; those behind it are for everyone
        self._closed: list[str] = []  # streams, since the last tick that said something

    # Who follows.

    def join(self, session: Session, stream: str) -> None:
        """`session` hears what is published in `stream`."""
        self._followed.setdefault(session, set()).add(stream)
        self._members.setdefault(stream, {})[session] = None

    def part(self, session: Session, stream: str) -> None:
        """`session` no longer does."""
        followed = self._followed.get(session)
        if followed is None or stream not in followed:
            return
        followed.remove(stream)
        if not followed:
            del self._followed[session]
        members = self._members[stream]
        del members[session]
        if not members:
            del self._members[stream]

    def leave(self, session: Session) -> None:
        """`session` hears nothing more."""
        for stream in list(self._followed.get(session, ())):
            self.part(session, stream)

    def close(self, stream: str) -> None:
        """Nobody hears anything more there, but what this tick has said already."""
        if stream in self._members:
            self._closed.append(stream)

    # The lines of a tick.

    def has(self, stream: str) -> bool:
        """Whether a listener follows `stream`."""
        return stream in self._members

    def mark(self, stream: str, place: int) -> None:
        """The next line, at `place`, is for the followers of `stream` alone."""
        self._general.extend(range(self._upto, place))
        self._upto = place + 1
        self._places.setdefault(stream, []).append(place)
        self._streams[place] = stream

    def heard(self, session: Session, lines: Sequence[bytes], start: int) -> Sequence[bytes]:
        """What `session` hears of `lines`, from a place on."""
        if not self._places:
            return lines[start:]
        return self._of(self._followed.get(session, ()), lines, start)

    def _of(self, streams: Collection[str], lines: Sequence[bytes], start: int) -> list[bytes]:
        """What those hear who follow `streams`, and none of the others that have lines."""
        self._general.extend(range(self._upto, len(lines)))
        self._upto = max(self._upto, len(lines))
        general, places = self._general, self._places
        if len(lines) - start < min(len(streams), len(places)):  # nearly always, for one that is told much of its own
            marked = self._streams
            return [lines[place] for place in range(start, len(lines))
                    if place not in marked or marked[place] in streams]  # fmt: skip
        found = general[bisect_left(general, start) :]
        few, many = (streams, places) if len(streams) < len(places) else (places, streams)
        for stream in few:
            if stream in many:
                theirs = places[stream]
                found += theirs[bisect_left(theirs, start) :]
        found.sort()
        return [lines[place] for place in found]

    def split(self, listeners: Collection[Session], lines: Sequence[bytes]) -> list[Group]:
        """Those of the listeners who were told nothing of their own, and the lines that they hear, in groups."""
        if not self._places:
            return [([session for session in listeners if session.pieces is None], lines)]
        streams = list(self._places)
        groups: dict[int, list[Session]] = {}
        if len(streams) == 1:
            members = self._members.get(streams[0], {})
            groups[1] = [session for session in members if session.pieces is None]
            known: Collection[Session] = members
        else:
            known = masks = self._masks(streams)
            for session, mask in masks.items():
                groups.setdefault(mask, []).append(session)
        found: list[Group] = []
        for mask, sessions in groups.items():
            followed = [stream for bit, stream in enumerate(streams) if mask >> bit & 1]
            found.append((sessions, self._of(followed, lines, 0)))
        general = self._of((), lines, 0)
        if general:
            others = [session for session in listeners if session.pieces is None and session not in known]
            found.append((others, general))
        return found

    def _masks(self, streams: Sequence[str]) -> dict[Session, int]:
        """Which of these streams each follows, as bits."""
        masks: dict[Session, int] = {}
        for bit, stream in enumerate(streams):
            for session in self._members.get(stream, ()):
                if session.pieces is None:
                    masks[session] = masks.get(session, 0) | 1 << bit
        return masks

    def clear(self) -> None:
        """The lines are sent."""
        if self._places:
            self._places, self._streams, self._general = {}, {}, []
        self._upto = 0
        while self._closed:
            stream = self._closed.pop()
            for session in list(self._members.get(stream, ())):
                self.part(session, stream)
