"""TLS on the server's own port: who comes in, what a proof is bound to, who is turned away, and what it may cost."""

from __future__ import annotations

import gc
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.reactor.budget import Budget
from chatlib.reactor.tls import TlsConnection
from chatlib.reactor.tlsstream import TlsStream
from chatlib.server.session import LOGIN_TIME
from chatlib.server.tlsdoor import HELLO
from tests.server.house import VERIFIER, House
from tests.server.inside import CLIENT, TlsSocket, go_inside, login, offer


@pytest.fixture
def tls(house: House) -> House:
    offer(house)
    return house


def version(name: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version = context.maximum_version = name
    return context


# Inside, all is as outside.


@pytest.mark.parametrize("context", [CLIENT, version(ssl.TLSVersion.TLSv1_2)], ids=["1.3", "1.2"])
def test_people_talk_over_tls_and_to_those_who_come_without(tls: House, context: ssl.SSLContext) -> None:
    seas, google = login(tls, "SEAS", context), tls.login("Google")
    assert seas.ask("message", to="Google", text="from inside")["status"] == "OK"
    assert google.ask("message", to="SEAS", text="from outside")["status"] == "OK"
    assert seas.ask("broadcast", text="to all")["status"] == "OK"
    tls.settle()
    assert google.texts == ["from inside", "to all"]
    assert seas.texts == ["from outside", "to all"]


def test_a_large_answer_and_one_who_reads_slowly(tls: House) -> None:
    seas, google = login(tls, "SEAS"), tls.login("Google")
    for number in range(150):
        google.ask("message", to="SEAS", text=f"{number} " + "x" * 4_000)
    seas.read_until(lambda: len(seas.texts) == 150)
    assert [int(text.split()[0]) for text in seas.texts] == list(range(150))


def test_a_slow_consumer_is_let_go_and_finds_the_rest_at_its_next_login(tls: House) -> None:
    tls.server.tls._limit = 50_000
    seas, google = login(tls, "SEAS"), tls.login("Google")
    for number in range(150):
        google.ask("message", to="SEAS", text=f"{number} " + "x" * 4_000)
    assert "seas" not in tls.server.world.online
    seas.read_until(lambda: seas.closed)
    assert seas.events[-1]["status"] == "SLOW_CONSUMER"
    got = [int(text.split()[0]) for text in seas.texts]
    again = login(tls, "SEAS")
    again.read_until(lambda: again.texts and again.texts[-1].startswith("149 "))
    assert got == list(range(len(got)))
    assert sorted({*got, *(int(text.split()[0]) for text in again.texts)}) == list(range(150))


def test_the_hello_of_tls_comes_byte_by_byte(tls: House) -> None:
    peer, stream = tls.connect(), TlsStream(CLIENT, server=False)

    def by_bytes() -> None:
        for byte in stream.give_out():
            peer.say(bytes([byte]))
            tls.tick()
        tls.settle()

    stream.shake()
    by_bytes()
    stream.take_in(peer.socket.recv(1 << 16))
    stream.shake()
    stream.write(b'{"action":"hello","protocol":1}\n')
    by_bytes()
    stream.take_in(peer.socket.recv(1 << 16))
    assert b'"status":"OK"' in stream.read()


def test_who_says_that_it_will_send_no_more_still_gets_its_replies(tls: House) -> None:
    peer = go_inside(tls.connect())
    peer.say({"action": "hello", "protocol": 1}, {"action": "register", "user": "new"})
    peer.end()
    tls.settle()
    assert [message["status"] for message in peer.hear()] == ["OK", "OK"]
    assert peer.closed


def test_hello_says_that_there_is_tls_to_those_who_come_without(tls: House) -> None:
    assert tls.connect().hello()["tls"] is True
    assert "tls" not in go_inside(tls.connect()).hello()


def test_a_console_from_afar(tls: House) -> None:
    tls.write("credentials.txt", tls.read("credentials.txt") + f"admin {VERIFIER}\n")
    tls.reload()
    peer = go_inside(tls.connect())
    peer.hello()
    assert peer.prove("admin", "admin")["status"] == "OK"
    assert peer.ask("console", line="stats")["status"] == "OK"
    tls.settle()
    assert tls.server.tls.fingerprint in str(peer.events)


# Proofs are bound to the certificate.


@pytest.mark.parametrize("binding", [None, b""], ids=["n", "y"])
def test_over_tls_a_proof_that_is_not_bound_is_refused(tls: House, binding: bytes | None) -> None:
    peer = go_inside(tls.connect())
    peer.hello()
    peer.binding = binding
    reply = peer.prove("login", "SEAS")
    assert reply["status"] == "BAD_REQUEST"
    assert "bound to the server's certificate" in reply["text"]
    peer.binding = peer.socket.binding  # type: ignore[attr-defined]
    assert peer.prove("login", "SEAS")["status"] == "OK"


def test_who_was_kept_from_tls_is_told_at_login(tls: House) -> None:
    peer = tls.greet()
    peer.binding = b""  # what a client says that was offered none: somebody took "tls" out of hello's reply
    reply = peer.prove("login", "SEAS")
    assert (reply["status"], "has kept that from your client" in reply["text"]) == ("BAD_REQUEST", True)
    assert tls.server.figures.counters["TLS: proofs of another channel"] == 1


def test_a_relay_with_another_certificate_cannot_log_in(tls: House) -> None:
    peer = go_inside(tls.connect())
    peer.hello()
    peer.binding = b"the hash of the relay's certificate"
    for _ in range(5):
        reply = peer.prove("login", "SEAS")
        assert (reply["status"], "bound to another certificate" in reply["text"]) == ("BAD_REQUEST", True)
    peer.binding = peer.socket.binding  # type: ignore[attr-defined]
    assert peer.prove("login", "SEAS")["status"] == "OK", "it counts as no wrong password"


def test_a_bound_proof_that_comes_outside_is_refused(tls: House) -> None:
    peer = tls.greet()
    peer.binding = b"of some relay"
    reply = peer.prove("login", "SEAS")
    assert (reply["status"], "not TLS where it arrives" in reply["text"]) == ("BAD_REQUEST", True)


# Who may stay outside.


def test_tls_may_be_required(tmp_path: Path) -> None:
    house = House(tmp_path, REQUIRE_TLS="yes")
    try:
        offer(house)
        peer = house.connect()
        reply = peer.ask("hello", protocol=1)
        assert (reply["status"], "--tls" in reply["text"]) == ("TLS_REQUIRED", True)
        assert (peer.closed, peer.events[-1]["status"]) == (True, "TLS_REQUIRED")
        assert login(house, "SEAS").user == "SEAS"
    finally:
        house.close()


def test_a_server_without_tls_says_so_in_tls(house: House) -> None:
    peer = house.connect()
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        TlsSocket(house, peer.socket)
    house.settle()
    assert peer.socket.recv(10) == b""


def test_tls_1_1_is_refused(tls: House) -> None:
    for old in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1):
        peer = tls.connect()
        with pytest.raises(ssl.SSLError):
            TlsSocket(tls, peer.socket, version(old))
        tls.settle()
    assert tls.server.figures.counters["TLS: handshakes"] == 0


