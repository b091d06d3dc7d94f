"""Transcripts: what a person types and reads, against a fake server, without a terminal."""

from __future__ import annotations

from datetime import datetime
from textwrap import dedent

import pytest

from chatlib.program import commandline
from chatlib.program.sentences import book
from chatlib.program.sentences.book import Sentences, says
from chatlib.protocol import kinds
from chatlib.protocol.commands import TABLE, Field, Row
from tests.client.person import Person


def is_shown(person: Person, expected: str) -> None:
    assert person.read() == dedent(expected).lstrip("\n")


def logged_in() -> Person:
    person = Person()
    person.types("bob", "secret")
    person.read()
    return person


def test_a_conversation() -> None:
    person = Person()
    person.types("bob", "wrong", "secret", "message away I want to try off-line message~")
    person.hears("hi")
    person.types("message", "nonsense", "whoelse", "block ann", "", "logout")
    is_shown(person, """
        Please enter your username: (or "register", "de-register", "quit")
        >> bob
        Please enter your password:

        Error! Wrong password: 2 tries are left.
        Please enter your password:

        Welcome to the Chatting room user "bob"! Now you have successfully logged in!
        bob> message away I want to try off-line message~
        The user "away" is not online. The server has stored your message.
        ann: hi
        bob> message
        Error! Usage: message <to> <text>
        bob> nonsense
        Error! Unknown command "nonsense". Type "help" for what there is.
        To talk without commands, type "to #TITLE" (a thread), "to NAME" (a user) or "to all" first.
        bob> whoelse
        ann
        bob> block ann
        You have blocked "ann".
        bob>
        bob> logout
        """)
    assert person.dialogue.status == 0


def test_an_unknown_name_is_offered_to_be_registered() -> None:
    person = Person()
    person.types("eve", "perhaps", "yes", "one", "two", "three", "three", "logout")
    is_shown(person, """
        Please enter your username: (or "register", "de-register", "quit")
        >> eve
        There is no user "eve". Do you want to register it? (yes/no)
        >> perhaps
        Please type "yes" or "no".
        >> yes
        Please choose a password:

        Please type it again:

        Error! The two passwords differ.
        Please choose a password:

        Please type it again:

        The user "eve" has been registered.
        Welcome to the Chatting room user "eve"! Now you have successfully logged in!
        eve> logout
        """)


def test_registering_by_name() -> None:
    person = Person()
    person.types("register", "not a name", "bob", "", "no-one", "no", "quit")
    is_shown(person, """
        Please enter your username: (or "register", "de-register", "quit")
        >> register
        Please choose a username:
        >> not a name
        Error! This must be a user's name: 1 to 32 of A-Z a-z 0-9 _ . -.
        Please choose a username:
        >> bob
        Error! There is a user "bob" already.
        Please choose a username:
        >>
        Please enter your username: (or "register", "de-register", "quit")
        >> no-one
        There is no user "no-one". Do you want to register it? (yes/no)
        >> no
        Please enter your username: (or "register", "de-register", "quit")
        >> quit
        """)
    assert person.dialogue.status == 0


def test_de_registering() -> None:
    person = Person()
    person.types("de-register", "bob", "secret", "no", "de-register", "bob", "wrong", "yes", "secret", "yes")
    is_shown(person, """
        Please enter your username: (or "register", "de-register", "quit")
        >> de-register
        Please enter the username to remove:
        >> bob
        Please enter your password:

        Do you really want to remove the user "bob", with all messages? (yes/no)
        >> no
        Please enter your username: (or "register", "de-register", "quit")
        >> de-register
        Please enter the username to remove:
        >> bob
        Please enter your password:

        Do you really want to remove the user "bob", with all messages? (yes/no)
        >> yes
        Error! Wrong password: 2 tries are left.
        Please enter your password:

        Do you really want to remove the user "bob", with all messages? (yes/no)
        >> yes
        The user "bob" has been removed.
        Please enter your username: (or "register", "de-register", "quit")
        """)


