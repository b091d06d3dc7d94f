"""Whatever a person asks for, and whatever happens, is answered in a sentence: at the client and at the console."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.client.news import FINE, Fields
from chatlib.program.sentences import book
from chatlib.protocol import commands, kinds
from chatlib.protocol.commands import TABLE, Role, Row, typed_by
from chatlib.server import console
from chatlib.storage.parameters import PARAMETERS
from tests.server.conftest import *  # noqa: F403
from tests.server.house import House

ROOT = Path(__file__).resolve().parents[2] / "chatlib"
WIRE = (ROOT / "protocol" / "WIRE.md").read_text()
NOW = 1_700_000_000.0
# What is no refusal: steps of a proof, of the queue, and of what takes its time.
STEPS = {"OK", "ASKED", "CONTINUE", "WAITING"}
# What has a word in capitals in it that people know so, or type so.
KNOWN = re.compile(r"SCRAM(?:-SHA-256)?|TLS|LSN|MAX_INTEGER|THREADS|FOLLOWED|ALLOWED|ASKS|KNOWN|ADMIN|FILES|FOR_ONE"
                   r"|PER_USER|MOST|TYPED_AHEAD")  # fmt: skip


def is_sentence(text: str) -> bool:
    """As a person would write it: a beginning, an end, no holes, no names of statuses."""
    begins = re.match(r'[A-Z"\d{(→#\[*]|(?:ann|x)\b', text)
    ends = text.endswith((".", "!", "?", ":", ")"))
    return bool(begins and ends) and not re.search(r"\b(?:None|NoneType|[A-Z]+_[A-Z_]+)\b|  |\?\"|{}", text)


# Statuses.


def refusals() -> Iterator[tuple[str, str, str]]:
    """Where the server refuses something: the place, the status, and the text with {} for what is put in."""
    for room in ("core", "server"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "refusal" and len(node.args) > 1:
                    status, text = node.args[:2]
                    if isinstance(status, ast.Constant) and (said := _text(text)) is not None:
                        yield f"{path.name}:{node.lineno}", str(status.value), said


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{x}" for part in node.values)
    return None


def test_every_refusal_is_a_sentence() -> None:
    found = list(refusals())
    assert len(found) > 60, "this test finds them"
    wrong = [(place, text) for place, _, text in found
             if not text.startswith('Field "') and not is_sentence(KNOWN.sub("x", text))]  # fmt: skip
    assert wrong == []


def test_every_status_of_the_wires_reference_is_told_in_the_servers_words() -> None:
    table = WIRE.split("| request |")[1].split("\n\n")[0]
    statuses = set(re.findall(r"`([A-Z]{2,}(?:_[A-Z]+)*)`", table)) - STEPS
    assert {"NO_SUCH_USER", "BLOCKED", "INSUFFICIENT_FUNDS", "LOCKED_OUT"} < statuses, "this test finds them"
    made = "".join(path.read_text() for room in ("core", "server", "protocol") for path in (ROOT / room).rglob("*.py"))
    assert {status for status in statuses if f'"{status}"' not in made} == set(), "nothing says these"
    for status in statuses:
        (line,) = book.answer("message", {"to": "ann"}, {"status": status, "text": "That is why."}, NOW)
        assert book.plain(line) == "Error! That is why."


def test_no_refusal_goes_without_words() -> None:
    assert STEPS > FINE
    (line,) = book.answer("message", {"to": "ann"}, {"status": "NEW_ONE"}, NOW)
    assert book.plain(line).startswith("Error! ")


# The client's commands.

VALUES: dict[str, object] = {
    "to": "ann", "user": "ann", "from": "ann", "title": "plans", "thread": "plans", "name": "a.txt", "file": "a.txt",
    "text": "hi", "words": "hi there", "number": 3, "amount": 5, "balance": 7, "memo": "tea", "count": 2, "items": [],
    "online": 2, "delivered": False, "undelivered": 1, "place": "ann", "minutes": 5, "seconds": 60, "seq": 9,
}  # fmt: skip


@pytest.mark.parametrize("row", typed_by(Role.USER), ids=lambda row: row.name)
def test_what_comes_of_a_command_is_said_in_sentences(row: Row) -> None:
    asked: Fields = {field.name: VALUES[field.name] for field in row.fields if field.typed and field.name in VALUES}
    lines = [book.plain(line) for line in book.answer(row.name, asked, {"status": "OK", **VALUES}, NOW)]
    assert all(is_sentence(line) for line in lines), lines
    assert not any(line.startswith("Done: ") for line in lines)


@pytest.mark.parametrize("row", [row for row in TABLE.rows if row.role is not Role.WIRE], ids=lambda row: row.name)
def test_help_for_each_command_is_short_and_plain(row: Row) -> None:
    assert row.help[0].islower() or row.help.startswith("/"), "it follows the usage"
    assert not row.help.endswith(".") and "_" not in row.help.replace("_users", "")
    assert all(field.kind.allowed for field in row.typed)


# Events.

_EVENT: dict[str, object] = {
    **VALUES, "by": "ann", "outcome": "fetched", "user": "ann", "address": "10.0.0.2", "port": 7, "status": "REFUSED",
    "size": 5, "cheque": "x", "text": "It is so.", "sha256": "0" * 64,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(book.EVENTS))
def test_what_happens_is_said_in_a_sentence(kind: str) -> None:
    fields = {**_EVENT, "event": kind}
    if kind not in ("sent", "file_gone"):
        del fields["to"]
    if kind in ("message", "sent"):
        del fields["name"]
    said = book.plain(book.event(fields, NOW, False))
    assert "no words for" not in said
    # What somebody said stands as it is, and what is to be typed ends a line as it is typed.
    assert is_sentence(said) or kind in ("message", "broadcast", "post", "private", "sent") or "Type: " in said, said


# The console's.

EXAMPLES = {
    "change": "change RATE_LIMIT 7", "kick": "kick columbia", "unlock": "unlock seas", "say": "say Tea is ready.",
    "drop": "drop 99", "remove thread": "remove thread plans", "grant": "grant seas 5", "help": "help kick",
    "ban": "ban 10.0.0.9 2h spam", "unban": "unban 10.0.0.9", "mute": "mute columbia 10m", "unmute": "unmute columbia",
}  # fmt: skip


def test_every_console_command_answers_in_sentences(house: House) -> None:
    columbia = house.login("Columbia")
    columbia.ask("crt", title="plans")
    for _ in range(3):
        house.greet().prove("login", "SEAS", "wrong")
    for row in typed_by(Role.ADMIN):
        if row.name in ("stop", "audit", "save", "reload", "backup"):
            continue  # these take their time: tests of their own say what they say
        said = house.admin(EXAMPLES.get(row.name, row.name))
        assert said, row.name
        answers = [line for line in said if not line.startswith("  ")]  # the others are rows of a list
        assert all(map(is_sentence, (PLAIN.sub("x", line) for line in answers))), said
        assert not any(line.startswith("Done") for line in said)


PLAIN = re.compile("|".join(PARAMETERS))


@pytest.mark.parametrize(("line", "said"), [
    ("kick columbia", "Columbia has been logged off."),
    ("unlock seas", "SEAS is not locked out any more."),
    ("remove thread plans", 'The thread "Plans" has been removed, with its files.'),
    ("grant seas 5000", "SEAS has been given 5,000, and has 15,000 now."),
    ("change rate_limit 7", "RATE_LIMIT is now 7."),
    ("say hello", "Told 1 user."),
    ("ban seas 2h spam", "SEAS is banned for 2 hours (spam)."),
    ("mute columbia", "Columbia is muted for ever."),
    ("unban 10.0.0.1", 'Error! "10.0.0.1" is not banned.'),
    ("kick nobody", 'Error! There is no user "nobody".'),
    ("kick seas", 'Error! "SEAS" is not online.'),
    ("files", "No files wait."),
])  # fmt: skip
def test_what_the_administrator_reads(house: House, line: str, said: str) -> None:
    house.login("Columbia").ask("crt", title="Plans")
    for _ in range(3):
        house.greet().prove("login", "SEAS", "wrong")
    assert house.admin(line) == [said]


def test_every_change_at_the_console_has_its_own_words() -> None:
    changing = {"kick", "unlock", "drop", "remove_thread", "grant", "ban", "unban", "mute", "unmute"}
    assert console._DONE.keys() == changing <= {row.name.replace(" ", "_") for row in typed_by(Role.ADMIN)}
    assert all(sentence.endswith(".") for sentence in console._DONE.values())
    assert all(kinds.WORD.accepts(row.name) and commands.usage(row) for row in typed_by(Role.ADMIN))


def test_what_a_reload_has_taken_in(house: House) -> None:
    house.write("credentials.txt", house.read("credentials.txt") + "anna a password\nBo another\n")
    said = house.reload()
    assert said[-1] == "Reloaded: 2 users added (anna, Bo)."
    lines = [line for line in house.read("credentials.txt").splitlines() if not line.startswith("Bo ")]
    house.write("credentials.txt", "\n".join("SEAS new" if line.startswith("SEAS ") else line for line in lines) + "\n")
    house.write("para.txt", house.read("para.txt") + "MaxCon 7\n")
    said = house.reload()
    assert said[-1] == "Reloaded: MaxCon is 7, 1 password changed (SEAS), 1 user removed (Bo)."
