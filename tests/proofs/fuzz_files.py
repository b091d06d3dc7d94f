"""What a fuzzer does with files: tickets, and connections that carry bytes, as they should or otherwise."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import ssl
from typing import Any

from tests.proofs import fuzz_words as words
from tests.proofs.fuzz_scene import ADDRESSES, Scene
from tests.proofs.fuzz_talker import STATUSES, Illegal, Talker

NONSENSE: tuple[str, dict[str, Any], bytes] = ("nonsense", {"offset": 0}, b"xyz")


def asks_to_carry(scene: Scene, chance: random.Random) -> None:
    """A ticket for a file's bytes."""
    talker = scene.someone(chance)
    data = chance.randbytes(chance.choice((0, 1, 1_000, 100_000)))
    about = {"name": chance.choice(words.FILES), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    match chance.randrange(5):
        case 0 | 1:
            reply = scene.ask(talker, words.encoded(action="file", to=chance.choice(words.NAMES), **about))
        case 2:
            scene.ask(talker, words.encoded(action="crt", title="plans"))
            reply = scene.ask(talker, words.encoded(action="upd", title="plans", **about))
        case 3:
            reply = scene.ask(talker, words.encoded(action="dwn", title="plans", name=about["name"]))
        case _:
            waiting = scene.ask(talker, words.encoded(action="fileget"))
            items = waiting.get("items") if waiting else None
            item = chance.choice(items) if items else {"from": "Ann", "name": "a.txt"}
            wanted = {"action": "fileget", "from": item["from"], "name": item["name"]}
            reply = scene.ask(talker, words.encoded(**wanted))
    if reply and "ticket" in reply:
        talker.tickets.append((reply["ticket"], reply, data if "offset" in reply else b""))


def carries(scene: Scene, chance: random.Random) -> None:
    """A connection for a file's bytes, as the ticket says or otherwise."""
    owners = [talker for talker in scene.talkers if talker.tickets]
    (ticket, reply, data), address = NONSENSE, chance.choice(ADDRESSES)
    if owners and chance.random() < 0.95:
        owner = chance.choice(owners)
        ticket, reply, data = owner.tickets.pop(chance.randrange(len(owner.tickets)))
        address = owner.address if chance.random() < 0.9 else address
    is_upload = ("offset" in reply) != (chance.random() < 0.1)
    offset = reply.get("offset", 0) if chance.random() < 0.9 else chance.choice((1, 5, 10**6, 2**53 - 1))
    pipe = Talker(scene.house, address, inside=scene.tls and chance.random() < 0.4)
    scene.talkers.append(pipe)
    head = words.encoded(action="upload" if is_upload else "download", ticket=ticket, offset=offset)
    pipe.slow = pipe.was_slow = True  # its bytes are read here
    pipe.say(words.mutated(chance, head[:-1]) + b"\n" if chance.random() < 0.05 else head)
    if not pipe.other:
        pipe.slow = False
        return
    said = _bytes_from(scene, pipe, _body(chance, data[offset:]))
    if chance.random() < 0.3:
        pipe.hang_up(hard=chance.random() < 0.5)
    else:
        pipe.end()
    _check(said, reply, offset)


def _body(chance: random.Random, body: bytes) -> bytes:
    match chance.randrange(8):
        case 0:
            return body[: chance.randrange(len(body) + 1)]
        case 1:
            return body + b"more"
        case 2:
            return words.mutated(chance, body)
    return body


def _bytes_from(scene: Scene, pipe: Talker, body: bytes) -> bytes:
    """What is said to a pipe while it says `body`."""
    said = b""
    for _ in range(60):
        with contextlib.suppress(BlockingIOError):
            try:
                if body:
                    body = body[pipe.socket.send(body) :]
            except (ConnectionError, ssl.SSLError):
                body = b""
        scene.tick()
        with contextlib.suppress(BlockingIOError):
            try:
                while data := pipe.socket.recv(1 << 18):
                    said += data
            except (ConnectionError, ssl.SSLError):
                pass
            break
    return said


def _check(said: bytes, reply: dict[str, Any], offset: int) -> None:
    line, end, rest = said.partition(b"\n")
    if not end:
        return
    answer = json.loads(line)
    if answer.get("status") not in STATUSES or answer["status"] == "INTERNAL":
        raise Illegal(f"a transfer is answered {line[:300]!r}")
    if answer["status"] != "OK" or answer["action"] != "download":
        return
    whole = offset == 0 and len(rest) == reply["size"]
    if whole and hashlib.sha256(rest).hexdigest() != reply["sha256"]:
        raise Illegal(f"other bytes than {reply}")
