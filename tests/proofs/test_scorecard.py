"""The page of `make scorecard`: what proofs note and say becomes lines, also when they fail, hang or say nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.proofs.scorecard import ATTACKS, ROWS, Proof, attacks, filled, page, proofs, rows, run, there
from tests.proofs.scores import Score

ROOT = Path(__file__).resolve().parents[2]


def proof(code: str) -> Proof:
    return Proof("sim", [sys.executable, "-c", code], "make sim")


def scores(code: str, patience: float = 60.0) -> list[Score]:
    return [score for score, typed in run(proof(code), patience)]


def test_what_a_proof_notes() -> None:
    found = scores("from tests.proofs.scores import note; note('kills', '68', 'none lost'); print('more')")
    assert found == [Score("kills", "68", "none lost", "ok")]


def test_what_a_proof_says_that_notes_nothing() -> None:
    assert scores("print('SEED=1'); print('sim: ok: 900 schedules')")[0].figure == "900 schedules"


@pytest.mark.parametrize(
    ("code", "figure"),
    [
        ("print('repeat it: make sim'); print('a promise is broken'); print('make: *** 1'); raise SystemExit(1)",
         "repeat it: make sim / a promise is broken"),
        ("", "it said nothing"),
        ("import time; time.sleep(600)", "it was not over after 1 s"),
    ],
)  # fmt: skip
def test_a_proof_that_fails_has_a_line_that_says_so(code: str, figure: str) -> None:
    (found,) = scores(code, 1.0 if "sleep" in code else 60.0)
    assert (found.what, found.figure, found.verdict) == ("sim", figure, "FAILED")


def test_a_program_that_is_not_there() -> None:
    ((found, _),) = run(Proof("fuzz", ["/nowhere/python"], "make fuzz"))
    assert found.verdict == "FAILED" and "No such file" in found.figure


def test_figures_of_the_bench_and_of_attacks() -> None:
    (found,) = rows("", 'x\n{"row": "logins", "work": "logins", "reached": "3,100", "aim": "3,000", "verdict": "ok"}\n')
    assert found == Score("bench: logins", "3,100", "3,000", "ok", "make bench ROWS=logins")
    seen = '{"name": "crowd", "p99": 25.0, "memory": 90000000, "missing": 0, "wrong": []}'
    (late,) = attacks("", seen)
    assert late.verdict == "missed" and late.figure == "others' messages p99 25.0 ms; memory 90 MB"
    (slow,) = attacks("", seen.replace("25.0,", '2.0, "login": 60.0,'))
    assert slow.verdict == "missed" and (slow.figure, slow.aim) == (
        "others' messages p99 2.0 ms, logins 60.0 ms; memory 90 MB", "< 20 ms, < 50 ms; < 200 MB"
    )  # fmt: skip
    assert attacks("", seen.replace('"missing": 0', '"missing": 2'))[0].verdict == "FAILED"
    (failed,) = attacks("", '{"name": "crowd", "failure": "it ended"}')
    assert failed == Score("attack: crowd", "it ended", "", "FAILED", "make attack ROWS=crowd")


def test_readme_has_a_place_for_the_page() -> None:
    text = page([(Score("a|b", "1", "2"), "make sim")], 90.0, "a machine")
    assert "| a\\|b | 1 | 2 | ok | `make sim` |" in text and "a machine; 1.5 minutes" in text
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- scorecard -->\n{text}\n<!-- end -->" in filled(readme, text)
    assert filled(filled(readme, "other"), text) == filled(readme, text)
    with pytest.raises(ValueError, match="no part"):
        filled("nothing", text)


def test_the_rows_exist() -> None:
    text = (ROOT / "tests" / "bench" / "rows.py").read_text(encoding="utf-8")
    assert [name for name in ROWS if f'"{name}"' not in text] == []
    assert len(there("attacks.py", ATTACKS)) >= 4


def test_every_proof_is_a_target_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(f"^{one.name}:.* ## ", makefile, re.MULTILINE) for one in proofs("python3"))
