"""Sentences, times, help and completion."""

from __future__ import annotations

import re
import tempfile
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatlib.client.news import Fields
from chatlib.program import commandline
from chatlib.program.commandline import without_text
from chatlib.program.dialogue import LOCAL
from chatlib.program.sentences import book
from chatlib.program.sentences.book import Line, Sentences
from chatlib.program.settingstalk import SettingsTalk
from chatlib.protocol import kinds
from chatlib.protocol.commands import TABLE, Role, typed_by, usage
from chatlib.terminal.completion import MOST_NAMES, Names
from chatlib.terminal.editor import Editor
from chatlib.terminal.history import HistoryFile
from chatlib.terminal.screen import Screen, style
from tests.terminal.emulator import Emulator

NOON = datetime(2024, 5, 17, 12, 0).timestamp()


def plain(line: Line) -> str:
    return "".join(part if isinstance(part, str) else part.text for part in line)


def test_users_have_their_colours_wherever_they_are_named() -> None:
    """In lists, and where they come and go."""
    for action, item in [("whoelse", "ann"), ("wholasthr", "ann"), ("list_users", {"user": "ann", "online": True}),
                         ("blacklist", "ann"), ("allowed", "ann")]:  # fmt: skip
        (line,) = book.answer(action, {}, {"status": "OK", "items": [item]}, NOON)
        assert style("ann", "name") in line, action
    assert style("ann", "name") in book.event({"event": "presence", "user": "ann", "online": True}, NOON, False)


@pytest.mark.parametrize(("event", "shown"), [
    ({"event": "message", "from": "columbia", "text": "hi"}, "columbia: hi"),
    ({"event": "broadcast", "from": "facebook", "text": "It's me facebook ~"},
     "facebook(broadcast): It's me facebook ~"),
    ({"event": "presence", "user": "Columbia", "online": True}, 'System(broadcast): "Columbia" has just logged in.'),
    ({"event": "presence", "user": "Columbia", "online": False}, 'System(broadcast): "Columbia" has just logged out.'),
    ({"event": "notice", "text": "Tea!"}, "System(broadcast): Tea!"),
    ({"event": "file_gone", "to": "ann", "name": "x", "outcome": "eaten"},
     'Your file "x" for ann waits no longer (eaten).'),
    ({"event": "payment", "from": "ann", "amount": 1, "memo": "", "balance": 1_250},
     "ann has paid you 1 credit. You have 1,250 credits now."),
    ({"event": "payment", "from": "ann", "amount": 1_000, "memo": "rent", "balance": 0},
     "ann has paid you 1,000 credits (rent). You have 0 credits now."),
    ({"event": "cheque_cashed", "by": "ann", "number": "0", "amount": 5, "memo": "rent", "balance": 7},
     "ann has cashed your cheque for 5 credits (rent). You have 7 credits now."),
    ({"event": "grant", "amount": 5, "balance": 7}, "The bank has given you 5 credits. You have 7 credits now."),
    ({"event": "payment"}, "None has paid you None credits. You have None credits now."),
    ({"event": "address_asked", "from": "ann", "seconds": 60},
     'ann wants your address for a private chat. yes / no? (Type "yes ann" or "no ann".)'),
    ({"event": "address", "user": "ann", "address": "10.0.0.2", "port": 7, "key": "secret"},
     "ann#10.0.0.2#7 can be reached directly, and knows your address."),
    ({"event": "address", "user": "ann", "address": "10.0.0.2", "port": 0, "key": "secret"},
     "ann takes no direct connections, but knows your address now."),
    ({"event": "address_refused", "user": "ann", "status": "REFUSED", "text": '"ann" has refused.'},
     'Error! "ann" has refused.'),
    ({"event": "introduction_over", "user": "ann", "status": "LEFT"}, "ann has left the server."),
    ({"event": "introduction_over", "user": "ann", "status": "BLOCKED"},
     "A block has ended what was direct between you and ann."),
    ({"event": "something new", "seq": 7}, "This client has no words for what happened: something new."),
    ({"event": "gift", "from": "ann", "amount": 5},
     "This client has no words for what happened: gift (from: ann, amount: 5)."),
])  # fmt: skip
def test_events(event: dict[str, object], shown: str) -> None:
    assert plain(book.event(event, NOON, False)) == shown
    assert plain(book.event({**event, "time": NOON + 60}, NOON, True)) == "[12:01] " + shown
    assert plain(book.event({**event, "time": NOON, "offline": True}, NOON, False)) == "[12:00] " + shown


