"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), both ends, without I/O: passwords never cross the wire.

A proof over TLS is bound to the server's certificate (``tls-server-end-point``, RFC 5929): whoever sits in between
with another one has a proof that the server does not take. So on TLS nothing else is taken; and a client that says
it could bind (``y,,``) is told where it was led to believe that there is nothing to bind to.
Verifiers are PostgreSQL's text, ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>``, base64 in the four
places. Nonces are parameters, so that RFC 7677's vector is a test. Secrets are compared in constant time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata
from dataclasses import dataclass

MECHANISM = "SCRAM-SHA-256"
MIN_ITERATIONS = 4_096
MAX_ITERATIONS = 10_000_000

BOUND = "p=tls-server-end-point,,"

_FIRST = re.compile(r"([ny],,|p=tls-server-end-point,,)(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+))")
_CHALLENGE = re.compile(r"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=([0-9]{1,9})")
_FINAL = re.compile(r"(c=([A-Za-z0-9+/=]+),r=([\x21-\x2b\x2d-\x7e]+)),p=([A-Za-z0-9+/=]+)")
_VERIFIER = re.compile(r"SCRAM-SHA-256\$([0-9]{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")


class ScramError(ValueError):
    """A SCRAM text that is malformed, or a peer that does not know the secret; the message is for people."""


class OtherChannel(ScramError):
    """A proof that was made for another TLS channel: somebody sits in between."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What the server keeps of a password: enough to check it, not enough to log in with."""

    iterations: int
    salt: bytes
    stored_key: bytes  # 32 bytes
    server_key: bytes  # 32 bytes

    def __str__(self) -> str:
        return f"{MECHANISM}${self.iterations}:{_b64(self.salt)}${_b64(self.stored_key)}:{_b64(self.server_key)}"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


_BOUND = _b64(BOUND.encode())  # 24 bytes: whatever follows them, its base64 begins so


def _unb64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ScramError(f"The {what} is not base64.") from None


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def new_nonce() -> str:
    """24 characters from the system's source of randomness, legal in a SCRAM message."""
    return secrets.token_urlsafe(18)


def saslprep(password: str) -> str:
    """RFC 4013: maps, normalizes (NFKC) and checks a password. Raises ScramError for what it prohibits."""
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in password if not stringprep.in_table_b1(c)
    )
    text = unicodedata.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
        stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
        stringprep.in_table_c9,
    )  # fmt: skip
    if any(check(c) for c in text for check in prohibited):
        raise ScramError("The password holds a character that no keyboard should send (a control character, say).")
    if any(map(stringprep.in_table_d1, text)):
        right_to_left = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        if any(map(stringprep.in_table_d2, text)) or not right_to_left:
            raise ScramError("The password mixes writing directions.")
    if not text:
        raise ScramError("The password is empty.")
    return text


def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    """PBKDF2-HMAC-SHA-256 of `password`: the costly step (32 bytes). Raises ScramError (see saslprep)."""
    return hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)


def make_verifier(password: str, iterations: int, salt: bytes | None = None) -> Verifier:
    """A verifier for `password`, by default with a new salt of 16 bytes."""
    salt = secrets.token_bytes(16) if salt is None else salt
    return verifier_of(salted_password(password, salt, iterations), salt, iterations)


def verifier_of(salted: bytes, salt: bytes, iterations: int) -> Verifier:
    """As make_verifier, for who has the salted password already: salting is the costly step."""
    stored = hashlib.sha256(_hmac(salted, "Client Key")).digest()
    return Verifier(iterations, salt, stored, server_key(salted))


def server_key(salted: bytes) -> bytes:
    """The ServerKey, which the server has in the verifier, and the client finds from the salted password."""
    return _hmac(salted, "Server Key")


def parse_verifier(text: str) -> Verifier:
    """PostgreSQL's text → Verifier. Raises ScramError that names the part that is wrong."""
    match = _VERIFIER.fullmatch(text)
    if match is None:
        raise ScramError(f"A verifier is {MECHANISM}$<iterations>:<salt>$<StoredKey>:<ServerKey>.")
    iterations = int(match[1])
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ScramError(f"The verifier's iterations must be {MIN_ITERATIONS} to {MAX_ITERATIONS}.")
    salt, stored, server = (
        _unb64(match[i], part) for i, part in ((2, "verifier's salt"), (3, "StoredKey"), (4, "ServerKey"))
    )
    if not 8 <= len(salt) <= 64:
        raise ScramError("The verifier's salt must be 8 to 64 bytes.")
    if len(stored) != 32 or len(server) != 32:
        raise ScramError("StoredKey and ServerKey must be 32 bytes each.")
    return Verifier(iterations, salt, stored, server)


