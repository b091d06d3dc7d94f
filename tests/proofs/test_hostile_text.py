"""Whatever one user, a server or a file says: nothing but our own sequences reaches a terminal, a pipe or the log.

The corpus is in hostile_text.py. In process each of it stands in every field; the whole programs are given all of it at
once, in a terminal, with plain lines, without a terminal, as JSON, and as a console from afar.
"""

from __future__ import annotations

import ast
import json
import os
import pty
import random
import re
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from chatlib.protocol.commands import ACTIONS, State
from chatlib.reactor.loop import Loop
from tests.client.fake_server import FakeServer
from tests.client.programs import Pseudo, command, environment
from tests.client.rig import LyingServer
from tests.patience import LIMIT
from tests.proofs import fuzz_words as words
from tests.proofs.fuzz_client import EVENTS, ITEM, PLAIN, TYPED, Watched
from tests.proofs.hostile_text import CORPUS, MARK, foreign, obeyed
from tests.server.conftest import build
from tests.server.house import House

__all__ = ["build"]  # a fixture
ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = f"a{MARK}{MARK.join(token for token in CORPUS if len(token) < 50)}{MARK}z"  # in one line
_NEXT = cycle(CORPUS)
BECAUSE = "the words of others"


def hostile(token: str) -> str:
    return f"a{MARK}{token}{MARK}z"


def said(kind: str, text: str, seq: int) -> dict[str, Any]:
    """An event in which every text is this one."""
    fields = {name: text if isinstance(PLAIN[name], str) else PLAIN[name] for name in EVENTS[kind].split()}
    return {"event": kind, **fields, **({"seq": seq} if "seq" in fields else {})}


def replied(text: str = "") -> dict[str, Any]:
    """A reply to anything in which every text is this one, or another one of the corpus."""

    def given(name: str) -> Any:
        usual = PLAIN.get(name, 1)
        return (text or hostile(next(_NEXT))) if isinstance(usual, str) else usual

    items = [{**{name: given(name) for name in ITEM}, "event": kind} for kind in EVENTS]
    return {**{name: given(name) for name in PLAIN if name != "id"}, "items": items, "text": text or EVERYTHING}


@pytest.fixture
def person() -> Watched:
    person = Watched()
    person.types("bob", "secret")
    person.look()
    return person


def test_the_filter_finds_what_it_looks_for() -> None:
    assert all(foreign(hostile(token)) and obeyed(hostile(token)) for token in CORPUS if token not in ("\r\n", "\n"))
    assert not foreign("\r\x1b[J\x1b[1;36mann:\x1b[0m hi 👩‍💻 e\u0301\r\n\x1b[2C\x1b]9;ann: hi\a") and not obeyed(
        "ann: hi é\n"
    )


def test_every_event_with_each_of_it(person: Watched) -> None:
    for number, token in enumerate(CORPUS):
        for place, kind in enumerate(EVENTS):
            person.wire.server.say(said(kind, hostile(token), 1 + number * len(EVENTS) + place))
        person._listen()
        person.look()


def test_every_answer_with_each_of_it(person: Watched) -> None:
    chance = random.Random(1)
    for typed in TYPED:
        for token in [*chance.sample(CORPUS, 12), ""]:
            text = hostile(token) if token else EVERYTHING
            for status in ("OK", "NO_SUCH_USER", "ASKED", text):
                action = ACTIONS[typed.split()[0]].name if typed.split()[0] in ACTIONS else "message"
                person.wire.server.scripted[action] = [{**replied(text), "status": status}]
                if person.dialogue.accepts():
                    person.types(typed)
                person.look()
        person.wire.server.scripted.clear()


def test_lines_that_are_none(person: Watched) -> None:
    for token in CORPUS:
        person.wire.server._output.append(f"{hostile(token)}\n".encode(errors="replace"))
        person._listen()
        person.wire.server.say({"event": "bye", "status": "KICKED", "text": hostile(token)})
        person._listen()
        person.look()
        person = Watched()


