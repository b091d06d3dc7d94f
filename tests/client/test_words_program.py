"""What a person sees and types in windows of four widths, through an emulator of a terminal; and plain lines."""

from __future__ import annotations

import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.client import Client
from tests.client.conftest import USERS, Server
from tests.client.programs import INVITATION, ROWS, Pseudo, Terminal, command, environment
from tests.patience import LIMIT
from tests.terminal.emulator import Emulator

WIDTHS = pytest.mark.parametrize("columns", [12, 40, 80, 200])
LINK = "https://example.com/a/long/path?with=a-query&and=more"
TEXT = f"have a look at {LINK} or not, as you like it"
SHOWN = {
    12: ["[14:03] ann:", "  have a", "  look at", f"{LINK} or", "  not, as", "  you like", "  it"],
    40: ["[14:03] ann: have a look at", f"{LINK} or not, as you like it"],
    80: ["[14:03] ann: have a look at", f"             {LINK} or not, as", "             you like it"],
    200: [f"[14:03] ann: {TEXT}"],
}


class Glass:
    """A program's window, and what is on it."""

    def __init__(self, program: Pseudo, columns: int) -> None:
        self.program = program
        self.emulator = Emulator(columns, ROWS)
        self._taken = 0

    @property
    def lines(self) -> list[str]:
        self.emulator.write(self.program.all[self._taken :])
        self._taken = len(self.program.all)
        return self.emulator.logical_lines()

    def waits_for(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """Until that is to be seen; all lines."""
        deadline = time.monotonic() + LIMIT
        while not seen(lines := self.lines):
            assert select.select([self.program.fd], [], [], max(0.0, deadline - time.monotonic()))[0], lines
            self.program._read()
        return lines

    def shows(self, text: str) -> list[str]:
        """Waits until `text` is there, however it is broken into rows."""
        return self.waits_for(lambda lines: text in re.sub(r"\s+", " ", " ".join(lines)))

    def ends_with(self, *last: str) -> None:
        self.waits_for(lambda lines: [line for line in lines if line][-len(last) :] == [*last])


@pytest.fixture
def bob(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Glass]:
    columns = request.node.callspec.params["columns"]
    program = Terminal(server.port, tmp_path, "--user", "bob", columns=columns)
    glass = Glass(program, columns)
    glass.shows("enter your password:")
    program.types("bob-password\r")
    glass.ends_with("bob> ")
    yield glass
    program.close()


@WIDTHS
def test_a_message_is_broken_at_blanks_and_its_link_stays_whole(server: Server, bob: Glass, columns: int) -> None:
    bob.program.types("message ann half of a line")
    bob.shows("half of a line")
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
        ann.login("ann", USERS["ann"])
        ann.message("bob", TEXT)
        lines = bob.shows("as you like it bob> message ann half of a line")
        bob.program.types("\r")
        event = ann.next_event(LIMIT)
        assert event and event["text"] == "half of a line"
    first = next(index for index, line in enumerate(lines) if "ann: " in line or line.endswith("ann:"))
    rows = lines[first : next(index for index, line in enumerate(lines) if line.startswith("bob> "))]
    assert sum(LINK in row for row in rows) == 1, "in one line, however many rows the terminal makes of it"
    assert all(len(row) <= columns or LINK in row for row in rows)
    assert [re.sub(r"\[.*\]", "[14:03]", row) for row in rows] == SHOWN[columns]


@WIDTHS
def test_the_keys_of_a_shell(bob: Glass, columns: int) -> None:
    program = bob.program
    program.types("whoelse\r")
    bob.shows("Nobody else is online.")
    program.types("half a line\x12whoe")
    bob.shows("(search: whoe) whoelse")
    program.types("\x07")
    bob.ends_with("bob> half a line" if columns > 16 else "line") if columns > 12 else bob.shows("bob> half a line")
    program.types("\x03")
    bob.ends_with("bob> ")
    program.types("\x1f")
    bob.shows("bob> half a line")
    program.types("\x1bb\x1bb\x1bdno\x05\x14\x0c")
    bob.waits_for(lambda lines: "Nobody" not in "".join(bob.emulator.screen()))
    bob.shows("bob> half no lien")
    program.types("\x15")
    bob.ends_with("bob> ")
    program.types("\x03")
    assert program.ends() == 0


@WIDTHS
def test_tab_lists_the_candidates_until_another_key_is_pressed(bob: Glass, columns: int) -> None:
    bob.program.types("fol\t\t")
    bob.shows("follow follow following" if columns > 12 else "following")
    bob.program.types("\x15")
    bob.ends_with("bob> ")
    bob.program.types("\x03")
    assert bob.program.ends() == 0


PAST = {
    12: ["bob> history", "  ann 2", "[14:03] ann:", "  the first", "  of what", "  was said", "[14:03] →", "  ann: and",
         "  the second", "bob> search", "  SAID first", "[14:03] ann:", "  the first", "  of what", "  was said",
         "bob> search", "  needle", "Nothing that", "  you may", "  read has", "  these", "  words.", "bob> "],
    40: ["bob> history ann 2", "[14:03] ann: the first of what was said", "[14:03] → ann: and the second",
         "bob> search SAID first", "[14:03] ann: the first of what was said", "bob> search needle",
         "Nothing that you may read has these", "words.", "bob> "],
    80: ["bob> history ann 2", "[14:03] ann: the first of what was said", "[14:03] → ann: and the second",
         "bob> search SAID first", "[14:03] ann: the first of what was said", "bob> search needle",
         "Nothing that you may read has these words.", "bob> "],
}  # fmt: skip
PAST[200] = PAST[80]


@WIDTHS
def test_what_was_said_before(server: Server, bob: Glass, columns: int) -> None:
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
        ann.login("ann", USERS["ann"])
        ann.message("bob", "the first of what was said")
        bob.shows("was said bob>")
        bob.program.types("message ann and the second\r")
        event = ann.next_event(LIMIT)
        assert event and event["text"] == "and the second"
    for line, answer in (("history ann 2", "and the second"), ("search SAID first", "was said"),
                         ("search needle", "these words.")):  # fmt: skip
        bob.program.types(f"{line}\r")
        bob.shows(f"bob> {line} {'Nothing' if 'needle' in line else '['}")
        lines = bob.shows(f"{answer} bob>")
    first = max(index for index, line in enumerate(lines) if line.startswith("bob> history"))
    assert [re.sub(r"\[\d\d:\d\d\]", "[14:03]", line) for line in lines[first:] if line] == PAST[columns]


@WIDTHS
def test_what_is_of_another_day_stands_below_its_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """The person's clock is three days ahead."""
    (tmp_path / "sitecustomize.py").write_text("import time\nnow = time.time\ntime.time = lambda: now() + 259_200\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = Terminal(server.port, tmp_path, "--user", "bob", columns=columns)
    try:
        glass = Glass(program, columns)
        glass.shows("enter your password:")
        program.types("bob-password\r")
        glass.ends_with("bob> ")
        with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
            ann.login("ann", USERS["ann"])
            for text in ("hello", "and good day"):
                ann.message("bob", text)
                lines = glass.shows(f"ann: {text} bob>")
        joined = re.sub(r"\s+", " ", " ".join(lines)).strip() + " "
        wanted = r"[^─]*── \w+, \d+ \w+ \d{4} ── \[[^─]*\] ann: hello \[[^─]*\] ann: and good day bob> "
        assert re.fullmatch(wanted, joined), joined
        below = lines[next(index for index, line in enumerate(lines) if "──" in line) :]
        assert all(len(line) <= columns or max(map(len, line.split())) > columns for line in below), below
        program.types("\x03")
        assert program.ends() == 0
    finally:
        program.close()


def test_plain_lines_say_each_thing_once(server: Server, tmp_path: Path) -> None:
    program = Terminal(server.port, tmp_path, "--plain", columns=40)
    try:
        program.log_in("bob")
        with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
            ann.login("ann", USERS["ann"])
            for text in ("one", "two", "three"):
                ann.message("bob", text)
            program.shows("ann: three")
            program.types("message ann four\n")
            event = ann.next_event(LIMIT)
            assert event and event["text"] == "four"
        program.types("\x04")
        assert program.ends() == 0
    finally:
        program.close()
    assert program.all.count(INVITATION) == 1 and "\x1b" not in program.all and "> " not in program.all
    for text in ("one", "two", "three"):
        assert len(re.findall(rf"\[\d\d:\d\d\] ann: {text}\r\n", program.all)) == 1


def test_ctrl_c_leaves_plain_lines_also_with_a_half_typed_one_which_ctrl_u_takes_back(
    server: Server, tmp_path: Path
) -> None:
    program = Terminal(server.port, tmp_path, "--plain")
    try:
        program.log_in("bob")
        program.types("message ann wrong\x15message ann right\n")
        program.shows("→ ann: right")
        program.types("message ann half")
        program.process.send_signal(signal.SIGINT)  # as the terminal does
        assert program.ends() == 0
    finally:
        program.close()
    assert "→ ann: wrong" not in program.all and "→ ann: half" not in program.all


def test_plain_lines_through_a_pipe_have_times(server: Server, tmp_path: Path) -> None:
    for user, lines in (("bob", "message ann hello\n"), ("ann", "history 1\n")):
        done = subprocess.run(
            command(server, "--plain"), input=f"{user}\n{USERS[user]}\n{lines}logout\n", text=True,
            capture_output=True, timeout=LIMIT, env=environment(tmp_path),
        )  # fmt: skip
        assert (done.returncode, done.stderr, done.stdout.count(INVITATION)) == (0, "", 1)
    assert re.search(r"^\[\d\d:\d\d\] bob: hello$", done.stdout, re.MULTILINE)
