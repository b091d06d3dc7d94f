"""Who hears which lines of a tick: against the plain rule that one hears what is for everyone, and what one follows."""

from __future__ import annotations

from typing import Any, cast

import pytest

from chatlib.server.channels import Channels
from chatlib.server.session import Session
from tests.chance import new_chance

STREAMS = ("#one", "#two", "#three")


class Listener:
    """What channels see of a session."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.pieces: list[bytes] | None = None
        self.follows: set[str] = set()


def session(listener: Listener) -> Session:
    return cast(Session, listener)


@pytest.mark.parametrize("number", range(40))
def test_everyone_hears_what_is_theirs_in_order(number: int) -> None:
    chance, channels = new_chance(number), Channels()
    listeners = [Listener(name) for name in range(8)]
    for _ in range(5):  # ticks
        for listener in listeners:
            change(channels, listener, chance)
            listener.pieces = [b"its own"] if chance.random() < 0.3 else None
        lines, audience = [], []
        for _ in range(chance.randrange(12)):
            stream = chance.choice(("", *STREAMS[: chance.randrange(1, 4)]))
            if not stream or channels.has(stream):
                if stream:
                    channels.mark(stream, len(lines))
                lines.append(b"%d %s" % (len(lines), stream.encode()))
                audience.append(stream)
        wanted = {listener: [line for line, stream in zip(lines, audience, strict=True)
                             if not stream or stream in listener.follows] for listener in listeners}  # fmt: skip
        for listener in listeners:
            start = chance.randrange(len(lines) + 1)
            later = [line for line in wanted[listener] if int(line.split()[0]) >= start]
            assert list(channels.heard(session(listener), lines, start)) == later
        told: dict[Any, list[bytes]] = {}
        for sessions, theirs in channels.split([session(each) for each in listeners], lines):
            for one in sessions:
                assert one not in told and one.pieces is None
                told[one] = list(theirs)
        for listener in listeners:
            if listener.pieces is None:
                assert told.get(listener, []) == wanted[listener]
        channels.clear()


class Counted(str):
    """The name of a stream; counts how often any is looked for."""

    looked_for = 0

    def __hash__(self) -> int:
        Counted.looked_for += 1
        return super().__hash__()


def test_what_one_more_line_costs_does_not_grow_with_those_that_were_heard() -> None:
    channels, listener = Channels(), session(Listener(1))
    names, lines = [Counted(f"#{number}") for number in range(300)], list[bytes]()
    for name in names:
        channels.join(listener, name)
    for name in names:
        channels.mark(name, len(lines))
        lines.append(name.encode())
        Counted.looked_for = 0
        assert list(channels.heard(listener, lines, len(lines) - 1)) == lines[-1:]
        assert Counted.looked_for < 10


def test_nobody_is_kept_for_a_stream_that_is_closed_but_hears_what_was_said_before() -> None:
    channels, listener, other = Channels(), session(Listener(1)), session(Listener(2))
    for stream in STREAMS:
        channels.join(listener, stream)
    channels.join(other, "#one")
    channels.mark("#one", 0)
    channels.close("#one")
    channels.close("#never heard of")
    assert channels.split([listener, other], [b"gone"]) == [([listener, other], [b"gone"])]
    channels.clear()
    assert not channels.has("#one") and channels.has("#two")
    channels.leave(other)
    channels.leave(listener)
    assert not any(map(channels.has, STREAMS))


def change(channels: Channels, listener: Listener, chance: Any) -> None:
    """Between ticks; some of it changes nothing."""
    stream = chance.choice(STREAMS)
    match chance.choice(("join", "join", "part", "leave", "")):
        case "join":
            channels.join(session(listener), stream)
            listener.follows.add(stream)
        case "part":
            channels.part(session(listener), stream)
            listener.follows.discard(stream)
        case "leave" if chance.random() < 0.5:
            channels.leave(session(listener))
            listener.follows.clear()


def test_a_stream_that_nobody_follows_any_more_is_forgotten() -> None:
    channels, listener = Channels(), Listener(1)
    for way in (lambda: channels.part(session(listener), "#one"), lambda: channels.leave(session(listener))):
        channels.join(session(listener), "#one")
        assert channels.has("#one")
        way()
        assert not channels.has("#one") and not channels._followed and not channels._members
