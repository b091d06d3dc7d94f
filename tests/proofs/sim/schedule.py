"""One schedule: a home, its users, a random story, faults, crashes and restarts; then all that must hold is checked."""

from __future__ import annotations

import contextlib
import errno
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from chatlib.core import mailboxes, streams
from chatlib.protocol.scram import make_verifier
from chatlib.server.server import Server
from chatlib.storage import messages
from tests.proofs.sim import checks, wishes
from tests.proofs.sim.calls import Calls
from tests.proofs.sim.children import SimulatedJob
from tests.proofs.sim.disk import walk
from tests.proofs.sim.house import House, dump
from tests.proofs.sim.machine import HOME, PEOPLE, Machine, Stuck
from tests.proofs.sim.net import Network
from tests.proofs.sim.nodes import File, failed
from tests.proofs.sim.people import Person
from tests.proofs.sim.words import NAMES, PASSWORDS

VERIFIER = make_verifier(PASSWORDS[0], 4_096, b"salt of the sims")
# What a start proves whole, and what it changes before that.
PROVEN = [f"data/{name}" for name in ("manifest.txt", "state.txt", "users.txt", "mailboxes.txt", "replies.txt")]
UNPROVEN = ("data/lock", "data/writer.lock", "data/logs/")
PATIENCE = 600.0  # seconds until everything must have been said and heard


def no_fault(_kind: str, _path: str, size: int) -> int:
    """The disk is in order."""
    return size


