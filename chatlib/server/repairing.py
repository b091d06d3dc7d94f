"""``server.py --repair``: of a damaged home, what can be proven is kept, and a start succeeds again.

The text files are read line by line (:mod:`.salvage`), the message store is made whole (:mod:`.storemending`), the
books are made right (:mod:`chatlib.core.mending`), and whatever the journal has that is whole is carried out. The world
that comes of it is written anew, as one set, and a new journal begins behind it.

First of all, each file that is damaged is copied into ``data/damaged/``, as it is; nothing there is ever removed, nor
changed. A crash leaves a home that can be repaired again: until the new set holds, the old one lies in its place. Legal
order: ``verify`` has found damage, the home is locked → ``Repair(...).carry_out`` → ``verify`` must find none.

A node's home becomes a single server's: what is lost here the other nodes have, and two worlds must not meet in a log.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chatlib.core import sessions, snapshot
from chatlib.core.accounts import Presence
from chatlib.core.bank import bank_of
from chatlib.core.features import FEATURES
from chatlib.core.ledger import BANK, HEADER, NAME, START, Entry, parse
from chatlib.core.mending import Mending
from chatlib.core.streams import CHECKSUM
from chatlib.core.threads import forum_of
from chatlib.core.world import World
from chatlib.protocol.text import counted
from chatlib.server import lostcommands, salvage, storemending
from chatlib.server.effects import Replayed
from chatlib.server.recovery import seal
from chatlib.server.stored import Stored
from chatlib.server.verifying import TLS, Report, blob_damage, owned
from chatlib.storage import appendfile, checkpoint, messagefiles, nodefile, records, replay, textfile
from chatlib.storage.appendfile import AppendFile, AppendFiles
from chatlib.storage.blobs import is_adopted, part_of
from chatlib.storage.home import Home, renew_epoch
from chatlib.storage.messages import MessageStore
from chatlib.storage.textfile import FileError, is_whole, sync_folder, with_checksums

FOLDER = "damaged"  # in data/
REPORT = "report.txt"  # in a folder there
AHEAD = 1_000_000_000  # LSNs that are left out where commands are lost: nobody knows how many were given away


@dataclass
class Repair:
    """One of them. `lost`: in plain words, what is gone; `done`: what else people must know."""

    home: Home
    report: Report
    lost: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = self.home.data
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
        self.aside, count = self.data / FOLDER / stamp, 1
        while self.aside.exists():
            count += 1
            self.aside = self.data / FOLDER / f"{stamp}_{count}"
        self.damaged = {path for path, _ in self.report.damage}

    def carry_out(self) -> None:
        """Raises OSError; then the home is as it was, or can be repaired again."""
        journal = self.data / "journal.txt" in self.damaged
        for path in sorted({*self.damaged, *(replay.segments(self.data) if journal else ())}):
            self._put_aside(path)
        self.world = self._read()
        self._mend_store()
        ledger = self._mend_books()
        if journal:
            self._take_on_damaged(ledger)
        else:
            found = replay.records(replay.prove(self.data, self.world.lsn), self.world.lsn)
            self._take_on(ledger, found, lenient=self.found.is_broken("users.txt"))
        self._mend_blobs()
        self._write(ledger)
        self._mend_beside()
        self._report()

    def _report(self) -> None:
        """All of it, beside what was damaged: a terminal forgets."""
        self.aside.mkdir(mode=0o700, parents=True, exist_ok=True)
        told = [f"Damage! {sentence}" for _, sentence in self.report.damage]
        told += [f"Mended: {sentence}." for sentence in self.done] + [f"Lost: {sentence}." for sentence in self.lost]
        textfile.replace(self.aside / REPORT, "".join(f"{sentence}\n" for sentence in told))

    def _put_aside(self, path: Path, gone: bool = False) -> None:
        """Copies a damaged file; `gone`: and it goes from its place."""
        for place in (path, self.data / ".next" / path.name):
            if not place.is_file():
                continue
            target = self.aside / place.relative_to(self.home.path)
            if not target.exists():
                for folder in (*reversed(target.parents), target.parent):
                    if not folder.exists():
                        folder.mkdir(mode=0o700)
                shutil.copyfile(place, target)
                target.chmod(0o600)
                textfile.sync_file(target)
                for folder in (target.parent, self.aside, self.aside.parent, self.data):
                    sync_folder(folder)
            if gone:
                place.unlink()

    # Text files.

    def _read(self) -> World:
        self.found = found = salvage.read(self.data)
        world, first = found.world, self.home.messages
        self.lost += found.lost
        if not found.lsn:
            world.lsn = max(world.lsn, _first_record(self.data) - 1)
        self.lsn = world.lsn  # of the text files
        if found.is_broken("state.txt"):
            self._put_aside(self.data / "para.base", gone=True)  # so the next start takes in all of para.txt
            world.store_end = storemending.end_of_store(first, world.lsn)
            there = messagefiles.listing(first)
            if there and there[0].base > messagefiles.START:
                world.floor_offset = there[0].base
                lines = storemending.lines_of(first, world.floor_offset, world.store_end)
                world.floor = next((seq for _, _, event in lines if isinstance(seq := event.get("seq"), int)), 1)
        if found.rebuilt:
            names = ", ".join(world.accounts[user].name for user in found.rebuilt)
            self.done.append(f"users.txt: {names}: made again of what the other files say")
            for entry in self._entries(0):
                if entry and entry.kind == "open" and entry.target in found.rebuilt:
                    world.accounts[entry.target].joined = entry.lsn
        return world

    def _mend_store(self) -> None:
        world, first = self.world, self.home.messages
        lost = storemending.mend(first, world.floor_offset, world.store_end)
        self.lost += lost
        if self.found.is_broken("mailboxes.txt") or (lost and storemending.lost_positions(world, first)):
            storemending.find_positions(world, first)
            self.done.append("mailboxes.txt: where messages stand was found anew, in the messages themselves")
        if self.found.is_broken("mailboxes.txt"):
            unread = [account.name for user, account in world.accounts.items() if user not in self.found.boxes]
            if unread:
                self.lost.append(f"mailboxes.txt: what {', '.join(unread)} had seen, and which threads they follow: "
                                 "some of it may be shown again")  # fmt: skip

    # The books.

    def _entries(self, place: int) -> Iterator[Entry | None]:
        """The lines of the ledger that the text files know of, from a place on; None: one that is damaged."""
        path = self.data / NAME
        if not path.exists():
            return
        number = 0
        for _, lines in appendfile.lines(path, START, path.stat().st_size):
            for line in lines:
                entry = _entry(line)
                if entry and entry.lsn > self.lsn:
                    return
                if number >= place:
                    yield entry
                number += 1

    def _mend_books(self) -> Path | None:
        """The file with the new ledger, where one is needed; the world's bank is as it says."""
        bank, path = bank_of(self.world), self.data / NAME
        if path not in self.damaged and not self.found.is_broken("accounts.txt"):
            return None
        self._put_aside(path)
        books = {user: book.balance for user, book in bank.books.items() if user != BANK}
        held = None if self.found.is_broken("accounts.txt") else books
        mending = Mending()
        new = self.data / f".{NAME}.{os.getpid()}.new"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(HEADER.encode())
            for line in mending.lines(self._entries, held):
                file.write(with_checksums([line]))
            strangers = [user for user in mending.bank.books if user != BANK and user not in self.world.accounts]
            for line in mending.close(strangers, self.world.lsn, self.world.at):
                file.write(with_checksums([line]))
        if mending.lost:
            self.lost.append(f"{NAME}: {counted(mending.lost, 'line')}, and what was said in them")
        for movement, at in mending.made:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
            self.done.append(f"{NAME}: a lost movement was made good: {movement}, at {when} or later")
        for user, book in mending.bank.books.items():
            if held is not None and user in bank.books:
                book.opened = bank.books[user].opened
        bank.books, bank.entries, bank.end = mending.bank.books, mending.bank.entries, mending.bank.end
        return new

    # The journal.

    def _take_on(self, ledger: Path | None, found: Iterable[tuple[int, bytes]], lenient: bool = False) -> None:
        """Carries out these commands, which come behind the text files, as a start does."""
        world = self.world
        store = MessageStore(self.home.messages, world.store_end, world.floor_offset)
        file = AppendFile(ledger or self.data / NAME, HEADER.encode(), bank_of(world).end)
        appended = AppendFiles({NAME: file})
        world.archive = Stored(store, appended, time.time, lambda text: None)
        replayed = Replayed(store, appended, lambda name: None)
        replayed.carry_out(seal(world))
        for lsn, body in found:
            command = json.loads(body)
            if lenient:
                self._let_in(lsn, command.get("by"))
            world.lsn = lsn - 1
            replayed.carry_out(world.execute(command)[1])
        store.flush()
        appended.flush()
        for offset in replayed.erased():
            with contextlib.suppress(FileError):
                store.erase([offset])
        for kept in (store, appended):
            kept.sync()
            kept.close()
        if self.report.found:
            world.lsn = max(world.lsn, self.report.found.given)

    def _let_in(self, lsn: int, user: str | None) -> None:
        """The command is whole, so its user was online, though the login may be lost."""
        world = self.world
        if user and user in world.accounts and user not in world.online:
            account = world.accounts[user]
            world.forget_departure(account)
            sessions.begin(world, user, Presence(lsn, world.at, "0.0.0.0", None, account.seen), [])

    def _take_on_damaged(self, ledger: Path | None) -> None:
        """The same with all that is whole, in the journal and elsewhere."""
        world = self.world
        for path in (messagefiles.place(self.home.messages, world.store_end).path, self.data / NAME):
            self._put_aside(path)
        whole = LeftOver(self.data, world.lsn)
        kept = dict(whole.records)
        made = {lsn: command for lsn, command in lostcommands.find(self.data, world).items() if lsn not in kept}
        kept.update((lsn, json.dumps(command).encode()) for lsn, command in made.items())
        self._take_on(ledger, sorted(kept.items()), lenient=True)
        world.lsn = max(world.lsn, whole.given) + AHEAD
        for first, last in whole.gaps:
            again = sum(first <= lsn <= last for lsn in made)
            note = f"; {again} of them made again: texts and payments" if again else ""
            self.lost.append(f"the journal: {counted(last - first + 1, 'command')}, LSN {first} to {last}{note}")
        if not whole.gaps:
            self.lost.append("the journal: what was acknowledged since the last save, as far as it stood only there")

    # Bytes of files.

    def _mend_blobs(self) -> None:
        folder, world = self.data / "files", self.world
        bad = {blob for blob, size, sha256, _ in owned(world) if blob_damage(folder, blob, size, sha256)}
        for blob, _, _, what in owned(world):
            if blob in bad:
                self.lost.append(what)
        for account in world.accounts.values():
            for sender, file in list(account.files or ()):
                if file.blob in bad and account.files is not None:
                    account.files.remove(sender, file)
            if account.files is not None and not account.files.count:
                account.files = None
        for thread in forum_of(world).values():
            for each in [each for each in thread.attachments.values() if each.blob in bad]:
                thread.detach(each)
        wanted = {blob for feature in FEATURES for blob in feature.blobs(world)}
        for name in os.listdir(folder) if folder.is_dir() else ():
            if name in bad or (is_adopted(name) and name not in wanted):
                self._put_aside(folder / name, gone=True)
        for blob in bad:
            self._put_aside(part_of(folder, blob))

    # All of it.

    def _write(self, ledger: Path | None) -> None:
        """The new set, then a new journal."""
        world, data = self.world, self.data
        about = HEADER.split(": ", 1)[1].rstrip("\n")
        moved = [(NAME, about, _texts(ledger))] if ledger else []
        checkpoint.write(data, world.lsn, snapshot.dump(world), moved_along=moved, anew=True)
        _, kept = checkpoint.read_manifest(data / checkpoint.MANIFEST)
        for name in {*self.found.flat.paths, *self.found.damage}:
            if name not in kept and name != checkpoint.MANIFEST:
                self._put_aside(data / name, gone=True)
        if ledger:
            ledger.unlink()
        for path in replay.segments(data):
            if path.name != "journal.txt":
                path.unlink()
        mark = records.durable(world.lsn, world.lsn)
        textfile.replace(data / "journal.txt", (records.HEADER + mark).decode())

    def _mend_beside(self) -> None:
        """What stands beside the set."""
        if (self.data / nodefile.NAME).exists():
            renew_epoch(self.data, self.world.lsn)
            self._put_aside(self.data / nodefile.NAME, gone=True)
            self.done.append("node.txt: it is a single server's home now")
        for path in sorted(self.damaged):
            if path.name == "epoch.txt":
                renew_epoch(self.data, 0)
                self.done.append("epoch.txt: a new one; clients take this for another server, once")
            elif path.name == TLS:
                self._put_aside(path, gone=True)
                self.done.append(f"{TLS}: the server makes a new certificate; clients must be told its fingerprint")
            elif path.suffix == ".base" or path in (self.home.parameters, self.home.credentials):
                self._put_aside(path, gone=True)
                self._put_aside(self.data / f"{path.stem}.next", gone=True)
                if path.suffix == ".txt":
                    self.done.append(f"{path.name}: the next start writes it anew; edits in it that no server had "
                                     "taken in, and comments, are lost")  # fmt: skip


