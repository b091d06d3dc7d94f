"""What a person types and reads about threads, against a fake server: words, numbers, portions, places."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatlib.client.files import ThreadFiles, UserFiles
from chatlib.program import commandline, forumtalk
from chatlib.program.sentences import book
from chatlib.program.threads import KEPT, SeenThreads
from chatlib.terminal.completion import Names
from tests.chance import examples
from tests.client.test_dialogue import Person, is_shown, logged_in
from tests.client.test_sentences import NOON, plain


def post(number: int, text: str, seq: int, sender: str = "ann", **more: object) -> dict[str, Any]:
    return {"event": "post", "thread": "plans", "number": number, "from": sender, "text": text, "seq": seq, **more}


def item(number: int, text: str, seq: int, sender: str = "ann", **more: object) -> dict[str, Any]:
    return {"number": number, "text": text, "seq": seq, "from": sender, "time": 1_700_000_000, **more}


def file_item(name: str, seq: int) -> dict[str, Any]:
    return {"file": name, "size": 1_200, "seq": seq, "from": "shuo", "time": 1_700_000_000}


def page(*items: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"status": "OK", "thread": "plans", "items": list(items), **more}


def hears(person: Person, *events: dict[str, Any]) -> None:
    for event in events:
        person.wire.server.say(event)
    person._listen()


def scripts(person: Person, action: str, *replies: dict[str, Any]) -> None:
    person.wire.server.scripted.setdefault(action, []).extend(replies)


def asked(person: Person, action: str) -> list[dict[str, Any]]:
    """What was asked of the server, without what every request has."""
    return [{name: value for name, value in request.items() if name not in ("action", "id", "key")}
            for request in person.wire.server.requests if request["action"] == action]  # fmt: skip


# Sentences.


@pytest.mark.parametrize(("event", "shown"), [
    (post(12, "hello", 7), "#plans 12 ann: hello"),
    ({"event": "edit", "number": 3, "of": 5, "text": "new"}, "#plans ann has changed message 3: new"),
    ({"event": "delete", "number": 3, "of": 5}, "#plans ann has deleted message 3; those behind it have moved up."),
    ({"event": "upload", "name": "my notes.txt", "size": 1_200},
     "#plans ann uploaded my notes.txt (1.2 kB). Type: dwn plans my notes.txt"),
    ({"event": "upload", "name": "'tis", "size": 1}, '#plans ann uploaded \'tis (1 byte). Type: dwn plans "\'tis"'),
    ({"event": "file_removed", "name": "notes.txt"}, "#plans ann has removed the file notes.txt."),
    ({"event": "thread_removed"}, "#plans ann has removed this thread."),
    ({"event": "thread_removed", "from": "system"}, "#plans The administrator has removed this thread."),
])  # fmt: skip
def test_events(event: dict[str, object], shown: str) -> None:
    assert plain(book.event({"thread": "plans", "from": "ann", **event}, NOON, False)) == shown


@pytest.mark.parametrize(("action", "asked", "reply", "shown"), [
    ("lst", {}, {"items": []}, ['The forum is empty: there are no threads yet. "crt TITLE" opens one.']),
    ("lst", {}, {"items": [
        {"title": "plans", "creator": "ann", "messages": 1, "time": NOON, "following": True},
        {"title": "what?", "creator": "bob", "messages": 0, "following": False}, 7]},
     ["[12:00] plans by ann: 1 message, followed", "what? by bob: 0 messages"]),
    ("rdt", {}, {"thread": "Plans", "items": []}, ['The thread "Plans" is empty.']),
    ("rdt", {"count": 3, "number": 1}, {"thread": "Plans", "items": []},
     ['The thread "Plans" has nothing before message 1.']),
    ("rdt", {}, {"thread": "plans", "items": [
        item(1, "a", 4, time=NOON), {**file_item("notes.txt", 5), "time": NOON},
        item(2, "b", 6, "bob", time=NOON, edited=NOON)]},
     ["[12:00] 1 ann: a", "[12:00] shuo uploaded notes.txt (1.2 kB)", "[12:00] 2 bob: b (edited)"]),
    ("following", {}, {"items": []}, ["You follow no threads."]),
    ("following", {}, {"items": ["plans", "what?"]}, ["plans", "what?"]),
    ("crt", {"title": "plans"}, {"thread": "plans"}, ['The thread "plans" is open, and you follow it.']),
    ("msg", {"title": "plans"}, {"number": 3}, ['It is message 3 of "plans".']),
    ("dlt", {"title": "plans", "number": 3}, {}, ['Message 3 of "plans" has been deleted.']),
    ("edt", {"title": "plans", "number": 3}, {}, ['Message 3 of "plans" has been changed.']),
    ("rmv", {"title": "plans"}, {"thread": "Plans"}, ['The thread "Plans" has been removed, with its files.']),
    ("rmf", {"title": "plans", "name": "x"}, {}, ['The file "x" has been removed from "plans".']),
    ("follow", {"title": "plans"}, {"thread": "Plans"}, ['You follow "Plans".']),
    ("unfollow", {"title": "plans"}, {"thread": "Plans"}, ['You no longer follow "Plans".']),
])  # fmt: skip
def test_answers(action: str, asked: dict[str, object], reply: dict[str, object], shown: list[str]) -> None:
    assert [plain(line) for line in book.answer(action, asked, {"status": "OK", **reply}, NOON)] == shown


def test_wrong_syntax_shows_the_right_one() -> None:
    person = logged_in()
    person.types("CRT", "crt two words", "MSG plans", "DLT plans x", "EDT plans 3", "RDT", "UPD plans", "DWN plans",
                 "RMV", "to a b", "to #", "to #nö")  # fmt: skip
    said = [line for line in person.read().splitlines() if not line.startswith("bob>")]
    title = "<title> must be a thread's title: one word of 1 to 64 letters, digits and !@#$%.?,."
    place = '<place> must be a user\'s name, "@" and a user\'s name, "#" and a thread\'s title, or "all".'
    assert said == [
        "Error! Usage: crt <title>", "Error! Usage: crt <title>", "Error! Usage: msg <title> <text>",
        "Error! Usage: dlt <title> <number>", "Error! <number> must be a whole number from 1.",
        "Error! Usage: edt <title> <number> <text>", "Error! Usage: rdt <title> [count] [number]",
        "Error! Usage: upd <title> <path>...", "Error! Usage: dwn <title> <name>", "Error! Usage: rmv <title>",
        "Error! Usage: to [place]", "Error! Usage: to [place]", f"Error! {place}",
        "Error! Usage: to [place]", f"Error! {place}",
    ]  # fmt: skip
    person.types("crt nö")
    assert f"Error! {title}" in person.read()


# What is done is said once.


def test_what_one_does_is_said_by_the_event_or_by_the_reply() -> None:
    person = logged_in()
    hears(person, post(1, "seen", 7, "bob"))
    scripts(person, "msg", {"status": "OK", "seq": 7, "number": 1}, {"status": "OK", "seq": 8, "number": 2})
    person.types("msg plans seen", "msg plans unseen")
    is_shown(person, """
        #plans 1 bob: seen
        bob> msg plans seen
        bob> msg plans unseen
        It is message 2 of "plans".
        """)


# Numbers.


def test_a_number_means_what_was_last_shown_under_it() -> None:
    person = logged_in()
    scripts(person, "rdt", page(item(1, "a", 4), item(2, "b", 5), item(3, "c", 6)))
    person.types("rdt plans")
    hears(person, {"event": "delete", "thread": "plans", "number": 1, "of": 4, "from": "ann", "seq": 8},
          post(3, "d", 9), {"event": "edit", "thread": "plans", "number": 2, "of": 6, "from": "ann", "text": "C",
                            "seq": 10})  # fmt: skip
    scripts(person, "dlt", *[{"status": "OK", "seq": 11, "number": 1}] * 4)
    person.types("dlt PLANS 1", "DLT plans 1", "dlt plans 2", "dlt plans 9")
    assert asked(person, "dlt") == [
        {"title": "PLANS", "number": 1, "seq": 4},  # as it was read: the server will know better
        {"title": "plans", "number": 1, "seq": 6},  # one's own deletion moves those behind it up
        {"title": "plans", "number": 2},  # nothing was shown there since
        {"title": "plans", "number": 9},
    ]


def test_a_changed_number_is_told_with_what_stands_there_now() -> None:
    person = logged_in()
    scripts(person, "rdt", page(item(3, "mine", 6, "bob")), page(file_item("x", 9), item(3, "next", 7, "bob"),
                                                                 file_item("y", 8)))  # fmt: skip
    scripts(person, "edt", {"status": "CHANGED", "number": 2, "text": "Read again."}, {"status": "OK", "number": 3})
    person.types("rdt plans 1")
    person.read()
    person.types("edt plans 3 better", "edt plans 3 better")
    assert [each["seq"] for each in asked(person, "edt")] == [6, 7]
    assert asked(person, "rdt")[1] == {"title": "plans", "count": 20, "number": 4}
    said = person.read().splitlines()
    assert said[1] == "Error! Nothing was done: the message that you saw as 3 has the number 2 by now."
    assert said[2].endswith(" 3 bob: next  (number 3 is now this one: repeat the command if you mean it)")
    assert said[4] == 'Message 3 of "plans" has been changed.'


def test_a_number_that_is_gone_or_far_behind_files() -> None:
    person = logged_in()
    files = [file_item(f"{number}", 100 + number) for number in range(20)]
    scripts(person, "rdt", page(*files), page(item(3, "next", 7), *files), page(item(1, "a", 2)),
            {"status": "NO_SUCH_THREAD", "text": "There is no thread."})  # fmt: skip
    scripts(person, "dlt", *[{"status": "CHANGED", "text": "Read again."}] * 3)
    person.types("dlt plans 3", "dlt plans 3", "dlt plans 3")
    said = person.read().splitlines()
    assert said[1] == "Error! Nothing was done: the message that you saw as 3 is gone."
    assert said[2].endswith("3 ann: next  (number 3 is now this one: repeat the command if you mean it)")
    assert said[5] == "There is no message 3 any more."
    assert said[8] == "Error! There is no thread."
    assert [each["count"] for each in asked(person, "rdt")] == [20, 2_001, 20, 20]


def test_what_is_remembered_of_a_long_thread_is_bounded() -> None:
    seen = SeenThreads()
    seen.read("plans", (item(number, "x", number + 100) for number in range(1, KEPT + 2)))
    assert seen.seq("PLANS", 1) is None and seen.seq("plans", 2) == 102 and seen.seq("plans", KEPT + 1) == KEPT + 101


# Reading.


def test_pages_come_unasked_until_the_count_is_there() -> None:
    person = logged_in()
    scripts(person, "rdt", page(item(3, "c", 6), next=6), page(item(2, "b", 5), next=5))
    person.types("rdt plans 2 4")
    assert [line.split("] ")[-1] for line in person.read().splitlines()[1:]] == ["2 ann: b", "3 ann: c"]
    assert asked(person, "rdt") == [
        {"title": "plans", "count": 2, "number": 4}, {"title": "plans", "count": 1, "number": 4, "before": 6},
    ]  # fmt: skip


class Thread:
    """Answers ``rdt`` as the server does. Seqs of messages and files are 10, 20, ..."""

    def __init__(self, kinds: str) -> None:
        number = 0
        self.items = []
        for place, kind in enumerate(kinds):
            number += kind == "m"
            self.items.append(item(number, f"text {number}", 10 * place) if kind == "m" else
                              file_item(f"file {place}", 10 * place))  # fmt: skip
        self.asked: list[int] = []

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        number, count = request.get("number"), request.get("count", 10**9)
        ends = [place for place, each in enumerate(self.items) if each.get("number") == number]
        end = ends[0] if number and ends else len(self.items)
        self.asked.append(count)
        return page(*self.items[max(0, end - count) : end])


@given(st.text("mmmf", max_size=60))
@example("f" * 11 + "m" * 12 + "f" * 13)
@example("m" * 5 + "f" * 40 + "m" * 5)
@example("m" * 10 + "f")
@example("m" * 23)
@settings(max_examples=examples(60))
def test_a_whole_thread_is_read_from_its_beginning_in_portions(kinds: str) -> None:
    """Whatever stands between its messages, and however the portions fall."""
    person, thread = logged_in(), Thread(kinds)
    person.wire.server._rdt = thread  # type: ignore[attr-defined]
    with patch.object(forumtalk, "PORTION", 5):
        person.types("rdt plans")
    said = [line.split("] ")[-1] for line in person.read().splitlines()[1:]]
    wanted = [f"{each['number']} ann: {each['text']}" if "text" in each else f"shuo uploaded {each['file']} (1.2 kB)"
              for each in thread.items]  # fmt: skip
    assert said == (wanted or ['The thread "plans" is empty.'])
    assert "f" in kinds or max(thread.asked) <= 6, "no more is asked for than needed"


def test_a_thread_that_shrinks_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is shown twice, nothing that stays is left out, and the end comes."""
    monkeypatch.setattr(forumtalk, "PORTION", 5)
    person, thread = logged_in(), Thread("m" * 30)

    def shrinking(request: dict[str, Any]) -> dict[str, Any]:
        reply = thread(request)
        if len(thread.asked) in (2, 4):  # two of those that were shown go
            thread.items = [{**each, "number": number} for number, each in enumerate(thread.items[2:], 1)]
        return reply

    monkeypatch.setattr(person.wire.server, "_rdt", shrinking, raising=False)
    person.types("rdt plans")
    said = [line.split(": ")[-1] for line in person.read().splitlines()[1:]]
    assert said == [f"text {number}" for number in range(1, 31)]


