"""Bots and programs at several servers of one world: two ways to a real server stand for two servers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.client import Client, Disconnected, Refused
from tests.client.conftest import USERS, Server
from tests.client.programs import ROOT, Pseudo, environment
from tests.client.rig import ProxyThread
from tests.client.test_peer_bots import Bot
from tests.patience import LIMIT
from tests.ports import free_port


class Ways:
    """Two ways to one world."""

    def __init__(self, server: Server) -> None:
        self.open = {each.port: each for each in (ProxyThread(server.port), ProxyThread(server.port))}
        self.all = ",".join(f"127.0.0.1:{port}" for port in self.open)

    def other(self, port: int) -> int:
        return next(each for each in map(int, self.all.replace(",127.0.0.1", "").split(":")[1:]) if each != port)

    def close(self, port: int) -> None:
        self.open.pop(port).close()


@pytest.fixture
def ways(server: Server) -> Iterator[Ways]:
    made = Ways(server)
    yield made
    for port in list(made.open):
        made.close(port)


def test_a_bot_goes_on_at_the_other_server(ways: Ways, server: Server) -> None:
    with Client(ways.all, timeout=LIMIT) as ann, Client("127.0.0.1", server.port, timeout=LIMIT) as bob:
        ann.login("ann", USERS["ann"])
        bob.login("bob", USERS["bob"])
        bob.create_thread("plans")
        ann.follow("plans")
        first = ann.server.port
        ways.close(first)
        bob.message("ann", "while you were away")
        bob.post("plans", "and this")
        assert ann.message("bob", "I am back")["status"] == "OK" and ann.server.port == ways.other(first)
        heard = [next(ann.events()) for _ in range(3)]
        assert [event["text"] for event in heard if "text" in event] == ["while you were away", "and this"]


def test_bots_talk_on_in_private_and_are_introduced_anew(ways: Ways, server: Server) -> None:
    """The introduction ends with the session; the connection stays; the next introduction has a key of its own."""

    def work(chat: Client, event: dict[str, object]) -> None:
        if event["event"] == "address_asked":
            chat.yes(str(event["from"]))
        elif event["event"] == "private":
            chat.private("ann", f"heard {event['text']}")

    bob = Bot(server, "bob", work, listen=0)
    with Client(ways.all, timeout=LIMIT) as ann:

        def hears() -> object:
            return next(event["text"] for event in ann.events() if event["event"] == "private")

        ann.login("ann", USERS["ann"])
        ann.getaddress("bob")
        ann.private("bob", "one")
        assert hears() == "heard one"
        ways.close(ann.server.port)
        ann.whoelse()
        ann.private("bob", "two")
        assert hears() == "heard two", "the connection stands, although the session is another"
        ann.stop_private("bob")
        with pytest.raises(Refused) as refused:
            ann.private("bob", "three")
        assert refused.value.status == "NOT_INTRODUCED"
        ann.getaddress("bob")
        ann.private("bob", "four")
        assert hears() == "heard four"
    bob.stop()


def test_when_this_is_built_one_of_them_has_to_be_there(ways: Ways) -> None:
    gone = free_port()
    with Client(f"127.0.0.1:{gone},{ways.all}", timeout=LIMIT) as chat:
        assert chat.server.port != gone
    with pytest.raises(Disconnected) as none:
        Client(f"127.0.0.1:{gone},[::1]:{gone}", timeout=LIMIT)
    assert none.value.status == "UNREACHABLE" and "None of the servers can be reached: " in none.value.text


@pytest.mark.parametrize(("host", "port", "wrong"), [
    ("a:1,", None, "an address is missing beside a comma"), ("a", None, "the port is missing"),
    ("a:1,b:2", 3, "the port stands twice"), ("a", 0, "A port is a number from 1 to 65535"),
])  # fmt: skip
def test_an_address_that_is_none(host: str, port: int | None, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Client(host, port)


def test_a_person_reads_one_calm_line(ways: Ways, tmp_path: Path) -> None:
    person = Pseudo([sys.executable, str(ROOT / "client.py"), ways.all, "--user", "ann"], tmp_path, controls=False)
    person.shows("Please enter your password:")
    person.types(f"{USERS['ann']}\r")
    person.shows("ann> ")
    while len(ways.open) > 1:  # whichever it is
        port = next(port for port, each in ways.open.items() if each.proxy.pairs)
        ways.close(port)
    person.shows(f"Connection lost; connected to 127.0.0.1:{ways.other(port)}.")
    person.types("message bob hello\r")
    person.shows("bob")
    person.types("quit\r")
    assert person.ends() == 0
    assert "Trying to come back" not in person.all
    person.close()


def test_a_script_takes_the_one_that_is_there(ways: Ways, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(USERS["bob"] + "\n")
    secret.chmod(0o600)
    words = [sys.executable, str(ROOT / "client.py"), f"127.0.0.1:{free_port()},{ways.all}", "--user", "bob",
             "--password-file", str(secret), "--send", "ann", "hello"]  # fmt: skip
    for _ in range(3):
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, env=environment(tmp_path))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
