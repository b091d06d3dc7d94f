"""What people want in a story: one of all that users, administrators and those who edit files by hand may do."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from tests.proofs.sim.machine import HOME
from tests.proofs.sim.words import PASSWORDS

if TYPE_CHECKING:
    from tests.proofs.sim.people import Person
    from tests.proofs.sim.schedule import Schedule

Wish = Callable[[], object]


def text_of(person: Person, chance: random.Random) -> str:
    """A text that nobody else says, and that tells when it was said."""
    return f"{person.name}-{len(person.asked)} " + "x" * chance.choice((0, 5, 300, 1_500))


def of_a_person(schedule: Schedule, person: Person) -> Wish:
    """One of these."""
    chance = schedule.chance
    other = chance.choice([one for one in schedule.people if one is not person])

    def text() -> str:
        return text_of(person, chance)

    def say(count: int) -> None:
        for _ in range(count):
            person.ask("message", to=other.name, text=text())

    def give_a_cheque() -> None:
        line = person.write_cheque(other.name, chance.choice((1, 7, 6_000)), f"{chance.getrandbits(64):016x}")
        if line:
            other.wants.append(lambda: other.ask("cash", cheque=line))
            other.wake()

    wishes: list[tuple[float, Wish]] = [
        (6, partial(say, 1)), (3, partial(say, 6)), (0.3, partial(say, 40)),
        (3, lambda: person.ask("broadcast", text=text())),
        (4, lambda: person.ask("pay", to=other.name, amount=chance.choice((7, 6_000)), memo=text()[:100])),
        (2, give_a_cheque),
        (1, lambda: person.ask("crt", title=chance.choice(("plans", "Songs")))),
        (1, lambda: person.ask(chance.choice(("follow", "unfollow")), title="plans")),
        (3, lambda: person.ask("msg", title="plans", text=text())),
        (1, lambda: person.ask(chance.choice(("block", "unblock")), user=other.name)),
        (1, lambda: person.ask("history", count=20)),
        (1, lambda: person.ask("search", words="x")),
        (1, lambda: person.change_password(chance.choice(PASSWORDS))),
        (2, lambda: person.send_file(other.name, chance.randbytes(chance.choice((0, 10, 5_000, 70_000))))),
        (1, person.log_out), (0.2, person.leave_for_good),
    ]  # fmt: skip
    return chance.choices([wish for _, wish in wishes], [weight for weight, _ in wishes])[0]


def of_an_administrator(schedule: Schedule) -> Wish:
    """One of these."""
    chance = schedule.chance
    return chance.choice([
        partial(schedule.console, "save"), partial(schedule.console, "save"), partial(schedule.console, "audit"),
        partial(schedule.console, "reload"), partial(_edits, schedule), partial(_adds_a_user, schedule),
    ])  # fmt: skip


def _edits(schedule: Schedule) -> None:
    """LAST_HOUR means nothing to anybody here, so it tells which edit was the last."""
    number = schedule.chance.randrange(1, 10_000)
    with schedule.by_hand():
        lines = _read("para.txt")
        if lines is None:
            return  # the server is exchanging it: an editor would try again
        lines = [line for line in lines if not line.startswith("LAST_HOUR")] + [f"LAST_HOUR {number}"]
        _write("para.txt", lines)
    schedule.edited = float(number)
    _and_perhaps_reload(schedule)


def _adds_a_user(schedule: Schedule) -> None:
    name = f"hand{len(schedule.added)}"
    with schedule.by_hand():
        lines = _read("credentials.txt")
        if lines is None:
            return
        _write("credentials.txt", [*lines, f"{name} {PASSWORDS[1]}"])
    schedule.added.add(name)
    _and_perhaps_reload(schedule)


def _and_perhaps_reload(schedule: Schedule) -> None:
    if schedule.chance.random() < 0.7:
        schedule.console("reload")


def _read(name: str) -> list[str] | None:
    try:
        with open(f"{HOME}/{name}", encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return None


def _write(name: str, lines: list[str]) -> None:
    """As a careful editor does: beside, synced, renamed."""
    beside = f"{HOME}/.editor.{name}"
    with open(beside, "wb") as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, f"{HOME}/{name}")
    fd = os.open(HOME, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)
