"""An operator at a terminal, at plain lines, at a pipe: on a loop that never waits for any of them."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import struct
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.reactor.loop import Loop
from chatlib.terminal import teletype
from chatlib.terminal.history import HistoryFile
from chatlib.terminal.operator import Operator as TeletypeOperator
from chatlib.terminal.operator import Prompt
from chatlib.terminal.screen import style
from chatlib.terminal.teletype import Teletype
from tests.terminal.emulator import Emulator

COLUMNS, ROWS = 40, 12
XTERM = {"TERM": "xterm"}


class Operator(TeletypeOperator):
    """Notes what it is told; asks a question when it is told to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.asking = self.busy = self.secret = False

    @property
    def ready(self) -> bool:
        return not self.busy

    @property
    def prompt(self) -> Prompt:
        return Prompt("answer> " if self.asking else "> ", secret=self.secret, question=self.asking)

    def line(self, line: str) -> None:
        self.told.append(line)
        if line == "fault":
            raise RuntimeError("a bug")
        self.asking = line == "ask"
        self.secret = line == "password"

    def complete(self, before: str) -> list[str]:
        return [word for word in ("stop ", "stats") if word.startswith(before)]

    def interrupted(self) -> None:
        self.told.append("(interrupted)")

    def end_typed(self) -> None:
        self.told.append("(end typed)")

    def ended(self) -> None:
        self.told.append("(end)")

    def hung_up(self) -> None:
        self.told.append("(hung up)")

    def continued(self, seconds: float) -> None:
        self.told.append("(continued)")

    def unread(self, failure: OSError) -> None:
        self.told.append(f"(unread: {errno.errorcode[failure.errno or 0]})")


class Desk:
    """A terminal (or two ends of pipes), the program at it, and what a person sees."""

    def __init__(self, stdin: int, stdout: int, *, history: HistoryFile | None = None, **manner: bool) -> None:
        self.faults: list[BaseException] = []
        self.loop = Loop(self.faults.append)
        self.operator = Operator()
        self.teletype = Teletype(self.loop, XTERM, stdin=stdin, stdout=stdout, **manner)
        if history:
            self.teletype.remember(history)
        self.teletype.attach(self.operator)
        self.loop.phases.append(self.teletype.flush)

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.loop.call_later(0.0, lambda: None)
            self.loop.tick()

    def until(self, reached: Callable[[], object]) -> None:
        while not reached():
            self.loop.tick()

    def told(self, last: str) -> list[str]:
        """All that the operator was told, up to `last`."""
        self.until(lambda: last in self.operator.told)
        told, self.operator.told = self.operator.told, []
        return told


