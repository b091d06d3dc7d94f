"""What an emulated terminal shows, whatever is typed, printed and resized; and the plain lines."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from chatlib.terminal.editor import ActionKind, Editor
from chatlib.terminal.modes import LineReader
from chatlib.terminal.screen import STYLES, Part, PlainScreen, Screen, break_rows, style
from chatlib.terminal.width import drawn
from tests.chance import examples
from tests.terminal.emulator import Emulator

LEFT, HOME = "\x1b[D", "\x1b[H"


class Person:
    """Someone at a terminal: what is typed, and what is then to be seen."""

    def __init__(self, columns: int = 20, rows: int = 8, reflows: bool = True) -> None:
        self.terminal = Emulator(columns, rows, reflows)
        self.editor = Editor()
        self.screen = Screen(self.terminal.write, self.editor, columns, rows, reflows=reflows)
        self.printed: list[str] = []
        self.prompt = ""
        self.status: list[str] = []
        self.lines_above = 0  # the prompt, when it was shown
        self.scrolled_off = False  # rows of the prompt that nothing can erase any more are above the screen
        self.screen.open()

    def type(self, keys: str) -> None:
        for action in self.editor.feed(keys.encode()):
            if action.kind is ActionKind.LINE:
                self.screen.echo(action.text)
                self.printed.append(self.prompt + ("" if self.editor.secret else action.text))

    def print(self, *lines: str) -> None:
        for line in lines:
            self.screen.print(line)
            self.printed.append(line)

    def set_prompt(self, prompt: str) -> None:
        self.screen.set_prompt(prompt)
        self.prompt = prompt

    def set_status(self, lines: list[str]) -> None:
        self.screen.set_status(lines)
        self.status = lines

    def resize(self, columns: int, rows: int) -> None:
        self.terminal.resize(columns, rows)
        if not self.scrolled_off:
            self.scrolled_off = self.terminal.row_after(self.lines_above) < self.terminal.top
        self.screen.resize(columns, rows)

    def look(self) -> None:
        """Flush, and compare all that can be seen with what should be."""
        self.screen.flush()
        self.lines_above = len(self.printed)
        terminal = self.terminal
        typed, cursor = ("", 0) if self.editor.secret else (self.editor.text, self.editor.cursor)
        text, before = self.prompt + drawn(typed), self.prompt + drawn(typed[:cursor])
        if self.scrolled_off:
            # Old pieces of the prompt are among what has scrolled off, and a line may look like the continuation of
            # one; yet nothing printed is lost, or out of order.
            remaining = iter(terminal.logical_lines())
            assert all(any(seen.endswith(line) for seen in remaining) for line in self.printed)
            assert before.endswith(self.until_cursor(terminal.y))
            return
        start = terminal.row_after(len(self.printed))
        assert terminal.logical_lines(start) == self.printed
        assert start >= terminal.top
        status = self.status[: terminal.height // 2]
        shown = [row.text for row in terminal.rows[start : start + len(status)]]
        assert all(line.startswith(row) and row for line, row in zip(status, shown, strict=True))
        below = "".join(row.text for row in terminal.rows[start + len(status) :])
        assert below in text
        assert before.endswith(self.until_cursor(start + len(status)))
        if len(break_rows(text, terminal.columns)) < terminal.height - len(status):
            assert below == text
            assert self.until_cursor(start + len(status)) == before

    def until_cursor(self, start: int) -> str:
        """What is shown before the cursor, from row `start` on."""
        terminal = self.terminal
        assert not terminal.waits
        row = terminal.rows[terminal.y].cells
        # A cursor never stands beyond the text, nor on the right half of a wide character.
        assert terminal.x == len(row) or row[terminal.x]
        return "".join(each.text for each in terminal.rows[start : terminal.y]) + "".join(row[: terminal.x])


@pytest.fixture
def person() -> Person:
    person = Person()
    person.set_prompt("facebook> ")
    return person


def test_what_arrives_appears_above_the_half_typed_line(person: Person) -> None:
    person.type("message columbia how are you" + LEFT)
    person.look()
    person.print("columbia: hi", "columbia: are you there, or are you somewhere else?")
    person.look()
    assert person.terminal.screen() == [
        "columbia: hi",
        "columbia: are you th",
        "ere, or are you some",
        "where else?",
        "facebook> message co",
        "lumbia how are you",
    ]
    assert person.terminal.x == 17


def test_the_cursor_beside_the_last_column(person: Person) -> None:
    person.type("0123456789")
    person.look()
    assert person.terminal.screen() == ["facebook> 0123456789", ""]
    person.type(LEFT)
    person.look()
    assert (person.terminal.x, person.terminal.screen()) == (19, ["facebook> 0123456789", ""])
    person.print("x" * 20, "y" * 40)
    person.look()


def test_wide_characters_are_not_cut(person: Person) -> None:
    person.type("012345678中文" + LEFT)
    person.look()
    assert person.terminal.screen() == ["facebook> 012345678", "中文"]
    assert person.terminal.x == 2


def test_joined_emoji_leave_the_prompt_whole(person: Person) -> None:
    """Drawn in parts while they are typed; sent and printed whole."""
    person.set_prompt(">> ")
    person.type("👩🏽\u200d⚕\ufe0f" * 9 + LEFT + "x" + LEFT * 3)
    person.look()
    person.print("می\u200cخواهم")
    person.look()
    person.type("\r")
    person.look()
    assert person.printed[-1] == ">> " + "👩🏽\u200d⚕\ufe0f" * 8 + "x" + "👩🏽\u200d⚕\ufe0f"


def test_an_entered_line_stays(person: Person) -> None:
    person.type("hello\rhalf")
    person.look()
    assert person.terminal.screen() == ["facebook> hello", "facebook> half"]


def test_a_line_higher_than_the_terminal(person: Person) -> None:
    person.type("x" * 200)
    person.print("above")
    person.look()
    assert len(person.terminal.screen()) == 8
    person.type(HOME)
    person.look()
    assert person.terminal.screen()[0] == "facebook> xxxxxxxxxx"
    person.type("\x0b")
    person.look()
    assert person.terminal.screen() == ["facebook> ", *[""] * 7]


def test_status_lines_are_replaced_in_place(person: Person) -> None:
    person.type("half")
    for percent in range(0, 101, 10):
        person.set_status([f"movie.mkv {percent} %", "a name far too long for this terminal.txt"])
        person.look()
    assert person.terminal.screen() == ["movie.mkv 100 %", "a name far too long ", "facebook> half"]
    person.print("done")
    person.set_status([])
    person.look()
    assert [row for row in person.terminal.screen() if row] == ["done", "facebook> half"]


def test_a_secret_is_not_shown(person: Person) -> None:
    person.screen.print("Please enter your password:")
    person.screen.set_prompt(">> ", secret=True)
    person.printed.append("Please enter your password:")
    person.prompt = ">> "
    person.type("secret")
    person.look()
    assert person.terminal.screen()[-1] == ">> "
    person.type("\r")
    person.look()
    assert "secret" not in "".join(person.terminal.logical_lines())


def test_a_note_is_no_part_of_what_stays(person: Person) -> None:
    person.screen.set_prompt("fb> ", "(offline)")
    person.type("hi")
    person.screen.flush()
    assert person.terminal.screen() == ["fb> (offline) hi"]
    person.type("\r")
    person.screen.flush()
    assert person.terminal.screen() == ["fb> hi", "fb> (offline) "]


def test_many_lines_are_one_write_and_nothing_new_none(person: Person) -> None:
    person.look()
    writes = person.terminal.writes
    person.print(*[f"line {number}" for number in range(1_000)])
    person.type("typed")
    person.look()
    assert person.terminal.writes == writes + 1
    person.type("x\x7f")
    person.look()
    assert person.terminal.writes == writes + 1


def test_nothing_that_is_printed_moves_the_cursor(person: Person) -> None:
    evil = "\x1b[2J\r\n\x07\x9b\u202e\u200b"
    person.screen.print(evil, style(evil, "red"))
    person.screen.set_status([evil, style(evil, "red")])
    person.screen.set_prompt(evil, evil)
    person.type("\x1b[200~" + evil + "\x1b[201~")
    person.screen.echo(evil)
    person.screen.flush()
    assert person.terminal.screen() == ["[2J[2J", "[2J[2J", "[2J", "[2J", "[2J[2J [2J "]


def test_redraw_begins_with_an_empty_screen(person: Person) -> None:
    person.print("one")
    person.type("half")
    person.look()
    person.screen.redraw()
    person.screen.flush()
    assert [row for row in person.terminal.screen() if row] == ["facebook> half"]


def test_suspended_and_continued(person: Person) -> None:
    person.type("half")
    person.look()
    assert person.terminal.brackets_pastes
    person.print("last")
    person.screen.close()
    person.screen.close()
    assert not person.terminal.brackets_pastes
    assert person.terminal.screen() == ["last", ""]
    writes = person.terminal.writes
    person.print("meanwhile")
    person.screen.flush()
    assert person.terminal.writes == writes
    person.terminal.write("$ fg\r\n")
    person.printed.insert(1, "$ fg")
    person.screen.open()
    person.look()
    assert person.terminal.screen() == ["last", "$ fg", "meanwhile", "facebook> half"]


def test_left_by_an_exception(person: Person) -> None:
    with pytest.raises(RuntimeError), person.screen:
        person.print("last")
        raise RuntimeError
    assert not person.terminal.brackets_pastes
    assert person.terminal.screen() == ["last", ""]


def test_colours() -> None:
    for colour, shown in ((True, "\x1b[1;32mann\x1b[0m: hi \x1b[2m(late)\x1b[0m"), (False, "ann: hi (late)")):
        written: list[str] = []
        screen = Screen(written.append, Editor(), colour=colour)
        screen.open()
        screen.set_prompt("> ")
        screen.print(style("ann", "bold green"), ": hi ", style("(late)", "dim"), style("", "red"))
        screen.flush()
        assert f"{shown}\r\n" in written[-1]
        assert ("\x1b[1m> \x1b[0m" in written[-1]) is colour
    assert all(code.isdigit() for code in STYLES.values())


@pytest.mark.parametrize(("width", "rows"), [(30, 2), (12, 4), (10, 5), (20, 3)])
@pytest.mark.parametrize("reflows", [True, False])
def test_another_width(width: int, rows: int, reflows: bool) -> None:
    person = Person(reflows=reflows, rows=12)
    person.set_prompt("facebook> ")
    person.print("one", "two", "a line that is longer than the terminal")
    person.type("x" * 30 + LEFT * 12)
    person.set_status(["[" + "#" * 18 + "]"])
    person.look()
    person.resize(width, 12)
    person.look()
    person.print("three")
    person.look()
    below = person.terminal.rows[person.terminal.row_after(4) + 1 :]
    assert len([row for row in below if row.cells]) == -(-40 // width)


@pytest.mark.parametrize("reflows", [True, False])
def test_narrower_and_as_wide_as_before_at_once(reflows: bool) -> None:
    person = Person(3, reflows=reflows)
    person.type("中")
    person.look()
    person.resize(2, 8)
    person.resize(3, 8)
    person.look()
    person.type("a")
    person.look()


alphabet = st.sampled_from(["a", "b ", "中", "e\u0301", "😀", "0123456789", "字字字字字"])
text = st.lists(alphabet, max_size=8).map("".join)
keys = st.one_of(text, st.sampled_from([LEFT, LEFT * 5, HOME, "\x05", "\x7f", "\x17", "\x15", "\r", "\x1b[A"]))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("type"), keys),
        st.tuples(st.just("type"), keys),
        st.tuples(st.just("print"), text.map("#".__add__)),
        st.tuples(st.just("set_prompt"), text.map("#".__add__)),
        st.tuples(st.just("set_status"), st.lists(text.map("#".__add__), max_size=4)),
        st.tuples(st.just("resize"), st.tuples(st.integers(2, 30), st.integers(1, 9))),
        st.tuples(st.just("look"), st.none()),
    ),
    min_size=8,
    max_size=40,
)


@settings(max_examples=examples(250))
@given(st.integers(2, 30), st.integers(1, 9), st.booleans(), steps)
def test_whatever_happens(columns: int, rows: int, reflows: bool, steps: list[tuple[str, object]]) -> None:
    person = Person(columns, rows, reflows)
    person.look()
    for name, value in steps:
        if name == "look":
            person.look()
        elif isinstance(value, tuple):
            person.resize(*value)
        else:
            getattr(person, name)(value)
    person.look()
    event("scrolled off" if person.scrolled_off else "whole")


# -- plain


class Script:
    """A PlainScreen and what it wrote."""

    def __init__(self, interactive: bool) -> None:
        self.written: list[str] = []
        self.echoes: list[bool] = []
        self.reader = LineReader()
        self.screen = PlainScreen(
            self.written.append, self.reader, interactive=interactive, echo_input=self.echoes.append
        )
        self.screen.open()

    def take(self) -> str:
        self.screen.flush()
        text = "".join(self.written)
        self.written.clear()
        return text


def test_plain_lines_for_scripts() -> None:
    script = Script(interactive=False)
    script.screen.print("Please enter your username:")
    script.screen.set_prompt(">> ")
    assert script.take() == "Please enter your username:\n"
    script.screen.set_status(["50 %"])
    script.screen.set_prompt("facebook> ", "(offline)")
    script.screen.echo("facebook")
    script.screen.resize(10, 10)
    script.screen.redraw()
    assert script.take() == ""
    parts: list[Part] = ["\x1b[31m", style("ann", "green"), ": hi\n"]
    script.screen.print(*parts)
    script.screen.print("two")
    assert script.take() == "[31mann: hi\ntwo\n"
    script.screen.print("last")
    script.screen.close()
    script.screen.close()
    script.screen.print("too late")
    assert script.take() == "last\n"


def test_plain_lines_on_a_terminal() -> None:
    script = Script(interactive=True)
    script.screen.print("Name:")
    script.screen.set_prompt(">> ")
    assert script.take() == "Name:\n>> "
    script.screen.echo("ann")
    script.screen.print("Password:")
    script.screen.set_prompt(">> ", secret=True)
    assert script.take() == "Password:\n>> "
    assert script.reader.secret
    script.screen.echo("secret")
    script.screen.print("Welcome!")
    script.screen.set_prompt("ann> ")
    assert script.take() == "Welcome!\nann> "
    assert script.echoes == [False, True]
    script.screen.print("bob: hi")
    assert script.take() == "\nbob: hi\nann> "
    script.screen.set_prompt("ann> ", "(offline)")
    assert script.take() == ""
    script.screen.echo("")
    assert script.take() == "ann> "
    script.screen.close()
    assert script.take() == "\n"
