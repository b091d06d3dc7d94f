"""The two files that people edit, ``para.txt`` and ``credentials.txt``: ``NAME value`` a line.

An edit by hand is never lost. The server remembers, beside its other files, what each line held when it last read or
wrote it (the base); a line that holds something else now was changed by a person, and wins. Comments, order, unknown
lines and lines whose hand-made change the server has not taken in yet survive a rewrite as they are.

Must not know what a value means: that is for whoever takes the edits in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chatlib.storage.textfile import FileError, replace

Edits = dict[str, "Line | None"]  # name as written (or as it was, when the line is gone) → the line, None: removed


@dataclass(frozen=True, slots=True)
class Line:
    """A line with a name on it. `number` counts from 1."""

    number: int
    name: str
    value: str


def _name_and_value(text: str) -> tuple[str, str] | None:
    words = text.strip().split(None, 1)
    if not words or words[0].startswith("#"):
        return None
    return words[0], words[1] if len(words) > 1 else ""


class EditedFile:
    """One such file. `fold` gives the form under which a name is unique; `known` says whether a name is ours."""

    def __init__(self, path: Path, base_path: Path, fold: Callable[[str], str], known: Callable[[str], bool]) -> None:
        self.path = path
        self._base_path = base_path
        self._next_path = base_path.with_suffix(".next")
        self._fold = fold
        self._known = known
        self._base = self._load_base(base_path)
        # A crash between the two renames of write() leaves a base that is older than the file.
        self._next_base = self._load_base(self._next_path)

    @staticmethod
    def _load_base(path: Path) -> dict[str, str]:
        try:
            base: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(base, dict):
                raise ValueError("an object is expected")
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise FileError(f"{path}: not JSON ({error}); it may be removed: all lines then count as edited") from None
        return base

    def read(self) -> tuple[list[str], dict[str, Line]]:
        """The file's lines as they are, and those with a name that is ours, by folded name. Raises FileError."""
        try:
            text = self.path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
        except FileNotFoundError:
            return [], {}
        except UnicodeDecodeError as error:
            raise FileError(f"{self.path}: not UTF-8 (byte {error.start + 1})") from None
        lines = text.split("\n")  # and at nothing else that str.splitlines() knows: a comment may hold it
        if not lines[-1]:
            lines.pop()
        named: dict[str, Line] = {}
        for number, line in enumerate(lines, 1):
            pair = _name_and_value(line)
            if pair is None or not self._known(pair[0]):
                continue
            key = self._fold(pair[0])
            if key in named:
                earlier = named[key].number
                raise FileError(f"{self.path}, line {number}: {pair[0]} stands in line {earlier} already; keep one")
            named[key] = Line(number, *pair)
        return lines, named

    def edits(self) -> Edits:
        """What was changed by hand since the server last read or wrote the file. Raises FileError."""
        _, named = self.read()
        found: Edits = {line.name: line for key, line in named.items() if not self._is_ours(key, line.value)}
        if self.path.exists():  # a file that is missing altogether takes nothing away
            found.update({key: None for key in self._base if key not in named and not self._is_gone(key)})
        return found

    def _is_ours(self, key: str, value: str) -> bool:
        return value in (self._base.get(key), self._next_base.get(key))

    def _is_gone(self, key: str) -> bool:
        return bool(self._next_base) and key not in self._next_base

    def take(self, edits: Mapping[str, Line | None]) -> None:
        """These edits are in the world now: they no longer count as such."""
        for name, line in edits.items():
            if line is None:
                self._base.pop(self._fold(name), None)
            else:
                self._base[self._fold(name)] = line.value

    def write(self, wanted: Mapping[str, str]) -> bool:
        """Makes the file say `wanted` (name → value), but for lines with an edit that was not taken in yet.

        Returns whether anything had to be written. Raises OSError, FileError.
        """
        lines, named = self.read()
        keys = {self._fold(name): name for name in wanted}
        base: dict[str, str] = {}
        for key, line in sorted(named.items(), key=lambda item: -item[1].number):
            if not self._is_ours(key, line.value):
                if key in self._base:
                    base[key] = self._base[key]
            elif key in keys:
                base[key] = wanted[keys[key]]
                if (line.name, line.value) != (keys[key], base[key]):
                    lines[line.number - 1] = f"{keys[key]} {base[key]}"
            else:
                del lines[line.number - 1]
        for key, name in keys.items():
            if key in named:
                continue
            if key in self._base and not self._is_gone(key) and self.path.exists():
                base[key] = self._base[key]  # removed by hand, not taken in yet
            else:
                base[key] = wanted[name]
                lines.append(f"{name} {wanted[name]}")
        return self._write("".join(line + "\n" for line in lines), base)

    def _write(self, text: str, base: dict[str, str]) -> bool:
        unchanged = self.path.exists() and self.path.read_text(encoding="utf-8") == text
        if unchanged and base == self._load_base(self._base_path):
            return False
        replace(self._next_path, json.dumps(base))
        if not unchanged:
            replace(self.path, text)
        os.replace(self._next_path, self._base_path)
        self._base, self._next_base = base, {}
        return True

    def refresh(self) -> None:
        """Reads the base again, after another process of this server has written the file."""
        self._base = self._load_base(self._base_path)
        self._next_base = self._load_base(self._next_path)
