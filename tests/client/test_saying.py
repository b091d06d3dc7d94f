"""Transcripts: what one says oneself, from the key to the server's word; and going round the places that wait."""

from __future__ import annotations

from typing import Any

import pytest

from chatlib.program.places import MOST, Places
from chatlib.terminal.screen import shown
from tests.client.person import Person

TIME = 1_700_000_000.0


def talker(window: int = 100) -> Person:
    person = Person(times=True, window=window)
    person.types("bob", "secret")
    person.read()
    return person


def above(person: Person, columns: int = 80) -> list[str]:
    """What stands above the prompt."""
    person.dialogue.saying.look(person.wire.now)
    return [shown(row) for row in person.dialogue.saying.rows(columns)]


def says(person: Person, *lines: str) -> str:
    """What is printed, without the dates."""
    person.types(*lines)
    return clean(person.read())


def clean(text: str) -> str:
    return "\n".join(line.partition("] ")[2] if line.startswith("[") else line for line in text.splitlines())


def hears(person: Person, **event: Any) -> None:
    server = person.wire.server
    server.seq += 1
    server.say({"seq": server.seq, "time": TIME, **event})
    person._listen()


# What one says.


def test_what_one_says_is_printed_when_the_server_has_it() -> None:
    person = talker()
    assert says(person, "to ann", "hi", "message ann hi again", "/me waves") == (
        'bob> to ann\nLines without a command go to ann now. To leave, type "to".\n'
        "→ ann: hi\n→ ann: hi again\n→ ann: * bob waves")
    assert above(person) == []


def test_until_then_it_stands_above_the_prompt() -> None:
    person = talker()
    person.types("to ann")
    person.read()
    person.wire.server.mute = True
    person.types("one", "message carl two", "broadcast three", "msg plans four")
    person.hears("meanwhile")
    assert clean("\n".join(above(person))) == "→ ann: one\n→ carl: two\n→ all: three\n→ #plans: four"
    assert person.read() == "\n", "nothing is printed that may still be refused"
    narrow = above(person, 13)
    assert narrow[-1] == "  four" and len(narrow) == 6 and max(map(len, narrow)) <= 13, "the latest rows"


def test_broadcasts_and_posts_are_their_events() -> None:
    person = talker()
    server = person.wire.server
    server.scripted["broadcast"] = [{"status": "OK", "seq": 7, "undelivered": 1}]
    assert says(person, "broadcast hello") == "Not delivered to 1 user who blocked you."


def test_a_refused_line_comes_back_to_be_changed() -> None:
    person = talker()
    refusal = {"status": "NO_SUCH_USER", "text": 'There is no user "anm".'}
    person.wire.server.scripted["message"] = [dict(refusal), dict(refusal)]
    assert says(person, "message anm how are you?") == 'Not sent to anm: how are you?\nError! There is no user "anm".'
    assert person.editor == "message anm how are you?"
    assert says(person, "message anm and now?") == (
        'Not sent to anm: and now?\nError! There is no user "anm".\nThe up key brings it back, to be changed.')


@pytest.mark.parametrize(("place", "line", "back"), [
    ("to ann", "hi", "hi"), ("to ann", " to be or not", " to be or not"), ("to Ann", "message ann hi", "hi"),
    ("to carl", "message ann hi", "message ann hi"), ("to ann", "/me waves", " /me waves"),
])  # fmt: skip
def test_a_refused_line_comes_back_as_it_is_said_where_one_is(place: str, line: str, back: str) -> None:
    person = talker()
    person.wire.server.scripted["message"] = [{"status": "BLOCKED", "text": "No."}]
    person.types(place, line)
    assert person.editor == back


def test_a_line_comes_back_whole_when_its_place_is_gone() -> None:
    person = talker()
    person.wire.server.scripted["message"] = [{"status": "NO_SUCH_USER", "text": 'There is no user "anm".'}]
    person.types("to anm", "hi")
    assert person.editor == "message anm hi"


