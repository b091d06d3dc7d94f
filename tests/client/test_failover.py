"""One world on several servers, and one of them is gone: the client goes on at the next one."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatlib.client import news as n
from chatlib.client.addresses import ServerAddress
from chatlib.client.conversation import Conversation
from chatlib.client.link import HASTE, PATIENCE, Link
from chatlib.client.servers import Servers
from chatlib.client.steering import Steering
from chatlib.protocol.commands import State
from chatlib.reactor.loop import Loop
from tests.chance import new_chance
from tests.client.fake_server import VERIFIER, FakeServer
from tests.client.linkrig import Peer, fault


class Cluster:
    """Servers that show one world, which their :class:`FakeServer` is, and a client that knows `given` of them."""

    def __init__(self, given: int = 3, count: int = 3) -> None:
        self.skipped = 0.0
        self.loop = Loop(fault, clock=lambda: time.monotonic() + self.skipped)
        self.world = FakeServer()
        self.peers = [Peer(self.loop, self.world) for _ in range(count)]
        self.silent: list[socket.socket] = []
        self.news: list[Any] = []
        self.conversation = Conversation()
        own = [ServerAddress("127.0.0.1", peer.port) for peer in self.peers[:given]]
        self.servers = Servers(own, shuffle=lambda each: None)
        self.link = Link(self.loop, self.servers, self.conversation, jitter=lambda: 1.0)
        self.loop.phases = [self.link.turn, self.hear, self.link.flush]

    def hear(self) -> None:
        self.news += self.conversation.take_news()

    def until(self, condition: Callable[[], object]) -> None:
        for _ in range(1_000):
            if condition():
                return
            self.link.flush()
            self.loop.call_later(0.005, lambda: None)
            self.loop.tick()
        raise AssertionError(f"it did not come: {self.news}")

    def at(self) -> int:
        """At which server the client is."""
        return [peer.port for peer in self.peers].index(self.servers.at.port)

    def logs_in(self) -> Cluster:
        self.until(lambda: n.Greeted() in self.news)
        self.conversation.login("bob", self.loop.now)
        self.until(lambda: any(isinstance(item, n.Challenged) for item in self.news))
        self.conversation.give_password("secret")
        self.conversation.prove(self.loop.now)
        self.until(lambda: self.conversation.state is State.ONLINE)
        self.news.clear()
        self.skipped += 5.0
        return self

    def comes_back(self) -> n.LoggedIn:
        self.until(lambda: any(isinstance(item, n.LoggedIn) for item in self.news))
        return next(item for item in self.news if isinstance(item, n.LoggedIn))

    def dies(self, number: int) -> None:
        self.peers[number].close()

    def says(self, number: int, status: str) -> None:
        self.world.say({"event": "bye", "status": status, "text": f"{status}."})
        connection = self.peers[number].connection
        assert connection is not None
        with contextlib.suppress(OSError):  # the client is gone already
            connection.sendall(self.world.take())
        self.peers[number].cut()

    def stands_still(self, wanted: bool) -> None:
        """All do; or they did, and are killed."""
        self.world.mute = wanted
        for peer in self.peers if not wanted else ():
            peer.cut()

    def falls_silent(self, number: int) -> None:
        """A machine that is there, and a program on it that stands still."""
        port = self.peers[number].port
        self.peers[number].close()
        self.silent.append(socket.create_server(("127.0.0.1", port)))

    def close(self) -> None:
        self.link.close()
        for peer in self.peers:
            if peer.is_open:
                peer.close()
        for each in self.silent:
            each.close()
        self.loop.close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


def test_the_first_one_that_answers_is_taken(cluster: Cluster) -> None:
    cluster.dies(0)
    cluster.dies(1)
    cluster.until(lambda: n.Greeted() in cluster.news)
    assert cluster.at() == 2 and cluster.news == [n.Greeted()], "nobody hears of the others"


def test_the_first_one_is_chosen_by_chance() -> None:
    own = [ServerAddress("127.0.0.1", port) for port in range(1, 9)]
    assert len({str(Servers(own).next()) for _ in range(200)}) == 8


def test_a_lost_connection_goes_on_at_the_next_server_at_once(cluster: Cluster) -> None:
    cluster.logs_in()
    cluster.dies(0)
    again = cluster.comes_back()
    assert (again.again, again.server, cluster.at()) == (True, f"127.0.0.1:{cluster.peers[1].port}", 1)
    assert [type(item) for item in cluster.news] == [n.Lost, n.LoggedIn] and cluster.news[0].elsewhere


@pytest.mark.parametrize("status", ["NODE_LOST", "NO_QUORUM", "SHUTTING_DOWN", "HEARTBEAT_LOST", "SLOW_CONSUMER"])
def test_a_server_that_says_goodbye_is_not_the_end(cluster: Cluster, status: str) -> None:
    cluster.logs_in()
    cluster.world.mute = True
    cluster.conversation.request("message", {"to": "ann", "text": "once"}, cluster.loop.now)
    cluster.until(lambda: cluster.world.effects)
    cluster.world.mute = False
    cluster.says(0, status)
    cluster.until(lambda: any(isinstance(item, n.Answered) for item in cluster.news))
    assert cluster.at() == 1 and cluster.world.effects == ["once"], "it was sent again, with its key"
    assert cluster.comes_back().resent == 1


@pytest.mark.parametrize("status", ["REPLACED", "KICKED", "LOGGED_OUT", "BANNED"])
def test_what_is_final_stays_final(cluster: Cluster, status: str) -> None:
    cluster.logs_in()
    cluster.says(0, status)
    cluster.until(lambda: cluster.conversation.ended)
    assert cluster.conversation.ended and cluster.conversation.ended.status == status
    assert [peer.accepted for peer in cluster.peers] == [1, 0, 0]


def test_what_was_shown_is_acknowledged_at_the_next_server(cluster: Cluster) -> None:
    cluster.logs_in()
    cluster.world.post("seen")
    cluster.peers[0].connection.sendall(cluster.world.take())  # type: ignore[union-attr]
    cluster.until(lambda: any(isinstance(item, n.Arrived) for item in cluster.news))
    cluster.conversation.shown(cluster.news[-1].event, cluster.loop.now)
    cluster.dies(0)
    cluster.comes_back()
    final = [each for each in cluster.world.requests if each["action"] == "login"][-1]
    assert final["seen"] == 1
    assert len([item for item in cluster.news if isinstance(item, n.Arrived)]) == 1, "it is not told again"


def test_a_server_that_accepts_and_says_nothing_is_passed_over(cluster: Cluster) -> None:
    cluster.falls_silent(0)
    cluster.until(lambda: cluster.conversation.state is State.NEW)
    cluster.skipped += HASTE
    cluster.until(lambda: n.Greeted() in cluster.news)
    assert cluster.at() == 1 and cluster.news == [n.Greeted()]


def test_a_server_that_stands_still_is_noticed_a_heartbeat_and_two_seconds_later(cluster: Cluster) -> None:
    cluster.world.hello["heartbeat"] = 2.0
    cluster.logs_in()
    cluster.until(lambda: cluster.world.active and not cluster.conversation._sent)
    heard = cluster.loop.now
    cluster.world.mute = True
    while cluster.conversation.state is State.ONLINE:
        cluster.skipped += 0.1
        cluster.link.flush()
        cluster.loop.call_later(0.0, lambda: None)
        cluster.loop.tick()
    assert cluster.loop.now - heard <= 2.0 + 2.0 + 0.3
    cluster.world.mute = False
    assert cluster.comes_back().server == f"127.0.0.1:{cluster.peers[1].port}"


def test_the_last_one_left_is_waited_for_longer(cluster: Cluster) -> None:
    for number in range(3):
        cluster.falls_silent(number)
    for _ in range(2):
        cluster.until(lambda: cluster.conversation.state is State.NEW)
        at = cluster.at()
        cluster.skipped += HASTE
        cluster.until(lambda at=at: cluster.at() != at)  # type: ignore[misc]
    cluster.until(lambda: cluster.conversation.state is State.NEW)
    cluster.skipped += PATIENCE - HASTE
    cluster.link.turn()
    assert cluster.conversation.state is State.NEW
    cluster.skipped += HASTE
    cluster.until(lambda: cluster.conversation.ended)
    ports = [f"127.0.0.1:{peer.port} (it says nothing)" for peer in cluster.peers]
    assert cluster.conversation.ended and cluster.conversation.ended.text == (
        f"None of the servers can be reached: {', '.join(ports)}. Is one of them running?"
    )


@pytest.mark.parametrize("first", [
    b'{"event":"bye","status":"SERVER_FULL","text":"Too many strangers."}\n',
    b'{"action":"hello","id":1,"status":"SERVER_FULL","text":"The server is full."}\n',
    b'{"event":"bye","status":"SHUTTING_DOWN","text":"The server stops."}\n', b"SSH-2.0-OpenSSH_9.2\r\n", b"",
])  # fmt: skip
def test_one_that_is_of_no_use_is_passed_over(cluster: Cluster, first: bytes) -> None:
    """It is full, or stops, or something else stands there: another one may be better."""
    listening = socket.create_server(("127.0.0.1", 0))
    cluster.servers.own = (ServerAddress(*listening.getsockname()), *cluster.servers.own)
    cluster.until(lambda: cluster.conversation.state is State.NEW)
    guest, _ = listening.accept()
    guest.recv(4_096)
    guest.sendall(first)
    guest.close()
    listening.close()
    cluster.until(lambda: n.Greeted() in cluster.news)
    assert cluster.at() == 0 and cluster.news == [n.Greeted()]


def test_all_are_gone_and_one_comes_back(cluster: Cluster) -> None:
    cluster.logs_in()
    for number in range(3):
        cluster.dies(number)
    waits: list[int] = []
    for _ in range(5):
        count = len(cluster.news)
        cluster.until(lambda count=count: [each for each in cluster.news[count:] if not each.elsewhere])  # type: ignore[misc]
        waits.append(round(cluster.link.retry_at - cluster.loop.now))
        cluster.skipped += waits[-1]
    assert waits == [1, 2, 4, 4, 4], "what all of them wait for is over within seconds"
    assert "None of the servers can be reached" in cluster.news[-1].text
    cluster.peers[1] = Peer(cluster.loop, cluster.world, cluster.peers[1].port)
    cluster.skipped += 30.0
    assert cluster.comes_back().again


def test_what_a_server_says_of_others_is_used_when_ones_own_are_gone() -> None:
    cluster = Cluster(given=1, count=2)
    cluster.world.hello["servers"] = [f"127.0.0.1:{peer.port}" for peer in cluster.peers]
    cluster.logs_in()
    cluster.dies(0)
    assert cluster.comes_back().server == f"127.0.0.1:{cluster.peers[1].port}"
    cluster.close()


def test_what_was_learned_a_moment_ago_is_used_too() -> None:
    cluster = Cluster(given=1, count=2)
    cluster.world.hello["servers"] = [f"127.0.0.1:{peer.port}" for peer in cluster.peers]
    cluster.logs_in()
    cluster.skipped -= 5.0
    cluster.dies(0)
    assert cluster.comes_back().server == f"127.0.0.1:{cluster.peers[1].port}" and cluster.news[0].elsewhere
    cluster.close()


def test_what_a_server_says_of_others_counts_once_it_has_proven_itself() -> None:
    cluster = Cluster(given=1, count=2)
    cluster.world.hello["servers"] = [f"127.0.0.1:{peer.port}" for peer in cluster.peers]
    cluster.until(lambda: n.Greeted() in cluster.news)
    cluster.dies(0)
    cluster.until(lambda: cluster.conversation.ended)
    assert cluster.peers[1].accepted == 0
    cluster.close()


def test_each_connection_is_counted(cluster: Cluster) -> None:
    cluster.logs_in()
    cluster.dies(0)
    cluster.comes_back()
    hellos = [each for each in cluster.world.requests if each["action"] == "hello"]
    assert [each["connection"] for each in hellos] == [1, 2] and len({each["client"] for each in hellos}) == 1


def test_an_earlier_server_does_not_know_the_count_and_is_greeted_without(cluster: Cluster) -> None:
    cluster.world.scripted["hello"] = [{"status": "BAD_REQUEST", "text": 'There is no "connection" in "hello".'}]
    cluster.logs_in()
    cluster.dies(0)
    cluster.comes_back()
    hellos = [each for each in cluster.world.requests if each["action"] == "hello"]
    assert ["connection" in each for each in hellos] == [True, False, False]


def test_a_connection_that_is_lost_before_the_login_is_no_end_either(cluster: Cluster) -> None:
    cluster.until(lambda: n.Greeted() in cluster.news)
    cluster.conversation.login("bob", cluster.loop.now)
    cluster.until(lambda: any(isinstance(item, n.Challenged) for item in cluster.news))
    cluster.dies(0)
    cluster.until(lambda: cluster.news.count(n.Greeted(True)) == 1)
    cluster.conversation.give_password("secret")
    cluster.conversation.prove(cluster.loop.now)
    assert cluster.comes_back().again is False


def test_a_reply_that_a_server_was_cut_off_is_no_answer(cluster: Cluster) -> None:
    """It says that nothing was done: the next server is asked."""
    cluster.logs_in()
    cluster.world.scripted["message"] = [{"status": "NODE_LOST", "text": "This server was cut off."}]
    cluster.conversation.request("message", {"to": "ann", "text": "once"}, cluster.loop.now)
    cluster.until(lambda: any(isinstance(item, n.Answered) for item in cluster.news))
    assert (cluster.at(), cluster.world.effects, cluster.news[-1].status) == (1, ["once"], "OK")


def test_another_world_there_is_another_servers(cluster: Cluster) -> None:
    """What was seen of one epoch is not taken for another's: the rule of a server that began anew."""
    cluster.logs_in()
    cluster.world.post("seen")
    cluster.peers[0].connection.sendall(cluster.world.take())  # type: ignore[union-attr]
    cluster.until(lambda: any(isinstance(item, n.Arrived) for item in cluster.news))
    cluster.conversation.shown(cluster.news[-1].event, cluster.loop.now)
    cluster.world.hello["epoch"] = "e2"
    cluster.dies(0)
    cluster.comes_back()
    final = [each for each in cluster.world.requests if each["action"] == "login"][-1]
    assert final["seen"] == 0 and not cluster.conversation.ended


