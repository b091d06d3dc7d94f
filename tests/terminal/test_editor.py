"""Keys, pastes, history, completion; everything whole, byte by byte, and against a model."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol.text import printable, visible
from chatlib.terminal.editor import (
    _BINDINGS,
    KEYS,
    MAX_HISTORY,
    MAX_LENGTH,
    Action,
    ActionKind,
    Complete,
    Editor,
)
from chatlib.terminal.width import display_width, drawn

LEFT, RIGHT, UP, DOWN, HOME, END = (f"\x1b[{final}" for final in "DCABHF")
COMBINED = "e\u0301"  # é in two characters


def typed(*keys: str, editor: Editor | None = None) -> Editor:
    editor = editor or Editor()
    assert list(editor.feed("".join(keys).encode())) == []
    return editor


def line(*keys: str) -> str:
    """The line, with | where the cursor stands."""
    editor = typed(*keys)
    return editor.text[: editor.cursor] + "|" + editor.text[editor.cursor :]


@pytest.mark.parametrize(("keys", "shown"), [
    (("abc",), "abc|"),
    (("abc", LEFT), "ab|c"),
    (("abc", "\x1bOD", "x"), "abx|c"),
    (("abc", LEFT, LEFT, LEFT, LEFT, "x"), "x|abc"),
    (("abc", HOME, RIGHT), "a|bc"),
    (("abc", RIGHT), "abc|"),
    (("abc", "\x01", "\x06", "x"), "ax|bc"),
    (("abc", "\x02", "\x02", "\x05"), "abc|"),
    (("abc", "\x1b[1~", "x", "\x1b[4~"), "xabc|"),
    (("abc", "\x7f"), "ab|"),
    (("abc", "\x08", "\x08", "\x08", "\x08"), "|"),
    (("abc", HOME, "\x1b[3~"), "|bc"),
    (("abc", HOME, "\x04"), "|bc"),
    (("abc", "\x1b[3~"), "abc|"),
    (("abc", "\x04"), "abc|"),
    (("one two", HOME, "\x0b"), "|"),
    (("one two", LEFT, "\x15"), "|o"),
    (("one two-three", "\x17"), "one |"),
    (("one two  ", "\x17", "\x17"), "|"),
    (("one two", "\x17", "\x19", "\x19"), "one twotwo|"),
    (("one two three", "\x17", "\x17", "x\x7f", "\x19"), "one two three|"),
    (("one two", HOME, "\x0b", END, "\x19"), "one two|"),
    (("one two", "\x1bb"), "one |two"),
    (("one, two", "\x1b[1;5D", "\x1b[1;5D"), "|one, two"),
    (("one, two", HOME, "\x1bf"), "one|, two"),
    (("one, two", HOME, "\x1b[1;5C", "\x1bf", "\x1bf"), "one, two|"),
    (("one two", HOME, "\x1bd"), "| two"),
    (("one two", "\x1b\x7f"), "one |"),
    (("ab", "\x14"), "ba|"),
    (("abc", LEFT, "\x14"), "acb|"),
    (("abc", HOME, "\x14"), "|abc"),
    (("a", "\x14"), "a|"),
    (("\x14",), "|"),
    (("x", COMBINED, "y", LEFT, LEFT), f"x|{COMBINED}y"),
    (("x", COMBINED, "\x7f"), "x|"),
    (("x", COMBINED, "y", HOME, RIGHT, RIGHT, "\x14"), f"xy{COMBINED}|"),
    (("x", COMBINED, HOME, RIGHT, "\x04"), "x|"),
    (("क्षि", "\x7f"), "क्|"),
    (("中文", LEFT, "x"), "中x|文"),
    (("a\x1bzb",), "azb|"),  # a lone ESC, then a letter that is no command
    (("a", "\x1b\x1b[D", "b"), "b|a"),
    (("a", "\x1b[[A", "\x1b[15~", "\x1b[1;2P", "\x1bOP", "b"), "ab|"),
    (("a", "\x1b[12;3\x02b"), "b|a"),
    (("a\x00\x1c\x11b\u200b\u202e\x9bc",), "abc|"),
])  # fmt: skip
def test_keys(keys: tuple[str, ...], shown: str) -> None:
    assert line(*keys) == shown


@pytest.mark.parametrize(("key", "action"), [
    ("\r", Action(ActionKind.LINE, "hi")),
    ("\n", Action(ActionKind.LINE, "hi")),
    ("\x03", Action(ActionKind.INTERRUPT)),
    ("\x1a", Action(ActionKind.SUSPEND)),
    ("\x0c", Action(ActionKind.REDRAW)),
    ("\x1b\x03", Action(ActionKind.INTERRUPT)),
    ("\x1b[\x03", Action(ActionKind.INTERRUPT)),
    ("\x1b[12;\x03", Action(ActionKind.INTERRUPT)),
    ("\x1bO\x03", Action(ActionKind.INTERRUPT)),
])  # fmt: skip
def test_actions(key: str, action: Action) -> None:
    editor = typed("hi")
    assert list(editor.feed(key.encode())) == [action]
    assert editor.text == ("" if action.kind is ActionKind.LINE else "hi")


def test_control_d_ends_input_on_an_empty_line_only() -> None:
    editor = typed("a", HOME, "\x04")
    assert list(editor.feed(b"\x04")) == [Action(ActionKind.END)]


def test_hanging_up_drops_the_half_typed_line() -> None:
    editor = typed("rm")
    assert editor.finish() == [Action(ActionKind.END)]
    assert editor.text == ""


def test_what_is_not_taken_waits() -> None:
    editor = Editor()
    assert next(editor.feed(b"one\ntwo\nthr")) == Action(ActionKind.LINE, "one")
    assert editor.text == ""
    assert list(editor.feed(b"ee\n")) == [Action(ActionKind.LINE, "two"), Action(ActionKind.LINE, "three")]


def test_bytes_that_are_no_utf8() -> None:
    editor = Editor()
    list(editor.feed(b"a\xff\xc3(\xe4\xb8\x1b[Db"))
    assert editor.text == "a\ufffd\ufffd(b\ufffd"


def test_a_lone_escape_settles() -> None:
    editor = typed("one two", "\x1b")
    editor.settle()
    typed("b", editor=editor)
    assert editor.text == "one twob"
    typed("\x1b[1", editor=editor)
    editor.settle()
    typed("x", editor=editor)
    assert editor.text == "one twobx"
    editor.settle()


@pytest.mark.parametrize(("pasted", "text"), [
    ("one\ntwo", "one two"),
    ("one\r\ntwo\rthree\n\n\nfour", "one two three four"),
    ("one\n", "one"),  # a password copied with its line end
    ("\n", ""),
    ("a\tb  c", "a b  c"),
    ("a\x1b[31mb\x03\x04\x1a\x15c", "a[31mbc"),
    ("a\x1b[200~b\x1b[20", "a[200~b[20"),
    ("a\x1b[201", "a[201"),
    ("中é😀", "中é😀"),
    ("", ""),
])  # fmt: skip
def test_pastes(pasted: str, text: str) -> None:
    stream = f"<\x1b[200~{pasted}\x1b[201~>".encode()
    whole, by_byte = Editor(), Editor()
    assert list(whole.feed(stream)) == []
    for index in range(len(stream)):
        # One byte of Ctrl+C alone is a person who wants out, see below.
        assert [action.kind for action in by_byte.feed(stream[index : index + 1])] in ([], [ActionKind.INTERRUPT])
    assert whole.text == f"<{text}>"
    assert by_byte.text == f"<{text}>"


def test_a_paste_without_end_can_be_interrupted_and_never_submits() -> None:
    editor = typed("\x1b[200~rm -r")
    assert list(editor.feed(b"\x03")) == [Action(ActionKind.INTERRUPT)]
    assert list(editor.feed(b"\n\x03\n")) == []
    assert list(editor.feed(b"\x1b[201~\n")) == [Action(ActionKind.LINE, "rm -r ")]


def test_a_line_has_a_limit() -> None:
    editor = typed("x" * (MAX_LENGTH - 1), "\x01", "中文")
    assert len(editor.text) == MAX_LENGTH
    assert editor.text.startswith("中x")
    assert editor.cursor == 1
    typed("\x1b[200~", "y" * 100_000, "\x1b[201~", editor=editor)
    assert len(editor.text) == MAX_LENGTH


def test_history_keeps_the_half_typed_line() -> None:
    editor = typed()
    list(editor.feed(b"one\ntwo\ntwo\n\nhalf"))
    assert editor.history == ["one", "two"]
    seen = []
    for key in (UP, "\x10", UP, "\x0e", DOWN, DOWN):
        typed(key, editor=editor)
        seen.append(editor.text)
    assert seen == ["two", "one", "one", "two", "half", "half"]


def test_a_recalled_line_is_changed_and_entered() -> None:
    editor = Editor()
    editor.history = ["one", "two"]
    assert list(editor.feed((UP + UP + "s\n" + UP).encode())) == [Action(ActionKind.LINE, "ones")]
    assert editor.text == "ones"
    assert editor.history == ["one", "two", "ones"]


def test_history_from_outside_is_not_trusted() -> None:
    editor = Editor()
    editor.history = ["evil\x1b[2J", *[str(number) for number in range(2 * MAX_HISTORY)]]
    list(editor.feed(b"last\n"))
    assert len(editor.history) == MAX_HISTORY
    editor.history = ["evil\x1b[2J"]
    typed(UP, editor=editor)
    assert editor.text == "evil[2J"
    editor.history = []
    typed(UP, DOWN, editor=editor)
    assert editor.text == ""


def test_history_can_be_switched_off() -> None:
    editor = Editor()
    editor.keep_history = False
    list(editor.feed(b"one\n"))
    assert editor.history == []


def test_a_secret_leaves_no_trace() -> None:
    editor = Editor(lambda before: ["never"])
    list(editor.feed(b"old\nhalf"))
    editor.secret = True
    assert editor.text == ""
    typed("pass word", UP, DOWN, "\t", "\x17", "\x15", editor=editor)
    assert list(editor.feed(b"secret\n")) == [Action(ActionKind.LINE, "secret")]
    typed("again", editor=editor)
    editor.secret = False
    typed("\x19", editor=editor)
    assert editor.text == ""
    assert editor.history == ["old"]


def test_name_and_password_in_one_read() -> None:
    editor = Editor()
    lines = []
    for action in editor.feed(b"facebook\nsecret\nhello\n"):
        lines.append((action.text, editor.secret))
        editor.secret = not editor.secret and len(lines) == 1
    assert lines == [("facebook", False), ("secret", True), ("hello", False)]
    assert editor.history == ["facebook", "hello"]


NAMES = ["columbia ", "csee4119 ", "columbus ", "facebook "]


def names(before: str) -> list[str]:
    head, space, word = before.rpartition(" ")
    return [head + space + name for name in NAMES if name.lower().startswith(word.lower())]


def completed(*keys: str, complete: Complete = names) -> str:
    editor = typed(*keys, editor=Editor(complete))
    return editor.text[: editor.cursor] + "|" + editor.text[editor.cursor :]


@pytest.mark.parametrize(("keys", "shown"), [
    (("message f\t",), "message facebook |"),
    (("message F\t",), "message facebook |"),
    (("message x\t",), "message x|"),
    (("message col\t",), "message columb|"),
    (("message col\t\t",), "message columbia |"),
    (("message col\t\t\t",), "message columbus |"),
    (("message col\t\t\t\t",), "message columbia |"),
    (("message col\t\x1b[Z",), "message columbus |"),
    (("message \t",), "message columbia |"),
    (("message \t\t",), "message csee4119 |"),
    (("message \x1b[Z\x1b[Z",), "message columbus |"),
    (("fx", LEFT, "\t"), "facebook |x"),
    (("f\tf\t",), "facebook facebook |"),
    (("f\t\t",), "facebook columbia |"),
    (("cx", LEFT, "\t\t"), "csee4119 |x"),
])  # fmt: skip
def test_completion(keys: tuple[str, ...], shown: str) -> None:
    assert completed(*keys) == shown


def test_completion_without_anyone_to_ask() -> None:
    assert line("a\tb") == "ab|"
    assert completed("a\t", complete=lambda before: []) == "a|"
    assert completed("a\t", complete=lambda before: ["a\x1b[2J\n", "a\x1b[2J\n"]) == "a[2J|"


def test_every_key_is_bound_once() -> None:
    assert sum(len(keys.split()) for _, keys in _BINDINGS) == len(KEYS)
    assert {"\x01", "\x1bb", "\x1b\x7f", "\x1b[A", "\x7f", "\r"} <= set(KEYS)


@pytest.mark.parametrize(("text", "width"), [
    ("", 0), ("abc", 3), ("中文", 4), (COMBINED, 1), ("é", 1), ("😀", 2), ("ｱ", 1), ("Ａ", 2), ("█", 1),
    ("\u1100\u1161\u11a8", 2), ("か\u3099", 2), ("\x1b", 0), ("\u200b", 0), ("नि", 2),
])  # fmt: skip
def test_display_width(text: str, width: int) -> None:
    assert display_width(text) == width


DOCTOR, FAMILY = "👩🏽\u200d⚕\ufe0f", "👨\u200d👩\u200d👧"


@pytest.mark.parametrize(("keys", "shown"), [
    ((DOCTOR, LEFT), f"|{DOCTOR}"),
    (("a", DOCTOR, "b", LEFT, LEFT), f"a|{DOCTOR}b"),
    ((FAMILY, HOME, RIGHT, "x"), f"{FAMILY}x|"),
    (("a", FAMILY, "\x7f"), "a|"),
    ((FAMILY, DOCTOR, HOME, "\x04"), f"|{DOCTOR}"),
    ((f"one {FAMILY}", "\x1bb"), f"one |{FAMILY}"),
    ((f"{FAMILY} one", HOME, "\x1bf"), f"{FAMILY}| one"),
    ((f"a{FAMILY}", "\x1b\x7f"), "|"),
    (("❤\ufe0f", "1\ufe0f\u20e3", LEFT), "❤\ufe0f|1\ufe0f\u20e3"),
    (("می", "\u200c", "خواهم", LEFT, LEFT, LEFT, LEFT, LEFT, LEFT), "م|ی\u200cخواهم"),
    (("\u200d", "a", "\u200d", "\u200d", "b"), "a\u200db|"),
    ((FAMILY, DOCTOR, "\x14"), f"{DOCTOR}{FAMILY}|"),
])  # fmt: skip
def test_a_cursor_never_stands_inside_a_character_of_several(keys: tuple[str, ...], shown: str) -> None:
    assert line(*keys) == shown


def test_a_finished_line_is_printable() -> None:
    for key in ("a\u200d\r", "a\u200db\r", f"{DOCTOR}\u200d\r", f"می\u200c{LEFT}\x7f\r"):
        (action,) = Editor().feed(key.encode())
        assert printable(action.text) == action.text


@pytest.mark.parametrize(("text", "shown"), [
    (DOCTOR, "👩⚕"), (FAMILY, "👨👩👧"), ("❤\ufe0f", "❤"), ("1\ufe0f\u20e3", "1\u20e3"), ("👍🏽", "👍"),
    ("🏽 a", "🏽 a"),
    ("می\u200cخواهم", "می\u200cخواهم"), ("क्\u200dष", "क्\u200dष"), ("😀中e\u0301", "😀中e\u0301"),
])  # fmt: skip
def test_what_is_drawn_has_one_width_on_every_terminal(text: str, shown: str) -> None:
    assert drawn(text) == shown
    for end in range(len(text)):
        assert drawn(text).startswith(drawn(text[:end]))


pieces = st.lists(
    st.one_of(
        st.sampled_from([*KEYS, "\x1b", "\x1b[", "\x1b[200~", "\x1b[201~", "\x1b[1;", "\x1b[99~", COMBINED, "中", " ",
                         DOCTOR, "\u200c", "\u200d", "\ufe0f", "❤"]),
        st.text(max_size=5),
    ),
    max_size=30,
)


@given(pieces)
def test_anything_typed_leaves_a_sound_line(keys: list[str]) -> None:
    editor = Editor(names)
    for key in keys:
        for action in editor.feed(key.encode("utf-8", "replace")):
            assert "\x1b" not in action.text and "\n" not in action.text
        assert visible(editor.text) == re.sub("[\u200c\u200d\ufe0f]", "", editor.text)
        assert 0 <= editor.cursor <= len(editor.text)
    assert all(printable(each) == each != "" for each in editor.history)


@given(pieces, st.integers(1, 4))
def test_where_reads_are_cut_does_not_matter(keys: list[str], size: int) -> None:
    # Without Ctrl+C, see test_a_paste_without_end_can_be_interrupted_and_never_submits.
    stream = re.sub("\x03", "", "".join(keys)).encode("utf-8", "replace")
    whole, cut = Editor(names), Editor(names)
    actions = list(whole.feed(stream))
    parts = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert [action for part in parts for action in cut.feed(part)] == actions
    assert (cut.text, cut.cursor, cut.history) == (whole.text, whole.cursor, whole.history)


def clusters(text: str) -> list[str]:
    found: list[str] = []
    for char in text:
        if found and unicodedata.category(char).startswith("M"):
            found[-1] += char
        else:
            found.append(char)
    return found


MOVES = {LEFT: -1, RIGHT: 1}


@given(st.lists(st.sampled_from([LEFT, RIGHT, HOME, END, "\x7f", "\x04x", "a", COMBINED, "中", "\x0b"]), max_size=40))
def test_against_a_list_of_characters(keys: list[str]) -> None:
    editor, model, at = Editor(), list[str](), 0
    for key in keys:
        if key == "\x04x":
            if not model:
                continue  # that would be the end of input
            model[at : at + 1] = ["x"]
            at += 1
        elif key == "\x7f":
            model[max(at - 1, 0) : at] = []
            at = max(at - 1, 0)
        elif key == "\x0b":
            del model[at:]
        elif key in (LEFT, RIGHT, HOME, END):
            at = {HOME: 0, END: len(model)}.get(key, max(0, min(len(model), at + MOVES.get(key, 0))))
        else:
            model.insert(at, key)
            at += 1
        typed(key, editor=editor)
        assert clusters(editor.text) == model
        assert editor.cursor == len("".join(model[:at]))