class Schedule:
    """The machine, the house and the people of one seed. `run` raises AssertionError for what must not be."""

    def __init__(self, calls: Calls, seed: str, tracing: bool = False) -> None:
        self.machine = calls.machine = Machine(seed, tracing)
        self.chance: random.Random = self.machine.chance
        self.network = Network(self.machine)
        self.house = House(self.machine, self.network)
        self.people: list[Person] = []
        self.floor = 0  # messages before this seq are too old
        self.forgiven: set[int] = set()  # seqs that FSYNC second may have lost
        self.must_hold = 0  # the LSN up to which everything must be there at the next start
        self.expected: list[str] | None = None  # a dump of the world at that LSN
        self.blamed = False  # a fault of the disk was made in this life
        self.always = True
        self.lives = 0
        self.edited = 0.0  # LAST_HOUR, as it was last edited by hand
        self.added: set[str] = set()  # users, by hand
        self._undo: list[tuple[Any, str, int]] = []

    # The story.

    def _furnish(self) -> None:
        chance, machine = self.chance, self.machine
        self.always = chance.random() < 0.75
        parameters = {
            "SCRAM_ITERATIONS": 4_096, "RATE_LIMIT": chance.choice((0, 20)), "HEARTBEAT": 10,
            "JOURNAL_LIMIT": "64 KiB", "FSYNC": "always" if self.always else "second",
            "TIME_OUT": 86_400, "MAX_FAILURES": 9, "BLOCK_TIME": 5,
            "DUPLICATE_LOGIN": chance.choice(("refuse", "replace")),
        }  # fmt: skip
        if chance.random() < 0.3:
            parameters["KEEP_MESSAGES"] = 1
        self._make_small()
        names = NAMES[: chance.choice((2, 2, 3, 3, 4))]
        with self.by_hand():
            for file, lines in (("para.txt", parameters), ("credentials.txt", dict.fromkeys(names, VERIFIER))):
                with open(f"{HOME}/{file}", "w") as written:
                    written.write("".join(f"{name} {value}\n" for name, value in lines.items()))
        machine.disk.settle()
        for number, name in enumerate(names):
            self.people.append(Person(machine, self.network, name, f"10.0.0.{number + 1}", PASSWORDS[0]))
        if chance.random() < 0.3:
            self.people.append(Person(machine, self.network, "Eve", "10.0.0.9", PASSWORDS[0], late=True))
        for name in ("memory", *NAMES, "Eve"):
            machine.disks[PEOPLE].mkdir(f"{PEOPLE}/{name}")

    def _make_small(self) -> None:
        """Often, so little is much: what takes thousands of messages elsewhere happens here."""
        if self.chance.random() < 0.6:
            for module, name, value in ((streams, "CHUNK", 2), (streams, "TAIL", 4), (mailboxes, "AT_ONCE", 2),
                                        (messages, "SEGMENT", self.chance.choice((1_500, 6_000)))):  # fmt: skip
                self._undo.append((module, name, getattr(module, name)))
                setattr(module, name, value)

    def _tell(self) -> None:
        """Who will do what, and when."""
        chance, machine = self.chance, self.machine
        for person in self.people:
            machine.later(chance.uniform(0, 1), person.come_back)
            for _ in range(chance.choice((1, 2, 3, 4, 8))):
                machine.later(chance.uniform(0, 12), partial(self._want, person, wishes.of_a_person(self, person)))
            for _ in range(chance.choice((0, 0, 1, 2))):
                machine.later(chance.uniform(1, 12), person.kill)
                machine.later(chance.uniform(12, 14), person.come_back)
        for _ in range(chance.choice((0, 1, 2, 4))):
            machine.later(chance.uniform(0, 12), wishes.of_an_administrator(self))

    def _want(self, person: Person, wish: Callable[[], object]) -> None:
        person.wants.append(wish)
        person.wake()

    def console(self, line: str) -> None:
        """A line of the administrator's, if there is a server to hear it."""
        server, machine = self.house.server, self.machine
        if server is not None and machine.server is not None and not server.stopping:
            machine.process = machine.server
            server.console(self.house.say).line(line)
            machine.process = None

    @contextlib.contextmanager
    def by_hand(self) -> Iterator[None]:
        """Somebody's editor."""
        machine = self.machine
        mine, machine.process = machine.process, machine.new_process()
        fault, machine.fault = machine.fault, no_fault
        try:
            yield
        finally:
            machine.process, machine.fault = mine, fault

    # Faults.

    def _life_with_faults(self) -> None:
        """The next life: how it ends, and what the disk does."""
        machine, chance = self.machine, self.chance
        self.blamed = False
        self.network.trouble = chance.choice((0.0, 0.0, 0.01, 0.05))
        self.network.room = chance.choice((65_536, 65_536, 3_000))
        machine.crash_at = machine.steps + int(10 ** chance.uniform(0, 3.3))
        SimulatedJob.killed = chance.choice((0.0, 0.0, 0.02))
        life = self.lives + 1
        end = chance.choice((self._stop, self._crash))
        machine.later(chance.uniform(0.1, 8), lambda: end() if self.lives == life else None)
        machine.fault = self._fault if chance.random() < 0.35 else no_fault
        self._short = chance.random() < 0.3
        self._wrong = chance.choice((errno.EIO, errno.ENOSPC))
        kinds = ("write", "sync", "rename", "sync names") if self._wrong == errno.EIO else ("write", "create", "mkdir")
        self._wrong_kind, self._wrong_after = chance.choice(kinds), int(10 ** chance.uniform(0, 2))
        self._wrong_where = chance.choice(("", "", "", "message_rep", "ledger", ".next"))
        if self._wrong_where:
            self._wrong_after = chance.choice((1, 2, 3))

    def _fault(self, kind: str, path: str, size: int) -> int:
        """Something fails once; a full disk is full from then on."""
        full = self._wrong == errno.ENOSPC
        meant = kind == self._wrong_kind and self._wrong_where in path
        if meant or (full and self._wrong_after <= 0 and kind in ("write", "create", "mkdir")):
            self._wrong_after -= 1
            if self._wrong_after == 0 or (full and self._wrong_after < 0):
                self.blamed = True
                self.machine.note("the disk fails", kind, path, self._wrong)
                raise failed(self._wrong, path)
        if kind == "write" and self._short and size > 1:
            return self.chance.randint(1, size)
        return size

    def _stop(self) -> None:
        server, machine = self.house.server, self.machine
        if server is not None and machine.server is not None:
            machine.process = machine.server
            server.stop()
            machine.process = None

    def _crash(self) -> None:
        if self.machine.server is not None:
            self.machine.note("the machine crashes now")
            self.machine.crashing = True

    # Lives.

    def run(self) -> None:
        self._furnish()
        self._tell()
        self.house.on_start = self._started
        for _ in range(self.chance.choice((1, 1, 2, 2, 3))):
            self._life_with_faults()
            self._live()
            self.machine.pass_time(self.chance.choice((0.01, 1.0, 7.0)))
            self.machine.skipped += self.chance.choice((0.0, 0.0, 0.0, 90_000.0))
        self._live_happily()
        self._live_once_more()
        if self.chance.random() < 0.3:
            self._damage()

    def _live(self) -> str:
        """One life, and what follows from its end."""
        house, machine = self.house, self.machine
        self.lives += 1
        house.said.clear()
        ended = house.live()
        assert self.blamed or not ended.startswith("not started"), f"it does not start: {ended}"
        assert self.blamed or ended in ("", "crash"), f"it ends by itself: {ended}"
        checks.no_faults(house, self.blamed)
        machine.crash_at = 0
        if house.world is not None:
            self._remember(ended)
        power = ended != "" and self.chance.random() < (0.1 if self.blamed else 0.6)
        if power:
            machine.note("the power fails")
            house.power_cut()
        self.network.cut_all(silently=power and self.chance.random() < 0.5)
        self.network.silent = power
        return ended

    def _remember(self, ended: str) -> None:
        """What the next start must bring back."""
        house, world = self.house, self.house.world
        assert world is not None and house.server is not None
        journal = house.server.journal
        if world.parameters["FSYNC"] == "always" or not ended:
            self.must_hold, self.expected = world.lsn, dump(world)
        else:
            self.must_hold, self.expected = journal.durable, None
            self.forgiven |= set(range(journal.durable + 1, world.lsn + 1))
        house.dump_at = self.must_hold

    def _started(self, server: Server) -> None:
        house = self.house
        assert house.world is not None
        assert house.world.lsn >= self.must_hold, f"LSN {self.must_hold} was there, and is lost"
        assert not house.replays, house.replays[0]
        if self.expected is not None and house.dumped is not None:
            checks.same(self.expected, house.dumped)

    def _live_happily(self) -> None:
        """No more faults: everybody comes, and all that was begun is done."""
        machine = self.machine
        machine.fault = no_fault
        self.network.trouble, SimulatedJob.killed, self.blamed = 0.0, 0.0, False
        until = machine.now + PATIENCE

        def look(calm: int) -> None:
            for person in self.people:
                if not person.comes_back:
                    person.come_back()
            # A connection that broke without a word is noticed behind HEARTBEAT and five seconds more.
            if calm == (14 if self.network.broke_silently else 3) or machine.now > until:
                self._stop()
            else:
                machine.later(1.5, partial(look, calm + 1 if all(one.content for one in self.people) else 0))

        machine.later(15.0, partial(look, 0))
        ended = self._live()
        assert ended == "", f"no clean stop: {ended}"
        for person in self.people:
            if not person.gone and (person.waits or person.wants):
                raise Stuck(f"{person.name} waits in vain: {person.waits[:1]}")

    def _live_once_more(self) -> None:
        """All is as it was at the stop, and as it must be."""
        house = self.house

        def started(server: Server) -> None:
            self._started(server)
            checks.everything(self, server)
            self.machine.later(0.0, self._stop)

        house.on_start = started
        assert self._live() == ""

    def _damage(self) -> None:
        """A byte of what was acknowledged is another one: the home is refused, the file named, and nothing changed."""
        house, machine, chance = self.house, self.machine, self.chance
        files = {path: node for path, node in walk(machine.disk.tree) if path in PROVEN and isinstance(node, File)}
        path, node = chance.choice(sorted(files.items()))
        node.data[chance.randrange(len(node.data))] ^= 1 << chance.randrange(8)
        machine.disk.settle()
        before = {name: data for name, data in machine.disk.content().items() if not name.startswith(UNPROVEN)}
        house.on_start = lambda server: self._stop()
        ended = house.live()
        named = ended.startswith("not started") and path.split("/")[-1] in ended
        assert named, f"{path} was damaged, and what comes of it is {ended or 'a start'}"
        after = {name: data for name, data in machine.disk.content().items() if not name.startswith(UNPROVEN)}
        assert after == before, "what is damaged is left as it is"

    def close(self) -> None:
        """At the end, whatever happened: no thread is left."""
        self.machine.crashing = True
        for fiber in self.machine.jobs:
            fiber.kill()
        self.machine.process = self.machine.server = None
        for module, name, value in self._undo:
            setattr(module, name, value)
