"""The client over TLS: whom it takes for its server, and what becomes of those that it does not."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.client import news as n
from chatlib.client.link import PATIENCE
from chatlib.client.sockets import HANDSHAKE, TlsSocket
from chatlib.client.trust import KnownServers, NotTrusted, Trust, context_of
from chatlib.protocol.certificate import fingerprint
from chatlib.protocol.commands import State
from chatlib.protocol.text import printable
from chatlib.reactor.connection import Connection
from chatlib.reactor.tlsstream import TlsStream
from tests.client.certificates import NEEDS_OPENSSL, certificate, der_of
from tests.client.tlsrig import Bench, Guest, Said
from tests.ports import free_port

pytestmark = NEEDS_OPENSSL


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def shown(pem: Path) -> str:
    return fingerprint(der_of(pem))


# A proof is bound to the certificate.


@pytest.mark.parametrize(("kind", "digest", "name"), [
    ("ECDSA", "sha256", "sha256"), ("RSA", "sha256", "sha256"), ("RSA", "sha384", "sha384"),
    ("ECDSA", "sha512", "sha512"), ("Ed25519", "sha256", "sha256"),
])  # fmt: skip
def test_a_login_is_bound_to_the_certificate(bench: Bench, kind: str, digest: str, name: str) -> None:
    pem = certificate(kind=kind, digest=digest)
    server = bench.server(pem)
    bench.dial(server.port).log_in()
    first, final = (request["scram"] for request in server.fake.requests if request["action"] == "login")
    assert first.startswith("p=tls-server-end-point,,n=bob,r=")
    assert server.fake.binding == hashlib.new(name, der_of(pem)).digest() and final.startswith("c=cD10bHMt")
    assert bench.remembered() == f"127.0.0.1:{server.port} {shown(pem)}\n"


def test_it_comes_back_by_itself_and_nothing_is_lost_or_doubled(bench: Bench) -> None:
    server = bench.server()
    bench.dial(server.port).log_in()
    bench.skipped += 5.0
    server.fake.mute = True
    bench.conversation.request("message", {"to": "ann", "text": "once"}, bench.loop.now)
    bench.until(lambda: server.fake.effects)
    server.cut()
    server.fake.mute = False
    bench.comes(n.Answered)
    assert server.fake.effects == ["once"] and server.accepted == 2
    assert [type(item) for item in bench.news[-3:]] == [n.Lost, n.LoggedIn, n.Answered]


def test_much_both_ways(bench: Bench) -> None:
    server = bench.server()
    bench.dial(server.port).log_in()
    texts = [f"{number} " + "x" * 4_000 for number in range(300)]
    for text in texts:
        bench.conversation.request("message", {"to": "ann", "text": text}, bench.loop.now)
        server.fake.post(text)
    server.say()
    bench.until(lambda: not bench.conversation.outbox.pending)
    bench.until(lambda: len(bench.got(n.Arrived)) == 300)
    assert server.fake.effects == texts == [item.event["text"] for item in bench.got(n.Arrived)]


def test_what_comes_with_the_end_of_the_handshake_is_heard(bench: Bench) -> None:
    server = bench.server()
    bye = b'{"event":"bye","status":"KICKED","text":"Not from here."}\n'
    server.begin = lambda guest: guest.wire.push(bye)
    ended = bench.dial(server.port).over()
    assert (ended.status, ended.text) == ("KICKED", "Not from here.")


def test_a_bye_is_heard_although_sending_fails(bench: Bench) -> None:
    server = bench.server()
    bench.dial(server.port).log_in()
    server.fake.say({"event": "bye", "status": "KICKED", "text": "Out."})
    server.say()
    server.cut()
    bench.conversation.request("message", {"to": "ann", "text": "x"}, bench.loop.now)
    assert bench.over().status == "KICKED"


# Whose certificate is remembered.


def test_what_is_met_first_is_new_until_the_server_has_proven_that_it_knows_the_verifier(bench: Bench) -> None:
    server = bench.server()
    bench.dial(server.port).comes(n.Greeted)
    assert bench.link.certificate and bench.link.certificate.is_new and not bench.remembered()
    bench.prove("wrong")
    bench.comes(n.Answered)
    assert bench.link.certificate.is_new and not bench.remembered()
    bench.log_in()
    assert not bench.link.certificate.is_new
    assert bench.remembered() and bench.known.path.stat().st_mode & 0o777 == 0o600
    bench.link.close()
    bench.dial(server.port).comes(n.Greeted)
    assert bench.link.certificate and not bench.link.certificate.is_new


def test_a_registration_remembers_it_too(bench: Bench) -> None:
    server = bench.server()
    bench.dial(server.port).comes(n.Greeted)
    bench.conversation.ask_name("carl", bench.loop.now)
    bench.comes(n.Answered)
    assert not bench.remembered()
    bench.conversation.register("carl", "secret", bench.loop.now)
    bench.comes(n.Answered)
    assert bench.remembered() == f"127.0.0.1:{server.port} {shown(certificate())}\n"


def test_who_knows_no_verifier_is_not_remembered(bench: Bench) -> None:
    """Somebody with the server's address, who says that any password is right."""
    server = bench.server()
    bench.dial(server.port).comes(n.Greeted)
    server.fake.scripted["login"] = [
        {"status": "CONTINUE", "scram": "r={nonce}x,s=c2FsdA==,i=4096"},
        {"status": "OK", "scram": "v=AAAA", "user": "bob"},
    ]
    bench.conversation._entrance._token = lambda: "{nonce}"
    bench.prove()
    ended = bench.over()
    assert ended.status == "NOT_TRUSTED" and "could not prove" in ended.text and not bench.remembered()


