"""Connections over real sockets: backpressure both ways, and two ways to end."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from chatlib.reactor.connection import LINGER, Connection, Listener, push_to_all
from tests.conftest import Python
from tests.reactor.turns import Peer, Turns

BIG = b"0123456789abcdef" * 16_384  # more than any kernel takes at once here


@pytest.fixture
def peer(turns: Turns) -> Iterator[Peer]:
    peer = Peer(turns)
    yield peer
    peer.connection.abort()
    peer.far.close()


def drained(turns: Turns, peer: Peer, size: int) -> bytes:
    """All of `size` bytes, as a peer that reads gets them."""
    got = b""
    while len(got) < size:
        piece = peer.take()
        if piece == b"":
            break
        got += piece or b""
        turns.tick()
    return got


# Input.


def test_bytes_come_in(turns: Turns, peer: Peer) -> None:
    peer.far.send(b"hello\n")
    turns.until(lambda: peer.told)
    peer.far.send(b"again\n")
    turns.until(lambda: len(peer.told) == 2)
    assert (peer.data, peer.told) == (b"hello\nagain\n", ["received", "received"])
    assert peer.connection.address == "10.0.0.1"
    assert peer.connection.open
    assert peer.connection.hears


def test_one_bounded_read_a_tick(turns: Turns) -> None:
    peer = Peer(turns)
    peer.far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    sent = peer.far.send(b"x" * 150_000)
    turns.tick()
    assert 0 < len(peer.data) <= 65_536
    turns.until(lambda: len(peer.data) == sent)
    assert peer.told.count("received") >= 3
    peer.connection.abort()
    peer.far.close()


def test_a_peer_that_is_not_read_is_held_back(turns: Turns, peer: Peer) -> None:
    peer.connection.pause_reading()
    peer.far.send(b"later")
    turns.tick(3)
    assert peer.told == []
    peer.connection.resume_reading()
    turns.until(lambda: peer.told)
    assert peer.data == b"later"


def test_a_peer_that_ends_may_still_read(turns: Turns, peer: Peer) -> None:
    peer.far.send(b"last words")
    peer.far.shutdown(socket.SHUT_WR)
    turns.until(lambda: "ended" in peer.told)
    assert peer.told == ["received", "ended"]
    assert not peer.connection.hears
    assert peer.connection.open
    peer.connection.resume_reading()  # there is nothing to resume
    turns.tick(3)
    assert peer.told == ["received", "ended"]
    assert peer.connection.push(b"reply")
    assert peer.take() == b"reply"
    peer.connection.close()
    assert peer.told == ["received", "ended", "disconnected"]
    assert peer.take() == b""


def test_the_first_bytes_may_decide_for_another_protocol(turns: Turns, peer: Peer) -> None:
    other = Peer(turns)
    peer.far.send(b"one")
    turns.until(lambda: peer.told)
    peer.connection.attach(other)
    peer.far.send(b"two")
    turns.until(lambda: other.told)
    assert (peer.data, other.data) == (b"one", b"two")
    other.connection.abort()
    other.far.close()


def test_a_detached_socket_stays_open_and_is_not_told_of(turns: Turns, peer: Peer) -> None:
    sock = peer.connection.detach()
    peer.far.send(b"for another")
    turns.tick(2)
    assert peer.told == []
    assert not peer.connection.open
    assert sock.recv(99) == b"for another"
    peer.connection.abort()
    assert peer.told == []
    sock.close()


# Output.


def test_what_the_kernel_takes_is_sent_at_once(turns: Turns, peer: Peer) -> None:
    assert peer.connection.push(b"hello") is True
    assert peer.take() == b"hello"
    assert peer.connection.backlog_size == 0
    assert peer.told == []


def test_what_it_does_not_take_waits_and_goes_out_in_order(turns: Turns, peer: Peer) -> None:
    assert peer.connection.push(BIG) is False
    assert 0 < peer.connection.backlog_size < len(BIG)
    pieces = [b"%d\n" % number for number in range(500)]  # more than one call gathers
    for piece in pieces:
        assert peer.connection.push(piece) is False
    wanted = BIG + b"".join(pieces)
    assert drained(turns, peer, len(wanted)) == wanted
    turns.until(lambda: peer.told)
    assert peer.told == ["drained"]
    assert peer.connection.backlog_size == 0
    assert peer.connection.push(b"next") is True
    turns.tick(3)
    assert peer.told == ["drained"]


def test_a_full_kernel_buffer_takes_nothing(turns: Turns, peer: Peer) -> None:
    while peer.connection.push(b"x" * 512):
        pass
    size = peer.connection.backlog_size
    assert peer.connection.push(b"y" * 10) is False
    assert peer.connection.backlog_size == size + 10
    peer.connection.writable()  # called too early: no harm
    assert peer.connection.backlog_size == size + 10


def test_a_slow_consumer_is_told_of_at_the_limit(turns: Turns) -> None:
    peer = Peer(turns, limit=100_000)
    peer.connection.push(BIG[:50_000])
    assert peer.told == []
    while not peer.told:
        peer.connection.push(b"x" * 1_000)
    assert peer.told == ["overflowed"]
    assert 101_000 < peer.connection.backlog_size <= 102_000  # over the limit, and still growing
    peer.connection.abort()
    peer.far.close()


@pytest.mark.parametrize("sent", range(1, 14))
def test_dropping_the_backlog_keeps_the_line_that_is_partly_out(turns: Turns, peer: Peer, sent: int) -> None:
    """What the peer reads in the end is whole lines, however much of them the kernel had taken."""
    real = peer.connection._send
    peer.connection._send = lambda data: real(data[:sent])
    assert peer.connection.push(b"one\ntwo\nthree\n") is False
    peer.connection._send = real
    peer.connection.push(b"four\n")
    peer.connection.drop_backlog()
    peer.connection.push(b"bye\n")
    turns.tick(2)
    got = peer.take()
    assert got is not None
    whole = [b"one\n", b"two\n", b"three\n"]
    assert got in [b"".join(whole[:count]) + b"bye\n" for count in (1, 2, 3)]


def test_dropping_a_backlog_that_nothing_was_taken_of(turns: Turns, peer: Peer) -> None:
    peer.connection.drop_backlog()
    while peer.connection.push(b"x" * 512):
        pass
    peer.connection.drop_backlog()
    before = peer.connection.backlog_size
    peer.connection.push(b"more\n")
    peer.connection.drop_backlog()
    assert peer.connection.backlog_size == before == 0


# The end.


def test_close_sends_everything_first(turns: Turns, peer: Peer) -> None:
    peer.connection.push(BIG)
    peer.connection.push(b"bye\n")
    peer.connection.close()
    peer.connection.close()
    assert not peer.connection.open
    assert drained(turns, peer, len(BIG) + 4) == BIG + b"bye\n"
    turns.tick()
    assert peer.take() == b"", "the end comes behind the last byte"
    assert peer.told == [], "and the connection waits for the peer to close, too"
    peer.far.close()
    turns.until(lambda: peer.told)
    assert peer.told == ["disconnected"]


def test_what_comes_while_closing_is_passed_over(turns: Turns, peer: Peer) -> None:
    peer.connection.push(b"bye\n")
    peer.connection.close()
    for _ in range(3):
        peer.far.send(b"but I had more to say" * 100)
        turns.tick()
    assert (peer.data, peer.told) == (b"", [])
    assert peer.take() == b"bye\n"  # had the socket been closed with unread bytes, it might never have arrived
    peer.far.close()
    turns.until(lambda: peer.told)
    assert peer.told == ["disconnected"]


@pytest.mark.parametrize("reads", [True, False])
def test_a_peer_that_neither_reads_nor_closes_is_given_up_after_a_while(turns: Turns, peer: Peer, reads: bool) -> None:
    peer.connection.push(b"bye\n" if reads else BIG)
    peer.connection.close()
    turns.tick(after=LINGER - 0.1)
    assert peer.told == []
    turns.tick(after=0.2)
    assert peer.told == ["disconnected"]
    turns.tick(after=LINGER)
    assert peer.told == ["disconnected"]


def test_abort_ends_at_once(turns: Turns, peer: Peer) -> None:
    peer.connection.push(BIG)
    peer.connection.abort()
    peer.connection.abort()
    assert peer.told == ["disconnected"]
    assert peer.connection.push(b"too late") is False
    peer.connection.close()
    peer.connection.resume_reading()
    peer.connection.readable()
    peer.connection.writable()
    turns.tick(2)
    assert peer.told == ["disconnected"]
    got = b""
    while piece := peer.take():
        got += piece
    assert len(got) < len(BIG)


def test_a_fault_above_aborts_the_connection_alone(turns: Turns, peer: Peer) -> None:
    def fault(_data: bytes) -> None:
        raise RuntimeError("a bug")

    other = Peer(turns)
    peer.received = fault  # type: ignore[method-assign]
    peer.far.send(b"x")
    other.far.send(b"y")
    turns.tick(2)
    assert peer.told == ["disconnected"]
    assert other.data == b"y"
    assert [str(fault) for fault in turns.faults] == ["a bug"]
    turns.faults.clear()
    other.connection.abort()
    other.far.close()


# Over TCP: what peers do.


@pytest.fixture
def tcp(turns: Turns) -> Iterator[Peer]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        far = socket.create_connection(listening.getsockname())
        near, _ = listening.accept()
    peer = Peer(turns, sock=near)
    peer.far = far
    yield peer
    peer.connection.abort()
    far.close()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_a_reset_is_a_disconnection_like_any_other(turns: Turns, tcp: Peer) -> None:
    reset(tcp.far)
    turns.until(lambda: tcp.told)
    assert tcp.told == ["disconnected"]


def test_a_reset_noticed_while_sending(turns: Turns, tcp: Peer) -> None:
    tcp.connection.pause_reading()
    reset(tcp.far)
    while tcp.connection.open:
        tcp.connection.push(b"x")
    assert tcp.told == ["disconnected"]


def test_a_reset_while_a_backlog_waits(turns: Turns, tcp: Peer) -> None:
    while tcp.connection.push(b"x" * 65_536):
        pass
    tcp.connection.pause_reading()
    reset(tcp.far)
    turns.until(lambda: tcp.told)
    assert tcp.told == ["disconnected"]


def test_a_reset_while_closing(turns: Turns, tcp: Peer) -> None:
    tcp.connection.close()
    tcp.far.send(b"x")
    reset(tcp.far)
    turns.until(lambda: tcp.told)
    assert tcp.told == ["disconnected"]


def test_closing_what_the_peer_has_reset_already(turns: Turns, tcp: Peer) -> None:
    tcp.connection.pause_reading()
    reset(tcp.far)
    tcp.connection.close()
    turns.until(lambda: tcp.told)
    assert tcp.told == ["disconnected"]


# Listening.


def test_a_listener_accepts_until_it_would_block(turns: Turns) -> None:
    accepted: list[tuple[socket.socket, str]] = []
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    listener = Listener(turns.loop, listening, lambda sock, peer: accepted.append((sock, peer)), pytest.fail)
    clients = [socket.create_connection(address) for _ in range(5)]
    turns.until(lambda: len(accepted) == 5)
    assert {peer for _, peer in accepted} == {"127.0.0.1"}
    listener.close()
    turns.tick()
    with pytest.raises(ConnectionError):
        socket.create_connection(address)
    for sock in [*clients, *(sock for sock, _ in accepted)]:
        sock.close()


def test_a_connection_knows_its_peers_port_while_it_has_one(turns: Turns, peer: Peer) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listening.getsockname())
    sock, _ = listening.accept()
    connection = Connection(turns.loop, sock, "127.0.0.1", 1)
    connection.attach(peer)
    assert connection.port == client.getsockname()[1]
    assert peer.connection.port == 0, "a socket without one"
    connection.abort()
    assert connection.port == 0
    listening.close(), client.close()


class Accepting:
    """A listening socket whose accepts come out as a test says."""

    def __init__(self, *outcomes: OSError | str) -> None:
        self.outcomes = list(outcomes)
        self.real = socket.create_server(("127.0.0.1", 0))
        self.client = socket.create_connection(self.real.getsockname())
        self.fileno, self.setblocking = self.real.fileno, self.real.setblocking

    def accept(self) -> tuple[str, tuple[str, int]]:
        outcome = self.outcomes.pop(0) if self.outcomes else BlockingIOError()
        if isinstance(outcome, OSError):
            raise outcome
        return outcome, (outcome, 1)

    def close(self) -> None:
        self.client.close()
        self.real.close()


def test_a_connection_that_went_before_it_was_accepted_is_passed_over(turns: Turns) -> None:
    accepted: list[str] = []
    listening = Accepting(ConnectionAbortedError(), "10.0.0.7", InterruptedError())
    listener = Listener(turns.loop, listening, lambda _, peer: accepted.append(peer), pytest.fail)  # type: ignore[arg-type]
    turns.tick()
    assert accepted == ["10.0.0.7"]
    listener.close()


def test_out_of_descriptors_it_stops_for_a_moment_and_says_so_now_and_then(turns: Turns) -> None:
    said: list[str] = []
    accepted: list[str] = []
    full = OSError(24, "Too many open files")
    listening = Accepting(full, full, "10.0.0.1", full, full)
    listener = Listener(turns.loop, listening, lambda _, peer: accepted.append(peer), said.append)  # type: ignore[arg-type]
    turns.tick(3)
    assert len(listening.outcomes) == 4, "it does not try in every tick"
    turns.tick(after=Listener.PAUSE)  # goes on, in the next tick
    turns.tick()
    assert len(listening.outcomes) == 3
    assert said == ["Accepting no connections for a moment: Too many open files."]
    turns.tick(after=Listener.PAUSE)
    turns.tick()
    assert accepted == ["10.0.0.1"]
    turns.tick(after=11.0)
    turns.tick(after=11.0)
    assert len(said) == 2
    listener.close()
    turns.tick(after=1.0)  # and does not go on when it is closed


OUT_OF_DESCRIPTORS = """
import os, resource, socket
from chatlib.reactor.connection import Listener
from chatlib.reactor.loop import Loop

