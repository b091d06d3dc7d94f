"""What tests with a real engine share: one of a module's own, and logs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.engine import Engine
from tests.cluster.town import Town
from tests.server.carrying import Pipe
from tests.server.conftest import build, dial  # noqa: F401
from tests.server.house import House
from tests.server.lived import live


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine")) as running:
        yield running.wait_ready()


@pytest.fixture
def town(engine: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Town]:
    name = "".join(letter for letter in request.node.name if letter.isalnum())[-30:]
    one = Town(engine, name, tmp_path)
    yield one
    one.link.close()


@pytest.fixture
def lived(build: Callable[..., House], dial: Callable[..., Pipe]) -> Path:  # noqa: F811
    """A single server's home after a crash: some of all that there is, half of it in the journal."""
    house = build()
    live(house, dial)
    house.crash()
    return house.folder
