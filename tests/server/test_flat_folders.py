"""A feature with a folder of flat files: what changed is written, what is gone goes, and a start reads all of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.core import features, snapshot
from chatlib.core.feature import Command, Feature, FlatFolder
from chatlib.core.replies import Reply
from chatlib.core.world import World
from tests.server.house import House


class Thread:
    def __init__(self, title: str, changed: int) -> None:
        self.title, self.changed = title, changed
        self.posts: list[str] = []


def post(world: World, lsn: int, command: Command) -> Reply:
    title = command["title"]
    thread = world.state["shelf"].setdefault(title.lower(), Thread(title, lsn))
    thread.posts.append(command["text"])
    thread.changed = lsn
    return {"status": "OK"}


def remove(world: World, _lsn: int, command: Command) -> Reply:
    del world.state["shelf"][command["title"].lower()]
    return {"status": "OK"}


def names(world: World) -> Iterator[tuple[str, int]]:
    return ((name, thread.changed) for name, thread in world.state["shelf"].items())


def dump(world: World, name: str) -> Iterator[str]:
    thread = world.state["shelf"][name]
    yield thread.title
    yield from map(json.dumps, thread.posts)


def load(world: World, name: str) -> Callable[[str], None]:
    threads = world.state["shelf"]

    def take(line: str) -> None:
        if name not in threads:
            threads[name] = Thread(line, world.lsn)
        else:
            threads[name].posts.append(json.loads(line))

    return take


SHELF = Feature(
    "shelf", {"post": post, "remove": remove}, state=dict,
    files={"shelf/": FlatFolder("a thread's title, and its posts", names, dump, load)},
)  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    features.add(SHELF)
    house = House(tmp_path)
    yield house
    house.close()
    features.remove(SHELF)


def say(house: House, title: str, text: str = "") -> None:
    action = {"action": "post", "text": text} if text else {"action": "remove"}
    house.server.submit({"at": 1.0, "title": title, **action})
    house.settle()


def content(house: House) -> dict[str, tuple[str, list[str]]]:
    return {name: (thread.title, thread.posts) for name, thread in house.server.world.state["shelf"].items()}


def numbers(house: House) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (house.folder / "data" / "shelf").iterdir()}


def test_a_folder_of_files_lives_in_the_house(house: House) -> None:
    for number in range(20):
        say(house, f"Thread {number}", "first")
    assert house.save() == ["Saved."]
    for stop in (house.crash, house.stop, house.crash):
        before, there = content(house), numbers(house)
        assert len(there) == 20
        stop()
        house.restart()
        assert content(house) == before and list(content(house)) == list(before)
        say(house, "Thread 7", "another")
        say(house, f"Thread {len(before['thread 7'][1])}")
        say(house, f"New {len(before['thread 7'][1])}", "first")
        assert house.save() == ["Saved."]
        after = numbers(house)
        assert {name for name in there if name not in after} == {f"thread {len(before['thread 7'][1])}"}
        assert {name for name in after if there.get(name) != after[name]} == {
            "thread 7", f"new {len(before['thread 7'][1])}",
        }, "files that have not changed are not written again, after a start neither"  # fmt: skip
    assert (house.folder / "data" / "shelf" / "thread 7").read_text().splitlines() == [
        "# thread 7 2: a thread's title, and its posts", "Thread 7", '"first"', '"another"', '"another"', '"another"',
    ]  # fmt: skip


def test_a_line_that_cannot_be_read_is_named(house: House) -> None:
    world = house.server.world
    say(house, "Rules", "be kind")
    with pytest.raises(ValueError, match=r"^shelf/rules, line 9: a thread's title, and its posts is expected"):
        snapshot.load(world, {"shelf/rules": [(9, "no JSON")]})
