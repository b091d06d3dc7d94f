"""Who can read along: what the command line and the settings want, and what a person is told."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.client import news as n
from chatlib.client.addresses import ServerAddress
from chatlib.client.sockets import Way
from chatlib.client.steering import Steering
from chatlib.client.trust import Certificate
from chatlib.program.options import Options
from chatlib.program.secrecy import Secrecy, servers_of
from chatlib.protocol.certificate import end_point, fingerprint
from chatlib.protocol.scram import ScramError, ServerExchange, make_verifier
from client import parse_arguments
from tests.client.certificates import NEEDS_OPENSSL, certificate, der_of
from tests.client.tlsrig import Bench
from tests.reactor.certificate import PEM

pytestmark = NEEDS_OPENSSL
DER = ssl.PEM_cert_to_DER_cert(PEM[PEM.index("-----BEGIN CERT") :])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


# What is said.


class Line:
    """A link that is connected so."""

    def __init__(self, address: str, found: Certificate | None = None) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.peer: Way | None = Way((family, (address, 1234)), None)
        self.certificate = found
        self.at = ServerAddress("Host", 1)


def said(line: Line, offers_tls: bool = False, state: str = "/nowhere") -> list[str]:
    secrecy = Secrecy(line, {"XDG_STATE_HOME": state})  # type: ignore[arg-type]
    lines = secrecy.lines(offers_tls)
    assert secrecy.lines(offers_tls) == [], "it is said once"
    return ["".join(str(part if isinstance(part, str) else part.text) for part in each) for each in lines]


@pytest.mark.parametrize("address", ["192.168.1.5", "::ffff:192.168.1.5", "fe80::1%lo", "2001:db8::1"])
def test_without_tls_a_person_is_told_that_others_can_read_along(address: str) -> None:
    assert said(Line(address)) == ["Others on this network can read along: the server offers no TLS."]
    why = "start the client with --tls, and they cannot"
    assert said(Line(address), offers_tls=True) == [f"Others on this network can read along: {why}."]


def test_a_server_that_was_met_over_tls_and_offers_none_now(tmp_path: Path) -> None:
    (tmp_path / "chatlib").mkdir()
    (tmp_path / "chatlib" / "known_servers.txt").write_text(f"host:1 {fingerprint(DER)}\n")
    assert said(Line("192.168.1.5"), state=str(tmp_path)) == [
        "Others on this network can read along: the server offers no TLS, and you have met it over TLS before."
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_within_one_machine_nobody_can(address: str) -> None:
    assert said(Line(address)) == said(Line(address), offers_tls=True) == []


def test_what_is_met_for_the_first_time_is_shown() -> None:
    assert said(Line("192.168.1.5", Certificate(DER, True, lambda: None))) == [
        "You have not met the server host:1 over TLS before. Its certificate has the fingerprint",
        fingerprint(DER),
        "The server prints the same at its start, or somebody stands in between. It is remembered when you have "
        "logged in.",
    ]
    assert said(Line("192.168.1.5", Certificate(DER, False, lambda: None))) == []


def test_each_server_that_is_gone_to_is_told_of_once() -> None:
    line = Line("127.0.0.1")
    secrecy = Secrecy(line, {"XDG_STATE_HOME": "/nowhere"})  # type: ignore[arg-type]
    assert secrecy.lines(False) == [], "nobody reads along on this machine"
    line.peer = Way((socket.AF_INET, ("192.168.1.5", 1)), None)
    assert len(secrecy.lines(False)) == 1 and secrecy.lines(False) == []
    line.certificate = Certificate(DER, True, lambda: None)
    assert len(secrecy.lines(False)) == 3 and secrecy.lines(False) == []


def test_nothing_is_said_of_a_connection_that_is_none() -> None:
    line = Line("192.168.1.5")
    line.peer = None
    assert said(line) == []


# What is wanted.


def test_the_command_line_and_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert parse_arguments(["--tls", "host", "1"]).tls and not parse_arguments(["host", "1"]).tls
    ca = certificate("ca")
    found = parse_arguments(["host:1", "--cafile", str(ca)])
    assert found.tls and found.cafile == ca, "a CA is asked over TLS alone"
    (tmp_path / "chatlib").mkdir()
    settings = tmp_path / "chatlib" / "client.txt"
    settings.write_text("server here 5\ntls on\n")
    found = parse_arguments([])
    assert (found.servers, found.tls) == ((("here", 5),), True)
    assert not parse_arguments(["host", "1"]).tls, "it is about the server of the settings"
    settings.write_text("server here 5\n")
    assert not parse_arguments([]).tls


def test_a_cafile_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse_arguments(["host:1", "--cafile", str(tmp_path / "no.pem")])
    assert left.value.code == 2 and "no.pem\" cannot be read: No such file or directory" in capsys.readouterr().err


def test_what_is_remembered_stands_beside_the_rest(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    here = ServerAddress("host", 1)
    assert servers_of(Options((here,)), environ, print).trusts is None
    trusts = servers_of(Options((here,), tls=True), environ, print).trusts
    assert trusts is not None
    trusts.of(here).judge(DER).proven()
    assert (tmp_path / "chatlib" / "known_servers.txt").read_text() == f"host:1 {fingerprint(DER)}\n"


# A console from afar.


class Person:
    """At the console: `heard` is what was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *words: self.heard.append((name, *words))


