"""Hostile servers against a client's transfers: tickets, heads and bytes that are wrong, cut, or too many.

Nothing raises, each transfer ends, and what is saved under a file's name is what the ticket's digest says.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from tests.client.rig import LyingServer, Rig
from tests.proofs import fuzz_words as words
from tests.proofs.hostile_text import hostile

TRANSFERS = 4  # in a round
TICKS = 4_000  # of half a second each: no transfer takes so long
BYTES = b"what was sent" * 1_000
DIGEST = hashlib.sha256(BYTES).hexdigest()


class Endless(list[bytes]):
    """What each transfer connection is answered."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def pop(self, _place: object = 0) -> bytes:  # type: ignore[override]
        chance = self._chance
        head = {
            "action": chance.choice(("download", "upload")),
            "status": "OK",
            "size": len(BYTES),
            "offset": 0,
            "seq": 9,
        }
        if chance.random() < 0.4:
            head[chance.choice(tuple(head))] = _wrong(chance)
        if chance.random() < 0.2:
            head = {
                **head,
                "status": chance.choice(("BAD_TICKET", "DIGEST_MISMATCH", hostile(chance))),
                "text": hostile(chance),
            }
        said = json.dumps(head).encode() + b"\n"
        body = chance.choice((BYTES, BYTES, BYTES[:100], BYTES + b"more", words.mutated(chance, BYTES), b""))
        match chance.randrange(8):
            case 0:
                return words.mutated(chance, said) + body
            case 1:
                return chance.choice(words.RAW) + b"\n" + body
            case 2:
                return chance.randbytes(200)
        return said + body


def _wrong(chance: random.Random) -> Any:
    return hostile(chance) if chance.random() < 0.3 else chance.choice(words.ABSURD)


def _ticket(chance: random.Random) -> dict[str, Any]:
    given: dict[str, Any] = {"status": "OK", "ticket": "t", "size": len(BYTES), "sha256": DIGEST, "offset": 0}
    if chance.random() < 0.3:
        given[chance.choice(tuple(given))] = _wrong(chance)
    if chance.random() < 0.1:
        given["text"] = hostile(chance)
    return given


class _Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def play(folder: Path, chance: random.Random) -> int:
    """One round; how many connections the server had."""
    liar = LyingServer()
    rig = Rig(liar.port, "bob", "secret")
    liar.join(rig.loop)
    try:
        rig.log_in()
        clock = _Clock()
        clock.now = rig.loop.now
        rig.loop._clock = clock
        liar.carries = Endless(chance)
        for number in range(TRANSFERS):
            _transfer(rig, liar, clock, folder, chance, str(number))
        return len(liar.carried)
    finally:
        rig.close()
        liar.close()


def _transfer(rig: Rig, liar: LyingServer, clock: _Clock, folder: Path, chance: random.Random, name: str) -> None:
    scripted = [_ticket(chance) for _ in range(100)]
    for action in ("file", "fileget", "upd", "dwn", "received"):
        liar.fake.scripted[action] = scripted
    liar.stalls = chance.choice((0, 0, 1))
    if chance.random() < 0.6:
        transfer: Any = rig.fetch("ann", name, folder)
    else:
        path = folder / f"own{name}"
        path.write_bytes(BYTES)
        transfer = rig.send("ann", path)
    for _ in range(TICKS):
        rig.loop.again(rig)
        rig.loop.tick()
        clock.now += 0.5
        if transfer.over:
            break
    else:
        raise AssertionError(f"{transfer} never ends: {transfer.stage}")
    saved = folder / name
    if saved.exists() and hashlib.sha256(saved.read_bytes()).hexdigest() != DIGEST:
        raise AssertionError(f"{saved.read_bytes()[:100]!r} was saved")
