"""The two files that people edit, ``para.txt`` and ``credentials.txt``: ``NAME value`` a line.

An edit by hand is never lost. Beside its other files, the server keeps what each line held when it last read or wrote
it (the base). A line that holds something else now was changed by a person, and wins. A rewrite leaves alone comments,
the order, unknown lines, and lines with an edit that the server has not taken in yet. It also leaves alone lines that
have the same name, since the server cannot tell which one counts: people are told, and nothing else waits for them.

Must not know what a value means: that is for whoever takes the edits in. Legal: one process at a time calls ``write``,
under the home's writer lock, while nobody else calls ``remember``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chatlib.storage import textfile
from chatlib.storage.exchange import exchange, read_whole
from chatlib.storage.textfile import FileError, replace, sealed, unsealed

_TRIES = 5  # to write a file that a person saves at the same time
Edits = dict[str, "Line | None"]  # name as written (or as it was, when the line is gone) → the line, None: removed


@dataclass(frozen=True, slots=True)
class Line:
    """A line with a name on it. `number` counts from 1."""

    number: int
    name: str
    value: str


@dataclass(slots=True)
class Base:
    """What each line held when the server last read or wrote the file, and the last command in the world then."""

    lsn: int = 0
    lines: dict[str, str] = field(default_factory=dict)  # by folded name

    @classmethod
    def load(cls, path: Path) -> Base:
        """The base in a file; an empty one when there is no file. Raises FileError."""
        try:
            text = path.read_text(encoding="utf-8")
            # An older one has no checksum, and nothing but the lines.
            found = json.loads(text if (whole := unsealed(text)) is None and "\n" not in text else whole or "")
            if not isinstance(found, dict):
                raise ValueError("an object is expected")
        except FileNotFoundError:
            return cls()
        except ValueError as error:
            raise FileError(f"{path}: damaged ({error}); it may be removed: all lines then count as edited") from None
        return cls(found["lsn"], found["lines"]) if isinstance(found.get("lines"), dict) else cls(0, found)

    def store(self, path: Path) -> None:
        """Raises OSError."""
        replace(path, sealed(json.dumps({"lsn": self.lsn, "lines": self.lines})))


@dataclass(slots=True)
class _Scan:
    """A file as it was read. `named`: the lines with a name that the server knows, by folded name."""

    data: bytes | None  # None: there is no such file
    lines: list[str] = field(default_factory=list)
    named: dict[str, Line] = field(default_factory=dict)
    twice: dict[str, str] = field(default_factory=dict)  # folded names that stand more than once → a sentence
    unknown: list[Line] = field(default_factory=list)  # lines with a name that is not ours


def _name_and_value(text: str) -> tuple[str, str] | None:
    words = text.strip().split(None, 1)
    if not words or words[0].startswith("#"):
        return None
    return words[0], words[1] if len(words) > 1 else ""


class EditedFile:
    """One of the two. `fold` gives the form in which a name is unique; `known` says whether the server knows it."""

    def __init__(self, path: Path, base_path: Path, fold: Callable[[str], str], known: Callable[[str], bool]) -> None:
        self.path = path
        self.left_alone: list[str] = []  # what the last `write` did not write, and what people must know of it
        self._base_path = base_path
        self._next_path = base_path.with_suffix(".next")
        self._fold = fold
        self._known = known
        self._stored = Base.load(base_path)
        self._base = dict(self._stored.lines)
        # A crash between the two renames of write() leaves a base that is older than the file.
        self._next_base = Base.load(self._next_path).lines
        self._remembered = False  # an edit, since the base was stored

    @property
    def lsn(self) -> int:
        """The last command that the server knew of when it last wrote the file."""
        return self._stored.lsn

    # Reading.

    def _scan(self) -> _Scan:
        """Raises FileError when it cannot be read at all."""
        try:
            data = read_whole(self.path)
            text = data.decode("utf-8-sig")  # some editors begin a file with a mark
        except FileNotFoundError:
            return _Scan(None)
        except UnicodeDecodeError as error:
            raise FileError(f"{self.path}: not UTF-8 (byte {error.start + 1})") from None
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror}") from None
        lines = text.split("\n")  # and at nothing else that str.splitlines() knows: a comment may hold it
        if not lines[-1]:
            lines.pop()
        scan = _Scan(data, lines)
        for number, line in enumerate(lines, 1):
            pair = _name_and_value(line)
            if pair is None:
                continue
            key, found = self._fold(pair[0]), Line(number, *pair)
            if not self._known(pair[0]):
                scan.unknown.append(found)
            elif key in scan.named:
                earlier = scan.named[key].number
                sentence = f"{self.path}, line {number}: {pair[0]} stands in line {earlier} already; keep one"
                scan.twice.setdefault(key, sentence)
            else:
                scan.named[key] = found
        return scan

    def read(self) -> tuple[list[str], dict[str, Line]]:
        """The file's lines as they are, and those with a known name, by folded name. Raises FileError."""
        scan = self._scan()
        return scan.lines, scan.named

    def unknown(self) -> list[Line]:
        """The lines with a name that the server does not know. Raises FileError."""
        return self._scan().unknown

    def edits(self) -> Edits:
        """What was changed by hand since the server last read or wrote the file. Raises FileError."""
        scan = self._scan()
        for sentence in scan.twice.values():
            raise FileError(sentence)
        found: Edits = {line.name: line for key, line in scan.named.items() if not self._is_ours(key, line.value)}
        if scan.data is not None:  # a file that is missing altogether takes nothing away
            found.update({key: None for key in self._base if key not in scan.named and not self._is_gone(key)})
        return found

    def _is_ours(self, key: str, value: str) -> bool:
        return value in (self._base.get(key), self._next_base.get(key))

    def _is_gone(self, key: str) -> bool:
        return bool(self._next_base) and key not in self._next_base

    def remember(self, edits: Mapping[str, Line | None]) -> None:
        """These edits are in the world now, so they are edits no longer."""
        self._remembered |= bool(edits)
        for name, line in edits.items():
            if line is None:
                self._base.pop(self._fold(name), None)
            else:
                self._base[self._fold(name)] = line.value

    # Writing.

    def write(self, wanted: Mapping[str, str], lsn: int = 0) -> bool:
        """Makes the file say `wanted` (name → value), but for lines with an edit that was not taken in yet.

        `lsn` is the last command that `wanted` knows of. Returns whether anything had to be written; `left_alone` says
        what was not. Raises OSError, and FileError when the file cannot be read: then it stays as it is.
        """
        notes: list[str] = []
        for _ in range(_TRIES):
            scan = self._scan()
            self.left_alone = [*notes, *scan.twice.values()]
            text, base = self._merged(scan, wanted, lsn)
            unchanged = scan.data == text.encode()
            if unchanged and base.lines == self._stored.lines and not self._remembered:
                self._next_path.unlink(missing_ok=True)
                return False
            base.store(self._next_path)
            if unchanged or exchange(self.path, scan.data, text, notes):
                self.left_alone = [*notes, *scan.twice.values()]
                textfile.pause()
                os.replace(self._next_path, self._base_path)
                self._adopt(base)
                return True
        self._next_path.unlink(missing_ok=True)
        raise FileError(f"{self.path} was saved again and again while the server was about to write it")

    def put(self, name: str, value: str) -> list[str]:
        """Writes one line as a person would: whoever reads the file takes it for an edit by hand.

        Returns what people must know. Raises OSError, and FileError when the file cannot be read or names it twice.
        """
        notes: list[str] = []
        for _ in range(_TRIES):
            scan = self._scan()
            key, lines = self._fold(name), scan.lines
            if key in scan.twice:
                raise FileError(scan.twice[key])
            if key in scan.named:
                lines[scan.named[key].number - 1] = f"{name} {value}"
            else:
                lines.append(f"{name} {value}")
            if exchange(self.path, scan.data, "".join(line + "\n" for line in lines), notes):
                return notes
        raise FileError(f"{self.path} was saved again and again while it was about to be written")

    def begin(self, text: str) -> None:
        """Makes the file if there is none; nothing in it counts as an edit. Raises OSError, FileError."""
        if not self.path.exists() and exchange(self.path, None, text, []):
            self.remember(self.edits())

    def _merged(self, scan: _Scan, wanted: Mapping[str, str], lsn: int) -> tuple[str, Base]:
        """What the file is to hold, and the base for it."""
        lines = scan.lines
        keys = {self._fold(name): name for name in wanted}
        base: dict[str, str] = {}
        for key, line in sorted(scan.named.items(), key=lambda item: -item[1].number):
            if key in scan.twice or not self._is_ours(key, line.value):
                if key in self._base:
                    base[key] = self._base[key]
            elif key in keys:
                base[key] = wanted[keys[key]]
                if (line.name, line.value) != (keys[key], base[key]):
                    lines[line.number - 1] = f"{keys[key]} {base[key]}"
            else:
                del lines[line.number - 1]
        for key, name in keys.items():
            if key in scan.named:
                continue
            if key in self._base and not self._is_gone(key) and scan.data is not None:
                base[key] = self._base[key]  # removed by hand, not taken in yet
            else:
                base[key] = wanted[name]
                lines.append(f"{name} {wanted[name]}")
        return "".join(line + "\n" for line in lines), Base(lsn, base)

    def _adopt(self, base: Base) -> None:
        self._stored, self._base, self._next_base = base, dict(base.lines), {}
        self._remembered = False

    def refresh(self) -> None:
        """Another process of this server may have written the file, or have died while it did. Raises FileError."""
        stored = Base.load(self._base_path)
        if stored != self._stored:
            self._adopt(stored)
        self._next_base = Base.load(self._next_path).lines
