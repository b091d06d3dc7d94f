"""Whoever is not who was introduced: strangers on the port, people in the middle, and those who heard something."""

from __future__ import annotations

import select
import socket

import pytest

from chatlib.client import news as n
from chatlib.client.peerlinks import STRANGER_BYTES, STRANGER_SECONDS
from chatlib.client.peerport import MAX_STRANGERS
from chatlib.protocol.framing import encode
from chatlib.protocol.peer import PeerWire
from chatlib.reactor.connection import Connection, Listener
from chatlib.reactor.tls import TlsConnection
from chatlib.reactor.tlsstream import TlsStream, anonymous_contexts
from tests.chance import new_chance
from tests.client.peerrig import KEY, LOCAL, Side, Stage

LISTENER, CALLER = anonymous_contexts()
OTHER_KEY = bytes(32)


class Caller:
    """Somebody who calls, and says what a test wants inside TLS."""

    def __init__(self, stage: Stage, port: int) -> None:
        self.stage, self.socket = stage, stage.socket(port)
        self.tls = TlsStream(CALLER, server=False)
        self.heard = b""
        self.over = False
        while not (self.tls.secured or self.over):
            self.tls.shake()
            self.move()
        self.move()

    def move(self) -> None:
        """Records to and fro."""
        self.stage.turns.tick()
        try:
            records = self.tls.give_out()
            if records:
                self.socket.send(records)
            self.stage.turns.tick(2)
            data = self.socket.recv(65_536)
            self.over = not data
            self.tls.take_in(data)
        except BlockingIOError:
            return
        except ConnectionError:
            self.over = True
        if self.tls.secured:
            self.heard += self.tls.read()

    def says(self, data: bytes) -> None:
        self.tls.write(data)
        self.move()

    def left(self) -> bool:
        """Whether the other side has closed."""
        self.move()
        return self.over

    def prove(self, me: str, you: str, key: bytes) -> bytes:
        """Says a proof for this connection; which it was."""
        said = PeerWire.caller(me, you, key, self.tls.binding).take_output()
        self.says(said)
        return said


def closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(65_536) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


# Strangers have 5 seconds, 8 KiB, and 16 places.


@pytest.mark.parametrize("how", ["silent", "half of a handshake", "secured", "half of a proof"])
def test_a_stranger_has_five_seconds(stage: Stage, ann: Side, bob: Side, how: str) -> None:
    stage.introduce(ann, bob)
    if how in ("secured", "half of a proof"):
        caller = Caller(stage, bob.peers.port)
        if how != "secured":
            caller.says(b'{"peer":1,')
        sock = caller.socket
    else:
        sock = stage.socket(bob.peers.port)
        if how != "silent":
            stream = TlsStream(CALLER, server=False)
            stream.shake()
            sock.send(stream.give_out()[:100])
    stage.settle()
    stage.later(STRANGER_SECONDS - 0.1)
    assert not closed(sock)
    stage.later(0.1)
    stage.until(lambda: closed(sock))
    assert bob.all(n.LinkClosed) == []


def test_a_stranger_who_drips_has_no_longer(stage: Stage, bob: Side) -> None:
    sock = stage.socket(bob.peers.port)
    stream = TlsStream(CALLER, server=False)
    stream.shake()
    for byte in stream.give_out()[:50]:
        sock.send(bytes([byte]))
        stage.turns.tick(after=STRANGER_SECONDS / 50 - 0.001)
    assert not closed(sock)
    stage.later(0.2)
    stage.until(lambda: closed(sock))


