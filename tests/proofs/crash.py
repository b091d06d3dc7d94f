"""``make crash``: the real server under load, and ``kill -9`` of it and of its children, again and again.

``python -m tests.proofs.crash [--cycles 50] [--life N]`` with CHAT_SEED. A *life* is a home of its own with parameters
by chance, and about ten cycles: people talk, post, pay, cash, send files; at a random moment something is killed; the
server is started again on the same home, perhaps killed in that start, too; then everything that was acknowledged must
be there, once. Chance decides what is done, but not how fast the machine does it: a life that is repeated does the same
things, and meets the kill elsewhere. Nothing of it needs more than the standard library. Linux.

A failure leaves its home where it says, and prints what was done in that life.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chance import SEED, new_chance
from tests.patience import LIMIT
from tests.places import MEMORY
from tests.program.peer import Program, make_home
from tests.proofs import crash_checks
from tests.proofs.crash_forked import Forked, Manner, children, kill_child
from tests.proofs.crash_guests import Guests
from tests.proofs.crash_town import THREADS, USERS, Town, Wrong
from tests.proofs.scores import note

CYCLES = 10  # of a life
LOAD = 0.25  # seconds until the kill, at most
WAYS = {"server": 6, "all": 3, "syncer": 1, "checker": 1, "writer": 3, "server while it saves": 5, "stop": 4,
        "clean": 1}  # fmt: skip
DEEDS = ("password", "edit", "reload", "save", "fetch", "see", "reset", "audit", "come", "come", "leave", "rule",
         "rule")  # fmt: skip
QUARTER_DAY = 21_600.0


class Life:
    """One home from its first start to its clean end."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number, self.chance = number, random.Random(f"{SEED} life {number}")
        self.keeps = self.chance.random() < 0.3  # messages for a day; then a cycle takes six hours
        self.slow_sync = self.chance.choice([0.0, 0.0, 0.003])
        self.slow_checkpoint = self.chance.choice([0.0, 0.002])
        self.limit = self.chance.choice(["64 KiB", "64 MiB"])
        self.town = Town(random.Random(f"{SEED} town {number}"))  # how much of it is used is a matter of speed
        self.guests = Guests(self.town)
        parameters = {"JOURNAL_LIMIT": self.limit, "KEEP_MESSAGES": int(self.keeps), "INITIAL_BALANCE": 1_000_000,
                      "MAX_FAILURES": 1_000, "TIME_OUT": 10**6}  # fmt: skip
        self.home = make_home(folder / f"life-{number}", USERS, **parameters)
        self.story: list[str] = [f"life {number}: {parameters}, syncs take {self.slow_sync} s longer"]
        self.edit = 0  # a parameter that a person edits
        self.server: Program | None = None
        self.ways: Counter[str] = Counter()

    def cycles(self, count: int) -> Iterator[int]:
        """So many kills, and what must be true after each."""
        self._start()
        self._settle_in()
        for cycle in range(count):
            way = self.chance.choices(list(WAYS), list(WAYS.values()))[0]
            self.ways[way] += 1
            self.story.append(f"cycle {cycle}: {way}")
            self._load_and_kill(way)
            self._start()
            self._check()
            if cycle % 3 == 2:
                crash_checks.history(self.town, time.time() + self.town.ahead, self.keeps)
            yield cycle
        self._end()

    # Starting.

    def _start(self) -> None:
        """Starts the server; sometimes it is killed in its start, and started again."""
        if self.keeps:
            self.town.ahead += QUARTER_DAY
        manner = Manner(slow_sync=self.slow_sync, slow_checkpoint=self.slow_checkpoint)
        if self.keeps:
            manner = manner._replace(ahead=self.town.ahead, segment=20_000)
        while self.chance.random() < 0.25:
            server = Forked(self.home, manner)
            time.sleep(self.chance.uniform(0.0, 0.04))
            server.kill()
            self.ways["start"] += 1
            self.story.append("killed while it starts")
        whole = manner == Manner() and self.chance.random() < 0.1  # the program from its first byte
        self.server = Program(self.home, measured=False) if whole else Forked(self.home, manner)
        self.server.listening()
        self.town.port = self.server.port

    def _settle_in(self) -> None:
        """What there is before the first load: threads that all follow."""
        crash_checks.come_back(self.town)
        ann = self.town.people["ann"]
        for title in THREADS:
            ann.ask({"action": "crt", "key": f"ann-{len(ann.asked)}", "title": title})
        self.town.until(lambda: not ann.open, lambda: "threads")
        following = set(USERS)
        for name, person in self.town.people.items():
            assert person.wire
            for title in THREADS:
                person.wire.ask({"action": "follow", "title": title}, lambda reply, name=name: following.discard(name))
        self.town.until(lambda: not following, lambda: "following")

    def _check(self) -> None:
        crash_checks.come_back(self.town)
        self.guests.check(self.keeps)
        crash_checks.check(self.town, self.home)

    # The load, and the kill.

    def _load_and_kill(self, way: str) -> None:
        assert self.server
        server, chance, town = self.server, self.chance, self.town
        kill_at = time.monotonic() + chance.uniform(0.0, LOAD)
        deeds = sorted(time.monotonic() + chance.uniform(0.0, LOAD) for _ in range(3))
        if way in ("writer", "server while it saves"):
            server.type("save")
        while time.monotonic() < kill_at and server.process.poll() is None:
            if deeds and time.monotonic() > deeds[0]:
                del deeds[0]
                self._deed()
            for person in town.people.values():
                if person.online and person.wire and len(person.wire.waiting) < 6:
                    person.talk()
            town.hub.pump(0.002)
        self._kill(way)
        server.process.kill()
        server.process.wait()
        while server.heard():  # what it has said still
            pass
        self.guests.was_said(server.lines)
        server.kill()
        town.hub.drain()
        crash_checks.said_no_fault(server, self.home)

    def _deed(self) -> None:
        """Something that is not done all the time."""
        assert self.server
        chance, people = self.chance, self.town.people
        deed = chance.choice(DEEDS)
        self.story.append(f"meanwhile: {deed}")
        match deed:
            case "password":
                people["eve"].change_password()
            case "edit":
                self._edit()
                self.server.type("reload")
            case "fetch":
                for file in list(self.town.sent.values()):
                    if file.seq and not file.leaving and file.to in people:
                        person = people[file.to]
                        person.fetch(file, lambda person=person, file=file: person.has_received(file))  # type: ignore
            case "see":
                for person in people.values():
                    person.see()
            case "reset":
                person = people[chance.choice(USERS)]
                if person.wire:
                    person.wire.reset()
            case "come":
                self.guests.come()
            case "leave":
                self.guests.leave()
            case "rule":
                self.server.type(*filter(None, [self.guests.rule()]))
            case command:
                self.server.type(command)

    def _edit(self) -> None:
        """A person changes a parameter by hand, as an editor does that replaces the file."""
        self.edit = self.chance.randrange(10, 10**6)
        path = self.home / "para.txt"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("LAST_HOUR")]
        path.with_name("edited").write_text("\n".join([*lines, f"LAST_HOUR {self.edit}", ""]))
        path.with_name("edited").replace(path)

    def _kill(self, way: str) -> None:
        """What is killed before the server is, and how long it goes on."""
        assert self.server
        server, town, pid = self.server, self.town, self.server.process.pid
        there = children(pid) if server.process.poll() is None else []
        if way == "all":
            for one in self.chance.sample([pid, *there], 1 + len(there)):
                kill_child(one)
        elif way in ("syncer", "checker", "writer"):
            for one in {"syncer": there[:1], "checker": there[1:2], "writer": there[2:]}[way]:
                kill_child(one)
            until = time.monotonic() + self.chance.uniform(0.0, 0.1)
            while time.monotonic() < until and server.process.poll() is None:
                town.hub.pump(0.002)
        elif way in ("stop", "clean"):
            server.process.send_signal(signal.SIGTERM)
            until = time.monotonic() + (self.chance.uniform(0.0, 0.05) if way == "stop" else LIMIT)
            while time.monotonic() < until and server.process.poll() is None:
                town.hub.pump(0.002)

    # The end.

    def _end(self) -> None:
        """A clean stop, and once more all of it, from the text files."""
        assert self.server
        self.server.type("audit")
        self.server.wait_for("The books are right: ")
        self.server.stop()
        self.town.hub.drain()
        left = [path.name for path in self.home.rglob(".*")] + [path.name for path in self.home.glob("*.kept*")]
        if left:
            raise Wrong(f"after a clean stop there is {left}")
        if self.edit and f"LAST_HOUR {self.edit}" not in (self.home / "para.txt").read_text():
            raise Wrong(f"the edit by hand, LAST_HOUR {self.edit}, is lost")
        self._start()
        self._check()
        crash_checks.history(self.town, time.time() + self.town.ahead, self.keeps)
        for file in self.town.sent.values():
            if not file.gone:
                name = file.to if file.to in USERS else "ann"
                self.town.people[name].fetch(file)
        self.town.until(lambda: len(self.town.hub.wires) == len(USERS), lambda: "fetching all files")
        self.server.kill()
        self.town.hub.drain()

    def close(self) -> None:
        """Whatever happened."""
        if self.server:
            self.server.kill()


