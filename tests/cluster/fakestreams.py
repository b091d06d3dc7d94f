"""The streams of the fake engine: what it keeps, and what it answers about that. No I/O, no faults but a replica's.

Answers are what nats-server 2.15 says, as far as anybody here asks.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

NO_MESSAGE = (404, 10037, "no message found")
NOT_FOUND = (404, 10059, "stream not found")
OTHER_CONFIG = (400, 10058, "stream name already in use with a different configuration")
MOST_ANSWERS = 1_024

Answer = tuple[bytes, bytes]  # header lines (or a status line), payload


def matches(pattern: str, subject: str) -> bool:
    """Whether `subject` is one of those that `pattern` stands for."""
    wanted, words = pattern.split("."), subject.split(".")
    for place, word in enumerate(wanted):
        if word == ">":
            return len(words) > place
        if place >= len(words) or word not in ("*", words[place]):
            return False
    return len(words) == len(wanted)


def block(lines: bytes, status: bytes = b"") -> bytes:
    """Header lines, each with its end, as a block."""
    return b"NATS/1.0" + status + b"\r\n" + lines + b"\r\n"


def refused(kind: str, error: tuple[int, int, str]) -> dict[str, Any]:
    """An answer of the API that says no."""
    code, number, text = error
    return {"type": kind, "error": {"code": code, "err_code": number, "description": text}}


@dataclass
class Stored:
    """A message as it was published; `headers` are its own lines."""

    seq: int
    subject: str
    headers: bytes
    payload: bytes
    at: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z"))

    @property
    def size(self) -> int:
        return len(self.subject) + (len(block(self.headers)) if self.headers else 0) + len(self.payload)


@dataclass
class Replica:
    """What is wrong with one node's copy of a stream."""

    missing: set[int] = field(default_factory=set)
    damaged: dict[int, bytes] = field(default_factory=dict)  # payloads that it gives instead
    upto: int | None = None  # it lags: what came later it does not know


