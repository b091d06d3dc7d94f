"""Clients and the real server over TLS; and somebody in between."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.client import Client, Disconnected
from chatlib.protocol.certificate import fingerprint
from chatlib.reactor.loop import Loop
from tests.client.certificates import NEEDS_OPENSSL, certificate, der_of
from tests.client.conftest import USERS, Server
from tests.client.programs import ROOT, Pseudo, Terminal, command, environment
from tests.client.tlsrig import Relay, fault
from tests.patience import LIMIT

pytestmark = NEEDS_OPENSSL


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that offers TLS, the same for all who leave it as it was."""
    server = Server(tmp_path_factory.mktemp("tls") / "home", flags=("--tls",))
    with open(server.home / "credentials.txt", "a") as file:
        file.write("admin the keeper's own\n")
    server.command("reload")
    assert server.process.stdout is not None
    assert any(line.startswith(b"Reloaded: ") for line in server.process.stdout), "it is taken in"
    yield server
    server.kill()


@pytest.fixture
def own(house: Callable[..., Server]) -> Server:
    """The same for one test alone."""
    return house(flags=("--tls",))


def shown(server: Server) -> str:
    return fingerprint(der_of(server.home / "data" / "tls.pem"))


def exchange(server: Server) -> None:
    """The server goes, and comes back with another certificate."""
    server.stop()
    (server.home / "data" / "tls.pem").unlink()
    server.start()


def client(server: Server, user: str = "", **options: object) -> Client:
    chat = Client("127.0.0.1", server.port, timeout=LIMIT, tls=True, **options)  # type: ignore[arg-type]
    if user:
        chat.login(user, USERS[user])
    return chat


# Bots.