@pytest.mark.parametrize(("event", "rows"), [
    ({"event": "payment", "from": "facebook", "amount": 250, "memo": "the tickets", "balance": 1_250},
     ["[12:00] facebook has paid you 250", "        credits (the tickets). You have", "        1,250 credits now."]),
    ({"event": "message", "from": "facebook", "text": "one two three four five six"},
     ["[12:00] facebook: one two three four", "                  five six"]),
    ({"event": "post", "thread": "tea", "number": 1, "from": "ann", "text": "one two three four five"},
     ["[12:00] #tea 1 ann: one two three four", "                    five"]),
    ({"event": "post", "thread": "tea", "number": 1, "from": "ann", "text": "/me pours one two three four"},
     ["[12:00] #tea 1 * ann pours one two three", "        four"]),
    ({"event": "address_refused", "user": "facebook", "text": '"facebook" takes no direct connections.'},
     ['[12:00] Error! "facebook" takes no', "               direct connections."]),
])  # fmt: skip
def test_only_what_someone_said_hangs_under_its_text(event: Fields, rows: list[str]) -> None:
    """Everything else begins anew just behind the time."""
    glass = Emulator(40, 8)
    screen = Screen(glass.write, Editor(), 40, 8)
    with screen:
        screen.print(*book.event({**event, "time": NOON}, NOON, True))
    assert glass.logical_lines()[:-1] == rows


def test_a_time_of_another_day_has_its_date_and_nonsense_has_none() -> None:
    assert plain(book.stamp(NOON - 86_400, NOON)) == "[2024-05-16 12:00] "
    for nonsense in (1e300, float("nan"), "12:00", None, -1e18):
        assert book.stamp(nonsense, NOON) == ()


