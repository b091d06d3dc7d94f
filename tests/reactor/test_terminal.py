"""Standard input and output as channels: a pipe, a plain file, /dev/null, a terminal, or closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.reactor import terminal
from chatlib.reactor.terminal import Input, Printer, is_terminal
from tests.reactor.turns import Turns


class Typed:
    """What came from standard input, cut into lines; what else was said of it stands in brackets."""

    def __init__(self, turns: Turns, fd: int) -> None:
        self.turns = turns
        self.lines: list[str] = []
        self._rest = b""
        self._left: list[str] = []
        self.input = Input(turns.loop, self, fd)
        self.input.start()

    def typed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._left += [line.decode(errors="replace") for line in lines]
        self.proceed()

    def proceed(self) -> None:
        while self._left:
            line = self._left.pop(0)
            self.lines.append(line)
            if line == "fault":
                raise RuntimeError("a bug")

    def end_typed(self) -> None:
        self.lines.append("(end typed)")

    def ended(self) -> None:
        if self._rest:
            self._left.append(self._rest.decode())
        self._rest = b""
        self._left.append("(end)")
        self.proceed()

    def taken_away(self) -> None:
        self.lines.append("(taken away)")

    def hung_up(self) -> None:
        self.lines.append("(hung up)")

    def until(self, last: str) -> list[str]:
        self.turns.until(lambda: last in self.lines)
        self.turns.tick(3)
        return self.lines

    def to_the_end(self) -> list[str]:
        return self.until("(end)")


def plain(tmp_path: Path, held: bytes) -> int:
    path = tmp_path / "input"
    path.write_bytes(held)
    return os.open(path, os.O_RDONLY)


INPUT = [
    (b"", []),
    (b"one\n", ["one"]),
    (b"one\ntwo\r\n\nhalf", ["one", "two\r", "", "half"]),
    ("grüße\n".encode(), ["grüße"]),
    (b"\xff\n", ["\ufffd"]),
    (b"line\n" * 50_000, ["line"] * 50_000),
]


@pytest.mark.parametrize(("held", "lines"), INPUT, ids=range(len(INPUT)))
def test_a_plain_file(turns: Turns, tmp_path: Path, held: bytes, lines: list[str]) -> None:
    fd = plain(tmp_path, held)
    assert Typed(turns, fd).to_the_end() == [*lines, "(end)"]
    os.close(fd)


@pytest.mark.parametrize(("held", "lines"), INPUT[:5], ids=range(5))
def test_a_pipe(turns: Turns, held: bytes, lines: list[str]) -> None:
    reading, writing = os.pipe()
    typed = Typed(turns, reading)
    for byte in held:
        os.write(writing, bytes([byte]))
        turns.tick()
    os.close(writing)
    assert typed.to_the_end() == [*lines, "(end)"]
    os.close(reading)


def test_half_a_line_waits_for_its_end(turns: Turns) -> None:
    reading, writing = os.pipe()
    typed = Typed(turns, reading)
    os.write(writing, b"online us")
    turns.tick(3)
    assert typed.lines == []
    os.write(writing, b"ers\nst")
    turns.until(lambda: typed.lines)
    assert typed.lines == ["online users"]
    os.close(writing)
    typed.to_the_end()
    os.close(reading)


def test_dev_null_ends_at_once(turns: Turns) -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    assert Typed(turns, fd).to_the_end() == ["(end)"]
    os.close(fd)


def test_closed(turns: Turns) -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    assert Typed(turns, fd).to_the_end() == ["(end)"]


def test_a_folder_is_no_input(turns: Turns, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    assert Typed(turns, fd).to_the_end() == ["(end)"]
    os.close(fd)


def test_a_pipe_that_does_not_block_may_have_nothing(turns: Turns) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    typed = Typed(turns, reading)
    typed.input.readable()
    assert typed.lines == []
    os.close(writing)
    typed.to_the_end()
    os.close(reading)


Terminal = tuple[int, int]


@pytest.fixture
def tty() -> Iterator[Terminal]:
    """Both ends of a terminal: a person's, a program's."""
    far, near = os.openpty()
    yield far, near
    for fd in (far, near):
        os.close(fd)


def test_a_terminal_of_another_job(turns: Turns, tty: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    far, near = tty
    typed = Typed(turns, near)

    def refuse(_fd: int, _size: int) -> bytes:
        raise OSError(5, "Input/output error")

    os.write(far, b"stats\n")
    with monkeypatch.context() as patched:
        patched.setattr(terminal.os, "read", refuse)
        assert typed.until("(taken away)") == ["(taken away)"], "and nothing is read until we are told to"
    typed.input.start()
    assert typed.until("stats") == ["(taken away)", "stats"]
    typed.input.pause()


def test_the_end_key_of_a_terminal_is_not_its_end(turns: Turns, tty: Terminal) -> None:
    far, near = tty
    typed = Typed(turns, near)
    os.write(far, b"\x04")
    typed.until("(end typed)")
    os.write(far, b"stats\n")
    assert typed.until("stats") == ["(end typed)", "stats"]
    typed.input.pause()


def test_a_terminal_that_is_gone(turns: Turns) -> None:
    far, near = os.openpty()
    typed = Typed(turns, near)
    assert is_terminal(near)
    os.close(far)
    assert typed.until("(hung up)") == ["(hung up)"]
    assert not is_terminal(near)
    os.close(near)
    assert not is_terminal(near)


@pytest.mark.parametrize("kind", ["pipe", "plain file"])
def test_a_line_that_is_a_fault_of_ours_costs_no_other_line(turns: Turns, tmp_path: Path, kind: str) -> None:
    if kind == "pipe":
        fd, writing = os.pipe()
        os.write(writing, b"one\nfault\ntwo\nfault\nstop\nfault")
        os.close(writing)
    else:
        fd = plain(tmp_path, b"one\nfault\ntwo\nfault\nstop\nfault")
    assert Typed(turns, fd).to_the_end() == ["one", "fault", "two", "fault", "stop", "fault", "(end)"]
    assert len(turns.faults) == 3
    turns.faults.clear()
    os.close(fd)


# Output.


def full(fd: int) -> None:
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"x" * 4_096)
    except BlockingIOError:
        os.set_blocking(fd, True)


def read(fd: int) -> bytes:
    os.set_blocking(fd, False)
    got = b""
    try:
        while piece := os.read(fd, 65_536):
            got += piece
    except BlockingIOError:
        pass
    return got


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        os.close(fd)


Pipe = tuple[int, int]


def test_text_is_printed_when_it_is_flushed(turns: Turns, pipe: Pipe) -> None:
    printer = Printer(turns.loop, pipe[1])
    printer.write("grüße\n")
    printer.write("lone \ud800\n" + "x" * 2_000)
    assert read(pipe[0]) == b""
    printer.flush()
    assert read(pipe[0]) == "grüße\nlone \\ud800\n".encode() + b"x" * 2_000


def test_a_pipe_that_nobody_reads_never_blocks(turns: Turns, pipe: Pipe) -> None:
    full(pipe[1])
    printer = Printer(turns.loop, pipe[1])
    printer.write("waits\n")
    printer.flush()
    printer.flush()
    turns.tick(after=0.1)
    assert read(pipe[0]).endswith(b"x")
    turns.tick(after=0.1)
    assert read(pipe[0]) == b"waits\n"
    turns.tick(after=0.1)


def test_a_terminal_that_takes_nothing_never_blocks(turns: Turns, tty: Terminal) -> None:
    """One byte of room makes a terminal say that it is ready: a write of more would wait for the rest."""
    far, near = tty
    printer = Printer(turns.loop, near)
    printer.write("z" * 300_000)
    printer.flush()
    assert not printer.idle
    got = 0
    while got < 300_000:
        got += len(os.read(far, 65_536))
        printer.flush()
    assert printer.idle
    assert os.get_blocking(near), "whoever shares the terminal with us sees nothing of it"
    turns.tick(after=0.1)


def test_a_terminal_that_cannot_be_opened_again(
    turns: Turns, tty: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, near = tty
    with monkeypatch.context() as patched:
        patched.setattr(terminal.os, "ttyname", lambda _fd: "/no/such/terminal")
        printer = Printer(turns.loop, near)
    printer.write("byte by byte")
    printer.flush()
    got = b""
    while len(got) < 12:
        got += os.read(far, 100)
    assert got == b"byte by byte"


def test_a_reader_who_is_gone_costs_the_text_and_nothing_else(turns: Turns) -> None:
    reading, writing = os.pipe()
    printer = Printer(turns.loop, writing)
    os.close(reading)
    printer.write("to nobody\n")
    printer.flush()
    printer.finish()
    os.close(writing)
    printer.write("to nobody\n")
    printer.flush()
    printer.finish()
    turns.tick(after=1.0)
    assert turns.faults == []


def test_closing_prints_the_rest_as_far_as_somebody_reads(turns: Turns, pipe: Pipe) -> None:
    printer = Printer(turns.loop, pipe[1])
    printer.write("y" * 5_000)
    printer.finish()
    assert read(pipe[0]) == b"y" * 5_000
    full(pipe[1])
    printer.write("never read\n")
    printer.finish(patience=0.0)
    assert b"never read" not in read(pipe[0])


def test_a_plain_file_takes_everything(turns: Turns, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    printer = Printer(turns.loop, fd)
    printer.write("y" * 5_000)
    printer.flush()
    assert (tmp_path / "out").read_text() == "y" * 5_000
    os.close(fd)


def test_an_output_that_would_block_after_all(turns: Turns, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    printer = Printer(turns.loop, pipe[1])
    printer.write("later\n")

    def refuse(_fd: int, _data: bytes) -> int:
        raise BlockingIOError

    with monkeypatch.context() as patched:
        patched.setattr(terminal.os, "write", refuse)
        printer.flush()
    turns.tick(after=0.1)
    assert read(pipe[0]) == b"later\n"