def test_a_stranger_may_send_so_much(stage: Stage, bob: Side) -> None:
    caller = Caller(stage, bob.peers.port)
    caller.says(b" " * (STRANGER_BYTES // 2))
    assert not caller.left()
    caller.says(b" " * (STRANGER_BYTES // 2))
    stage.until(caller.left)


def test_so_many_strangers_at_a_time(stage: Stage, ann: Side, bob: Side) -> None:
    stage.introduce(ann, bob)
    bob.hears("introduction_over", user="ann", status="LEFT")
    strangers = [stage.socket(bob.peers.port) for _ in range(MAX_STRANGERS)]
    stage.settle()
    one_more = stage.socket(bob.peers.port)
    stage.until(lambda: closed(one_more))
    assert not any(map(closed, strangers))
    strangers[3].close()
    stage.settle()
    next_one = stage.socket(bob.peers.port)
    stage.settle()
    assert not closed(next_one)
    stage.later(STRANGER_SECONDS)
    stage.until(lambda: closed(next_one))


def test_strangers_keep_no_friends_out(stage: Stage, ann: Side, bob: Side) -> None:
    """They knock from one address, the friend calls from another, which was introduced."""
    strangers = [stage.socket(bob.peers.port) for _ in range(MAX_STRANGERS)]
    stage.settle()
    stage.introduce(ann, bob)
    bob.hears("address", user="ann", address="127.0.0.9", port=ann.peers.port, key=KEY.hex())
    friend = socket.socket()
    friend.bind(("127.0.0.9", 0))
    friend.connect((LOCAL, bob.peers.port))
    stage.until(lambda: closed(strangers[0]))
    assert not any(map(closed, strangers[1:]))
    friend.close()


def test_strangers_on_the_machine_of_a_friend_keep_no_friends_out(stage: Stage, ann: Side, bob: Side) -> None:
    """Of all who are expected, the address with the most places gives one up; whoever calls from elsewhere keeps it."""
    stage.introduce(ann, bob)
    bob.hears("address", user="cid", address="127.0.0.9", port=1, key=KEY.hex())
    from_elsewhere = socket.create_connection((LOCAL, bob.peers.port), source_address=("127.0.0.9", 0))
    stage.settle()
    strangers = [stage.socket(bob.peers.port) for _ in range(MAX_STRANGERS - 1)]
    stage.settle()
    ann.peers.private("bob", "hi")
    stage.until(lambda: bob.texts == ["hi"])
    assert [closed(each) for each in strangers] == [True] + [False] * (MAX_STRANGERS - 2)
    from_elsewhere.setblocking(False)
    assert not closed(from_elsewhere)
    from_elsewhere.close()


def test_who_knocks_while_the_client_is_busy_keeps_nobody_waiting(stage: Stage, bob: Side) -> None:
    """What the kernel does not take at once it takes a second later, at best."""
    knocking = [socket.socket() for _ in range(5 * MAX_STRANGERS)]
    for each in knocking:
        each.setblocking(False)
        each.connect_ex((LOCAL, bob.peers.port))
    assert len(select.select([], knocking, [], 0)[1]) == len(knocking)
    for each in knocking:
        each.close()
    stage.settle()


def test_who_takes_no_news_takes_no_calls(stage: Stage, ann: Side, bob: Side) -> None:
    """So much may be unread of one connection, but a peer could make one after the other."""
    bob.peers.listen(False)
    stage.introduce(ann, bob)
    ann.peers.private("bob", "hi")
    stage.settle()
    assert bob.texts == [] and not bob.peers.linked("ann")
    bob.peers.listen(True)
    stage.until(lambda: bob.texts == ["hi"])
    bob.peers.listen(False)
    ann.peers.private("bob", "again")  # on the connection that stands
    stage.until(lambda: bob.texts == ["hi", "again"])
    bob.local = (socket.AF_INET, ("127.0.0.8", 1))
    bob.log_in()  # from elsewhere
    knocking = socket.create_connection(("127.0.0.8", bob.peers.port))
    stage.settle()
    knocking.setblocking(False)
    stage.later(2 * STRANGER_SECONDS)
    assert not closed(knocking)  # it waits in the kernel
    bob.peers.listen(True)
    stage.settle()
    stage.later(STRANGER_SECONDS)
    stage.until(lambda: closed(knocking))
    knocking.close()


def test_who_is_proven_is_no_stranger_any_more(stage: Stage, ann: Side, bob: Side) -> None:
    stage.introduce(ann, bob)
    ann.peers.private("bob", "hello")
    stage.until(lambda: ann.all(n.ParcelShown))
    stage.later(2 * STRANGER_SECONDS)
    for number in range(20):
        ann.peers.private("bob", f"{number} " * 900)  # more than a stranger may say
    stage.until(lambda: len(bob.texts) == 21)
    strangers = [stage.socket(bob.peers.port) for _ in range(MAX_STRANGERS)]
    stage.settle()
    assert not any(map(closed, strangers))


def test_strangers_are_turned_away_when_the_listener_moves(stage: Stage, bob: Side) -> None:
    stranger = stage.socket(bob.peers.port)
    stage.settle()
    bob.local = (socket.AF_INET, ("127.0.0.2", 1))
    bob.log_in()
    stage.until(lambda: closed(stranger))


def test_random_bytes_do_no_harm(stage: Stage, ann: Side, bob: Side) -> None:
    chance = new_chance()
    stage.introduce(ann, bob)
    for number in range(60):
        if number % 3:
            caller = Caller(stage, bob.peers.port)
            said = chance.choice((b"", b"{", b'{"peer":1,"from":"ann",', encode({"ack": 1})))
            caller.says(said + chance.randbytes(chance.randrange(1, 500)) + b"\n")
            stage.until(caller.left)
            assert caller.heard == b""
        else:
            sock = stage.socket(bob.peers.port)
            sock.send(chance.randbytes(chance.randrange(1, 500)))
            sock.shutdown(socket.SHUT_WR)
            stage.until(lambda sock=sock: closed(sock))  # type: ignore[misc]
    ann.peers.private("bob", "all is well")
    stage.until(lambda: ann.all(n.ParcelShown))
    assert bob.texts == ["all is well"]


def test_a_peer_who_is_proven_and_breaks_the_rules(stage: Stage, ann: Side, bob: Side) -> None:
    stage.introduce(ann, bob)
    caller = Caller(stage, bob.peers.port)
    caller.prove("ann", "bob", KEY)
    stage.until(lambda: caller.move() or caller.heard)
    bob.peers.private("ann", "hello")
    caller.says(encode({"id": 7, "text": "I count as I like", "key": "k"}))
    stage.until(lambda: bob.closed)
    assert bob.closed == [("ann", "PROTOCOL_ERROR", ["hello"])]
    assert bob.texts == []


def test_a_peer_who_sends_without_end(stage: Stage, ann: Side, bob: Side) -> None:
    bob.reads = False
    stage.introduce(ann, bob)
    caller = Caller(stage, bob.peers.port)
    caller.prove("ann", "bob", KEY)
    stage.until(lambda: caller.move() or caller.heard)
    for number in range(1, 101):
        caller.says(encode({"id": number, "text": "x", "key": str(number)}))
    stage.until(lambda: len(bob.texts) == 100)
    assert bob.closed == []
    caller.says(encode({"id": 101, "text": "x", "key": "101"}))
    stage.until(lambda: bob.closed)
    assert bob.closed == [("ann", "PROTOCOL_ERROR", [])]
    assert len(bob.texts) == 100


# Proofs that are none.


@pytest.mark.parametrize(
    "me, you, key",
    [
        ("ann", "bob", OTHER_KEY),  # a wrong key
        ("ann", "bob", b"carl's own key, which is right !"),  # the right key for the wrong user
        ("carl", "bob", KEY),
        ("dora", "bob", KEY),  # nobody was introduced under that name
        ("bob", "bob", KEY),
        ("ann", "ann", KEY),  # for another listener
    ],
)
def test_a_wrong_proof_is_left_without_a_word(
    stage: Stage, ann: Side, bob: Side, me: str, you: str, key: bytes
) -> None:
    stage.introduce(ann, bob)
    bob.hears("address", user="carl", address=LOCAL, port=1, key=b"carl's own key, which is right !".hex())
    caller = Caller(stage, bob.peers.port)
    caller.prove(me, you, key)
    stage.until(caller.left)
    assert caller.heard == b""
    assert (bob.all(n.LinkOpened), bob.closed) == ([], [])


def test_a_proof_that_is_replayed(stage: Stage, ann: Side, bob: Side) -> None:
    stage.introduce(ann, bob)
    first, second = Caller(stage, bob.peers.port), Caller(stage, bob.peers.port)
    said = first.prove("ann", "bob", KEY)
    stage.until(lambda: first.move() or first.heard)
    second.says(said)
    stage.until(second.left)
    assert second.heard == b""
    assert len(bob.all(n.LinkOpened)) == 1


def test_a_proof_of_an_introduction_that_is_over(stage: Stage, ann: Side, bob: Side) -> None:
    stage.introduce(ann, bob)
    bob.hears("introduction_over", user="ann", status="LEFT")
    caller = Caller(stage, bob.peers.port)
    caller.prove("ann", "bob", KEY)
    stage.until(caller.left)
    assert caller.heard == b""


class Mirror:
    """Somebody on the port where the peer should be, who says what was said to him."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.socket = socket.create_server((LOCAL, 0))
        self.port = self.socket.getsockname()[1]
        self.heard = b""
        self.listener = Listener(stage.turns.loop, self.socket, self.accepted, print)

    def accepted(self, sock: socket.socket, address: str) -> None:
        loop = self.stage.turns.loop
        self.tls = TlsConnection(loop, Connection(loop, sock, address, 1 << 20), LISTENER, self, server=True)
        self.tls.begin()

    def received(self, data: bytes) -> None:
        self.heard += data
        self.tls.push(self.answer(data))

    def answer(self, data: bytes) -> bytes:
        return data

    def ended(self) -> None:
        self.tls.abort()

    def drained(self) -> None: ...

    def overflowed(self) -> None: ...

    def disconnected(self) -> None: ...


def test_a_proof_that_is_reflected_to_its_sender(stage: Stage, ann: Side, bob: Side) -> None:
    mirror = Mirror(stage)
    stage.introduce(ann, bob, Bob=mirror.port)
    ann.peers.private("bob", "secret")
    for _ in range(6):
        stage.later(1.0)  # it is tried again, since the peer may not have heard of the introduction
    stage.until(lambda: ann.closed)
    assert ann.closed == [("Bob", "NOT_PROVEN", ["secret"])]
    assert b'"mac"' in mirror.heard and b"secret" not in mirror.heard
    mirror.listener.close()


# A relay in the middle: it passes on every byte.


class Half:
    """One side of a relay. `reads`: it has TLS of its own with its side, and so sees what is said."""

    def __init__(self, relay: Relay, sock: socket.socket, *, server: bool) -> None:
        loop = relay.stage.turns.loop
        self.relay, self.other = relay, self
        self.below = Connection(loop, sock, LOCAL, 1 << 20)
        self.tls: Connection | TlsConnection = self.below
        if relay.reads:
            self.tls = TlsConnection(loop, self.below, LISTENER if server else CALLER, self, server=server)
            self.tls.begin()
        else:
            self.below.attach(self)

    def received(self, data: bytes) -> None:
        self.relay.heard.append(data)
        self.other.tls.push(data)

    def ended(self) -> None:
        self.disconnected()

    def drained(self) -> None: ...

    def overflowed(self) -> None: ...

    def disconnected(self) -> None:
        self.tls.abort()
        if self.other.tls.open:
            self.other.tls.close()


class Relay:
    """Listens where the caller was told to call, and calls the real listener."""

    def __init__(self, stage: Stage, port: int, *, reads: bool) -> None:
        self.stage, self.reads, self._port = stage, reads, port
        self.heard: list[bytes] = []
        self.halves: list[Half] = []
        sock = socket.create_server((LOCAL, 0))
        self.port = sock.getsockname()[1]
        self.listener = Listener(stage.turns.loop, sock, self._accepted, print)

    def _accepted(self, sock: socket.socket, address: str) -> None:
        near = Half(self, sock, server=True)
        far = Half(self, socket.create_connection((LOCAL, self._port)), server=False)
        near.other, far.other = far, near
        self.halves += [near, far]

    def close(self) -> None:
        self.listener.close()
        for half in self.halves:
            half.tls.abort()


def test_a_relay_in_the_middle_gets_nowhere(stage: Stage, ann: Side, bob: Side) -> None:
    relay = Relay(stage, bob.peers.port, reads=True)
    stage.introduce(ann, bob, Bob=relay.port)
    ann.peers.private("bob", "secret")
    for _ in range(6):
        stage.later(1.0)
    stage.until(lambda: ann.closed)
    assert ann.closed == [("Bob", "NOT_PROVEN", ["secret"])]
    assert (bob.texts, bob.all(n.LinkOpened), ann.all(n.LinkOpened)) == ([], [], [])
    # It was in the middle: it has read proofs, and passed them on.
    assert relay.heard and all(b'"mac"' in each and b"secret" not in each for each in relay.heard)
    relay.close()


def test_a_relay_that_reads_nothing_is_only_a_detour(stage: Stage, ann: Side, bob: Side) -> None:
    """So it was the man in the middle that the test above refused."""
    relay = Relay(stage, bob.peers.port, reads=False)
    stage.introduce(ann, bob, Bob=relay.port)
    ann.peers.private("bob", "secret")
    stage.until(lambda: ann.all(n.ParcelShown))
    assert bob.texts == ["secret"]
    assert not any(b"secret" in each or b"mac" in each for each in relay.heard)
    relay.close()
