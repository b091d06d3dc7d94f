"""The rows of what was said long ago: many come back to what waited for them, and ten million messages at rest.

Their homes are written directly, with the server's own classes, in seconds: whoever starts one finds what commands
would have made of it.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from figures import MEGABYTES, MILLISECONDS, SECONDS, Aim, Figure, Row, Scale
from peers import Peer
from testbed import Failure, Process, Server, Testbed

from chatlib.core import snapshot
from chatlib.core.streams import CHECKSUM, Stream
from chatlib.core.world import World
from chatlib.server.recovery import recover
from chatlib.storage import checkpoint
from chatlib.storage.home import Home
from chatlib.storage.journal import Journal
from chatlib.storage.syncer import Syncer

_AT_ONCE = 20_000  # messages between two flushes
_SPOKEN_AT = 1_700_000_000.0

Said = tuple[str, int]  # to whom ("all"), and how often in a row


def fill(home: Path, said: Iterator[Said], seen: bool) -> None:
    """Everything that is `said`, one after the other; `seen`: nobody has to be told of it any more."""
    with Server(home) as server:
        server.stop()
    ours, syncer = Home(home), Syncer()
    journal = Journal(ours.data, syncer)
    world, store, appended = recover(ours, journal, print, _fail)
    seq, end, count = world.lsn, world.store_end, 0
    for to, number in said:
        stream, name = _stream(world, to)
        for _ in range(number):
            seq += 1
            line = b' %b {"event":"%b","seq":%d,"time":%.1f,"from":"u00000","text":"a text of %d"}\n' % (
                name, b"broadcast" if to == "all" else b"message", seq, _SPOKEN_AT + seq / 100, seq)  # fmt: skip
            is_long = stream.add_from("u00000", seq, end) if to == "all" else stream.add(seq, end)  # type: ignore[attr-defined]
            store.append(line)
            end += CHECKSUM + len(line)
            if is_long:
                for chunk in stream.seal(name.decode(), end):
                    store.append(chunk)
                    end += CHECKSUM + len(chunk)
            count += 1
            if count % _AT_ONCE == 0:
                store.flush()
    world.lsn, world.store_end = seq, end
    world.said["u00000"] = seq
    world.move_to(_SPOKEN_AT + seq / 100)
    for account in world.accounts.values():
        account.seen = seq if seen else account.seen
    store.sync()
    appended.sync()
    checkpoint.write(ours.data, world.lsn, snapshot.dump(world))
    store.close()
    appended.close()
    journal.open()
    journal.close()
    syncer.close()
    os.close(ours._lock_fd)


def _stream(world: World, to: str) -> tuple[Stream, bytes]:
    if to == "all":
        return world.broadcasts, b"all"
    account = world.accounts[to]
    if not account.mail.seqs:
        account.mail = Stream()
    return account.mail, to.encode()


def _fail(fault: BaseException) -> None:
    raise fault


# Many come back at once.

_RETURNING, _WAITING, _OTHERS = 1_000, 200, 20


def _mail(users: int, total: int) -> Iterator[Said]:
    return ((f"u{number % users:05d}", 1) for number in range(total))


def _come_back(bed: Testbed, scale: Scale) -> list[Figure]:
    users = scale.users(_RETURNING)
    figures = []
    for said in (_mail(users, users * _WAITING), iter([("all", _WAITING)])):
        with bed.home(users + _OTHERS) as home:
            fill(home, said, seen=False)
            with (
                Server(home) as server,
                Process("honest.py", server.port, users, _OTHERS) as others,
                Process("returning.py", server.port, users, _WAITING) as returning,
            ):
                os.setpriority(os.PRIO_PROCESS, returning.pid, 19)  # it stands for other machines
                others.hear()
                returning.hear()
                others.go_on()
                before = server.cpu()
                returning.go_on()
                took = json.loads(returning.hear())
                cpu = server.cpu() - before
                others.go_on()
                seen = json.loads(others.hear())
        if seen["missing"] or seen["wrong"]:
            raise Failure(f"{seen['missing']} replies or messages of others missing; {'; '.join(seen['wrong'])}")
        heard, tick = seen["messages"], seen["alive"]["max"]
        note = f"p50 {heard['p50']:.1f}  max {heard['max']:.1f}; longest tick {tick:.1f} ms"
        figures += [
            Figure(took["most"], note=f"half of them after {took['median']:.2f} s; CPU {cpu:.2f} s"),
            Figure(heard["p99"], note=note),
        ]
    return figures


COME_BACK = Row(
    "come-back",
    (
        Aim("1,000 come back, 200 messages each: longest", 3, SECONDS),
        Aim("others' messages meanwhile: 99 of 100", 20, MILLISECONDS),
        Aim("1,000 come back to 200 broadcasts: longest", 3, SECONDS),
        Aim("others' messages meanwhile: 99 of 100", 20, MILLISECONDS),
    ),
    _come_back,
)

# Ten million messages at rest.

_USERS, _NEW, _PAGES = 1_000, 1_000, 8


def _at_rest(bed: Testbed, scale: Scale) -> list[Figure]:
    total = 10 * scale.history
    shapes = {"mail": _mail(_USERS, total), "broadcasts": iter([("all", total)])}
    worst, notes = [0.0] * 4, [list[str]() for _ in range(4)]
    for shape, said in shapes.items():
        with bed.home(_USERS) as home:
            fill(home, said, seen=True)
            with Server(home) as server:
                memory = server.memory()
                took = _pages(server)
                stopping = server.stop()
            reached = (server.started_in, memory, stopping, 1e3 * took)
        for place, value in enumerate(reached):
            worst[place] = max(worst[place], value)
            notes[place].append(f"{shape} {AT_REST.aims[place].unit.show(value)}")
    return [Figure(value, note=", ".join(note)) for value, note in zip(worst, notes, strict=True)]


def _pages(server: Server) -> float:
    """Seconds that a page of 100 messages takes, in the past and lately, the slowest of them; says more, too."""
    with Peer(server.port, "u00001") as reader, Peer(server.port, "u00002") as writer:
        for number in range(_NEW):
            writer.say("message", to="u00001", text=f"new {number}")
        for _ in range(_NEW):
            writer.hear()
        latest = writer.ask("message", to="u00001", text="the last")["seq"]
        times: list[float] = []
        for page in range(1, _PAGES + 1):
            tries = []
            for _ in range(5):
                begun = time.perf_counter()
                items = reader.ask("history", count=100, before=latest * page // _PAGES)["items"]
                tries.append(time.perf_counter() - begun)
                if len(items) != 100:
                    raise Failure(f"{len(items)} messages came of 100")
            times.append(statistics.median(tries))
        return max(times)


AT_REST = Row(
    "at-rest",
    (
        Aim("10,000,000 messages at rest: start", 3, SECONDS),
        Aim("10,000,000 messages at rest: memory", 150e6, MEGABYTES),
        Aim("... 1,000 new ones, then a clean stop", 1, SECONDS),
        Aim("... history 100, long ago or lately", 5, MILLISECONDS),
    ),
    _at_rest,
)
