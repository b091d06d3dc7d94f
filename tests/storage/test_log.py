"""What every log promises (see chatlib/storage/log.py): the journal on a fast and on a slow disk, and a shared one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.storage.journal import Journal
from chatlib.storage.log import Log
from tests.chance import new_chance
from tests.server.shared_log import Agreement, Seat
from tests.storage.test_journal import FakeSyncer


class Feeder:
    """Whoever feeds a world: what was committed, with its LSN."""

    def __init__(self, log: Log, after: int = 0) -> None:
        self.log = log
        log.prove(after, False)
        log.mend()
        self.records = [record for _, record in log.replay(after)]
        self.lsns = [lsn for lsn, _ in log.replay(after)]
        self.lsn = log.given
        log.open()
        self._waiting: dict[int, bytes] = {}
        self._barriers: set[int] = set()
        self.passed: list[int] = []  # barriers; for each, how many records had been executed

    def append(self, *records: bytes) -> list[int]:
        tickets = [self.log.append(record) for record in records]
        self._waiting.update(zip(tickets, records, strict=True))
        return tickets

    def execute(self) -> list[bytes]:
        """What is committed and was not executed yet."""
        fresh = []
        for batch in self.log.committed():
            for entry in batch:
                if entry in self._barriers:
                    self._barriers.discard(entry)  # type: ignore[arg-type]
                    self.passed.append(len(self.records) + len(fresh))
                    continue
                fresh.append(self._waiting.pop(entry) if isinstance(entry, int) else entry)
                self.lsn += 1
        self.records += fresh
        assert self.log.lsn == self.lsn, "it counts as the world does"
        return fresh

    def barrier(self) -> None:
        """Whoever waits for nothing passes at once."""
        if barrier := self.log.barrier():
            self._barriers.add(barrier)
        else:
            self.passed.append(len(self.records))

    def settle(self) -> None:
        while self._waiting or self._barriers:
            self.log.commit()
            while self.log.busy:
                self.log.ready()
            self.execute()


@pytest.fixture(params=["fast disk", "slow disk", "shared"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Log]:
    """Builds logs, each of which goes on where the last one was left."""
    agreement = Agreement(new_chance())
    agreement.late = True

    def build_one() -> Log:
        if request.param == "shared":
            return Seat(agreement)
        return Journal(tmp_path, FakeSyncer(in_place=request.param == "fast disk"))  # type: ignore[arg-type]

    return build_one


def test_ours_come_in_the_order_in_which_they_were_appended_and_once(build: Callable[[], Log]) -> None:
    feeder = Feeder(build())
    tickets = feeder.append(b"one", b"two")
    assert feeder.execute() == [], "nothing before it is committed"
    feeder.log.commit()
    tickets += feeder.append(b"three")
    feeder.execute()
    feeder.settle()
    assert feeder.execute() == [] and feeder.records == [b"one", b"two", b"three"]
    assert tickets == sorted(set(tickets)) and tickets[0] > 0
    assert feeder.log.at_rest and feeder.log.durable == feeder.lsn == 3
    feeder.log.close()


def test_a_barrier_has_its_turn_between_records_and_is_none(build: Callable[[], Log]) -> None:
    feeder = Feeder(build())
    feeder.barrier()
    feeder.settle()
    assert feeder.passed == [0] and feeder.lsn == 0, "also where nothing else is appended"
    feeder.append(b"one")
    feeder.settle()
    feeder.barrier()
    feeder.append(b"two")
    feeder.settle()
    assert feeder.passed == [0, 1], "it waits for nothing that came later"
    assert feeder.records == [b"one", b"two"] and feeder.log.lsn == 2
    feeder.log.close()


def test_only_who_is_alone_needs_no_barrier(build: Callable[[], Log]) -> None:
    log = Feeder(build()).log
    assert bool(log.barrier()) is log.shared
    log.close()


def test_a_start_hands_out_what_was_committed_and_goes_on_behind_it(build: Callable[[], Log]) -> None:
    feeder = Feeder(build())
    feeder.append(b"one", b"two", b"three")
    feeder.settle()
    feeder.log.close()
    for after in (0, 2):
        again = Feeder(build(), after)
        assert again.lsns == list(range(after + 1, 4))
        assert again.records == [b"one", b"two", b"three"][after:] and again.lsn == 3
        assert again.execute() == []
        again.log.close()
    last = Feeder(build())
    last.append(b"four")
    last.settle()
    assert last.lsn == 4 and last.records[-1] == b"four"
    last.log.close()


def test_a_checkpoint_drops_what_came_before_the_cut_and_nothing_else(build: Callable[[], Log]) -> None:
    feeder = Feeder(build())
    feeder.append(b"one", b"two")
    feeder.settle()
    feeder.append(b"three")  # while nothing is under way
    size = feeder.log.size
    feeder.log.cut()
    assert feeder.log.size < size and feeder.log.durable >= 2
    feeder.settle()
    feeder.log.truncate()
    feeder.log.truncate()
    feeder.log.close()
    again = Feeder(build(), 2)
    assert (again.lsns, again.records) == ([3], [b"three"])
    again.log.close()


def test_after_a_clean_stop_lsns_go_on(build: Callable[[], Log]) -> None:
    feeder = Feeder(build())
    feeder.append(b"one", b"two")
    feeder.settle()
    feeder.log.settle()
    feeder.log.clear()
    feeder.log.close()
    again = Feeder(build(), 2)
    assert again.records == [] and again.lsn == 2
    again.append(b"three")
    again.settle()
    assert again.lsn == 3
    again.log.close()
