"""Bots that talk directly, introduced by the real server. Each call blocks, so the other side has a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from chatlib.client import Client, Refused, peercalls
from chatlib.client.news import Fields
from tests.client.conftest import USERS, Server
from tests.patience import LIMIT

Work = Callable[[Client, dict[str, object]], object]
Start = Callable[..., "Bot"]


class Bot:
    """A client in a thread, which does its work on each event until one asks it to stop."""

    def __init__(self, server: Server, user: str, work: Work, **options: object) -> None:
        self._server, self._user, self._work, self._options = server, user, work, options
        self.events: list[dict[str, object]] = []
        self.fault: BaseException | None = None
        self.over = False
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.ready.wait(LIMIT)

    def _run(self) -> None:
        try:
            with client(self._server, self._user, **self._options) as chat:
                chat.request("online")  # where it listens was said before
                self.ready.set()
                while not self.over:
                    event = chat.next_event(0.05)
                    if event is not None:
                        self.events.append(event)
                        self._work(chat, event)
        except BaseException as fault:
            self.fault = fault
            self.ready.set()

    def stop(self) -> None:
        self.over = True
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()
        if self.fault:
            raise self.fault


def client(server: Server, user: str, **options: object) -> Client:
    chat = Client("127.0.0.1", server.port, **{"timeout": LIMIT, **options})  # type: ignore[arg-type]
    chat.login(user, USERS[user])
    return chat


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a bot that listens; all are stopped in the end."""
    bots: list[Bot] = []

    def begin(server: Server, user: str, work: Work, **options: object) -> Bot:
        bots.append(Bot(server, user, work, **{"listen": 0, **options}))
        return bots[-1]

    yield begin
    for bot in bots:
        bot.stop()


def echo(chat: Client, event: dict[str, object]) -> None:
    if event["event"] == "address_asked":
        chat.yes(str(event["from"]))
    elif event["event"] == "private":
        chat.private(str(event["from"]), f"you said: {event['text']}")


def hears(chat: Client, kind: str) -> dict[str, object]:
    return next(event for event in chat.events(LIMIT) if event["event"] == kind)


def test_a_bot_that_is_asked_and_answers(server: Server, start: Start) -> None:
    start(server, "bob", echo)
    with client(server, "ann") as ann:
        address, port = ann.getaddress("bob")
        assert (address, port > 0) == ("127.0.0.1", True)
        ann.private("bob", "hello")
        answer = hears(ann, "private")
        assert (answer["from"], answer["text"]) == ("bob", "you said: hello")
        assert ann.stop_private("bob")
        assert not ann.stop_private("bob")


def test_a_bot_that_reads_nothing_takes_no_more_calls(
    house: Callable[..., Server], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peercalls, "MAX_DIRECT", 2)
    server = house(ADDRESS_POLICY="open")
    with client(server, "bob", listen=0) as bob, client(server, "ann") as ann:
        bob.request("balance")  # where it listens was said before
        ann.getaddress("bob")
        port = bob._peers._port
        assert port is not None
        ann.timeout = 0.01
        for text in ("one", "two"):
            with contextlib.suppress(TimeoutError):  # nobody answers yet
                ann.private("bob", text)
        while port._listens:
            bob.request("balance")
            ann.next_event(0.01)
        ann.timeout = LIMIT
        assert [hears(bob, "private")["text"] for _ in range(2)] == ["one", "two"]
        assert port._listens


def test_nobody_is_told_the_key(server: Server, start: Start) -> None:
    start(server, "bob", echo)
    with client(server, "ann") as ann:
        ann.getaddress("bob")
        assert sorted(hears(ann, "address")) == ["address", "event", "port", "user"]


def test_a_bot_that_refuses(server: Server, start: Start) -> None:
    start(server, "bob", lambda chat, event: event["event"] == "address_asked" and chat.no(str(event["from"])))
    with client(server, "ann") as ann:
        with pytest.raises(Refused, match="REFUSED"):
            ann.getaddress("bob")
        with pytest.raises(Refused, match="ALREADY_ASKED"):
            ann.getaddress("bob")
        with pytest.raises(Refused, match="NOT_INTRODUCED"):
            ann.private("bob", "hello")


def test_a_standing_allowance(server: Server, start: Start) -> None:
    with client(server, "bob") as bob:
        bob.allow("ann")
        assert bob.allowed() == ["ann"]
    start(server, "bob", echo)
    with client(server, "ann") as ann:
        ann.getaddress("BOB")
        ann.private("BOB", "hello")
        assert hears(ann, "private")["text"] == "you said: hello"