def test_a_console_from_afar_goes_to_the_first_that_answers_and_to_no_other(cluster: Cluster) -> None:
    heard: list[str] = []

    class Person:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *words: heard.append(name)

    steering = Steering(Person())  # type: ignore[arg-type]
    link = Link(cluster.loop, cluster.servers, steering, jitter=lambda: 1.0)
    cluster.loop.phases = [link.turn, link.flush]
    cluster.falls_silent(0)
    cluster.world.scripted["hello"] = [
        {"status": "SERVER_FULL", "text": "Full."}, {"status": "OK", "heartbeat": 30.0}
    ]
    cluster.world.verifiers["admin"] = VERIFIER
    cluster.world._admin = cluster.world._prove  # type: ignore[attr-defined]
    for _ in range(400):
        cluster.skipped += 0.01
        cluster.loop.call_later(0.0, lambda: None)
        cluster.loop.tick()
    assert [peer.accepted for peer in cluster.peers[1:]] == [1, 1] and cluster.at() == 2 and not steering.is_over
    cluster.dies(2)
    for _ in range(20):
        cluster.loop.call_later(0.01, lambda: None)
        cluster.loop.tick()
    assert heard[-1] == "over" and cluster.peers[1].accepted == 1, "a person decides, since it may have been done"
    link.close()


