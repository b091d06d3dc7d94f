"""Fuzzes the server and the client: ``python -m tests.proofs.fuzz [--seed N] [--seconds N]`` (``make fuzz``).

A round is a home, a server and some hundred steps; what a step does, its number and the seed decide. A failure is tried
again with fewer and fewer steps, and the command that repeats it is printed. Exit status 1 on a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import chance as seeds
from tests.patience import LIMIT
from tests.proofs import fuzz_client, fuzz_steps
from tests.proofs.fuzz_scene import Scene
from tests.proofs.fuzz_talker import Illegal

STEPS = 300  # in a round
SHRINKING = 60.0  # seconds at most
GROWTH = 64 << 20  # bytes that rounds may add when the first few are over
WARM = 4  # rounds


class Totals:
    """What was done."""

    rounds = steps = lines = heard = compared = client = 0

    def told(self, seconds: float) -> str:
        return (
            f"fuzz: {self.rounds} rounds, {self.steps:,} steps, {self.lines:,} lines said to servers and {self.heard:,}"
            f" heard, {self.compared} homes replayed and equal, {self.client:,} lines said to clients;"
            f" {(self.lines + self.client) / seconds:,.0f} lines a second, {memory() >> 20} MiB, {seconds:.0f} s"
        )


def _stands_still(*_: object) -> None:
    raise Illegal("it does not come to an end")


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Whatever takes so long stands still."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _stands_still)
    signal.setitimer(signal.ITIMER_REAL, 3 * LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def play(folder: Path, seed: int, number: int, steps: Sequence[int], totals: Totals) -> None:
    """One round. Raises whatever shows that something is wrong."""
    scene = Scene(folder, seeds.random.Random(f"{seed} {number}"))
    try:
        for step in steps:
            fuzz_steps.take(scene, f"{seed} {number} {step}")
        scene.end()
    except Illegal as wrong:
        raise Illegal(f"{wrong}{scene.traceback()}") from wrong
    finally:
        scene.close()
    totals.rounds += 1
    totals.steps += scene.steps
    totals.lines += scene.lines
    totals.heard += scene.heard
    totals.compared += scene.compared


def fails(folder: Path, seed: int, number: int, steps: Sequence[int]) -> str:
    """How the round fails with these steps; "": it does not."""
    try:
        with watched():
            play(folder, seed, number, steps, Totals())
    except Exception as failure:
        return "".join(traceback.format_exception(failure, chain=False))
    return ""


def kind(failure: str) -> str:
    """What two failures with the same cause have in common."""
    return re.sub("[^A-Za-z]+", " ", failure.split("Illegal: ")[-1].splitlines()[0])[:70]


def shrunk(folder: Path, seed: int, number: int, steps: list[int], failure: str) -> tuple[list[int], str]:
    """Fewer steps that fail in the same way: pieces are left out, half of them, a quarter, and so on."""
    last = kind(failure)
    until, size = time.monotonic() + SHRINKING, len(steps) // 2
    while size and time.monotonic() < until:
        at = 0
        while at < len(steps) and time.monotonic() < until:
            fewer = steps[:at] + steps[at + size :]
            found = fails(folder, seed, number, fewer)
            if found and kind(found) == last:
                steps, failure = fewer, found
            else:
                at += size
        size //= 2
    return steps, failure


def memory() -> int:
    """Bytes that this process has in memory; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


@contextlib.contextmanager
def a_folder() -> Iterator[Path]:
    """For homes; in memory where there is a file system in memory."""
    memory = Path("/dev/shm")
    where = tempfile.mkdtemp(prefix="chat_fuzz.", dir=memory if os.access(memory, os.W_OK) else None)
    try:
        with contextlib.chdir(where):  # a backup may get any name
            yield Path(where)
    finally:
        shutil.rmtree(where, ignore_errors=True)


def report(seed: int, number: int, steps: list[int], failure: str) -> None:
    print(failure)
    print(f"Round {number} fails with {len(steps)} steps. Again:")
    which = "" if len(steps) == STEPS else f" --steps {','.join(map(str, steps)) or '-'}"
    print(f"  python3 -m tests.proofs.fuzz --seed {seed} --round {number}{which}")


def rounds(options: argparse.Namespace, totals: Totals) -> int:
    """Rounds until the time is over; the exit status."""
    until, number, first = time.monotonic() + options.seconds, 0, 0
    while time.monotonic() < until:
        steps = list(range(STEPS))
        with a_folder() as folder:
            home = folder / "home"
            try:
                with watched():
                    play(home, options.seed, number, steps, totals)
                    fuzz_client.play(folder, options.seed, number, totals)
            except fuzz_client.Failed as failed:
                print(failed)
                print(f"Again:\n  python3 -m tests.proofs.fuzz --seed {options.seed} --client {number}")
                return 1
            except Exception as failure:
                text = "".join(traceback.format_exception(failure, chain=False))
                print(f"{text}Trying it with fewer steps ...", flush=True)
                report(options.seed, number, *shrunk(home, options.seed, number, steps, text))
                return 1
        number += 1
        if number == WARM:
            first = memory()
        elif number > WARM and memory() > first + GROWTH:
            print(f"Memory grows: {first >> 20} MiB behind {WARM} rounds, {memory() >> 20} MiB behind {number}. Again:")
            print(f"  python3 -m tests.proofs.fuzz --seed {options.seed} --seconds {options.seconds:g}")
            return 1
    return 0


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzzes the server and the client.")
    parser.add_argument("--seed", type=int, default=seeds.SEED)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--round", type=int, help="this round of the server alone")
    parser.add_argument("--steps", default="", help="with these steps of it alone: 3,14,15")
    parser.add_argument("--client", type=int, help="this round of the client alone")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    options = arguments(words)
    print(f"CHAT_SEED={options.seed}", flush=True)
    totals, begun = Totals(), time.monotonic()
    if options.client is not None:
        with a_folder() as folder:
            fuzz_client.play(folder, options.seed, options.client, totals)
        print("It holds.")
        return 0
    if options.round is not None:
        steps = (
            [int(word) for word in options.steps.strip("-").split(",") if word] if options.steps else list(range(STEPS))
        )
        with a_folder() as folder:
            failure = fails(folder / "home", options.seed, options.round, steps)
        print(failure or "It holds.")
        return 1 if failure else 0
    status = rounds(options, totals)
    print(totals.told(time.monotonic() - begun))
    return status


if __name__ == "__main__":
    sys.exit(main())
