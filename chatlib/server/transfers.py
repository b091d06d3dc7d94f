"""File transfers: tickets, and who may move how many bytes in a tick (design, section 4).

A ticket is asked for on the chat connection and used once, on a connection of its own, which ``carriers`` then serves.
Both belong to a login and end with it; only an upload whose bytes are all here goes on being checked. What is under way
is summed up as it changes: no request costs more because there are many tickets, transfers or waiting files.
Must not know who may send what to whom: the world does.
"""

from __future__ import annotations

import secrets
from hmac import compare_digest
from itertools import islice
from typing import TYPE_CHECKING, Any

from chatlib.core.feature import Coming
from chatlib.core.files import Waiting, file_refusal, no_such_file
from chatlib.core.replies import refusal
from chatlib.core.world import Reply
from chatlib.protocol.commands import ACTIONS, Runs, check
from chatlib.protocol.framing import BadLine, decode_request
from chatlib.protocol.text import fold
from chatlib.server.carriers import Carrier, Download, Ticket, Upload
from chatlib.server.dialects import first_line
from chatlib.server.session import Session
from chatlib.storage.blobs import part_key

if TYPE_CHECKING:
    from chatlib.server.server import Server

PER_USER = 4  # transfers at once, tickets included
TICKET_LIFE = 60.0  # seconds
ALONE = 256 << 10  # bytes that the only transfer moves in one tick: more is faster, and chat waits longer
TOGETHER = 64 << 10  # bytes moved in one tick when there are several, by one of them in turn (make bench)
_EXPIRE = 256  # tickets that expire for one request at most
_NAMED = 8  # characters of a ticket by which it is found; the others are its secret


