"""Files in a cluster: brought to one server, fetched from another, gone from all; whatever becomes of one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.server.carriers import SIGN
from tests.server.carrying import DATA, Dial, announce, cut_upload, digest, download, lying, upload
from tests.server.fakevault import FakeVault, said, send, shares
from tests.server.house import Peer
from tests.server.shared_nodes import Town


class Shared(Town):
    """A town whose houses have a vault in common."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "a", "b", "c")
        self.vaults: dict[str, FakeVault] = {}
        for node in self.nodes:
            self.share(node)

    def share(self, node: str) -> None:
        """Again after each start."""
        self.vaults[node] = shares(self.nodes[node], next(iter(self.vaults.values()), None))

    @property
    def kept(self) -> dict[str, bytes]:
        return self.vaults["a"].kept

    def lying(self) -> dict[str, list[str]]:
        """What is on each disk, once all are at rest."""
        self.pass_time(2)
        return {node: [path.suffix or path.name for path in lying(house)] for node, house in self.nodes.items()}

    def crash_and_restart(self, node: str) -> None:
        self.nodes[node].crash()
        self.nodes[node].restart()
        self.share(node)
        self.settle()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Shared]:
    town = Shared(tmp_path)
    yield town
    town.close()


def has_read(peer: Peer, data: bytes = DATA, name: str = "a.bin") -> None:
    reply = peer.ask("received", **{"from": "Columbia", "name": name, "sha256": digest(data)})
    assert reply["status"] == "OK", reply


def names(town: Shared) -> set[str]:
    return {path.name for house in town.running for path in lying(house)}


def test_from_one_server_to_another(town: Shared, dial: Dial) -> None:
    columbia, seas = town["a"].login("Columbia"), town["b"].login("SEAS")
    upload(dial, columbia)
    town.settle()
    assert [event["event"] for event in seas.hear()] == ["file"]
    assert names(town) == set(town.kept) and lying(town["b"]) == lying(town["c"]) == []
    assert download(dial, seas) == DATA and len(lying(town["b"])) == 1
    has_read(seas)
    assert town.lying() == {"a": [], "b": [], "c": []}
    assert [event["event"] for event in columbia.hear()] == ["file_gone"]
    dropped = {node: vault.dropped for node, vault in town.vaults.items()}
    assert dropped == {"a": [], "b": list(town.kept), "c": []}, "one says so to the engine"


def test_in_a_thread_for_everybody(town: Shared, dial: Dial) -> None:
    columbia, seas, google = town["a"].login("Columbia"), town["b"].login("SEAS"), town["c"].login("Google")
    assert columbia.ask("crt", title="plans")["status"] == "OK"
    reply = columbia.ask("upd", title="plans", name="map", size=len(DATA), sha256=digest(DATA))
    pipe = dial(town["a"])
    pipe.ask("upload", reply["ticket"], 0, DATA)
    assert pipe.status() == "OK"
    town.settle()
    for peer in (seas, google, columbia):
        reply = peer.ask("dwn", title="plans", name="map")
        pipe = dial(peer.house)
        pipe.ask("download", reply["ticket"], 0)
        pipe.until(lambda pipe=pipe: pipe.closed)  # type: ignore[misc]
        assert pipe.data.partition(b"\n")[2] == DATA
    assert names(town) == set(town.kept) and len(town.kept) == 1
    assert columbia.ask("rmv", title="plans")["status"] == "OK"
    assert town.lying() == {"a": [], "b": [], "c": []}


def test_begun_at_one_and_brought_to_another(town: Shared, dial: Dial) -> None:
    """An upload goes on only where it began; what is there of it is never taken for the file."""
    columbia = town["a"].login("Columbia")
    cut_upload(dial, columbia, DATA, 200_000)
    columbia.ask("logout", seen=0)
    town.settle()
    columbia, seas = town["b"].login("Columbia"), town["a"].login("SEAS")
    assert announce(columbia)["offset"] == 0
    upload(dial, columbia)
    town.settle()
    assert [path.suffix for path in lying(town["a"])] == [".part"]
    town.crash_and_restart("a")
    assert [path.suffix for path in lying(town["a"])] == [".part"]
    seas = town["a"].login("SEAS")
    assert download(dial, seas) == DATA
    has_read(seas)
    columbia.ask("logout", seen=0)
    town.settle()
    columbia = town["a"].login("Columbia")
    assert announce(columbia)["offset"] == 200_000, "it is of use for the same file once more"
    upload(dial, columbia)
    assert download(dial, seas) == DATA


def test_a_start_knows_what_came_since_its_text_files(town: Shared, dial: Dial) -> None:
    columbia, seas = town["a"].login("Columbia"), town["b"].login("SEAS")
    upload(dial, columbia)
    upload(dial, columbia, b"another", "b.bin")
    pipe = dial(town["a"])
    pipe.ask("upload", announce(columbia, DATA, "c.bin")["ticket"], 0, DATA[:50_000])
    town.settle()
    pipe.hang_up()
    assert download(dial, seas, name="b.bin") == b"another"
    has_read(seas, b"another", "b.bin")
    town["a"].crash()
    town["a"].restart()
    (part,) = [path for path in lying(town["a"]) if path.suffix == ".part"]
    assert part.stat().st_size == 50_000
    town.share("a")
    blobs = set(town.lying()["a"]) - {".part"}
    assert len(blobs) == 1, "the one that waits is here still; the other has gone"
    town.vaults["a"].kept = {}
    seas.ask("logout", seen=0)
    town.settle()
    assert download(dial, town["a"].login("SEAS")) == DATA, "nobody had to be asked"


def test_while_the_servers_cannot_agree(town: Shared, dial: Dial) -> None:
    columbia = town["a"].login("Columbia")
    reply = announce(columbia)
    town.log.answers = False
    pipe = dial(town["a"])
    pipe.ask("upload", reply["ticket"], 0, DATA)
    town.pass_time(4 * SIGN)
    pipe.read()
    assert set(pipe.data) <= set(b" ") and not pipe.closed
    assert columbia.closed, "people are sent away; all bytes are here, so this one is not"
    town.log.answers = True
    town.pass_time(1)
    assert said(pipe)[0] == "OK"
    assert download(dial, town["b"].login("SEAS")) == DATA


def test_a_server_that_was_cut_off(town: Shared, dial: Dial) -> None:
    """Its command is never carried out: what it has stays, and is brought again without being sent."""
    columbia = town["a"].login("Columbia")
    reply = announce(columbia)
    town["a"].seat.parted = True
    pipe = dial(town["a"])
    pipe.ask("upload", reply["ticket"], 0, DATA)
    town.pass_time(12)
    town["a"].seat.parted = False
    town.pass_time(3)
    status, text = said(pipe)
    assert status == "NODE_LOST" and text
    columbia, seas = town["a"].login("Columbia"), town["b"].login("SEAS")
    assert announce(columbia)["offset"] == len(DATA)
    pipe = send(dial, columbia)
    assert said(pipe)[0] == "OK"
    town.settle()
    assert download(dial, seas) == DATA and len(town.kept) == 2, "of one of them no command tells: a sweep finds it"
