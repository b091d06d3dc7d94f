"""``python -m tests.proofs.damage``: any one byte of any file in ``data/`` is damaged, and any file is cut at any byte
or missing. Each start is refused, names the place and touches nothing; or it makes no difference. Part of ``make
crash``.

What no start can notice, and who does:

* a damaged message, line of a ledger that is not the last, or byte of a user's file: whoever reads it is told (a file's
  receiver compares digests);
* the journal, cut behind a mark that says what is durable, as a power cut leaves it, or before the first one, as a
  clean stop does: what stands behind the cut is lost, and nothing else. (A mark follows a batch within a second.)

And a missing ``*.base`` is what its own message offers: all lines of the file count as edited by hand then.

Bit for bit with CHAT_EXAMPLES=1000 or more, else one bit of each byte.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest.mock import patch

from chatlib.core import streams
from chatlib.server.edits import EditedFiles
from chatlib.server.recovery import recover
from chatlib.storage import messages
from chatlib.storage.home import Home
from chatlib.storage.journal import Journal
from chatlib.storage.messages import Erased, MessageStore
from chatlib.storage.textfile import FileError
from tests.chance import SEED, examples, new_chance
from tests.core.stage import picture
from tests.places import MEMORY
from tests.proofs.scores import note
from tests.server.house import PASSWORD, House

DAMAGED = "damaged"  # in place of a message whose reader is told so
ERASED = "erased"  # in place of what went with its receiver
LATER = "message_rep.*.txt"  # the second segment; the damaged one is not the last, which the journal brings back
FILES = ("accounts.txt", "addresses.txt", "admin.txt", "allow_rep.txt", "bans.txt", "block_rep.txt", "cheques.txt",
         "credentials.base", "epoch.txt", "file_rep.txt", "journal.txt", "ledger.txt", "list_block.txt",
         "mailboxes.txt", "manifest.txt", "message_rep.txt", LATER, "para.base", "replies.txt", "state.txt",
         "users.txt", "waiting.txt", "threads/plans")  # fmt: skip
NOT_COVERED = {"lock", "writer.lock"}  # nothing in them is read by a start that gets them
_MARK = re.compile(rb"^# durable (\d+)", re.MULTILINE)


class InPlace:
    """A syncer."""

    def start(self, *fds: int) -> bool:
        return True

    def ready(self) -> None: ...


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """Segments, and streams in memory, that end after a few messages; and no waiting for a disk."""
    with (
        patch.object(streams, "CHUNK", 2), patch.object(streams, "TAIL", 4), patch.object(messages, "SEGMENT", 300),
        patch.object(os, "fsync", lambda fd: None),
    ):  # fmt: skip
        yield


def live(house: House) -> None:
    """Fills a home of Ann, Bob, Cyd and Dan with something for every file and for the journal; then it is killed."""
    ann = house.login("Ann")
    for action in (
        {"action": "message", "to": "Bob", "text": "saved"}, {"action": "message", "to": "Cyd", "text": "erased"},
        *({"action": "message", "to": "Bob", "text": f"long ago {number}"} for number in range(3)),
        {"action": "broadcast", "text": "to all", "key": "k1"}, {"action": "block", "user": "Bob"},
        {"action": "allow", "user": "Dan"}, {"action": "crt", "title": "plans"},
        {"action": "msg", "title": "plans", "text": "saved"},
    ):  # fmt: skip
        assert ann.ask(**action)["status"] == "OK"
    house.greet().prove("login", "Bob", "wrong")
    house.admin("ban 192.0.2.0/24 2h spam", "ban Dan", "mute Bob 3d")
    house.server.submit({"action": "file_stored", "at": 1.0, "user": "ann", "to": "Bob", "name": "a", "size": 1,
                         "sha256": "0" * 64, "blob": "blob"})  # fmt: skip
    assert house.greet().prove("deregister", "Cyd", PASSWORD)["status"] == "OK"
    assert house.save() == ["Saved."]
    ann.ask("message", to="Bob", text="journaled")
    ann.ask("broadcast", text="journaled")
    house.pass_time(1.0)
    house.crash()


def content(folder: Path) -> dict[str, bytes]:
    """All files. It is done so often that it must be fast."""
    found: dict[str, bytes] = {}
    folders = [str(folder)]
    while folders:
        for entry in os.scandir(folders.pop()):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                fd = os.open(entry.path, os.O_RDONLY)
                found[entry.path] = os.read(fd, 1 << 20)
                os.close(fd)
    return found


def restore(folder: Path, before: dict[str, bytes]) -> None:
    """Makes them what they were."""
    there = content(folder)
    for path in there.keys() - before.keys():
        os.unlink(path)
    for path, held in before.items():
        if there.get(path) != held:
            Path(path).write_bytes(held)


def started(home: Home, by_hand: bool = False) -> dict[str, Any]:
    """All that a start makes of the home. Raises FileError. `by_hand`: lines may be taken for edits."""
    edited = EditedFiles(home.path)
    faults: list[BaseException] = []
    said: list[str] = []
    journal = Journal(home.data, InPlace())  # type: ignore[arg-type]
    world, store, appended = recover(home, journal, said.append, faults.append)
    said.clear()  # what it says of a start that went well
    try:
        changed = edited.read()
        assert not faults and (not changed or by_hand), f"{faults or changed}"
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


class Trial:
    """One home, and what its start makes of damage."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.data, self._chance = folder, folder / "data", chance
        self._home = Home(folder)
        self._before = content(folder)
        self.wanted = started(self._home)
        restore(folder, self._before)
        self.outcomes: Counter[str] = Counter()
        self.chunks_lost = 0

    def close(self) -> None:
        """Gives the home back."""
        os.close(self._home._lock_fd)

    def path(self, name: str) -> Path:
        """The file of that name; of several the first."""
        return min(self.data.glob(name), key=lambda one: (len(one.name), one.name))

    def flips(self, name: str, step: int = 1) -> None:
        """A bit of each byte flips, or all eight; of each `step`-th byte."""
        path = self.path(name)
        whole = self._before[str(path)]
        for at in range(self._chance.randrange(step), len(whole), step):
            for bit in range(8) if examples() >= 1_000 else [self._chance.randrange(8)]:
                flipped = bytearray(whole)
                flipped[at] ^= 1 << bit
                self._try(name, path, bytes(flipped), f"{name}: byte {at}, bit {bit} flipped")

    def cuts(self, name: str, step: int = 1) -> None:
        """The file ends at each byte, and is missing."""
        path = self.path(name)
        whole = self._before[str(path)]
        for length in range(self._chance.randrange(step), len(whole), step):
            self._try(name, path, whole[:length], f"{name}: cut to {length} bytes")
        self._try(name, path, None, f"{name}: missing")

    def _try(self, name: str, path: Path, damaged: bytes | None, what: str) -> None:
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        try:
            got = started(self._home, by_hand=damaged is None and path.suffix == ".base")
        except AssertionError as wrong:
            raise AssertionError(f"{what}: {wrong}") from None
        except FileError as refused:
            self.outcomes["refused"] += 1
            # That one of several is missing is seen from those that are there.
            place = path.name if damaged is not None else path.name.partition(".")[0]
            assert place in str(refused), f"{what}: {refused}"
            left = {**self._before, str(path): damaged}
            assert content(self.folder) == {path: held for path, held in left.items() if held is not None}, what
            path.write_bytes(self._before[str(path)])
        else:
            self._compare(name, got, damaged or b"", what)
            restore(self.folder, self._before)

    def _compare(self, name: str, got: dict[str, Any], damaged: bytes, what: str) -> None:
        wanted = self.wanted
        if name == "journal.txt" and got["world"]["lsn"] < wanted["world"]["lsn"]:
            self.outcomes["as a power cut leaves it"] += 1
            marks = _MARK.findall(damaged)
            assert got["world"]["lsn"] >= int([b"0", *marks][-1]), what
            for user, texts in got["mail"].items():
                right = wanted["mail"][user]
                assert texts == right[len(right) - len(texts) :], f"{what}: {texts}"
            return
        if name in ("message_rep.txt", LATER):
            lost = len(got["said"])
            self.chunks_lost += lost
            for user, texts in got["mail"].items():
                right = wanted["mail"][user]
                assert len(texts) in (len(right), len(right) - streams.CHUNK * lost), what
                rest = iter(right)
                assert all(text == DAMAGED or text in rest for text in texts), what
                assert texts == right or lost + texts.count(DAMAGED) == 1, what
            self.outcomes["told when it is read" if got["mail"] != wanted["mail"] else "the same"] += 1
            got = {**got, "mail": wanted["mail"], "said": []}
        else:
            self.outcomes["the same"] += 1
        assert got == wanted, f"{what}: {_difference(got, wanted)}"


