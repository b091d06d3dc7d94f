"""Runs schedules, one after the other, and says which one failed and how to see it again."""

from __future__ import annotations

import argparse
import gc
import time
import traceback
from contextlib import AbstractContextManager

from tests.chance import SEED
from tests.proofs.sim import house
from tests.proofs.sim.calls import Calls, installed
from tests.proofs.sim.machine import Wrong
from tests.proofs.sim.mutants import MUTANTS, mutated
from tests.proofs.sim.net import Network
from tests.proofs.sim.schedule import Schedule

_TIME, _CPU = time.perf_counter, time.process_time
USUAL = 60.0  # seconds, when nobody says how many schedules


class Runner:
    """Schedules of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.calls = Calls()
        self._schedule: Schedule | None = None
        self.wrong: BaseException | None = None

    def _network(self) -> Network:
        assert self._schedule is not None
        return self._schedule.network

    def installed(self) -> AbstractContextManager[None]:
        """While this lasts, everything of chatlib runs on the simulated machine."""
        return installed(self.calls, house.replacements(self.calls, self._network))

    def one(self, number: int, tracing: bool = False) -> Schedule:
        """The schedule of that number; what was wrong with it is in `wrong`. Legal while the calls are installed."""
        self.wrong = None
        self._schedule = schedule = Schedule(self.calls, f"{self.seed}/{number}", tracing)
        try:
            schedule.run()
        except (Exception, Wrong) as wrong:
            self.wrong = wrong
        finally:
            schedule.close()
        if number % 50 == 0:
            gc.collect()
        return schedule


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--schedules", type=int, default=0, help=f"how many; 0: for {USUAL:.0f} seconds")
    parser.add_argument("--mutant", default="", choices=["", *MUTANTS], help="with this wrong: it must be found")
    parser.add_argument("--only", type=int, default=-1, help="this one, with a trace of its steps")
    options = parser.parse_args(words)
    print(f"SEED={options.seed}", flush=True)
    runner = Runner(options.seed)
    with mutated(options.mutant), runner.installed():
        if options.only >= 0:
            return _show(runner, options.only)
        threshold = gc.get_threshold()
        gc.freeze()  # the modules stay; what schedules leave is looked for between them
        gc.set_threshold(100_000, 10, 10)
        try:
            return _many(runner, options.schedules, options.mutant)
        finally:
            gc.set_threshold(*threshold)
            gc.unfreeze()


def again(seed: int, number: int, mutant: str = "") -> str:
    """The command that repeats exactly this schedule, with a trace of its steps."""
    return f"python3 -m tests.proofs.sim --seed {seed} --only {number}" + (f' --mutant "{mutant}"' if mutant else "")


def _show(runner: Runner, number: int) -> int:
    schedule = runner.one(number, tracing=True)
    print("\n".join(schedule.machine.trace))
    print(f"digest {schedule.machine.digest}")
    if runner.wrong is not None:
        traceback.print_exception(runner.wrong)
        return 1
    print("All that must hold did hold.")
    return 0


def _many(runner: Runner, wanted: int, mutant: str) -> int:
    begun, cpu, done, steps = _TIME(), _CPU(), 0, 0
    while done < wanted if wanted else _TIME() - begun < USUAL:
        schedule = runner.one(done)
        steps += schedule.machine.steps
        if runner.wrong is not None:
            traceback.print_exception(runner.wrong)
            print(f"Schedule {done} of SEED={runner.seed} fails: {runner.wrong}")
            print(f"To see it again: {again(runner.seed, done, mutant)}")
            return 1
        done += 1
    seconds, work = _TIME() - begun, _CPU() - cpu
    print(f"{done:,} schedules with {steps:,} steps in {seconds:.1f} s: {done / seconds * 60:,.0f} a minute "
          f"({done / work * 60:,.0f} a minute of one core). All that must hold did hold.")  # fmt: skip
    return 0