def test_a_connection_that_breaks_while_a_thread_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forumtalk, "PORTION", 5)
    person, thread = logged_in(), Thread("m" * 30)

    def breaking(request: dict[str, Any]) -> dict[str, Any]:
        person.wire.server.mute = len(thread.asked) == 3
        return thread(request)

    monkeypatch.setattr(person.wire.server, "_rdt", breaking, raising=False)
    person.types("rdt plans")
    assert person.read().count("text") == 10 and not person.dialogue.accepts()
    person.wire.cut()
    person.wire.server.mute = False
    person._listen()
    person.connect()
    said = [line.split(": ")[-1] for line in person.read().splitlines() if "text" in line]
    assert said == [f"text {number}" for number in range(11, 31)] and person.dialogue.accepts()


def test_a_thread_that_goes_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forumtalk, "PORTION", 2)
    person = logged_in()
    scripts(person, "rdt", page(item(4, "d", 8), item(5, "e", 9)), {"status": "NO_SUCH_THREAD", "text": "Gone."})
    person.types("rdt plans")
    assert person.read().splitlines()[1:] == ["Error! Gone."] and person.dialogue.accepts()


# Places.


def test_lines_go_into_a_thread() -> None:
    person = logged_in()
    scripts(person, "follow", {"status": "OK", "thread": "plans"})
    scripts(person, "msg", *({"status": "OK", "seq": 20 + number, "number": number} for number in (2, 3)))
    person.types("to #PLANS", "hello, all", " to be or not to be", "to be or not to be", "to", "hm")
    is_shown(person, """
        bob> to #PLANS
        Lines without a command go to #plans now. To leave, type "to".
        bob #plans> hello, all
        It is message 2 of "plans".
        bob #plans>  to be or not to be
        It is message 3 of "plans".
        bob #plans> to be or not to be
        Error! Usage: to [place]
        To say this as it stands, type a blank before it.
        bob #plans> to
        Lines without a command do not go to #plans any more.
        bob> hm
        Error! Unknown command "hm". Type "help" for what there is.
        To talk without commands, type "to #TITLE" (a thread), "to NAME" (a user) or "to all" first.
        """)
    assert asked(person, "msg") == [
        {"title": "plans", "text": "hello, all"}, {"title": "plans", "text": "to be or not to be"},
    ]  # fmt: skip


