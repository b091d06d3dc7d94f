"""What the administrator's password does in the client: SHT stops the server."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.conftest import Server
from tests.client.programs import Terminal, command, environment, script, until

PASSWORD = "the keeper's own"
ASKED = "Please enter the administrator's password:"
NOT_SET = "Error! No administrator's password is set. Where the server runs: python3 server.py --set-admin-password"


@pytest.fixture
def kept(server: Server) -> Server:
    """A server with an administrator's password."""
    with open(server.home / "credentials.txt", "a") as file:
        file.write(f"admin {PASSWORD}\n")
    server.command("reload")
    assert server.process.stdout is not None
    assert any(line.startswith(b"Reloaded: ") for line in server.process.stdout), "it is taken in"
    return server


# SHT.


@pytest.mark.parametrize("word", ["SHT", "sht"])
def test_sht_stops_the_server(kept: Server, terminal: Callable[..., Terminal], word: str) -> None:
    ann, bob = terminal(), terminal()
    ann.log_in("ann")
    bob.log_in("bob")
    ann.types(f"{word}\r")
    ann.shows(ASKED)
    ann.types("wrong\r")
    ann.shows("Error! Wrong password: 2 tries are left.")
    ann.types(f"{word}\r")
    ann.shows(ASKED)
    ann.types(PASSWORD + "\r")
    ann.shows("The server stops.")
    for each in (ann, bob):
        each.shows('System(broadcast): "ann" stops the server from 127.0.0.1.')
    assert ann.ends() == 0
    bob.shows("The server is shutting down. Trying to come back; what you type is sent then.")
    bob.types("\x03")
    assert bob.ends() == 0
    assert PASSWORD not in ann.all
    kept.process.wait()
    assert kept.process.returncode == 0


@pytest.mark.parametrize("way", ["\r", "\x03", "half\x03"])
def test_the_question_can_be_left(kept: Server, terminal: Callable[..., Terminal], way: str) -> None:
    ann = terminal()
    ann.log_in("ann")
    ann.types("SHT\r")
    ann.shows(ASKED)
    ann.types(way)
    ann.shows("The server goes on.")
    ann.types("whoelse\r")
    ann.shows("Nobody else is online.")
    ann.types("\x04")
    assert ann.ends() == 0


def test_a_server_that_goes_while_the_password_is_asked_for(kept: Server, terminal: Callable[..., Terminal]) -> None:
    ann = terminal()
    ann.log_in("ann")
    ann.types("SHT\r")
    ann.shows(ASKED)
    kept.stop()
    ann.shows("Error! The connection was lost before the server had answered.")
    ann.types("SHT\r")
    ann.shows("Error! There is no connection now.")
    kept.start()
    ann.shows("You are back online.")
    ann.types("SHT\r")
    ann.shows(ASKED)
    ann.types(PASSWORD + "\r")
    ann.shows("The server stops.")
    assert ann.ends() == 0


def test_sht_in_a_script(kept: Server, tmp_path: Path) -> None:
    said, status = script(kept, tmp_path, f"ann\nann-password\nSHT\nwrong\nSHT\n{PASSWORD}\n")
    assert status == 1 and said.splitlines()[-1] == "Error! Wrong password: 2 tries are left."
    said, status = script(kept, tmp_path, f"ann\nann-password\nSHT\n{PASSWORD}\n", "--no-reconnect")
    stops = 'System(broadcast): "ann" stops the server from 127.0.0.1.'
    assert (status, said.splitlines()[-3:]) == (0, [ASKED, "The server stops.", stops])
    kept.process.wait()


def test_without_a_password_the_server_says_how_to_set_one(server: Server, tmp_path: Path) -> None:
    said, status = script(server, tmp_path, "ann\nann-password\nSHT\n")
    assert (said.splitlines()[-1], status) == (NOT_SET, 1)


# The console from afar.


OPENED = 'Type "help" for its commands; Ctrl+D leaves it.'
LEFT = "You have left the console. The server goes on."


