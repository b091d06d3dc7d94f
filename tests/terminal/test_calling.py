"""The bell, and notes for the desktop: once, only for whoever is elsewhere, and no text can become an order."""

from __future__ import annotations

import re

import pytest

from chatlib.terminal.calling import BELL, note, note_form
from chatlib.terminal.editor import ActionKind, Editor
from chatlib.terminal.modes import LineReader
from chatlib.terminal.plain import PlainScreen
from chatlib.terminal.screen import Screen
from tests.chance import examples, new_chance
from tests.terminal.emulator import Emulator


@pytest.mark.parametrize(
    ("environ", "form"),
    [
        ({"TERM": "xterm-256color"}, "9"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7200"}, "777"),
        ({"TERM": "rxvt-unicode-256color"}, "777"),
        ({"TERM": "foot"}, "777"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x"}, "tmux 9"),
        ({"TERM": "screen-256color", "TMUX": "/tmp/x", "VTE_VERSION": "7200"}, "tmux 777"),
        ({"TERM": "screen"}, "screen 9"),
        ({"TERM": "linux"}, ""),
        ({"TERM": "vt220"}, ""),
        ({"TERM": "dumb"}, ""),
        ({}, ""),
    ],
)
def test_how_a_terminal_takes_notes(environ: dict[str, str], form: str) -> None:
    assert note_form(environ) == form


def test_what_is_sent_for_a_note() -> None:
    assert note("chat", "ann: hi", "9") == "\x1b]9;chat: ann: hi\a"
    assert note("chat", "ann: a;b", "777") == "\x1b]777;notify;chat;ann: a,b\a"
    assert note("chat", "hi", "tmux 9") == "\x1bPtmux;\x1b\x1b]9;chat: hi\a\x1b\\"
    assert note("chat", "hi", "screen 9") == "\x1bP\x1b]9;chat: hi\a\x1b\\"
    assert note("chat", "hi", "") == ""


def test_a_long_text_is_cut() -> None:
    assert note("chat", "x" * 4_096, "9") == "\x1b]9;chat: " + "x" * 199 + "…\a"


def test_no_text_ends_a_note_or_gives_an_order() -> None:
    chance = new_chance(1)
    pieces = ["\x1b", "\a", "\x9c", "\x9d", "\x1b]52;c;!\a", ";", "4;3;50", "\n", "\r", "\x00", "\x7f", "\u202e",
              "é", "中", "\x1bPtmux;", "\x18", "\x1a", "abc ", "\u2028", "\ud800"]  # fmt: skip
    for _ in range(examples(200)):
        text = "".join(chance.choices(pieces, k=chance.randrange(8)))
        title = "".join(chance.choices(pieces, k=chance.randrange(3)))
        inner = r"[^\x00-\x1f\x7f-\x9f;\u202e\ud800-\udfff]*"
        assert re.fullmatch(rf"\x1b\]9;{inner}\a", note(title, text, "9"))
        assert re.fullmatch(rf"\x1b\]777;notify;{inner};{inner}\a", note(title, text, "777"))
        assert re.fullmatch(rf"\x1bPtmux;\x1b\x1b\]9;{inner}\a\x1b\\", note(title, text, "tmux 9"))


class Drawn:
    """A screen on a terminal."""

    def __init__(self) -> None:
        self.terminal = Emulator(40, 10)
        self.screen = Screen(self.terminal.write, Editor(), 40, 10, notes="9")
        self.screen.open()
        self.screen.set_prompt("> ")


def test_the_bell_rings_once_however_much_is_shown() -> None:
    drawn = Drawn()
    for _ in range(3):
        drawn.screen.ring()
        drawn.screen.print("ann: hi")
    assert drawn.terminal.rung == 0
    drawn.screen.flush()
    drawn.screen.flush()
    assert drawn.terminal.rung == 1
    assert drawn.terminal.logical_lines() == ["ann: hi", "ann: hi", "ann: hi", "> "]


def test_the_last_note_of_a_moment_is_shown() -> None:
    drawn = Drawn()
    drawn.screen.note("chat", "ann: one")
    drawn.screen.note("chat", "ann: two")
    drawn.screen.ring()
    drawn.screen.flush()
    assert (drawn.terminal.notes, drawn.terminal.rung) == (["chat: ann: two"], 1)


def test_focus_is_watched_only_while_the_terminal_is_ours() -> None:
    drawn = Drawn()
    drawn.screen.flush()
    assert not drawn.terminal.watches_focus
    drawn.screen.watch_focus(True)
    drawn.screen.flush()
    assert drawn.terminal.watches_focus
    drawn.screen.close()
    assert not drawn.terminal.watches_focus
    drawn.screen.open()
    drawn.screen.flush()
    assert drawn.terminal.watches_focus
    drawn.screen.watch_focus(False)
    drawn.screen.flush()
    assert not drawn.terminal.watches_focus


def test_what_calls_is_not_lost_when_the_screen_is_closed() -> None:
    drawn = Drawn()
    drawn.screen.ring()
    drawn.screen.note("chat", "bye")
    drawn.screen.close()
    assert (drawn.terminal.rung, drawn.terminal.notes) == (1, ["chat: bye"])


@pytest.mark.parametrize(("bell", "heard"), [(True, BELL), (False, "")])
def test_plain_lines_ring_where_there_is_a_bell_and_never_note(bell: bool, heard: str) -> None:
    written: list[str] = []
    screen = PlainScreen(written.append, LineReader(), bell=bell)
    screen.open()
    screen.ring()
    screen.note("chat", "hi")
    screen.watch_focus(True)
    screen.flush()
    assert "".join(written) == heard


def test_a_report_of_focus_is_no_key_also_in_the_middle_of_a_search_or_a_turn_of_tab() -> None:
    editor = Editor(lambda before: ["stop", "stats"])
    kinds = [action.kind for action in editor.feed(b"s\t\x1b[O\t\x1b[I\t")]
    assert (kinds, editor.text) == ([ActionKind.WENT, ActionKind.CAME], "stats")
    editor.history[:] = ["one two"]
    list(editor.feed(b"\x15\x12tw\x1b[O"))
    assert editor.search is not None and editor.text == "one two"
