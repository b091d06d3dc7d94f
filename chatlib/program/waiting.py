"""The files that wait for a person, and what that person means by a few words.

Must not know connections. Pure operations on the list that the server gave, and on the words of a typed line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from chatlib.client.filenames import quoted
from chatlib.client.localfiles import FileError
from chatlib.client.news import Fields
from chatlib.protocol.text import fold, printable

File = tuple[str, str]  # sender and name, as the server knows them


class Waiting:
    """What is known of them: senders and names, newest first."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str], Fields] = {}

    def see(self, files: object) -> None:
        """The server's list, whole."""
        self._files = {_key(file): file for file in files if isinstance(file, dict)} if isinstance(files, list) else {}

    def add(self, file: Fields) -> None:
        """One more has come."""
        self._files = {_key(file): file, **self._files}

    def remove(self, sender: object, name: object) -> None:
        self._files.pop(_key({"from": sender, "name": name}), None)

    def __iter__(self) -> Iterator[File]:
        return ((str(file.get("from")), str(file.get("name"))) for file in self._files.values())

    def size(self, file: File) -> int:
        size = self._files.get((fold(file[0]), file[1]), {}).get("size")
        return size if isinstance(size, int) and size >= 0 else 0

    def senders(self) -> list[str]:
        return list(dict.fromkeys(sender for sender, _ in self))

    def names(self, sender: str = "") -> list[str]:
        """The names of what `sender`, or anyone, has sent."""
        return list(dict.fromkeys(name for each, name in self if not sender or fold(each) == fold(sender)))

    def meant(self, words: list[str]) -> list[File]:
        """``<sender> <name>...`` or ``[count] <name>...``. Raises FileError with a sentence that says what is wrong."""
        names = counted(words, lambda word: bool(self._named(word)))
        if len(names) == len(words) > 1:
            first, *rest = words
            from_first = [(word, self._named(word, first)) for word in rest]
            missing = next((word for word, found in from_first if not found), None)
            if missing is None:
                return [found[0] for _, found in from_first]
            if not self._named(first):
                raise FileError(f'No file "{missing}" from "{first}" waits for you.')
        return [self._only(name) for name in names]

    def _named(self, word: str, sender: str = "") -> list[File]:
        return [file for file in self if _is(file[1], word) and (not sender or fold(file[0]) == fold(sender))]

    def _only(self, word: str) -> File:
        found = self._named(word)
        if not found:
            raise FileError(f'No file "{word}" waits for you. Type "fileget" for what does.')
        if len(found) > 1:
            ways = " or ".join(f"fileget {quoted(sender)} {quoted(printable(name))}" for sender, name in found)
            raise FileError(f'"{word}" waits from more than one user. Type {ways}')
        return found[0]


def counted(words: Iterable[str], is_file: Callable[[str], bool]) -> list[str]:
    """`words` without the count that may stand before them, which has to be right. Raises FileError."""
    first, *rest = words
    if not (rest and first.isascii() and first.isdigit()) or (int(first[:9]) != len(rest) and is_file(first)):
        return [first, *rest]
    if int(first[:9]) != len(rest):
        named = f"{len(rest)} {'is' if len(rest) == 1 else 'are'}"
        raise FileError(f"You announced {first} file{'' if first == '1' else 's'}, but {named} named.")
    return rest


def _is(name: str, word: str) -> bool:
    return word in (name, printable(name))


def _key(file: Fields) -> tuple[str, str]:
    return fold(str(file.get("from"))), str(file.get("name"))
