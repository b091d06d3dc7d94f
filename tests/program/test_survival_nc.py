"""A client that never says alive, as ``nc``: what the kernel took counts as seen; and large catch-ups, cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from tests.chance import new_chance
from tests.program.survival_house import Server
from tests.program.survival_peer import Peer

COUNT = 4_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "home", ["ann", "bob"])
    server.start()
    yield server
    server.close()


def say_all(bob: Peer, texts: list[str]) -> None:
    """A few hundred at once, until all are answered."""
    for begin in range(0, len(texts), 200):
        part = texts[begin : begin + 200]
        for text in part:
            bob.say("message", to="ann", text=text)
        answers = 0
        while answers < len(part):
            message = bob.hear()
            assert message is not None
            if "event" not in message:
                assert message["status"] == "OK"
                answers += 1


def come_in(port: int, **fields: object) -> Peer:
    """A login, as soon as the server has noticed that the connection before is gone."""
    while True:
        peer = Peer(port)
        reply = peer.ask("login", scram="n,,n=ann,r=noncenoncenonce")
        if reply["status"] == "CONTINUE":
            peer.login("ann", **fields)
            return peer
        assert reply["status"] == "ALREADY_ONLINE"
        peer.reset()


def test_nothing_is_lost_between_clean_logouts(server: Server) -> None:
    """It comes and goes while someone talks to it; what it was shown twice is marked offline."""
    rng = new_chance()
    bob = Peer(server.port)
    bob.login("bob")
    said: list[str] = []
    shown: list[tuple[str, bool]] = []
    ann: Peer | None = None
    for turn in range(24):
        size = rng.choice([1, 3, 40, 300])
        texts = [f"{turn}.{number} " + "x" * rng.choice([0, 900]) for number in range(size)]
        said += texts
        if ann is None:
            ann = come_in(server.port)
        coming = rng.random()
        if coming < 0.4:
            say_all(bob, texts)
            ann.logout()
        elif coming < 0.7:  # it leaves in the middle
            for text in texts:
                bob.say("message", to="ann", text=text)
            ann.logout()
            for _ in texts:
                assert "event" in (message := bob.hear() or {}) or message["status"] == "OK"
        else:
            ann.logout()
            say_all(bob, texts)
        shown += [(e["text"], "offline" in e) for e in ann.events if e["event"] == "message"]
        ann = None
        bob.ask("whoelse")
    last = come_in(server.port)
    last.logout()
    shown += [(e["text"], "offline" in e) for e in last.events if e["event"] == "message"]
    known: set[str] = set()
    for text, offline in shown:
        assert offline or text not in known, f"{text!r} twice, and not marked"
        known.add(text)
    assert list(dict.fromkeys(text for text, _ in shown)) == said
    assert come_in(server.port).ask("whoelse")["status"] == "OK"


def read_until(ann: Peer, shown: list[tuple[int, str]], count: int) -> None:
    """Shows what is new until so many are shown, as a client does."""
    for message in chain(ann.events, iter(ann.hear, None)):
        if message.get("event") == "message" and message["seq"] > (shown[-1][0] if shown else 0):
            assert message["offline"] is True
            shown.append((message["seq"], message["text"]))
            if len(shown) == count:
                return
    raise AssertionError(f"closed after {len(shown)} of {count}")


@pytest.mark.parametrize("says_alive", [True, False])
def test_a_catch_up_cut_in_the_middle(server: Server, says_alive: bool) -> None:
    """Thousands wait, and the connection breaks again and again: whoever acknowledges loses nothing."""
    bob = Peer(server.port)
    bob.login("bob")
    said = [f"m{number} " + "x" * 500 for number in range(COUNT)]
    say_all(bob, said)
    rng = new_chance()
    shown: list[tuple[int, str]] = []
    seen = 0
    for cut in sorted(rng.sample(range(1, COUNT), 3)):
        ann = come_in(server.port, seen=seen)
        read_until(ann, shown, cut)
        if says_alive:  # else only the next login tells
            seen = shown[rng.randrange(len(shown))][0]
            ann.say("alive", seen=seen)
        ann.reset()
    read_until(come_in(server.port, seen=seen), shown, COUNT)
    assert [text for _, text in shown] == said


def test_a_catch_up_without_alive_cut_in_the_middle(server: Server) -> None:
    """What the kernels had taken is lost with the connection, and nothing else: one gap, where the cut was."""
    bob = Peer(server.port)
    bob.login("bob")
    said = [f"m{number} " + "x" * 4_000 for number in range(COUNT)]
    say_all(bob, said)
    ann = Peer(server.port, receive_buffer=4_096)
    ann.login("ann")
    shown: list[tuple[int, str]] = []
    read_until(ann, shown, 100)
    ann.reset()
    rest = come_in(server.port)
    rest.until_text(said[-1])
    assert [text for _, text in shown] == said[:100]
    assert len(rest.texts()) > 0 and rest.texts() == said[-len(rest.texts()) :]