class Transfers:
    """All tickets and transfers of a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._tickets: dict[str, Ticket] = {}  # those not used yet, the oldest first
        self._active: dict[Carrier, None] = {}
        self._of_user: dict[str, list[Ticket]] = {}  # all tickets, used or not
        self._coming: dict[str, tuple[int, int]] = {}  # by receiver: how many of them are uploads, and their bytes
        self._promised = 0  # bytes that all uploads have yet to bring
        self._tick = -1
        self._left = 0
        self.buffer = memoryview(bytearray(ALONE))  # for all uploads, one after the other
        self._every_minute()

    # On the chat connection.

    def ask_upload(self, session: Session, request: dict[str, Any]) -> Reply:
        """``file``: a ticket for an upload, and from where it goes on."""
        server, user = self.server, session.user
        to, name, size = fold(request["to"]), request["name"], request["size"]
        joined = server.world.accounts[user].joined
        to_joined = server.world.accounts[to].joined if to in server.world.accounts else 0
        key = part_key(f"{user} {joined}", f"{to} {to_joined}", name, str(size), request["sha256"])
        self._expire()
        if not self._give_up(user, key):  # all its bytes had come: it goes on
            return refusal("TOO_MANY_TRANSFERS", f'An earlier upload of "{name}" is being checked: wait for its end.')
        mine = sum(1 for ticket in self._of_user.get(user, ()) if ticket.to == to)
        coming = Coming(mine, *self._coming.get(to, (0, 0)))
        _, refused = file_refusal(server.world, user, request["to"], name, size, coming)
        if refused or (refused := self._too_many(user)):
            return refused
        if server.blobs.part_size(key) > size:
            server.blobs.drop_part(key)
        offset = server.blobs.part_size(key)
        if size - offset + self._promised > server.blobs.room():
            return refusal("NO_SPACE", f'The server\'s disk has no room for "{name}".')
        ticket = self._issue(session, "upload", request, key=key, joined=joined, to=to, to_joined=to_joined)
        ticket.left = size - offset
        self._promised += ticket.left
        return {"status": "OK", "ticket": ticket.token, "offset": offset}

    def ask_download(self, session: Session, request: dict[str, Any]) -> Reply:
        """``fileget``: what waits, or a ticket for one of them."""
        self._expire()
        waiting = self.server.world.accounts[session.user].files or Waiting()
        if "name" not in request and "from" not in request:
            return {}  # what waits: the world answers
        if "name" not in request or "from" not in request:
            return refusal("BAD_REQUEST", 'Fields "from" and "name" go together.')
        file = waiting.find(fold(request["from"]), request["name"])
        if file is None:
            return no_such_file(request["from"], request["name"])
        refused = self._too_many(session.user)
        if refused:
            return refused
        ticket = self._issue(session, "download", request, file=file)
        return {"status": "OK", "ticket": ticket.token, "size": file.size, "sha256": file.sha256}

    def leave(self, user: str, login: int) -> None:
        """The session of `user` that began with `login` is over, and with it what was asked for in it."""
        for ticket in [ticket for ticket in self._of_user.get(user, ()) if ticket.login == login]:
            if ticket.carrier is None:
                self._close(ticket)
            elif not ticket.carrier.finishing:
                ticket.carrier.end()

    # Tickets.

    def _issue(self, session: Session, action: str, request: dict[str, Any], **more: Any) -> Ticket:
        token = secrets.token_urlsafe(18)
        while token[:_NAMED] in self._tickets:
            token = secrets.token_urlsafe(18)
        until = self.server.loop.now + TICKET_LIFE
        ticket = Ticket(action, token, session.user, session.login, session.address, until, request, **more)
        self._tickets[token[:_NAMED]] = ticket
        self._of_user.setdefault(ticket.user, []).append(ticket)
        if ticket.key:
            self.server.blobs.hold(ticket.key)
            count, size = self._coming.get(ticket.to, (0, 0))
            self._coming[ticket.to] = count + 1, size + request["size"]
        return ticket

    def _close(self, ticket: Ticket) -> None:
        """It is used up, or not good any more."""
        if ticket.carrier is None:
            del self._tickets[ticket.token[:_NAMED]]
        self._of_user[ticket.user].remove(ticket)
        if not self._of_user[ticket.user]:
            del self._of_user[ticket.user]
        if ticket.key:
            count, size = self._coming.pop(ticket.to)
            if count > 1:
                self._coming[ticket.to] = count - 1, size - ticket.request["size"]
            self._promised -= ticket.left
            server = self.server
            server.blobs.let_go(ticket.key, server.loop.now, server.world.parameters["FILE_QUOTA"])

    def _expire(self) -> None:
        for ticket in list(islice(self._tickets.values(), _EXPIRE)):
            if ticket.until > self.server.loop.now:
                return
            self._close(ticket)

    def _too_many(self, user: str) -> Reply:
        if len(self._of_user.get(user, ())) < PER_USER:
            return {}
        return refusal("TOO_MANY_TRANSFERS", f"You have {PER_USER} transfers under way: wait until one has ended.")

    def _give_up(self, user: str, key: str) -> bool:
        """Whoever asks anew has given up an earlier try; False when that one is being checked."""
        for ticket in list(self._of_user.get(user, ())):
            if ticket.key == key:
                if ticket.carrier is None:
                    self._close(ticket)
                elif ticket.carrier.finishing:
                    return False
                else:
                    ticket.carrier.end()
        return True

    def __len__(self) -> int:
        return len(self._active)

    # On a connection of its own.

    def is_asked_for(self, data: bytes) -> bool | None:
        """Whether `data`, a connection's first bytes, ask for a transfer; None: that needs more of them."""
        if not data.startswith(b"{"):
            return False
        line = first_line(data)
        return None if line is None else _transfer_request(line) is not None

    def begin(self, session: Session, data: bytes) -> None:
        """The connection is a transfer, or is refused."""
        request = _transfer_request(data.partition(b"\n")[0])
        assert request is not None
        ticket = self._use(request, session.address)
        refused: Reply = refusal("BAD_TICKET", "That ticket is unknown, used, expired, or another's.")
        if ticket is not None:
            start = Upload if ticket.action == "upload" else Download
            refused = start.refuses(self.server, ticket, request["offset"])
            if not refused:
                del self._tickets[ticket.token[:_NAMED]]
                sock, said = session.hand_over()
                transfer = ticket.carrier = start(self, sock, ticket, request)
                self._active[transfer] = None
                transfer.begin(said.partition(b"\n")[2])
                return
            self._close(ticket)
        session.reply(request["action"], request.get("id"), refused)
        session.end("PROTOCOL_ERROR", refused["text"])

    def _use(self, request: dict[str, Any], address: str) -> Ticket | None:
        ticket = self._tickets.get(request["ticket"][:_NAMED])
        if ticket is None or not compare_digest(ticket.token.encode(), request["ticket"].encode()):
            return None
        right = ticket.action == request["action"] and ticket.address == address
        return ticket if right and ticket.until > self.server.loop.now else None

    def allowance(self) -> int:
        """Bytes that may be moved now; 0: in the next tick."""
        if self._tick != self.server.loop.ticks:
            self._tick, self._left = self.server.loop.ticks, ALONE if len(self._active) == 1 else TOGETHER
        return self._left

    def moved(self, count: int, user: str) -> None:
        """So many bytes were; for `user` that is activity, like a command."""
        self._left -= count
        session = self.server.delivery.sessions.get(user)
        if session is not None:
            session.last_command = self.server.loop.now

    def kept(self, ticket: Ticket, count: int) -> None:
        """So many bytes of an upload are in its part."""
        self.server.blobs.grew(ticket.key, count)
        ticket.left -= count
        self._promised -= count

    def remove(self, transfer: Carrier) -> None:
        """It has ended."""
        if transfer in self._active:
            del self._active[transfer]
            self._close(transfer.ticket)

    def end_all(self) -> None:
        """The server stops."""
        for transfer in list(self._active):
            transfer.end()

    # What nobody needs.

    def _every_minute(self) -> None:
        self.server.loop.call_later(60.0, self._every_minute)
        self._expire()
        self.again()

    def again(self) -> None:
        """Removes some of what is not needed; what is left, in the next tick."""
        if self.server.blobs.tidy(self.server.loop.now):
            self.server.loop.again(self)

    def broken(self) -> None: ...


def _transfer_request(line: bytes) -> dict[str, Any] | None:
    try:
        request = decode_request(line)
    except BadLine:
        return None
    action = request.get("action")
    command = ACTIONS.get(action) if type(action) is str else None
    if command is None or command.runs is not Runs.CARRIES or check(command, request):
        return None
    return request
