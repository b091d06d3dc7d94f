"""What an emulated terminal shows of what is typed, printed and resized. See test_screen_properties, too."""

from __future__ import annotations

import pytest

from chatlib.terminal.editor import Editor
from chatlib.terminal.screen import STYLES, Screen, style
from tests.terminal.person import Person

LEFT, HOME = "\x1b[D", "\x1b[H"


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
        "columbia: are you",
        "there, or are you",
        "somewhere else?",
        "facebook> message ",
        "columbia how are ",
        "you",
    ]
    assert person.terminal.x == 2


def test_the_cursor_beside_the_last_column(person: Person) -> None:
    person.set_prompt("facebook>>")
    person.type("0123456789")
    person.look()
    assert person.terminal.screen() == ["facebook>>0123456789", ""]
    person.type(LEFT)
    person.look()
    assert (person.terminal.x, person.terminal.screen()) == (19, ["facebook>>0123456789", ""])
    person.print("x" * 20, "y" * 40)
    person.look()


def test_wide_characters_are_not_cut(person: Person) -> None:
    person.set_prompt("facebook>>")
    person.type("012345678中文" + LEFT)
    person.look()
    assert person.terminal.screen() == ["facebook>>012345678", "中文"]
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
    doctor = "👩🏽\u200d⚕\ufe0f"
    assert "".join(person.printed[1:]).replace(" ", "") == ">>" + doctor * 8 + "x" + doctor


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
    assert person.terminal.screen()[:2] == ["facebook> ", "x" * 20]
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
    person.print("Please enter your password:")
    person.screen.set_prompt(">> ", secret=True)
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
    person.screen.print("last")
    person.screen.close()
    person.screen.close()
    assert not person.terminal.brackets_pastes
    assert person.terminal.screen() == ["last", ""]
    writes = person.terminal.writes
    person.print("meanwhile")
    person.screen.flush()
    assert person.terminal.writes == writes
    person.terminal.write("$ fg\r\n")
    person.printed += ["last", "$ fg"]
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
    for colours, shown in ((8, "\x1b[1;32mann\x1b[0m: hi \x1b[2m(late)\x1b[0m"), (0, "ann: hi (late)")):
        written: list[str] = []
        screen = Screen(written.append, Editor(), colours=colours)
        screen.open()
        screen.set_prompt("> ")
        screen.print(style("ann", "bold green"), ": hi ", style("(late)", "dim"), style("", "red"))
        screen.flush()
        assert f"{shown}\r\n" in written[-1]
        assert ("\x1b[1m> \x1b[0m" in written[-1]) is bool(colours)
    assert all(code.isdigit() for code in STYLES.values())


@pytest.mark.parametrize(("width", "rows"), [(30, 2), (12, 4), (11, 4), (20, 3)])
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
    below = person.terminal.rows[person.terminal.row_after(len(person.printed)) + 1 :]
    assert len([row for row in below if row.cells]) == rows


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