def test_who_follows_too_many_threads_goes_there_all_the_same_and_is_told_what_is_not_heard() -> None:
    person = logged_in()
    scripts(person, "follow", {"status": "TOO_MANY_THREADS", "text": "You follow 500 threads: unfollow one first."})
    scripts(person, "msg", {"status": "OK", "seq": 22, "number": 2})
    person.types("to #plans", "hello, all")
    is_shown(person, """
        bob> to #plans
        Lines without a command go to #plans now. To leave, type "to".
        What others say in #plans is not shown here. You follow 500 threads: unfollow one first.
        bob #plans> hello, all
        It is message 2 of "plans".
        """)


def test_lines_go_to_a_user_and_to_everyone() -> None:
    person = logged_in()
    person.types("to away", "are you there?", "to ALL", "Hello!", "whoelse", "to", "to")
    is_shown(person, """
        bob> to away
        Lines without a command go to away now. To leave, type "to".
        bob away> are you there?
        The user "away" is not online. The server has stored your message.
        bob away> to ALL
        Lines without a command go to everyone now. To leave, type "to".
        bob all> Hello!
        bob all> whoelse
        ann
        bob all> to
        Lines without a command do not go to all any more.
        bob> to
        To talk without commands, type "to #TITLE" (a thread), "to NAME" (a user) or "to all" first.
        """)
    assert person.wire.server.effects == ["are you there?", "Hello!"]


