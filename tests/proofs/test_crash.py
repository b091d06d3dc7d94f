"""A very short `make crash`: it goes well, and it notices a server that breaks its promise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
ROOT = Path(__file__).resolve().parents[2]


def crash(*words: str, before: str = "") -> tuple[int, str]:
    """Runs it; the exit status, and what it printed. `before`: Python that breaks something first."""
    code = f"{before}\nimport sys\nfrom tests.proofs import crash\nsys.exit(crash.main())"
    run = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, env={**os.environ, "CHAT_SEED": "1"},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return run.returncode, run.stdout


def test_a_few_cycles() -> None:
    status, said = crash("--cycles", "6")
    assert status == 0 and said.startswith("CHAT_SEED=1") and "crash: ok: 6 cycles" in said.splitlines()[-1], said


def test_a_server_that_answers_before_it_is_on_disk_is_found_out() -> None:
    """Batches stay in its memory until there are some of them: what a kill takes was acknowledged."""
    late = """
from chatlib.storage.journal import Journal
write, kept = Journal._write, []
def late(self, data):
    kept.append(data)
    if len(kept) % 40 == 0 or not data.endswith(b"}\\n"):
        write(self, b"".join(kept))
        kept.clear()
Journal._write = late
"""
    status, said = crash("--cycles", "10", before=late)
    assert status == 1 and "crash: FAILED: " in said and "repeat it: CHAT_SEED=1 python3 -m " in said, said
    home = Path(said.partition("its home: ")[2].splitlines()[0])
    assert (home / "data" / "journal.txt").exists(), "what is wrong can be looked at"
    shutil.rmtree(home.parent)