def fault(error):
    raise error

now = [0.0]
loop = Loop(fault, lambda: now[0], lambda: now[0])
listening = socket.create_server(("127.0.0.1", 0))
accepted, said = [], []
Listener(loop, listening, lambda sock, peer: accepted.append(sock), said.append)

def tick(seconds=0.0):
    now[0] += seconds
    loop.call_at(now[0], lambda: None)
    loop.tick()

free = [os.dup(0) for _ in range(8)]
before = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1] + 1, before[1]))
os.close(free.pop())
clients = [socket.create_connection(listening.getsockname())]
for _ in range(3):
    tick(1.0)
print(len(accepted), said)
while free:
    os.close(free.pop())
while not accepted:
    tick(1.0)
clients.append(socket.create_connection(listening.getsockname()))
while len(accepted) < 2:
    tick(1.0)
print(len(accepted), len(said))
resource.setrlimit(resource.RLIMIT_NOFILE, before)
"""


def test_out_of_real_descriptors(python: Python) -> None:
    done = python(OUT_OF_DESCRIPTORS)
    assert done.stdout.splitlines() == [
        "0 ['Accepting no connections for a moment: Too many open files.']", "2 1",
    ], done.stderr  # fmt: skip


def test_a_connection_takes_one_descriptor(turns: Turns) -> None:
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        peer = Peer(turns)
        peer.connection.abort()
        peer.far.close()
    assert len(os.listdir("/dev/fd")) == before


# The same for many.


def test_one_push_to_many_is_a_push_to_each(turns: Turns) -> None:
    ready, full, waiting, reset, gone = peers = [Peer(turns) for _ in range(5)]
    waiting.connection.push(BIG)
    reset.far.close()
    gone.connection.abort()
    data = b"x" * 10
    assert push_to_all([peer.connection for peer in peers], data) == [2, 3, 4], "whose kernel did not take all"
    assert ready.take() == full.take() == data and reset.told == gone.told == ["disconnected"]
    assert push_to_all([ready.connection, full.connection], BIG) == [0, 1]
    assert drained(turns, waiting, len(BIG) + 10) == BIG + data
    assert drained(turns, full, len(BIG)) == BIG
    for peer in peers:
        peer.connection.abort()
        peer.far.close()
