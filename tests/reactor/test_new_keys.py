"""TLS 1.3: whoever asks for new keys again and again, or sends records with next to nothing, costs little."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from chatlib.reactor.bulk import SLACK, TlsBulk
from chatlib.reactor.presented import load
from chatlib.reactor.tlsstream import HOLLOW, Hollow, TlsStream
from tests.client.certificates import certificate
from tests.reactor.newkeys import NewKeys


@pytest.fixture
def caller() -> Iterator[NewKeys]:
    client = NewKeys()
    yield client
    client.close()


@pytest.fixture
def stream(caller: NewKeys) -> TlsStream:
    server = TlsStream(load(certificate(), certificate()).context, server=True)
    for _ in range(3):
        caller.shake()
        server.take_in(caller.give_out())
        server.shake()
        caller.take_in(server.give_out())
    assert server.secured
    return server


def test_new_keys_for_nothing_end_it_soon(caller: NewKeys, stream: TlsStream) -> None:
    said = 0
    with pytest.raises(Hollow):
        while True:
            records = caller.ask()
            said += len(records)
            stream.take_in(records)
            assert stream.read() == b""
    assert HOLLOW < said < HOLLOW + 100
    assert stream.pending < HOLLOW + 100, "the answers have a bound, too"


def test_new_keys_now_and_then_are_anybody_s_right(caller: NewKeys, stream: TlsStream) -> None:
    for _ in range(2_000):
        stream.take_in(caller.ask())
        caller.write(b"hello")
        stream.take_in(caller.give_out())
        assert stream.read() == b"hello"
        caller.take_in(stream.give_out())


def test_records_of_one_byte_are_slow_and_no_more(caller: NewKeys, stream: TlsStream) -> None:
    for _ in range(3_000):
        caller.write(b"x")
    stream.take_in(caller.give_out())
    assert stream.read() == b"x" * 3_000


def test_a_record_that_comes_byte_by_byte_is_no_nothing(caller: NewKeys, stream: TlsStream) -> None:
    caller.write(b"x" * 16_384)
    heard = b""
    for byte in caller.give_out():
        stream.take_in(bytes([byte]))
        heard += stream.read()
    assert heard == b"x" * 16_384


def test_an_upload_of_new_keys_ends_before_it_holds_the_loop_up(caller: NewKeys, stream: TlsStream) -> None:
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        for end in (here, there):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        there.send(b"".join(caller.ask() for _ in range(8_000)))
        with pytest.raises(Hollow):
            TlsBulk(here, stream).take(memoryview(bytearray(SLACK + (256 << 10))), 256 << 10)
        assert stream.pending < 2 * HOLLOW, "so many were answered, not all that had come"
