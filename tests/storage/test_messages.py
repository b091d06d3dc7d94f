"""The message store: lines in, lines out at their offsets, cut back, and erased."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.storage.messages import HEADER, START, MessageStore
from chatlib.storage.textfile import FileError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "message_rep.txt"


@pytest.fixture
def store(path: Path) -> Iterator[MessageStore]:
    store = MessageStore(path, START)
    yield store
    store.close()


def filled(path: Path, *lines: bytes) -> list[int]:
    """The offsets of `lines`, and the end."""
    store = MessageStore(path, START)
    offsets, end = [], START
    for line in lines:
        store.append(line)
        offsets.append(end)
        end += len(line)
    store.sync()
    store.close()
    return [*offsets, end]


def test_lines_come_back_from_their_offsets_flushed_or_not(store: MessageStore, path: Path) -> None:
    store.append(b'bob {"seq":1}\n')
    assert path.read_bytes() == HEADER
    assert store.read(START) == (b"bob", b'{"seq":1}\n')  # reading flushes
    assert path.read_bytes() == HEADER + b'bob {"seq":1}\n'
    store.append(b'all {"seq":2}\n')
    store.append(b'bob {"seq":3}\n')
    store.flush()
    store.flush()
    assert store.read(START + 14) == (b"all", b'{"seq":2}\n')
    assert store.read(START + 28) == (b"bob", b'{"seq":3}\n')


@pytest.mark.parametrize("size", [1, 1_000, 1_023, 1_024, 1_025, 17_000, 17_407, 17_408, 17_409, 65_536, 200_000])
def test_long_lines(store: MessageStore, size: int) -> None:
    event = b"x" * size + b"\n"
    store.append(b"bob " + event)
    store.append(b"all next\n")
    assert store.read(START) == (b"bob", event)
    assert store.read(START + 4 + len(event)) == (b"all", b"next\n")


def test_where_no_line_is(store: MessageStore) -> None:
    store.append(b"bob hi\n")
    with pytest.raises(FileError, match="no line at byte"):
        store.read(START + 7)
    with pytest.raises(FileError, match="no line at byte"):
        store.read(10**9)


def test_the_store_is_cut_back_to_what_the_flat_files_name(path: Path) -> None:
    offsets = filled(path, b"bob one\n", b"bob two\n", b"bob three\n")
    store = MessageStore(path, offsets[2])
    assert path.read_bytes() == HEADER + b"bob one\nbob two\n"
    store.append(b"all again\n")
    assert store.read(offsets[2]) == (b"all", b"again\n")
    store.close()


@pytest.mark.parametrize("cut", range(START + 1))
def test_a_store_whose_first_line_a_crash_cut_short_is_begun_again(path: Path, cut: int) -> None:
    path.write_bytes(HEADER[:cut])
    store = MessageStore(path, START)
    store.append(b"bob one\n")
    assert store.read(START) == (b"bob", b"one\n")
    store.close()
    assert path.read_bytes() == HEADER + b"bob one\n"


@pytest.mark.parametrize(
    ("held", "length", "wrong"),
    [
        (b"", START + 8, "message_rep.txt"),
        (b"# message_rep.txt 2: of tomorrow\n" + b"x" * 100, START, "line 1: a file of format 1 begins with"),
        (b"something else\n", START, "line 1: a file of format 1"),
        (HEADER + b"bob one\n", START + 9, f"{START + 9} bytes are expected, {START + 8} are there"),
        (HEADER, START + 1, "messages are missing"),
    ],
)
def test_a_store_that_is_not_what_it_should_be(path: Path, held: bytes, length: int, wrong: str) -> None:
    path.write_bytes(held)
    with pytest.raises(FileError) as refused:
        MessageStore(path, length)
    assert wrong in str(refused.value)
    assert path.read_bytes() == held, "what cannot be understood is left alone"


def test_erased_lines_cannot_be_read_and_the_others_can(store: MessageStore, path: Path) -> None:
    lines = [b"bob secret one\n", b"all kept\n", b"bob " + b"secret " * 500 + b"\n", b"amy kept too\n"]
    offsets = [START]
    for line in lines:
        store.append(line)
        offsets.append(offsets[-1] + len(line))
    for _ in range(2):  # a replay erases once more
        store.erase([offsets[0], offsets[2]])
        store.flush()
        held = path.read_bytes()
        assert b"secret" not in held
        assert len(held) == offsets[4]
        assert held.count(b"\n") == 5
        assert store.read(offsets[1]) == (b"all", b"kept\n")
        assert store.read(offsets[3]) == (b"amy", b"kept too\n")


@given(st.lists(st.binary(min_size=1, max_size=3_000).map(lambda line: line.replace(b"\n", b" "))), st.integers(1, 5))
def test_whatever_is_appended_is_read(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], every: int) -> None:
    store = MessageStore(tmp_path_factory.mktemp("store") / "message_rep.txt", START)
    offset, positions = START, []
    for number, line in enumerate(lines):
        store.append(b"bob " + line + b"\n")
        positions.append(offset)
        offset += len(line) + 5
        if number % every == 0:
            store.flush()
    for position, line in zip(positions, lines, strict=True):
        assert store.read(position) == (b"bob", line + b"\n")
    store.close()
