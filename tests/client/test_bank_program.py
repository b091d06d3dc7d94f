"""Credits and cheques in the program for people, against the real server: README's walk, word for word, and scripts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from chatlib.client import Client
from tests.client.conftest import USERS, Server
from tests.client.programs import WELCOME, Terminal, script
from tests.client.test_forum_program import PASSWORDS, PROMPT, pattern, walk
from tests.patience import LIMIT

CHEQUE = re.compile(r"cheque/1 \S+ \S+ \d+ ([0-9a-f]{16}) \d+ [0-9a-f]{64}( [a-z ]+)?")


def shown_as(line: str) -> str:
    """A shown line as it is at another time, with another cheque."""
    if CHEQUE.fullmatch(line):
        return CHEQUE.pattern
    found = pattern(re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "DATE", line))
    return re.sub("[0-9a-f]{16}", "[0-9a-f]{16}", found).replace("DATE", r"[\d-]+\ [\d:]+")


def test_two_people_pay_as_the_readme_says(house: Callable[..., Server], tmp_path: Path) -> None:
    server = house(users=PASSWORDS)
    steps = walk("payments")
    used = {PROMPT.fullmatch(line)[3].split()[0] for line, _ in steps}  # type: ignore[index]
    assert used >= {"balance", "pay", "statement", "cheque", "cheques", "cash", "password"}
    people: dict[str, Terminal] = {}
    real: dict[str, str] = {}  # what README shows of cheques → what they are here
    try:
        for user, password in PASSWORDS.items():
            people[user] = terminal = Terminal(server.port, tmp_path)
            terminal.shows(">> ")
            terminal.types(f"{user}\r")
            terminal.shows("Please enter your password:")
            terminal.types(f"{password}\r")
            terminal.shows(f"{user}> ")
        for line, shown in steps:
            user, _, typed = line.partition("> ")
            for one, other in real.items():
                typed = typed.replace(one, other)
            terminal = people[user]
            terminal.screen = ""
            terminal.types(typed + "\r")
            for each in shown:
                terminal.shows_like(shown_as(each))
                found = CHEQUE.fullmatch(each)
                if found:
                    here = CHEQUE.search(terminal.last)
                    assert here is not None
                    real |= {each: here[0], found[1]: here[1]}
            if typed.startswith("message"):
                number = real["5d6d41ff28d7d141"]
                people["Columbia"].shows_like(f"facebook has given you a cheque .* Type: cash {number}")
            if typed.startswith("cash ") and "Error!" not in shown[0]:
                people["facebook"].shows("Columbia has cashed your cheque for 100 credits (for tea).")
        people["facebook"].shows("Please enter your current password:")
        people["facebook"].types("\r")
        people["facebook"].shows("Your password stays as it was.")
    finally:
        for terminal in people.values():
            terminal.close()


def said_to(server: Server, tmp_path: Path, user: str, *lines: str) -> tuple[list[str], int]:
    """What a script reads behind its welcome, without the time of day."""
    said, status = script(server, tmp_path, "\n".join([user, USERS[user], *lines]) + "\n")
    return re.sub(r"\[[\d: -]+\] ", "", said.removeprefix(WELCOME.format(user))).splitlines(), status


def test_cheques_in_scripts_and_over_restarts_of_both_programs(server: Server, tmp_path: Path) -> None:
    written, status = said_to(server, tmp_path, "ann", "cheque bob 100 for tea --print", "cheque bob 7", "cheques")
    assert status == 0
    assert (written[0], written[3]) == (
        "A cheque for 100 credits (for tea), payable to bob, good until " + written[0][-17:],
        "A cheque for 7 credits, payable to bob, good until " + written[3][-17:])  # fmt: skip
    lines = [line for line in written if CHEQUE.fullmatch(line)]
    assert len(lines) == 2
    assert "You wrote 2 cheques for 107 credits in all that nobody has cashed yet:" in written
    server.kill()
    server.start()
    cashed, status = said_to(server, tmp_path, "bob", f"cash {lines[0]}", f"cash {lines[0]}", "balance")
    assert (cashed, status) == ([
        "You have cashed ann's cheque for 100 credits (for tea). You have 10,100 credits now.",
        "Error! This cheque was cashed before.", "You have 10,100 credits."], 1)  # fmt: skip
    left, status = said_to(server, tmp_path, "ann", "cheques", "statement 1")
    number = CHEQUE.fullmatch(lines[1])[1]  # type: ignore[index]
    assert left[:3] == [
        "While you were away (1 message):",
        "bob has cashed your cheque for 100 credits (for tea). You have 9,900 credits now.",
        "You wrote 1 cheque for 7 credits that nobody has cashed yet:",
    ]
    assert left[3].startswith(f"{number}  7 credits to bob, good until ")
    assert left[4:] == ["100  balance 9,900  ann to bob, by cheque (for tea)"]
    changed, status = said_to(server, tmp_path, "ann", "password", USERS["ann"], "another", "another", "cheques")
    assert changed == [
        "A new password voids 1 cheque for 7 credits that you wrote and nobody has cashed: it will be worth nothing.",
        "Please enter your current password:", "Please choose a password:", "Please type it again:",
        "Your password has been changed.", "No cheques wait to be cashed.",
    ]  # fmt: skip
    refused, status = said_to(server, tmp_path, "bob", f"cash {lines[1]}")
    assert (refused, status) == (
        ['Error! "ann" did not write this cheque, or has another password by now.'], 1)  # fmt: skip


def test_a_cheque_is_written_and_another_cashed_while_the_server_is_away(
    server: Server, tmp_path: Path, terminal: Callable[..., Terminal]
) -> None:
    with Client("127.0.0.1", server.port, timeout=LIMIT) as bob:
        bob.login("bob", USERS["bob"])
        line = bob.write_cheque("ann", 30)
    at = terminal()
    at.log_in("ann")
    server.stop()
    at.shows("Trying to come back")
    at.types("cheque bob 50 --print\r")
    at.shows_like(CHEQUE.pattern)
    written = CHEQUE.search(at.last)
    at.types(f"cash {line}\r")
    at.types("cheques\r")
    at.shows("You wrote 1 cheque for 50 credits that nobody has cashed yet:")
    server.start()
    at.shows("You have cashed bob's cheque for 30 credits. You have 10,030 credits now.")
    assert written is not None
    assert said_to(server, tmp_path, "bob", f"cash {written[0]}")[0][-1:] == [
        "You have cashed ann's cheque for 50 credits. You have 10,020 credits now."]  # fmt: skip
    at.shows("bob has cashed your cheque for 50 credits. You have 9,980 credits now.")


def test_what_a_narrow_terminal_shows_of_a_cheque_can_be_copied_and_pasted(server: Server, tmp_path: Path) -> None:
    narrow, other = Terminal(server.port, tmp_path, columns=40), Terminal(server.port, tmp_path)
    try:
        narrow.log_in("ann")
        narrow.types("cheque bob 100 --print for tea\r")
        narrow.shows("can cash it:")
        narrow.shows_like(r"cheque/1 [\s\S]* tea(?=\r)")
        other.log_in("bob")
        other.types("cash ")
        other.types(f"\x1b[200~{narrow.last}\x1b[201~\r")
        other.shows("You have cashed ann's cheque for 100 credits (for tea).")
    finally:
        narrow.close()
        other.close()
