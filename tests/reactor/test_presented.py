"""What TLS can show, and why it cannot use some of what it is given."""

from __future__ import annotations

import ssl
import subprocess
import time
from pathlib import Path

import pytest

from chatlib.protocol.certificate import end_point, fingerprint
from chatlib.reactor.presented import Unusable, load
from chatlib.reactor.tlsstream import TlsStream
from tests.client.certificates import certificate, der_of


@pytest.mark.parametrize(("kind", "digest"), [("ECDSA", "sha256"), ("ECDSA", "sha384"), ("RSA", "sha512")])
def test_a_certificate_is_known_by_what_a_client_sees(kind: str, digest: str) -> None:
    pem = certificate(kind=kind, digest=digest)
    shown, der = load(pem, pem), der_of(pem)
    assert (shown.fingerprint, shown.binding) == (fingerprint(der), end_point(der))
    assert 86_400 < shown.expires - time.time() < 3 * 86_400


def test_a_chain_is_shown_with_its_own_certificate_first(tmp_path: Path) -> None:
    authority, signed = certificate("authority"), certificate("signed", signed_by=certificate("authority"))
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    text, above = signed.read_text(), authority.read_text()
    begins = text.index("-----BEGIN CERT")
    chain.write_text(text[begins:] + above[above.index("-----BEGIN CERT") :])
    key.write_text(text[:begins])
    assert load(chain, key).fingerprint == fingerprint(der_of(signed))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("group", "kind"), [
    ("", "ECDSA"), ("", "P-384"), ("", "RSA"), ("", "Ed25519"),
    ("secp521r1", "ECDSA"), ("X448", "ECDSA"), ("ffdhe8192", "RSA"),
])  # fmt: skip
def test_no_stranger_chooses_how_dear_a_handshake_is(version: ssl.TLSVersion, group: str, kind: str) -> None:
    """A key exchange with ffdhe8192 takes half a second, and what is known of it is one message."""
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname, caller.verify_mode, caller.minimum_version = False, ssl.CERT_NONE, version
    caller.maximum_version = version
    try:
        if group:
            caller.set_ecdh_curve(group)
    except (ValueError, ssl.SSLError):
        pytest.skip(f"this OpenSSL has no {group}")
    pem = certificate(kind=kind)
    here, there = TlsStream(load(pem, pem).context, server=True), TlsStream(caller, server=False)
    try:
        for _ in range(4):
            there.shake()
            here.take_in(there.give_out())
            here.shake()
            there.take_in(here.give_out())
    except ssl.SSLError:
        pass
    assert here.secured == (not group)


def test_an_openssl_that_takes_no_x25519_alone_has_p_256(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.reactor.presented._GROUP", "no such group")
    load(certificate(), certificate())


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    one, other = certificate("one"), certificate("other")
    (tmp_path / "key").write_text(other.read_text())
    (tmp_path / "junk").write_bytes(b"\0\xffjunk\n" * 100)
    (tmp_path / "half").write_text(one.read_text()[:-200])
    weak = tmp_path / "weak"
    ask = ["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", weak, "-out", tmp_path / "weak.crt"]
    subprocess.run([*ask, "-subj", "/CN=x"], check=True, capture_output=True, timeout=60)
    locked = tmp_path / "locked"
    lock = ["openssl", "pkey", "-in", one, "-aes256", "-passout", "pass:secret", "-out", locked]
    subprocess.run(lock, check=True, capture_output=True, timeout=60)
    for chain, key, why in (
        (one, tmp_path / "key", "the key is not the one of the certificate"),
        (tmp_path / "junk", tmp_path / "junk", "there is no certificate in it, or no key"),
        (tmp_path / "half", tmp_path / "half", "there is no certificate in it, or no key"),
        (tmp_path / "none", one, "none: No such file or directory"),
        (one, tmp_path, "Is a directory"),
        (tmp_path / "weak.crt", weak, "its key is too short to be safe"),
        (one, locked, "the key is encrypted, and the server asks nobody for a passphrase"),
    ):
        with pytest.raises(Unusable) as told:
            load(chain, key)
        assert why in str(told.value)
        assert str(tmp_path if chain != one else key) in str(told.value), "it is named"


def test_what_a_context_offers(tmp_path: Path) -> None:
    context = load(certificate(), certificate()).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.num_tickets == 0
    for cipher in context.get_ciphers():
        assert cipher["strength_bits"] >= 128 and cipher["auth"] != "auth-null", cipher
