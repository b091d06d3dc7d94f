"""TLS of the whole server: `openssl s_client` talks to it, and says what it found; and how a start may fail."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.certificates import certificate
from tests.patience import LIMIT
from tests.program.peer import Program

Start = Callable[..., Program]
HELLO = '{"action":"hello","protocol":1}\n'


def s_client(port: int, *flags: str, says: tuple[tuple[str, str], ...] = ((HELLO, '"action"'),)) -> str:
    """What the openssl program prints, when it is given these lines, each when the words before it were printed."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *flags]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as program:
        assert program.stdin and program.stdout
        try:
            said = ""
            for line, until in says:
                program.stdin.write(line)
                program.stdin.flush()
                while until not in said:
                    more = program.stdout.readline()
                    assert more, said
                    said += more
            program.stdin.close()
            return said + program.stdout.read()
        finally:
            program.kill()
            program.wait(LIMIT)


def test_openssl_talks_to_it(start: Start) -> None:
    server = start("--tls", wait=False)
    server.listening()
    fingerprint = server.wait_for("The certificate's fingerprint, for people to compare: ").split(": ")[1]
    own = server.home / "data" / "tls.pem"
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    asked = ["openssl", "x509", "-in", own, "-noout", "-sha256", "-fingerprint"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=LIMIT).stdout
    assert fingerprint == "SHA256:" + said.partition("=")[2].strip().replace(":", "").lower()
    for flags, version in ((["-tls1_3"], "TLSv1.3"), (["-tls1_2"], "TLSv1.2")):
        check = ("-CAfile", str(own), "-verify_return_error", "-verify_hostname", "localhost")
        said = s_client(server.port, *flags, *check)
        (reply,) = [json.loads(line) for line in said.splitlines() if line.startswith('{"action"')]
        assert (reply["status"], "tls" in reply) == ("OK", False)
        assert f"New, {version}" in said and "Verification: OK" in said and "Verify return code: 0 (ok)" in said
        assert "No ALPN negotiated" in said and "Compression: NONE" in said
    said = s_client(server.port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", says=())
    assert "alert protocol version" in said and "Cipher is (NONE)" in said
    server.login("ann")  # who comes without TLS still may
    server.stop()


def test_openssl_may_not_negotiate_anew(start: Start) -> None:
    server = start("--tls")
    said = s_client(server.port, "-tls1_2", says=((HELLO, '"action"'), ("R\n", "RENEGOTIATING")))
    assert "no renegotiation" in said
    server.login("ann")
    server.stop()


def test_sighup_takes_an_exchanged_certificate(start: Start, tmp_path: Path) -> None:
    mine = tmp_path / "mine.pem"
    mine.write_bytes(certificate("one").read_bytes())
    server = start("--cert", str(mine), stdin=subprocess.DEVNULL, before=_no_terminal, wait=False)
    server.listening()
    first = server.wait_for("for people to compare: ")
    mine.write_bytes(certificate("other").read_bytes())
    server.process.send_signal(signal.SIGHUP)
    assert server.wait_for("New certificate").rstrip(".").split(": ")[-1] not in first
    server.stop()


def _no_terminal() -> None:
    os.setsid()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--cert", "/none.pem"), "Error! /none.pem: No such file or directory"),
        (("--cert", "/dev/null"), "Error! /dev/null cannot be used: it must be a plain file"),
        (("--key", "/none.pem"), "--key is the key of --cert FILE: name both"),
    ],
)
def test_a_start_that_cannot_have_tls(start: Start, flags: tuple[str, ...], words: str) -> None:
    status, said = start(*flags, wait=False).ended()
    assert status != 0 and words in said


def test_without_openssl_a_start_says_what_to_do(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    status, said = start("--tls", wait=False).ended()
    assert status == 1
    assert 'there is no program "openssl" here to make one: install it, or name a certificate of your own' in said


def test_a_server_for_an_afternoon_shows_the_certificate_that_people_know(start: Start, home: Path) -> None:
    server = start("--tls", wait=False)
    said = server.wait_for("for people to compare: ")
    server.stop()
    own = (home / "data" / "tls.pem").read_bytes()
    again = start("--tls", "--ephemeral", wait=False)
    assert again.wait_for("for people to compare: ") == said
    again.stop()
    assert (home / "data" / "tls.pem").read_bytes() == own
