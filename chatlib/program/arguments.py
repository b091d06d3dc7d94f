"""What the words of the client's command line mean: an address, a password's file, what a script is to do.

Must not know connections. Each function raises ArgumentTypeError, with a sentence, for a word that is wrong.
"""

from __future__ import annotations

import os
import stat
import sys
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chatlib.client.addresses import ServerAddress, addresses_of, port_of
from chatlib.client.trust import context_of
from chatlib.protocol import kinds
from chatlib.protocol.scram import ScramError, saslprep
from chatlib.protocol.text import fold

STDIN = "-"
_LONGEST = 4_096  # characters of a password
_VERBATIM = "\0"  # no word of a command line holds it


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a script does: it sends a text, lines of standard input (STDIN), or a file."""

    action: str  # "send" or "file"
    place: str
    content: str

    @property
    def reads(self) -> bool:
        """Whether it sends standard input."""
        return self.action == "send" and self.content == STDIN


def port(word: str) -> int:
    try:
        return port_of(word)
    except ValueError as wrong:
        raise ArgumentTypeError(str(wrong)) from None


def servers(host: str, port_word: str | None) -> tuple[ServerAddress, ...]:
    """``HOST PORT``, ``HOST:PORT``, ``[::1]:PORT`` and ``[::1] PORT``, and several with commas."""
    try:
        return addresses_of(host, port_word)
    except ValueError as wrong:
        raise ArgumentTypeError(str(wrong)) from None


def cafile(word: str) -> Path:
    """A file with a CA's certificates."""
    path = Path(word).expanduser()
    try:
        context_of(path)
    except ValueError as wrong:
        raise ArgumentTypeError(str(wrong)) from None
    return path


def password_in(word: str) -> str:
    """The first line of a file. Warns where others can read it."""
    try:
        with Path(word).expanduser().open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            found = file.readline(_LONGEST).rstrip("\r\n")
        saslprep(found)
    except OSError as error:
        raise ArgumentTypeError(f'"{word}" cannot be read: {error.strerror}') from None
    except (UnicodeError, ScramError) as error:
        why = "it is no text" if isinstance(error, UnicodeError) else str(error)
        raise ArgumentTypeError(f'the first line of "{word}" is no password: {why}') from None
    if stat.S_ISREG(mode) and mode & 0o077:
        print(f'Warning! Others can read the password in "{word}": "chmod 600" on it keeps them out.', file=sys.stderr)
    return found


# What a script does.


def verbatim(words: Sequence[str]) -> list[str]:
    """`words` for a parser, to whom what is sent must not look like flags: a text may begin with a dash."""
    found, taken = list(words), 0
    for place, word in enumerate(words):
        if taken:
            taken -= 1
            found[place] = _VERBATIM + word
        elif word in ("--send", "--file"):
            taken = 2
        elif word == "--":
            break
    return found


class AddStep(Action):
    """``--send TO TEXT`` and ``--file TO PATH``, in the order in which they stand."""

    def __call__(self, parser: ArgumentParser, space: Namespace, values: object, option: str | None = None) -> None:
        assert isinstance(values, list) and option
        place, content = (str(value).removeprefix(_VERBATIM) for value in values)
        step = Step(option.removeprefix("--"), place, content)
        if not kinds.DESTINATION.accepts(place):
            parser.error(f'argument {option}: "{place}" must be {kinds.DESTINATION.allowed}')
        if step.action == "file" and fold(place) == "all":
            parser.error("argument --file: files go to one user, or into a thread")
        steps = getattr(space, self.dest)
        if step.reads and any(each.reads for each in steps):
            parser.error("argument --send: standard input can be sent once only")
        setattr(space, self.dest, [*steps, step])
