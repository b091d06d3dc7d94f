"""The power fails, at every write of a batch, of a checkpoint and of a start: the server starts all the same.

What was acknowledged is there, in order and once; what was not is there or not; no seq is given twice. No sockets: a
world, its journal, its files, and the disk of ``tests/storage/powercut.py``.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import pytest

from chatlib.core import mailboxes, streams
from chatlib.core.bank import bank_of
from chatlib.core.ledger import NAME
from chatlib.core.threads import forum_of
from chatlib.core.world import Command, Reply
from chatlib.protocol.cheque import Cheque, cheque_key, expiry_of, write
from chatlib.protocol.scram import make_verifier
from chatlib.server.delivery import Delivery
from chatlib.server.effects import Effects
from chatlib.server.pipeline import Pipeline
from chatlib.server.recovery import checkpoint_now, recover
from chatlib.server.retention import DAY, Retention
from chatlib.storage import messages
from chatlib.storage.blobs import Blobs
from chatlib.storage.home import Home
from chatlib.storage.journal import Journal
from chatlib.storage.messages import Erased, MessageStore
from tests import ledger
from tests.chance import examples, new_chance
from tests.storage.powercut import Disk

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

USERS = ("ann", "bob", "cyd")
MODES = ["always", "always, slow", "second", "always, expiring", "second, expiring"]
STEPS = 6
PASSWORD = make_verifier("open sesame", 4_096)
KEY = cheque_key(PASSWORD.server_key)


class PowerCut(BaseException):
    """Nothing more is done."""


class Syncer:
    """Syncs when the journal asks for it, or when the test says so."""

    def __init__(self) -> None:
        self.in_place = True
        self._waiting: tuple[int, ...] = ()

    def start(self, *fds: int) -> bool:
        self._waiting = fds
        if self.in_place:
            self.ready()
        return self.in_place

    def ready(self) -> None:
        for fd in self._waiting:
            os.fsync(fd)


class NothingEdited:
    """The two files that people edit are not this test's."""

    def write(self, world: object) -> list[str]:
        return []


class Small:
    """All of a server that touches the disk."""

    def __init__(self, folder: Path, tell: Callable[[int, Command, Reply], None] = lambda *words: None) -> None:
        self.home, self.syncer, self._tell = Home(folder), Syncer(), tell
        self.said: list[str] = []
        self.now = 1.0
        self.journal = Journal(self.home.data, self.syncer)  # type: ignore[arg-type]
        self.world, self.messages, self.appended = recover(self.home, self.journal, self.said.append, self._fault)
        blobs = Blobs(self.home.data / "files")
        self.effects = Effects(self.journal, self.messages, self.appended, blobs, Delivery(), lambda *_: None,
                               lambda *_: None, lambda: None, lambda: self.world.lsn, self._fault)  # fmt: skip
        self.home.epoch()
        self.journal.open()
        self.pipeline = Pipeline(self.world, self.journal, self.messages, self.appended, self.effects, self._fault)
        self.retention = Retention(self.world, self.messages)
        self.do({"action": "start", "left": self.world.at})
        self.pipeline.settle()

    @staticmethod
    def _fault(fault: BaseException) -> None:
        raise fault

    def do(self, command: Command) -> int:
        """Submits a command; returns its LSN."""
        command = {"at": self.now, **command}
        self.pipeline.submit(self, "", self.journal.given + 1, command)
        return self.journal.given

    def answered(self, echo: str, request_id: Any, command: Command, reply: Reply) -> None:
        self._tell(request_id, command, reply)

    def broken(self) -> None:
        raise AssertionError

    def tick(self) -> None:
        self.pipeline.commit()
        self.pipeline.execute()
        self.effects.step()

    def synced(self) -> None:
        if self.journal.busy:
            self.journal.ready()
            self.pipeline.execute()

    def second(self) -> None:
        """A second is over."""
        self.journal.every_second()

    def expire(self) -> None:
        """What comes before it is saved."""
        while command := self.retention.due(self.now):
            self.do(command)
            self.tick()
            self.synced()

    def save(self) -> None:
        """As the server and its child do it; with commands that come meanwhile."""
        self.journal.cut()
        self.effects.finish()
        checkpoint_now(self.home, self.world, self.messages, self.appended, NothingEdited())  # type: ignore[arg-type]
        self.do({"action": "message", "by": "ann", "to": "bob", "text": "while it is saved"})
        self.tick()
        self.synced()
        self.messages.forget(self.world.floor_offset)
        self.journal.truncate()

    def stop(self) -> None:
        self.pipeline.settle()
        self.journal.settle()
        self.effects.finish()
        checkpoint_now(self.home, self.world, self.messages, self.appended, NothingEdited())  # type: ignore[arg-type]
        self.journal.clear()
        self.close()

    def close(self) -> None:
        self.journal.close()
        self.messages.close()
        self.appended.close()
        os.close(self.home._lock_fd)

    def mail(self, user: str) -> list[str]:
        """The texts of what a user was sent, as they are read from the store."""
        return _texts(self.messages, list(self.world.history(user, self.world.lsn + 1, sent=False)))

    def sent(self, user: str) -> list[str]:
        """Those of what the user sent, to whoever is there still."""
        world = self.world
        positions = world.accounts[user].sent.before(world.lsn + 1, world.floor, world.archive)
        return _texts(self.messages, list(positions), world.accounts)


