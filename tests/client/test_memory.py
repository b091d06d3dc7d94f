"""What a client remembers between its runs: files, kill points, and what must never be in them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chatlib.client.conversation import Conversation
from chatlib.client.memory import FileMemory, default_folder
from chatlib.client.news import Request
from tests.client.fake_server import FakeServer, Wire


def message(text: str, key: str) -> Request:
    return Request("message", {"to": "ann", "text": text}, key)


def reopened(folder: Path, epoch: str = "e1", user: str = "bob") -> tuple[int, list[Request]]:
    memory = FileMemory(folder, pytest.fail)
    remembered = memory.open(epoch, user)
    memory.close()
    return remembered.seen, remembered.outbox


def outbox(folder: Path) -> Path:
    return folder / "e1" / "bob.outbox"


def test_what_is_unanswered_is_remembered(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path)
    assert memory.open("e1", "bob").outbox == []
    one, two = message("one", "k1"), message("two", "k2")
    memory.queued(one)
    memory.queued(two)
    memory.shown(812)
    memory.answered(one)
    memory.close()
    assert reopened(tmp_path) == (812, [two])
    assert reopened(tmp_path, user="Bob") == (812, [two])
    assert reopened(tmp_path, user="ann") == (0, [])
    assert reopened(tmp_path, epoch="e2") == (0, [])


def test_no_text_outlives_its_acknowledgement(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path)
    memory.open("e1", "bob")
    one, two = message("one", "k1"), message("two", "k2")
    memory.queued(one)
    memory.queued(two)
    memory.answered(one)
    assert b"one" not in outbox(tmp_path).read_bytes()
    memory.answered(two)
    assert outbox(tmp_path).read_bytes() == b""


def test_modes(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "chatlib"
    memory = FileMemory(folder)
    memory.open("e1", "bob")
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_killed_at_any_byte_of_an_outbox(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path)
    memory.open("e1", "bob")
    requests = [message(text, key) for text, key in (("one", "k1"), ("zwei ü", "k2"), ("3", "k3"))]
    ends = []
    for request in requests:
        memory.queued(request)
        ends.append(outbox(tmp_path).stat().st_size)
    memory.close()
    whole = outbox(tmp_path).read_bytes()
    for size in range(len(whole) + 1):
        outbox(tmp_path).write_bytes(whole[:size])
        left = [request for request, end in zip(requests, ends, strict=True) if end <= size]
        assert reopened(tmp_path) == (0, left)
        assert reopened(tmp_path) == (0, left), "and the torn line is gone"


@pytest.mark.parametrize("line", [
    b"nonsense", b"[]", b"{}", b'{"action":"message","key":"k"}', b'{"action":"logout","key":"k"}',
    b'{"action":"message","to":"ann","text":"x"}', b'{"action":"message","key":7,"to":"ann","text":"x"}',
])  # fmt: skip
def test_a_line_that_is_no_request_is_dropped(tmp_path: Path, line: bytes) -> None:
    reopened(tmp_path)
    outbox(tmp_path).write_bytes(line + b"\n")
    assert reopened(tmp_path) == (0, [])


def test_a_client_killed_between_sending_and_the_reply_sends_again_with_the_same_key(tmp_path: Path) -> None:
    server = FakeServer()
    memory = FileMemory(tmp_path)
    first = Wire(Conversation(memory), server)
    first.log_in()
    server.post("hi")
    for item in first.run():
        first.conversation.shown(item.event, first.now)
    first.conversation.request("message", {"to": "ann", "text": "once"}, first.now)
    server.feed(first.conversation.take_output())
    memory.close()  # as the kernel does when it is killed
    second = Wire(Conversation(FileMemory(tmp_path)), server)
    news = second.log_in()
    assert server.effects == ["once"]
    assert [type(item).__name__ for item in news] == ["LoggedIn", "Answered"], "and hi is not shown twice"
    assert outbox(tmp_path).read_bytes() == b""


def test_a_second_client_of_the_same_user_goes_without(tmp_path: Path) -> None:
    complaints: list[str] = []
    first, second = FileMemory(tmp_path), FileMemory(tmp_path, complaints.append)
    first.open("e1", "bob")
    second.open("e1", "bob")
    assert len(complaints) == 1
    second.queued(message("x", "k"))
    second.shown(3)
    assert second.beside(".history") is None
    first.close()
    assert reopened(tmp_path) == (0, [])


def test_a_memory_that_cannot_be_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    complaints: list[str] = []
    memory = FileMemory(tmp_path / "file" / "chatlib", complaints.append)
    assert memory.open("e1", "bob").seen == 0
    memory.queued(message("x", "k"))
    memory.answered(message("x", "k"))
    assert len(complaints) == 1


def test_a_disk_that_fills_up_ends_the_memory_not_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[str] = []
    memory = FileMemory(tmp_path, complaints.append)
    memory.open("e1", "bob")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        memory.queued(message("x", "k"))
    memory.shown(1)
    assert len(complaints) == 1 and "No space" in complaints[0]


def test_a_long_outbox_is_squeezed(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path)
    memory.open("e1", "bob")
    stays = message("stays", "stays")
    memory.queued(stays)
    for number in range(600):
        request = message("x" * 4000, f"k{number}")
        memory.queued(request)
        memory.answered(request)
    assert outbox(tmp_path).stat().st_size < 1_100_000
    memory.close()
    assert reopened(tmp_path) == (0, [stays])


def test_names_and_epochs_never_leave_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "chatlib"
    for epoch in ("../../x", "", ".", "a/b", "\0"):
        for user in ("..", ".", "bob"):
            reopened(folder, epoch, user)
    assert reopened(folder, "e1", "../bob") == (0, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chatlib"]
    assert all(path.is_dir() for path in folder.iterdir())


def test_a_file_of_the_programs_own_stands_beside(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path)
    assert memory.beside(".history") is None
    memory.open("e1", "Bob.2")
    assert memory.beside(".history") == tmp_path / "e1" / "bob.2.history"
    memory.close()
    assert memory.beside(".history") is None


def test_where_the_state_is() -> None:
    assert default_folder({"XDG_STATE_HOME": "/x", "HOME": "/h"}) == Path("/x/chatlib")
    assert default_folder({"XDG_STATE_HOME": "x", "HOME": "/h"}) == Path("/h/.local/state/chatlib")
    assert default_folder({"HOME": "/h"}) == Path("/h/.local/state/chatlib")


def test_that_a_file_was_received_is_said_also_by_the_next_run(tmp_path: Path) -> None:
    memory = FileMemory(tmp_path)
    memory.open("e1", "bob")
    received = Request("received", {"from": "ann", "name": "x", "sha256": "0" * 64}, "k1")
    memory.queued(received)
    memory.close()
    assert reopened(tmp_path) == (0, [received])
