"""``server.py --verify``: reads everything of a home, says what is there, and each place that is damaged.

It changes nothing, takes no lock and makes no file. A server may run on the home: then what is read is what it had
acknowledged at one moment. Text files and journal are read until no save came in between; what is appended to does not
change up to the length that they name; and what looks damaged counts only if a second look finds the same.

A node of a cluster has no journal: what came since its last save is in the log. Nor has it all bytes of files: those
that came to other nodes are in the engine until somebody asks for them.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatlib.core import snapshot
from chatlib.core.audit import Audit, Disagreement
from chatlib.core.bank import Bank, bank_of
from chatlib.core.effects import BROADCAST, POST, PUBLISH
from chatlib.core.features import FEATURES
from chatlib.core.ledger import BANK, NAME, START
from chatlib.core.streams import LOST, Chunk, Position
from chatlib.core.threads import forum_of
from chatlib.core.world import World
from chatlib.protocol.text import counted
from chatlib.server import salvage
from chatlib.server.edits import EditedFiles
from chatlib.server.salvage import Salvage
from chatlib.storage import appendfile, checkpoint, messagefiles, messagescan, nodefile, replay, takeover, tlsfile
from chatlib.storage.blobs import part_of
from chatlib.storage.home import read_epoch, refuse_what_is_no_file, used_by
from chatlib.storage.messagescan import Gap
from chatlib.storage.nodefile import NodeFile
from chatlib.storage.replay import Found
from chatlib.storage.textfile import OLD_FORMAT, REMEDY, FileError, is_whole

_TRIES = 50  # readings of text files and journal, while a server saves again and again
_AGAIN = 0.1  # seconds between two of them
_SHOWN = 20  # damages of one kind that are told one by one
_PIECE = 1 << 20
TLS = "tls.pem"
MISSING = "is missing"


@dataclass
class Report:
    """What was found. `damage`: by the file that has it, a sentence each; `notes`: what is no damage."""

    folder: Path
    server: int = 0  # the process of the one that uses the home
    damage: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    salvage: Salvage | None = None  # the flat files; its world has been taken on by the journal
    found: Found | None = None  # the journal, where it can be read
    counts: Counter[str] = field(default_factory=Counter)
    store_end: int = 0  # as the flat files say
    bank: Bank = field(default_factory=Bank)  # likewise
    node: NodeFile | None = None  # of a cluster's node

    @property
    def is_whole(self) -> bool:
        return not self.damage

    def wrong(self, path: Path, what: object) -> None:
        """This is damaged."""
        self.damage.append((path, str(what).removesuffix(REMEDY).rstrip()))


class Nothing:
    """An archive with nothing in it: what a replay asks of it is for replies alone."""

    def chunk(self, _offset: int) -> Chunk:
        return LOST

    def lines(self, positions: list[Position], _user: str) -> Iterator[tuple[str, bytes]]:
        return (("", b"") for _ in positions)

    def appended(self, _name: str, _offset: int) -> bytes | None:
        return None


def verify(folder: Path) -> Report:
    """The home in `folder`. Raises FileError when there is none, OSError."""
    if not (folder / "data").is_dir():
        raise FileError(f"{folder}: there is no server's home; --home must name one")
    refuse_what_is_no_file(folder)
    if takeover.is_pending(folder / "data"):
        raise FileError(f"{folder} is about to take a snapshot: start the server, which ends that.")
    report = _look(folder)
    if report.server and not report.is_whole:  # perhaps it was at work just there
        time.sleep(_AGAIN)
        first, report = report, _look(folder)
        report.damage = [each for each in report.damage if each in first.damage]
    return report


def _look(folder: Path) -> Report:
    for _ in range(_TRIES):
        report = _consistent(folder)
        try:
            return _all_else(report)
        except FileNotFoundError:  # messages that are too old have just gone
            if not report.server:
                raise
    raise FileError(f"{folder}: the server removes messages again and again; try it again in a while")


def _all_else(report: Report) -> Report:
    """What does not change behind the text files' back."""
    if report.salvage and report.salvage.flat.format != OLD_FORMAT:
        _messages(report)
        _ledger(report)
    _blobs(report)
    _others(report)
    report.counts["bytes"] = _size(report.folder)
    return report


def stamp(data: Path) -> object:
    """Something else whenever text files and journal do not belong together any more."""
    try:
        manifest = checkpoint.where(data, checkpoint.MANIFEST).read_bytes()
    except FileNotFoundError:
        manifest = b""
    return manifest, [path.name for path in replay.segments(data)]


def _consistent(folder: Path) -> Report:
    """Text files and journal, as they belong together."""
    data = folder / "data"
    for _ in range(_TRIES):
        report = Report(folder, used_by(data))
        before = stamp(data)
        try:
            _text_files(report, data)
        except FileNotFoundError:  # a save moved it to its place in this moment
            if not report.server:
                raise
        else:
            if stamp(data) == before:
                return report
        time.sleep(_AGAIN)
    raise FileError(f"{folder}: the server saves again and again; try it again in a while")


