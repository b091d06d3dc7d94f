"""Files over TLS, on connections of their own: the same bytes, the same certificate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.client.files import Fetching, Sending, UserFiles
from chatlib.client.transfers import Transfer, TransferQueue
from tests.chance import new_chance
from tests.client.certificates import NEEDS_OPENSSL, certificate
from tests.client.tlsrig import Bench, TlsServer

BODY = new_chance(12).randbytes(3_000_000)
pytestmark = NEEDS_OPENSSL
DIGEST = hashlib.sha256(BODY).hexdigest()


class Files(Bench):
    """Somebody is in, and may send and fetch."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.at = self.server()
        self.dial(self.at.port)
        self.queue = TransferQueue(self.loop, self.conversation, lambda: self.link.peer, jitter=lambda: 0.0)
        self.log_in()

    def hear(self) -> None:
        for item in self.conversation.take_news():
            self.queue.heard(item)
            self.news.append(item)

    def carried(self, transfer: Transfer) -> Transfer:
        self.queue.add(transfer)
        self.until(lambda: transfer.over)
        return transfer

    def fetched(self, server: TlsServer) -> Fetching:
        ticket = {"status": "OK", "ticket": "t", "size": len(BODY), "sha256": DIGEST}
        server.fake.scripted["fileget"] = [dict(ticket) for _ in range(20)]
        server.body = json.dumps({"action": "download", "status": "OK", "size": len(BODY), "offset": 0}).encode()
        server.body += b"\n" + BODY
        fetching = Fetching(self.queue, UserFiles("ann"), "x", self.folder)
        self.carried(fetching)
        return fetching

    def sent(self, server: TlsServer) -> Transfer:
        path = self.folder / "y"
        path.write_bytes(BODY)
        server.fake.scripted["file"] = [{"status": "OK", "ticket": "t", "offset": 0} for _ in range(20)]
        server.expects = len(BODY)
        return self.carried(Sending(self.queue, UserFiles("ann"), str(path)))


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    made = Files(tmp_path)
    yield made
    made.queue.stop()
    made.close()


def test_a_file_comes(files: Files) -> None:
    fetching = files.fetched(files.at)
    assert fetching.failure == "" and fetching.path and fetching.path.read_bytes() == BODY
    assert files.at.carried == [{"action": "download", "ticket": "t", "offset": 0}]
    assert [guest.wire.secured for guest in files.at.guests] == [True, True]


def test_a_file_goes(files: Files) -> None:
    assert files.sent(files.at).failure == ""
    assert files.at.body == BODY and files.at.carried == [{"action": "upload", "ticket": "t", "offset": 0}]


def test_a_file_goes_to_a_server_that_reads_slowly(files: Files) -> None:
    def slow(guest: object) -> None:
        guest.wire.receive = 32_768  # type: ignore[attr-defined]

    files.at.begin = slow
    assert files.sent(files.at).failure == "" and files.at.body == BODY


@pytest.mark.parametrize("way", ["there", "back"])
def test_nothing_goes_to_a_server_with_another_certificate(files: Files, way: str) -> None:
    """Somebody else answers: the ticket is not told, and after some tries it is given up."""
    files.at.show(certificate("other"))
    files.at.heard = b""
    transfer = files.sent(files.at) if way == "there" else files.fetched(files.at)
    assert "was given up: the server has another certificate now." in transfer.failure
    assert not files.at.carried and b'"ticket"' not in files.at.heard


def test_nothing_goes_to_a_server_that_speaks_no_tls(files: Files) -> None:
    files.at._secured = False
    transfer = files.fetched(files.at)
    assert "was given up: no TLS: " in transfer.failure and not files.at.carried
