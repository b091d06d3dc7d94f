"""Private talk as a person types and reads it, against a fake server and fake connections."""

from __future__ import annotations

from typing import Any

import pytest

from chatlib.client.contacts import NotSent
from chatlib.program.yesorno import NEVER, OpenQuestion, YesOrNo
from tests.client.test_dialogue import Person, is_shown

ASKED = {"status": "ASKED", "user": "ann", "seconds": 60}


def logged_in() -> Person:
    person = Person(window=100)
    person.types("bob", "secret")
    person.read()
    return person


def replies(person: Person, action: str, *given: dict[str, Any]) -> None:
    person.wire.server.scripted.setdefault(action, []).extend(given)


def hears(person: Person, *events: dict[str, Any]) -> None:
    for event in events:
        person.wire.server.say(event)
    person._listen()


def asked(person: Person, action: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in request.items() if name not in ("action", "id", "key")}
            for request in person.wire.server.requests if request["action"] == action]  # fmt: skip


def introduces(person: Person, user: str = "ann") -> None:
    person.peers.known.add(user)
    hears(person, {"event": "address", "user": user, "address": "127.0.0.2", "port": 4711})
    person.transcript.clear()


def wants(person: Person, user: str) -> None:
    hears(person, {"event": "address_asked", "from": user, "seconds": 60})
    person.transcript.clear()


def happens(person: Person, do: Any, *words: Any) -> None:
    do(*words)
    person._listen()


def refused(status: str, text: str) -> dict[str, Any]:
    return {"event": "address_refused", "user": "ann", "status": status, "text": text}


def waiting() -> Person:
    """Bob has asked Ann, with two texts for her."""
    person = logged_in()
    replies(person, "getaddress", ASKED)
    person.types("private ann one", "private ann two")
    person.read()
    return person


# The way that it should go.


def test_what_is_typed_is_kept_until_the_connection_stands() -> None:
    person = logged_in()
    replies(person, "getaddress", ASKED)
    person.types("private ann one", "private ANN two")
    introduces(person)
    assert asked(person, "getaddress") == [{"user": "ann"}]
    happens(person, person.peers.opens, "ann")
    happens(person, person.peers.acknowledges, 2)
    person.types("private ann three")
    happens(person, person.peers.acknowledges)
    happens(person, person.peers.says, "ann", "hi")
    is_shown(person, """
        A direct connection with ann stands.
        delivered to ann(private, direct): one
        delivered to ann(private, direct): two
        bob> private ann three
        delivered to ann(private, direct): three
        ann(private, direct): hi
        """)
    assert [event["text"] for event in person.peers.read] == ["hi"], "it is acknowledged when it was shown"
    assert asked(person, "message") == []


def test_what_is_said_while_the_peer_is_asked() -> None:
    person = logged_in()
    replies(person, "getaddress", ASKED)
    person.types("private ann one", "private ann two")
    is_shown(person, """
        bob> private ann one
        ann is asked for an address. Your text is kept until there is an answer, for 60 seconds at most.
        bob> private ann two
        Kept for ann until there is a connection.
        """)


def test_whoever_is_called_is_told_how_to_answer() -> None:
    person = logged_in()
    happens(person, person.peers.opens, "ann", False)
    person.types("private ann hi")
    happens(person, person.peers.acknowledges)
    happens(person, person.peers.closes, "ann", "PEER_LEFT", "ann has left.")
    is_shown(person, """
        ann has connected with you directly. To answer, type: private ann TEXT
        bob> private ann hi
        delivered to ann(private, direct): hi
        ann has left.
        """)


def test_more_than_the_peer_takes_at_once_waits_for_acknowledgements() -> None:
    person = logged_in()
    introduces(person)
    person.peers.room = 1
    person.types("private ann one", "private ann two")
    for _ in range(2):
        happens(person, person.peers.acknowledges)
    assert person.read().splitlines()[2:] == [
        "delivered to ann(private, direct): one", "delivered to ann(private, direct): two"]  # fmt: skip


def test_a_peer_who_was_asked_already() -> None:
    person = logged_in()
    again = {"status": "ALREADY_ASKED", "seconds": 50, "text": "You have asked ann already: ask again in 50 seconds."}
    replies(person, "getaddress", ASKED, again, {**again, "text": "ann has refused: ask again in 50 seconds."})
    person.types("getaddress ann", "private ann one")
    hears(person, refused("REFUSED", "ann has refused."))
    person.read()
    person.types("private ann two")
    assert person.read().splitlines()[1] == (
        "ann has refused: ask again in 50 seconds. Leave your 2 texts for ann with the server? yes / no?")


