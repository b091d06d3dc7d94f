"""The server's own key and certificate: made once, by openssl, and never where others could read it."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from chatlib.reactor.presented import load
from chatlib.storage import tlsfile
from chatlib.storage.textfile import FileError


def test_it_is_made_whole_and_for_oneself_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        tlsfile.make(tmp_path / "tls.pem")
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["tls.pem"]
    assert stat.S_IMODE((tmp_path / "tls.pem").stat().st_mode) == 0o600
    shown = load(tmp_path / "tls.pem", tmp_path / "tls.pem")
    assert 3_640 < (shown.expires - time.time()) / 86_400 < 3_660
    assert len(shown.binding) == 32
    asked = ["openssl", "x509", "-in", str(tmp_path / "tls.pem"), "-noout", "-text"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout
    assert "prime256v1" in said and "CA:FALSE" in said and "DNS:localhost, IP Address:127.0.0.1" in said


def test_the_key_is_never_among_the_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    real = subprocess.run

    def run(words: tuple[str, ...], **options: Any) -> Any:
        told.extend(map(str, words))
        return real(words, **options)

    monkeypatch.setattr(subprocess, "run", run)
    tlsfile.make(tmp_path / "tls.pem")
    key = (tmp_path / "tls.pem").read_text().splitlines()[2]
    assert len(key) == 64 and not any(key[:20] in word for word in told)
    assert told.count("openssl") == 2


PROGRAMS = {
    "none": ('TLS needs a certificate, and there is no program "{program}" here', None),
    "fails": ("made no certificate: it will not", "#!/bin/sh\necho it will not >&2\nexit 3\n"),
    "says nothing": ("made no certificate: it ended with status 4", "#!/bin/sh\nexit 4\n"),
    "hangs": ("does not come to an end; no certificate was made", "#!/bin/sh\nexec sleep 600\n"),
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_that_does_not_do_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(tlsfile, "PATIENCE", 0.05 if kind == "hangs" else 60.0)
    words, script = PROGRAMS[kind]
    program, folder = tmp_path / "program", tmp_path / "data"
    folder.mkdir()
    if script:
        program.write_text(script)
        program.chmod(0o700)
    with pytest.raises(FileError) as told:
        tlsfile.make(folder / "tls.pem", str(program))
    assert words.format(program=program) in str(told.value)
    assert list(folder.iterdir()) == [], "nothing is left behind"


def test_a_host_name_that_is_none_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tlsfile.socket, "gethostname", lambda: "x, DNS:bank.example\n[who]")
    tlsfile.make(tmp_path / "tls.pem")
    asked = ["openssl", "x509", "-in", str(tmp_path / "tls.pem"), "-noout", "-text"]
    assert "bank" not in subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_flipped_bit_is_noticed_and_what_a_person_put_there_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    tlsfile.make(path)
    whole = path.read_bytes()
    assert not tlsfile.is_damaged(path)
    for at in range(whole.index(b"\n"), len(whole), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert tlsfile.is_damaged(path)
    path.write_bytes(whole.partition(b"\n")[2])
    assert not tlsfile.is_damaged(path)
