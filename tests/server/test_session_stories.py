"""Random stories of users with several sessions each, against a model that is a list of what was said to whom.

Each session must be told all that it has a right to, once, in the order of the seqs: what waited unseen when it began
(or, where it comes back, all that it has not acknowledged itself, and what its user has sent meanwhile), what came
since, and what its user sent elsewhere. Stored messages are handed out one in a tick, so others speak while a session
catches up.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from chatlib.core.sessions import sessions_of
from tests.chance import examples, new_chance
from tests.server.house import PASSWORD, House, Peer

USERS = ("ann", "bea", "cyd")
TOLD = ("message", "broadcast", "post", "sent")


class Place:
    """A session, and what it must be told: pairs of a seq and a text."""

    def __init__(self, user: str, client: str, peer: Peer) -> None:
        self.user, self.client, self.peer = user, client, peer
        self.due: list[tuple[int, str]] = []
        self.acknowledged = 0

    @property
    def told(self) -> list[tuple[int, str]]:
        return [(event["seq"], event["text"]) for event in self.peer.events if event["event"] in TOLD]


class Story:
    """The house and the model of it."""

    def __init__(self, house: House, chance: Random) -> None:
        self.house, self.chance = house, chance
        self.open: list[Place] = []
        self.over: list[Place] = []  # broken, replaced or logged out; they may come back
        self.kept: dict[str, list[tuple[int, str]]] = {user: [] for user in USERS}  # what was stored for each
        self.sent: dict[str, list[tuple[int, str]]] = {user: [] for user in USERS}  # and what each sent to one other
        self.seen = {user: house.server.world.accounts[user].seen for user in USERS}
        self.blocks: set[tuple[str, str]] = set()
        self.following = {USERS[0]}
        self.posts: set[int] = set()
        self.number = 0

    @property
    def lsn(self) -> int:
        return self.house.server.world.lsn

    def say(self, place: Place, action: str, **fields: Any) -> int:
        """Has a request carried out, and nothing more; its LSN."""
        place.peer.say({"action": action, **fields})
        self.house.tick()
        place.peer.hear()
        return self.lsn

    def text(self) -> str:
        self.number += 1
        return f"text {self.number}"

    # What people do.

    def login(self, user: str) -> None:
        self.enter(user, f"client {self.number}-{len(self.open)}-{len(self.over)}", 0, resume=False)

    def come_back(self, user: str) -> None:
        """A client whose connection broke, or that thinks so."""
        known = [place for place in [*self.open, *self.over] if place.user == user]
        if known:
            place = self.chance.choice(known)
            self.enter(user, place.client, place.acknowledged, resume=True)

    def enter(self, user: str, client: str, seen: int, resume: bool) -> None:
        here = [place for place in self.open if place.user == user]
        peer = self.house.greet(client=client)
        exchange, challenge = peer.challenge("login", user)
        final = peer.final(exchange, challenge, PASSWORD)
        peer.say({"action": "login", "scram": final, "seen": seen, **({"resume": True} if resume else {})})
        self.house.tick()
        peer.hear()
        same = [place for place in here if place.client == client]
        if len(here) == 3 and not same:
            assert peer.heard[-1]["status"] == "TOO_MANY_SESSIONS"
            peer.hang_up()
            return
        for place in same:
            self.ends(place)
        place = Place(user, client, peer)
        self.seen[user] = max(self.seen[user], seen)
        known = max([seen, *(each.acknowledged for each in same)])
        place.acknowledged = since = known if resume or same else self.seen[user]
        assert [message["since"] for message in peer.heard if "since" in message] == [since]
        said = sorted(self.kept[user] + self.sent[user]) if resume else self.kept[user]
        place.due = [each for each in said if each[0] > since]
        self.open.append(place)

    def ends(self, place: Place) -> None:
        self.open.remove(place)
        self.over.append(place)

    def hang_up(self, place: Place) -> None:
        place.peer.hear()
        place.peer.hang_up()
        self.house.tick(2)
        self.ends(place)

    def logout(self, place: Place) -> None:
        """Of this session, or of another one of the same user."""
        other = self.chance.choice([each for each in self.open if each.user == place.user])
        self.house.settle()
        login = next(m["seq"] for m in other.peer.heard if m.get("action") == "login" and "seq" in m)
        sessions = sessions_of(self.house.server.world, place.user)
        place.peer.ask("logout", number=next(each.number for each in sessions if each.login == login))
        self.house.settle()
        other.peer.hear()
        assert other.peer.events[-1]["status"] == "LOGGED_OUT"
        self.ends(other)

    def acknowledge(self, place: Place) -> None:
        place.peer.hear()
        if place.told:
            seq = self.chance.choice(place.told)[0]
            self.say(place, "alive", seen=seq)
            place.acknowledged = max(place.acknowledged, seq)
            self.seen[place.user] = max(self.seen[place.user], seq)

    def message(self, place: Place) -> None:
        to, text = self.chance.choice([user for user in USERS if user != place.user]), self.text()
        seq = self.say(place, "message", to=to, text=text)
        if (to, place.user) not in self.blocks:
            self.keep(to, seq, text)
            self.sent[place.user].append((seq, text))
            for other in self.open:
                if other.user == place.user and other is not place:
                    other.due.append((seq, text))

    def broadcast(self, place: Place) -> None:
        text = self.text()
        seq = self.say(place, "broadcast", text=text)
        for user in USERS:
            if (user, place.user) not in self.blocks:
                self.keep(user, seq, text)

    def post(self, place: Place) -> None:
        text = self.text()
        seq = self.say(place, "msg", title="plans", text=text)
        self.following.add(place.user)
        self.posts.add(seq)
        for user in self.following:
            if (user, place.user) not in self.blocks:
                self.keep(user, seq, text)

    def keep(self, user: str, seq: int, text: str) -> None:
        self.kept[user].append((seq, text))
        for place in self.open:
            if place.user == user:
                place.due.append((seq, text))

    def follow(self, place: Place) -> None:
        self.house.settle()  # whoever catches up is not told what is unfollowed meanwhile
        if place.user in self.following:
            self.say(place, "unfollow", title="plans")
            self.following.remove(place.user)
            self.kept[place.user] = [each for each in self.kept[place.user] if each[0] not in self.posts]
        else:
            self.say(place, "follow", title="plans")
            self.following.add(place.user)

    def block(self, place: Place) -> None:
        other = self.chance.choice([user for user in USERS if user != place.user])
        known = (place.user, other) in self.blocks
        self.say(place, "unblock" if known else "block", user=other)
        self.blocks ^= {(place.user, other)}

    def crash(self) -> None:
        """The server dies when it has told the disk who has seen what."""
        self.house.pass_time(2)
        self.house.crash()
        self.house.restart()
        self.over, self.open = [*self.over, *self.open], []

    def pause(self) -> None:
        self.house.tick(self.chance.randrange(1, 5))
        if self.chance.random() < 0.3:
            self.house.pass_time(1)

    # What must hold.

    def act(self) -> None:
        kinds = ["message"] * 5 + ["acknowledge"] * 4 + ["follow", "block", "logout"]
        kinds += ["broadcast", "post", "hang_up", "login", "come_back", "pause"] * 2
        kind = self.chance.choice(kinds) if self.chance.random() > 0.01 else "crash"
        if kind in ("login", "come_back"):
            getattr(self, kind)(self.chance.choice(USERS))
        elif kind in ("pause", "crash"):
            getattr(self, kind)()
        elif self.open:
            getattr(self, kind)(self.chance.choice(self.open))

    def look(self) -> None:
        self.house.settle()
        delivery, world = self.house.server.delivery, self.house.server.world
        for place in self.open:
            place.peer.hear()
            assert place.told == place.due, (place.user, place.client)
        for place in self.over:
            assert place.told == place.due[: len(place.told)], "in order, as far as it was there"
        for user in USERS:
            here = [place for place in self.open if place.user == user]
            logins = {session.login for session in delivery.of(user)}
            assert logins == {each.login for each in sessions_of(world, user)} and len(logins) == len(here)
            assert {session.login for session in delivery._listening(user)} == logins
            assert user in world.online or not here
        assert not delivery._held and (delivery.hearing(), len(delivery.sessions)) == (len(world.online),) * 2
        assert not self.house.server.seats._entering


@pytest.mark.parametrize("story", range(2))
def test_each_session_is_told_everything_once_and_in_order(
    build: Callable[..., House], monkeypatch: pytest.MonkeyPatch, story: int
) -> None:
    monkeypatch.setattr("chatlib.server.catchup.BATCH", 1)
    chance = new_chance(story)
    for _ in range(examples(4)):
        house = build(users=USERS, DUPLICATE_LOGIN="share", SESSIONS=3)
        ann = house.login("ann")
        ann.ask("crt", title="plans")
        ann.ask("logout")
        told = Story(house, chance)
        for _ in range(8):
            for _ in range(25):
                told.act()
            told.look()
        house.close()
        house.running = False
