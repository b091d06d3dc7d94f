"""Downloads and uploads against a server that lies, waits or fails: a fake one on the same loop."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.client import localfiles
from chatlib.client.addresses import ServerAddress
from chatlib.client.filelinks import SendLink
from chatlib.client.localfiles import DownloadPart
from chatlib.client.transfers import Stage
from tests.client.rig import LyingServer, Rig

BYTES = b"what was sent" * 1_000
DIGEST = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture
def liar() -> Iterator[LyingServer]:
    server = LyingServer()
    yield server
    server.close()


@pytest.fixture
def rig(liar: LyingServer) -> Iterator[Rig]:
    rig = Rig(liar.port, "bob", "secret")
    liar.join(rig.loop)
    yield rig.log_in()
    rig.close()


def ticket(**more: Any) -> dict[str, Any]:
    return {"status": "OK", "ticket": "t", "size": len(BYTES), "sha256": DIGEST, **more}


def carried(body: bytes = BYTES, **head: Any) -> bytes:
    return json.dumps({"action": "download", "status": "OK", "size": len(BYTES), "offset": 0, **head}).encode() + (
        b"\n" + body
    )


def fetched(rig: Rig, liar: LyingServer, folder: Path, name: str = "x", **more: Any) -> Any:
    liar.fake.scripted["fileget"] = [ticket(**more) for _ in liar.carries] or [ticket(**more)]
    download = rig.fetch("ann", name, folder)
    rig.done(download)
    return download


@pytest.mark.parametrize("token", ["\ud800", "", "t" * 65, "\x1b[2J", 7, None])
def test_a_ticket_that_is_none(token: object, rig: Rig, liar: LyingServer, tmp_path: Path) -> None:
    liar.fake.scripted["fileget"] = [ticket(ticket=token), ticket()]
    liar.carries = [carried()]
    download = rig.fetch("ann", "x", tmp_path)
    rig.done(download)
    assert download.failure == "" and len(liar.carried) == 1, "it is asked for once more"


def test_an_honest_server(rig: Rig, liar: LyingServer, tmp_path: Path) -> None:
    liar.carries = [carried()]
    assert fetched(rig, liar, tmp_path).failure == ""
    assert (tmp_path / "x").read_bytes() == BYTES
    received = liar.fake.requests[-1]
    assert received["action"] == "received" and received["sha256"] == DIGEST and received["key"]
    assert liar.carried == [{"action": "download", "ticket": "t", "offset": 0}]


@pytest.mark.parametrize("name", ["../x", "/x", "..\\x", ".x", "x\x1b[31m\x00"])
def test_no_name_leads_out_of_the_folder(rig: Rig, liar: LyingServer, tmp_path: Path, name: str) -> None:
    (tmp_path / "down").mkdir()
    liar.carries = [carried()]
    assert fetched(rig, liar, tmp_path / "down", name).failure == ""
    assert [path.name for path in tmp_path.iterdir()] == ["down"]
    (found,) = (tmp_path / "down").iterdir()
    assert found.name in ("x", "x[31m")


@pytest.mark.parametrize("answer", [
    carried(b"other bytes!!" * 1_000),  # a lying digest
    carried(BYTES + b"more"),
    carried(size=len(BYTES) + 1),
    carried(offset=5),
])  # fmt: skip
def test_lies_leave_nothing_behind(rig: Rig, liar: LyingServer, tmp_path: Path, answer: bytes) -> None:
    liar.carries = [answer]
    download = fetched(rig, liar, tmp_path)
    assert download.failure == (
        '"x" from "ann" did not come as it was announced: what came was removed. '
        'It still waits: "fileget ann x" tries again, "filedecline ann x" refuses it.'
    )
    assert not list(tmp_path.iterdir())
    assert "received" not in [request["action"] for request in liar.fake.requests]


def test_fewer_bytes_than_announced_are_asked_for_again(rig: Rig, liar: LyingServer, tmp_path: Path) -> None:
    liar.carries = [carried(BYTES[:5_000]), carried(BYTES[5_000:], offset=5_000)]
    assert fetched(rig, liar, tmp_path).failure == ""
    assert [request["offset"] for request in liar.carried] == [0, 5_000]
    assert (tmp_path / "x").read_bytes() == BYTES


@pytest.mark.parametrize("more", [
    {"size": -1}, {"size": "1"}, {"sha256": "../../../etc/passwd"}, {"sha256": None}, {"size": None},
])  # fmt: skip
def test_a_reply_that_makes_no_sense(rig: Rig, liar: LyingServer, tmp_path: Path, more: dict[str, Any]) -> None:
    assert fetched(rig, liar, tmp_path, **more).failure == "The server does not speak this program's protocol."


def test_more_than_the_disk_holds_is_refused_before_it_begins(rig: Rig, liar: LyingServer, tmp_path: Path) -> None:
    download = fetched(rig, liar, tmp_path, size=2**53 - 1)
    assert download.failure == f'There is no room for "x" (9.0 PB) in {tmp_path}.' and not liar.carried
    assert (tmp_path / f".x.{DIGEST[:16]}.part").stat().st_size == 0


def test_a_disk_that_fills_up_keeps_the_part(
    rig: Rig, liar: LyingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = DownloadPart.write

    def full(part: DownloadPart, piece: memoryview, position: int) -> None:
        write(part, piece[: 4_000 - position], position)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(DownloadPart, "write", full)
    liar.carries = [carried()]
    download = fetched(rig, liar, tmp_path)
    kept = "What has come is kept: the same command goes on from there."
    assert download.failure == f'"x" cannot be saved: the disk is full: {tmp_path}. {kept}'
    monkeypatch.undo()
    liar.carries = [carried(BYTES[4_000:], offset=4_000)]
    assert fetched(rig, liar, tmp_path).failure == "" and (tmp_path / "x").read_bytes() == BYTES


@pytest.mark.parametrize(("folder", "why"), [("missing", "No such file or directory"), ("file", "Not a directory")])
def test_a_folder_that_takes_nothing(rig: Rig, liar: LyingServer, tmp_path: Path, folder: str, why: str) -> None:
    (tmp_path / "file").touch()
    assert fetched(rig, liar, tmp_path / folder).failure == f'"x" cannot be saved in {tmp_path / folder}: {why}.'


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_a_disk_without_hard_links(
    rig: Rig, liar: LyingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no links here")

    monkeypatch.setattr(localfiles.os, "link", refuse)
    (tmp_path / "x").write_text("mine")
    liar.carries = [carried()]
    assert fetched(rig, liar, tmp_path).path == tmp_path / "x (2)"
    assert (tmp_path / "x").read_text() == "mine" and (tmp_path / "x (2)").read_bytes() == BYTES
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_cannot_sync(
    rig: Rig, liar: LyingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    liar.carries = [carried()]
    download = fetched(rig, liar, tmp_path)
    assert download.failure.startswith('"x" cannot be saved: ') and not (tmp_path / "x").exists()


def test_another_client_of_the_user_has_all_places(rig: Rig, liar: LyingServer, tmp_path: Path) -> None:
    full = {"status": "TOO_MANY_TRANSFERS", "text": "You have 4 transfers under way."}
    liar.carries = [carried()]
    liar.fake.scripted["fileget"] = [*(dict(full) for _ in range(20)), ticket()]
    download = rig.fetch("ann", "x", tmp_path)
    rig.until(lambda: download.stage is Stage.FULL)
    rig.done(download)
    assert download.failure == "" and len(liar.fake.scripted["fileget"]) == 0


def an_upload(rig: Rig, liar: LyingServer, tmp_path: Path, *answers: dict[str, Any], **reply: Any) -> Any:
    (tmp_path / "x").write_bytes(BYTES)
    liar.carries = [json.dumps({"action": "upload", **answer}).encode() + b"\n" for answer in answers]
    liar.fake.scripted["file"] = [{"status": "OK", "ticket": "t", "offset": 0, **reply} for _ in range(9)]
    upload = rig.send("ann", tmp_path / "x")
    rig.done(upload)
    return upload


def test_an_upload_and_what_it_says_first(rig: Rig, liar: LyingServer, tmp_path: Path) -> None:
    assert an_upload(rig, liar, tmp_path, {"status": "OK", "seq": 1}).failure == ""
    asked = next(request for request in liar.fake.requests if request["action"] == "file")
    assert {**asked, "id": 0} == {"action": "file", "id": 0, "to": "ann", "name": "x", "size": 13_000, "sha256": DIGEST}


@pytest.mark.parametrize("status", ["DIGEST_MISMATCH", "NO_SPACE", "QUOTA_EXCEEDED"])
def test_an_upload_refused_at_its_end(rig: Rig, liar: LyingServer, tmp_path: Path, status: str) -> None:
    upload = an_upload(rig, liar, tmp_path, {"status": status, "text": "So it is."})
    assert upload.failure == "So it is." and upload.refusal["status"] == status


@pytest.mark.parametrize("status", ["BAD_TICKET", "SHUTTING_DOWN", "NO_QUORUM", "NODE_LOST"])
def test_a_refusal_of_the_moment(rig: Rig, liar: LyingServer, tmp_path: Path, status: str) -> None:
    later = {"status": status, "text": "Later."}
    assert an_upload(rig, liar, tmp_path, later, later, {"status": "OK", "seq": 1}).failure == ""
    (tmp_path / "x").unlink()
    liar.carries = [json.dumps({"action": "download", **later}).encode() + b"\n", b"  " + carried()]
    assert fetched(rig, liar, tmp_path).path == tmp_path / "x"


@pytest.mark.parametrize(("there", "failure"), [
    ({"sha256": DIGEST}, ""), ({"sha256": "0" * 64}, "There is one."), ({}, "There is one."),
])  # fmt: skip
def test_an_earlier_try_that_came_first(
    rig: Rig, liar: LyingServer, tmp_path: Path, there: dict[str, str], failure: str
) -> None:
    """All was sent to a server that was cut off, then to another; the first one's command was carried out."""
    lost = {"status": "NODE_LOST", "text": "Come again."}
    exists = {"status": "FILE_EXISTS", "text": "There is one.", **there}
    assert an_upload(rig, liar, tmp_path, lost, exists).failure == failure


