"""Accounts that come and go, and are banned: whoever was registered can log in and has the mail that was acknowledged;
whoever was removed is gone, whoever was banned is kept out. In between, what was asked for and not answered may have
happened or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tests.patience import LIMIT
from tests.program.peer import PASSWORD, VERIFIER
from tests.proofs.crash_town import Town, Wrong
from tests.proofs.wires import Message, Talk, Wire, hello, prove


class State(Enum):
    """Of an account."""

    COMING = "its registration is not acknowledged"
    THERE = "it is"
    LEAVING = "its end is not acknowledged"
    GONE = "it is gone"


class Ban(Enum):
    """Of a guest."""

    NONE = "nobody has banned it, or that was undone"
    ASKED = "the console has not answered yet"
    HOLDS = "it is banned"
    LIFTED = "the console has not said yet that it is undone"


@dataclass
class Guest:
    """One account."""

    name: str
    state: State = State.COMING
    ban: Ban = Ban.NONE
    welcome: str = ""  # the key of a message
    heard: list[str] = field(default_factory=list)


class Guests:
    """All of them."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._all: list[Guest] = []

    def come(self) -> None:
        """One more registers, and is welcomed."""
        guest = Guest(f"guest{len(self._all)}")
        self._all.append(guest)
        self._wire(guest).converse(hello(self._register(guest)))

    def _register(self, guest: Guest) -> Talk:
        reply = yield {"action": "register", "user": guest.name, "verifier": VERIFIER}
        if reply["status"] != "OK":
            raise Wrong(f"{guest}: {reply}")
        guest.state = State.THERE
        ann = self._town.people["ann"]
        if ann.online:
            guest.welcome = self._town.name("ann")
            ann.ask({"action": "message", "key": guest.welcome, "to": guest.name, "text": guest.welcome})

    def leave(self) -> None:
        """One of those who are there is removed."""
        asked = self._town.people["ann"].asked
        there = [guest for guest in self._all if guest.state is State.THERE and guest.ban is Ban.NONE and
                 (not guest.welcome or asked[guest.welcome].seq)]  # fmt: skip
        if there:
            guest = self._town.chance.choice(there)
            guest.state = State.LEAVING
            self._wire(guest).converse(hello(prove("deregister", guest.name, PASSWORD, lambda r: self._left(guest, r))))

    def _left(self, guest: Guest, reply: Message) -> None:
        if reply["status"] not in ("OK", "ALREADY_ONLINE"):
            raise Wrong(f"{guest}: {reply}")
        guest.state = State.GONE if reply["status"] == "OK" else State.THERE

    def rule(self) -> str:
        """What the administrator types: somebody is banned, or is not any more; "" for nothing."""
        there = [guest for guest in self._all if guest.state is State.THERE and guest.ban in (Ban.NONE, Ban.HOLDS)]
        if not there:
            return ""
        guest = self._town.chance.choice(there)
        guest.ban = Ban.LIFTED if guest.ban is Ban.HOLDS else Ban.ASKED
        return f"unban {guest.name}" if guest.ban is Ban.LIFTED else f"ban {guest.name}"

    def was_said(self, lines: list[str]) -> None:
        """Takes in what the console has answered."""
        for guest in self._all:
            if guest.ban is Ban.ASKED and any(line.startswith(f"{guest.name} is banned") for line in lines):
                guest.ban = Ban.HOLDS
            elif guest.ban is Ban.LIFTED and f"{guest.name} is not banned any more." in lines:
                guest.ban = Ban.NONE

    def _wire(self, guest: Guest) -> Wire:
        return Wire(self._town.hub, self._town.port, lambda event: guest.heard.append(event.get("text", "")))

    def check(self, keeps: bool) -> None:
        """Everybody tries to log in. `keeps`: mail that is too old may be gone."""
        wires: list[Wire] = []
        left = {guest.name for guest in self._all}
        for guest in self._all:
            guest.heard.clear()
            wires.append(self._wire(guest))

            def done(reply: Message, guest: Guest = guest) -> None:
                self._has_tried(guest, reply)
                left.discard(guest.name)

            wires[-1].converse(hello(prove("login", guest.name, PASSWORD, done, seen=0)))
        self._town.until(lambda: not left, lambda: f"the logins of {left}")

        def missing() -> list[Guest]:
            return [one for one in self._all if one.state is State.THERE and one.ban is Ban.NONE and one.welcome
                    and not keeps and one.heard.count(one.welcome) != 1]  # fmt: skip

        self._town.until(lambda: not missing(), missing, LIMIT / 6)
        for wire in wires:
            wire.reset()

    def _has_tried(self, guest: Guest, reply: Message) -> None:
        if reply["status"] == "BANNED" and guest.ban is not Ban.NONE:
            guest.ban = Ban.HOLDS
            return
        if guest.ban is Ban.HOLDS:
            raise Wrong(f"{guest} is banned, and its login: {reply}")
        guest.ban = Ban.NONE
        there = reply["status"] == "OK"
        if not there and reply["status"] != "NO_SUCH_USER":
            raise Wrong(f"{guest}: {reply}")
        if guest.state is State.THERE and not there or guest.state is State.GONE and there:
            raise Wrong(f"{guest}, and its login: {reply}")
        guest.state = State.THERE if there else State.GONE
