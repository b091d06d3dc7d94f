"""Private talk between whole programs, each at an address of its own: consent, refusal, silence, and what breaks."""

from __future__ import annotations

import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.client.conftest import ROOT, USERS, Server
from tests.client.elsewhere import address
from tests.client.programs import WELCOME, Pseudo, command, environment
from tests.patience import LIMIT


class Neighbour(Pseudo):
    """The program in a pseudo-terminal, on a machine of its own."""

    def __init__(self, server: Server, number: int, user: str, folder: Path, *flags: str, password: str = "") -> None:
        self.user, self.address = user, address(number)
        launcher = str(ROOT / "tests" / "client" / "elsewhere.py")
        words = [sys.executable, launcher, self.address, "client.py", "127.0.0.1", str(server.port), *flags]
        super().__init__(words, folder, controls=False)
        plain = "--plain" in flags
        self.shows("Please enter your username:" if plain else ">> ")
        self.says(user)
        self.shows("Please enter your password:")
        self.says(password or USERS[user])
        self.shows("You can type now." if plain else f"{user}> ")
        self.says("list")  # when it is answered, the server knows where this one listens
        self.shows(" online")

    def shows_like(self, wanted: str) -> None:
        """Waits until a line like `wanted`, a regular expression, is shown."""
        deadline = time.monotonic() + LIMIT
        while not (found := re.search(wanted, self.screen)):
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{wanted!r} is not shown: {self.screen!r}"
            self._read()
        self.screen = self.screen[found.end() :]

    def says(self, line: str) -> None:
        self.types(line + "\r")


Join = Callable[..., Neighbour]


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Join]:
    """Starts a program on the next machine, and logs in."""
    joined: list[Neighbour] = []

    def start(server: Server, user: str, *flags: str, password: str = "") -> Neighbour:
        folder = tmp_path / f"{user}{len(joined)}"
        folder.mkdir()
        joined.append(Neighbour(server, len(joined) + 2, user, folder, *flags, password=password))
        return joined[-1]

    yield start
    for each in joined:
        each.close()


QUESTION = "{} wants your address for a private chat. yes / no?"
PASSWORDS = {"facebook": "wastingtime", "Columbia": "116bway"}


def introduce(one: Neighbour, other: Neighbour, text: str = "first") -> None:
    """`one` talks to `other`, who agrees."""
    one.says(f"private {other.user} {text}")
    other.shows(QUESTION.format(one.user))
    other.says("yes")
    other.shows(f"{one.user}(private, direct): {text}")
    one.shows(f"delivered to {other.user}(private, direct): {text}")


def leaves(*people: Neighbour) -> None:
    for each in people:
        each.types("\x03")
        assert each.ends() == 0


# README.

_PROMPT = re.compile(r"(\w+)> (.*)")


