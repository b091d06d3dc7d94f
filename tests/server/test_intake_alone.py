"""The intake by itself: what holds messages up, and in which order what was held goes on. No sockets, no world."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatlib.protocol.framing import JsonLines
from chatlib.reactor.loop import Loop
from chatlib.server import intake as intakes
from chatlib.server.intake import BARRIER, BLOCKED, ENDED, LATE, OVER, QUEUED, THROTTLED, Intake
from chatlib.server.limits import Budgets


class Rig:
    """An intake, and everyone around it: what it does is told in `did`. It is its own owner, connection and pipeline.

    A message is its own meaning: ``change``, ``barrier``, ``read``, ``dear`` are submitted so, ``fault`` fails;
    all else means nothing.
    """

    def __init__(self, **parameters: Any) -> None:
        self.time = 0.0
        self.loop = Loop(self.fault, lambda: self.time, lambda: self.time)
        self.did: list[str] = []
        self.receive = 0
        self.queue: list[tuple[bool, str, Callable[[], Any] | None]] = []
        self.intake = Intake(
            self, self.handle, self, self.loop, self, Budgets(self.loop), {"RATE_LIMIT": 0, **parameters}  # type: ignore[arg-type]
        )  # fmt: skip

    def fault(self, fault: BaseException) -> None:
        if not isinstance(fault, ZeroDivisionError):
            raise fault

    def hears(self, data: bytes) -> list[str]:
        self.intake.received(data)
        return self.done()

    def tick(self, seconds: float = 0.0) -> list[str]:
        self.time += seconds
        self.loop.again(self)
        self.loop.tick()
        return self.done()

    def done(self) -> list[str]:
        did, self.did = self.did, []
        return did

    def carry_out(self, count: int = 1) -> list[str]:
        """The log has committed so many."""
        for _ in range(count):
            changes, name, read = self.queue.pop(0)
            reply = read() if read else {"status": "OK"}
            if reply is not None:
                self.intake.answered(name, None, {"action": name} if changes else {}, reply)
        return self.done()

    # The owner.

    def begin(self, data: bytes) -> None:
        if b"\n" in data:
            self.intake.speak(JsonLines())

    def handle(self, message: bytes) -> None:
        name = message.decode()
        kind = re.sub(r"\d", "", name)
        self.did.append(name)
        if kind in ("change", "barrier"):
            self.intake.submit(name, None, {}, None, barrier=kind == "barrier")
        elif kind == "read":
            self.intake.read(name, None, lambda: {"status": name})
        elif kind == "dear":
            self.intake.read_dearly(name, None, lambda: {"status": name})
        elif kind == "fault":
            raise ZeroDivisionError

    def carried_out(self, echo: Any, request_id: Any, command: Any, reply: Any) -> None:
        self.did.append(f"{echo}!")

    def reply(self, echo: Any, request_id: Any, reply: Any) -> None:
        self.did.append(f"{echo}!")

    def too_long(self) -> None:
        self.did.append("too long")

    def said_all(self) -> None:
        self.did.append("said all")

    def broken(self) -> None:
        self.did.append("broken")

    # The connection.

    def pause_reading(self) -> None:
        self.did.append("pause")

    def resume_reading(self) -> None:
        self.did.append("resume")

    # The pipeline.

    def submit(self, origin: Intake, echo: str, request_id: Any, command: Any, record: Any) -> None:
        self.queue.append((True, echo, None))

    def submit_read(
        self, origin: Intake, echo: str, request_id: Any, read: Callable[[], Any], fresh: bool = False
    ) -> None:
        self.queue.append((False, echo, read))

    def read(self, read: Callable[[], Any]) -> Any:
        return read()

    def again(self) -> None: ...


@pytest.fixture(autouse=True)
def longer_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried here holds for strangers and users: so a stranger's turn is as long as a user's."""
    monkeypatch.setattr(intakes, "STRANGERS_TURN", intakes.PER_CONNECTION)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.loop.close()


def test_messages_are_handled_in_order_and_reads_wait_for_changes(rig: Rig) -> None:
    assert rig.hears(b"read1\nchange2\nread3\nread") == ["read1", "read1!", "change2", "read3"]
    assert rig.hears(b"4\n") == ["read4"]
    assert rig.carry_out(3) == ["change2!", "read3!", "read4!"]
    assert rig.hears(b"read5\n") == ["read5", "read5!"], "nothing waits any more"