def run(cycles: int, first: int, folder: Path) -> tuple[int, Counter[str], int, int]:
    """So many cycles in lives from that one on; what was killed how often, acknowledged requests and files."""
    done, ways, asked, files = 0, Counter[str](), 0, 0
    for number in range(first, 1 << 30):
        life = Life(number, folder)
        try:
            for _ in life.cycles(min(CYCLES, cycles - done)):
                done += 1
                if done % 50 == 0:
                    print(f"{done} cycles", flush=True)
        except BaseException as wrong:
            if not isinstance(wrong, KeyboardInterrupt):
                said = life.server.lines[-20:] if life.server else []
                print("\n".join([*life.story[-25:], *(f"server: {line}" for line in said)]))
                print(f"repeat it: CHAT_SEED={SEED} python3 -m tests.proofs.crash --life {number}")
                print(f"its home: {life.home}", flush=True)
            raise
        finally:
            life.close()
        ways += life.ways
        asked += sum(len(person.asked) for person in life.town.people.values())
        files += len(life.town.sent)
        shutil.rmtree(life.home)
        if done >= cycles:
            break
    return done, ways, asked, files


def main() -> int:
    """Exit status 1: a promise was broken."""
    parser = argparse.ArgumentParser(description="Kills the server under load, and looks for what is missing.")
    parser.add_argument("--cycles", type=int, default=50, help="how often (default: 50)")
    parser.add_argument("--life", type=int, default=0, help="which life is the first one, to repeat it")
    options = parser.parse_args()
    if sys.platform != "linux":
        parser.error("this needs Linux (/proc)")
    new_chance()
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="crash-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    try:
        done, ways, asked, files = run(options.cycles, options.life, folder)
    except Exception as wrong:
        if not isinstance(wrong, AssertionError):
            traceback.print_exc()
        print(f"crash: FAILED: {wrong}")
        return 1
    shutil.rmtree(folder)
    print(f"killed: {', '.join(f'{way} {count}' for way, count in ways.most_common())}")
    taken = time.monotonic() - begun
    note("kill -9 under load", f"{done} cycles, {sum(ways.values())} kills, {asked + files:,} acknowledged requests",
         "all there, once; the books balance")  # fmt: skip
    print(f"crash: ok: {done} cycles in {taken:.0f} s, {sum(ways.values())} kills; "
          f"{asked:,} requests and {files:,} files acknowledged, all there, once")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
