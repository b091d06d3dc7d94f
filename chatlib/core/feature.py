"""A feature: what one part of the house brings to the world, under one name.

Everything here is data or a pure function, so that the world, the text files, the removal of an account and the edge go
through the list of features (:mod:`.features`) and know none by name. Whatever a feature keeps is found in the account
or, under the feature's name, in ``world.state``; only its handlers, and what is read at the start, change it.
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
# Carries out one command, whose LSN is given; a refusal is a reply, an exception a fault of ours.
Handler = Callable[["World", int, Command], Reply]
# Answers a question of a user's from the world as it is, at a time. Changes nothing.
Answer = Callable[["World", str, Request, float], Reply]


class FlatFile(NamedTuple):
    """A flat file: what it says of itself in its first line, its lines, and what a line read does to a new world."""

    about: str
    dump: Callable[[World], Iterator[str]]
    load: Callable[[World, str], None]


class Coming(NamedTuple):
    """What is on its way into a pool already: how many files of the asker, how many in all, how many bytes."""

    from_sender: int
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class UploadGrant:
    """Bytes that a user may bring."""

    identity: tuple[str, ...]  # the owner, and all that makes it this upload and no other: its part is found by it
    pool: str  # whose room they take: what is on its way there is counted
    name: str  # what people call them
    size: int
    sha256: str
    command: Command  # makes them visible; `at` and `blob` are added
    tells: str  # the user, if any, who is told when they cannot be taken


@dataclass(frozen=True, slots=True)
class DownloadGrant:
    """Bytes that a user may fetch."""

    blob: str
    size: int
    sha256: str


# What is coming into a pool.
Pools = Callable[[str], Coming]
# A rule is asked when a ticket is asked for, and again when its bytes begin; the same grant must come out. It changes
# nothing. A reply says why there is no grant; an empty one, that none is asked for: the request is a question.
UploadRule = Callable[["World", str, Request, Pools], "UploadGrant | Reply"]
DownloadRule = Callable[["World", str, Request, Pools], "DownloadGrant | Reply"]


def _owns_nothing(_world: World) -> Iterable[str]:
    return ()


def _remembers_nothing(_world: World, _account: Account) -> None: ...


@dataclass(frozen=True)
class Feature:
    """What a feature brings. Handlers are found by a command's action, all else by a row's name."""

    name: str
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    uploads: Mapping[str, UploadRule] = field(default_factory=dict)
    downloads: Mapping[str, DownloadRule] = field(default_factory=dict)
    files: Mapping[str, FlatFile] = field(default_factory=dict)  # at rest, read in this order, behind the accounts
    blobs: Callable[[World], Iterable[str]] = _owns_nothing  # the names of the bytes on disk that it needs
    forget: Callable[[World, Account], None] = _remembers_nothing  # an account, which is offline, goes
    state: Callable[[], Any] | None = None  # makes what world.state has of it
    kept_as: Mapping[str, str] = field(default_factory=dict)  # renamed commands: what fingerprints on disk call them
