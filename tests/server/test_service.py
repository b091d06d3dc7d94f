"""The server as a service: its manager is told, and its log is seen without a terminal."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.reactor.loop import Loop
from chatlib.server.records import Records, is_journal, one_line
from chatlib.server.service import Service
from chatlib.storage.serverlog import ERROR, LIFE, PRESENCE, WARNING
from tests.server.house import Clock, House

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


class Manager:
    """The manager's end of the socket, and a house that serves it."""

    def __init__(self, folder: Path, watchdog: str = "") -> None:
        name = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name)
        self._socket.setblocking(False)
        (folder / "home").mkdir()
        self.house = House(folder / "home")
        server = self.house.server
        service = Service({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": watchdog}, lambda text: None)
        self.service = service
        assert self.told() == [], "it does not listen yet"
        service.watch(
            server.loop, lambda: len(server.world.online), lambda: server.stopping, lambda: server.saver.busy
        )

    def told(self) -> list[str]:
        found = []
        while True:
            try:
                found += self._socket.recv(1_000).decode().split("\n")
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()
        self.house.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.close()


def test_readiness_who_is_online_and_the_stop_are_told(manager: Manager) -> None:
    house = manager.house
    assert manager.told() == ["READY=1", "STATUS=0 users online"]
    house.login("Columbia")
    house.login("Google").hang_up()
    house.settle()
    house.pass_time(3)
    assert manager.told() == ["STATUS=1 user online"], "at most once a second, and only what is new"
    house.pass_time(60)
    assert manager.told() == []
    house.server.stop()
    house.tick(3)
    assert manager.told() == ["STOPPING=1", "STATUS=Stopping: everything is saved."]


def test_a_reload_begins_and_ends(manager: Manager) -> None:
    house = manager.house
    manager.told()
    manager.service.reload()
    house.server.saver.reload(lambda text: None)
    begun = manager.told()
    assert begun[0] == "RELOADING=1" and re.fullmatch(r"MONOTONIC_USEC=\d+", begun[1])
    house.wait_for(lambda: not house.server.saver.busy)
    house.tick()
    assert manager.told() == ["READY=1"]


def test_signs_of_life_come_from_the_loop_at_half_of_the_watchdogs_time(tmp_path: Path) -> None:
    manager = Manager(tmp_path, watchdog="30000000")
    assert manager.told().count("WATCHDOG=1") == 1
    manager.house.pass_time(60)
    assert manager.told().count("WATCHDOG=1") == 4
    manager.house.clock.now += 300  # the loop stands still
    assert manager.told() == []
    manager.close()


# Records on standard error.


class Pipe:
    """Standard error, and a loop."""

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()
        os.set_blocking(self.reads, False)
        self.clock = Clock()
        self.loop = Loop(lambda fault: None, self.clock.monotonic, self.clock.wall)
        self.records = Records(self.writes, {}, self.clock.wall)

    def read(self) -> str:
        try:
            return os.read(self.reads, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        os.close(self.reads)
        os.close(self.writes)
        self.loop.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_a_record_is_one_line_with_its_time(pipe: Pipe) -> None:
    pipe.records.add(ERROR, "Traceback:\n  File x\n\x1b[31mValueError: \x9b2Jred\u202e\x7f")
    (line,) = pipe.read().splitlines()
    assert re.fullmatch(STAMP + r"Traceback:\\n  File x\\n\\x1b\[31mValueError: (\\x9b)?2Jred\\x7f", line)


def test_the_journal_gets_priorities_in_the_place_of_times(pipe: Pipe) -> None:
    there = os.fstat(pipe.writes)
    environ = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
    assert is_journal(pipe.writes, environ) and not is_journal(pipe.reads, {"JOURNAL_STREAM": "1:2"})
    assert not is_journal(99_999, environ) and not is_journal(pipe.writes, {})
    records = Records(pipe.writes, environ)
    for weight in (ERROR, WARNING, LIFE, PRESENCE):
        records.add(weight, "login ann")
    assert pipe.read() == "<3>login ann\n<4>login ann\n<5>login ann\n<6>login ann\n"


def test_a_reader_who_does_not_read_holds_nothing_up_and_is_told_what_is_left_out(pipe: Pipe) -> None:
    pipe.records.attach(pipe.loop)
    for _ in range(3_000):
        pipe.records.add(PRESENCE, 1_000 * "x")
        pipe.records.flush()
    said = ""
    while got := pipe.read():
        said += got
        pipe.records.flush()
    pipe.records.add(PRESENCE, "login ann")
    pipe.records.flush()
    said += pipe.read()
    kept = said.count("x\n")
    assert 1_000 < kept < 1_200
    last, left_out = said.splitlines()[-1], said.splitlines()[-2]
    assert left_out.endswith(f" Left out, because nobody was reading: {3_000 - kept:,} records.")
    assert last.endswith(" login ann")


def test_a_reader_who_is_gone_costs_records_alone(pipe: Pipe) -> None:
    os.close(pipe.reads)
    pipe.records.add(PRESENCE, "login ann")
    pipe.records.attach(pipe.loop)
    pipe.records.add(PRESENCE, "login ann")
    pipe.records.flush()
    pipe.records.finish()
    pipe.reads = os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize(("text", "shown"), [
    ("plain", "plain"), ("a\tb", "a\\tb"), ("a\r\nb", "a\\r\\nb"), ("grüße", "grüße"), ("\0", "\\x00"),
])  # fmt: skip
def test_a_text_on_one_line(text: str, shown: str) -> None:
    assert one_line(text) == shown


# How much the log says.


def test_each_level_of_the_log_has_what_those_before_it_have(tmp_path: Path) -> None:
    house = House(tmp_path)
    seen: dict[str, str] = {}
    for level in ("quiet", "presence", "commands", "debug"):
        house.admin(f"change LOG {level}")
        before = len(house.log())
        ann = house.login("Columbia")
        ann.ask("message", to="Google", text="a secret")
        ann.ask("message", to="nobody", text="a secret", id=77)
        ann.ask("logout")
        house.server.tell("The disk is nearly full.")
        house.pass_time(2)
        seen[level] = house.log()[before:]
    assert all("The disk is nearly full." in said and "secret" not in said for said in seen.values())
    assert ["login Columbia from" in said for said in seen.values()] == [False, True, True, True]
    assert ["columbia message x2, logout" in said for said in seen.values()] == [False, False, True, True]
    assert ["request message id 77 of columbia" in said for said in seen.values()] == [False, False, False, True]
    assert "NO_SUCH_USER message id 77 of columbia" in seen["debug"]
    house.close()


def test_with_a_copy_nothing_is_said_twice(tmp_path: Path) -> None:
    house = House(tmp_path)
    copied: list[str] = []
    house.server.log.copy = lambda weight, text: copied.append(text)
    house.server.tell("The disk is nearly full.")
    house.server.fault(ValueError("zap"))
    assert house.heard_by_admin() == []
    assert copied[0] == "The disk is nearly full." and copied[1].endswith("ValueError: zap")
    house.close()