def test_the_prompt_says_what_is_not_confirmed_and_how_slow_the_server_is() -> None:
    person = talker()
    person.wire.server.mute = True
    person.types("message ann hi")
    notes = []
    for _ in range(8):
        above(person)
        notes.append(person.dialogue.prompt(0.0, person.wire.now).note)
        assert person.dialogue.saying.deadline(person.wire.now) <= person.wire.now + 1.0
        person.wire.now += 1.0
    assert notes == ["", "(the server takes 1 s)", "(the server takes 2 s)", "(the server takes 3 s)",
                     "(the server takes 4 s)", "(not confirmed for 5 s)", "(not confirmed for 6 s)",
                     "(not confirmed for 7 s)"]  # fmt: skip


def test_what_is_not_confirmed_by_the_end_is_said() -> None:
    person = talker()
    person.wire.cut()
    person._listen()
    person.read()
    person.types("message ann hi")
    assert person.read() == "\n"
    person.dialogue.leave(person.wire.now)
    person._listen()
    assert clean(person.read()) == "Still without an answer: 1 command.\n→ ann: hi (not confirmed by the server)"


def test_what_is_wrong_stays_as_it_was_typed() -> None:
    person = talker()
    assert says(person, "message ann", "mesage ann hi", "whoelse", "/me x", "r x").startswith(
        "bob> message ann\nError! Usage: message <to> <text>\n")
    shows = person.dialogue.saying.shows
    assert not any(map(shows, ("message ann", "mesage ann hi", "whoelse", "/me x", "r x", "", "  ")))
    person.types("to @ann")
    assert not shows("hi"), "private talk says itself what was delivered"


# Answering.


def test_r_answers_whoever_wrote_last() -> None:
    person = talker()
    assert says(person, "r hi") == "bob> r hi\nError! Nobody has written to you yet."
    person.hears("one")
    hears(person, event="message", **{"from": "carl"}, text="two")
    hears(person, event="broadcast", **{"from": "dora"}, text="to all")
    person.read()
    assert says(person, "r hi", "/r there") == "→ carl: hi\n→ carl: there"


def test_r_answers_whoever_had_written_when_the_line_was_begun() -> None:
    person = talker()
    person.hears("one")
    person.dialogue.saying.begins()
    hears(person, event="message", **{"from": "carl"}, text="two")
    person.read()
    assert says(person, "r hi") == "→ ann: hi"
    assert says(person, "r hi") == "→ carl: hi"


# Places.


def test_tab_goes_through_the_places_that_wait() -> None:
    person = talker()
    turn = person.dialogue.saying.turn
    assert not turn(1), "nothing waits"
    person.hears("one")
    hears(person, event="post", thread="Plans", number=1, **{"from": "ann"}, text="two")
    hears(person, event="broadcast", **{"from": "bob"}, text="one's own")
    person.read()
    prompts = []
    for step in (1, 1, 1, 1, -1, -1):
        assert turn(step)
        prompts.append(person._prompt())
    assert prompts == ["bob ann> ", "bob #Plans> ", "bob> ", "bob ann> ", "bob> ", "bob #Plans> "]
    assert person.read() == "\n", "the prompt says it all"
    hears(person, event="broadcast", **{"from": "carl"}, text="news")
    assert turn(1) and person._prompt() == "bob all> ", "what came meanwhile comes behind"
    person.types("whoelse")
    assert turn(1) is False


def test_a_place_that_was_answered_or_looked_at_waits_no_longer() -> None:
    person = talker()
    places = person.dialogue.saying.places
    for sender in ("ann", "carl", "dora", "eve"):
        hears(person, event="message", **{"from": sender}, text="hi")
    hears(person, event="post", thread="plans", number=1, **{"from": "ann"}, text="hi")
    assert places.waiting == ["ann", "carl", "dora", "eve", "#plans"]
    person.types("message Ann hi", "to carl", "history dora", "rdt plans 5")
    hears(person, event="message", **{"from": "carl"}, text="hi")
    assert places.waiting == ["eve"]
    hears(person, event="sent", to="eve", text="from another session")
    assert places.waiting == []


def test_places_that_wait_are_bounded() -> None:
    places = Places()
    for number in range(2 * MOST):
        places.came({"event": "message", "from": f"u{number}", "text": "x"}, "bob", "")
    assert len(places.waiting) == MOST and places.waiting[-1] == f"u{2 * MOST - 1}"
