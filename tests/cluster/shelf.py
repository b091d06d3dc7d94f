"""An engine's files stream in memory: what `Pieces` does, without a link."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from chatlib.cluster.pieces import PART, EngineFailed, Latest, PieceLost, Pieces


class Shelf(Pieces):
    """`messages`: by subject, each with its sequence and its time. `puts`: names of pieces, in order."""

    def __init__(self) -> None:
        self.messages: dict[str, tuple[int, float, bytes]] = {}
        self.puts: list[str] = []
        self.named: tuple[Latest | None, int] = None, 0
        self.sequence, self.now = 0, 1_000_000.0
        self.before_point: Callable[[], object] = lambda: None
        self.down = False

    def _keep(self, subject: str, data: bytes) -> None:
        if self.down:
            raise EngineFailed("the engine stores nothing")
        self.sequence += 1
        self.messages[subject] = self.sequence, self.now, data

    def put(self, sha256: str, data: bytes) -> None:
        assert hashlib.sha256(data).hexdigest() == sha256
        self.puts.append(sha256)
        for number, at in enumerate(range(0, len(data), PART)):
            self._keep(f"piece.{sha256}.{number}", data[at : at + PART])

    def put_blob(self, blob: str, number: int, part: bytes) -> None:
        self._keep(f"blob.{blob}.{number}", part)

    def finish(self) -> None: ...

    def pause(self) -> None: ...

    def get(self, sha256: str, size: int, still: Callable[[], bool] = lambda: True) -> bytes:
        count = -(-size // PART)
        try:
            data = b"".join(self.messages[f"piece.{sha256}.{number}"][2] for number in range(count))
        except KeyError:
            raise PieceLost("it is not there") from None
        assert len(data) == size
        return data

    def latest(self) -> tuple[Latest | None, int]:
        return self.named

    def point(self, latest: Latest, after: int) -> bool:
        self.before_point()
        if self.named[1] != after:
            return False
        self.sequence += 1
        self.named = latest, self.sequence
        return True

    def subjects(self, pattern: str) -> Iterator[list[str]]:
        return iter([subject.split(".") for subject in self.messages if fnmatchcase(subject, pattern)])

    def stored_at(self, words: str) -> float:
        return self.messages[words][1] if words in self.messages else 0.0

    def drop(self, pattern: str, before: int = 0) -> None:
        for subject in [subject for subject in self.messages if fnmatchcase(subject, pattern)]:
            if not before or self.messages[subject][0] < before:
                del self.messages[subject]