@pytest.mark.parametrize(("action", "asked", "reply", "shown"), [
    ("message", {"to": "csee4119"}, {"status": "OK", "delivered": False},
     ['The user "csee4119" is not online. The server has stored your message.']),
    ("message", {"to": "ann"}, {"status": "OK", "delivered": True}, []),
    ("block", {"user": "facebook"}, {"status": "SELF_BLOCK", "text": "You cannot block yourself!"},
     ["Error! You cannot block yourself!"]),
    ("block", {"user": "ann"}, {"status": "OK", "user": "Ann"}, ['You have blocked "Ann".']),
    ("unblock", {"user": "ann"}, {"status": "OK", "user": "Ann"}, ['You have unblocked "Ann".']),
    ("broadcast", {}, {"status": "OK", "undelivered": 0}, []),
    ("broadcast", {}, {"status": "OK", "undelivered": 1}, ["Not delivered to 1 user who blocked you."]),
    ("whoelse", {}, {"status": "OK", "items": ["a", "b"]}, ["a", "b"]),
    ("whoelse", {}, {"status": "OK", "items": []}, ["Nobody else is online."]),
    ("list_users", {}, {"status": "OK", "items": [{"user": "a", "online": True}, {"user": "b", "online": False}]},
     ["a (online)", "b (offline)"]),
    ("history", {"count": 0}, {"status": "OK", "items": []}, ["Nothing came while you were away."]),
    ("history", {"count": 1}, {"status": "OK", "items": [
        {"event": "message", "from": "a", "text": "x", "time": NOON}, 7]}, ["[12:00] a: x"]),
    ("history", {"count": 2}, {"status": "OK", "items": [
        {"event": "message", "from": "me", "to": "a", "text": "x", "time": NOON},
        {"event": "file", "from": "me", "to": "a", "name": "b c", "size": 2, "time": NOON}]},
     ["[12:00] → a: x", "[12:00] → a: the file b c (2 bytes)"]),
    ("history", {"count": 1, "place": "#plans"}, {"status": "OK", "items": [
        {"event": "post", "thread": "Plans", "number": 7, "from": "a", "text": "x", "edited": NOON, "time": NOON}]},
     ["[12:00] #Plans 7 a: x (edited)"]),
    ("history", {"count": 1, "place": "a"}, {"status": "OK", "items": []}, ["You and a have no messages yet."]),
    ("history", {"count": 1}, {"status": "OK", "items": []}, ["There are no messages yet."]),
    ("search", {"words": "hi"}, {"status": "OK", "items": []}, ["Nothing that you may read has these words."]),
    ("search", {"words": "hi", "before": 9}, {"status": "OK", "items": []}, ["Nothing more has these words."]),
    ("search", {"words": "hi"}, {"status": "OK", "next": 9, "items": [
        {"event": "message", "from": "a", "text": "hi", "time": NOON}]},
     ["[12:00] a: hi", 'There is more: type "more".']),
    ("unread", {}, {"status": "OK", "items": []}, ["Nothing came while you were away."]),
    ("unread", {}, {"status": "OK", "items": [
        {"place": "ann", "count": 2}, {"place": "#Plans", "count": 1}, {"place": "all", "count": 3},
        {"place": "", "count": 4}]},
     ["While you were away: ann (2), #Plans (1), all (3), elsewhere (4)"]),
    ("balance", {}, {"status": "OK", "balance": 1}, ["You have 1 credit."]),
    ("pay", {"to": "Ann", "amount": 1_250, "memo": "rent"}, {"status": "OK", "balance": 7},
     ["You have paid Ann 1,250 credits. You have 7 credits now."]),
    ("cash", {}, {"status": "OK", "from": "ann", "amount": 5, "memo": "rent", "balance": 7},
     ["You have cashed ann's cheque for 5 credits (rent). You have 7 credits now."]),
    ("statement", {}, {"status": "OK", "items": []}, ["Nothing was booked yet."]),
    ("statement", {}, {"status": "OK", "items": [
        {"time": NOON, "kind": "open", "from": "*", "to": "ann", "amount": 10_000, "balance": 10_000, "memo": ""},
        {"time": NOON, "kind": "pay", "from": "ann", "to": "bob", "amount": 5, "balance": 9_995, "memo": "tea"},
        {"time": NOON, "kind": "cheque", "from": "bob", "to": "ann", "amount": 7, "balance": 10_002, "memo": "x"},
        {"time": NOON, "kind": "grant", "from": "*", "to": "ann", "amount": 1, "balance": 10_003, "memo": ""}, 7]}, [
        "[12:00] 10,000  balance 10,000  from the bank, for the new account",
        "[12:00]      5  balance  9,995  ann to bob (tea)",
        "[12:00]      7  balance 10,002  bob to ann, by cheque (x)",
        "[12:00]      1  balance 10,003  from the bank"]),
    ("list", {}, {"status": "OK", "balance": 1, "online": 2, "items": [
        {"user": "Ann", "address": "10.0.0.2", "port": 4_001}, {"user": "bob"}]},
     ["You have 1 credit. 2 users online:", "Ann#10.0.0.2#4001", "bob"]),
    ("getaddress", {"user": "ann"}, {"status": "NO_LISTENER", "text": "No."}, ["Error! No."]),
    ("allowed", {}, {"status": "OK", "items": ["Ann"]}, ["Ann"]),
    ("sessions", {}, {"status": "OK", "items": [
        {"number": 1, "address": "10.0.0.1", "time": NOON, "here": False},
        {"number": 3, "address": "10.0.0.2", "time": NOON, "here": True}]},
     ["[12:00] 1 from 10.0.0.1", "[12:00] 3 from 10.0.0.2 (this one)"]),
    ("logout", {"number": 3}, {"status": "OK", "number": 3}, ["Session 3 has ended."]),
    ("something new", {}, {"status": "OK", "text": "It works."}, ["It works."]),
    ("something new", {}, {"status": "OK"}, ["Done: something new."]),
    ("unblock", {}, {"status": "OK"}, ['You have unblocked "?".']),
    ("something new", {}, {"status": "ODD"}, ["Error! ODD"]),
])  # fmt: skip
def test_answers(action: str, asked: dict[str, object], reply: dict[str, object], shown: list[str]) -> None:
    assert [plain(line) for line in book.answer(action, asked, reply, NOON)] == shown


# Nothing is without a sentence.

# A conversation understands these itself, as news of their own; and consoles from afar are another program's.
HEARD = {"bye", "waiting", "admitted", "console", "prompt"}
# What peers say from machine to machine.
DIRECT = {"private"}


def sent_by_the_server() -> set[str]:
    """The kinds of events that its code makes."""
    root = Path(__file__).resolve().parents[2] / "chatlib"
    found = [re.findall(r'"event": ?"(\w+)"', path.read_text()) for room in ("core", "server")
             for path in (root / room).rglob("*.py")]  # fmt: skip
    return {kind for kinds in found for kind in kinds}


def test_every_event_that_the_server_sends_has_a_sentence() -> None:
    sent = sent_by_the_server()
    assert {"message", "presence", "file_gone"} < sent, "this test finds them"
    assert (sent - HEARD) | DIRECT == book.EVENTS.keys()


def test_every_command_that_people_give_has_a_sentence() -> None:
    given = {row.name for row in TABLE.rows if row.role is Role.USER} | {"register", "login", "deregister"}
    assert given == book.REPLIES.keys(), "commands, and what the questions before the login ask of the server"
    assert {row.name for row in TABLE.rows if row.role is Role.LOCAL} == LOCAL.keys() | SettingsTalk.COMMANDS


