"""Catching up: who comes back gets all that waited, in order; what many missed is read once."""

from __future__ import annotations

from collections import Counter

import pytest

from chatlib.core.streams import Chunk
from chatlib.server import stored
from chatlib.storage import messages
from tests.server.house import USERS, House


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is read of the message store."""
    sizes: list[int] = []
    pread = messages.os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        sizes.append(size)
        return pread(fd, size, at)

    monkeypatch.setattr(messages.os, "pread", counted)
    return sizes


def test_what_many_missed_is_read_once(house: House, reads: list[int]) -> None:
    columbia = house.login("Columbia")
    texts = [f"{number} to all" for number in range(50)]
    for text in texts:
        columbia.ask("broadcast", text=text)
    reads.clear()
    for user in USERS[1:]:
        peer = house.login(user)
        peer.read_until(lambda peer=peer: len(peer.texts) == 50)
        assert peer.texts == texts
        assert all(event["offline"] for event in peer.events if event["event"] == "broadcast")
    assert len(reads) == 1, "neighbours at once, and once for all"


def test_lines_of_one_s_own_are_read_with_their_neighbours(house: House, reads: list[int]) -> None:
    columbia = house.login("Columbia")
    texts = []
    for number in range(90):
        columbia.ask("message", to=USERS[1 + number % 2], text=f"mine {number}")
        texts += [f"mine {number}"] if number % 2 == 0 else []
        if number % 10 == 0:
            columbia.ask("broadcast", text=f"all {number}")
            texts.append(f"all {number}")
    reads.clear()
    facebook = house.login("facebook")
    facebook.read_until(lambda: len(facebook.texts) == len(texts))
    assert facebook.texts == texts and len(reads) == 1
    reads.clear()
    google = house.login("Google")
    google.read_until(lambda: len(google.texts) == 54)
    assert len(reads) == 1, "the broadcasts between them are known"


def test_a_damaged_line_among_its_neighbours_costs_itself(house: House) -> None:
    columbia = house.login("Columbia")
    for number in range(5):
        columbia.ask("broadcast", text=f"{number} to all")
    path = house.folder / "data" / "message_rep.txt"
    path.write_bytes(path.read_bytes().replace(b"2 to all", b"2 t0 all"))
    for user in ("SEAS", "Google"):
        peer = house.login(user)
        peer.read_until(lambda peer=peer: len(peer.texts) == 4)
        assert peer.texts == [f"{number} to all" for number in (0, 1, 3, 4)]
        [lost] = [event for event in peer.events if event["event"] == "notice"]
        assert "the server's disk has lost it" in str(lost["text"])
        [told] = house.heard_by_admin()
        assert f"for {user.lower()} cannot be read: message_rep.txt: the line at byte" in told


def test_what_is_kept_has_a_limit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "KEPT", 1_000)
    columbia = house.login("Columbia")
    texts = [f"{number} " + "x" * 300 for number in range(20)]
    for text in texts:
        columbia.ask("broadcast", text=text)
    for user in USERS[1:]:
        peer = house.login(user)
        peer.read_until(lambda peer=peer: len(peer.texts) == 20)
        assert peer.texts == texts
    archive = house.server.archive
    assert len(archive._kept) == 2 and archive._size == sum(map(len, archive._kept.values())) <= 1_000


def test_a_fault_of_ours_ends_the_connection_that_catches_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    columbia = house.login("Columbia")
    columbia.ask("message", to="facebook", text="hi")
    with monkeypatch.context() as broken:
        broken.setattr(stored.Stored, "events", lambda *_: 1 // 0)
        facebook = house.greet()
        facebook.prove("login", "facebook")
        facebook.read_until(lambda: facebook.closed)
    assert "ZeroDivisionError" in "".join(house.heard_by_admin())
    facebook = house.login("facebook")
    assert facebook.texts == ["hi"], "nothing is lost by it"


def test_whom_blocks_hide_much_from_holds_nobody_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of what is hidden is looked through at once, by a login and by a page of the history."""
    monkeypatch.setattr("chatlib.core.streams.CHUNKS_AT_ONCE", 2)
    columbia, google, facebook = house.login("Columbia"), house.login("Google"), house.login("facebook")
    google.ask("message", to="facebook", text="mail")
    google.ask("broadcast", text="first")
    facebook.ask("block", user="Columbia")
    facebook.hang_up()
    house.settle()
    columbia.say(*({"action": "broadcast", "text": str(number)} for number in range(1_000)))
    columbia.read_until(lambda: len(columbia.texts) >= 1_000)
    google.ask("broadcast", text="last")
    looked_at: Counter[int] = Counter()  # chunks, by tick
    chunk = stored.Stored.chunk

    def counted(self: stored.Stored, offset: int) -> Chunk:
        looked_at[house.server.loop.ticks] += 1
        return chunk(self, offset)

    monkeypatch.setattr(stored.Stored, "chunk", counted)
    facebook = house.login("facebook")
    facebook.read_until(lambda: "last" in facebook.texts)
    login, *others = [count for _, count in sorted(looked_at.items())]
    assert facebook.texts == ["last"] and len(others) > 5
    assert max(others) <= 2, "only the login counts all that it hides, up to a limit"
    google.ask("broadcast", text="now")
    assert facebook.texts == ["last", "now"], "events as they happen"
    texts: list[str] = []
    reply = facebook.ask("history", count=4)
    pages = [reply]
    while "next" in reply:
        texts = [item["text"] for item in reply["items"]] + texts
        reply = facebook.ask("history", count=4 - len(texts), before=reply["next"])
        pages.append(reply)
    assert [item["text"] for item in reply["items"]] + texts == ["mail", "first", "last", "now"]
    assert len(pages) > 4 and [] in [page["items"] for page in pages]


def test_what_was_said_in_a_thread_is_read_once_for_all_who_follow_it(house: House, reads: list[int]) -> None:
    """Thread or not: a stream whose name is no user's."""
    messages = house.server.messages
    offset = house.server.world.store_end
    messages.append(b' #12 {"event":"post","seq":1}\n')
    for user in ("seas", "google"):
        assert list(house.server.archive.events([(1, offset)], user)) == [b'{"event":"post","seq":1}\n']
    assert len(reads) == 1