def test_two_talk_and_send_files_and_come_back(own: Server, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(bytes(range(256)) * 20_000)
    with client(own, "ann") as ann, client(own, "bob") as bob:
        assert ann.fingerprint == bob.fingerprint == shown(own)
        assert ann.message("bob", "hello")["delivered"] is True
        ann.send_file("bob", path)
        own.kill()
        own.start()
        events = bob.events(LIMIT)
        assert next(event["text"] for event in events if event["event"] == "message") == "hello"
        found = bob.fetch("ann", "report.pdf", tmp_path)
        assert found.name == "report (2).pdf"
        assert hashlib.sha256(found.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()
        assert ann.message("bob", "again", key="once")["status"] == "OK"


def test_accounts_over_tls(tls: Server) -> None:
    with client(tls) as chat:
        chat.register("eve", "first")
        chat.login("eve", "first")
        chat.change_password("first", "second")
    with client(tls) as chat:
        chat.deregister("eve", "second")


def test_a_bot_with_a_memory_refuses_another_certificate(own: Server, tmp_path: Path) -> None:
    state = tmp_path / "bot"
    with client(own, "ann", memory=state) as ann, client(own, "bob") as bob:
        old = shown(own)
        assert (state / "known_servers.txt").read_text() == f"127.0.0.1:{own.port} {old}\n"
        exchange(own)
        for chat in (ann, bob):  # also who remembers nothing, as long as it runs
            with pytest.raises(Disconnected) as over:
                chat.whoelse()
            assert over.value.status == "NOT_TRUSTED" and old in over.value.text and shown(own) in over.value.text
    with pytest.raises(Disconnected) as over:
        client(own, memory=state)
    assert f"remove line 1 of {state}/known_servers.txt" in over.value.text
    with client(own, "ann") as ann:
        assert ann.fingerprint == shown(own)


def test_a_ca_of_ones_own(house: Callable[..., Server], tmp_path: Path) -> None:
    ca, pem = certificate("ca"), certificate(signed_by=certificate("ca"))
    server = house(flags=("--tls", "--cert", str(pem), "--key", str(pem)))
    with client(server, "ann", cafile=ca, memory=tmp_path / "bot") as ann:
        assert ann.fingerprint == fingerprint(der_of(pem))
    assert not (tmp_path / "bot" / "known_servers.txt").exists()
    with pytest.raises(Disconnected, match="does not vouch for"):
        client(server, cafile=certificate("other"))


def test_where_tls_is_required(house: Callable[..., Server]) -> None:
    server = house(REQUIRE_TLS="yes")
    with pytest.raises(Disconnected) as over:
        Client("127.0.0.1", server.port, timeout=LIMIT)
    assert over.value.status == "TLS_REQUIRED" and "Client(..., tls=True)" in over.value.text
    with client(server, "ann") as ann:
        assert ann.whoelse() == []


def test_where_there_is_no_tls(server: Server) -> None:
    with pytest.raises(Disconnected) as over:
        client(server)
    assert over.value.status == "UNREACHABLE"
    assert over.value.text.endswith(", is this its port, and does it let your address in?")


# Somebody in between.


class RelayThread:
    """A relay for programs, turning by itself."""

    def __init__(self, port: int, *, onward: bool) -> None:
        self._loop = Loop(on_fault=fault)
        self._relay = Relay(self._loop, certificate("other"), port, onward=onward)
        self.port, self._over = self._relay.port, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over:
            self._loop.call_later(0.02, lambda: None)
            self._loop.tick()

    def close(self) -> None:
        self._over = True
        self._thread.join()
        self._relay.close()
        self._loop.close()


@pytest.fixture
def between(tls: Server) -> Iterator[Callable[..., RelayThread]]:
    """Starts somebody in between, with another certificate."""
    started: list[RelayThread] = []

    def start(*, onward: bool = True) -> RelayThread:
        started.append(RelayThread(tls.port, onward=onward))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_a_relay_gets_nobody_in(tls: Server, between: Callable[..., RelayThread], tmp_path: Path) -> None:
    relay = between()
    with pytest.raises(Disconnected) as over:
        client(relay, "ann", memory=tmp_path / "bot")  # type: ignore[arg-type]
    assert over.value.status == "NOT_TRUSTED" and not (tmp_path / "bot" / "known_servers.txt").exists()
    assert fingerprint(der_of(certificate("other"))) in over.value.text
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text(USERS["bob"] + "\n")
    words = command(relay, "--tls", "--user", "bob", "--password-file", str(secret), "--send", "ann", "the plan")
    done = subprocess.run(words, text=True, capture_output=True, timeout=LIMIT, env=environment(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error! Somebody stands between you and the server" in done.stderr
    assert not (tmp_path / "state" / "chatlib" / "known_servers.txt").exists()


def test_a_relay_that_takes_tls_away_gets_nobody_in(between: Callable[..., RelayThread]) -> None:
    with pytest.raises(Disconnected, match="Somebody stands between you and the server"):
        client(between(onward=False), "ann")  # type: ignore[arg-type]


# People, scripts, the administrator.


def test_a_person_meets_a_server_and_later_another_one(own: Server, tmp_path: Path) -> None:
    person = Terminal(own.port, tmp_path, "--tls")
    person.shows(f"You have not met the server 127.0.0.1:{own.port} over TLS before. Its certificate")
    person.shows(shown(own))
    person.shows("It is remembered when you have logged in.")
    person.log_in("ann")
    person.types("quit\r")
    assert person.ends() == 0
    known = tmp_path / "state" / "chatlib" / "known_servers.txt"
    assert known.read_text() == f"127.0.0.1:{own.port} {shown(own)}\n"
    exchange(own)
    person.close()
    person = Terminal(own.port, tmp_path, "--tls")
    person.shows("does not have the certificate that it had")
    person.shows("remove line 1 of")
    person.shows(f"{known}, and connect again.")
    assert person.ends() == 1 and ">> " not in person.all
    person.close()


def test_a_script_says_whom_it_meets_once(tls: Server, tmp_path: Path) -> None:
    secret, path = tmp_path / "secret", tmp_path / "notes.txt"
    secret.touch(0o600)
    secret.write_text(USERS["bob"] + "\n")
    path.write_text("a note")
    words = command(tls, "--tls", "--user", "bob", "--password-file", str(secret), "--send", "ann", "hi",
                    "--file", "ann", str(path))  # fmt: skip
    for said in (f"First contact: the server's certificate is {shown(tls)}.\n", "Error!"):
        done = subprocess.run(words, text=True, capture_output=True, timeout=LIMIT, env=environment(tmp_path))
        assert done.stderr.startswith(said), done
    assert done.stderr.startswith("Error! ") and "notes.txt" in done.stderr, "the file waits there already"
    with client(tls, "ann") as ann:
        assert [file["name"] for file in ann.files()] == ["notes.txt"]


def test_the_settings_name_a_server_with_tls(tls: Server, tmp_path: Path) -> None:
    settings = tmp_path / "config" / "chatlib" / "client.txt"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"server 127.0.0.1 {tls.port}\ntls on\n")
    done = subprocess.run([sys.executable, str(ROOT / "client.py")], input="ann\nann-password\nwhoelse\n", text=True,
                          capture_output=True, timeout=LIMIT, env=environment(tmp_path))  # fmt: skip
    assert done.returncode == 0 and shown(tls) in done.stdout


def test_a_console_from_afar_over_tls(tls: Server, tmp_path: Path) -> None:
    person = Pseudo(command(tls, "--tls", "--admin"), tmp_path, controls=False)
    person.shows(shown(tls))
    person.shows("Please enter the administrator's password:")
    person.types("the keeper's own\r")
    person.shows("The console of the server 127.0.0.1")
    person.types("accounts\r")
    person.shows("carl")
    person.types("\x04")
    assert person.ends() == 0
    person.close()
    assert (tmp_path / "state" / "chatlib" / "known_servers.txt").read_text().endswith(f"{shown(tls)}\n")
