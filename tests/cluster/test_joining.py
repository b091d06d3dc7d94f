"""Homes that become a cluster's, with a real engine: what each takes, what it keeps, and what is refused."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from chatlib.cluster.snapshots import upload
from chatlib.core.nodes import nodes_of
from chatlib.protocol import nats
from chatlib.server import backup, savedset, upkeep
from chatlib.server.edits import EditedFiles
from chatlib.server.recovery import prove_files
from chatlib.server.restoring import restore
from chatlib.storage import checkpoint, nodefile, takeover, textfile
from chatlib.storage.home import Home, read_earlier, read_epoch
from chatlib.storage.textfile import FileError
from tests.chance import new_chance
from tests.cluster.engine import PASSWORD, USER, why_not
from tests.cluster.town import Town, save_at, world_files

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


class Crash(Exception):
    """In the middle of it."""


def test_a_single_servers_home_becomes_everybodys(town: Town, lived: Path) -> None:
    epoch = read_epoch(lived / "data")
    os.rename(lived, town.home("first"))
    first = town.join("first", "north", founds=True)
    assert nodefile.read(first / "data") == ("north", town.name) and not list((first / "data").glob("journal*"))
    world = prove_files(first / "data")
    assert read_epoch(first / "data") == epoch and nodes_of(world).place == (0, 0)
    assert not world.online and len(world.accounts) == 4
    stored = {".".join(words[1:3]) for words in town.pieces.subjects("blob.*.*.0")}
    assert stored == {path.name for path in (first / "data/files").iterdir()} and len(stored) == 2

    second = town.home("second")
    (second / "para.txt").write_text("MaxCon 3\n")
    (second / "credentials.txt").write_text("stranger password\n")
    town.join("second", "south")
    assert world_files(second) == world_files(first)
    assert nodefile.read(second / "data") == ("south", town.name)
    assert (second / "para.before.txt").read_text() == "MaxCon 3\n" and not (second / "para.txt").exists()
    assert (second / "credentials.before.txt").read_text() == "stranger password\n"
    assert "stranger" not in prove_files(second / "data").accounts
    town.join("second")  # there is nothing to be done
    assert world_files(second) == world_files(first)


def test_a_new_home_can_begin_a_cluster(town: Town) -> None:
    (town.home("first") / "credentials.txt").write_text("alice password\n")
    first = town.join("first", founds=True)
    assert (first / "credentials.txt").read_text() == "alice password\n"  # the start takes it in, as ever
    node = nodefile.read(first / "data")
    assert node and node.node.startswith("node-")
    assert world_files(town.join("second")) == world_files(first)


def test_who_comes_to_an_empty_log_is_told_how_to_begin_one(town: Town, lived: Path) -> None:
    before = world_files(lived)
    os.rename(lived, town.home("first"))
    for name in ("first", "new"):
        with pytest.raises(FileError, match="is empty: start one server, .* with --found"):
            town.join(name)
    assert world_files(town.home("first")) == before
    assert town.pieces.log_state() is None


def test_what_is_not_this_clusters_is_refused(town: Town, lived: Path) -> None:
    town.join("first", "north", founds=True)
    with pytest.raises(FileError, match="has a world already: leave out --found"):
        town.join("first", founds=True)
    with pytest.raises(FileError, match="has a world already: leave out --found"):
        town.join("new", founds=True)
    os.rename(lived, town.home("single"))
    before = world_files(town.home("single"))
    with pytest.raises(FileError, match="is a single server's home, and the log .* has a world already"):
        town.join("single")
    assert world_files(town.home("single")) == before
    with pytest.raises(FileError, match='is the home of the node "north", not of "south"'):
        town.join("first", "south")
    with pytest.raises(FileError, match="a home of the log"):
        Town.join(_other(town), "first")


def _other(town: Town) -> Town:
    other = object.__new__(Town)
    other.engine = nats.parse(f"nats://{USER}:{PASSWORD}@127.0.0.1:{town.engine.addresses[0][1]}/other")
    other.folder, other.said = town.folder, town.said
    return other


def test_a_log_that_somebody_deleted_is_told_from_one_that_never_was(town: Town) -> None:
    town.join("first", founds=True)
    town.pieces.ask(f"STREAM.DELETE.{town.name}", {})
    for founds in (False, True):
        with pytest.raises(FileError, match=f'somebody has deleted it.*Then delete "{town.name}_files"'):
            town.join("first", founds=founds)
    town.pieces.ask(f"STREAM.DELETE.{town.name}_files", {})
    town.join("first", founds=True)


def test_a_home_of_another_epoch_is_refused_and_one_that_is_ahead_of_the_log(town: Town) -> None:
    first = town.join("first", founds=True)
    save_at(first, (3, 0))
    with pytest.raises(FileError, match="at message 3 of the log .* which ends at 0"):
        town.join("first")
    save_at(first, (0, 0))
    Home(first).new_epoch()
    before = world_files(first)
    with pytest.raises(FileError, match="it was begun anew"):
        town.join("first")
    assert world_files(first) == before


def test_a_home_behind_the_logs_first_message_takes_the_snapshot_and_keeps_its_edits(town: Town, lived: Path) -> None:
    os.rename(lived, town.home("first"))
    first = town.join("first", "north", founds=True)
    second = town.join("second", "south")
    edited = EditedFiles(second)
    edited.write(prove_files(second / "data"))
    (second / "para.txt").write_text(re.sub("(?m)^MaxCon .*", "MaxCon 77", (second / "para.txt").read_text()))

    town.log(6)
    save_at(first, (5, 99))
    latest = upload(town.pieces, partial(savedset.saved_set, first / "data"))
    assert latest and latest[:2] == (5, 99)
    town.join("second")  # the log has all of it yet
    assert savedset.place(second / "data") == (0, 0)
    town.pieces.drop_log(4)
    town.join("second")
    assert world_files(second) == world_files(first) and savedset.place(second / "data") == (5, 99)
    changes = EditedFiles(second).read()
    assert changes.parameters == {"MaxCon": 77} and not changes.accounts


def test_a_crash_at_any_moment_of_a_joining_is_made_good_by_the_next(
    town: Town, lived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.rename(lived, town.home("first"))
    first = town.join("first", founds=True)
    second = town.home("second")
    (second / "para.txt").write_text("MaxCon 3\n")
    for allowed in range(1_000):
        crash_after(allowed, monkeypatch)
        try:
            town.join("second")
            break
        except Crash:
            pass
        monkeypatch.undo()
        if not takeover.is_pending(second / "data"):
            assert (second / "para.txt").read_text() == "MaxCon 3\n" and not (second / "data" / "state.txt").exists()
    monkeypatch.undo()
    assert world_files(second) == world_files(first)
    assert (second / "para.before.txt").read_text() == "MaxCon 3\n" and allowed > 5


def crash_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many names on the disk are changed, and not one more."""
    left = steps

    def pause() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash

    monkeypatch.setattr(textfile, "pause", pause)


