"""What waits, what is unread and what was: whatever is done, in any order, it equals a plain list of what was said.

Streams are in chunks, saved, replayed and shortened from the front meanwhile; readers block, follow, go and come anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.core import features
from chatlib.core.effects import STORE
from chatlib.core.feature import Command, Feature
from chatlib.core.replies import Reply
from chatlib.core.streams import CHECKSUM
from chatlib.core.world import World
from tests.core.stage import HOST, Stage, all_waiting, picture, whole_history

USERS = ("ann", "bob", "cyd")
THREADS = ("#one", "#two")  # streams of a feature's own

pytestmark = pytest.mark.usefixtures("small_streams")


def _say_in(world: World, lsn: int, command: Command) -> Reply:
    """A toy feature's post, for whoever follows the thread."""
    name, sender = command["thread"], command["by"]
    line = f' {name} {{"event":"post","seq":{lsn},"from":"{sender}","text":"{command["text"]}"}}\n'.encode()
    world.say_in(name, sender, line, (STORE, line, None))
    return {"status": "OK"}


def _follow(world: World, lsn: int, command: Command) -> Reply:
    account = world.accounts[command["by"]]
    follows = account.follows = account.follows or {}
    if follows.pop(command["thread"], None) is None:
        follows[command["thread"]] = lsn
    account.follows = follows or None
    return {"status": "OK"}


@pytest.fixture(scope="module", autouse=True)
def _threads() -> Iterator[None]:
    toy = Feature("toy", handlers={"say_in": _say_in, "toy_follow": _follow})
    features.add(toy)
    yield
    features.remove(toy)


class Said(NamedTuple):
    """A message of the plain list."""

    seq: int
    offset: int
    to: str  # a user, "all" or a thread
    hidden_from: frozenset[str]
    sender: str = ""  # of a private one


