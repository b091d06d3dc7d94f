"""Checkpoints while the server goes on: they lose nothing, wherever the power fails, and they come about under load."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.reactor import jobs
from chatlib.server import saving
from chatlib.server.edits import EditedFiles
from chatlib.storage import checkpoint, textfile
from tests.chance import new_chance
from tests.server.house import PASSWORD, VERIFIER, House, Peer

TEXT = "x" * 1_000


def segments(house: House) -> list[str]:
    return sorted(path.name for path in (house.folder / "data").glob("journal*.txt"))


def load(house: House, peer: Peer, count: int, start: int = 0) -> list[str]:
    """So many acknowledged messages to SEAS."""
    texts = [f"{number} {TEXT}" for number in range(start, start + count)]
    for text in texts:
        assert peer.ask("message", to="SEAS", text=text)["status"] == "OK"
    return texts


def mail(house: House, name: str = "SEAS") -> list[str]:
    """All that waits for a user; it is left waiting."""
    peer = house.login(name)
    peer.ask("alive", seen=0)
    peer.read_until(lambda: house.server.delivery.sessions[name.lower()].reader.current)
    texts = peer.texts
    peer.hang_up()
    house.settle()
    return texts


def test_a_journal_past_its_limit_is_folded_in_while_the_server_goes_on(build: Callable[..., House]) -> None:
    house = build(JOURNAL_LIMIT="64 KiB")
    columbia = house.login("Columbia")
    texts: list[str] = []
    meanwhile = 0  # messages while a child is at work
    while house.log().count("checkpoint: the journal has reached its limit") < 3 or house.server.saver.busy:
        texts += load(house, columbia, 1, len(texts))
        meanwhile = meanwhile + 1 if house.server.saver._job else 0
        if meanwhile == 40:
            house.wait_for(lambda: house.server.saver._job is None)  # a busy machine leaves it no time
        assert len(texts) < 2_000
    house.wait_for(lambda: not house.server.saver.busy)
    assert house.server.journal.size < 128 << 10 and segments(house) == ["journal.txt"]
    assert mail(house) == texts
    house.crash()
    house.restart()
    assert mail(house) == texts
    assert house.stop() == ""
    house.restart()
    assert mail(house) == texts
    assert "checkpoint: the journal has reached its limit" in house.log()


@pytest.mark.parametrize("disk", ["fast", "slow"])
def test_a_checkpoint_comes_about_although_every_tick_has_work(build: Callable[..., House], disk: str) -> None:
    """Requests in every tick, and on a slow disk in every batch: no moment without any comes by itself."""
    house = build(JOURNAL_LIMIT="64 KiB")
    columbia = house.login("Columbia")
    house.settle()
    house.disk.fast = disk == "fast"
    for number in range(2_000):
        columbia.say({"action": "message", "to": "SEAS", "text": f"{number} {TEXT}"})
        if number % 2:
            house.disk.release()
        house.tick()
        columbia.hear()
        if len(segments(house)) > 1 or "Saved." in house.log():  # the child may be quick
            return
        if number % 50 == 0 and house.server.saver._job:
            house.server.loop._selector.select(60.0)  # a child on a busy machine
    raise AssertionError(f"the journal has {house.server.journal.size} bytes, no checkpoint begins: {house.log()}")


def test_a_large_segment_is_removed_by_the_child(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing 64 MiB takes a disk 20 ms and more: too long for a tick."""
    load(house, house.login("Columbia"), 5)
    removed: list[str] = []
    unlink = Path.unlink

    def noted(path: Path, missing_ok: bool = False) -> None:
        removed.append(path.name)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", noted)  # of the child nothing is noted here
    assert house.save() == ["Saved."]
    assert segments(house) == ["journal.txt"]
    assert not [name for name in removed if name.startswith("journal")]


def test_a_segment_that_the_child_could_not_remove_goes_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(house, house.login("Columbia"), 5)
    real, server = house.server.journal.truncate, os.getpid()

    def refused() -> None:
        if os.getpid() != server:
            raise OSError(5, "Input/output error")
        real()

    monkeypatch.setattr(house.server.journal, "truncate", refused)
    assert house.save() == ["Saved."]
    assert segments(house) == ["journal.txt"]


