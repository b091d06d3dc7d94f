"""Ctrl+R, undo and what Tab offers: what the table of keys does not show."""

from __future__ import annotations

import pytest

from chatlib.terminal.candidates import Candidates, Offered
from chatlib.terminal.editor import Action, ActionKind, Editor
from chatlib.terminal.lookback import Find, Lookback
from chatlib.terminal.screen import choices, shown

SEARCH, UNDO, UP, DOWN = "\x12", "\x1f", "\x1b[A", "\x1b[B"
LINES = ("message ann hi", "whoelse", "message bob hi", "whoelse", "whoelse", "İ hi")


def typed(keys: str, *history: str) -> tuple[Editor, list[Action]]:
    editor = Editor()
    editor.history = list(history or LINES)
    return editor, list(editor.feed(keys.encode()))


def test_each_step_of_a_search_can_be_taken_back() -> None:
    search = Lookback(LINES)
    seen = []
    for step in ("m", "e", "ss", None, None, None, "x"):
        search.more(step) if step else search.older()
        seen.append((search.now.wanted, search.line, search.now.failed))
    assert seen == [
        ("m", "message bob hi", False), ("me", "message bob hi", False), ("mess", "message bob hi", False),
        ("mess", "message ann hi", False), ("mess", "message ann hi", True), ("mess", "message ann hi", True),
        ("messx", "message ann hi", True),
    ]  # fmt: skip
    back = []
    for _ in range(12):
        search.back()
        back.append((search.now.wanted, search.line))
    assert back[:4] == [("mess", "message ann hi")] * 3 + [("mess", "message bob hi")]
    assert back[4:] == [("mes", "message bob hi"), ("me", "message bob hi"), ("m", "message bob hi"), *[("", None)] * 5]


def test_equal_lines_are_one_find_and_newer_goes_back() -> None:
    search = Lookback(LINES)
    search.more("WHO")
    search.older()
    assert search.now == Find("WHO", 4, True), "all lines before it that hold the word are the same"
    search.newer()
    assert search.now.failed
    search = Lookback(LINES)
    search.more("hi")
    assert (search.line, search.column) == ("İ hi", 2), "also where small letters are longer than capitals"
    search.older()
    search.older()
    search.newer()
    assert search.line == "message bob hi" and search.column == 12


def test_what_was_searched_for_last_is_searched_for_again() -> None:
    editor, _ = typed(f"{SEARCH}bob\x05\x15{SEARCH}{SEARCH}")
    assert editor.text == "message bob hi" and editor.search == Find("bob", 2, False)


def test_enter_sends_what_was_found_but_nothing_when_nothing_was() -> None:
    editor, actions = typed(f"half{SEARCH}bob\r")
    assert actions == [Action(ActionKind.LINE, "message bob hi")]
    editor, actions = typed(f"half{SEARCH}zzz\r")
    assert actions == [] and editor.text == "half" and editor.search is None
    editor, actions = typed(f"half{SEARCH}bobz\r")
    assert actions == [] and editor.text == "half"


def test_keys_that_end_a_search_do_what_they_always_do() -> None:
    assert typed(f"half{SEARCH}bob{UP}")[0].text == "whoelse"
    assert typed(f"half{SEARCH}bob{UP}{DOWN}{DOWN}{DOWN}{DOWN}{DOWN}")[0].text == "half", "behind the last line"
    assert typed(f"half{SEARCH}bob\x05!{UNDO}")[0].text == "message bob hi"
    assert typed(f"half{SEARCH}bob\x05!{UNDO}{UNDO}")[0].text == "half"
    editor, actions = typed(f"half{SEARCH}bob\x03")
    assert (editor.text, editor.search, actions) == ("half", None, [])
    assert typed(f"half{SEARCH}\x1b[200~bob\x1b[201~")[0].text == "message bob hi", "what is searched for may be pasted"


def test_a_search_shows_nothing_that_would_move_the_cursor() -> None:
    editor, _ = typed(f"{SEARCH}evil", "evil\x1b[2J")
    assert editor.text == "evil[2J"
    editor, _ = typed(f"{SEARCH}ev\u202eil", "evil")
    assert editor.search == Find("evil", 0, False)


def test_of_a_secret_nothing_is_searched_or_undone() -> None:
    editor = Editor()
    editor.history = list(LINES)
    editor.secret = True
    assert list(editor.feed(f"secret{SEARCH}bob\x17{UNDO}".encode())) == [] and editor.text == ""
    assert list(editor.feed(b"topsecret")) == [] and not editor._undo
    editor.secret = False
    assert list(editor.feed(UNDO.encode())) == [] and editor.text == ""


def test_undo_goes_back_word_by_word_to_the_empty_line_and_no_further() -> None:
    editor, _ = typed("one two  three")
    seen = []
    for _ in range(4):
        list(editor.feed(UNDO.encode()))
        seen.append(editor.text)
    assert seen == ["one two  ", "one ", "", ""]
    list(editor.feed(b"line\r" + UNDO.encode()))
    assert editor.text == "", "what was sent is not taken back"


def test_undo_takes_back_a_completion_and_a_line_that_was_recalled() -> None:
    editor = Editor(lambda before: ["message ann "])
    list(editor.feed(f"mess\t{UNDO}".encode()))
    assert editor.text == "mess"
    editor.history = ["whoelse"]
    list(editor.feed(f"{UP}{UNDO}{UNDO}".encode()))
    assert editor.text == ""


def test_what_can_be_undone_is_bounded() -> None:
    editor, _ = typed("word " * 1_000)
    assert len(editor._undo) == 200
    list(editor.feed((UNDO * 300).encode()))
    assert editor.text == "word " * 800


@pytest.mark.parametrize(("lines", "names"), [
    (["message ann ", "message bob "], ("ann", "bob")),
    (["file ann docs/a b", "file ann docs/c"], ("a b", "c")),
    (["online users", "online"], ("online users", "online")),
    (["file ann docs/", "file ann docs/x"], ("docs/", "docs/x")),
    (["stop", "stats", "stop"], ("stop", "stats")),
    (["a\x1b[2J", "ab"], ("a[2J", "ab")),
])  # fmt: skip
def test_of_each_candidate_the_part_is_offered_that_tells_it_from_the_others(
    lines: list[str], names: tuple[str, ...]
) -> None:
    assert Candidates(lines).offered == Offered(names, max(map(len, names)), None)


def test_one_candidate_is_no_choice() -> None:
    assert Candidates(["message ann "]).offered is None and Candidates([]).offered is None


NAMES = tuple(f"user{number}" for number in range(10))


@pytest.mark.parametrize(("chosen", "columns", "height", "rows"), [
    (None, 80, 5, ["  ".join(NAMES)]),
    (None, 24, 9, ["user0  user1  user2", "user3  user4  user5", "user6  user7  user8", "user9"]),
    (None, 24, 2, ["user0  user1  user2", "1 to 3 of 10"]),
    (4, 24, 2, ["user3  user4  user5", "4 to 6 of 10"]),
    (9, 24, 3, ["user6  user7  user8", "user9", "7 to 10 of 10"]),
    (5, 24, 1, ["user3  user4  user5"]),
    (None, 4, 2, ["user0", "1 to 1 of 10"]),
    (None, 80, 0, []),
])  # fmt: skip
def test_as_many_candidates_as_there_is_room_for(
    chosen: int | None, columns: int, height: int, rows: list[str]
) -> None:
    found = choices(Offered(NAMES, 5, chosen), columns, height)
    assert ["".join(map(shown, row)) for row in found] == rows