def _texts(store: MessageStore, positions: list[tuple[int, int]], receivers: Container[str] = ()) -> list[str]:
    """Oldest first; of what went to these `receivers` only, if they are given."""
    events = []
    for _, offset in reversed(positions):
        with contextlib.suppress(Erased):
            receiver, event = store.read(offset)
            events += [event.decode()] if not receivers or receiver.decode() in receivers else []
    return [event.partition('"text":"')[2][:-3] for event in events if '"text"' in event]


class Story:
    """What was done, and what was answered."""

    def __init__(self) -> None:
        self.told: dict[str, list[tuple[int, str]]] = {user: [] for user in USERS}  # to each: LSN and text
        self.paid: list[tuple[int, str]] = []  # to Bob: LSN, and a memo that is the key
        self.cheques: list[tuple[int, str, str]] = []  # Ann's, for Bob: LSN, number, line
        self.left: dict[str, int] = {}  # who deregistered: the LSN
        self.answered = 0  # the last LSN that was
        self.kept = 0  # the last LSN that must be there after a power cut

    def note(self, lsn: int, command: Command, reply: Reply) -> None:
        assert reply["status"] == "OK" or command["action"] in ("login", "register"), reply
        self.answered = lsn

    def check(self, small: Small) -> None:
        for user, told in self.told.items():
            if user not in small.world.accounts:
                assert user in self.left or not any(lsn <= self.kept for lsn, _ in told)
                continue
            assert user not in self.left or self.left[user] > self.kept
            self._check_texts(small, small.mail(user), told)
        if "ann" in small.world.accounts:  # she has sent it all
            there = [one for user in USERS[1:] if user in small.world.accounts for one in self.told[user]]
            self._check_texts(small, small.sent("ann"), sorted(there))
        assert small.world.lsn > self.answered, "no seq is given twice"
        self._check_books(small)
        thread, posts = forum_of(small.world).named("plans"), self.told["ann"]  # who follows what she writes
        said = thread.texts if thread else []
        assert said == [text for _, text in posts][: len(said)], "in order, and once, and however old"
        assert len(said) >= sum(lsn <= self.kept for lsn, _ in posts), "what was acknowledged"

    def _check_texts(self, small: Small, texts: list[str], told: list[tuple[int, str]]) -> None:
        """Of what was `told`, these are read."""
        # While it is expiring, some have lost what others have still, and some have lost a part of it.
        floors = range(small.world.floor, (small.world.expiring or (small.world.floor,))[0] + 1)
        there = [[(lsn, text) for lsn, text in told if lsn >= floor] for floor in floors]
        assert any(texts == [text for _, text in one][: len(texts)] for one in there), "in order, and once"
        assert len(texts) >= min(sum(lsn <= self.kept for lsn, _ in one) for one in there), "what was acknowledged"

    def _check_books(self, small: Small) -> None:
        """As a stranger reads the ledger."""
        found = ledger.read(small.home.data / NAME)
        assert found.balances == {user: book.balance for user, book in bank_of(small.world).books.items()}
        assert set(found.memos.values()) <= {1}, "paid once"
        assert list(found.memos) == [memo for _, memo in self.paid][: len(found.memos)], "in order"
        assert len(found.memos) >= sum(lsn <= self.kept for lsn, _ in self.paid), "what was acknowledged"
        numbers = [number for _, number in found.cheques]
        assert set(found.cheques.values()) <= {1}, "cashed once"
        assert numbers == [number for _, number, _ in self.cheques][: len(numbers)], "in order"
        assert len(numbers) >= sum(lsn <= self.kept for lsn, _, _ in self.cheques), "what was acknowledged"


