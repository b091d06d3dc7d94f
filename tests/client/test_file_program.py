"""Files in the program for people, against the real server: scripts, a terminal, and a client that is killed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.client import Client
from tests.client.conftest import USERS, Server
from tests.client.programs import WELCOME, Terminal, command, environment, script, until
from tests.client.rig import ProxyThread
from tests.patience import LIMIT


@pytest.fixture
def proxy(server: Server) -> Iterator[ProxyThread]:
    thread = ProxyThread(server.port)
    yield thread
    thread.close()


def logged_in(user: str, *lines: str) -> str:
    return "\n".join([user, USERS[user], *lines]) + "\n"


def test_to_someone_offline_then_a_restart_then_fetched(server: Server, tmp_path: Path) -> None:
    content = os.urandom(1_234_567)
    (tmp_path / "my report.pdf").write_bytes(content)
    (tmp_path / "empty").touch()
    names = f"'{tmp_path}/my report.pdf' {tmp_path}/empty"
    said, status = script(server, tmp_path, logged_in("bob", f"sendfile ann 2 {names}", "whoelse"))
    assert status == 0
    assert sorted(said.removeprefix(WELCOME.format("bob")).splitlines()[:-1]) == [
        '"empty" (0 bytes) has been sent to ann.', '"my report.pdf" (1.2 MB) has been sent to ann.',
        'Sending "empty" to ann (0 bytes).', 'Sending "my report.pdf" to ann (1.2 MB).',
    ]  # fmt: skip
    assert said.endswith("\nNobody else is online.\n"), "the next command waits for the end of the transfer"
    server.stop()
    server.start()
    down = tmp_path / "down"
    down.mkdir()
    flags = ("--downloads", str(down))
    said, status = script(server, tmp_path, logged_in("ann", 'fileget bob "my report.pdf"', "fileget"), *flags)
    lines = said.removeprefix(WELCOME.format("ann")).splitlines()
    assert status == 0 and lines[0] == "While you were away (2 messages):"
    announced = sorted(line[8:] for line in lines[1:3])
    assert announced == [
        "bob has sent you a file: empty (0 bytes). Type: fileget bob empty",
        "bob has sent you a file: my report.pdf (1.2 MB). Type: fileget bob my\\ report.pdf",
    ]
    assert lines[3] == 'Fetching "my report.pdf" from bob (1.2 MB).'
    assert lines[4] == f'"my report.pdf" from bob has been saved as {down}/my report.pdf'
    assert lines[5].endswith("bob  empty  0 bytes") and len(lines) == 6
    assert (down / "my report.pdf").read_bytes() == content
    said, _ = script(server, tmp_path, logged_in("ann", "filedecline bob empty", "fileget"), *flags)
    assert said.removeprefix(WELCOME.format("ann")) == (
        'You have declined "empty" from bob.\nNo files wait for you.\n'
    )
    said, _ = script(server, tmp_path, logged_in("bob"))
    assert [line[8:] for line in said.splitlines()[4:]] == [
        'ann has fetched your file "my report.pdf".', 'ann has declined your file "empty".'
    ]  # fmt: skip


def test_the_administrator_drops_one(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    script(server, tmp_path, logged_in("bob", f"file ann {tmp_path}/x"))
    with Client("127.0.0.1", server.port, timeout=LIMIT) as chat:
        chat.login("ann", USERS["ann"])
        (file,) = chat.files()
        server.command(f"drop {file['seq']}")
        while chat.files():
            pass
    said, _ = script(server, tmp_path, logged_in("bob"))
    assert 'The administrator removed your file "x" for ann.' in said


def killed_in_the_middle(server: Server, proxy: ProxyThread, tmp_path: Path, line: str, begun: Callable[[], bool],
                         user: str, *flags: str) -> str:  # fmt: skip
    """What the second client says, after the first was killed while its transfer was held."""
    proxy.proxy.holds, proxy.proxy.budget = True, lambda: 400_000
    words = command(server, *flags)
    words[3] = str(proxy.port)
    first = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment(tmp_path))
    assert first.stdin is not None
    first.stdin.write(logged_in(user, line).encode())
    first.stdin.flush()
    until(begun)
    first.kill()
    first.wait()
    first.stdin.close()
    while "Welcome" not in (said := script(server, tmp_path, logged_in(user, line), *flags)[0]):
        assert "already" in said  # the server has not heard yet that the first is gone
    return said


def test_killed_while_it_sends(server: Server, proxy: ProxyThread, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(os.urandom(3_000_000))
    parts = server.home / "data" / "files"
    said = killed_in_the_middle(
        server, proxy, tmp_path, f"file ann {tmp_path}/x",
        lambda: any(part.stat().st_size > 350_000 for part in parts.iterdir()), "bob",
    )  # fmt: skip
    assert 'Sending "x" to ann (3.0 MB) goes on at 1' in said and '"x" (3.0 MB) has been sent to ann.' in said


def test_killed_while_it_fetches(server: Server, proxy: ProxyThread, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(os.urandom(3_000_000))
    script(server, tmp_path, logged_in("bob", f"file ann {tmp_path}/x"))
    down = tmp_path / "down"
    down.mkdir()
    said = killed_in_the_middle(
        server, proxy, tmp_path, "fileget bob x",
        lambda: any(part.stat().st_size > 350_000 for part in down.iterdir()), "ann", "--downloads", str(down),
    )  # fmt: skip
    assert 'Fetching "x" from bob (3.0 MB) goes on at 1' in said
    assert [path.name for path in down.iterdir()] == ["x"]
    assert (down / "x").read_bytes() == (tmp_path / "x").read_bytes()


@pytest.mark.parametrize("key", ["\x03", "logout\r"])
def test_a_bar_chat_beside_it_and_leaving_in_the_middle(
    server: Server, proxy: ProxyThread, terminal: Callable[..., Terminal], tmp_path: Path, key: str
) -> None:
    (tmp_path / "my report.pdf").write_bytes(os.urandom(3_000_000))
    proxy.proxy.holds, proxy.proxy.budget = True, lambda: 1_200_000
    port, server.port = server.port, proxy.port
    bob = terminal()
    server.port = port
    bob.log_in("bob")
    bob.types(f"file ann {tmp_path}/my\t")
    bob.shows("my\\ report.pdf ")
    bob.types("\r")
    bob.shows(" % [")
    bob.types("whoelse\r")
    bob.shows("Nobody else is online.")
    bob.shows(" % [")
    bob.types(key)
    bob.shows('"my report.pdf" has not been sent to ann yet: the same command goes on from there.')
    assert bob.ends() == 0


def test_a_download_with_a_bar(server: Server, terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(os.urandom(3_000_000))
    script(server, tmp_path, logged_in("bob", f"file ann {tmp_path}/x.bin"))
    down = tmp_path / "down"
    down.mkdir()
    ann = terminal("--downloads", str(down))
    ann.shows(">> ")
    ann.types("ann\rann-password\r")
    ann.shows("Type: fileget bob x.bin")
    ann.types("fileget b\t")
    ann.shows("fileget bob ")
    ann.types("\t\r")
    ann.shows(f'"x.bin" from bob has been saved as {down}/x.bin')
    ann.types("\x04")
    assert ann.ends() == 0
    assert (down / "x.bin").read_bytes() == (tmp_path / "x.bin").read_bytes()


def test_declining_a_half_fetched_file_removes_what_came(
    server: Server, proxy: ProxyThread, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(os.urandom(3_000_000))
    down = tmp_path / "down"
    down.mkdir()
    proxy.proxy.holds, proxy.proxy.budget = True, lambda: 400_000
    for leaves in (False, True):
        script(server, tmp_path, logged_in("bob", f"file ann {tmp_path}/x"))
        port, server.port = server.port, proxy.port
        ann = terminal("--downloads", str(down))
        server.port = port
        ann.log_in("ann")
        ann.types("fileget bob x\r")
        ann.shows(" % [")
        until(lambda: any(part.stat().st_size > 350_000 for part in down.iterdir()))
        if not leaves:
            ann.types("filedecline bob x\r")
            ann.shows('You have declined "x" from bob.')
            ann.types("whoelse\r")
            ann.shows("Nobody else is online.")
            assert "Error" not in ann.all and " % [" not in ann.screen
        ann.types("\x03")
        assert ann.ends() == 0
        if leaves:
            assert len(list(down.iterdir())) == 1
            said, status = script(server, tmp_path, logged_in("ann", "filedecline bob x"), "--downloads", str(down))
            assert said.endswith('You have declined "x" from bob.\n') and status == 0
        assert list(down.iterdir()) == []


def test_a_folder_for_downloads_that_cannot_be_one(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        done = subprocess.run(command(server, "--downloads", str(path)), capture_output=True, text=True)
        assert done.returncode == 2 and f'there is no folder "{path}"' in done.stderr
