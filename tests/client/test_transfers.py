"""TransferQueue against the real server, through a proxy that cuts, holds and loses."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.client import Client
from chatlib.client import news as n
from chatlib.client.addresses import ServerAddress
from chatlib.client.localfiles import TransferError
from chatlib.client.transfers import AT_ONCE, MAX_TRIES, Stage
from tests.chance import new_chance
from tests.client.conftest import USERS, Server
from tests.client.rig import Proxy, Rig


@pytest.fixture
def rigs(server: Server) -> Iterator[Any]:
    """Makes logged-in rigs: behind a proxy of their own, at `.proxy`."""
    made: list[Any] = []

    def make(user: str, seed: int = 0) -> Any:
        rig = Rig(0, user, USERS[user])
        rig.proxy = Proxy(rig.loop, server.port, seed)  # type: ignore[attr-defined]
        rig.servers.own = (ServerAddress("127.0.0.1", rig.proxy.port),)
        made.append(rig)
        return rig.log_in()

    yield make
    for rig in made:
        rig.proxy.close()
        rig.close()


def a_file(folder: Path, name: str = "report.pdf", size: int = 300_000, seed: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def cut_often(rig: Any, seed: int, size: int, count: int) -> None:
    chance = new_chance(seed)

    def budget() -> float:
        if rig.proxy.cuts >= count:
            return float("inf")
        if chance.random() < 0.05:
            rig.loop.call_later(0.0, rig.link.drop)  # the chat connection too
        return chance.randint(1, 2 * size // count)

    rig.proxy.budget = budget


@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_cuts_each_way_end_in_an_identical_file(rigs: Any, tmp_path: Path, seed: int) -> None:
    size, cuts = 1_500_000, 100
    path = a_file(tmp_path, size=size, seed=seed)
    bob = rigs("bob", seed)
    cut_often(bob, seed, size, cuts)
    upload = bob.send("ann", path)
    bob.done(upload)
    assert upload.failure == "" and bob.proxy.cuts >= min(cuts, 60)
    ann = rigs("ann", seed + 1)
    cut_often(ann, seed + 100, size, cuts)
    (tmp_path / "down").mkdir()
    download = ann.fetch("bob", "report.pdf", tmp_path / "down")
    ann.done(download)
    assert download.failure == "" and ann.proxy.cuts >= min(cuts, 60)
    assert [each.name for each in (tmp_path / "down").iterdir()] == ["report.pdf"]
    assert (tmp_path / "down" / "report.pdf").read_bytes() == path.read_bytes()
    events = [item.event for item in ann.news if isinstance(item, n.Arrived)]
    assert len([event for event in events if event["event"] == "file"]) == 1, "sent once, whatever was cut"


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_lost_reply_is_no_second_file(rigs: Any, server: Server, tmp_path: Path, size: int) -> None:
    bob = rigs("bob")
    bob.proxy.lose_replies = 1
    upload = bob.send("ann", a_file(tmp_path, size=size))
    bob.done(upload)
    assert upload.failure == "" and bob.proxy.lose_replies == 0
    with Client("127.0.0.1", server.port) as ann:
        ann.login("ann", USERS["ann"])
        assert len(ann.files()) == 1


def test_fetched_before_the_sender_knows_that_it_was_sent(rigs: Any, tmp_path: Path) -> None:
    bob = rigs("bob")
    upload = bob.send("ann", a_file(tmp_path))
    upload._all_sent = True
    gone = {"event": "file_gone", "to": "ANN", "outcome": "fetched"}
    upload.heard({**gone, "name": "other.pdf"})
    assert not upload.over
    upload.heard({**gone, "name": "report.pdf"})
    assert upload.over and not upload.failure


@pytest.mark.parametrize(("stage", "there", "failure"), [
    (Stage.ASKING, {}, ""), (Stage.ASKING, {"sha256": "mine"}, ""),
    (Stage.ASKING, {"sha256": "another's"}, "There is one."), (Stage.CHECKING, {}, "There is one."),
])  # fmt: skip
def test_a_file_that_is_there_already_is_this_one_only_if_it_may_be(
    rigs: Any, tmp_path: Path, stage: Stage, there: dict[str, str], failure: str
) -> None:
    """A reply was lost, and the file is asked for again; or the server's word is on these very bytes."""
    bob = rigs("bob")
    bob.proxy.holds, bob.proxy.budget = True, lambda: 50_000
    upload = bob.send("ann", a_file(tmp_path))
    bob.until(lambda: upload.position)
    upload.stage, upload._all_sent, upload._sha256 = stage, True, "mine"
    upload._refused({"status": "FILE_EXISTS", "text": "There is one.", **there})
    assert upload.over and upload.failure == failure


