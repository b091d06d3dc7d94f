"""A vault in memory, which houses may share, and what is said on connections that carry files through it."""

from __future__ import annotations

from pathlib import Path

from chatlib.cluster.vault import Awaiting, Carried, Outcome
from chatlib.storage.blobs import Blobs
from tests.server.carrying import DATA, Dial, Pipe, announce, digest, lying
from tests.server.house import House, Peer


class FakeVault:
    """Bytes in memory; each job is done at once while `fast`, otherwise when ``release`` says so."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs, self.fast, self.kept = blobs, True, dict[str, bytes]()
        self.jobs: list[tuple[str, str, Awaiting]] = []
        self.answer: Carried | None = None  # another one than what is true
        self.dropped: list[str] = []

    def put(self, blob: str, fd: int, size: int, owner: Awaiting) -> None:
        self.kept[blob] = Path(f"/proc/self/fd/{fd}").read_bytes()
        assert len(self.kept[blob]) == size
        self._begin("put", blob, owner)

    def fetch(self, blob: str, size: int, sha256: str, owner: Awaiting) -> None:
        assert blob not in self.kept or (size, sha256) == (len(self.kept[blob]), digest(self.kept[blob]))
        self._begin("fetch", blob, owner)

    def drop(self, blob: str) -> None:
        self.dropped.append(blob)

    def _begin(self, what: str, blob: str, owner: Awaiting) -> None:
        self.jobs.append((what, blob, owner))
        if self.fast:
            self.release()

    def release(self) -> None:
        jobs, self.jobs = self.jobs, []
        for what, blob, owner in jobs:
            answer = self.answer or Carried(Outcome.DONE if blob in self.kept else Outcome.MISSING)
            if what == "fetch" and answer.outcome is Outcome.DONE:
                (self.blobs.folder / blob).write_bytes(self.kept[blob])
            owner.carried(answer)


def shares(house: House, kept: FakeVault | None = None) -> FakeVault:
    """From now on the house is one of several, or still is (after its restart)."""
    blobs, means = house.server.blobs, house.server.transfers._means
    vault = FakeVault(blobs)
    vault.kept = kept.kept if kept else {}
    blobs.shared = True
    object.__setattr__(means, "vault", vault)
    house.server.effects.unneeded = vault.drop
    return vault


def send(dial: Dial, peer: Peer, data: bytes = DATA, name: str = "a.bin") -> Pipe:
    """An upload with all its bytes."""
    reply = announce(peer, data, name)
    assert reply["status"] == "OK", reply
    pipe: Pipe = dial(peer.house)
    pipe.ask("upload", reply["ticket"], reply["offset"], data[reply["offset"] :])
    pipe.house.settle()
    return pipe


def fetch(dial: Dial, peer: Peer, name: str = "a.bin", offset: int = 0) -> Pipe:
    """A download."""
    reply = peer.ask("fileget", **{"from": "Columbia", "name": name})
    assert reply["status"] == "OK", reply
    pipe: Pipe = dial(peer.house)
    pipe.ask("download", reply["ticket"], offset)
    pipe.house.settle()
    return pipe


def forget_bytes(house: House) -> str:
    """The file came to another server; the blob's name."""
    (path,) = lying(house)
    path.unlink()
    return path.name


def said(pipe: Pipe) -> tuple[str, str]:
    """The last word: status and text."""
    (reply,) = pipe.end()
    return reply["status"], reply.get("text", "")
