"""What an engine says, whole, byte by byte and with a tail; what no engine says; and what is said to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol import nats
from chatlib.protocol.nats import Beat, Engine, Event, Fault, Info, Message, NatsClient, parse

INFO = (
    b'INFO {"server_id":"NC","server_name":"n1","version":"2.15.1","proto":1,"headers":true,"max_payload":1048576,'
    b'"jetstream":true,"client_id":5,"connect_urls":["10.0.0.1:4222"]} \r\n'
)
REPUBLISHED = (
    b"HMSG T.out 2 159 164\r\nNATS/1.0\r\nNats-Msg-Id: a-1-1\r\nNats-Stream: T\r\nNats-Subject: T.log\r\n"
    b"Nats-Sequence: 1\r\nNats-Time-Stamp: 2026-11-22T02:57:06.332941339Z\r\nNats-Last-Sequence: 0\r\n\r\nhello\r\n"
)
HEADERS = {
    "Nats-Msg-Id": "a-1-1",
    "Nats-Stream": "T",
    "Nats-Subject": "T.log",
    "Nats-Sequence": "1",
    "Nats-Time-Stamp": "2026-11-22T02:57:06.332941339Z",
    "Nats-Last-Sequence": "0",
}
# As a real engine says them.
CONVERSATION: list[tuple[bytes, list[Event]]] = [
    (INFO, [Info("n1", "2.15.1", 1_048_576, True, True, False, False)]),
    (b"PONG\r\n", [Beat.PONG]),
    (b"PING\r\n", [Beat.PING]),
    (b"+OK\r\n", []),
    (
        b"MSG i.1 1 22\r\n" + b'{"stream":"T","seq":1}' + b"\r\n",
        [Message("i.1", payload=b'{"stream":"T","seq":1}', sid=1)],
    ),
    (b"MSG a.b 17 i.7 0\r\n\r\n", [Message("a.b", reply="i.7", sid=17)]),
    (b"MSG a 1 8\r\nPING\r\n\r\n\r\n", [Message("a", payload=b"PING\r\n\r\n", sid=1)]),
    (REPUBLISHED, [Message("T.out", headers=HEADERS, payload=b"hello", sid=2)]),
    (
        b"HMSG i.1 1 43 43\r\nNATS/1.0 503\r\nNats-Subject: nobody.here\r\n\r\n\r\n",
        [Message("i.1", headers={"Nats-Subject": "nobody.here"}, status=503, sid=1)],
    ),
    (
        b"HMSG i.1 1 34 34\r\nNATS/1.0 404 Message Not Found\r\n\r\n\r\n",
        [Message("i.1", headers={"Description": "Message Not Found"}, status=404, sid=1)],
    ),
    (
        b"HMSG i.1 1 i.2 64 64\r\nNATS/1.0 204 EOB\r\nNats-Num-Pending: 0\r\nNats-Last-Sequence: 2\r\n\r\n\r\n",
        [Message("i.1", "i.2", {"Description": "EOB", "Nats-Num-Pending": "0", "Nats-Last-Sequence": "2"}, 204, sid=1)],
    ),
    (b"-ERR 'Maximum Payload Violation'\r\n", [Fault("Maximum Payload Violation", ends=True)]),
]
WHOLE = b"".join(said for said, _ in CONVERSATION)
HEARD = [event for _, events in CONVERSATION for event in events]


@pytest.mark.parametrize(("said", "events"), CONVERSATION, ids=lambda value: str(value)[:30])
def test_each_thing_an_engine_says(said: bytes, events: list[Event]) -> None:
    assert NatsClient().feed(said) == events
    client = NatsClient()
    assert [event for at in range(len(said)) for event in client.feed(said[at : at + 1])] == events
    assert client.held == 0
    client = NatsClient()
    tail = b"MSG a.b.c 1 "
    assert client.feed(said + tail) == events
    assert client.held == len(tail)
    assert client.feed(b"2\r\nhi\r\n") == [Message("a.b.c", payload=b"hi", sid=1)]


def test_a_conversation_whole_and_byte_by_byte() -> None:
    assert NatsClient().feed(WHOLE) == HEARD
    client = NatsClient()
    assert [event for at in range(len(WHOLE)) for event in client.feed(WHOLE[at : at + 1])] == HEARD


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_a_conversation_in_any_pieces(cuts: list[int]) -> None:
    client, at, heard = NatsClient(), 0, []
    for cut in [*sorted(cuts), len(WHOLE)]:
        heard += client.feed(WHOLE[at:cut])
        at = cut
    assert heard == HEARD


def test_a_large_message_costs_no_more_than_it_holds() -> None:
    payload = bytes(range(256)) * 4_096
    said = b"MSG a 1 %d\r\n%s\r\n" % (len(payload), payload)
    client = NatsClient()
    heard = [event for at in range(0, len(said), 1_000) for event in client.feed(said[at : at + 1_000])]
    assert [event.payload for event in heard if isinstance(event, Message)] == [payload]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_garbage_is_a_fault_or_waits_and_is_the_same_in_pieces(garbage: bytes, cuts: list[int]) -> None:
    whole = NatsClient().feed(garbage)
    client, at, heard = NatsClient(), 0, []
    for cut in [*sorted(cuts), len(garbage)]:
        heard += client.feed(garbage[at:cut])
        at = max(at, cut)
    assert heard == whole


NONSENSE = {
    "a word": b"HELLO\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n",
    "a line without its carriage return is no line": b"MSG a 1 2\nhi\n" + b"x" * nats.MAX_LINE,
    "an endless line": b"x" * (nats.MAX_LINE + 2),
    "an endless message's line": b"MSG " + b"x" * nats.MAX_LINE,
    "a long line": b"MSG " + b"x" * nats.MAX_LINE + b" 1 0\r\n\r\n",
    "an endless INFO": b"INFO {" + b" " * nats.MAX_INFO,
    "a message too large": b"MSG a 1 %d\r\n" % (nats.MAX_MESSAGE + 1),
    "a size of many digits": b"MSG a 1 99999999999999999999\r\n",
    "a size below nothing": b"MSG a 1 -1\r\n",
    "a size that is none": b"MSG a 1 1_0\r\n",
    "no size": b"MSG a 1\r\n",
    "no number": b"MSG a x 1\r\n",
    "too many words": b"MSG a 1 b c 1\r\n",
    "two spaces": b"MSG a  1 1\r\n",
    "a message without its end": b"MSG a 1 2\r\nhixx",
    "headers larger than the message": b"HMSG a 1 20 10\r\n",
    "headers too large": b"HMSG a 1 %d %d\r\n" % (nats.MAX_HEADERS + 1, nats.MAX_HEADERS + 1),
    "headers without an end": b"HMSG a 1 12 12\r\nNATS/1.0\r\na:\r\n",
    "headers of another version": b"HMSG a 1 12 12\r\nNATS/2.0\r\n\r\n\r\n",
    "a header without a name": b"HMSG a 1 16 16\r\nNATS/1.0\r\n: b\r\n\r\n\r\n",
    "a header without a colon": b"HMSG a 1 15 15\r\nNATS/1.0\r\nabc\r\n\r\n\r\n",
    "a status that is none": b"HMSG a 1 16 16\r\nNATS/1.0 abc\r\n\r\n\r\n",
    "INFO that is no JSON": b"INFO {\r\n",
    "INFO that is no object": b"INFO []\r\n",
    "INFO too deep": b"INFO " + b"[" * 40_000 + b"\r\n",
    "INFO without a largest message": b"INFO {}\r\n",
    "a largest message of nothing": b'INFO {"max_payload":0}\r\n',
    "a largest message that is none": b'INFO {"max_payload":true}\r\n',
}


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE.keys())
def test_what_no_engine_says_ends_it_behind_what_came_before(said: bytes) -> None:
    client = NatsClient()
    first, fault = client.feed(b"PING\r\n" + said)
    assert first is Beat.PING
    assert isinstance(fault, Fault) and fault.ends and not fault.final and fault.text.isprintable()
    assert len(fault.text) < 300
    assert client.feed(b"PING\r\n") == [] and client.held == 0
    client = NatsClient()
    heard = [event for at in range(len(said)) for event in client.feed(said[at : at + 1])]
    assert [type(event) for event in heard] == [Fault]


def test_the_longest_line_there_is() -> None:
    line = b"MSG " + b"x" * (nats.MAX_LINE - 8) + b" 1 0"
    assert len(line) == nats.MAX_LINE
    for size in (1, 1_000, nats.MAX_LINE + 1, 10_000):
        client, said = NatsClient(), line + b"\r\n\r\n"
        heard = [event for at in range(0, len(said), size) for event in client.feed(said[at : at + size])]
        assert [type(event) for event in heard] == [Message]


def test_a_node_may_let_larger_messages_in_than_we_take() -> None:
    [info] = NatsClient().feed(b'INFO {"max_payload":67108864,"ldm":true,"tls_required":true}\r\n')
    assert info == Info("", "", nats.MAX_MESSAGE, False, False, True, True)


def test_of_two_headers_with_one_name_the_engines_own_counts() -> None:
    block = b"NATS/1.0\r\nNats-Sequence: 99\r\nNats-Sequence: 1\r\nWithout-Space:x\r\n\r\n"
    [message] = NatsClient().feed(b"HMSG a 1 %d %d\r\n%s\r\n" % (len(block), len(block), block))
    assert isinstance(message, Message)
    assert message.headers == {"Nats-Sequence": "1", "Without-Space": "x"}


@pytest.mark.parametrize(
    ("text", "ends", "final"),
    [
        ("Authorization Violation", True, True),
        ("User Authentication Expired", True, True),
        ("User Authentication Revoked", True, True),
        ("Account Authentication Expired", True, True),
        ("Authentication Timeout", True, False),
        ("Secure Connection - TLS Required", True, True),
        ("Invalid Client Protocol", True, True),
        ("Attempted To Connect To Route Port", True, True),
        ("Attempted To Connect To Leaf Node Port", True, True),
        ('Permissions Violation for Publish to "a.b"', False, True),
        ('Permissions Violation for Subscription to "a.b"', False, True),
        ("Invalid Subject", False, False),
        ("Invalid Publish Subject", False, False),
        ("Stale Connection", True, False),
        ("Slow Consumer", True, False),
        ("Maximum Connections Exceeded", True, False),
        ("Maximum Account Active Connections Exceeded", True, False),
        ("Maximum Control Line Exceeded", True, False),
        ("Unknown Protocol Operation", True, False),
        ("Parser Error", True, False),
        ("Server Shutdown", True, False),
        ("Something New", True, False),
    ],
)
def test_which_refusals_end_it_and_which_are_final(text: str, ends: bool, final: bool) -> None:
    assert NatsClient().feed(f"-ERR '{text}'\r\n".encode()) == [Fault(text, ends, final)]


# Where engines are.


@pytest.mark.parametrize(
    ("url", "engine"),
    [
        ("nats://a/chat", Engine((("a", 4222),))),
        ("NATS://a:1,b:2,c/Our_log-2", Engine((("a", 1), ("b", 2), ("c", 4222)), name="Our_log-2")),
        ("nats://a,a:4222/chat", Engine((("a", 4222),))),
        (" nats://10.0.0.1, 10.0.0.2/chat\n", Engine((("10.0.0.1", 4222), ("10.0.0.2", 4222)))),
        ("nats://[::1]:1,[fe80::1%eth0]/chat", Engine((("::1", 1), ("fe80::1%eth0", 4222)))),
        ("nats://ann:pw@a/chat", Engine((("a", 4222),), "ann", "pw")),
        ("nats://ann:p%40%3Aw%2F@a/chat", Engine((("a", 4222),), "ann", "p@:w/")),
        ("nats://s3cret@a/chat", Engine((("a", 4222),), token="s3cret")),
    ],
)
def test_addresses_of_engines(url: str, engine: Engine) -> None:
    assert parse(url) == engine


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "does not begin with nats://"),
        ("a/chat", "does not begin with nats://"),
        ("tls://ann:s3cret@a/chat", '"tls://" is not spoken'),
        ("nats://a", "there is none"),
        ("nats://a/", "there is none"),
        ("nats://a/chat/room", 'not "chat/room"'),
        ("nats://a/" + "x" * 33, "1 to 32"),
        ("nats://a/ch.at", 'not "ch.at"'),
        ("nats:///chat", 'has "" where'),
        ("nats://a,/chat", 'has "" where'),
        ("nats://a:/chat", 'has "" as a port'),
        ("nats://a:0/chat", "1 to 65535"),
        ("nats://a:65536/chat", "1 to 65535"),
        ("nats://a:²/chat", "1 to 65535"),
        ("nats://::1/chat", "stands in []"),
        ("nats://[::1/chat", "stands in []"),
        ("nats://[::1]x/chat", "stands in []"),
        ("nats://[10.0.0.1]/chat", "stands in []"),
        ("nats://a b/chat", "HOST:PORT"),
        ("nats://ann:s3cret@a,ann:s3cret@b/chat", "once"),
        ("nats://ann:s3cret/s3cret@a/chat", "%2F"),
        ("nats://s3cret/s3cret@a/chat", "%2F"),
        ("nats://ann:@a/chat", "nothing of it is empty"),
        ("nats://:s3cret@a/chat", "nothing of it is empty"),
        ("nats://@a/chat", "nothing of it is empty"),
        ("nats://" + ",".join(f"h{n}" for n in range(17)) + "/chat", "17 hosts"),
    ],
)
def test_addresses_that_are_none_say_what_is_wrong_and_no_password(url: str, what: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(url)
    assert what in str(error.value) and str(error.value).startswith("The log's address")
    assert "s3cret" not in str(error.value)


def test_an_engine_shows_no_secret() -> None:
    assert "s3cret" not in repr(parse("nats://ann:s3cret@a/chat")) + repr(parse("nats://s3cret@a/chat"))


# What is said to an engine.


def _connected(engine: Engine) -> dict[str, Any]:
    said = nats.connect(engine)
    assert said.startswith(b"CONNECT {") and said.endswith(b"}\r\n")
    answer: dict[str, Any] = json.loads(said[8:])
    return answer


def test_who_we_are() -> None:
    said = _connected(parse("nats://a/chat"))
    assert said["headers"] is said["no_responders"] is True and said["verbose"] is False
    assert not {"user", "pass", "auth_token"} & said.keys()
    said = _connected(parse("nats://ann:pw@a/chat"))
    assert (said["user"], said["pass"]) == ("ann", "pw")
    assert _connected(parse("nats://t0ken@a/chat"))["auth_token"] == "t0ken"


def test_what_is_said() -> None:
    assert nats.subscribe("a.*.c.>", 3) == b"SUB a.*.c.> 3\r\n"
    assert nats.subscribe(">", 3) == b"SUB > 3\r\n"
    assert nats.unsubscribe(3) == b"UNSUB 3\r\n"
    assert b"".join(nats.publish("a.b", b"hello")) == b"PUB a.b 5\r\nhello\r\n"
    assert b"".join(nats.publish("$JS.a", b"", reply="_INBOX.1")) == b"PUB $JS.a _INBOX.1 0\r\n\r\n"
    assert (
        b"".join(nats.publish("a", b"hi", {"Nats-Msg-Id": "x 1"}, "r"))
        == b"HPUB a r 30 32\r\nNATS/1.0\r\nNats-Msg-Id: x 1\r\n\r\nhi\r\n"
    )


@given(
    st.binary(max_size=300), st.dictionaries(st.from_regex(r"[A-Za-z-]{1,20}", fullmatch=True), st.text(max_size=20))
)
def test_what_is_said_with_headers_is_heard_as_it_was_said(payload: bytes, headers: dict[str, str]) -> None:
    headers = {name: " ".join(value.split()) for name, value in headers.items()}
    headers = {name: value for name, value in headers.items() if value.isprintable()}
    said = b"".join(nats.publish("a.b", payload, headers, "r.1"))
    verb, rest = (b"HMSG a.b 7 r.1 ", said[13:]) if headers else (b"MSG a.b 7 r.1 ", said[12:])
    assert NatsClient().feed(verb + rest) == [Message("a.b", "r.1", headers, 0, payload, 7)]


@pytest.mark.parametrize("subject", ["", "a b", "a..b", ".a", "a.", "a.*", ">", "a.>", "a\r\nPUB b 0", "a\tb", "*"])
def test_subjects_that_one_cannot_publish_to(subject: str) -> None:
    with pytest.raises(ValueError):
        nats.publish(subject, b"")
    with pytest.raises(ValueError):
        nats.publish("a", b"", reply=subject or "a b")


@pytest.mark.parametrize("subject", ["", "a b", "a..b", "a.>.b", ">.a", "a*", "a.b>", "a\r\n"])
def test_subjects_that_one_cannot_subscribe_to(subject: str) -> None:
    with pytest.raises(ValueError):
        nats.subscribe(subject, 1)


@pytest.mark.parametrize(
    "headers", [{"a": "b\r\nc: d"}, {"a": "b\nc"}, {"": "b"}, {"a b": "c"}, {"a:": "c"}, {"ä": "c"}]
)
def test_headers_that_cannot_be_said(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        nats.publish("a", b"", headers)
