"""A link and a fake engine: what is said and heard, nodes that fail in every way, and engines that lie."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.cluster import link as link_module
from chatlib.cluster import lookup
from chatlib.cluster.link import EngineLink
from chatlib.protocol import nats
from chatlib.protocol.nats import Message
from chatlib.reactor.loop import Loop
from tests.cluster.fakeengine import FakeEngine, Fate
from tests.cluster.linkrig import Clock, LinkRig
from tests.patience import LIMIT


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(nodes=3) as engine:
        engine.make()
        yield engine


@pytest.fixture
def rig(engine: FakeEngine) -> Iterator[LinkRig]:
    rig = LinkRig(engine.parse()).connected()
    yield rig
    rig.link.close()


# What is said and heard.


def test_a_conversation(rig: LinkRig) -> None:
    rig.hear("a.*")
    assert rig.link.publish("a.b", b"hello", {"Some": "thing"})
    rig.until(lambda: rig.told == ["connected", "hello"])
    rig.ask("nobody.is.there")
    rig.until(lambda: rig.told[-1] == "no answer")
    rig.ask("chat.log", b"first")
    rig.until(lambda: rig.told[-1] == '{"stream": "chat", "seq": 1}')
    assert rig.said == [f"Connected to the engine's node n1 at {rig.said[0].split()[-1]}"]


def test_many_answers(engine: FakeEngine, rig: LinkRig) -> None:
    for number in range(5):
        engine.store("chat", b"%d" % number)
    heard: list[tuple[int, bytes]] = []

    def answered(message: Message | None) -> bool:
        assert message is not None
        heard.append((message.status, message.payload))
        return message.status == 204

    rig.link.request("$JS.API.DIRECT.GET.chat", b'{"seq":1,"batch":3}', answered, many=True, patience=LIMIT)
    rig.until(lambda: heard and heard[-1][0] == 204)
    assert heard == [(0, b"0"), (0, b"1"), (0, b"2"), (204, b"")]


def test_many_answers_and_then_none(engine: FakeEngine, rig: LinkRig) -> None:
    """Patience counts from the last answer; when it is over, nothing that still comes is told."""
    heard: list[Message | None] = []
    rig.link.request("$JS.API.DIRECT.GET.chat", b'{"seq":1}', heard.append, many=True, patience=30.0)
    rig.until(lambda: len(heard) == 1)
    assert heard[0] is not None and heard[0].status == 404
    reply = "_INBOX." + next(iter(rig.link._questions._open))
    for _ in range(3):
        rig.clock.skip(20.0)
        engine.do(lambda: engine._deliver(engine.nodes[0], rig.link._questions._inbox + reply[7:], "", b"", b"more"))
        rig.until(lambda: heard[-1] is not None and heard[-1].payload == b"more" and len(heard) > 1)
        heard.pop()
    rig.clock.skip(29.0)
    rig.pump()
    assert len(heard) == 1
    rig.clock.skip(2.0)
    rig.until(lambda: heard[1:] == [None])
    assert not rig.link._questions._open


def test_an_answer_that_comes_too_late_is_not_told(engine: FakeEngine, rig: LinkRig) -> None:
    engine.hold()
    rig.ask("chat.log", b"first", patience=5.0)
    rig.clock.skip(6.0)
    rig.until(lambda: rig.told[-1] == "no answer")
    engine.release()
    rig.ask("chat.log", b"second")
    rig.until(lambda: rig.told[-1] == '{"stream": "chat", "seq": 2}')
    assert len(rig.told) == 3


def test_nobody_is_called_from_within(engine: FakeEngine) -> None:
    rig = LinkRig(engine.parse())
    assert not rig.link.publish("a", b"") and rig.told == []
    rig.ask("a")
    assert rig.told == []
    rig.until(lambda: rig.told == ["no answer"] or rig.told == ["connected", "no answer"])
    rig.connected()
    rig.told.clear()
    engine.nodes[0].kill()
    for _ in range(1_000):
        rig.link.publish("a", b"x" * 1_000)
        rig.ask("a", b"")
        assert rig.told == []
    rig.until(lambda: "connected" in rig.told)
    assert rig.told == ["lost"] + ["no answer"] * 1_000 + ["connected"] or rig.told.count("no answer") == 1_000
    rig.ask("a")
    rig.told.clear()
    rig.link.close()
    assert rig.told == []


def test_what_is_too_large_or_no_subject_is_refused_here(rig: LinkRig) -> None:
    assert rig.link.max_payload == 1 << 20
    with pytest.raises(ValueError, match="takes 1048576"):
        rig.link.publish("a", bytes((1 << 20) + 1))
    with pytest.raises(ValueError, match="takes 1048576"):
        rig.link.publish("a", bytes((1 << 20) - 10), {"a": "b"})
    with pytest.raises(ValueError, match="no subjects"):
        rig.ask("a b")
    with pytest.raises(ValueError):
        rig.hear("a b")
    rig.hear("a")
    assert rig.link.publish("a", bytes((1 << 20) - 18), {"a": "b"})
    rig.until(lambda: len(rig.told[-1]) == (1 << 20) - 18)
    rig.pump()
    assert rig.told[0] == "connected" and len(rig.told) == 2, "what was refused was not half said"


# Nodes that fail.


def test_the_next_node_is_called_at_once(engine: FakeEngine, rig: LinkRig) -> None:
    rig.hear("a")
    engine.hold()
    rig.ask("chat.log", b"unanswered")
    rig.until(lambda: engine.streams["chat"].last == 1)
    engine.nodes[0].kill()
    rig.until(lambda: rig.told[-1] == "connected" and len(rig.told) > 1)
    assert rig.told == ["connected", "lost", "no answer", "connected"]
    assert rig.link.info is not None and rig.link.info.name == "n2"
    rig.link.publish("a", b"still heard")
    rig.until(lambda: rig.told[-1] == "still heard")
    assert "it has hung up" in rig.said[1] or "reset" in rig.said[1]


def test_round_and_round_until_one_is_there(engine: FakeEngine) -> None:
    for node in engine.nodes:
        node.kill()
    rig = LinkRig(engine.parse())
    rig.until(lambda: rig.link.trouble)
    assert rig.link.failure == "" and rig.link.trouble.count("refused") == 3
    assert [text for text in rig.said if "No node" in text] == rig.said and len(rig.said) == 1
    rig.clock.skip(10.0)
    rig.pump()
    rig.clock.skip(10.0)
    rig.pump()
    assert len(rig.said) == 1, "the same is said once"
    engine.nodes[2].start()
    rig.clock.skip(10.0)
    rig.connected()
    assert rig.link.trouble == "" and rig.link.info is not None and rig.link.info.name == "n3"


def test_a_paused_node_is_gone_after_a_while(engine: FakeEngine, rig: LinkRig) -> None:
    engine.nodes[0].pause()
    rig.clock.skip(link_module.SILENT + 0.1)
    rig.pump()
    assert rig.told == ["connected"]
    rig.clock.skip(link_module.GONE - 0.5)
    rig.pump()
    assert rig.told == ["connected"]
    rig.clock.skip(0.5)
    rig.until(lambda: rig.told == ["connected", "lost", "connected"])
    assert "says nothing" in rig.said[1]


def test_silence_that_is_answered_is_none(rig: LinkRig) -> None:
    for _ in range(5):
        rig.clock.skip(link_module.SILENT + 0.1)
        rig.until(lambda: rig.link._pinged_at is not None)
        rig.until(lambda: rig.link._pinged_at is None)
    assert rig.told == ["connected"]


def test_this_process_may_stand_still_itself(engine: FakeEngine, rig: LinkRig) -> None:
    """What has come meanwhile is in the kernel, and counts."""
    rig.clock.skip(link_module.SILENT + 0.1)
    rig.until(lambda: rig.link._pinged_at is not None)
    engine.do(lambda: None)
    engine.do(lambda: None)  # the answer is on its way
    rig.clock.skip(1_000.0)
    rig.pump()
    rig.clock.skip(1_000.0)
    rig.pump()
    assert rig.told == ["connected"]


def test_a_node_that_takes_calls_and_says_nothing(engine: FakeEngine) -> None:
    engine.nodes[0].greets = False
    engine.nodes[1].pause()
    rig = LinkRig(engine.parse())
    for number in (1, 2):
        rig.until(lambda number=number: rig.link._places._at == number and rig.link._wire)  # type: ignore[misc]
        rig.pump()
        rig.clock.skip(link_module.PATIENCE + 0.1)
        rig.pump()
    rig.connected()
    assert rig.link.info is not None and rig.link.info.name == "n3"


def test_all_are_slow_so_they_are_given_more_time(engine: FakeEngine) -> None:
    for node in engine.nodes:
        node.greets = False
    rig = LinkRig(engine.parse())
    for _ in range(12):
        rig.clock.skip(4.0)
        rig.pump()
    assert rig.link.trouble.count("in time") == 3
    assert rig.link._slow_rounds >= 1 and rig.link.failure == ""
    for node in engine.nodes:
        node.greets = True
    rig.clock.skip(4.0)
    rig.connected()
    assert rig.link._slow_rounds == 0 or rig.link.connected


def test_a_node_that_is_about_to_stop_is_left(engine: FakeEngine, rig: LinkRig) -> None:
    engine.nodes[0].say(b'INFO {"max_payload":1048576,"headers":true,"ldm":true}\r\n')
    rig.until(lambda: rig.told == ["connected", "lost", "connected"])
    assert "about to stop" in rig.said[1] and rig.link.info is not None and rig.link.info.name == "n2"


def test_a_node_whose_answers_are_bad_can_be_left(rig: LinkRig) -> None:
    rig.link.leave("it has holes")
    assert rig.told == ["connected"] and rig.link.connected
    rig.until(lambda: rig.told == ["connected", "lost", "connected"])
    assert "it has holes" in rig.said[1] and rig.link.info is not None and rig.link.info.name == "n2"


# Who is refused.


def test_a_wrong_password_is_a_failure_until_it_is_right() -> None:
    with FakeEngine(nodes=2, user="ann", password="right") as engine:
        wrong = nats.parse(engine.url().replace("right", "wrong"))
        rig = LinkRig(wrong)
        rig.until(lambda: rig.link.failure)
        assert "Authorization Violation" in rig.link.failure and not rig.link.connected
        assert "wrong" not in "".join(rig.said) + rig.link.failure
        calls = engine.nodes[0].calls
        rig.clock.skip(link_module.MOST_REST)
        rig.pump()
        assert engine.nodes[0].calls == calls, "who is refused does not ask all the time"
        engine.password = "wrong"
        rig.clock.skip(link_module.REFUSED_REST)
        rig.connected()
        assert rig.link.failure == ""


def test_who_is_refused_by_one_node_asks_the_others() -> None:
    with FakeEngine(nodes=3, token="t0ken") as engine:
        engine.nodes[0].info["tls_required"] = True
        engine.nodes[1].info["headers"] = False
        rig = LinkRig(engine.parse()).connected()
        assert rig.link.info is not None and rig.link.info.name == "n3" and rig.link.failure == ""
        engine.nodes[2].kill()
        rig.until(lambda: rig.link.failure)
        assert "TLS" in rig.link.failure and "headers" in rig.link.trouble


def test_a_subject_that_is_forbidden(engine: FakeEngine, rig: LinkRig) -> None:
    engine.forbidden.add("chat.log")
    rig.ask("chat.log", b"hello", patience=5.0)
    rig.until(lambda: rig.link.failure)
    assert 'Permissions Violation for Publish to "chat.log"' in rig.link.failure and rig.link.connected
    rig.clock.skip(6.0)
    rig.until(lambda: rig.told == ["connected", "no answer"])


@pytest.mark.parametrize(
    ("text", "ends"), [("Stale Connection", True), ("Slow Consumer", True), ("Invalid Subject", False)]
)
def test_refusals_that_are_not_for_good(engine: FakeEngine, rig: LinkRig, text: str, ends: bool) -> None:
    engine.nodes[0].say(f"-ERR '{text}'\r\n".encode())
    if ends:
        rig.until(lambda: rig.told == ["connected", "lost", "connected"])
        assert text in rig.said[1]
    else:
        rig.pump()
        assert rig.told == ["connected"]
    assert rig.link.failure == ""


# Engines that lie.


@pytest.mark.parametrize(
    "nonsense",
    [b"HELLO\r\n", b"MSG a 1 999999999\r\n", b"HMSG a 1 9 3\r\n", b"x" * 10_000, b"INFO {}\r\n", bytes(5_000)],
    ids=lambda nonsense: repr(nonsense)[:20],
)
def test_nonsense_ends_the_connection(engine: FakeEngine, rig: LinkRig, nonsense: bytes) -> None:
    engine.nodes[0].say(nonsense)
    rig.until(lambda: rig.told == ["connected", "lost", "connected"])
    assert rig.said[1].isprintable() and "no engine says this" in rig.said[1]


def test_messages_for_nobody_are_nothing(engine: FakeEngine, rig: LinkRig) -> None:
    inbox = rig.link._questions._inbox.encode()
    for subject, sid in ((b"a", 0), (b"a", 99), (inbox + b"7", 1), (inbox, 1), (b"a", 1)):
        engine.nodes[0].say(b"MSG %s %d 2\r\nhi\r\n" % (subject, sid))
    rig.ask("chat.log", b"")
    rig.until(lambda: rig.told == ["connected", '{"stream": "chat", "seq": 1}'])


def test_a_line_that_never_ends(engine: FakeEngine, rig: LinkRig) -> None:
    engine.nodes[0].read(False)  # nor does it answer
    for _ in range(30):
        engine.nodes[0].say(b"M")
        rig.clock.skip(0.2)
        rig.pump()
    rig.until(lambda: rig.told == ["connected", "lost", "connected"])


def test_a_large_message_that_comes_slowly_is_no_silence(engine: FakeEngine, rig: LinkRig) -> None:
    rig.hear("a")
    rig.until(lambda: engine.do(lambda: engine.nodes[0].clients[0].subscriptions.get("2")))
    payload = b"x" * 60_000
    engine.nodes[0].read(False)
    said = b"MSG a 2 %d\r\n%s\r\n" % (len(payload), payload)
    for at in range(0, len(said), 5_000):
        engine.nodes[0].say(said[at : at + 5_000])
        rig.until(lambda at=at: rig.link._client.held >= min(at + 5_000, len(payload)) or len(rig.told) > 1)  # type: ignore[misc]
        rig.clock.skip(0.9)
    rig.until(lambda: rig.told == ["connected", payload.decode()])


def test_a_node_that_always_hangs_up_is_not_called_all_the_time(engine: FakeEngine) -> None:
    """It lets us in each time."""
    for node in engine.nodes[1:]:
        node.kill()
    rig = LinkRig(engine.parse())
    rig.link.on_connected.append(engine.nodes[0].hang_up)
    begun = time.monotonic()
    rig.until(lambda: rig.told.count("lost") >= 4)
    assert time.monotonic() - begun > 0.1 + 0.2 + 0.4 - 0.05, "it rests longer each time"


# What is not read, and what is not taken.


def test_what_the_engine_does_not_take_is_bounded(engine: FakeEngine, rig: LinkRig) -> None:
    rig.hear("b")
    engine.nodes[0].read(False)
    piece, said = b"x" * 100_000, 0
    while rig.link.publish("b", piece):
        said += 1
    assert link_module.OUTPUT < rig.link.backlog_size < link_module.OUTPUT + 2 * len(piece)
    rig.ask("a")
    rig.until(lambda: rig.told == ["connected", "no answer"])
    engine.nodes[0].read(True)
    rig.until(lambda: len(rig.told) == said + 2)
    assert rig.link.backlog_size == 0 and rig.link.publish("b", b"again")


def test_what_is_not_read_waits_outside(engine: FakeEngine, rig: LinkRig) -> None:
    rig.hear("chat.out")
    rig.ask("chat.log", b"0")
    rig.until(lambda: len(rig.told) == 3)
    rig.told.clear()
    rig.link.read(False)
    for number in range(300):
        engine.store("chat", b"%d" % number + b"x" * 100_000)
    rig.clock.skip(60.0)
    rig.pump()
    rig.clock.skip(60.0)
    rig.pump()
    assert rig.told == [] and rig.link._client.held <= 65_536, "nor is a node gone that is not heard"
    assert len(engine.nodes[0].clients[0]._out) > 10_000_000
    rig.link.read(True)
    rig.until(lambda: len(rig.told) == 300)
    assert [int(text.rstrip("x")) for text in rig.told] == list(range(300))


def test_not_reading_outlives_a_connection(engine: FakeEngine, rig: LinkRig) -> None:
    rig.hear("chat.out")
    rig.link.read(False)
    engine.nodes[0].kill()
    rig.link.leave("nobody would notice")
    rig.until(lambda: rig.told == ["connected", "lost", "connected"])
    rig.until(lambda: engine.do(lambda: engine.nodes[1].clients[0].subscriptions.get("2")))
    engine.store("chat", b"hello")
    rig.pump()
    assert rig.told[3:] == []
    rig.link.read(True)
    rig.until(lambda: rig.told[3:] == ["hello"])


# Faults of ours.


def test_a_callback_that_raises_costs_the_connection(engine: FakeEngine, rig: LinkRig) -> None:
    def fails(message: Message) -> None:
        raise ZeroDivisionError

    rig.link.subscribe("a", fails)
    rig.hear("b")
    rig.link.publish("a", b"")
    rig.link.publish("b", b"lost")
    with pytest.raises(ZeroDivisionError):
        rig.until(lambda: False)
    rig.until(lambda: rig.told[:1] == ["connected"] and rig.told[-2:] == ["lost", "connected"])
    rig.link.publish("b", b"heard")
    rig.until(lambda: rig.told[-1] == "heard")


def test_who_is_told_of_the_end_may_raise_and_all_are_told(engine: FakeEngine, rig: LinkRig) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    rig.link.on_lost.insert(0, fails)
    engine.hold()
    rig.ask("chat.log", b"")
    engine.nodes[0].hang_up()
    with pytest.raises(ZeroDivisionError):
        rig.until(lambda: False)
    rig.until(lambda: rig.told == ["connected", "lost", "no answer", "connected"])


# A loop, and none.


class LoopRig(LinkRig):
    """In a loop: `until` ticks."""

    def __init__(self, engine: nats.Engine) -> None:
        clock = Clock()
        self.faults: list[BaseException] = []
        self.loop = Loop(self.faults.append, clock)
        super().__init__(engine, self.loop, clock)

    def until(self, holds: object) -> None:
        begun = time.monotonic()
        while not holds():  # type: ignore[operator]
            self.loop.call_later(0.05, lambda: None)
            self.loop.tick()
            assert time.monotonic() - begun < LIMIT, f"{self.told} {self.said} {self.faults}"


def test_in_a_loop(engine: FakeEngine) -> None:
    rig = LoopRig(engine.parse())
    rig.hear("chat.out")
    rig.connected()
    rig.ask("chat.log", b"hello")
    rig.until(lambda: rig.told == ["connected", "hello", '{"stream": "chat", "seq": 1}'])
    rig.told.clear()
    engine.nodes[0].pause()
    rig.clock.skip(link_module.SILENT)
    rig.until(lambda: rig.link._pinged_at is not None)
    rig.clock.skip(link_module.GONE)
    rig.until(lambda: rig.told == ["lost", "connected"])
    engine.fates("chat", Fate.LOST)
    rig.ask("chat.log", b"lost", patience=3.0)
    rig.clock.skip(2.9)
    rig.until(lambda: rig.link._pinged_at is None)
    assert rig.told == ["lost", "connected"]
    rig.clock.skip(0.2)
    rig.until(lambda: rig.told[-1] == "no answer")
    assert rig.faults == []
    rig.link.close()
    assert not rig.loop._selector.get_map(), "nothing of it is watched"
    rig.loop.close()


def test_a_fault_in_a_loop_is_reported_and_the_loop_lives(engine: FakeEngine) -> None:
    rig = LoopRig(engine.parse())
    rig.hear("b")
    rig.link.subscribe("a", lambda message: 1 // 0)  # type: ignore[arg-type, return-value]
    rig.connected()
    rig.link.publish("a", b"")
    rig.until(lambda: rig.told == ["connected", "lost", "connected"])
    rig.link.publish("b", b"heard")
    rig.until(lambda: rig.told[-1] == "heard")
    assert [type(fault) for fault in rig.faults] == [ZeroDivisionError]
    rig.link.close()
    rig.loop.close()


def test_to_wait_runs_nothing_of_the_loop(engine: FakeEngine) -> None:
    """Before it runs and after it; the loop goes on where the waiting has left off."""
    rig = LoopRig(engine.parse())
    ours, theirs = socket.socketpair()
    ran: list[str] = []

    class Other:
        def readable(self) -> None:
            ran.append("channel")
            ours.recv(10)

        def writable(self) -> None: ...

        def again(self) -> None: ...

        def broken(self) -> None: ...

    rig.loop.watch(ours.fileno(), 1, Other())
    rig.loop.call_later(0.0, lambda: ran.append("timer"))
    rig.loop.again(Other())
    theirs.send(b"hello")
    assert rig.link.wait(lambda: rig.link.connected, LIMIT)
    rig.ask("chat.log", b"", patience=50.0)
    assert rig.link.wait(lambda: len(rig.told) == 2, LIMIT)
    assert not rig.link.wait(lambda: False, 0.05), "patience has its end"
    assert ran == []
    rig.until(lambda: ran == ["channel", "timer"])
    engine.nodes[0].kill()
    rig.until(lambda: rig.told[-2:] == ["lost", "connected"])
    engine.nodes[1].kill()
    assert rig.link.wait(lambda: rig.told[-2:] == ["lost", "connected"] and len(rig.told) == 6, LIMIT)
    rig.link.close()
    assert not rig.link.wait(lambda: False, LIMIT), "what is closed waits for nothing"
    ours.close()
    theirs.close()
    rig.loop.close()


def test_a_forked_child_has_a_link_of_its_own(engine: FakeEngine) -> None:
    rig = LoopRig(engine.parse()).connected()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            link = EngineLink(None, engine.parse())
            answers: list[Message | None] = []
            link.wait(lambda: link.connected, LIMIT)
            link.request("chat.log", b"from the child", answers.append, patience=LIMIT)
            link.wait(lambda: bool(answers), LIMIT)
            status = 0 if answers[0] and json.loads(answers[0].payload)["seq"] == 1 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    rig.ask("chat.log", b"from the parent")
    rig.until(lambda: rig.told == ["connected", '{"stream": "chat", "seq": 2}'])
    assert len(rig.loop._selector.get_map()) == 1
    rig.link.close()
    rig.loop.close()


# Where nodes are.


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine")
def test_ipv6() -> None:
    with FakeEngine(host="::1") as engine:
        assert "[::1]" in engine.url()
        rig = LinkRig(engine.parse()).connected()
        assert "[::1]:" in rig.said[0]
        rig.link.close()


def _lookups(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A program that says what a file says, and how often it was asked."""
    answers, asked = folder / "answers", folder / "asked"
    program = f"open({str(asked)!r}, 'a').write('!')\nprint(open({str(answers)!r}).read())"
    monkeypatch.setattr(lookup, "_PROGRAM", program)
    asked.write_text("")
    return answers


