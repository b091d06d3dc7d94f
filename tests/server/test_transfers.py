"""Files at the server's edge: tickets, bytes over connections of their own, what a broken one leaves."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.server.transfers import TICKET_LIFE
from chatlib.storage.blobs import PART_LIFE, Blobs
from tests.chance import new_chance
from tests.server.carrying import (
    DATA,
    HOST,
    Dial,
    announce,
    cut_upload,
    digest,
    download,
    lying,
    upload,
)
from tests.server.house import House, Peer

# From end to end.


@pytest.mark.parametrize("data", [b"", b"x", b"{}\n" * 7, DATA], ids=["empty", "one byte", "lines", "large"])
@pytest.mark.parametrize("online", [True, False])
def test_a_file_goes_from_one_to_the_other(house: House, dial: Dial, data: bytes, online: bool) -> None:
    columbia = house.login("Columbia")
    seas = house.login("SEAS") if online else None
    upload(dial, columbia, data)
    if seas is None:
        assert house.stop() == ""
        house.restart()
        columbia, seas = house.login("Columbia"), house.login("SEAS")
    (event,) = [event for event in seas.events if event["event"] == "file"]
    assert event.get("offline", False) is not online
    told = {"from": "Columbia", "name": "a.bin", "size": len(data), "sha256": digest(data)}
    assert {name: event[name] for name in told} == told
    assert download(dial, seas) == data
    assert download(dial, seas) == data, "it waits until it was received"
    for status, sha256 in (("NO_SUCH_FILE", digest(b"?")), ("OK", digest(data))):
        assert seas.ask("received", **{"from": "columbia", "name": "a.bin", "sha256": sha256})["status"] == status
    gone = [(event["to"], event["outcome"]) for event in columbia.events if event["event"] == "file_gone"]
    assert gone == [("SEAS", "fetched")] and lying(house) == []
    assert seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})["status"] == "NO_SUCH_FILE"


def test_a_declined_file_is_gone(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia)
    assert announce(columbia)["status"] == "FILE_EXISTS"
    assert seas.ask("filedecline", **{"from": "Columbia", "name": "a.bin"})["status"] == "OK"
    assert columbia.events[-1]["outcome"] == "declined" and lying(house) == []
    upload(dial, columbia)


def test_more_bytes_than_announced_are_not_taken(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    reply = announce(columbia, b"12345")
    pipe = dial(house)
    pipe.ask("upload", reply["ticket"], 0, b"12345678")
    assert pipe.status() == "OK"
    assert download(dial, seas) == b"12345"


# Broken, and resumed.


@pytest.mark.parametrize("end", ["hang up", "crash", "stop"])
def test_an_upload_goes_on_where_it_was_cut(house: House, dial: Dial, end: str) -> None:
    chance = new_chance(end)
    there = 0
    for _ in range(4):
        columbia = house.login("Columbia")
        count = chance.randrange(len(DATA) - there)
        cut_upload(dial, columbia, DATA, count)
        there += count
        if end == "hang up":
            columbia.hang_up()
            house.settle()
            continue
        house.server.transfers.end_all()
        house.crash() if end == "crash" else house.stop()
        house.restart()
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    assert announce(columbia)["offset"] == there
    assert announce(columbia, name="another")["offset"] == 0
    assert announce(columbia, to="Google")["offset"] == 0
    upload(dial, columbia)
    assert download(dial, seas) == DATA and len(lying(house)) == 1


def test_a_download_goes_on_from_any_offset(house: House, dial: Dial) -> None:
    seas = house.login("SEAS")
    upload(dial, house.login("Columbia"))
    chance = new_chance()
    for offset in [0, 1, len(DATA) - 1, len(DATA), *(chance.randrange(len(DATA)) for _ in range(5))]:
        assert download(dial, seas, offset=offset) == DATA[offset:]
    reply = seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})
    pipe = dial(house)
    pipe.ask("download", reply["ticket"], len(DATA) + 1)
    assert pipe.status() == "BAD_REQUEST"


@pytest.mark.parametrize("offset", [0, 999, 1_001, 2**40])
def test_an_upload_whose_offset_does_not_fit(house: House, dial: Dial, offset: int) -> None:
    columbia = house.login("Columbia")
    cut_upload(dial, columbia, DATA, 1_000)
    reply = announce(columbia)
    assert reply["offset"] == 1_000
    pipe = dial(house)
    pipe.ask("upload", reply["ticket"], offset, b"junk")
    assert pipe.status() == "BAD_REQUEST"
    assert announce(columbia)["offset"] == 1_000, "nothing was written"


def test_a_lying_digest(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    reply = announce(columbia, sha256=digest(b"another"))
    pipe = dial(house)
    pipe.ask("upload", reply["ticket"], 0, DATA)
    assert pipe.status() == "DIGEST_MISMATCH"
    assert lying(house) == [] and seas.ask("fileget")["items"] == []
    assert announce(columbia, sha256=digest(b"another"))["offset"] == 0


def test_fewer_bytes_than_announced_wait_for_the_rest(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    reply = announce(columbia)
    pipe = dial(house)
    pipe.ask("upload", reply["ticket"], 0, DATA[:1_234])
    house.settle()
    pipe.socket.shutdown(socket.SHUT_WR)
    pipe.until(lambda: pipe.closed)
    assert pipe.data == b"" and seas.ask("fileget")["items"] == []
    assert announce(columbia)["offset"] == 1_234


def test_a_peer_that_says_nothing_more_is_given_up(house: House, dial: Dial) -> None:
    columbia = house.login("Columbia")
    pipe = dial(house)
    pipe.ask("upload", announce(columbia)["ticket"], 0, b"x")
    house.pass_time(130.0, 10.0)
    pipe.read()
    assert pipe.closed and announce(columbia)["offset"] == 1


def test_an_upload_that_is_being_checked_cannot_be_asked_for_again(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    house.files_disk.fast = False
    pipe = dial(house)
    pipe.ask("upload", announce(columbia)["ticket"], 0, DATA)
    house.settle()
    assert announce(columbia)["status"] == "TOO_MANY_TRANSFERS"
    assert seas.ask("fileget")["items"] == [], "not there before it is checked"
    pipe.hang_up()
    house.files_disk.release()
    house.settle()
    assert not house.server.transfers._active
    assert announce(columbia)["status"] == "FILE_EXISTS", "the sender has gone, and it went on"
    assert download(dial, seas) == DATA


# Tickets.


def bad(dial: Dial, house: House, action: str, ticket: str, address: str = HOST) -> bool:
    """Whether the ticket is refused, and the connection closed."""
    pipe = dial(house, address)
    pipe.ask(action, ticket)
    return pipe.status() == "BAD_TICKET"


def test_tickets_that_are_no_good(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia)
    up = announce(columbia, name="b")["ticket"]
    down = seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})["ticket"]
    assert bad(dial, house, "upload", "x" * len(up)) and bad(dial, house, "download", "x")
    assert bad(dial, house, "download", up) and bad(dial, house, "upload", down), "of the other direction"
    for action, ticket in (("upload", up), ("download", down)):
        assert bad(dial, house, action, ticket, "10.0.0.2"), "from another address"
    house.clock.now += TICKET_LIFE + 1
    house.settle()
    assert bad(dial, house, "upload", up) and bad(dial, house, "download", down), "late"
    assert columbia.ask("whoelse")["status"] == "OK"


def test_a_ticket_serves_once(house: House, dial: Dial) -> None:
    columbia = house.login("Columbia")
    ticket = announce(columbia)["ticket"]
    first = dial(house)
    first.ask("upload", ticket, 0, DATA[:10])
    house.settle()
    assert bad(dial, house, "upload", ticket), "while it is used"
    first.send(DATA[10:])
    assert first.status() == "OK"
    assert bad(dial, house, "upload", ticket), "afterwards"
    assert len(lying(house)) == 1


def test_a_transfer_is_the_first_thing_a_connection_says(house: House) -> None:
    columbia = house.login("Columbia")
    ticket = announce(columbia)["ticket"]
    assert columbia.ask("upload", ticket=ticket, offset=0)["status"] == "NOT_ALLOWED"
    assert house.greet().ask("upload", ticket=ticket, offset=0)["status"] == "NOT_ALLOWED"
    assert house.connect().ask("upload", ticket=ticket)["status"] == "BAD_REQUEST"


# What is refused.


def test_each_refusal_before_a_byte_is_sent(build: Callable[..., House], dial: Dial) -> None:
    house = build(MAX_FILE_SIZE="1 KiB", FILE_QUOTA="1536")
    columbia = house.login("Columbia")
    house.login("Google").ask("block", user="Columbia")
    upload(dial, columbia, b"1" * 1_024)
    for status, fields in (
        ("NO_SUCH_USER", {"to": "nobody"}), ("SELF_FILE", {"to": "COLUMBIA"}), ("BLOCKED", {"to": "Google"}),
        ("BAD_REQUEST", {"name": "gpj\u202e.exe"}), ("BAD_REQUEST", {"name": "a\u200cb"}),
        ("FILE_EXISTS", {"size": 3}), ("FILE_TOO_LARGE", {"size": 1_025, "name": "b"}),
        ("QUOTA_EXCEEDED", {"size": 513, "name": "b"}), ("OK", {"size": 512, "name": "b"}),
    ):  # fmt: skip
        reply = announce(columbia, **fields)
        assert reply["status"] == status and ("ticket" in reply) == (status == "OK")


def test_the_fifth_transfer_at_once(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia)
    replies = [announce(columbia, name=str(number)) for number in range(4)]
    pipes = [dial(house) for _ in range(2)]
    for pipe, reply in zip(pipes, replies, strict=False):
        pipe.ask("upload", reply["ticket"], 0, DATA[:10])
    house.settle()
    assert announce(columbia, name="5")["status"] == "TOO_MANY_TRANSFERS"
    assert announce(house.login("Google"), name="5")["status"] == "OK", "counted by user"
    pipes[0].hang_up()
    assert announce(columbia, name="5")["status"] == "OK"
    got = [seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})["status"] for _ in range(5)]
    assert got == ["OK"] * 4 + ["TOO_MANY_TRANSFERS"]
    house.clock.now += TICKET_LIFE + 1
    house.settle()
    assert seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})["status"] == "OK", "expired ones do not count"


def test_the_quota_counts_what_is_under_way(build: Callable[..., House], dial: Dial) -> None:
    house = build(FILE_QUOTA="1000")
    columbia, google = house.login("Columbia"), house.login("Google")
    ticket = announce(columbia, b"1" * 600, "a")["ticket"]
    assert announce(google, b"1" * 401, "b")["status"] == "QUOTA_EXCEEDED", "a ticket is out"
    pipe = dial(house)
    pipe.ask("upload", ticket, 0, b"1")
    house.settle()
    assert announce(google, b"1" * 401, "b")["status"] == "QUOTA_EXCEEDED", "bytes are on their way"
    assert announce(google, b"1" * 401, "b", to="facebook")["status"] == "OK"
    assert announce(google, b"1" * 400, "b")["status"] == "OK"
    pipe.hang_up()
    assert announce(columbia, b"1" * 600, "other")["status"] == "OK", "a broken one does not count"


def test_expired_tickets_do_not_count_for_the_quota(build: Callable[..., House]) -> None:
    house = build(FILE_QUOTA="1000")
    columbia = house.login("Columbia")
    assert announce(columbia, b"1" * 600, "a")["status"] == "OK"
    assert announce(columbia, b"2" * 600, "b")["status"] == "QUOTA_EXCEEDED"
    house.clock.now += TICKET_LIFE + 1
    house.settle()
    assert announce(columbia, b"2" * 600, "b")["status"] == "OK"


def test_no_space(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    columbia = house.login("Columbia")
    with monkeypatch.context() as patch:
        patch.setattr(Blobs, "room", lambda self: len(DATA) - 1)
        assert announce(columbia)["status"] == "NO_SPACE"
        patch.setattr(Blobs, "room", lambda self: len(DATA))
        assert announce(columbia)["status"] == "OK"
    cut_upload(dial, columbia, DATA, 10)
    monkeypatch.setattr(Blobs, "room", lambda self: len(DATA) - 10)
    assert announce(columbia)["status"] == "OK", "what is there already needs no room"


def test_the_list_comes_in_pages(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    assert seas.ask("fileget") == {"action": "fileget", "status": "OK", "items": []}
    for number in range(103):
        command = {"action": "file_stored", "at": 1.0, "user": "columbia", "to": "seas", "name": str(number), "size": 1,
                   "sha256": digest(b"1"), "blob": f"blob.{number}"}  # fmt: skip
        house.server.submit(command)
    house.settle()
    first = seas.ask("fileget")
    second = seas.ask("fileget", before=first["next"])
    assert len(first["items"]) == 80 and "next" not in second
    assert [file["name"] for file in first["items"] + second["items"]] == [str(number) for number in range(102, -1, -1)]
    assert first["items"][0].keys() == {"seq", "time", "from", "name", "size", "sha256"}
    assert seas.ask("fileget", name="1")["status"] == "BAD_REQUEST"
    assert columbia.ask("fileget")["items"] == []


# The administrator.


def test_files_and_drop(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    assert house.admin("files") == ["No files wait."]
    upload(dial, columbia, b"12345", "a b")
    (number,) = [event["seq"] for event in seas.events if event["event"] == "file"]
    _, line = house.admin("files")
    assert line.startswith(f'  {number}: "a b" (5 bytes) from Columbia for SEAS, since ')
    assert house.admin(f"drop {number + 1}")[0].startswith("Error! No file has the number")
    assert house.admin(f"drop {number}") == ['The file "a b" for SEAS has been removed.']
    assert house.admin("files") == ["No files wait."] and lying(house) == []
    assert columbia.events[-1]["outcome"] == "dropped"


def test_a_reader_reads_on_when_the_file_goes(house: House, dial: Dial) -> None:
    seas = house.login("SEAS")
    data = DATA * 10
    upload(dial, house.login("Columbia"), data)
    tickets = [seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})["ticket"] for _ in range(2)]
    pipe = dial(house)
    pipe.ask("download", tickets[0])
    house.tick(3)
    assert seas.ask("filedecline", **{"from": "Columbia", "name": "a.bin"})["status"] == "OK"
    pipe.until(lambda: pipe.closed)
    assert pipe.data.partition(b"\n")[2] == data
    late = dial(house)
    late.ask("download", tickets[1])
    assert late.status() == "NO_SUCH_FILE"


# Tickets, transfers and parts belong to a login, and to an account.


def gone(house: House, peer: Peer, how: str) -> None:
    """Columbia's session ends; at `removal`, with the account, and somebody else takes the name."""
    if how == "logout":
        assert peer.ask("logout")["status"] == "OK"
    elif how == "reset":
        peer.hang_up()
        house.settle()
    else:
        house.admin("kick Columbia")
    if how == "removal":
        assert house.greet().prove("deregister", "Columbia")["status"] == "OK"
        house.register("Columbia")


