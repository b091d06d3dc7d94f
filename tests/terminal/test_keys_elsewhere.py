"""What keys do here, in GNU readline and in zsh, and why not the same where they differ.

Both are asked, where they are there: Python has readline, or another editor in its place; zsh may be missing.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatlib.terminal.editor import Editor
from tests.terminal import shells
from tests.terminal.shells import HISTORY, Shell

SAME = None
# keys, the line that comes of them (| is where the cursor stands, typed behind them), readline's, zsh's, why
TABLE: list[tuple[str, str, str | None, str | None, str]] = [
    ("abc\x1b[D", "ab|c", SAME, SAME, ""),
    ("abc\x01\x1b[C", "a|bc", SAME, SAME, ""),
    ("abc\x01x", "x|abc", SAME, SAME, ""),
    ("abc\x01\x1b[F", "abc|", SAME, "|abc", "zsh binds no End by itself"),
    ("abc\x01\x06", "a|bc", SAME, SAME, ""),
    ("abc\x02\x02\x05", "abc|", SAME, SAME, ""),
    ("abc\x1b[1~", "|abc", "abc|", "abc~|", "another Home; neither binds it by itself"),
    ("abc\x01\x1b[3~", "|bc", SAME, "~|abc", "zsh binds no Delete by itself"),
    ("abc\x7f", "ab|", SAME, SAME, ""),
    ("abc\x08", "ab|", SAME, SAME, ""),
    ("abc\x01\x7f", "|abc", SAME, SAME, ""),
    ("abc\x01\x04", "|bc", SAME, SAME, ""),
    ("abc\x04", "abc|", SAME, SAME, ""),
    ("one two\x1bb", "one |two", SAME, SAME, ""),
    ("one, two\x1bb\x1bb", "|one, two", SAME, SAME, ""),
    ("one two\x01\x1bf", "one| two", SAME, "one |two", "zsh goes to the start of the next word"),
    ("one, two\x01\x1bf\x1bf", "one, two|", SAME, SAME, ""),
    ("one-two three\x1b[1;5D\x1b[1;5D\x1b[1;5D", "|one-two three", SAME, "one-two three;5D;5D;5D|",
     "zsh binds no Ctrl+left by itself"),
    ("one two\x01\x1b[1;5C", "one| two", SAME, ";5C|one two", "zsh binds no Ctrl+right by itself"),
    ("one two\x01\x1bd", "| two", SAME, SAME, ""),
    ("one two three\x01\x1bd\x1bd", "| three", SAME, SAME, ""),
    ("one two\x1b\x7f", "one |", SAME, SAME, ""),
    ("one-two\x1b\x7f", "one-|", SAME, "|", "to zsh a dash is part of a word"),
    ("one two-three\x17", "one |", SAME, SAME, ""),
    ("one two  \x17", "one |", SAME, SAME, ""),
    ("one two\x01\x0b", "|", SAME, SAME, ""),
    ("one two\x1bb\x0b", "one |", SAME, SAME, ""),
    ("one two\x1bb\x15", "|two", SAME, "|", "in zsh Ctrl+U cuts the whole line"),
    ("one two\x15", "|", SAME, SAME, ""),
    ("one two\x17\x19", "one two|", SAME, SAME, ""),
    ("one two three\x17\x17\x19", "one two three|", SAME, SAME, ""),
    ("one two\x01\x0b\x19\x19", "one twoone two|", SAME, SAME, ""),
    ("one two\x01\x1bd\x1b[F\x19", " twoone|", SAME, "one| two", "zsh binds no End by itself"),
    ("one two\x17x\x17\x19", "one x|", "one xtwo|", SAME, "typing between two cuts parts them, as in zsh"),
    ("ab\x14", "ba|", SAME, SAME, ""),
    ("abc\x1b[D\x14", "acb|", SAME, SAME, ""),
    ("abc\x01\x14", "|abc", SAME, "ba|c", "at the start there is nothing to swap with"),
    ("a\x14", "a|", SAME, SAME, ""),
    ("abcd\x1b[D\x1b[D\x14", "acb|d", SAME, SAME, ""),
    ("\x1b[A", "red herring|", SAME, SAME, ""),
    ("\x1b[A\x1b[A", "two fish|", SAME, SAME, ""),
    ("\x1b[A\x1b[A\x1b[B", "red herring|", SAME, SAME, ""),
    ("half\x1b[A\x1b[B", "half|", SAME, SAME, ""),
    ("half\x1b[A\x1b[B\x1f", "|", SAME, "hal|", "zsh undoes single letters"),
    ("half\x10\x0e", "half|", SAME, SAME, ""),
    ("\x1b[As\x1b[A\x1b[B", "red herring|", "red herrings|", "red herrings|",
     "what was sent stays as it was sent: changes to a line are not kept in the history"),
    ("\x1b[A\x1b[A\x1b[A\x1b[A", "one fish|", SAME, SAME, ""),
    ("x\x1b[A\x1b[A\x1f", "x|", "two fish|", SAME, "undo goes back to the half-typed line, as in zsh"),
    ("\x1b[As\x1f", "red herring|", SAME, SAME, ""),
    ("half\x1b[A\x1b[B\x15\x1f", "half|", SAME, SAME, ""),
    ("abc\x1f", "|", SAME, "ab|", "zsh undoes single letters"),
    ("one two three\x1f", "one two |", "|", "one two thre|",
     "a word at a time: readline's twenty letters are too many, zsh's one too few"),
    ("one two three\x17\x1f", "one two three|", SAME, SAME, ""),
    ("one two\x01\x0b\x1f", "|one two", "one two|", SAME, "the cursor is again where it was, as in zsh"),
    ("one\x15two\x1f", "|", SAME, "tw|", "zsh undoes single letters"),
    ("abc\x7f\x7f\x1f", "ab|", SAME, SAME, ""),
    ("ab\x14\x1f", "ab|", "a|b", SAME, "the cursor is again where it was, as in zsh"),
    ("x\x1b[A\x1f", "x|", "red herring|", SAME, "undo goes back to the half-typed line, as in zsh"),
    ("abc\x18\x15", "|", SAME, "ab|", "no key has a prefix here: Ctrl+X is none, and Ctrl+U cuts"),
    ("\x12fish\x05", "two fish|", SAME, SAME, ""),
    ("\x12fish\x12\x05", "one fish|", SAME, SAME, ""),
    ("\x12fish\x12\x12\x05", "one fish|", SAME, SAME, ""),
    ("\x12FISH\x05", "two fish|", "|", "|", "capitals make no difference: people search for words, not for commands"),
    ("\x12tw\x05", "two fish|", SAME, SAME, ""),
    ("half\x12fish\x07", "half|", SAME, SAME, ""),
    ("\x12fish\x12\x7f\x05", "two fish|", "one fish|", SAME, "Backspace takes back the last step, as in zsh"),
    ("\x12fisx\x7f\x7f\x05", "two fish|", "one fish|", SAME, "Backspace takes back the last step, as in zsh"),
    ("half\x12zzz\x05", "half|", SAME, SAME, ""),
    ("\x12fish\x05\x15\x12\x12\x05", "two fish|", "one fish|", "one fish|",
     "a search begins with the newest line, wherever the last one ended"),
    ("\x12fish\x01", "|two fish", SAME, SAME, ""),
    ("\x12fish\x12\x13\x05", "two fish|", "one fish|", "one fish|",
     "Ctrl+S goes on at once; theirs first turns round and finds the same line"),
    ("\x12fish\x17", "|fish", "two fish", "two fish",
     "any other key ends the search and does what it always does; theirs adds a word to the search, or a beep"),
    ("\x12fish\x1b[A\x05", "one fish|", SAME, SAME, ""),
    ("\x12fish\x1b[B\x05", "red herring|", SAME, SAME, ""),
    ("\x12two\x06", "t|wo fish", SAME, SAME, ""),
    ("one\x1b[200~two\nthree\x1b[201~", "onetwo three|", "onetwo\r\nthree|", "onetwo\r\nthree|",
     "a message is one line"),
    ("one\x1b[200~ two three\x1b[201~\x1f", "one|", SAME, SAME, ""),
    ("one two\x1bt", "one twot|", "two one|", "two one|", "swapping words is not there"),
    ("one two\x01\x1bu", "u|one two", "ONE| two", "ONE| two", "changing case is not there"),
    ("one two\x01\x1bc", "c|one two", "One| two", "One| two", "changing case is not there"),
    ("a\x11b", "ab|", SAME, "b|", "Ctrl+Q is no key here; zsh puts the line aside"),
    ("one\x1b.", "one.|", "oneherring|", "onered herring|", "the last word of the line before is not there"),
    ("abc\x1da", "abca|", "abc|", SAME, "a search for a letter is not there"),
    ("one two\x1by", "one twoy|", "one two|", "one two|", "older cuts are not there"),
    ("abc\x16\x01", "|abc", "abc\x01|", "abc\x01|", "a control character can be in no message"),
    ("abc\x1b[15~", "abc|", "abc~|", "abc5~|", "what a key sends that nobody knows is not text"),
    ("中文[D", "中|文", SAME, SAME, ""),
    ("e\u0301x\x1b[D\x7f", "|x", SAME, "e|x", "zsh lets the cursor between a letter and its accent"),
    ("a\u0301\x1b[D", "|a\u0301", SAME, "a|\u0301", "zsh lets the cursor between a letter and its accent"),
]  # fmt: skip


def test_there_are_sixty_at_least_and_each_difference_is_explained() -> None:
    assert len({keys for keys, *_ in TABLE}) == len(TABLE) >= 60
    for keys, ours, readline, zsh, why in TABLE:
        differs = any(other not in (SAME, ours) for other in (readline, zsh))
        assert bool(why) is differs, keys


@pytest.mark.parametrize(("keys", "line"), [(keys, ours) for keys, ours, *_ in TABLE])
def test_ours(keys: str, line: str) -> None:
    editor = Editor()
    editor.history = list(HISTORY)
    assert list(editor.feed(f"{keys}|".encode())) == []
    assert editor.text == line


@pytest.mark.parametrize(("start", "column"), [(shells.readline, 2), (shells.zsh, 3)])
def test_theirs(start: Callable[[], Shell | None], column: int) -> None:
    shell = start()
    if shell is None:
        pytest.skip("it is not on this machine")
    found = {}
    for row in TABLE:
        found[row[0]] = shell.after(row[0])
        if "\x12" in row[0]:  # the next search would begin where this one ended
            shell.close()
            shell = start()
            assert shell
    shell.close()
    assert found == {row[0]: row[column] or row[1] for row in TABLE}
