"""The vault: where a transfer puts bytes for all servers of a world, and finds those that came to another.

A server that shares its world with nobody has OwnDisk, which does nothing, at once. Must not know whose bytes they are.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Protocol


class Outcome(IntEnum):
    """How a job ended."""

    DONE = 0
    AWAY = 1  # the engine did not answer
    MISSING = 2  # nobody has the bytes
    DAMAGED = 3  # the engine's are others
    DISK = 4  # a disk of ours failed: `error` says how
    DEAD = 5  # nobody is there who could do it


class Carried(NamedTuple):
    """What becomes of a job. `error`: of the disk; `text`: what the engine said."""

    outcome: Outcome
    error: int = 0
    text: str = ""


def of_disk(error: OSError) -> Carried:
    """A disk of ours failed."""
    return Carried(Outcome.DISK, error.errno or 0, error.strerror or str(error))


class Awaiting(Protocol):
    """Whoever waits for a job."""

    def carried(self, ended: Carried) -> None:
        """It is over."""

    def broken(self) -> None:
        """``carried`` has raised: a fault of ours, which costs this one and nobody else."""


class Vault(Protocol):
    """Where bytes are for all servers of a world."""

    def put(self, blob: str, fd: int, size: int, owner: Awaiting) -> None:
        """Its bytes are whole, right and synced in `fd`, which may be closed at once. They are to be there for all."""

    def fetch(self, blob: str, size: int, sha256: str, owner: Awaiting) -> None:
        """It is not on this disk. Once it is DONE, it can be opened, until ``carried`` has returned."""

    def drop(self, blob: str) -> None:
        """A command of ours has removed the file: nobody needs the bytes any more. Nothing depends on it."""

    def close(self) -> None:
        """At the end; nobody hears anything more."""


class OwnDisk:
    """The vault of a server that shares its world with no other: what is not on its disk is nowhere."""

    def put(self, _blob: str, _fd: int, _size: int, owner: Awaiting) -> None:
        """See Vault."""
        owner.carried(Carried(Outcome.DONE))

    def fetch(self, _blob: str, _size: int, _sha256: str, owner: Awaiting) -> None:
        """See Vault."""
        owner.carried(Carried(Outcome.MISSING))

    def drop(self, _blob: str) -> None:
        """See Vault."""

    def close(self) -> None:
        """See Vault."""