@pytest.mark.parametrize("offset", [-1, 13_001, "0", None])
def test_an_offset_that_makes_no_sense(rig: Rig, liar: LyingServer, tmp_path: Path, offset: object) -> None:
    upload = an_upload(rig, liar, tmp_path, offset=offset)
    assert upload.failure == "The server does not speak this program's protocol."


@pytest.mark.parametrize("answer", [b"nonsense\n", b"x" * 70_000])
def test_a_server_that_speaks_something_else(rig: Rig, liar: LyingServer, tmp_path: Path, answer: bytes) -> None:
    liar.carries = [answer]
    assert fetched(rig, liar, tmp_path).failure == "The server does not speak this program's protocol."


def test_no_child_is_forked_in_whoever_sends_or_fetches(
    rig: Rig, liar: LyingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library lives in a program with threads, sockets and children of its own."""

    def refuse() -> int:
        raise AssertionError("a child was forked")

    monkeypatch.setattr(os, "fork", refuse)
    assert an_upload(rig, liar, tmp_path, {"status": "OK", "seq": 1}).failure == ""
    liar.carries = [carried()]
    assert fetched(rig, liar, tmp_path).path == tmp_path / "x (2)"


def test_stopped_while_it_is_hashed(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(10 << 20))
    before = len(os.listdir("/dev/fd"))
    upload = rig.send("ann", path)
    rig.until(lambda: upload.position > 0)
    assert upload.stage is Stage.READING and upload.position < upload.size
    upload.end("The transfer was stopped.")
    position = upload.position
    for _ in range(3):
        rig.loop.again(rig)
        rig.loop.tick()
    assert upload.over and upload.position == position and len(os.listdir("/dev/fd")) == before
    assert not rig.transfers.all


def test_where_sendfile_does_not_work(
    rig: Rig, liar: LyingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", refuse)
    moved = []
    move = SendLink._move
    monkeypatch.setattr(SendLink, "_move", lambda *args: moved.append(move(*args)) or moved[-1])
    assert an_upload(rig, liar, tmp_path, {"status": "OK", "seq": 1}).failure == ""
    assert sum(moved) == len(BYTES)


def test_a_stalled_transfer_counts_as_broken(rig: Rig, liar: LyingServer, tmp_path: Path) -> None:
    liar.stalls, liar.carries = 2, [carried(BYTES[:100]), carried(BYTES[100:], offset=100)]
    liar.fake.scripted["fileget"] = [ticket(), ticket()]
    download = rig.fetch("ann", "x", tmp_path)
    for position in (100, len(BYTES)):  # the second time nothing is missing but the end of the connection
        rig.until(lambda position=position: download.position == position)  # type: ignore[misc]
        for _ in range(2):
            assert download._link
            download._link._look()
    rig.done(download)
    assert download.failure == "" and (tmp_path / "x").read_bytes() == BYTES


def test_stopping_leaves_nothing_open(rig: Rig, liar: LyingServer, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BYTES)
    before = len(os.listdir("/dev/fd"))
    transfers = [rig.send(f"u{number}", tmp_path / "x") for number in range(6)]
    rig.transfers.stop("Enough.")
    assert [transfer.failure for transfer in transfers] == ["Enough."] * 6
    assert len(os.listdir("/dev/fd")) == before and not rig.transfers.all
    rig.done()


def test_an_upload_begins_anew_at_another_server_that_has_less_of_it(tmp_path: Path) -> None:
    """Two fake servers, and a chat that goes from one to the other in the middle of a file."""
    here, there = LyingServer(), LyingServer()
    rig = Rig(here.port, "bob", "secret")
    for each in here, there:
        each.join(rig.loop)
    rig.servers.own = tuple(ServerAddress("127.0.0.1", each.port) for each in (here, there))
    rig.servers.learn([])
    path = tmp_path / "report.pdf"
    path.write_bytes(os.urandom(20 << 20))
    here.fake.scripted["file"] = [{"status": "OK", "ticket": "t", "offset": 0}]
    here.carries, here.stalls = [b""], 1
    there.fake.scripted["file"] = [{"status": "OK", "ticket": "u", "offset": 0}]
    there.carries, there.stalls = [b'{"action":"upload","status":"OK","seq":1}\n'], 1
    first = rig.log_in().servers.at.port
    if first == there.port:
        here, there = there, here
        here.carries, there.carries = there.carries, here.carries
    upload = rig.send("ann", path)
    rig.until(lambda: upload.stage is Stage.MOVING and upload.position)
    rig.link.drop()
    rig.until(lambda: upload.over)
    assert (upload.failure, rig.anew, len(here.carried), len(there.carried)) == ("", ["report.pdf"], 1, 1)
    rig.close()
    here.close()
    there.close()
