"""The forum in the house: followers come and go, the server stops and crashes, and bytes lie on the disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from chatlib.core.forum import forum_of
from tests.chance import new_chance
from tests.server.carrying import DATA, Pipe, digest, lying
from tests.server.house import House, Peer

HAPPENS = ("post", "edit", "delete", "upload", "file_removed", "thread_removed")


def heard(peer: Peer) -> list[dict[str, Any]]:
    """What it heard of threads."""
    return [event for event in peer.events if event["event"] in HAPPENS]


def posts(peer: Peer) -> list[str]:
    return [event["text"] for event in heard(peer) if event["event"] == "post"]


def put(peer: Peer, title: str, name: str, data: bytes = DATA) -> str:
    """A file from beginning to end; the status that is the last word."""
    reply = peer.ask("upd", title=title, name=name, size=len(data), sha256=digest(data))
    if reply["status"] != "OK":
        return str(reply["status"])
    pipe = Pipe(peer.house)
    pipe.ask("upload", reply["ticket"], reply["offset"], data[reply["offset"] :])
    return pipe.status()


def fetch(peer: Peer, title: str, name: str) -> bytes:
    reply = peer.ask("dwn", title=title, name=name)
    assert reply["status"] == "OK" and reply["sha256"], reply
    pipe = Pipe(peer.house)
    pipe.ask("download", reply["ticket"])
    pipe.until(lambda: pipe.closed)
    return pipe.data.partition(b"\n")[2]


def files(house: House) -> set[str]:
    return {path.name for path in (house.folder / "data" / "threads").glob("*")}


# Who hears what.


def test_followers_hear_at_once_and_others_do_not(house: House) -> None:
    columbia, facebook, google = (house.login(name) for name in ("Columbia", "facebook", "Google"))
    assert columbia.ask("crt", title="Plans")["status"] == "OK"
    facebook.ask("follow", title="plans")
    assert columbia.ask("msg", title="plans", text="hi")["number"] == 1
    house.settle()
    assert posts(columbia) == posts(facebook) == ["hi"] and posts(google) == []
    event = heard(facebook)[0]
    assert event == {"event": "post", "seq": event["seq"], "time": house.clock.wall(), "thread": "Plans",
                     "from": "Columbia", "number": 1, "text": "hi"}  # fmt: skip
    facebook.ask("unfollow", title="plans")
    columbia.ask("msg", title="plans", text="there")
    house.settle()
    assert (posts(columbia), posts(facebook)) == (["hi", "there"], ["hi"])


class Story:
    """What the journal says was done, as a plain list of who must hear what. It knows nothing of the server's ways."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.upto = 0  # LSN
        self.follows: set[tuple[str, str]] = set()
        self.blocks: set[tuple[str, str]] = set()
        self.wanted: dict[str, list[int]] = {}  # by user: the seqs of messages, broadcasts, and what happens in threads

    def read(self) -> None:
        """What was done since this was last called."""
        for line in self.house.journal():
            lsn, _, body = line.split(" ", 2)
            if int(lsn) > self.upto:
                self.upto = int(lsn)
                self._one(self.upto, json.loads(body))

    def _one(self, lsn: int, command: dict[str, Any]) -> None:
        user, action, title = command.get("by", ""), command["action"], command.get("title", "")
        match action:
            case "crt" | "follow":
                self.follows.add((user, title))
            case "unfollow":
                self.follows.discard((user, title))
            case "block" if command["user"].lower() != user:
                self.blocks.add((user, command["user"].lower()))
            case "unblock":
                self.blocks.discard((user, command["user"].lower()))
            case "msg":
                self.follows.add((user, title))
                self._heard(lsn, user, {one for one, followed in self.follows if followed == title})
            case "broadcast":
                self._heard(lsn, user, {"columbia", "facebook", "google", "seas"})
            case "message" if (command["to"].lower(), user) not in self.blocks and command["to"].lower() != user:
                self._heard(lsn, user, {command["to"].lower()})

    def _heard(self, lsn: int, sender: str, users: set[str]) -> None:
        for user in users:
            if (user, sender) not in self.blocks:
                self.wanted.setdefault(user, []).append(lsn)


NAMES = ("Columbia", "facebook", "Google", "SEAS")
TITLES = ("one", "two", "three")


def anything(chance: Any, *more: str) -> dict[str, Any]:
    """A request. `more`: what may be done to a thread besides."""
    title, user = chance.choice(TITLES), chance.choice(NAMES)
    return chance.choice((  # type: ignore[no-any-return]
        {"action": "msg", "title": title, "text": "x"}, {"action": "msg", "title": title, "text": "x"},
        {"action": "msg", "title": title, "text": "x"}, {"action": "broadcast", "text": "x"},
        {"action": "message", "to": user, "text": "x"}, {"action": "follow", "title": title},
        *({"action": action, "title": title} for action in more), {"action": "block", "user": user},
        {"action": "unblock", "user": user}, {"action": "whoelse"},
    ))  # fmt: skip


