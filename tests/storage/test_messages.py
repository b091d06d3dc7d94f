"""The message store: lines in, lines out at their offsets, cut back, and erased."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.core.streams import CHECKSUM
from chatlib.storage.messagefiles import HEADER, START, prove
from chatlib.storage.messages import MessageStore, at_rest
from chatlib.storage.textfile import FileError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "message_rep.txt"


@pytest.fixture
def store(path: Path) -> Iterator[MessageStore]:
    store = MessageStore(path, START)
    yield store
    store.close()


def said(text: bytes) -> bytes:
    """``<receiver> <event>``, as the world hands it over."""
    return b" " + text + b"\n"


def line(text: bytes) -> bytes:
    """The same as it stands in the store."""
    return at_rest(said(text))


def filled(path: Path, *lines: bytes) -> list[int]:
    """The offsets of `lines`, and the end."""
    store = MessageStore(path, START)
    offsets, end = [], START
    for text in lines:
        store.append(said(text))
        offsets.append(end)
        end += len(line(text))
    store.sync()
    store.close()
    return [*offsets, end]


def test_lines_come_back_from_their_offsets_flushed_or_not(store: MessageStore, path: Path) -> None:
    store.append(said(b'bob {"seq":1}'))
    assert path.read_bytes() == HEADER
    assert store.read(START) == (b"bob", b'{"seq":1}\n')  # reading flushes
    assert path.read_bytes() == HEADER + line(b'bob {"seq":1}')
    assert path.read_bytes().endswith(b' bob {"seq":1}\n')
    store.append(said(b'all {"seq":2}'))
    store.append(said(b'bob {"seq":3}'))
    store.flush()
    store.flush()
    assert store.read(START + 23) == (b"all", b'{"seq":2}\n')
    assert store.read(START + 46) == (b"bob", b'{"seq":3}\n')


@pytest.mark.parametrize("size", [1, 1_000, 1_010, 1_011, 1_012, 17_000, 17_394, 17_395, 17_396, 65_536, 200_000])
def test_long_lines(store: MessageStore, size: int) -> None:
    event = b"x" * size
    store.append(said(b"bob " + event))
    store.append(said(b"all next"))
    assert store.read(START) == (b"bob", event + b"\n")
    assert store.read(START + 14 + size) == (b"all", b"next\n")


def test_what_a_full_disk_did_not_take_is_written_by_the_next_flush(
    store: MessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read may meet the full disk first, and its fault costs one answer: later offsets must be right all the same."""
    room, pwrite = [14], os.pwrite

    def filling(fd: int, data: memoryview, at: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "full")
        taken = pwrite(fd, data[: room[0]], at)
        room[0] -= taken
        return taken

    monkeypatch.setattr("chatlib.storage.messages.os.pwrite", filling)
    store.append(said(b"bob one"))
    store.append(said(b"all two"))
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            store.read(START)
    room[0] = 1_000
    store.append(said(b"bob three"))
    length = len(line(b"bob one"))
    assert [store.read(START + place * length) for place in range(3)] == [
        (b"bob", b"one\n"), (b"all", b"two\n"), (b"bob", b"three\n"),
    ]  # fmt: skip


def test_where_no_line_is(store: MessageStore) -> None:
    store.append(said(b"bob hi"))
    for offset in (START + len(line(b"bob hi")), 10**9):
        with pytest.raises(FileError, match="no line at byte"):
            store.read(offset)
    for offset in (0, 10, START - 1, START + 1, START + 15):
        with pytest.raises(FileError, match=f"the line at byte {offset} is damaged"):
            store.read(offset)


