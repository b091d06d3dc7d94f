"""Loops for the reactor's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reactor.turns import Turns


@pytest.fixture
def turns() -> Iterator[Turns]:
    """A loop that is ticked by hand; at the end there must have been no fault that the test did not take out."""
    turns = Turns()
    yield turns
    turns.loop.close()
    assert turns.faults == []