def live(small: Small, story: Story, chance: Any, mode: str) -> None:
    """A short life: messages, short and long, a thread, mail that is erased, mail that is too old, and checkpoints."""
    if "expiring" in mode:
        small.do({"action": "edit", "parameters": {"KEEP_MESSAGES": 1}})
    for user in USERS:
        small.do({"action": "register", "user": user, "verifier": str(PASSWORD)})
        small.do({"action": "login", "user": user, "address": "10.0.0.1"})
    small.do({"action": "crt", "by": "ann", "title": "Plans"})
    small.tick()
    small.journal.sync_always = not mode.startswith("second")
    small.syncer.in_place = mode.startswith("always") and "slow" not in mode
    for number in range(14):
        small.now = 1.0 + DAY * number / 3
        for _ in range(chance.choice([1, 2, 12])):
            to = chance.choice(USERS[1:])
            text = f"{number} " + "x" * chance.choice([5, 300, 1_500])
            if to not in story.left:
                story.told[to].append((small.journal.given + 1, text))
                small.do({"action": "message", "by": "ann", "to": to, "text": text})
        story.told["ann"].append((small.journal.given + 1, f"post {number}"))
        small.do({"action": "msg", "by": "ann", "title": "plans", "text": f"post {number}"})
        memo = f"payment {number}"
        story.paid.append((small.journal.given + 1, memo))
        for _ in range(2):  # the second time is a retry
            small.do({"action": "pay", "by": "ann", "to": "bob", "amount": 7, "memo": memo, "key": memo})
        line = write(Cheque("ann", "bob", 3, f"{number:016x}", expiry_of(small.now)), KEY)
        story.cheques.append((small.journal.given + 1, f"{number:016x}", line))
        small.do({"action": "cash", "by": "bob", "cheque": line, "key": line[:60]})
        if number == 9:
            small.do({"action": "depart", "user": "cyd", "session": small.world.online["cyd"].login})
            story.left["cyd"] = small.do({"action": "deregister", "user": "cyd"})
        small.tick()
        small.synced()
        if number % 3 == 2:
            small.second()
            small.synced()
            small.tick()
        if number in (5, 10) and small.journal.at_rest:
            small.expire()
            story.told["bob"].append((small.journal.given + 1, "while it is saved"))
            small.save()
    story.told["bob"].append((small.journal.given + 1, "last"))
    small.do({"action": "message", "by": "ann", "to": "bob", "text": "last"})
    assert bool(small.world.floor) == ("expiring" in mode)
    small.stop()


@pytest.mark.parametrize("mode", MODES if examples(0) else ["always, slow", "second, expiring"])
def test_the_power_fails_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """At every sixth step one of the states that may be left of it; at each, and up to twenty, with CHAT_EXAMPLES.

    Crashes of whole servers at any step are the simulation's (``tests/proofs/sim``). Here the folder is a real one, and
    all that is stored is read back, for both sides of each message.
    """
    chance = new_chance(mode)
    for name in ("fsync", "fdatasync"):  # the disk that matters is ours
        monkeypatch.setattr(os, name, lambda fd: None)
    monkeypatch.setattr(streams, "CHUNK", 2)
    monkeypatch.setattr(streams, "TAIL", 4)
    monkeypatch.setattr(messages, "SEGMENT", 5_000)
    monkeypatch.setattr(mailboxes, "AT_ONCE", 2)
    home = tmp_path / "home"
    home.mkdir()
    disk, story = Disk(home, chance), Story()
    small: Small | None = None
    starts = 0

    def fail() -> None:
        nonlocal starts
        if disk.steps % STEPS and not examples(0):
            return
        if small is None:  # the first start: nobody was told anything yet
            story.kept = 0
        else:
            story.kept = min(story.answered, small.journal.durable) if "second" in mode else story.answered
        for _ in range(min(20, examples(1))):
            after = tmp_path / "after"
            disk.cut(after)
            starts += 1
            if chance.random() < 0.3:
                after = cut_in_a_start(after, tmp_path / "again", chance)
            go_on(after, story)

    disk.before_each = fail
    with disk.watched():
        small = Small(home, story.note)
        live(small, story, chance, mode)
        fail()
    assert disk.steps > 200 and starts > disk.steps // (2 * STEPS)


def cut_in_a_start(folder: Path, again: Path, chance: Any) -> Path:
    """The power comes back, and fails again before the server has started."""
    disk, left = Disk(folder, chance), chance.randrange(1, 40)

    def fail() -> None:
        if disk.steps == left:
            raise PowerCut

    disk.before_each = fail
    try:
        with disk.watched():
            Small(folder).close()
    except PowerCut:
        disk.cut(again)
        return again
    return folder


def go_on(folder: Path, story: Story) -> None:
    """A start, a message, a clean stop, and a start."""
    small = Small(folder)
    story.check(small)
    for user in USERS[:2]:
        if user not in small.world.accounts:
            small.do({"action": "register", "user": user, "verifier": str(PASSWORD)})
    small.now += 5 * DAY
    for user in USERS[:2]:
        small.do({"action": "login", "user": user, "address": "10.0.0.1"})
    small.do({"action": "message", "by": "ann", "to": "bob", "text": "on we go"})
    for _, memo in story.paid:  # a client that never heard
        small.do({"action": "pay", "by": "ann", "to": "bob", "amount": 7, "memo": memo, "key": memo})
    for _, number, line in story.cheques:
        small.do({"action": "cash", "by": "bob", "cheque": line, "key": f"again {number}"})
    small.tick()
    before = {user: (small.mail(user), small.sent(user)) for user in USERS if user in small.world.accounts}
    assert before["bob"][0][-1] == before["ann"][1][-1] == "on we go"
    small.stop()
    small = Small(folder)
    assert {user: (small.mail(user), small.sent(user)) for user in before} == before
    found = ledger.read(small.home.data / NAME)
    assert {memo: 1 for _, memo in story.paid} == found.memos, "each is paid by now, and once"
    assert {("ann", number): 1 for _, number, _ in story.cheques} == found.cheques, "and cashed"
    small.close()
