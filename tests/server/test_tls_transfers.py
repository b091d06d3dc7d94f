"""Files inside TLS: both ways, whole, with interruptions; and no ticket from inside is good outside."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from chatlib.server import carriers
from tests.server.carrying import DATA, Pipe, announce, download, upload
from tests.server.house import House
from tests.server.inside import TlsPipe, login, offer

Dial = Callable[[House], TlsPipe]
BIG = random.Random(5).randbytes(1_500_007)


@pytest.fixture
def tls(house: House) -> House:
    offer(house)
    return house


@pytest.fixture
def dial_inside(tls: House) -> Iterator[Dial]:
    pipes: list[TlsPipe] = []

    def dial(house: House) -> TlsPipe:
        pipes.append(TlsPipe(house))
        return pipes[-1]

    yield dial
    for pipe in pipes:
        pipe.close()


@pytest.mark.parametrize("data", [b"", b"x", DATA, BIG], ids=len)
def test_a_file_there_and_back(tls: House, dial_inside: Dial, data: bytes) -> None:
    columbia, seas = login(tls, "Columbia"), login(tls, "SEAS")
    upload(dial_inside, columbia, data)
    assert download(dial_inside, seas) == data
    assert download(dial_inside, seas, offset=len(data) // 2) == data[len(data) // 2 :]


def test_who_reads_a_file_in_drops_gets_all_of_it(tls: House, dial_inside: Dial) -> None:
    columbia, seas = login(tls, "Columbia"), login(tls, "SEAS")
    upload(dial_inside, columbia, BIG)
    reply = seas.ask("fileget", **{"from": "Columbia", "name": "a.bin"})
    pipe = dial_inside(tls)
    pipe.ask("download", reply["ticket"])
    (carrier,) = (tls.settle(), tls.server.transfers._active)[1]
    most = 0
    while not pipe.closed:
        tls.settle()
        most = max(most, sum(map(len, carrier._bulk._unsent)))  # type: ignore[attr-defined]
        try:
            pipe.inside.stream.take_in(pipe.inside.raw.recv(3_000))
            pipe.data += pipe.inside.stream.read()
        except ConnectionResetError:
            break
        pipe.closed = pipe.inside.stream.over
    assert pipe.data.partition(b"\n")[2] == BIG
    assert 0 < most < carriers.ALONE + 1_000, "no more than a tick's share is encrypted and not sent"


def test_an_upload_goes_on_where_it_was_cut(tls: House, dial_inside: Dial) -> None:
    columbia = login(tls, "Columbia")
    reply = announce(columbia, BIG)
    pipe = dial_inside(tls)
    pipe.ask("upload", reply["ticket"], 0, BIG[:700_000])
    tls.settle()
    pipe.hang_up()
    again = announce(columbia, BIG)
    assert 600_000 < again["offset"] <= 700_000
    upload(dial_inside, columbia, BIG)
    assert download(dial_inside, login(tls, "SEAS")) == BIG


def test_an_upload_that_ends_early_keeps_its_part(tls: House, dial_inside: Dial) -> None:
    columbia = login(tls, "Columbia")
    pipe = dial_inside(tls)
    pipe.ask("upload", announce(columbia, BIG)["ticket"], 0, BIG[:300_000])
    pipe.socket.shutdown(1)  # an end that is announced
    pipe.until(lambda: not tls.server.transfers._active)
    assert announce(columbia, BIG)["offset"] == 300_000


def test_more_than_was_announced_is_not_taken(tls: House, dial_inside: Dial) -> None:
    columbia = login(tls, "Columbia")
    pipe = dial_inside(tls)
    pipe.ask("upload", announce(columbia, DATA)["ticket"], 0, DATA + b"and more" * 5_000)
    assert pipe.status() == "OK"
    assert download(dial_inside, login(tls, "SEAS")) == DATA


def test_a_record_that_was_changed_ends_the_upload(tls: House, dial_inside: Dial) -> None:
    columbia = login(tls, "Columbia")
    pipe = dial_inside(tls)
    pipe.ask("upload", announce(columbia, DATA)["ticket"])
    tls.settle()
    pipe.inside.raw.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    tls.settle()
    assert not tls.server.transfers._active


def test_several_take_turns_and_their_memory_is_bounded(tls: House, dial_inside: Dial) -> None:
    people = [login(tls, name) for name in ("Columbia", "facebook", "Google")]
    pipes = [dial_inside(tls) for _ in people]
    for peer, pipe in zip(people, pipes, strict=True):
        pipe.ask("upload", announce(peer, BIG, f"{peer.name}.bin")["ticket"])
    left = [BIG] * len(pipes)
    while any(left):
        for place, pipe in enumerate(pipes):
            pipe.send(left[place][:50_000])
            left[place] = left[place][50_000:]
    assert [pipe.status() for pipe in pipes] == ["OK"] * len(pipes)
    assert len(tls.server.transfers._share.buffer) < carriers.ALONE + (1 << 16)


def test_a_ticket_from_inside_is_not_good_outside(tls: House, dial: Callable[..., Pipe]) -> None:
    columbia, google = login(tls, "Columbia"), tls.login("Google")
    pipe = dial(tls)
    pipe.ask("upload", announce(columbia)["ticket"], 0, DATA)
    assert pipe.status() == "BAD_TICKET"
    outside = dial(tls)
    outside.ask("upload", announce(google)["ticket"], 0, DATA)
    assert outside.status() == "OK"


def test_a_refusal_and_a_wrong_digest_are_told_inside(tls: House, dial_inside: Dial) -> None:
    columbia = login(tls, "Columbia")
    pipe = dial_inside(tls)
    pipe.ask("upload", "no such ticket")
    assert pipe.status() == "BAD_TICKET"
    wrong = dial_inside(tls)
    wrong.ask("upload", announce(columbia, DATA)["ticket"], 0, DATA[::-1])
    assert wrong.status() == "DIGEST_MISMATCH"
