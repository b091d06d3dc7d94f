"""The forum in the program for people, against the real server: README's walk, word for word, scripts, and Ctrl+C."""

from __future__ import annotations

import os
import re
import select
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.client import Client
from tests.client.conftest import ROOT, USERS, Server
from tests.client.programs import WELCOME, Terminal, script, until
from tests.client.rig import ProxyThread
from tests.patience import LIMIT

PASSWORDS = {"facebook": "wastingtime", "Columbia": "116bway"}
PROMPT = re.compile(r"(\w+)( #\w+)?> (.*)")


def walk(part: str = "forum") -> list[tuple[str, list[str]]]:
    """README's example: in each step, a prompt with what is typed behind it, and the lines that are shown then."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split(f"<!-- {part} -->")[1].split("<!-- end -->")[0]
    steps: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if PROMPT.fullmatch(line):
                steps.append((line, []))
            else:
                steps[-1][1].append(line)
    return steps


def pattern(line: str) -> str:
    """A shown line as it is at another time, with files of other sizes, in another folder."""
    found = re.sub(r"\[\d\d:\d\d\]", "[TIME]", re.sub(r"\([\d.]+ kB\)", "(SIZE)", line))
    found = re.escape(found).replace(r"\[TIME\]", r"\[[\d:]+\]").replace(r"\(SIZE\)", r"\([\d.]+ kB\)")
    return found.replace("saved\\ as\\ ", "saved\\ as\\ [^ ]*")


def shows_all(terminal: Terminal, lines: list[str]) -> None:
    """Waits until all are shown, in whatever order: a file's bytes and the chat have connections of their own."""
    deadline = time.monotonic() + LIMIT
    while missing := [line for line in lines if not re.search(pattern(line), terminal.screen)]:
        ready, _, _ = select.select([terminal.fd], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{missing} not shown: {terminal.screen!r}"
        terminal._read()


def test_two_people_use_all_commands_as_the_readme_says(
    house: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = house(users={**PASSWORDS, "admin": "the keeper's own"})
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)
    steps = walk()
    used = {PROMPT.fullmatch(line)[3].split()[0] for line, _ in steps}  # type: ignore[index]
    assert {"CRT", "LST", "MSG", "DLT", "EDT", "RDT", "UPD", "DWN", "RMV", "XIT", "SHT"} <= used
    people: dict[str, Terminal] = {}
    try:
        for user, password in PASSWORDS.items():
            people[user] = terminal = Terminal(server.port, tmp_path)
            terminal.shows(">> ")
            terminal.types(f"{user}\r")
            terminal.shows("Please enter your password:")
            terminal.types(f"{password}\r")
            terminal.shows(f"{user}> ")
        last: dict[str, str] = {}
        for line, shown in steps:
            prompt, _, typed = line.partition("> ")
            user = prompt.split()[0]
            terminal = people[user]
            if last.get(user) == "UPD plans README.md":  # what Columbia has done meanwhile
                done = ("2 Columbia: I do.", "3 Columbia: And my brother.",
                        "Columbia has changed message 3: And my sister.", "Columbia has deleted message 2; those")
                shows_all(terminal, [f"#plans {each}" for each in done])
            assert terminal.all.rfind(f"{prompt}> ") >= 0, f"{prompt!r} is not the prompt: {terminal.all!r}"
            terminal.screen, last[user] = "", typed
            terminal.types(typed + "\r")
            shows_all(terminal, shown[:1])
            if typed == "SHT":
                terminal.types("the keeper's own\r")
            shows_all(terminal, shown)
            if typed in ("XIT", "SHT"):
                assert terminal.ends() == 0
    finally:
        for terminal in people.values():
            terminal.close()
    assert (tmp_path / "README (2).md").read_bytes() == (ROOT / "README.md").read_bytes()


def logged_in(user: str, *lines: str) -> str:
    return "\n".join([user, USERS[user], *lines]) + "\n"


def said_to(server: Server, tmp_path: Path, user: str, *lines: str) -> tuple[list[str], int]:
    """What a script reads behind its welcome, without the time of day."""
    said, status = script(server, tmp_path, logged_in(user, *lines), "--downloads", str(tmp_path))
    return re.sub(r"\[[\d: -]+\] ", "", said.removeprefix(WELCOME.format(user))).splitlines(), status


def test_who_goes_to_a_thread_hears_the_others_before_saying_anything_there(
    server: Server, terminal: Callable[..., Terminal]
) -> None:
    carl = terminal()
    carl.log_in("carl")
    with Client("127.0.0.1", server.port) as ann:
        ann.login("ann", USERS["ann"])
        ann.create_thread("lesson")
        carl.types("to #Lesson\r")
        carl.shows("Lines without a command go to #lesson now.")
        ann.post("lesson", "Open your books.")
        carl.shows("ann: Open your books.")


def test_what_was_missed_and_where_lines_go_in_scripts(server: Server, tmp_path: Path) -> None:
    assert said_to(server, tmp_path, "ann", "crt plans", "msg plans one", "rdt PLANS") == ([
        'The thread "plans" is open, and you follow it.', "#plans 1 ann: one", "1 ann: one"], 0)  # fmt: skip
    assert said_to(server, tmp_path, "bob", "to #Plans", "two", " lst", "to ann", "hi", "to", "lost", "lst") == ([
        'Lines without a command go to #plans now. To leave, type "to".', "#plans 2 bob: two", "#plans 3 bob: lst",
        'Lines without a command go to ann now. To leave, type "to".',
        'The user "ann" is not online. The server has stored your message.',
        "Lines without a command do not go to ann any more.",
        'Error! Unknown command "lost". Did you mean "lst"? Type "help" for what there is.',
        'To talk without commands, type "to #TITLE" (a thread), "to NAME" (a user) or "to all" first.',
        "plans by ann: 3 messages, followed"], 1)  # fmt: skip
    server.stop()
    server.start()
    assert said_to(server, tmp_path, "ann", "dlt plans 3", "rmv plans", "lst") == ([
        "While you were away (3 messages):", "#plans 2 bob: two", "#plans 3 bob: lst", "bob: hi",
        'Error! Message 3 is by "bob", who alone may do that.', "#plans ann has removed this thread.",
        'The forum is empty: there are no threads yet. "crt TITLE" opens one.'], 1)  # fmt: skip
    missed = ["While you were away (1 message):", "#plans ann has removed this thread."]
    assert said_to(server, tmp_path, "bob") == (missed, 0)


def test_another_deletes_while_one_types_a_number(server: Server, terminal: Callable[..., Terminal]) -> None:
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
        ann.login("ann", USERS["ann"])
        ann.create_thread("plans")
        ann.post("plans", "one")
        bob = terminal()
        bob.log_in("bob")
        for number in (2, 3):
            bob.types(f"msg plans mine {number}\r")
            bob.shows(f"#plans {number} bob: mine {number}")
        ann.delete_post("plans", 1)
        bob.shows("#plans ann has deleted message 1; those behind it have moved up.")
        bob.types("dlt plans 2\r")
        bob.shows("Error! Nothing was done: the message that you saw as 2 has the number 1 by now.")
        bob.shows("2 bob: mine 3  (number 2 is now this one: repeat the command if you mean it)")
        assert [each["text"] for each in ann.read_thread("plans")] == ["mine 2", "mine 3"]
        bob.types("dlt plans 2\r")
        bob.shows("#plans bob has deleted message 2;")
        assert [each["text"] for each in ann.read_thread("plans")] == ["mine 2"]
        bob.types("\x03")
        assert bob.ends() == 0


def test_a_long_thread_comes_whole_and_in_order(
    server: Server, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
        ann.login("ann", USERS["ann"])
        ann.create_thread("long")
        for number in range(1, 2_502):
            ann._conversation.request("msg", {"title": "long", "text": f"text {number}" + "x" * 100}, ann._now())
        until(lambda: ann._tick(ann._now() + 0.01) and not ann._conversation.outbox.pending)
        assert [each["number"] for each in ann.read_thread("long")] == list(range(1, 2_502))
        assert [each["number"] for each in ann.read_thread("long", 700, 1_500)] == list(range(800, 1_500))
    lines, status = said_to(server, tmp_path, "bob", "RDT long", "rdt long 1500 2400", "whoelse")
    numbers = [int(line.split()[0]) for line in lines[:-1]]
    assert status == 0 and numbers == [*range(1, 2_502), *range(900, 2_400)]
    assert lines[-1] == "Nobody else is online.", "the next command waits for the end"
    carl = terminal()
    carl.log_in("carl")
    carl.types("to #long\r")
    carl.shows("carl #long> ")
    carl.types("rdt long\r")
    carl.shows("text 7x")
    carl.types("a half typed line\x03\x03")  # wherever it is by now
    assert carl.ends() == 0


@pytest.fixture
def proxy(server: Server) -> Iterator[ProxyThread]:
    thread = ProxyThread(server.port)
    yield thread
    thread.close()


def test_an_upload_and_a_download_that_ctrl_c_cuts_go_on(
    server: Server, proxy: ProxyThread, terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    (tmp_path / "big.bin").write_bytes(os.urandom(3_000_000))
    down = tmp_path / "down"
    down.mkdir()
    proxy.proxy.holds, proxy.proxy.budget = True, lambda: 1_200_000
    said_to(server, tmp_path, "bob", "crt plans")
    for line, bar, cut, on, end in (
        (f"UPD plans {tmp_path}/bi\t", "big.bin to #plans  ", "has not been sent to #plans", "Sending",
         '"big.bin" (3.0 MB) has been sent to #plans.'),
        ("DWN pl\tbi\t", "big.bin from #plans  ", "from #plans is not here", "Fetching",
         f'"big.bin" from #plans has been saved as {down}/big.bin'),
    ):  # fmt: skip
        port, server.port = server.port, proxy.port
        bob = terminal("--downloads", str(down))
        server.port = port
        bob.log_in("bob")
        bob.types("rdt plans\r")
        bob.shows("bob uploaded big.bin" if line.startswith("DWN") else "is empty")
        bob.types(line)
        bob.shows("big.bin")
        bob.types("\r")
        bob.shows(bar)
        bob.shows(" % ")
        until(lambda: any(pair.held for pair in list(proxy.proxy.pairs)))
        bob.types("\x03")
        bob.shows(f'"big.bin" {cut} yet: the same command goes on from there.')
        assert bob.ends() == 0
        typed = line.replace("bi\t", "big.bin").replace("pl\t", "plans ")
        said, status = script(server, tmp_path, logged_in("bob", typed), "--downloads", str(down))
        assert re.search(on + r" .* goes on at [1-9]\d? %\.", said) and end in said and status == 0
    assert (down / "big.bin").read_bytes() == (tmp_path / "big.bin").read_bytes()
    lines, _ = said_to(server, tmp_path, "ann", "dwn plans big.bin", "dwn plans none")
    assert lines[1].endswith(f"has been saved as {tmp_path}/big (2).bin"), "never over a file"
    assert lines[2] == 'Error! There is no file "none" in the thread "plans".'