def test_a_feature_brings_its_sentences_under_its_own_names() -> None:
    def pinned(fields: Fields) -> Line:
        return (f"{fields['from']} has pinned a note.",)

    toy = Sentences(replies={"pin": book.says('"{name}" is on the board.')}, events={"pin": pinned})
    book.add(toy)
    assert plain(book.event({"event": "pin", "from": "ann"}, NOON, False)) == "ann has pinned a note."
    (said,) = book.answer("pin", {"name": "rules"}, {"status": "OK"}, NOON)
    assert plain(said) == '"rules" is on the board.'
    with pytest.raises(ValueError, match="pin: there are such sentences already"):
        book.add(toy)
    book.remove(toy)
    assert "pin" not in book.REPLIES and "pin" not in book.EVENTS


def test_help_is_made_from_the_table() -> None:
    everything = [plain(line) for line in commandline.help_lines("")]
    assert any(line.startswith("message <to> <text> ") for line in everything)
    assert any(line.startswith("break ") for line in everything)
    assert not any(line.startswith(("hello", "kick")) for line in everything)
    assert everything[-1].startswith("To begin with: "), "what a newcomer needs stands where the list ends"
    for name in commandline.BASICS:
        assert plain(commandline.help_lines(name)[0]).startswith(name)
    assert plain(commandline.help_lines("blacklist add")[1]) == "The same: block <user>"
    (unknown,) = commandline.help_lines("what")
    assert plain(unknown) == 'Error! There is no command "what". Type "help" for what there is.'


@pytest.mark.parametrize("columns", [24, 40, 72, 80, 200])
def test_help_is_readable_however_wide_the_terminal_is(columns: int) -> None:
    lines = [plain(line) for line in commandline.help_lines("", columns)]
    assert columns == 24 or max(map(len, lines)) <= columns  # a usage stands in one line
    text = " ".join(" ".join(lines).split())
    for row in typed_by(*commandline.ROLES):
        assert f"{usage(row)} {row.help}" in text
    if columns == 40:
        assert lines[:3] == ["message <to> <text>", "      send a text to one user, who may", "      be away"]
    assert max(len(plain(line)) for line in commandline.help_lines("fileget", 80)) <= 80


def names(*seen: str) -> Names:
    result = Names()
    for name in seen:
        result.see(name)
    return result


@pytest.mark.parametrize(("before", "after"), [
    ("mes", ["message "]),
    ("BRO", ["broadcast "]),
    ("message ", ["message carl ", "message Bob "]),
    ("message b", ["message Bob "]),
    ("message bob h", []),
    ("message bob", ["message Bob "]),
    ("blacklist a", ["blacklist add "]),
    ("blacklist add c", ["blacklist add carl"]),
    ("block ", ["block carl", "block Bob"]),
    ("help mess", ["help message"]),
    ("logout", ["logout "]),
    ("whoelse", []),
    ("nonsense x", []),
])  # fmt: skip
def test_completion(before: str, after: list[str]) -> None:
    assert complete(before, names("bob", "carl", "Bob", "carl")) == after


def complete(before: str, names: Names) -> list[str]:
    return commandline.complete(before, {kinds.NAME: names}, lambda command, rest: None)


def test_completion_offers_every_command_and_alias() -> None:
    assert {"message ", "send ", "logout ", "blacklist add ", "help "} <= set(complete("", names()))


def test_a_feature_says_what_follows_its_own_commands() -> None:
    def follow(command: str, rest: str) -> list[str] | None:
        return [rest + "ing"] if command == "broadcast" else None

    assert commandline.complete("broadcast someth", {}, follow) == ["broadcast something"]
    seen = {kinds.NAME: names("bob"), kinds.TITLE: names("books")}
    assert commandline.complete("message b", seen, follow) == ["message bob "]
    assert commandline.complete("msg b", seen, follow) == ["msg books "]


