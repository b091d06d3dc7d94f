"""KEEP_MESSAGES: messages that are too old go at a save, in whole segments; nobody is told of them any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.core import mailboxes, streams
from chatlib.core.world import World
from chatlib.storage import checkpoint, messages
from tests.server.house import House

DAY = 86_400.0


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of some ten messages, chunks of four positions, two accounts at once."""
    monkeypatch.setattr(messages, "SEGMENT", 1_200)
    monkeypatch.setattr(streams, "CHUNK", 4)
    monkeypatch.setattr(streams, "TAIL", 8)
    monkeypatch.setattr(mailboxes, "AT_ONCE", 2)


class Life:
    """A house in which a message and a broadcast are said each day."""

    def __init__(self, house: House, days: int) -> None:
        self.house, self.texts = house, list[str]()
        self.talk(days)

    def talk(self, days: int) -> None:
        columbia = self.house.login("Columbia")
        for _ in range(days):
            day = len(self.texts) // 2
            self.texts += [f"mail of day {day}", f"all on day {day}"]
            columbia.ask("message", to="SEAS", text=self.texts[-2])
            columbia.ask("broadcast", text=self.texts[-1])
            self.house.clock.wall_at_start += DAY
            self.house.settle()
        columbia.ask("logout")
        self.house.settle()

    def segments(self) -> list[Path]:
        return sorted((self.house.folder / "data").glob("message_rep*"), key=lambda one: (len(one.name), one.name))

    def check(self, least: int = 1) -> list[str]:
        """What SEAS is told at its next login, and sees in its history: the latest of all that was said."""
        seas = self.house.greet()
        reply = seas.prove("login", "SEAS")
        self.house.settle()
        seas.hear()
        texts = list(seas.texts)
        assert reply["unread"] == len(texts) >= least and texts == self.texts[-len(texts) :]
        history = seas.ask("history", count=1_000)["items"]
        assert [message["text"] for message in history] == texts
        seas.ask("alive", seen=0)
        seas.hang_up()
        self.house.settle()
        assert [line for line in self.house.heard_by_admin() if "cannot be read" in line] == []
        return texts


def test_for_ever_by_default(house: House) -> None:
    life = Life(house, 40)
    there = life.segments()
    assert len(there) > 3
    house.save()
    assert life.segments() == there and life.check() == life.texts
    assert house.server.world.floor == 0


def test_what_is_too_old_goes_at_a_save(house: House) -> None:
    life = Life(house, 40)
    there, bytes_before = life.segments(), house.admin("stats")
    assert house.admin("change KEEP_MESSAGES 20") == ["KEEP_MESSAGES is now 20."]
    assert life.check() == life.texts, "nothing goes before a save"
    assert house.save() == ["Saved."]
    left = life.segments()
    assert 2 <= len(left) < len(there) and left == there[-len(left) :]
    assert house.admin("stats") != bytes_before
    texts = life.check()
    assert 40 <= len(texts) < 60, "20 days, and what stands in the same segment"
    for _ in range(2):
        assert house.stop() == ""
        house.restart()
        assert life.check() == texts and life.segments() == left
    house.crash()
    house.restart()
    assert life.check() == texts
    life.talk(30)
    assert house.save() == ["Saved."] and 40 <= len(life.check()) < 60


def test_it_goes_at_a_clean_stop_too(build: Callable[..., House]) -> None:
    house = build(KEEP_MESSAGES=10)
    life = Life(house, 40)
    assert house.stop() == ""
    assert len(life.segments()) < 5
    house.restart()
    assert 20 <= len(life.check()) < 40


def test_all_of_it_when_nothing_is_new_stays_with_the_last_segment(build: Callable[..., House]) -> None:
    house = build(KEEP_MESSAGES=1)
    life = Life(house, 40)
    house.clock.wall_at_start += 1_000 * DAY
    house.settle()
    house.save()
    assert len(life.segments()) == 1
    life.check()


