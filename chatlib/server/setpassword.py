"""``server.py --set-admin-password``: asks for the administrator's password twice, and writes its verifier.

It writes the line into credentials.txt as a person would. So it may run beside the server, whose console then takes it
in by ``reload``; otherwise the next start does. Must not print a password, nor keep one longer than it takes.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from pathlib import Path

from chatlib.protocol.scram import ScramError, saslprep
from chatlib.protocol.text import ADMIN, fold
from chatlib.server.edits import EditedFiles
from chatlib.storage import checkpoint
from chatlib.storage.home import Home, HomeInUse
from chatlib.storage.textfile import FileError
from chatlib.storage.writerlock import WriterLock

FIRST, AGAIN = "The administrator's new password: ", "The same again: "
UNCHANGED = "The administrator's password stays as it was."


class NoPassword(Exception):
    """There will be no new password; the message says why."""


def ask(question: str) -> str:
    """At a terminal without echo; from a pipe the next line. Raises NoPassword at the end of input."""
    if sys.stdin.isatty():
        try:
            return getpass.getpass(question)
        except (EOFError, KeyboardInterrupt):
            print()
            raise NoPassword(UNCHANGED) from None
    line = sys.stdin.readline()
    if not line:
        raise NoPassword(UNCHANGED)
    return line.rstrip("\r\n")


def set_password(path: Path, say: Callable[[str], None], asked: Callable[[str], str] = ask) -> None:
    """For the home at `path`. Raises NoPassword, FileError, OSError."""
    if not path.is_dir():
        raise FileError(f"{path}: there is no such folder: make it first, or name another with --home")
    _refuse_ordinary(path)
    password = _chosen(asked)
    try:
        home = Home(path, say)
    except HomeInUse:
        with WriterLock(path / "data" / "writer.lock").alone():
            _write(path, password, say)
        say('Set. A server runs here: type "reload" at its console, then it holds.')
    else:
        with home.writer.alone():
            _write(path, password, say)
        say("Set. It holds from the server's next start.")


def _chosen(asked: Callable[[str], str]) -> str:
    """Typed twice, and such as can be a password."""
    password = asked(FIRST)
    if not password:
        raise NoPassword(UNCHANGED)
    try:
        saslprep(password)
    except ScramError as wrong:
        raise NoPassword(f"{wrong} {UNCHANGED}") from None
    if asked(AGAIN) != password:
        raise NoPassword(f"The two passwords differ. {UNCHANGED}")
    return password


def _write(path: Path, password: str, say: Callable[[str], None]) -> None:
    files = EditedFiles(path)
    for note in files.give_admin(password):
        say(note)


def _refuse_ordinary(path: Path) -> None:
    """A home of an earlier version may have a user of that name, whose password this is not. Raises NoPassword."""
    users = checkpoint.where(path / "data", "users.txt")
    if users.exists():
        with open(users, encoding="utf-8", errors="replace") as file:
            if any(fold(line.split(" ", 1)[0]) == ADMIN for line in file):
                raise NoPassword(f'Here "{ADMIN}" is an ordinary user. Remove that user first. {UNCHANGED}')
