"""Every attack of the harness, a second of each: honest clients get every reply and message, and memory is bounded.

How late they get them is no matter here, since a machine may be busy; ``make attack`` measures that.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench"
sys.path.append(str(BENCH))

from attacks import ATTACKS  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the attacks need Linux")


LIKE_OTHERS = {"talk", "held-door"}  # but for the numbers


@pytest.mark.parametrize("name", [attack.name for attack in ATTACKS if attack.name not in LIKE_OTHERS])
def test_honest_clients_miss_nothing(name: str) -> None:
    command = [sys.executable, str(BENCH / "attack.py"), "--quick", "--json", "--only", name]
    run = subprocess.run(command, text=True, capture_output=True)
    outcome = json.loads(run.stdout)
    assert (outcome["missing"], outcome["wrong"]) == (0, []), outcome
    assert outcome["delivered"] > 0
    assert outcome["memory"] < 200e6
    assert run.returncode == 0, run.stderr


def test_an_attack_that_cannot_be_measured_says_why(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text("print('no server'); raise SystemExit(3)\n")
    command = [sys.executable, str(BENCH / "attack.py"), "--quick", "--only", "nothing", "--tree", str(tmp_path)]
    run = subprocess.run(command, text=True, capture_output=True)
    assert run.returncode == 1
    assert "no attack: FAILED: the server does not start" in run.stdout
    assert "the server ended with status 3" in run.stdout and "no server" in run.stdout
