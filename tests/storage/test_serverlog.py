"""The server log: what it says, when it is written, and that it does not grow without end. The clock is a parameter."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from chatlib.storage import serverlog
from chatlib.storage.serverlog import KEPT, ServerLog, closed_logs, without

NOW = 1_700_000_000.7


def named(when: float, number: str = "") -> str:
    return time.strftime("log_%Y-%m-%d_%H:%M:%S", time.localtime(when)) + f"{number}.log"


def test_a_log_is_named_by_the_time_it_stopped(tmp_path: Path) -> None:
    log = ServerLog(tmp_path)
    log.write("start")
    log.write("login bob\nfrom two lines")
    assert (tmp_path / "current.log").read_text() == ""
    log.flush(NOW)
    log.flush(NOW + 1)
    log.write("stop")
    path = log.close(NOW + 60)
    assert [one.name for one in tmp_path.iterdir()] == [named(NOW + 60)] == [path.name]
    stamps = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when)) for when in (NOW, NOW + 60)]
    assert path.read_text() == f"{stamps[0]} start\n{stamps[0]} login bob\nfrom two lines\n{stamps[1]} stop\n"


def test_what_a_terminal_would_obey_stands_in_the_log_with_escapes(tmp_path: Path) -> None:
    log = ServerLog(tmp_path)
    log.write("para.txt, line 3: there is no parameter \x1b[2J\u202e\ud800é")
    log.write("Traceback\n  é中\n\x9b2J")
    lines = log.close(NOW).read_text().splitlines()
    assert [line[20:] for line in lines[:1]] == ["para.txt, line 3: there is no parameter \\x1b[2J\\u202e\\ud800\\xe9"]
    assert [lines[1][20:], *lines[2:]] == ["Traceback", "  é中", "\\x9b2J"]


def test_two_logs_that_stopped_in_the_same_second(tmp_path: Path) -> None:
    assert [ServerLog(tmp_path).close(NOW).name for _ in range(3)] == [named(NOW), named(NOW, "_2"), named(NOW, "_3")]


def test_the_log_of_a_server_that_crashed_is_kept(tmp_path: Path) -> None:
    (tmp_path / "current.log").write_text("the last words\n")
    os.utime(tmp_path / "current.log", (NOW, NOW))
    log = ServerLog(tmp_path)
    assert (tmp_path / named(NOW)).read_text() == "the last words\n"
    log.close(NOW + 1)


def test_a_disk_that_refuses_costs_log_lines_not_the_server(tmp_path: Path) -> None:
    log = ServerLog(tmp_path)
    os.dup2(os.open("/dev/full", os.O_WRONLY), log._fd)
    log.write("lost \ud800")
    log.flush(NOW)
    log.flush(NOW)
    assert log.close(NOW).read_bytes() == b"", "what was lost is not tried again, and the log still gets its name"


# What users do is counted.


def lines(folder: Path) -> list[str]:
    """Of the current log, without their times."""
    return [line.split(" ", 2)[2] for line in (folder / "current.log").read_text().splitlines()]


def test_commands_are_counted_and_written_once_a_second(tmp_path: Path) -> None:
    log = ServerLog(tmp_path)
    for tick in range(900):  # of a second
        log.heard.append(("ann", "message"))
        log.heard.append(("bob", "message" if tick % 2 else "whoelse"))
        log.flush(NOW - 0.7 + tick / 1_000)
        log.tally(NOW - 0.7 + tick / 1_000)
    assert lines(tmp_path) == []
    log.heard.append(("cid", "whoelse"))
    log.flush(NOW + 0.25)
    log.tally(NOW + 0.25)
    assert lines(tmp_path) == []
    log.write("login dan from 10.0.0.1")
    log.flush(NOW + 0.3)
    assert lines(tmp_path) == [
        "ann message x900", "bob whoelse x450, message x450", "cid whoelse", "login dan from 10.0.0.1"
    ]  # fmt: skip
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW))
    assert (tmp_path / "current.log").read_text().startswith(f"{stamp} ann message x900\n"), "the second that is over"
    log.flush(NOW + 2)
    assert len(lines(tmp_path)) == 4


def test_what_was_counted_last_is_written_at_the_end(tmp_path: Path) -> None:
    log = ServerLog(tmp_path)
    log.heard.append(("ann", "logout"))
    log.write("stop")
    assert log.close(NOW).read_text().splitlines()[0].endswith("ann logout")


# It does not grow without end.


def test_a_full_log_is_closed_and_the_ten_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serverlog, "LOG_LIMIT", 1_000)
    (tmp_path / "log_of_mine.log").write_text("a person's own")
    log = ServerLog(tmp_path)
    for number in range(300):
        log.write(f"{number} " + "x" * 80)
        log.flush(NOW + number // 100)  # many logs with the time of one second
    assert len(closed_logs(tmp_path)) == KEPT
    assert all(1_000 <= path.stat().st_size < 1_200 for path in closed_logs(tmp_path))
    log.close(NOW + 10)
    held = [line.split()[2] for path in closed_logs(tmp_path) for line in path.read_text().splitlines()]
    assert held == [str(number) for number in range(300 - len(held), 300)], "in order, without a gap, up to the last"
    assert len(closed_logs(tmp_path)) == KEPT
    assert (tmp_path / "log_of_mine.log").exists()


def test_the_limit_is_sixteen_mebibytes(tmp_path: Path) -> None:
    log = ServerLog(tmp_path)
    mebibyte = "x" * ((1 << 20) - 21)  # with its time, and the line's end
    for _ in range(15):
        log.write(mebibyte)
        log.flush(NOW)
    assert (tmp_path / "current.log").stat().st_size == 15 << 20
    assert not closed_logs(tmp_path)
    log.write(mebibyte)
    log.flush(NOW)
    assert [path.stat().st_size for path in closed_logs(tmp_path)] == [16 << 20]
    assert (tmp_path / "current.log").stat().st_size == 0
    log.close(NOW)


def test_a_log_that_cannot_be_begun_goes_on_in_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serverlog, "LOG_LIMIT", 100)
    log = ServerLog(tmp_path)

    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(serverlog.os, "open", none_left)
        for number in range(4):
            log.write(f"{number} " + "x" * 100)
            log.flush(NOW)
    log.write("again")
    log.flush(NOW)
    log.write("in the new one")
    log.flush(NOW)
    (old,) = closed_logs(tmp_path)
    assert [line.split()[2] for line in old.read_text().splitlines()] == ["0", "1", "2", "3", "again"]
    assert lines(tmp_path) == ["in the new one"]
    log.close(NOW)


def test_a_removed_name_is_taken_out_wherever_it_stands_and_nothing_else_is() -> None:
    def cleaned(line: str, *names: str) -> str:
        return without(f"2026-01-31 23:59:59 {line}", names)[20:]

    for line, names, left in (
        ("ann message x3, whoelse", ["Ann"], "(removed) message x3, whoelse"),
        ("anna message, ann-b whoelse", ["ann"], "anna message, ann-b whoelse"),
        ('upload of "x" from Ann failed: no room', ["ann"], 'upload of "x" from (removed) failed: no room'),
        ("Reloaded: 2 accounts were added (Ann, Bob).", ["ann", "bob"],
         "Reloaded: 2 accounts were added ((removed), (removed))."),
        ('Warning: the password of "Ann" is bad', ["ann"], 'Warning: the password of "(removed)" is bad'),
        ("KeyError: 'ann'", ["ann"], "KeyError: '(removed)'"),
        ("console5 message x2", ["console5"], "(removed) message x2"),
        ("console: kick", ["kick", "console"], "console: kick"),
        ("console from 10.0.0.9: ban", ["ban"], "console from 10.0.0.9: ban"),
    ):  # fmt: skip
        assert cleaned(line, *names) == left


def test_nobody_wipes_an_address_out_of_the_log_by_a_name_that_looks_like_it() -> None:
    log = "\n".join(f"2026-01-31 23:59:59 {line}" for line in (
        "login mallory from 10.0.0.7", "login lockout of Ann from 10.0.0.7: 30 s", "request hello of 10.0.0.7",
    ))  # fmt: skip
    assert without(log, ["10.0.0.7", "mallory"]) == log.replace("mallory", "(removed)")
    own = "2026-01-31 23:59:59 "
    assert without(f"{own}10.0.0.7 message\n{own}logout 10.0.0.7 from ::1", ["10.0.0.7"]) == (
        f"{own}(removed) message\n{own}logout (removed) from ::1"
    )
