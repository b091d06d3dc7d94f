"""The message store in segments: lines come back across them, a start cuts them, and the oldest may go."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.storage import messages
from chatlib.storage.messagefiles import HEADER, START, listing, prove
from chatlib.storage.messages import MessageStore, at_rest
from chatlib.storage.textfile import FileError

LIMIT = 100  # bytes of a segment


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "message_rep.txt"


def read_many(store: MessageStore, offsets: list[int]) -> list[bytes | Exception]:
    """The events, or why they cannot be read."""
    return [found[1] if isinstance(found, tuple) else found for found in store.read_many(offsets)]


class Filled:
    """A store of many small segments, closed; where its lines stand."""

    def __init__(self, path: Path, count: int = 24) -> None:
        store = MessageStore(path, START, segment=LIMIT)
        self.path, self.offsets, self.end = path, list[int](), START
        self.texts = [b'{"seq":%d}\n' % number for number in range(count)]
        for text in self.texts:
            store.append(b" bob " + text)
            self.offsets.append(self.end)
            self.end += len(at_rest(b" bob " + text))
            store.flush()
        store.sync()
        self.bases = list(store.begins)
        store.close()

    def open(self, length: int = 0, floor: int = 0) -> MessageStore:
        prove(self.path, floor, length or self.end)
        return MessageStore(self.path, length or self.end, floor, LIMIT)


def test_lines_come_back_from_every_segment(path: Path) -> None:
    filled = Filled(path)
    assert len(filled.bases) == 5 and filled.bases[0] == START
    assert [one.base for one in listing(path)] == filled.bases
    store = filled.open()
    assert [store.read(offset) for offset in filled.offsets] == [(b"bob", text) for text in filled.texts]
    assert read_many(store, filled.offsets) == filled.texts
    store.append(b" all on\n")
    assert store.read(filled.end) == (b"all", b"on\n")
    store.close()
    second = listing(path)[1].path
    assert second.name == f"message_rep.{filled.bases[1]}.txt"
    first_line = second.read_bytes().splitlines(keepends=True)[0]
    assert first_line.startswith(b"# " + second.name.encode() + b" 2: ")
    assert path.read_bytes().startswith(HEADER)


def test_more_segments_than_descriptors_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_OPEN", 2)
    filled = Filled(path)
    store = filled.open()
    for _ in range(2):
        assert [store.read(offset)[1] for offset in filled.offsets[::3]] == filled.texts[::3]
        assert len(store._fds) == 2
    store.erase(filled.offsets[:1])
    store.close()
    assert b'{"seq":0}' not in path.read_bytes()


def test_neighbours_are_read_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled = Filled(path)
    store = filled.open()
    reads: list[int] = []
    pread = messages.os.pread
    monkeypatch.setattr(messages.os, "pread", lambda fd, size, at: reads.append(size) or pread(fd, size, at))
    assert read_many(store, filled.offsets[3:]) == filled.texts[3:]
    assert len(reads) == len(filled.bases), "a read for each segment"
    store.close()


@pytest.mark.parametrize("size", [10, 2_030, 2_040, 3_000, 70_000])
def test_read_at_once_damaged_and_long_lines_are_told_apart(path: Path, size: int) -> None:
    store = MessageStore(path, START)
    texts = [b"one\n", b"x" * size + b"\n", b"three\n", b"y" * size + b"\n"]
    offsets, end = [], START
    for text in texts:
        store.append(b" bob " + text)
        offsets.append(end)
        end += len(at_rest(b" bob " + text))
    assert read_many(store, offsets) == texts
    with open(path, "r+b") as file:
        file.seek(offsets[2] + 14)
        file.write(b"X")
    found = read_many(store, offsets)
    assert [one for one in found if isinstance(one, bytes)] == [texts[0], texts[1], texts[3]]
    assert str(found[2]) == f"message_rep.txt: the line at byte {offsets[2]} is damaged (its checksum does not fit)"
    store.close()


@pytest.mark.parametrize("kept", range(25))
def test_a_start_cuts_the_store_wherever_the_flat_files_say(path: Path, kept: int) -> None:
    filled = Filled(path)
    length = [*filled.offsets, filled.end][kept]
    store = filled.open(length)
    store.append(b" bob again\n")
    assert store.read(length) == (b"bob", b"again\n")
    assert read_many(store, filled.offsets[:kept]) == filled.texts[:kept]
    store.sync()
    store.close()
    prove(path, 0, length + 19)
    assert all(one.base <= length for one in listing(path)), "what is behind is gone"


def test_the_oldest_segments_go(path: Path) -> None:
    filled = Filled(path)
    floor = filled.bases[2]
    store = filled.open()
    store.forget(floor - 1)
    assert list(store.begins) == filled.bases[1:]
    store.forget(floor)
    assert not path.exists() and [one.base for one in listing(path)] == filled.bases[2:]
    store.forget(10**9)
    assert list(store.begins) == filled.bases[-1:], "the last one stays"
    store.close()
    store = filled.open(floor=filled.bases[-1])
    assert store.read(filled.offsets[-1]) == (b"bob", filled.texts[-1])
    store.close()


def test_what_a_crash_left_of_segments_that_go_is_removed_at_the_start(path: Path) -> None:
    filled = Filled(path)
    store = filled.open(floor=filled.bases[3])
    assert [one.base for one in listing(path)] == filled.bases[3:]
    store.close()


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("damage", ["missing", "short", "long", "another format"])
def test_a_segment_that_is_not_what_it_should_be(path: Path, number: int, damage: str) -> None:
    filled = Filled(path)
    files = [one.path for one in listing(path)]
    held = {one: one.read_bytes() for one in files}
    if damage == "missing":
        files[number].unlink()
        named = files[number] if number == 0 else files[number - 1]
    else:
        named = files[number]
        whole = held[named]
        changed = {"short": whole[:-1], "long": whole + b"x", "another format": b"# no" + whole[4:]}[damage]
        named.write_bytes(changed)
    if damage == "long" and number == 4:
        filled.open().close()
        assert files[4].read_bytes() == held[files[4]], "what is behind the length is what a crash left"
        return
    before = {one.path: one.path.read_bytes() for one in listing(path)}
    with pytest.raises(FileError, match=r"missing|line 1|bytes are expected") as refused:
        prove(path, 0, filled.end)
    assert str(named) in str(refused.value)
    assert {one.path: one.path.read_bytes() for one in listing(path)} == before, "nothing was changed"


def test_names_that_are_no_segment_of_ours(path: Path) -> None:
    filled = Filled(path)
    for name in ("0", "x", f"0{filled.bases[1]}", "5.6"):
        (path.parent / f"message_rep.{name}.txt").write_text("mine")
    assert [one.base for one in listing(path)] == filled.bases
    filled.open().close()


@given(st.lists(st.integers(1, 120), max_size=40), st.integers(1, 6), st.data())
def test_any_lines_in_any_batches_come_back(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], every: int, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("store") / "message_rep.txt"
    segment = data.draw(st.integers(1, 400))
    store = MessageStore(path, START, segment=segment)
    offsets, end, texts = [], START, [b"%d" % number * size + b"\n" for number, size in enumerate(sizes)]
    for number, text in enumerate(texts):
        store.append(b" bob " + text)
        offsets.append(end)
        end += len(at_rest(b" bob " + text))
        if number % every == 0:
            store.flush()
    some = sorted(data.draw(st.sets(st.sampled_from(range(len(texts)))))) if texts else []
    assert read_many(store, [offsets[number] for number in some]) == [texts[number] for number in some]
    assert list(store.lines_from(START, end)) == list(zip(offsets, texts, strict=True))
    store.sync()
    store.close()
    prove(path, 0, end)
    bases = [START]
    for offset in offsets:
        bases += [offset] if offset >= bases[-1] + segment else []
    assert [one.base for one in listing(path)] == bases, "however many lines were written at once"


def test_a_full_disk_where_a_segment_begins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it did not take is written when there is room again, once, and in the same segments."""
    whole = Filled(path)
    held = {one.path.name: one.path.read_bytes() for one in listing(path)}
    pwrite = os.pwrite
    for room in range(0, 700, 7):
        for one in listing(path):
            one.path.unlink()
        store, left = MessageStore(path, START, segment=LIMIT), [room]

        def filling(fd: int, data: bytes, at: int, left: list[int] = left) -> int:
            if not left[0]:
                raise OSError(errno.ENOSPC, "full")
            taken = pwrite(fd, data[: left[0]], at)
            left[0] -= taken
            return taken

        with monkeypatch.context() as patch:
            patch.setattr(messages.os, "pwrite", filling)
            for text in whole.texts:
                store.append(b" bob " + text)
            for _ in range(2):
                with contextlib.suppress(OSError):
                    store.flush()
        store.sync()
        store.close()
        assert {one.path.name: one.path.read_bytes() for one in listing(path)} == held, f"room for {room} bytes"
