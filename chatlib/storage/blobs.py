"""Bytes of waiting files, ``data/files/``, under names the server chose.

A part (``KEY.part``) grows while it is uploaded, and outlives crashes, so that an upload can go on; `finish` checks it,
syncs it and gives it its final name (``KEY.XXXX``, never used twice). Must not know whose file it is.
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

from chatlib.storage.textfile import sync_folder

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

    def finish(self, key: str, sha256: str) -> str:
        """Checks and syncs a part; returns its final name. Takes seconds for a large one: for a child.

        Raises OSError, DigestMismatch.
        """
        path = self.part(key)
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise DigestMismatch
            os.fsync(file.fileno())
        blob = f"{key}.{secrets.token_hex(4)}"
        path.rename(self.folder / blob)
        sync_folder(self.folder)
        return blob

    def open(self, blob: str) -> int:
        """A descriptor to read it from. Raises OSError."""
        return os.open(self.folder / blob, os.O_RDONLY | os.O_CLOEXEC)

    def unlink(self, blob: str) -> None:
        """Removes it; a reader that has it open reads on."""
        with contextlib.suppress(OSError):
            (self.folder / blob).unlink()

    def remove_orphans(self, wanted: Collection[str]) -> int:
        """At start: removes what no waiting file needs, and parts too old to go on; returns how many."""
        now, removed = time.time(), 0
        for path in self.folder.iterdir():
            fresh = path.suffix == ".part" and now - path.stat().st_mtime < PART_LIFE
            if path.name not in wanted and not fresh:
                path.unlink()
                removed += 1
        return removed