def seqs(events: list[dict[str, Any]]) -> list[int]:
    return [event["seq"] for event in events if event["event"] in ("post", "broadcast", "message")]


@pytest.mark.parametrize("number", range(6))
def test_in_one_tick_everyone_hears_what_is_theirs_in_order(house: House, number: int) -> None:
    """Who follows and who blocks changes between the lines of one tick."""
    chance, story = new_chance(number), Story(house)
    peers = {name: house.login(name) for name in NAMES}
    for title in TITLES:
        peers[chance.choice(NAMES)].ask("crt", title=title)
    house.settle()
    for _ in range(25):
        for name in chance.sample(NAMES, 4):
            peers[name].say(*(anything(chance, "unfollow", "unfollow") for _ in range(chance.randrange(6))))
        house.tick()
    house.settle()
    story.read()
    for name, peer in peers.items():
        assert seqs(peer.events) == story.wanted.get(name.lower(), []), name
    assert sum(map(len, story.wanted.values())) > 100


@pytest.mark.parametrize("number", range(4))
def test_followers_get_each_event_once_over_cuts_stops_and_crashes(
    house: House, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client says what it has seen, and drops what it sees again; some of what it was sent is lost with a cut."""
    monkeypatch.setattr("chatlib.server.catchup.BATCH", 3)
    chance, story = new_chance(number), Story(house)
    shown: dict[str, list[int]] = {name: [] for name in NAMES}
    peers: dict[str, Peer] = {}

    def come(name: str) -> None:
        peers[name] = house.greet(name, client=name)
        last = shown[name][-1] if shown[name] else 0
        assert peers[name].prove("login", name, seen=last)["status"] == "OK"

    def show(name: str, count: int | None = None) -> None:
        """The client shows what has come, or just so much of it."""
        for seq in seqs(peers[name].events)[:count]:
            if not shown[name] or seq > shown[name][-1]:
                shown[name].append(seq)

    for name in NAMES:
        come(name)
    for title in TITLES:
        peers["SEAS"].ask("crt", title=title)
    for _ in range(60):
        for name in chance.sample(list(peers), len(peers)):
            peers[name].say(*(anything(chance) for _ in range(chance.randrange(4))))
        house.tick(chance.randrange(3))
        name = chance.choice(NAMES)
        what = chance.choice(("cut", "come", "come", "acknowledge", "acknowledge", "save", "crash", "stop"))
        house.settle()
        story.read()
        if what == "come" and name not in peers:
            come(name)
        elif what == "cut" and name in peers:
            show(name, chance.randrange(10))
            peers.pop(name).hang_up()
            house.settle()
        elif what == "acknowledge" and name in peers:
            show(name)
            if shown[name]:
                peers[name].ask("alive", seen=shown[name][-1])
            house.pass_time(1.0)
        elif what == "save":
            assert house.save() == ["Saved."]
        elif what in ("crash", "stop") and chance.random() < 0.3:
            for one in peers:
                show(one, chance.randrange(10))
            peers.clear()
            (house.crash if what == "crash" else house.stop)()
            house.restart()
    for name in NAMES:
        if name not in peers:
            come(name)
    house.settle()
    story.read()
    for name in NAMES:
        wanted = story.wanted[name.lower()]
        for _ in wanted:  # batch by batch
            house.settle()
            show(name)
        assert shown[name] == wanted, name


# Files.


def test_a_file_from_hand_to_hand(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("crt", title="Plans")
    assert put(columbia, "plans", "a map.bin") == "OK"
    assert fetch(facebook, "PLANS", "a map.bin") == DATA
    assert put(facebook, "plans", "a map.bin") == "FILE_EXISTS"
    assert put(facebook, "no", "a map.bin") == "NO_SUCH_THREAD"
    assert facebook.ask("dwn", title="no", name="a")["status"] == "NO_SUCH_THREAD"
    assert facebook.ask("dwn", title="plans", name="a")["status"] == "NO_SUCH_FILE"
    event = next(event for event in heard(columbia) if event["event"] == "upload")
    assert (event["from"], event["name"], event["size"]) == ("Columbia", "a map.bin", len(DATA))
    assert facebook.ask("rmf", title="plans", name="a map.bin")["status"] == "NOT_OWNER"
    assert columbia.ask("rmf", title="plans", name="a map.bin")["status"] == "OK"
    house.settle()
    assert lying(house) == []


def test_an_upload_that_was_cut_goes_on_and_what_it_needs_is_counted(build: Callable[..., House]) -> None:
    house = build(THREAD_QUOTA="400000")
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("crt", title="plans")
    asked = {"title": "plans", "name": "a", "size": len(DATA), "sha256": digest(DATA)}
    reply = columbia.ask("upd", **asked)
    pipe = Pipe(house)
    pipe.ask("upload", reply["ticket"], 0, DATA[:100_000])
    house.settle()
    other = {"title": "plans", "name": "b", "size": 200_000, "sha256": digest(DATA)}
    assert facebook.ask("upd", **other)["status"] == "QUOTA_EXCEEDED", "what is on its way counts"
    pipe.hang_up()
    reply = columbia.ask("upd", **asked)
    assert reply["offset"] == 100_000
    pipe = Pipe(house)
    pipe.ask("upload", reply["ticket"], 100_000, DATA[100_000:])
    assert pipe.status() == "OK" and fetch(facebook, "plans", "a") == DATA
    assert facebook.ask("upd", **other)["status"] == "QUOTA_EXCEEDED"


def test_a_thread_that_goes_while_a_file_comes_leaves_nothing(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("crt", title="plans")
    reply = facebook.ask("upd", title="plans", name="a", size=len(DATA), sha256=digest(DATA))
    pipe = Pipe(house)
    pipe.ask("upload", reply["ticket"], 0, DATA[:1_000])
    house.settle()
    columbia.ask("rmv", title="plans")
    columbia.ask("crt", title="plans")
    pipe.send(DATA[1_000:])
    assert pipe.status() == "NO_SUCH_THREAD"
    house.settle()
    assert lying(house) == []


def test_the_bytes_of_threads_outlive_stops_crashes_and_the_removal_of_orphans(house: House) -> None:
    columbia = house.login("Columbia")
    for title in ("3", "3331"):
        columbia.ask("crt", title=title)
        columbia.ask("msg", title=title, text=f"in {title}")
        assert put(columbia, title, "a.bin", title.encode() * 1_000) == "OK"
    for stop in (house.crash, house.stop, house.crash):
        there = lying(house)
        assert len(there) == 2
        stop()
        orphan = there[0].with_name("cd" * 24 + ".00000001")
        orphan.write_bytes(b"nobody's")
        house.restart()
        house.settle()
        assert lying(house) == there
        columbia = house.login("Columbia")
        for title in ("3", "3331"):
            assert fetch(columbia, title, "a.bin") == title.encode() * 1_000
    assert house.save() == ["Saved."] and files(house) == {"3", "3331"}
    assert columbia.ask("rmv", title="3")["status"] == "OK"
    house.settle()
    assert house.save() == ["Saved."] and files(house) == {"3331"}
    for stop in (house.crash, house.stop):
        stop()
        house.restart()
        columbia = house.login("Columbia")
        assert columbia.ask("rdt", title="3")["status"] == "NO_SUCH_THREAD"
        assert [item.get("text", item.get("file")) for item in columbia.ask("rdt", title="3331")["items"]] == [
            "in 3331", "a.bin",
        ]  # fmt: skip
        assert fetch(columbia, "3331", "a.bin") == b"3331" * 1_000 and len(lying(house)) == 1


# At rest.


def test_a_thread_is_a_file_that_a_person_can_read(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("crt", title="Plans?")
    columbia.ask("msg", title="plans?", text="1 facebook: not said by facebook")
    assert put(facebook, "plans?", "notes.txt") == "OK"
    facebook.ask("msg", title="plans?", text="Columbia uploaded nothing.txt")
    house.stop()
    lines = (house.folder / "data" / "threads" / "plans%3f").read_text().splitlines()
    assert lines[0].startswith("# plans%3f 2: ")
    assert [line.partition("\t")[0] for line in lines[1:]] == [
        "Columbia", "1 Columbia: 1 facebook: not said by facebook", "facebook uploaded notes.txt",
        "2 facebook: Columbia uploaded nothing.txt",
    ]  # fmt: skip
    house.restart()
    assert [item["from"] for item in house.login("SEAS").ask("rdt", title="plans?")["items"]] == [
        "Columbia", "facebook", "facebook",
    ]  # fmt: skip


def test_titles_that_are_no_names_of_files(house: House) -> None:
    titles = ["..", ".", "CON", "con.txt", "nul", "%2e%2e", "%2E", "LPT1", "?", "manifest.txt", "$HOME", "a" * 64,
              "!" * 64]  # fmt: skip
    columbia = house.login("Columbia")
    for title in titles:
        assert columbia.ask("crt", title=title)["status"] == "OK", title
        columbia.ask("msg", title=title, text=f"in {title}")
    assert house.save() == ["Saved."]
    there = files(house)
    assert len({name.casefold() for name in there}) == len(titles)
    assert not there & {"con", "nul", "lpt1", "..", ".", "manifest.txt"}
    house.stop()
    house.restart()
    columbia = house.login("Columbia")
    assert sorted(item["title"] for item in columbia.ask("lst")["items"]) == sorted(titles)
    for title in titles:
        assert [item["text"] for item in columbia.ask("rdt", title=title.swapcase())["items"]] == [f"in {title}"]


def test_users_whose_names_look_like_something_else(build: Callable[..., House]) -> None:
    house = build(users=("12", "uploaded", "1"))
    names = ("12", "uploaded", "1")
    peers = {name: house.login(name) for name in names}
    peers["12"].ask("crt", title="12")
    for name, peer in peers.items():
        for text in ("uploaded: x", ": x", " uploaded x", "x\u2028y\u0301", "12 12: x"):
            assert peer.ask("msg", title="12", text=text)["status"] == "OK"
        assert put(peer, "12", f"uploaded {name}: x", b"") == put(peer, "12", f": {name}", b"") == "OK"
    before = peers["1"].ask("rdt", title="12")["items"]
    house.stop()
    house.restart()
    assert house.login("1").ask("rdt", title="12")["items"] == before and len(before) == 21


def test_only_threads_that_changed_are_written(house: House) -> None:
    columbia = house.login("Columbia")
    for number in range(20):
        columbia.ask("crt", title=f"t{number}")
        columbia.ask("msg", title=f"t{number}", text="hi")

    def numbers() -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in (house.folder / "data" / "threads").iterdir()}

    house.save()
    for stop in (house.stop, house.crash):
        before = numbers()
        assert len(before) == 20
        stop()
        house.restart()
        columbia = house.login("Columbia")
        columbia.ask("edt", title="t7", number=1, text=str(stop))
        columbia.ask("follow", title="t8")
        house.save()
        after = numbers()
        assert {name for name in after if after[name] != before[name]} == {"t7"}


def test_keep_messages_leaves_threads_whole(build: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.storage.messages.SEGMENT", 2_000)
    house = build(KEEP_MESSAGES="1")
    columbia = house.login("Columbia")
    columbia.ask("crt", title="plans")
    for number in range(100):
        columbia.ask("msg", title="plans", text=f"{number} " + "x" * 100)
    whole = columbia.ask("rdt", title="plans")
    columbia.hang_up()
    for _ in range(3):
        house.clock.now += 86_400 * 2
        house.settle()
        facebook = house.login("facebook")
        facebook.ask("broadcast", text="x" * 3_000)
        facebook.hang_up()
        house.save()
    assert house.server.world.floor > 100, "the events are gone"
    for stop in (house.crash, house.stop):
        stop()
        house.restart()
        columbia = house.login("Columbia")
        assert columbia.ask("rdt", title="plans")["items"] == whole["items"] and len(whole["items"]) == 100
    assert columbia.ask("msg", title="plans", text="on")["number"] == 101


def test_the_administrator_sees_whose_threads_there_are(house: House) -> None:
    assert house.admin("threads") == ["There are no threads."]
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    columbia.ask("crt", title="Plans")
    columbia.ask("msg", title="plans", text="hi")
    seas.ask("crt", title="3")
    assert put(seas, "plans", "a") == "OK"
    assert house.admin("threads") == [
        "2 threads:", "  3 by SEAS: 0 messages", f"  Plans by Columbia: 1 message, 1 file of {len(DATA):,} bytes",
    ]  # fmt: skip
    seas.ask("logout")
    house.greet().prove("deregister", "SEAS")
    house.register("seas")
    assert house.admin("threads")[1] == "  3 by SEAS (who is gone): 0 messages"


def test_the_administrator_removes_a_thread(house: House) -> None:
    columbia = house.login("Columbia")
    columbia.ask("crt", title="Plans")
    assert put(columbia, "plans", "a") == "OK"
    assert house.admin("remove thread plans") == ['The thread "Plans" has been removed, with its files.']
    assert house.admin("remove thread plans") == ['Error! There is no thread "plans".']
    assert lying(house) == [] and not forum_of(house.server.world)
    assert heard(columbia)[-1]["event"] == "thread_removed" and heard(columbia)[-1]["from"] == "system"


def test_nobody_is_kept_as_the_follower_of_a_thread_that_was_removed(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    for number in range(5):
        columbia.ask("crt", title=f"t{number}")
        facebook.ask("follow", title=f"t{number}")
        assert columbia.ask("rmv", title=f"t{number}")["status"] == "OK"
    house.settle()
    assert [event["event"] for event in heard(facebook)] == ["thread_removed"] * 5
    assert not house.server.delivery._channels._members