def test_a_blank_says_that_the_server_is_at_work(cluster: Cluster) -> None:
    """While the servers agree on who leads, an answer waits: a server that says so is not given up."""
    cluster.world.hello["heartbeat"] = 2.0
    cluster.logs_in()
    cluster.until(lambda: cluster.world.active and not cluster.conversation._sent)
    cluster.world.mute = True
    cluster.conversation.request("message", {"to": "ann", "text": "waits"}, cluster.loop.now)
    connection = cluster.peers[0].connection
    assert connection is not None
    for _ in range(9):
        connection.sendall(b" ")
        cluster.skipped += 1.0
        for _ in range(3):
            cluster.link.flush()
            cluster.loop.call_later(0.001, lambda: None)
            cluster.loop.tick()
    assert cluster.conversation.state is State.ONLINE and cluster.at() == 0
    cluster.world.mute = False
    cluster.world.say({"event": "notice", "time": 0, "text": "The servers agree again."})
    connection.sendall(cluster.world.take())
    cluster.until(lambda: any(isinstance(item, n.Arrived) for item in cluster.news))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_becomes_of_the_servers_each_request_takes_effect_once_and_in_order(seed: int) -> None:
    chance, cluster = new_chance(seed), Cluster()
    cluster.world.hello["heartbeat"] = 2.0
    cluster.logs_in()
    texts: list[str] = []
    for number in range(60):
        at = chance.randrange(3)
        match chance.randrange(6):
            case 0 if cluster.peers[at].is_open:
                cluster.dies(at)
            case 1 | 2 if not cluster.peers[at].is_open:
                cluster.peers[at] = Peer(cluster.loop, cluster.world, cluster.peers[at].port)
            case 3 if cluster.peers[at].connection is not None:
                cluster.says(at, chance.choice(("NODE_LOST", "NO_QUORUM", "SHUTTING_DOWN")))
            case 4:
                cluster.stands_still(not cluster.world.mute)
            case 5:
                cluster.skipped += chance.choice((0.5, 2.0, 5.0, 20.0))
        for _ in range(chance.randrange(3)):
            texts.append(f"{number} {len(texts)}")
            cluster.conversation.request("message", {"to": "ann", "text": texts[-1]}, cluster.loop.now)
        for _ in range(chance.randrange(1, 12)):
            cluster.link.flush()
            cluster.loop.call_later(0.002, lambda: None)
            cluster.loop.tick()
    cluster.stands_still(False)
    for at in range(3):
        if not cluster.peers[at].is_open:
            cluster.peers[at] = Peer(cluster.loop, cluster.world, cluster.peers[at].port)
    for _ in range(100):
        cluster.skipped += 1.0
        cluster.link.flush()
        cluster.loop.call_later(0.002, lambda: None)
        cluster.loop.tick()
    cluster.until(lambda: not cluster.conversation.outbox.pending)
    assert cluster.world.effects == texts
    assert [item.request.fields["text"] for item in cluster.news if isinstance(item, n.Answered)] == texts
    cluster.close()


def test_what_was_learned_before_is_forgotten() -> None:
    servers = Servers([ServerAddress("127.0.0.1", 1)], shuffle=lambda each: None)
    for number in range(50):
        servers.learn([ServerAddress("127.0.0.1", 100 + number), ServerAddress("127.0.0.1", 300 + number)])
        while servers.next() is not None:
            servers.unreached(111, "", False)
        servers.end()
    assert len(servers._found) == 4
