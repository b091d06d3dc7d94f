"""What ``server.py`` does for a home instead of serving it: ``--verify``, ``--backup``, ``--restore``, ``--repair``.

Here is what the administrator is told, and asked; the work is in modules of these names. None of them starts a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from chatlib.core.threads import forum_of
from chatlib.protocol.nats import Engine
from chatlib.protocol.text import counted
from chatlib.server import backup
from chatlib.server.enginefiles import fetching
from chatlib.server.repairing import FOLDER, REPORT, Repair
from chatlib.server.restoring import restore
from chatlib.server.verifying import Report, verify
from chatlib.storage import nodefile
from chatlib.storage.home import Home
from chatlib.storage.textfile import OLD_FORMAT, FileError

SHOWN = 200  # sentences of one kind that are said
ROUNDS = 3  # repairs: what was damaged may have hidden something else
Say = Callable[[str], None]


def verify_home(folder: Path, say: Say) -> int:
    """Says what is there; the exit status. Raises FileError when there is no home, OSError."""
    report = verify(folder)
    say(summary(report))
    for note in report.notes:
        say(note)
    for _, sentence in report.damage:
        say(f"Damage! {sentence}")
    say("All of it is whole." if report.is_whole else damaged(report))
    return 0 if report.is_whole else 1


def back_up_home(folder: Path, file: Path, say: Say, engine: Engine | None = None) -> int:
    """Writes the archive; the exit status. `engine`: has the bytes of files that a node has not got.

    Raises FileError, OSError: then there is none.
    """
    if engine is None:
        say(backup.write(folder, file))
        return 0
    node = nodefile.read(folder / "data")
    if node is None or node.log != engine.name:
        raise FileError(f'{folder.resolve()} is no home of the log "{engine.name}": leave out --log.')
    with fetching(engine) as fetch:
        say(backup.write(folder, file, fetch=fetch))
    return 0


def restore_home(file: Path, folder: Path, say: Say) -> int:
    """Makes a home; the exit status. Raises FileError, OSError: then there is none."""
    taken, report = restore(file, folder)
    say(f"{taken} is restored. {summary(report)}")
    for _, sentence in report.damage:
        say(f"Damage! {sentence}")
    if not report.is_whole:
        say("That was so already when it was backed up. See --repair.")
    return 0 if report.is_whole else 1


def summary(report: Report) -> str:
    """What is there."""
    assert report.salvage is not None
    world, counts = report.salvage.world, report.counts
    threads = forum_of(world)
    posts = sum(len(thread.seqs) for thread in threads.values())
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(world.at)) if world.at else "never"
    said = (
        f"{report.folder.resolve()}: {counted(len(world.accounts), 'user')}, "
        f"{counted(counts['messages'], 'stored message')}, {counted(len(threads), 'thread')} with "
        f"{counted(posts, 'post')}, {counted(counts['files'], 'file')}, {counted(counts['credits'], 'credit')} "
        f"held by users; {counts['bytes']:,} bytes in all. The last command is number {world.lsn:,}, of {when}."
    )
    if report.server:
        said += f" A server (process {report.server}) uses it: this is what it had acknowledged when this began."
    return said


def damaged(report: Report) -> str:
    """What to do about it."""
    return (
        f"{counted(len(report.damage), 'damaged place')} found. A server with this home would not start, "
        "or something would be missing. "
        + (
            "Take data/ away, and start it with --log: the other nodes have all of it."
            if report.node
            else "Restore a backup with --restore, or keep what can be proven with --repair."
        )
    )


def _say_some(what: str, sentences: list[str], say: Say) -> None:
    for sentence in sentences[:SHOWN]:
        say(f"{what}: {sentence}.")
    if len(sentences) > SHOWN:
        say(f"{what}: {len(sentences) - SHOWN:,} more.")


def repair_home(folder: Path, say: Say, ask: Callable[[str], bool]) -> int:
    """Looks, asks, repairs, looks again; the exit status. Raises FileError, OSError."""
    report = verify(folder)
    say(summary(report))
    if report.server:
        raise FileError(f"{folder}: a server (process {report.server}) uses this home: stop it first")
    if report.is_whole:
        say("All of it is whole: there is nothing to repair.")
        return 0
    for _, sentence in report.damage:
        say(f"Damage! {sentence}")
    if report.salvage and report.salvage.flat.format == OLD_FORMAT:
        raise FileError(f"{folder} is of an earlier version: nothing but a start of it undamaged can make it a new one")
    say(f"What can be proven is kept, and a copy of each damaged file comes into {folder / 'data' / FOLDER}.")
    is_node = report.node or (report.folder / "data" / nodefile.NAME).exists()
    if is_node:
        say("It is a node's home. Repaired, it is a single server's, which has no part in the log. The other nodes "
            "have all of it: rather take data/ away, and start this one again with --log.")  # fmt: skip
    if not ask(f"Repair it{' as a single server' if is_node else ''}? (yes/no) "):
        say("Nothing was changed.")
        return 1
    home = Home(folder, say)
    is_told = False
    for _ in range(ROUNDS):
        repair = Repair(home, report)
        with home.writer.alone():
            repair.carry_out()
        _say_some("Mended", repair.done, say)
        _say_some("Lost", repair.lost, say)
        is_told = is_told or bool(repair.done or repair.lost)
        say(f"The damaged files as they were, and all of this in {REPORT}: {repair.aside}")
        report = verify(folder)
        if report.is_whole:
            break
    if report.is_whole and not is_told:
        say("Nothing is known to be lost.")
    say(summary(report))
    say("All of it is whole now." if report.is_whole else damaged(report))
    return 0 if report.is_whole else 1