VERIFIER = make_verifier("keeper", 4096)


def steered(found: Certificate | None, binding: bytes, **hello: object) -> list[tuple[Any, ...]]:
    """What somebody is told who types the right password; `binding`: that of the server's own certificate."""
    person = Person()
    steering = Steering(person, lambda: "nonce")  # type: ignore[arg-type]
    steering.connected(0.0, found)
    steering.received(json.dumps({"action": "hello", "id": 1, "status": "OK", **hello}).encode() + b"\n", 0.0)
    exchange: ServerExchange | None = None
    for line in steering.take_output().splitlines()[1:]:
        first = json.loads(line)
        exchange = ServerExchange.begin(first["scram"], VERIFIER, "server", binding)
        reply = {"action": "admin", "id": first["id"], "status": "CONTINUE", "scram": exchange.challenge}
        steering.received(json.dumps(reply).encode() + b"\n", 0.0)
    assert exchange is not None
    steering.give("keeper", 0.0)
    final = json.loads(steering.take_output())
    try:
        reply = {"status": "OK", "scram": exchange.verify(final["scram"])}
    except ScramError as wrong:
        reply = {"status": "BAD_REQUEST", "text": str(wrong)}
    steering.received(json.dumps({"action": "admin", "id": final["id"], **reply}).encode() + b"\n", 0.0)
    return person.heard


def test_the_administrators_proof_is_bound_to_the_certificate() -> None:
    proven: list[bool] = []
    found = Certificate(DER, True, lambda: proven.append(True))
    assert steered(found, end_point(DER)) == [("asked",), ("opened",)] and proven == [True]


def test_a_relay_before_a_console_from_afar() -> None:
    proven: list[bool] = []
    found = Certificate(DER, True, lambda: proven.append(True))
    (_, over) = steered(found, end_point(der_of(certificate("other"))))
    assert over[:2] == ("over", "NOT_TRUSTED") and "Somebody stands between you and the server" in over[2]
    assert fingerprint(DER) in over[2] and proven == []


def test_a_console_without_tls() -> None:
    assert steered(None, b"", tls=True) == steered(None, b"") == [("asked",), ("opened",)]


def test_a_console_where_tls_is_required() -> None:
    person = Person()
    steering = Steering(person)  # type: ignore[arg-type]
    steering.connected(0.0)
    steering.received(b'{"action":"hello","id":1,"status":"TLS_REQUIRED","text":"TLS."}\n', 0.0)
    (over,) = person.heard
    assert over[:2] == ("over", "TLS_REQUIRED") and "start the client with --tls" in over[2]


def test_news_of_a_login_come_as_without_tls(bench: Bench) -> None:
    server = bench.server()
    bench.dial(server.port).log_in()
    assert [type(item) for item in bench.news] == [n.Greeted, n.Challenged, n.LoggedIn]