def test_every_flipped_bit_of_a_line_is_noticed_and_the_other_lines_are_read(path: Path) -> None:
    texts = [b"bob one", b"all two", b"amy three"]
    offsets = filled(path, *texts)
    whole = path.read_bytes()
    for bit in range(START * 8, len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        store = MessageStore(path, offsets[-1])
        for offset, end, text in zip(offsets, offsets[1:], texts, strict=False):
            if offset <= bit // 8 < end:
                with pytest.raises(FileError, match="damaged|no line"):
                    store.read(offset)
            else:
                assert b" ".join(store.read(offset)) == text + b"\n"
        store.close()


def test_the_store_is_cut_back_to_what_the_flat_files_name(path: Path) -> None:
    offsets = filled(path, b"bob one", b"bob two", b"bob three")
    prove(path, 0, offsets[2])
    store = MessageStore(path, offsets[2])
    assert path.read_bytes() == HEADER + line(b"bob one") + line(b"bob two")
    store.append(said(b"all again"))
    assert store.read(offsets[2]) == (b"all", b"again\n")
    store.close()


@pytest.mark.parametrize("left", [b"", HEADER[:1], HEADER[:-1], HEADER, b"\0" * 512, HEADER + b"\0" * 600])
def test_a_store_that_no_checkpoint_has_named_is_begun_again(path: Path, left: bytes) -> None:
    """A power cut may have left anything there; the journal has all of it."""
    path.write_bytes(left)
    store = MessageStore(path, START)
    store.append(said(b"bob one"))
    assert store.read(START) == (b"bob", b"one\n")
    store.close()
    assert path.read_bytes() == HEADER + line(b"bob one")


@pytest.mark.parametrize(
    ("held", "length", "wrong"),
    [
        (None, START, "message_rep.txt is missing"),
        (b"", START + 8, "message_rep.txt"),
        (b"# message_rep.txt 3: of tomorrow\n" + b"x" * 100, START, "line 1: a file of this format begins with"),
        (b"something else\n", START, "line 1: a file of this format"),
        (HEADER + b"bob one\n", START + 9, f"{START + 9} bytes are expected, {START + 8} are there"),
        (HEADER, START + 1, "messages are missing"),
    ],
)
def test_a_store_that_is_not_what_it_should_be(path: Path, held: bytes | None, length: int, wrong: str) -> None:
    if held is not None:
        path.write_bytes(held)
    with pytest.raises(FileError) as refused:
        prove(path, 0, length)
    assert wrong in str(refused.value)
    assert (path.read_bytes() if path.exists() else None) == held, "what cannot be understood is left alone"


def test_erased_lines_cannot_be_read_and_the_others_can(store: MessageStore, path: Path) -> None:
    texts = [b"bob secret one", b"all kept", b"bob " + b"secret " * 500, b"amy kept too"]
    lines, offsets = [line(text) for text in texts], [START]
    for one, text in zip(lines, texts, strict=True):
        assert len(one) == CHECKSUM + len(said(text)), "as the world counts"
        store.append(said(text))
        offsets.append(offsets[-1] + len(one))
    for _ in range(2):  # a replay erases once more
        store.erase([offsets[0], offsets[2]])
        held = path.read_bytes()
        assert b"secret" not in held
        assert len(held) == offsets[4]
        assert held.count(b"\n") == 5
        assert held.splitlines()[1] == b" " * (len(lines[0]) - 1), "a person sees that something was erased"
        assert store.read(offsets[1]) == (b"all", b"kept\n")
        assert store.read(offsets[3]) == (b"amy", b"kept too\n")


def test_a_line_whose_end_is_damaged_is_erased_and_the_next_one_stays(path: Path) -> None:
    offsets = filled(path, b"bob secret", b"amy kept")
    with open(path, "r+b") as file:
        file.seek(offsets[1] - 1)
        file.write(b"\x0b")
    store = MessageStore(path, offsets[-1])
    store.erase([offsets[0]])
    assert b"secret" not in path.read_bytes()
    assert store.read(offsets[1]) == (b"amy", b"kept\n")
    store.close()


@given(st.lists(st.binary(min_size=1, max_size=3_000).map(lambda one: one.replace(b"\n", b" "))), st.integers(1, 5))
def test_whatever_is_appended_is_read(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], every: int) -> None:
    store = MessageStore(tmp_path_factory.mktemp("store") / "message_rep.txt", START)
    offset, positions = START, []
    for number, one in enumerate(lines):
        store.append(said(b"bob " + one))
        positions.append(offset)
        offset += len(line(b"bob " + one))
        if number % every == 0:
            store.flush()
    for position, one in zip(positions, lines, strict=True):
        assert store.read(position) == (b"bob", one + b"\n")
    store.close()


# A sync that failed: the disk says so once, and what it has lost can be read until the power fails.


def test_what_a_failed_sync_left_in_doubt_is_written_again_by_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MessageStore(path, START, segment=100)
    store.append(said(b"bob durable"))
    store.sync()
    store.close()
    store = MessageStore(path, path.stat().st_size, segment=100)
    lost: list[bytes] = []  # what a disk that fails forgets
    for text in (b"bob one", b"bob two" + b"o" * 100, b"ann three"):
        store.append(said(text))
    store.flush()
    store.doubt(True)
    real = os.pwrite

    def pwrite(fd: int, data: bytes, at: int) -> int:
        lost.append(bytes(data))
        return real(fd, data, at)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", pwrite)
        store.sync()
    again = b"".join(lost)
    assert line(b"bob durable") not in again
    for text in (b"bob one", b"bob two" + b"o" * 100, b"ann three"):
        assert again.count(line(text)) == 1
    assert again.count(b"# message_rep.") == 1, "the first line of the new segment, too"
    lost.clear()
    store.doubt(False)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", pwrite)
        store.sync()
    assert lost == []
    store.close()