def test_a_place_that_is_not_there_or_goes_is_left() -> None:
    person = logged_in()
    there = {"status": "OK", "thread": "plans"}
    scripts(person, "follow", {"status": "NO_SUCH_THREAD", "text": 'There is no thread "plans".'}, there, there)
    scripts(person, "msg", {"status": "NO_SUCH_THREAD", "text": 'There is no thread "plans".'})
    scripts(person, "message", {"status": "NO_SUCH_USER", "text": 'There is no user "eve".'})
    person.types("to #plans", "to #plans", "hm", "to eve", "hi", "to #plans", "\x07")
    hears(person, {"event": "thread_removed", "thread": "plans", "from": "ann", "seq": 9})
    assert [line for line in person.read().splitlines() if "To leave" not in line] == [
        "bob> to #plans", 'Error! There is no thread "plans".', "bob> to #plans",
        "bob #plans> hm", 'Error! There is no thread "plans".', "Lines without a command do not go to #plans any more.",
        "bob> to eve", "bob eve> hi", 'Error! There is no user "eve".',
        "Lines without a command do not go to eve any more.", "bob> to #plans", "bob #plans> \x07",
        "Error! What you type must be a text of 1 to 4,096 characters without control characters, with at most 16 "
        "combining marks in a row.",
        "#plans ann has removed this thread.", "Lines without a command do not go to #plans any more.",
    ]  # fmt: skip


