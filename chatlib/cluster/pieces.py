"""The bytes of snapshots in the engine: pieces, each under the SHA-256 of its content, and which one is the latest.

A piece is at most PIECE bytes, in parts of PART, each a message; who reads one proves it by its name. Parts come from
whichever replica answers, so what is missing or damaged there is asked for again. The latest snapshot stands in one
small message, which its leader is asked for; it is replaced only by who knows the one that stands there (`point`).

A piece counts once that message names it, by way of a manifest. Who makes the next snapshot leaves out only what the
latest one has, and stores everything else anew; and `drop` takes only what was stored before the latest. So nobody's
sweep, however late, takes a piece that any later snapshot counts on.

Everything here waits: it is for a forked child, or for the time before the loop. Must not know what a piece is of.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from chatlib.cluster.link import EngineLink
from chatlib.protocol.nats import Message

PIECE = 8 << 20
PART = 128 << 10  # bytes of a message
WINDOW = 16  # of them are under way at once
PATIENCE = 30.0  # seconds without anything good: then it is given up
FORMAT = 1
_USELESS, _SHORT = 4.0, 0.3  # seconds until another node is asked; also, where this one answers, but with nothing
_AGAIN = 0.1  # seconds before something is tried again
_ANSWER = 5.0  # seconds for one answer
_PARTS = 128  # asked for at once
_NOT_FOUND, _WRONG_LAST, _NO_STREAM, _IN_PROCESS = 10037, 10071, 10059, 10158  # the engine's numbers
_NOTHING = _NOT_FOUND, _NO_STREAM


class EngineFailed(Exception):
    """The engine did not do it, or not in time; the message says what."""


class PieceLost(EngineFailed):
    """No replica has this piece as it was stored."""


class Latest(NamedTuple):
    """The latest snapshot: up to where in the log everything is in it, of which epoch it is, and its manifest."""

    position: int
    chain: int
    lsn: int
    epoch: str
    sha256: str = ""
    size: int = 0
    format: int = FORMAT


class LogState(NamedTuple):
    """The log itself: its first message (the next, where it has none), its last (0: it never had any), its bytes, and
    the epoch that it was made for ("": by somebody else)."""

    first: int
    last: int
    size: int
    epoch: str


class Pieces:
    """Those of one log, whose name is `name`."""

    def __init__(self, link: EngineLink, name: str, patience: float = PATIENCE) -> None:
        self._link, self._log, self._patience = link, name, patience
        self._stream, self._prefix = f"{name}_files", f"{name}.files"
        self._under_way = 0
        self._again: list[tuple[str, bytes]] = []
        self._sent_again_at = 0.0
        self._failure = ""
        self._good = self._left_at = 0.0  # when something was last stored, and when we last left a node
        self._trouble = ""  # what the engine said last, when it could not

    # Pieces.

    def put(self, sha256: str, data: bytes) -> None:
        """Begins to store a piece, under its name. It is stored when `finish` has been called. Raises EngineFailed."""
        for number, at in enumerate(range(0, len(data), PART)):
            self._store(f"{self._prefix}.piece.{sha256}.{number}", data[at : at + PART])

    def finish(self) -> None:
        """Waits until everything is stored. Raises EngineFailed."""
        self._wait(0)

    def _store(self, subject: str, data: bytes) -> None:
        self._wait(WINDOW - 1)
        self._send(subject, data)

    def _send(self, subject: str, data: bytes) -> None:
        self._under_way += 1

        def answered(message: Message | None) -> None:
            self._under_way -= 1
            error = _error(message)
            if not error:
                self._good = monotonic()
            elif _may_yet(error):
                self._again.append((subject, data))
                self._trouble = _said(error)
            else:
                self._failure = _said(error)

        self._link.request(subject, data, answered, patience=_ANSWER)

    def _wait(self, most: int) -> None:
        """Until at most so many are under way; what was not answered is sent again."""
        self._good = max(self._good, monotonic() - self._patience / 2) if self._under_way else monotonic()
        while self._again or self._under_way > most:
            self._link.wait(partial(self._moved, self._under_way), _AGAIN)
            if self._failure or self._link.failure:
                raise EngineFailed(self._failure or self._link.failure)
            if monotonic() - self._good > self._patience:
                raise EngineFailed(f"the engine stores nothing: {self._trouble}")
            self._move_on(self._good)
            if self._again and self._link.connected and monotonic() > self._sent_again_at + _AGAIN:
                self._sent_again_at = monotonic()
                again, self._again = self._again, []
                for subject, data in again:
                    self._send(subject, data)

    def _moved(self, held: int) -> bool:
        return self._under_way < held or bool(self._failure)

    def get(self, sha256: str, size: int, still: Callable[[], bool] = lambda: True) -> bytes:
        """A piece, proven. Raises PieceLost when there is none, or it is not wanted `still`; EngineFailed."""
        begun = monotonic()
        while True:
            data = self._parts(sha256, size)
            if len(data) == size and hashlib.sha256(data).hexdigest() == sha256:
                return data
            if monotonic() - begun > self._patience:
                raise PieceLost(f"the engine has not got piece {sha256}, or nothing but damaged replicas of it")
            if not still():
                raise PieceLost(f"piece {sha256} is of an earlier snapshot")
            self._move_on(begun, _SHORT)
            self.pause()

    def _parts(self, sha256: str, size: int) -> bytes:
        """As far as one replica has them."""
        found = _Parts(f"{self._prefix}.piece.{sha256}.")
        while True:
            before, found.ended = found.last, False
            body = json.dumps({"next_by_subj": found.prefix + "*", "batch": _PARTS, "seq": before + 1}).encode()
            subject = f"$JS.API.DIRECT.GET.{self._stream}"
            self._link.request(subject, body, found.answered, patience=_ANSWER, many=True)
            self._link.wait(lambda: found.ended, self._patience)
            if found.last == before or not found.left or found.size > size:
                return found.data()

    # The latest snapshot.

    def latest(self) -> tuple[Latest | None, int]:
        """The latest snapshot, and the sequence of the message that names it (0: there is none). Raises EngineFailed,
        also for one that a later version made."""
        answer = self.ask(f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": f"{self._prefix}.snapshot"}, *_NOTHING)
        if "error" in answer:
            return None, 0
        try:
            found = json.loads(base64.b64decode(answer["message"]["data"]))
            if found["format"] != FORMAT:
                raise EngineFailed("a later version made the log's last snapshot: start that one")
            return Latest(**found), int(answer["message"]["seq"])
        except (ValueError, KeyError, TypeError) as wrong:
            raise EngineFailed(f"what the engine says of the last snapshot cannot be read ({wrong!r})") from None

    def point(self, latest: Latest, after: int) -> bool:
        """From now on this is the latest, all of whose pieces are stored; False: the one that stood there is not that
        of the sequence `after` any more, so that this one must not count. Raises EngineFailed."""
        self.finish()
        data, begun = json.dumps(latest._asdict()).encode(), monotonic()
        while True:
            error = self._asked(f"{self._prefix}.snapshot", data, {"Nats-Expected-Last-Subject-Sequence": str(after)})
            if not error:
                return True
            if error.get("err_code") == _WRONG_LAST:
                return self.latest()[0] == latest  # by an answer of ours that was lost
            if not _may_yet(error) or monotonic() - begun > self._patience:
                raise EngineFailed(_said(error))
            self._move_on(begun)
            self.pause()

    # What is there, and what goes.

    def subjects(self, pattern: str) -> Iterator[list[str]]:
        """The words behind the prefix of each subject there is, of those that the pattern fits. Raises EngineFailed."""
        offset = 0
        while True:
            body = {"subjects_filter": f"{self._prefix}.{pattern}", "offset": offset}
            answer = self.ask(f"STREAM.INFO.{self._stream}", body)
            found = answer.get("state", {}).get("subjects") or {}
            for subject in found:
                yield subject.removeprefix(self._prefix + ".").split(".")
            offset += len(found)
            if not found or offset >= answer.get("total", 0):
                return

    def stored_at(self, words: str) -> float:
        """When the last message of a subject was stored, in seconds since 1970; 0: there is none. Raises EngineFailed.
        """
        body = {"last_by_subj": f"{self._prefix}.{words}"}
        answer = self.ask(f"STREAM.MSG.GET.{self._stream}", body, *_NOTHING)
        return 0.0 if "error" in answer else seconds(answer["message"]["time"])

    def drop(self, pattern: str, before: int = 0) -> None:
        """What this fits goes; with `before`, what was stored before that sequence. Raises EngineFailed."""
        earlier = {"seq": before} if before else {}
        self.ask(f"STREAM.PURGE.{self._stream}", {"filter": f"{self._prefix}.{pattern}", **earlier})

    def log_state(self) -> LogState | None:
        """None: there is no log. Raises EngineFailed."""
        answer = self.ask(f"STREAM.INFO.{self._log}", {}, _NO_STREAM)
        return None if "error" in answer else _log_state(answer)

    def look_at_log(self, looked: Callable[[LogState | None], None]) -> None:
        """The same without waiting, for a link in a loop; once, and None also when there is no good answer."""

        def answered(message: Message | None) -> None:
            looked(None if message is None or _error(message) else _log_state(json.loads(message.payload)))

        self._link.request(f"$JS.API.STREAM.INFO.{self._log}", b"", answered, patience=_ANSWER)

    def drop_log(self, position: int) -> None:
        """The log's messages up to this position go. Raises EngineFailed."""
        self.ask(f"STREAM.PURGE.{self._log}", {"seq": position + 1})

    # The engine.

    def ask(self, what: str, body: Mapping[str, Any], *known: int) -> dict[str, Any]:
        """The engine's answer to a request of its API; with an "error" only if that is a `known` one.

        Raises EngineFailed.
        """
        begun, found = monotonic(), list[dict[str, Any]]()
        while True:
            error = self._asked(f"$JS.API.{what}", json.dumps(body).encode(), {}, found)
            if not error:
                return found[-1]
            if error.get("err_code") in known:
                return {"error": error}
            if not _may_yet(error) or monotonic() - begun > self._patience:
                raise EngineFailed(f"{what}: {_said(error)}")
            self._move_on(begun)
            self.pause()

    def _asked(
        self, subject: str, data: bytes, headers: Mapping[str, str], found: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """What was wrong with the answer; nothing: nothing was."""
        answers: list[Message | None] = []
        self._link.request(subject, data, answers.append, headers=headers, patience=_ANSWER)
        self._link.wait(lambda: bool(answers), 2 * _ANSWER)
        error = _error(answers[0] if answers else None)
        if not error and found is not None and answers[0] is not None:
            found.append(json.loads(answers[0].payload))
        return error

    def _move_on(self, since: float, seconds: float = _USELESS) -> None:
        """Another of the engine's nodes is asked, if the one that we are connected to has been of no use since then:
        it answers from its own replica, or is cut off from the others."""
        now = monotonic()
        if now - max(since, self._left_at) > seconds:
            self._left_at = now
            self._link.leave("it has not done what it was asked for")

    def pause(self) -> None:
        """A moment, before something is tried again. Raises EngineFailed when that is no use."""
        if self._link.failure:
            raise EngineFailed(self._link.failure)
        self._link.wait(lambda: False, _AGAIN)
        self._link.wait(lambda: self._link.connected, 1.0)


class _Parts:
    """Those of one piece that have come. `last`: the sequence of the last one; `left`: how many are there yet."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.last = self.left = self.size = 0
        self.ended = False
        self._by_number: dict[int, bytes] = {}  # the same may come twice: it was sent again

    def answered(self, message: Message | None) -> bool:
        """Whether that was the last of what was asked for."""
        if message is None or message.status:
            self.ended = True
            return True
        number = message.headers.get("Nats-Subject", "").removeprefix(self.prefix)
        if number.isascii() and number.isdigit() and int(number) not in self._by_number:
            self._by_number[int(number)] = message.payload
            self.size += len(message.payload)
        self.last = int(message.headers.get("Nats-Sequence", 0))
        self.left = int(message.headers.get("Nats-Num-Pending", 0))
        return False

    def data(self) -> bytes:
        """Up to the first that is missing."""
        return b"".join(self._by_number.get(number, b"") for number in range(len(self._by_number)))


def _log_state(answer: Mapping[str, Any]) -> LogState:
    state, metadata = answer["state"], answer["config"].get("metadata") or {}
    last = int(state["last_seq"])
    first = int(state["first_seq"]) if state["messages"] else last + 1
    return LogState(first, last, int(state["bytes"]), str(metadata.get("chatlib-epoch", "")))


def _error(message: Message | None) -> dict[str, Any]:
    """Why the engine did not do what it was asked; nothing: it did. Code 503: it may yet."""
    if message is None:
        return {"code": 503, "description": "the engine does not answer"}
    if message.status == 503:
        why = "the engine does not keep streams now: JetStream is off, or most of its nodes do not run"
        return {"code": 503, "description": why}
    try:
        answer = json.loads(message.payload)
        error = answer.get("error") or {}
    except (ValueError, AttributeError):
        return {"code": 500, "description": f"the engine gave an answer that cannot be read: {message.payload[:80]!r}"}
    return {"code": 500, **error} if error else {}


def _may_yet(error: Mapping[str, Any]) -> bool:
    """Whether it may do it when it is asked again."""
    return error.get("code") == 503 or error.get("err_code") == _IN_PROCESS


def _said(error: Mapping[str, Any]) -> str:
    return str(error.get("description") or f"the engine refused it with code {error.get('code')}")


def seconds(stamp: str) -> float:
    """An engine's time, such as ``2026-11-22T03:04:05.123456789Z``, as seconds since 1970. Raises ValueError."""
    whole, _, rest = stamp.removesuffix("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{rest or 0}")
