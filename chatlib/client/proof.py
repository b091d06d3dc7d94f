"""Proving a password by SCRAM, on as many connections as it takes.

Must not know sockets, nor what happens when it is proven. The password itself is never kept, only what is salted.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import NamedTuple, Self

from chatlib.client.news import Fields, Request
from chatlib.protocol.cheque import cheque_key
from chatlib.protocol.scram import ClientExchange, salted_password, server_key

Salt = tuple[bytes, int]  # the salt, and the iterations
SALT_SIZE = 16


class Signature(NamedTuple):
    """What signs one's cheques."""

    key: bytes  # never to reach a disk
    password: str  # tells the password that the key is made of from others: its salt, which is no secret

    @classmethod
    def made(cls, salt: Salt, salted: bytes) -> Self:
        return cls(cheque_key(server_key(salted)), f"{base64.b64encode(salt[0]).decode()}:{salt[1]}")


class ClientProof:
    """One password to be proven.

    Legal order: ``begin → challenged → final → check`` on one connection; after a lost one from ``begin`` again.
    ``salted`` must be there before ``final``; it stays as long as the server names the same ``salt``.
    """

    def __init__(self, action: str, user: str, nonce: Callable[[], str], *, confirmed: bool = True) -> None:
        self.action = action
        self.user = user
        self.confirmed = confirmed  # whether the final message may be sent as soon as it can be made
        self.salt: Salt | None = None
        self.salted: bytes | None = None
        self.new_salt: Salt | None = None  # a change of password: what the new one is salted with,
        self.verifier = ""  # and its verifier
        self.request: Request | None = None  # the last one sent
        self.proving = False  # whether that was the final one
        self._nonce = nonce
        self._challenge = ""

    def begin(self, binding: bytes | None) -> Request:
        """The first request; forgets an earlier exchange. `binding`: to the connection, as ClientExchange wants it."""
        self._exchange = ClientExchange(self.user, self._nonce(), binding)
        self._challenge = ""
        self.proving = False
        self.request = Request(self.action, {"scram": self._exchange.first})
        return self.request

    def challenged(self, challenge: str) -> Salt:
        """The salt that the server names. Raises ScramError for a server that is not to be trusted."""
        salt = self._exchange.salt_of(challenge)
        if salt != self.salt:
            self.salt, self.salted = salt, None
        self._challenge = challenge
        return salt

    def give(self, password: str) -> None:
        """Salts `password`: the costly step. Raises ScramError for a password that no keyboard should send."""
        assert self.salt is not None, "challenged comes first"
        self.salted = salted_password(password, *self.salt)

    @property
    def ready(self) -> bool:
        """Whether ``final`` may be called."""
        return bool(self._challenge) and self.salted is not None and not self.proving

    def final(self) -> Request:
        """The second request."""
        assert self.ready and self.salted is not None, "challenged and give come first"
        self.proving = True
        fields: Fields = {"scram": self._exchange.final(self._challenge, self.salted)}
        if self.verifier:
            fields["verifier"] = self.verifier
        self.request = Request(self.action, fields)
        return self.request

    def check(self, answer: str) -> None:
        """Raises ScramError unless the server proved that it knows the verifier."""
        self._exchange.check(answer)