def test_files_of_a_thread_through_many_cuts(rigs: Any, tmp_path: Path) -> None:
    path = a_file(tmp_path, size=900_000)
    bob, ann = rigs("bob"), rigs("ann", 7)
    assert bob.ask("crt", title="plans")["status"] == "OK"
    cut_often(bob, 3, 900_000, 20)
    upload = bob.put("plans", path)
    bob.done(upload)
    cut_often(ann, 4, 900_000, 20)
    (tmp_path / "down").mkdir()
    for name in ("report.pdf", "report (2).pdf"):
        download = ann.get("PLANS", "report.pdf", tmp_path / "down")
        ann.done(download)
        assert download.failure == "" and download.receipt is None, "it stays in the thread"
        assert (tmp_path / "down" / name).read_bytes() == path.read_bytes()
    assert upload.failure == "" and bob.proxy.cuts >= 10 and ann.proxy.cuts >= 10


@pytest.mark.parametrize("size", [0, 300_000])
def test_a_lost_reply_is_no_second_file_in_a_thread(rigs: Any, tmp_path: Path, size: int) -> None:
    bob = rigs("bob")
    bob.ask("crt", title="plans")
    bob.proxy.lose_replies = 1
    upload = bob.put("plans", a_file(tmp_path, size=size))
    bob.done(upload)
    assert upload.failure == "" and bob.proxy.lose_replies == 0
    assert [each["file"] for each in bob.ask("rdt", title="plans")["items"]] == ["report.pdf"]


def test_of_two_files_of_one_name_the_second_is_refused_even_when_all_of_it_was_sent(rigs: Any, tmp_path: Path) -> None:
    bob, ann = rigs("bob"), rigs("ann")
    bob.ask("crt", title="plans")
    bob.proxy.holds, bob.proxy.budget = True, lambda: 100_000
    late = bob.put("plans", a_file(tmp_path / "bob", seed=1))
    bob.until(lambda: any(pair.held for pair in bob.proxy.pairs))
    first = ann.put("plans", a_file(tmp_path / "ann", seed=2))
    ann.done(first)
    bob.proxy.holds = False
    bob.done(late)
    assert first.failure == ""
    assert late.failure == 'There is a file "report.pdf" in the thread "plans" already: rename yours.'


def test_four_at_once_the_others_queue(rigs: Any, server: Server, tmp_path: Path) -> None:
    bob = rigs("bob")
    bob.proxy.holds, bob.proxy.budget = True, lambda: 50_000
    uploads = [bob.send("ann", a_file(tmp_path, f"{number}.bin", seed=number)) for number in range(7)]
    bob.until(lambda: sum(pair.held for pair in bob.proxy.pairs) == AT_ONCE)
    assert [upload.stage for upload in uploads[AT_ONCE:]] == [Stage.QUEUED] * 3
    assert bob.conversation.request("whoelse", {}, bob.loop.now)
    bob.until(lambda: not bob.conversation.outbox.pending)  # chat goes on meanwhile
    with pytest.raises(TransferError, match="on its way already"):
        bob.send("Ann", tmp_path / "6.bin")
    bob.proxy.holds, bob.proxy.budget = False, lambda: float("inf")
    bob.done(*uploads)
    assert not any(upload.failure for upload in uploads)
    ann = rigs("ann")
    (tmp_path / "down").mkdir()
    downloads = [ann.fetch("bob", f"{number}.bin", tmp_path / "down") for number in range(7)]
    ann.done(*downloads)
    for number in range(7):
        assert (tmp_path / "down" / f"{number}.bin").read_bytes() == (tmp_path / f"{number}.bin").read_bytes()