def _places(*ports: int) -> list[object]:
    return [[int(socket.AF_INET), ["127.0.0.1", port]] for port in ports]


def test_a_name_that_this_machine_knows(engine: FakeEngine) -> None:
    url = engine.url().replace("127.0.0.1", "localhost")
    rig = LinkRig(nats.parse(url)).connected()
    assert f"localhost:{engine.nodes[0].port} (127.0.0.1)" in rig.said[-1]
    loop_rig = LoopRig(nats.parse(url)).connected()
    loop_rig.link.close()
    rig.link.close()


def test_a_name_with_several_addresses(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _lookups(monkeypatch, tmp_path).write_text(json.dumps([_places(*(node.port for node in engine.nodes))]))
    engine.nodes[0].kill()
    rig = LinkRig(nats.parse("nats://engine/chat")).connected()
    assert rig.link.info is not None and rig.link.info.name == "n2"
    engine.nodes[1].kill()
    rig.until(lambda: rig.told == ["connected", "lost", "connected"])
    assert rig.link.info.name == "n3" and (tmp_path / "asked").read_text() == "!", "one lookup was enough"


def test_a_name_is_looked_up_again_when_nobody_answers(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = _lookups(monkeypatch, tmp_path)
    answers.write_text(json.dumps(["not known yet"]))
    rig = LinkRig(nats.parse("nats://engine/chat"))
    rig.until(lambda: rig.link.trouble)
    assert rig.link.trouble == "engine:4222: not known yet" and rig.link.failure == ""
    answers.write_text(json.dumps([_places(engine.nodes[0].port)]))
    rig.clock.skip(link_module.LOOKUPS)
    rig.connected()
    engine.nodes[0].kill()
    answers.write_text(json.dumps(["nobody can say"]))
    rig.clock.skip(link_module.LOOKUPS)
    rig.until(lambda: "refused" in rig.link.trouble)
    engine.nodes[0].start()
    rig.clock.skip(link_module.MOST_REST)
    rig.connected()  # the old address is kept
    engine.nodes[0].kill()
    answers.write_text(json.dumps([_places(engine.nodes[1].port)]))
    rig.clock.skip(link_module.LOOKUPS)
    rig.until(lambda: rig.link.connected and rig.link.info and rig.link.info.name == "n2")


def test_addresses_do_not_wait_for_names(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lookup, "_PROGRAM", "import time\ntime.sleep(1000)")
    rig = LinkRig(nats.parse(engine.url().replace("nats://", "nats://engine,"))).connected()
    rig.link.close()
    rig = LinkRig(nats.parse("nats://engine/chat"))
    rig.pump()
    rig.clock.skip(link_module.LOOKUP)
    rig.until(lambda: "takes too long" in rig.link.trouble)
    rig.link.close()


@pytest.mark.parametrize("program", ["1 // 0", "print('{')", "print('x' * 200_000)"])
def test_a_lookup_that_fails(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(lookup, "_PROGRAM", program)
    rig = LinkRig(nats.parse("nats://engine/chat"))
    rig.until(lambda: rig.link.trouble)
    assert "failed" in rig.link.trouble
    rig.link.close()


def test_a_name_that_nobody_knows() -> None:
    rig = LinkRig(nats.parse("nats://no-such-host.invalid,also..none/chat"))
    rig.until(lambda: rig.link.trouble)
    assert "no-such-host.invalid:4222: " in rig.link.trouble and "also..none:4222: " in rig.link.trouble
    rig.link.close()


def test_places_that_no_machine_has() -> None:
    """Known at once, or by the network's word."""
    rig = LinkRig(nats.parse("nats://255.255.255.255:1,[fe80::1%nosuch]:1,[::ffff:0.0.0.0]:1/chat"))
    for _ in range(3):
        rig.clock.skip(4.0)
        rig.pump()
    rig.until(lambda: rig.link.trouble)
    assert rig.link.trouble.count(": ") >= 3 and rig.link.failure == ""
    rig.link.close()
