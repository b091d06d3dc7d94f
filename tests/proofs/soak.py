"""``make soak``: 200 people at a real server for some time, and whether it is afterwards what it was before.

``python -m tests.proofs.soak [--seconds 60] [--people 200] [--chart soak.svg]`` with CHAT_SEED. They come, talk, post,
pay, send and fetch files, and go (`soak_load.py`, in two processes). Each second the server's memory and descriptors
are looked at, who is online, and the latency of messages; then all go home. What must be true at the end:

* memory grows by no more than LEAK: the slope after the warm-up (Theil-Sen: the median of the slopes between all pairs
  of seconds, which no spike moves), without what is known to be kept (`kept`). Fewer seconds than ENOUGH do not count;
* the server has as many descriptors as before anybody came;
* nobody was refused what should have been granted, and the server's log holds no fault.

A latency over its aim is said, and is no failure: a busy machine has it. Nothing needs more than the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from tests.chance import SEED, new_chance
from tests.patience import LIMIT
from tests.places import MEMORY
from tests.program.peer import Program, make_home
from tests.proofs.chart import Panel, draw
from tests.proofs.scores import note

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 2
LEAK = 20_000  # bytes a second, beyond what is known to be kept
ENOUGH = 30  # seconds: in fewer there is nothing but the warm-up, and no slope to be judged
LATENCY = 50.0  # milliseconds: 99 of 100 messages
MIB = 1 << 20
# Bytes that stay in memory of each request that was granted, as tracemalloc counts them in a world of its own: the
# reply under its key (the latest 1,000 of each user), the number of a cheque (for a week), a message in a thread (until
# it is gone), and the place of a message in its streams (the latest 128 of each). What many are to hear who come back
# is kept once more when the first does (4 MiB of it at most): posts and broadcasts.
KEPT = {"pay": 270, "cash": 520, "msg": 740, "broadcast": 370, "message": 37, "upload": 80, "received": 40,
        "filedecline": 40}  # fmt: skip


@dataclass
class Second:
    """What was seen in one."""

    memory: int  # bytes resident
    descriptors: int
    online: int = 0
    p50: float | None = None  # milliseconds
    p99: float | None = None
    messages: int = 0
    done: Counter[str] = field(default_factory=Counter)


class Crowds:
    """The processes that are the people."""

    def __init__(self, port: int, people: int) -> None:
        each, self.wrong = people // PROCESSES, list[str]()
        self._all = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.proofs.soak_load", str(port), str(number * each), str(each), str(SEED)],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for number in range(PROCESSES)
        ]  # fmt: skip

    def second(self, seen: Second) -> bool:
        """The next report of each; whether there was one."""
        heard: list[dict[str, Any]] = []
        for one in self._all:
            assert one.stdout
            line = one.stdout.readline()
            heard += [json.loads(line)] if line else []
        seen.online = sum(report["online"] for report in heard)
        seen.messages = sum(report["messages"] for report in heard)
        seen.p50 = max((report["p50"] for report in heard if report["p50"] is not None), default=None)
        seen.p99 = max((report["p99"] for report in heard if report["p99"] is not None), default=None)
        for report in heard:
            seen.done.update(report["done"])
            self.wrong += report["wrong"]
        return bool(heard)

    def go_home(self) -> None:
        """They end by themselves then."""
        for one in self._all:
            assert one.stdin
            one.stdin.write("\n")
            one.stdin.flush()

    def close(self) -> None:
        """Whatever happened."""
        for one in self._all:
            one.kill()
            one.communicate()


def look(pid: int) -> Second:
    """At the server's process."""
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Second(resident * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{pid}/fd")))


def slope(values: list[float]) -> float:
    """By Theil and Sen: a second's growth."""
    return statistics.median((b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(values), 2))


def kept(done: Counter[str]) -> int:
    """Bytes of memory that are kept of what was done, on purpose."""
    return sum(KEPT.get(action, 0) * count for action, count in done.items())


class Soak:
    """One run: what was seen, and what to think of it."""

    def __init__(self, seconds: int, people: int) -> None:
        self.seconds, self.people = seconds, people
        self.seen: list[Second] = []
        self.before, self.after = Second(0, 0), Second(0, 0)
        self.wrong: list[str] = []

    def run(self, home: Path) -> None:
        """Everybody comes, and all go."""
        with Program(home, measured=False) as server:
            server.listening()
            pid = server.process.pid
            self.before = look(pid)
            crowds = Crowds(server.port, self.people)
            try:
                self._watch(server, crowds)
                crowds.go_home()
                while crowds.second(Second(0, 0)):
                    pass
                self._wait_for_descriptors(pid)
                self.wrong = crowds.wrong
                server.stop()
            finally:
                crowds.close()
        logs = "".join(path.read_text() for path in (home / "data" / "logs").glob("*.log"))
        if "Traceback" in logs:
            self.wrong.append(f"the log holds a fault: {logs[logs.index('Traceback') :][:2_000]}")

    def _watch(self, server: Program, crowds: Crowds) -> None:
        pid = server.process.pid
        print(f"{'second':>6} {'online':>6} {'MiB':>6} {'descriptors':>11} {'p50 ms':>7} {'p99 ms':>7} {'requests':>8}")
        for number in range(self.seconds):
            self.seen.append(second := look(pid))
            while server.heard():  # what it says waits in its memory until somebody reads it
                server.lines.clear()
            if not crowds.second(second):
                raise AssertionError("the people have gone home by themselves")
            if number % max(1, self.seconds // 20) == 0:
                p50, p99 = (f"{ms:.1f}" if ms is not None else "-" for ms in (second.p50, second.p99))
                print(f"{number:>6} {second.online:>6} {second.memory / MIB:>6.1f} {second.descriptors:>11} {p50:>7} "
                      f"{p99:>7} {second.done.total():>8}", flush=True)  # fmt: skip

    def _wait_for_descriptors(self, pid: int) -> None:
        deadline = time.monotonic() + LIMIT / 3
        while (after := look(pid)).descriptors > self.before.descriptors and time.monotonic() < deadline:
            time.sleep(0.1)
        self.after = after

    # The verdict.

    @property
    def warm(self) -> list[Second]:
        """What is seen after the warm-up."""
        return self.seen[self.seconds // 3 :]

    @property
    def growth(self) -> tuple[float, float]:
        """Bytes a second: in all, and without what is known to be kept."""
        plain, without, done = [], [], Counter[str]()
        for second in self.warm:
            done += second.done
            plain.append(float(second.memory))
            without.append(float(second.memory - kept(done)))
        return slope(plain), slope(without)

    @property
    def latency(self) -> tuple[float, float]:
        """The median of all seconds' p50 and p99, in milliseconds."""
        points = [(second.p50, second.p99) for second in self.warm if second.p50 is not None and second.p99 is not None]
        if not points:  # nothing has arrived
            return float("inf"), float("inf")
        return statistics.median(p50 for p50, _ in points), statistics.median(p99 for _, p99 in points)

    def broken(self) -> list[str]:
        """The promises that do not hold."""
        _, leak = self.growth
        leaks = leak > LEAK and self.seconds >= ENOUGH
        more = self.after.descriptors - self.before.descriptors
        return [
            *([f"memory grows by {leak / 1e3:.0f} KB a second that nothing explains"] if leaks else []),
            *([f"{more} descriptors more than before"] if more > 0 else []),
            *self.wrong[:3],
        ]

    def draw(self, subtitle: str) -> str:
        """The chart."""
        memory = [second.memory / MIB for second in self.seen]
        begun, plain = self.seconds // 3, self.growth[0] / MIB
        level = statistics.median(value - plain * number for number, value in enumerate(memory[begun:]))
        fit = (begun, level, self.seconds - 1, level + plain * (self.seconds - 1 - begun), "its slope")
        return draw(f"{self.people} people for {self.seconds} seconds", subtitle, [
            Panel("Memory of the server (resident)", "MiB", {"memory": memory}, from_zero=False, marks=[fit]),
            Panel("Descriptors of the server", "", {"descriptors": [second.descriptors for second in self.seen]}),
            Panel("Latency of a message, from one person to another", "ms",
                  {"99 of 100": [second.p99 for second in self.seen], "the median": [s.p50 for s in self.seen]}),
            Panel("People online", "", {"online": [second.online for second in self.seen]}),
            Panel("Requests that were granted, in a second", "", {"requests": [s.done.total() for s in self.seen]}),
        ], self.seconds - 1)  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Looks at a server that people use for some time.")
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument("--people", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--chart", type=Path, default=Path("soak.svg"), help="where the chart is drawn")
    options = parser.parse_args()
    if options.seconds < 4:
        parser.error("--seconds must be at least 4")
    if sys.platform != "linux":
        parser.error("this needs Linux (/proc)")
    return options


def _note(soak: Soak, leak: float, p99: float) -> None:
    what, before, after = f"{soak.people} people, {soak.seconds} s", soak.before.descriptors, soak.after.descriptors
    note(f"{what}: memory", f"{leak / 1e3:+.1f} KB/s unexplained", f"< {LEAK / 1e3:.0f} KB/s",
         "ok" if leak <= LEAK else "FAILED")  # fmt: skip
    note(f"{what}: descriptors", f"{before} before, {after} after", "as before", "ok" if after <= before else "FAILED")
    note(f"{what}: latency", f"p99 {p99:.1f} ms", f"< {LATENCY:.0f} ms", "ok" if p99 < LATENCY else "missed")
    done = sum((second.done for second in soak.seen), Counter[str]())
    note(f"{what}: requests", f"{done.total():,}", "none goes wrong", "FAILED" if soak.wrong else "ok")


def main() -> int:
    """Exit status 1: a promise is broken."""
    options = _options()
    new_chance()
    soak = Soak(options.seconds, options.people)
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="soak-", dir=place) as name:
        users = [f"u{number:03d}" for number in range(options.people)]
        try:
            soak.run(make_home(Path(name) / "home", users, MaxCon=options.people, RATE_LIMIT=20))
        except AssertionError as wrong:
            print(f"repeat it: make soak SEED={SEED} SECONDS={options.seconds}")
            print(f"soak: FAILED: {wrong}")
            return 1
    return report(soak, options)


def report(soak: Soak, options: argparse.Namespace) -> int:
    """Says what came of it, and draws it; the exit status."""
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    options.chart.write_text(soak.draw(f"{time.strftime('%Y-%m-%d')}, {system}, seed {SEED}"))
    done = sum((second.done for second in soak.seen), Counter[str]())
    print("done: " + ", ".join(f"{action} {count:,}" for action, count in done.most_common()))
    (plain, leak), (p50, p99) = soak.growth, soak.latency
    print(f"memory: {soak.before.memory / MIB:.1f} MiB before, {soak.seen[-1].memory / MIB:.1f} at the end; "
          f"slope {plain / 1e3:.1f} KB/s, of which {(plain - leak) / 1e3:.1f} are kept on purpose")
    print(f"the chart: {options.chart}")
    _note(soak, leak, p99)
    if broken := soak.broken():
        print(f"repeat it: make soak SEED={SEED} SECONDS={options.seconds}")
        print(f"soak: FAILED: {'; '.join(broken)}")
        return 1
    aim = "" if p99 < LATENCY else f" (aim: {LATENCY:.0f})"
    print(f"soak: ok: {options.people} people, {options.seconds} s, {done.total():,} requests; "
          f"memory {leak / 1e3:+.1f} KB/s unexplained; "
          f"descriptors {soak.before.descriptors} before, {soak.after.descriptors} after; "
          f"latency p50 {p50:.1f} ms, p99 {p99:.1f} ms{aim}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
