"""The row of searches: what a million messages cost whoever looks for words in them, and what others notice."""

from __future__ import annotations

import json
import time

from figures import MILLISECONDS, SECONDS, Aim, Figure, Row, Scale
from past import fill
from peers import Peer
from testbed import Failure, Process, Server, Testbed

_USERS, _OTHERS, _SEARCHING, _ROUNDS = 1_000, 20, 4, 3
_WORDS = {"rare": "needle", "others'": "text", "not ASCII": "überall", "Cyrillic": "привет"}  # what nobody may read


def _took(reader: Peer, words: str) -> float:
    """Seconds until all of it was looked through, in pages."""
    begun, page = time.perf_counter(), reader.ask("search", words=words)
    while "next" in page:
        page = reader.ask("search", words=words, before=page["next"])
    if page["items"]:
        raise Failure(f"{words}: nobody has said that")
    return time.perf_counter() - begun


def _search(bed: Testbed, scale: Scale) -> list[Figure]:
    with bed.home(_USERS + _OTHERS) as home:
        # The last user, who searches, has no messages: every line that has the words is somebody else's.
        fill(home, ((f"u{number % (_USERS - 10):05d}", 1) for number in range(scale.history)), seen=True)
        with Server(home) as server, Process("honest.py", server.port, _USERS, _OTHERS) as others:
            others.hear()
            readers = [Peer(server.port, f"u{_USERS - 1 - number:05d}") for number in range(_SEARCHING)]
            took = {name: min(_took(readers[0], words) for _ in range(_ROUNDS)) for name, words in _WORDS.items()}
            others.go_on()
            for _ in range(4 * _ROUNDS):
                for reader in readers:
                    reader.say("search", words="needle")
                for reader in readers:
                    reader.hear()
            others.go_on()
            seen = json.loads(others.hear())
            for reader in readers:
                reader.close()
    if seen["missing"] or seen["wrong"]:
        raise Failure(f"{seen['missing']} replies or messages of others missing; {'; '.join(seen['wrong'])}")
    heard = seen["messages"]
    note = f"p50 {heard['p50']:.1f}  max {heard['max']:.1f}; longest tick {seen['alive']['max']:.1f} ms"
    return [
        Figure(took["rare"], note=", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items())),
        Figure(heard["p99"], note=note),
    ]


SEARCH = Row(
    "search",
    (
        Aim("a word in 1,000,000 messages", 1, SECONDS),
        Aim("four search: others' messages, 99 of 100", 20, MILLISECONDS),
    ),
    _search,
)
