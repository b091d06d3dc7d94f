"""People in the simulation: the library's own Conversation, Outbox, Memory and Link, on simulated clock and sockets.

Each asks what the story says, hears what comes, breaks off, is killed, and comes back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.files import Fetching, Sending, UserFiles
from chatlib.client.link import Link
from chatlib.client.localfiles import TransferError
from chatlib.client.memory import FileMemory
from chatlib.client.news import Fields, News, Request
from chatlib.client.servers import Servers
from chatlib.client.transfers import TransferQueue
from chatlib.protocol.cheque import Cheque, expiry_of, write
from chatlib.protocol.commands import State
from chatlib.reactor.loop import Loop
from tests.proofs.sim.machine import PEOPLE, Machine
from tests.proofs.sim.net import PORT, Network
from tests.proofs.sim.nodes import Process
from tests.proofs.sim.words import PASSWORDS

AGAIN = 3.0  # seconds after which a person whose conversation has ended begins another one


@dataclass
class Asked:
    """What an outbox has accepted."""

    by: str
    number: int
    action: str
    fields: Fields
    key: str
    reply: Fields | None = None

    @property
    def unknown(self) -> bool:
        """Whether it has no answer: the user has left for good before it came."""
        return self.reply is None

    @property
    def seq(self) -> int:
        """Of what it did; 0: nothing, or not known."""
        seq = self.reply.get("seq") if self.reply and self.reply.get("status") == "OK" else 0
        return seq if isinstance(seq, int) else 0


@dataclass
class Person:
    """One user. `wanted`: what is asked one after the other, whenever there is a session."""

    machine: Machine
    network: Network
    name: str
    address: str
    password: str
    asked: list[Asked] = field(default_factory=list)
    heard: list[Fields] = field(default_factory=list)  # events with a seq
    wants: list[Callable[[], None]] = field(default_factory=list)  # not asked yet
    sent: dict[str, bytes] = field(default_factory=dict)  # files, by path
    gone: bool = False  # the account is removed, and nobody wants another
    leaving: bool = False  # it is to be removed
    late: bool = False  # registers, when everything has begun

    def __post_init__(self) -> None:
        self._woken = False
        self.folder = f"{PEOPLE}/{self.name}"
        self._runs = 0  # which of its programs runs
        self.process: Process | None = None
        self.conversation: Conversation | None = None
        self._by_key: dict[str, Asked] = {}
        self._new_password = ""  # while it is being changed
        self.comes_back = False

    # The program.

    def begin(self) -> None:
        """A program is started."""
        machine, chance = self.machine, self.machine.chance
        self._runs += 1
        self._new_password = ""
        self.process = machine.process = machine.new_process()
        machine.woken[self.process.number], machine.addresses[self.process.number] = self.wake, self.address
        self.loop = Loop(_raise, machine.monotonic, machine.wall)
        self.memory = FileMemory(Path(PEOPLE) / "memory", self._complain)
        self.conversation = Conversation(
            self.memory, token=lambda: chance.randbytes(6).hex(), salt=lambda: b"%016d" % chance.randrange(64)
        )
        self.files = TransferQueue(
            self.loop, self.conversation, lambda: self.link.peer, chance.random
        )
        self.link = Link(self.loop, Servers(f"server:{PORT}"), self.conversation, chance.random)
        self.loop.phases = [self.link.turn, self._collect, self.link.flush]
        if self.leaving:
            self.conversation.deregister(self.name, self.loop.now)
        else:
            self.conversation.login(self.name, self.loop.now)
        machine.process = None
        self.wake()

    def _complain(self, text: str) -> None:
        raise AssertionError(f"{self.name}: {text}")

    def kill(self) -> None:
        """The program is killed; its files stay."""
        if self.process is None:
            return
        self.machine.note(self.name, "is killed")
        for end in list(self.process.open.values()):
            if hasattr(end, "break_"):
                end.break_(self.machine.chance.random() < 0.3)
        self.process.end()
        self.process = self.conversation = None

    def end(self) -> None:
        """The program ends by itself; another one follows later."""
        assert self.process is not None
        self.machine.process = self.process
        self.link.close()
        self.files.stop()
        self.memory.close()
        self.loop.close()
        self.machine.process = None
        self.process.end()
        self.process = self.conversation = None
        if not self.gone and not self.comes_back:
            self.comes_back = True
            self.machine.later(AGAIN, self.come_back)

    def come_back(self) -> None:
        self.comes_back = False
        if self.process is None and not self.gone:
            self.begin()

    def wake(self) -> None:
        """Something may be ready: a turn, soon."""
        if not self._woken and self.process is not None:
            self._woken = True
            self.machine.later(self.machine.chance.choice((0.0, 0.0, 0.001)), self._turn)

    def _turn(self) -> None:
        self._woken = False
        if self.process is None or self.conversation is None:
            return
        machine = self.machine
        machine.process = self.process
        self._say()
        self.link.flush()
        self.loop.tick()
        patience = 0.0 if self.loop._selector.select(0) else self.loop._patience()
        machine.process = None
        if self.conversation.ended is not None:
            self.end()
        elif patience is not None and patience < 1e9:
            runs = self._runs
            machine.later(patience, lambda: self.wake() if runs == self._runs else None)

    # What it says.

    @property
    def online(self) -> bool:
        return self.conversation is not None and self.conversation.state is State.ONLINE

    def _say(self) -> None:
        if self.online and self.wants:
            self.wants.pop(0)()

    def ask(self, action: str, **fields: Any) -> None:
        """The outbox accepts a request."""
        assert self.conversation is not None
        request = self.conversation.request(action, fields, self.loop.now)
        if request.key:
            asked = Asked(self.name, len(self.asked), action, fields, request.key)
            self.asked.append(asked)
            self._by_key[request.key] = asked
            self.machine.note(self.name, "asks", action, asked.number, request.key)

    def write_cheque(self, to: str, amount: int, number: str) -> str:
        """A line that somebody may cash; "": not now."""
        assert self.conversation is not None
        signature = self.conversation.signature
        if signature is None:
            return ""
        return write(Cheque(self.name, to, amount, number, expiry_of(self.machine.wall())), signature.key)

    def send_file(self, to: str, content: bytes) -> None:
        """Begins to."""
        path = f"{self.folder}/{self.name}-{len(self.sent)}"
        with open(path, "wb") as file:
            file.write(content)
        self.sent[path] = content
        self.files.add(Sending(self.files, UserFiles(to), path))

    def log_out(self) -> None:
        assert self.conversation is not None
        self.conversation.logout(self.loop.now)

    def leave_for_good(self) -> None:
        """The account is removed by the next program."""
        self.leaving = True
        self.log_out()

    def change_password(self, new: str) -> None:
        assert self.conversation is not None
        if not self._new_password:
            self._new_password = new
            self.conversation.change_password(self.loop.now)

    @property
    def waits(self) -> list[Asked]:
        """What has no answer yet."""
        return [asked for asked in self.asked if asked.reply is None]

    @property
    def content(self) -> bool:
        """Nothing is left to be said or heard."""
        return self.gone or (self.online and not self.wants and not self.waits and not self.files.all)

    # What it hears.

    def _collect(self) -> None:
        conversation = self.conversation
        assert conversation is not None
        while conversation.has_news:
            for item in conversation.take_news():
                if not self.files.heard(item):
                    self._hear(conversation, item)

    def _hear(self, conversation: Conversation, item: News) -> None:
        now = self.loop.now
        match item:
            case n.Challenged(action="login"):
                conversation.give_password(self.password)
                conversation.prove(now)
            case n.Challenged(action="password"):
                conversation.give_password(self.password)
                conversation.prove(now, self._new_password)
            case n.Challenged():  # of a deregistration
                conversation.give_password(self.password)
                conversation.prove(now)
            case n.LoggedIn():
                self.machine.note(self.name, "is online", item.unread, item.again, conversation.seen)
                if self.wants:
                    self.wake()
            case n.Arrived():
                self._arrived(conversation, item.event)
            case n.Answered():
                self._answered(conversation, item.request, item.reply)

    def _arrived(self, conversation: Conversation, event: Fields) -> None:
        seq = event.get("seq")
        if isinstance(seq, int):
            self.machine.note(self.name, "hears", event.get("event"), seq)
            self.heard.append(event)
        if event["event"] == "file":
            self._fetch(str(event["from"]), str(event["name"]))
        conversation.shown(event, self.loop.now)

    def _fetch(self, sender: str, name: str) -> None:
        with contextlib.suppress(TransferError):  # it is on its way already
            self.files.add(Fetching(self.files, UserFiles(sender), name, Path(self.folder)))

    def _answered(self, conversation: Conversation, request: Request, reply: Fields) -> None:
        status = reply.get("status")
        self.machine.note(self.name, "is answered", request.action, status, reply.get("seq", ""), request.key)
        if request.action == "login":
            if status == "NO_SUCH_USER":
                conversation.register(self.name, self.password, self.loop.now)
            elif status == "WRONG_PASSWORD":
                self._try_another_password()
                conversation.login(self.name, self.loop.now)
            else:  # later
                conversation.end("LATER", "")
        elif request.action == "deregister":
            self._removed(conversation, str(status))
        elif request.action == "register":
            conversation.login(self.name, self.loop.now)
        elif request.action == "password":
            if status == "OK":
                self.password = self._new_password
            self._new_password = ""
        elif request.key in self._by_key:  # a receipt of a file is not among them
            self._hear_reply(self._by_key[request.key], reply)

    def _removed(self, conversation: Conversation, status: str) -> None:
        if status == "WRONG_PASSWORD":
            self._try_another_password()
        self.gone = status in ("OK", "NO_SUCH_USER")
        conversation.end("LATER", "")

    def _try_another_password(self) -> None:
        """A change may have been taken, or be lost, with the word on it."""
        self.password = PASSWORDS[(PASSWORDS.index(self.password) + 1) % len(PASSWORDS)]

    def _hear_reply(self, asked: Asked, reply: Fields) -> None:
        assert asked.reply is None, f"{asked} is answered twice"
        asked.reply = reply
        if self.wants:
            self.wake()


def _raise(fault: BaseException) -> None:
    raise fault
