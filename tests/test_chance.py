"""Chance in tests: the same from run to run, another one when somebody asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chance import examples, new_chance

LOOK = """
from tests import chance
chance.load_profile()
from hypothesis import settings
print(chance.new_chance("x").random(), chance.examples(15), settings().derandomize, settings().max_examples)
"""


def look(**environment: str) -> list[str]:
    """What a run with this environment would begin with: the seed, a number, and how properties are tried."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
    run = subprocess.run([sys.executable, "-c", LOOK], cwd=Path(__file__).parent.parent, text=True,
                         capture_output=True, env={**clean, **environment})  # fmt: skip
    return (run.stdout + run.stderr).split()


def test_each_run_begins_alike() -> None:
    assert look() == look() == look(CHAT_SEED="", CHAT_EXAMPLES="")
    assert look()[0] == "CHAT_SEED=1" and look()[2:] == ["15", "True", "60"]


def test_a_seed_that_is_given() -> None:
    seven = look(CHAT_SEED="7", CHAT_EXAMPLES="500")
    assert seven == look(CHAT_SEED="7", CHAT_EXAMPLES="500")
    assert seven[0] == "CHAT_SEED=7" and seven[2:] == ["500", "False", "500"]
    assert seven[1] != look()[1]


def test_a_random_seed_is_said_and_gives_the_same_again() -> None:
    said, number, *_ = look(CHAT_SEED="random")
    assert look(CHAT_SEED=said.removeprefix("CHAT_SEED="))[1] == number


@pytest.mark.parametrize("name", ["CHAT_SEED", "CHAT_EXAMPLES"])
def test_a_word_that_is_none(name: str) -> None:
    assert " ".join(look(**{name: "many"})).startswith(f"{name} must be a whole number")


def test_cases_of_one_test_differ() -> None:
    assert new_chance(1).random() == new_chance(1).random() != new_chance(2).random()
    assert examples() > 0
