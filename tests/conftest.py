"""What all tests share: how random tests run.

Random tests (hypothesis) print what reproduces a failure; none has a time limit, since a busy machine would miss it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "chatlib",
    deadline=None,
    print_blob=True,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("chatlib")

Python = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def python() -> Python:
    """Runs a piece of Python in a process of its own, where limits and signals harm nobody else."""

    def run(code: str, *words: object, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(command, cwd=Path(__file__).parent.parent, text=True, capture_output=True, stdin=stdin)

    return run
