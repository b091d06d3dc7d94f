"""What a person types and reads about cheques, against a fake server."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chatlib.client import cheques
from chatlib.client import news as n
from chatlib.program import commandline
from chatlib.protocol.cheque import VALID, Cheque, cheque_key, fingerprint, parse, signed, write
from tests.client.fake_server import VERIFIER
from tests.client.test_dialogue import Person, is_shown, logged_in

TIME = 1_700_000_000
KEY = cheque_key(VERIFIER.server_key)
GIVEN = write(Cheque("Ann", "bob", 30, "00000000000000aa", TIME + 60, "for tea"), b"ann's")


def bob() -> Person:
    """At 1,700,000,000 by the server's clock and one's own."""
    person = logged_in()
    person.hears("good morning")  # with the time
    person.read()
    return person


def shows(person: Person, expected: str) -> None:
    """As is_shown, with N for a cheque's number, T for a time, and LINE for a cheque."""
    said = re.sub(r"cheque/1 bob .*", "LINE", "\n".join(person.transcript))
    said = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d|(?<=until )\d\d:\d\d", "T", said)
    person.transcript = re.sub(r"\b(?!00000000)[0-9a-f]{16}\b", "N", said).split("\n")
    is_shown(person, expected)


def lines(person: Person) -> list[str]:
    return [line for line in person.transcript if line.startswith("cheque/1 bob")]


def says(person: Person, action: str, *replies: dict[str, Any]) -> None:
    person.wire.server.scripted.setdefault(action, []).extend(replies)


def gives(person: Person, giver: str, line: str) -> None:
    """A cheque comes over a direct connection."""
    person.dialogue.heard(n.Arrived({"event": "cheque", "from": giver, "cheque": line}), person.wire.now)


def test_a_cheque_is_written_and_shown() -> None:
    person = bob()
    person.types("cheque Ann 1250 --print for  tea", "cheque ann 1")
    (one, other) = lines(person)
    assert signed(one, KEY) and signed(other, KEY)
    assert parse(one) == Cheque("bob", "Ann", 1_250, parse(one).number, TIME + VALID, "for tea")
    shows(person, """
        bob> cheque Ann 1250 --print for  tea
        A cheque for 1,250 credits (for tea), payable to Ann, good until T.
        Give Ann this whole line; nobody else can cash it:
        LINE
        bob> cheque ann 1
        A cheque for 1 credit, payable to ann, good until T.
        Give ann this whole line; nobody else can cash it:
        LINE
        """)


def test_a_cheque_goes_over_a_direct_connection_where_there_is_one() -> None:
    person = bob()
    carried: list[tuple[str, str]] = []

    def carry(user: str, line: str, _now: float) -> bool:
        carried.append((user, line))
        return user == "ann"

    person.dialogue._bank.carry = carry
    person.types("cheque ann 5", "cheque carl 5", "cheque ann 5 --print")
    assert [user for user, _ in carried] == ["ann", "carl"]
    assert all(signed(line, KEY) for _, line in carried)
    shows(person, """
        bob> cheque ann 5
        A cheque for 5 credits, payable to ann, good until T.
        bob> cheque carl 5
        A cheque for 5 credits, payable to carl, good until T.
        Give carl this whole line; nobody else can cash it:
        LINE
        bob> cheque ann 5 --print
        A cheque for 5 credits, payable to ann, good until T.
        Give ann this whole line; nobody else can cash it:
        LINE
        """)


def test_cheques_that_cannot_be_written() -> None:
    person = bob()
    person.types("cheque Bob 5", "cheque ann 0", "cheque ann", "cheque ann five", "cheque ann 5 " + "m" * 201)
    assert person.read().count("Error!") == 8, "with a usage goes what is allowed"
    assert lines(person) == []


def test_cheques_lists_both_kinds_with_what_the_server_knows() -> None:
    person = bob()
    person.types("cheque ann 5", "cheque ann 250 rent")
    cashed = parse(lines(person)[0]).number
    gives(person, "ann", GIVEN)
    person.read()
    says(person, "cheques", {"status": "OK", "key": fingerprint(KEY), "items": [{"number": cashed, "expiry": 1}]},
         {"status": "OK", "key": fingerprint(KEY), "items": []})  # fmt: skip
    person.types("cheques")
    shows(person, """
        bob> cheques
        You wrote 1 cheque for 250 credits that nobody has cashed yet:
        N  250 credits (rent) to ann, good until T
        You can cash 1 cheque for 30 credits:
        00000000000000aa  30 credits (for tea) from Ann, good until T
        """)
    person.wire.now += VALID
    person.types("cheques")
    shows(person, """
        bob> cheques
        No cheques wait to be cashed.
        """)


