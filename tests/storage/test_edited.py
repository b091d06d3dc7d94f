"""The files that people edit: nothing that a person wrote is lost, whatever the server writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatlib.storage import edited as module
from chatlib.storage import textfile
from chatlib.storage.edited import EditedFile, Line
from chatlib.storage.exchange import mend
from chatlib.storage.textfile import FileError


def opened(folder: Path, known: Callable[[str], bool] = lambda name: True) -> EditedFile:
    return EditedFile(folder / "file.txt", folder / "file.base", str.lower, known)


def text(folder: Path) -> str:
    return (folder / "file.txt").read_bytes().decode()


def write(folder: Path, held: str) -> None:
    (folder / "file.txt").write_text(held, encoding="utf-8", newline="")


def changes(file: EditedFile) -> dict[str, str | None]:
    return {name: line and line.value for name, line in file.edits().items()}


def test_a_new_file(tmp_path: Path) -> None:
    file = opened(tmp_path)
    assert file.read() == ([], {})
    assert file.edits() == {}
    assert file.write({"Bob": "v1", "amy": "v2"}) is True
    assert text(tmp_path) == "Bob v1\namy v2\n"
    assert file.write({"Bob": "v1", "amy": "v2"}) is False
    assert opened(tmp_path).edits() == {}
    assert oct((tmp_path / "file.txt").stat().st_mode)[-3:] == "600"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.base", "file.txt"]


def test_the_first_read_takes_everything_as_edited(tmp_path: Path) -> None:
    write(tmp_path, "# users\nBob secret one\n\n  amy\tpw  ")  # no last newline
    file = opened(tmp_path)
    assert file.edits() == {"Bob": Line(2, "Bob", "secret one"), "amy": Line(4, "amy", "pw")}
    file.remember(file.edits())
    assert file.edits() == {}
    assert file.write({"Bob": "v1", "amy": "v2"})
    assert text(tmp_path) == "# users\nBob v1\n\namy v2\n"
    assert opened(tmp_path).edits() == {}


def test_each_way_to_edit(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.write({"amy": "1", "bob": "2", "cyd": "3"})
    write(tmp_path, "bob two\n# cyd is gone\nAmy 1\ndan\nEve 5 five")
    assert changes(file) == {"bob": "two", "cyd": None, "dan": "", "Eve": "5 five"}
    # Until it is taken in, a rewrite leaves it as it is, and what was not touched is written.
    assert file.write({"amy": "one", "bob": "2", "cyd": "3"})
    assert text(tmp_path) == "bob two\n# cyd is gone\namy one\ndan\nEve 5 five\n"
    assert changes(file) == changes(opened(tmp_path)) == {"bob": "two", "cyd": None, "dan": "", "Eve": "5 five"}
    file.remember(file.edits())
    assert changes(file) == {}
    file.write({"amy": "one", "bob": "two!", "dan": "4", "Eve": "5"})
    assert text(tmp_path) == "bob two!\n# cyd is gone\namy one\ndan 4\nEve 5\n"


def test_comments_order_and_unknown_lines_survive(tmp_path: Path) -> None:
    held = "# head\n\nOLD 5\n  # indented\nmaxcon 3\nnonsense\n\x0c# page\u2028two\n# TIME_OUT 7\nTIME_OUT 9\n#tail\n"
    write(tmp_path, held)
    file = opened(tmp_path, known=lambda name: name.upper() in ("MAXCON", "TIME_OUT", "NEW"))
    assert changes(file) == {"maxcon": "3", "TIME_OUT": "9"}
    file.remember(file.edits())
    file.write({"maxcon": "4", "TIME_OUT": "9", "NEW": "1"})
    assert text(tmp_path) == held.replace("maxcon 3", "maxcon 4") + "NEW 1\n"


def test_lines_with_windows_ends_are_lines(tmp_path: Path) -> None:
    write(tmp_path, "# head\r\namy pw\r\nbob pw\r\n")
    file = opened(tmp_path)
    assert changes(file) == {"amy": "pw", "bob": "pw"}


def test_a_user_that_the_server_removes_leaves_the_file(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.write({"amy": "1", "bob": "2", "cyd": "3"})
    write(tmp_path, "# a\namy 1\n# b\nbob 2\n# c\ncyd three\n")
    file.write({"amy": "1"})
    assert text(tmp_path) == "# a\namy 1\n# b\n# c\ncyd three\n", "a line with an edit stays until it is taken in"
    assert changes(file) == {"cyd": "three"}


def test_a_file_that_is_missing_altogether_takes_nothing_away(tmp_path: Path) -> None:
    opened(tmp_path).write({"amy": "1", "bob": "2"})
    (tmp_path / "file.txt").unlink()
    file = opened(tmp_path)
    assert file.edits() == {}
    assert file.write({"amy": "1", "bob": "2"})
    assert text(tmp_path) == "amy 1\nbob 2\n"


def test_an_emptied_file_takes_everything_away(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.write({"amy": "1", "bob": "2"})
    write(tmp_path, "")
    assert changes(file) == {"amy": None, "bob": None}


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    write(tmp_path, "# users\nBob one\namy x\nBOB two\n")
    with pytest.raises(FileError, match=r"file\.txt, line 4: BOB stands in line 2 already; keep one"):
        opened(tmp_path).edits()


def test_a_name_that_stands_twice_is_left_alone_and_keeps_nothing_else_from_being_written(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.write({"Bob": "1", "amy": "2"})
    write(tmp_path, text(tmp_path) + "BOB two\n")
    file = opened(tmp_path)
    assert file.write({"Bob": "new", "amy": "new", "cyd": "3"})
    assert file.left_alone == [f"{tmp_path}/file.txt, line 3: BOB stands in line 1 already; keep one"]
    assert text(tmp_path) == "Bob 1\namy new\nBOB two\ncyd 3\n"
    assert file.write({"Bob": "new", "amy": "new", "cyd": "3"}) is False
    assert len(file.left_alone) == 1, "it is said each time"
    write(tmp_path, text(tmp_path).replace("Bob 1\n", ""))
    assert changes(file) == changes(opened(tmp_path)) == {"BOB": "two"}, "once one is left, it is an edit"
    write(tmp_path, text(tmp_path).replace("BOB two", "Bob 1"))
    assert changes(file) == changes(opened(tmp_path)) == {}, "or none"
    file.write({"Bob": "new", "amy": "new", "cyd": "3"})
    assert (text(tmp_path), file.left_alone) == ("amy new\nBob new\ncyd 3\n", [])


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_bytes(b"amy 1\nb\xe9b 2\n")
    with pytest.raises(FileError, match=r"file\.txt: not UTF-8 \(byte 8\)"):
        opened(tmp_path).edits()


@pytest.mark.parametrize("base", ["", "{", "[]", "7", "null", "\x00"])
def test_a_base_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, base: str) -> None:
    (tmp_path / "file.base").write_text(base)
    with pytest.raises(FileError, match=r"file\.base: .*it may be removed"):
        opened(tmp_path)


def test_what_another_process_wrote_is_read_again(tmp_path: Path) -> None:
    parent, child = opened(tmp_path), opened(tmp_path)
    child.write({"amy": "1"})
    assert changes(parent) == {"amy": "1"}
    parent.refresh()
    assert changes(parent) == {}


# A crash while writing.


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("step", range(1, 14))
@pytest.mark.parametrize("by_hand", ["", "dan 4\n", "bob by-hand\n"])
def test_a_crash_at_any_step_of_a_write_makes_no_edit_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, by_hand: str
) -> None:
    """In particular between the two renames: the file is newer than its base."""
    file = opened(tmp_path)
    file.write({"amy": "1", "bob": "2", "cyd": "3"})
    held = text(tmp_path)
    write(tmp_path, held.replace("bob 2\n", by_hand) if by_hand.startswith("bob") else held + by_hand)
    edits = changes(file)
    count = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                raise Crash
            return real(*args)

        return call

    wanted = {"amy": "one", "bob": "2", "eve": "5"}  # one changed, one removed, one new
    with monkeypatch.context() as patched:
        for name in ("open", "fsync", "replace", "rename", "link"):
            patched.setattr(textfile.os, name, counted(getattr(os, name)))
        assert module.os is textfile.os
        try:
            file.write(wanted)
        except Crash:
            pass
        else:
            assert count < step
    mend(tmp_path / "file.txt")  # as each start does
    again = opened(tmp_path)
    assert changes(again) == edits
    again.write(wanted)
    assert changes(again) == changes(opened(tmp_path)) == edits
    again.remember(again.edits())
    world = {**wanted, **{name: value for name, value in edits.items() if value is not None}}
    again.write(world)
    lines = sorted(line for line in text(tmp_path).splitlines())
    assert lines == sorted(f"{name} {value}" for name, value in world.items())
    assert not (tmp_path / "file.next").exists()


# A person saves while the server writes.


@pytest.mark.parametrize("step", range(1, 7))
@pytest.mark.parametrize("kind", ["changed", "removed", "new"])
@pytest.mark.parametrize("again", [False, True], ids=["", "and again"])
def test_an_edit_at_any_step_of_a_write_is_there_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, kind: str, again: bool
) -> None:
    file = opened(tmp_path)
    file.write({"amy": "1", "bob": "2", "cyd": "3"})
    count = 0

    def save() -> None:
        nonlocal count
        count += 1
        if count != step and not (again and count == step + 6):
            return
        try:
            held = text(tmp_path)
        except FileNotFoundError:  # for an instant, and an editor that was quicker has the file open
            held = (tmp_path / ".file.txt.old").read_text()
        if kind == "changed":
            held = held.replace("bob 2\n", "bob by-hand\n")
        elif kind == "removed":
            held = held.replace("bob 2\n", "")
        elif "dan" not in held:
            held += "dan by-hand\n"
        write(tmp_path, held + f"# {count}\n")

    monkeypatch.setattr(textfile, "pause", save)
    wanted = {"amy": "one", "bob": "2", "eve": "5"}
    file.write(wanted)
    edit = {"changed": {"bob": "by-hand"}, "removed": {"bob": None}, "new": {"dan": "by-hand"}}[kind]
    found = changes(file)
    assert found == changes(opened(tmp_path)) == edit
    assert f"# {step}\n" in text(tmp_path) and file.left_alone == []
    count = 100
    file.write(wanted)
    assert "amy one\n" in text(tmp_path) and "eve 5\n" in text(tmp_path) and "cyd" not in text(tmp_path)
    assert changes(file) == found


def test_a_file_that_is_saved_all_the_time_is_left_to_its_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(tmp_path)
    file.write({"amy": "1"})
    monkeypatch.setattr(textfile, "pause", lambda: (tmp_path / "file.txt").open("a").write("#"))
    with pytest.raises(FileError, match="was saved again and again while the server was about to write it"):
        file.write({"amy": "2"})
    monkeypatch.undo()
    assert text(tmp_path).startswith("amy 1\n#")
    assert changes(opened(tmp_path)) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.base", "file.txt"]


def test_a_flipped_bit_of_a_base_is_found(tmp_path: Path) -> None:
    opened(tmp_path).write({"amy": "1", "bob": "2"}, 7)
    whole = (tmp_path / "file.base").read_bytes()
    assert opened(tmp_path).lsn == 7
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "file.base").write_bytes(flipped)
        with pytest.raises(FileError, match=r"file\.base: damaged .*it may be removed"):
            opened(tmp_path)


def test_a_base_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "file.base").write_text('{"amy": "1", "lines": "2"}')
    write(tmp_path, "amy 1\nlines 3\n")
    file = opened(tmp_path)
    assert (file.lsn, changes(file)) == (0, {"lines": "3"})


# Hands and server at once: a model in which the server takes in what it reads, and people write what they want.

NAMES = st.sampled_from(["amy", "bob", "cyd", "dan"])
VALUES = st.sampled_from(["1", "2", "two words", "3"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hand"), NAMES, VALUES),
        st.tuples(st.just("hand"), NAMES, st.none()),
        st.tuples(st.just("comment"), st.integers(0, 9), VALUES),
        st.tuples(st.just("world"), NAMES, VALUES | st.none()),
        st.tuples(st.just("take")),
        st.tuples(st.just("write")),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


@given(STEPS)
@example([("hand", "amy", "1"), ("take",), ("hand", "amy", None), ("comment", 0, "1"), ("world", "amy", None),
          ("write",), ("take",)])  # fmt: skip
def test_an_edit_by_hand_is_never_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("home")
    file = opened(folder)
    world: dict[str, str] = {}
    pending: dict[str, str | None] = {}  # what hands did that the server has not taken in
    base: dict[str, str] = {}  # what the server last wrote or took in
    comments: list[str] = []
    write(folder, "")

    def lines() -> list[str]:
        return text(folder).splitlines()

    def written() -> None:
        """What was removed by hand, and is gone from the world by itself, is not waited for any more."""
        for name in [name for name, value in pending.items() if value is None and name not in world]:
            del pending[name]
        for name in [name for name in base if name not in pending]:
            del base[name]
        base.update({name: value for name, value in world.items() if name not in pending})

    for act, *words in steps:
        if act == "hand":
            name, value = words
            kept = [line for line in lines() if line.split()[0] != name]
            if value is not None:
                kept.insert(len(kept) // 2, f"{name}  {value}")
            write(folder, "".join(line + "\n" for line in kept))
            pending[name] = value
            if base.get(name) == value:
                del pending[name]  # as the server left it
        elif act == "comment":
            comments.append(f"# {words[1]} {len(comments)}")
            kept = lines()
            kept.insert(words[0] % (len(kept) + 1), comments[-1])
            write(folder, "\n".join(kept))  # and no last newline
        elif act == "world":
            name, value = words
            if value is None:
                world.pop(name, None)
            else:
                world[name] = value
        elif act == "take":
            found = file.edits()
            assert {name: line and line.value for name, line in found.items()} == pending
            for name, line in found.items():
                if line is None:
                    world.pop(name, None)
                    base.pop(name, None)
                else:
                    world[name] = base[name] = line.value
            file.remember(found)
            pending.clear()
        elif act == "restart":
            # Before a stop the server writes; edits that wait are found again.
            file.write(world)
            file = opened(folder)
            written()
        else:
            file.write(world)
            written()
        held = dict(line.split(None, 1) for line in lines() if not line.startswith("#"))
        for name, value in pending.items():
            assert held.get(name) == value, "what a hand wrote is as the hand wrote it"
        assert sorted(line for line in lines() if line.startswith("#")) == sorted(comments)
        if act in ("write", "restart"):
            assert {name: value for name, value in held.items() if name not in pending} == {
                name: value for name, value in world.items() if name not in pending
            }
    file.remember(file.edits())
    final = {**world, **{name: value for name, value in pending.items() if value is not None}}
    for name, value in pending.items():
        if value is None:
            final.pop(name, None)
    file.write(final)
    held = dict(line.split(None, 1) for line in lines() if not line.startswith("#"))
    assert held == final
    assert sorted(line for line in lines() if line.startswith("#")) == sorted(comments)
    assert not steps or opened(folder).edits() == {}


# A line written by a program as a person would.


def test_a_line_that_is_put_counts_as_an_edit_and_touches_no_other(tmp_path: Path) -> None:
    write(tmp_path, "# mine\nann 1\n\nBob 2\n")
    file = opened(tmp_path)
    file.remember(file.edits())
    file.write({"ann": "1", "Bob": "2"}, 1)
    other = opened(tmp_path)
    assert other.put("bob", "3") == [] and other.put("cid", "4") == []
    assert text(tmp_path) == "# mine\nann 1\n\nbob 3\ncid 4\n"
    assert changes(file) == {"bob": "3", "cid": "4"}, "whoever reads the file takes it for a person's"


def test_a_line_is_put_into_a_new_file(tmp_path: Path) -> None:
    assert opened(tmp_path).put("ann", "1") == []
    assert text(tmp_path) == "ann 1\n"


def test_a_line_that_stands_twice_is_named_and_nothing_is_put(tmp_path: Path) -> None:
    write(tmp_path, "ann 1\nann 2\n")
    with pytest.raises(FileError, match="line 2: ann stands in line 1 already"):
        opened(tmp_path).put("ann", "3")
    assert text(tmp_path) == "ann 1\nann 2\n"


def test_a_file_that_is_saved_again_and_again_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "exchange", lambda *_: False)
    with pytest.raises(FileError, match="saved again and again"):
        opened(tmp_path).put("ann", "3")