def test_the_server_is_killed_in_the_middle(rigs: Any, server: Server, tmp_path: Path) -> None:
    bob = rigs("bob")
    bob.proxy.holds, bob.proxy.budget = True, lambda: 100_000
    path = a_file(tmp_path)
    upload = bob.send("ann", path)
    parts = server.home / "data" / "files"
    bob.until(lambda: any(part.stat().st_size > 50_000 for part in parts.iterdir()))
    server.kill()
    for pair in list(bob.proxy.pairs):
        pair.close()
    bob.proxy.holds, bob.proxy.budget = False, lambda: float("inf")
    server.start()
    bob.done(upload)
    assert upload.failure == "" and bob.begun_at[-1] > 50_000
    (tmp_path / "down").mkdir()
    ann = rigs("ann")
    ann.proxy.holds, ann.proxy.budget = True, lambda: 100_000
    download = ann.fetch("bob", "report.pdf", tmp_path / "down")
    ann.until(lambda: download.position > 50_000)
    server.kill()
    for pair in list(ann.proxy.pairs):
        pair.close()
    ann.proxy.holds, ann.proxy.budget = False, lambda: float("inf")
    server.start()
    ann.done(download)
    assert download.failure == "" and ann.begun_at[-1] > 50_000
    assert (tmp_path / "down" / "report.pdf").read_bytes() == path.read_bytes()


def test_the_servers_child_that_checks_files_is_killed(rigs: Any, server: Server, tmp_path: Path) -> None:
    pid = server.process.pid
    _syncer, checker = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    bob, path = rigs("bob"), a_file(tmp_path, size=3_000_000)
    os.kill(checker, signal.SIGKILL)
    upload = bob.send("ann", path)
    bob.done(upload)
    assert upload.failure.startswith('"report.pdf" could not be taken: the server\'s disk failed')
    bob.conversation.request("message", {"to": "ann", "text": "we can still talk"}, bob.loop.now)
    bob.until(lambda: not bob.conversation.outbox.pending)
    server.stop()
    server.start()
    bob.begun_at.clear()
    upload = bob.send("ann", path)
    bob.done(upload)
    assert upload.failure == "" and bob.begun_at[0] > 1_000_000, "what had come need not come again"
    ann = rigs("ann")
    (tmp_path / "down").mkdir()
    ann.done(ann.fetch("bob", "report.pdf", tmp_path / "down"))
    assert (tmp_path / "down" / "report.pdf").read_bytes() == path.read_bytes()
    assert [item.event["text"] for item in ann.news if isinstance(item, n.Arrived) and "text" in item.event] == [
        "we can still talk"
    ]


def test_a_part_of_an_earlier_run_is_gone_on_with(rigs: Any, server: Server, tmp_path: Path) -> None:
    path = a_file(tmp_path)
    bob = rigs("bob")
    bob.done(bob.send("ann", path))
    down = tmp_path / "down"
    down.mkdir()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    part = down / f".report.pdf.{digest[:16]}.part"
    part.write_bytes(path.read_bytes()[:123_456])
    ann = rigs("ann")
    with open(part) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        download = ann.fetch("bob", "report.pdf", down)
        ann.done(download)
        assert download.failure == '"report.pdf" is being fetched into this folder already.'
    ann.begun_at.clear()
    ann.done(ann.fetch("bob", "report.pdf", down))
    assert ann.begun_at == [123_456] and (down / "report.pdf").read_bytes() == path.read_bytes()
    assert not part.exists()


def test_a_part_that_is_not_what_it_should_be(rigs: Any, tmp_path: Path) -> None:
    path = a_file(tmp_path)
    bob = rigs("bob")
    bob.done(bob.send("ann", path))
    down = tmp_path / "down"
    down.mkdir()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    part = down / f".report.pdf.{digest[:16]}.part"
    ann = rigs("ann")
    part.write_bytes(b"x" * 1_000)
    download = ann.fetch("bob", "report.pdf", down)
    ann.done(download)
    assert "did not come as it was announced" in download.failure and not part.exists()
    part.symlink_to(tmp_path / "elsewhere")
    download = ann.fetch("bob", "report.pdf", down)
    ann.done(download)
    assert "cannot be saved" in download.failure and not (tmp_path / "elsewhere").exists()
    part.unlink()
    part.write_bytes(b"x" * 400_000)  # longer than the file
    ann.done(ann.fetch("bob", "report.pdf", down))
    assert (down / "report.pdf").read_bytes() == path.read_bytes()


def test_an_existing_file_is_never_replaced(rigs: Any, tmp_path: Path) -> None:
    path = a_file(tmp_path)
    bob = rigs("bob")
    bob.done(bob.send("ann", path))
    down = tmp_path / "down"
    down.mkdir()
    (down / "report.pdf").write_text("mine")
    (down / "report (2).pdf").symlink_to("nowhere")
    ann = rigs("ann")
    download = ann.fetch("bob", "report.pdf", down)
    ann.done(download)
    assert download.path == down / "report (3).pdf" and download.path.read_bytes() == path.read_bytes()
    assert (down / "report.pdf").read_text() == "mine"


