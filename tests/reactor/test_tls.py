"""TLS around real connections: what goes in comes out, whoever cuts is told from who ends, and nothing is unbounded."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.reactor import tlsstream
from chatlib.reactor.budget import Budget
from chatlib.reactor.connection import LINGER, Connection
from chatlib.reactor.tls import TlsConnection
from chatlib.reactor.tlsstream import NoAnonymousTls, TlsStream, anonymous_contexts
from tests.chance import new_chance
from tests.reactor.certificate import PEM
from tests.reactor.turns import Told, Turns

LISTENER, CALLER = anonymous_contexts()
NEXT_TO_NOTHING = 1e-9  # seconds for handshakes in a tick: one step uses that up
BIG = b"0123456789abcdef" * 40_000


class End(Told):
    """One end: TLS on a connection, and what its receiver is told."""

    def __init__(self, turns: Turns, sock: socket.socket, *, server: bool, begin: bool = True, **options: Any) -> None:
        super().__init__()
        self.turns = turns
        self.below = Connection(turns.loop, sock, "10.0.0.1", 1 << 16)
        context = options.pop("context", LISTENER if server else CALLER)
        secured = lambda: self.told.append("secured")  # noqa: E731
        self.tls = TlsConnection(turns.loop, self.below, context, self, server=server, on_secured=secured, **options)
        if begin:
            self.tls.begin()


def socketpair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
    return pair


Pair = Callable[..., tuple[End, End]]


@pytest.fixture
def pair(turns: Turns) -> Iterator[Pair]:
    """A caller and a listener; options of the one are `caller`, of the other `listener`."""
    ends: list[End] = []

    def make(caller: dict[str, Any] | None = None, listener: dict[str, Any] | None = None) -> tuple[End, End]:
        one, other = socketpair()
        ends.append(End(turns, other, server=True, **(listener or {})))
        ends.append(End(turns, one, server=False, **(caller or {})))
        return ends[-1], ends[-2]

    yield make
    for end in ends:
        end.tls.abort()


@pytest.fixture
def secured(turns: Turns, pair: Pair) -> tuple[End, End]:
    one, other = pair()
    turns.until(lambda: one.tls.secured and other.tls.secured)
    return one, other


# What goes in comes out.


def test_bytes_both_ways(turns: Turns, secured: tuple[End, End]) -> None:
    for one, other in (secured, secured[::-1]):
        assert one.tls.push(b"hello\n")
        turns.until(lambda other=other: other.data)  # type: ignore[misc]
        assert (other.data, other.told) == (b"hello\n", ["secured", "received"])
    assert secured[0].tls.address == "10.0.0.1"


def test_much_at_once_both_ways(turns: Turns, secured: tuple[End, End]) -> None:
    one, other = secured
    assert not one.tls.push(BIG)
    assert not other.tls.push(BIG[::-1])
    assert 0 < one.tls.backlog_size <= len(BIG)
    turns.until(lambda: len(one.data) == len(other.data) == len(BIG))
    assert (other.data, one.data) == (BIG, BIG[::-1])
    turns.until(lambda: "drained" in one.told)
    assert (one.tls.backlog_size, one.told.count("drained")) == (0, 1)
    assert 0 < one.tls.sent <= len(BIG)


def test_what_is_said_before_the_handshake_waits_for_it(turns: Turns, pair: Pair) -> None:
    one, other = pair()
    assert not one.tls.push(b"first ")
    one.tls.push(b"of all")
    turns.until(lambda: len(other.data) == 12)
    assert other.data == b"first of all"


def test_records_that_come_byte_by_byte(turns: Turns) -> None:
    sock, far = socketpair()
    far.setblocking(False)
    end = End(turns, sock, server=True)
    caller = TlsStream(CALLER, server=False)

    def exchange() -> None:
        for byte in caller.give_out():
            far.send(bytes([byte]))
            turns.tick()
        try:
            caller.take_in(far.recv(65_536))
        except BlockingIOError:
            turns.tick()

    while not caller.secured:
        caller.shake()
        exchange()
    caller.write(b"drop by drop")
    exchange()
    turns.until(lambda: end.data == b"drop by drop")
    assert end.tls.binding == caller.binding
    end.tls.abort()
    far.close()


def test_what_was_read_already_is_not_lost(turns: Turns) -> None:
    """A server looks at the first bytes before it knows that they are TLS."""
    sock, far = socketpair()
    far.setblocking(False)
    end, caller = End(turns, sock, server=True, begin=False), TlsStream(CALLER, server=False)
    caller.shake()
    end.tls.begin(caller.give_out())
    caller.take_in(far.recv(65_536))
    caller.shake()
    far.send(caller.give_out())
    turns.until(lambda: end.tls.secured)
    assert end.told == ["secured"]
    end.tls.abort()
    far.close()


def test_it_can_be_taken_for_a_connection(secured: tuple[End, End]) -> None:
    one, other = secured
    names = {name for name in dir(one.below) if not name.startswith("_")}
    channel = {"readable", "writable", "again", "broken"}  # what the loop calls
    assert names - channel - {"detach"} - set(dir(one.tls)) == set()
    one.tls.receive = 4_096
    assert (one.below.receive, one.tls.receive, one.tls.port) == (512, 4_096, one.below.port), "new keys take time"
    one.tls.receive = 5
    assert one.below.receive == 1, "0 would be an end"


def test_another_receiver_hears_what_follows(turns: Turns, secured: tuple[End, End]) -> None:
    one, other = secured
    other.tls.attach(one)
    one.tls.push(b"to myself")
    turns.until(lambda: one.data)
    assert (one.data, other.data) == (b"to myself", b"")
    other.tls.attach(other)


def test_who_is_paused_is_held_back(turns: Turns, secured: tuple[End, End]) -> None:
    one, other = secured
    other.tls.pause_reading()
    one.tls.push(b"later")
    turns.tick(5)
    assert other.data == b""
    other.tls.resume_reading()
    turns.until(lambda: other.data)
    assert other.data == b"later"


# What a channel is bound to.


def test_both_ends_know_the_same_of_their_channel_and_of_no_other(turns: Turns, pair: Pair) -> None:
    found = set()
    for _ in range(4):
        one, other = pair()
        assert one.tls.binding == b""
        turns.until(lambda one=one, other=other: one.tls.secured and other.tls.secured)  # type: ignore[misc]
        assert one.tls.binding == other.tls.binding
        assert len(one.tls.binding) == 12
        found.add(one.tls.binding)
    assert len(found) == 4


def test_a_session_that_is_resumed_is_bound_to_nothing() -> None:
    """Its tls-unique could be made the same on two connections."""
    server, first = TlsStream(LISTENER, server=True), TlsStream(CALLER, server=False)
    talk(server, first)
    assert server.binding
    again, second = TlsStream(LISTENER, server=True), TlsStream(CALLER, server=False)
    second._tls.session = first._tls.session
    talk(again, second)
    assert again._tls.session_reused == (again.binding == b"")
    again._tls = Resumed(again._tls)  # type: ignore[assignment]
    assert again.binding == b""


class Resumed:
    """What says of itself that it was resumed."""

    session_reused = True

    def __init__(self, tls: ssl.SSLObject) -> None:
        self._tls = tls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tls, name)


def talk(server: TlsStream, client: TlsStream) -> None:
    while not (server.secured and client.secured):
        for one, other in ((client, server), (server, client)):
            one.shake()
            other.take_in(one.give_out())


def test_the_cipher_is_the_one_that_wire_names() -> None:
    for context in (LISTENER, CALLER):
        assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_2
        assert {each["name"] for each in context.get_ciphers() if each["protocol"] != "TLSv1.3"} == {"AECDH-AES256-SHA"}
        for option in (ssl.OP_NO_TICKET, ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_COMPRESSION):
            assert context.options & option


@pytest.mark.parametrize("ciphers", ["NONSENSE", "ECDHE-RSA-AES256-GCM-SHA384"])
def test_a_platform_that_refuses_is_told_at_once(monkeypatch: pytest.MonkeyPatch, ciphers: str) -> None:
    """Where they cannot be asked for, and where they can but do not work."""
    monkeypatch.setattr(tlsstream, "ANONYMOUS", ciphers)
    with pytest.raises(NoAnonymousTls) as error:
        anonymous_contexts()
    assert str(error.value)


# With certificates, as a server's own port has them.


def certified(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    path = tmp_path / "pem"
    path.write_text(PEM)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cadata=PEM)
    server.load_cert_chain(path)
    return server, client


def test_a_certificate_that_is_known(turns: Turns, pair: Pair, tmp_path: Path) -> None:
    server, client = certified(tmp_path)
    one, other = pair({"context": client, "host": "localhost"}, {"context": server})
    one.tls.push(b"question")
    other.tls.push(b"answer")
    turns.until(lambda: one.data and other.data)
    assert (one.data, other.data) == (b"answer", b"question")
    assert one.tls.binding == b""  # TLS 1.3: nothing to rely on
    one.tls.close()
    turns.until(lambda: "ended" in other.told)


@pytest.mark.parametrize("host, known", [("elsewhere", True), ("localhost", False)])
def test_a_certificate_of_somebody_else(turns: Turns, pair: Pair, tmp_path: Path, host: str, known: bool) -> None:
    server, client = certified(tmp_path)
    one, other = pair({"context": client if known else ssl.create_default_context(), "host": host}, {"context": server})
    turns.until(lambda: "disconnected" in one.told and "disconnected" in other.told)
    assert one.tls.failure == "CERTIFICATE_VERIFY_FAILED"
    assert one.told == ["disconnected"]


# Two ways to end, and who cuts.


def test_a_clean_end_is_told_from_a_cut(turns: Turns, secured: tuple[End, End]) -> None:
    one, other = secured
    one.tls.push(b"last words")
    one.tls.close()
    turns.until(lambda: "ended" in other.told)
    assert (other.data, other.tls.failure) == (b"last words", "")
    assert not other.tls.hears
    other.tls.close()
    turns.until(lambda: "disconnected" in one.told and "disconnected" in other.told)
    assert other.told == ["secured", "received", "ended", "disconnected"]
    assert (one.tls.failure, other.tls.failure) == ("", "")


def test_who_is_cut_off_is_told_so(turns: Turns, secured: tuple[End, End]) -> None:
    one, other = secured
    one.tls.push(b"and so I")
    one.below.abort()
    turns.until(lambda: "disconnected" in other.told)
    assert (other.told, other.tls.failure) == (["secured", "received", "disconnected"], "cut")
    assert not other.tls.push(b"hello?")


def test_closing_sends_first_what_waits(turns: Turns, secured: tuple[End, End]) -> None:
    one, other = secured
    one.tls.push(BIG)
    one.tls.close()
    assert not one.tls.push(b"not any more")
    other.tls.push(b"you leave?")
    turns.until(lambda: "ended" in other.told)
    assert (other.data, other.tls.failure) == (BIG, "")
    assert one.data == b""


def test_closing_does_not_wait_for_ever(turns: Turns, secured: tuple[End, End]) -> None:
    one, other = secured
    other.tls.pause_reading()
    one.tls.push(BIG)
    one.tls.close()
    turns.tick(5)
    assert "disconnected" not in one.told
    turns.tick(after=LINGER)
    assert one.told[-1] == "disconnected"


def test_closing_before_the_handshake(turns: Turns, pair: Pair) -> None:
    one, other = pair()
    one.tls.push(b"never said")
    one.tls.close()
    turns.until(lambda: "disconnected" in other.told)
    assert other.data == b""


def test_nothing_comes_behind_the_announced_end(turns: Turns) -> None:
    sock, far = socketpair()
    end, caller = End(turns, sock, server=True), TlsStream(CALLER, server=False)
    shake(turns, end, caller, far)
    caller.write(b"one")
    caller.finish()
    far.send(caller.give_out() + b"x" * 4_000)
    turns.until(lambda: "ended" in end.told)
    far.send(b"y" * 4_000)
    turns.tick(5)
    assert (end.data, end.told) == (b"one", ["secured", "received", "ended"])
    end.tls.abort()
    far.close()


def shake(turns: Turns, end: End, caller: TlsStream, far: socket.socket) -> None:
    far.setblocking(False)
    while not (caller.secured and end.tls.secured):
        caller.shake()
        far.send(caller.give_out() or b"")
        turns.tick(2)
        try:
            caller.take_in(far.recv(65_536))
        except BlockingIOError:
            continue


# Whoever means harm.


def test_a_record_that_was_changed_on_its_way_ends_it(turns: Turns) -> None:
    sock, far = socketpair()
    end, caller = End(turns, sock, server=True), TlsStream(CALLER, server=False)
    shake(turns, end, caller, far)
    caller.write(b"pay bob 1")
    record = bytearray(caller.give_out())
    record[-1] ^= 1
    far.send(record)
    turns.until(lambda: "disconnected" in end.told)
    assert (end.data, bool(end.tls.failure), end.tls.failure == "cut") == (b"", True, False)
    far.close()


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n\r\n", b'{"action":"hello"}\n', bytes(600), b"\x16\x03\x01\xff\xff" * 9]
)
def test_what_is_no_tls(turns: Turns, first: bytes) -> None:
    sock, far = socketpair()
    end = End(turns, sock, server=True)
    far.send(first)
    turns.until(lambda: end.told)
    assert end.told == ["disconnected"]
    assert end.tls.failure
    far.close()


def test_random_bytes_and_records_raise_nothing(turns: Turns) -> None:
    chance = new_chance()
    for number in range(200):
        sock, far = socketpair()
        far.setblocking(False)
        end, caller = End(turns, sock, server=True), TlsStream(CALLER, server=False)
        if number % 2:
            shake(turns, end, caller, far)
            caller.write(chance.randbytes(200))
        else:
            caller.shake()
        said = bytearray(caller.give_out())
        for _ in range(chance.randrange(1, 8)):
            kind = chance.randrange(3)
            if kind == 0:
                said[chance.randrange(len(said))] = chance.randrange(256)
            elif kind == 1:
                said[chance.randrange(len(said)) : 0] = chance.randbytes(chance.randrange(40))
            else:
                head = bytes([chance.choice((20, 21, 22, 23, 99)), 3, chance.randrange(5)])
                body = chance.randbytes(chance.randrange(60))
                said += head + len(body).to_bytes(2, "big") + body
        far.send(said)
        turns.tick(2)
        far.close()
        turns.until(lambda end=end: end.told and end.told[-1] in ("ended", "disconnected"))  # type: ignore[misc]
        assert turns.faults == []
        end.tls.abort()


def test_no_more_comes_in_than_is_allowed(turns: Turns, pair: Pair) -> None:
    one, other = pair(listener={"allowance": 2_000})
    one.tls.push(b"x" * 1_000)
    turns.until(lambda: other.data)
    assert other.tls.allowance > 0
    one.tls.push(b"x" * 1_000)
    turns.until(lambda: "disconnected" in other.told)
    assert (other.data, other.tls.failure) == (b"x" * 1_000, "too many bytes")


def test_a_peer_that_does_not_read_is_a_slow_consumer(turns: Turns, pair: Pair) -> None:
    one, other = pair({"limit": 100_000})
    turns.until(lambda: one.tls.secured and other.tls.secured)
    other.tls.pause_reading()
    one.tls.push(BIG[:200_000])
    turns.tick(3)
    assert one.told == ["secured"]  # one large answer alone makes none
    one.tls.push(b"more")
    assert one.told == ["secured", "overflowed"]
    assert one.below.backlog_size < 40_000  # all else is plain


def test_a_line_that_is_out_in_part_is_kept_when_all_else_is_dropped(turns: Turns, secured: tuple[End, End]) -> None:
    one, other = secured
    other.tls.pause_reading()
    lines = [b"%06d%s\n" % (number, b"." * 3_000) for number in range(200)]
    one.tls.push(b"".join(lines))
    turns.tick(3)
    one.tls.drop_backlog()
    one.tls.push(b"bye\n")
    other.tls.resume_reading()
    turns.until(lambda: other.data.endswith(b"bye\n"))
    got = other.data.splitlines(keepends=True)
    assert got[:-1] == lines[: len(got) - 1]
    assert 1 < len(got) < 100
    assert one.tls.backlog_size == 0


# The budget for handshakes.


def test_handshakes_take_their_turn(turns: Turns, pair: Pair) -> None:
    shaking = Budget(turns.loop, NEXT_TO_NOTHING)
    pairs = [pair(listener={"shaking": shaking}) for _ in range(12)]
    done: list[int] = []
    while not all(other.tls.secured for _, other in pairs):
        turns.tick()
        done.append(sum(other.tls.secured for _, other in pairs))
    assert max(later - before for before, later in zip(done, done[1:], strict=False)) == 1
    for one, other in pairs:
        one.tls.push(b"in")
        turns.until(lambda other=other: other.data)  # type: ignore[misc]
        assert other.told[0] == "secured"


def test_who_pauses_while_waiting_for_a_turn_stays_paused(turns: Turns, pair: Pair) -> None:
    shaking = Budget(turns.loop, NEXT_TO_NOTHING)
    _, first = pair(listener={"shaking": shaking})
    one, other = pair(listener={"shaking": shaking})
    turns.tick()
    other.tls.pause_reading()
    turns.tick(10)
    one.tls.push(b"hello")
    turns.tick(10)
    assert other.data == b""
    other.tls.resume_reading()
    turns.until(lambda: other.data)
    assert other.data == b"hello"


def test_who_ends_while_waiting_for_a_turn(turns: Turns, pair: Pair) -> None:
    shaking = Budget(turns.loop, NEXT_TO_NOTHING)
    _, first = pair(listener={"shaking": shaking})
    _, other = pair(listener={"shaking": shaking})
    turns.tick()
    other.tls.abort()
    turns.until(lambda: first.tls.secured)
    assert other.told == ["disconnected"]
