"""``--verify``, ``--backup``, ``--restore`` and ``--repair`` of a home that is a node's."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatlib.server import backup, upkeep
from chatlib.server.restoring import restore
from chatlib.storage import nodefile, takeover
from chatlib.storage.home import read_earlier, read_epoch
from chatlib.storage.textfile import FileError
from tests.server.house import House
from tests.server.lived import Dial, facts, flip, live, looked_at


@pytest.fixture
def node(house: House, dial: Dial) -> Path:
    """The home of a node that has stopped. A file came to another one, and nobody has asked for it here."""
    live(house, dial)
    assert house.stop() == ""
    (house.folder / "data" / "journal.txt").unlink()
    nodefile.write(house.folder / "data", "north", "chat")
    return house.folder


def one_file_less(home: Path) -> None:
    next((home / "data" / "files").iterdir()).unlink()


def test_a_whole_one(node: Path) -> None:
    one_file_less(node)
    said: list[str] = []
    assert upkeep.verify_home(node, said.append) == 0
    assert said[1:] == [
        'It is the home of a cluster\'s node, "north": what came since its last save is in the log "chat".',
        "The bytes of 1 file are not here: the engine has them.",
        "All of it is whole.",
    ]


def test_damage_is_named_and_where_all_of_it_is(node: Path) -> None:
    flip(node / "data" / "users.txt", 60)
    said: list[str] = []
    assert upkeep.verify_home(node, said.append) == 1
    assert any(sentence.startswith(f"Damage! {node / 'data' / 'users.txt'}") for sentence in said)
    assert said[-1].endswith("Take data/ away, and start it with --log: the other nodes have all of it.")


def test_a_damaged_node_file_is_named(node: Path) -> None:
    flip(node / "data" / "node.txt", 3)
    assert [path.name for path, _ in looked_at(node).damage] == ["node.txt"]
    with pytest.raises(FileError, match=r"node\.txt is damaged"):
        backup.write(node, node.parent / "b.tar.gz")


def test_a_backup_becomes_a_single_servers_home_with_an_epoch_of_its_own(node: Path, house: House) -> None:
    said: list[str] = []
    assert upkeep.back_up_home(node, node.parent / "b.tar.gz", said.append) == 0
    assert said[0].endswith(' What came since this node\'s last save is in the log "chat" alone.')
    again = node.parent / "again"
    _, report = restore(node.parent / "b.tar.gz", again)
    assert report.is_whole and report.node is None and not (again / "data" / "node.txt").exists()
    assert read_epoch(again / "data") != read_epoch(node / "data")
    assert read_earlier(again / "data")[0][0] == read_epoch(node / "data")
    (node / "data" / "node.txt").unlink()
    (node / "data" / "journal.txt").write_bytes((again / "data" / "journal.txt").read_bytes())
    house.restart()
    restored = House(again)
    assert facts(restored) == facts(house)
    restored.close()


def test_a_repair_makes_a_single_servers_home_if_one_agrees(node: Path) -> None:
    epoch = read_epoch(node / "data")
    flip(node / "data" / "replies.txt", 60)
    one_file_less(node)
    said: list[str] = []
    questions: list[str] = []

    def ask(question: str) -> bool:
        questions.append(question)
        return len(questions) > 1

    assert upkeep.repair_home(node, said.append, ask) == 1
    assert questions == ["Repair it as a single server? (yes/no) "]
    assert any("rather take data/ away, and start this one again with --log" in sentence for sentence in said)
    assert said[-1] == "Nothing was changed." and nodefile.read(node / "data")
    assert upkeep.repair_home(node, said.append, ask) == 0
    assert said[-1] == "All of it is whole now."
    assert nodefile.read(node / "data") is None and read_epoch(node / "data") != epoch
    again = House(node)
    assert again.login("Columbia")
    again.close()


def test_a_repair_of_a_damaged_node_file_makes_one_too(node: Path) -> None:
    flip(node / "data" / "node.txt", 3)
    said: list[str] = []
    assert upkeep.repair_home(node, said.append, lambda question: True) == 0
    House(node).close()


def test_one_that_is_about_to_take_a_snapshot_is_to_be_started(node: Path) -> None:
    (node / "data" / takeover.READY).mkdir()
    for work in (lambda: looked_at(node), lambda: backup.write(node, node.parent / "b.tar.gz")):
        with pytest.raises(FileError, match="is about to take a snapshot: start the server"):
            work()