def test_cheques_without_a_server_are_those_of_the_book() -> None:
    person = bob()
    person.types("cheque ann 5")
    person.wire.cut()
    person._listen()
    person.read()
    person.types("cheques")
    assert "You wrote 1 cheque for 5 credits that nobody" in person.read()
    assert [request["action"] for request in person.wire.server.requests].count("cheques") == 1, "when it was written"


@pytest.mark.parametrize("typed", ["cash 00000000000000AA", "cash " + GIVEN, "cash   " + GIVEN.replace(" ", "  ")])
def test_a_cheque_that_was_given_is_cashed(typed: str) -> None:
    person = bob()
    gives(person, "Ann", GIVEN)
    shows(person, """
        Ann has given you a cheque for 30 credits (for tea), good until T. Type: cash 00000000000000aa
        """)
    says(person, "cash", {"status": "OK", "from": "Ann", "amount": 30, "memo": "for tea", "balance": 1_030})
    person.types(typed)
    person.transcript[0] = "bob> cash"
    shows(person, """
        bob> cash
        You have cashed Ann's cheque for 30 credits (for tea). You have 1,030 credits now.
        """)
    (request,) = [each for each in person.wire.server.requests if each["action"] == "cash"]
    assert request["cheque"] == GIVEN and request["key"]
    person.types("cash 00000000000000aa")
    shows(person, """
        bob> cash 00000000000000aa
        Error! You have no cheque with the number "00000000000000aa". "cheques" shows those you have.
        """)


def test_a_cheque_that_is_not_paid_now_can_be_tried_again() -> None:
    person = bob()
    gives(person, "ann", GIVEN)
    says(person, "cash", {"status": "INSUFFICIENT_FUNDS", "text": "No money."},
         {"status": "EXPIRED", "text": "Too late."})  # fmt: skip
    person.types("cash 00000000000000aa", "cash 00000000000000aa", "cash 00000000000000aa")
    assert [line for line in person.transcript if line.startswith("Error!")] == [
        "Error! No money.", "Error! Too late.",
        'Error! You have no cheque with the number "00000000000000aa". "cheques" shows those you have.']  # fmt: skip


def test_a_message_may_be_a_cheque() -> None:
    person = bob()
    person.wire.server.post(GIVEN, sender="Ann")
    person.wire.server.post("cheque/1 is how they begin", sender="Ann")
    person.wire.server.post("cheque/1 of one's own", sender="bob")
    person._listen()
    shows(person, f"""
        Ann: {GIVEN}
        Ann has given you a cheque for 30 credits (for tea), good until T. Type: cash 00000000000000aa
        Ann: cheque/1 is how they begin
        The cheque that Ann has sent you cannot be cashed. A cheque is one line that begins with "cheque/1": copy it whole, and nothing around it.
        bob: cheque/1 of one's own
        """)  # noqa: E501


@pytest.mark.parametrize(("giver", "line", "why"), [
    ("carl", GIVEN, "It says that Ann pays."),
    ("Ann", write(Cheque("Ann", "carl", 30, "0" * 16, TIME + 60), b""), "Only carl can cash it."),
    ("Ann", write(Cheque("Ann", "bob", 30, "0" * 16, TIME), b""), "It has expired."),
])  # fmt: skip
def test_what_cannot_be_cashed_is_said_when_it_comes(giver: str, line: str, why: str) -> None:
    person = bob()
    gives(person, giver, line)
    is_shown(person, f"""
        The cheque that {giver} has sent you cannot be cashed. {why}
        """)


def test_a_terminal_obeys_nothing_that_comes_with_a_cheque() -> None:
    person = bob()
    gives(person, "Ann", GIVEN.replace("for tea", "for \x1b[2Jtea\nhello"))
    assert "cannot be cashed" in person.read()


