"""The server in a window of its administrator's: its console, job control, and what becomes of it with the window."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.programs import COLUMNS, ROWS, Pseudo, Shell
from tests.program.peer import ROOT, Program, TcpPeer, make_home
from tests.terminal.emulator import Emulator

SERVER = [sys.executable, str(ROOT / "server.py"), "0"]
CTRL_C, CTRL_D, CTRL_Z = "\x03", "\x04", "\x1a"


def port_of(window: Pseudo) -> int:
    window.shows("Listening on port ")
    while "." not in window.screen:
        window._read()
    found = re.match(r"\d+", window.screen)
    assert found
    return int(found[0])


def login(port: int, user: str) -> TcpPeer:
    peer = TcpPeer(port)
    peer.ask("hello", protocol=1)
    assert peer.prove("login", user)["status"] == "OK"
    return peer


class Window(Pseudo):
    """A server in a terminal of its own. `ignoring`: as ``nohup`` starts it."""

    def __init__(self, home: Path, *flags: str, ignoring: bool = False, columns: int = COLUMNS) -> None:
        words = [*SERVER, "--home", str(home), *flags]
        words = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *words] if ignoring else words
        super().__init__(words, home, True, columns)
        self.port = port_of(self)
        self.invites("> ")

    def is_closed(self) -> None:
        """As a person closes it: nobody has the terminal any more."""
        for fd in (self.fd, self.slave):
            os.close(fd)
        self.fd = self.slave = -1


@pytest.fixture
def window(home: Path) -> Iterator[Callable[..., Window]]:
    opened: list[Window] = []

    def start(*flags: str, **options: Any) -> Window:
        opened.append(Window(home, *flags, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def shell(home: Path) -> Iterator[Shell]:
    opened = Shell(home)
    yield opened
    opened.close()


Start = Callable[..., Window]


def is_the_shells(window: Pseudo) -> bool:
    """Whether the terminal's modes are not ours: a shell leaves Ctrl+C a signal, also while it edits its line."""
    return bool(int(str(window.modes()[3])) & termios.ISIG)


def is_saved(home: Path) -> bool:
    return all(line.startswith("#") for line in (home / "data" / "journal.txt").read_text().splitlines())


# At the console.


def test_what_happens_does_not_tear_what_is_typed(window: Start) -> None:
    server = window()
    server.types("online us")
    server.shows("online us")
    ann = login(server.port, "ann")
    server.shows("] login ann from 127.0.0.1")
    server.shows("server> online us")
    for _ in range(3):
        stranger = TcpPeer(server.port)
        stranger.ask("hello", protocol=1)
        stranger.prove("login", "bob", "a wrong one")
        stranger.close()
    for outcome in ("2 tries are left", "1 try is left", "locked out for 60 seconds"):
        server.shows(f"] wrong password bob from 127.0.0.1: {outcome}")
    server.shows("server> online us")
    server.types("\t\r")
    server.shows("server> online users")
    server.shows("1 online:")
    server.types("blocked users\r")
    server.shows("1 locked out:")
    server.shows("bob from 127.0.0.1 for another ")
    ann.close()
    server.shows("] logout ann from 127.0.0.1")
    server.types("unlock \t\r")
    server.shows("bob is not locked out any more.")
    server.types("stop\r")
    server.shows("Everything is saved. Goodbye!")
    assert server.ends() == 0


@pytest.mark.parametrize("columns", [40, 200])
def test_while_three_clients_talk(window: Start, columns: int) -> None:
    server = window(columns=columns)
    server.types("say the half-typed li")
    server.shows("half-typed li")
    peers = {}
    for name in ("ann", "bob", "cid"):
        peers[name] = login(server.port, name)
        server.shows(f"] login {name} from 127.0.0.1")
        server.shows("server> say the half-typed li")
    assert peers["ann"].ask("message", to="bob", text="hello")["delivered"]
    assert peers["bob"].ask("broadcast", text="to all")["status"] == "OK"
    assert peers["cid"].event("broadcast")["text"] == "to all"
    stranger = TcpPeer(server.port)
    stranger.ask("hello", protocol=1)
    stranger.prove("login", "cid", "a wrong one")
    server.shows("left")
    server.shows("server> say the half-typed li")
    server.types("ne\r")
    server.shows("Told 3 users.")
    assert peers["ann"].event("notice")["text"] == "the half-typed line"
    server.types("online us\t\rstop\r")
    assert server.ends() == 0
    glass = Emulator(columns, ROWS)
    glass.write(server.all)
    # Behind a time, what was wrapped has a hanging indent.
    lines = re.sub(r"(?m)^(\[.*)\n {11}", r"\1 ", "\n".join(glass.logical_lines())).split("\n")
    for whole in ("login bob from 127.0.0.1", "wrong password cid from 127.0.0.1: 2 tries are left"):
        assert [line[11:] for line in lines].count(whole) == 1, lines  # behind its time
    assert lines.count("3 online:") == lines.count("server> online users") == 1, lines
    assert [line for line in lines if "half-typed" in line] == ["server> say the half-typed line"], "in its place"