def test_another_certificate_is_refused_before_anything_is_sent(bench: Bench) -> None:
    old, new = certificate(), certificate("other")
    server = bench.server(old)
    bench.dial(server.port).log_in()
    bench.known.path.write_text("# mine\nelsewhere:1 SHA256:00\n" + bench.remembered())
    server.cut()
    server.show(new)
    server.heard = b""
    bench.link.close()
    ended = bench.dial(server.port).over()
    assert (ended.status, server.heard) == ("NOT_TRUSTED", b"")
    assert ended.text == (
        f"The server 127.0.0.1 port {server.port} does not have the certificate that it had: {shown(new)} now, "
        f"{shown(old)} before. Either it has a new one, or somebody stands in between. Nothing was sent. Compare the "
        "new one with what the server prints at its start: if it is the same, remove line 3 of "
        f"{bench.known.path}, and connect again."
    )
    for _ in range(20):
        bench.loop.call_later(0.0, lambda: None)
        bench.loop.tick()
    assert server.accepted == 2, "nobody tries again"
    bench.known.path.write_text("".join(bench.remembered().splitlines(keepends=True)[:2]))
    bench.link.close()
    bench.dial(server.port).log_in()
    assert bench.remembered().endswith(f"SHA256:00\n127.0.0.1:{server.port} {shown(new)}\n")


def test_it_is_refused_when_it_comes_back_with_another_one(bench: Bench) -> None:
    server = bench.server()
    bench.dial(server.port).log_in()
    bench.conversation.request("message", {"to": "ann", "text": "hm"}, bench.loop.now)
    server.cut()
    server.show(certificate("other"))
    server.heard = b""
    assert bench.over().status == "NOT_TRUSTED" and server.heard == b""


def test_what_was_shown_to_a_person_holds_before_the_login_too(bench: Bench) -> None:
    server = bench.server()
    bench.dial(server.port)
    bench.conversation.attended = True
    bench.comes(n.Greeted)
    server.cut()
    server.show(certificate("other"))
    ended = bench.over()
    assert ended.status == "NOT_TRUSTED" and not bench.remembered()
    assert "shows another certificate than a moment ago" in ended.text
    assert shown(certificate()) in ended.text and shown(certificate("other")) in ended.text


def test_a_new_one_can_be_added_beside_the_old_one(bench: Bench) -> None:
    server = bench.server(certificate("other"))
    bench.known.path.parent.mkdir()
    place = f"127.0.0.1:{server.port}"
    bench.known.path.write_text(f"{place} {shown(certificate())}\n{place} {shown(certificate('other'))}")
    bench.dial(server.port).log_in()
    assert bench.link.certificate and not bench.link.certificate.is_new


# The file.


def test_a_torn_line_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "known_servers.txt"
    path.write_text("host:1 SHA256:12\n")
    with pytest.raises(NotTrusted, match=f"line 1 of {path} holds no whole fingerprint of it: correct that line"):
        Trust("HOST", 1, known=KnownServers(path)).judge(der_of(certificate()))


def test_a_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    with pytest.raises(NotTrusted, match="Is a directory"):
        Trust("host", 1, known=KnownServers(tmp_path)).judge(der_of(certificate()))


