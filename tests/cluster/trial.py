"""One trial: three engine nodes, three servers and people; something breaks, and is mended; then all is checked.

    with Trial(folder, chance) as trial:
        trial.load(2)
        trial.broken(lambda: trial.engine.node("leader", WORLD).kill())
        trial.load(5)
        trial.mended(...)
        result = trial.finish()

What must be true is in history.py. How long it took is measured and told, and never judged here: a machine may be busy.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import ledger
from tests.cluster import history
from tests.cluster.bots import Bots
from tests.cluster.engine import Engine
from tests.cluster.load import Crowd
from tests.cluster.servers import WORLD, Servers, stored
from tests.patience import LIMIT

USERS = tuple(f"user{number}" for number in range(9))
BOTS = ("bot0", "bot1", "bot2")
_TAG = re.compile(r"(user|bot)\d+-\d+")


def is_ours(text: str) -> bool:
    """Whether somebody of the load says such things."""
    return bool(_TAG.fullmatch(text))


@dataclass
class Result:
    """What came of it. `wrong`: sentences; none when all is well."""

    wrong: list[str] = field(default_factory=list)
    messages: int = 0
    p50: float = 0.0  # milliseconds, before anything broke
    p99: float = 0.0
    answer: float = 0.0  # seconds until the next acknowledgement of what was asked after the break
    everybody: float = 0.0  # until everyone had one
    notes: str = ""


class Trial:
    """See above. `rate`: messages a second, of all people together."""

    def __init__(self, folder: Path, chance: random.Random, rate: float = 200.0, **parameters: object) -> None:
        self.folder, self.chance, self._rate, self._parameters = folder, chance, rate, parameters
        self.wrong: list[str] = []
        self.notes: list[str] = []
        self.bots: Bots | None = None
        self.all_stop = False  # the servers have stopped by themselves, as they should
        self._broke = 0.0

    def __enter__(self) -> Trial:
        self.engine = Engine(self.folder / "engine")
        self.servers = Servers(self.engine, self.folder, USERS + BOTS, **self._parameters)
        try:
            for node in self.engine.nodes.values():
                node.start()
            self.engine.wait_ready()
            self.servers.start()
            ports = [port for _, port in self.servers.addresses]
            self.crowd = Crowd(ports, USERS, self.chance, self._rate)
            if not self.crowd.run(LIMIT, self.crowd.settled, talks=False):
                raise AssertionError(f"not everybody came in: {self.crowd.notes} {self.crowd.faults}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "crowd"):
            self.crowd.close()
        if self.bots:
            self.bots.kill()
        self.servers.__exit__()
        self.engine.close()

    # What happens.

    def load(self, seconds: float) -> None:
        """People talk for so long."""
        self.crowd.run(seconds)

    def broken(self, how: Callable[[], Any]) -> Any:
        """Now it breaks; what `how` gives."""
        found = how()
        self._broke = time.monotonic()
        return found

    def mended(self, how: Callable[[], Any]) -> None:
        """Now it is whole again."""
        how()

    def settle(self) -> bool:
        """Until all that was said is answered, and told; whether it is."""
        return self.crowd.run(LIMIT, self.crowd.settled, talks=False) and self.crowd.run(
            LIMIT / 2, self.crowd.all_told, talks=False
        )

    def call_bots(self) -> Bots:
        """Bots of the library, which are there until the end; all of them have been answered."""
        bots = self.bots = Bots(self.servers.addresses, list(BOTS), self.folder / "bots")
        self.expect(self.crowd.run(LIMIT, lambda: all(bots.ports().values())), "the bots do not come in")
        return bots

    def all_answered(self) -> bool:
        """Whether everybody was answered something that was asked after the break."""
        return all(person.latest > self._broke for person in self.crowd.people)

    def expect(self, holds: object, sentence: str) -> None:
        """What must be so, besides."""
        if not holds:
            self.wrong.append(sentence)

    # The end.

    def finish(self, stop: bool = True) -> Result:
        """Everything that was said is answered; the servers stop cleanly; what must be true is looked at."""
        if not self.all_stop:
            self._wait_for_the_rest()
        said = self.crowd.said + (self.bots.said() if self.bots else [])
        if not self.all_stop:
            self.wrong += history.heard(said, {**self.crowd.told, **(self.bots.told() if self.bots else {})})
        self.wrong += self.crowd.faults + history.order(said)
        if stop and self._stopped():
            self._look_at_files(said)
        return self._result(said)

    def _wait_for_the_rest(self) -> None:
        for server in self.servers.all.values():
            self.crowd.run(LIMIT, lambda server=server: server.listens or not server.runs, talks=False)
        if not self.settle():
            unanswered = [one.key for person in self.crowd.people for one in person.open.values()]
            away = [person.name for person in self.crowd.people if not person.online]
            self.wrong.append(f"never answered: {unanswered[:5]}; never came back: {away}")
        if self.bots:
            self.wrong += self.bots.stop()

    def _stopped(self) -> bool:
        """Stops the servers; whether there is something to look at."""
        self.crowd.close()
        if self.all_stop:
            return True
        gone = [server for server in self.servers.all.values() if not server.runs]
        self.wrong += [f"{server.name} has ended by itself: {server.said()[-600:]}" for server in gone]
        if not gone:
            self.wrong += self.servers.stop()
        return not gone

    def _look_at_files(self, said: list[history.Said]) -> None:
        homes = self.servers.all.items()
        self.wrong += history.once(said, {name: stored(server.home, is_ours) for name, server in homes})
        books = {name: ledger.read(server.home / "data" / "ledger.txt") for name, server in homes}
        self.wrong += history.books(said, {name: book.memos for name, book in books.items()})
        self.wrong += history.equal({name: server.files() for name, server in homes})
        for name, server in homes:
            if "Traceback" in server.output.read_text(errors="replace"):
                self.wrong.append(f"{name} has said a traceback: see {server.output}")

    def _result(self, said: list[history.Said]) -> Result:
        done = [one for one in said if one.answered is not None]
        answers = [(one.asked, one.answered or 0.0) for one in done]
        calm = [(answered - asked) * 1e3 for asked, answered in answers if answered < self._broke or not self._broke]
        answer, everybody = history.pauses(said, self._broke) if self._broke else (0.0, 0.0)
        notes = [*self.notes, *(f"{what} {count}" for what, count in sorted(self.crowd.notes.items()))]
        return Result(self.wrong, len(done), history.percentile(calm, 0.5), history.percentile(calm, 0.99), answer,
                      everybody, ", ".join(notes))  # fmt: skip

    # Who.

    def victims(self, target: str) -> list[Any]:
        """Servers or engine nodes."""
        nodes = list(self.engine.nodes.values())
        match target:
            case "server":
                return [self.chance.choice(list(self.servers.all.values()))]
            case "leader" | "follower":
                return [self.engine.node(target, WORLD)]
            case "two":
                return self.chance.sample(nodes, 2)
            case "all":
                return nodes
        raise ValueError(target)