@pytest.mark.parametrize(("line", "kept"), [
    ("message bob  my secret", "message bob"),
    ("send bob x", "send bob"),
    ("broadcast x y", "broadcast"),
    ("message bob topsecret   ", "message bob"),
    ("SEND\t bob \t topsecret\t", "send bob"),
    (" send bob topsecret", ""),  # a blank before it: it may be text
    ("msg plans topsecret", "msg plans"),
    ("edt plans 3 topsecret", "edt plans 3"),
    ("to #plans", "to #plans"),
    ("pay bob 5 topsecret", "pay bob 5"),
    ("cheque bob 5 topsecret", "cheque bob 5"),
    ("cheque bob 5 topsecret --print", "cheque bob 5 --print"),
    ("cash topsecret", "cash"),
    ("broadcast", "broadcast"),
    ("broadcast   topsecret  ", "broadcast"),
    ("message bob", "message"),  # perhaps the text, with the name forgotten
    ("message ann's topsecret", "message"),
    ("password topsecret", "password"),
    ("logout topsecret", "logout"),
    ("blacklist topsecret", "blacklist"),
    ("block bob topsecret", "block"),
    ("file bob 'my photo.jpg'  x", "file bob 'my photo.jpg'  x"),
    ("whoelse", "whoelse"),
    ("blacklist add bob", "blacklist add bob"),
    ("history 5", "history 5"),
    ("my password by mistake", ""),
])
def test_what_the_history_on_disk_keeps(line: str, kept: str) -> None:
    assert without_text(line) == kept


BLANKS = st.text(" \t\u00a0\u2003", max_size=4)


@given(
    command=st.sampled_from(["message bob", "send ANN", "Broadcast", "message", "broadcast", "password", "logout",
                             "quit", "block", "nonsense", "mesage bob", "whoelse", ""]),
    words=st.lists(st.from_regex("topsecret[a-z0-9!?é中]{0,8}", fullmatch=True), min_size=1, max_size=4),
    blanks=st.lists(BLANKS, min_size=6, max_size=6),
)  # fmt: skip
@example("message anna", ["topsecret"], ["", " ", " ", "", "", " "])
def test_no_word_of_a_text_is_ever_in_the_history_on_disk(
    command: str, words: list[str], blanks: list[str]
) -> None:
    before, between, after, *more = blanks
    if command == "block":
        words = ["bob", *words]  # one word would be a name
    if command == "message":
        del words[1:]  # of more than one word, the first is the name
    line = before + command.replace(" ", between + " ") + " " + (more[0] + " ").join(words) + after
    with tempfile.TemporaryDirectory() as folder:
        history = HistoryFile(Path(folder) / "history", without_text)
        history.add(line)
        history.add("whoelse")
        assert "topsecret" not in "".join(history.lines()) and history.lines()[-1] == "whoelse"
        assert b"topsecret" not in (Path(folder) / "history").read_bytes()


@pytest.mark.parametrize(("event", "shown"), [
    ({"event": "message", "from": "ann", "text": "/me waves"}, "* ann waves"),
    ({"event": "broadcast", "from": "ann", "text": "/me waves"}, "* ann(broadcast) waves"),
    ({"event": "private", "from": "ann", "text": "/me waves"}, "* ann(private, direct) waves"),
    ({"event": "post", "thread": "plans", "number": 3, "from": "ann", "text": "/me waves"}, "#plans 3 * ann waves"),
    ({"event": "sent", "to": "bob", "text": "/me waves"}, "→ bob: * waves"),
    ({"event": "message", "from": "ann", "to": "bob", "text": "/me waves"}, "→ bob: * ann waves"),
    ({"event": "message", "from": "ann", "text": "/men at work"}, "ann: /men at work"),
])  # fmt: skip
def test_what_somebody_does(event: dict[str, object], shown: str) -> None:
    assert plain(book.event(event, NOON, False)) == shown


def test_what_somebody_did_in_a_thread() -> None:
    item = {"number": 3, "seq": 9, "from": "ann", "text": "/me waves", "edited": NOON}
    (line,) = book.answer("rdt", {"title": "plans"}, {"status": "OK", "thread": "plans", "items": [item]}, NOON)
    assert plain(line) == "3 * ann waves (edited)"


@pytest.mark.parametrize(("line", "is_text"), [
    ("hello there", True), (" whoelse", True), ("yes", True), ("/etc/passwd is a file", True), ("/ is the root", True),
    ("whoelse", False), ("/me waves", False), ("/mgs ann secret", False), ("? message", False),
])  # fmt: skip
def test_what_is_said_where_lines_go_to_somebody(line: str, is_text: bool) -> None:
    assert commandline.is_text(line) == is_text


def test_names_are_known_before_they_are_seen_and_not_without_end() -> None:
    some = names("bob", "carl")
    some.know(["ann", "Bob", "dora"])
    assert some.beginning("") == ["carl", "bob", "ann", "dora"]
    some.know(f"u{number}" for number in range(2 * MOST_NAMES))
    assert some.beginning("")[:6] == ["carl", "bob", "ann", "dora", "u0", "u1"]
    some.see("eve")
    assert len(some.beginning("")) == MOST_NAMES and some.beginning("")[:2] == ["eve", "carl"]
