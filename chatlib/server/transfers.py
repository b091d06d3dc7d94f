"""File transfers: tickets, and who may move how many bytes in a tick (design, section 4).

A ticket is asked for on the chat connection and used once, on a connection of its own, which ``carriers`` then serves.
Must not know who may send what to whom: the world does.
"""

from __future__ import annotations

import secrets
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from chatlib.core.files import file_refusal, no_such_file, shown
from chatlib.core.talk import refusal
from chatlib.core.world import Reply
from chatlib.protocol.commands import ACTIONS, Runs, check
from chatlib.protocol.framing import BadLine, decode
from chatlib.protocol.text import fold
from chatlib.server.carriers import Carrier, Download, Ticket, Upload
from chatlib.storage.blobs import part_key

if TYPE_CHECKING:
    from chatlib.server.server import Server
    from chatlib.server.session import Session

PER_USER = 4  # transfers at once, tickets included
TICKET_LIFE = 60.0  # seconds
ALONE = 256 << 10  # bytes that the only transfer moves in one tick: more is faster, and chat waits longer
TOGETHER = 64 << 10  # bytes moved in one tick when there are several, by one of them in turn (make bench)
_PAGE = 80  # files in one page of the list: with the longest names it still is one line


class Transfers:
    """All tickets and transfers of a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._tickets: dict[str, Ticket] = {}
        self._active: dict[Carrier, None] = {}
        self._tick = -1
        self._left = 0
        self.buffer = memoryview(bytearray(ALONE))  # for all uploads, one after the other

    # On the chat connection.

    def ask_upload(self, session: Session, request: dict[str, Any]) -> Reply:
        """``file``: a ticket for an upload, and from where it goes on."""
        server, user = self.server, session.user
        to, name, size = fold(request["to"]), request["name"], request["size"]
        key = part_key(user, to, name, str(size), request["sha256"])
        self._expire()
        self._forget(key)  # whoever asks anew has given up an earlier try
        if any(transfer.ticket.key == key for transfer in self._active):  # all its bytes had come: it goes on
            return refusal("TOO_MANY_TRANSFERS", f'An earlier upload of "{name}" is being checked: wait for its end.')
        reserved = sum(
            ticket.request["size"] for ticket in self._uploads() if fold(ticket.request["to"]) == to
        )
        _, refused = file_refusal(server.world, user, request["to"], name, size, reserved)
        if refused or (refused := self._too_many(user)):
            return refused
        offset = server.blobs.part_size(key)
        if offset > size:
            server.blobs.drop_part(key)
            offset = 0
        uploads = self._uploads()
        promised = sum(ticket.request["size"] - server.blobs.part_size(ticket.key) for ticket in uploads)
        server.blobs.trim_parts(server.world.parameters["FILE_QUOTA"], {key, *(ticket.key for ticket in uploads)})
        if size - offset + promised > server.blobs.room():
            return refusal("NO_SPACE", f'The server\'s disk has no room for "{name}".')
        token = self._issue(session, "upload", request, key=key)
        return {"status": "OK", "ticket": token, "offset": offset}

    def ask_download(self, session: Session, request: dict[str, Any]) -> Reply:
        """``fileget``: what waits, or a ticket for one of them."""
        self._expire()
        files = self.server.world.accounts[session.user].files or {}
        if "name" not in request and "from" not in request:
            before = request.get("before", self.server.world.lsn + 1)
            waiting = sorted((file for file in files.values() if file.number < before), key=lambda file: -file.number)
            reply: Reply = {"status": "OK", "files": [shown(file) for file in waiting[:_PAGE]]}
            return {**reply, "more": True} if len(waiting) > _PAGE else reply
        if "name" not in request or "from" not in request:
            return refusal("BAD_REQUEST", 'Fields "from" and "name" go together.')
        file = files.get((fold(request["from"]), request["name"]))
        if file is None:
            return no_such_file(request["from"], request["name"])
        refused = self._too_many(session.user)
        if refused:
            return refused
        token = self._issue(session, "download", request, file=file)
        return {"status": "OK", "ticket": token, "size": file.size, "sha256": file.sha256}

    def _uploads(self) -> list[Ticket]:
        tickets = [*self._tickets.values(), *(transfer.ticket for transfer in self._active)]
        return [ticket for ticket in tickets if ticket.action == "upload"]

    def _expire(self) -> None:
        now = self.server.loop.now
        self._tickets = {token: ticket for token, ticket in self._tickets.items() if ticket.until > now}

    def _too_many(self, user: str) -> Reply:
        tickets = [*self._tickets.values(), *(transfer.ticket for transfer in self._active)]
        if sum(1 for ticket in tickets if ticket.user == user) < PER_USER:
            return {}
        return refusal("TOO_MANY_TRANSFERS", f"You have {PER_USER} transfers under way: wait until one has ended.")

    def _issue(self, session: Session, action: str, request: dict[str, Any], **more: Any) -> str:
        token = secrets.token_urlsafe(18)
        until = self.server.loop.now + TICKET_LIFE
        self._tickets[token] = Ticket(action, session.user, session.address, until, request, **more)
        return token

    def _forget(self, key: str) -> None:
        self._tickets = {token: ticket for token, ticket in self._tickets.items() if ticket.key != key}
        for transfer in list(self._active):
            if transfer.ticket.key == key and not transfer.finishing:
                transfer.end()

    # On a connection of its own.

    def begin(self, session: Session, line: bytes, rest: bytes) -> bool:
        """Whether `line`, a connection's first, asks for a transfer. Then the connection is one, or is refused."""
        request = _transfer_request(line)
        if request is None:
            return False
        ticket = self._use(request, session.address)
        refused: Reply = refusal("BAD_TICKET", "That ticket is unknown, used, expired, or another's.")
        if ticket is not None:
            start = Upload if ticket.action == "upload" else Download
            refused = start.refuses(self.server, ticket, request["offset"])
            if not refused:
                sock = session.hand_over()
                transfer = start(self, sock, ticket, request)
                self._active[transfer] = None
                transfer.begin(rest)
                return True
        session.reply(request["action"], request.get("id"), refused)
        session.end("PROTOCOL_ERROR", refused["text"])
        return True

    def _use(self, request: dict[str, Any], address: str) -> Ticket | None:
        for token, ticket in self._tickets.items():
            if compare_digest(token.encode(), request["ticket"].encode()):
                right = ticket.action == request["action"] and ticket.address == address
                if right and ticket.until > self.server.loop.now:
                    del self._tickets[token]
                    return ticket
                return None
        return None

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

    def remove(self, transfer: Carrier) -> None:
        """It has ended."""
        self._active.pop(transfer, None)

    def end_all(self) -> None:
        """The server stops."""
        for transfer in list(self._active):
            transfer.end()


def _transfer_request(line: bytes) -> dict[str, Any] | None:
    try:
        request = decode(line)
    except BadLine:
        return None
    action = request.get("action")
    command = ACTIONS.get(action) if type(action) is str else None
    if command is None or command.runs is not Runs.CARRIES or check(command, request):
        return None
    return request
