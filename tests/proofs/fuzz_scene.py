"""A real server in process that is fuzzed, who talks to it, and what must hold of it at every moment.

It is alive; nothing of ours has raised; the console is given nothing that a terminal obeys; what a start would make of
the home is the very world that lives; the books balance; and when all have gone, nothing of them stays in memory.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatlib.core.features import FEATURES
from chatlib.server.recovery import recover
from chatlib.storage.home import Home
from chatlib.storage.journal import RESERVE, Journal
from chatlib.storage.textfile import FileError
from tests.core.stage import picture
from tests.proofs.fuzz_talker import Illegal, Talker
from tests.proofs.fuzz_words import NAMES
from tests.proofs.hostile_text import obeyed
from tests.server.house import ITERATIONS, VERIFIER, Disk, House
from tests.server.inside import offer

ADDRESSES = ("10.0.0.1", "10.0.0.2", "::1", "127.0.0.1")
MOST = 12  # talkers at once
OF_PEERS = ("Session", "Connection", "Intake", "Reader", "Carrier", "Upload", "Download", "Ticket", "ConsoleAfar")
CHOICES: dict[str, tuple[object, ...]] = {
    "MaxCon": (2, 5, 100),
    "WAITING_ROOM": (0, 2, 100),
    "MAX_FAILURES": (1, 3),
    "BLOCK_SCOPE": ("user_ip", "user"),
    "DUPLICATE_LOGIN": ("refuse", "replace", "share"),
    "SESSIONS": (1, 3),
    "RATE_LIMIT": (0, 0, 0, 20),
    "ADDRESS_POLICY": ("consent", "open", "never"),
    "FILE_QUOTA": (0, 2**20, 2**32),
    "THREAD_QUOTA": (2**20, 2**32),
    "FSYNC": ("always", "second"),
    "JOURNAL_LIMIT": (2**16, 2**26),
    "INITIAL_BALANCE": (0, 10_000),
    "TIME_OUT": (60, 1800),
    "HEARTBEAT": (5, 30),
    "KEEP_MESSAGES": (0, 1),
    "PRESENCE_LIMIT": (0, 500),
    "REGISTRATION": ("open", "open", "closed"),
}


class Scene:
    """One home from its first start to its last stop."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.talkers: list[Talker] = []
        self.steps = self.lines = self.heard = self.compared = 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        chosen = {name: chance.choice(values) for name, values in CHOICES.items()}
        self.parameters = (
            "".join(f"{name} {value}\n" for name, value in chosen.items()) + f"SCRAM_ITERATIONS {ITERATIONS}\n"
        )
        self.credentials = "".join(f"{name} {VERIFIER}\n" for name in (*NAMES, "admin"))
        (folder / "para.txt").write_text(self.parameters)
        (folder / "credentials.txt").write_text(self.credentials)
        self.before = _of_peers()
        self.house = House(folder)
        self.tls = chance.random() < 0.5
        self._offer()

    def _offer(self) -> None:
        if self.tls:
            offer(self.house)

    # What the steps use.

    def connect(self, chance: random.Random) -> Talker:
        talker = Talker(self.house, chance.choice(ADDRESSES), inside=self.tls and chance.random() < 0.4)
        self.talkers.append(talker)
        if chance.random() < 0.1:
            talker.splits = chance.choice((1, 2, 7, 100))
        return talker

    def someone(self, chance: random.Random, online: bool = True) -> Talker:
        """A talker; mostly one that is logged in, if there is one."""
        open_ones = [
            talker for talker in self.talkers if not (talker.closed or talker.ended or talker.other or talker.bye)
        ]
        there = [talker for talker in open_ones if talker.user] if online else []
        if not open_ones or (len(open_ones) < MOST and chance.random() < 0.05):
            return self.connect(chance)
        return chance.choice(there or open_ones)

    def ask(self, talker: Talker, line: bytes, ticks: int = 40) -> dict[str, Any] | None:
        """The reply to it, if it comes at once."""
        talker.keeps = True
        talker.say(line)
        for _ in range(ticks):
            self.house.tick()
            talker.hear()
            if not talker.expected or talker.closed:
                break
        talker.keeps = False
        action = json.loads(line)["action"]  # more may have been asked before
        replies = [reply for reply in talker.take_replies() if reply["action"] == action]
        return replies[-1] if replies and not talker.expected else None

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.house.tick()
            for talker in self.talkers:
                if not talker.slow:
                    talker.hear()

    def release_disks(self) -> None:
        for disk in (self.house.disk, self.house.files_disk):
            disk.fast = True
            disk.release()

    def wait_for_children(self) -> None:
        """Saves, reloads and audits are done."""
        self.release_disks()
        server, seconds = self.house.server, 0
        while server.saver.busy or server.auditor.busy:
            if server.saver._job is not None or server.auditor.busy:
                self.house.wait_for(lambda: server.saver._job is None and not server.auditor.busy)
            self.house.pass_time(1.0)  # with FSYNC second, the disk is asked then
            seconds += 1
            if seconds > 100:
                raise Illegal("a save does not end")

    def pass_time(self, seconds: float, step: float) -> None:
        """The clock goes on, and who reads, reads."""
        until = self.house.clock.now + seconds
        while self.house.clock.now < until:
            self.house.pass_time(min(step, until - self.house.clock.now), step)
            self.tick(2)

    # What must hold.

    def look(self) -> None:
        """After each step."""
        self.steps += 1
        self._look_at_the_console()
        for talker in [talker for talker in self.talkers if talker.closed]:
            self._forget(talker)
        if self.house.server.stopping:
            self.restart(clean=True)

    def _look_at_the_console(self) -> None:
        for line in self.house.said:
            if line.startswith("Internal error") or "Traceback" in line:
                raise Illegal(f"{line}\n{self.house.log()[-6_000:]}")
            if obeyed(line):
                raise Illegal(f"the console is given {obeyed(line)!r} in {line!r}")
        self.house.said.clear()
        self.house._told = 0

    def _forget(self, talker: Talker) -> None:
        self.talkers.remove(talker)
        self.lines += talker.said
        self.heard += talker.heard

    def rest(self) -> None:
        """Everything that is under way is done: the disk, children, whatever waits for time."""
        house = self.house
        self.wait_for_children()
        for talker in self.talkers:
            talker.slow = False
        for _ in range(6):
            house.pass_time(2.0)
            self.tick(3)
        self.look()

    def judge(self) -> None:
        """Nobody waits for a reply."""
        for _ in range(400):  # a rate limit lets through a few a second, a slow reader's backlog waits for it
            if not any(talker.expected and not (talker.closed or talker.other) for talker in self.talkers):
                break
            self.house.pass_time(1.0)
            self.tick(3)
        for talker in self.talkers:
            talker.hear()
            talker.judge()

    def compare(self) -> None:
        """What a start on a copy of the home makes of it is the world as it is."""
        self.rest()
        house, there = self.house, self.folder.with_name(self.folder.name + ".copy")
        if house.server.stopping:
            return
        self.wait_for_children()
        house.server.messages.flush()
        house.server.appended.flush()
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(self.folder, there)
        with _recovered(there) as (world, faults):
            here, again = picture(house.server.world), picture(world)
        if faults:
            raise Illegal(f"the replay failed: {faults}")
        self._equal(here, again, "replayed")
        if house.server.journal.size == 0 and _stored(self.folder) != _stored(there):
            raise Illegal("the message store is another one behind a start")
        for feature in FEATURES:
            if wrong := feature.wrong(house.server.world):
                raise Illegal(wrong)
        self.compared += 1
        shutil.rmtree(there)

    def _equal(self, here: dict[str, Any], again: dict[str, Any], how: str) -> None:
        if here["lsn"] < again["lsn"] <= here["lsn"] + RESERVE:
            again["lsn"] = here["lsn"]  # with FSYNC second: those that a crash may have taken are left out
        for name, live in here.items():
            if live != again[name]:
                raise Illegal(f"{name} is, {how}, {_difference(live, again[name])}")

    def restart(self, clean: bool) -> None:
        """A stop, or a crash, and a start."""
        self.release_disks()
        if clean:
            self.tick(3)
            self.wait_for_children()
            failure = self.house.stop()
            if failure:
                raise Illegal(failure)
        else:
            self.house.crash()
        for talker in self.talkers[:]:
            talker.leaves = True
            talker.hear()
            talker.socket.close()
            self._forget(talker)
        self._look_at_the_console()
        try:
            self.house.restart()
        except FileError as wrong:  # an edit by hand that cannot be read, and nothing else
            if "para.txt" not in str(wrong) and "credentials.txt" not in str(wrong):
                raise
            self.house.write("para.txt", self.parameters)
            self.house.write("credentials.txt", self.credentials)
            self.house.restart()
        self._offer()
        self._look_at_the_console()

    def end(self) -> None:
        """All go; nothing of them stays."""
        self.rest()
        self.judge()
        self.compare()
        for talker in self.talkers[:]:
            talker.hang_up(hard=False)
            self._forget(talker)
        self.house.pass_time(400.0, step=50.0)
        self.rest()
        server = self.house.server
        left = {
            "sessions": len(server.sessions),
            "listeners": len(server.delivery.everyone()),
            "transfers": len(server.transfers),
            "consoles": len(server.administrators),
            "online": len(server.world.online),
        }
        if any(left.values()):
            raise Illegal(f"when all have gone, there are still {left}")
        # Whoever gave the last command, or asked for the last audit, is known until the next one.
        last = Counter(dict.fromkeys(OF_PEERS, 3))
        if stay := _of_peers() - self.before - last:
            raise Illegal(f"when all have gone, these objects are still there: {stay}")
        self.restart(clean=True)
        self.compare()
        log = self.house.log()
        if "Traceback" in log:
            raise Illegal(log[-6_000:])

    def traceback(self) -> str:
        """Of a fault of the server's, if there was one."""
        log = self.house.log() if self.house.running else ""
        return "\n" + log[log.index("Traceback") :][:5_000] if "Traceback" in log else ""

    def close(self) -> None:
        for talker in self.talkers:
            talker.socket.close()
        self.house.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.folder.with_name(self.folder.name + ".copy"), ignore_errors=True)
        self.folder.with_name(self.folder.name + ".backup").unlink(missing_ok=True)


