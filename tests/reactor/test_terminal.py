"""Standard input and output as channels: a pipe, a plain file, /dev/null, a terminal, or closed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.reactor import terminal
from chatlib.reactor.terminal import Keyboard, Printer
from tests.reactor.turns import Turns


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A keyboard ignores two signals; what they did before is restored."""
    numbers = (signal.SIGTTIN, signal.SIGTTOU)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


class Typed:
    """A keyboard and the lines that came from it."""

    def __init__(self, turns: Turns, fd: int) -> None:
        self.lines: list[str] = []
        self.turns = turns
        self.keyboard = Keyboard(turns.loop, self.line, lambda: self.lines.append("(end)"), fd)

    def line(self, line: str) -> None:
        self.lines.append(line)
        if line == "fault":
            raise RuntimeError("a bug")

    def to_the_end(self) -> list[str]:
        self.turns.until(lambda: "(end)" in self.lines)
        self.turns.tick(3)
        return self.lines


def plain(tmp_path: Path, held: bytes) -> int:
    path = tmp_path / "input"
    path.write_bytes(held)
    return os.open(path, os.O_RDONLY)


INPUT = [
    (b"", []),
    (b"one\n", ["one"]),
    (b"one\ntwo\r\n\nhalf", ["one", "two", "", "half"]),
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
    typed.keyboard.readable()
    assert typed.lines == []
    os.close(writing)
    typed.to_the_end()
    os.close(reading)


def test_a_terminal_of_another_job_is_tried_again(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    far, near = os.openpty()
    typed = Typed(turns, near)
    refused: list[int] = []

    def refuse(fd: int, _size: int) -> bytes:
        refused.append(fd)
        raise OSError(5, "Input/output error")

    os.write(far, b"stats\n")
    with monkeypatch.context() as patched:
        patched.setattr(terminal.os, "read", refuse)
        turns.until(lambda: refused)
    turns.tick(3)
    assert (refused, typed.lines) == ([near], [])
    turns.tick(after=1.0)
    turns.until(lambda: typed.lines)
    assert typed.lines == ["stats"]
    turns.loop.forget(near, typed.keyboard)
    os.close(far)
    os.close(near)


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


def test_what_is_over_the_limit_is_dropped_and_counted(turns: Turns, pipe: Pipe) -> None:
    printer = Printer(turns.loop, pipe[1])
    line = "x" * 1_023 + "\n"
    for _ in range(1_024 + 7):
        printer.write(line)
        printer.flush()
    got = b""
    while piece := read(pipe[0]):
        got += piece
        printer.flush()
    kept = got.count(b"\n")
    printer.write("again\n")
    printer.flush()
    assert read(pipe[0]).decode() in ("again\n", f"({1_031 - kept} lines were dropped: nobody read them)\nagain\n")
    full(pipe[1])
    for _ in range(1_024 + 3):
        printer.write(line)
    while piece := read(pipe[0]):
        printer.flush()
    printer.write("again\n")
    printer.flush()
    assert read(pipe[0]) == b"(3 lines were dropped: nobody read them)\nagain\n"


def test_a_reader_who_is_gone_costs_the_text_and_nothing_else(turns: Turns) -> None:
    reading, writing = os.pipe()
    printer = Printer(turns.loop, writing)
    os.close(reading)
    printer.write("to nobody\n")
    printer.flush()
    printer.close()
    os.close(writing)
    printer.write("to nobody\n")
    printer.flush()
    printer.close()
    turns.tick(after=1.0)
    assert turns.faults == []


def test_closing_prints_the_rest_as_far_as_somebody_reads(turns: Turns, pipe: Pipe) -> None:
    printer = Printer(turns.loop, pipe[1])
    printer.write("y" * 5_000)
    printer.close()
    assert read(pipe[0]) == b"y" * 5_000
    full(pipe[1])
    printer.write("never read\n")
    printer.close(patience=0.0)
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
