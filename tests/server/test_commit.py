"""Nothing is answered, and nothing shown, before it is on disk; a slow disk delays that and nothing else; a broken one
stops the server."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from chatlib.server.pipeline import Pipeline
from chatlib.storage.log import CommitFailed
from tests.chance import new_chance
from tests.server.house import PASSWORD, VERIFIER, House, Peer

Talk = Callable[..., None]


def slow(house: House) -> None:
    """From now on a sync takes until it is released."""
    house.settle()
    for peer in house.peers:
        peer.hear()
    house.disk.fast = False


def release(house: House) -> None:
    """The disk is done with what it was given; what waited meanwhile is handed to it."""
    house.disk.release()
    house.settle()


def test_nothing_is_shown_before_it_is_committed_and_others_are_answered_meanwhile(house: House, talk: Talk) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    slow(house)
    columbia.say({"action": "broadcast", "text": "wait for it"}, {"action": "whoelse", "id": 1})
    house.settle()
    assert columbia.hear() == [] and facebook.hear() == []
    assert facebook.ask("whoelse")["items"] == ["Columbia"], "reads of another connection wait for nothing"
    assert house.greet().ask("login", scram="n,,n=SEAS,r=12345678")["status"] == "CONTINUE"
    release(house)
    assert [m.get("event", m.get("action")) for m in columbia.hear()] == ["broadcast", "broadcast", "whoelse"]
    assert facebook.texts == ["wait for it"]


def test_replies_come_in_the_order_of_the_requests(house: House) -> None:
    columbia = house.login("Columbia")
    house.login("facebook")
    slow(house)
    lines = [
        {"action": "message", "to": "facebook", "text": "1"},
        {"action": "whoelse"},
        {"action": "nonsense"},
        {"action": "message", "to": "nobody", "text": "2"},
        {"action": "message"},
        {"action": "alive", "seen": 0},
        {"action": "block", "user": "SEAS"},
        {"action": "blacklist"},
        {"action": "history", "count": 3},
    ]
    columbia.say(*({**line, "id": number} for number, line in enumerate(lines)))
    house.settle()
    assert columbia.hear() == []
    release(house)
    replies = [message for message in columbia.hear() if "action" in message]
    assert [reply["id"] for reply in replies] == list(range(len(lines)))
    assert replies[7]["items"] == ["SEAS"], "a read sees what was asked for before it"


def test_the_first_batch_does_not_hold_the_next_one_back_for_ever(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    slow(house)
    for number in range(5):
        columbia.say({"action": "message", "to": "facebook", "text": str(number)})
        house.settle()
    assert house.disk.waiting == 1, "one sync at a time; what comes meanwhile is the next batch"
    release(house)
    assert facebook.texts == ["0"]
    release(house)
    assert facebook.texts == ["0", "1", "2", "3", "4"]


def test_a_password_change_behind_a_message_keeps_the_order(house: House) -> None:
    columbia = house.login("Columbia")
    exchange, challenge = columbia.challenge("password", "Columbia")
    final = columbia.final(exchange, challenge, PASSWORD)
    slow(house)
    columbia.say(
        {"action": "broadcast", "id": 1, "text": "x"},
        {"action": "password", "id": 2, "scram": final, "verifier": str(VERIFIER)},
        {"action": "whoelse", "id": 3},
        {"action": "broadcast", "id": 4, "text": "y"},
    )
    house.settle()
    for _ in range(4):
        if house.disk.waiting:
            release(house)
    replies = [message for message in columbia.hear() if "action" in message]
    assert [(reply["id"], reply["status"]) for reply in replies] == [(number, "OK") for number in (1, 2, 3, 4)]


def test_login_and_a_message_in_one_packet(house: House) -> None:
    facebook, columbia = house.login("facebook"), house.greet()
    exchange, challenge = columbia.challenge("login", "Columbia")
    final = columbia.final(exchange, challenge, PASSWORD)
    slow(house)
    columbia.say(
        {"action": "login", "scram": final},
        {"action": "message", "to": "facebook", "text": "at once"},
        {"action": "login", "scram": final},
        {"action": "whoelse"},
    )
    house.settle()
    assert columbia.hear() == []
    release(house)
    release(house)
    assert [(m["action"], m["status"]) for m in columbia.hear()] == [
        ("login", "OK"), ("message", "OK"), ("login", "NOT_ALLOWED"), ("whoelse", "OK"),
    ]  # fmt: skip
    assert facebook.texts == ["at once"]


def test_a_peer_that_goes_before_its_login_is_committed_loses_nothing(house: House) -> None:
    house.login("Columbia").ask("message", to="facebook", text="for later")
    facebook = house.greet()
    exchange, challenge = facebook.challenge("login", "facebook")
    final = facebook.final(exchange, challenge, PASSWORD)
    slow(house)
    facebook.say({"action": "login", "scram": final}, {"action": "alive", "seen": 0})
    house.settle()
    facebook.hang_up()
    house.settle()
    house.disk.release()
    house.disk.fast = True
    house.settle()
    assert "facebook" not in house.server.world.online
    assert house.login("facebook").texts == ["for later"]


def test_who_ends_with_requests_under_way_still_gets_the_replies(house: House) -> None:
    columbia = house.login("Columbia")
    slow(house)
    columbia.say({"action": "broadcast", "text": "last words"}, {"action": "whoelse"})
    columbia.end()
    house.settle()
    release(house)
    assert [m["action"] for m in columbia.hear() if "action" in m] == ["broadcast", "whoelse"]
    assert columbia.closed


def test_a_logout_and_a_login_cross(house: House) -> None:
    columbia = house.login("Columbia")
    slow(house)
    columbia.say({"action": "logout"})
    house.settle()
    again = house.greet()
    exchange, challenge = again.challenge("login", "Columbia")
    again.say({"action": "login", "scram": again.final(exchange, challenge, PASSWORD)})
    house.settle()
    assert not again.hear(), "the logout is not on disk yet"
    release(house)
    release(house)
    assert again.reply("login")["status"] == "OK"


@pytest.mark.parametrize("fast", [True, False], ids=["in place", "by the child"])
def test_a_commit_that_fails_stops_the_server_and_answers_nothing(house: House, fast: bool) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("message", to="facebook", text="safe")
    house.settle()
    house.disk.fast = fast
    house.disk.error = OSError(errno.EIO, os.strerror(errno.EIO))
    columbia.say({"action": "message", "to": "facebook", "text": "lost"})
    with pytest.raises(CommitFailed, match="Input/output error"):
        house.settle()
        house.disk.release()
        house.settle()
    assert [m for m in columbia.hear() if "action" in m and m["status"] != "OK"] == []
    assert facebook.texts == ["safe"]


def test_a_syncing_child_that_dies_stops_the_server(house: House) -> None:
    columbia = house.login("Columbia")
    slow(house)
    columbia.say({"action": "broadcast", "text": "lost"})
    house.settle()
    house.disk._there.close()
    with pytest.raises(CommitFailed, match="child has died"):
        house.settle()


def test_a_later_sync_that_fails_stops_the_server_too(build: Callable[..., House]) -> None:
    house = build(FSYNC="second")
    columbia = house.login("Columbia")
    assert columbia.ask("broadcast", text="not waited for")["status"] == "OK"
    house.disk.error = OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(CommitFailed):
        house.pass_time(2.0)


def test_fsync_second_answers_at_once_and_syncs_once_a_second(build: Callable[..., House]) -> None:
    house = build(FSYNC="second")
    columbia = house.login("Columbia")
    house.disk.fast = False
    before = house.disk.syncs
    for _ in range(10):
        assert columbia.ask("broadcast", text="x")["status"] == "OK"
    assert house.disk.syncs == before
    house.pass_time(1.0)
    assert house.disk.syncs == before + 1


def test_the_run_ends_with_the_reason(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    columbia = house.login("Columbia")

    def full(_: Pipeline) -> None:
        raise CommitFailed("journal.txt: No space left on device")

    monkeypatch.setattr(Pipeline, "commit", full)
    columbia.say({"action": "broadcast", "text": "x"})
    house.server.run()
    assert "No space left on device" in house.server.failure
    assert columbia.hear() == []
    journal = house.read("data/journal.txt")
    assert house.server.close() == house.server.failure
    assert house.read("data/journal.txt") == journal, "after a failure the journal is left as it is"


def test_a_full_disk_ends_the_run_without_a_traceback(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    columbia = house.login("Columbia")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("chatlib.storage.messages.put", full)
    columbia.say({"action": "broadcast", "text": "it is in the journal"})
    house.server.run()
    assert "No space left on device" in house.server.failure and columbia.hear() == []
    house.server.close()
    monkeypatch.undo()
    assert "Traceback" not in house.log()
    house.crash()
    house.restart()
    assert "it is in the journal" in house.login("facebook").texts


def test_a_disk_of_random_speed_changes_nothing_of_what_is_seen(build: Callable[..., House]) -> None:
    chance = new_chance()
    house = build()
    peers: list[Peer] = [house.login(user) for user in ("Columbia", "facebook", "Google")]
    sent: dict[str, list[str]] = {peer.name: [] for peer in peers}
    house.settle()
    house.disk.fast = False
    for number in range(200):
        peer = chance.choice(peers)
        sent[peer.name].append(f"{peer.name} {number}")
        peer.say({"action": "broadcast", "text": sent[peer.name][-1]})
        if chance.random() < 0.3:
            house.settle()
        if chance.random() < 0.3 and house.disk.waiting:
            house.disk.release()
    for _ in range(3):
        house.settle()
        if house.disk.waiting:
            house.disk.release()
    house.settle()
    for peer in peers:
        assert peer.texts == peers[0].texts
        seqs = [event["seq"] for event in peer.events if "seq" in event]
        assert seqs == sorted(set(seqs))
    for name, texts in sent.items():
        assert [text for text in peers[0].texts if text.startswith(name)] == texts
