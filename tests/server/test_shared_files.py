"""Files of a world that several servers share: to the others first, then visible; fetched where they are not."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatlib.cluster.vault import Carried, Outcome
from chatlib.core.replies import refusal
from chatlib.server.carriers import SIGN, STALLED
from chatlib.storage.blobs import Blobs
from tests.server.carrying import DATA, Dial, announce, digest, download, lying, upload
from tests.server.fakevault import FakeVault, fetch, forget_bytes, said, send, shares
from tests.server.house import House
from tests.server.inside import TlsPipe, login, offer


@pytest.fixture
def vault(house: House) -> FakeVault:
    return shares(house)


# An upload.


def test_to_the_others_then_visible(house: House, dial: Dial, vault: FakeVault) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    vault.fast = False
    pipe = send(dial, columbia)
    ((what, blob, _),) = vault.jobs
    assert what == "put" and vault.kept == {blob: DATA}
    assert seas.ask("fileget")["items"] == [] and [path.suffix for path in lying(house)] == [".part"]
    vault.release()
    assert said(pipe)[0] == "OK" and [path.name for path in lying(house)] == [blob]
    assert download(dial, seas) == DATA


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_sizes(house: House, dial: Dial, vault: FakeVault, size: int) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia, DATA[:size])
    forget_bytes(house)
    assert download(dial, seas) == DATA[:size] and download(dial, seas, offset=size // 2) == DATA[size // 2 : size]


def test_whoever_waits_hears_that_we_are_at_work(house: House, dial: Dial, vault: FakeVault) -> None:
    columbia = house.login("Columbia")
    vault.fast = False
    pipe = send(dial, columbia)
    for seconds in range(1, 8):
        for peer in house.peers:
            peer.ask("alive")
        house.pass_time(SIGN)
        pipe.read()
        assert pipe.data == b" " * seconds and not pipe.closed
    vault.release()
    (reply,) = pipe.end()
    assert reply["status"] == "OK"


def test_an_engine_that_is_away_costs_nothing_but_time(house: House, dial: Dial, vault: FakeVault) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    vault.answer = Carried(Outcome.AWAY, 0, "no answer")
    status, text = said(send(dial, columbia))
    assert status == "NO_QUORUM" and text.startswith("The servers cannot agree at the moment")
    assert seas.ask("fileget")["items"] == [] and seas.hear() == []
    vault.answer = None
    assert announce(columbia)["offset"] == len(DATA), "nothing of it has to be sent again"
    upload(dial, columbia)
    assert download(dial, seas) == DATA


def test_a_child_that_died_is_no_reason_to_lose_the_part(house: House, dial: Dial, vault: FakeVault) -> None:
    columbia = house.login("Columbia")
    vault.answer = Carried(Outcome.DEAD)
    status, text = said(send(dial, columbia))
    assert status == "INTERNAL" and "until it is started again" in text
    assert announce(columbia)["offset"] == len(DATA)


def test_a_part_that_cannot_be_read_any_more(house: House, dial: Dial, vault: FakeVault) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    vault.answer = Carried(Outcome.DISK, errno.EIO)
    status, text = said(send(dial, columbia))
    assert status == "INTERNAL" and "failed" in text
    assert "could not be taken" in seas.hear()[-1]["text"]


def test_a_session_that_ends_meanwhile(house: House, dial: Dial, vault: FakeVault) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    vault.fast = False
    send(dial, columbia).hang_up()
    columbia.ask("logout", seen=0)
    house.pass_time(2 * STALLED)
    vault.release()
    house.settle()
    seas = house.login("SEAS") if seas.closed else seas
    assert [item["name"] for item in seas.ask("fileget")["items"]] == ["a.bin"], "all its bytes were here"


def test_a_stop_meanwhile(house: House, dial: Dial, vault: FakeVault) -> None:
    columbia = house.login("Columbia")
    vault.fast = False
    send(dial, columbia)
    house.server.stop()
    vault.release()  # too late
    assert house.stop() == ""
    house.restart()
    vault = shares(house, vault)
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    assert announce(columbia)["offset"] == len(DATA)
    upload(dial, columbia)
    assert download(dial, seas) == DATA and len(vault.kept) == 2, "the first is nobody's"


def test_a_command_that_will_never_be_carried_out(house: House, dial: Dial, vault: FakeVault) -> None:
    """The server was taken for dead: its clients ask again."""
    columbia, submitted = house.login("Columbia"), list[Any]()
    object.__setattr__(house.server.transfers._means, "submit", lambda *command: submitted.append(command))
    pipe = send(dial, columbia)
    ((origin, echo, request_id, command),) = submitted
    origin.answered(echo, request_id, command, refusal("NODE_LOST", "Come again."))
    assert said(pipe) == ("NODE_LOST", "Come again.")
    assert announce(columbia)["offset"] == len(DATA)


# A download.


def test_two_who_want_it_and_one_who_has_gone(house: House, dial: Dial, vault: FakeVault) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia)
    blob = forget_bytes(house)
    vault.fast = False
    first, second, third = fetch(dial, seas), fetch(dial, seas, offset=300_000), fetch(dial, seas)
    assert [job[:2] for job in vault.jobs] == [("fetch", blob)] * 3
    third.hang_up()
    house.pass_time(SIGN)  # it is noticed
    assert len(house.server.transfers) == 2
    vault.release()
    for pipe, offset in ((first, 0), (second, 300_000)):
        pipe.until(lambda pipe=pipe: pipe.closed)
        head, _, data = pipe.data.partition(b"\n")
        assert head.startswith(b" {") and json.loads(head)["offset"] == offset and data == DATA[offset:]
    assert download(dial, seas) == DATA and not vault.jobs, "now it is here"


def test_a_fetch_may_take_long_and_the_reader_has_its_time_afterwards(
    house: House, dial: Dial, vault: FakeVault
) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia)
    forget_bytes(house)
    vault.fast = False
    pipe = fetch(dial, seas)
    seas.hear()
    for _ in range(75):
        seas.ask("alive")
        house.pass_time(STALLED / 15 - 0.1)
    vault.release()
    house.pass_time(6)
    pipe.until(lambda: pipe.closed)
    assert pipe.data.partition(b"\n")[2] == DATA


WHY = {
    "engine away": (Carried(Outcome.AWAY, 0, "no answer"), "NO_QUORUM", ""),
    "nobody has it": (Carried(Outcome.MISSING, 0, "the engine has no piece 0 of 3"), "NO_SUCH_FILE",
                      "A waiting file cannot be read: the engine has no piece 0 of 3"),
    "damaged": (Carried(Outcome.DAMAGED, 0, "piece 0 of 3 is damaged in the engine"), "NO_SUCH_FILE",
                "A waiting file cannot be read: piece 0 of 3 is damaged in the engine"),
    "disk full": (Carried(Outcome.DISK, errno.ENOSPC), "NO_SPACE", ""),
    "disk broken": (Carried(Outcome.DISK, errno.EIO), "INTERNAL", ""),
    "child dead": (Carried(Outcome.DEAD), "INTERNAL", ""),
}  # fmt: skip


@pytest.mark.parametrize("why", WHY)
def test_a_file_that_cannot_be_had(house: House, dial: Dial, vault: FakeVault, why: str) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia)
    forget_bytes(house)
    vault.answer, status, told = WHY[why]
    house.heard_by_admin()
    assert said(fetch(dial, seas))[0] == status
    assert [line for line in house.heard_by_admin() if "waiting file" in line] == ([told] if told else [])
    vault.answer = None
    assert download(dial, seas) == DATA, "the next try finds it"


def test_inside_tls_it_is_the_same(house: House, vault: FakeVault) -> None:
    offer(house)
    columbia, seas = login(house, "Columbia"), login(house, "SEAS")
    vault.fast = False
    up, down = TlsPipe(house), TlsPipe(house)
    try:
        up.ask("upload", announce(columbia)["ticket"], 0, DATA)
        house.settle()
        house.pass_time(SIGN)
        vault.release()
        assert said(up)[0] == "OK" and up.data.startswith(b" {")
        forget_bytes(house)
        columbia.ask("alive")
        down.ask("download", seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})["ticket"])
        house.settle()
        house.pass_time(SIGN)
        vault.release()
        down.until(lambda: down.closed)
        head, _, data = down.data.partition(b"\n")
        assert head.startswith(b" {") and data == DATA
    finally:
        up.close()
        down.close()


# What other servers' commands do here.


def test_half_a_part_is_never_taken_for_the_file(house: House, dial: Dial, vault: FakeVault) -> None:
    """The user began here, and sent the same file anew to another server."""
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    reply = announce(columbia)
    pipe = dial(house)
    pipe.ask("upload", reply["ticket"], 0, DATA[:1_000])
    house.settle()
    pipe.hang_up()
    (part,) = lying(house)
    blob = f"{part.stem}.0123abcd"
    vault.kept[blob] = DATA
    command = {"action": "file_stored", "user": "columbia", "to": "seas", "name": "a.bin", "size": len(DATA),
               "sha256": digest(DATA), "blob": blob, "at": house.clock.wall()}  # fmt: skip
    house.server.submit(command)
    house.settle()
    assert [event["event"] for event in seas.hear()] == ["file"]
    assert [path.name for path in lying(house)] == [part.name] and part.stat().st_size == 1_000
    assert download(dial, seas) == DATA
    seas.ask("received", **{"from": "Columbia", "name": "a.bin", "sha256": digest(DATA)})
    house.settle()
    assert lying(house) == [part], "the file is gone"


def test_a_file_that_is_removed_while_it_is_fetched(house: House, dial: Dial, vault: FakeVault) -> None:
    """Whoever waits for it still gets it; then it goes."""
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia)
    blob = forget_bytes(house)
    vault.fast = False
    pipe = fetch(dial, seas)
    blobs = house.server.blobs
    blobs.coming(blob)
    seas.ask("received", **{"from": "Columbia", "name": "a.bin", "sha256": digest(DATA)})
    house.settle()
    (blobs.folder / f"{blob}.coming").write_bytes(DATA)
    blobs.came(blob, True)
    vault.release()
    blobs.done_with(blob)
    pipe.until(lambda: pipe.closed)
    assert pipe.data.partition(b"\n")[2] == DATA
    house.settle()
    assert lying(house) == []


def test_a_start_with_thousands_of_files_that_came_to_others(
    house: House, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed: Callable[..., None] = lambda *_: pytest.fail("not one look at the disk each")  # noqa: E731
    monkeypatch.setattr(Path, "rename", renamed)
    blobs = Blobs(house.server.blobs.folder)
    blobs.take_stock({f"{number:048x}.00000000" for number in range(5_000)}, 0.0, 0.0)
    blobs.shared = True
    for number in range(5_000):
        blobs.adopt(f"{number:048x}.00000000")
