"""Threads: the state of the forum, and how each lies at rest, in a file of its own that a person can read.

A thread keeps its messages as columns, without an object for each: there may be a million. A message's number is its
place among those that are there; an attachment stands between them, without one. A ``seq`` is the LSN of the command
that brought a message or an attachment, and never changes.

At rest each thread is a file: its creator, then ``3 ann: hello`` for a message and ``ann uploaded notes.txt`` for an
attachment, in their order. Behind a tab, which no text, title or name holds, stands what the server needs besides: so
nothing that people write can be taken for anything else.

Invariants: the columns are equally long; seqs strictly grow; a thread's stream is in ``world.streams`` as long as the
thread is there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from chatlib.core.ordered import Directory
from chatlib.protocol.text import fold, is_title

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import World

# Names that some disks keep for themselves.
_PORTS = (f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))
_DEVICES = frozenset({"con", "prn", "aux", "nul", *_PORTS})


class Author(NamedTuple):
    """Who wrote something. Somebody new under the same name is somebody else."""

    name: str  # as it was registered then
    joined: int  # the LSN of that registration

    def is_account(self, account: Account) -> bool:
        """Whether `account` is the author's."""
        return self.joined == account.joined and fold(self.name) == account.user


class Attachment(NamedTuple):
    """A file in a thread."""

    seq: int
    at: float
    author: Author
    name: str
    size: int
    sha256: str
    blob: str  # the name of its bytes on disk


class Thread:
    """A thread. `created` is the LSN of its creation, and tells it from an earlier one of the same title."""

    __slots__ = ("_authors", "attachments", "authors", "changed", "created", "creator", "edited", "seqs", "size",
                 "stream", "texts", "times", "title")  # fmt: skip

    def __init__(self, title: str, creator: Author, created: int, changed: int) -> None:
        self.title, self.creator, self.created = title, creator, created
        self.changed = changed  # the LSN of the last change
        self.stream = f"#{fold(title)}/{created}"  # the name of the stream of its events
        self.seqs, self.times = array("q"), array("d")
        self.authors: list[Author] = []
        self.texts: list[str] = []
        self.edited: dict[int, float] = {}  # by seq: when, of those messages that were
        self.attachments: dict[str, Attachment] = {}  # by name, in their order
        self.size = 0  # bytes of all attachments
        self._authors: dict[Author, Author] = {creator: creator}  # each is kept once

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thread) and self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Thread({self._content()})"

    def _content(self) -> tuple[object, ...]:
        return (self.title, self.creator, self.created, self.seqs, self.times, self.authors, self.texts, self.edited,
                list(self.attachments.values()), self.size)  # fmt: skip

    def add(self, seq: int, at: float, author: Author, text: str) -> int:
        """Another message; its number."""
        self.seqs.append(seq)
        self.times.append(at)
        self.authors.append(self._authors.setdefault(author, author))
        self.texts.append(text)
        return len(self.seqs)

    def delete(self, place: int) -> None:
        """The message at that place goes, and those behind it move up."""
        self.edited.pop(self.seqs[place], None)
        for column in (self.seqs, self.times, self.authors, self.texts):
            del column[place]

    def edit(self, place: int, text: str, at: float) -> None:
        """The message at that place says something else."""
        self.texts[place] = text
        self.edited[self.seqs[place]] = at

    def attach(self, file: Attachment) -> None:
        """Another attachment, under a name that none has."""
        author = self._authors.setdefault(file.author, file.author)
        self.attachments[file.name] = file._replace(author=author)
        self.size += file.size

    def detach(self, file: Attachment) -> None:
        """The attachment goes."""
        del self.attachments[file.name]
        self.size -= file.size

    # What only reads.

    def place_of(self, seq: int) -> int | None:
        """Where the message with this seq stands, if it is there."""
        place = bisect_left(self.seqs, seq)
        return place if place < len(self.seqs) and self.seqs[place] == seq else None

    def before(self, seq: int) -> Iterator[int | Attachment]:
        """What is earlier than `seq`, newest first: the places of messages, and attachments between them."""
        files = [file for file in self.attachments.values() if file.seq < seq]
        for place in range(bisect_left(self.seqs, seq) - 1, -1, -1):
            while files and files[-1].seq > self.seqs[place]:
                yield files.pop()
            yield place
        yield from reversed(files)


