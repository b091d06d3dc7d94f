"""What a half-typed line may become, without any program's commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatlib.terminal.completion import Names, complete, paths, words

COMMANDS = ["paint ", "paint over ", "stop"]
COLOURS = ["red", "dark red", "it's"]


def completed(before: str) -> list[str]:
    """With ``paint``, which words follow; and ``stop``, which none do."""
    name, _, _ = before.partition(" ")
    found = (name, before[len(name) :].lstrip()) if name + " " in COMMANDS or name in COMMANDS else None
    return complete(before, COMMANDS, found, lambda command, rest: words(rest, COLOURS) if command == "paint" else [])


@pytest.mark.parametrize(("before", "after"), [
    ("", COMMANDS),
    ("ST", ["stop"]),
    ("stop", []),
    ("paint", ["paint ", "paint over "]),
    ("paint ", ["paint over ", "paint red ", "paint dark\\ red ", "paint it\\'s "]),
    ("paint red D", ["paint red dark\\ red "]),
    ("paint 'd", ["paint 'dark red' "]),
    ("paint 'i", ["paint it\\'s "]),
    ("stop r", []),
    ("dance ", []),
])  # fmt: skip
def test_commands_and_their_words(before: str, after: list[str]) -> None:
    assert completed(before) == after


def test_names_that_were_seen_last_come_first() -> None:
    names = Names()
    for name in ("ann", "Bob", "anton", "ANN", None, 7):
        names.see(name)
    assert names.beginning("") == ["ANN", "anton", "Bob"]
    assert names.beginning("An") == ["ANN", "anton"]


def test_paths(tmp_path: Path) -> None:
    for name in ("one two", ".hidden", "odd\u202ename"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert paths(f"{tmp_path}/") == [f"{tmp_path}/folder/", f"{tmp_path}/one\\ two "]
    assert paths(f"x {tmp_path}/.h") == [f"x {tmp_path}/.hidden "]
    assert paths(f"'{tmp_path}/fo") == [f"'{tmp_path}/folder/"]
    assert paths(f"{tmp_path}/nowhere/x") == [] and paths("~") == ["~/"]