def test_tls_inside_tls_is_not_spoken(tls: House) -> None:
    peer = go_inside(tls.connect())
    peer.say(b"\x16\x03\x01\x00\x05hello")
    tls.settle()
    assert peer.hear()[-1]["status"] == "PROTOCOL_ERROR"


# Strangers.


def open_connections(house: House) -> int:
    house.settle()
    return len(house.server.sessions)


@pytest.mark.parametrize("junk", [b"\x16", b"\x16\x03\x01", b"\x16\x03\x01\x40\x00" + b"\x01\x00\x00\x90" + b"x" * 900])
def test_half_a_handshake_has_the_login_time(tls: House, junk: bytes) -> None:
    seas, peer = login(tls, "SEAS"), tls.connect()
    peer.say(junk)
    assert open_connections(tls) == 2
    assert not peer.closed
    tls.pass_time(LOGIN_TIME + 6, 10)
    assert open_connections(tls) == 1
    assert seas.ask("alive")["status"] == "OK"


GARBAGE = [b"\x16GET / HTTP/1.1\r\n\r\n", b"\x16" * 3_000, b"\x16\x03\x01\x00\x04\x01\x00\x00\x00"]


@pytest.mark.parametrize("junk", GARBAGE)
def test_garbage_behind_the_first_byte_ends_it_quietly(tls: House, junk: bytes) -> None:
    tls.heard_by_admin()
    peer = tls.connect()
    peer.say(junk)
    assert open_connections(tls) == 0
    assert (peer.socket.recv(100) or b"\x15")[:1] == b"\x15", "an alert, if anything"
    assert tls.heard_by_admin() == []
    assert "Traceback" not in tls.log()


