"""Two ends that talk without a network: proofs that are right, and every kind that is not; then the talk."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol.framing import MAX_LINE, encode
from chatlib.protocol.peer import (
    MAX_PROOF,
    WINDOW,
    CallerProven,
    ListenerProven,
    PeerError,
    PeerHappening,
    PeerLeft,
    PeerSaid,
    PeerShowed,
    PeerWire,
    proof,
)

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
BINDING, OTHER_BINDING = b"here we are!", b"or elsewhere"


def keys(**known: bytes) -> Callable[[str], bytes | None]:
    return known.get


def caller(me: str = "ann", you: str = "Bob", key: bytes = KEY, binding: bytes = BINDING) -> PeerWire:
    return PeerWire.caller(me, you, key, binding)


def listener(me: str = "Bob", binding: bytes = BINDING, **known: bytes) -> PeerWire:
    return PeerWire.listener(me, keys(**(known or {"ann": KEY})), binding)


def talking() -> tuple[PeerWire, PeerWire]:
    """A caller and a listener that are proven to each other."""
    ann, bob = caller(), listener()
    assert bob.feed(ann.take_output()) == [CallerProven("ann")]
    bob.accept()
    assert ann.feed(bob.take_output()) == [ListenerProven()]
    assert ann.open and bob.open
    return ann, bob


def pieces(data: bytes, cut: str) -> list[bytes]:
    """The same bytes whole, one by one, or with a tail that is not whole yet."""
    if cut == "whole":
        return [data]
    if cut == "bytes":
        return [data[i : i + 1] for i in range(len(data))]
    middle = len(data) - 3
    return [data[:middle], data[middle:]]


def feed(wire: PeerWire, data: bytes, cut: str) -> list[PeerHappening]:
    return [each for piece in pieces(data, cut) for each in wire.feed(piece)]


def refuses(wire: PeerWire, data: bytes) -> None:
    """Whatever comes then: nothing is said, and nothing listened to."""
    wire.take_output()
    with pytest.raises(PeerError):
        wire.feed(data)
    assert wire.over and not wire.open
    assert wire.take_output() == b""
    assert wire.feed(encode({"id": 1, "text": "hi"})) == []


def line(**fields: Any) -> bytes:
    right = {"peer": 1, "from": "ann", "to": "Bob", "mac": proof(KEY, "caller", BINDING, "ann", "Bob")}
    said = {**right, **{name.rstrip("_"): value for name, value in fields.items()}}
    return encode({name: value for name, value in said.items() if value is not ...})


# Proofs.


@pytest.mark.parametrize("cut", ["whole", "bytes", "tail"])
def test_both_prove_who_they_are(cut: str) -> None:
    ann, bob = caller(), listener()
    assert feed(bob, ann.take_output(), cut) == [CallerProven("ann")]
    assert (bob.user, bob.open, bob.take_output()) == ("ann", False, b"")
    bob.accept()
    assert feed(ann, bob.take_output(), cut) == [ListenerProven()]
    assert (ann.user, ann.open, bob.open) == ("Bob", True, True)


def test_a_proof_as_wire_says_it() -> None:
    said = json.loads(caller().take_output())
    assert said == {"peer": 1, "from": "ann", "to": "Bob", "mac": proof(KEY, "caller", BINDING, "ann", "Bob")}
    # Worked out once by other means: openssl dgst -sha256 -mac HMAC.
    assert said["mac"] == "189b8d5af4c5e9d9474b0d31ceb037edd253ba4d1bb297167e3fc813b355baae"


def test_names_are_compared_without_regard_to_case() -> None:
    ann = caller("ANN", "bOB")
    assert listener("Bob", ann=KEY).feed(ann.take_output()) == [CallerProven("ANN")]


@pytest.mark.parametrize(
    "ann",
    [
        caller(key=OTHER_KEY),
        caller(binding=OTHER_BINDING),  # somebody sits in between
        caller(me="carl"),  # with the key of ann, say
        caller(you="carl"),  # meant for another
    ],
)
def test_a_wrong_caller_hears_nothing(ann: PeerWire) -> None:
    refuses(listener(ann=KEY, dora=OTHER_KEY), ann.take_output())


def test_the_right_key_for_the_wrong_user() -> None:
    """carl was introduced, too, with a key of his own: with that he is not ann."""
    mac = proof(OTHER_KEY, "caller", BINDING, "ann", "Bob")
    refuses(listener(ann=KEY, carl=OTHER_KEY), line(mac=mac))


def test_a_wrong_listener_is_not_talked_to() -> None:
    for key, role, binding, speaker, hearer in (
        (OTHER_KEY, "listener", BINDING, "Bob", "ann"),
        (KEY, "caller", BINDING, "Bob", "ann"),
        (KEY, "listener", OTHER_BINDING, "Bob", "ann"),
        (KEY, "listener", BINDING, "carl", "ann"),
        (KEY, "listener", BINDING, "ann", "Bob"),
        (KEY, "listener", BINDING, "Bob", "carl"),
    ):
        mac = proof(key, role, binding, speaker, hearer)
        refuses(caller(), line(from_=speaker, to=hearer, mac=mac))


def test_a_proof_that_is_reflected() -> None:
    ann = caller()
    refuses(ann, ann.take_output())
    ann, also_ann = caller("ann", "ann"), listener("ann", ann=KEY)
    assert also_ann.feed(ann.take_output())  # one who calls himself is still not taken for the other side
    also_ann.accept()
    back = also_ann.take_output()
    refuses(listener("ann", ann=KEY), back)


def test_a_proof_that_is_replayed_on_another_connection() -> None:
    heard = caller().take_output()
    assert listener().feed(heard)
    refuses(listener(binding=OTHER_BINDING), heard)


@pytest.mark.parametrize(
    "said",
    [
        line(mac=...), line(from_=...), line(peer=...), line(to=...), line(more=1), line(peer=2), line(peer=True),
        line(peer="1"), line(mac="0" * 64), line(mac="x"), line(mac=None), line(from_=5), line(to=["Bob"]),
        line(from_=""), line(from_="a b"), line(from_="x" * 33), line(from_="ann|Bob"), line(to=""),
        line(mac=proof(KEY, "caller", BINDING, "ann", "Bob").upper()), line(mac="\u0660" * 64),
        b"\n", b"{}\n", b"[]\n", b"GET / HTTP/1.1\r\n", b"\xff\xfe\n", b'{"peer":1,"peer":1}\n', b"nothing\n",
        line() + encode({"id": 1, "text": "too early"}), line() + line(),
        b" " * MAX_PROOF + line(), b"x" * MAX_LINE,
    ],
)  # fmt: skip
def test_what_is_no_proof(said: bytes) -> None:
    refuses(listener(), said)


def test_without_a_binding_nothing_is_proven() -> None:
    with pytest.raises(PeerError):
        caller(binding=b"")
    with pytest.raises(PeerError):
        listener(binding=b"short")


def test_a_caller_that_was_not_answered_may_not_speak() -> None:
    bob = listener()
    bob.feed(caller().take_output())
    refuses(bob, encode({"id": 1, "text": "hi"}))


def test_nothing_is_said_before_the_proof() -> None:
    for wire in (caller(), listener()):
        with pytest.raises(AssertionError):
            wire.say("text", "hi", "k")
        wire.accept()  # nobody is there to be accepted
        assert not wire.open


# The talk.


@pytest.mark.parametrize("cut", ["whole", "bytes", "tail"])
def test_texts_and_cheques_both_ways(cut: str) -> None:
    for one, other in (talking(), talking()[::-1]):
        one.say("text", "hello", "k")
        one.say("cheque", "cheque/1 ...", "k")
        said = feed(other, one.take_output(), cut)
        assert said == [PeerSaid(1, "text", "hello", "k"), PeerSaid(2, "cheque", "cheque/1 ...", "k")]
        assert one.unacknowledged == {1, 2}
        other.acknowledge(1)
        other.acknowledge(1)
        other.acknowledge(5)
        assert feed(one, other.take_output(), cut) == [PeerShowed(1)]
        assert one.unacknowledged == {2}
        one.leave()
        assert feed(other, one.take_output(), cut) == [PeerLeft()]
        assert one.over and other.over


def test_what_was_said_before_has_its_key() -> None:
    ann, bob = talking()
    ann.say("text", "hello", "the key")
    ann.say("cheque", "cheque/1 ...", "another")
    assert bob.feed(ann.take_output()) == [
        PeerSaid(1, "text", "hello", "the key"), PeerSaid(2, "cheque", "cheque/1 ...", "another")
    ]  # fmt: skip


def test_nothing_follows_bye() -> None:
    ann, bob = talking()
    late = encode({"id": 1, "text": "late", "key": "k"})
    assert bob.feed(encode({"bye": True}) + late + b"nonsense\n") == [PeerLeft()]
    ann.leave()
    ann.leave()
    ann.acknowledge(1)
    assert ann.take_output() == encode({"bye": True})


@pytest.mark.parametrize(
    "said",
    [
        {"id": 2, "text": "not the first"}, {"id": 0, "text": "x"}, {"id": True, "text": "x"}, {"id": 1.0, "text": "x"},
        {"id": "1", "text": "x"}, {"id": 1, "text": ""}, {"id": 1, "text": "x" * 4_097}, {"id": 1, "text": "a\nb"},
        {"id": 1, "text": 5}, {"id": 1, "text": "x", "cheque": "y"}, {"id": 1}, {"text": "x"},
        {"id": 1, "cheque": ""}, {"id": 1, "cheque": "x" * 401}, {"id": 1, "cheque": "\x1b"}, {"id": 1, "cheque": None},
        {"id": 1, "text": "x", "key": None}, {"id": 1, "text": "x", "key": ""},
        {"id": 1, "text": "x", "key": "k" * 65}, {"id": 1, "text": "x", "key": 1},
        {"id": 1, "text": "x", "key": "a\nb"}, {"id": 1, "text": "x", "key": "k", "more": 1},
        {"ack": 2}, {"ack": True}, {"ack": None}, {"ack": 1, "more": 1}, {"bye": False}, {"bye": 1},
        {"bye": True, "x": 1}, {}, {"peer": 1}, {"id": 1, "text": "x" + "\u0301" * 17}, {"id": 10**400, "text": "x"},
    ],
)  # fmt: skip
def test_what_may_not_be_said(said: dict[str, object]) -> None:
    ann, bob = talking()
    if "ack" in said:
        bob.say("text", "x", "k")
    refuses(bob, encode({"key": "k", **said} if "id" in said else said))


def test_whatever_is_said_has_a_key() -> None:
    for said in ({"text": "x"}, {"cheque": "cheque/1 ..."}):
        refuses(talking()[1], encode({"id": 1, **said}))


def test_an_acknowledgement_counts_once() -> None:
    ann, bob = talking()
    ann.say("text", "x", "k")
    assert ann.feed(encode({"ack": 1})) == [PeerShowed(1)]
    refuses(ann, encode({"ack": 1}))


def test_no_more_than_the_window_waits() -> None:
    ann, bob = talking()
    for _ in range(WINDOW):
        ann.say("text", "x", "k")
    with pytest.raises(AssertionError):
        ann.say("text", "x", "k")
    assert len(bob.feed(ann.take_output())) == WINDOW
    bob.acknowledge(1)
    bob.feed(encode({"id": WINDOW + 1, "text": "x", "key": "k"}))
    refuses(bob, encode({"id": WINDOW + 2, "text": "x", "key": "k"}))


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"\n", b'{"ack":1}\n', b'{"bye":true}\n', line()])))
def test_whatever_comes_it_is_refused_or_understood(said: list[bytes]) -> None:
    for wire in (caller(), listener(), talking()[0]):
        try:
            for each in said:
                wire.feed(each)
        except PeerError:
            assert wire.over