def _text_files(report: Report, data: Path) -> None:
    report.salvage = found = salvage.read(data)
    world = found.world
    for name, error in found.damage.items():
        file = snapshot.files().get(name)
        about = f" It holds: {file.about}." if file else ""
        report.wrong(data / name, f"{str(error).removesuffix(REMEDY).rstrip()}{about}")
    report.store_end, report.bank = world.store_end, deepcopy(bank_of(world))
    if _is_node(report, data):
        return
    if found.flat.format == OLD_FORMAT:
        report.notes.append("The home is of an earlier version: a start writes it anew, and more can be proven.")
    try:
        report.found = replay.prove(data, found.lsn or world.lsn)
        begun = bool(found.flat) or (data / "epoch.txt").exists()
        if begun and not replay.segments(data):
            raise FileError(f"{data / 'journal.txt'} is missing: what was acknowledged since the last save is lost.")
    except FileError as error:
        report.wrong(data / "journal.txt", error)
        return
    _left_behind(report, data, world)
    if report.found.torn and not report.server:
        report.notes.append(
            f"{report.found.torn[0]}: the last record was cut short, as a power cut may leave it. It was not "
            "acknowledged; the next start puts it aside."
        )
    _replay(report, world)


def _is_node(report: Report, data: Path) -> bool:
    """Whether there is no journal to look for."""
    try:
        report.node = nodefile.read(data)
    except FileError as error:
        report.wrong(data / nodefile.NAME, error)
        return True
    if report.node:
        report.notes.append(f'It is the home of a cluster\'s node, "{report.node.node}": what came since its last save '
                            f'is in the log "{report.node.log}".')  # fmt: skip
    return report.node is not None


def _left_behind(report: Report, data: Path, world: World) -> None:
    """What the journal must have had: nothing is stored before its command is durable there."""
    assert report.found is not None
    if report.server or world.parameters["FSYNC"] != "always":
        return
    first, last = data / messagefiles.NAME, 0
    there = messagefiles.listing(first)
    if there and report.salvage and not report.salvage.is_broken("state.txt"):
        end = there[-1].base + there[-1].path.stat().st_size - there[-1].head
        for found in messagescan.scan(first, messagefiles.place(first, world.store_end).base, end):
            if not isinstance(found, Gap) and found.offset >= world.store_end and is_whole(found.line):
                last = max(last, seq_of(found.line))
    if last > report.found.given:
        report.wrong(data / "journal.txt", f"{data / 'journal.txt'} ends at LSN {report.found.given}, but there is a "
                     f"message of LSN {last}: what was acknowledged in between is lost.")  # fmt: skip


def _replay(report: Report, world: World) -> None:
    """Takes the world on by the journal."""
    assert report.found is not None
    world.archive = Nothing()  # type: ignore[assignment]
    for lsn, body in replay.records(report.found, world.lsn):
        world.lsn = lsn - 1
        _, effects, _ = world.execute(json.loads(body))
        report.counts["journaled"] += 1
        report.counts["messages"] += sum(kind in (POST, BROADCAST, PUBLISH) for kind, _, _ in effects)
    world.lsn = max(world.lsn, report.found.given)


# What the text files name.


def _messages(report: Report) -> None:
    """Each line of the message store, up to where the text files say that it ends."""
    assert report.salvage is not None
    world, first = report.salvage.world, checkpoint.where(report.folder / "data", messagefiles.NAME)
    end, floor = report.store_end, world.floor_offset
    if report.salvage.is_broken("state.txt"):
        report.notes.append("It is not known where the messages end (that stands in state.txt): not all of them were "
                            "looked at.")  # fmt: skip
    for one in messagefiles.needed(first, floor, end):
        if end > messagefiles.START and not messagescan.begins_well(one):
            report.wrong(one.path, f"{one.path}, line 1: it is damaged; nothing is lost with it.")
    before, bad = 0, 0
    for found in messagescan.scan(first, floor, end):
        place = messagefiles.place(first, found.offset)
        at = found.offset - place.base + place.head
        if isinstance(found, Gap):
            report.wrong(place.path, f"{place.path}: {found.size:,} bytes are missing from byte {at} on: the"
                         f" messages behind seq {before} that stood there are lost.")  # fmt: skip
        elif not found.is_good:
            bad += 1
            if bad <= _SHOWN:
                report.wrong(place.path, f"{place.path}: the line at byte {at} is damaged "
                             f"(its checksum does not fit): {_meant(found.line)}, behind seq {before}.")  # fmt: skip
        elif found.line[:1] != b" ":
            before = seq_of(found.line) or before
            report.counts["messages"] += before > 0 and b'{"seqs"' not in found.line[:120]
    if bad > _SHOWN:
        report.wrong(first, f"{first}: {counted(bad - _SHOWN, 'more line')} with a wrong checksum.")


def seq_of(line: bytes) -> int:
    """The seq of a line of the message store; 0: it says where messages stand."""
    _, found, rest = line[:160].partition(b'"seq":')
    digits = rest[: len(rest) - len(rest.lstrip(b"0123456789"))] if found else b""
    return int(digits) if digits else 0


