"""What reaches a person's eyes and ears: transcripts, with the clock turned by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatlib.program.attention import _marked, names
from chatlib.program.sentences import book
from chatlib.program.settings import Settings
from chatlib.terminal.screen import Styled
from tests.client.test_dialogue import Person, is_shown

AT = 1_700_000_000.0


class Watched(Person):
    """Logged in as bob, with these settings."""

    def __init__(self, settings: Settings | None = None, **manner: Any) -> None:
        self.counted = 0
        super().__init__(settings=settings or Settings(), **manner)
        self.types("bob", "secret")
        self.read()

    def hears_of(self, *users: str, online: bool = True) -> None:
        for user in users:
            self.wire.server.say({"event": "presence", "time": AT, "user": user, "online": online})
        self._listen()

    def is_told(self, kind: str, sender: str, text: str, **more: object) -> None:
        self.wire.server.seq += 1
        event = {"event": kind, "seq": self.wire.server.seq, "time": AT, "from": sender, "text": text, **more}
        self.wire.server.say(event)
        self._listen()

    def waits(self, seconds: float) -> None:
        self.wire.now += seconds
        self._listen()

    def called(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls


def settings(*lines: str) -> Settings:
    made = Settings()
    for line in lines:
        name, _, value = line.partition(" ")
        made.change(name, value)
    return made


# Who comes and goes.


def test_one_who_comes_is_told_of_as_ever_but_a_moment_later() -> None:
    person = Watched()
    person.hears_of("ann")
    assert person.read() == "\n"
    assert person.dialogue.wake_at == person.wire.now + 1.0
    person.waits(1.0)
    is_shown(person, 'System(broadcast): "ann" has just logged in.\n')
    assert person.dialogue.wake_at == float("inf")


def test_many_who_come_are_one_line() -> None:
    person = Watched()
    for number in range(12):
        person.hears_of(f"user{number}")
        person.waits(0.08)
    person.waits(0.1)
    is_shown(person, "System(broadcast): 12 users logged in.\n")


def test_a_class_that_comes_back_with_the_server_has_not_just_come() -> None:
    person = Watched()
    person.hears_of("ann", "carl")
    person.is_told("broadcast", "eve", "I was here before you")
    person.hears_of("mia", "carl", online=False)
    person.waits(1.0)
    person.wire.cut()
    person._listen()
    person.connect()
    person.read()
    person.hears_of("ann")
    person.hears_of("carl", "eve", "zoe")
    person.waits(1.0)
    is_shown(person, 'System(broadcast): "carl" and "zoe" logged in.\n')
    person.hears_of("ann", online=False)
    person.waits(1.0)
    person.hears_of("ann")
    person.waits(1.0)
    is_shown(person, """
        System(broadcast): "ann" has just logged out.
        System(broadcast): "ann" has just logged in.
        """)


def test_who_comes_long_after_the_server_was_away_has_just_come() -> None:
    person = Watched()
    person.hears_of("ann")
    person.waits(1.0)
    person.wire.cut()
    person._listen()
    person.connect()
    person.waits(60.0)
    person.read()
    person.hears_of("ann")
    person.waits(1.0)
    is_shown(person, 'System(broadcast): "ann" has just logged in.\n')


def test_many_who_come_and_go() -> None:
    person = Watched()
    person.hears_of("a", "b", "c", "d")
    person.hears_of("x", "y", online=False)
    person.waits(1.0)
    person.hears_of("a", "b", online=False)
    person.hears_of("x")
    person.waits(1.0)
    person.hears_of("p", "q", "r")
    person.waits(1.0)
    is_shown(
        person,
        """
        System(broadcast): 4 users logged in, 2 logged out.
        System(broadcast): "x" logged in, "a" and "b" logged out.
        System(broadcast): "p", "q" and "r" logged in.
        """,
    )


def test_who_comes_and_goes_at_once_was_hardly_there() -> None:
    person = Watched()
    person.hears_of("ann", "carl")
    person.hears_of("ann", online=False)
    person.waits(1.0)
    is_shown(person, 'System(broadcast): "carl" has just logged in.\n')


def test_nobody_speaks_before_having_come() -> None:
    person = Watched()
    person.hears_of("ann", "carl")
    person.is_told("message", "Ann", "hi")
    is_shown(person, 'System(broadcast): "ann" and "carl" logged in.\nAnn: hi\n')


def test_what_was_gathered_is_said_before_the_end() -> None:
    person = Watched()
    person.hears_of("ann")
    person.types("logout")
    is_shown(person, 'bob> logout\nSystem(broadcast): "ann" has just logged in.\n')


def test_a_script_is_told_at_once() -> None:
    person = Watched(script=True)
    person.hears_of("ann")
    is_shown(person, 'System(broadcast): "ann" has just logged in.\n')


def test_presence_off_and_on() -> None:
    person = Watched()
    person.types("presence off", "presence")
    person.hears_of("ann", "carl")
    person.waits(1.0)
    person.types("presence on")
    person.hears_of("dora")
    person.waits(1.0)
    is_shown(
        person,
        """
        bob> presence off
        Set: presence off.
        bob> presence
        presence off
        presence: who logs in and out is shown.
        <value> is on or off.
        bob> presence on
        Set: presence on.
        System(broadcast): "dora" has just logged in.
        """,
    )
    assert person.dialogue.names.beginning("an") == ["ann"], "completion knows ann all the same"


# Mute.


def test_who_is_muted_is_not_shown_and_counts_as_seen() -> None:
    person = Watched()
    person.types("mute ann", "muted")
    person.hears("one")
    person.is_told("broadcast", "ANN", "bob!")
    person.is_told("post", "ann", "bob!", thread="plans", number=1)
    person.hears_of("ann")
    person.is_told("broadcast", "carl", "two")
    person.waits(5.0)
    person.types("unmute Ann", "muted")
    person.hears("three")
    is_shown(
        person,
        """
        bob> mute ann
        You no longer see what "ann" says. It is kept: history finds it, and "unmute ann" ends this.
        bob> muted
        ann
        carl(broadcast): two
        bob> unmute Ann
        You see again what "Ann" says.
        bob> muted
        You mute nobody.
        ann: three
        """,
    )
    assert person.called() == ["bell"]
    person.types("logout")
    assert person.wire.server.acknowledged == person.wire.server.seq


def test_money_and_the_end_of_a_thread_are_shown_whoever_they_come_from() -> None:
    person = Watched(settings("mute ann"))
    person.types("mute carl")
    person.read()
    person.is_told("payment", "ann", "", amount=5, memo="lunch", balance=10)
    assert "5" in person.read()


def test_history_shows_who_is_muted_and_calls_nobody() -> None:
    person = Watched(settings("mute ann"))
    said = {"event": "message", "seq": 1, "time": AT, "from": "ann", "text": "bob, hi"}
    person.wire.server.scripted["history"] = [{"status": "OK", "items": [said]}]
    person.types("history")
    assert "ann: bob, hi" in person.read()
    assert person.called() == []


def test_who_cannot_be_muted() -> None:
    person = Watched()
    person.types("mute BOB", "mute", "mute a/b", "unmute ann")
    is_shown(
        person,
        """
        bob> mute BOB
        Error! You cannot mute yourself.
        bob> mute
        Error! Usage: mute <user>
        bob> mute a/b
        Error! Usage: mute <user>
        Error! <user> must be a user's name: 1 to 32 of A-Z a-z 0-9 _ . -.
        bob> unmute ann
        Error! You do not mute "ann".
        """,
    )


def test_what_is_muted_is_muted_after_a_new_start(tmp_path: Path) -> None:
    Watched(Settings(tmp_path / "client.txt")).types("mute ann")
    found = Settings(tmp_path / "client.txt")
    found.load()
    person = Watched(found)
    person.hears("hi")
    person.types("muted")
    is_shown(person, "bob> muted\nann\n")


# Bell and notes.


def test_the_bell_rings_for_what_is_private_and_for_ones_name() -> None:
    person = Watched()
    for kind, sender, text, rings in (
        ("message", "ann", "hi", True),
        ("broadcast", "ann", "hi all", False),
        ("broadcast", "ann", "hi Bob!", True),
        ("broadcast", "ann", "bobby, bob-cat", False),
        ("broadcast", "BOB", "bob says so himself", False),
        ("message", "bob", "to myself", False),
        ("private", "ann", "directly", True),
    ):
        person.waits(1.0)
        person.is_told(kind, sender, text)
        assert person.called() == ["bell"] * rings, text


def test_the_bell_rings_once_for_all_that_waited() -> None:
    person = Person(settings=Settings())
    for number in range(5):
        person.wire.server.post(f"bob {number}")
    person.types("bob", "secret")
    assert person.calls == ["bell"]
    person.wire.now += 2.0
    person.hears("live")
    assert person.calls == ["bell", "bell"]


def test_the_bell_rings_once_a_second_at_most() -> None:
    person = Watched()
    for _ in range(17):
        person.hears("hi")
        person.waits(0.125)
    assert len(person.called()) == 3


def test_bell_off_and_notify_on() -> None:
    person = Watched()
    person.types("bell off", "notify on")
    person.hears("hi")
    assert person.called() == ["ann: hi"]
    person.types("set notify off")
    person.waits(2.0)
    person.hears("hi")
    assert person.called() == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ann", True), ("Hi ANN!", True), ("@ann: look", True), ("(ann)", True), ("ann, ann", True), ("so, ann.", True),
        ("...ann...", True), ("- ann -", True), ("anna", False), ("ann-marie", False), ("mary-ann", False),
        ("ann.b", False), ("ann_", False), ("éann", False), ("ann中", False), ("", False), ("a nn", False),
        ("ann's", True), ("x/ann/y", True),
    ],
)  # fmt: skip
def test_a_name_as_a_word_of_its_own(text: str, named: bool) -> None:
    assert names(text, "ann") is named
    assert not names(text, "")


def test_a_name_with_dots_is_taken_as_it_stands() -> None:
    assert names("hi a.b!", "a.b") and not names("hi axb", "a.b")


def test_what_concerns_one_is_marked_at_its_name() -> None:
    line = book.event({"event": "broadcast", "time": AT, "from": "ann", "text": "hi bob"}, AT, times=True)
    marked = [part for part in _marked(line) if isinstance(part, Styled) and "reverse" in part.style]
    assert marked == [Styled("ann(broadcast):", "name head reverse")]
    assert [part if isinstance(part, str) else part.text for part in _marked(line)] == [
        part if isinstance(part, str) else part.text for part in line
    ]


# Settings in words.


def test_set() -> None:
    person = Watched()
    person.types("set", "set bell", "set times off", "set times perhaps", "set nothing", "set user ann", "unset times",
                 "unset mute", "unset alias x", "set mute bob", "set Bell OFF")  # fmt: skip
    names = "server, tls, user, bell, notify, presence, times, colours, mute, alias"
    is_shown(
        person,
        f"""
        bob> set
        server (not set)  the server, where the command line names none
        tls off           the server of this file is called over TLS
        user (not set)    log in as this user, where the command line names none
        bell on           the bell rings for a private message, and for your name in any other
        notify off        a note on the desktop for the same, while the terminal is not in front
        presence on       who logs in and out is shown
        times on          messages are shown with their times
        colours on        colours are used, where the terminal has some
        mute (none)       a user whose messages are not shown; a line for each
        alias (none)      another word for a command; a line for each
        bob> set bell
        bell on
        bell: the bell rings for a private message, and for your name in any other.
        <value> is on or off.
        bob> set times off
        Set: times off.
        bob> set times perhaps
        Error! times must be on or off, not "perhaps".
        bob> set nothing
        Error! There is no setting "nothing". There are {names}.
        bob> set user ann
        Set: user ann, from the next start on.
        bob> unset times
        Set: times on, as at first.
        bob> unset mute
        Error! Usage: unset mute <word>
        bob> unset alias x
        Error! There is no alias "x".
        bob> set mute bob
        Error! You cannot mute yourself.
        bob> set Bell OFF
        Set: bell off.
        """,
    )


def test_an_alias() -> None:
    person = Watched()
    person.types("gm", "set alias gm message ann Good morning,", "gm ann", "set alias hello gm",
                 "set alias message help", "unset alias gm")  # fmt: skip
    assert person.wire.server.effects == ["Good morning, ann"]
    read = person.read()
    assert '"gm" stands for "message ann Good morning," now.\n' in read
    assert 'Error! alias must stand for a command, and "gm" begins with none.\n' in read
    assert 'Error! alias cannot hide a command, and "message" is one.\n' in read
    assert 'There is no alias "gm" any more.\n' in read


def test_times_off() -> None:
    person = Watched(times=True)
    person.hears("one")
    person.types("set times off")
    person.hears("two")
    lines = person.read().splitlines()
    assert lines[0].endswith("] ann: one") and lines[0].startswith("[")
    assert lines[-1] == "ann: two"


def test_an_edit_by_hand_counts_with_the_next_command(tmp_path: Path) -> None:
    path = tmp_path / "client.txt"
    person = Watched(Settings(path))
    path.write_text("bell off\nnotify perhaps\n")
    person.types("muted")
    is_shown(
        person,
        f"""
        bob> muted
        {path}, line 2: notify must be on or off, not "perhaps". The line does not count.
        You mute nobody.
        """,
    )
    person.hears("hi")
    assert person.called() == []


def test_tab_knows_settings_and_aliases() -> None:
    person = Watched(settings("mute ann", "alias gm message ann Good morning", "alias w message"))
    follow, talk = person.dialogue.follow, person.dialogue._settings
    assert follow("set", "b") == ["bell "]
    assert follow("set", "bell o") == ["bell on", "bell off"]
    assert follow("unset", "mute ") == ["mute ann"]
    assert follow("unmute", "A") == ["ann"]
    assert follow("notify", "of") == ["off"]
    assert follow("presence", "") == ["on", "off"]
    known = {"g": [], "message a": ["message ann "], "message": ["message "]}
    assert talk.complete("g", lambda line: known[line]) == ["gm "]
    assert talk.complete("w a", lambda line: known[line]) == ["w ann "]
    assert talk.complete("message a", lambda line: known[line]) == ["message ann "]


def test_of_an_alias_only_its_name_is_kept_on_disk() -> None:
    talk = Watched(settings("alias w message bob")).dialogue._settings
    assert talk.without_text("w a secret") == "w"
    assert talk.without_text("message bob a secret") == "message bob"
    assert talk.without_text(" w a secret") == ""
    assert talk.without_text("what is this") == ""
