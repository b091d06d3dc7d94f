"""The first conversation of README, played by two programs against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.client.conftest import Server
from tests.client.programs import Terminal
from tests.client.test_private_program import PASSWORDS, pattern, walk


def test_two_people_meet_as_the_readme_says(house: Callable[..., Server], tmp_path: Path) -> None:
    server = house(users=PASSWORDS)
    people: dict[str, Terminal] = {}
    try:
        for user, typed, line in walk("conversation"):
            if user not in people:
                people[user] = terminal = Terminal(server.port, tmp_path)
                for question, answer in ((">> ", user), ("Please enter your password:", PASSWORDS[user])):
                    terminal.shows(question)
                    terminal.types(answer + "\r")
                terminal.shows(f'Welcome to the Chatting room user "{user}"! Now you have successfully logged in!')
            if typed:
                people[user].types(line + "\r")
            else:
                people[user].shows_like(pattern(line))
        assert len(people) == 2 and people["facebook"].ends() == 0
    finally:
        for terminal in people.values():
            terminal.close()
