"""A home that goes when its server stops: what is copied into it, and all that must never be removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatlib.storage.ephemeral import Ephemeral


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "data").mkdir(parents=True)
    (folder / "credentials.txt").write_text("ann secret\n")
    (folder / "data" / "users.txt").write_text("not to be copied\n")
    return folder


def test_it_holds_copies_of_what_people_edit_and_nothing_else(source: Path, temporary: Path) -> None:
    home = Ephemeral(source)
    assert home.path.parent == temporary and home.copied == ["credentials.txt"]
    assert {path.name: path.read_text() for path in home.path.iterdir()} == {"credentials.txt": "ann secret\n"}
    (home.path / "data").mkdir()
    (home.path / "data" / "epoch.txt").write_text("more")
    assert home.remove() == "" and list(temporary.iterdir()) == []
    assert (source / "credentials.txt").read_text() == "ann secret\n" and (source / "data" / "users.txt").exists()


def test_a_copy_that_cannot_be_made_leaves_nothing(source: Path, temporary: Path) -> None:
    (source / "para.txt").mkdir()
    with pytest.raises(OSError):
        Ephemeral(source)
    assert list(temporary.iterdir()) == []


def test_nothing_outside_goes_through_a_link_in_it(source: Path) -> None:
    home = Ephemeral(source)
    (home.path / "link").symlink_to(source)
    assert home.remove() == "" and (source / "credentials.txt").exists()


def test_another_folder_that_has_its_name_by_now_stays(source: Path, temporary: Path) -> None:
    home = Ephemeral(source)
    home.path.rename(temporary / "moved")
    (home.path / "precious").mkdir(parents=True)
    assert home.remove() == f"{home.path} stays: it is not the folder that this server made."
    assert (home.path / "precious").exists() and (temporary / "moved").exists()


def test_a_link_that_has_its_name_by_now_stays_and_so_does_what_it_leads_to(source: Path, temporary: Path) -> None:
    home = Ephemeral(source)
    home.path.rename(temporary / "moved")
    home.path.symlink_to(temporary / "moved")
    assert home.remove() == f"{home.path} stays: not a folder."
    assert (temporary / "moved" / "credentials.txt").exists()


def test_a_folder_that_is_gone_already_is_said(source: Path, temporary: Path) -> None:
    home = Ephemeral(source)
    home.path.rename(temporary / "moved")
    assert home.remove() == f"{home.path} stays: No such file or directory."


def test_a_forked_child_removes_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Ephemeral(source)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert home.remove() == f"{home.path} stays: another process made it." and home.path.exists()