@pytest.mark.parametrize("moment", ["cut", "written", "ready", "moved"])
def test_the_power_fails_during_a_checkpoint(
    build: Callable[..., House], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    house = build()
    columbia = house.login("Columbia")
    texts = load(house, columbia, 20)
    columbia.ask("block", user="Google")
    data = house.folder / "data"

    def stop_here(*_: object) -> None:
        os._exit(9)

    if moment == "cut":  # a new segment is begun, and that is all
        monkeypatch.setattr(saving, "checkpoint_now", stop_here)
    elif moment == "written":  # all files are beside, and do not hold yet
        monkeypatch.setattr(Path, "rename", stop_here)
    elif moment == "ready":  # they hold, and are not in their places
        monkeypatch.setattr(checkpoint, "_move", stop_here)
    else:  # the old segments are still there
        monkeypatch.setattr(type(house.server.journal), "truncate", lambda self: None)
    house.save()
    texts += load(house, columbia, 5, 20)
    assert len(segments(house)) == 2
    house.crash()
    monkeypatch.undo()
    house.restart()
    assert mail(house) == texts
    assert house.login("Columbia").ask("blacklist")["items"] == ["Google"]
    assert not list(data.glob(".next*"))
    house.save()
    assert segments(house) == ["journal.txt"]
    house.crash()
    house.restart()
    assert mail(house) == texts


def test_a_checkpoint_that_fails_is_said_and_tried_again_later(
    build: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = build()
    columbia = house.login("Columbia")
    texts = load(house, columbia, 5)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(saving, "checkpoint_now", full)
        (said,) = house.save()
    assert "could not be written" in said and "No space left" in said and "The journal keeps everything" in said
    texts += load(house, columbia, 5, 5)
    assert len(segments(house)) == 2
    house.crash()
    house.restart()
    assert mail(house) == texts
    assert house.stop() == ""
    assert segments(house) == ["journal.txt"]
    house.restart()
    assert mail(house) == texts


def test_a_checkpoint_of_its_own_that_fails_is_told_at_the_console(
    build: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = build(JOURNAL_LIMIT="64 KiB")
    columbia = house.login("Columbia")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    texts: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(saving, "checkpoint_now", full)
        house.heard_by_admin()
        while "checkpoint: the journal has reached its limit" not in house.log():
            texts += load(house, columbia, 5, len(texts))
        house.wait_for(lambda: not house.server.saver.busy)
    (said,) = house.heard_by_admin()
    assert "could not be written" in said and "No space left" in said and "The journal keeps everything" in said
    assert said in house.log()
    while house.log().count("checkpoint: the journal has reached its limit") < 2:
        texts += load(house, columbia, 5, len(texts))
        assert len(texts) < 1_000
    house.wait_for(lambda: not house.server.saver.busy)
    assert house.heard_by_admin() == [], "what goes well is for the log"
    assert segments(house) == ["journal.txt"]
    house.crash()
    house.restart()
    assert mail(house) == texts


def test_no_child_is_to_be_had(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(jobs.os, "fork", no_fork)
    assert house.admin("reload") == ["Not now: Resource temporarily unavailable."]
    assert house.login("Columbia").ask("whoelse")["status"] == "OK"
    assert house.admin("save")[0].startswith("Not now: ")
    assert house.login("SEAS").ask("message", to="Google", text="x")["status"] == "OK"


def test_two_wishes_at_once_are_both_fulfilled(house: House) -> None:
    house.console.line("save")
    house.console.line("reload")
    house.console.line("save")
    house.heard_by_admin()
    house.wait_for(lambda: not house.server.saver.busy)
    assert house.heard_by_admin() == ["Saved.", "Nothing was changed by hand.", "Saved."]


@pytest.mark.parametrize("child", ["at work", "stopped"])
@pytest.mark.parametrize("wish", ["save", "reload", "change MaxCon 55"])
def test_a_stop_waits_for_no_child(
    house: House, monkeypatch: pytest.MonkeyPatch, wish: str, child: str
) -> None:
    """It does itself what the child was to do."""
    texts = load(house, house.login("Columbia"), 5)
    house.edit("credentials.txt", f"facebook {VERIFIER}\n", "facebook a new password\n")

    def stuck(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    server = os.getpid()
    real = EditedFiles.read
    with monkeypatch.context() as patch:
        if child == "stopped":
            patch.setattr(saving, "checkpoint_now", stuck)
            patch.setattr(EditedFiles, "write", stuck)
            patch.setattr(EditedFiles, "read", lambda *words, **names: (
                stuck() if os.getpid() != server and wish == "reload" else real(*words, **names)))  # fmt: skip
        house.console.line(wish)
        job = None
        while job is None:
            house.tick()
            job = house.server.saver._job
            if job and child == "stopped":
                state = os.waitid(os.P_PID, job._pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                if not state or state.si_code != os.CLD_STOPPED:  # one that just reads
                    job = None
        patch.undo()
        assert house.stop() == ""
    with pytest.raises(ProcessLookupError):
        os.kill(job._pid, 0)
    assert segments(house) == ["journal.txt"] and house.journal() == []
    assert not list(house.folder.rglob(".*"))
    house.restart()
    assert mail(house) == texts
    house.login("facebook", password="a new password")
    if wish.startswith("change"):
        assert "MaxCon 55\n" in house.read("para.txt")


def test_a_stop_after_a_child_was_killed_in_the_middle_of_moving_names(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each name that it changes, in turn."""
    columbia = house.login("Columbia")
    texts: list[str] = []
    for step in range(1, 40):
        texts += load(house, columbia, 1, len(texts))
        house.write("credentials.txt", house.read("credentials.txt") + f"# {step}\nuser{step} {PASSWORD}\n")
        count = 0

        def killed() -> None:
            nonlocal count
            count += 1
            if count == step:  # noqa: B023
                os._exit(9)

        with monkeypatch.context() as patch:
            patch.setattr(textfile, "pause", killed)
            said = house.save()
        if said[-1] == "Saved.":
            break
        assert "could not be written: the child ended with status 9" in said[-1]
        assert not list(house.folder.glob(".*")) and not list((house.folder / "data").glob(".*.new"))
        assert (house.folder / "credentials.txt").exists() and (house.folder / "para.txt").exists()
        assert not list(house.folder.glob("*.kept*"))
        if step % 2:
            assert house.save()[-1] == "Saved."
        else:
            columbia.hang_up()
            assert house.stop() == "" if step % 4 else not house.crash()
            house.restart()
            columbia = house.login("Columbia")
        assert mail(house) == texts
        assert f"# {step}\n" in house.read("credentials.txt")
        house.login(f"user{step}").hang_up()
        house.settle()
    else:
        raise AssertionError("it never ends")
    assert step > 12


def test_crashes_and_saves_at_random_moments(build: Callable[..., House]) -> None:
    chance = new_chance()
    house = build(JOURNAL_LIMIT="64 KiB")
    texts: list[str] = []
    for _ in range(12):
        columbia = house.login("Columbia")
        for _ in range(chance.randrange(6)):
            texts += load(house, columbia, chance.randrange(12), len(texts))
            if chance.random() < 0.4:
                house.console.line("save")
            if chance.random() < 0.3:
                house.wait_for(lambda: not house.server.saver.busy)
        if chance.random() < 0.3:
            assert house.stop() == ""
        else:
            house.crash()
        house.restart()
        assert mail(house) == texts


def test_what_a_failed_save_left_in_doubt_is_written_again_by_the_next(house: House) -> None:
    """A disk tells once that it has lost something: a save that goes well afterwards must not rely on it."""
    house.login("Google").ask("message", to="SEAS", text="hello")
    doubts: list[bool] = []
    for part in (house.server.messages, house.server.appended):
        part.doubt = doubts.append  # type: ignore[method-assign]
    before = checkpoint.write
    try:
        checkpoint.write = _fails  # type: ignore[assignment]
        house.save()
    finally:
        checkpoint.write = before
    house.save()
    assert doubts == [True, True, False, False]


def _fails(*_: object, **__: object) -> None:
    raise OSError(5, "Input/output error")