class Story:
    """A stage, and beside it the plain list."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.said: list[Said] = []
        self.joined: dict[str, int] = {}
        self.follows: dict[str, dict[str, int]] = {}
        self.blocks: dict[str, set[str]] = {user: set() for user in USERS}
        self.floor = 0
        for user in USERS:
            self.come(user)

    def come(self, user: str) -> None:
        self.stage.do("register", user=user, verifier="v")
        self.joined[user], self.follows[user] = self.stage.lsn, {}
        self.stage.do("login", user=user, address=HOST)

    def say(self, sender: str, to: str) -> None:
        offset = self.stage.world.store_end
        if to in USERS:
            if to == sender:
                return
            reply = self.stage.do("message", sender, to=to, text="x")
            if reply["status"] == "OK":
                self.said.append(Said(reply["seq"], offset, to, frozenset(), sender))
            return
        if to == "all":
            self.stage.do("broadcast", sender, text="x")
        else:
            self.stage.do("say_in", sender, thread=to, text="x")
        refusing = frozenset(user for user in USERS if sender in self.blocks[user])
        self.said.append(Said(self.stage.lsn, offset, to, refusing))

    def block(self, user: str, other: str) -> None:
        if user != other:
            blocked = other in self.blocks[user]
            self.stage.do("unblock" if blocked else "block", user, user=other)
            self.blocks[user] ^= {other}

    def follow(self, user: str, thread: str) -> None:
        self.stage.do("toy_follow", user, thread=thread)
        if self.follows[user].pop(thread, None) is None:
            self.follows[user][thread] = self.stage.lsn

    def see(self, user: str, number: int) -> None:
        self.stage.do("seen", seen={user: max(0, self.stage.lsn - number)})

    def leave(self, user: str) -> None:
        """And come anew: nothing of the account is left but its namesake's blockers."""
        world = self.stage.world
        _, least, _ = world.expiring or (0, 0, "")  # what is before that goes with its segment
        mail = [one.offset for one in self.said if one.to == user and one.offset >= least]
        self.stage.do("depart", user=user, session=world.online[user].login)
        self.stage.do("deregister", user=user)
        held = self.stage.recorder.messages
        assert not any(held[offset : offset + CHECKSUM].strip() for offset in mail), "all of its mail is erased"
        self.said = [one._replace(to="" if one.to == user else one.to, sender="" if one.sender == user else one.sender)
                     for one in self.said]  # fmt: skip
        self.blocks[user] = set()
        self.come(user)

    def expire(self, number: int, interrupted: bool) -> None:
        """The oldest messages go; the disk has them no longer."""
        if not self.said:
            return
        first = self.said[min(number, len(self.said) - 1)]
        command: dict[str, Any] = {"before": first.seq, "offset": first.offset}
        floor, offset, _ = self.stage.world.expiring or (first.seq, first.offset, "")  # what was begun is ended first
        self.stage.do("expire", **command)
        while self.stage.world.expiring:
            if interrupted:
                return
            self.stage.do("expire", **command)
        self.stage.recorder.messages[:offset] = b" " * offset
        self.floor = max(self.floor, floor)
        self.said = [one for one in self.said if one.seq >= self.floor]

    def plain(self, user: str, sent: bool = False) -> list[tuple[int, int]]:
        """What `user` was sent, and has `sent`, oldest first."""
        since = {user: 0, "all": self.joined[user], **self.follows[user]}
        return [(one.seq, one.offset) for one in self.said
                if (one.seq > since.get(one.to, one.seq) and user not in one.hidden_from)
                or (sent and one.sender == user)]  # fmt: skip

    def check(self) -> None:
        world = self.stage.world
        for user in USERS:
            plain, both, account = self.plain(user), self.plain(user, True), world.accounts[user]
            history = whole_history(world, user, world.lsn + 1)
            if world.expiring:  # some have lost what others have still
                assert set(history) <= set(both)
                going = world.expiring[0]
                assert [one for one in history if one[0] >= going] == [one for one in both[::-1] if one[0] >= going]
                continue
            assert history == both[::-1]
            unseen = [one for one in plain if one[0] > account.seen]
            assert all_waiting(world, user, account.seen) == unseen
            assert world.unread(account) == len(unseen)
            for seq, offset in plain[:: max(1, len(plain) // 3)]:
                assert list(self.stage.recorder.lines([(seq, offset)], user))
                assert all_waiting(world, user, seq) == [one for one in plain if one[0] > seq]
                assert whole_history(world, user, seq) == [one for one in both if one[0] < seq][::-1]


A_USER = st.sampled_from(USERS)
ACTS = st.lists(
    st.one_of(
        *[st.tuples(st.just("say"), A_USER, st.sampled_from((*USERS, "all", "all", *THREADS)))] * 4,
        st.tuples(st.just("block"), A_USER, A_USER),
        st.tuples(st.just("follow"), A_USER, st.sampled_from(THREADS)),
        st.tuples(st.just("see"), A_USER, st.integers(0, 30)),
        st.tuples(st.just("leave"), A_USER),
        st.tuples(st.just("expire"), st.integers(0, 40), st.booleans()),
        st.tuples(st.just("save")),
        st.tuples(st.just("crash")),
    ),
    min_size=5, max_size=80,
)  # fmt: skip


@given(ACTS)
def test_it_equals_a_plain_list(acts: list[tuple[Any, ...]]) -> None:
    story = Story()
    for act, *rest in acts:
        if act == "save":
            story.stage.save()
        elif act == "crash":
            again = story.stage.replayed()
            assert picture(again) == picture(story.stage.world), "live and replayed worlds are equal"
        else:
            getattr(story, act)(*rest)
        story.check()


def test_an_account_that_goes_while_messages_expire() -> None:
    story = Story()
    for number in range(40):
        story.say(USERS[number % 3], USERS[(number + 1) % 3])
    first = story.said[20]
    story.stage.do("expire", before=first.seq, offset=first.offset)
    assert story.stage.world.expiring == (first.seq, first.offset, "bob")
    story.leave("bob")
    story.stage.save()
    story.stage.do("expire", before=first.seq, offset=first.offset)
    assert story.stage.world.floor == first.seq and not story.stage.world.expiring
    assert [seq for seq, _ in story.stage.world.history("cyd", 999)] == [
        one.seq for one in story.said[::-1] if "cyd" in (one.to, one.sender) and one.seq >= first.seq
    ]


def test_who_has_no_messages_left_has_no_mail() -> None:
    story = Story()
    for _ in range(9):
        story.say("ann", "bob")
    story.say("ann", "cyd")
    story.expire(9, False)
    world = story.stage.world
    assert [len(world.accounts[user].mail.seqs) for user in USERS] == [0, 0, 1]
    story.stage.save()
    story.say("ann", "bob")
    assert len(list(story.stage.world.history("bob", 999))) == 1


@pytest.mark.parametrize("how", ["blocked", "unblocked", "blocked again"])
def test_blocks_need_no_more_than_the_last_thing_said(how: str) -> None:
    """Also behind the floor: what is gone needs not be hidden."""
    story = Story()
    story.block("ann", "bob")
    for _ in range(9):
        story.say("bob", "all")
    if how != "blocked":
        story.block("ann", "bob")
    for _ in range(9):
        story.say("cyd", "all")
    story.expire(9, False)
    assert story.stage.world.said == {"cyd": story.said[-1].seq}
    if how == "blocked again":
        story.block("ann", "bob")
    story.stage.save()
    story.say("bob", "all")
    story.check()


@pytest.mark.parametrize("first", ["all", *THREADS])
def test_what_many_blocks_hide_in_one_stream_loses_nothing_of_another(first: str) -> None:
    story = Story()
    for thread in THREADS:
        story.follow("ann", thread)
    story.block("ann", "bob")
    for number in range(120):
        story.say("bob" if number % 20 else "cyd", first)
        story.say("cyd" if number % 2 else "bob", "all" if first == THREADS[0] else THREADS[0])
        story.say("cyd" if number % 30 == 0 else "bob", THREADS[1])
    story.check()


def test_who_follows_much_is_handed_the_first_of_all_of_it() -> None:
    story = Story()
    for thread in THREADS:
        story.follow("ann", thread)
    for number in range(60):
        story.say("bob", ("all", *THREADS, "ann")[number * 7 % 4])
    plain, waiting = story.plain("ann"), story.stage.world.waiting
    assert [waiting("ann", 0, most) for most in range(1, 61)] == [plain[:most] for most in range(1, 61)]
    reads = count()
    chunk = story.stage.recorder.chunk
    story.stage.recorder.chunk = lambda offset: (next(reads), chunk(offset))[1]  # type: ignore[method-assign]
    assert waiting("ann", 0, 12) == plain[:12]
    assert next(reads) <= 18, "of each stream no more than can be among them"


def test_a_login_looks_for_what_blocks_hide_in_so_many_messages_of_all_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    story.block("ann", "bob")
    for thread in THREADS:
        story.follow("ann", thread)
    for number in range(90):
        story.say("bob" if number % 2 else "cyd", ("all", *THREADS)[number % 3])
    world = story.stage.world
    account = world.accounts["ann"]
    assert world.unread(account) == len(story.plain("ann"))
    monkeypatch.setattr("chatlib.core.world.COUNTED", 20)
    reads, chunk = count(), story.stage.recorder.chunk
    story.stage.recorder.chunk = lambda offset: (next(reads), chunk(offset))[1]  # type: ignore[method-assign]
    assert len(story.plain("ann")) < world.unread(account) < 90
    assert next(reads) <= 20, "not so many for each"
