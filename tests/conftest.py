"""What all tests share: how random tests run (chance.py), where they write (places.py), signals, and Python apart."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import chance, places

chance.load_profile()
places.choose()
# Programs inherit from whoever runs the tests which signals are ignored: nohup would have them outlive their windows.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

Python = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Above the summary: whoever wants to see a run again knows how."""
    terminalreporter.write_line(f"CHAT_SEED={chance.SEED}")


@pytest.fixture(autouse=True)
def _nothing_piles_up() -> Iterator[None]:
    """A server that starts in this process sets aside all that lives; what many leave makes each fork dearer."""
    yield
    if gc.get_freeze_count() > 1_000_000:
        gc.unfreeze()
        gc.collect()


@pytest.fixture
def python() -> Python:
    """Runs a piece of Python in a process of its own, where limits and signals harm nobody else."""

    def run(code: str, *words: object, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *map(str, words)]
        return subprocess.run(command, cwd=Path(__file__).parent.parent, text=True, capture_output=True, stdin=stdin)

    return run
