"""``--verify`` says what is there, names each place that is damaged, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.server import upkeep
from chatlib.server.verifying import verify
from chatlib.storage import messages
from chatlib.storage.textfile import FileError
from tests.server.house import House
from tests.server.lived import FLAT, Dial, flip, live, looked_at, state


@pytest.fixture
def lived(house: House, dial: Dial) -> Path:
    """The home of a server that has crashed."""
    live(house, dial)
    house.crash()
    return house.folder


def damage(folder: Path) -> list[str]:
    return [sentence for _, sentence in looked_at(folder).damage]


@pytest.mark.parametrize("how", ["running", "crash", "stop"])
def test_a_whole_home(house: House, dial: Dial, how: str) -> None:
    live(house, dial)
    if how != "running":
        getattr(house, how)()
    said: list[str] = []
    assert upkeep.verify_home(house.folder, said.append) == 0
    before = state(house.folder)
    report = verify(house.folder)
    assert state(house.folder) == before
    assert report.counts["files"] == 2
    assert report.counts["messages"] == 17
    assert report.counts["credits"] == 40_000
    assert ": 4 users, 17 stored messages, 1 thread with 2 posts, 2 files, 40,000 credits held" in said[0]
    assert said[1:] == ["All of it is whole."]


@pytest.mark.parametrize("name", [*FLAT, "manifest.txt", "epoch.txt", "message_rep.txt", "journal.txt", "ledger.txt"])
def test_a_missing_file_is_named(lived: Path, name: str) -> None:
    (lived / "data" / name).unlink()
    found = damage(lived)
    assert any(sentence.startswith(f"{lived / 'data' / name}") and "missing" in sentence for sentence in found), found


@pytest.mark.parametrize("name", [*FLAT, "manifest.txt", "epoch.txt", "credentials.base"])
def test_a_damaged_file_is_named(lived: Path, name: str) -> None:
    path = lived / "data" / name
    flip(path, path.stat().st_size // 2)
    assert any(str(path) in sentence for sentence in damage(lived))


def test_damage_in_the_middle_is_named_by_its_place(lived: Path) -> None:
    store, journal, ledger = (lived / "data" / name for name in ("message_rep.txt", "journal.txt", "ledger.txt"))
    flip(store, at := store.read_bytes().index(b"saved 2"))
    flip(journal, journal.read_bytes().index(b"journaled 2"))
    flip(ledger, ledger.read_bytes().index(b"open"))
    found = damage(lived)
    begin = store.read_bytes().rindex(b"\n", 0, at) + 1
    assert f'{store}: the line at byte {begin} is damaged (its checksum does not fit): a message for "SEAS"' in found[1]
    assert found[0].startswith(f"{journal}, line ")
    assert "though it was on disk already" in found[0]
    assert found[2].startswith(f"{ledger}, line 2, at byte ")
    assert len(found) == 3


def test_bytes_of_files_are_compared_with_what_the_world_knows(lived: Path) -> None:
    first, second = sorted((lived / "data" / "files").iterdir())
    flip(first, 3)
    second.unlink()
    found = damage(lived)
    assert {"damaged" in sentence for sentence in found} == {True, False}
    assert all('.bin" of Columbia for SEAS cannot be fetched' in sentence for sentence in found)


def test_a_store_that_was_cut_short(lived: Path) -> None:
    store = lived / "data" / "message_rep.txt"
    store.write_bytes(store.read_bytes()[:400])
    (sentence,) = [each for each in damage(lived) if "missing" in each]
    assert "bytes are missing from byte" in sentence


def test_an_erased_message_is_no_damage(house: House, dial: Dial) -> None:
    live(house, dial)
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    house.settle()
    assert looked_at(house.folder).is_whole
    house.stop()
    assert looked_at(house.folder).is_whole


def test_several_segments(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "SEGMENT", 2_000)
    house.server.messages._limit = 2_000
    columbia = house.login("Columbia")
    for number in range(50):
        columbia.ask("message", to="SEAS", text=f"text {number} {'x' * 50}")
    house.stop()
    assert looked_at(house.folder).is_whole
    segments = sorted((house.folder / "data").glob("message_rep.*.txt"))
    assert len(segments) > 2
    flip(segments[1], 5)
    segments[0].unlink()
    found = damage(house.folder)
    assert any("line 1: it is damaged; nothing is lost" in sentence for sentence in found)
    assert any("missing from byte" in sentence for sentence in found)


def test_what_people_edit(lived: Path) -> None:
    (lived / "para.txt").write_text((lived / "para.txt").read_text() + "MaxCon 7\nNOTHING 1\n")
    report = looked_at(lived)
    assert report.is_whole
    assert any("there is no parameter 'NOTHING'" in note for note in report.notes)
    assert "para.txt was changed by hand (MaxCon): the next start takes it in." in report.notes
    (lived / "para.txt").write_text("MaxCon none\n")
    (sentence,) = damage(lived)
    assert sentence.startswith(f"{lived / 'para.txt'}, line 1: MaxCon must be a whole number")


def test_a_damaged_certificate(lived: Path) -> None:
    (lived / "data" / "tls.pem").write_text("-----BEGIN NONSENSE-----\n")
    (sentence,) = damage(lived)
    assert sentence.startswith(f"{lived / 'data' / 'tls.pem'} is damaged")


def test_a_torn_tail_is_no_damage(lived: Path) -> None:
    with open(lived / "data" / "journal.txt", "ab") as journal:
        journal.write(b'99 1a2b3c4d {"by":"col')
    report = looked_at(lived)
    assert report.is_whole
    assert "It was not acknowledged" in report.notes[0]


def test_a_home_that_never_was_used(build: Callable[..., House], tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no server's home"):
        verify(tmp_path / "nowhere")
    house = build()
    assert looked_at(house.folder).is_whole
    house.crash()
    assert looked_at(house.folder).is_whole
