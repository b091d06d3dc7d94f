"""A server's certificate and its key, loaded and tried: what TLS shows to whoever connects.

Must not know where they come from, nor what is said inside. What cannot be used is refused with a sentence for the
administrator; nothing here asks at the terminal.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from chatlib.protocol import certificate
from chatlib.reactor.tlsstream import TlsStream

_OPTIONS = ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
# One group, which nearly every client proposes first. A stranger who may choose takes ffdhe8192: half a second each.
_GROUP, _OTHERWISE = "X25519", "prime256v1"  # the second where OpenSSL is too old to take the first alone
_REASONS = {
    "KEY_VALUES_MISMATCH": "the key is not the one of the certificate",
    "EE_KEY_TOO_SMALL": "its key is too short to be safe",
    "CA_MD_TOO_WEAK": "its signature is too weak to be safe",
    "NO_START_LINE": "there is no certificate in it, or no key (both as PEM)",
}


class Unusable(ValueError):
    """A certificate or key that TLS cannot use; the message says why."""


class _Encrypted(Exception):
    """A key that wants a passphrase."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A certificate that is ready for use."""

    context: ssl.SSLContext
    fingerprint: str
    binding: bytes  # what proofs of passwords are bound to
    expires: float  # seconds of the epoch

    @property
    def remembers(self) -> int:
        """How many sessions of TLS 1.2 OpenSSL keeps, should somebody resume one: about 1 KB each."""
        return self.context.session_stats()["number"]


def load(chain: Path, key: Path) -> Presented:
    """The certificate in `chain` (with those that vouch for it behind it) and its key. Raises Unusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS
    try:
        context.set_ecdh_curve(_GROUP)
    except (ValueError, ssl.SSLError):
        context.set_ecdh_curve(_OTHERWISE)
    context.num_tickets = 0  # a ticket costs memory and a write for each connection
    files = str(chain) if chain == key else f"{chain} and {key}"
    try:
        for path in (chain, key):
            if not (path.is_file() or path.is_dir() or not path.exists()):  # a pipe: whoever reads it waits
                raise Unusable(f"{path} cannot be used: it must be a plain file, since it is read more than once")
            path.read_bytes()  # OpenSSL does not say which it could not read
        context.load_cert_chain(chain, key, password=_refuse)
        shown = _tried(context)
    except _Encrypted:
        raise Unusable(f"{key}: the key is encrypted, and the server asks nobody for a passphrase") from None
    except ssl.SSLError as error:
        reason = error.reason or "NO_START_LINE"
        raise Unusable(f"{files} cannot be used: {_REASONS.get(reason, reason)}") from None
    except OSError as error:
        raise Unusable(f"{error.filename or files}: {error.strerror or error}") from None
    return Presented(context, certificate.fingerprint(shown), certificate.end_point(shown), certificate.expires(shown))


def _refuse() -> str:
    raise _Encrypted


def _tried(context: ssl.SSLContext) -> bytes:
    """Shakes hands in memory; returns the certificate that a client sees."""
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname = False
    caller.verify_mode = ssl.CERT_NONE
    here, there = TlsStream(context, server=True), TlsStream(caller, server=False)
    for _ in range(3):
        for end, other in ((there, here), (here, there)):
            end.shake()
            other.take_in(end.give_out())
    return there.certificate