def test_going_on_before_the_server_has_answered() -> None:
    person = Person(window=9)
    person.types("bob", "secret")
    person.read()
    there = {"status": "OK", "thread": "plans"}
    scripts(person, "follow", there, there, there, {"status": "NO_SUCH_THREAD", "text": "There is none."})
    person.wire.server.mute = True
    person.types("to #plans", "to #nowhere", "to ann")
    person.wire.server.mute = False
    assert person.dialogue.saying.destination.place == "ann"
    person.wire.cut()
    person._listen()
    person.connect()
    assert person.dialogue.saying.destination.place == "ann" and len(asked(person, "follow")) == 4
    assert "There is none." not in person.read(), "nobody wants to know any more"


def test_a_script_whose_line_goes_nowhere_fails() -> None:
    person = Person(script=True)
    scripts(person, "follow", {"status": "NO_SUCH_THREAD", "text": "There is none."})
    person.types("bob", "secret", "to #plans")
    person.dialogue.input_ended(person.wire.now)
    person._listen()
    assert person.dialogue.status == 1 and "Error! There is none." in person.read()


def test_a_title_typed_with_its_sign() -> None:
    person = logged_in()
    scripts(person, "follow", {"status": "NO_SUCH_THREAD", "text": 'There is no thread "#plans".'},
            {"status": "OK", "thread": "plans"}, {"status": "OK", "thread": "#plans"},
            {"status": "OK", "thread": "#plans"})  # fmt: skip
    person.types("follow #plans")
    assert person.read().splitlines()[1:] == [
        'Error! There is no thread "#plans".', 'A title is typed without the "#" that is shown before it: plans',
    ]  # fmt: skip
    hears(person, post(1, "a", 7))
    person.types("follow #plans")
    hears(person, {**post(1, "a", 8), "thread": "#plans"})
    person.types("follow #plans")
    assert [each["title"] for each in asked(person, "follow")] == ["#plans", "plans", "#plans"]


# Ctrl+C.


@pytest.mark.parametrize("lines", [["to #plans"], ["to ann"], ["rdt plans"], ["dlt plans 1"]])
def test_ctrl_c_leaves_the_program_from_anywhere(lines: list[str]) -> None:
    person = logged_in()
    scripts(person, "rdt", page(item(1, "a", 4)))
    scripts(person, "dlt", {"status": "CHANGED", "text": "Read again."})
    person.types(*lines)
    person.presses_ctrl_c()
    assert person.dialogue.status == 0


