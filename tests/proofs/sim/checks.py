"""What must hold of every schedule, whatever happened in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from chatlib.core.bank import bank_of
from chatlib.core.ledger import NAME
from chatlib.core.threads import forum_of
from chatlib.server.server import Server
from tests import ledger
from tests.proofs.sim.machine import HOME, PEOPLE

if TYPE_CHECKING:
    from tests.proofs.sim.house import House
    from tests.proofs.sim.people import Asked, Person
    from tests.proofs.sim.schedule import Schedule


def no_faults(house: House, blamed: bool) -> None:
    """No mistake of ours; but a disk that fails is told as one."""
    wrong = [text for text in house.said if "Internal error" in text]
    assert blamed or not wrong, wrong


def same(before: list[str], after: list[str]) -> None:
    """Two dumps of a world."""
    if before != after:
        gone, come = [line for line in before if line not in after], [line for line in after if line not in before]
        raise AssertionError(f"the replay differs: {gone[:2]} became {come[:2]}")


def everything(schedule: Schedule, server: Server) -> None:
    """At the end, when everybody has said and heard all."""
    people = {person.name: person for person in schedule.people}
    schedule.floor = server.world.floor  # what was said before is gone
    for person in schedule.people:
        _in_order(schedule, person)
        for asked in person.asked:
            if asked.action in ("message", "broadcast", "msg"):
                _heard(schedule, people, asked)
    _seqs_mean_one_thing(schedule)
    _books(schedule, server)
    _threads(schedule, server)
    _files(schedule, server)
    _edits(schedule, server)


def _in_order(schedule: Schedule, person: Person) -> None:
    """One's view: in the order of seqs, nothing twice, and what one sender has said in the order of saying it."""
    seqs = [event["seq"] for event in person.heard]
    assert seqs == sorted(set(seqs)), f"{person.name} hears out of order, or twice: {seqs}"
    last: dict[str, int] = {}
    for event in person.heard:
        if event["seq"] not in schedule.forgiven and event["event"] in ("message", "broadcast", "post"):
            sender, _, number = str(event["text"]).split(" ")[0].partition("-")
            assert last.get(sender, -1) < int(number), f"{person.name} hears {sender} out of order, or twice: {number}"
            last[sender] = int(number)


def _heard(schedule: Schedule, people: dict[str, Person], asked: Asked) -> None:
    """Exactly once by whom it was for, if it was taken; not at all, if it was refused."""
    text = asked.fields["text"]
    everything = [one for person in people.values() for one in person.asked]
    blocks = {(one.by, one.fields["user"]) for one in everything if one.action == "block"}
    for person in people.values():
        count = sum(event.get("text") == text and event["seq"] not in schedule.forgiven for event in person.heard)
        hears = asked.action == "broadcast" and not person.late and (person.name, asked.by) not in blocks
        wanted = asked.fields.get("to") == person.name or (hears and person.name != asked.by)
        wanted = wanted and not person.gone and asked.seq not in schedule.forgiven
        if wanted and asked.seq and asked.seq >= schedule.floor:
            assert count == 1, f"{person.name} has heard {asked} {count} times"
        assert count <= (asked.seq > 0 or asked.unknown), f"{person.name} has heard what was refused, or twice: {asked}"


def _seqs_mean_one_thing(schedule: Schedule) -> None:
    meanings: dict[object, object] = {}
    for person in schedule.people:
        told = [(asked.seq, asked.fields["text"]) for asked in person.asked if asked.seq and "text" in asked.fields]
        told += [(event["seq"], event["text"]) for event in person.heard if "text" in event]  # type: ignore[misc]
        for seq, text in told:
            assert meanings.setdefault(seq, text) == text, f"seq {seq} was given twice"


def _books(schedule: Schedule, server: Server) -> None:
    """As a stranger reads the ledger."""
    found = ledger.read(Path(HOME) / "data" / NAME)
    assert found.balances == {user: book.balance for user, book in bank_of(server.world).books.items()}
    paid = Counter[object]()
    for person in schedule.people:
        for asked in person.asked:
            if asked.action == "pay":
                paid[asked.fields["memo"]] = count = found.memos[str(asked.fields["memo"])]
                assert count <= 1, f"{asked} was paid {count} times"
                known = asked.seq not in schedule.forgiven and not asked.unknown
                assert count == bool(asked.seq) or not known, f"{asked} was paid {count} times"
    assert set(found.memos) <= set(paid), "somebody was paid what nobody has paid"
    cashed = [asked for person in schedule.people for asked in person.asked if asked.action == "cash"]
    numbers = Counter(number for _, number in found.cheques.elements())
    for asked in cashed:
        number = str(asked.fields["cheque"]).split()[4]
        taken = sum(bool(one.seq) for one in cashed if one.fields == asked.fields)
        known = asked.seq not in schedule.forgiven and not asked.unknown
        assert numbers[number] == taken or not known, f"{asked} was cashed {numbers[number]} times"


def _threads(schedule: Schedule, server: Server) -> None:
    thread = forum_of(server.world).named("plans")
    said = Counter(thread.texts if thread else ())
    for person in schedule.people:
        for asked in person.asked:
            if asked.action == "msg":
                count = said[str(asked.fields["text"])]
                known = asked.seq not in schedule.forgiven and not asked.unknown
                assert count == bool(asked.seq) or (not known and count <= 1), f"{asked} is there {count} times"


def _files(schedule: Schedule, server: Server) -> None:
    """What was heard of is there, whole: with its receiver, or still on the server."""
    names = {person.name: person for person in schedule.people}
    content = schedule.machine.disks[PEOPLE].content()
    for person in schedule.people:
        for event in person.heard:
            if event["event"] != "file" or person.gone:
                continue
            name, sender = str(event["name"]), names[str(event["from"])]
            sent = sender.sent[f"{sender.folder}/{name}"]
            account = server.world.accounts[person.name.lower()]
            waiting = account.files.find(sender.name.lower(), name) if account.files else None
            if waiting is not None:
                there = schedule.machine.disk.content().get(f"data/files/{waiting.blob}")
                assert there == sent or event["seq"] in schedule.forgiven, f"{event} is not on the disk"
            else:
                there = content.get(f"{person.name}/{name}")
                assert there == sent or event["seq"] in schedule.forgiven, f"{event} is gone"


def _edits(schedule: Schedule, server: Server) -> None:
    """No edit by hand is lost."""
    if schedule.edited:
        assert server.world.parameters["LAST_HOUR"] == schedule.edited, "an edit of para.txt is lost"
    for name in schedule.added:
        assert name in server.world.accounts, f"{name}, who was added by hand, is lost"
    for person in schedule.people:
        if person.gone and schedule.always:
            assert person.name.lower() not in server.world.accounts, f"{person.name} is there again"
