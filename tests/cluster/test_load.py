"""The people of the load, with one server that is killed: what they noted is checked as in a trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ledger
from tests.chance import new_chance
from tests.cluster import history
from tests.cluster.engine import free_ports
from tests.cluster.load import Crowd
from tests.cluster.servers import stored
from tests.cluster.trial import USERS, is_ours
from tests.patience import LIMIT
from tests.program.peer import Program, make_home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home", USERS, HEARTBEAT=2, LOGINS=0, INITIAL_BALANCE=1000, STRANGERS_PER_ADDRESS=0)


def test_people_come_back_and_say_again_what_was_not_answered(home: Path) -> None:
    (port,) = free_ports(1)
    crowd = Crowd([port], USERS, new_chance(), rate=400.0, counts=False)
    try:
        for _ in range(2):
            with Program(home, port=str(port)).listening():
                assert crowd.run(LIMIT, crowd.settled, talks=False)
                before = len(crowd.said)
                assert crowd.run(LIMIT, lambda: len(crowd.said) > before + 200)  # noqa: B023
            crowd.run(0.3)
        with Program(home, port=str(port)).listening() as server:
            assert crowd.run(LIMIT, crowd.settled, talks=False)
            assert crowd.run(LIMIT, crowd.all_told, talks=False)
            server.stop()
    finally:
        crowd.close()
    said = crowd.said
    assert not crowd.faults and all(one.answered for one in said)
    assert max(one.tries for one in said) > 1, "something was under way when the server was killed"
    book = ledger.read(home / "data" / "ledger.txt")
    assert len(book.memos) > 20 and history.books(said, {"one": book.memos}) == []
    lines = stored(home, is_ours)
    assert len(lines) == len(said)
    assert history.order(said) + history.heard(said, crowd.told) + history.once(said, {"one": lines}) == []
    assert history.once(said, {"one": lines[:-1]}), "one that is missing would be noticed"
