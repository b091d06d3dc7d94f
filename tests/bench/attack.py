"""Attacks on a real server: ``python tests/bench/attack.py [--only NAME ...] [--quick]`` (``make attack``).

Each attack has a home, a server and two processes of its own: honest clients, who chat, and the attacker. What counts
is what the others notice, and what the server takes: the latency of their messages, its longest tick (as those see it
who ask something every few milliseconds), its memory at most and its CPU. The aims: 99 of 100 messages of the others
arrive within 20 ms, 99 of 100 logins of a user who comes and goes take less than 50 ms, and memory stays below 200 MB.
A missed aim is printed and is no failure. A row in which an honest client misses a reply or a message, or that cannot
be measured, is one; the exit status is then 1. Behind the row that says what is usual, a row says how many times as
long a message takes. Linux, 8 minutes.

The attacker has less priority than the server and the honest clients, since it stands for other machines. Where other
work keeps the machine busy, --realtime (for root) lets all of them go before it, and --folder /dev/shm takes the disk
out of the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from attacks import ATTACKS, Attack
from machine import describe
from testbed import DOOR, ROOT, Failure, Process, Server, Testbed

LOGIN = 50.0  # milliseconds: 99 of 100 logins of a user, from the connection to the welcome
LATENCY = 20.0  # milliseconds: 99 of 100 messages of the others
MEMORY = 200e6  # bytes
_ASIDE, _NEXT = 5, -10  # niceness
_TITLE, _WIDTHS = 56, (8, 8, 8, 9, 9, 8, 7, 8, 6)
_HEADS = ("p50 ms", "p99 ms", "max ms", "tick ms", "login ms", "RSS MiB", "CPU %", "disk MB", "load")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack came to. Times in milliseconds."""

    name: str
    p50: float
    p99: float
    worst: float
    tick: float  # the longest, about
    login: float  # 99 of 100 logins
    memory: int  # bytes, the peak
    cpu: float  # percent
    disk: int  # bytes of the home at the end
    load: float  # of the machine, others' work too
    delivered: int
    missing: int
    wrong: list[str]
    note: str

    @property
    def verdict(self) -> str:
        """Whether the aims hold."""
        late = "" if self.p99 < LATENCY and self.login < LOGIN else "too late"
        large = "" if self.memory < MEMORY else "too large"
        return " and ".join(filter(None, (late, large))) or "ok"


def _honest(attack: Attack, options: argparse.Namespace) -> int:
    return attack.honest // 20 if options.quick and attack.honest > 100 else attack.honest


def _favour(options: argparse.Namespace, *pids: int) -> None:
    if options.realtime:
        for pid in pids:
            os.sched_setscheduler(pid, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))  # not its children


def _disk(home: Path) -> int:
    size = 0
    for path in home.rglob("*"):
        with contextlib.suppress(OSError):
            size += path.stat().st_size
    return size


@contextlib.contextmanager
def _server(bed: Testbed, attack: Attack, options: argparse.Namespace) -> Iterator[tuple[Server, Path, int]]:
    """A server on a home of its own, and the number of the first honest client."""
    users = attack.users // 20 if options.quick and attack.users > 10_000 else attack.users
    parameters = {**DOOR, **attack.parameters}
    with bed.home(users + _honest(attack, options) + 1, **parameters) as home:
        attack.prepare(home, options.quick)
        with Server(home, tree=options.tree, flags=attack.flags) as server:
            _favour(options, *server.processes())
            yield server, home, users


def _run(bed: Testbed, attack: Attack, options: argparse.Namespace) -> Outcome:
    """Raises Failure for what could not be measured."""
    seconds = options.seconds or (1.0 if options.quick else attack.seconds)
    count = _honest(attack, options)
    with (
        _server(bed, attack, options) as (server, home, first),
        Process("honest.py", server.port, first, count, attack.messages) as honest,
        Process("comer.py", server.port, first + count) as comer,
    ):
        _favour(options, honest.pid, comer.pid)
        honest.hear()
        comer.hear()
        words = (attack.name, server.port, seconds, options.seed, options.quick)
        try:
            with Process("field.py", *words) as attacker:
                os.setpriority(os.PRIO_PROCESS, attacker.pid, _NEXT if options.realtime else _ASIDE)
                attacker.hear()
                server.forget_peak()
                cpu, begun = server.cpu(), time.perf_counter()
                for process in (honest, comer, attacker):
                    process.go_on()
                note = attacker.hear()
                honest.go_on()
                comer.go_on()
                logins = json.loads(comer.hear())
                seen: dict[str, Any] = json.loads(honest.hear())
                taken = time.perf_counter() - begun
                return Outcome(
                    attack.name, seen["messages"]["p50"], seen["messages"]["p99"], seen["messages"]["max"],
                    seen["alive"]["max"], logins["p99"],
                    server.peak_memory(), 100 * (server.cpu() - cpu) / taken, _disk(home), os.getloadavg()[0],
                    seen["delivered"], seen["missing"], seen["wrong"], note,
                )  # fmt: skip
        except (Failure, OSError) as failure:
            raise Failure(f"{failure}{server.complaint()}") from None