@pytest.mark.parametrize("flags", [[], ["--plain"]])
def test_ctrl_d_and_ctrl_c(window: Start, flags: list[str]) -> None:
    server = window(*flags)
    ann = login(server.port, "ann")
    server.types(CTRL_D)
    server.shows('Type "stop" to end the server.')
    server.types(CTRL_C)
    server.shows('1 user is online. Ctrl+C again or "stop" ends the server.')
    server.types("stats\r")
    server.shows("registered: 3")
    assert ann.ask("whoelse")["status"] == "OK"
    server.types(CTRL_C)
    server.shows("1 user is online.")
    server.types(CTRL_C)
    assert server.ends() == 0
    assert ann.event("bye")["status"] == "SHUTTING_DOWN"


def test_what_was_typed_is_there_at_the_next_start(window: Start) -> None:
    first = window()
    first.types("stats\rstop\r")
    assert first.ends() == 0
    second = window()
    second.types("\x1b[A\x1b[A")
    second.shows("server> stats")
    second.types(f"{CTRL_C}{CTRL_C}")
    assert second.ends() == 0


@pytest.mark.parametrize("flags", [[], ["--plain"]])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_at_once_and_the_terminal_is_as_it_was(
    window: Start, home: Path, number: signal.Signals, flags: list[str]
) -> None:
    server = window(*flags)
    ann = login(server.port, "ann")
    server.types("half a li")
    server.shows("half a li")
    server.process.send_signal(number)
    assert server.ends() == 0
    assert "Everything is saved. Goodbye!" in server.all
    assert ann.event("bye")["status"] == "SHUTTING_DOWN"
    assert is_saved(home)


def test_a_terminal_that_nobody_reads_holds_nobody_up(window: Start) -> None:
    server = window()
    ann = login(server.port, "ann")
    server.types("help\r" * 300 + "say done\r")
    assert ann.event("notice")["text"] == "done"
    assert ann.ask("whoelse")["status"] == "OK"
    server.types("stop\r")
    assert ann.event("bye")["status"] == "SHUTTING_DOWN"
    assert server.ends() == 0


def test_a_disk_that_is_full_ends_it_and_the_terminal_is_as_it_was(home: Path) -> None:
    limited = 'unset ${!COVERAGE*}; ulimit -f 512; exec "$@"'
    full = Pseudo(["bash", "-c", limited, "bash", *SERVER, "--home", str(home)], home, True)
    ann = login(port_of(full), "ann")
    status = "OK"
    with contextlib.suppress(ConnectionError):
        while status == "OK":
            status = ann.ask("message", to="bob", text="x" * 4_000)["status"]
    assert full.ends() == 1, "and the modes are those that were found"
    assert "Error! The disk did not take a record" in full.all and "Traceback" not in full.all
    full.close()


# The window is closed.


@pytest.mark.parametrize("flags", [[], ["--plain"]])
def test_a_closed_window_stops_it_as_stop_does(window: Start, home: Path, flags: list[str]) -> None:
    server = window(*flags)
    ann = login(server.port, "ann")
    assert ann.ask("message", to="bob", text="kept")["status"] == "OK"
    server.is_closed()
    assert ann.event("bye")["status"] == "SHUTTING_DOWN"
    assert server.process.wait() == 0
    assert is_saved(home)
    socket.create_server(("", server.port)).close()
    again = window()
    assert login(again.port, "bob").texts() == ["kept"]


def test_nohup_outlives_its_window(window: Start, home: Path) -> None:
    server = window(ignoring=True)
    ann = login(server.port, "ann")
    server.is_closed()
    assert ann.ask("broadcast", text="still here")["status"] == "OK"
    assert login(server.port, "bob").texts() == ["still here"]
    server.process.send_signal(signal.SIGHUP)
    assert ann.ask("broadcast", text="and now")["status"] == "OK"
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait() == 0
    assert is_saved(home)


def test_a_window_is_closed_while_the_server_is_in_the_background(shell: Shell, home: Path) -> None:
    shell.runs(f"{' '.join(SERVER)} --home {home} &")
    port = port_of(shell)
    ann = login(port, "ann")
    for fd in (shell.fd, shell.slave):
        os.close(fd)
    shell.fd = shell.slave = -1
    assert ann.event("bye")["status"] == "SHUTTING_DOWN"
    assert ann.read() is None
    shell.process.wait()


# Job control.