def fingerprint(verifier: str) -> str:
    """Tells one verifier from another, and nothing else of it."""
    return hashlib.sha256(verifier.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ServerExchange:
    """The server's half: made from the client's first message, then asked once to verify its final one."""

    user: str  # as the client wrote it
    challenge: str  # to be sent
    nonce: str
    verifier: Verifier
    binding: str  # what the final message must say of channel binding, in base64: the header of the first, and the data
    auth_prefix: str

    @staticmethod
    def user_of(first: str) -> str:
        """Whom the client's first message names. Raises ScramError when it is none."""
        match = _FIRST.fullmatch(first)
        if match is None:
            raise ScramError('The first SCRAM message must be "n,,n=<user>,r=<nonce>".')
        return match[3]

    @classmethod
    def begin(
        cls, first: str, verifier: Verifier, server_nonce: str, binding: bytes = b"", *, offers_tls: bool = False
    ) -> ServerExchange:
        """Answers the client's first message, one that user_of accepts.

        `binding`: what the proof must be bound to; nothing on a plain connection, where `offers_tls` says whether the
        client could have had TLS. Raises ScramError for a client that binds otherwise.
        """
        match = _FIRST.fullmatch(first)
        assert match is not None
        header = match[1]
        if binding and header != BOUND:
            raise ScramError(f'Over TLS a proof is bound to the server\'s certificate: "{BOUND}n=<user>,r=<nonce>".')
        if not binding and header == BOUND:
            raise OtherChannel("This connection is not TLS where it arrives: somebody in between reads along.")
        if offers_tls and header == "y,,":
            raise OtherChannel("This server offers TLS: somebody in between has kept that from your client.")
        nonce = match[4] + server_nonce
        challenge = f"r={nonce},s={_b64(verifier.salt)},i={verifier.iterations}"
        prefix = f"{match[2]},{challenge},"
        return cls(match[3], challenge, nonce, verifier, _b64(header.encode() + binding), prefix)

    def verify(self, final: str) -> str | None:
        """The answer ``v=...`` when `final` proves the password, None when it does not. Raises ScramError."""
        match = _FINAL.fullmatch(final)
        if match is None or match[2] != self.binding:
            if match is not None and self.binding.startswith(_BOUND) and match[2].startswith(_BOUND):
                raise OtherChannel("The proof is bound to another certificate: somebody in between reads along.")
            raise ScramError(f'The final SCRAM message must be "c={self.binding},r=<nonce>,p=<proof>".')
        if not hmac.compare_digest(match[3], self.nonce):
            raise ScramError("The final SCRAM message has another nonce than the challenge.")
        proof = _unb64(match[4], "proof")
        auth = self.auth_prefix + match[1]
        signature = _hmac(self.verifier.stored_key, auth)
        if len(proof) != len(signature):
            return None
        client_key = _xor(proof, signature)
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), self.verifier.stored_key):
            return None
        return "v=" + _b64(_hmac(self.verifier.server_key, auth))


class ClientExchange:
    """The client's half. Legal order: ``first`` is sent → ``salt_of`` → ``final`` → ``check``, each once."""

    def __init__(self, user: str, nonce: str, binding: bytes | None = None) -> None:
        """`binding`: of the server's certificate (``certificate.end_point``), on TLS. None: a plain connection, though
        the server offers TLS, or a client without TLS; nothing (b""): plain, since the server offers no TLS."""
        header = "n,," if binding is None else BOUND if binding else "y,,"
        self._bare = f"n={user},r={nonce}"
        self._nonce = nonce
        self.first = header + self._bare
        self._binding = _b64(header.encode() + (binding or b""))
        self._server_key = b""
        self._auth = ""

    def salt_of(self, challenge: str) -> tuple[bytes, int]:
        """The salt and the iterations that the server asks for. Raises ScramError for a server not to be trusted."""
        match = _CHALLENGE.fullmatch(challenge)
        if match is None or not match[1].startswith(self._nonce) or match[1] == self._nonce:
            raise ScramError("The server's SCRAM challenge is malformed.")
        iterations = int(match[3])
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            safe = f"{MIN_ITERATIONS} to {MAX_ITERATIONS}"
            raise ScramError(f"The server asks for {iterations} iterations; {safe} are safe.")
        return _unb64(match[2], "challenge's salt"), iterations

    def final(self, challenge: str, salted: bytes) -> str:
        """The message that proves the password, from the challenge and the salted password."""
        match = _CHALLENGE.fullmatch(challenge)
        assert match is not None, "salt_of comes first"
        without_proof = f"c={self._binding},r={match[1]}"
        self._auth = f"{self._bare},{challenge},{without_proof}"
        client_key = _hmac(salted, "Client Key")
        signature = _hmac(hashlib.sha256(client_key).digest(), self._auth)
        self._server_key = server_key(salted)
        return f"{without_proof},p={_b64(_xor(client_key, signature))}"

    def check(self, answer: str) -> None:
        """Raises ScramError unless `answer` (``v=...``) proves that the server knows the verifier."""
        expected = "v=" + _b64(_hmac(self._server_key, self._auth))
        if not hmac.compare_digest(answer.encode(errors="replace"), expected.encode()):
            raise ScramError("The server could not prove that it knows your password's verifier.")