def test_lines_without_a_command_may_go_to_a_peer() -> None:
    person = logged_in()
    introduces(person)
    happens(person, person.peers.opens, "ann")
    person.read()
    person.types("to @ann", "whoelse", "yes, it is", " whoelse")
    is_shown(person, """
        bob> to @ann
        Lines without a command go to @ann now. To leave, type "to".
        bob @ann> whoelse
        ann
        bob @ann> yes, it is
        bob @ann>  whoelse
        """)
    assert [parcel.content for parcel in person.peers.parcels] == ["yes, it is", "whoelse"]


# What cannot be said directly.


@pytest.mark.parametrize(("status", "why"), [
    ("REFUSED", "ann does not want to."), ("NO_ANSWER", "ann has not answered."), ("NOT_ONLINE", "ann has left."),
])  # fmt: skip
def test_a_refusal_asks_whether_to_leave_it_with_the_server(status: str, why: str) -> None:
    person = waiting()
    hears(person, refused(status, why))
    person.types("yes")
    is_shown(person, f"""
        {why} Leave your 2 texts for ann with the server? yes / no?
        bob> yes
        Sent to ann by way of the server.
        """)
    assert asked(person, "message") == [{"to": "ann", "text": "one"}, {"to": "ann", "text": "two"}]


@pytest.mark.parametrize("answer", ["no", "NO ann", "", "   "])
def test_a_no_and_an_empty_line_leave_it_unsent(answer: str) -> None:
    person = waiting()
    hears(person, refused("REFUSED", "ann does not want to."))
    person.types(answer, "whoelse")
    assert person.read().splitlines()[2:] == ["Not sent to ann: one", "Not sent to ann: two", "bob> whoelse", "ann"]
    assert asked(person, "message") == []


def test_ctrl_c_leaves_the_question_and_then_the_program() -> None:
    person = waiting()
    hears(person, refused("REFUSED", "ann does not want to."))
    person.presses_ctrl_c()
    assert person.read().splitlines()[2:] == ["Not sent to ann: one", "Not sent to ann: two"]
    assert person.dialogue.status is None
    person.presses_ctrl_c()
    assert person.dialogue.status == 0


def test_the_question_swallows_no_other_line() -> None:
    person = waiting()
    hears(person, refused("REFUSED", "ann does not want to."))
    person.read()
    person.types("message away yes", "yes and no", "to ann", "yes of course", "no", "no")
    is_shown(person, """
        bob> message away yes
        The user "away" is not online. The server has stored your message.
        bob> yes and no
        Error! Usage: yes <user>
        bob> to ann
        Lines without a command go to ann now. To leave, type "to".
        bob ann> yes of course
        bob ann> no
        Not sent to ann: one
        Not sent to ann: two
        bob ann> no
        """)
    assert [each["text"] for each in asked(person, "message")] == ["yes", "yes of course", "no"]


TAKES_NONE = {"status": "NO_LISTENER", "text": '"ann" takes no direct connections.'}


def passes(person: Person) -> None:
    """Time, until the program wants to be woken."""
    person.wire.now = person.dialogue.wake_at
    person._listen()
    person.read()


def test_a_peer_who_has_just_come_says_a_moment_later_where_it_takes_calls() -> None:
    person = logged_in()
    replies(person, "getaddress", TAKES_NONE, ASKED)
    person.types("private ann one")
    assert person.read() == "bob> private ann one\n", "it is too early to say anything"
    person.wire.now = person.dialogue.wake_at
    person._listen()
    person._listen()
    assert "ann is asked for an address." in person.read()
    assert person.dialogue.wake_at == NEVER


def test_a_peer_who_takes_no_calls_is_asked_for_twice_each_time() -> None:
    person = logged_in()
    replies(person, "getaddress", *[TAKES_NONE] * 4)
    for count in (1, 2):
        person.types("private ann one")
        passes(person)
        person._listen()
        person.types("no")
        assert "Not sent to ann: one" in person.read()
        assert len(asked(person, "getaddress")) == 2 * count


def test_who_gives_up_meanwhile_asks_no_more() -> None:
    person = logged_in()
    replies(person, "getaddress", TAKES_NONE)
    person.types("private ann one", "stopprivate ann")
    assert person.dialogue.wake_at == NEVER and len(asked(person, "getaddress")) == 1
    assert "Not sent to ann: one" in person.read()


