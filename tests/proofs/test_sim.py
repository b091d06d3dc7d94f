"""The simulation (``make sim``): a few of its schedules, that a seed is one story, and that it finds what is wrong."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chance import SEED, examples
from tests.proofs.sim import runner
from tests.proofs.sim.mutants import MUTANTS, mutated
from tests.proofs.sim.runner import Runner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="simulates Linux")

ROOT = Path(__file__).parent.parent.parent
SEEDED = 25  # schedules of the short run
WITHIN = 200  # schedules each is found; most in the first ten
# Some need a rare coincidence: ``python3 -m tests.proofs.sim --mutant NAME`` finds them in a minute.
RARE = {"never syncs the name of a segment", "trusts what a failed sync left", "gives a number twice",
        "syncs files and not their names"}  # fmt: skip


@pytest.fixture
def run() -> Iterator[Runner]:
    """A runner whose calls are in their places."""
    one = Runner(SEED)
    with one.installed():
        yield one


def test_whatever_happens_nothing_is_lost_or_done_twice(run: Runner) -> None:
    for number in range(examples(SEEDED)):
        run.one(number)
        assert run.wrong is None, runner.again(SEED, number)


def test_a_seed_is_one_story_whatever_the_order_of_sets() -> None:
    def told(hash_seed: str) -> str:
        words = [sys.executable, "-m", "tests.proofs.sim", "--seed", "11", "--only", "4"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return subprocess.run(words, cwd=ROOT, env=environment, text=True, capture_output=True, check=True).stdout

    story = told("1")
    assert story.count("\n") > 300 and "digest" in story
    assert told("2") == story


def test_a_schedule_is_the_same_alone_as_behind_others(run: Runner) -> None:
    """Whatever is left in memory, and whenever the garbage is searched for."""
    digests = [run.one(number).machine.digest for number in range(4)]
    before = gc.get_threshold()
    gc.set_threshold(100)
    try:
        assert [run.one(number).machine.digest for number in (3, 2, 1, 0)] == digests[::-1]
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in RARE])
def test_what_is_wrong_is_found(name: str) -> None:
    one = Runner(1)
    with mutated(name), one.installed():
        for number in range(WITHIN):
            one.one(number)
            if one.wrong is not None:
                return
    raise AssertionError(f"nobody notices a server that {name}")


def test_a_failure_says_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--seed", "1", "--mutant", "client asks only once"]
    assert runner.main([*words, "--schedules", "200"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("SEED=1\n")
    number = said.split("Schedule ")[1].split()[0]
    assert f'python3 -m tests.proofs.sim --seed 1 --only {number} --mutant "client asks only once"' in said
    assert runner.main([*words, "--only", number]) == 1
    trace = capsys.readouterr().out
    assert "server write data/journal.txt" in trace and "is online" in trace


def test_it_says_how_many_schedules_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["--seed", "2", "--schedules", "3"]) == 0
    assert "3 schedules with" in (said := capsys.readouterr().out) and "a minute" in said
