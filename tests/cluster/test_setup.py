"""The engine's two streams: made once, checked by each start, and watched."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatlib.cluster import setup
from chatlib.cluster.link import EngineLink
from chatlib.cluster.setup import EngineUnfit, StreamWatch, check_streams, files_stream, log_stream, make_streams
from tests.cluster.fakeengine import FakeEngine
from tests.patience import LIMIT

EPOCH = "0123456789abcdef"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


@pytest.fixture
def link(engine: FakeEngine) -> Iterator[EngineLink]:
    with contextlib.closing(EngineLink(None, engine.parse())) as link:
        yield link


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(EngineUnfit) as unfit:
        call()
    return str(unfit.value)


def test_they_are_made_once_and_are_then_as_they_must_be(engine: FakeEngine, link: EngineLink) -> None:
    make_streams(link, "chat", EPOCH)
    log, files = engine.streams["chat"].config, engine.streams["chat_files"].config
    assert (log["num_replicas"], log["storage"], log["discard"], log["deny_delete"]) == (3, "file", "new", True)
    assert log["republish"] == {"src": "chat.log", "dest": "chat.out"} and log["allow_direct"] and log["max_age"] == 0
    assert (files["subjects"], files["num_replicas"]) == (["chat.files.>"], 3)
    assert check_streams(link, "chat") == check_streams(link, "chat", EPOCH) == EPOCH
    make_streams(link, "chat", EPOCH)  # as after a crash in the middle of it
    assert engine.asked.count("$JS.API.STREAM.CREATE.chat") == 1


def test_a_log_that_has_something_is_not_begun_anew(engine: FakeEngine, link: EngineLink) -> None:
    make_streams(link, "chat", EPOCH)
    engine.store("chat", b"x")
    assert 'The log "chat" has 1 messages already' in refused(lambda: make_streams(link, "chat", EPOCH))
    engine.do(lambda: engine.streams["chat"].purge({}))
    assert "has 1 messages already" in refused(lambda: make_streams(link, "chat", EPOCH)), "nor one that had"


def test_another_worlds_log_is_refused(link: EngineLink) -> None:
    make_streams(link, "chat", EPOCH)
    for call in (check_streams, make_streams):
        told = refused(lambda call=call: call(link, "chat", "fedcba9876543210"))  # type: ignore[misc]
        assert told == f'The log "chat" is of epoch {EPOCH}, and the home of fedcba9876543210: it is another world\'s.'


def test_what_is_not_there_or_was_made_by_somebody_else_is_refused(engine: FakeEngine, link: EngineLink) -> None:
    assert refused(lambda: check_streams(link, "chat")) == 'The engine has no stream "chat".'
    engine.make(**log_stream("chat"))
    assert "it has no chatlib-epoch in its metadata" in refused(lambda: check_streams(link, "chat"))
    engine.make(**log_stream("next"), metadata={"chatlib-epoch": EPOCH, "chatlib-format": "2"})
    assert 'The log "next" has format 2; this version of the server knows 1.' in refused(
        lambda: check_streams(link, "next")
    )
    engine.make(**log_stream("log"), metadata={"chatlib-epoch": EPOCH, "chatlib-format": "1"})
    assert refused(lambda: check_streams(link, "log")) == 'The engine has no stream "log_files".'


@pytest.mark.parametrize(
    ("differs", "said"),
    [
        ({"num_replicas": 1}, "num_replicas is 1, not 3"),
        ({"storage": "memory"}, 'storage is "memory", not "file"'),
        ({"retention": "workqueue"}, 'retention is "workqueue", not "limits"'),
        ({"discard": "old"}, 'discard is "old", not "new"'),
        ({"max_age": 10**9}, "max_age is 1000000000, not 0"),
        ({"max_msgs": 5}, "max_msgs is 5, not -1"),
        ({"max_bytes": 10**6}, "max_bytes is 1000000, not -1"),
        ({"max_msg_size": 1_000}, "max_msg_size is 1000, not -1"),
        ({"deny_delete": False}, "deny_delete is false, not true"),
        ({"deny_purge": True}, "deny_purge is true, not false"),
        ({"allow_direct": False}, "allow_direct is false, not true"),
        ({"republish": None}, 'republish is null, not {"src": "chat.log", "dest": "chat.out"}'),
        ({"republish": {"src": "chat.log", "dest": "chat.out", "headers_only": True}}, "republish is "),
        ({"subjects": ["chat.log", "more"]}, 'subjects is ["chat.log", "more"], not ["chat.log"]'),
        ({"sealed": True}, "sealed is true, not false"),
        ({"allow_msg_ttl": True}, "allow_msg_ttl is true, not false"),
        ({"mirror": {"name": "other"}}, 'mirror is {"name": "other"}, not null'),
    ],
)
def test_a_log_that_somebody_has_changed_is_refused_with_what_differs(
    engine: FakeEngine, link: EngineLink, differs: dict[str, Any], said: str
) -> None:
    make_streams(link, "chat", EPOCH)
    engine.do(lambda: engine.streams["chat"].config.update(differs))
    for call in (check_streams, make_streams):
        told = refused(lambda call=call: call(link, "chat", EPOCH))  # type: ignore[misc]
        assert told.startswith('The engine\'s stream "chat" is not as it must be: ') and said in told


def test_what_does_no_harm_may_differ(engine: FakeEngine, link: EngineLink) -> None:
    make_streams(link, "chat", EPOCH)
    more = {"num_replicas": 5, "max_msg_size": 1 << 20, "compression": "s2", "placement": {"tags": ["ssd"]}}
    engine.do(lambda: engine.streams["chat"].config.update(more))
    assert check_streams(link, "chat") == EPOCH


def test_the_other_stream_is_checked_too(engine: FakeEngine, link: EngineLink) -> None:
    make_streams(link, "chat", EPOCH)
    engine.do(lambda: engine.streams["chat_files"].config.update(max_age=1))
    assert 'stream "chat_files" is not as it must be: max_age is 1, not 0' in refused(
        lambda: check_streams(link, "chat")
    )
    assert setup.differences(files_stream("chat"), files_stream("chat")) == []


def test_an_engine_that_chooses_a_leader_is_waited_for_and_one_that_has_none_is_named(
    engine: FakeEngine, link: EngineLink
) -> None:
    engine.leader = False
    told = refused(lambda: make_streams(link, "chat", EPOCH, 0.5))
    assert told.startswith("The engine does not keep streams now: JetStream is off, or most of its nodes do not run.")
    assert "system temporarily unavailable" in told


def test_an_engine_that_is_too_old_or_takes_too_little_is_refused(engine: FakeEngine, link: EngineLink) -> None:
    link.wait(lambda: link.connected, LIMIT)
    assert link.info
    link.max_payload = 65_536
    assert "takes 65536 bytes in a message (max_payload); it must take 524288 at least" in refused(
        lambda: check_streams(link, "chat")
    )
    link.info = type(link.info)(link.info.name, "2.9.25", *[getattr(link.info, name) for name in
                                ("max_payload", "headers", "jetstream", "tls_required", "leaving")])  # fmt: skip
    assert refused(lambda: check_streams(link, "chat")) == "The engine is nats-server 2.9.25; 2.14 or later is needed."


def test_without_an_engine_one_is_told_why() -> None:
    with FakeEngine() as engine:
        parsed = engine.parse()
    with contextlib.closing(EngineLink(None, parsed)) as link:
        told = refused(lambda: check_streams(link, "chat", patience=0.3))
    assert re.match("No node of the engine lets us in: 127.0.0.1:[0-9]+: ", told)


# Each minute.


def look(engine: FakeEngine, link: EngineLink, watch: StreamWatch) -> None:
    before = engine.asked.count("$JS.API.STREAM.INFO.chat")
    for _ in range(setup.PERIOD):
        watch.every_second()
    answered: list[object] = []
    link.request("$JS.API.INFO", b"", answered.append)
    link.wait(lambda: bool(answered), LIMIT)  # behind the other answer
    assert engine.asked.count("$JS.API.STREAM.INFO.chat") == before + 1, "once a minute"


def test_holes_and_changes_are_told_once(engine: FakeEngine, link: EngineLink) -> None:
    make_streams(link, "chat", EPOCH)
    said: list[str] = []
    watch = StreamWatch(link, "chat", said.append)
    for payload in (b"1", b"2", b"3"):
        engine.store("chat", payload)
    look(engine, link, watch)
    assert said == []
    engine.do(lambda: engine.streams["chat"].delete(2))
    engine.do(lambda: engine.streams["chat"].config.update(max_msgs=7))
    look(engine, link, watch)
    look(engine, link, watch)
    assert len(said) == 2 and "max_msgs is 7, not -1" in said[0] and "1 of its messages are gone" in said[1]
    assert watch.failure == ""


def test_a_log_that_is_gone_or_another_worlds_ends_it(engine: FakeEngine, link: EngineLink) -> None:
    make_streams(link, "chat", EPOCH)
    watch = StreamWatch(link, "chat", print)
    look(engine, link, watch)
    config = engine.streams["chat"].config
    engine.do(lambda: config.update(metadata={"chatlib-epoch": "another"}))
    look(engine, link, watch)
    assert watch.failure == f'The log "chat" is of epoch another by now, and was of {EPOCH}.'
    watch = StreamWatch(link, "chat", print)
    engine.do(lambda: engine.streams.pop("chat"))
    look(engine, link, watch)
    assert watch.failure == "", "an engine that has just begun may not know it yet"
    look(engine, link, watch)
    assert watch.failure == 'The engine has no stream "chat" any more.'