def test_no_certificate_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotTrusted, match="shows no certificate"):
        Trust("host", 1).judge(b"")


def test_what_cannot_be_remembered_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    trust = Trust("host", 1, known=KnownServers(tmp_path / "file" / "known"), complain=said.append)
    found = trust.judge(der_of(certificate()))
    found.proven()
    found.proven()
    assert len(said) == 1 and said[0].startswith(f"Cannot write to {tmp_path}/file/known (")
    assert said[0].endswith("): the server's certificate is not remembered.")


def test_lines_are_added_behind_whatever_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "known_servers.txt"
    path.write_text("# mine")
    known = KnownServers(path)
    Trust("::1", 5, known=known).judge(der_of(certificate())).proven()
    known.add("[::1]:5", "SHA256:another")  # somebody was faster
    assert path.read_text() == f"# mine\n[::1]:5 {shown(certificate())}\n"
    assert known.of("[::1]:5") == [(2, shown(certificate()))] and known.of("::1:5") == []


# Somebody in between.


def test_a_relay_fails_at_login(bench: Bench) -> None:
    server = bench.server()
    relay = bench.relay(certificate("other"), server.port)
    bench.dial(relay.port).prove()
    ended = bench.over()
    assert ended.status == "NOT_TRUSTED" and not server.fake.online and not bench.remembered()
    assert ended.text.startswith(
        "Somebody stands between you and the server: the certificate that you were shown "
        f"({shown(certificate('other'))}) is not the server's. So the server has refused"
    )


def test_a_relay_that_takes_tls_away_fails_at_login(bench: Bench) -> None:
    server = bench.server(secured=False)
    relay = bench.relay(certificate("other"), server.port, onward=False)
    bench.dial(relay.port).until(lambda: bench.conversation.state is State.GREETED)
    bench.conversation.login("bob", bench.loop.now)
    ended = bench.over()
    assert ended.status == "NOT_TRUSTED" and not bench.remembered()
    assert ended.text.endswith("is not the server's. So the server has refused, and your password was not told.")


def test_what_is_no_name_is_refused_and_nobody_is_suspected(bench: Bench) -> None:
    server = bench.server()
    server.fake.scripted["login"] = [{"status": "BAD_REQUEST", "text": "No name."}]
    bench.dial(server.port).until(lambda: bench.conversation.state is State.GREETED)
    bench.conversation.login("b,b", bench.loop.now)
    assert bench.comes(n.Answered).status == "BAD_REQUEST"


def test_a_plain_client_is_told_when_somebody_keeps_tls_from_it(bench: Bench) -> None:
    """The server's "tls" was taken out of its hello."""
    server = bench.server(secured=False)
    server.fake.offers_tls = True
    bench.dial(server.port, tls=False).comes(n.Greeted)
    bench.conversation.login("bob", bench.loop.now)
    reply = bench.comes(n.Answered).reply
    assert "somebody in between has kept that from your client" in reply["text"]


def test_a_plain_client_that_does_not_want_tls_gets_in(bench: Bench) -> None:
    server = bench.server(secured=False)
    server.fake.offers_tls = server.fake.hello["tls"] = True
    bench.dial(server.port, tls=False).log_in()
    assert bench.conversation.offers_tls and bench.link.certificate is None
    assert [request["scram"][:3] for request in server.fake.requests if request["action"] == "login"] == ["n,,", "c=b"]


# A CA.


def test_a_ca_vouches_for_a_name_and_nothing_is_remembered(bench: Bench) -> None:
    ca = certificate("ca")
    server = bench.server(certificate(signed_by=ca))
    bench.dial(server.port, host="localhost", cafile=ca).log_in()
    server.cut()
    server.show(certificate("another", signed_by=ca))
    bench.skipped += 5.0
    bench.comes(n.LoggedIn)
    assert not bench.remembered() and bench.link.certificate and not bench.link.certificate.is_new


@pytest.mark.parametrize(("pem", "why"), [
    (lambda ca: certificate(name="elsewhere", signed_by=ca), "Hostname mismatch, certificate is not valid for"),
    (lambda ca: certificate("old", signed_by=ca, days="-days -1"), "certificate has expired"),
    (lambda ca: certificate("stranger", signed_by=certificate("other")), "unable to get local issuer certificate"),
    (lambda ca: certificate(), "self-signed certificate"),
])  # fmt: skip
def test_whom_the_ca_does_not_vouch_for_hears_nothing(bench: Bench, pem: object, why: str) -> None:
    ca = certificate("ca")
    server = bench.server(pem(ca))  # type: ignore[operator]
    ended = bench.dial(server.port, host="localhost", cafile=ca).over()
    assert ended.status == "NOT_TRUSTED" and server.heard == b""
    assert f"shows a certificate that {ca} does not vouch for: {why}" in ended.text
    assert ended.text.endswith(" Nothing was sent.") and printable(ended.text) == ended.text


