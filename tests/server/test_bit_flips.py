"""Any one bit of any file in ``data/`` flips: the start is refused and touches nothing, or it makes no difference.

A damaged message is the one thing that a start does not look for; whoever reads it is told.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from chatlib.core import streams
from chatlib.server.edits import EditedFiles
from chatlib.server.recovery import recover
from chatlib.storage import messages
from chatlib.storage.home import Home
from chatlib.storage.journal import Journal
from chatlib.storage.messages import Erased, MessageStore
from chatlib.storage.textfile import FileError
from tests.chance import examples, new_chance
from tests.core.stage import picture
from tests.server.house import PASSWORD, House
from tests.server.test_power_cuts import Syncer

DAMAGED = "damaged"  # in place of a message whose reader is told so
ERASED = "erased"  # in place of what went with its receiver
LATER = "message_rep.*.txt"  # the second segment; the flipped one is not the last, which the journal brings back
FILES = ("accounts.txt", "addresses.txt", "admin.txt", "allow_rep.txt", "block_rep.txt", "cheques.txt",
         "credentials.base", "epoch.txt", "file_rep.txt", "journal.txt", "ledger.txt", "list_block.txt",
         "mailboxes.txt", "manifest.txt", "message_rep.txt", LATER, "para.base", "replies.txt", "state.txt",
         "users.txt")  # fmt: skip
NOT_COVERED = {"lock", "writer.lock"}  # nothing in them is read by a start that gets them


@pytest.fixture
def home(build: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with something in every file, in the text files and in the journal, that was killed."""
    monkeypatch.setattr(streams, "CHUNK", 2)
    monkeypatch.setattr(streams, "TAIL", 4)
    monkeypatch.setattr(messages, "SEGMENT", 300)
    house = build(users=("Ann", "Bob", "Cyd", "Dan"))
    ann = house.login("Ann")
    for action in (
        {"action": "message", "to": "Bob", "text": "saved"}, {"action": "message", "to": "Cyd", "text": "erased"},
        *({"action": "message", "to": "Bob", "text": f"long ago {number}"} for number in range(3)),
        {"action": "broadcast", "text": "to all", "key": "k1"}, {"action": "block", "user": "Bob"},
        {"action": "allow", "user": "Dan"},
    ):  # fmt: skip
        assert ann.ask(**action)["status"] == "OK"
    house.greet().prove("login", "Bob", "wrong")
    house.server.submit({"action": "file_stored", "at": 1.0, "user": "ann", "to": "Bob", "name": "a", "size": 1,
                         "sha256": "0" * 64, "blob": "blob"})  # fmt: skip
    assert house.greet().prove("deregister", "Cyd", PASSWORD)["status"] == "OK"
    assert house.save() == ["Saved."]
    ann.ask("message", to="Bob", text="journaled")
    ann.ask("broadcast", text="journaled")
    house.pass_time(1.0)
    house.crash()
    return house.folder


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def started(home: Home) -> dict[str, Any]:
    """All that a start makes of the home. Raises FileError."""
    edited = EditedFiles(home.path)
    faults: list[BaseException] = []
    said: list[str] = []
    recovered = recover(home, Journal(home.data, Syncer()), said.append, faults.append)  # type: ignore[arg-type]
    world, store, appended = recovered
    said.clear()
    try:
        assert not faults and not edited.read()
        mail: dict[str, list[Any]] = {}
        for user, account in world.accounts.items():
            mail[user] = _texts(store, world.history(user, world.lsn + 1, sent=False))
            mail[f"sent by {user}"] = _texts(store, account.sent.before(world.lsn + 1, world.floor, world.archive))
        return {"epoch": home.epoch(), "mail": mail, "world": picture(world), "said": said}
    finally:
        store.close()
        appended.close()


def _texts(store: MessageStore, positions: Iterable[tuple[int, int]]) -> list[Any]:
    texts = []
    for seq, offset in positions:
        try:
            event = json.loads(store.read(offset)[1])
            texts.append(event.get("text", event.get("name")))
            assert event["seq"] == seq
        except Erased:
            texts.append(ERASED)
        except FileError:
            texts.append(DAMAGED)
    return texts


def restore(folder: Path, before: dict[Path, bytes]) -> None:
    for path, held in content(folder).items():
        if path not in before:
            path.unlink()
        elif held != before[path]:
            path.write_bytes(before[path])


def test_no_file_is_forgotten(home: Path) -> None:
    there = {path.name for path in (home / "data").iterdir() if path.is_file()}
    segments = {name for name in there if fnmatch(name, LATER)}
    assert len(segments) > 1 and there - segments == set(FILES) - {LATER} | NOT_COVERED


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_refused_or_makes_no_difference(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One bit of each byte; all eight with CHAT_EXAMPLES=1000 or more."""
    chance = new_chance(name)
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    at_home = Home(home)
    before = content(home)
    wanted = started(at_home)
    assert len(wanted["mail"]["bob"]) == 8 and DAMAGED not in wanted["mail"]["bob"] and not wanted["said"]
    assert len(wanted["mail"]["sent by ann"]) == 7 and wanted["mail"]["sent by ann"].count(ERASED) == 1
    restore(home, before)
    path = min((home / "data").glob(name), key=lambda one: (len(one.name), one.name))
    whole, chunks_lost = before[path], 0
    for at in range(len(whole)):
        for bit in range(8) if examples() >= 1_000 else [chance.randrange(8)]:
            flipped = bytearray(whole)
            flipped[at] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                got = started(at_home)
            except FileError as refused:
                assert path.name in str(refused), f"byte {at}, bit {bit}: {refused}"
                assert content(home) == {**before, path: bytes(flipped)}, f"byte {at}, bit {bit}"
                continue
            if name in ("message_rep.txt", LATER):
                lost = len(got["said"])
                chunks_lost += lost
                for user, texts in got["mail"].items():
                    right = wanted["mail"][user]
                    assert len(texts) in (len(right), len(right) - streams.CHUNK * lost), f"byte {at}, bit {bit}"
                    rest = iter(right)
                    assert all(text == DAMAGED or text in rest for text in texts), f"byte {at}, bit {bit}"
                    assert texts == right or lost + texts.count(DAMAGED) == 1, f"byte {at}, bit {bit}"
                got["mail"], got["said"] = wanted["mail"], []
            assert got == wanted, f"byte {at}, bit {bit}"
            restore(home, before)
    assert bool(chunks_lost) == (name == LATER)
    os.close(at_home._lock_fd)
