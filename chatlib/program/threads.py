"""What a person has seen of threads: titles, file names, and which message stood under which number.

Must not know connections or screens. Invariant: ``seq`` is of the message that this person was last shown under that
number; what others delete meanwhile does not change it, so that a number read before means what it meant then.
"""

from __future__ import annotations

from collections.abc import Iterable

from chatlib.client.news import Fields
from chatlib.protocol.text import fold
from chatlib.protocol.words import rest_quoted
from chatlib.terminal.completion import Names, paths, starting

KEPT = 10_000  # numbers of one thread that are remembered, the latest


class SeenThreads:
    """Of one person."""

    def __init__(self) -> None:
        self.titles = Names()
        self._known: set[str] = set()  # folded titles
        self._numbers: dict[str, dict[int, int]] = {}  # by folded title: number → seq
        self._files: dict[str, dict[str, None]] = {}  # by folded title: names in the order in which they were seen

    # What is seen.

    def listed(self, titles: Iterable[object]) -> None:
        """The forum's threads, or those that are followed."""
        for title in titles:
            self._see_title(title)

    def read(self, title: str, items: Iterable[object]) -> None:
        """What stands in a thread."""
        self._see_title(title)
        for item in items:
            if isinstance(item, dict):
                self._number(title, item.get("number"), item.get("seq"))
                self._file(title, item.get("file"))

    def heard(self, event: Fields) -> None:
        """An event, of whatever kind."""
        title = event.get("thread")
        if not isinstance(title, str):
            return
        self._see_title(title)
        match event.get("event"):
            case "post":
                self._number(title, event.get("number"), event.get("seq"))
            case "edit":
                self._number(title, event.get("number"), event.get("of"))
            case "upload":
                self._file(title, event.get("name"))
            case "file_removed":
                self._files.get(fold(title), {}).pop(str(event.get("name")), None)
            case "thread_removed":
                self.gone(title)

    def deleted(self, title: str, number: int) -> None:
        """The person has deleted that message, and knows that those behind it have moved up."""
        seqs = self._numbers.get(fold(title), {})
        self._numbers[fold(title)] = {
            each - (each > number): seq for each, seq in sorted(seqs.items()) if each != number
        }

    def gone(self, title: str) -> None:
        """The thread is no more."""
        self.titles.forget(title)
        self._known.discard(fold(title))
        self._numbers.pop(fold(title), None)
        self._files.pop(fold(title), None)

    def _see_title(self, title: object) -> None:
        if isinstance(title, str):
            self.titles.see(title)
            self._known.add(fold(title))

    def _number(self, title: str, number: object, seq: object) -> None:
        if isinstance(number, int) and isinstance(seq, int):
            seqs = self._numbers.setdefault(fold(title), {})
            seqs.pop(number, None)
            seqs[number] = seq
            if len(seqs) > KEPT:
                del seqs[next(iter(seqs))]

    def _file(self, title: str, name: object) -> None:
        if isinstance(name, str):
            self._files.setdefault(fold(title), {})[name] = None

    # What is known.

    def seq(self, title: str, number: int) -> int | None:
        """Of the message that was last shown under `number`."""
        return self._numbers.get(fold(title), {}).get(number)

    def meant(self, title: str) -> str:
        """A typed title: threads are shown with a ``#`` before them, so people type it, too."""
        bare = title[1:]
        return bare if title.startswith("#") and fold(bare) in self._known and fold(title) not in self._known else title

    def follow(self, command: str, rest: str, users: Names) -> list[str] | None:
        """What the rest of a command about threads may become; None: not for this class."""
        if command in ("to", "history"):
            people = users.beginning("")
            places = [*(f"#{title}" for title in self.titles.beginning("")), *people, "all"]
            places += [f"@{name}" for name in people if command == "to"]
            return starting(rest, places)
        title, blank, begun = rest.partition(" ")
        if not blank:
            return None
        if command == "upd":
            return paths(rest)
        if command in ("dwn", "rmf"):
            head = rest[: len(rest) - len(begun.lstrip())]
            names = map(rest_quoted, self._files.get(fold(self.meant(title)), ()))
            return [head + name for name in starting(begun.lstrip(), names)]
        return None
