"""A toy feature: a board for notes, each with a picture. It touches no other file, and runs in the real house."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.core import features
from chatlib.core.effects import ADOPT, FAN_OUT, UNLINK
from chatlib.core.feature import Command, DownloadGrant, Feature, FlatFile, Pools, Request, UploadGrant
from chatlib.core.replies import Reply, page_of_names, refusal
from chatlib.core.world import Account, World
from chatlib.protocol import kinds
from chatlib.protocol.commands import TABLE
from chatlib.protocol.commands.table import AFTER, Field, Row, Runs
from chatlib.protocol.framing import encode
from tests.server.carrying import DATA, Pipe, digest, lying
from tests.server.house import House

NAME = Field("name", kinds.NAME)
ROWS = (
    Row("pin", "put a note on the board", (NAME, Field("text", kinds.TEXT)), runs=Runs.CHANGES),
    Row("pins", "what is on the board", (AFTER,)),
    Row("paint", "a picture for a note", (NAME, Field("size", kinds.COUNT), Field("sha256", kinds.SHA256))),
    Row("look", "the picture of a note", (NAME,)),
)
MISSING = refusal("NO_SUCH_NOTE", "There is no such note, or no picture.")


def pin(world: World, lsn: int, command: Command) -> Reply:
    board, account = world.state["board"], world.accounts[command["by"]]
    if command["name"] in board:
        return refusal("PIN_EXISTS", f'There is a note "{command["name"]}" already.')
    board[command["name"]] = {"from": account.name, "text": command["text"], "picture": None}
    event = {"event": "pin", "time": world.at, "from": account.name, "name": command["name"]}
    world.effects.append((FAN_OUT, encode(event), account.blocked_by or ()))
    return {"status": "OK", "seq": lsn}


def pins(world: World, _user: str, request: Request, _now: float) -> Reply:
    board, after = world.state["board"], request.get("after", "")
    return page_of_names((name for name in sorted(board) if name > after), lambda name: [name, board[name]["text"]])


def paint(world: World, user: str, request: Request, _coming: Pools) -> UploadGrant | Reply:
    name, size, sha256 = request["name"], request["size"], request["sha256"]
    if name not in world.state["board"]:
        return MISSING
    command = {"action": "painted", "user": user, "name": name, "size": size, "sha256": sha256}
    return UploadGrant((user, "board", name, str(size), sha256), "board", name, size, sha256, command, tells="")


def painted(world: World, lsn: int, command: Command) -> Reply:
    world.state["board"][command["name"]]["picture"] = [command["blob"], command["size"], command["sha256"]]
    world.effects.append((ADOPT, command["blob"], None))
    return {"status": "OK", "seq": lsn}


def look(world: World, _user: str, request: Request, _coming: Pools) -> DownloadGrant | Reply:
    note = world.state["board"].get(request["name"])
    return DownloadGrant(*note["picture"]) if note and note["picture"] else MISSING


def blobs(world: World) -> list[str]:
    return [note["picture"][0] for note in world.state["board"].values() if note["picture"]]


def forget(world: World, account: Account) -> None:
    for name, note in [(name, note) for name, note in world.state["board"].items() if note["from"] == account.name]:
        del world.state["board"][name]
        world.effects += [(UNLINK, blob, None) for blob in (note["picture"] or [])[:1]]


FILE = FlatFile("a note", lambda world: (json.dumps(note) for note in world.state["board"].items()),
                lambda world, line: world.state["board"].update([json.loads(line)]))  # fmt: skip
BOARD = Feature("board", {"pin": pin, "painted": painted}, {"pins": pins}, {"paint": paint}, {"look": look},
                {"board.txt": FILE}, blobs, forget=forget, state=dict)  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    TABLE.add(ROWS)
    features.add(BOARD)
    house = House(tmp_path)
    yield house
    house.close()
    features.remove(BOARD)
    TABLE.remove(ROWS)


def test_a_toy_feature_lives_in_the_house(house: House) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    first = columbia.ask("pin", name="rules", text="be kind", key="k")
    assert first["status"] == "OK" and columbia.ask("pin", name="rules", text="be kind", key="k") == first
    assert seas.ask("pin", name="rules", text="be rude")["status"] == "PIN_EXISTS"
    assert [(e["from"], e["name"]) for e in seas.events if e["event"] == "pin"] == [("Columbia", "rules")]
    assert seas.ask("pin", name="no blanks")["text"].startswith('Field "name" must be a user\'s name: ')
    assert seas.ask("look", name="rules")["status"] == seas.ask("look", name="no")["status"] == "NO_SUCH_NOTE"
    up, ticket = Pipe(house), columbia.ask("paint", name="rules", size=len(DATA), sha256=digest(DATA))
    up.ask("upload", ticket["ticket"], ticket["offset"], DATA)
    assert up.status() == "OK" and len(there := lying(house)) == 1
    for stop in (house.crash, house.stop, house.crash):  # what is left: the journal, the text files, both
        stop()
        there[0].with_name("cd" * 24 + ".00000001").write_bytes(b"nobody's")
        house.restart()
        house.settle()
        assert lying(house) == there, "what nobody owns goes, what the board owns stays"
        seas = house.login("SEAS")
        assert seas.ask("pins")["items"] == [["rules", "be kind"]]
    down = Pipe(house)
    down.ask("download", seas.ask("look", name="rules")["ticket"])
    down.until(lambda: down.closed and down.data.partition(b"\n")[2] == DATA)
    assert house.greet().prove("deregister", "Columbia")["status"] == "OK"
    house.settle()
    assert lying(house) == [] and house.server.world.state["board"] == {} and seas.ask("pins")["items"] == []