def arrive(terminal: Callable[..., Terminal], *flags: str) -> Terminal:
    """An administrator at the console, from afar."""
    admin = terminal("--admin", *flags)
    admin.shows(ASKED)
    admin.types(PASSWORD + "\r")
    admin.shows(OPENED)
    admin.shows("server> ")
    return admin


def test_the_console_from_afar(kept: Server, terminal: Callable[..., Terminal]) -> None:
    admin = arrive(terminal)
    ann = terminal()
    ann.log_in("ann")
    admin.shows("] login ann from 127.0.0.1")
    admin.types("online users\r")
    admin.shows("1 online:")
    admin.shows("  ann from 127.0.0.1 since ")
    admin.types("say The cake is ready.\r")
    admin.shows("Told 1 user.")
    ann.shows("System(broadcast): The cake is ready.")
    admin.types("kick ann\r")
    admin.shows("ann has been logged off.")
    ann.shows("The administrator logged you off.")
    assert ann.ends() == 1
    admin.types("change MaxCon\r")
    admin.shows("New value:")
    admin.types("7\r")
    admin.shows("MaxCon is now 7.")
    admin.types("stop\r")
    admin.shows("Stopping.")
    admin.shows("The server is shutting down.")
    assert admin.ends() == 0 and PASSWORD not in admin.all
    assert kept.process.wait() == 0
    log = "".join(path.read_text() for path in (kept.home / "data" / "logs").glob("log_*"))
    for use in ("opened", "online users", "say", "kick", "MaxCon becomes 7", "stop"):
        assert f" console from 127.0.0.1: {use}\n" in log


def test_what_happens_appears_above_the_half_typed_line(kept: Server, terminal: Callable[..., Terminal]) -> None:
    admin = arrive(terminal)
    admin.types("kick an")
    admin.shows("server> kick an")
    ann = terminal()
    ann.log_in("ann")
    admin.shows("] login ann from 127.0.0.1")
    admin.shows("server> kick an")
    admin.types("n\r")
    admin.shows("ann has been logged off.")
    ann.shows("The administrator logged you off.")
    admin.types("\x04")
    assert admin.ends() == 0


def test_tab_asks_the_server(kept: Server, terminal: Callable[..., Terminal]) -> None:
    ann = terminal()
    ann.log_in("ann")
    admin = arrive(terminal)
    admin.types("ki\t")
    admin.shows("server> kick ")
    admin.types("\t")
    admin.shows("ann")
    admin.types("\r")
    admin.shows("ann has been logged off.")
    admin.types("change FSY\t")
    admin.shows("FSYNC ")
    admin.types("s\t")
    admin.shows("FSYNC second")
    admin.types("\r")
    admin.shows("FSYNC is now second.")
    admin.types("\x04")
    assert admin.ends() == 0


