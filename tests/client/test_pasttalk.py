"""What was said before, in a person's words: more of it, the end of what was missed, days, files that still wait."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from chatlib.program import commandline
from chatlib.program.pasttalk import PastTalk
from chatlib.program.sentences import history as say
from tests.client.test_dialogue import Person, is_shown, logged_in

NOON = datetime(2023, 11, 14, 12).timestamp()  # of the day on which a Person lives
HOUR = 3_600.0


def hears(person: Person, *events: dict[str, Any]) -> None:
    for event in events:
        person.wire.server.say(event)
    person._listen()


def message(seq: int, text: str = "hi", **fields: object) -> dict[str, Any]:
    return {"event": "message", "seq": seq, "time": NOON, "from": "ann", "text": text, **fields}


def asked(person: Person, action: str) -> list[dict[str, Any]]:
    """The fields of all such requests."""
    return [{field: value for field, value in request.items() if field not in ("action", "id")}
            for request in person.wire.server.requests if request["action"] == action]  # fmt: skip


# More.


def test_search_shows_twenty_and_more_the_next() -> None:
    person = logged_in()
    person.wire.server.scripted["search"] = [
        {"status": "OK", "items": [message(90 - number, f"hi {number}") for number in range(12)], "next": 700},
        {"status": "OK", "items": [message(70 - number, f"hi {12 + number}") for number in range(8)], "next": 300},
        {"status": "OK", "items": [message(9, "hi 20")]},
    ]
    person.types("search hi there")
    assert asked(person, "search") == [
        {"words": "hi there", "count": 20}, {"words": "hi there", "count": 8, "before": 700}
    ]  # fmt: skip
    lines = person.read().splitlines()
    assert len(lines) == 22 and lines[1].endswith("ann: hi 0") and lines[20].endswith("ann: hi 19")
    assert lines[21] == 'There is more: type "more".'
    person.types("more", "more")
    assert asked(person, "search")[2:] == [{"words": "hi there", "count": 20, "before": 300}]
    is_shown(person, """
        bob> more
        [12:00] ann: hi 20
        bob> more
        There is nothing more to show: "history" or "search" comes first.
        """)


def test_more_of_a_history_is_what_came_before() -> None:
    person = logged_in()
    person.wire.server.scripted["history"] = [
        {"status": "OK", "items": [message(8), message(9, to="ann", **{"from": "bob"})]},
        {"status": "OK", "items": []},
    ]
    person.types("history 2 ann", "more")
    assert asked(person, "history") == [{"count": 2, "place": "ann"}, {"count": 2, "place": "ann", "before": 8}]
    is_shown(person, """
        bob> history 2 ann
        [12:00] ann: hi
        [12:00] → ann: hi
        bob> more
        There are no earlier messages.
        """)


def test_what_is_not_whole_has_no_more() -> None:
    person = logged_in()
    person.wire.server.scripted["history"] = [{"status": "OK", "items": [message(8)]}] * 2
    person.types("history", "more", "history 0")
    assert asked(person, "history") == [{"count": 20}, {"count": 0}]
    assert "There is nothing more to show" in person.read()


def test_no_word_that_is_looked_for_stays_on_disk() -> None:
    assert commandline.without_text("search topsecret words") == "search"
    assert commandline.without_text("history ann 20") == "history ann 20"


def test_tab_knows_the_places() -> None:
    person = logged_in()
    hears(person, message(1), {"event": "post", "seq": 2, "time": NOON, "thread": "plans", "from": "Mia", "number": 1,
                               "text": "x"})  # fmt: skip
    found = commandline.complete("history ", person.dialogue.seen, person.dialogue.follow)
    assert {"history ann", "history #plans", "history all"} <= set(found)


# What was missed.


def missed(person: Person, *events: dict[str, Any]) -> None:
    """The cable is pulled; meanwhile these come."""
    person.wire.cut()
    person._listen()
    person.wire.server.mail += events
    person.connect()


def test_the_end_of_what_was_missed_says_where_it_came() -> None:
    person = logged_in()
    post = {"event": "post", "time": NOON, "thread": "plans", "from": "Mia", "number": 1, "text": "x"}
    missed(person, message(101), message(102), {**post, "seq": 103},
           {"event": "broadcast", "seq": 104, "time": NOON, "from": "carl", "text": "to all"},
           {"event": "file_gone", "seq": 105, "time": NOON, "to": "dan", "name": "x", "outcome": ""})  # fmt: skip
    assert person.read().splitlines()[-1] == "── end of what you missed: ann (2), #plans (1), all (1), dan (1) ──"
    hears(person, message(106))
    assert person.read() == "ann: hi\n", "it ends once"


class Talk:
    """A PastTalk by itself."""

    def __init__(self, days: bool = False, ends: bool = True) -> None:
        self.lines: list[str] = []
        self.past = PastTalk(None, self._write, lambda: NOON, days=days, ends=ends)  # type: ignore[arg-type]

    def _write(self, *parts: Any) -> None:
        self.lines.append("".join(part if isinstance(part, str) else part.text for part in parts))

    def comes(self, event: dict[str, Any]) -> float:
        by = self.past.arrives(event)
        self.lines.append(f"{event['seq']}")
        self.past.shown(event)
        return by


def test_fewer_come_than_were_counted() -> None:
    talk = Talk()
    talk.past.away(5)
    talk.comes(message(1, offline=True))
    talk.comes(message(2))
    talk.comes(message(3))
    assert talk.lines == ["1", "── end of what you missed: ann (1) ──", "2", "3"]


def test_a_connection_that_is_lost_meanwhile() -> None:
    talk, said = Talk(), list[str]()
    talk.past.away(3)
    talk.comes(message(1, offline=True))
    talk.past.caught_up(lambda: said.append("of the first"))
    talk.past.lost()
    talk.past.away(1)
    talk.past.caught_up(lambda: said.append("of the second"))
    assert not said
    talk.comes(message(2, offline=True))
    assert talk.lines == ["1", "2", "── end of what you missed: ann (1) ──"] and said == ["of the second"]
    talk.past.caught_up(lambda: said.append("now"))
    assert said[-1] == "now"


def test_a_script_is_not_told_of_ends() -> None:
    talk = Talk(ends=False)
    talk.past.away(1)
    talk.comes(message(1, offline=True))
    assert talk.lines == ["1"]


# Days.


def test_each_day_has_its_line() -> None:
    talk = Talk(days=True)
    assert talk.comes(message(1)) == NOON
    assert talk.comes(message(2, time=NOON - 48 * HOUR)) == NOON - 48 * HOUR, "its own day is today, below that line"
    talk.comes(message(3, time=NOON - 47 * HOUR))
    talk.comes(message(4, time=NOON + 11.9 * HOUR))
    talk.comes(message(5, time=NOON + 12.1 * HOUR))
    talk.comes(message(6, time="noon"))
    talk.comes(message(7, time=1e300))
    assert talk.lines == [
        "1", "── Sunday, 12 November 2023 ──", "2", "3", "── Tuesday, 14 November 2023 ──", "4",
        "── Wednesday, 15 November 2023 ──", "5", "6", "7",
    ]  # fmt: skip


def test_without_times_there_are_no_days() -> None:
    talk = Talk()
    assert talk.comes(message(2, time=NOON - 48 * HOUR)) == NOON, "its whole date stands before it"
    assert talk.lines == ["2"]


def test_days_on_the_screen() -> None:
    person = Person(times=True)
    person.types("bob", "secret")
    person.read()
    hears(person, message(1, "today"), message(2, "tomorrow", time=NOON + 24 * HOUR))
    is_shown(person, """
        [12:00] ann: today
        ── Wednesday, 15 November 2023 ──
        [12:00] ann: tomorrow
        """)


# Files.


def waits(number: int, name: str = "") -> dict[str, Any]:
    return {"seq": number, "time": NOON, "from": "ann", "name": name or f"f{number}", "size": 2_048, "sha256": "0" * 64}


def test_files_that_wait_are_named_again() -> None:
    person = logged_in()
    person.wire.server.scripted["fileget"] = [{"status": "OK", "items": [waits(7, "my notes.txt")]}]
    person.dialogue.came(person.wire.now)
    person._listen()
    assert person.read() == "A file still waits for you: my notes.txt (2.0 kB) from ann. Type: fileget\n"
    person.wire.server.scripted["fileget"] = [{"status": "OK", "items": [waits(number) for number in range(9)]}]
    person.dialogue.came(person.wire.now)
    person._listen()
    assert person.read().endswith("f4 (2.0 kB) from ann, 4 more. Type: fileget\n")
    person.wire.server.scripted["fileget"] = [{"status": "OK", "items": []}]
    person.dialogue.came(person.wire.now)
    person._listen()
    assert person.read() == "\n"


def test_files_that_come_with_what_was_missed_are_named_once() -> None:
    person = logged_in()
    person.wire.server.scripted["fileget"] = [{"status": "OK", "items": [waits(2), waits(0, "earlier")]}]
    person.dialogue.came(person.wire.now)
    hears(person, {"event": "file", **waits(2), "offline": True})
    is_shown(person, """
        [12:00] ann has sent you a file: f2 (2.0 kB). Type: fileget ann f2
        A file still waits for you: earlier (2.0 kB) from ann. Type: fileget
        """)


@pytest.mark.parametrize("place", ["ann", "#plans", "all"])
def test_every_place_has_words_for_nothing(place: str) -> None:
    [line] = say.SENTENCES.replies["history"]({"count": 20, "place": place}, {"status": "OK", "items": []}, NOON)
    assert "no messages" in str(line[0])