def test_ctrl_z_bg_and_fg(shell: Shell, home: Path) -> None:
    shell.runs(f"{' '.join(SERVER)} --home {home}")
    port = port_of(shell)
    ann = login(port, "ann")
    shell.shows("] login ann")
    shell.types("online us")
    shell.shows("online us")
    shell.types(CTRL_Z)
    shell.shows("Stopped")
    shell.shows(shell.PROMPT)
    assert is_the_shells(shell)
    shell.runs("bg")
    assert ann.ask("whoelse")["status"] == "OK", "in the background it goes on"
    bob = login(port, "bob")
    shell.shows("] login bob")
    assert is_the_shells(shell), "and leaves the terminal to the shell"
    shell.runs("echo one two")
    shell.runs("fg")
    shell.shows("server> online us")
    shell.types("ers\r")
    shell.shows("2 online:")
    bob.close()
    shell.shows("] logout bob")
    shell.types(f"{CTRL_Z}")
    shell.shows("Stopped")
    shell.runs("fg")
    shell.shows("server> ")
    shell.types("stop\r")
    shell.shows("Everything is saved. Goodbye!")
    shell.shows(shell.PROMPT)
    assert is_the_shells(shell) and "Traceback" not in shell.all


def test_continued_by_its_process_id_alone(shell: Shell, home: Path) -> None:
    """Ctrl+Z stops all of a job's processes; whoever syncs for the server must not stay behind."""
    shell.runs(f"CHAT_SLOW_SYNC=0.01 {' '.join(SERVER)} --home {home}")
    ann = login(port_of(shell), "ann")
    shell.shows("] login ann")
    shell.types(CTRL_Z)
    shell.shows("Stopped")
    os.kill(int((home / "data" / "lock").read_text()), signal.SIGCONT)
    assert ann.ask("broadcast", text="still here")["status"] == "OK"
    assert is_the_shells(shell)
    shell.runs("fg")
    shell.shows("server> ")
    shell.types("stop\r")
    shell.shows("Everything is saved. Goodbye!")


@pytest.mark.parametrize("flags", ["", "--plain"])
def test_started_in_the_background(shell: Shell, home: Path, flags: str) -> None:
    shell.runs(f"{' '.join(SERVER)} --home {home} {flags} &")
    port = port_of(shell)
    ann = login(port, "ann")
    shell.shows("] login ann")
    assert is_the_shells(shell)
    shell.runs("fg")
    shell.invites("server> ")
    shell.types("online users\r")
    shell.shows("1 online:")
    assert ann.ask("whoelse")["status"] == "OK"
    shell.types(CTRL_Z)
    shell.shows("Stopped")
    shell.runs("kill %1; fg")
    assert ann.event("bye")["status"] == "SHUTTING_DOWN"
    shell.shows("Everything is saved. Goodbye!")
    assert "Traceback" not in shell.all


# A home that is not there.


def question(folder: Path) -> Pseudo:
    window = Pseudo(["sh", "-c", f'cd "{folder}"; exec "$@"', "sh", *SERVER], folder, True)
    window.shows(f"There is no server's home in {folder}. Make one here? (yes/no) ")
    return window


@pytest.mark.parametrize("answer", ["no\n", "\n", CTRL_C, CTRL_D, "maybe\nn\n"])
def test_a_home_that_nobody_wanted(tmp_path: Path, answer: str) -> None:
    window = question(tmp_path)
    window.types(answer)
    window.shows("Error! No home was made.")
    assert window.ends() == 1
    window.close()
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_somebody_wanted(tmp_path: Path) -> None:
    window = question(tmp_path)
    window.types("yes\n")
    port_of(window)
    window.types("stop\r")
    assert window.ends() == 0
    window.close()
    assert (tmp_path / "para.txt").exists()


def test_without_a_terminal_sighup_reloads_and_with_one_it_does_not(tmp_path: Path) -> None:
    """A daemon has no terminal; a server whose input and output only go elsewhere has one, which may be closed."""
    home = make_home(tmp_path / "home")
    with Program(home, before=os.setsid) as server:
        server.listening()
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("Nothing was changed by hand.")
        server.stop()
    shell = Shell(tmp_path)
    shell.runs(f"{' '.join(SERVER)} --home {home} < /dev/null > {tmp_path}/said 2>&1 & echo started $!")
    shell.shows("started ")
    while "\n" not in shell.screen:
        shell._read()
    pid = int(shell.screen.split()[0])
    said = tmp_path / "said"
    while not said.exists() or "Listening" not in said.read_text():
        assert subprocess.run(["kill", "-0", str(pid)]).returncode == 0
    os.kill(pid, signal.SIGHUP)
    while "Goodbye!" not in said.read_text():
        alive = subprocess.run(["kill", "-0", str(pid)]).returncode == 0
        assert alive or "Goodbye!" in said.read_text(), said.read_text()
    assert "by hand" not in said.read_text(), "it has not reloaded"
    assert is_saved(home)
    shell.close()