def test_behind_a_barrier_nothing_is_handled_until_it_is_answered(rig: Rig) -> None:
    assert rig.hears(b"change1\nbarrier2\nread3\n") == ["change1", "barrier2", "pause"]
    assert rig.intake.held & BARRIER
    assert rig.carry_out() == ["change1!"] and rig.tick() == [], "the first answer is not the one"
    assert rig.carry_out() == ["barrier2!"]
    assert rig.tick() == ["read3", "read3!", "resume"] and not rig.intake.held


def test_a_peer_that_does_not_read_is_not_read(rig: Rig) -> None:
    rig.hears(b"\n")
    rig.intake.block()
    assert rig.done() == ["pause"] and rig.intake.held == BLOCKED
    assert rig.hears(b"read1\n") == ["pause"]
    rig.intake.unblock()
    assert rig.tick() == ["read1", "read1!", "resume"]


def test_the_rate_limit_lets_messages_through_as_time_passes() -> None:
    rig = Rig(RATE_LIMIT=2)  # a burst of ten
    assert rig.hears(b"x\n" * 13) == ["x"] * 10 + ["pause"]
    assert rig.tick() == ["pause"] and rig.intake.held & THROTTLED
    assert rig.tick(0.6) == ["x", "pause"] and rig.tick() == ["pause"]
    assert rig.tick(2.0) == ["x", "x", "resume"] and not rig.intake.held
    rig.loop.close()


def test_a_tick_has_a_budget_and_the_next_goes_on(rig: Rig) -> None:
    rig.intake._turn = 3
    assert rig.hears(b"x\n" * 7) == ["x", "x", "x", "pause"] and rig.intake.held & QUEUED
    assert rig.tick() == ["x", "x", "x", "pause"]
    assert rig.tick() == ["x", "resume"]


def test_a_fault_in_a_message_that_was_held_up_costs_the_connection() -> None:
    """Else it would never be read again: whoever lifts the hold-up, a timer or a budget, knows no connection."""
    rig = Rig(RATE_LIMIT=2)
    rig.hears(b"x\n" * 10 + b"fault\n")
    assert rig.tick(0.6)[:2] == ["fault", "broken"]
    rig.loop.close()
    rig = Rig()
    rig.intake._turn = 1
    rig.hears(b"x\nfault\n")
    assert rig.tick() == ["fault", "broken"]
    rig.loop.close()


def test_dear_answers_share_a_budget_and_keep_their_order(rig: Rig) -> None:
    assert rig.hears(b"dear1\n") == ["dear1", "dear1!"]
    rig.intake._budgets.answers.spend(1.0)
    assert rig.hears(b"dear2\nread3\n") == ["dear2", "pause"] and rig.intake.held & LATE
    assert rig.tick() == ["dear2!"]
    assert rig.tick() == ["read3", "read3!", "resume"]


def test_what_was_said_before_the_end_is_still_answered(rig: Rig) -> None:
    rig.hears(b"change1\nbarrier2\nread3\nunfinished")
    rig.intake.ended()
    assert rig.intake.held & ENDED and rig.done() == []
    assert rig.carry_out(2) == ["change1!", "barrier2!"]
    assert rig.tick() == ["read3", "read3!", "said all"]
    assert rig.hears(b"read4\n") == [], "who has ended says nothing more"


def test_when_it_is_over_nothing_is_handled(rig: Rig) -> None:
    rig.hears(b"barrier1\nread2\n")
    rig.intake.stop()
    assert rig.intake.held & OVER
    assert rig.carry_out() == ["barrier1!"] and rig.tick() == []
    assert rig.hears(b"read3\n") == []


def test_when_the_connection_is_gone_nobody_is_told(rig: Rig) -> None:
    rig.hears(b"change1\nchange2\n")
    rig.intake.stop()
    rig.intake.let_go()
    assert rig.carry_out() == ["change1!"], "while something is under way, its owner hears of it"
    assert rig.carry_out() == ["change2!"]
    rig.intake.answered("late", None, {}, {})
    assert rig.done() == []


def test_a_message_that_is_too_long(rig: Rig) -> None:
    assert rig.hears(b"x" * 4_095 + b"\n") == ["x" * 4_095]
    assert rig.hears(b"y" * 4_096 + b"\nread1\n") == ["too long"]
    assert rig.hears(b"z" * 4_096) == ["too long"], "nobody waits for its end"


def test_the_first_bytes_wait_until_it_shows_what_is_spoken(rig: Rig) -> None:
    assert rig.hears(b"re") == [] and rig.hears(b"ad1") == []
    assert rig.hears(b"\nread2\n") == ["read1", "read1!", "read2", "read2!"]
