"""Every command that comes over the wire is somebody's: a handler's, an answer's, or the edge's."""

from __future__ import annotations

from chatlib.core.features import ANSWERS, DOWNLOADS, UPLOADS
from chatlib.protocol.commands import TABLE, Runs
from tests.server.house import House


def test_every_row_that_reads_has_an_answer(house: House) -> None:
    edge = house.server.requests._edge.keys() | UPLOADS.keys() | DOWNLOADS.keys()
    reading = {row.name for row in TABLE.rows if row.on_the_wire and row.runs is Runs.READS}
    assert reading <= ANSWERS.keys() | edge
    assert edge <= reading | {"register"}, "the edge answers nothing else, but that it knows where questions come from"


def test_every_row_that_carries_bytes_opens_a_transfer(house: House) -> None:
    carrying = [row.name for row in TABLE.rows if row.runs is Runs.CARRIES]
    assert carrying == ["upload", "download"]
    for name in carrying:
        peer = house.connect()
        assert peer.ask(name, ticket="unknown", offset=0)["status"] == "BAD_TICKET"