def test_what_is_said_next_is_another_try() -> None:
    person = waiting()
    hears(person, refused("NOT_ONLINE", "ann has left."))
    replies(person, "getaddress", {"status": "OK", "user": "ann"})
    person.types("private ann three")
    introduces(person)
    happens(person, person.peers.opens, "ann")
    assert [parcel.content for parcel in person.peers.parcels] == ["one", "two", "three"]
    person.types("yes ann")
    assert asked(person, "message") == [], "there is no question any more"


def test_a_peer_that_goes_in_the_middle() -> None:
    person = logged_in()
    happens(person, person.peers.opens, "ann")
    person.types("private ann one", "private ann two")
    happens(person, person.peers.acknowledges)
    person.read()
    happens(person, person.peers.closes, "ann", "PEER_LOST", "ann does not answer any more.")
    person.types("yes")
    is_shown(person, """
        ann does not answer any more. Leave your text for ann with the server (ann may have seen it)? yes / no?
        bob> yes
        Sent to ann by way of the server.
        """)
    assert asked(person, "message") == [{"to": "ann", "text": "two"}]


def test_what_is_sent_again_is_known_by_its_key() -> None:
    """The peer may have shown it: it is not shown twice."""
    person = logged_in()
    introduces(person)
    person.types("private ann one")
    sent = person.peers.parcels[0]
    happens(person, person.peers.opens, "ann")
    happens(person, person.peers.closes, "ann", "PEER_LOST", "It was lost.")
    person.types("private ann two")
    again, new = person.peers.parcels
    assert (again.content, again.key) == ("one", sent.key) and new.key != sent.key


def test_a_machine_that_cannot_be_reached() -> None:
    person = logged_in()
    introduces(person)
    person.types("private ann one")
    happens(person, person.peers.closes, "ann", "UNREACHABLE", "ann cannot be reached: Connection refused.")
    person.types("no")
    is_shown(person, """
        bob> private ann one
        ann cannot be reached: Connection refused. Leave your text for ann with the server? yes / no?
        bob> no
        Not sent to ann: one
        """)


@pytest.mark.parametrize("status", ["NO_TLS", "NO_LISTENER"])
def test_where_there_can_be_no_connection(status: str) -> None:
    person = logged_in()
    person.peers.refuses["ann"] = NotSent(status, "It cannot be.")
    person.types("private ann one")
    assert person.read().splitlines()[1] == "It cannot be. Leave your text for ann with the server? yes / no?"
    assert asked(person, "getaddress") == []


def test_nobody_is_asked_where_the_server_would_not_take_it_either() -> None:
    person = logged_in()
    replies(person, "getaddress", {"status": "NO_SUCH_USER", "text": 'There is no user "nobody".'})
    person.types("private nobody one", "yes")
    is_shown(person, """
        bob> private nobody one
        Error! There is no user "nobody".
        Not sent to nobody: one
        bob> yes
        Error! Usage: yes <user>
        """)
    person = waiting()
    hears(person, refused("BLOCKED", "ann has blocked you."))
    is_shown(person, """
        Error! ann has blocked you.
        Not sent to ann: one
        Not sent to ann: two
        """)


# Ends.


def test_stopping_a_private_talk() -> None:
    person = waiting()
    person.types("stopprivate ann")
    hears(person, refused("NO_ANSWER", "ann has not answered."))
    happens(person, person.peers.opens, "ann")
    person.types("private ann three", "stopprivate ann", "stopprivate ann")
    is_shown(person, """
        bob> stopprivate ann
        Not sent to ann: one
        Not sent to ann: two
        Error! ann has not answered.
        A direct connection with ann stands.
        bob> private ann three
        bob> stopprivate ann
        You have closed it.
        Perhaps not delivered to ann: three
        bob> stopprivate ann
        Error! There is no direct connection with ann.
        """)


def test_whoever_leaves_is_told_what_was_not_sent() -> None:
    person = waiting()
    happens(person, person.peers.opens, "carl")
    person.types("private carl hi", "quit")
    assert person.read().splitlines()[-3:] == [
        "Not sent to ann: one", "Not sent to ann: two", "Perhaps not delivered to carl: hi"]  # fmt: skip
    assert person.dialogue.status == 0


def test_a_session_that_was_lost_asks_again() -> None:
    person = waiting()
    replies(person, "getaddress", ASKED)
    wants(person, "carl")
    person.wire.cut()
    person._listen()
    person.connect()
    assert asked(person, "getaddress") == [{"user": "ann"}] * 2
    person.types("yes carl")
    assert asked(person, "yes") == [{"user": "carl"}], "the server says that nobody has asked"


