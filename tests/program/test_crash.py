"""A full disk, a torn tail, a flipped bit, a child that dies: what was acknowledged is there exactly once, or the
server says where its files are wrong. ``kill -9`` under load is what `tests/proofs/crash.py` is for."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chance import new_chance
from tests.program.peer import Program

Start = Callable[..., Program]


def test_a_torn_tail_is_cut_kept_and_said(start: Start, home: Path) -> None:
    server = start()
    server.login("ann").ask("message", to="bob", text="acknowledged")
    server.kill()
    with open(home / "data" / "journal.txt", "ab") as journal:
        at = journal.tell()
        journal.write(b'99 1a2b3c4d {"by":"ann","action":"mess')
    server = start(wait=False)
    assert f"torn.{at}.txt" in server.wait_for("The journal's last record was cut short")
    server.listening()
    assert (home / "data" / f"torn.{at}.txt").read_bytes().startswith(b"99 1a2b3c4d ")
    assert server.login("bob").texts() == ["acknowledged"]


def test_a_flipped_bit_is_found_and_its_place_named(start: Start, home: Path) -> None:
    chance = new_chance()
    server = start()
    ann = server.login("ann")
    for number in range(50):
        ann.ask("message", to="bob", text=f"text {number}")
    server.kill()
    path = home / "data" / "journal.txt"
    whole = path.read_bytes()
    acknowledged = whole.rindex(b"# durable")  # what stands before it was on disk when it was written
    last = whole[:acknowledged].rindex(b"# durable")
    for _ in range(3):
        at = chance.randrange(last)
        flipped = bytearray(whole)
        flipped[at] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        status, said = start(wait=False).ended()
        line = whole[:at].count(b"\n") + 1
        assert status == 1 and f"{path}, line {line}: " in said, f"byte {at}\n{said}"
        assert path.read_bytes() == bytes(flipped), "and it is left as it is"
    path.write_bytes(whole)
    assert len(start().login("bob").texts()) == 50


@pytest.mark.parametrize("limit", [100_000, 300_000])
def test_a_full_disk_stops_the_server_and_loses_nothing(start: Start, home: Path, limit: int) -> None:
    server = start(limit=(resource.RLIMIT_FSIZE, limit))
    ann, watcher = server.login("ann"), server.login("cid")
    acknowledged: list[str] = []
    with contextlib.suppress(ConnectionError):
        while True:
            text = f"{len(acknowledged)} " + "x" * 1_000
            assert ann.ask("message", to="bob", text=text)["status"] == "OK"
            acknowledged.append(text)
            assert len(acknowledged) < 1_000
    status, said = server.ended()
    assert status == 1 and "The disk did not take a record" in said and "File too large" in said
    assert watcher.hung_up_with() == []
    server = start()
    texts = server.login("bob").texts()
    assert texts[: len(acknowledged)] == acknowledged and len(texts) <= len(acknowledged) + 1
    server.login("ann").ask("message", to="bob", text="on we go")
    server.stop()


def test_a_disk_too_full_for_the_text_files(start: Start, home: Path) -> None:
    """The stop cannot be a clean one: it says so, and the journal keeps everything."""
    server = start()
    ann = server.login("ann")
    for number in range(100):
        ann.ask("message", to="bob", text=f"{number} " + "x" * 1_000)
    server.kill()
    journal = (home / "data" / "journal.txt").stat().st_size
    store = (home / "data" / "message_rep.txt").stat().st_size
    server = start(limit=(resource.RLIMIT_FSIZE, min(journal, store) - 1_000), wait=False)
    status, said = server.ended()
    assert status == 1 and "Error!" in said and "Traceback" not in said
    assert len(start().login("bob").texts()) == 100


def test_a_syncing_child_that_dies_is_fail_stop(start: Start) -> None:
    server = start(slow_sync=0.05)
    ann = server.login("ann")
    assert ann.ask("message", to="bob", text="safe")["status"] == "OK"
    pid = server.process.pid
    child, _checker = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    os.kill(child, signal.SIGKILL)
    ann.send({"action": "message", "to": "bob", "text": "perhaps"})
    status, said = server.ended()
    assert status == 1 and "The disk did not take a record" in said
    assert start().login("bob").texts()[0] == "safe"


def test_nothing_of_a_killed_server_lives_on(start: Start, tmp_path: Path) -> None:
    server = start(slow_sync=0.05)
    ann = server.login("ann")
    ann.ask("broadcast", text="x")
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert children
    server.kill()
    again = start(port=str(server.port))
    again.login("ann")
    for child in children:
        handle = None
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(int(child))
        if handle is not None:
            assert select.select([handle], [], [], 60)[0], "the syncing child ends by itself"
            os.close(handle)
