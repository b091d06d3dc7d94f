"""What the tests of the server's edge share: houses, which are put away whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.carrying import HOST, Pipe
from tests.server.house import House, Peer
from tests.server.transcript import Transcript


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """Builds houses on homes of their own, with the parameters given."""
    houses: list[House] = []

    def build_one(**parameters: object) -> House:
        folder = tmp_path / f"home{len(houses)}"
        folder.mkdir()
        users = parameters.pop("users", None)
        houses.append(House(folder, **({"users": users} if users is not None else {}), **parameters))  # type: ignore[arg-type]
        return houses[-1]

    yield build_one
    for house in houses:
        house.close()


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    """A house with four users and nobody online."""
    return build()


@pytest.fixture
def talk(house: House) -> Callable[..., None]:
    """Holds a conversation in `house`: a script, and who takes part in it under which name."""

    def hold(script: str, **peers: Peer) -> None:
        Transcript(house, **peers).run(script)

    return hold


@pytest.fixture
def dial(build: Callable[..., House]) -> Iterator[Callable[..., Pipe]]:
    """Makes connections, which are closed on both sides at the test's end."""
    pipes: list[Pipe] = []

    def dial_one(house: House, address: str = HOST) -> Pipe:
        pipes.append(Pipe(house, address))
        return pipes[-1]

    yield dial_one
    for pipe in pipes:
        pipe.close()