def test_locked_out() -> None:
    person = Person(user="bob")
    person.wire.server.scripted["login"] = [
        {"status": "LOCKED_OUT", "seconds": 60, "text": '"bob" is locked out: try again in 60 seconds.'}
    ]
    person.types("wrong")
    is_shown(person, """
        Please enter your password:

        Error! "bob" is locked out: try again in 60 seconds.
        Please enter your username: (or "register", "de-register", "quit")
        """)


def test_changing_the_password() -> None:
    person = logged_in()
    person.types("password", "secret", "new", "new", "password", "oops", "whoelse")
    is_shown(person, """
        bob> password
        Please enter your current password:

        Please choose a password:

        Please type it again:

        Your password has been changed.
        bob> password
        Please enter your current password:

        Error! Wrong password: 2 tries are left.
        bob> whoelse
        ann
        """)
    person.types("break")
    person.connect()
    assert "You are back online." in person.transcript


@pytest.mark.parametrize("questions", [
    ("register",), ("register", "eve"), ("register", "eve", "x"), ("de-register",), ("de-register", "bob"),
    ("de-register", "bob", "secret"), ("bob",), ("eve",), ("eve", "yes"), ("eve", "yes", "x"),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("way", ["an empty line", "Ctrl+C"])
def test_any_question_can_be_left(questions: tuple[str, ...], way: str) -> None:
    person = Person()
    person.types(*questions)
    person.read()
    if way == "Ctrl+C":
        person.presses_ctrl_c()
    else:
        person.types("")
    assert person.read().splitlines()[1:] == ['Please enter your username: (or "register", "de-register", "quit")']
    person.types("", "bob", "secret")
    assert person.read().endswith('Welcome to the Chatting room user "bob"! Now you have successfully logged in!\n')
    assert list(person.wire.server.verifiers) == ["bob"]


@pytest.mark.parametrize("answers", [(), ("secret",), ("secret", "x")])
@pytest.mark.parametrize("way", ["an empty line", "Ctrl+C"])
def test_a_change_of_password_can_be_left(answers: tuple[str, ...], way: str) -> None:
    person = logged_in()
    person.types("password", *answers)
    person.read()
    if way == "Ctrl+C":
        person.presses_ctrl_c()
    else:
        person.types("")
    assert person.read() == ("^C\n" if way == "Ctrl+C" else "\n") + "Your password stays as it was.\n"
    person.types("whoelse", "password", "secret", "new", "new")
    assert person.read().endswith("Your password has been changed.\n")


def test_ctrl_c_where_there_is_nothing_to_be_left_leaves_the_program() -> None:
    for person in (Person(), logged_in()):
        person.presses_ctrl_c()
        assert person.dialogue.status == 0


def test_a_server_that_restarts_while_one_is_asked_for_the_name() -> None:
    person = Person()
    person.loses("SHUTTING_DOWN", "The server stops.")
    person.connect()
    person.loses("SHUTTING_DOWN", "The server stops.")
    person.types("bob")
    person.connect()
    person.types("secret")
    is_shown(person, """
        Please enter your username: (or "register", "de-register", "quit")
        The server stops. Trying to come back.
        The server is back.
        Please enter your username: (or "register", "de-register", "quit")
        The server stops. Trying to come back.
        >> bob
        The server is back.
        Please enter your password:

        Welcome to the Chatting room user "bob"! Now you have successfully logged in!
        """)


@pytest.mark.parametrize("types_early", [False, True])
def test_a_server_that_restarts_while_one_is_asked_for_the_password(types_early: bool) -> None:
    person = Person(user="bob")
    person.loses("SHUTTING_DOWN", "The server stops.")
    if types_early:
        person.types("secret")
        person.connect()
    else:
        person.connect()
        person.types("secret")
    shown = person.read()
    assert shown.startswith("Please enter your password:\nThe server stops. Trying to come back.\n")
    assert shown.count("Please enter your password:") == (1 if types_early else 2)
    assert shown.endswith('Welcome to the Chatting room user "bob"! Now you have successfully logged in!\n')


def test_idle_for_half_an_hour() -> None:
    person = logged_in()
    person.loses("TIME_OUT", "You were idle for 30 minutes.")
    person.hears("are you there?")
    assert not person.wire.conversation.wanted and person.dialogue.status is None
    person.types("message ann yes")
    assert person.wire.conversation.wanted
    person.connect()
    person.types("whoelse")
    time = datetime.fromtimestamp(1_700_000_000).strftime("[%H:%M]")
    is_shown(person, f"""
        You were idle for 30 minutes. The next line you type logs you in again.
        bob> (logged off) message ann yes
        You are back online.
        While you were away (1 message):
        {time} ann: are you there?
        ── end of what you missed: ann (1) ──
        bob> whoelse
        ann
        """)


def test_an_empty_line_is_a_line_for_who_is_logged_off() -> None:
    person = logged_in()
    person.loses("TIME_OUT", "You were idle for 30 minutes.")
    person.types("")
    person.connect()
    assert person.read().endswith("You are back online.\n")


def test_a_lost_connection() -> None:
    person = logged_in()
    person.dialogue._window = 10
    person.wire.cut()
    person.wire.server.post("are you there?")
    person._listen()
    person.types("message ann one", "message away two", "whoelse")
    person.connect()
    time = datetime.fromtimestamp(1_700_000_000).strftime("[%H:%M]")
    is_shown(person, f"""
        The cable was pulled. Trying to come back; what you type is sent then.
        bob> (offline, retrying in 4 s) message ann one
        bob> (offline, retrying in 4 s) message away two
        bob> (offline, retrying in 4 s) whoelse
        You are back online.
        Sent now, because they had no answer: 3 commands.
        While you were away (1 message):
        {time} ann: are you there?
        ── end of what you missed: ann (1) ──
        The user "away" is not online. The server has stored your message.
        ann
        """)


def test_leaving_while_offline_gives_up() -> None:
    person = logged_in()
    person.dialogue._window = 10
    person.wire.cut()
    person._listen()
    person.types("message ann one", "quit")
    is_shown(person, """
        The cable was pulled. Trying to come back; what you type is sent then.
        bob> (offline, retrying in 4 s) message ann one
        bob> (offline, retrying in 4 s) quit
        Still without an answer: 1 command.
        """)
    assert person.dialogue.status == 0


def test_kicked() -> None:
    person = logged_in()
    person.wire.server.say({"event": "bye", "status": "KICKED", "text": "The administrator logged you off."})
    person._listen()
    is_shown(person, "Error! The administrator logged you off.\n")
    assert person.dialogue.status == 1


def test_logged_out_from_another_session() -> None:
    person = logged_in()
    person.wire.server.say({"event": "sent", "seq": 9, "to": "ann", "text": "elsewhere"})
    person.wire.server.say({"event": "bye", "status": "LOGGED_OUT", "text": "You logged out here from elsewhere."})
    person._listen()
    is_shown(person, """
        → ann: elsewhere
        You logged out here from elsewhere.
        """)
    assert person.dialogue.status == 0


def test_another_session_is_logged_out_and_this_one_stays() -> None:
    person = logged_in()
    person.wire.server.scripted["logout"] = [{"status": "OK", "number": 2}]
    person.types("logout 2")
    is_shown(person, """
        bob> logout 2
        Session 2 has ended.
        """)
    assert person.dialogue.status is None


@pytest.mark.parametrize(("typed", "status"), [
    ((), 0), (("bob", "wrong"), 1), (("bob", "secret"), 0), (("bob", "secret", "message ann hi"), 0), (("eve",), 1),
    (("bob", "secret", "mesage ann hi", "message ann hi"), 1),
])  # fmt: skip
def test_the_end_of_a_script(typed: tuple[str, ...], status: int) -> None:
    person = Person(script=True)
    person.types(*typed)
    person.dialogue.input_ended(person.wire.now)
    person._listen()
    assert person.dialogue.status == status
    if len(typed) > 2:
        assert person.wire.server.effects == ["hi"]


def test_who_is_asked_first_is_no_refusal() -> None:
    person = Person(script=True)
    person.types("bob", "secret")
    person.read()
    asked = {"status": "ASKED", "user": "Ann", "seconds": 60}
    person.wire.server.scripted["getaddress"] = [asked, {"status": "OK", "user": "Ann"}]
    person.types("getaddress ann", "getaddress ann")
    assert person.read().count("Ann is asked, and has 60 seconds to answer.") == 1
    person.dialogue.input_ended(person.wire.now)
    person._listen()
    assert person.dialogue.status == 0


def test_a_server_lost_after_the_end_of_a_script() -> None:
    person = Person(script=True)
    person.types("bob", "secret")
    person.read()
    person.wire.server.mute = True
    person.types("message ann hi")
    person.dialogue.input_ended(person.wire.now)
    assert person.dialogue.status is None
    person.wire.cut()
    person._listen()
    is_shown(person, """
        bob> message ann hi
        Error! The cable was pulled.
        Still without an answer: 1 command.
        """)
    assert person.dialogue.status == 1


def test_a_full_server_and_its_queue() -> None:
    person = Person()
    person.read()
    person.wire.server.hello.update(status="WAITING", position=2)
    person.wire.connect()
    person.wire.server.say({"event": "waiting", "position": 1})
    person._listen()
    is_shown(person, """
        The server is full. You are number 2 in the queue.
        The server is full. You are number 1 in the queue.
        """)


def test_a_feature_that_is_added_is_typed_answered_told_and_completed() -> None:
    rows = (Row("pin", "put a note on the board", (Field("name", kinds.NAME), Field("text", kinds.TEXT))),)
    board = Sentences(
        replies={"pin": says('"{name}" is on the board.')},
        events={"pin": lambda event: (f"{event['from']} has pinned a note.",)},
    )
    TABLE.add(rows)
    book.add(board)
    try:
        person = logged_in()
        person.wire.server.scripted["pin"] = [{"status": "OK"}]
        person.types("pin rules be kind", "pin rules")
        person.wire.server.say({"event": "pin", "from": "ann"})
        person._listen()
        is_shown(person, """
            bob> pin rules be kind
            "rules" is on the board.
            bob> pin rules
            Error! Usage: pin <name> <text>
            ann has pinned a note.
            """)
        assert person.wire.server.requests[-1]["text"] == "be kind"
        assert commandline.complete("pi", person.dialogue.seen, person.dialogue.follow) == ["pin "]
        assert commandline.complete("pin a", person.dialogue.seen, person.dialogue.follow) == ["pin ann "]
        assert commandline.without_text("pin rules be kind") == "pin rules"
    finally:
        book.remove(board)
        TABLE.remove(rows)


def test_saying_what_one_does() -> None:
    person = logged_in()
    person.types("/me waves", "to ann", "/me waves", "/wave", "/msg ann bye")
    is_shown(person, """
        bob> /me waves
        Error! You are in no place to do that.
        To talk without commands, type "to #TITLE" (a thread), "to NAME" (a user) or "to all" first.
        bob> to ann
        Lines without a command go to ann now. To leave, type "to".
        bob ann> /me waves
        bob ann> /wave
        Error! Unknown command "/wave". Type "help" for what there is.
        To say this as it stands, type a blank before it.
        bob ann> /msg ann bye
    """)
    said = [request["text"] for request in person.wire.server.requests if request["action"] == "message"]
    assert said == ["/me waves", "bye"]


def test_tab_knows_everyone_who_is_registered() -> None:
    person = logged_in()
    users = [{"user": name, "online": False} for name in ("ann", "bob", "carl", "dora")]
    person.wire.server.scripted["list_users"] = [{"status": "OK", "items": users}]
    person.dialogue.came(person.wire.now)
    person._listen()
    assert person.read() == "\n", "nobody asked to see them"
    complete = lambda before: commandline.complete(before, person.dialogue.seen, person.dialogue.follow)  # noqa: E731
    assert complete("message ") == ["message ann ", "message carl ", "message dora "]
