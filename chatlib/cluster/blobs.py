"""Blobs on their way between a disk and the engine, a piece a message.

A blob's piece ``n`` is the last message of ``NAME.files.blob.BLOB.n``, with its CRC-32 in a header: PIECE bytes, or
what is left. So a piece may be sent twice, and nobody is harmed. It is stored when the engine says so: it is on the
disks of most of its nodes then. A piece is read from any of them, and from the leader where that one has none, or a
wrong one. All jobs share WINDOW, in turn, so that a large file does not hold up a small one.

Must not know whose bytes they are, nor what makes them visible. Legal order: ``put``, ``fetch``, ``drop`` at any time;
``tick`` several times a second while the mover is `busy`; each job's `done` is called once, perhaps at once. Invariant:
a job ends that has not moved a piece for PATIENCE seconds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import zlib
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from chatlib.cluster.vault import Carried, Outcome, of_disk
from chatlib.storage.syncer import datasync

if TYPE_CHECKING:
    from chatlib.cluster.link import EngineLink
    from chatlib.protocol.nats import Message

PIECE = 128 << 10  # bytes of a blob in one message
CRC = "chatlib-crc"  # the header
WINDOW = 16  # pieces that are asked of the engine at once
PATIENCE = 15.0  # seconds without a piece until a job ends
_TICK = 0.1  # seconds between two calls of ``tick`` while one job alone is waited for
_ANSWER = 2.0  # seconds until an unanswered piece is asked again
_PAUSE = 0.2  # seconds after an engine that could not: an election takes some
_AHEAD = 64  # pieces of a fetched blob that may be here before one that is still missing
_SYNCED = 8 << 20  # bytes between two syncs: one of a whole file would hold up the others
_BAD = 12  # times that three nodes, and the leader, have no such piece, or another, until that is believed


# One blob on its way.

Done = Callable[[Carried], None]


class _Job:
    """What both directions share: which pieces are to be moved yet, and how long none has been."""

    def __init__(self, blob: str, fd: int, size: int, done: Done, now: float) -> None:
        self.blob, self.fd, self.size, self.done = blob, fd, size, done
        self.count = -(-size // PIECE)
        self.left = self.count  # pieces that are not through
        self.moved_at = now
        self.pause_until = now
        self.said = ""  # what the engine said last, when it could not
        self.over = False
        self._next = 0
        self._again: deque[int] = deque()

    def take(self, now: float) -> int | None:
        """The next piece to be asked for; None: not now."""
        if now < self.pause_until:
            return None
        if self._again:
            return self._again.popleft()
        if self._next < self.count and self._may_begin(self._next):
            self._next += 1
            return self._next - 1
        return None

    def _may_begin(self, number: int) -> bool:
        return True

    def give_back(self, number: int, now: float, said: str = "") -> None:
        """The piece is to be asked for again, in a moment."""
        self._again.append(number)
        self.pause_until = now + _PAUSE
        self.said = said or self.said

    def length(self, number: int) -> int:
        """Bytes of a piece."""
        return min(PIECE, self.size - number * PIECE)

    def ask(self, number: int, mover: Mover) -> None:
        """Asks the engine. Raises OSError."""
        raise NotImplementedError

    def answer(self, number: int, message: Message) -> str | None:
        """What it said: None, the piece is through; else why not. Raises OSError, _Bad, _GivenUp."""
        raise NotImplementedError

    def finish(self) -> Carried:
        """All are through. Raises OSError."""
        return Carried(Outcome.DONE)


class _GivenUp(Exception):
    """It cannot be done."""

    def __init__(self, outcome: Outcome, text: str) -> None:
        super().__init__(text)
        self.ended = Carried(outcome, 0, text)


class _Bad(Exception):
    """A piece was not had, or not right. `elsewhere`: the leader of now has no better one, either."""

    def __init__(self, elsewhere: bool) -> None:
        super().__init__(elsewhere)
        self.elsewhere = elsewhere


class _Put(_Job):
    """From a file into the engine."""

    def ask(self, number: int, mover: Mover) -> None:
        piece = os.pread(self.fd, self.length(number), number * PIECE)
        if len(piece) < self.length(number):
            raise OSError(0, "somebody else has shortened it")
        # Within two minutes the engine knows a piece again by its name, and keeps it once.
        headers = {"Nats-Msg-Id": f"{self.blob}.{number}", CRC: f"{zlib.crc32(piece):08x}"}
        mover.request(self, number, mover.subject(self.blob, number), piece, headers)

    def answer(self, number: int, message: Message) -> str | None:
        said = _object(message.payload)
        stored = not message.status and "error" not in said and isinstance(said.get("seq"), int)
        return None if stored else _refusal(message, said)


class _Fetch(_Job):
    """From the engine into a file."""

    def __init__(self, blob: str, fd: int, size: int, sha256: str, done: Done, now: float) -> None:
        super().__init__(blob, fd, size, done, now)
        self._sha256 = sha256
        self._hasher = hashlib.sha256()
        self._early: dict[int, bytes] = {}  # pieces before which one is missing
        self._hashed = 0  # pieces
        self._unsynced = 0  # bytes
        self._bad: dict[int, int] = {}  # pieces that were not had, or were others: how often
        self._damaged = False
        self._worst = 0  # how often, when a node was left last

    def _may_begin(self, number: int) -> bool:
        return number < self._hashed + _AHEAD

    def ask(self, number: int, mover: Mover) -> None:
        subject = mover.subject(self.blob, number)
        if self._bad.get(number, 0) % 2:
            payload = json.dumps({"last_by_subj": subject}).encode()
            mover.request(self, number, f"$JS.API.STREAM.MSG.GET.{mover.stream}", payload, {})
        else:
            mover.request(self, number, f"$JS.API.DIRECT.GET.{mover.stream}.{subject}", b"", {})

    def answer(self, number: int, message: Message) -> str | None:
        status, crc, piece = message.status, message.headers.get(CRC), message.payload
        if not status and "Nats-Sequence" not in message.headers:
            status, crc, piece = _of_leader(piece)
        if status not in (0, 404):
            return _refusal(message, _object(message.payload))
        right = len(piece) == self.length(number) and crc in (None, f"{zlib.crc32(piece):08x}")
        if status or not right:
            self._damaged |= not status
            raise _Bad(self._judge(number))
        self._keep(number, piece)
        return None

    def _judge(self, number: int) -> bool:
        """Of a piece that is bad: whether it may be better at another node. Raises _GivenUp."""
        bad = self._bad[number] = self._bad.get(number, 0) + 1
        if bad >= _BAD and self._damaged:
            raise _GivenUp(Outcome.DAMAGED, f"piece {number} of {self.count} is damaged in the engine")
        if bad >= _BAD:
            raise _GivenUp(Outcome.MISSING, f"the engine has no piece {number} of {self.count}")
        if bad % 4 or bad <= self._worst:
            return False
        self._worst = bad
        return True

    def _keep(self, number: int, piece: bytes) -> None:
        position = number * PIECE
        rest = memoryview(piece)
        while rest:
            count = os.pwrite(self.fd, rest, position)
            position, rest = position + count, rest[count:]
        self._early[number] = piece
        while self._hashed in self._early:
            self._hasher.update(self._early.pop(self._hashed))
            self._hashed += 1
        self._unsynced += len(piece)
        if self._unsynced >= _SYNCED:
            self._unsynced = 0
            datasync(self.fd)

    def finish(self) -> Carried:
        if self._hasher.hexdigest() != self._sha256:
            return Carried(Outcome.DAMAGED, 0, "the engine's bytes have another digest")
        datasync(self.fd)
        return Carried(Outcome.DONE)


class _Drop(_Job):
    """All pieces go."""

    def ask(self, number: int, mover: Mover) -> None:
        wanted = json.dumps({"filter": mover.subject(self.blob, "*")}).encode()
        mover.request(self, number, f"$JS.API.STREAM.PURGE.{mover.stream}", wanted, {})

    def answer(self, number: int, message: Message) -> str | None:
        said = _object(message.payload)
        return None if said.get("success") is True else _refusal(message, said)


def _object(payload: bytes) -> dict[str, object]:
    try:
        said = json.loads(payload)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _refusal(message: Message, said: dict[str, object]) -> str:
    error = said.get("error")
    if isinstance(error, dict):
        return str(error.get("description") or error.get("err_code") or error)
    return f"status {message.status}" if message.status else "no answer that can be read"


def _of_leader(payload: bytes) -> tuple[int, str | None, bytes]:
    """Status, CRC and bytes in what the leader says of a stored message."""
    said = _object(payload)
    error, message = said.get("error"), said.get("message")
    if isinstance(error, dict) or not isinstance(message, dict):
        code = error.get("code") if isinstance(error, dict) else None
        return code if isinstance(code, int) and code else 500, None, b""
    try:
        heads = base64.b64decode(str(message.get("hdrs", ""))).decode("latin-1").split("\r\n")
        piece = base64.b64decode(str(message.get("data", "")))
    except ValueError:
        return 500, None, b""
    crcs = [value.strip() for name, _, value in (head.partition(":") for head in heads) if name == CRC]
    return 0, crcs[-1] if crcs else None, piece


class Mover:
    """All jobs over one link."""

    def __init__(self, link: EngineLink, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`name`: of the engine's streams."""
        self._link, self._name, self._clock = link, name, clock
        self.stream = f"{name}_files"
        self._jobs: deque[_Job] = deque()  # whose turn it is comes first
        self._under_way = 0
        self._asking = False
        link.on_connected.append(self._go_on)

    @property
    def busy(self) -> bool:
        """Whether ``tick`` is wanted."""
        return bool(self._jobs)

    def subject(self, blob: str, number: int | str) -> str:
        """Of a piece; "*": of all."""
        return f"{self._name}.files.blob.{blob}.{number}"

    def put(self, blob: str, fd: int, size: int, done: Done) -> None:
        """The bytes in `fd` go to the engine. It stays open until `done` is called."""
        self._begin(_Put(blob, fd, size, done, self._clock()))

    def fetch(self, blob: str, fd: int, size: int, sha256: str, done: Done) -> None:
        """The engine's bytes go into the empty file `fd`, and are synced there."""
        self._begin(_Fetch(blob, fd, size, sha256, done, self._clock()))

    def alone(self, begin: Callable[[Done], None]) -> Carried:
        """Begins a job, and waits for its end: over a link that no loop has."""
        ended: list[Carried] = []
        begin(ended.append)
        while not self._link.wait(lambda: bool(ended), _TICK):
            self.tick()
        return ended[0]

    def drop(self, blob: str, done: Done) -> None:
        """The engine forgets it."""
        self._begin(_Drop(blob, -1, 1, done, self._clock()))

    def _begin(self, job: _Job) -> None:
        self._jobs.append(job)
        if job.left:
            self._go_on()
        else:
            self._finish(job)

    def tick(self) -> None:
        """Time has passed."""
        now = self._clock()
        for job in list(self._jobs):
            if now - job.moved_at >= PATIENCE:
                self._end(job, Carried(Outcome.AWAY, 0, job.said or self._link.failure))
        self._go_on()

    def _go_on(self) -> None:
        """Asks for as many pieces as may be under way, of all jobs in turn."""
        if self._asking:
            return
        self._asking, idle, now = True, 0, self._clock()
        while self._under_way < WINDOW and idle < len(self._jobs) and self._link.connected:
            job = self._jobs[0]
            self._jobs.rotate(-1)
            number = job.take(now)
            if number is None:
                idle += 1
                continue
            idle = 0
            try:
                job.ask(number, self)
            except OSError as error:
                self._end(job, of_disk(error))
            except ValueError as error:  # the engine takes no message as large as a piece
                self._under_way -= 1
                self._end(job, Carried(Outcome.AWAY, 0, str(error)))
        self._asking = False

    def request(self, job: _Job, number: int, subject: str, payload: bytes, headers: dict[str, str]) -> None:
        """What a job asks with. Raises ValueError."""
        self._under_way += 1
        answered = partial(self._answered, job, number)
        self._link.request(subject, payload, answered, headers=headers, patience=_ANSWER)

    def _answered(self, job: _Job, number: int, message: Message | None) -> None:
        self._under_way -= 1
        if not job.over:
            self._take(job, number, message)
        self._go_on()

    def _take(self, job: _Job, number: int, message: Message | None) -> None:
        try:
            said = "no answer" if message is None else job.answer(number, message)
            if said is not None:
                job.give_back(number, self._clock(), said)
                return
            job.left -= 1
            job.moved_at = self._clock()
            if not job.left:
                self._finish(job)
        except OSError as error:
            self._end(job, of_disk(error))
        except _Bad as bad:
            job.give_back(number, self._clock())
            if bad.elsewhere:
                self._link.leave("it has not got all bytes of a file")
        except _GivenUp as failure:
            self._end(job, failure.ended)

    def _finish(self, job: _Job) -> None:
        try:
            ended = job.finish()
        except OSError as error:
            ended = of_disk(error)
        self._end(job, ended)

    def _end(self, job: _Job, ended: Carried) -> None:
        if not job.over:
            job.over = True
            self._jobs.remove(job)
            job.done(ended)
