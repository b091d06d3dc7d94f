"""How an upload's bytes become a file: hashed as they come, synced by a child of their own, then visible."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from chatlib.server import carriers, filesyncs
from chatlib.storage.blobs import Blobs, PartDigest
from chatlib.storage.syncer import ChildDied
from tests.chance import new_chance
from tests.server.carrying import DATA, Dial, announce, cut_upload, digest, download, lying, upload
from tests.server.house import House, Peer

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


def test_what_came_in_this_run_is_not_read_again(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, there = new_chance(), 0
    columbia = house.login("Columbia")
    monkeypatch.setattr(PartDigest, "catch_up", fails(errno.EIO))
    for _ in range(5):
        count = chance.randrange((len(DATA) - there) // 2)
        cut_upload(dial, columbia, DATA, count)
        there += count
    upload(dial, columbia)
    assert download(dial, house.login("SEAS")) == DATA


def test_a_digest_that_was_dropped_is_made_anew(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.storage.blobs.DIGESTS", 0)
    columbia = cut_before(house, dial, "this")
    upload(dial, columbia)
    assert download(dial, house.login("SEAS")) == DATA


def test_what_is_there_is_hashed_in_slices_and_chat_goes_on(
    house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "ALONE", 10_000)
    columbia, seas = cut_before(house, dial, "earlier"), house.login("SEAS")
    slices, catch_up = [], PartDigest.catch_up

    def watched(known: PartDigest, fd: int, count: int) -> None:
        slices.append((house.server.loop.ticks, count))
        catch_up(known, fd, count)

    monkeypatch.setattr(PartDigest, "catch_up", watched)
    pipe = begin(dial, columbia)
    answered = 0
    while not slices or slices[-1][0] == house.server.loop.ticks:
        seas.say({"action": "whoelse"})
        house.tick()
        answered += len([line for line in seas.hear() if line.get("action") == "whoelse"])
    assert {count for _, count in slices[:-1]} == {10_000} and len(slices) >= CUT // 10_000
    assert len({tick for tick, _ in slices}) == len(slices) <= answered, "one in a tick, and chat in each"
    assert pipe.status() == "OK" and download(dial, seas) == DATA


def test_two_catch_up_beside_one_who_sends(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriers, "TOGETHER", 5_000)
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


def test_a_cut_while_catching_up_loses_nothing(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriers, "ALONE", 10_000)
    columbia = cut_before(house, dial, "earlier")
    known = []
    digest_of = Blobs.digest

    def watched(blobs: Blobs, key: str) -> PartDigest:
        known.append(digest_of(blobs, key))
        return known[-1]

    monkeypatch.setattr(Blobs, "digest", watched)
    for _ in range(2):
        reply = announce(columbia)
        pipe = dial(house)
        pipe.ask("upload", reply["ticket"], reply["offset"])
        house.tick(5)
        house.login("Google").ask("logout")  # the sender's own session lives on, but the transfer is given up
        announce(columbia)
        house.settle()
    assert known[0] is known[1] and 10_000 <= known[0].upto <= CUT, "the second try goes on with the first one's"
    monkeypatch.undo()
    upload(dial, columbia)
    assert download(dial, house.login("SEAS")) == DATA


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
    assert house.files_disk.waiting == 1 and house.disk.waiting == 0, "no command before its bytes are synced"
    house.files_disk.release()
    house.settle()
    assert house.disk.waiting == 1 and [path.suffix for path in lying(house)] == [".part"]
    assert not seas.events, "not there before its command is durable"
    house.disk.release()
    assert pipe.status() == "OK"
    assert [path.suffix for path in lying(house)] != [".part"] and seas.events[-1]["event"] == "file"
    house.disk.fast = True
    assert download(dial, seas) == DATA


def test_chat_never_waits_for_the_sync_of_a_file(house: House, dial: Dial) -> None:
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
    assert house.files_disk.waiting == len(pipes) == 60 and seas.ask("fileget")["items"] == []
    for done in (1, 24):
        for _ in range(done):
            house.files_disk.release_one()
        house.settle()
    assert len(seas.ask("fileget")["items"]) == 25, "those that are synced, and no other"
    house.files_disk.release()
    assert [pipe.status() for pipe in pipes.values()] == ["OK"] * 60
    assert len([event for event in seas.events if event["event"] == "file"]) == 60
    for sender, name in pipes:
        assert download(dial, seas, sender, name) == f"{sender} {name}".encode()


def test_a_stop_while_files_are_synced(house: House, dial: Dial) -> None:
    columbia = house.login("Columbia")
    house.files_disk.fast = False
    begin(dial, columbia)
    house.settle()
    before = len(os.listdir("/dev/fd"))
    assert house.stop() == ""
    assert len(os.listdir("/dev/fd")) < before
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
    "it cannot be read": (PartDigest, "catch_up", errno.EIO, "INTERNAL", CUT),
    "it cannot be written": (carriers, "write", errno.EIO, "INTERNAL", CUT),
    "the disk is full": (carriers, "write", errno.ENOSPC, "NO_SPACE", 0),
    "the quota is used up": (carriers, "write", errno.EDQUOT, "NO_SPACE", 0),
    "no descriptor is left": (filesyncs, "dup", errno.EMFILE, "INTERNAL", len(DATA)),
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
        else:
            patch.setattr(where, what, fails(number))
        said = refused(begin(dial, columbia))
    why = "is full" if status == "NO_SPACE" else f"failed ({os.strerror(number)})"
    assert said == (status, f'"a.bin" could not be taken: the server\'s disk {why}.')
    assert [event["text"] for event in seas.events if event["event"] == "notice"] == [
        f'A file "a.bin" from "columbia" could not be taken: the server\'s disk {why}.'
    ]
    assert 'upload of "a.bin" from columbia failed' in house.log()
    offset = announce(columbia)["offset"]
    assert goes_on <= offset < goes_on + 5_000, "what came with the request itself may be kept"
    assert seas.ask("fileget")["items"] == []
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
    disk.fast, disk.error = fast, OSError(number, os.strerror(number))
    pipe = begin(dial, columbia)
    house.settle()
    disk.release()
    assert refused(pipe)[0] == status
    disk.fast, disk.error = True, None
    assert lying(house) == [] and announce(columbia)["offset"] == 0
    upload(dial, columbia)
    assert download(dial, seas) == DATA


def test_the_child_that_syncs_dies(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    disk = house.files_disk
    disk.fast, disk.error = False, ChildDied("killed")
    pipe = begin(dial, columbia)
    house.settle()
    disk.release()
    assert refused(pipe)[0] == "INTERNAL"
    told = "The child that syncs files has died: until the server is started again, it takes no more files."
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


def test_a_peer_that_hangs_up_while_its_part_is_hashed(
    house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "ALONE", 10_000)
    columbia = cut_before(house, dial, "earlier")
    pipe = dial(house)
    pipe.ask("upload", announce(columbia)["ticket"], CUT)
    house.tick(3)
    pipe.socket.shutdown(socket.SHUT_RDWR)
    house.settle()
    assert not house.server.transfers._active and announce(columbia)["offset"] == CUT


def test_a_part_that_somebody_removed(house: House, dial: Dial) -> None:
    columbia = cut_before(house, dial, "this")
    (part,) = lying(house)
    Path(part).unlink()
    assert begin(dial, columbia).status() == "INTERNAL", "it is not what it was"
    assert announce(columbia)["offset"] == 0
    upload(dial, columbia)
