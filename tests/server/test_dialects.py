"""What a connection speaks: its first bytes choose, however they come; and what a dialect must keep to."""

from __future__ import annotations

import pytest

from chatlib.protocol.framing import BadLine, Dialect
from tests.server.house import House
from tests.server.test_toy_dialect import NetstringPeer, Netstrings, login, netstrings

__all__ = ["netstrings"]  # the fixture: this house understands the toy


def test_followers_hear_a_thread_whatever_they_speak(netstrings: None, house: House) -> None:
    columbia, facebook, google = house.login("Columbia"), login(house, "facebook"), login(house, "Google")
    columbia.ask("crt", title="plans")
    assert facebook.ask("follow", title="plans")["status"] == "OK"
    columbia.say({"action": "msg", "title": "plans", "text": "1"}, {"action": "broadcast", "text": "2"},
                 {"action": "msg", "title": "plans", "text": "3"})  # fmt: skip
    facebook.ask("unfollow", title="plans")
    columbia.say({"action": "msg", "title": "plans", "text": "4"})
    house.settle()
    told = {peer.name: [event["text"] for event in peer.events if event["event"] in ("post", "broadcast")]
            for peer in (columbia, facebook, google)}  # fmt: skip
    assert told == {"Columbia": ["1", "2", "3", "4"], "facebook": ["1", "2", "3"], "Google": ["2"]}


def test_every_way_to_cut_its_bytes(netstrings: None, house: House) -> None:
    whole = NetstringPeer(house, "whole")
    said = whole.written({"action": "hello", "protocol": 1}) + whole.written({"action": "whoelse"}) + b"3:{},,"
    whole.say(said)
    drip = NetstringPeer(house, "drip")
    house.peers += [whole, drip]
    for place in range(len(said)):
        drip.say(said[place : place + 1])
        house.settle()
    house.settle()
    heard = [{**message, "time": 0} for message in whole.hear()]
    assert [message["status"] for message in heard] == ["OK", "NOT_ALLOWED", "BAD_REQUEST"]
    assert [{**message, "time": 0} for message in drip.hear()] == heard


def test_mail_waits_for_whoever_speaks_otherwise(netstrings: None, house: House) -> None:
    house.login("Columbia").say(*({"action": "message", "to": "SEAS", "text": str(n)} for n in range(300)))
    house.settle()
    seas = login(house, "SEAS")
    house.settle()
    assert seas.texts == [str(number) for number in range(300)]
    house.login("facebook").ask("broadcast", text="from now on as it happens")
    assert seas.texts[300:] == ["from now on as it happens"]


def test_too_long_and_not_json(netstrings: None, house: House) -> None:
    peer = NetstringPeer(house, "long")
    house.peers.append(peer)
    peer.say(b"5:hello,")
    peer.say(b"99999:" + b"x" * 5_000)
    house.settle()
    assert [message.get("status") for message in peer.hear()] == ["BAD_REQUEST", "TOO_LONG", "PROTOCOL_ERROR"]


def test_a_dialect_keeps_its_promises() -> None:
    wire: Dialect = Netstrings()
    wire.feed(b"1:a,1:b,1:c,1:")
    assert wire.waiting == 3 and wire.cut(2) == [b"a", b"b"]
    wire.put_back([b"b"])
    assert wire.waiting == 2 and wire.cut(2) == [b"b", b"c"] and wire.unfinished() == 2 and wire.rest() == b"1:"
    with pytest.raises(BadLine):
        wire.request(b"c")