def _of_peers() -> Counter[str]:
    """How many objects there are that only connections have."""
    gc.unfreeze()  # recovery has frozen what it read
    gc.collect()
    return Counter(
        name
        for one in gc.get_objects()
        if (name := type(one).__name__) in OF_PEERS
        and type(one).__module__.startswith(("chatlib.server", "chatlib.reactor"))
    )


@contextlib.contextmanager
def _recovered(folder: Path) -> Iterator[tuple[Any, list[str]]]:
    faults: list[str] = []
    home = Home(folder)
    disk = Disk()
    journal = Journal(home.data, disk)  # type: ignore[arg-type]
    try:
        world, messages, appended = recover(home, journal, lambda text: None, lambda fault: faults.append(repr(fault)))
        messages.close()
        appended.close()
        yield world, faults
    finally:
        disk.close()
        os.close(home._lock_fd)


def _stored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "data").glob("message*"))}


def _difference(live: Any, again: Any) -> str:
    if isinstance(live, dict) and isinstance(again, dict):
        keys = [key for key in {**live, **again} if live.get(key) != again.get(key)]
        return f"at {keys[0]!r} {str(again.get(keys[0]))[:600]} in place of {str(live.get(keys[0]))[:600]}"
    return f"{str(again)[:600]} in place of {str(live)[:600]}"
