"""Bytes of waiting files, ``data/files/``, under names the server chose.

A part (``KEY.part``) grows while it is uploaded, and outlives crashes, so that an upload can go on; `check` checks and
syncs it; `adopt` gives it its final name (``KEY.XXXX``, never used twice). Must not know whose file it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Collection
from pathlib import Path

PART_LIFE = 86_400.0  # seconds that a part waits for its upload to go on
RESERVE = 64 << 20  # bytes of disk that files leave for everything else


class DigestMismatch(Exception):
    """The bytes are not those that were announced."""


def part_key(*identity: str) -> str:
    """The name of the part for an upload of that identity (sender, receiver, name, size, digest)."""
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()[:32]


class Blobs:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    def part(self, key: str) -> Path:
        """Where an upload's bytes go."""
        return self.folder / f"{key}.part"

    def part_size(self, key: str) -> int:
        """How much of it is there already."""
        try:
            return self.part(key).stat().st_size
        except FileNotFoundError:
            return 0

    def drop_part(self, key: str) -> None:
        """It is of no use."""
        self.part(key).unlink(missing_ok=True)

    def room(self) -> int:
        """Bytes that a new file may have."""
        return max(0, shutil.disk_usage(self.folder).free - RESERVE)

    def check(self, key: str, sha256: str) -> str:
        """Checks and syncs a part; returns the name that `adopt` gives it. Takes seconds for a large one: for a child.

        Raises OSError, DigestMismatch.
        """
        with open(self.part(key), "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise DigestMismatch
            os.fsync(file.fileno())
        return f"{key}.{secrets.token_hex(4)}"

    def adopt(self, blob: str) -> None:
        """The part has become a waiting file, by a command on disk: what a crash prevents, a start makes good."""
        with contextlib.suppress(FileNotFoundError):
            self.part(blob.partition(".")[0]).rename(self.folder / blob)

    def open(self, blob: str) -> int:
        """A descriptor to read it from. Raises OSError."""
        return os.open(self.folder / blob, os.O_RDONLY | os.O_CLOEXEC)

    def unlink(self, blob: str) -> None:
        """Removes it; a reader that has it open reads on."""
        with contextlib.suppress(OSError):
            (self.folder / blob).unlink()

    def remove_orphans(self, wanted: Collection[str]) -> None:
        """At start: adopts what a crash left, and removes what no waiting file needs and parts too old to go on."""
        for blob in wanted:
            if not (self.folder / blob).exists():
                self.adopt(blob)
        for path in self.folder.iterdir():
            if path.name not in wanted and path.suffix != ".part" and path.is_file():
                path.unlink()
        self.trim_parts()

    def trim_parts(self, limit: float = float("inf"), kept: Collection[str] = ()) -> None:
        """Removes parts that are too old, and the oldest beyond `limit` bytes; those with a key in `kept` stay."""
        oldest, size = time.time() - PART_LIFE, 0
        parts = [(path.stat().st_mtime, path) for path in self.folder.glob("*.part") if path.stem not in kept]
        for touched, path in sorted(parts, reverse=True):
            size += path.stat().st_size
            if touched < oldest or size > limit:
                path.unlink(missing_ok=True)
