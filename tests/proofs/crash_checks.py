"""What must be there after each start: everything acknowledged, once, at its place; nothing that nobody asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests import ledger
from tests.patience import LIMIT
from tests.program.peer import Program
from tests.proofs.crash_town import THREADS, USERS, Person, Sent, Town, Wrong
from tests.proofs.wires import Message

DAY = 86_400.0


def come_back(town: Town) -> None:
    """Everybody logs in, and sends again what was not acknowledged; then all of it is."""
    people = town.people.values()
    for person in people:
        person.connect()
    town.until(lambda: all(person.online for person in people), lambda: [p.refused for p in people if not p.online])
    for person in people:
        person.ask_again()
    town.until(lambda: not any(person.open for person in people), lambda: [_open(person) for person in people])
    for file in town.sent.values():
        if file.seq and file.leaving and not file.gone:
            town.people[file.to].has_received(file)
    town.until(lambda: not _send_files(town), lambda: _send_files(town))


def _open(person: Person) -> list[str]:
    return [key for key, asked in person.asked.items() if not asked.seq][:3]


def _send_files(town: Town) -> list[str]:
    """Sends again what was not taken, three of one person at a time; what is still to come, and why."""
    for person in town.people.values():
        mine = [file for file in town.sent.values() if file.by == person.name and not file.seq]
        for file in mine[: max(0, 3 - sum(one.asking for one in mine))]:
            if not file.asking:
                person.send_file(file)
    return [f"{file} ({file.refused})" for file in town.sent.values() if not file.seq or file.leaving > file.gone]


def check(town: Town, home: Path) -> None:
    """All of it, while nothing is under way. Raises Wrong, AssertionError."""
    _mail(town)
    _order(town)
    _books(town, home)
    for title in THREADS:
        _thread(town, title)
    _files(town)


def _mail(town: Town) -> None:
    """Everybody has heard, or hears now, what was for them; `Person.event` sees to it that it is once."""
    wanted = {name: set[str]() for name in USERS}
    for person in town.people.values():
        for key, asked in person.asked.items():
            for name in asked.to:
                wanted[name].add(key)
    for file in town.sent.values():
        for name in USERS if file.to[0] == "#" else [file.to]:
            wanted[name].add(file.name)
    heard = {name: set(person.heard.values()) for name, person in town.people.items()}

    def missing() -> list[tuple[str, str]]:
        for name, person in town.people.items():
            heard[name].update(person.heard.values())
        return [(name, key) for name in USERS for key in wanted[name] - heard[name]][:5]

    town.until(lambda: not missing(), lambda: f"acknowledged and lost: {missing()}", LIMIT / 6)
    for name in USERS:
        never = {tag for tag in heard[name] - wanted[name] if tag.count("-") != 1 or " " not in tag}
        if never:
            raise Wrong(f"{name} heard what nobody said: {sorted(never)[:5]}")


def _order(town: Town) -> None:
    """What one person asked for took effect in that order."""
    for person in town.people.values():
        seqs = [asked.seq for asked in person.asked.values() if asked.seq > 0]
        if seqs != sorted(set(seqs)):
            raise Wrong(f"{person.name}'s requests took effect out of order")


def _books(town: Town, home: Path) -> None:
    """As the server says, and as a stranger reads the ledger."""
    balances: dict[str, int] = {}
    _ask_all(town, {"action": "balance"}, lambda name, reply: balances.update({name: reply["balance"]}))
    found = ledger.read(home / "data" / "ledger.txt")
    if {name: found.balances[name] for name in USERS} != balances:
        raise Wrong(f"the balances are {balances}, and the ledger's are {found.balances}")
    asked = [asked.request for person in town.people.values() for asked in person.asked.values()]
    if found.memos != Counter(request["key"] for request in asked if request["action"] == "pay"):
        raise Wrong("the payments in the ledger are not those that were acknowledged")
    cashed = Counter(number for _, number in found.cheques.elements())
    if cashed != Counter(request["key"] for request in asked if request["action"] == "cash"):
        raise Wrong("the cheques in the ledger are not those that were acknowledged")


def _ask_all(town: Town, request: Message, take: Callable[[str, Message], None]) -> None:
    left = set(USERS)
    for name, person in town.people.items():
        assert person.wire

        def heard(reply: Message, name: str = name) -> None:
            if reply["status"] != "OK":
                raise Wrong(f"{name}'s {request}: {reply}")
            take(name, reply)
            left.discard(name)

        person.wire.ask(request, heard)
    town.until(lambda: not left, lambda: f"{request} of {left}")


def _pages(town: Town, name: str, request: Message) -> list[Message]:
    """All pages of a long answer, the oldest item first."""
    items: list[Message] = []
    more: Message | None = request
    while more is not None:
        replies: list[Message] = []
        wire = town.people[name].wire
        assert wire
        wire.ask(more, replies.append)
        town.until(lambda: replies, lambda: f"{name}'s {request}")  # noqa: B023
        if replies[0]["status"] != "OK":
            raise Wrong(f"{name}'s {more}: {replies[0]}")
        page = replies[0]["items"]
        items = page + items
        count = {"count": request["count"] - len(items)} if "count" in request else {}
        more = {**request, **count, "before": replies[0]["next"]} if "next" in replies[0] else None
    return items


def _thread(town: Town, title: str) -> None:
    items = _pages(town, town.chance.choice(USERS), {"action": "rdt", "title": title, "count": 50_000})
    posts = [str(item["text"]).partition(" ")[0] for item in items if "text" in item]
    asked = {key: one for person in town.people.values() for key, one in person.asked.items()}
    wanted = [(one.seq, key) for key, one in asked.items()
              if one.request["action"] == "msg" and one.request["title"] == title]  # fmt: skip
    if posts != [key for _, key in sorted(wanted)]:
        raise Wrong(f"the thread {title} has {len(posts)} messages, and {len(wanted)} were acknowledged")
    files = Counter(item["file"] for item in items if "file" in item)
    if files != Counter(file.name for file in town.sent.values() if file.to == f"#{title}"):
        raise Wrong(f"the files in {title} are {files}")


def _files(town: Town) -> None:
    """What waits is what was acknowledged; and each that is fetched is whole."""
    for name in USERS:
        waits = {item["name"] for item in _pages(town, name, {"action": "fileget"})}
        wanted = {file.name for file in town.sent.values() if file.to == name and not file.gone}
        if waits != wanted:
            raise Wrong(f"for {name} wait {sorted(waits)}, and {sorted(wanted)} were acknowledged")
    fetching: set[str] = set()

    def fetched(file: Sent) -> None:
        fetching.discard(file.name)

    for name in USERS:
        there = [file for file in town.sent.values() if not file.gone and file.to in (name, f"#{THREADS[0]}")]
        for file in there[-3:]:
            if file.name not in fetching:
                fetching.add(file.name)
                town.people[name].fetch(file, lambda file=file: fetched(file))  # type: ignore[misc]
    town.until(lambda: not fetching, lambda: f"fetching {fetching}")


def history(town: Town, now: float, keep: bool) -> None:
    """Everybody's history has each message to and from others, once. `keep`: what is older than a day may be gone."""
    for name in USERS:
        items = _pages(town, name, {"action": "history", "count": 100_000})
        texts = [str(item["text"]).partition(" ")[0] for item in items
                 if item["event"] in ("message", "broadcast")]  # fmt: skip
        if len(texts) != len(set(texts)):
            raise Wrong(f"something is twice in {name}'s history")
        wanted = {key for person in town.people.values() for key, asked in person.asked.items()
                  if asked.request["action"] in ("message", "broadcast")
                  and asked.to and name in (*asked.to, person.name)}  # fmt: skip
        said = {key for person in town.people.values() for key in person.asked}
        missing = wanted - set(texts)
        if keep:
            born = {key for person in town.people.values() for key, at in person.born.items() if at > now - DAY}
            missing &= born
        if missing or set(texts) - said:
            raise Wrong(f"in {name}'s history: missing {sorted(missing)[:5]}, more {sorted(set(texts) - said)[:5]}")


def said_no_fault(server: Program, home: Path) -> None:
    """Nothing that it printed or logged is a fault of ours."""
    logs = [path.read_text(errors="replace") for path in (home / "data" / "logs").glob("*.log")]
    for text in ["\n".join(server.lines), *logs]:
        for words in ("Traceback", "Internal error"):
            if words in text:
                raise Wrong(f"the server says {words!r}:\n{text[text.index(words) - 200 :][:3_000]}")
