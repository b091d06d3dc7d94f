"""A toy feature: a board for notes, each with a picture. It touches no other file, and runs in the real house."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.core import features
from chatlib.core.effects import ADOPT, FAN_OUT, UNLINK
from chatlib.core.feature import Command, Feature, FlatFile, Request
from chatlib.core.replies import Reply, page_of_names, refusal
from chatlib.core.world import Account, World
from chatlib.protocol import kinds
from chatlib.protocol.commands import TABLE
from chatlib.protocol.commands.table import AFTER, Field, Row, Runs
from chatlib.protocol.framing import encode
from tests.server.house import House

ROWS = (
    Row("pin", "put a note on the board", (Field("name", kinds.NAME), Field("text", kinds.TEXT)), runs=Runs.CHANGES),
    Row("pins", "what is on the board", (AFTER,)),
)
KEY = "ab" * 24


def pin(world: World, lsn: int, command: Command) -> Reply:
    board, account = world.state["board"], world.accounts[command["by"]]
    if command["name"] in board:
        return refusal("PIN_EXISTS", f'There is a note "{command["name"]}" already.')
    board[command["name"]] = {"from": account.name, "text": command["text"], "blob": ""}
    event = {"event": "pin", "time": world.at, "from": account.name, "name": command["name"]}
    world.effects.append((FAN_OUT, encode(event), account.blocked_by or ()))
    return {"status": "OK", "seq": lsn}


def picture(world: World, _lsn: int, command: Command) -> Reply:
    """The edge says that the bytes of a picture are here."""
    world.state["board"][command["name"]]["blob"] = command["blob"]
    world.effects.append((ADOPT, command["blob"], None))
    return {"status": "OK"}


def pins(world: World, _user: str, request: Request, _now: float) -> Reply:
    board, after = world.state["board"], request.get("after", "")
    names = (name for name in sorted(board) if name > after)
    return page_of_names(names, lambda name: {"name": name, "from": board[name]["from"], "text": board[name]["text"]})


def dump(world: World) -> Iterator[str]:
    return (json.dumps([name, note]) for name, note in world.state["board"].items())


def load(world: World, line: str) -> None:
    name, note = json.loads(line)
    world.state["board"][name] = note


def forget(world: World, account: Account) -> None:
    for name, note in list(world.state["board"].items()):
        if note["from"] == account.name:
            del world.state["board"][name]
            if note["blob"]:
                world.effects.append((UNLINK, note["blob"], None))


BOARD = Feature(
    "board", {"pin": pin, "picture": picture}, {"pins": pins}, files={"board.txt": FlatFile("a note", dump, load)},
    blobs=lambda world: [note["blob"] for note in world.state["board"].values() if note["blob"]], forget=forget,
    state=dict,
)  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    TABLE.add(ROWS)
    features.add(BOARD)
    house = House(tmp_path)
    yield house
    house.close()
    features.remove(BOARD)
    TABLE.remove(ROWS)


def bytes_of(house: House) -> list[str]:
    house.settle()
    return sorted(path.name for path in (house.folder / "data" / "files").iterdir())


def test_a_toy_feature_lives_in_the_house(house: House) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    first: dict[str, Any] = columbia.ask("pin", name="rules", text="be kind", key="k")
    assert first["status"] == "OK" and columbia.ask("pin", name="rules", text="be kind", key="k") == first
    assert seas.ask("pin", name="rules", text="be rude")["status"] == "PIN_EXISTS"
    assert [(e["from"], e["name"]) for e in seas.events if e["event"] == "pin"] == [("Columbia", "rules")]
    assert seas.ask("pin", name="no blanks")["text"].startswith('Field "name" must be a user\'s name: ')
    assert seas.ask("pins")["items"] == [{"name": "rules", "from": "Columbia", "text": "be kind"}]

    (house.folder / "data" / "files" / f"{KEY}.part").write_bytes(b"a picture")
    house.server.submit({"action": "picture", "at": 1.0, "name": "rules", "blob": f"{KEY}.00000001"})
    assert bytes_of(house) == [f"{KEY}.00000001"]
    for stop in (house.crash, house.stop, house.crash):  # from the journal, from the text files, from both
        stop()
        (house.folder / "data" / "files" / f"{'cd' * 24}.00000001").write_bytes(b"nobody's")
        house.restart()
        house.settle()
        assert bytes_of(house) == [f"{KEY}.00000001"], "what nobody owns goes, what the board owns stays"
        assert len(house.login("SEAS").ask("pins")["items"]) == 1

    assert house.greet().prove("deregister", "Columbia")["status"] == "OK"
    assert bytes_of(house) == [] and house.server.world.state["board"] == {}