def test_what_a_user_says_and_the_administrator_sees(build: Callable[..., House]) -> None:
    """Each of it in every field of every request; then all that the console lists, and the server log."""
    house = build(users=("Ann", "Bob"), ADDRESS_POLICY="open")
    ann, bob = house.login("Ann", client="c1"), house.login("Bob")
    rows = [row for row in dict.fromkeys(ACTIONS.values()) if State.ONLINE in row.states and row.name != "logout"]
    usual = {"name": "Bob", "title": "plans", "sha256": "0" * 64, "words": "te", "place": "all", "seq": 1}
    chance = random.Random(1)
    for row in rows:
        for field in [field for field in row.fields if field.sent]:
            fields = {
                one.name: usual.get(one.kind.name) or words.VALID[one.kind.name](chance)
                for one in row.fields
                if one.sent
            }
            for token in CORPUS:
                ann.say({"action": row.name, **fields, field.name: hostile(token), "key": f"k{len(ann.heard)}"})
            house.settle()
            replies = ann.hear()
            assert not [one["text"] for one in replies if obeyed(one.get("text", "") if "status" in one else "")]
    bob.hear()
    house.register("Cyd")
    for token in [token for token in CORPUS if len(token) < 50]:
        house.greet(client=hostile(token)).prove("login", "Cyd", "wrong")
    shown = house.admin("online users", "blocked users", "all users", "accounts", "files", "threads", "stats", "audit",
                        *(f"kick {hostile(token)}" for token in CORPUS), *map(hostile, CORPUS))  # fmt: skip
    assert len(shown) > len(CORPUS) and not list(filter(obeyed, shown))
    assert not obeyed(house.log())


def test_what_stands_in_a_home(tmp_path: Path, build: Callable[..., House]) -> None:
    house = build()
    for token in CORPUS:
        house.write("para.txt", f"{house.read('para.txt')}\n{hostile(token)} 5\n".encode(errors="replace").decode())
    house.reload()
    shown = list(house.said)
    house.stop()
    house.restart()
    assert len(house.said) > len(shown) > 100 and not list(filter(obeyed, house.said))
    assert not obeyed(house.log())


# Whole programs.


class Hostile(FakeServer):
    """Says all of it at once, in every event and answer."""

    def __init__(self) -> None:
        super().__init__()
        self.verifiers["admin"] = self.verifiers["bob"]

    def _login(self, request: dict[str, Any]) -> dict[str, Any]:
        reply = super()._login(request)
        if reply["status"] == "OK":
            reply["then"] = [said(kind, EVERYTHING, seq) for seq, kind in enumerate(EVENTS, 1) if kind != "waiting"]
        return reply

    def _admin(self, request: dict[str, Any]) -> dict[str, Any]:
        proven = self._prove(request)
        if isinstance(proven, dict):
            return proven
        events = [
            {"event": "console", "text": EVERYTHING, "time": 1.7e9},
            {"event": "prompt", "text": EVERYTHING, "question": False},
        ]
        return {"status": "OK", "scram": proven, "then": events}

    def _complete(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"status": "OK", "items": [request["line"] + text for text in (EVERYTHING, *map(hostile, CORPUS))]}

    def _console(self, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "status": "OK",
            "then": [{"event": "console", "text": EVERYTHING}, {"event": "console", "text": BECAUSE}],
        }

    def _read(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**replied(), "status": "OK", "next": None}

    def _message(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"status": EVERYTHING, "text": EVERYTHING + BECAUSE}

    def _leave(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._logout(request)

    def _logout(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"status": "OK", "then": [{"event": "bye", "status": "KICKED", "text": EVERYTHING}]}


@pytest.fixture
def server() -> Iterator[LyingServer]:
    """It runs in a thread of its own."""
    loop, server, over = Loop(on_fault=lambda fault: None), LyingServer(), threading.Event()
    server.fake = Hostile()
    server.join(loop)

    def run() -> None:
        while not over.is_set():
            loop.call_later(0.02, lambda: None)
            loop.tick()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield server
    over.set()
    thread.join()
    server.close()
    loop.close()


def test_the_program_without_a_terminal(server: LyingServer, tmp_path: Path) -> None:
    typed = "bob\nsecret\nlst\nlist\nhistory 5\nfileget\nstatement\nmessage ann hi\nsearch hi\nlogout\n"
    done = subprocess.run(
        command(server), input=typed.encode(), capture_output=True, timeout=LIMIT, env=environment(tmp_path)
    )
    shown = (done.stdout + done.stderr).decode()
    assert BECAUSE in shown and not obeyed(shown)


def test_the_program_as_json(server: LyingServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "secret").chmod(0o600)
    words = command(
        server, "--user", "bob", "--password-file", str(tmp_path / "secret"), "--json", "--send", "ann", "hi"
    )
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, env=environment(tmp_path)
    )
    lines = done.stdout.decode().splitlines()
    assert any(json.loads(line).get("text") == EVERYTHING for line in lines), "it is all there, with escapes"
    assert not obeyed(done.stdout.decode()) and not obeyed(done.stderr.decode())


