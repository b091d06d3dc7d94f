"""Stages for the world's tests."""

from __future__ import annotations

import pytest

from tests.core.stage import Stage


@pytest.fixture
def stage() -> Stage:
    """An empty world with the default parameters."""
    return Stage()


@pytest.fixture
def three() -> Stage:
    """alice and bob are online, carol is registered and away; the next LSN is 6."""
    stage = Stage()
    for name in ("Alice", "Bob", "Carol"):
        stage.do("register", user=name, verifier=f"v-{name}")
    for name in ("alice", "bob"):
        stage.do("login", user=name, address="10.0.0.1")
    stage.recorder.take()
    return stage
