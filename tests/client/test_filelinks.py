"""Connections that carry a file's bytes: how long a client waits for a server that says that it is at work."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.client.filelinks import CHECKED, STALLED, FetchLink, FileLink, SendLink
from chatlib.client.localfiles import DownloadPart, Source
from chatlib.client.sockets import Way
from chatlib.reactor.loop import Loop
from tests.server.carrying import DATA, digest

SIGN = 5.0  # seconds between two of the server's blanks


class Owner:
    """What a link has told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def moved(self, position: int) -> None: ...

    def replied(self, reply: dict[str, Any]) -> None:
        self.told.append(reply)

    def broken(self, why: str) -> None:
        self.told.append(why)

    def whole(self) -> None:
        self.told.append("whole")

    def lied(self) -> None:
        self.told.append("lied")


class Scene:
    """A loop whose time is ours, and a server that says what we say."""

    def __init__(self, folder: Path) -> None:
        self.time, self.owner = 100.0, Owner()
        self.loop = Loop(self._fault, lambda: self.time, lambda: self.time)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.way = Way((socket.AF_INET, self.listener.getsockname()), None)
        (folder / "there.bin").write_bytes(DATA)
        self.source = Source(str(folder / "there.bin"))
        self.source.open()
        self.part = DownloadPart(folder, "here.bin", digest(DATA))
        self.part.begin(len(DATA))

    def _fault(self, fault: BaseException) -> None:
        raise fault

    def begin(self, link: FileLink) -> None:
        self.link = link
        link.begin()
        self.tick()
        self.server, _ = self.listener.accept()
        self.server.setblocking(False)

    def sending(self) -> None:
        """All the bytes have gone."""
        self.begin(SendLink(self.loop, self.way, "t", 0, self.source, self.owner))
        heard = b""
        while len(heard.partition(b"\n")[2]) < len(DATA):
            self.tick()
            try:
                heard += self.server.recv(1 << 20)
            except BlockingIOError:
                continue
        self.tick()

    def fetching(self) -> None:
        """It has asked."""
        self.begin(FetchLink(self.loop, self.way, "t", 0, self.part, len(DATA), self.owner))
        self.tick()

    def tick(self) -> None:
        for _ in range(3):
            self.loop.call_at(self.loop.now, lambda: None)
            self.loop.tick()

    def wait(self, seconds: float) -> None:
        end = self.time + seconds
        while self.time < end:
            self.time = min(end, self.time + 1.0)
            self.tick()

    def close(self) -> None:
        self.source.close()
        self.part.close()
        for sock in (self.listener, self.server):
            sock.close()
        self.loop.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


BOTH = pytest.mark.parametrize("begin", [Scene.sending, Scene.fetching])


@BOTH
def test_a_server_at_work_is_waited_for(scene: Scene, begin: Callable[[Scene], None]) -> None:
    begin(scene)
    for _ in range(int(2 * CHECKED / SIGN)):
        scene.server.send(b" ")
        scene.wait(SIGN)
    assert scene.owner.told == [] and scene.link.signs == int(2 * CHECKED / SIGN)
    scene.server.send(json.dumps({"status": "NO_QUORUM", "text": "x"}).encode() + b"\n")
    scene.tick()
    assert scene.owner.told == [{"status": "NO_QUORUM", "text": "x"}]


@BOTH
def test_a_server_that_was_at_work_and_says_nothing_more_is_gone(
    scene: Scene, begin: Callable[[Scene], None]
) -> None:
    """It need not be waited for as long as one that checks a large file, and cannot say so."""
    begin(scene)
    scene.server.send(b" ")
    scene.wait(STALLED - 1)
    assert scene.owner.told == []
    scene.wait(3)
    assert scene.owner.told == ["nothing moved any more"]


def test_one_that_checks_has_its_time(scene: Scene) -> None:
    scene.sending()
    scene.wait(CHECKED - STALLED)
    assert scene.owner.told == []


def test_bytes_behind_blanks(scene: Scene) -> None:
    scene.fetching()
    scene.server.send(b" ")
    scene.wait(STALLED - 1)
    scene.server.send(b"  " + json.dumps({"status": "OK", "size": len(DATA), "offset": 0}).encode() + b"\n   ")
    for _ in range(3):
        scene.wait(STALLED - 1)
        scene.server.send(b" ")
    assert scene.owner.told == []
    scene.server.recv(1_000)
    scene.server.close()
    scene.tick()
    assert scene.owner.told == ["the server closed the connection"]
    assert Path(scene.part.path).read_bytes()[:6] == b" " * 6, "in a file they are bytes like others"