# Whoever is asked.


@pytest.mark.parametrize(("typed", "answer"), [("yes", "yes"), ("no", "no"), ("YES Ann", "yes"), ("no ann", "no")])
def test_an_answer_to_whoever_wants_the_address(typed: str, answer: str) -> None:
    person = logged_in()
    hears(person, {"event": "address_asked", "from": "ann", "seconds": 60})
    assert "ann wants your address for a private chat. yes / no?" in person.read()
    person.types("", "whoelse", typed)
    assert asked(person, answer) == [{"user": "ann"}]


def test_several_questions_are_told_apart_by_name() -> None:
    person = waiting()
    wants(person, "carl")
    wants(person, "dan")
    hears(person, refused("REFUSED", "ann does not want to."))
    person.read()
    person.types("yes", "no dan", "yes carl", "yes")
    assert person.read().splitlines()[:2] == [
        "bob> yes",
        'Error! More than one question is open. Type "yes carl" or "yes dan" or "yes ann"; or no.']
    assert (asked(person, "no"), asked(person, "yes")) == ([{"user": "dan"}], [{"user": "carl"}])
    assert len(asked(person, "message")) == 2


def test_a_question_that_is_answered_too_late() -> None:
    person = logged_in()
    wants(person, "ann")
    person.wire.now += 59.0
    person._listen()
    assert person.read() == "\n" and person.dialogue.wake_at > person.wire.now
    person.wire.now = person.dialogue.wake_at
    person._listen()
    assert person.read() == "You have not answered ann in time. That counts as no.\n"
    assert person.dialogue.wake_at == NEVER


def test_of_two_questions_about_one_user_the_one_with_a_time_is_answered_first() -> None:
    person = waiting()
    hears(person, refused("REFUSED", "ann does not want to."))
    wants(person, "ann")
    person.types("yes", "no")
    assert asked(person, "yes") == [{"user": "ann"}] and asked(person, "message") == []
    assert person.read().splitlines()[-2:] == ["Not sent to ann: one", "Not sent to ann: two"]


def test_whoever_lets_the_peer_call_says_what_was_kept_then() -> None:
    person = waiting()
    hears(person, refused("REFUSED", "ann does not want to."))
    wants(person, "ann")
    person.types("yes")
    introduces(person)
    happens(person, person.peers.opens, "ann", False)
    assert [parcel.content for parcel in person.peers.parcels] == ["one", "two"]
    assert not person.dialogue.back_out(person.wire.now), "there is no question any more"


# Scripts.


def test_a_script_is_asked_nothing_and_fails() -> None:
    person = Person(script=True)
    person.types("bob", "secret")
    replies(person, "getaddress", ASKED)
    person.types("private ann one")
    assert not person.dialogue.accepts(), "the next line waits for what becomes of it"
    hears(person, refused("REFUSED", "ann does not want to."))
    person.read()
    person.types("yes", "whoelse", "logout")
    is_shown(person, """
        bob> yes
        Error! Usage: yes <user>
        bob> whoelse
        ann
        bob> logout
        """)
    assert person.dialogue.status == 1


def test_a_script_ends_when_its_texts_were_delivered() -> None:
    person = Person(script=True)
    person.types("bob", "secret")
    introduces(person)
    person.types("private ann one")
    person.dialogue.input_ended(person.wire.now)
    person._listen()
    assert person.dialogue.status is None
    happens(person, person.peers.opens, "ann")
    happens(person, person.peers.acknowledges)
    person._listen()
    assert person.dialogue.status == 0


# The questions themselves.


def test_each_question_has_one_end() -> None:
    ended: list[tuple[str, bool | None]] = []

    def question(user: str, until: float = NEVER) -> OpenQuestion:
        return OpenQuestion(user, lambda answer, _now: ended.append((user, answer)), until)

    questions, ann, bob = YesOrNo(), question("ann", 5.0), question("Bob")
    questions.ask(ann)
    questions.ask(bob)
    assert questions.deadline == 5.0 and questions.users == ["ann", "Bob"]
    questions.look(4.9)
    questions.look(5.0)
    questions.look(6.0)
    assert questions.answers("yes", 7.0) and not questions.answers("yes", 8.0)
    assert ended == [("ann", None), ("Bob", True)]
    questions.ask(ann)
    questions.withdraw([ann, bob])
    assert questions.users == [] and questions.deadline == NEVER
