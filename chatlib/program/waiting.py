"""The files that wait for a person, and what that person means by a few words.

Must not know connections or screens. Operations on the list that the server gave, and on the words of a typed line;
of the disk only what paths there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from chatlib.client.localfiles import TransferError
from chatlib.client.news import Fields
from chatlib.protocol.text import fold, visible
from chatlib.protocol.words import last_word, quoted, readable_size
from chatlib.terminal.completion import paths, words

File = tuple[str, str]  # sender and name, as the server knows them


class Offers:
    """What is known of them: senders and names, newest first."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str], Fields] = {}

    def see(self, files: object) -> None:
        """The server's list, whole."""
        self._files = {}
        for file in files if isinstance(files, list) else ():
            if isinstance(file, dict):
                self._files.setdefault(_key(file), file)  # of two with one name, the newest is meant

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

    def digest(self, sender: object, name: object) -> str | None:
        """The SHA-256 of one that waits; None: it is not known."""
        digest = self._files.get(_key({"from": sender, "name": name}), {}).get("sha256")
        return digest if isinstance(digest, str) else None

    def senders(self) -> list[str]:
        return list(dict.fromkeys(sender for sender, _ in self))

    def names(self, sender: str = "") -> list[str]:
        """The names of what `sender`, or anyone, has sent."""
        return list(dict.fromkeys(name for each, name in self if not sender or fold(each) == fold(sender)))

    def meant(self, words: list[str]) -> list[File]:
        """``<sender> <name>...`` or ``[count] <name>...``. Raises TransferError: a sentence says what is wrong."""
        names = counted(words, lambda word: any(word in (name, visible(name)) for _, name in self))
        if len(names) == len(words) > 1:
            first, *rest = words
            from_first = [(word, self._named(word, first)) for word in rest]
            missing = next((word for word, found in from_first if not found), None)
            if missing is None:
                return [self._single(word, found) for word, found in from_first]
            if not self._named(first):
                raise TransferError(f'No file "{missing}" from "{first}" waits for you.')
        return [self._only(name) for name in names]

    def follow(self, command: str, rest: str) -> list[str] | None:
        """What the rest of a file command may become; None: not for this class."""
        behind = last_word(rest)[0] > 0  # whether the word being typed is not the first
        match command:
            case "file" if behind:
                return paths(rest)
            case "fileget":
                first = rest.split(None, 1)[0] if behind else ""
                sender = first if fold(first) in map(fold, self.senders()) else ""
                return words(rest, self.names(sender) if first else self.senders() + self.names())
            case "filedecline":
                sender, blank, begun = rest.partition(" ")
                if not blank:
                    return words(rest, self.senders())
                head = rest[: len(rest) - len(begun.lstrip())]
                return [head + name for name in self.names(sender) if name.startswith(begun.lstrip())]
        return None

    def knows(self, sender: str, name: str) -> bool:
        """Whether exactly this one waits."""
        return (fold(sender), name) in self._files

    def from_sender(self, sender: str, word: str) -> File:
        """The one that `word` means of those that `sender` has sent. Raises TransferError."""
        found = self._named(word, sender)
        if not found:
            raise TransferError(f'No file "{word}" from "{sender}" waits for you. Type "fileget" for what does.')
        return self._single(word, found)

    def _named(self, word: str, sender: str = "") -> list[File]:
        """Those called `word`; if there are none, those that look so; if there are none, the one with that number."""
        files = [file for file in self if not sender or fold(file[0]) == fold(sender)]
        forms: list[Callable[[File], str]] = [lambda file: file[1], lambda file: visible(file[1]), self._number]
        return next((found for form in forms if (found := [file for file in files if form(file) == word])), [])

    def _number(self, file: File) -> str:
        return str(self._files[fold(file[0]), file[1]].get("seq"))

    def _single(self, word: str, found: list[File]) -> File:
        """Of one sender's files that look the same, none is meant. Raises TransferError."""
        if len(found) > 1:
            sizes = " or ".join(f"{self._number(file)} ({readable_size(self.size(file))})" for file in found)
            text = f'Several files from {found[0][0]} look like "{word}". Type its number instead: {sizes}'
            raise TransferError(text)
        return found[0]

    def _only(self, word: str) -> File:
        found = self._named(word)
        if not found:
            raise TransferError(f'No file "{word}" waits for you. Type "fileget" for what does.')
        if len({fold(sender) for sender, _ in found}) > 1:
            ways = " or ".join(f"fileget {quoted(sender)} {quoted(visible(name))}" for sender, name in found)
            raise TransferError(f'"{word}" waits from more than one user. Type {ways}')
        return self._single(word, found)


def counted(words: Iterable[str], is_file: Callable[[str], bool]) -> list[str]:
    """`words` without the count that may stand before them, which has to be right. Raises TransferError."""
    first, *rest = words
    if not (rest and first.isascii() and first.isdigit()) or (int(first[:9]) != len(rest) and is_file(first)):
        return [first, *rest]
    if int(first[:9]) != len(rest):
        named = f"{len(rest)} {'is' if len(rest) == 1 else 'are'}"
        raise TransferError(f"You announced {first} file{'' if first == '1' else 's'}, but {named} named.")
    return rest


def _key(file: Fields) -> tuple[str, str]:
    return fold(str(file.get("from"))), str(file.get("name"))