def _print_line(title: str, *cells: str, note: str = "") -> None:
    figures = (f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    print(" | ".join((f"{title:<{_TITLE}}", *figures, note)).rstrip(" |"), flush=True)


def _print(attack: Attack, outcome: Outcome) -> None:
    _print_line(
        attack.title, f"{outcome.p50:.1f}", f"{outcome.p99:.1f}", f"{outcome.worst:.1f}", f"{outcome.tick:.1f}",
        f"{outcome.login:.1f}",
        f"{outcome.memory / 2**20:.0f}", f"{outcome.cpu:.0f}", f"{outcome.disk / 1e6:.1f}", f"{outcome.load:.1f}",
        note=f"{outcome.verdict}: {outcome.note}",
    )  # fmt: skip
    if outcome.missing or outcome.wrong:
        print(f"    FAILED: {outcome.missing} replies or messages missing; {'; '.join(outcome.wrong)}", flush=True)


def _attempt(bed: Testbed, attack: Attack, options: argparse.Namespace, usual: dict[str, Outcome]) -> bool:
    """Whether an attack could be measured, and no honest client missed anything."""
    try:
        outcome = _run(bed, attack, options)
    except Failure as failure:
        if options.json:
            print(json.dumps({"name": attack.name, "failure": str(failure)}))
        else:
            print(f"{attack.title}: FAILED: {failure}", flush=True)
        return False
    usual[attack.name] = outcome
    if attack.usual in usual:
        before = usual[attack.usual]
        ratio = f"{outcome.p50 / before.p50:.1f} times the usual latency, {outcome.p99 / before.p99:.1f} at the 99th"
        outcome = replace(outcome, note=f"{ratio}; {outcome.note}")
    if options.json:
        print(json.dumps(asdict(outcome)), flush=True)
    else:
        _print(attack, outcome)
    return not outcome.missing and not outcome.wrong


def _options() -> argparse.Namespace:
    names = [attack.name for attack in ATTACKS]
    parser = argparse.ArgumentParser(description="Attacks the chat server.", epilog=f"Attacks: {', '.join(names)}.")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, default=names, help="these attacks alone")
    parser.add_argument("--seconds", type=float, default=0.0, help="length of each (default: 10 to 30)")
    parser.add_argument("--seed", default="1", help="where the attackers' chance begins")
    parser.add_argument("--tree", type=Path, default=ROOT, help="attack the server that lies there (default: this one)")
    parser.add_argument("--folder", type=Path, help="where the homes lie (default: beside this tree)")
    parser.add_argument("--realtime", action="store_true", help="before all other work on this machine (root)")
    parser.add_argument("--quick", action="store_true", help="a twentieth: shows that it works, measures little")
    parser.add_argument("--json", action="store_true", help="an object a line, for programs")
    options = parser.parse_args()
    if sys.platform != "linux":
        parser.error("the attacks need Linux (/proc, addresses 127.0.0.2 and 127.0.0.3)")
    return options


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # no server is left behind
    begun = time.perf_counter()
    with Testbed(options.folder) as bed:
        if not options.json:
            print(describe(bed.folder), end="\n\n")
            print("Others' messages (50, 99 and 100 of 100), the longest tick, and the server's needs", end="\n\n")
            _print_line("attack", *_HEADS)
        usual: dict[str, Outcome] = {}
        went_well = [_attempt(bed, attack, options, usual) for attack in ATTACKS if attack.name in options.only]
    if not options.json:
        print(f"\n{time.perf_counter() - begun:.0f} seconds")
    return 0 if all(went_well) else 1


if __name__ == "__main__":
    sys.exit(main())
