"""How an upload's bytes become a file: hashed as they come, and synced, by a child; then visible."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from chatlib.server import carriers, checks
from chatlib.storage.blobs import Blobs
from chatlib.storage.checker import AT_ONCE
from tests.chance import new_chance
from tests.server.carrying import DATA, Dial, announce, cut_upload, digest, download, lying, upload
from tests.server.house import CheckingDisk, House, Peer

CUT = 200_000  # bytes that came before the connection broke


def fails(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def cut_before(house: House, dial: Dial, run: str) -> Peer:
    """Columbia, whose upload of DATA was cut, in this run of the server or in an earlier one."""
    columbia = house.login("Columbia")
    cut_upload(dial, columbia, DATA, CUT)
    if run == "earlier":
        house.crash()
        house.restart()
        columbia = house.login("Columbia")
    return columbia


def begin(dial: Dial, peer: Peer, data: bytes = DATA, name: str = "a.bin", to: str = "SEAS") -> Any:
    """An upload, with all its bytes on their way."""
    reply = announce(peer, data, name, to)
    pipe = dial(peer.house)
    pipe.ask("upload", reply["ticket"], reply["offset"], data[reply["offset"] :])
    return pipe


# The digest.


def test_no_child_is_forked_for_an_upload(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    monkeypatch.setattr(os, "fork", fails(errno.EAGAIN))
    upload(dial, columbia)
    assert download(dial, seas) == DATA


@pytest.mark.parametrize("run", ["this", "earlier"])
def test_an_upload_that_goes_on_has_the_digest_of_all_its_bytes(house: House, dial: Dial, run: str) -> None:
    columbia, seas = cut_before(house, dial, run), house.login("SEAS")
    assert announce(columbia)["offset"] == CUT
    upload(dial, columbia)
    assert download(dial, seas) == DATA


def read(house: House) -> int:
    """Bytes that were hashed; each file from its beginning to its end, in order."""
    upto: dict[int, int] = {}
    for task in house.files_disk.started:
        assert task.offset == upto.get(task.number, 0)
        upto[task.number] = task.offset + task.length
    return sum(upto.values())


def test_bytes_are_hashed_while_they_come_and_each_once(
    house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "BEHIND", 1_000)
    chance, there = new_chance(), 0
    columbia = house.login("Columbia")
    for _ in range(5):
        count = chance.randrange((len(DATA) - there) // 2)
        cut_upload(dial, columbia, DATA, count)
        there += count
        assert there - 1_000 <= read(house) <= there
    upload(dial, columbia)
    assert read(house) == len(DATA) and len({task.number for task in house.files_disk.started}) == 1
    assert [task.last for task in house.files_disk.started].count(True) == 1
    assert download(dial, house.login("SEAS")) == DATA


def test_a_digest_that_was_dropped_is_made_anew(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriers, "BEHIND", 1_000)
    monkeypatch.setattr(checks, "KEPT", 0)
    columbia = cut_before(house, dial, "this")
    before = read(house)
    upload(dial, columbia)
    assert before > CUT - 1_000 and read(house) == before + len(DATA)
    assert house.files_disk.started[-1].forgotten or any(task.forgotten for task in house.files_disk.started)
    assert download(dial, house.login("SEAS")) == DATA


def test_what_is_there_already_is_hashed_a_piece_at_a_time(
    house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MOST", 10_000)
    columbia = cut_before(house, dial, "earlier")
    upload(dial, columbia)
    assert {task.length for task in house.files_disk.started[:-1]} == {10_000} and read(house) == len(DATA)
    assert download(dial, house.login("SEAS")) == DATA


def test_bytes_come_while_what_is_there_is_still_hashed(
    house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "BEHIND", 1_000)
    columbia, seas = cut_before(house, dial, "earlier"), house.login("SEAS")
    house.files_disk.fast = False
    pipe = begin(dial, columbia)
    house.settle()
    assert len(house.files_disk.tasks) == 1 and columbia.ask("alive")["status"] == "OK"
    assert [path.stat().st_size for path in lying(house)] == [len(DATA)], "all are here, and nothing is hashed"
    house.files_disk.fast = True
    house.files_disk.release()
    assert pipe.status() == "OK" and download(dial, seas) == DATA


def test_a_cut_while_a_piece_is_hashed_loses_nothing(
    house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "BEHIND", 1_000)
    columbia = house.login("Columbia")
    house.files_disk.fast = False
    cut_upload(dial, columbia, DATA, CUT)
    assert len(house.files_disk.tasks) == 1
    pipe = begin(dial, columbia)
    house.settle()
    assert len(house.files_disk.tasks) == 1, "what the first try started is still under way"
    house.files_disk.fast = True
    house.files_disk.release()
    assert pipe.status() == "OK" and read(house) == len(DATA), "and the second goes on with it"
    assert download(dial, house.login("SEAS")) == DATA


def test_a_part_that_goes_while_it_is_hashed(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriers, "BEHIND", 1_000)
    monkeypatch.setattr("chatlib.storage.blobs.IDLE_PARTS", 0)
    columbia = house.login("Columbia")
    house.files_disk.fast = False
    cut_upload(dial, columbia, DATA, CUT)
    assert lying(house) == [] and len(house.files_disk.tasks) == 1
    pipe = begin(dial, columbia)
    house.settle()
    house.files_disk.fast = True
    house.files_disk.release()
    assert pipe.status() == "OK" and download(dial, house.login("SEAS")) == DATA


def test_three_at_once_some_of_them_from_an_earlier_run(
    house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "TOGETHER", 5_000)
    monkeypatch.setattr(carriers, "BEHIND", 7_000)
    columbia = house.login("Columbia")
    for name in ("a", "b"):
        reply = announce(columbia, name=name)
        pipe = dial(house)
        pipe.ask("upload", reply["ticket"], 0, DATA[:CUT])
        house.settle()
        pipe.hang_up()
    house.crash()
    house.restart()
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    pipes = [begin(dial, columbia, name=name) for name in ("a", "b", "c")]
    assert [pipe.status() for pipe in pipes] == ["OK"] * 3
    assert [download(dial, seas, name=name) for name in ("a", "b", "c")] == [DATA] * 3


@pytest.mark.parametrize("run", ["this", "earlier"])
def test_a_wrong_digest_is_refused_after_a_cut_too(house: House, dial: Dial, run: str) -> None:
    columbia = cut_before(house, dial, run)
    pipe = dial(house)
    reply = announce(columbia)
    pipe.ask("upload", reply["ticket"], CUT, DATA[CUT:-1] + b"!")
    assert pipe.status() == "DIGEST_MISMATCH"
    assert lying(house) == [] and announce(columbia)["offset"] == 0
    upload(dial, columbia)
    assert download(dial, house.login("SEAS")) == DATA


def test_a_part_that_a_power_cut_damaged_is_refused_and_begins_anew(house: House, dial: Dial) -> None:
    columbia = house.login("Columbia")
    cut_upload(dial, columbia, DATA, CUT)
    house.crash()
    (part,) = lying(house)
    part.write_bytes(bytes(CUT))  # its length was on the disk, its bytes were not
    house.restart()
    columbia = house.login("Columbia")
    assert begin(dial, columbia).status() == "DIGEST_MISMATCH"
    upload(dial, columbia)
    assert download(dial, house.login("SEAS")) == DATA


# The sync, and what follows.


def test_synced_then_submitted_then_adopted(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    house.files_disk.fast = house.disk.fast = False
    pipe = begin(dial, columbia)
    house.settle()
    assert len(house.files_disk.tasks) == 1 and house.disk.waiting == 0, "no command before its bytes are synced"
    house.files_disk.release()
    house.settle()
    assert house.disk.waiting == 1 and [path.suffix for path in lying(house)] == [".part"]
    assert not seas.events, "not there before its command is durable"
    house.disk.release()
    assert pipe.status() == "OK"
    assert [path.suffix for path in lying(house)] != [".part"] and seas.events[-1]["event"] == "file"
    house.disk.fast = True
    assert download(dial, seas) == DATA


def test_chat_never_waits_for_the_disk_of_a_file(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    house.files_disk.fast = False
    pipe = begin(dial, columbia)
    house.settle()
    assert seas.ask("message", to="Columbia", text="are you done?")["status"] == "OK"
    assert columbia.texts == ["are you done?"] and pipe.data == b""
    house.files_disk.release()
    assert pipe.status() == "OK"


def test_many_small_files_at_once(build: Callable[..., House], dial: Dial) -> None:
    users = [f"user{number}" for number in range(15)]
    house = build(users=("SEAS", *users))
    seas = house.login("SEAS")
    house.files_disk.fast = False
    pipes = {}
    for peer in [house.login(user) for user in users]:
        for name in "1234":
            pipes[peer.name, name] = begin(dial, peer, f"{peer.name} {name}".encode(), name)
    house.settle()
    assert len(house.files_disk.tasks) == AT_ONCE and len(pipes) == 60 and seas.ask("fileget")["items"] == []
    for done in (1, 24):
        house.files_disk.release(done)
        house.settle()
    assert len(seas.ask("fileget")["items"]) == 25, "those that are synced, and no other"
    house.files_disk.fast = True
    house.files_disk.release()
    assert [pipe.status() for pipe in pipes.values()] == ["OK"] * 60
    assert len([event for event in seas.events if event["event"] == "file"]) == 60
    for sender, name in pipes:
        assert download(dial, seas, sender, name) == f"{sender} {name}".encode()


def test_a_stop_while_files_are_checked(house: House, dial: Dial) -> None:
    columbia = house.login("Columbia")
    house.files_disk.fast = False
    begin(dial, columbia)
    house.settle()
    assert house.stop() == ""
    house.restart()
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    assert announce(columbia)["offset"] == len(DATA), "nothing of it has to be sent again"
    upload(dial, columbia)
    assert download(dial, seas) == DATA


# A disk that fails, step by step.


def refused(pipe: Any) -> tuple[str, str]:
    (reply,) = [line for line in pipe.end() if "action" in line]
    return reply["status"], reply["text"]


STEPS = {  # what fails, and how: with which status the upload ends, and from where the next one goes on
    "no part can be opened": (Blobs, "open_part", errno.EACCES, "INTERNAL", 0),
    "the part cannot be opened again": (Blobs, "open_part", errno.EIO, "INTERNAL", CUT),
    "it cannot be written": (carriers, "write", errno.EIO, "INTERNAL", CUT),
    "the disk is full": (carriers, "write", errno.ENOSPC, "NO_SPACE", 0),
    "the quota is used up": (carriers, "write", errno.EDQUOT, "NO_SPACE", 0),
    "no descriptor is left": (CheckingDisk, "start", errno.EMFILE, "INTERNAL", len(DATA)),
    "it cannot be read": (None, "", errno.EIO, "INTERNAL", len(DATA)),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_disk_that_fails(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    where, what, number, status, goes_on = STEPS[step]
    seas = house.login("SEAS")
    if step == "no part can be opened":
        columbia = house.login("Columbia")
    else:
        columbia = cut_before(house, dial, "earlier")
        seas = house.login("SEAS")
    seas.hear()
    with monkeypatch.context() as patch:
        if isinstance(where, ModuleType):  # for nobody but this module
            patch.setattr(where, "os", SimpleNamespace(**{**vars(os), what: fails(number)}))
        elif where is None:
            patch.setattr(house.files_disk, "unreadable", number)
        else:
            patch.setattr(where, what, fails(number))
        said = refused(begin(dial, columbia))
    why = "is full" if status == "NO_SPACE" else f"failed ({os.strerror(number)})"
    assert said == (status, f'"a.bin" could not be taken: the server\'s disk {why}.')
    assert [event["text"] for event in seas.events if event["event"] == "notice"] == [
        f'A file "a.bin" from "columbia" could not be taken: the server\'s disk {why}.'
    ]
    assert 'upload of "a.bin" from columbia failed' in house.log()
    assert announce(columbia)["offset"] == goes_on and seas.ask("fileget")["items"] == []
    upload(dial, columbia)
    assert download(dial, seas) == DATA


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("number", "status"), [(errno.EIO, "INTERNAL"), (errno.ENOSPC, "NO_SPACE")])
def test_a_sync_that_fails_costs_the_part(
    house: House, dial: Dial, fast: bool, number: int, status: str
) -> None:
    """The disk says so once. Asked again, it says that all is well, and the bytes are not there."""
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    disk = house.files_disk
    disk.fast, disk.error = fast, number
    pipe = begin(dial, columbia)
    house.settle()
    disk.release()
    assert refused(pipe)[0] == status
    disk.fast, disk.error = True, 0
    assert lying(house) == [] and announce(columbia)["offset"] == 0
    upload(dial, columbia)
    assert download(dial, seas) == DATA


def test_the_child_that_checks_dies(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    house.files_disk.fast = False
    pipe = begin(dial, columbia)
    house.settle()
    house.files_disk.die()
    assert refused(pipe)[0] == "INTERNAL"
    told = "The child that checks files has died: until the server is started again, it takes no more files."
    assert house.heard_by_admin()[-1:] == [told]
    assert begin(dial, columbia, name="b").status() == "INTERNAL", "at once"
    assert seas.ask("message", to="Columbia", text="we can still talk")["status"] == "OK"
    assert announce(columbia)["offset"] == len(DATA), "the bytes are as good as they were"
    assert house.stop() == ""
    house.restart()
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia)
    assert download(dial, seas) == DATA


def test_a_command_that_is_refused_costs_the_part(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    house.files_disk.fast = False
    pipe = begin(dial, columbia)
    house.settle()
    seas.ask("block", user="Columbia")
    house.files_disk.release()
    assert pipe.status() == "BLOCKED" and lying(house) == []


# What is asked for again when the bytes begin.


def test_refused_before_a_byte_is_sent_in_vain(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    ticket = announce(columbia)["ticket"]
    seas.ask("block", user="Columbia")
    pipe = dial(house)
    pipe.ask("upload", ticket)
    assert refused(pipe)[0] == "BLOCKED"
    assert not house.server.transfers._of_user and not house.server.transfers._coming
    seas.ask("unblock", user="Columbia")
    upload(dial, columbia)


def test_a_ticket_does_not_stand_in_its_own_way(build: Callable[..., House], dial: Dial) -> None:
    house = build(FILE_QUOTA=str(len(DATA)))
    upload(dial, house.login("Columbia"))


def test_a_name_that_went_to_somebody_else(house: House, dial: Dial) -> None:
    columbia = house.login("Columbia")
    ticket = announce(columbia)["ticket"]
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    house.register("SEAS")
    pipe = dial(house)
    pipe.ask("upload", ticket, 0, DATA)
    assert pipe.status() == "BAD_TICKET"


def test_the_newest_file_of_a_name_when_the_bytes_begin(house: House, dial: Dial) -> None:
    upload(dial, house.login("Columbia"))
    seas = house.login("SEAS")
    ticket = seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})["ticket"]
    house.admin("kick Columbia")
    assert house.greet().prove("deregister", "Columbia")["status"] == "OK"
    house.register("Columbia")
    upload(dial, house.login("Columbia"), b"another")
    pipe = dial(house)
    pipe.ask("download", ticket)
    assert pipe.status() == "BAD_TICKET", "it would not be what the ticket's digest says"
    assert download(dial, seas) == b"another"
    assert digest(b"another") == seas.ask("fileget")["items"][0]["sha256"]


def test_a_part_that_somebody_removed(house: House, dial: Dial) -> None:
    columbia = cut_before(house, dial, "this")
    (part,) = lying(house)
    Path(part).unlink()
    assert begin(dial, columbia).status() == "INTERNAL", "it is not what it was"
    assert announce(columbia)["offset"] == 0
    upload(dial, columbia)
