"""The program for people against the real server: as a script, and in a pseudo-terminal."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.client import Client
from tests.client.conftest import ROOT, USERS, Server
from tests.client.programs import WELCOME, Terminal, command, environment, script
from tests.patience import LIMIT


@pytest.mark.parametrize("end", ["logout\n", "", "exit"])
def test_a_script(server: Server, tmp_path: Path, end: str) -> None:
    said, status = script(server, tmp_path, "bob\nbob-password\nmessage ann hi\nblock bob\nfoo\nwhoelse\n" + end)
    assert status == 0
    assert said == WELCOME.format("bob") + """\
The user "ann" is not online. The server has stored your message.
Error! You cannot block yourself!
Error! Unknown command "foo". Type "help" for what there is.
Nobody else is online.
"""
    said, status = script(server, tmp_path, f"ann\n{USERS['ann']}\n")
    lines = said.removeprefix(WELCOME.format("ann")).splitlines()
    assert lines[0] == "While you were away (1 message):" and lines[1].endswith("] bob: hi")
    assert script(server, tmp_path, f"ann\n{USERS['ann']}\n") == (WELCOME.format("ann"), 0)


def test_a_script_from_a_file_and_from_nothing(server: Server, tmp_path: Path) -> None:
    typed = tmp_path / "typed"
    typed.write_text("bob\nbob-password\nbroadcast It's me bob ~\n")
    for path, expected in ((str(typed), WELCOME.format("bob") + "bob(broadcast): It's me bob ~\n"),
                           (os.devnull, WELCOME.splitlines()[0] + "\n")):  # fmt: skip
        with open(path, "rb") as file:
            done = subprocess.run(command(server), stdin=file, capture_output=True, timeout=LIMIT,
                                  env=environment(tmp_path))  # fmt: skip
        assert (done.stdout.decode(), done.returncode) == (expected, 0)


def test_a_closed_input(server: Server, tmp_path: Path) -> None:
    line = " ".join(f"'{word}'" for word in command(server)) + " <&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=LIMIT, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr


def test_a_wrong_password_at_the_end_of_a_script_is_a_failure(server: Server, tmp_path: Path) -> None:
    said, status = script(server, tmp_path, "bob\nwrong\n")
    assert "Error! Wrong password: 2 tries are left." in said and status == 1


def test_nobody_there(server: Server, tmp_path: Path) -> None:
    server.kill()
    said, status = script(server, tmp_path, "")
    assert status == 1
    assert said == f"Error! The server 127.0.0.1 port {server.port} cannot be reached: Connection refused.\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_an_output_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(server), input=b"bob\n", stdout=full, stderr=subprocess.PIPE, timeout=LIMIT,
                              env=environment(tmp_path))  # fmt: skip
    assert (done.stderr, done.returncode) == (b"Error! Standard output: No space left on device.\n", 1)


@pytest.mark.parametrize("words", [["127.0.0.1"], ["127.0.0.1", "0"], ["127.0.0.1", "x"], ["127.0.0.1", "65536"],
                                   ["127.0.0.1", "1", "--user", "a b"]])  # fmt: skip
def test_bad_arguments(words: list[str]) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "client.py"), *words], capture_output=True, timeout=LIMIT)
    assert done.returncode == 2 and b"error: " in done.stderr and b"Traceback" not in done.stderr


def test_what_one_types_survives_an_arriving_message(server: Server, terminal: Callable[..., Terminal]) -> None:
    bob = terminal()
    bob.log_in("bob")
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
        ann.login("ann", USERS["ann"])
        bob.shows('"ann" has just logged in.')
        bob.shows("bob> ")
        bob.types("message ann half a li")
        bob.shows("half a li")
        ann.message("bob", "interrupting\u202e")
        bob.shows("ann: interrupting\r")
        bob.shows("bob> message ann half a li")
        bob.types("ne\r")
        assert [event["text"] for event in (ann.next_event(LIMIT),) if event] == ["half a line"]
    bob.types("mess\t")
    bob.shows("message ")
    bob.types("a\t")
    bob.shows("message ann ")
    bob.types("\x15")
    bob.types("\x04")
    assert bob.ends() == 0


@pytest.mark.parametrize("key", ["\x03", "\x04"])
@pytest.mark.parametrize("logged_in", [True, False])
def test_ctrl_c_and_ctrl_d_leave_cleanly(
    server: Server, terminal: Callable[..., Terminal], key: str, logged_in: bool
) -> None:
    bob = terminal()
    if logged_in:
        bob.log_in("bob")
    else:
        bob.shows(">> ")
    bob.types(key)
    assert bob.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("flags", [(), ("--plain",)])
def test_signals_leave_cleanly(
    server: Server, terminal: Callable[..., Terminal], number: int, flags: tuple[str, ...]
) -> None:
    bob = terminal(*flags)
    bob.log_in("bob")
    bob.process.send_signal(number)
    assert bob.ends() == 0


@pytest.mark.parametrize("flags", [(), ("--plain",)])
def test_a_password_is_never_shown(server: Server, terminal: Callable[..., Terminal], flags: tuple[str, ...]) -> None:
    bob = terminal("--user", "bob", *flags)
    bob.shows("Please enter your password:")
    bob.types("wrong-pass")
    bob.types("\r")
    bob.shows("Error! Wrong password")
    bob.types("bob-password\r")
    bob.shows("bob> ")
    bob.types("\x04")
    assert bob.ends() == 0
    assert "wrong-pass" not in bob.all and "bob-pass" not in bob.all


def test_the_server_comes_back_and_what_was_typed_meanwhile_is_sent(
    server: Server, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    bob = terminal()
    bob.log_in("bob")
    server.kill()
    bob.shows("Trying to come back")
    bob.shows("(offline, retrying")
    bob.types("message ann first\rmessage ann second\r")
    bob.shows("message ann second")
    server.start()
    bob.shows("You are back online.")
    bob.shows("has stored your message.", 2)
    bob.types("logout\r")
    assert bob.ends() == 0
    said, _ = script(server, tmp_path, "ann\nann-password\n")
    assert [line[8:] for line in said.splitlines()[4:]] == ["bob: first", "bob: second"]


def test_break_and_no_reconnect(server: Server, terminal: Callable[..., Terminal]) -> None:
    bob = terminal()
    bob.log_in("bob")
    bob.types("break\r")
    bob.shows("You are back online.")
    ann = terminal("--no-reconnect")
    ann.log_in("ann")
    server.kill()
    assert ann.ends() == 1
    assert "Error! The " in ann.screen
    bob.shows("Trying to come back")
    bob.types("quit\r")
    assert bob.ends() == 0


def test_killed_between_sending_and_the_reply(
    server: Server, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    bob = terminal()
    bob.log_in("bob")
    server.process.send_signal(signal.SIGSTOP)
    bob.types("message ann exactly once\r")
    memory = tmp_path / "state"
    deadline = time.monotonic() + LIMIT
    while not any(b"exactly once" in path.read_bytes() for path in memory.rglob("*.outbox")):
        assert time.monotonic() < deadline
        select.select([bob.fd], [], [], 0.02)
    bob.process.kill()
    server.process.send_signal(signal.SIGCONT)
    bob.process.wait()
    again = terminal("--user", "bob")
    again.shows("Please enter your password:")
    again.types("bob-password\r")
    again.shows("Sent again, because they had no answer: 1 command.")
    again.shows("has stored your message.")
    again.types("\x04")
    assert again.ends() == 0
    said, _ = script(server, tmp_path, "ann\nann-password\n")
    assert said.count("exactly once") == 1
    for path in memory.rglob("*"):
        assert path.is_dir() or b"exactly once" not in path.read_bytes()


def test_the_history_comes_back(server: Server, terminal: Callable[..., Terminal]) -> None:
    for up, shown in (("", "Nobody else"), ("\x1b[A\x1b[A", "whoelse")):
        bob = terminal()
        bob.log_in("bob")
        bob.types(up or "whoelse\r")
        bob.shows(shown)
        bob.types("\x15logout\r")
        assert bob.ends() == 0


def test_suspended_and_continued(server: Server, terminal: Callable[..., Terminal]) -> None:
    bob = terminal()
    bob.log_in("bob")
    bob.types("half")
    bob.shows("half")
    bob.process.send_signal(signal.SIGSTOP)
    bob.process.send_signal(signal.SIGCONT)
    bob.shows("bob> half")
    bob.types("\x0c")
    bob.shows("bob> half")
    bob.types("\x03")
    assert bob.ends() == 0