class Forum(Directory[Thread]):
    """All threads, by their folded titles. `graves`: the streams of those that were removed, the oldest first, as far
    as they are kept; None: not looked for yet."""

    __slots__ = ("graves",)

    def __init__(self) -> None:
        super().__init__()
        self.graves: deque[str] | None = None

    def named(self, title: str) -> Thread | None:
        """The thread of that title, however it is written."""
        return self.get(fold(title))


def forum_of(world: World) -> Forum:
    """The threads of `world`."""
    forum: Forum = world.state["forum"]
    return forum


# At rest.


def file_name(folded: str) -> str:
    """The name of the file of a thread: no path to anywhere, and no other thread's on any disk.

    Everything but letters and digits is escaped as in the address of a web page, and the first letter of a word that
    is no file on some disks.
    """
    if folded in _DEVICES:
        return f"%{ord(folded[0]):02x}{folded[1:]}"
    return "".join(char if char.isalnum() else f"%{ord(char):02x}" for char in folded)


def names(world: World) -> Iterator[tuple[str, int]]:
    """Of each thread, its file's name and the LSN of its last change."""
    return ((file_name(folded), thread.changed) for folded, thread in forum_of(world).items())


def _folded(name: str) -> str:
    """The title whose file has this name. Raises ValueError."""
    first, *parts = name.split("%")
    title = first + "".join(chr(int(part[:2], 16)) + part[2:] for part in parts)
    if not is_title(title) or file_name(title) != name:
        raise ValueError("the file's name stands for no title")
    return title


def dump(world: World, name: str) -> Iterator[str]:
    """The lines of the thread whose file has this name."""
    thread = forum_of(world)[_folded(name)]
    yield f"{thread.creator.name}\t{thread.creator.joined} {thread.created} {thread.title}"
    lines = merge(_messages(thread), _attachments(thread))
    yield from (line for _, line in lines)


def _messages(thread: Thread) -> Iterator[tuple[int, str]]:
    edited = thread.edited
    columns = zip(thread.seqs, thread.times, thread.authors, thread.texts, strict=True)
    for number, (seq, at, author, text) in enumerate(columns, 1):
        more = f" {edited[seq]!r}" if seq in edited else ""
        yield seq, f"{number} {author.name}: {text}\t{author.joined} {seq} {at!r}{more}"


def _attachments(thread: Thread) -> Iterator[tuple[int, str]]:
    for seq, at, author, name, size, sha256, blob in thread.attachments.values():
        yield seq, f"{author.name} uploaded {name}\t{author.joined} {seq} {at!r} {size} {sha256} {blob}"


def load(world: World, name: str) -> Callable[[str], None]:
    """What takes the lines of the file of this name."""
    thread: Thread | None = None

    def read(line: str) -> None:
        nonlocal thread
        said, _, kept = line.partition("\t")
        if thread is None:
            thread = _begun(world, name, said, *kept.split(" "))
            return
        joined, seq, at, *more = kept.split(" ")
        if len(more) <= 1:
            _, author, text = said.split(" ", 2)
            thread.add(int(seq), float(at), Author(author[:-1], int(joined)), text)
            if more:
                thread.edited[int(seq)] = float(more[0])
        else:
            author, _, title = said.split(" ", 2)
            size, sha256, blob = more
            file = Attachment(int(seq), float(at), Author(author, int(joined)), title, int(size), sha256, blob)
            thread.attach(file)

    return read


def first_line(world: World, name: str, lines: Iterable[str]) -> str:
    """The first line of a thread's file whose own is damaged, from what else is known. Raises ValueError."""
    title = _folded(name)
    streams = [stream.rpartition("/") for stream in world.streams if stream.startswith("#")]
    created = max((int(lsn) for folded, _, lsn in streams if folded == f"#{title}"), default=0)
    for line in lines:
        said, _, kept = line.partition("\t")
        words, numbers = said.split(" "), kept.split(" ")
        if len(words) > 1 and len(numbers) > 2:
            author = words[1].removesuffix(":") if words[0].isdecimal() else words[0]
            return f"{author}\t{int(numbers[0])} {created or int(numbers[1]) - 1} {title}"
    raise ValueError("nothing of the thread is left")


def _begun(world: World, name: str, creator: str, joined: str, created: str, title: str) -> Thread:
    folded = _folded(name)
    if fold(title) != folded:
        raise ValueError(f"the file of {title} has another name")
    thread = Thread(title, Author(creator, int(joined)), int(created), world.lsn)
    forum_of(world).load(folded, thread)
    return thread
