"""Files that wait: who may send what to whom, what both sides are told, and what becomes of the bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatlib.core.world import Reply
from tests.core.stage import Stage, picture, saved

SHA, OTHER_SHA = "a" * 64, "b" * 64
KIB = 1 << 10


def store(stage: Stage, user: str = "alice", to: str = "bob", **fields: Any) -> Reply:
    """A file's bytes are on disk, as the edge says it."""
    file = {"name": "a.txt", "size": 5, "sha256": SHA, "blob": f"blob{stage.lsn + 1}"}
    return stage.do("file_stored", user=user, to=to, **{**file, **fields})


def events(stage: Stage, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """What was heard since this was last called: by whom, and what."""
    said = [(who, json.loads(line)) for what, who, line in
            (entry for entry in stage.recorder.take() if entry[0] == "hears")]  # fmt: skip
    return [(user, event) for who, event in said for user in who if event["event"] == kind]


def unlinked(stage: Stage) -> list[str]:
    return [entry[1] for entry in stage.recorder.take() if entry[0] == "unlinked"]


def mail(stage: Stage, user: str) -> list[dict[str, Any]]:
    """What a login would hand out."""
    messages = stage.recorder.messages
    found = []
    for _, offset in stage.world.waiting(user, stage.world.accounts[user].seen):
        _, receiver, event = bytes(messages[offset : messages.index(b"\n", offset)]).split(b" ", 2)
        assert receiver.decode().lower() == user
        found.append(json.loads(event))
    return found


def names(stage: Stage, user: str) -> list[str]:
    return [file.name for _, file in stage.world.accounts[user].files or ()]


def test_a_file_waits_and_its_receiver_is_told(three: Stage) -> None:
    three.now = 12.5
    assert store(three, to="BOB", name='a "file".txt', size=0) == {"status": "OK", "seq": 6}
    event = {"event": "file", "seq": 6, "time": 12.5, "from": "Alice", "name": 'a "file".txt', "size": 0, "sha256": SHA}
    assert events(three, "file") == [("bob", event)]
    assert mail(three, "bob") == [event] and mail(three, "alice") == []


def test_one_who_is_away_is_told_later(three: Stage) -> None:
    assert store(three, to="carol")["status"] == "OK"
    assert events(three, "file") == []
    three.save()
    assert [event["event"] for event in mail(three, "carol")] == ["file"]
    assert three.world.unread(three.world.accounts["carol"]) == 1


@pytest.mark.parametrize(("status", "fields"), [
    ("NO_SUCH_USER", {"to": "nobody"}),
    ("NO_SUCH_USER", {"user": "nobody"}),
    ("SELF_FILE", {"to": "Alice"}),
    ("FILE_TOO_LARGE", {"size": 8 * KIB + 1}),
    ("FILE_EXISTS", {"name": "waits"}),
    ("QUOTA_EXCEEDED", {"size": 7 * KIB}),
    ("BLOCKED", {"to": "carol"}),
])  # fmt: skip
def test_a_file_that_is_refused_leaves_nothing(status: str, fields: dict[str, Any]) -> None:
    stage = Stage(MAX_FILE_SIZE=8 * KIB, FILE_QUOTA=10 * KIB)
    for name in ("Alice", "Bob", "Carol"):
        stage.do("register", user=name, verifier="v")
        stage.do("login", user=name.lower(), address="10.0.0.1")
    stage.do("block", "carol", user="alice")
    assert store(stage, name="waits", size=4 * KIB)["status"] == "OK"
    stage.recorder.take()
    before = picture(stage.world)
    reply = store(stage, **fields)
    assert reply["status"] == status and reply["text"]
    assert stage.recorder.take() == []
    assert {**picture(stage.world), "lsn": 0} == {**before, "lsn": 0}


def test_limits_are_reached_exactly() -> None:
    stage = Stage(MAX_FILE_SIZE=8, FILE_QUOTA=12)
    for name in ("Alice", "Bob"):
        stage.do("register", user=name, verifier="v")
        stage.do("login", user=name.lower(), address="10.0.0.1")
    assert store(stage, name="a", size=8)["status"] == "OK"
    assert store(stage, name="b", size=5)["status"] == "QUOTA_EXCEEDED"
    assert store(stage, name="b", size=4)["status"] == "OK"
    assert store(stage, name="c", size=1)["status"] == "QUOTA_EXCEEDED"
    assert store(stage, name="c", size=0)["status"] == "OK", "an empty file needs no room"
    assert stage.do("received", "bob", **{"from": "alice", "name": "a", "sha256": SHA})["status"] == "OK"
    assert store(stage, name="d", size=8)["status"] == "OK", "what is fetched makes room"


def test_the_same_name_from_others_and_to_others(three: Stage) -> None:
    assert [store(three, *pair)["status"] for pair in (("alice", "bob"), ("carol", "bob"), ("alice", "carol"))] == [
        "OK"
    ] * 3
    assert store(three)["status"] == "FILE_EXISTS"
    assert store(three, name="A.txt")["status"] == "OK", "names of files are not folded"
    assert names(three, "bob") == ["a.txt", "a.txt", "A.txt"]


def test_a_block_is_one_sided_and_touches_only_new_files(three: Stage) -> None:
    store(three)
    three.do("block", "bob", user="alice")
    assert names(three, "bob") == ["a.txt"]
    assert store(three, "bob", "alice")["status"] == "OK"
    assert three.do("received", "bob", **{"from": "alice", "name": "a.txt", "sha256": SHA})["status"] == "OK"


@pytest.mark.parametrize(("action", "outcome"), [("received", "fetched"), ("filedecline", "declined")])
@pytest.mark.parametrize("online", [True, False])
def test_the_sender_is_told_what_became_of_it(three: Stage, action: str, outcome: str, online: bool) -> None:
    sender = "alice" if online else "carol"
    store(three, sender)
    three.recorder.take()
    fields = {"from": sender.upper(), "name": "a.txt", **({"sha256": SHA} if action == "received" else {})}
    three.now = 9.5
    assert three.do(action, "bob", **fields) == {"status": "OK"}
    gone = {"event": "file_gone", "seq": 7, "time": 9.5, "to": "Bob", "name": "a.txt", "outcome": outcome}
    assert mail(three, sender) == [gone]
    assert [entry for entry in three.recorder.said if entry[0] == "unlinked"] == [("unlinked", "blob6")]
    assert events(three, "file_gone") == ([(sender, gone)] if online else [])
    assert three.do(action, "bob", **fields)["status"] == "NO_SUCH_FILE", "once"
    assert store(three, sender)["status"] == "OK", "the name is free again"


def test_no_such_file(three: Stage) -> None:
    store(three)
    three.recorder.take()
    for by, sender, name in (("bob", "alice", "b.txt"), ("bob", "carol", "a.txt"), ("bob", "nobody", "a.txt"),
                             ("alice", "alice", "a.txt"), ("alice", "bob", "a.txt")):  # fmt: skip
        for action, more in (("received", {"sha256": SHA}), ("filedecline", {})):
            assert three.do(action, by, **{"from": sender, "name": name, **more})["status"] == "NO_SUCH_FILE"
    assert three.do("received", "bob", **{"from": "alice", "name": "a.txt", "sha256": OTHER_SHA})["status"] == (
        "NO_SUCH_FILE"
    ), "another file of that name"
    assert three.recorder.take() == [] and names(three, "bob") == ["a.txt"]


def test_drop_by_number(three: Stage) -> None:
    store(three)
    store(three, "carol", name="b")
    three.recorder.take()
    assert three.do("drop", number=5)["status"] == "NO_SUCH_FILE"
    assert three.do("drop", number=6) == {"status": "OK", "user": "Bob", "file": "a.txt"}
    assert ("unlinked", "blob6") in three.recorder.said
    ((user, gone),) = events(three, "file_gone")
    assert (user, gone["outcome"], gone["name"], gone["to"]) == ("alice", "dropped", "a.txt", "Bob")
    assert three.do("drop", number=6)["status"] == "NO_SUCH_FILE"
    assert names(three, "bob") == ["b"]


def test_deregistering_unlinks_what_waits(three: Stage) -> None:
    store(three, to="carol")
    store(three, "bob", "carol", name="b")
    store(three, "carol", "bob", name="from carol")
    three.recorder.take()
    assert three.do("deregister", user="carol")["status"] == "OK"
    assert unlinked(three) == ["blob6", "blob7"]
    assert names(three, "bob") == ["from carol"], "what was sent stays"
    three.save()
    assert three.do("received", "bob", **{"from": "carol", "name": "from carol", "sha256": SHA})["status"] == "OK"
    assert unlinked(three) == ["blob8"]
    three.do("register", user="Carol", verifier="v")
    assert names(three, "carol") == [] and mail(three, "carol") == [], "a namesake gets nothing of it"


def test_a_namesake_of_the_sender_hears_nothing_of_files_it_never_sent(three: Stage) -> None:
    store(three, "carol", "bob")
    three.do("deregister", user="carol")
    three.do("register", user="CAROL", verifier="v")
    assert three.do("received", "bob", **{"from": "carol", "name": "a.txt", "sha256": SHA})["status"] == "OK"
    assert mail(three, "carol") == []


def test_a_namesake_sends_a_file_of_a_name_that_waits_already(three: Stage) -> None:
    """What somebody else sent under that name before waits beside it; the newest is meant."""
    store(three, "carol", "bob", size=3)
    three.do("deregister", user="carol")
    three.do("register", user="Carol", verifier="v")
    assert store(three, "carol", "bob", sha256=OTHER_SHA)["status"] == "OK"
    assert store(three, "carol", "bob")["status"] == "FILE_EXISTS"
    three.save()
    waiting = three.world.accounts["bob"].files
    assert waiting is not None and (waiting.count, waiting.size, waiting.from_sender) == (2, 8, {"carol": 2})
    three.recorder.take()
    assert three.do("received", "bob", **{"from": "carol", "name": "a.txt", "sha256": SHA})["status"] == "OK"
    assert unlinked(three) == ["blob6"], "the earlier one, by its digest"
    assert three.do("filedecline", "bob", **{"from": "carol", "name": "a.txt"})["status"] == "OK"
    assert unlinked(three) == ["blob9"] and three.world.accounts["bob"].files is None


@pytest.mark.parametrize("user", ["carol", "bob"])
def test_an_upload_that_began_before_a_name_changed_hands_is_not_taken(three: Stage, user: str) -> None:
    joined = {name: three.world.accounts[name].joined for name in ("carol", "bob")}
    three.do("depart", user=user, session=5 if user == "bob" else 0)
    three.do("deregister", user=user)
    three.do("register", user=user, verifier="v")
    before = store(three, "carol", "bob", joined=joined["carol"], to_joined=joined["bob"])
    assert before["status"] == "NO_SUCH_USER" and user in before["text"]
    assert mail(three, "bob") == [] and three.world.accounts["bob"].files is None
    now = {name: three.world.accounts[name].joined for name in ("carol", "bob")}
    assert store(three, "carol", "bob", joined=now["carol"], to_joined=now["bob"])["status"] == "OK"


def test_so_many_files_may_wait(three: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty ones, too: each has its place in memory, and its line in the list."""
    monkeypatch.setattr("chatlib.core.files.FROM_ONE", 2)
    monkeypatch.setattr("chatlib.core.files.FOR_ONE", 3)
    assert [store(three, name=str(number), size=0)["status"] for number in range(3)] == ["OK", "OK", "TOO_MANY_FILES"]
    assert store(three, "carol")["status"] == "OK"
    refused = store(three, "carol", name="b")
    assert refused == {"status": "TOO_MANY_FILES", "text": '3 files wait for "Bob": wait until some are fetched.'}
    three.save()
    assert three.do("filedecline", "bob", **{"from": "alice", "name": "1"})["status"] == "OK"
    assert store(three, "carol", name="b")["status"] == "OK"
    assert three.replayed().accounts["bob"].files == three.world.accounts["bob"].files


def scene() -> Stage:
    """Files in all conditions, and some gone."""
    stage = Stage()
    stage.now = 1700000000.123
    for name in ("Alice", "Bob", "Carol"):
        stage.do("register", user=name, verifier=f"v-{name}")
    for user in ("alice", "bob", "carol"):
        stage.do("login", user=user, address="10.0.0.1")
    for number, (sender, to) in enumerate([("alice", "bob"), ("bob", "carol"), ("carol", "bob"), ("bob", "alice")] * 2):
        stage.now += 0.5
        store(stage, sender, to, name=f'n {number}\u2028"', size=2**40 if number == 3 else number)
    done = [
        stage.do("received", "bob", **{"from": "alice", "name": 'n 0\u2028"', "sha256": SHA}),
        stage.do("filedecline", "carol", **{"from": "bob", "name": 'n 1\u2028"'}),
        stage.do("drop", number=9),
        store(stage, "nobody"),
    ]
    assert [reply["status"] for reply in done] == ["OK", "OK", "OK", "NO_SUCH_USER"]
    return stage


def test_a_snapshot_holds_what_waits() -> None:
    stage = scene()
    before = saved(stage.world)
    assert len(before["file_rep.txt"]) == sum(len(names(stage, user)) for user in ("alice", "bob", "carol")) > 3
    stage.save()
    assert saved(stage.world) == before
    assert store(stage, "bob", "carol", name='n 5\u2028"')["status"] == "FILE_EXISTS"


def test_a_replay_comes_to_the_same_world() -> None:
    stage = scene()
    assert picture(stage.replayed()) == picture(stage.world)
