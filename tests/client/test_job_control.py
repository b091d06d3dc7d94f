"""Ctrl+Z, ``bg``, ``fg`` and ``&``: the program for people as a job of a real shell."""

from __future__ import annotations

import os
import signal

import pytest

from chatlib.client import Client
from tests.client.conftest import USERS, Server
from tests.client.programs import Shell
from tests.patience import LIMIT

FLAGS = pytest.mark.parametrize("flags", [(), ("--plain",)], ids=["drawn", "plain"])


def leaves(shell: Shell) -> None:
    """Ends the program and then the shell, whose terminal is as it was; nothing has failed in between."""
    shell.types("\x03")
    shell.shows(shell.PROMPT)
    shell.runs("echo status=$?")
    shell.shows("status=0")
    shell.shows(shell.PROMPT)
    shell.types("exit\n")
    shell.ends()
    assert "Traceback" not in shell.all and "rror" not in shell.all


@FLAGS
@pytest.mark.parametrize("background", [False, True], ids=["fg", "bg, fg"])
def test_stopped_at_the_prompt_and_continued(
    server: Server, shell: Shell, flags: tuple[str, ...], background: bool
) -> None:
    shell.runs(shell.program(server, *flags))
    shell.log_in("bob")
    for _ in range(2):
        shell.types("\x1a")
        shell.shows("Stopped")
        shell.shows(shell.PROMPT)
        if background:
            shell.runs("bg")
            shell.shows(shell.PROMPT)
            shell.runs("wait %1; echo 'it needs its terminal'")
            shell.shows("\nit needs its terminal")
            shell.shows(shell.PROMPT)
        shell.runs("fg")
        shell.invites("bob> ")
    shell.types("whoelse\r")
    shell.shows("Nobody else is online.")
    leaves(shell)


@FLAGS
def test_stopped_at_the_password(server: Server, shell: Shell, flags: tuple[str, ...]) -> None:
    shell.runs(shell.program(server, "--user", "bob", *flags))
    shell.shows("Please enter your password:")
    for again in ("fg", "bg; wait %1; fg"):
        shell.types("\x1a")
        shell.shows("Stopped")
        shell.shows(shell.PROMPT)
        shell.runs(again)
        shell.shows("Please enter your password:")
        assert not shell.echoes()
    shell.types("bob-pass")
    shell.types("word\r")
    shell.invites("bob> ")
    leaves(shell)
    assert "bob-pass" not in shell.all


@FLAGS
def test_started_in_the_background(server: Server, shell: Shell, flags: tuple[str, ...]) -> None:
    shell.runs(shell.program(server, *flags) + " &")
    shell.shows(shell.PROMPT)
    shell.runs("wait %1; jobs")
    shell.shows("Stopped")
    shell.shows(shell.PROMPT)
    shell.runs("fg")
    shell.log_in("bob")
    leaves(shell)


@FLAGS
def test_what_came_while_it_was_stopped(server: Server, shell: Shell, flags: tuple[str, ...]) -> None:
    shell.runs(shell.program(server, *flags))
    shell.log_in("bob")
    shell.types("\x1a")
    shell.shows("Stopped")
    shell.shows(shell.PROMPT)
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
        ann.login("ann", USERS["ann"])
        ann.message("bob", "are you there?")
    shell.runs("bg; wait %1; echo only in the foreground")
    shell.shows("\nonly in the foreground")
    assert "are you there" not in shell.all
    shell.shows(shell.PROMPT)
    shell.runs("fg")
    shell.shows("ann: are you there?")
    leaves(shell)


def test_stopped_by_another_program_while_a_line_is_half_typed(server: Server, shell: Shell) -> None:
    shell.runs(shell.program(server) + " & echo pid=$!.; fg")
    shell.shows("pid=")
    shell.shows("client.py")
    number = int(shell.all.rpartition("pid=")[2].partition(".")[0])
    shell.log_in("bob")
    shell.types("half")
    shell.shows("half")
    os.kill(number, signal.SIGSTOP)
    shell.shows("Stopped")
    shell.shows(shell.PROMPT)
    shell.runs("bg; wait %1; fg")
    shell.shows("bob> half")
    shell.types("\x03")
    leaves(shell)


@FLAGS
def test_a_shell_that_goes_away_takes_it_with_it(server: Server, shell: Shell, flags: tuple[str, ...]) -> None:
    shell.runs(shell.program(server, *flags))
    shell.log_in("bob")
    os.close(shell.fd)
    shell.fd = -1
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
        ann.login("ann", USERS["ann"])
        while ann.whoelse():
            pass