ENDS = ["logout", "reset", "kick", "removal"]


@pytest.mark.parametrize("how", ENDS)
def test_tickets_end_with_their_login(house: House, dial: Dial, how: str) -> None:
    columbia = house.login("Columbia")
    upload(dial, house.login("SEAS"), to="Columbia")
    up = announce(columbia, name="b")["ticket"]
    down = columbia.ask("fileget", **{"from": "SEAS", "name": "a.bin"})["ticket"]
    gone(house, columbia, how)
    assert bad(dial, house, "upload", up) and bad(dial, house, "download", down)
    house.login("Columbia")
    assert bad(dial, house, "upload", up) and bad(dial, house, "download", down)
    assert not house.server.transfers._tickets and not house.server.transfers._of_user


@pytest.mark.parametrize("how", ENDS)
def test_transfers_end_with_their_login_and_go_on_in_the_next(house: House, dial: Dial, how: str) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, seas, DATA * 30, to="Columbia")
    up, down = dial(house), dial(house)
    up.ask("upload", announce(columbia)["ticket"], 0, DATA[:1_000])
    down.ask("download", columbia.ask("fileget", **{"from": "SEAS", "name": "a.bin"})["ticket"])
    house.settle()
    gone(house, columbia, how)
    for pipe in (up, down):
        pipe.until(lambda pipe=pipe: pipe.closed)  # type: ignore[misc]
    assert len(down.data) < len(DATA) * 30 and b"OK" not in up.data
    assert house.server.transfers._promised == 0 and not house.server.transfers._coming
    columbia = house.login("Columbia")
    if how == "removal":
        assert announce(columbia)["offset"] == 0, "another's part is another's"
        assert columbia.ask("fileget")["items"] == []
    else:
        assert announce(columbia)["offset"] == 1_000
        assert download(dial, columbia, "SEAS") == DATA * 30
    upload(dial, columbia)
    assert download(dial, seas) == DATA


