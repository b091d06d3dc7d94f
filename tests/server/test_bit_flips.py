"""Any byte of any file in ``data/`` is damaged, or a file is cut short: the start is refused and touches nothing, or it
makes no difference.

A part of the bytes here, and of a file of segments more; `make crash` tries each one (`tests/proofs/damage.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chance import examples, new_chance
from tests.proofs.damage import DAMAGED, ERASED, FILES, LATER, Trial, forgotten, live, small_files
from tests.server.house import House

STEP = 23  # bytes


@pytest.fixture
def home(build: Callable[..., House]) -> Iterator[Path]:
    """A home with something in every file, in the text files and in the journal, that was killed."""
    with small_files():
        house = build(users=("Ann", "Bob", "Cyd", "Dan"))
        live(house)
        yield house.folder


def test_no_file_is_forgotten(home: Path) -> None:
    assert not forgotten(home)
    assert len(list((home / "data").glob(LATER))) > 1


@pytest.mark.parametrize("name", FILES)
def test_damage_is_refused_or_makes_no_difference(home: Path, name: str) -> None:
    """Each byte with CHAT_EXAMPLES=1000 or more."""
    step = 1 if examples() >= 1_000 else 5 if name == LATER else STEP
    trial = Trial(home, new_chance(name))
    mail = trial.wanted["mail"]
    assert len(mail["bob"]) == 8 and DAMAGED not in mail["bob"] and not trial.wanted["said"]
    assert len(mail["sent by ann"]) == 7 and mail["sent by ann"].count(ERASED) == 1
    trial.flips(name, step)
    trial.cuts(name, step)
    assert bool(trial.chunks_lost) == (name == LATER) and trial.outcomes
    trial.close()
