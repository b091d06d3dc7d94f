"""Stages for the world's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatlib.core import mailboxes, streams
from tests.core.stage import Stage


@pytest.fixture(scope="module")
def small_streams() -> Iterator[None]:
    """Chunks of two positions, and accounts looked through two at a time: a short story has many of both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "CHUNK", 2)
        patch.setattr(streams, "TAIL", 4)
        patch.setattr(streams, "CHUNKS_AT_ONCE", 3)
        patch.setattr(mailboxes, "AT_ONCE", 2)
        yield


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