@pytest.mark.parametrize("removed", ["Columbia", "SEAS"])
def test_an_upload_being_checked_while_a_name_changes_hands(house: House, dial: Dial, removed: str) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    house.files_disk.fast = False
    pipe = dial(house)
    pipe.ask("upload", announce(columbia)["ticket"], 0, DATA)
    house.settle()
    house.admin(f"kick {removed}")
    assert house.greet().prove("deregister", removed)["status"] == "OK"
    house.register(removed)
    new = house.login(removed)
    house.files_disk.release()
    assert pipe.status() == "NO_SUCH_USER"
    house.settle()
    assert new.ask("fileget")["items"] == [] and lying(house) == []
    assert not [event for peer in (new, seas) for event in peer.events if event["event"] == "file"]


# Limits, and what nobody needs.


def test_so_many_files_under_way_and_waiting(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.core.files.FROM_ONE", 2)
    monkeypatch.setattr("chatlib.core.files.FOR_ONE", 3)
    columbia, google, seas = house.login("Columbia"), house.login("Google"), house.login("SEAS")
    upload(dial, columbia, b"", "1")
    assert announce(columbia, b"", "2")["status"] == "OK"
    reply = announce(columbia, b"", "3")
    assert reply["status"] == "TOO_MANY_FILES"
    assert reply["text"] == '2 files from you wait for "SEAS": wait until some are fetched.'
    assert announce(google, b"", "1")["status"] == "OK"
    assert announce(google, b"", "2")["status"] == "TOO_MANY_FILES"
    assert announce(google, b"", "2", to="facebook")["status"] == "OK"
    assert seas.ask("filedecline", **{"from": "Columbia", "name": "1"})["status"] == "OK"
    assert announce(google, b"", "2")["status"] == "OK"


def test_ones_own_parts_go_first_and_nobody_elses(
    build: Callable[..., House], dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatlib.storage.blobs.IDLE_PARTS", 5)
    house = build(FILE_QUOTA="1 MiB")
    columbia, google = house.login("Columbia"), house.login("Google")
    cut_upload(dial, columbia, DATA, 1_000)
    for number in range(20):  # garbage, piece by piece
        cut_upload(dial, google, b"%02d" % number * 125_000, 200_000)
    assert announce(columbia)["offset"] == 1_000
    assert len(lying(house)) == 1 + 5
    for number, offset in ((19, 200_000), (15, 200_000), (14, 0), (0, 0)):
        assert announce(google, b"%02d" % number * 125_000)["offset"] == offset
        house.clock.now += TICKET_LIFE + 1
        house.settle()
    for number in range(20, 25):
        cut_upload(dial, google, b"%02d" % number * 250_000, 400_000)
    assert len(lying(house)) == 1 + 2, "no more bytes than the quota"


def test_a_part_outlives_its_ticket_and_goes_after_a_day(house: House, dial: Dial) -> None:
    columbia = house.login("Columbia")
    cut_upload(dial, columbia, DATA, 1_000)
    columbia.ask("logout")
    house.pass_time(PART_LIFE - 120, 3_600)
    columbia = house.login("Columbia")
    assert announce(columbia)["offset"] == 1_000
    columbia.ask("logout")
    house.pass_time(PART_LIFE - 120, 3_600)
    assert len(lying(house)) == 1, "asked for, it has another day"
    house.pass_time(300, 60)
    assert lying(house) == []


@pytest.mark.parametrize("years", [-1, 1])
def test_a_calendar_that_was_set_costs_no_part(house: House, dial: Dial, years: int) -> None:
    cut_upload(dial, house.login("Columbia"), DATA, 1_000)
    assert house.stop() == ""
    house.clock.wall_at_start += years * 366 * 86_400.0
    house.restart()
    assert announce(house.login("Columbia"))["offset"] == 1_000


def test_a_removal_of_much_takes_many_ticks(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.storage.blobs._TIDY", 0.0)
    monkeypatch.setattr("chatlib.storage.blobs._SLICE", 100_000)
    columbia = house.login("Columbia")
    for name in ("a", "b"):
        upload(dial, columbia, DATA, name)
    tidy, sizes = Blobs.tidy, []

    def watched(blobs: Blobs, now: float) -> bool:
        sizes.append((house.server.loop.ticks, sum(path.stat().st_size for path in lying(house))))
        return tidy(blobs, now)

    monkeypatch.setattr(Blobs, "tidy", watched)
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    house.settle()
    left = dict(sizes)
    assert list(left.values()) == [600_002, 500_002, 400_002, 300_002, 300_001, 200_001, 100_001, 1, 0]
    assert lying(house) == []


def test_a_rename_that_fails_is_made_good(house: House, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.suffix == ".part":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        upload(dial, columbia, DATA, "now")
        upload(dial, columbia, DATA * 2, "at the next start")
    assert download(dial, seas, name="now") == DATA
    assert house.stop() == ""
    house.restart()
    assert download(dial, house.login("SEAS"), name="at the next start") == DATA * 2


# Beside chat.


def test_chat_is_answered_between_two_pieces(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    data = DATA * 10
    pipe = dial(house)
    pipe.ask("upload", announce(columbia, data)["ticket"])
    sent = answered = 0
    while sent < len(data):
        with contextlib.suppress(BlockingIOError):
            while sent < len(data):
                sent += pipe.socket.send(data[sent:])
        seas.say({"action": "whoelse", "id": sent})
        house.tick()
        assert [line["id"] for line in seas.hear() if "id" in line] == [sent], "in the same tick"
        answered += 1
    assert answered > 5 and pipe.status() == "OK"
    pipe = dial(house)
    pipe.ask("download", seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})["ticket"])
    while not pipe.closed:
        columbia.say({"action": "whoelse"})
        house.tick()
        assert [line for line in columbia.hear() if line.get("action") == "whoelse"], "in the same tick"
        pipe.read()
    assert pipe.data.partition(b"\n")[2] == data


def test_a_stop_ends_transfers(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia, DATA * 10, "large")
    up, down = dial(house), dial(house)
    up.ask("upload", announce(columbia)["ticket"], 0, DATA[:1_000])
    down.ask("download", seas.ask("fileget", **{"from": "Columbia", "name": "large"})["ticket"])
    house.settle()
    assert house.stop() == ""
    for pipe in (up, down):
        pipe.read()
        assert pipe.closed
    assert len(down.data) < len(DATA) * 10
    house.restart()
    assert announce(house.login("Columbia"))["offset"] == 1_000
    assert download(dial, house.login("SEAS"), name="large") == DATA * 10


# What happens to people meanwhile.


def test_the_receiver_is_removed_during_an_upload(house: House, dial: Dial) -> None:
    pipe = dial(house)
    pipe.ask("upload", announce(house.login("Columbia"))["ticket"], 0, DATA[:-1])
    house.settle()
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    pipe.send(DATA[-1:])
    assert pipe.status() == "NO_SUCH_USER"
    assert lying(house) == []


def test_what_waits_goes_with_the_receiver(house: House, dial: Dial) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    upload(dial, columbia)
    ticket = seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})["ticket"]
    seas.ask("logout")
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    assert lying(house) == []
    pipe = dial(house)
    pipe.ask("download", ticket)
    assert pipe.status() in ("NO_SUCH_FILE", "BAD_TICKET")


def test_the_receiver_is_kicked_or_blocks_during_an_upload(house: House, dial: Dial) -> None:
    columbia, google = house.login("Columbia"), house.login("Google")
    house.login("SEAS")
    pipes = [dial(house), dial(house)]
    for pipe, to in zip(pipes, ("SEAS", "Google"), strict=True):
        pipe.ask("upload", announce(columbia, to=to)["ticket"], 0, DATA[:-1])
    house.settle()
    house.admin("kick SEAS")
    google.ask("block", user="Columbia")
    for pipe in pipes:
        pipe.send(DATA[-1:])
    assert [pipe.status() for pipe in pipes] == ["OK", "BLOCKED"]
    seas = house.login("SEAS")
    assert [event["offline"] for event in seas.events if event["event"] == "file"] == [True]
    assert download(dial, seas) == DATA and len(lying(house)) == 1
