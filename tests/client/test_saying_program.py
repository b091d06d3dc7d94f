"""What one says, in windows of four widths: dim until a server has it that takes its time; refused lines; Tab and r."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.client import Client
from tests.client.conftest import USERS, Server
from tests.client.programs import Terminal
from tests.client.test_words_program import WIDTHS, Glass
from tests.patience import LIMIT


@pytest.fixture
def glass(server: Server, tmp_path: Path, columns: int) -> Iterator[Glass]:
    program = Terminal(server.port, tmp_path, "--user", "bob", columns=columns)
    glass = Glass(program, columns)
    glass.shows("enter your password:")
    program.types("bob-password\r")
    glass.ends_with("bob> ")
    yield glass
    server.process.send_signal(signal.SIGCONT)
    program.close()


def said(glass: Glass) -> str:
    """All that stands there, without times and however it is broken into rows."""
    text = re.sub(r"\s+", " ", " ".join(glass.lines))
    return re.sub(r"\[\d\d:\d\d\] ", "", text)


@WIDTHS
def test_a_line_stands_above_the_prompt_until_the_server_has_it(server: Server, glass: Glass, columns: int) -> None:
    glass.program.types("to ann\r")
    glass.shows("bob ann> ")
    server.process.send_signal(signal.SIGSTOP)
    glass.program.types("one of two\r")
    glass.shows("→ ann: one of two bob ann> ")
    glass.program.types("two\r")
    glass.shows("→ ann: two bob ann> ")
    glass.shows("bob ann> (the server takes")
    if columns == 80:
        glass.shows("bob ann> (not confirmed for 5 s)")
        glass.program.types("half typed")
        glass.shows("s) half typed")
        glass.program.types("\x15")
    server.process.send_signal(signal.SIGCONT)
    offline = 'The user "ann" is not online. The server has stored your message.'
    glass.ends_with("bob ann> ")
    assert said(glass).endswith(f"→ ann: one of two {offline} → ann: two {offline} bob ann> ")
    assert said(glass).count("one of two") == 1, "what was typed is not shown besides"


@WIDTHS
def test_a_refused_line_is_typed_already(server: Server, glass: Glass, columns: int) -> None:
    glass.program.types("message anm how are you?\r")
    glass.shows('Not sent to anm: how are you? Error! There is no user "anm". bob> message anm how are you?')
    glass.program.types("\x01\x1bf\x1bf\x7fn\r")
    glass.shows("→ ann: how are you?")
    glass.program.types("\x04")
    assert glass.program.ends() == 0


@WIDTHS
def test_tab_goes_to_who_wrote_and_r_answers(server: Server, glass: Glass, columns: int) -> None:
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann, Client("127.0.0.1", server.port) as carl:
        ann.login("ann", USERS["ann"])
        carl.login("carl", USERS["carl"])
        ann.message("bob", "from ann")
        glass.shows("ann: from ann")
        carl.message("bob", "from carl")
        glass.shows("carl: from carl")
        for prompt in ("bob ann> ", "bob carl> ", "bob> ", "bob ann> "):
            glass.program.types("\t")
            glass.ends_with(prompt)
        glass.program.types("for ann\r")
        glass.shows("→ ann: for ann bob ann>")
        glass.program.types("r for carl\r")
        glass.shows("→ carl: for carl bob ann>")
        texts = [event["text"] for each in (ann, carl) for event in texts_of(each)]
        assert texts == ["for ann", "for carl"]
    glass.program.types("\x15\x04")
    assert glass.program.ends() == 0


def texts_of(client: Client) -> list[dict[str, object]]:
    while event := client.next_event(LIMIT):
        if event["event"] == "message":
            return [event]
    raise AssertionError("nothing came")


def test_plain_lines_say_what_was_said_when_the_server_has_it(server: Server, tmp_path: Path) -> None:
    program = Terminal(server.port, tmp_path, "--plain")
    try:
        program.log_in("bob")
        program.types("message ann hi there\n")
        program.shows_like(r"\[\d\d:\d\d\] → ann: hi there")
        program.types("message anm hi\n")
        program.shows("Not sent to anm: hi")
        program.types("\x04")
        assert program.ends() == 0
    finally:
        program.close()
    assert program.all.count("→ ann: hi there") == 1
