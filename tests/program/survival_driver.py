"""A client program that is made to be killed: it says what its plan holds, and writes down what it was shown.

``survival_driver.py PORT NAME EVERYONE FOLDER SEED COUNT LOG MODE``. Its log has a line for each thing that happened:

=================  ==============================================================================
``B``              a run begins
``Q 17``           the 17th text of the plan is in the memory's outbox, with a key that depends on it
``S 812 text``     the event of that seq was shown
``A 17 OK``        that one was answered
``E STATUS``       the conversation has ended, which it should not
=================  ==============================================================================

MODE ``own``: the log is the memory of what was shown (showing and noting it are one write), so exactly once must hold.
MODE ``plain``: the memory is ``FileMemory``'s, and a program may die between the two. The first runs of each client
die by their own hand, at the worst moments: that is what they are for.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from chatlib.client import news as n  # noqa: E402
from chatlib.client.conversation import Conversation  # noqa: E402
from chatlib.client.link import Link  # noqa: E402
from chatlib.client.memory import FileMemory  # noqa: E402
from chatlib.client.outbox import Remembered  # noqa: E402
from chatlib.client.servers import Servers  # noqa: E402
from chatlib.reactor.loop import Loop  # noqa: E402

AHEAD = 20  # texts unanswered at once, at most
PACE = 0.02  # seconds between two texts
DEATHS = 2  # runs that end by their own hand
MOMENTS = ("before it is queued", "queued, not noted", "noted, not sent", "written, not shown", "shown", "answered")


class Log:
    """Lines that are there as soon as they are written, each with one call."""

    def __init__(self, path: Path) -> None:
        self.lines = path.read_text().splitlines() if path.exists() else []
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def last(self, kind: str, otherwise: int) -> int:
        return max([int(line.split()[1]) for line in self.lines if line.startswith(kind + " ")], default=otherwise)

    def write(self, line: str) -> None:
        os.write(self._fd, line.encode() + b"\n")


class LogMemory(FileMemory):
    """A memory whose last seq shown is the log's."""

    log: Log

    def open(self, epoch: str, user: str) -> Remembered:
        remembered = super().open(epoch, user)
        remembered.seen = self.log.last("S", 0)
        return remembered

    def shown(self, seq: int) -> None:
        """It is in the log."""


class Driver:
    """One run."""

    def __init__(self, port: int, name: str, everyone: list[str], folder: Path, seed: str, count: int, log: Log,
                 mode: str) -> None:  # fmt: skip
        from tests.program.survival_plan import Plan

        self.name, self.log = name, log
        self.says = Plan(name, everyone, int(seed), count).says
        self.next = log.last("Q", -1) + 1
        self.memory: FileMemory = FileMemory(folder)
        if mode == "own":
            self.memory = LogMemory(folder)
            self.memory.log = log
        self.loop = Loop(_raise)
        runs = log.lines.count("B")
        rng = random.Random(f"{seed} {name} {runs}")
        self.moment = rng.choice(MOMENTS) if runs < DEATHS else ""
        self.countdown = rng.randrange(1, 12)
        self.ready_at = 0.0
        self.online = False
        log.write("B")
        self.conversation = Conversation(self.memory)
        self.link = Link(self.loop, Servers(f"127.0.0.1:{port}"), self.conversation)
        self.conversation.login(name, self.loop.now)
        self.loop.phases = [self.link.turn, self.hear, self.talk, self.link.flush]

    def may_die(self, moment: str) -> None:
        if moment == self.moment:
            self.countdown -= 1
            if not self.countdown:
                os.kill(os.getpid(), signal.SIGKILL)

    def hear(self) -> None:
        for item in self.conversation.take_news():
            match item:
                case n.Challenged():
                    self.conversation.give_password(f"{self.name}-password")
                    self.conversation.prove(self.loop.now)
                case n.LoggedIn():
                    self.online = True
                case n.Arrived(event):
                    self.shown(event)
                case n.Answered(request, reply):
                    if request.action == "login":
                        time.sleep(0.3)  # refused for now; nothing else is to be done
                        os._exit(3)
                    self.may_die("answered")
                    self.log.write(f"A {(request.key or '-').rpartition('-')[2]} {reply['status']}")
                case n.Ended(status):
                    if self.online:
                        self.log.write(f"E {status}")
                    os._exit(3)

    def shown(self, event: n.Fields) -> None:
        if "seq" in event:
            self.log.write(f"S {event['seq']} {event['text']}")
            self.may_die("written, not shown")
            self.conversation.shown(event, self.loop.now)
            self.may_die("shown")

    def talk(self) -> None:
        now = self.loop.now
        if not self.online or self.next == len(self.says):
            return
        if now >= self.ready_at and len(self.conversation.outbox.pending) < AHEAD:
            to, text = self.says[self.next]
            self.may_die("before it is queued")
            fields: n.Fields = {"text": text} if to == "*" else {"to": to, "text": text}
            self.conversation.request("broadcast" if to == "*" else "message", fields, now, f"{self.name}-{self.next}")
            self.may_die("queued, not noted")
            self.log.write(f"Q {self.next}")
            self.may_die("noted, not sent")
            self.next += 1
            self.ready_at = now + PACE
        self.loop.call_later(PACE, _nothing)


def _nothing() -> None: ...


def _raise(fault: BaseException) -> None:
    raise fault


def main() -> None:
    port, name, everyone, folder, seed, count, log, mode = sys.argv[1:]
    Driver(int(port), name, everyone.split(","), Path(folder), seed, int(count), Log(Path(log)), mode).loop.run()


if __name__ == "__main__":
    main()
