"""Blobs on their way to an engine and from it: in pieces, a few at once, in turn; whatever it does meanwhile."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import random
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chatlib.cluster import blobs
from chatlib.cluster.blobs import CRC, PATIENCE, PIECE, WINDOW, Mover
from chatlib.cluster.vault import Carried, Outcome
from chatlib.protocol.nats import Message
from tests.chance import new_chance

DATA = random.Random(5).randbytes(20 * PIECE + 777)
BLOB = "ab" * 24 + ".01234567"
OTHER = "cd" * 24 + ".89abcdef"
DONE = Carried(Outcome.DONE)


class Asked(NamedTuple):
    """A request that was not answered yet."""

    subject: str
    payload: bytes
    headers: dict[str, str]
    answered: Callable[[Message | None], Any]


class FakeLink:
    """A link to an engine that answers when a test says so. `kept`: messages by subject, the last one counts."""

    def __init__(self) -> None:
        self.connected, self.failure = True, ""
        self.on_connected: list[Callable[[], None]] = []
        self.asked: deque[Asked] = deque()
        self.kept: dict[str, list[tuple[dict[str, str], bytes]]] = {}
        self.ids: set[str] = set()
        self.most = 0  # requests at once
        self.left = 0  # nodes

    def request(
        self, subject: str, payload: bytes, answered: Callable[[Message | None], Any], *,
        headers: dict[str, str], patience: float,
    ) -> None:  # fmt: skip
        assert self.connected and 0 < patience <= PATIENCE
        self.asked.append(Asked(subject, payload, headers, answered))
        self.most = max(self.most, len(self.asked))

    def serve(self, count: int = 1_000_000, change: Callable[[Asked], Message | None] | None = None) -> None:
        """Answers the oldest, so many; those come too that are asked meanwhile."""
        while self.asked and count:
            count -= 1
            asked = self.asked.popleft()
            asked.answered((change or self.answer)(asked))

    def answer(self, asked: Asked) -> Message | None:
        """As an engine does."""
        words = asked.subject.split(".")
        if words[:4] == ["$JS", "API", "DIRECT", "GET"]:
            assert words[4] == "chat_files"
            return self.read(".".join(words[5:]))
        if asked.subject == "$JS.API.STREAM.MSG.GET.chat_files":
            return self.of_leader(json.loads(asked.payload)["last_by_subj"])
        if asked.subject == "$JS.API.STREAM.PURGE.chat_files":
            pattern = json.loads(asked.payload)["filter"]
            assert pattern.startswith("chat.files.blob.") and pattern.endswith(".*")
            for subject in [subject for subject in self.kept if subject.startswith(pattern[:-1])]:
                del self.kept[subject]
            return Message("_INBOX.1", payload=b'{"success":true,"purged":21}')
        assert asked.subject.startswith("chat.files.blob.")
        return self.store(asked)

    def store(self, asked: Asked) -> Message:
        again = asked.headers["Nats-Msg-Id"] in self.ids
        if not again:
            self.ids.add(asked.headers["Nats-Msg-Id"])
            self.kept.setdefault(asked.subject, []).append((asked.headers, asked.payload))
        said = {"stream": "chat_files", "seq": len(self.ids)} | ({"duplicate": True} if again else {})
        return Message("_INBOX.1", payload=json.dumps(said).encode())

    def read(self, subject: str) -> Message:
        if subject not in self.kept:
            return Message("_INBOX.1", status=404, headers={"Description": "Message Not Found"})
        headers, payload = self.kept[subject][-1]
        return Message("_INBOX.1", headers={**headers, "Nats-Sequence": "7"}, payload=payload)

    def of_leader(self, subject: str) -> Message:
        if subject not in self.kept:
            said: dict[str, Any] = {"error": {"code": 404, "err_code": 10037, "description": "no message found"}}
        else:
            headers, payload = self.kept[subject][-1]
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            said = {"message": {"hdrs": base64.b64encode(f"NATS/1.0\r\n{lines}\r\n".encode()).decode(), "seq": 7}}
            if payload:
                said["message"]["data"] = base64.b64encode(payload).decode()
        return Message("_INBOX.1", payload=json.dumps(said).encode())

    def leave(self, why: str) -> None:
        self.left += 1

    def lose(self) -> None:
        """The connection ends: nobody is answered."""
        self.connected = False
        self.serve(change=lambda asked: None)

    def connect(self) -> None:
        self.connected = True
        for call in self.on_connected:
            call()


class Scene:
    """A mover, its link, and the time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.time, self.link = folder, 100.0, FakeLink()
        self.mover = Mover(self.link, "chat", lambda: self.time)  # type: ignore[arg-type]
        self.ended: list[Carried] = []
        self.fds: list[int] = []

    def file(self, data: bytes = b"") -> int:
        path = self.folder / f"file{len(self.fds)}"
        path.write_bytes(data)
        self.fds.append(os.open(path, os.O_RDWR))
        return self.fds[-1]

    def put(self, data: bytes = DATA, blob: str = BLOB) -> None:
        self.mover.put(blob, self.file(data), len(data), self.ended.append)

    def fetch(self, data: bytes = DATA, blob: str = BLOB) -> int:
        fd = self.file()
        self.mover.fetch(blob, fd, len(data), hashlib.sha256(data).hexdigest(), self.ended.append)
        return fd

    def stored(self, data: bytes = DATA, blob: str = BLOB) -> None:
        """It was put before."""
        self.put(data, blob)
        self.link.serve()
        assert self.ended.pop() == DONE

    def wait(self, seconds: float, serve: Callable[[], None] | None = None) -> None:
        end = self.time + seconds
        while self.time < end and self.mover.busy:
            self.time = min(end, self.time + 0.1)
            self.mover.tick()
            if serve:
                serve()

    def until_over(self, change: Callable[[Asked], Message | None] | None = None) -> Carried:
        begun = self.time
        self.link.serve(change=change)
        self.wait(60.0, lambda: self.link.serve(change=change))
        assert self.time < begun + 60.0 and not self.mover.busy
        return self.ended.pop()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    for fd in scene.fds:
        os.close(fd)


