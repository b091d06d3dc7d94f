"""Ports of servers that tests start: no two workers have the same."""

from __future__ import annotations

from itertools import islice

from tests.ports import BEYOND, FIRST, ports_of


def test_no_two_workers_share_a_port_wherever_they_begin() -> None:
    for workers in (1, 2, 3, 8):
        seen: set[int] = set()
        for own in range(workers):
            environ = {"PYTEST_XDIST_WORKER": f"gw{own}", "PYTEST_XDIST_WORKER_COUNT": str(workers)}
            mine = set(islice(ports_of(environ, 4_321 * own), BEYOND - FIRST))
            assert len(mine) == (BEYOND - FIRST) // workers and not mine & seen
            seen |= mine
        assert min(seen) >= FIRST and max(seen) < BEYOND


def test_without_workers_all_are_ones_own() -> None:
    assert len(set(islice(ports_of({}, 0), BEYOND - FIRST))) == BEYOND - FIRST
