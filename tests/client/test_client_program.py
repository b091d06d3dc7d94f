"""The program for people against the real server: as a script, and in a pseudo-terminal."""

from __future__ import annotations

import ast
import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

import client as program
from chatlib.client import Client
from tests.client.conftest import ROOT, USERS, Server
from tests.client.programs import WELCOME, Terminal, command, environment, script, until
from tests.client.rig import ProxyThread
from tests.conftest import Python
from tests.patience import LIMIT

NOTHING_LISTENS = "Nothing listens there: has the server been started, and is the port right?"


@pytest.mark.parametrize("end", ["logout\n", "", "exit"])
def test_a_script(server: Server, tmp_path: Path, end: str) -> None:
    said, status = script(server, tmp_path, "bob\nbob-password\nmessage ann hi\nwhoelse\n" + end)
    assert status == 0
    assert said == WELCOME.format("bob") + """\
The user "ann" is not online. The server has stored your message.
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


@pytest.mark.parametrize(("wrong", "said"), [
    ("block bob", "Error! You cannot block yourself!"),
    ("foo", 'Error! Unknown command "foo". Type "help" for what there is.\n'
            'To talk without commands, type "to #TITLE" (a thread), "to NAME" (a user) or "to all" first.'),
    ("message ann", "Error! Usage: message <to> <text>"),
    ("help foo", 'Error! There is no command "foo". Type "help" for what there is.'),
    ("file ann /nowhere/at/all", 'Error! There is no file "/nowhere/at/all".'),
    ("file nobody README.md", 'Error! There is no user "nobody".'),
    ("fileget ann x", 'Error! No file "x" from "ann" waits for you.'),
])  # fmt: skip
def test_a_script_goes_on_after_a_refused_command_and_fails(
    server: Server, tmp_path: Path, wrong: str, said: str
) -> None:
    shown, status = script(server, tmp_path, f"bob\nbob-password\n{wrong}\nwhoelse\nlogout\n")
    assert (shown, status) == (WELCOME.format("bob") + said + "\nNobody else is online.\n", 1)


@pytest.mark.parametrize(("lines", "said"), [
    ("bob\nwrong\nmessage ann hi\nmore\n", "Error! Wrong password: 2 tries are left."),
    ("nobody\ntopsecret\ntopsecret\n", 'Error! There is no user "nobody".'),
    ("no name\ntopsecret\n", "Error! This must be a user's name: 1 to 32 of A-Z a-z 0-9 _ . -."),
    ("bob\n\nbob\nbob-password\n", "Error! The password is empty."),
    ("register\nBob\nx\nx\n", 'Error! There is a user "bob" already.'),
    ("register\neve\nx\ny\nz\n", "Error! The two passwords differ."),
    ("de-register\nbob\nbob-password\nperhaps\nyes\n", 'Error! Please type "yes" or "no".'),
    ("de-register\nbob\nwrong\nyes\nyes\n", "Error! Wrong password: 2 tries are left."),
    ("bob\nbob-password\npassword\nwrong\nnew\nnew\nwhoelse\n", "Error! Wrong password: 2 tries are left."),
    ("bob\nbob-password\npassword\nbob-password\nnew\nwen\nwhoelse\n", "Error! The two passwords differ."),
])  # fmt: skip
def test_a_script_ends_with_the_first_refusal_of_an_answer(
    server: Server, tmp_path: Path, lines: str, said: str
) -> None:
    shown, status = script(server, tmp_path, lines)
    assert status == 1
    assert shown.endswith(said + "\n") and shown.count("Error!") == 1
    assert "topsecret" not in shown and "(yes/no)" not in shown.replace("with all messages? (yes/no)", "")
    with Client("127.0.0.1", server.port, timeout=LIMIT) as chat:
        chat.login("ann", USERS["ann"])
        assert chat.list_users() == {"ann": True, "bob": False, "carl": False}


def test_a_script_of_someone_who_is_online_already(server: Server, tmp_path: Path) -> None:
    with Client("127.0.0.1", server.port, timeout=LIMIT) as bob:
        bob.login("bob", "bob-password")
        shown, status = script(server, tmp_path, "bob\nbob-password\nbob-password\nyes\nx\nx\n")
        assert status == 1 and shown.count("\n") == 3 and shown.splitlines()[2].startswith("Error! ")
        assert bob.list_users() == {"ann": False, "bob": True, "carl": False}


def test_nobody_there(server: Server, tmp_path: Path) -> None:
    server.kill()
    said, status = script(server, tmp_path, "")
    assert status == 1
    why = f"Connection refused. {NOTHING_LISTENS}"
    assert said == f"Error! The server 127.0.0.1 port {server.port} cannot be reached: {why}\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_an_output_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(server), input=b"bob\n", stdout=full, stderr=subprocess.PIPE, timeout=LIMIT,
                              env=environment(tmp_path))  # fmt: skip
    assert (done.stderr, done.returncode) == (b"Error! Standard output: No space left on device.\n", 1)


@pytest.mark.parametrize("killed", [False, True])
def test_what_nobody_reads_is_not_acknowledged(server: Server, tmp_path: Path, killed: bool) -> None:
    bob = subprocess.Popen(command(server), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(tmp_path))
    assert bob.stdin is not None and bob.stdout is not None
    bob.stdin.write(b"bob\nbob-password\n")
    bob.stdin.flush()
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
        ann.login("ann", USERS["ann"])
        until(lambda: "bob" in ann.whoelse())
        for number in range(60):
            ann.message("bob", f"number {number}." + "x" * 4_000)
        until(lambda: _readable(bob.stdout) > 60_000)  # nobody reads
        if killed:
            bob.kill()
        else:
            bob.stdin.close()
        read = bob.stdout.read().decode()
        bob.stdout.close()
        bob.wait()
        ann.message("bob", "number 60.")
    again, _ = script(server, tmp_path, "bob\nbob-password\n")
    first, second = ([int(number) for number in re.findall(r"number (\d+)\.", said)] for said in (read, again))
    assert first == list(range(len(first))) and second == list(range(second[0], 61)), "in order, and none left out"
    assert second[0] <= len(first) if killed else second == [60]


def test_ctrl_c_leaves_also_when_nobody_reads(server: Server, terminal: Callable[..., Terminal]) -> None:
    bob = terminal()
    bob.log_in("bob")
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
        ann.login("ann", USERS["ann"])
        for number in range(60):
            ann.message("bob", f"number {number}." + "x" * 4_000)
        until(lambda: _waiting(bob.fd) > 3_000)
        bob.types("\x03")
        until(lambda: not ann.whoelse())
    assert bob.ends() == 0


def _readable(file: IO[bytes]) -> int:
    """How many bytes wait in a pipe."""
    return _waiting(file.fileno())


def _waiting(fd: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("words", [["127.0.0.1"], ["127.0.0.1", "0"], ["127.0.0.1", "x"], ["127.0.0.1", "65536"],
                                   ["127.0.0.1", "1", "--user", "a b"]])  # fmt: skip
def test_bad_arguments(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(words)
    assert ended.value.code == 2 and "error: " in capsys.readouterr().err


def test_a_bad_argument_given_to_the_program() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "client.py"), "127.0.0.1"], capture_output=True, timeout=LIMIT)
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
    bob.invites("bob> ")
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
    bob.shows("→ ann: second")
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
    until(lambda: any(b"exactly once" in path.read_bytes() for path in memory.rglob("*.outbox")))
    bob.process.kill()
    server.process.send_signal(signal.SIGCONT)
    bob.process.wait()
    again = terminal("--user", "bob")
    again.shows("Please enter your password:")
    again.types("bob-password\r")
    again.shows("Sent now, because it had no answer: 1 command.")
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
    bob.types("\x03\x03")
    assert bob.ends() == 0


def test_a_server_that_restarts_while_one_is_asked_for_the_password(
    server: Server, terminal: Callable[..., Terminal]
) -> None:
    bob = terminal("--user", "bob")
    bob.shows("Please enter your password:")
    bob.types("bob-pass")
    server.stop()
    bob.shows("Trying to come back.")
    server.start()
    bob.shows("The server is back.")
    bob.types("word\r")
    bob.shows("bob> ")
    bob.types("\x04")
    assert bob.ends() == 0 and "bob-pass" not in bob.all


def test_ctrl_c_leaves_a_question_first(server: Server, terminal: Callable[..., Terminal]) -> None:
    for flags in ((), ("--plain",)):
        bob = terminal("--user", "bob", *flags)
        bob.shows("Please enter your password:")
        if flags:
            bob.process.send_signal(signal.SIGINT)
        else:
            bob.types("half\x03")
        bob.shows("Please enter your username:")
        bob.types("bob\r")
        bob.shows("Please enter your password:")
        bob.types("bob-password\r")
        bob.invites("bob> ")
        bob.types("\x04")
        assert bob.ends() == 0


def test_whoever_reads_is_logged_off_and_comes_back_with_the_next_line(
    tmp_path: Path, house: Callable[..., Server]
) -> None:
    server = house(TIME_OUT=1)
    bob = Terminal(server.port, tmp_path)
    try:
        bob.log_in("bob")
        for _ in range(2):
            bob.shows("You were idle for 1 second. The next line you type logs you in again.")
            bob.shows("bob> (logged off) ")
            bob.types("whoelse\r")
            bob.shows("You are back online.")
            bob.shows("Nobody else is online.")
        bob.types("\x04")
        assert bob.ends() == 0
    finally:
        bob.close()


def test_typing_is_presence_and_so_is_a_bot_that_waits(tmp_path: Path, house: Callable[..., Server]) -> None:
    server = house(HEARTBEAT=0.2)
    proxy = ProxyThread(server.port)
    bob = Terminal(proxy.port, tmp_path)
    try:
        bob.log_in("bob")
        until(lambda: b'"alive"' in proxy.proxy.said)
        assert b'"active"' not in proxy.proxy.said.rpartition(b'"login"')[2]
        bob.types("x")
        until(lambda: b'"active":true' in proxy.proxy.said)
        bob.types("\x15\x04")
        assert bob.ends() == 0
        proxy.proxy.said = b""
        with Client("127.0.0.1", proxy.port, timeout=LIMIT) as ann:
            ann.login("ann", USERS["ann"])
            while b'"active":true' not in proxy.proxy.said:
                assert ann.next_event(0.05) is None
    finally:
        bob.close()
        proxy.close()


_OLD = """
import runpy, sys
sys.version_info, sys.argv = (3, 10, 4, "final", 0), ["client.py", "127.0.0.1", "1"]
try:
    runpy.run_path("client.py", run_name="__main__")
finally:
    print([name for name in sys.modules if name.startswith("chatlib.")])
"""


def test_an_old_python_is_told_what_is_needed(python: Python) -> None:
    assert ast.parse((ROOT / "client.py").read_text(), feature_version=(3, 6)).body, "an old one can read it"
    done = python(_OLD)
    assert (done.returncode, done.stderr) == (1, "Error! Python 3.11 or newer is needed; this is 3.10.\n")
    assert done.stdout == "[]\n", "nothing was imported that an old one might not understand"
