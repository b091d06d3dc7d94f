"""Whoever made an archive, reading it ends with a sentence: also when its list is sealed as it should be."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from pathlib import Path

import pytest

from chatlib.storage import archive
from chatlib.storage.archive import LIST
from chatlib.storage.textfile import FileError

DIGEST = hashlib.sha256(b"abc").hexdigest()


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Of a member; a size may be any number that 11 bytes can hold."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = (b"\xff" if size < 0 else b"\x80") + (size % 256**11).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: str, data: bytes) -> bytes:
    return header(name, len(data)) + data + bytes(-len(data) % 512)


def sealed(rows: bytes) -> bytes:
    """A list of these rows, with the digest that it should have."""
    text = b"# backup.txt 1: \n" + rows
    return member(LIST, text + f"{LIST} {len(text)} {hashlib.sha256(text).hexdigest()}\n".encode())


def read(folder: Path, members: bytes) -> archive.Listed:
    path = folder / "b.tar.gz"
    path.write_bytes(gzip.compress(members + bytes(1_024)))
    return archive.listed(path, lambda name: True)


def test_what_is_sealed_and_right_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, member("a", b"abc") + sealed(b"lsn 7\na 3 " + DIGEST.encode() + b"\n"))
    assert found.about == {"lsn": "7"} and found.members["a"][:2] == (3, DIGEST)


@pytest.mark.parametrize("size", [-1, -512, -(256**10), 256**10])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE])
def test_no_member_has_a_size_that_no_file_has(tmp_path: Path, size: int, kind: bytes) -> None:
    with pytest.raises(FileError, match=r"b\.tar\.gz is "):
        read(tmp_path, header("a", size, kind) + bytes(4_096) + b"abc")


@pytest.mark.parametrize(
    "row", [b"taken \xff\xfe", *(b"a " + size + b" " + DIGEST.encode() for size in (b"x", b"-3", b"9" * 5_000, b""))]
)
def test_a_sealed_list_may_still_say_what_no_backup_says(tmp_path: Path, row: bytes) -> None:
    with pytest.raises(FileError, match=r"b\.tar\.gz is "):
        read(tmp_path, member("a", b"abc") + sealed(row + b"\n"))