def test_the_history_holds_commands_and_never_the_password(
    kept: Server, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    admin = arrive(terminal)
    admin.types("change MaxCon\r")
    admin.shows("New value:")
    admin.types("9\r")
    admin.shows("MaxCon is now 9.")
    admin.types("\x04")
    assert admin.ends() == 0
    path = tmp_path / "state" / "chatlib" / "console_history.txt"
    assert path.read_text() == "change MaxCon\n" and path.stat().st_mode & 0o777 == 0o600
    later = arrive(terminal)
    later.types("\x1b[A")
    later.shows("change MaxCon")
    later.types("\x03\x04")
    assert later.ends() == 0
    arrive(terminal, "--no-history").types("stats\r\x04")
    assert path.read_text() == "change MaxCon\n"


@pytest.mark.parametrize("flags", [(), ("--plain",)])
@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_ctrl_c_and_ctrl_d_leave_the_server_running(
    kept: Server, terminal: Callable[..., Terminal], key: str, flags: tuple[str, ...]
) -> None:
    def press(program: Terminal) -> None:
        if flags and key == "\x03":
            program.process.send_signal(signal.SIGINT)
        else:
            program.types(key)

    asked = terminal("--admin", *flags)
    asked.shows(ASKED)
    press(asked)
    assert asked.ends() == 0 and LEFT not in asked.all
    admin = terminal("--admin", *flags)
    admin.shows(ASKED)
    admin.types(f"{PASSWORD}\n")
    admin.invites("server> ")
    admin.types("change MaxCon\n")
    admin.shows("New value:" if flags else "MaxCon> ")
    press(admin)
    admin.shows("MaxCon stays 100.")
    press(admin)
    admin.shows(LEFT)
    assert admin.ends() == 0 and PASSWORD not in admin.all
    arrive(terminal)


def test_ctrl_c_clears_a_half_typed_line_first(kept: Server, terminal: Callable[..., Terminal]) -> None:
    admin = arrive(terminal)
    admin.types("stop\x03")
    admin.types("MaxCon\r")
    admin.shows("MaxCon is 100 ")
    admin.types("\x03")
    assert admin.ends() == 0


def test_a_wrong_password_is_asked_for_again_until_the_lockout(
    kept: Server, terminal: Callable[..., Terminal]
) -> None:
    admin = terminal("--admin")
    for said in ("Wrong password: 2 tries are left.", "Wrong password: 1 try is left."):
        admin.shows(ASKED)
        admin.types("wrong\r")
        admin.shows(f"Error! {said}")
    admin.shows(ASKED)
    admin.types("wrong\r")
    admin.shows('Error! "admin" is locked out: try again in 60 seconds.')
    assert admin.ends() == 1


def test_a_script_at_the_console(kept: Server, tmp_path: Path) -> None:
    typed = "MaxCon\nchange MaxCon\n8\nsave\nkick nobody\nall users"
    said, status = script(kept, tmp_path, f"{PASSWORD}\n{typed}", "--admin")
    lines = said.splitlines()
    assert status == 0 and lines[0] == ASKED and lines[1].endswith(OPENED)
    assert lines[2].startswith("MaxCon is 100") and lines[4] == "New value:" and "MaxCon is now 8." in lines
    for line in ("Saved.", 'Error! There is no user "nobody".', "3 registered:", LEFT):
        assert line in lines
    said, status = script(kept, tmp_path, f"{PASSWORD}\nstop\n", "--admin")
    assert status == 0 and said.splitlines()[-2:] == ["Stopping.", "The server is shutting down."]
    assert kept.process.wait() == 0


def test_a_script_with_a_wrong_password_gives_no_other_line_away(kept: Server, tmp_path: Path) -> None:
    said, status = script(kept, tmp_path, "wrong\nstop\n", "--admin")
    assert (said, status) == (f"{ASKED}\nError! Wrong password: 2 tries are left.\n", 1)
    assert kept.process.poll() is None


def test_there_is_no_console_without_a_password_or_a_server(server: Server, tmp_path: Path) -> None:
    assert script(server, tmp_path, "x\n", "--admin") == (f"{NOT_SET}\n", 1)
    server.stop()
    said, status = script(server, tmp_path, "x\n", "--admin")
    assert status == 1 and "cannot be reached" in said


def test_it_is_no_users(server: Server, tmp_path: Path) -> None:
    done = subprocess.run(command(server, "--admin", "--user", "ann"), capture_output=True, env=environment(tmp_path))
    assert done.returncode == 2 and b"--admin is no user's: it takes no --user" in done.stderr


def test_a_server_that_is_killed_ends_it(kept: Server, terminal: Callable[..., Terminal]) -> None:
    admin = arrive(terminal)
    kept.kill()
    admin.shows("Error! The server closed the connection.")
    assert admin.ends() == 1


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_a_server_that_says_nothing_can_be_left(tmp_path: Path, key: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        admin = Terminal(silent.getsockname()[1], tmp_path, "--admin")
        try:
            connection, _ = silent.accept()
            until(lambda: not admin.echoes())
            admin.types(key)
            assert admin.ends() == 0
            connection.close()
        finally:
            admin.close()