@pytest.mark.parametrize("flags", [(), ("--plain",)])
def test_the_program_in_a_terminal(flags: tuple[str, ...], server: LyingServer, tmp_path: Path) -> None:
    terminal = Pseudo(command(server, *flags), tmp_path, controls=True)
    try:
        terminal.shows("username")
        terminal.types("bob\n")
        terminal.shows("password")
        terminal.types("secret\n")
        terminal.shows("Welcome")
        terminal.types("lst\nlist\nhistory 5\nfileget\nmessage ann hi\n")
        terminal.shows(BECAUSE)
        terminal.types("message \t\tann hi\nlogout\n" if not flags else "logout\n")
        terminal.ends()
    finally:
        terminal.close()
    assert not foreign(terminal.all.replace("\r\n", "\n"))


def test_a_console_from_afar(server: LyingServer, tmp_path: Path) -> None:
    terminal = Pseudo(command(server, "--admin"), tmp_path, controls=True)
    try:
        terminal.shows("password")
        terminal.types("secret\n")
        terminal.shows("]0;title")
        terminal.types("ki\t\tck\n")
        terminal.shows(BECAUSE)
        terminal.types("\x03\x03")
        terminal.ends()
    finally:
        terminal.close()
    assert not foreign(terminal.all.replace("\r\n", "\n"))


@pytest.mark.parametrize("line", ["{} 5", "Ann {}"])
def test_the_server_program(line: str, tmp_path: Path) -> None:
    """What cannot be read is named, in a terminal and without one."""
    for name in ("para.txt", "credentials.txt"):
        (tmp_path / name).write_text(
            "".join(
                f"{line.format(hostile(token))}\n" for token in CORPUS if token.isprintable() or token in CORPUS[:3]
            )
        )
    program = [sys.executable, str(ROOT / "server.py"), "0", "--home", str(tmp_path)]
    done = subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
    assert done.returncode == 1 and not obeyed((done.stdout + done.stderr).decode())
    here, there = pty.openpty()
    process = subprocess.Popen(program, stdin=there, stdout=there, stderr=there, start_new_session=True)
    os.close(there)
    shown = b""
    while select.select([here], [], [], LIMIT)[0]:
        try:
            shown += os.read(here, 65_536)
        except OSError:
            break
    assert process.wait() == 1
    os.close(here)
    assert b"Error!" in shown and not foreign(shown.decode(errors="replace").replace("\r\n", "\n"))


# Who prints.

PRINTS = {  # the calls of `print` in each module, and why nothing of others' comes out of them
    "server.py": "printable_lines, and an empty line",
    "client.py": "the parser alone",
    "chatlib/program/arguments.py": "a word of one's own command line",
    "chatlib/program/program.py": "the system's words",
    "chatlib/program/running.py": "ours",
    "chatlib/program/scripting.py": "printable",
    "chatlib/program/steering.py": "the system's words",
    "chatlib/server/setpassword.py": "an empty line",
}


def test_whoever_prints_without_a_screen_is_known() -> None:
    """What goes to a Display is made printable there; the others are looked at one by one."""
    found = set()
    for path in [ROOT / "server.py", ROOT / "client.py", *(ROOT / "chatlib").rglob("*.py")]:
        source = path.read_text()
        for node in ast.walk(ast.parse(source)) if re.search(r"\bprint\(|\.write\(", source) else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "print",
                "sys.stdout.write",
                "sys.stderr.write",
            ):
                found.add(str(path.relative_to(ROOT)))
    assert found <= PRINTS.keys(), f"nobody has looked at what these print: {sorted(found - PRINTS.keys())}"