def test_a_crash_between_the_command_and_the_save(build: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    house = build(KEEP_MESSAGES=10)
    life = Life(house, 40)
    there = life.segments()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", fail)
        assert "could not be written" in house.save()[0]
    assert house.server.world.floor and life.segments() == there, "no file goes before a save holds"
    texts = life.check()
    house.crash()
    house.restart()
    assert life.check() == texts and life.segments() == there, "the same lines in the same segments"
    assert house.save() == ["Saved."]
    assert life.check() == texts and len(life.segments()) < 5


def test_a_crash_in_the_middle_of_the_accounts(build: Callable[..., House]) -> None:
    house = build(KEEP_MESSAGES=10)
    life = Life(house, 40)
    command = house.server.retention.due(house.clock.wall())
    assert command is not None
    house.server.submit(command)
    house.settle()
    assert house.server.world.expiring
    house.crash()
    house.restart()
    assert house.server.world.expiring
    assert house.save() == ["Saved."]
    assert not house.server.world.expiring and len(life.segments()) < 5
    assert 20 <= len(life.check()) < 40


def test_a_fault_in_it_keeps_nothing_from_being_saved(
    build: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = build(KEEP_MESSAGES=10)
    life = Life(house, 40)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(streams.SharedStream, "forget", fail)
    assert house.save()[-1] == "Saved."
    assert any("Internal error" in line for line in house.said)
    house.heard_by_admin()
    life.check()
    assert house.stop() == ""


def test_lines_of_an_account_that_goes_meanwhile(build: Callable[..., House]) -> None:
    house = build(KEEP_MESSAGES=10)
    life = Life(house, 40)
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    assert house.save() == ["Saved."]
    assert all(b"mail of day" not in path.read_bytes() for path in life.segments())
    assert house.heard_by_admin() == []


def test_segments_of_an_account_that_has_gone_keep_nothing_else(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in them says how old they are: what follows does."""
    life = Life(house, 4)
    house.register("bot")
    columbia = house.login("Columbia")
    for number in range(200):
        columbia.ask("message", to="bot", text=f"{number} to the bot")
    columbia.ask("logout")
    assert house.greet().prove("deregister", "bot")["status"] == "OK"
    life.talk(20)
    house.admin("change KEEP_MESSAGES 10")
    monkeypatch.setattr("chatlib.server.retention._FAR", 1_000)
    read: list[int] = []
    lines_from = messages.MessageStore.lines_from
    monkeypatch.setattr(
        messages.MessageStore, "lines_from", lambda store, at, size: (read.append(at), lines_from(store, at, size))[1]
    )
    there = life.segments()
    assert len(there) > 20
    assert house.save() == ["Saved."]
    assert len(life.segments()) < 6 and 20 <= len(life.check()) < 35
    assert house.save() == ["Saved."]
    at_rest = [at for at in read if at < house.server.messages.begins[-1]]
    assert len(at_rest) == len(set(at_rest)), "once each"


def test_a_start_refuses_when_a_segment_is_missing(house: House) -> None:
    life = Life(house, 40)
    house.stop()
    gone = life.segments()[1]
    held = gone.read_bytes()
    gone.unlink()
    with pytest.raises(ValueError, match=r"message_rep.txt: \d+ bytes are expected") as refused:
        house.restart()
    assert "messages are missing" in str(refused.value)
    gone.write_bytes(held)
    house.restart()
    assert life.check() == life.texts


def test_time_that_is_set_back_keeps_more(house: House) -> None:
    """Messages have the latest time that the world has seen."""
    life = Life(house, 40)
    house.clock.wall_at_start -= 100 * DAY
    house.admin("change KEEP_MESSAGES 20")
    house.save()
    assert life.check() == life.texts


def _unread(world: World, user: str) -> int:
    return world.unread(world.accounts[user])


def test_unread_counts_only_what_is_there(build: Callable[..., House]) -> None:
    house = build(KEEP_MESSAGES=10)
    Life(house, 40)
    assert [_unread(house.server.world, user) for user in ("seas", "google")] == [80, 40]
    house.save()
    seas, google = (_unread(house.server.world, user) for user in ("seas", "google"))
    assert 20 <= seas < 40 and 10 <= google < 20
