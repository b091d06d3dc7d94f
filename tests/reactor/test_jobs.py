"""Jobs: what a child found out comes back once, and so does why it could not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from chatlib.reactor import jobs
from chatlib.reactor.jobs import Job
from tests.patience import LIMIT
from tests.reactor.turns import Turns


def outcome(turns: Turns, work: Callable[[], bytes]) -> tuple[bytes, str]:
    done: list[tuple[bytes, str]] = []
    job = Job(turns.loop, work, lambda answer, failure: done.append((answer, failure)))
    turns.until(lambda: done)
    turns.tick()
    assert len(done) == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(job._pid, os.WNOHANG)  # no zombie stays
    return done[0]


def failing(error: BaseException) -> Callable[[], bytes]:
    def work() -> bytes:
        raise error

    return work


def test_an_answer(turns: Turns) -> None:
    assert outcome(turns, lambda: b"found") == (b"found", "")
    assert outcome(turns, lambda: b"") == (b"", "")
    assert outcome(turns, lambda: b"x" * 1_000_000) == (b"x" * 1_000_000, "")


def test_a_child_sees_everything_as_it_was_at_the_fork(turns: Turns) -> None:
    world = {"lsn": 1}
    done: list[bytes] = []
    Job(turns.loop, lambda: b"%d" % world["lsn"], lambda answer, _: done.append(answer))
    world["lsn"] = 2
    turns.until(lambda: done)
    assert done == [b"1"]


def test_a_failure_says_why(turns: Turns) -> None:
    full = OSError(28, "No space left on device")
    assert outcome(turns, failing(full)) == (b"", "[Errno 28] No space left on device")
    assert outcome(turns, failing(ValueError("lone \ud800"))) == (b"", "lone ?")


@pytest.mark.parametrize("error", [ValueError(), AssertionError(), MemoryError(), KeyboardInterrupt(), SystemExit(0)])
def test_a_failure_without_a_word_is_a_failure(turns: Turns, error: BaseException) -> None:
    answer, failure = outcome(turns, failing(error))
    assert answer == b""
    assert failure != ""


def test_a_child_that_was_killed(turns: Turns) -> None:
    def work() -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b"never"

    assert outcome(turns, work) == (b"", "the child ended with status -9")


@pytest.mark.parametrize("by", ["itself", "end"])
def test_the_loop_goes_on_while_a_child_takes_its_time_to_end(turns: Turns, by: str) -> None:
    """On a busy machine a child that has said all may wait for half a second until it may end."""

    def work() -> bytes:
        os.closerange(3, 65_536)  # the pipe, too, however many a test before has left open
        signal.pause()
        return b"never"

    done: list[str] = []
    job = Job(turns.loop, work, lambda answer, failure: done.append(failure))
    assert turns.loop._selector.select(LIMIT)
    turns.tick(3)
    assert done == [] and turns.faults == []
    if by == "end":
        job.end()
    else:
        os.kill(job._pid, signal.SIGKILL)
        turns.until(lambda: done)
    turns.tick(3)
    assert done == ([] if by == "end" else ["the child ended with status -9"]) and turns.faults == []
    with pytest.raises(ChildProcessError):
        os.waitpid(job._pid, os.WNOHANG)


def test_the_terminals_signals_do_not_end_the_work(turns: Turns) -> None:
    def work() -> bytes:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        return b"still here"

    assert outcome(turns, work) == (b"still here", "")


def test_a_child_that_is_ended_may_be_stopped_and_says_nothing_more(turns: Turns) -> None:
    def work() -> bytes:
        os.kill(os.getpid(), signal.SIGSTOP)
        return b"never"

    done: list[bytes] = []
    before = len(os.listdir("/dev/fd"))
    job = Job(turns.loop, work, lambda answer, _: done.append(answer))
    os.waitid(os.P_PID, job._pid, os.WSTOPPED | os.WNOWAIT)
    job.end()
    with pytest.raises(ChildProcessError):
        os.waitpid(job._pid, os.WNOHANG)  # no zombie stays
    turns.tick()
    assert done == [] and len(os.listdir("/dev/fd")) == before


def test_no_child_can_be_had(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(jobs.os, "fork", fork)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(OSError, match="temporarily"):
        Job(turns.loop, lambda: b"", lambda answer, failure: None)
    assert len(os.listdir("/dev/fd")) == before