def test_without_a_ca_neither_the_date_nor_the_name_matters(bench: Bench) -> None:
    server = bench.server(certificate("old", name="elsewhere", days="-days -1"))
    bench.dial(server.port).log_in()
    assert bench.remembered()


def test_a_file_that_holds_no_ca(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nothing")
    for path, why in ((tmp_path / "ca", "holds no certificate"), (tmp_path / "no", "cannot be read: No such file")):
        with pytest.raises(ValueError, match=f'"{path}" {why}'):
            context_of(path)


# Whoever speaks no TLS, or not as it should be.


class Raw(Said):
    """A server that says what a test wants, once it has heard the client's first bytes."""

    def __init__(self, bench: Bench, *answers: bytes, close: bool = False, endless: bytes = b"") -> None:
        super().__init__()
        self._answers, self._close, self._endless = answers, close, endless
        self.heard, self._loop = b"", bench.loop
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        bench.loop.watch(self._listener.fileno(), 1, self)
        bench._closers.append(self.close)

    def readable(self) -> None:
        self.accepted += 1
        sock, address = self._listener.accept()
        self.wire = Connection(self._loop, sock, address[0], 1 << 30)
        self.wire.attach(self)

    def received(self, data: bytes) -> None:
        self.heard += data
        for answer in self._answers:
            self.wire.push(answer)
        self.drained()
        if self._close:
            self.wire.close()

    def drained(self) -> None:
        while self._endless and self.wire.open and self.wire.push(self._endless):
            pass

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...

    def close(self) -> None:
        if self.wire:
            self.wire.abort()
        self._loop.forget(self._listener.fileno(), self)
        self._listener.close()


JSON = b'{"status":"BAD_REQUEST","text":"A message is one line of JSON."}\n'
BYE = b'{"event":"bye","status":"BANNED","text":"You are banned.\\u001b Ask the administrator."}\n'
ALERT = bytes((21, 3, 3, 0, 2, 2, 40))


@pytest.mark.parametrize(("answers", "close", "why"), [
    ((JSON,), False, "it speaks something else"), ((ALERT,), True, "it says handshake failure"),
    ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), True, "it speaks something else"),
    ((BYE,), True, "it turns you away, or somebody in between does: You are banned. Ask the administrator"),
    ((), True, "the server closed the connection"),
    ((b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",), False, "length"),
])  # fmt: skip
def test_a_server_that_speaks_no_tls(bench: Bench, answers: tuple[bytes, ...], close: bool, why: str) -> None:
    raw = Raw(bench, *answers, close=close)
    ended = bench.dial(raw.port).over()
    assert ended.status == "UNREACHABLE"
    assert ended.text.startswith(f"The server 127.0.0.1 port {raw.port} cannot be reached over TLS: ")
    assert why in ended.text
    hint = ", is this its port, and does it let your address in?"
    assert ended.text.endswith(hint) == (BYE not in answers), "whoever is turned away has the right port"
    assert b"hello" not in raw.heard and raw.accepted == 1


def test_a_handshake_that_stalls(bench: Bench) -> None:
    raw = Raw(bench, b"\x16\x03\x03")
    bench.dial(raw.port).until(lambda: raw.heard)
    bench.skipped += PATIENCE + 0.1
    assert "no handshake came to its end" in bench.over().text


def test_a_handshake_without_end(bench: Bench) -> None:
    """Pieces of a message of the handshake, one behind the other."""
    raw = Raw(bench, endless=b"\x16\x03\x03\x00\x01\x02" * 10_000)
    bench.dial(raw.port)
    ended = bench.over()
    assert ended.status == "UNREACHABLE" and "cannot be reached over TLS" in ended.text


def test_a_handshake_has_so_many_bytes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TlsStream, "shake", lambda self: None)  # what OpenSSL would put up with for ever
    monkeypatch.setattr(TlsStream, "give_out", lambda self: b"x")
    raw = Raw(bench, endless=b"x" * 65_536)
    bench.dial(raw.port)
    assert "it never comes to an end" in bench.over().text
    assert HANDSHAKE < 1 << 20


