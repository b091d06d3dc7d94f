"""What a half-typed line may become: a command's name, then its words, names that were seen, paths.

Must not know commands: both programs bring theirs. Reads folders, writes nothing; what cannot be read has no
completions. Invariant: a result of ``complete`` is the whole line up to the cursor, the likeliest first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from chatlib.protocol.text import fold, printable, visible
from chatlib.protocol.words import last_word, quoted


def complete(
    before: str,
    names: Iterable[str],
    found: tuple[str, str] | None,
    follow: Callable[[str, str], Iterable[str]],
) -> list[str]:
    """`names` are those of all commands, with a blank where words follow. `found`: the command that `before` begins
    with, and the rest behind its name. `follow` says what such a rest may become."""
    lines = starting(before, names)
    if found is not None and (found[1] or before.endswith(" ")):
        command, rest = found
        head = before[: len(before) - len(rest)]
        lines += [head + each for each in follow(command, rest)]
    return [line for line in dict.fromkeys(lines) if line != before]


def starting(begun: str, candidates: Iterable[str]) -> list[str]:
    """Those that begin so; capitals make no difference."""
    return [each for each in candidates if fold(each).startswith(fold(begun))]


def words(rest: str, candidates: Iterable[str]) -> list[str]:
    """`rest` with its last word completed, quoted as it has to be typed."""
    start, begun, quote = last_word(rest)
    return [
        rest[:start] + _typed(word, quote) + " "
        for word in candidates
        if fold(word).startswith(fold(begun)) and visible(word) == word
    ]


def paths(rest: str) -> list[str]:
    """`rest` with its last word completed to a path."""
    start, begun, quote = last_word(rest)
    prefix = begun.rpartition("/")[2]
    if begun == "~":
        return [rest + "/"]
    shown = begun[: len(begun) - len(prefix)]
    try:
        with os.scandir(os.path.expanduser(shown) or ".") as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if _offered(entry.name, prefix))
    except (OSError, ValueError):
        return []
    return [rest[:start] + _path(shown + name, is_folder, quote) for name, is_folder in found]


def _offered(name: str, prefix: str) -> bool:
    hidden = name.startswith(".") and not prefix.startswith(".")
    return name.startswith(prefix) and not hidden and printable(name) == name


def _path(path: str, is_folder: bool, quote: str) -> str:
    typed = _typed(path, quote)
    if not is_folder:
        return typed + " "
    open_quote = bool(quote) and typed.startswith(quote)
    return (typed[:-1] if open_quote else typed) + "/"


def _typed(word: str, quote: str) -> str:
    """`word` as it is typed, in the quotes that were begun."""
    return f"{quote}{word}{quote}" if quote and quote not in word and "\\" not in word else quoted(word)


MOST_NAMES = 10_000  # that are known at once


class Names:
    """Names that were seen, the most recent first; capitals make no difference. At most MOST_NAMES, the latest."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # folded → as seen; the last is the most recent

    def see(self, name: object) -> None:
        if isinstance(name, str):
            self._names.pop(fold(name), None)
            self._names[fold(name)] = name
            if len(self._names) > MOST_NAMES:
                del self._names[next(iter(self._names))]

    def know(self, names: Iterable[str]) -> None:
        """Names that are there, and were not seen yet: they come behind those that were, in this order."""
        fresh = {fold(name): name for name in names}
        fresh = {folded: name for folded, name in fresh.items() if folded not in self._names}
        room = MOST_NAMES - len(self._names)
        self._names = {**dict(reversed(list(fresh.items())[:room])), **self._names}

    def forget(self, name: str) -> None:
        self._names.pop(fold(name), None)

    def beginning(self, prefix: str) -> list[str]:
        return starting(prefix, reversed(self._names.values()))
