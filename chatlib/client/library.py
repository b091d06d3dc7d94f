"""The client as a library: a bot in ten lines. Blocking, one thread; the connection comes back by itself.

    with Client("127.0.0.1", 1234) as chat:
        chat.login("bot", "secret")
        for event in chat.events():
            if event["event"] == "message":
                try:
                    chat.message(str(event["from"]), "you said: " + str(event["text"]))
                except Refused as refused:  # by someone who blocks the bot, say
                    print(refused)

Must not know terminals. An event is acknowledged when the next one is asked for, at a clean end of the ``with`` block
(``break``, ``return``, ``sys.exit()``) and by ``logout``. A bot that dies while it works on one, or leaves the block by
an exception, gets that one again at its next start. A bot that must not do its work twice then gives its requests a
``key`` that depends on the event (``key=f"echo-{event['seq']}"``): the server carries out each key once.
Heartbeats are sent while a call waits here; a bot that is busy elsewhere for longer comes back at its next call.
Events that nobody asks for wait here. Of those without a ``seq`` (who comes and goes) the last MAX_PASSING are kept;
the others are mail, which is never thrown away unread: a bot that wants none of it asks for it now and then.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from chatlib.client import news as n
from chatlib.client.addresses import ServerAddress, addresses_of
from chatlib.client.alarm import Alarm
from chatlib.client.bank import BankCalls
from chatlib.client.cheques import Cheques
from chatlib.client.conversation import Conversation
from chatlib.client.failures import Disconnected, Refused, refuse_unsendable
from chatlib.client.files import Fetching, Place, Sending, UserFiles
from chatlib.client.forum import ForumCalls
from chatlib.client.link import Link
from chatlib.client.localfiles import TransferError
from chatlib.client.memory import FileMemory
from chatlib.client.news import Fields, News
from chatlib.client.peercalls import PeerCalls
from chatlib.client.peers import Peers
from chatlib.client.servers import Servers
from chatlib.client.talk import TalkCalls
from chatlib.client.transfers import Transfer, TransferQueue
from chatlib.client.trust import FILE as KNOWN_SERVERS
from chatlib.client.trust import KnownServers
from chatlib.client.trusts import Trusts
from chatlib.reactor.loop import Loop

MAX_PASSING = 10_000


def _raise(fault: BaseException) -> None:
    raise fault


class Client(TalkCalls, ForumCalls, BankCalls, PeerCalls):
    """One user at one server, or at one of several that show one world: ``Client("a:1234,b:1234")``. The first is
    chosen by chance; when it is gone, the next one goes on.

    Legal order: build, ``register``/``deregister``/``login``, the others, ``close``.

    Every call raises Refused (``NOT_ALLOWED``: in the wrong order), Disconnected, or TimeoutError after `timeout`
    seconds. None: it waits for ever, also while the server is away; but when this is built, the server has to be there.
    `memory`: a folder in which unanswered requests outlive the program. `listen`: a port on which others may call
    directly; 0: any that is free; None: nobody can. One that cannot be opened is the event ``uncallable`` {text}.
    `tls`: nobody on the network can read along, and proofs are bound to the server's certificate, whose ``fingerprint``
    the server prints at its start; `memory` remembers it, and another one later is refused. `cafile`: TLS, with a
    server that this CA vouches for. Raises ValueError for a file that is none. Of several servers, one that is not
    known by then is not gone to with a password that was given already: see :mod:`chatlib.client.trusts`.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        reconnect: bool = True,
        timeout: float | None = None,
        memory: str | Path | None = None,
        listen: int | None = None,
        tls: bool = False,
        cafile: str | Path | None = None,
    ) -> None:
        if port is not None and not 0 < int(port) <= 65_535:  # the system would take the rest of a division
            raise ValueError(f"A port is a number from 1 to 65535, not {port}.")
        trusts = None
        if tls or cafile:
            known = KnownServers(Path(memory) / KNOWN_SERVERS) if memory else None
            trusts = Trusts(cafile=Path(cafile) if cafile else None, known=known)
        servers = Servers(addresses_of(host, None if port is None else str(int(port))), trusts)
        self.timeout = timeout
        self._loop = Loop(on_fault=_raise)
        self._memory = FileMemory(Path(memory)) if memory else None
        self._conversation = Conversation(self._memory, reconnect=reconnect)
        self._cheques = Cheques(self._conversation, self._memory.beside if self._memory else lambda _: None)
        self._link = Link(self._loop, servers, self._conversation)
        self._transfers = TransferQueue(self._loop, self._conversation, lambda: self._link.peer)
        self._peers = Peers(self._loop, self._conversation, lambda: self._link.local, listen=listen)
        self._turned_down = {}
        self._alarm = Alarm(self._loop)
        self._events: deque[Fields] = deque()
        self._passing = 0  # how many of those have no seq
        self._told: Fields | None = None  # the event that is being worked on
        self._news: deque[News] = deque()  # all other news, until someone waits for them
        self._loop.phases = [self._link.turn, self._collect, self._link.flush]
        try:
            self._await(n.Greeted)
        except BaseException:
            self.close()
            raise

    # Coming and going.

    @property
    def user(self) -> str:
        """Who is logged in, as registered."""
        return self._conversation.user

    @property
    def server(self) -> ServerAddress:
        """The ``host`` and ``port`` of the server that there is a connection to, or that is tried."""
        return self._link.at

    @property
    def fingerprint(self) -> str:
        """Of the server's certificate, ``SHA256:`` and 64 hexadecimal digits; empty without a connection over TLS."""
        certificate = self._link.certificate
        return certificate.fingerprint if certificate else ""

    def login(self, user: str, password: str) -> int:
        """Comes in; returns how many messages wait. Raises ScramError for a password that cannot be one."""
        self._only("login", before=True)
        self._conversation.login(user, self._now())
        item = self._await(n.Challenged, n.Answered, n.LoggedIn)
        if isinstance(item, n.Challenged):
            self._conversation.give_password(password)
            self._conversation.prove(self._now())
            item = self._await(n.Answered, n.LoggedIn)
        if isinstance(item, n.Answered):
            raise Refused(item.reply)
        return cast(n.LoggedIn, item).unread

    def register(self, user: str, password: str) -> None:
        """Makes an account; ``login`` comes after."""
        self._only("register", before=True)
        self._conversation.register(user, password, self._now())
        self._answer(self._await(n.Answered))

    def deregister(self, user: str, password: str) -> None:
        """Removes an account and its mail; before ``login``."""
        self._only("deregister", before=True)
        self._conversation.deregister(user, self._now())
        self._proven(password, None)

    def change_password(self, old: str, new: str) -> None:
        """For the user who is logged in."""
        self._only("change_password")
        self._conversation.change_password(self._now())
        self._proven(old, new)

    def sessions(self) -> list[Fields]:
        """Where one is logged in: ``number``, ``address``, ``time``, ``here``."""
        return cast(list[Fields], self.request("sessions")["items"])

    def logout(self, number: int | None = None) -> None:
        """Leaves, after all replies have come, and acknowledges the last event. With a number: ends another session."""
        if number is not None:
            self.request("logout", {"number": number})
            return
        self._worked_on()
        self._leave()

    def _leave(self) -> None:
        self._farewell()
        self._conversation.logout(self._now())
        while self._conversation.ended is None:
            self._tick(None)

    def close(self) -> None:
        """Gives everything back, at once."""
        self._conversation.end("CLOSED", "This client was closed: build another one.")
        self._transfers.stop()
        self._peers.stop()
        self._link.close()
        self._loop.close()
        self._cheques.close()
        if self._memory:
            self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The end of a loop over `events` does not tell: its generator is closed in the same way by `break` and by what
        # is raised in its body.
        clean = error is None or (isinstance(error, SystemExit) and not error.code)
        try:
            if clean:
                self._worked_on()
            if self._conversation.user and self._conversation.ended is None:
                self._leave()
        finally:
            self.close()

    # Files.

    def send_file(self, to: str, path: str | Path) -> None:
        """Puts a file on the server for one user. Goes on where an earlier try for the same file was cut.

        Raises TransferError for a local file that cannot be sent; `timeout` counts from the last byte that moved.
        """
        self._put(UserFiles(to), path)

    def files(self) -> list[Fields]:
        """What waits to be fetched, newest first: ``from``, ``name``, ``size``, ``sha256``, ``time``."""
        return cast(list[Fields], self.request("fileget")["items"])

    def fetch(self, sender: str, name: str, folder: str | Path = ".") -> Path:
        """Saves a waiting file in `folder`, which exists, verified, under a name that is safe and free: the answer.

        Goes on where an earlier try was cut. Raises TransferError for a folder or disk that does not take it.
        """
        fetching = self._get(UserFiles(sender), name, folder)
        while fetching.receipt and fetching.receipt in self._conversation.outbox.pending.values():
            self._raise_if_over()
            if not self._tick(self._deadline()):
                break  # it is here; that this was said is not certain yet
        assert fetching.path is not None
        return fetching.path

    def decline(self, sender: str, name: str) -> None:
        """Refuses a waiting file: the server removes it, and the sender is told."""
        self.request("filedecline", {"from": sender, "name": name})

    def _put(self, place: Place, path: str | Path) -> None:
        self._carry(Sending(self._transfers, place, str(path)))

    def _get(self, place: Place, name: str, folder: str | Path) -> Fetching:
        fetching = Fetching(self._transfers, place, name, Path(folder))
        self._carry(fetching)
        return fetching

    def _carry(self, transfer: Transfer) -> None:
        """Waits for its end."""
        self._only("files")
        self._transfers.add(transfer)
        place, deadline = None, self._deadline()
        try:
            while not transfer.over:
                self._raise_if_over()
                if place != (place := (transfer.stage, transfer.position, transfer.signs)):
                    deadline = self._deadline()
                if not self._tick(deadline):
                    raise TimeoutError("The transfer does not go on.")
        finally:
            transfer.end("The transfer was stopped.")
        if transfer.refusal:
            raise Refused(transfer.refusal)
        if transfer.failure:
            self._raise_if_over()
            raise TransferError(transfer.failure)

    # Everything else.

    def request(self, action: str, fields: Fields | None = None, *, key: str | None = None) -> Fields:
        """Anything the command table has: the whole reply, or Refused."""
        self._only(action)
        refuse_unsendable(action, fields or {}, key)
        request = self._conversation.request(action, fields or {}, self._now(), key)
        while True:
            item = self._await(n.Answered)
            if isinstance(item, n.Answered) and item.request is request:
                return self._answer(item)

    def events(self, timeout: float | None = None) -> Iterator[Fields]:
        """What happens, one by one, until one has logged out, or nothing happens for `timeout` seconds."""
        try:
            while (event := self.next_event(timeout)) is not None:
                yield event
        except Disconnected as over:
            if over.status != "LOGGED_OUT":
                raise

    def next_event(self, timeout: float | None = None) -> Fields | None:
        """The next event, None when there is none for `timeout` seconds; acknowledges the one before."""
        self._worked_on()
        deadline = None if timeout is None else self._now() + timeout
        while not self._events:
            self._only("next_event")
            if not self._tick(deadline):
                return None
        self._told = self._events.popleft()
        self._passing -= self._passes(self._told)
        self._count_direct(self._told, -1)
        return self._told

    # Inside.

    def _worked_on(self) -> None:
        """The event that was handed out last need not come again."""
        if self._told is not None:
            self._conversation.shown(self._told, self._now())
            self._peers.shown(self._told)
            self._told = None

    def _now(self) -> float:
        return time.monotonic()

    def _deadline(self) -> float | None:
        return None if self.timeout is None else self._now() + self.timeout

    def _proven(self, password: str, new: str | None) -> None:
        item = self._await(n.Challenged, n.Answered)
        if isinstance(item, n.Challenged):
            try:
                self._conversation.give_password(password)
                self._conversation.prove(self._now(), new)
            except ValueError:
                self._conversation.cancel()
                raise
            item = self._await(n.Answered)
        self._answer(item)

    def _answer(self, item: News) -> Fields:
        reply = cast(n.Answered, item).reply
        if n.status_of(reply) not in n.FINE:
            raise Refused(reply)
        return reply

    def _await(self, *kinds: type[News]) -> News:
        """The next news of one of `kinds`; forgets those that nobody waits for."""
        deadline = self._deadline()
        while True:
            while self._news:
                item = self._news.popleft()
                if isinstance(item, kinds):
                    return item
            self._raise_if_over()
            if not self._tick(deadline):
                raise TimeoutError("The server has not answered in time.")

    def _raise_if_over(self) -> None:
        ended = self._conversation.ended
        if ended is not None:
            raise Disconnected(ended.status, ended.text or "This client has logged out: build another one.")

    def _only(self, call: str, before: bool = False) -> None:
        """Raises Refused for a call that comes too early, or too late."""
        self._raise_if_over()
        if before != (not self.user):
            text = f'"{self.user}" is logged in: too late for "{call}".' if before else f'Log in before "{call}".'
            raise Refused({"status": "NOT_ALLOWED", "text": text})

    def _tick(self, deadline: float | None) -> bool:
        """One turn of the loop; False when `deadline` has passed."""
        if deadline is not None:
            if self._now() >= deadline:
                return False
            self._alarm.set(deadline)
        self._conversation.active(self._loop.now)  # a bot that waits is there
        self._link.flush()
        self._loop.tick()
        return True

    def _collect(self) -> None:
        while self._conversation.has_news:  # some news make others
            self._hear()

    def _hear(self) -> None:
        for item in self._conversation.take_news():
            if self._heard_of_peers(item) or self._transfers.heard(item):
                continue
            self._cheques.heard(item)
            if isinstance(item, n.Arrived):
                self._keep(item.event)
            else:
                self._news.append(item)

    def _keep(self, event: Fields) -> None:
        self._events.append(event)
        self._passing += self._passes(event)
        self._count_direct(event, 1)
        if self._passing > 2 * MAX_PASSING:  # now and then, not for each
            self._passing = MAX_PASSING
            surplus = iter(range(MAX_PASSING + 1))
            self._events = deque(each for each in self._events if not self._passes(each) or next(surplus, None) is None)
