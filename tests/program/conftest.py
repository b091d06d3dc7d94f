"""What the whole-program tests share: servers, which are killed at a test's end whatever happened in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program.peer import Program, make_home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with ann, bob and cid."""
    return make_home(tmp_path / "home")


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Program]]:
    """Starts servers on `home` (or another one), and waits until they listen."""
    programs: list[Program] = []

    def start_one(*flags: str, at: Path = home, wait: bool = True, **options: Any) -> Program:
        programs.append(Program(at, *flags, **options))
        return programs[-1].listening() if wait else programs[-1]

    yield start_one
    for program in programs:
        program.kill()
