"""What a user was given, what the kernel took, what was acknowledged: nothing counts as seen before it was sent."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from chatlib.server import catchup, limits
from chatlib.server.reader import Reader
from tests.server.house import House

Build = Callable[..., House]


def test_a_reader_that_never_acknowledges_has_seen_what_the_kernel_took() -> None:
    reader = Reader()
    reader.begin(10)
    assert reader.seen(flushed=50) == 10, "nothing was handed out yet"
    reader.took_all()
    reader.cursor = 20
    assert reader.seen(flushed=50) == 10, "handed out, not pushed"
    reader.took_all()
    assert reader.seen(flushed=50) == 20, "the next batch: the one before was taken"
    reader.drained(listening=True)
    assert reader.seen(flushed=50) == 50, "current"
    reader.fell_behind(flushed=60)
    reader.fell_behind(flushed=70)
    assert reader.seen(flushed=80) == 60, "behind: up to where it had taken all"
    reader.drained(listening=True)
    assert reader.seen(flushed=80) == 80


def test_a_reader_that_acknowledges_has_seen_what_it_says() -> None:
    reader = Reader()
    reader.begin(10)
    assert reader.acknowledge(15) and not reader.acknowledge(12)
    reader.drained(listening=True)
    assert reader.seen(flushed=50) == 15


def test_mail_handed_out_and_not_pushed_does_not_count_as_taken(house: House) -> None:
    """A client that never says alive, and whose connection is reset right behind its login."""
    columbia = house.login("Columbia")
    texts = [f"{number} {'x' * 4_000}" for number in range(200)]
    for text in texts:
        columbia.ask("message", to="facebook", text=text)
    heard: list[str] = []
    for ticks in range(1, 8):
        facebook = house.greet()
        exchange, challenge = facebook.challenge("login", "facebook")
        facebook.say({"action": "login", "scram": facebook.final(exchange, challenge, "open sesame")})
        house.tick(ticks)
        heard += facebook.texts  # all that the kernel has taken
        facebook.hang_up()
        house.settle()
    facebook = house.login("facebook")
    facebook.read_until(lambda: not facebook.texts or facebook.texts[-1] == texts[-1])
    heard += facebook.texts
    missing = [text.split()[0] for text in texts if text not in heard]
    assert not missing


def test_who_has_caught_up_with_a_whole_batch_has_seen_what_follows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it begins to listen in a tick in which nothing is said to it."""
    monkeypatch.setattr("chatlib.server.catchup.BATCH", 10)
    columbia = house.login("Columbia")
    for number in range(10):
        columbia.ask("message", to="facebook", text=f"mail {number}")
    facebook = house.login("facebook")
    house.settle()
    assert len(facebook.texts) == 10
    columbia.ask("broadcast", text="to all")
    assert facebook.texts[-1] == "to all"
    facebook.hang_up()
    house.settle()
    assert house.login("facebook").texts == []


def test_many_who_come_back_share_a_budget(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build(users=("speaker", *(f"user{number}" for number in range(20))))
    speaker = house.login("speaker")
    for number in range(20):
        speaker.say(*({"action": "message", "to": f"user{number}", "text": str(n)} for n in range(300)))
    speaker.read_until(lambda: len(speaker.hear_all("message")) == 20 * 300)
    now = [0.0]

    def perf_counter() -> float:
        now[0] += 0.001
        return now[0]

    monkeypatch.setattr(catchup, "perf_counter", perf_counter)  # a batch takes 1 ms
    users = [house.greet(f"user{number}") for number in range(20)]
    finals = [(user, *user.challenge("login", user.name)) for user in users]
    for user, exchange, challenge in finals:
        user.say({"action": "login", "scram": user.final(exchange, challenge, "open sesame")})
    served: list[int] = []
    for _ in range(60):
        before = [len(user.texts) for user in users]
        house.tick()
        served.append(sum(len(user.texts) > count for user, count in zip(users, before, strict=True)))
    assert max(served) == limits.CATCHING_UP / 0.001, "so many batches in a tick, and no more"
    assert all(len(user.texts) == 300 for user in users)
    assert [user.texts for user in users] == [[str(n) for n in range(300)]] * 20


def test_an_old_message_that_cannot_be_read_concerns_its_reader_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    columbia = house.login("Columbia")
    for number in range(5):
        columbia.ask("message", to="facebook", text=str(number))
    pread, broken = os.pread, house.server.world.accounts["facebook"].mail.offsets[2]

    def failing(fd: int, size: int, at: int) -> bytes:
        if at == broken or (at < broken and size not in (1_024, 2_048)):  # alone, or with its neighbours
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, size, at)

    monkeypatch.setattr(os, "pread", failing)
    facebook = house.login("facebook")
    house.settle()
    assert facebook.texts == ["0", "1", "3", "4"]
    notices = [event["text"] for event in facebook.events if event["event"] == "notice"]
    assert len(notices) == 1 and "cannot be read" in notices[0]
    assert any("cannot be read: [Errno 5] Input/output error" in line for line in house.heard_by_admin())
    assert columbia.ask("message", to="facebook", text="5")["delivered"] is True
    history = facebook.ask("history", count=10)
    shown = [(message["event"], message["text"]) for message in history["items"]]
    assert shown == [("message", "0"), ("message", "1"), ("notice", notices[0]), *(("message", t) for t in "345")]
    assert house.stop() == ""
