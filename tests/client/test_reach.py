"""What a person reads when one of several servers is gone, and what it asks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatlib.client.trusts import Trusts
from chatlib.program.reach import HOLD
from tests.client.person import Person


def goes_on_at(person: Person, server: str) -> None:
    person.wire.at = server
    person.connect()


@pytest.fixture
def bob() -> Person:
    """Is logged in at a:1, and there is b:1, too."""
    person = Person()
    person.types("bob", "secret")
    person.loses("LOST", "The server closed the connection.")
    goes_on_at(person, "a:1")
    person.read()
    person.wire.conversation.spare = True
    return person


def test_a_loss_that_another_server_makes_good_is_one_line(bob: Person) -> None:
    bob.loses("NODE_LOST", "This server was cut off.")
    assert bob.read() == "\n" and "(offline, retrying in 4 s)" in bob._prompt()
    goes_on_at(bob, "b:1")
    assert bob.read() == "Connection lost; connected to b:1.\n"
    bob.loses("LOST", "The server closed the connection.")
    goes_on_at(bob, "b:1")
    assert bob.read() == "Connection lost; you are back online.\n"


def test_what_is_typed_meanwhile_is_sent_there(bob: Person) -> None:
    bob.loses("SHUTTING_DOWN", "The server stops.")
    bob.types("message ann hello")
    goes_on_at(bob, "b:1")
    assert bob.read() == """\
bob> (offline, retrying in 4 s) message ann hello
Connection lost; connected to b:1.
Sent now, because it had no answer: 1 command.
"""
    assert bob.wire.server.effects == ["hello"]


def test_where_the_others_are_gone_too_that_is_said(bob: Person) -> None:
    bob.loses("LOST", "The server closed the connection.")
    bob.wire.conversation.spare = False
    bob.wire.conversation.disconnected("None of the servers can be reached: ...", bob.wire.now, "UNREACHABLE")
    bob._listen()
    assert bob.read() == "The server closed the connection. Trying to come back; what you type is sent then.\n"
    goes_on_at(bob, "b:1")
    assert bob.read() == "You are back online, at b:1.\n"


def test_a_loss_that_takes_longer_is_told(bob: Person) -> None:
    bob.loses("LOST", "The server closed the connection.")
    assert bob.dialogue.wake_at == bob.wire.now + HOLD
    bob.wire.now += HOLD
    bob._listen()
    assert bob.read() == "The server closed the connection. Trying to come back; what you type is sent then.\n"
    goes_on_at(bob, "a:1")
    assert bob.read() == "You are back online.\n"


def test_before_the_login_nobody_notices() -> None:
    person = Person()
    person.wire.conversation.spare = True
    person.loses("SHUTTING_DOWN", "The server stops.")
    goes_on_at(person, "b:1")
    assert person.read() == 'Please enter your username: (or "register", "de-register", "quit")\n'


def test_the_prompt_says_which_server_is_tried(bob: Person) -> None:
    bob.loses("LOST", "The server closed the connection.")
    assert bob.dialogue.prompt(0.0, bob.wire.now, "b:1").note == "(offline, trying b:1)"


@pytest.fixture
def asked(bob: Person) -> Callable[[], list[str]]:
    """Is asked whether to go on at c:1; what became of it."""
    became: list[str] = []

    class Told(Trusts):
        def accept(self, place: str, found: str) -> None:
            became.append(f"accepted {place} {found}")

        def refuse(self, place: str, found: str) -> None:
            became.append("refused")

        def withdraw(self) -> None:
            became.append("withdrawn")

    bob.loses("LOST", "The server closed the connection.")
    bob.read()
    bob.dialogue.reach.ask("c:1", "SHA256:ff", Told(), lambda: became.append("goes on"))
    assert bob.read() == """\
The server closed the connection. Trying to come back; what you type is sent then.
The server c:1 answers. You have not met it over TLS before. Its certificate has the fingerprint
SHA256:ff
The server prints the same at its start, or somebody stands in between. Do you want to go on there? (yes/no)
"""
    return lambda: became


@pytest.mark.parametrize("answer", ["yes", "Yes c:1"])
def test_a_yes_goes_on_there(bob: Person, asked: Callable[[], list[str]], answer: str) -> None:
    bob.types(answer)
    assert asked() == ["accepted c:1 SHA256:ff", "goes on"] and not bob.wire.conversation.outbox.pending


@pytest.mark.parametrize("answer", ["no", ""])
def test_a_no_and_an_empty_line_do_not(bob: Person, asked: Callable[[], list[str]], answer: str) -> None:
    bob.types(answer)
    assert asked() == ["refused"] and bob.read().endswith("You do not go to c:1. The others are tried again.\n")


def test_anything_else_is_a_command_and_the_question_stays(bob: Person, asked: Callable[[], list[str]]) -> None:
    bob.types("message ann hi")
    assert asked() == [] and len(bob.wire.conversation.outbox.pending) == 1
    bob.presses_ctrl_c()
    assert "You do not go to c:1." in bob.read() and bob.dialogue.status is None


def test_when_another_server_is_back_the_question_is_void(bob: Person, asked: Callable[[], list[str]]) -> None:
    goes_on_at(bob, "b:1")
    assert asked() == ["withdrawn"]
    bob.read()
    bob.types("yes")
    assert asked() == ["withdrawn"] and "c:1" not in bob.read()


def test_before_the_login_the_question_can_be_answered_too() -> None:
    """A password was typed; the server that was to hear of it is gone."""
    bob, said = Person(), list[str]()
    bob.types("bob")
    bob.wire.server.mute = True
    bob.types("secret")
    bob.wire.server.mute = False
    bob.loses("LOST", "The server closed the connection.")
    assert not bob.dialogue.accepts()
    trusts = Trusts()
    bob.dialogue.reach.ask("c:1", "SHA256:ff", trusts, lambda: said.append("goes on"))
    bob.read()
    bob.types("hello")
    assert bob.read().startswith(">> hello\nThe server c:1 answers.")
    bob.types("yes")
    assert said == ["goes on"] and not bob.dialogue.accepts()