def test_who_asks_and_never_listens_is_let_go(bench: Bench) -> None:
    """What TLS has to answer would wait here for ever."""
    server = bench.server()
    bench.dial(server.port).log_in()
    guest, connection = server.guests[0], bench.link._socket
    assert isinstance(connection, TlsSocket)
    guest.wire.pause_reading()
    connection._records = bytes(1 << 24)  # more than the kernel takes
    server.fake.post("x")
    server.say()
    assert bench.comes(n.Lost).text == "The connection was lost: the server asks, and does not listen."


def test_old_tls_is_not_spoken(bench: Bench) -> None:
    server = bench.server()
    server._context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        server._context.minimum_version = server._context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert "cannot be reached over TLS" in bench.dial(server.port).over().text


def test_tls_1_2_is(bench: Bench) -> None:
    server = bench.server()
    server._context.maximum_version = ssl.TLSVersion.TLSv1_2
    bench.dial(server.port).log_in()


@pytest.mark.parametrize(("version", "key", "survives"), [("-tls1_2", b"r\n", False), ("-tls1_3", b"K\n", True)])
def test_nobody_negotiates_anew(bench: Bench, version: str, key: bytes, survives: bool) -> None:
    """TLS 1.2 knows renegotiation, which is refused; TLS 1.3 only new keys."""
    pem, port = certificate(), str(free_port())
    words = ["openssl", "s_server", "-accept", port, "-cert", str(pem), "-key", str(pem), version]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as other:
        assert other.stdin is not None and other.stdout is not None
        assert any(line.startswith(b"ACCEPT") for line in other.stdout)
        bench.dial(int(port)).until(lambda: bench.link.certificate)
        said = 0

        def heard() -> object:  # a key and a text that s_server reads at once would be the key alone
            nonlocal said
            said += 1
            if said % 20 == 1 and not bench.conversation.ended:
                other.stdin.write(key if said < 100 else b'{"event":"notice"}\n')  # type: ignore[union-attr]
                other.stdin.flush()  # type: ignore[union-attr]
            return bench.news

        bench.until(heard)
        other.kill()
    assert bench.news[0] == n.Arrived({"event": "notice"}) if survives else bench.over().status == "LOST"


def guest_of(bench: Bench) -> tuple[Guest, TlsStream]:
    """Somebody is in; and the server's side of TLS with that client."""
    server = bench.server()
    server._context.maximum_version = ssl.TLSVersion.TLSv1_2
    bench.dial(server.port).log_in()
    return server.guests[0], server.guests[0].wire._stream


def test_records_without_end_that_say_nothing(bench: Bench) -> None:
    """Warnings, which TLS 1.2 puts up with: OpenSSL's limit, or the heartbeat, ends it."""
    guest, stream = guest_of(bench)
    below = guest.wire._below
    stream.write(b"")
    empty = bytes((23, 3, 3, 0, 0))
    with contextlib.suppress(OSError):
        below.push(empty * 100)
    lost = bench.comes(n.Lost)
    assert lost.text.startswith("The connection was lost: ")
    bench.comes(n.LoggedIn)


def test_a_server_that_breaks_tls_later_is_lost_and_the_client_comes_back(bench: Bench) -> None:
    guest, _ = guest_of(bench)
    guest.wire._below.push(b"this is no record")
    assert bench.comes(n.Lost).text == "The connection was lost: it speaks something else."
    bench.comes(n.LoggedIn)


# A server that takes no plain connections.


REQUIRED = "The server talks over TLS only: start the client with --tls (a program: Client(..., tls=True))."


def test_tls_is_required(bench: Bench) -> None:
    server = bench.server(secured=False)
    server.fake.scripted["hello"] = [{"status": "TLS_REQUIRED", "text": "TLS."}]
    ended = bench.dial(server.port, tls=False).over()
    assert (ended.status, ended.text) == ("TLS_REQUIRED", REQUIRED) and server.accepted == 1


def test_tls_is_required_from_now_on(bench: Bench) -> None:
    server = bench.server(secured=False)
    bench.dial(server.port, tls=False).log_in()
    server.fake.say({"event": "bye", "status": "TLS_REQUIRED", "text": "TLS."})
    server.say()
    ended = bench.over()
    assert (ended.status, ended.text) == ("TLS_REQUIRED", REQUIRED)
