"""The home folder, its lock, its epoch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatlib.server import backup
from chatlib.server.verifying import verify
from chatlib.storage.home import Home
from chatlib.storage.textfile import FileError
from tests.conftest import Python

OPEN = """
import sys
from pathlib import Path
from chatlib.storage.home import Home
from chatlib.storage.textfile import FileError
try:
    Home(Path(sys.argv[1]))
    print("mine")
except FileError as refused:
    print(refused)
"""

FORK = """
    import os
    if os.fork():
        os._exit(0)
    for fd in (1, 2):  # or whoever started this would wait for it
        os.close(fd)
    sys.stdin.read()
"""


def test_a_home_is_made_ready(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.logs.is_dir()
    assert (home.parameters, home.credentials) == (tmp_path / "para.txt", tmp_path / "credentials.txt")
    assert home.messages == tmp_path / "data" / "message_rep.txt"
    assert oct(home.data.stat().st_mode)[-3:] == "700"
    Home(tmp_path)  # what is there already is taken as it is


def test_a_second_server_on_the_same_home_is_refused(tmp_path: Path, python: Python) -> None:
    home = Home(tmp_path)
    assert python(OPEN, os.path.relpath(tmp_path)).stdout.strip() == (
        f"{tmp_path}: another server (process {os.getpid()}) uses this home: stop it first"
    )
    os.close(home._lock_fd)  # as the end of the process does


def test_the_lock_goes_with_its_process_and_a_forked_child_does_not_keep_it(tmp_path: Path, python: Python) -> None:
    for _ in range(2):
        assert python(OPEN, tmp_path).stdout.strip() == "mine"
    reading, writing = os.pipe()
    python(OPEN.replace('print("mine")', FORK), tmp_path, stdin=reading)
    os.close(reading)
    assert python(OPEN, tmp_path).stdout.strip() == "mine"  # while the child still reads
    os.close(writing)


def test_a_home_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no such folder: make it first, or name another with --home"):
        Home(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="no such folder"):
        Home(tmp_path / "file")


def test_a_home_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(FileError, match="data: "):
        Home(tmp_path)


def test_every_flipped_bit_of_the_epoch_is_noticed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    epoch, path = home.epoch(), home.data / "epoch.txt"
    whole = path.read_bytes()
    for bit in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(FileError, match=r"epoch\.txt is damaged"):
            home.epoch()
        assert path.read_bytes() == flipped
    path.write_text(f"{epoch}\n")  # as format 1 had it
    assert home.epoch() == epoch
    home.seal_epoch()
    assert path.read_bytes() == whole


def test_the_epoch_is_made_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    epoch = home.epoch()
    assert len(epoch) >= 16
    assert home.epoch() == epoch
    (home.data / "epoch.txt").unlink()
    assert home.epoch() != epoch


@pytest.mark.parametrize("name", ["para.txt", "credentials.txt", "data/journal.txt", "data/files/0123456789abcdef"])
@pytest.mark.parametrize("links", [False, True])
def test_a_pipe_where_a_file_should_be_is_refused_and_not_waited_for(tmp_path: Path, name: str, links: bool) -> None:
    home = tmp_path / "home"
    (home / "data" / "files").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe" if links else home / name)
    if links:
        (home / name).symlink_to(tmp_path / "pipe")
    for use in (Home, verify, lambda home: backup.write(home, tmp_path / "b.tar.gz")):
        with pytest.raises(FileError, match=f"{name} is neither a file nor a folder"):
            use(home)
    assert not (tmp_path / "b.tar.gz").exists()