def change(path: Path, how: str) -> None:
    match how:
        case "content":
            path.write_bytes(b"y" * path.stat().st_size)
            os.utime(path, ns=(1, 1))
        case "size":
            with open(path, "ab") as file:
                file.write(b"more")
        case "shorter":
            os.truncate(path, 100)
        case "replaced":
            before = path.stat()
            beside = path.with_name("beside")
            beside.write_bytes(b"z" * before.st_size)
            os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
            beside.replace(path)
        case "removed":
            path.unlink()


@pytest.mark.parametrize("how", ["content", "size", "shorter", "replaced", "removed"])
@pytest.mark.parametrize("when", ["reading", "moving", "interrupted"])
def test_a_file_that_changes_is_refused(rigs: Any, server: Server, tmp_path: Path, how: str, when: str) -> None:
    bob = rigs("bob")
    bob.proxy.holds, bob.proxy.budget = True, lambda: 100_000
    path = a_file(tmp_path, size=20_000_000 if when == "moving" else 3_000_000)
    upload = bob.send("ann", path)
    if when == "reading":
        bob.until(lambda: upload.stage is Stage.READING)
    else:
        bob.until(lambda: any(pair.held for pair in bob.proxy.pairs))
    if when == "interrupted":
        bob.until(lambda: upload.position > 0)
        for pair in list(bob.proxy.pairs):
            if pair.is_transfer:
                pair.close()
    change(path, how)
    bob.proxy.holds, bob.proxy.budget = False, lambda: float("inf")
    bob.done(upload)
    assert upload.failure == f'"{path}" has changed since its sending began: send it again.'
    assert not any(name.suffix != ".part" for name in (server.home / "data" / "files").iterdir())


def test_another_file_under_the_same_name_meanwhile_is_not_mixed(rigs: Any, tmp_path: Path) -> None:
    bob, ann = rigs("bob"), rigs("ann")
    bob.done(bob.send("ann", a_file(tmp_path, seed=1)))
    (tmp_path / "down").mkdir()
    ann.proxy.holds, ann.proxy.budget = True, lambda: 100_000
    download = ann.fetch("bob", "report.pdf", tmp_path / "down")
    ann.until(lambda: download.position > 50_000)
    ann.conversation.request("filedecline", {"from": "bob", "name": "report.pdf"}, ann.loop.now)
    ann.until(lambda: not ann.conversation.outbox.pending)
    second = a_file(tmp_path, seed=2)
    bob.done(bob.send("ann", second))
    for pair in list(ann.proxy.pairs):
        if pair.is_transfer:
            pair.close()
    ann.proxy.holds, ann.proxy.budget = False, lambda: float("inf")
    ann.done(download)
    assert [each.name for each in (tmp_path / "down").iterdir()] == ["report.pdf"]
    assert (tmp_path / "down" / "report.pdf").read_bytes() == second.read_bytes()


def test_no_progress_ends_it(rigs: Any, tmp_path: Path) -> None:
    bob = rigs("bob")
    bob.proxy.budget = lambda: 0
    upload = bob.send("ann", a_file(tmp_path, size=0))
    bob.done(upload)
    assert upload.failure.startswith('The transfer of "report.pdf" was given up: ')
    assert len(bob.begun_at) == MAX_TRIES + 1


def test_the_servers_refusals_in_its_words(rigs: Any, server: Server, tmp_path: Path) -> None:
    bob = rigs("bob")
    path = a_file(tmp_path)
    with Client("127.0.0.1", server.port) as ann:
        ann.login("ann", USERS["ann"])
        ann.block("bob")
        refused = [bob.send("ann", path), bob.send("nobody", path)]
        bob.done(*refused)
        ann.unblock("bob")
        sent = bob.send("ann", path)
        bob.done(sent)
        refused.append(bob.send("ann", path))
        bob.done(refused[-1])
        server.command("change MAX_FILE_SIZE 1000")
        refused.append(bob.send("carl", path))
        bob.done(refused[-1])
    assert sent.failure == ""
    assert [(each.refusal or {})["status"] for each in refused] == [
        "BLOCKED", "NO_SUCH_USER", "FILE_EXISTS", "FILE_TOO_LARGE"
    ]  # fmt: skip
    assert all(each.failure == (each.refusal or {})["text"] for each in refused)