def test_ctrl_c_while_answers_are_on_their_way() -> None:
    for line in ("to #plans", "rdt plans", "dlt plans 1", "upd plans README.md", "dwn plans x"):
        person = logged_in()
        person.wire.server.mute = True
        person.types(line)
        person.presses_ctrl_c()
        person.wire.pass_time(5.0)
        person._listen()
        assert person.dialogue.status == 0, line


# Files.


def test_files_of_a_thread_go_through_the_same_transfers(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a note")
    person = logged_in()
    person.types(f"upd plans {tmp_path}/notes.txt")
    (upload,) = person.transfers.all
    assert (upload.peer, upload.name) == ("#plans", "notes.txt") and not person.dialogue.accepts()
    upload.end()
    scripts(person, "dwn", {"status": "NO_SUCH_FILE", "text": 'There is no file "a b" in the thread "plans".'})
    person.types("DWN plans a b", f"upd plans {tmp_path}/nothing")
    assert asked(person, "dwn") == [{"title": "plans", "name": "a b"}]
    assert person.read().splitlines()[1:] == [
        '"notes.txt" (6 bytes) has been sent to #plans.', "bob> DWN plans a b",
        'Error! There is no file "a b" in the thread "plans".',
        f"bob> upd plans {tmp_path}/nothing", f'Error! There is no file "{tmp_path}/nothing".',
    ]  # fmt: skip


def test_which_event_proves_that_a_file_was_there() -> None:
    event = {"event": "upload", "thread": "Plans", "from": "Bob", "name": "x"}
    place = ThreadFiles("plans")
    assert place.has_had(event, "x", "bob")
    assert not any(place.has_had({**event, **other}, "x", "bob") for other in (
        {"name": "X"}, {"from": "ann"}, {"thread": "plan"}, {"event": "file_removed"}))  # fmt: skip
    assert not UserFiles("plans").has_had(event, "x", "bob")


# Completion.


def test_completion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    person = logged_in()
    scripts(person, "lst", {"status": "OK", "items": [{"title": "plans"}, {"title": "party"}]})
    scripts(person, "following", {"status": "OK", "items": ["what?"]})
    scripts(person, "rdt", page(file_item("my photo.jpg", 4), file_item("old", 5)))
    person.dialogue.came(person.wire.now)
    person._listen()
    assert "what?" not in person.read(), "nobody has asked for it"
    person.types("lst", "rdt plans")
    hears(person, {"event": "upload", "thread": "plans", "from": "Mia", "name": "more", "size": 1, "seq": 7},
          {"event": "file_removed", "thread": "plans", "from": "Mia", "name": "old", "seq": 8},
          {"event": "thread_removed", "thread": "what?", "from": "Mia", "seq": 9})  # fmt: skip

    def completed(before: str) -> list[str]:
        return commandline.complete(before, person.dialogue.seen, person.dialogue.follow)

    assert completed("msg p") == ["msg plans ", "msg party "]
    assert completed("RDT PA") == ["RDT party "]
    assert completed("rmv w") == []
    assert completed("dwn plans m") == ["dwn plans my photo.jpg", "dwn plans more"]
    assert completed("rmf #plans my p") == ["rmf #plans my photo.jpg"]
    assert completed("dwn pl") == ["dwn plans "]
    assert completed("dwn party ") == [] == completed("dwn nothing ")
    assert completed("upd plans n") == ["upd plans notes.txt "]
    assert completed("to #p") == ["to #plans", "to #party"]
    assert completed("to ") == ["to #plans", "to #party", "to Mia", "to all", "to @Mia"]
    assert completed("to m") == ["to Mia"]
    assert completed("to @") == ["to @Mia"]


def test_titles_are_found_by_what_is_done() -> None:
    person = logged_in()
    scripts(person, "crt", {"status": "OK", "thread": "plans"})
    scripts(person, "rmv", {"status": "OK", "thread": "plans", "seq": 7})
    person.types("crt plans")
    assert person.dialogue.follow("to", "#") == ["#plans"]
    person.types("rmv plans")
    assert person.dialogue.follow("to", "#") == []
    assert SeenThreads().follow("to", "", Names()) == ["all"]