def test_a_crash_at_any_moment_of_a_founding_is_made_good_by_the_next(
    town: Town, lived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = read_epoch(lived / "data")
    os.rename(lived, town.home("first"))
    for allowed in range(100):
        crash_after(allowed, monkeypatch)
        try:
            first = town.join("first", "north", founds=True)
            break
        except Crash:
            monkeypatch.undo()
            assert town.pieces.latest()[0] is None
    monkeypatch.undo()
    world = prove_files(first / "data")
    assert len(world.accounts) == 4 and read_epoch(first / "data") == epoch
    assert world_files(town.join("second")) == world_files(first)


@pytest.mark.parametrize("founds", [False, True])
def test_kill_9_in_the_middle_is_made_good_by_the_next(
    town: Town, lived: Path, monkeypatch: pytest.MonkeyPatch, founds: bool
) -> None:
    """A process that joins, or founds, is killed at random moments until one comes through."""
    os.rename(lived, town.home("first"))
    name = "first" if founds else "second"
    if not founds:
        town.join("first", founds=True)
    (town.home("second") / "para.txt").write_text("MaxCon 3\n")
    monkeypatch.setattr(textfile, "slow", 0.005)
    chance, status, kills = new_chance(), -1, 0
    while status != 0:
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                town.join(name, founds=founds)
                os._exit(0)
            os._exit(1)
        time.sleep(chance.uniform(0.0, 0.4 + 0.1 * kills))
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        kills += 1
        if founds and town.pieces.latest()[0]:
            break  # it was through, and killed behind that
        assert status in (0, signal.SIGKILL)
        if not takeover.is_pending(town.home("second") / "data"):
            taken = (town.home("second") / "data" / "state.txt").exists()
            assert (town.home("second") / "para.txt").exists() is not taken
    monkeypatch.undo()
    first = town.home("first")
    assert len(prove_files(first / "data").accounts) == 4
    assert world_files(town.join("second")) == world_files(first)


def test_a_lost_engine_is_made_good_by_the_home_that_founds_anew(town: Town, lived: Path) -> None:
    os.rename(lived, town.home("first"))
    first = town.join("first", "north", founds=True)
    town.join("second", "south")
    town.log(5)
    save_at(first, (5, 99))
    epoch, lsn = read_epoch(first / "data"), prove_files(first / "data").lsn
    for stream in (town.name, f"{town.name}_files"):
        town.pieces.ask(f"STREAM.DELETE.{stream}", {})
    town.join("first", founds=True)
    assert any("Homes of other nodes do not fit it" in said for said in town.said)
    assert read_epoch(first / "data") != epoch and savedset.place(first / "data") == (0, 0)
    assert read_earlier(first / "data")[0][0] == epoch and read_earlier(first / "data")[0][1] >= lsn
    with pytest.raises(FileError, match="it was begun anew"):
        town.join("second")
    assert world_files(town.join("third")) == world_files(first)


def test_a_damaged_snapshot_is_never_taken(town: Town, lived: Path) -> None:
    """Its pieces are right, and what they say is not: the proof of a start finds it, and the home stays as it was."""
    os.rename(lived, town.home("first"))
    first = town.join("first", founds=True)
    town.log(2)
    save_at(first, (1, 1))
    data = first / "data"
    state = (data / "state.txt").read_text().replace("store_end ", "store_end 9")
    size, digest = textfile.write_new(data / "state.txt", [state])
    _, listed = checkpoint.read_manifest(data / "manifest.txt")
    rows = [f"lsn {checkpoint.lsn_of(data)}", *(f"{name} {known[0]} {known[1]}" for name, known in
                                                {**listed, "state.txt": (size, digest)}.items())]  # fmt: skip
    textfile.write_new(data / "manifest.txt", checkpoint._manifest(rows))
    taken = savedset.saved_set(data)
    short = [file._replace(size=min(file.size, file.path.stat().st_size)) for file in taken.files]
    assert upload(town.pieces, lambda: taken._replace(files=short))
    with pytest.raises(FileError, match="message"):
        town.join("second")
    assert not (town.home("second") / "data" / "state.txt").exists()


def test_a_backup_of_a_node_has_all_bytes_if_one_names_the_log(town: Town, lived: Path) -> None:
    os.rename(lived, town.home("first"))
    first, second = town.join("first", "north", founds=True), town.join("second", "south")
    said: list[str] = []
    assert upkeep.back_up_home(second, town.folder / "without.tar.gz", said.append) == 0
    assert said[-1].endswith("The bytes of 2 files are not in it: with --log they are fetched.")
    assert upkeep.back_up_home(second, town.folder / "with.tar.gz", said.append, town.engine) == 0
    assert "are not in it" not in said[-1]
    _, report = restore(town.folder / "with.tar.gz", town.folder / "again")
    assert report.is_whole and report.counts["files"] == 2
    blobs = {path.name: path.read_bytes() for path in (town.folder / "again/data/files").iterdir()}
    assert blobs == {path.name: path.read_bytes() for path in (first / "data/files").iterdir()}
    other = town.engine.__class__(town.engine.addresses, name="other")
    with pytest.raises(FileError, match='is no home of the log "other": leave out --log'):
        upkeep.back_up_home(second, town.folder / "no.tar.gz", said.append, other)


def test_what_is_restored_of_a_nodes_backup_can_found_a_cluster_of_its_own(town: Town, lived: Path) -> None:
    os.rename(lived, town.home("first"))
    first = town.join("first", "north", founds=True)
    town.log(3)
    save_at(first, (3, 5))
    backup.write(first, town.folder / "b.tar.gz")
    restore(town.folder / "b.tar.gz", town.home("again"))
    with pytest.raises(FileError, match="is a single server's home"):
        town.join("again")
    for stream in (town.name, f"{town.name}_files"):
        town.pieces.ask(f"STREAM.DELETE.{stream}", {})
    again = town.join("again", founds=True)
    assert savedset.place(again / "data") == (0, 0) and len(prove_files(again / "data").accounts) == 4
    with pytest.raises(FileError, match="it was begun anew"):
        town.join("first")


def test_the_latest_is_replaced_by_who_knows_it(town: Town) -> None:
    town.join("first", founds=True)
    pieces = town.pieces
    found, first = pieces.latest()
    assert found
    latest = found._replace(position=5)
    assert pieces.point(latest, first)
    again, sequence = pieces.latest()
    assert again == latest and sequence > first
    assert not pieces.point(latest._replace(position=9), first)
    assert pieces.point(latest._replace(position=9), sequence)
    assert pieces.latest()[0] == latest._replace(position=9)
    assert pieces.point(latest._replace(position=9), first)  # it was said already, and the answer was lost
