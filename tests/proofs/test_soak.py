"""A very short `make soak`, what its figures are made of, and its chart."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.proofs.chart import nice_step
from tests.proofs.soak import LEAK, Second, Soak, slope

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_few_people_for_a_few_seconds(tmp_path: Path) -> None:
    chart = tmp_path / "soak.svg"
    words = [sys.executable, "-m", "tests.proofs.soak", "--seconds", "4", "--people", "20", "--chart", str(chart)]
    run = subprocess.run(words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert run.returncode == 0 and "soak: ok: 20 people, 4 s, " in run.stdout.splitlines()[-1], run.stdout
    texts = [node.text for node in ElementTree.parse(chart).iter() if node.tag.endswith("text")]
    assert texts[0] == "20 people for 4 seconds" and "Descriptors of the server" in texts


def seen(leak: int) -> Soak:
    """A minute in which 30 payments a second are kept, so many bytes are lost, and every tenth second has a spike."""
    soak = Soak(60, 200)
    for number in range(60):
        memory = 30_000_000 + number * (30 * 270 + leak) + (5_000_000 if number % 10 == 5 else 0)
        soak.seen.append(Second(memory, 200, 180, 1.0, 2.0, 100, Counter(pay=30)))
    return soak


def test_a_leak_is_told_from_what_is_kept_on_purpose() -> None:
    plain, leak = seen(0).growth
    assert round(plain) == 8_100 and round(leak) == 0 and not seen(0).broken()
    assert "memory grows by 25 KB a second" in seen(LEAK + 5_000).broken()[0]


def test_descriptors_that_stay_and_what_went_wrong_are_said() -> None:
    soak = seen(0)
    soak.before, soak.after, soak.wrong = Second(0, 15), Second(0, 17), ["a message: BLOCKED"]
    assert soak.broken() == ["2 descriptors more than before", "a message: BLOCKED"]


def test_a_slope_is_not_moved_by_spikes() -> None:
    assert slope([0.0, 2.0, 4.0, 1_000.0, 8.0, 10.0, -500.0, 14.0]) == 2.0


def test_steps_are_round() -> None:
    assert [nice_step(span, 4) for span in (0.3, 7, 8, 90, 1_500)] == [0.1, 2.0, 2.0, 50.0, 500.0]