def walk(part: str = "private") -> list[tuple[str, bool, str]]:
    """README's example: who, whether it is typed, and the line. A part of it is one person's screen."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split(f"<!-- {part} -->")[1].split("<!-- end -->")[0]
    steps = []
    for block in re.findall(r"```\n(.*?)```", text, re.DOTALL):
        found = [_PROMPT.fullmatch(line) for line in block.splitlines()]
        user = next(match[1] for match in found if match)
        for line, match in zip(block.splitlines(), found, strict=True):
            steps.append((user, bool(match), match[2] if match else line))
    return steps


def pattern(line: str) -> str:
    """A shown line as it is at another time, on other machines."""
    at = re.sub(r"\\\[\d\d:\d\d\\\]", r"\\[[\\d:]+\\]", re.escape(line))
    return re.sub(r"\\#[\d\\.]+\\#\d+", r"\\#[\\d.]+\\#\\d+", at)


def test_two_people_talk_as_the_readme_says(house: Callable[..., Server], join: Join) -> None:
    server = house(users=PASSWORDS)
    people = {user: join(server, user, password=password) for user, password in PASSWORDS.items()}
    steps = walk()
    assert {line.split()[0] for _, typed, line in steps if typed} >= {"private", "yes", "stopprivate"}
    for user, typed, line in steps:
        if typed:
            people[user].says(line)
        else:
            people[user].shows_like(pattern(line))
        if line == "quit":
            assert people[user].ends() == 0
    leaves(*(each for each in people.values() if each.process.poll() is None))


# Consent.


def test_consent_given_refused_and_left_with_the_server(server: Server, join: Join) -> None:
    ann, bob, carl = (join(server, user) for user in ("ann", "bob", "carl"))
    introduce(ann, bob, "hello")
    bob.says("private ANN hello yourself")
    ann.shows("bob(private, direct): hello yourself")
    bob.shows("delivered to ann(private, direct): hello yourself")
    carl.says("private bob may I?")
    carl.shows("bob is asked for an address.")
    carl.says("private bob please")
    carl.shows("Kept for bob")
    bob.shows(QUESTION.format("carl"))
    bob.says("no carl")
    carl.shows('"bob" has refused. Leave your 2 texts for bob with the server? yes / no?')
    carl.says("yes")
    bob.shows("carl: may I?")
    bob.shows("carl: please")
    carl.shows("Sent to bob by way of the server.")
    carl.says("private bob again")
    carl.shows('"bob" has refused: ask again in')
    carl.types("\x03")
    carl.shows("Not sent to bob: again")
    assert "again" not in bob.all
    leaves(ann, bob, carl)


def test_a_screen_reader_says_when_a_private_text_came_and_when_it_was_delivered(server: Server, join: Join) -> None:
    ann, bob = join(server, "ann", "--plain"), join(server, "bob", "--plain")
    ann.says("private bob hi")
    bob.shows(QUESTION.format("ann"))
    bob.says("yes")
    bob.shows_like(r"\[[\d:]+\] ann\(private, direct\): hi")
    ann.shows_like(r"\[[\d:]+\] delivered to bob\(private, direct\): hi")
    for each in (ann, bob):
        each.says("quit")
        assert each.ends() == 0


def test_whoever_does_not_answer_means_no(house: Callable[..., Server], join: Join) -> None:
    server = house(hasty=1)
    ann, bob = join(server, "ann"), join(server, "bob")
    ann.says("private bob hi")
    bob.shows(QUESTION.format("ann"))
    ann.shows('"bob" has not answered. Leave your text for bob with the server? yes / no?')
    bob.shows("You have not answered ann in time. That counts as no.")
    bob.says("yes ann")
    bob.shows('Error! "ann" is not waiting for an answer of yours.')
    ann.types("\r")
    ann.shows("Not sent to bob: hi")
    leaves(ann, bob)


def test_a_standing_allowance_needs_no_question_also_after_a_restart(
    server: Server, join: Join, tmp_path: Path
) -> None:
    ann = join(server, "ann")
    ann.says("allow bob")
    ann.shows('"bob" may have your address')
    leaves(ann)
    server.stop()
    server.start()
    ann = join(server, "ann")
    bob = join(server, "bob")
    bob.says("private ann hi")
    ann.shows("bob(private, direct): hi")
    bob.shows("delivered to ann(private, direct): hi")
    assert "wants your address" not in ann.all
    bob.says("block ann")
    bob.shows('You have blocked "ann".')
    # The server tells ann why, and bob's program that it has gone: whichever comes first is shown.
    ann.shows_like('The direct connection with "bob" is closed: one of you blocks|"bob" has ended the')
    leaves(ann, bob)


# The question, and what is typed meanwhile.


def test_a_half_typed_line_is_no_answer(server: Server, join: Join) -> None:
    ann, bob, carl = (join(server, user) for user in ("ann", "bob", "carl"))
    ann.says("private bob hi")
    bob.shows(QUESTION.format("ann"))
    ann.types("message carl he")
    ann.shows("message carl he")
    bob.says("no")
    ann.shows("Leave your text for bob with the server? yes / no?")
    ann.types("y\r")
    carl.shows("ann: hey")
    ann.says("no")
    ann.shows("Not sent to bob: hi")
    leaves(ann, bob, carl)


def test_ctrl_c_in_every_state(server: Server, join: Join) -> None:
    bob = join(server, "bob")
    ann = join(server, "ann")
    ann.says("private bob asked")
    bob.shows(QUESTION.format("ann"))
    ann.shows("ann> ")
    ann.types("\x03")
    ann.shows("Not sent to bob: asked")
    assert ann.ends() == 0
    ann = join(server, "ann")
    ann.says("private bob refused")
    bob.shows(QUESTION.format("ann"))
    bob.types("\x03")  # whoever is asked may leave, too
    ann.shows('"bob" has left. Leave your text for bob with the server? yes / no?')
    assert bob.ends() == 0
    ann.types("\x03")
    ann.shows("Not sent to bob: refused")
    bob = join(server, "bob")
    introduce(ann, bob)
    ann.types("\x03")
    assert ann.ends() == 0
    bob.shows('"ann" has ended the direct connection.')
    leaves(bob)


# What breaks.


def test_a_private_talk_outlives_the_server(server: Server, join: Join) -> None:
    ann, bob = join(server, "ann"), join(server, "bob")
    introduce(ann, bob)
    server.stop()
    for each in (ann, bob):
        each.shows("Trying to come back")
    for number in range(3):
        ann.says(f"private bob number {number}")
        bob.shows(f"ann(private, direct): number {number}")
        ann.shows(f"delivered to bob(private, direct): number {number}")
        bob.says(f"private ann reply {number}")
        ann.shows(f"bob(private, direct): reply {number}")
        bob.shows(f"delivered to ann(private, direct): reply {number}")
    server.start()
    for each in (ann, bob):
        each.shows("You are back online.")
    ann.says("private bob still here")
    bob.shows("ann(private, direct): still here")
    bob.says("stopprivate ann")
    ann.shows('"bob" has ended the direct connection.')
    introduce(bob, ann, "again")  # what the first session was told holds no more
    leaves(ann, bob)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_peer_that_is_killed(server: Server, join: Join, stopped: bool) -> None:
    """`stopped`: it has not shown the last text when it dies."""
    ann, bob = join(server, "ann"), join(server, "bob")
    introduce(ann, bob)
    if stopped:
        bob.process.send_signal(signal.SIGSTOP)
        ann.says("private bob last words")
        ann.shows("last words")
    bob.process.kill()
    if stopped:
        ann.shows("Leave your text for bob with the server (bob may have seen it)? yes / no?")
        ann.says("no")
        ann.shows("Perhaps not delivered to bob: last words")
    else:
        ann.shows('The direct connection with "bob" was lost.')
    ann.says("private bob are you there?")
    ann.shows("Leave your text for bob with the server? yes / no?")
    ann.says("yes")
    ann.shows('The user "bob" is not online. The server has stored your message.')
    bob = join(server, "bob")
    assert "ann: are you there?" in bob.all
    leaves(ann, bob)


def test_without_a_listener_the_other_calls(server: Server, join: Join) -> None:
    ann, bob = join(server, "ann", "--no-listen"), join(server, "bob")
    bob.says("private ann hi")
    bob.shows('"ann" takes no direct connections. Leave your text for ann with the server? yes / no?')
    bob.says("yes")
    ann.shows("bob: hi")
    introduce(ann, bob)
    bob.says("private ann now")
    ann.shows("bob(private, direct): now")
    leaves(ann, bob)


def test_what_went_directly_the_server_never_had(server: Server, join: Join) -> None:
    ann, bob = join(server, "ann"), join(server, "bob")
    introduce(ann, bob, "a needle in private")
    ann.says("cheque bob 5 a needle by cheque")
    bob.shows("Type: cash ")
    ann.says("message bob a needle by way of the server")
    bob.shows("ann: a needle by way of the server")
    for each in (ann, bob):
        each.says("search needle")
        each.shows_like(r"\] (→ bob|ann): a needle by way of the server")
        each.says("history")
        each.shows_like(r"\] (→ bob|ann): a needle by way of the server")
        each.says("search needle private")
        each.shows("Nothing that you may read has these words.")
        each.says("search needle cheque")
        each.shows("Nothing that you may read has these words.")
    stored = b"".join(path.read_bytes() for path in server.home.rglob("*") if path.is_file())
    assert b"needle by way" in stored and b"needle in private" not in stored and b"needle by cheque" not in stored
    leaves(ann, bob)


# Money.


def test_a_cheque_is_cashed_after_its_payer_has_left(server: Server, join: Join) -> None:
    ann, bob = join(server, "ann"), join(server, "bob")
    introduce(ann, bob)
    ann.says("cheque bob 5 for lunch")
    bob.shows("ann has given you a cheque for")
    bob.shows("Type: cash ")
    ann.shows("delivered to bob(private, direct): your cheque")
    leaves(ann)
    bob.shows('"ann" has ended the direct connection.')
    number = re.search("Type: cash ([0-9a-f]{16})", bob.all)
    assert number
    before = balance(bob)
    bob.says(f"cash {number[1]}")
    bob.shows("You have cashed ann's cheque")
    assert balance(bob) == before + 5
    bob.says(f"cash {number[1]}")
    bob.shows("Error!")
    assert balance(bob) == before + 5
    leaves(bob)


def balance(person: Neighbour) -> int:
    person.says("balance")
    person.shows_like(r"You have [\d,]+ credits\.")
    return int(re.findall(r"You have ([\d,]+) credits\.", person.all)[-1].replace(",", ""))


# Scripts.


def said(server: Server, tmp_path: Path, user: str, *lines: str) -> tuple[str, int]:
    done = subprocess.run(
        command(server), input="\n".join([user, USERS[user], *lines]) + "\n", text=True, capture_output=True,
        timeout=LIMIT, env=environment(tmp_path),
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.removeprefix(WELCOME.format(user)), done.returncode


def test_a_script_talks_privately_and_is_asked_nothing(server: Server, join: Join, tmp_path: Path) -> None:
    bob = join(server, "bob")
    bob.says("allow ann")
    bob.shows('"ann" may have your address')
    shown, status = said(server, tmp_path, "ann", "private bob one", "private bob two")
    assert status == 0 and shown.splitlines()[-1] == "delivered to bob(private, direct): two"
    for text in ("one", "two"):
        bob.shows(f"ann(private, direct): {text}")
    bob.shows('"ann" has ended the direct connection.')
    bob.says("disallow ann")
    bob.shows('"ann" has to ask')
    leaves(bob)
    shown, status = said(server, tmp_path, "ann", "private bob three", "yes", "whoelse")
    assert (shown, status) == ("""\
Error! "bob" is not online.
Not sent to bob: three
Error! Usage: yes <user>
Nobody else is online.
""", 1)  # fmt: skip
