"""What a person types and reads about files: words, completion, bars; without a server that carries bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from chatlib.client.filelinks import FileLink
from chatlib.client.files import Fetching, UserFiles
from chatlib.client.localfiles import TransferError
from chatlib.client.transfers import Stage, TransferQueue
from chatlib.program import commandline
from chatlib.program.filetalk import Offers, counted, progress
from chatlib.program.sentences import book
from chatlib.terminal.progress import Bars, Meter
from chatlib.terminal.screen import style
from tests.client.test_dialogue import Person, is_shown, logged_in
from tests.client.test_sentences import NOON, plain

FILES: list[dict[str, Any]] = [
    {"from": "Ann", "name": "report.pdf", "size": 1_234_567, "time": NOON, "seq": 9},
    {"from": "carl", "name": "report.pdf", "size": 0, "time": NOON, "seq": 8},
    {"from": "carl", "name": "my photo.jpg", "size": 1, "time": NOON, "seq": 7},
    {"from": "carl", "name": "2", "size": 1, "time": NOON, "seq": 6},
    {"from": "dan", "name": "carl", "size": 1, "time": NOON, "seq": 5},
]


def waiting() -> Offers:
    known = Offers()
    known.see(FILES)
    return known


@pytest.mark.parametrize(("words", "files"), [
    (["ann", "report.pdf"], [("Ann", "report.pdf")]),
    (["CARL", "report.pdf", "my photo.jpg"], [("carl", "report.pdf"), ("carl", "my photo.jpg")]),
    (["my photo.jpg"], [("carl", "my photo.jpg")]),
    (["1", "my photo.jpg"], [("carl", "my photo.jpg")]),
    (["2", "my photo.jpg", "carl"], [("carl", "my photo.jpg"), ("dan", "carl")]),
    (["2", "my photo.jpg"], [("carl", "2"), ("carl", "my photo.jpg")]),  # one file too few, but one has that name
    (["carl", "carl"], [("dan", "carl"), ("dan", "carl")]),
    (["2"], [("carl", "2")]),
])  # fmt: skip
def test_what_is_meant(words: list[str], files: list[tuple[str, str]]) -> None:
    assert waiting().meant(words) == files


@pytest.mark.parametrize(("words", "why"), [
    (["report.pdf"],
     '"report.pdf" waits from more than one user. Type fileget Ann report.pdf or fileget carl report.pdf'),
    (["nope"], 'No file "nope" waits for you. Type "fileget" for what does.'),
    (["ann", "nope"], 'No file "nope" from "ann" waits for you.'),
    (["2", "x", "y"], 'No file "x" waits for you. Type "fileget" for what does.'),
    (["3", "my photo.jpg"], "You announced 3 files, but 1 is named."),
])  # fmt: skip
def test_what_cannot_be_meant(words: list[str], why: str) -> None:
    with pytest.raises(TransferError) as wrong:
        waiting().meant(words)
    assert str(wrong.value) == why


ODD: list[dict[str, Any]] = [
    {"from": "carl", "name": "a\u200b.txt", "size": 1, "time": NOON, "seq": 12},
    {"from": "carl", "name": "a\u2060.txt", "size": 2_000, "time": NOON, "seq": 11},
    {"from": "carl", "name": "می\u200cخواهم", "size": 1, "time": NOON, "seq": 10},
]


@pytest.mark.parametrize(("words", "name"), [
    (["carl", "میخواهم"], "می\u200cخواهم"), (["می\u200cخواهم"], "می\u200cخواهم"),
    (["12"], "a\u200b.txt"), (["carl", "11"], "a\u2060.txt"),
])  # fmt: skip
def test_a_name_with_what_cannot_be_seen_is_meant_as_it_looks_or_by_its_number(words: list[str], name: str) -> None:
    known = waiting()
    known.see([*ODD, *FILES])
    assert known.meant(words) == [("carl", name)]
    assert known.from_sender("CARL", words[-1]) == ("carl", name)


def test_names_that_look_the_same() -> None:
    known = waiting()
    known.see([*ODD, *FILES])
    for asked in (lambda: known.meant(["a.txt"]), lambda: known.meant(["carl", "a.txt"]),
                  lambda: known.from_sender("carl", "a.txt")):  # fmt: skip
        with pytest.raises(TransferError) as wrong:
            asked()
        assert str(wrong.value) == (
            'Several files from carl look like "a.txt". Type its number instead: 12 (1 byte) or 11 (2.0 kB)'
        )
    known.see([{"from": "carl", "name": "b", "seq": 15}, {"from": "carl", "name": "b", "seq": 14}])
    assert known.from_sender("carl", "15") == ("carl", "b"), "the newest of two senders of one name"
    known.see([*ODD, *FILES])
    known.add({"from": "carl", "name": "a.txt", "seq": 13})
    assert known.from_sender("carl", "a.txt") == ("carl", "a.txt"), "exactly so"


def test_declining_what_cannot_be_typed() -> None:
    person = logged_in()
    person.wire.server.scripted["fileget"] = [{"status": "OK", "items": [*ODD, *FILES]}] * 3
    person.wire.server.scripted["filedecline"] = [{"status": "OK"}]
    person.types("filedecline CARL میخواهم", "filedecline carl a.txt", "filedecline carl nope")
    declined = [request for request in person.wire.server.requests if request["action"] == "filedecline"]
    assert [(request["from"], request["name"]) for request in declined] == [("carl", "می\u200cخواهم")]
    said = person.read()
    assert 'You have declined "می\u200cخواهم" from carl.' in said
    assert 'Error! Several files from carl look like "a.txt".' in said
    assert 'Error! No file "nope" from "carl" waits for you.' in said


def test_a_file_is_sent_under_a_name_that_can_be_seen(folder: Path) -> None:
    (folder / "می\u200cخواهم.txt").touch()
    person = logged_in()
    person.types("file ann می\u200cخواهم.txt")
    assert '"می\u200cخواهم.txt" is sent as "میخواهم.txt": characters that cannot be seen are left out.' in person.read()


def test_counts() -> None:
    assert counted(["2", "a", "b"], lambda _: False) == ["a", "b"]
    assert counted(["2", "a"], lambda _: True) == ["2", "a"]
    assert counted(["2"], lambda _: False) == ["2"]
    with pytest.raises(TransferError, match="You announced 1 file, but 2 are named."):
        counted(["1", "a", "b"], lambda _: False)


# Completion.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("my report.pdf", "mine", ".hidden", "it's", "bell\x07"):
        (tmp_path / name).touch()
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "in side").touch()
    return tmp_path


@pytest.mark.parametrize(("before", "after"), [
    ("file ann m", ["file ann mine ", "file ann my\\ report.pdf "]),
    ("file ann my\\ r", ["file ann my\\ report.pdf "]),
    ("file ann 'my", ["file ann 'my report.pdf' "]),
    ('file ann "my r', ['file ann "my report.pdf" ']),
    ("sendfile ann mine a", ["sendfile ann mine a\\ folder/"]),
    ("file ann a\\ folder/", ["file ann a\\ folder/in\\ side "]),
    ("file ann 'a f", ["file ann 'a folder/"]),
    ("file ann 'a folder/", ["file ann 'a folder/in side' "]),
    ("file ann i", ["file ann it\\'s "]),
    ("file ann .h", ["file ann .hidden "]),
    ("file ann b", []),
    ("file ann nowhere/", []),
    ("file ann ~", ["file ann ~/"]),
    ("file ann ~/min", ["file ann ~/mine "]),
    ("fileget ", ["fileget Ann ", "fileget carl ", "fileget dan ", "fileget report.pdf ", "fileget my\\ photo.jpg ",
                  "fileget 2 "]),
    ("fileget a", ["fileget Ann "]),
    ("fileget carl m", ["fileget carl my\\ photo.jpg "]),
    ("getfile 2 my\\ photo.jpg re", ["getfile 2 my\\ photo.jpg report.pdf "]),
    ("filedecline c", ["filedecline carl "]),
    ("filedecline carl my p", ["filedecline carl my photo.jpg"]),
    ("filedecline nobody ", []),
])  # fmt: skip
def test_completion(folder: Path, before: str, after: list[str]) -> None:
    assert commandline.complete(before, {}, waiting().follow) == after


@pytest.mark.parametrize(("command", "rest"), [("file", "a"), ("message", "ann x"), ("whoelse", "")])
def test_what_is_completed_elsewhere(command: str, rest: str) -> None:
    assert waiting().follow(command, rest) is None


# Sentences.


@pytest.mark.parametrize(("event", "shown"), [
    ({"event": "file", "from": "facebook", "name": "report.pdf", "size": 1_234_567},
     "facebook has sent you a file: report.pdf (1.2 MB). Type: fileget facebook report.pdf"),
    ({"event": "file", "from": "facebook", "name": "my\u202e it's", "size": 1},
     "facebook has sent you a file: my\u202e it's (1 byte). Type: fileget facebook my\\ it\\'s"),
    ({"event": "file_gone", "to": "columbia", "name": "report.pdf", "outcome": "fetched"},
     'columbia has fetched your file "report.pdf".'),
    ({"event": "file_gone", "to": "columbia", "name": "report.pdf", "outcome": "declined"},
     'columbia has declined your file "report.pdf".'),
    ({"event": "file_gone", "to": "columbia", "name": "report.pdf", "outcome": "dropped"},
     'The administrator removed your file "report.pdf" for columbia.'),
])  # fmt: skip
def test_events(event: dict[str, object], shown: str) -> None:
    assert plain(book.event(event, NOON, False)) == shown


def test_the_list() -> None:
    shown = [plain(line) for line in book.answer("fileget", {}, {"status": "OK", "items": [*FILES[:3], 7]}, NOON)]
    assert shown == [
        "[12:00] Ann   report.pdf    1.2 MB",
        "[12:00] carl  report.pdf    0 bytes",
        "[12:00] carl  my photo.jpg  1 byte",
    ]
    odd = [plain(line) for line in book.answer("fileget", {}, {"status": "OK", "items": [*ODD, FILES[0]]}, NOON)]
    assert odd == [
        "[12:00] carl  a.txt       1 byte  number 12",
        "[12:00] carl  a.txt       2.0 kB  number 11",
        "[12:00] carl  میخواهم     1 byte",
        "[12:00] Ann   report.pdf  1.2 MB",
    ]
    for nothing in ([], None):
        assert book.answer("fileget", {}, {"status": "OK", "items": nothing}, NOON) == [("No files wait for you.",)]


def test_a_list_of_many_pages() -> None:
    person = logged_in()
    person.wire.server.scripted["fileget"] = [
        {"status": "OK", "items": [{**FILES[0], "seq": 9}, {**FILES[1], "seq": 8}], "next": 8},
        {"status": "OK", "items": [{**FILES[2], "seq": 7}]},
        {"status": "OK", "items": FILES[:3]},
    ]
    person.types("fileget")
    assert len(person.read().splitlines()) == 4
    assert person.wire.server.requests[-1]["before"] == 8
    assert person.files.waiting.follow("filedecline", "c") == ["carl "]
    person.wire.server.scripted["filedecline"] = [{"status": "OK"}]
    person.types('filedecline carl "my photo.jpg"')
    assert 'You have declined "my photo.jpg" from carl.\n' in person.read()
    assert list(person.files.waiting) == [("Ann", "report.pdf"), ("carl", "report.pdf")]


def test_what_is_wrong_with_a_local_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "back\\slash").touch()
    person = logged_in()
    person.types("file ann nope", 'file ann "a folder"', "file ann pipe", "file BOB mine", "file ann it's",
                 "file ann back\\\\slash", "sendfile ann 3 mine mine", "file ann", "fileget ann nope")  # fmt: skip
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    person.types("file ann mine")
    assert [line for line in person.read().splitlines() if not line.startswith("bob>")] == [
        'Error! There is no file "nope".',
        'Error! "a folder" is a folder: name the files in it.',
        'Error! "pipe" is not a file.',
        "Error! You cannot send a file to yourself!",
        'Error! A quote is not closed: put a \\ before it, or quote the whole path ("it\'s.pdf").',
        'Error! The name of "back\\slash" cannot be sent: it must be a file\'s name: 1 to 255 bytes, without a path, '
        "control or invisible characters or backslashes, with at most 16 combining marks in a row.",
        "Error! You announced 3 files, but 2 are named.",
        "Error! Usage: file <to> <path>...",
        'Error! No file "nope" from "ann" waits for you.',
        'Error! "mine" cannot be read: Permission denied.',
    ]


def test_a_script_waits_for_the_end_of_a_transfer_and_leaving_cuts_it(folder: Path) -> None:
    person = logged_in()
    person.types("file ann mine")
    assert not person.dialogue.accepts() and person.files.busy == 1
    person.dialogue.leave(person.wire.now)
    person._listen()
    assert '"mine" has not been sent to ann yet: the same command goes on from there.' in person.read()
    assert person.dialogue.status == 0 and not person.files.busy


def test_the_end_of_a_conversation_says_what_is_cut(folder: Path) -> None:
    person = logged_in()
    person.read()
    person.wire.server.scripted["fileget"] = [{"status": "OK", "items": FILES}]
    person.types("fileget ann report.pdf")
    person.wire.server.say({"event": "bye", "status": "KICKED", "text": "You were logged off."})
    person._listen()
    is_shown(person, """
        bob> fileget ann report.pdf
        "report.pdf" from Ann is not here yet: the same command goes on from there.
        Error! You were logged off.
        """)


# Bars.


class Moving(Fetching):
    """One that a test moves."""

    def begin(self) -> None:
        self.stage = Stage.MOVING

    def _granted(self, reply: Any, ticket: str, address: Any) -> FileLink | None:
        return None


def moving(name: str = "report.pdf", size: int = 10_000_000) -> tuple[TransferQueue, Moving]:
    person = Person()
    transfer = Moving(person.transfers, UserFiles("ann"), name, Path(), size)
    person.transfers.add(transfer)
    return person.transfers, transfer


def test_a_bar() -> None:
    transfers, transfer = moving()
    bars = Bars(progress)
    assert bars.lines(transfers.active, 0, 100.0) == ["report.pdf from ann    0 % [--------------------]  0 bytes/s"]
    transfer.position = 2_500_000
    assert bars.lines(transfers.active, 0, 100.05)[0].endswith("]  0 bytes/s"), "not more than ten times a second"
    assert bars.lines(transfers.active, 1, 101.0) == [
        "report.pdf from ann   25 % [#####---------------]  2.5 MB/s  0:03 left", style("1 more waits", "dim")
    ]  # fmt: skip
    transfer.stage, transfer.position = Stage.CHECKING, 5_000_000
    assert bars.lines(transfers.active, 0, 102.0) == ["report.pdf from ann   50 % [##########----------]  checking"]
    transfer.stage = Stage.INTERRUPTED
    assert bars.lines(transfers.active, 0, 103.0) == [style("report.pdf from ann  interrupted", "dim")]
    transfer.end()
    assert bars.lines(transfers.active, 0, 103.01) == []


def test_a_long_name_an_empty_file_and_a_long_time() -> None:
    transfers, transfer = moving("x" * 200, 0)
    assert "100 %" in str(Bars(progress).lines(transfers.active, 0, 1.0)[0])
    transfer.size = 10**9
    bars = Bars(progress)
    bars.lines(transfers.active, 0, 1.0)
    transfer.position = 100_000
    assert bars.lines(transfers.active, 0, 2.0) == [
        "x" * 31 + "… from ann    0 % [--------------------]  100 kB/s  2:46:39 left"
    ]


def test_a_rate_is_that_of_the_last_seconds() -> None:
    _, transfer = moving()
    meter = Meter()
    for second in range(20):
        transfer.position = second * 1_000 if second < 10 else 10_000 + (second - 10) * 5_000
        meter.at(progress(transfer), float(second))
    assert meter.rate == 5_000


def test_plain_lines_are_few() -> None:
    _, transfer = moving(size=100)
    meter, told = Meter(), []
    for step in range(101):
        transfer.position = step
        if mark := meter.quarter(progress(transfer), 100.0 + step / 10):
            told.append((step, mark))
    assert told == [(25, 25), (50, 50), (75, 75)]
    assert not any(Meter().quarter(progress(transfer), now) for now in (1.0, 1.5))