class LeftOver:
    """What is whole in a damaged journal: its `records` later than LSN `after`; between which LSNs some are missing;
    and the last LSN that may have been given away."""

    def __init__(self, data: Path, after: int) -> None:
        self.gaps: list[tuple[int, int]] = []
        self.records: list[tuple[int, bytes]] = []
        self.given, durable, last = after, 0, after
        for path in replay.segments(data):
            with open(path, "rb") as file:
                for line in file:
                    mark, record = records.read_mark(line), records.unpack(line[:-1])
                    if mark:
                        self.given = max(self.given, mark.first, mark.last)
                        durable = max(durable, mark.first) if mark.says == b"durable" else durable
                        last = max(last, mark.last) if mark.says == b"skip" and mark.first <= last + 1 else last
                    elif record and record[0] > last:
                        if record[0] > last + 1:
                            self.gaps.append((last + 1, record[0] - 1))
                        last = record[0]
                        self.records.append(record)
        if durable > last:
            self.gaps.append((last + 1, durable))
        self.given = max(self.given, last)


def _first_record(data: Path) -> int:
    """The LSN of the first whole record of the journal; 1: there is none."""
    return next((lsn for lsn, _ in LeftOver(data, 0).records), 1)


def _entry(line: bytes) -> Entry | None:
    try:
        return parse(line[CHECKSUM:]) if is_whole(line) else None
    except ValueError:
        return None


def _texts(path: Path) -> Iterator[str]:
    """The lines of the new ledger behind the first, without their ends."""
    with open(path, encoding="utf-8", newline="\n") as file:
        file.readline()
        yield from (line[:-1] for line in file)

