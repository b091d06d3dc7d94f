"""What is told of who has seen what: a few records, none of which is too large for any log."""

from __future__ import annotations

from typing import Any

from chatlib.core.world import Command
from chatlib.server.acknowledged import AT_ONCE, Acknowledged


class _Session:
    """One whose client acknowledges; also its own reader."""

    acknowledges = True

    def __init__(self, user: str) -> None:
        self.user, self.reader, self.acked = user, self, 0

    def acknowledge(self, seq: int) -> bool:
        self.acked = seq
        return True


class _Told:
    """World and delivery: nothing was said yet."""

    lsn, flushed = 100, 0


def test_many_who_have_seen_something_are_told_of_in_several_records() -> None:
    said: list[Command] = []
    told: Any = _Told()
    acknowledged = Acknowledged(told, told, said.append)
    for number in range(AT_ONCE + 2):
        session: Any = _Session(f"user{number}")
        acknowledged.acknowledge(session, 7)
    acknowledged.gather(5.0)
    assert [(command["action"], command["at"], len(command["seen"])) for command in said] == [
        ("seen", 5.0, AT_ONCE), ("seen", 5.0, 2)
    ]  # fmt: skip
    assert said[1]["seen"] == {f"user{AT_ONCE}": 7, f"user{AT_ONCE + 1}": 7}
    acknowledged.gather(6.0)
    assert len(said) == 2
