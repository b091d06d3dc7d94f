"""The fake engine answers as the real one does; and each of its faults."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.cluster.link import EngineLink
from chatlib.protocol import nats
from chatlib.protocol.nats import Message
from tests.cluster.engine import free_ports, program, why_not
from tests.cluster.fakeengine import FakeEngine, Fate
from tests.patience import LIMIT

LOG = {
    "name": "w",
    "subjects": ["w.log"],
    "storage": "file",
    "discard": "new",
    "deny_delete": True,
    "allow_direct": True,
    "republish": {"src": "w.log", "dest": "w.out"},
    "metadata": {"chatlib-epoch": "e1"},
}
FILES = {"name": "w_files", "subjects": ["w.files.>"], "storage": "file", "allow_direct": True}
Question = tuple[str, Any, dict[str, str]]


def _questions() -> Iterator[Question]:
    """Subject, payload (a dict: JSON), headers."""

    def ask(subject: str, payload: Any = b"", **headers: str) -> Question:
        return subject, payload, {name.replace("_", "-"): value for name, value in headers.items()}

    yield ask("nobody.is.there")
    yield ask("$JS.API.STREAM.INFO.w")
    yield ask("$JS.API.DIRECT.GET.w", {"seq": 1})
    yield ask("$JS.API.STREAM.CREATE.w", LOG)
    yield ask("$JS.API.STREAM.CREATE.w", LOG)
    yield ask("$JS.API.STREAM.CREATE.w", LOG | {"deny_delete": False})
    yield ask("$JS.API.STREAM.CREATE.w", LOG | {"metadata": {"chatlib-epoch": "e2"}})
    yield ask("$JS.API.DIRECT.GET.w", {"seq": 1, "batch": 3})
    for number in range(6):
        yield ask("w.log", b"message %d" % number, Nats_Msg_Id=f"id {number}")
    yield ask("w.log", b"message 4", Nats_Msg_Id="id 4")
    yield ask("w.log", b"without an id")
    for wanted in (
        {"seq": 1},
        {"seq": 7},
        {"seq": 8},
        {"seq": 2, "batch": 3},
        {"seq": 2, "batch": 100},
        {"seq": 8, "batch": 100},
        {"batch": 2},
        {"seq": 1, "batch": 100, "max_bytes": 150},
        {"seq": 1, "batch": 100, "max_bytes": 1},
        {"last_by_subj": "w.log"},
        {"last_by_subj": "w.nothing"},
        {"seq": 3, "next_by_subj": "w.log"},
        {"seq": 3, "next_by_subj": "w.log", "batch": 2},
    ):
        yield ask("$JS.API.DIRECT.GET.w", wanted)
    yield ask("$JS.API.DIRECT.GET.w", b"{")
    yield ask("$JS.API.DIRECT.GET.w.w.log")
    for wanted in ({"seq": 3}, {"seq": 7}, {"seq": 70}, {"last_by_subj": "w.log"}, {"last_by_subj": "w.nothing"}):
        yield ask("$JS.API.STREAM.MSG.GET.w", wanted)
    yield ask("$JS.API.STREAM.MSG.DELETE.w", {"seq": 3})
    yield ask("$JS.API.STREAM.PURGE.w", {"seq": 3})
    yield ask("$JS.API.DIRECT.GET.w", {"seq": 1})
    yield ask("$JS.API.DIRECT.GET.w", {"seq": 1, "batch": 2})
    yield ask("$JS.API.STREAM.INFO.w")
    yield ask("$JS.API.STREAM.PURGE.w", {"keep": 1})
    yield ask("$JS.API.STREAM.INFO.w")
    yield ask("$JS.API.STREAM.PURGE.w")
    yield ask("$JS.API.STREAM.INFO.w")
    yield ask("w.log", b"after a purge")
    yield ask("$JS.API.STREAM.CREATE.w_files", FILES)
    for name in ("a.b.0", "a.b.1", "a.c.0", "a.b.2", "a.c.1"):
        yield ask(f"w.files.blob.{name}", name.encode())
    yield ask("$JS.API.DIRECT.GET.w_files.w.files.blob.a.b.2")
    yield ask("$JS.API.DIRECT.GET.w_files.w.files.blob.a.b.9")
    yield ask("$JS.API.DIRECT.GET.w_files", {"seq": 1, "next_by_subj": "w.files.blob.a.b.>", "batch": 2})
    yield ask("$JS.API.DIRECT.GET.w_files", {"seq": 3, "next_by_subj": "w.files.blob.a.b.>", "batch": 9})
    yield ask("$JS.API.DIRECT.GET.w_files", {"seq": 5, "next_by_subj": "w.files.blob.a.b.>", "batch": 9})
    yield ask("$JS.API.DIRECT.GET.w_files", {"multi_last": ["w.files.blob.a.b.>"], "batch": 9})
    yield ask("$JS.API.DIRECT.GET.w_files", {"multi_last": ["w.files.blob.a.b.>"], "batch": 2})
    yield ask("$JS.API.DIRECT.GET.w_files", {"multi_last": ["w.files.blob.x.>"], "batch": 2})
    yield ask("$JS.API.STREAM.INFO.w_files", {"subjects_filter": "w.files.blob.a.>"})
    yield ask("$JS.API.STREAM.INFO.w_files", {"subjects_filter": "w.files.blob.*.c.*"})
    yield ask("$JS.API.STREAM.PURGE.w_files", {"filter": "w.files.blob.a.c.>"})
    yield ask("$JS.API.STREAM.INFO.w_files", {"deleted_details": True})
    yield ask("$JS.API.DIRECT.GET.w_files", {"seq": 1, "batch": 9})
    yield ask("$JS.API.STREAM.PURGE.w_files", {"filter": "w.files.blob.a.b.>"})
    yield ask("$JS.API.STREAM.INFO.w_files", {"subjects_filter": ">"})
    yield ask("$JS.API.STREAM.UPDATE.w_files", FILES | {"max_msgs": 10})
    yield ask("$JS.API.STREAM.NAMES")
    yield ask("$JS.API.STREAM.DELETE.w_files")
    yield ask("$JS.API.STREAM.INFO.w_files")


def _answers(link: EngineLink, question: Question) -> list[Message | None]:
    subject, payload, headers = question
    heard: list[Message | None] = []

    def answered(message: Message | None) -> bool:
        heard.append(message)
        batch = isinstance(payload, dict) and "batch" in payload
        return not batch or message is None or message.status > 0

    said = json.dumps(payload).encode() if isinstance(payload, dict) else payload
    link.request(subject, said, answered, headers=headers, patience=LIMIT, many=True)
    link.wait(lambda: bool(heard) and answered_last(heard[-1], payload), LIMIT)
    return heard


def answered_last(message: Message | None, payload: Any) -> bool:
    """Whether nothing comes behind it."""
    return message is None or message.status > 0 or not (isinstance(payload, dict) and "batch" in payload)


_CHANGING = ("ts", "time", "created", "cluster", "total", "offset", "limit", "first_ts", "last_ts", "bytes")


def _plain(message: Message | None) -> Any:
    """Without what is another every time."""
    if message is None:
        return None
    headers = {name: value for name, value in message.headers.items() if name != "Nats-Time-Stamp"}
    said: Any = message.payload
    with contextlib.suppress(ValueError):
        said = json.loads(message.payload)
        for part in (said, said.get("state", {}), said.get("message", {})) if isinstance(said, dict) else ():
            for key in _CHANGING:
                part.pop(key, None)
    return headers, message.status, said


def _alike(fake: Any, real: Any) -> bool:
    """What the fake says, the real one says; the real one may know more of a configuration."""
    if isinstance(fake, dict) and isinstance(real, dict):
        return all(key in real and _alike(fake[key], real[key]) for key in fake) and (
            "config" in fake or "storage" in fake or set(fake) == set(real)
        )
    if isinstance(fake, list | tuple) and isinstance(real, list | tuple):
        return len(fake) == len(real) and all(map(_alike, fake, real))
    return bool(fake == real)


@contextlib.contextmanager
def _real(folder: Path) -> Iterator[EngineLink]:
    [port] = free_ports(1)
    config = folder / "engine.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/store" }}\n')
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen([str(program()), "-c", str(config)], stdout=log, stderr=log)
    try:
        link = EngineLink(None, nats.parse(f"nats://127.0.0.1:{port}/w"))
        assert link.wait(lambda: link.connected, LIMIT), link.trouble
        yield link
        link.close()
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_it_answers_as_the_real_one_does(tmp_path: Path) -> None:
    with FakeEngine() as engine, _real(tmp_path) as real:
        fake = EngineLink(None, engine.parse("w"))
        assert fake.wait(lambda: fake.connected, LIMIT)
        heard: dict[EngineLink, list[Message]] = {fake: [], real: []}
        for link in (fake, real):
            link.subscribe("w.out", heard[link].append)
        for question in _questions():
            answers = [[_plain(message) for message in _answers(link, question)] for link in (fake, real)]
            assert _alike(*answers), f"{question}\nfake: {answers[0]}\nreal: {answers[1]}"
        for link in (fake, real):
            assert link.wait(lambda link=link: len(heard[link]) == 8, LIMIT)  # type: ignore[misc]
        assert [_plain(message) for message in heard[fake]] == [_plain(message) for message in heard[real]]
        fake.close()


class Talk:
    """A link to a fake engine, and what it heard from its log."""

    def __init__(self, engine: FakeEngine) -> None:
        self.link = EngineLink(None, engine.parse())
        self.heard: list[bytes] = []
        self.link.subscribe("chat.out", lambda message: self.heard.append(message.payload))
        assert self.link.wait(lambda: self.link.connected, LIMIT)

    def say(self, payload: bytes, patience: float = LIMIT) -> Any:
        """What is answered, as JSON; None: nothing."""
        return self.ask("chat.log", payload, patience, {"Nats-Msg-Id": payload.decode()})

    def ask(self, subject: str, payload: bytes, patience: float = LIMIT, headers: dict[str, str] | None = None) -> Any:
        answers: list[Message | None] = []
        self.link.request(subject, payload, answers.append, headers=headers, patience=patience)
        assert self.link.wait(lambda: bool(answers), LIMIT)
        message = answers[0]
        return message and (json.loads(message.payload) if message.payload[:1] == b"{" else message)


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(nodes=3) as engine:
        engine.make()
        yield engine


def test_what_may_become_of_a_message(engine: FakeEngine) -> None:
    talk, log = Talk(engine), engine.streams["chat"]
    engine.fates("chat", Fate.UNANSWERED)
    engine.fates("chat", Fate.LOST)
    engine.fates("chat", Fate.REFUSED)
    engine.fates("chat", Fate.IN_PROCESS)
    engine.fates("chat", Fate.UNHEARD)
    assert talk.say(b"a", patience=0.1) is None and log.payloads() == [b"a"]
    assert talk.say(b"b", patience=0.1) is None and log.payloads() == [b"a"]
    assert talk.say(b"b") is None and log.payloads() == [b"a"]
    assert talk.say(b"b")["error"]["err_code"] == 10158
    assert talk.say(b"b")["seq"] == 2
    assert talk.say(b"a") == {"stream": "chat", "seq": 1, "duplicate": True}
    assert engine.repeat("chat", 1) == 3
    assert talk.link.wait(lambda: len(talk.heard) == 2, LIMIT) and talk.heard == [b"a", b"a"]
    assert log.payloads() == [b"a", b"b", b"a"]


def test_what_is_held_is_said_at_last(engine: FakeEngine) -> None:
    talk = Talk(engine)
    engine.hold()
    assert talk.say(b"a", patience=0.1) is None
    assert talk.heard == [] and engine.streams["chat"].payloads() == [b"a"]
    engine.release()
    assert talk.link.wait(lambda: talk.heard == [b"a"], LIMIT)


def test_one_replica_has_holes_and_damage_and_lags(engine: FakeEngine) -> None:
    for payload in (b"a", b"b", b"c"):
        engine.store("chat", payload)
    engine.nodes[0].replica().missing.add(1)
    engine.nodes[0].replica().damaged[2] = b"x"
    engine.nodes[0].replica().upto = 2
    talk = Talk(engine)
    seen = [talk.ask("$JS.API.DIRECT.GET.chat", b'{"seq":%d}' % seq) for seq in (1, 2, 3)]
    assert [message.status or message.payload for message in seen] == [404, b"x", 404]
    talk.link.leave("it answers nonsense")
    assert talk.link.wait(lambda: not talk.link.connected, LIMIT) and talk.link.wait(lambda: talk.link.connected, LIMIT)
    seen = [talk.ask("$JS.API.DIRECT.GET.chat", b'{"seq":%d}' % seq) for seq in (1, 2, 3)]
    assert [message.payload for message in seen] == [b"a", b"b", b"c"]


def test_no_leader_and_an_isolated_node(engine: FakeEngine) -> None:
    talk = Talk(engine)
    engine.leader = False
    assert talk.say(b"a") is None
    assert talk.ask("$JS.API.STREAM.INFO.chat", b"")["error"]["err_code"] == 10008
    engine.leader = True
    assert talk.say(b"a")["seq"] == 1
    engine.nodes[0].isolated = True
    assert talk.say(b"b") is None
    assert engine.store("chat", b"c") == 2
    assert talk.ask("$JS.API.STREAM.INFO.chat", b"", patience=0.1) is None
    engine.nodes[0].isolated = False
    assert talk.say(b"d")["seq"] == 3 and talk.heard == [b"a", b"d"]


def test_nodes_go_and_come(engine: FakeEngine) -> None:
    talk = Talk(engine)
    engine.nodes[0].kill()
    assert talk.link.wait(lambda: talk.link.info is not None and talk.link.info.name == "n2", LIMIT)
    assert talk.link.wait(lambda: talk.link.connected, LIMIT)
    assert talk.say(b"a")["seq"] == 1
    engine.nodes[1].hang_up()
    engine.nodes[0].start()
    assert talk.link.wait(lambda: not talk.link.connected, LIMIT) and talk.link.wait(lambda: talk.link.connected, LIMIT)
    assert talk.say(b"a")["duplicate"]
