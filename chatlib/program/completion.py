"""What a half-typed file command may become: local paths, senders and names of waiting files.

Must not know the screen. Reads folders, writes nothing; what cannot be read has no completions. A result is the whole
line up to the cursor, as in :func:`.lines.complete`.
"""

from __future__ import annotations

import os

from chatlib.program.lines import ROLES
from chatlib.program.waiting import Waiting
from chatlib.protocol.commands import find
from chatlib.protocol.text import fold, printable, visible
from chatlib.protocol.words import last_word, quoted


def complete_file(before: str, waiting: Waiting) -> list[str] | None:
    """For ``file``, ``fileget`` and ``filedecline`` beyond what is a user's name; None: not for this module."""
    found = find(before, *ROLES)
    if found is None or not (found[2] or before.endswith(" ")):
        return None
    command, _, rest = found
    if command.name == "file":
        return _paths(before) if _words_before(rest) else None
    if command.name == "fileget":
        first = rest.split(None, 1)[0] if _words_before(rest) else ""
        known = fold(first) in map(fold, waiting.senders())
        return _fitting(before, waiting.names(first if known else "") if first else waiting.senders() + waiting.names())
    if command.name == "filedecline":
        sender, blank, begun = rest.partition(" ")
        if not blank:
            return _fitting(before, waiting.senders())
        head = before[: len(before) - len(begun.lstrip())]
        return [head + name for name in waiting.names(sender) if name.startswith(begun.lstrip())]
    return None


def _words_before(rest: str) -> bool:
    """Whether the word being typed is not the first."""
    return last_word(rest)[0] > 0


def _fitting(before: str, words: list[str]) -> list[str]:
    start, begun, quote = last_word(before)
    return [
        before[:start] + _typed(word, quote) + " "
        for word in words
        if fold(word).startswith(fold(begun)) and visible(word) == word
    ]


def _typed(word: str, quote: str) -> str:
    """`word` as it is typed, in the quotes that were begun."""
    return f"{quote}{word}{quote}" if quote and quote not in word and "\\" not in word else quoted(word)


def _paths(before: str) -> list[str]:
    start, begun, quote = last_word(before)
    prefix = begun.rpartition("/")[2]
    if begun == "~":
        return [before + "/"]
    shown = begun[: len(begun) - len(prefix)]
    try:
        with os.scandir(os.path.expanduser(shown) or ".") as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if _offered(entry.name, prefix))
    except (OSError, ValueError):
        return []
    return [before[:start] + _path(shown + name, is_folder, quote) for name, is_folder in found]


def _offered(name: str, prefix: str) -> bool:
    hidden = name.startswith(".") and not prefix.startswith(".")
    return name.startswith(prefix) and not hidden and printable(name) == name


def _path(path: str, is_folder: bool, quote: str) -> str:
    if not is_folder:
        return _typed(path, quote) + " "
    typed = _typed(path, quote)
    open_quote = bool(quote) and typed.startswith(quote)
    return (typed[:-1] if open_quote else typed) + "/"
