"""What is given to others, as they use it: one file in an empty folder, and what pip installs, without a network."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.patience import LIMIT
from tests.program.peer import ROOT

LINES = "register\neve\ncorrect horse\ncorrect horse\nbroadcast hello\nlogout\n"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both programs."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, str(ROOT / "tests" / "dist.py"), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, from which nothing else of ours is found."""
    folder = tmp_path / "empty"
    folder.mkdir()
    yield folder


def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}
    return {**kept, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}


def try_out(server: Sequence[str], client: Sequence[str], client_shown: str, folder: Path, tmp_path: Path) -> None:
    """A first minute: a new home, somebody registers and talks, each leaves in peace."""
    around = environment(tmp_path)
    with subprocess.Popen([*server, "0", "--bind", "127.0.0.1", "--home", str(folder)], cwd=folder, env=around,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          ) as serves:  # fmt: skip
        assert serves.stdin is not None and serves.stdout is not None
        try:
            assert serves.stdout.readline() == f"New home in {folder}: no users yet. Whoever connects may register.\n"
            found = re.search(r"port (\d+)\.", serves.stdout.readline())
            assert found is not None
            invitation = f"Only this machine reaches it, with: {client_shown} 127.0.0.1 {found[1]}\n"
            assert serves.stdout.readline() == invitation
            talks = subprocess.run([*client, f"127.0.0.1:{found[1]}"], input=LINES, cwd=folder, env=around, text=True,
                                   capture_output=True, timeout=LIMIT)  # fmt: skip
            assert (talks.returncode, talks.stderr) == (0, "") and "eve(broadcast): hello" in talks.stdout
            serves.stdin.write("all users\nstop\n")
            serves.stdin.close()
            said = serves.stdout.read()
            assert serves.wait(LIMIT) == 0 and "eve" in said and said.endswith("Everything is saved. Goodbye!\n")
        finally:
            serves.kill()


def test_each_program_is_one_file_that_runs_from_an_empty_folder(dist: Path, empty: Path, tmp_path: Path) -> None:
    words = [[sys.executable, str(dist / f"chat-{name}.pyz")] for name in ("server", "client")]
    try_out(words[0], words[1], "python3 chat-client.pyz", empty, tmp_path)
    assert {path.name for path in empty.iterdir()} == {"para.txt", "credentials.txt", "data"}
    assert {path.name for path in dist.iterdir()} == {"chat-server.pyz", "chat-client.pyz"}


@pytest.mark.parametrize(("name", "words", "status", "said"), [
    ("client", ["127.0.0.1:1"], 1, "cannot be reached"),
    ("client", ["127.0.0.1"], 2, "usage: chat-client.pyz"),
    ("server", ["1234"], 1, "There is no server's home in"),
    ("server", ["x"], 2, "usage: chat-server.pyz"),
])  # fmt: skip
def test_their_exit_statuses(
    dist: Path, empty: Path, tmp_path: Path, name: str, words: list[str], status: int, said: str
) -> None:
    done = subprocess.run([str(dist / f"chat-{name}.pyz"), *words], cwd=empty, env=environment(tmp_path), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)  # fmt: skip
    assert done.returncode == status and said in done.stdout + done.stderr
    assert list(empty.iterdir()) == []


def test_equal_sources_make_equal_bytes(dist: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "tests" / "dist.py"), str(tmp_path)], check=True, capture_output=True)
    for name in ("chat-server.pyz", "chat-client.pyz"):
        assert (dist / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="there is no pip to install with")
def test_what_pip_installs_runs_from_an_empty_folder(empty: Path, tmp_path: Path) -> None:
    """As pipx does: an environment of its own, the folder is installed into it, and its programs are run."""
    place = tmp_path / "environment"
    venv.create(place, with_pip=False, symlinks=True)
    install = [sys.executable, "-m", "pip", "--python", str(place), "install", "--no-index", "--quiet",
               "--disable-pip-version-check", str(ROOT)]  # fmt: skip
    done = subprocess.run(install, env=environment(tmp_path), text=True, capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    try_out([str(place / "bin" / "chat-server")], [str(place / "bin" / "chat-client")], "chat-client", empty, tmp_path)
    installed = {path.name for path in next((place / "lib").glob("python3*")).joinpath("site-packages").iterdir()}
    assert {name for name in installed if name != "__pycache__"} == {
        "chatlib", "chatlib-1.dist-info", "chatlib_server.py", "chatlib_client.py",
    }  # fmt: skip