class Window(Desk):
    """A desk at a pseudo-terminal."""

    def __init__(self, **options: object) -> None:
        self.far, self.near = os.openpty()
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.found = termios.tcgetattr(self.near)
        super().__init__(self.near, self.near, **options)  # type: ignore[arg-type]
        self.seen = Emulator(COLUMNS, ROWS)
        os.set_blocking(self.far, False)

    def type(self, keys: str) -> None:
        os.write(self.far, keys.encode())

    def look(self) -> list[str]:
        """What the person sees."""
        try:
            while data := os.read(self.far, 65_536):
                self.seen.write(data.decode())
        except BlockingIOError:
            pass
        return self.seen.logical_lines()

    def shows(self, *lines: str) -> None:
        """Waits until that is all to be seen."""
        while self.look() != [*lines]:
            self.tick()

    def close(self) -> None:
        for fd in (self.far, self.near):
            if fd >= 0:
                os.close(fd)
        self.loop.close()


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A teletype ignores two signals; what they did before is restored."""
    numbers = (signal.SIGTTIN, signal.SIGTTOU)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def window() -> Iterator[Callable[..., Window]]:
    opened: list[Window] = []

    def build(**options: object) -> Window:
        opened.append(Window(**options))
        return opened[-1]

    yield build
    for each in opened:
        each.close()


Build = Callable[..., Window]


def test_what_happens_appears_above_the_half_typed_line(window: Build) -> None:
    desk = window()
    with desk.teletype:
        desk.type("online us")
        desk.shows("> online us")
        desk.teletype.print(style("[14:03] ", "dim head"), "login ann from a place with a long name, and more")
        desk.shows("[14:03] login ann from a place with a", "        long name, and more", "> online us")
        desk.type("ers\r")
        assert desk.told("online users") == ["online users"]
        desk.teletype.print("0 online:")
        desk.shows(
            "[14:03] login ann from a place with a", "        long name, and more", "> online users", "0 online:", "> "
        )
    assert desk.look()[-2:] == ["0 online:", ""], "the prompt is taken away"
    assert termios.tcgetattr(desk.near) == desk.found


def test_keys(window: Build) -> None:
    desk = window()
    with desk.teletype:
        desk.type("half\x03\x03")
        assert desk.told("(interrupted)") == ["(interrupted)"], "the first one cleared the line"
        desk.type("\x04")
        assert desk.told("(end typed)") == ["(end typed)"]
        desk.type("st\t\t\ts\x0c")
        desk.shows("> stop s")
        desk.type("\r")
        assert desk.told("stop s") == ["stop s"]


def test_history_is_kept_for_the_next_run_but_no_answer_to_a_question(window: Build, tmp_path: Path) -> None:
    history = HistoryFile(tmp_path / "history")
    desk = window(history=history)
    with desk.teletype:
        desk.type("ask\ranswer\rstats\r\r")
        desk.told("")
        desk.type("\x1b[A\x1b[A\r")
        assert desk.told("ask") == ["ask"]
    assert history.lines() == ["ask", "stats", "ask"]
    again = window(history=history)
    with again.teletype:
        again.type("\x1b[A\x1b[A\r")
        assert again.told("stats") == ["stats"]


def test_a_fault_in_carrying_a_line_out_costs_no_other(window: Build) -> None:
    desk = window()
    with desk.teletype:
        desk.type("one\rfault\rtwo\r")
        assert desk.told("two") == ["one", "fault", "two"]
    assert [str(fault) for fault in desk.faults] == ["a bug"]


def test_the_terminal_is_as_it_was_whatever_happens(window: Build) -> None:
    for plain in (False, True):
        desk = window(plain=plain)
        with pytest.raises(ZeroDivisionError), desk.teletype:
            desk.tick()
            assert termios.tcgetattr(desk.near) != desk.found
            raise ZeroDivisionError
        assert termios.tcgetattr(desk.near) == desk.found


def test_a_terminal_that_takes_nothing_loses_lines_and_no_drawing(
    window: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teletype, "_LIMIT", 10_000)
    desk, count = window(), 20_000
    with desk.teletype:
        desk.type("half")
        desk.shows("> half")
        for number in range(count):
            desk.teletype.print(f"line {number}")
            if number % 100 == 0:
                desk.tick()
        assert sum(len(str(part)) for parts in desk.teletype._display._printed for part in parts) <= 10_000
        assert not desk.teletype._printer.idle
        while not desk.teletype.idle:
            desk.look()
            desk.tick()
        *rows, prompt = desk.look()
        assert prompt == "> half"
        lines = "\n".join(rows).replace("reading:\n", "reading: ").split("\n")
        place = 0
        for line in lines:  # a kernel that makes room in between has some of them shown there
            dropped = re.fullmatch(r"\(Left out, because nobody was reading: ([\d,]+) lines?\.\)", line)
            assert dropped or line == f"line {place}"
            place += int(dropped[1].replace(",", "")) if dropped else 1
        assert place == count and any("Left out" in line for line in lines)
        desk.teletype.print("again")
        desk.shows(*rows, "again", prompt)


def test_a_narrower_window(window: Build) -> None:
    desk = window()
    with desk.teletype:
        assert desk.teletype.columns == COLUMNS
        desk.type("a line of thirty letters or so")
        desk.shows("> a line of thirty letters or so")
        fcntl.ioctl(desk.near, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, 20, 0, 0))
        desk.seen.resize(20, ROWS)
        desk.teletype.signalled(signal.SIGWINCH)
        desk.teletype.print("login ann")
        while "login ann" not in desk.look():
            desk.tick()
        assert "".join(desk.look()[1:]) == "> a line of thirty letters or so"
        assert desk.teletype.columns == 20


def test_a_look_at_the_terminal_that_comes_too_late_changes_nothing(window: Build) -> None:
    desk = window()
    with desk.teletype:
        half = "half of a line that needs more than one of the rows"
        desk.type(half)
        while "".join(desk.look()) != "> " + half:
            desk.tick()
        desk.teletype._look_again()
        desk.until(lambda: not desk.teletype._trying)
        desk.teletype.print("said")
        desk.tick()
        assert desk.look()[0] == "said"
        assert "".join(desk.look()[1:]) == "> " + half


def test_the_window_is_closed(window: Build) -> None:
    for plain in (False, True):
        desk = window(plain=plain)
        with desk.teletype:
            desk.tick()
            os.close(desk.far)
            assert desk.told("(hung up)") == ["(hung up)"]
            desk.teletype.print("to nobody")
            desk.tick(3)
        desk.far = -1


def test_plain_lines_at_a_terminal(window: Build) -> None:
    """The terminal edits the line; there is no prompt, but once a word that one can type."""
    desk = window(plain=True)
    with desk.teletype:
        desk.shows("You can type now.", "")
        desk.type("stats\n")
        assert desk.told("stats") == ["stats"]
        desk.shows("You can type now.", "stats", "")
        desk.teletype.print("login ann from a place with a long name, and more")
        desk.shows("You can type now.", "stats", "login ann from a place with a long name, and more", "")
        desk.type("\x04")
        assert desk.told("(end typed)") == ["(end typed)"]
        desk.type("more\n")
        assert desk.told("more") == ["more"], "the end key is not the end"


def test_a_pipe_gets_the_lines_alone() -> None:
    (stdin, typing), (reading, stdout) = os.pipe(), os.pipe()
    desk = Desk(stdin, stdout)
    with desk.teletype:
        os.write(typing, b"one\nfault\ntw")
        os.write(typing, b"o\nlast")
        os.close(typing)
        assert desk.told("(end)") == ["one", "fault", "two", "last", "(end)"]
        desk.teletype.print("said")
    assert os.read(reading, 100) == b"said\n"
    assert (desk.teletype.columns, desk.teletype.signals) == (0, [])
    for fd in (stdin, reading, stdout):
        os.close(fd)
    desk.loop.close()


def test_a_prompt_is_not_for_a_file_that_output_goes_to(window: Build) -> None:
    reading, stdout = os.pipe()
    far, near = os.openpty()
    desk = Desk(near, stdout)
    with desk.teletype:
        os.write(far, b"stats\n")
        assert desk.told("stats") == ["stats"]
        desk.teletype.print("said")
        desk.tick(2)
        assert os.read(reading, 100) == b"said\n"
    for fd in (reading, stdout, far, near):
        os.close(fd)
    desk.loop.close()


# An operator who is not always ready, and output that is not taken.


@pytest.mark.parametrize("plain", [False, True])
def test_lines_wait_until_the_operator_is_ready_and_ctrl_c_does_not(window: Build, plain: bool) -> None:
    desk = window(plain=plain)
    desk.operator.busy = True
    with desk.teletype:
        desk.type("one\ntwo\n")
        desk.until(lambda: desk.teletype._held)
        if plain:
            desk.teletype.interrupt()
        else:
            desk.type("\x03")
        assert desk.told("(interrupted)") == ["(interrupted)"]
        desk.operator.busy = False
        desk.tick()
        assert desk.told("two") == ["one", "two"]


def test_the_lines_of_a_pipe_wait_in_the_pipe() -> None:
    (stdin, typing), (reading, stdout) = os.pipe(), os.pipe()
    desk = Desk(stdin, stdout)
    desk.operator.busy = True
    with desk.teletype:
        os.write(typing, b"one\ntwo\n")
        desk.until(lambda: desk.teletype._held)
        os.write(typing, b"three\n")
        os.close(typing)
        desk.tick(3)
        assert desk.operator.told == []
        assert os.read(stdin, 100) == b"three\n", "it is still there, for whoever reads next"
        desk.operator.busy = False
        desk.tick()
        assert desk.told("(end)") == ["one", "two", "(end)"]
    for fd in (stdin, reading, stdout):
        os.close(fd)
    desk.loop.close()


@pytest.mark.parametrize("plain", [False, True])
def test_a_secret_is_not_shown_also_when_it_is_typed_ahead(window: Build, plain: bool) -> None:
    desk = window(plain=plain)
    with desk.teletype:
        desk.type("password\n")
        desk.told("password")
        desk.tick()
        desk.type("tops")
        desk.type("ecret\n" if plain else "ecret\r")
        assert desk.told("topsecret") == ["topsecret"]
        desk.type("shown\n")
        assert desk.told("shown") == ["shown"]
        while not any("shown" in line for line in desk.look()):
            desk.tick()
        assert "tops" not in "".join(desk.look()) and "ecret" not in "".join(desk.look())
    if not plain:
        ahead = window()
        with ahead.teletype:
            ahead.type("password\rtopsecret\r")
            assert ahead.told("topsecret") == ["password", "topsecret"]
            ahead.shows("> password", "> ", "> ")


def test_a_program_that_must_lose_nothing_sees_that_nobody_reads(
    window: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teletype, "_LIMIT", 10_000)
    desk, count, long = window(bounded=False), 0, "x" * 3_000
    with desk.teletype:
        while not desk.teletype.clogged:
            desk.teletype.print(f"line {count} {long}")
            count += 1
            desk.tick()
            assert not desk.teletype.clogged or not desk.teletype.idle
        desk.teletype.print("the last one")
        while desk.look()[-2:-1] != ["the last one"]:
            desk.tick()
        assert desk.look() == [*(f"line {number} {long}" for number in range(count)), "the last one", "> "]
        desk.tick()
        assert desk.teletype.idle and not desk.teletype.clogged


def test_an_output_that_cannot_be_written_is_told() -> None:
    (stdin, typing), (reading, stdout) = os.pipe(), os.pipe()
    os.close(reading)
    desk = Desk(stdin, stdout)
    with desk.teletype:
        desk.teletype.print("to nobody")
        desk.tick()
        assert desk.told("(unread: EPIPE)") == ["(unread: EPIPE)"]
    for fd in (stdin, typing, stdout):
        os.close(fd)
    desk.loop.close()


def test_ctrl_c_takes_back_the_line_and_undo_brings_it_back(window: Build) -> None:
    desk = window()
    with desk.teletype:
        desk.type("half a line\x03")
        desk.shows("> ")
        assert desk.operator.told == []
        desk.type("\x1f")
        desk.shows("> half a line")
        desk.type("\x03\x03")
        assert desk.told("(interrupted)") == ["(interrupted)"]


def test_ctrl_c_at_a_secret_leaves_at_once_since_nothing_is_seen_of_it(window: Build) -> None:
    desk = window()
    with desk.teletype:
        desk.type("password\r")
        desk.told("password")
        desk.type("half of it\x03")
        assert desk.told("(interrupted)") == ["(interrupted)"]
        desk.type("\x1f\r")
        assert desk.told("") == [""], "nothing of it is left"


def test_ctrl_c_ends_a_search_and_the_half_typed_line_is_there_again(window: Build) -> None:
    desk = window()
    with desk.teletype:
        desk.type("online users\rhalf\x12onl")
        desk.shows("> online users", "(search: onl) online users")
        desk.type("\x03")
        desk.shows("> online users", "> half")
        desk.type("\x12onl")
        desk.shows("> online users", "(search: onl) online users")
        desk.teletype.interrupt()
        desk.shows("> online users", "> half")
        assert desk.told("online users") == ["online users"]


def test_the_prompt_of_a_question_is_no_invitation_to_type(window: Build) -> None:
    desk = window(plain=True)
    desk.operator.asking = True
    with desk.teletype:
        desk.teletype.print("Who are you?")
        desk.shows("Who are you?", "")
        desk.type("ann\n")
        desk.shows("Who are you?", "ann", "You can type now.", "")
        desk.type("ask\nyes\n")
        desk.shows("Who are you?", "ann", "You can type now.", "ask", "yes", "")
        assert desk.told("yes") == ["ann", "ask", "yes"]


def test_a_pipe_is_invited_only_where_plain_lines_were_asked_for() -> None:
    for plain, said in ((False, b"said\n"), (True, b"You can type now.\nsaid\n")):
        (stdin, typing), (reading, stdout) = os.pipe(), os.pipe()
        desk = Desk(stdin, stdout, plain=plain)
        with desk.teletype:
            desk.tick()
            desk.teletype.print("said")
        assert os.read(reading, 100) == said
        for fd in (stdin, typing, reading, stdout):
            os.close(fd)
        desk.loop.close()


def test_tab_lists_what_may_follow_below_the_line(window: Build) -> None:
    desk = window()
    with desk.teletype:
        desk.type("st\t")
        desk.shows("> stop ", "stop   stats")
        desk.type("\t")
        desk.shows("> stats", "stop   stats")
        desk.type("x")
        desk.shows("> statsx", "")


def test_candidates_that_come_late_do_not_disturb_a_search(window: Build) -> None:
    desk = window()
    with desk.teletype:
        desk.type("stats\r\x12sta")
        desk.shows("> stats", "(search: sta) stats")
        desk.teletype.complete("")
        desk.shows("> stats", "(search: sta) stats")
        assert desk.told("stats") == ["stats"]


def test_a_note_is_shown_only_while_the_terminal_says_that_it_is_not_in_front(window: Build) -> None:
    desk = window()
    with desk.teletype:
        desk.teletype.watch_focus(True)
        desk.teletype.note("chat", "not shown: in front")
        desk.teletype.print("one")
        desk.shows("one", "> ")
        assert desk.seen.watches_focus
        desk.type("ab\x1b[O\x1b[Dc")  # it goes while one types, and takes no key away
        desk.shows("one", "> acb")
        desk.teletype.note("chat", "ann: hi")
        while not desk.seen.notes:
            desk.tick()
            desk.look()
        desk.type("\x1b[Id")
        desk.shows("one", "> acdb")
        desk.teletype.note("chat", "not shown: in front again")
        desk.teletype.ring()
        while not desk.seen.rung:
            desk.tick()
            desk.look()
    desk.look()
    assert desk.seen.notes == ["chat: ann: hi"]
    assert not desk.seen.watches_focus


def test_the_terminal_stops_to_tell_of_its_focus_when_the_loop_breaks(window: Build) -> None:
    desk = window()
    with pytest.raises(RuntimeError), desk.teletype:
        desk.teletype.watch_focus(True)
        desk.shows("> ")
        assert desk.seen.watches_focus
        raise RuntimeError("a bug")
    desk.look()
    assert not desk.seen.watches_focus


def test_a_terminal_that_goes_to_the_back_is_no_key(window: Build) -> None:
    desk = window()
    touched: list[str] = []
    desk.operator.touched = lambda: touched.append("key")  # type: ignore[method-assign]
    with desk.teletype:
        desk.shows("> ")
        desk.type("\x1b[O")
        desk.tick(20)
        assert touched == []
        desk.type("\x1b[Ix")
        desk.shows("> x")
        assert touched
