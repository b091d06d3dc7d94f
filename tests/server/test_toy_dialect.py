"""A toy dialect: netstrings, beside JSON lines. It touches no other file, and is spoken in the real house."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from chatlib.protocol.framing import decode_request
from chatlib.server import dialects
from chatlib.server.dialects import Opening
from tests.server.house import House
from tests.server.peer import Message, Peer

_LENGTH = re.compile(rb"(\d{1,6}):")


class Netstrings:
    """``17:{"action":"hello"},``: a length, a colon, a JSON object, a comma."""

    name = "netstrings"

    def __init__(self) -> None:
        self.waiting = 0
        self._messages: list[bytes] = []
        self._rest = b""

    @staticmethod
    def translate(line: bytes) -> bytes:
        TRANSLATED.append(line)
        return b"%d:%b," % (len(line) - 1, line[:-1])

    def feed(self, data: bytes) -> None:
        self._rest += data
        while begins := _LENGTH.match(self._rest):
            end = begins.end() + int(begins[1])
            if len(self._rest) <= end:
                break
            self._messages.append(self._rest[begins.end() : end])
            self._rest = self._rest[end + 1 :]
        self.waiting = len(self._messages)

    def only(self, data: bytes) -> bytes | None:
        return None

    def cut(self, count: int) -> list[bytes]:
        messages, self._messages = self._messages[:count], self._messages[count:]
        self.waiting = len(self._messages)
        return messages

    def put_back(self, messages: list[bytes]) -> None:
        self._messages = messages + self._messages
        self.waiting = len(self._messages)

    def unfinished(self) -> int:
        return len(self._rest)

    def rest(self) -> bytes:
        rest, self._rest, self._messages, self.waiting = self._rest, b"", [], 0
        return rest

    def request(self, message: bytes) -> dict[str, object]:
        return decode_request(message)


TRANSLATED: list[bytes] = []  # each event, once for all who speak it
OPENING = Opening(
    Netstrings.name,
    lambda data: _LENGTH.match(data) is not None,
    lambda session, _data: session.speak(Netstrings()),
)


class NetstringPeer(Peer):
    """The other end of a connection that speaks it."""

    def written(self, request: Message | str | bytes) -> bytes:
        data = json.dumps(request).encode() if isinstance(request, dict) else b""
        return b"%d:%b," % (len(data), data) if data else super().written(request)

    def read(self) -> list[bytes]:
        wire = Netstrings()
        wire.feed(self._rest)
        messages = wire.cut(wire.waiting)
        self._rest = wire.rest()
        return messages


@pytest.fixture
def netstrings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    TRANSLATED.clear()
    monkeypatch.setattr(dialects, "OPENINGS", [OPENING, *dialects.OPENINGS])
    yield


def login(house: House, name: str) -> NetstringPeer:
    peer = NetstringPeer(house, name)
    house.peers.append(peer)
    assert peer.hello()["status"] == "OK" and peer.prove("login", name)["status"] == "OK"
    peer.hear()
    return peer


def test_two_dialects_talk_to_each_other(netstrings: None, house: House) -> None:
    columbia, facebook, google = house.login("Columbia"), login(house, "facebook"), login(house, "Google")
    assert facebook.ask("message", to="Columbia", text="to lines")["delivered"] is True
    assert columbia.ask("message", to="facebook", text="to netstrings")["delivered"] is True
    google.ask("block", user="Columbia")
    del TRANSLATED[:]
    columbia.say({"action": "broadcast", "text": "not to Google"}, {"action": "message", "to": "facebook", "text": "1"})
    facebook.say({"action": "broadcast", "text": "to all"}, {"action": "message", "to": "Google", "text": "2"})
    house.settle()
    assert columbia.texts == ["to lines", "not to Google", "to all"]
    assert facebook.texts == ["to netstrings", "not to Google", "1", "to all"]
    assert google.texts == ["to all", "2"]
    assert sum(b'"broadcast","seq"' in line for line in TRANSLATED) == 2, "each once, however many speak it"
