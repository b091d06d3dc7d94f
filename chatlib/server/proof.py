"""A proof of a password that is under way on one connection (RFC 5802). Nothing secret is kept longer than it."""

from __future__ import annotations

from dataclasses import dataclass

from chatlib.core.world import Command
from chatlib.protocol.scram import ServerExchange


@dataclass(slots=True)
class ProofUnderWay:
    """For which action, as whom, against which account and verifier."""

    action: str
    user: str
    against: Command  # what the command says of it
    exchange: ServerExchange
    answer: str = ""  # the server's own proof, to be sent with OK
    until: float = 0.0  # the answer was sent; until then the new verifier may follow
    resumes: bool = False  # of a login: the client comes back, and tells what it sent itself from what others did
