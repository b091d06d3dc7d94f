"""A feature: what one part of the house brings to the world, under one name.

Everything here is data or a pure function, so that the world, the text files, the removal of an account and the edge go
through the list of features (:mod:`.features`) and know none by name. A feature keeps its state in accounts or, under
its own name, in ``world.state``. Only its handlers change it, and the flat files that are read at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from chatlib.core.replies import Reply

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import World

Command = dict[str, Any]
Request = dict[str, Any]
# Carries out one command; the number is its LSN. A refusal is a reply, an exception is a fault of ours.
Handler = Callable[["World", int, Command], Reply]
# Answers a user's question from the world as it is now. Changes nothing. The number is the time.
Answer = Callable[["World", str, Request, float], Reply]


class FlatFile(NamedTuple):
    """A flat file: what it says of itself in its first line, its lines, and what a line read does to a new world."""

    about: str
    dump: Callable[[World], Iterator[str]]
    load: Callable[[World, str], None]


class FlatFolder(NamedTuple):
    """Any number of flat files of one kind, in a folder of their own; only those that changed are written.

    A file's name is what the feature makes of a title: not all that people write may be one, nor differ by capitals
    alone from another. A file has one line at least: the world hears of it when a line is read. Files are read in the
    order in which `names` gave them, each with a function of its own that takes its lines.
    """

    about: str
    names: Callable[[World], Iterable[tuple[str, int]]]  # of each file, and the LSN of the last change of its lines
    dump: Callable[[World, str], Iterator[str]]  # of a name
    load: Callable[[World, str], Callable[[str], None]]  # of a name, when world.lsn is that of its set: takes a line
    # Of a name, the first line where it is damaged, made again of the others. Raises ValueError.
    begin: Callable[[World, str, Iterable[str]], str] | None = None


class Coming(NamedTuple):
    """What is on its way into a pool: how many files of the user who asks, how many in all, how many bytes."""

    from_sender: int
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class UploadGrant:
    """Bytes that a user may bring."""

    # The owner, for whom it is, then whatever tells this upload from others: its part is found by it.
    identity: tuple[str, ...]
    pool: str  # names the room that they need; uploads into one pool are counted together
    name: str  # what people call them
    size: int
    sha256: str
    command: Command  # makes them visible; `at` and `blob` are added
    tells: str  # the user who is told when the disk fails; "": nobody


@dataclass(frozen=True, slots=True)
class DownloadGrant:
    """Bytes that a user may fetch."""

    blob: str
    size: int
    sha256: str


# What is coming into a pool.
Pools = Callable[[str], Coming]
# A rule decides when a ticket is asked for, and again when its bytes begin: the grant must be the same. It changes
# nothing. A reply says why there is no grant; an empty reply, that the request is a question and wants none.
UploadRule = Callable[["World", str, Request, Pools], "UploadGrant | Reply"]
DownloadRule = Callable[["World", str, Request, Pools], "DownloadGrant | Reply"]


class AppendOnly(NamedTuple):
    """A file that only grows, line by line, by the effect APPEND. No save writes it anew.

    A line begins with a blank, before which its checksum is put: it stands for `CHECKSUM` bytes more than it has. `end`
    says how long the file is in this world, `fits` whether this can be its last line, which stands at that offset.
    """

    first_line: str
    end: Callable[[World], int]
    fits: Callable[[World, bytes, int], bool]


def _owns_nothing(_world: World) -> Iterable[str]:
    return ()


def _remembers_nothing(_world: World, _account: Account) -> None: ...


def _finds_nothing(_world: World) -> str:
    return ""


def _says_nothing(_world: World) -> Iterable[tuple[str, Any]]:
    return ()


def _does_not_mind(_world: World, _account: Account, _user: str) -> None: ...


@dataclass(frozen=True)
class Feature:
    """What a feature brings. Handlers are found by a command's action, all else by a row's name."""

    name: str
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    uploads: Mapping[str, UploadRule] = field(default_factory=dict)
    downloads: Mapping[str, DownloadRule] = field(default_factory=dict)
    # At rest, read in this order, behind the accounts. The name of a folder ends in "/".
    files: Mapping[str, FlatFile | FlatFolder] = field(default_factory=dict)
    blobs: Callable[[World], Iterable[str]] = _owns_nothing  # the bytes on disk that it owns; others are removed
    parties: Callable[[World], Iterable[str]] = _owns_nothing  # of whom and for whom bytes may be on their way
    forget: Callable[[World, Account], None] = _remembers_nothing  # an account is removed; it is offline
    state: Callable[[], Any] | None = None  # makes what world.state has of it
    kept_as: Mapping[str, str] = field(default_factory=dict)  # of a renamed command: its name in fingerprints on disk
    appends: Mapping[str, AppendOnly] = field(default_factory=dict)
    wrong: Callable[[World], str] = _finds_nothing  # with all that was read of the files; it names the file
    # An account is there: a new one or, at each start, any: it may have been there before the feature was.
    opened: Callable[[World, Account], None] | None = None
    blocked: Callable[[World, Account, str], None] = _does_not_mind  # an account blocks a name from now on
    # What speaks to others, by the name of the row: which field of it does ("": the whole). Who is muted may not.
    speaks: Mapping[str, str] = field(default_factory=dict)
    # Lines of state.txt, only as long as there is something to say: each a name, and what JSON can hold; and what one
    # that is read does to a new world, by its name.
    lines: Callable[[World], Iterable[tuple[str, Any]]] = _says_nothing
    reads: Mapping[str, Callable[[World, Any], None]] = field(default_factory=dict)