def content(fd: int) -> bytes:
    return os.pread(fd, 1 << 30, 0)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, len(DATA)])
def test_there_and_back(scene: Scene, size: int) -> None:
    data = DATA[:size]
    scene.put(data)
    scene.link.serve()
    assert scene.ended.pop() == DONE and not scene.mover.busy
    pieces = [scene.link.kept[f"chat.files.blob.{BLOB}.{number}"] for number in range(len(scene.link.kept))]
    assert b"".join(kept[-1][1] for kept in pieces) == data and len(pieces) == -(-size // PIECE)
    assert scene.link.most <= WINDOW
    fd = scene.fetch(data)
    scene.link.serve()
    assert scene.ended.pop() == DONE and content(fd) == data and scene.link.most <= WINDOW


def test_each_piece_says_its_checksum(scene: Scene) -> None:
    scene.stored()
    for kept in scene.link.kept.values():
        ((headers, payload),) = kept
        assert int(headers[CRC], 16) == zlib.crc32(payload)


def test_an_empty_file_asks_for_nothing(scene: Scene) -> None:
    scene.link.connected = False
    scene.put(b"")
    scene.fetch(b"")
    assert scene.ended == [DONE, DONE]


def test_a_small_file_does_not_wait_for_a_large_one(scene: Scene) -> None:
    scene.put()
    scene.put(b"small", OTHER)
    scene.link.serve(WINDOW + 2)
    assert scene.ended == [DONE] and scene.mover.busy, "the large one is still under way"
    scene.link.serve()
    assert scene.ended == [DONE, DONE]


def test_three_at_once_share_alike(scene: Scene) -> None:
    for blob in ("a", "b", "c"):
        scene.put(DATA, blob)
    scene.link.serve(30)
    pieces = [subject.split(".")[3] for subject in scene.link.kept]
    counts = sorted(pieces[WINDOW:].count(blob) for blob in ("a", "b", "c"))
    assert counts[0] >= 4
    scene.link.serve()
    assert scene.ended == [DONE] * 3


def test_what_nobody_needs_goes(scene: Scene) -> None:
    scene.stored()
    scene.stored(DATA, OTHER)
    scene.mover.drop(BLOB, scene.ended.append)
    refused = Message("_INBOX.1", payload=b'{"error":{"code":503,"err_code":10008,"description":"unavailable"}}')
    scene.link.serve(1, lambda asked: refused)
    assert scene.until_over() == DONE
    assert {subject.rpartition(".")[0] for subject in scene.link.kept} == {f"chat.files.blob.{OTHER}"}
    scene.mover.drop(OTHER, scene.ended.append)
    scene.link.lose()
    scene.wait(PATIENCE + 1)
    assert scene.ended.pop().outcome is Outcome.AWAY, "a sweep finds it"


# An engine that does not do what it should.


def test_acknowledgements_that_are_lost(scene: Scene) -> None:
    chance = new_chance(11)

    def lossy(asked: Asked) -> Message | None:
        answer = scene.link.answer(asked)
        return None if chance.random() < 0.3 else answer

    scene.put()
    assert scene.until_over(lossy) == DONE
    assert all(len(kept) == 1 for kept in scene.link.kept.values()), "the engine knows them again by their names"
    fd = scene.fetch()
    assert scene.until_over(lossy) == DONE and content(fd) == DATA


@pytest.mark.parametrize("answer", [
    Message("_INBOX.1", status=503),
    Message("_INBOX.1", payload=b'{"error":{"code":503,"err_code":10158,"description":"maximum bytes exceeded"}}'),
    Message("_INBOX.1", payload=b"\xff"), Message("_INBOX.1", payload=b"[]"),
    Message("_INBOX.1", payload=b'{"seq":"1"}'), None,
])  # fmt: skip
def test_an_engine_that_can_do_nothing_for_a_while(scene: Scene, answer: Message | None) -> None:
    scene.stored(DATA, OTHER)
    scene.put()
    fd = scene.fetch(blob=OTHER)
    refuse = lambda asked: answer  # noqa: E731
    scene.link.serve(change=refuse)
    scene.wait(PATIENCE - 1, lambda: scene.link.serve(change=refuse))
    assert scene.ended == [], "an election takes some seconds"
    scene.wait(1.0, scene.link.serve)
    assert scene.ended == [DONE, DONE] and content(fd) == DATA


@pytest.mark.parametrize("how", ["silent", "refuses", "no connection"])
def test_an_engine_that_can_do_nothing_at_all(scene: Scene, how: str) -> None:
    scene.put()
    scene.fetch(blob=OTHER)
    if how == "no connection":
        scene.link.lose()
    answer = Message("_INBOX.1", status=503) if how == "refuses" else None
    refuse = (lambda: scene.link.serve(change=lambda asked: answer)) if how != "no connection" else None
    scene.wait(PATIENCE - 0.2, refuse)
    assert scene.ended == []
    scene.wait(0.5, refuse)
    assert [ended.outcome for ended in scene.ended] == [Outcome.AWAY, Outcome.AWAY]
    assert scene.ended[0].text == {"refuses": "status 503"}.get(how, "no answer")


def test_a_connection_that_ends_and_another(scene: Scene) -> None:
    scene.put()
    for _ in range(5):
        scene.link.serve(4)
        scene.link.lose()
        scene.wait(PATIENCE - 1)
        assert not scene.link.asked
        scene.link.connect()
        scene.wait(0.3)
    assert scene.until_over() == DONE
    fd = scene.fetch()
    assert scene.until_over() == DONE and content(fd) == DATA


def test_each_piece_gives_more_time(scene: Scene) -> None:
    scene.put()
    for _ in range(21):
        scene.wait(PATIENCE - 1)
        assert scene.ended == []
        scene.link.serve(1)
    assert scene.ended == [DONE]


def test_an_answer_that_comes_after_the_end(scene: Scene) -> None:
    scene.put(DATA[:PIECE])
    (asked,) = scene.link.asked
    scene.wait(PATIENCE + 1)
    assert scene.ended.pop().outcome is Outcome.AWAY
    asked.answered(None)
    assert scene.ended == [] and not scene.mover.busy


def test_an_engine_that_takes_no_message_so_large(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise ValueError("131072 bytes: this engine takes 4096 in a message")

    monkeypatch.setattr(scene.link, "request", refuses)
    scene.put()
    assert scene.ended == [Carried(Outcome.AWAY, 0, "131072 bytes: this engine takes 4096 in a message")]
    monkeypatch.undo()
    scene.put()
    assert scene.until_over() == DONE and scene.link.most == WINDOW, "nothing counts as under way"


# Replicas.


def test_a_replica_that_lags_or_has_holes(scene: Scene) -> None:
    scene.stored()
    chance = new_chance(3)

    def lags(asked: Asked) -> Message | None:
        if ".DIRECT." in asked.subject and chance.random() < 0.5:
            return scene.link.read("nowhere")
        return scene.link.answer(asked)

    fd = scene.fetch()
    assert scene.until_over(lags) == DONE and content(fd) == DATA


@pytest.mark.parametrize("how", ["a bit", "shorter", "longer", "empty", "another checksum"])
def test_a_replica_whose_bytes_are_damaged(scene: Scene, how: str) -> None:
    scene.stored()
    chance = new_chance(5)

    def damaged(asked: Asked) -> Message | None:
        answer = scene.link.answer(asked)
        if answer is None or ".DIRECT." not in asked.subject or chance.random() < 0.5:
            return answer
        data, headers = answer.payload, dict(answer.headers)
        if how == "another checksum":
            headers[CRC] = "00000000"
        data = {"a bit": bytes([data[0] ^ 1]) + data[1:], "shorter": data[:-1], "longer": data + b"x", "empty": b"",
                "another checksum": data}[how]  # fmt: skip
        return Message("_INBOX.1", headers=headers, payload=data)

    fd = scene.fetch()
    assert scene.until_over(damaged) == DONE and content(fd) == DATA


def test_pieces_without_checksums(scene: Scene) -> None:
    """Whoever put them there gave none: the digest still holds for all of them."""
    for number in range(3):
        subject = f"chat.files.blob.{BLOB}.{number}"
        scene.link.kept[subject] = [({}, DATA[number * PIECE : (number + 1) * PIECE])]
    fd = scene.fetch(DATA[: 3 * PIECE])
    assert scene.until_over() == DONE and content(fd) == DATA[: 3 * PIECE]
    scene.link.kept[subject] = [({}, bytes(PIECE))]
    scene.fetch(DATA[: 3 * PIECE])
    assert scene.until_over() == Carried(Outcome.DAMAGED, 0, "the engine's bytes have another digest")


def test_the_last_message_of_a_piece_counts(scene: Scene) -> None:
    scene.stored()
    for subject, kept in scene.link.kept.items():
        scene.link.kept[subject] = [({}, b"an earlier try"), *kept]
    fd = scene.fetch()
    assert scene.until_over() == DONE and content(fd) == DATA


@pytest.mark.parametrize("how", ["damaged", "a hole"])
def test_a_replica_whose_node_leads_is_left(scene: Scene, how: str) -> None:
    """Asked directly it gives what it has, and as the leader, too: another node has a better one."""
    scene.stored()
    subject = f"chat.files.blob.{BLOB}.4"
    right = scene.link.kept.pop(subject)
    if how == "damaged":
        scene.link.kept[subject] = [(right[0][0], b"x")]
    fd = scene.fetch()
    scene.link.serve()
    scene.wait(0.9, scene.link.serve)
    assert scene.link.left == 1 and scene.mover.busy
    scene.link.kept[subject] = right
    assert scene.until_over() == DONE and content(fd) == DATA and scene.link.left == 1


@pytest.mark.parametrize("missing", [0, 9, 20])
def test_a_blob_that_the_engine_has_not(scene: Scene, missing: int) -> None:
    scene.stored()
    del scene.link.kept[f"chat.files.blob.{BLOB}.{missing}"]
    scene.fetch()
    begun = scene.time
    assert scene.until_over() == Carried(Outcome.MISSING, 0, f"the engine has no piece {missing} of 21")
    assert 1.0 < scene.time - begun < 5.0, "whoever waits hears it soon, and no replica that lags makes us say so"
    assert scene.link.left == 2, "three nodes were asked"
    scene.link.kept.clear()
    scene.fetch()
    assert scene.until_over().outcome is Outcome.MISSING and scene.link.left == 4, "others wait for that, too"


def test_a_blob_that_is_damaged_everywhere(scene: Scene) -> None:
    scene.stored()
    scene.link.kept[f"chat.files.blob.{BLOB}.4"] = [({CRC: "00000000"}, DATA[4 * PIECE : 5 * PIECE])]
    scene.fetch()
    assert scene.until_over() == Carried(Outcome.DAMAGED, 0, "piece 4 of 21 is damaged in the engine")


def test_much_is_not_kept_in_memory_for_one_piece_that_is_missing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "PIECE", 1_000)
    scene.stored(DATA[:200_000])
    scene.fetch(DATA[:200_000])
    first = f"$JS.API.DIRECT.GET.chat_files.chat.files.blob.{BLOB}.0"
    late = [asked for asked in scene.link.asked if asked.subject == first]
    scene.link.asked.remove(late[0])
    scene.link.serve()
    (job,) = scene.mover._jobs
    assert len(job._early) == blobs._AHEAD - 1  # type: ignore[attr-defined]
    late[0].answered(scene.link.answer(late[0]))
    scene.link.serve()
    assert scene.ended == [DONE]


# Disks.


@pytest.mark.parametrize("call", ["pwrite", "pread", "fdatasync"])
def test_a_disk_that_fails(scene: Scene, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    scene.stored()
    monkeypatch.setattr(os, call, fails)
    if call == "pread":
        scene.put()
    else:
        scene.fetch()
    scene.link.serve()
    assert scene.ended == [Carried(Outcome.DISK, errno.ENOSPC, "full")] and not scene.mover.busy
    monkeypatch.undo()
    fd = scene.fetch()
    assert scene.until_over() == DONE and content(fd) == DATA


def test_a_file_that_somebody_has_shortened(scene: Scene) -> None:
    scene.mover.put(BLOB, scene.file(DATA[:-1]), len(DATA), scene.ended.append)
    scene.link.serve()
    assert scene.ended == [Carried(Outcome.DISK, 0, "somebody else has shortened it")]