class FakeStream:
    """One stream. `deleted` are holes that all replicas have, which must never be."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.messages: dict[int, Stored] = {}
        self.first = self.last = 0
        self.ids: dict[str, int] = {}  # what Nats-Msg-Id said, as long as the engine remembers it

    @property
    def name(self) -> str:
        return str(self.config["name"])

    def takes(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.config.get("subjects", [self.name]))

    def store(self, subject: str, headers: bytes, payload: bytes) -> Stored:
        self.last += 1
        self.first = self.first or 1
        stored = self.messages[self.last] = Stored(self.last, subject, headers, payload)
        return stored

    def delete(self, seq: int) -> None:
        """A hole everywhere."""
        del self.messages[seq]

    def payloads(self) -> list[bytes]:
        """Of all messages."""
        return [message.payload for message in self.messages.values()]

    # What the API says.

    def described(self, kind: str, leader: str, nodes: list[str], wanted: dict[str, Any]) -> dict[str, Any]:
        messages = self.messages.values()
        gone = self.last - self.first + 1 - len(self.messages) if self.messages else 0
        state: dict[str, Any] = {
            "messages": len(self.messages),
            "bytes": sum(message.size for message in messages),
            "first_seq": self.first,
            "last_seq": self.last,
            "consumer_count": 0,
        }
        if messages:
            state["num_subjects"] = len({message.subject for message in messages})
        if gone:
            state["num_deleted"] = gone
        if gone and wanted.get("deleted_details"):
            state["deleted"] = [seq for seq in range(self.first, self.last + 1) if seq not in self.messages]
        if pattern := wanted.get("subjects_filter"):
            subjects: dict[str, int] = {}
            for message in messages:
                if matches(pattern, message.subject):
                    subjects[message.subject] = subjects.get(message.subject, 0) + 1
            at = int(wanted.get("offset", 0))
            if subjects:
                state["subjects"] = dict(sorted(subjects.items())[at : at + 100_000])
        replicas = [{"name": node, "current": True, "active": 1, "peer": node} for node in nodes if node != leader]
        return {
            "type": kind,
            "config": self.config,
            "created": "2026-01-01T00:00:00Z",
            "state": state,
            "cluster": {"name": "fake", "leader": leader, "replicas": replicas},
            "total": len(state.get("subjects", ())),
        }

    def purge(self, wanted: dict[str, Any]) -> int:
        """How many went."""
        pattern = wanted.get("filter", ">")
        going = [seq for seq, message in self.messages.items() if matches(pattern, message.subject)]
        if wanted.get("seq"):
            going = [seq for seq in going if seq < wanted["seq"]]
        elif wanted.get("keep"):
            going = going[: -wanted["keep"]]
        for seq in going:
            del self.messages[seq]
        self.first = min(self.messages, default=max(self.last + 1, wanted.get("seq", 0)) if self.last else 0)
        return len(going)

    # What one replica answers itself.

    def _seen(self, replica: Replica) -> Iterator[Stored]:
        for seq, message in self.messages.items():
            if seq not in replica.missing and (replica.upto is None or seq <= replica.upto):
                yield message

    def _line(self, message: Stored) -> bytes:
        return (
            message.headers
            + (
                f"Nats-Stream: {self.name}\r\nNats-Subject: {message.subject}\r\nNats-Sequence: {message.seq}\r\n"
                f"Nats-Time-Stamp: {message.at}\r\n"
            ).encode()
        )

    def republished(self, message: Stored, last: int) -> bytes:
        """The headers with which it goes out."""
        return block(self._line(message) + f"Nats-Last-Sequence: {last}\r\n".encode())

    def get(self, subject: str, payload: bytes, replica: Replica) -> list[Answer]:
        """A direct get, with a subject behind the stream's name or a question in JSON: what is answered, in order."""
        try:
            wanted = json.loads(payload) if payload else {"last_by_subj": subject}
            if not any(wanted.get(key) for key in ("seq", "last_by_subj", "next_by_subj", "multi_last")):
                return [(block(b"", b" 408 Empty Request"), b"")]
            found, batch = self._found(wanted, replica)
        except (ValueError, KeyError, TypeError, AttributeError):
            return [(block(b"", b" 408 Malformed Request"), b"")]
        if len(found) > MOST_ANSWERS and "multi_last" in wanted:
            return [(block(b"", b" 413 Too Many Results"), b"")]
        if not found:
            why = b" 404 No Results" if "multi_last" in wanted else b" 404 Message Not Found"
            return [(block(b"", why), b"")]
        if not batch:
            return [(block(self._line(found[0])), replica.damaged.get(found[0].seq, found[0].payload))]
        upto = f"Nats-UpTo-Sequence: {self.last}\r\n".encode() if "multi_last" in wanted else b""
        return self._batch(found, batch, wanted.get("max_bytes") or 1 << 62, replica, upto)

    def of_leader(self, kind: str, wanted: dict[str, Any], replica: Replica) -> dict[str, Any]:
        """What the leader says of one message, by its place or as the last of its subject."""
        found, _ = self._found({**wanted, "batch": 0}, replica)
        if not found:
            return refused(kind, NO_MESSAGE)
        (stored,) = found
        said: dict[str, Any] = {"subject": stored.subject, "seq": stored.seq, "time": stored.at}
        payload = replica.damaged.get(stored.seq, stored.payload)
        data = {"hdrs": stored.headers and block(stored.headers), "data": payload}
        said |= {key: base64.b64encode(value).decode() for key, value in data.items() if value}
        return {"type": kind, "message": said}

    def _found(self, wanted: dict[str, Any], replica: Replica) -> tuple[list[Stored], int]:
        """What fits, and how much of it at most; 0: the first alone, without an end."""
        seen, start, batch = self._seen(replica), wanted.get("seq", 0), wanted.get("batch", 0)
        if "multi_last" in wanted:
            latest: dict[str, Stored] = {}
            for message in seen:
                if any(matches(pattern, message.subject) for pattern in wanted["multi_last"]):
                    latest[message.subject] = message
            return sorted(latest.values(), key=lambda message: message.seq), batch or MOST_ANSWERS
        if "last_by_subj" in wanted:
            return [message for message in seen if matches(wanted["last_by_subj"], message.subject)][-1:], 0
        if batch or "next_by_subj" in wanted:
            pattern = wanted.get("next_by_subj", ">")
            return [one for one in seen if one.seq >= start and matches(pattern, one.subject)], batch
        return [message for message in seen if message.seq == wanted["seq"]], 0

    def _batch(self, found: list[Stored], batch: int, most: int, replica: Replica, upto: bytes) -> list[Answer]:
        answers: list[Answer] = []
        before = size = 0
        pending = len(found)
        for message in found[:batch]:
            if size >= most:
                break
            size += message.size
            pending -= 1
            more = f"Nats-Num-Pending: {pending}\r\nNats-Last-Sequence: {before}\r\n".encode()
            payload = replica.damaged.get(message.seq, message.payload)
            answers.append((block(self._line(message) + more), payload))
            before = message.seq
        end = f"Nats-Num-Pending: {pending}\r\nNats-Last-Sequence: {before}\r\n".encode()
        return [*answers, (block(end + upto, b" 204 EOB"), b"")]