def test_a_peer_who_has_just_come(house: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where it takes calls when the first question has been refused."""
    server = house(ADDRESS_POLICY="open")
    with client(server, "bob") as bob, client(server, "ann") as ann:
        request = ann.request

        def early(action: str, fields: Fields | None = None, *, key: str | None = None) -> Fields:
            try:
                return request(action, fields, key=key)
            except Refused:
                bob.request("listen", {"port": 4_711})
                raise

        monkeypatch.setattr(ann, "request", early)
        assert ann.getaddress("bob") == ("127.0.0.1", 4_711)


def test_what_the_server_refuses(server: Server, start: Start) -> None:
    with client(server, "bob") as bob, client(server, "ann") as ann:
        with pytest.raises(Refused, match="NO_LISTENER"):
            ann.getaddress("bob")
        with pytest.raises(Refused, match="NOT_ONLINE"):
            ann.getaddress("carl")
        with pytest.raises(Refused, match="NO_SUCH_USER"):
            ann.getaddress("nobody")
        bob.allow("ann")
        bob.disallow("ann")
        assert bob.allowed() == []


def test_the_talk_goes_on_while_the_server_is_away(house: Callable[..., Server], start: Start) -> None:
    server = house(ADDRESS_POLICY="open")
    start(server, "bob", echo)
    with client(server, "ann") as ann:
        ann.getaddress("bob")
        ann.private("bob", "one")
        assert hears(ann, "private")["text"] == "you said: one"
        server.kill()
        ann.private("bob", "two")
        assert hears(ann, "private")["text"] == "you said: two"
        server.start()
        while "bob" not in ann.whoelse():
            time.sleep(0.01)
        with pytest.raises(Refused, match="NOT_INTRODUCED"):
            ann.stop_private("bob")
            ann.private("bob", "three")
        while True:  # bob tells the server anew where it listens
            try:
                ann.getaddress("bob")
                break
            except Refused as refused:
                assert refused.status in ("NO_LISTENER", "NOT_ONLINE")
        ann.private("bob", "four")
        assert hears(ann, "private")["text"] == "you said: four"


def test_what_nobody_has_read_comes_back(house: Callable[..., Server], start: Start) -> None:
    server = house(ADDRESS_POLICY="open")

    def leave(chat: Client, event: dict[str, object]) -> None:
        if event["event"] == "private" and event["text"] == "two":
            raise OSError("the bot fails")

    bob = start(server, "bob", leave)
    with client(server, "ann") as ann:
        ann.getaddress("bob")
        ann.private("bob", "one")
        ann.private("bob", "two")
        lost = hears(ann, "private_lost")
        assert (lost["user"], lost["left"]) == ("bob", ["two"])
        assert lost["status"] in ("PEER_LEFT", "PEER_LOST")
    assert isinstance(bob.fault, OSError)
    bob.fault = None


def test_nobody_is_kept_waiting_by_two_that_write_at_once(house: Callable[..., Server], start: Start) -> None:
    server = house(ADDRESS_POLICY="open")

    def three(chat: Client, event: dict[str, object]) -> None:
        if event["event"] == "address":
            for number in range(3):
                chat.private("ann", str(number))

    bob = start(server, "bob", three)
    with client(server, "ann", listen=0) as ann:
        ann.getaddress("bob")
        for number in range(3):
            ann.private("bob", str(number))
        heard = [hears(ann, "private")["text"] for _ in range(3)]
        assert heard == ["0", "1", "2"]
    while len([event for event in bob.events if event["event"] == "private"]) < 3:
        time.sleep(0.01)


def test_a_cheque_from_hand_to_hand(house: Callable[..., Server], start: Start) -> None:
    server = house(ADDRESS_POLICY="open", INITIAL_BALANCE=100)
    cashed: list[object] = []

    def cash(chat: Client, event: dict[str, object]) -> None:
        if event["event"] == "cheque":
            cashed.append(chat.cash(str(event["cheque"]))["amount"])

    start(server, "bob", cash)
    with client(server, "ann") as ann:
        ann.getaddress("bob")
        ann.send_cheque("bob", ann.write_cheque("bob", 30, "for the cake"))
        assert hears(ann, "cheque_cashed")["balance"] == 70
    assert cashed == [30]
