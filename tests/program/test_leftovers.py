"""The server is killed alone in the last phase of a checkpoint, while its child, slow or stopped, is moving names.

What was acknowledged after the child began must be there at the next start: a password changed, users registered,
mail. ``CHAT_KILLS=200`` kills so many times (a few minutes); the figures are printed.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from chatlib.protocol.scram import make_verifier
from tests.chance import new_chance
from tests.patience import LIMIT
from tests.program.peer import ITERATIONS, PASSWORD, VERIFIER, Program

KILLS = int(os.environ.get("CHAT_KILLS", "2"))
SLOW = 0.03  # seconds for each name
SALT = b"salt of the kill"
Start = Callable[..., Program]


class Round:
    """One checkpoint, and one kill in it."""

    def __init__(self, home: Path, number: int, chance: random.Random) -> None:
        self.home, self.number, self._chance = home, number, chance
        self._begun = False
        self.stopped = number % 2 == 1
        self.data = home / "data"
        self.edited = False

    def place(self) -> str:
        """How far the child has come, in words; empty as long as its checkpoint does not hold."""
        ready = self.data / ".next"
        with contextlib.suppress(OSError):
            left = len(list(ready.iterdir()))
            return f"{left} files to move"
        for name in ("credentials.txt", "para.txt"):
            if (self.home / f".{name}.old").exists():
                return f"{name} is aside"
        for name in ("para.next", "credentials.next"):
            if (self.data / name).exists():
                return f"{name} is there"
        if any(self.home.glob(".credentials.txt.*.new")):
            return "credentials.txt is written beside"
        return "between two files" if self._begun else ""

    def child_of(self, server: Program) -> int:
        """The child that writes. It is the one that has taken the writer lock."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            words = (self.data / "writer.lock").read_text().split()
            pid = server.process.pid
            if len(words) == 3 and words[1] in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                return int(words[1])
            time.sleep(0.001)
        raise AssertionError("no child writes")

    def wait_for_the_last_phase(self, child: int) -> str:
        """Until the child has come some way into it; where that was."""
        ways, seen, deadline = self._chance.randrange(1, 14), "", time.monotonic() + LIMIT
        while ways and time.monotonic() < deadline:
            place = self.place()
            if place.endswith("to move"):
                self._begun = True
            if place and place != seen:
                seen, ways = place, ways - 1
            if not Path(f"/proc/{child}").exists():
                return "done"
            time.sleep(0.001)
        assert seen, "it never came that far"
        return seen

    def edit(self) -> None:
        """A person adds a user, in place, as `>>` does."""
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(self.home / "credentials.txt", os.O_WRONLY | os.O_APPEND)
            os.write(fd, f"byhand{self.number} {VERIFIER}\n".encode())
            os.close(fd)
            self.edited = True


def test_a_server_killed_while_its_child_moves_names(start: Start, home: Path) -> None:
    chance = new_chance(KILLS)
    places: Counter[str] = Counter()
    ended, password = 0, PASSWORD
    old: Iterable[str] = ()
    mail: dict[str, str] = {}  # user → the text that waits
    for number in range(KILLS):
        this = Round(home, number, chance)
        server = start(slow_checkpoint=SLOW)
        ann = server.login("ann", password)
        assert ann.ask("message", to="bob", text=f"before {number}")["status"] == "OK"
        if number % 3 == 0:
            with open(home / "credentials.txt", "a") as file:
                file.write(f"edited{number} {VERIFIER}\n")
            mail[f"edited{number}"] = ""
        before, password = password, f"before {number}"
        verifier = str(make_verifier(password, ITERATIONS, SALT))
        assert ann.prove("password", "ann", before, verifier=verifier)["status"] == "OK"
        server.type("save")
        child = this.child_of(server)
        handle = os.pidfd_open(child)
        place = this.wait_for_the_last_phase(child)
        if this.stopped:
            with contextlib.suppress(ProcessLookupError):  # it was done
                signal.pidfd_send_signal(handle, signal.SIGSTOP)
        # Acknowledged after the child began.
        newest, user = f"password {number}", f"new{number}"
        verifier = str(make_verifier(newest, ITERATIONS, SALT))
        assert ann.prove("password", "ann", password, verifier=verifier)["status"] == "OK"
        assert server.greet().ask("register", user=user, verifier=VERIFIER)["status"] == "OK"
        assert ann.ask("message", to=user, text=f"for {user}")["status"] == "OK"
        mail[user] = f"for {user}"
        if number % 4 == 0:
            this.edit()
        server.kill()
        places[place] += 1
        # The next start, at once.
        old, password = (before, password), newest
        ended += not select.select([handle], [], [], 0)[0]
        server = start()
        _check(server, home, password, old, {name: text for name, text in mail.items() if name.endswith(str(number))})
        if this.edited:
            server.login(f"byhand{number}")
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGCONT)
        assert select.select([handle], [], [], LIMIT)[0], "what was left ends"
        os.close(handle)
        server.type("save")  # what a leftover had written would be taken for an edit by hand
        server.wait_for("Saved.")
        server.login("ann", password).reset()
        if number % 5 == 0:
            server.stop()
        else:
            server.kill()
    server = start()
    _check(server, home, password, old, mail)
    assert len(server.login("bob").texts()) == KILLS
    assert not [path for path in home.rglob(".*") if path.name.startswith(".")]
    assert not list(home.glob("*.kept*"))
    print(f"{KILLS} kills, {ended} with the child alive at the next start; killed at: {dict(places.most_common())}")


def _check(server: Program, home: Path, password: str, old: Iterable[str], mail: dict[str, str]) -> None:
    for wrong in old:
        refused = server.greet().prove("login", "ann", wrong)
        assert refused["status"] == "WRONG_PASSWORD", f"{wrong!r}, an old password: {refused}"
    server.login("ann", password).ask("logout")
    names = {line.split()[0] for line in (home / "credentials.txt").read_text().splitlines()}
    for user, text in mail.items():
        assert user in names, f"{user} is not in credentials.txt"
        peer = server.login(user)
        assert peer.texts() == ([text] if text else []), f"mail of {user}"
        peer.reset()