def test_a_stranger_may_not_fill_the_memory_before_the_handshake_is_over(tls: House) -> None:
    peer = tls.connect()
    hello = b"\x16\x03\x01\x3f\xff" + b"\x01\x00\xff\xff" + b"x" * 16_379
    for _ in range(4):
        peer.say(hello)
        tls.settle()
    assert open_connections(tls) == 0
    assert len(hello) > HELLO // 2


def test_handshakes_wait_for_their_turn_and_hold_up_nobody_who_is_in(tls: House) -> None:
    door, loop = tls.server.tls, tls.server.loop
    seas, google = login(tls, "SEAS"), tls.login("Google")
    door._shaking = Budget(loop, 1e-9)  # one step of one handshake in each tick
    hello = TlsStream(CLIENT, server=False)
    hello.shake()
    first = hello.give_out()
    crowd = [tls.connect() for _ in range(20)]
    for peer in crowd:
        peer.say(first)
    crowd[7].hang_up()
    begun = tls.server.figures.counters["TLS: connections"]
    for number in range(10):
        google.say({"action": "message", "to": "SEAS", "text": str(number)})
        tls.tick(2)
        assert seas.texts[-1:] == [str(number)], "said and heard, while the others wait"
        assert tls.server.figures.counters["TLS: connections"] - begun <= 2 * (number + 1)
    assert len(door._shaking) > 0, "some still wait"
    tls.settle()
    assert tls.server.figures.counters["TLS: connections"] - begun in (19, 20)
    assert all(peer.socket.recv(1 << 16).startswith(b"\x16") for peer in crowd if peer in tls.peers)


def test_strangers_over_tls_are_strangers(build: Callable[..., House]) -> None:
    """So many of an address are heard; the next one waits, unread, until one has logged in."""
    house = build(STRANGERS_PER_ADDRESS=2)
    offer(house)
    one, other = go_inside(house.connect()), go_inside(house.connect())
    one.hello()
    other.hello()
    third, stream = house.connect(), TlsStream(CLIENT, server=False)
    stream.shake()
    third.say(stream.give_out())
    house.settle()
    with pytest.raises(BlockingIOError):
        third.socket.recv(1 << 16)
    assert one.prove("login", "SEAS")["status"] == "OK"
    house.settle()
    assert third.socket.recv(1 << 16).startswith(b"\x16"), "it is its turn"
    other.hang_up()
    house.settle()
    assert login(house, "Google").user == "Google"


def test_who_is_mistaken_too_often_or_too_long_is_sent_away_inside(tls: House) -> None:
    for words in (b"x" * 5_000, b"junk\n" * 30):
        peer = go_inside(tls.connect())
        peer.hello()
        peer.say(words)
        tls.settle()
        assert peer.hear()[-1]["status"] == "PROTOCOL_ERROR"
        assert peer.closed


def test_nobody_negotiates_anew(tls: House) -> None:
    peer = go_inside(tls.connect(), version(ssl.TLSVersion.TLSv1_2))
    peer.hello()
    connection = next(iter(tls.server.sessions)).connection
    assert isinstance(connection, TlsConnection)
    context = tls.server.tls._shown.context  # type: ignore[union-attr]
    for option in (ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_TICKET, ssl.OP_NO_COMPRESSION):
        assert context.options & option
    assert (context.num_tickets, context.minimum_version) == (0, ssl.TLSVersion.TLSv1_2)


def test_what_comes_and_goes_leaves_no_garbage(tls: House) -> None:
    def visit(end: str) -> None:
        peer = go_inside(tls.connect())
        peer.hello()
        if end == "clean":
            peer.end()
            tls.settle()
        elif end == "detached":
            peer.say({"action": "download", "ticket": "none", "offset": 0})
        peer.hang_up()
        tls.settle()

    for end in ("clean", "cut", "detached"):
        visit(end)
    gc.collect()
    gc.disable()
    try:
        before = sum(type(each) is TlsConnection for each in gc.get_objects())
        for end in ("clean", "cut", "detached"):
            visit(end)
        assert sum(type(each) is TlsConnection for each in gc.get_objects()) == before
    finally:
        gc.enable()


def test_sessions_of_tls_1_2_are_not_kept_for_ever(tls: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.server.tlsdoor.REMEMBERED", 3)
    seen = set()
    for _ in range(9):
        peer = go_inside(tls.connect(), version(ssl.TLSVersion.TLSv1_2))
        peer.hello()
        peer.end()
        tls.settle()
        assert peer.closed
        shown = tls.server.tls._shown
        assert shown is not None and shown.remembers <= 5
        seen.add(shown.context)
    assert len(seen) > 1
