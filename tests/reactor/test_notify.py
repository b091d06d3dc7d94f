"""What a service manager is told by its socket."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.reactor.notify import ServiceManager
from tests.patience import LIMIT


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """What $NOTIFY_SOCKET says, and the manager's end."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@chat-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind("\0" + name[1:] if name[0] == "@" else name)
        ours.settimeout(LIMIT)
        yield name, ours


def test_a_manager_is_told_on_a_path_and_on_an_abstract_name(manager: tuple[str, socket.socket]) -> None:
    name, ours = manager
    told = ServiceManager({"NOTIFY_SOCKET": name})
    told.tell(READY="1")
    told.tell(STATUS="3 users online")
    assert [ours.recv(1_000), ours.recv(1_000)] == [b"READY=1", b"STATUS=3 users online"]


def test_the_variables_are_taken_out_of_the_environment(manager: tuple[str, socket.socket]) -> None:
    environ = {"NOTIFY_SOCKET": manager[0], "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    assert ServiceManager(environ).interval == 5.0
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(("usec", "pid", "interval"), [
    ("3000000", "", 1.5), ("3000000", "1", 0.0), ("soon", "", 0.0), ("", "", 0.0), ("0", "", 0.0),
])  # fmt: skip
def test_the_watchdog_is_this_processs_or_none(usec: str, pid: str, interval: float) -> None:
    assert ServiceManager({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}).interval == interval


@pytest.mark.parametrize("name", ["", "relative", "/nobody/is/here", "@nobody-is-here", "/" + 200 * "x", "@a\0b"])
def test_nobody_who_listens_is_no_error(name: str) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": name})
    for _ in range(3):
        manager.tell(READY="1", STATUS="all is well")
    with manager.patient():
        pass


def test_what_did_not_get_through_is_told_later_and_only_the_latest_of_it(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    manager = ServiceManager({"NOTIFY_SOCKET": name})
    manager.tell(READY="1")
    manager.tell(STATUS="1 user online")
    manager.tell(STATUS="2 users online")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(name)
        manager.tell(WATCHDOG="1")
        assert ours.recv(1_000).split(b"\n") == [b"READY=1", b"STATUS=2 users online", b"WATCHDOG=1"]
        manager.tell(WATCHDOG="1")
        assert ours.recv(1_000) == b"WATCHDOG=1"


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(name)
        manager = ServiceManager({"NOTIFY_SOCKET": name})
        for number in range(2_000):
            manager.tell(STATUS=f"{number} online")


def test_a_long_start_is_given_more_time(
    manager: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatlib.reactor.notify._STEP", 0.01)
    name, ours = manager
    before = signal.getsignal(signal.SIGALRM)
    with ServiceManager({"NOTIFY_SOCKET": name}).patient():
        deadline = time.monotonic() + LIMIT
        ours.settimeout(0.001)
        said = b""
        while not said and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                said = ours.recv(1_000)
    assert said == b"EXTEND_TIMEOUT_USEC=30000000"
    assert signal.getsignal(signal.SIGALRM) == before and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