def _difference(got: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Where they differ."""
    both = [(f"{part} {key}", got[part].get(key), right) for part in ("mail", "world")
            for key, right in wanted[part].items()]  # fmt: skip
    return [f"{name}: {mine} instead of {right}" for name, mine, right in both if mine != right] + got["said"]


def forgotten(folder: Path) -> set[str]:
    """Files in data/ that are not in FILES, nor known to say nothing."""
    data = folder / "data"
    there = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file() and "logs" not in path.parts}
    return {name for name in there if not fnmatch(name, LATER)} ^ (set(FILES) - {LATER} | NOT_COVERED)


def main() -> int:
    """Exit status 1: damage went by unnoticed, or a refusal changed something."""
    parser = argparse.ArgumentParser(description="Damages every file of a small home, at every byte.")
    parser.add_argument("--only", nargs="+", metavar="FILE", choices=FILES, default=FILES, help="these files alone")
    parser.add_argument("--step", type=int, default=1, help="every so many bytes (default: each)")
    options = parser.parse_args()
    chance, begun = new_chance("damage"), time.monotonic()
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="damage-", dir=place) as name, small_files():
        live(House(Path(name), users=("Ann", "Bob", "Cyd", "Dan")))
        trial, file = Trial(Path(name), chance), ""
        try:
            assert not forgotten(Path(name)), f"these files are not tried: {forgotten(Path(name))}"
            for file in options.only:
                trial.flips(file, options.step)
                trial.cuts(file, options.step)
        except AssertionError as wrong:
            print(f"repeat it: CHAT_SEED={SEED} python3 -m tests.proofs.damage --only '{file}'")
            print(f"damage: FAILED: {wrong}")
            return 1
    note("damage to every byte of a home", f"{trial.outcomes.total():,} starts",
         "refused, or nothing is missing")  # fmt: skip
    outcomes = ", ".join(f"{what} {count:,}" for what, count in trial.outcomes.most_common())
    taken = time.monotonic() - begun
    print(f"damage: ok: {trial.outcomes.total():,} damaged homes started in {taken:.0f} s: {outcomes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
