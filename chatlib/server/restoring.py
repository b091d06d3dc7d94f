"""``server.py --restore FILE --home NEW``: a home from a backup, in a folder with nothing in it.

First the whole archive is read and proven, and nothing is written. Then it is unpacked aside, in the new home, where
no server looks, and verified as ``--verify`` does. Last, its parts get their names, ``data/`` first.

The restored home has an epoch of its own: its seqs may say something else than those that clients have seen since the
backup. It remembers of which epoch it is a later life, and up to which seq the two are one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from chatlib.server.backup import EDITED, may_be
from chatlib.server.verifying import Report, verify
from chatlib.storage import archive
from chatlib.storage.home import renew_epoch
from chatlib.storage.textfile import FileError, sync_folder


def restore(file: Path, home: Path) -> tuple[str, Report]:
    """What the backup says of itself, and what was found in it. Raises FileError, OSError: then nothing is left."""
    is_new = not home.exists()
    if not is_new and (not home.is_dir() or any(home.iterdir())):
        raise FileError(f"{home}: a backup is restored into an empty folder, or a new one.")
    if not home.absolute().parent.is_dir():
        raise FileError(f"{home.absolute().parent}: there is no such folder.")
    known = archive.listed(file, may_be)
    if not any(name.startswith("data/") for name in known.members):
        raise FileError(f"{file} is a backup of nothing.")
    if is_new:
        home.mkdir(mode=0o700)
    aside = home / f".restore.{os.getpid()}"
    try:
        aside.mkdir(mode=0o700)
        archive.unpack(file, known, aside)
        (aside / "data" / "files").mkdir(mode=0o700, exist_ok=True)
        report = verify(aside)
        last = report.salvage.world.lsn if report.salvage else 0
        renew_epoch(aside / "data", last)
        for folder in [*(path for path in aside.rglob("*") if path.is_dir()), aside]:
            sync_folder(folder)
        for name in ("data", *EDITED):
            if (aside / name).exists():
                os.rename(aside / name, home / name)
        sync_folder(home)
        aside.rmdir()
    except BaseException:
        for folder in (aside, home / "data"):
            shutil.rmtree(folder, ignore_errors=True)
        for name in EDITED:
            (home / name).unlink(missing_ok=True)
        if is_new:
            home.rmdir()
        raise
    if is_new:
        sync_folder(home.absolute().parent)
    report.folder, before = home, str(aside)
    report.damage = [(path, said.replace(before, str(home))) for path, said in report.damage]
    report.notes = [said.replace(before, str(home)) for said in report.notes]
    return f"The backup of {known.about.get('taken', 'an unknown time')}", report
