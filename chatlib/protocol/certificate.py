"""A server's certificate: what people compare of it, and what a proof of a password is bound to.

Must not know sockets, files, nor TLS: a certificate is its bytes (DER), as TLS tells them. OpenSSL has read them
before; nothing here checks them, and nothing that they may hold raises.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from math import inf

_SEQUENCE, _HASH_OF_PSS, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0xA0, 0x17, 0x18
_PSS = "2a864886f70d01010a"  # RSASSA-PSS, which names its hash in its parameters
_HASHES = {  # object identifiers, as DER has them; what is not here is hashed with SHA-256
    "2a864886f70d01010c": "sha384", "2a864886f70d01010d": "sha512", "2a864886f70d01010e": "sha224",  # RSA
    "2a8648ce3d040301": "sha224", "2a8648ce3d040303": "sha384", "2a8648ce3d040304": "sha512",  # ECDSA
    "608648016503040301": "sha224", "608648016503040303": "sha384", "608648016503040304": "sha512",  # DSA
    "608648016503040202": "sha384", "608648016503040203": "sha512", "608648016503040204": "sha224",  # hashes alone
}  # fmt: skip


def fingerprint(certificate: bytes) -> str:
    """What people compare: ``SHA256:`` and 64 hexadecimal digits."""
    return f"SHA256:{hashlib.sha256(certificate).hexdigest()}"


def end_point(certificate: bytes) -> bytes:
    """``tls-server-end-point`` (RFC 5929, section 4.1): its hash with the hash of its signature.

    SHA-256 stands for MD5 and SHA-1, and for a signature without a hash of its own (Ed25519).
    """
    return hashlib.new(_hash_of(certificate), certificate).digest()


def expires(certificate: bytes) -> float:
    """Until when it is good, in seconds of the epoch; infinity when it does not say."""
    _, whole, _ = _value(certificate)
    _, rest, _ = _value(whole)
    tag, inside, behind = _value(rest)
    for _ in range(4 if tag == _VERSION else 3):  # version (perhaps), serial number, signature, issuer, validity
        _, inside, behind = _value(behind)
    _, _, until = _value(inside)
    tag, text, _ = _value(until)
    form = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}.get(tag, "none")
    try:
        then = datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC)
    except ValueError:
        return inf
    if tag == _UTC_TIME and then.year >= 2050:  # RFC 5280: two digits from 50 on are of the last century
        then = then.replace(year=then.year - 100)
    return then.timestamp()


def _hash_of(certificate: bytes) -> str:
    """Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }."""
    _, whole, _ = _value(certificate)
    _, _, behind = _value(whole)
    _, algorithm, _ = _value(behind)
    _, oid, parameters = _value(algorithm)
    if oid.hex() == _PSS:
        for tag in (_SEQUENCE, _HASH_OF_PSS, _SEQUENCE):
            found, inside, _ = _value(parameters)
            parameters = inside if found == tag else b""
        _, oid, _ = _value(parameters)
    return _HASHES.get(oid.hex(), "sha256")


def _value(der: bytes) -> tuple[int, bytes, bytes]:
    """The tag and the content of the first value, and what follows it."""
    if len(der) < 2:
        return 0, b"", b""
    start, size = 2, der[1]
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[2:start], "big")
    return der[0], der[start : start + size], der[start + size :]