def _meant(line: bytes) -> str:
    words = line.split(b" ", 2)
    if b'"seqs"' in line:
        return "where 64 messages of one reader stand"
    name = words[1].decode("ascii", "replace") if len(words) == 3 else ""
    return f'a message for "{name}"' if name.isprintable() and 0 < len(name) <= 100 else "a message"


def _ledger(report: Report) -> None:
    """All of the books, computed anew, up to where the text files say that they end."""
    assert report.salvage is not None
    path, bank, audit = report.folder / "data" / NAME, bank_of(report.salvage.world), Audit()
    end = report.bank.end
    try:
        if end > START:
            with open(path, "rb") as file:
                if file.read(START) != snapshot.appends()[NAME].first_line.encode():
                    report.wrong(path, f"{path}, line 1: it is damaged; nothing is lost with it.")
            for _, lines in appendfile.lines(path, START, end):
                audit.read(lines)
        if not report.salvage.is_broken("accounts.txt"):
            audit.compare(report.bank)
    except FileNotFoundError:
        report.wrong(path, f"{path} is missing: what everybody was paid is lost, but not what they have.")
    except (Disagreement, ValueError) as wrong:
        report.wrong(path, f"{path.parent}/{wrong}." if str(wrong).startswith(NAME) else f"{path}: {wrong}.")
    report.counts["credits"] = -bank.books[BANK].balance


def owned(world: World) -> Iterator[tuple[str, int, str, str]]:
    """The bytes that the world knows: name, size, SHA-256, and what they are."""
    for account in world.accounts.values():
        for _, file in account.files or ():
            yield file.blob, file.size, file.sha256, f'the file "{file.name}" of {file.sender} for {account.name}'
    for thread in forum_of(world).values():
        for each in thread.attachments.values():
            yield each.blob, each.size, each.sha256, f'the file "{each.name}" in the thread "{thread.title}"'


def _blobs(report: Report) -> None:
    assert report.salvage is not None
    folder, world = report.folder / "data" / "files", report.salvage.world
    known = set()
    for blob, size, sha256, what in owned(world):
        known.add(blob)
        report.counts["files"] += 1
        wrong = blob_damage(folder, blob, size, sha256)
        if wrong == MISSING and report.node:
            report.counts["elsewhere"] += 1
        elif wrong:
            report.wrong(folder / blob, f"{folder / blob} {wrong}: {what} cannot be fetched.")
    if report.counts["elsewhere"]:
        report.notes.append(f'The bytes of {counted(report.counts["elsewhere"], "file")} are not here: the engine has '
                            "them.")  # fmt: skip
    for blob in set() if report.node else {blob for feature in FEATURES for blob in feature.blobs(world)} - known:
        if not any(path.exists() for path in (folder / blob, part_of(folder, blob))):
            report.wrong(folder / blob, f"{folder / blob} is missing.")


def blob_damage(folder: Path, blob: str, size: int, sha256: str) -> str:
    """What is wrong with a file's bytes; "" when nothing is."""
    for path in (folder / blob, part_of(folder, blob), folder / blob):  # it may get its name just now
        try:
            with open(path, "rb") as file:
                digest = hashlib.sha256()
                while piece := file.read(_PIECE):
                    digest.update(piece)
                right = file.tell() == size and digest.hexdigest() == sha256
                return "" if right else "is damaged (its SHA-256 does not fit)"
        except FileNotFoundError:
            continue
    return MISSING


# What stands beside them.


def _others(report: Report) -> None:
    data = report.folder / "data"
    begun = bool(report.salvage and report.salvage.flat) or bool(report.found and not report.found.is_new)
    checks: list[tuple[Path, Callable[[], Any], str]] = [
        (data / "epoch.txt", lambda: read_epoch(data), "The name by which clients know the home."),
        (data / TLS, lambda: _check_certificate(data / TLS), "The server's certificate and its key."),
    ]
    for path, check, about in checks:
        try:
            check()
        except FileNotFoundError:
            if begun and path.name == "epoch.txt":
                report.wrong(path, f"{path} is missing. {about}")
        except FileError as wrong:
            report.wrong(path, f"{str(wrong).removesuffix(REMEDY).rstrip()} {about}")
    try:
        changes = EditedFiles(report.folder).check()
    except FileError as wrong:
        report.wrong(Path(re.split(", line |: ", str(wrong))[0]), wrong)
        return
    report.notes += changes.unknown
    for name, lines in zip(("para.txt", "credentials.txt"), changes.lines, strict=True):
        if lines:
            report.notes.append(f"{name} was changed by hand ({', '.join(list(lines)[:5])}"
                                f"{', ...' if len(lines) > 5 else ''}): the next start takes it in.")  # fmt: skip


def _check_certificate(path: Path) -> None:
    """Raises FileError when it is no certificate with its key."""
    if path.exists():
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
        except OSError as error:  # an SSLError is one
            raise FileError(f"{path} is damaged ({error.strerror or error}).") from None
        if tlsfile.is_damaged(path):
            raise FileError(f"{path} is damaged (its checksum does not fit).")


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
