"""Files in a person's words: what waits, and what is meant by a few words; commands → transfers → sentences and bars.

Must not know connections or keys. Legal order of a FileTalk: ``command`` and ``heard`` while the conversation lasts,
``status`` once a tick, ``leave`` before the end. Invariant: each transfer that a person asked for has one last
sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.files import Fetching, Place, Sending, ThreadFiles, UserFiles
from chatlib.client.localfiles import TransferError, remove_part
from chatlib.client.news import Fields, News, Request, integer_of
from chatlib.client.transfers import Stage, Transfer, TransferQueue
from chatlib.program.sentences import files as say
from chatlib.program.sentences.book import Line, error
from chatlib.protocol.text import fold, visible
from chatlib.protocol.words import BadQuotes, last_word, quoted, readable_size, split_words
from chatlib.terminal import completion
from chatlib.terminal.progress import Bars, Progress
from chatlib.terminal.screen import Part

COMMANDS = frozenset({"file", "fileget", "filedecline", "upd", "dwn"})
_NAME = 32  # characters of a name that a bar shows
_COUNTED = (Stage.READING, Stage.MOVING, Stage.CHECKING)
File = tuple[str, str]  # sender and name, as the server knows them


# What waits.


class Offers:
    """The files that wait for a person, as far as is known: senders and names, newest first."""

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
        return max(0, integer_of(self._files.get((fold(file[0]), file[1]), {}), "size"))

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
                return completion.paths(rest)
            case "fileget":
                first = rest.split(None, 1)[0] if behind else ""
                sender = first if fold(first) in map(fold, self.senders()) else ""
                return completion.words(rest, self.names(sender) if first else self.senders() + self.names())
            case "filedecline":
                sender, blank, begun = rest.partition(" ")
                if not blank:
                    return completion.words(rest, self.senders())
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


# What goes on.


def progress(transfer: Transfer) -> Progress:
    """How far it is, and what it is called: ``report.pdf from ann``."""
    name = transfer.name if len(transfer.name) <= _NAME else transfer.name[: _NAME - 1] + "…"
    label = f"{name} {'from' if isinstance(transfer, Fetching) else 'to'} {transfer.peer}"
    state = "" if transfer.stage is Stage.MOVING else transfer.stage.value
    return Progress(label, transfer.position, transfer.size, state, transfer.stage in _COUNTED)


class FileTalk:
    """With one person, who reads what `write` gets. `downloads`: where files are saved; `bars`: there is a place to
    draw progress in."""

    def __init__(
        self,
        conversation: Conversation,
        transfers: TransferQueue,
        write: Callable[..., None],
        downloads: Path,
        bars: bool = False,
    ) -> None:
        self.waiting = Offers()
        self.refused = False  # something could not be done
        self._conversation = conversation
        self._transfers = transfers
        self._write = write
        self._downloads = downloads
        self._drawn = bars
        self._bars = Bars(progress)
        self._wanted: list[tuple[Request, Callable[[], None]]] = []  # what to do once it is known what waits
        self._naming: tuple[Request, Callable[[Callable[[], None]], None]] | None = None  # what waits is named on this
        self._told: set[File] = set()  # that came since the person is here
        self._quiet: list[Request] = []  # lists that nobody wants to see
        self._begun: set[Transfer] = set()  # those whose beginning was told
        self._unwanted: set[Transfer] = set()  # those that were declined meanwhile
        self._left = False
        transfers.listener = self

    @property
    def busy(self) -> int:
        """How much is under way."""
        return len(self._transfers.all) + len(self._wanted)

    # What the person does.

    def command(self, name: str, fields: Fields, now: float) -> None:
        """One of COMMANDS."""
        try:
            if name == "file":
                self._send(UserFiles(str(fields["to"])), split_words(str(fields["path"])))
            elif name == "upd":
                self._send(ThreadFiles(str(fields["title"])), split_words(str(fields["path"])))
            elif name == "dwn":
                place = ThreadFiles(str(fields["title"]))
                self._transfers.add(Fetching(self._transfers, place, str(fields["name"]), self._downloads))
            elif name == "fileget" and "file" in fields:
                self._when_known(partial(self._fetch, split_words(str(fields["file"]))), now)
            elif name == "filedecline" and not self.waiting.knows(str(fields["from"]), str(fields["name"])):
                self._when_known(partial(self._decline, str(fields["from"]), str(fields["name"])), now)
            else:
                if name == "filedecline" and self.waiting.digest(fields["from"], fields["name"]) is None:
                    self.refresh(now)  # to know what was half fetched of it
                self._conversation.request(name, fields, now)
        except (TransferError, BadQuotes) as wrong:
            self._refuse(wrong)

    def _when_known(self, then: Callable[[], None], now: float) -> None:
        self._wanted.append((self._conversation.request("fileget", {}, now), then))

    def _send(self, place: Place, words: list[str]) -> None:
        for path in counted(words, lambda word: Path(word).expanduser().exists()):
            try:
                upload = Sending(self._transfers, place, path)
                self._transfers.add(upload)
                if upload.renamed:
                    self._show(say.renamed(path, upload.name))
            except TransferError as wrong:
                self._refuse(wrong)

    def _fetch(self, words: list[str]) -> None:
        try:
            for sender, name in self.waiting.meant(words):
                size = self.waiting.size((sender, name))
                self._transfers.add(Fetching(self._transfers, UserFiles(sender), name, self._downloads, size))
        except TransferError as wrong:
            self._refuse(wrong)

    def _decline(self, sender: str, word: str) -> None:
        try:
            sender, name = self.waiting.from_sender(sender, word)
        except TransferError as wrong:
            self._show(error(wrong))
        else:
            self._conversation.request("filedecline", {"from": sender, "name": name}, self._transfers.loop.now)

    def refresh(self, now: float) -> None:
        """Asks what waits, for completion."""
        self._quiet.append(self._conversation.request("fileget", {}, now))

    def came(self, now: float, when: Callable[[Callable[[], None]], None]) -> None:
        """The person has logged in: asks what waits, and names, `when` it fits, what was told of before."""
        self._told.clear()
        self.refresh(now)  # nobody waits for it, so it does not count as busy
        self._naming = self._quiet[-1], when

    def _name_again(self) -> None:
        earlier = [(sender, name, self.waiting.size((sender, name))) for sender, name in self.waiting
                   if (sender, name) not in self._told]  # fmt: skip
        if earlier:
            self._show(say.still_waiting(earlier))

    def leave(self) -> None:
        """Cuts what is under way, and says so."""
        self._left = True
        for transfer in self._transfers.all:
            self._show(say.cut(transfer.name, isinstance(transfer, Fetching), transfer.peer))
        self._transfers.stop()

    # What happens.

    def heard(self, item: News) -> bool:
        """Any news of the conversation; whether there is nothing more to say about it."""
        match item:
            case n.Arrived({"event": "file"}):
                self.waiting.add(item.event)
                self._told.add((str(item.event.get("from")), str(item.event.get("name"))))
            case n.Answered() if item.request.action == "fileget" and "items" in item.reply:
                self.waiting.see(item.reply["items"])
            case n.Answered() if item.request.action == "filedecline" and item.status == "OK":
                self._declined(str(item.request.fields.get("from")), str(item.request.fields.get("name")))
            case n.Ended():
                self.leave()
        return self._transfers.heard(item) or (isinstance(item, n.Answered) and self._is_mine(item))

    def _declined(self, sender: str, name: str) -> None:
        """It need not be fetched any more, and what was fetched of it goes."""
        for transfer in self._transfers.all:
            if isinstance(transfer, Fetching) and transfer.is_of(sender, name):
                self._unwanted.add(transfer)
                transfer.end("It was declined.")
        digest = self.waiting.digest(sender, name)
        if digest:
            remove_part(self._downloads, name, digest)
        self.waiting.remove(sender, name)

    def _is_mine(self, item: n.Answered) -> bool:
        for asked in self._wanted:
            if asked[0] is item.request:
                self._wanted.remove(asked)
                if item.status == "OK":
                    asked[1]()
                return item.status == "OK"
        if any(request is item.request for request in self._quiet):
            self._quiet.clear()
            if self._naming is not None and self._naming[0] is item.request and item.status == "OK":
                self._naming[1](self._name_again)
            return True
        return item.request.action == "received"  # its file is here, whatever the server says

    # What transfers tell.

    def begun(self, transfer: Transfer) -> None:
        if not self._drawn and transfer not in self._begun:
            self._begun.add(transfer)
            receives = isinstance(transfer, Fetching)
            begun = progress(transfer).percent if transfer.position else 0
            self._show(say.transfer_begun(transfer.name, receives, transfer.peer, transfer.size, begun))

    def begun_anew(self, transfer: Transfer) -> None:
        self._show(say.begun_anew(transfer.name, transfer.peer))

    def ended(self, transfer: Transfer) -> None:
        self._begun.discard(transfer)
        if self._left or transfer in self._unwanted:
            self._unwanted.discard(transfer)
            return
        if transfer.failure:
            self._refuse(transfer.failure)
        elif isinstance(transfer, Fetching):
            self.waiting.remove(transfer.peer, transfer.name)
            self._show(say.fetched(transfer.name, transfer.peer, str(transfer.path)))
        else:
            self._show(say.sent(transfer.name, transfer.peer, transfer.size))

    def status(self, now: float) -> list[Part]:
        """The bars; without a place for them, plain lines are printed instead, few enough to be read."""
        active = self._transfers.active
        if self._drawn:
            return self._bars.lines(active, len(self._transfers.queued), now)
        for transfer, mark in self._bars.quarters(active, now):
            self._show(say.passed(transfer.name, mark))
        return []

    def _refuse(self, why: object) -> None:
        self.refused = True
        self._show(error(why))

    def _show(self, line: Line) -> None:
        self._write(*line)
