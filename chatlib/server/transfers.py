"""File transfers: tickets, what they say, and what is under way.

A ticket is asked for on the chat connection and used once, on a connection of its own, which ``carriers`` then serves.
What it is good for is a *grant*: a feature says who may, what is checked, and which command makes the bytes visible
(:mod:`chatlib.core.feature`). The grant is asked for again when the bytes begin, and must be the same. Tickets and
transfers belong to a login and end with it; only an upload whose bytes are all here goes on to its end. What is under
way is summed up as it changes: no request costs more because there are many tickets or transfers.

Must not know any feature: no receiver, no quota, no file.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from functools import partial
from hmac import compare_digest
from itertools import islice
from typing import Any

from chatlib.cluster.vault import Vault
from chatlib.core.feature import Coming, DownloadGrant, Pools, UploadGrant
from chatlib.core.replies import refusal
from chatlib.core.world import Reply
from chatlib.protocol.commands import ACTIONS, Runs, check
from chatlib.protocol.framing import BadLine, decode_request
from chatlib.reactor.loop import Loop
from chatlib.server.carriers import Carrier, Means, Share, Submit, Ticket, Upload
from chatlib.server.checks import Checks
from chatlib.server.dialects import first_line
from chatlib.server.downloads import Download
from chatlib.server.people import People
from chatlib.server.session import Session
from chatlib.storage.blobs import Blobs, part_key
from chatlib.storage.serverlog import ServerLog

PER_USER = 4  # transfers at once, tickets included
TICKET_LIFE = 60.0  # seconds
_EXPIRE = 256  # tickets that expire for one request at most
_NAMED = 8  # characters of a ticket by which it is found; the others are its secret

# The row of the command table, the user, the request. A reply: no grant is given, or (empty) none is asked for.
Grants = Callable[[str, str, dict[str, Any], Pools], UploadGrant | DownloadGrant | Reply]
_BAD_TICKET: Reply = {"status": "BAD_TICKET", "text": "That ticket is unknown, used, expired, or another's."}


class Transfers:
    """All tickets and transfers of a server."""

    def __init__(
        self, *, loop: Loop, grants: Grants, blobs: Blobs, checks: Checks, submit: Submit, people: People,
        log: ServerLog, tell: Callable[[str], None], idle_bytes: Callable[[], int], vault: Vault,
    ) -> None:  # fmt: skip
        """`idle_bytes`: how many bytes of uploads that do not go on are kept of one owner."""
        self._loop, self._grants, self._blobs, self._idle_bytes = loop, grants, blobs, idle_bytes
        self._share = Share(loop)
        self._means = Means(loop, self._share, self, blobs, checks, vault, submit, people, log, tell)
        self._tickets: dict[str, Ticket] = {}  # those not used yet, the oldest first
        self._active: dict[Carrier, None] = {}
        self._of_user: dict[str, list[Ticket]] = {}  # all tickets, used or not
        self._coming: dict[str, tuple[int, int]] = {}  # by pool: how many uploads, and their bytes
        self._promised = 0  # bytes that all uploads have yet to bring
        self._every_minute()

    # On the chat connection.

    def asked_by(self, rows: Iterable[str]) -> dict[str, Callable[[Session, dict[str, Any]], Reply]]:
        """For each of these rows of the command table, the call that answers it."""
        return {row: partial(self.ask, row) for row in rows}

    def ask(self, row: str, session: Session, request: dict[str, Any]) -> Reply:
        """A ticket, a refusal, or nothing when `request` asks for none."""
        self._expire()
        granted = self._grants(row, session.user, request, lambda pool: Coming(0, 0, 0))
        if isinstance(granted, UploadGrant):
            return self._ask_upload(row, session, request, granted)
        if isinstance(granted, dict):
            return granted
        refused = self._too_many(session.user)
        if refused:
            return refused
        ticket = self._issue(row, session, request, granted)
        return {"status": "OK", "ticket": ticket.token, "size": granted.size, "sha256": granted.sha256}

    def _ask_upload(self, row: str, session: Session, request: dict[str, Any], grant: UploadGrant) -> Reply:
        """A ticket, and from where the upload goes on."""
        user, blobs, key = session.user, self._blobs, part_key(*grant.identity)
        goes_on = self._give_up(user, session.login, key)
        if goes_on:
            return refusal("TOO_MANY_TRANSFERS", f'An earlier upload of "{grant.name}" is {goes_on}: wait for its end.')
        granted = self._grants(row, user, request, lambda pool: self._coming_to(pool, user))
        if isinstance(granted, dict):
            return granted
        assert isinstance(granted, UploadGrant)
        refused = self._too_many(user)
        if refused:
            return refused
        if blobs.part_size(key) > grant.size:
            blobs.drop_part(key)
        offset = blobs.part_size(key)
        if grant.size - offset + self._promised > blobs.room():
            return refusal("NO_SPACE", f'The server\'s disk has no room for "{grant.name}".')
        ticket = self._issue(row, session, request, granted, key, grant.size - offset)
        return {"status": "OK", "ticket": ticket.token, "offset": offset}

    def _coming_to(self, pool: str, user: str, besides: Ticket | None = None) -> Coming:
        """What is on its way into `pool`, and how much of it is of `user`; not counting the ticket `besides`."""
        count, size = self._coming.get(pool, (0, 0))
        mine = sum(1 for ticket in self._of_user.get(user, ()) if _pool(ticket) == pool)
        if besides is not None and _pool(besides) == pool:
            return Coming(mine - 1, count - 1, size - besides.grant.size)
        return Coming(mine, count, size)

    def leave(self, user: str, login: int) -> None:
        """The session of `user` that began with `login` is over, and with it what was asked for in it."""
        for ticket in [ticket for ticket in self._of_user.get(user, ()) if ticket.login == login]:
            if ticket.carrier is None:
                self._close(ticket)
            elif not ticket.carrier.finishing:
                ticket.carrier.end()

    # Tickets.

    def _issue(
        self, row: str, session: Session, request: dict[str, Any], grant: UploadGrant | DownloadGrant,
        key: str = "", left: int = 0,
    ) -> Ticket:  # fmt: skip
        token = secrets.token_urlsafe(18)
        while token[:_NAMED] in self._tickets:
            token = secrets.token_urlsafe(18)
        ticket = Ticket(
            row, request, grant, token, session.user, session.login, session.address, self._loop.now + TICKET_LIFE,
            key=key, left=left, inside_tls=bool(session.binding),
        )  # fmt: skip
        self._tickets[token[:_NAMED]] = ticket
        self._of_user.setdefault(ticket.user, []).append(ticket)
        if isinstance(grant, UploadGrant):
            self._blobs.hold(key)
            self._promised += left
            count, size = self._coming.get(grant.pool, (0, 0))
            self._coming[grant.pool] = count + 1, size + grant.size
        return ticket

    def _close(self, ticket: Ticket) -> None:
        """It is used up, or not good any more."""
        if ticket.carrier is None:
            del self._tickets[ticket.token[:_NAMED]]
        self._of_user[ticket.user].remove(ticket)
        if not self._of_user[ticket.user]:
            del self._of_user[ticket.user]
        grant = ticket.grant
        if isinstance(grant, UploadGrant):
            count, size = self._coming.pop(grant.pool)
            if count > 1:
                self._coming[grant.pool] = count - 1, size - grant.size
            self._promised -= ticket.left
            self._blobs.let_go(ticket.key, self._loop.now, self._idle_bytes())

    def _expire(self) -> None:
        for ticket in list(islice(self._tickets.values(), _EXPIRE)):
            if ticket.until > self._loop.now:
                return
            self._close(ticket)

    def _too_many(self, user: str) -> Reply:
        if len(self._of_user.get(user, ())) < PER_USER:
            return {}
        return refusal("TOO_MANY_TRANSFERS", f"You have {PER_USER} transfers under way: wait until one has ended.")

    def _give_up(self, user: str, login: int, key: str) -> str:
        """Whoever asks anew has given up an earlier try. Returns why one goes on, or ""."""
        for ticket in list(self._of_user.get(user, ())):
            if ticket.key == key:
                if ticket.carrier is not None and ticket.carrier.finishing:
                    return "being checked"
                if ticket.login != login:  # tickets end with their sessions, so that one is open
                    return "under way in another session of yours"
                if ticket.carrier is None:
                    self._close(ticket)
                else:
                    ticket.carrier.end()
        return ""

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
        ticket = self._find(request, session)
        refused = _BAD_TICKET
        if ticket is not None:
            refused = self._refuses(ticket, request["offset"])
            if not refused:
                self._begin(ticket, session, request)
                return
            self._close(ticket)
        session.reply(request["action"], request.get("id"), refused)
        session.end("PROTOCOL_ERROR", refused["text"])

    def _find(self, request: dict[str, Any], session: Session) -> Ticket | None:
        ticket = self._tickets.get(request["ticket"][:_NAMED])
        if ticket is None or not compare_digest(ticket.token.encode(), request["ticket"].encode()):
            return None
        right = ticket.action == request["action"] and ticket.address == session.address
        if ticket.inside_tls and not session.binding:
            return None  # the bytes of who came over TLS are not for others to read
        return ticket if right and ticket.until > self._loop.now else None

    def _refuses(self, ticket: Ticket, offset: int) -> Reply:
        """Why it cannot begin, or nothing."""
        user, grant = ticket.user, ticket.grant
        granted = self._grants(ticket.row, user, ticket.request, lambda pool: self._coming_to(pool, user, ticket))
        if isinstance(granted, dict):
            return granted or _BAD_TICKET
        if granted != grant:
            return _BAD_TICKET
        if isinstance(grant, UploadGrant):
            there = self._blobs.part_size(ticket.key)
            return {} if offset == there else refusal("BAD_REQUEST", f'Field "offset" must be {there}.')
        return {} if offset <= grant.size else refusal("BAD_REQUEST", f'Field "offset" must be 0 to {grant.size}.')

    def _begin(self, ticket: Ticket, session: Session, request: dict[str, Any]) -> None:
        del self._tickets[ticket.token[:_NAMED]]
        bulk, said = session.hand_over()
        grant = ticket.grant
        carrier: Upload | Download
        if isinstance(grant, UploadGrant):
            carrier = Upload(self._means, bulk, ticket, grant, request)
        else:
            carrier = Download(self._means, bulk, ticket, grant, request)
        ticket.carrier = carrier
        self._active[carrier] = None
        self._share.active = len(self._active)
        carrier.begin(said.partition(b"\n")[2])

    # What carriers tell.

    def kept(self, ticket: Ticket, count: int) -> None:
        """So many bytes of an upload are in its part."""
        self._blobs.grew(ticket.key, count)
        ticket.left -= count
        self._promised -= count

    def ended(self, carrier: Carrier) -> None:
        """It moves no more."""
        if carrier in self._active:
            del self._active[carrier]
            self._share.active = len(self._active)
            self._close(carrier.ticket)

    def end_all(self) -> None:
        """The server stops."""
        for carrier in list(self._active):
            carrier.end()

    # What nobody needs.

    def _every_minute(self) -> None:
        self._loop.call_later(60.0, self._every_minute)
        self._expire()
        self.again()

    def again(self) -> None:
        """Removes some of what is not needed; what is left, in the next tick."""
        if self._blobs.tidy(self._loop.now):
            self._loop.again(self)

    def broken(self) -> None: ...


def _pool(ticket: Ticket) -> str | None:
    return ticket.grant.pool if isinstance(ticket.grant, UploadGrant) else None


def _transfer_request(line: bytes) -> dict[str, Any] | None:
    try:
        request = decode_request(line)
    except BadLine:
        return None
    action = request.get("action")
    row = ACTIONS.get(action) if type(action) is str else None
    if row is None or row.runs is not Runs.CARRIES or check(row, request):
        return None
    return request
