"""Backpressure: a reader that does not read costs itself, and nobody else; nothing is lost by it."""

from __future__ import annotations

import gc
import socket
import struct
from collections.abc import Callable

import pytest

from chatlib.reactor.connection import Connection
from chatlib.server.intake import Intake
from chatlib.server.presence import QUIET
from chatlib.server.session import Session
from tests.server.house import House, Peer

LONG = "x" * 4_000


def test_a_slow_consumer_is_ended_and_gets_everything_at_its_next_login(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatlib.server.server.OUTPUT_LIMIT", 200_000)
    monkeypatch.setattr("chatlib.server.catchup.BATCH", 10)
    columbia, watcher, slow = house.login("Columbia"), house.login("SEAS"), house.greet("slow")
    slow.prove("login", "facebook")
    slow.ask("alive", seen=0)
    already = len(slow.heard)
    house.pass_time(QUIET)
    sent = []
    while not any(e["event"] == "presence" and not e["online"] for e in watcher.events):
        sent.append(f"{len(sent)} {LONG}")
        assert len(sent) < 500, "it must have been ended by now"
        assert columbia.ask("broadcast", text=sent[-1])["status"] == "OK"
    assert watcher.texts == sent and columbia.texts == sent, "others do not feel it"
    slow.read_until(lambda: slow.closed)
    assert slow.heard[-1] == {
        "event": "bye", "status": "SLOW_CONSUMER", "text": "You read too slowly; log in again for what you missed.",
    }  # fmt: skip
    shown = [message["text"] for message in slow.heard[already:] if "text" in message][:-1]
    assert shown == sent[: len(shown)], "whole lines, in order"
    again = house.login("facebook")
    again.read_until(lambda: len(again.texts) >= len(sent))
    assert again.texts == sent


def test_the_same_for_one_that_never_acknowledges(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.server.server.OUTPUT_LIMIT", 200_000)
    monkeypatch.setattr("chatlib.server.catchup.BATCH", 10)
    columbia, slow = house.login("Columbia"), house.login("facebook")
    for number in range(200):
        columbia.ask("message", to="facebook", text=f"{number} {LONG}")
    assert "facebook" not in house.server.world.online
    slow.read_until(lambda: slow.closed)
    read = [message["text"] for message in slow.heard if message.get("event") == "message"]
    again = house.login("facebook")
    again.read_until(lambda: again.texts and again.texts[-1].startswith("199 "))
    missing = [text for text in again.texts if text not in read]
    assert read + missing == [f"{number} {LONG}" for number in range(200)]


def test_who_resets_while_catching_up_loses_nothing_that_the_kernel_did_not_take(house: House) -> None:
    columbia = house.login("Columbia")
    texts = [f"{number} {LONG}" for number in range(200)]
    for text in texts:
        columbia.ask("message", to="facebook", text=text)
    facebook = house.greet()
    facebook.prove("login", "facebook")
    house.pass_time(3)
    taken = len(facebook.texts)
    assert 0 < taken < 200, "the kernel takes some, not all"
    facebook.hang_up()
    house.settle()
    facebook = house.greet()
    facebook.prove("login", "facebook")
    facebook.read_until(lambda: texts[-1] in facebook.texts)
    assert set(texts[taken:]) <= set(facebook.texts)


def test_a_reader_that_stops_for_a_while_gets_all(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    for number in range(300):
        columbia.ask("message", to="facebook", text=f"{number} {LONG}")
    assert not facebook.closed
    facebook.read_until(lambda: len(facebook.texts) == 300)
    assert [text.split()[0] for text in facebook.texts] == [str(number) for number in range(300)]
    assert facebook.ask("whoelse")["items"] == ["Columbia"]


def test_who_does_not_read_replies_is_not_read(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    for number in range(20):
        columbia.ask("message", to="facebook", text=f"{number} {LONG}")
    facebook.hear()
    session = house.server.delivery.sessions["facebook"]
    facebook.socket.setblocking(False)
    line = b'{"action":"history","count":1}\n'
    for _ in range(10_000):
        try:
            facebook.socket.send(line)
        except BlockingIOError:
            break
        house.tick()
    else:
        raise AssertionError("the server goes on reading")
    assert session.connection.backlog_size < 4 << 20 and not facebook.closed
    before = session.connection.backlog_size
    facebook.read_until(lambda: len(facebook.hear_all("history")) >= 100)
    assert before and not facebook.closed, "it is served as fast as it reads"


def test_a_client_that_reads_may_ask_for_much_in_one_packet(house: House) -> None:
    columbia = house.login("Columbia")
    for number in range(20):
        columbia.ask("message", to="facebook", text=f"{number} {LONG}")
    facebook = house.login("facebook")
    facebook.say(*({"action": "history", "count": 99} for _ in range(100)))
    for _ in range(200):
        house.tick()
        facebook.hear()
    assert len(facebook.hear_all("history")) == 100


def test_a_peer_that_resets_is_quiet(house: House) -> None:
    here, there = _tcp_pair()
    house.server._accepted(there, "10.0.0.1")
    here.sendall(b'{"action":"hello","protocol":1}\n')
    house.settle()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    here.close()
    house.settle()
    assert not len(house.server.sessions)
    assert "Traceback" not in house.log()


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        return here, listener.accept()[0]


def test_one_packet_a_tick_however_many_events(house: House) -> None:
    """Coalescing: what one tick says to a connection goes out with one system call."""
    speakers = [house.login(name) for name in ("Columbia", "facebook", "Google")]
    house.settle()
    calls = []
    session = house.server.delivery.sessions["google"]
    push = session.push
    session.push = lambda data: (calls.append(data), push(data))[1]
    for speaker in speakers:
        speaker.say(*({"action": "broadcast", "text": f"{speaker.name} {number}"} for number in range(20)))
    house.settle()
    assert len(calls) == 1 and calls[0].count(b"\n") == 60 + 20


def test_fairness_one_that_floods_does_not_starve_the_others(house: House) -> None:
    flood, quiet = house.login("Columbia"), house.login("facebook")
    house.settle()
    flood.socket.send(b'{"action":"nonsense"}\n' * 2_900)
    quiet.say({"action": "whoelse"})
    house.tick()
    assert [m["action"] for m in quiet.hear()] == ["whoelse"]
    assert len(flood.hear_all("nonsense")) <= 256


def test_peers_of_all_kinds_leave_no_sessions_behind(house: House) -> None:
    def leave(peer: Peer, how: Callable[[Peer], object]) -> None:
        how(peer)
        house.settle()

    leave(house.connect(), Peer.hang_up)
    leave(house.greet(), Peer.end)
    leave(house.login("Columbia"), lambda peer: peer.say({"action": "logout"}))
    leave(house.login("Columbia"), lambda peer: (peer.say({"action": "broadcast", "text": "x"}), peer.hang_up()))
    for peer in list(house.peers):
        peer.hang_up()
    house.pass_time(6)
    assert not len(house.server.sessions) and house.server.delivery.sessions == {}
    assert house.server.delivery.listeners == {} and not house.server.budgets.catching_up


def test_what_comes_and_goes_leaves_no_garbage_to_be_searched_for(house: House) -> None:
    """References that go in a circle keep a session until all objects are looked at: a tick of 100 ms."""
    gc.collect()
    gc.disable()
    try:
        columbia = house.login("Columbia")
        for number in range(5):
            columbia.ask("message", to="facebook", text=str(number))
        columbia.say({"action": "broadcast", "text": "x"}, {"action": "list_users"}, {"action": "logout"})
        house.settle()
        under_way = house.login("facebook")
        house.disk.fast = False
        under_way.say({"action": "broadcast", "text": "under way"}, {"action": "history", "count": 5})
        house.settle()
        under_way.hang_up()
        house.settle()
        house.disk.fast = True
        house.disk.release()
        house.settle()
        house.connect().say("GET / HTTP/1.1\r\n")
        house.connect().say(b"\n" * 100)
        house.connect().say(b"x" * 5_000)
        house.connect().say({"action": "upload", "ticket": "none", "offset": 0})
        house.greet().challenge("login", "SEAS")
        house.settle()
        for peer in list(house.peers):
            peer.hang_up()
        house.pass_time(6)
        left = [kept for kept in gc.get_objects() if isinstance(kept, Session | Intake | Connection)]
        assert left == []
    finally:
        gc.enable()
