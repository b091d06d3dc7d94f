"""Lines read from a pipe, and the modes of a real terminal (a pty)."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.reactor.terminal import in_foreground
from chatlib.terminal.colours import colours
from chatlib.terminal.editor import Action, ActionKind
from chatlib.terminal.modes import (
    LineReader,
    LineTerminal,
    RawTerminal,
    moves_cursor,
    reflows,
    window_size,
)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_are_read_wherever_they_are_cut(size: int) -> None:
    reader = LineReader()
    stream = "one\r\ntwo\t中\x1b[2J\n\nlast".encode()
    actions = [each for at in range(0, len(stream), size) for each in reader.feed(stream[at : at + size])]
    assert [*actions, *reader.finish()] == [
        Action(ActionKind.LINE, "one"),
        Action(ActionKind.LINE, "two 中[2J"),
        Action(ActionKind.LINE, ""),
        Action(ActionKind.LINE, "last"),
        Action(ActionKind.END),
    ]
    assert reader.finish() == [Action(ActionKind.END)]


def test_lines_that_are_not_taken_wait_and_long_ones_are_cut() -> None:
    reader = LineReader()
    assert next(reader.feed(b"one\ntwo\n" + b"x" * 20_000)) == Action(ActionKind.LINE, "one")
    reader.clear()
    two, long = reader.feed(b"y" * 20_000 + b"\n")
    assert two.text == "two"
    assert long.text == "x" * 16_384


@pytest.fixture
def terminal() -> Iterator[int]:
    master, slave = pty.openpty()
    yield slave
    with contextlib.suppress(OSError):
        os.close(slave)
    os.close(master)


def test_raw_modes_are_restored(terminal: int) -> None:
    found = termios.tcgetattr(terminal)
    with pytest.raises(RuntimeError), RawTerminal(terminal) as raw:
        raw.enter()
        modes = termios.tcgetattr(terminal)
        assert not modes[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        assert modes[1] & termios.OPOST
        raise RuntimeError
    assert termios.tcgetattr(terminal) == found


def test_echo_is_off_for_a_password_and_restored(terminal: int) -> None:
    found = termios.tcgetattr(terminal)
    lines = LineTerminal(terminal)
    with lines:
        for on in (True, False, True, False):
            lines.echo(on)
            modes = termios.tcgetattr(terminal)
            assert bool(modes[3] & termios.ECHO) is on
            assert modes[3] & termios.ICANON
    assert termios.tcgetattr(terminal) == found


def test_a_terminal_that_is_gone() -> None:
    master, slave = pty.openpty()
    with RawTerminal(slave):
        os.close(master)
        os.close(slave)
    assert window_size(slave) == (80, 24)


_STOPS = """
import os, sys
sys.path.insert(0, {root!r})
from chatlib.terminal.modes import RawTerminal
with RawTerminal(0) as terminal:
    os.write(1, b"raw;")
    terminal.suspend()
    os.write(1, b"again;")
"""


def test_suspended_by_a_key_and_continued_by_a_shell() -> None:
    master, slave = pty.openpty()
    cooked = termios.tcgetattr(slave)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    # A group of its own in our session, with us as its parent: as a shell starts a job. (An orphaned group would
    # not be stopped.)
    job = subprocess.Popen(
        [sys.executable, "-c", _STOPS.format(root=root)], stdin=slave, stdout=slave, process_group=0
    )
    try:
        _, status = os.waitpid(job.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTSTP
        assert termios.tcgetattr(slave) == cooked
        os.kill(job.pid, signal.SIGCONT)
        assert job.wait() == 0
        assert termios.tcgetattr(slave) == cooked
        assert os.read(master, 100) == b"raw;again;"
    finally:
        job.kill()
        os.close(master)
        os.close(slave)


_RUNS_ON = """
import fcntl, os, signal, sys, termios
sys.path.insert(0, {root!r})
from chatlib.terminal.modes import RawTerminal

def shell_has_it(): os.tcsetpgrp(0, os.getppid())
def job_has_it(): os.tcsetpgrp(0, os.getpid())
def is_raw(): return not termios.tcgetattr(0)[3] & termios.ICANON

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if job := os.fork():  # this is the shell
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]))
os.setpgid(0, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
with RawTerminal(0) as terminal:
    said = [terminal.entered, is_raw()]
    job_has_it()
    said += [terminal.enter(), is_raw()]
    shell_has_it()
    said += [terminal.enter(), is_raw()]
said += [is_raw(), terminal.entered]
print(*map(int, said))
"""


def test_one_that_ignores_sigttou_runs_on_and_leaves_the_terminal_to_the_job_that_has_it(terminal: int) -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = _RUNS_ON.format(root=root)
    done = subprocess.run([sys.executable, "-c", code], stdin=terminal, capture_output=True, start_new_session=True)
    # Nothing in the background, everything in the foreground; in the background again nothing is changed or restored.
    assert (done.stdout, done.stderr) == (b"0 0 1 1 0 1 1 0\n", b"")


def test_what_cannot_be_entered(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as file, RawTerminal(file.fileno()) as raw:
        assert not raw.entered and not raw.enter()
        assert in_foreground(file.fileno())


@pytest.mark.parametrize(("environ", "moves", "colour", "breaks"), [
    ({"TERM": "xterm-256color"}, True, True, True),
    ({"TERM": "xterm-256color", "NO_COLOR": ""}, True, True, True),
    ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, False, True),
    ({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(370)"}, True, True, False),
    ({"TERM": "linux"}, True, True, False),
    ({"TERM": "screen"}, True, True, False),
    ({"TERM": "screen-256color", "TMUX": "/tmp/tmux"}, True, True, True),
    ({"TERM": "dumb"}, False, False, True),
    ({}, False, False, True),
])  # fmt: skip
def test_kinds_of_terminal(environ: dict[str, str], moves: bool, colour: bool, breaks: bool) -> None:
    assert (moves_cursor(environ), bool(colours(environ)), reflows(environ)) == (moves, colour, breaks)