def test_no_cheque_is_what_nobody_cashes() -> None:
    person = bob()
    person.types("cash hello there", "cash 17", "cash")
    is_shown(person, """
        bob> cash hello there
        Error! A cheque is one line that begins with "cheque/1": copy it whole, and nothing around it.
        bob> cash 17
        Error! You have no cheque with the number "17". "cheques" shows those you have.
        bob> cash
        Error! Usage: cash <cheque>
        """)
    assert not [each for each in person.wire.server.requests if each["action"] == "cash"]


def test_who_changes_the_password_is_told_before_what_it_voids() -> None:
    person = bob()
    person.types("cheque ann 5", "cheque ann 345")
    person.read()
    person.types("password", "")
    is_shown(person, """
        bob> password
        A new password voids 2 cheques for 350 credits in all that you wrote and nobody has cashed: they will be worth nothing.
        Please enter your current password:

        Your password stays as it was.
        """)  # noqa: E501
    person.types("password", "secret", "new one", "new one")
    person.read()
    person.types("cheque ann 7")
    (line,) = lines(person)
    assert signed(line, cheque_key(person.wire.server.verifiers["bob"].server_key))
    person.read()
    person.types("password", "")
    assert "A new password voids 1 cheque for 7 credits that" in person.read()


def test_who_wrote_no_cheques_is_told_nothing() -> None:
    person = bob()
    person.types("password", "")
    assert "cheque" not in person.read()


def test_a_password_that_somebody_else_changed_is_said_with_what_it_has_voided() -> None:
    person = bob()
    person.types("cheque ann 5")
    person.read()
    says(person, "cheques", {"status": "OK", "key": "another", "items": []})
    person.types("cheques", "cheque ann 5")
    is_shown(person, """
        bob> cheques
        Your password was changed: 1 cheque for 5 credits that you wrote is worth nothing now.
        No cheques wait to be cashed.
        bob> cheque ann 5
        Error! Your password has been changed: log in again to write cheques.
        """)


def test_a_cheque_that_an_earlier_password_has_signed_is_noticed_when_it_is_written() -> None:
    """Another session of the same user may have changed the password."""
    person = bob()
    says(person, "cheques", {"status": "OK", "key": "another", "items": []})
    person.types("cheque ann 5")
    shows(person, """
        bob> cheque ann 5
        A cheque for 5 credits, payable to ann, good until T.
        Give ann this whole line; nobody else can cash it:
        LINE
        Your password was changed: 1 cheque for 5 credits that you wrote is worth nothing now.
        """)


def test_one_who_cashes_ones_cheque_is_named_and_the_book_follows() -> None:
    person = bob()
    person.types("cheque ann 5 tea")
    number = parse(lines(person)[0]).number
    person.read()
    person.wire.server.say({"event": "cheque_cashed", "seq": 9, "time": TIME, "by": "Ann", "number": number,
                            "amount": 5, "memo": "tea", "balance": 7})  # fmt: skip
    person._listen()
    is_shown(person, """
        Ann has cashed your cheque for 5 credits (tea). You have 7 credits now.
        """)
    assert person.dialogue._cheques.written(person.wire.now) == []


def test_a_cheque_for_which_there_is_no_room_is_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cheques, "MAX_GIVEN", 0)
    person = bob()
    gives(person, "ann", GIVEN)
    person.wire.server.post(GIVEN, sender="Ann")
    person._listen()
    why = ("Too many cheques wait to be cashed already."
           ' This one of {} is not kept: to cash it, type "cash" and its whole line.')  # fmt: skip
    assert person.transcript == [why.format("ann"), GIVEN, f"Ann: {GIVEN}", why.format("Ann")]
    person.types("cash " + GIVEN)
    assert person.wire.server.requests[-1]["cheque"] == GIVEN


def test_tab_knows_the_numbers() -> None:
    person = bob()
    gives(person, "ann", GIVEN)
    follow = person.dialogue.follow
    assert commandline.complete("cash ", person.dialogue.seen, follow) == ["cash 00000000000000aa"]
    assert commandline.complete("cash 1", person.dialogue.seen, follow) == []


def test_a_script_fails_with_a_cheque_that_was_not_written() -> None:
    person = Person(script=True)
    person.types("bob", "secret", "cheque bob 5", "logout")
    assert person.dialogue.status == 1
