"""Certificates: the fingerprint that people compare, and the hash that a proof is bound to (RFC 5929)."""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol.certificate import end_point, expires, fingerprint
from tests.reactor.certificate import PEM

OURS = ssl.PEM_cert_to_DER_cert(PEM[PEM.index("-----BEGIN CERT") :])
RSA, PSS = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"), ("-sigopt", "rsa_padding_mode:pss")
EC, EDWARDS = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), ("-algorithm", "ED25519")


def value(tag: int, *inside: bytes) -> bytes:
    content = b"".join(inside)
    size = len(content)
    return bytes((tag, size) if size < 128 else (tag, 0x82, size >> 8, size & 255)) + content


def signed_with(algorithm: str) -> bytes:
    identifier = value(0x30, value(6, bytes.fromhex(algorithm)), value(5))
    return value(0x30, value(0x30, b"x" * 300), identifier, value(3, b"signature"))


def test_a_fingerprint_is_the_hash_of_all_of_it() -> None:
    assert fingerprint(OURS) == "SHA256:" + hashlib.sha256(OURS).hexdigest()
    assert len(fingerprint(OURS)) == 71


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        ("2a864886f70d010104", "sha256"),  # MD5 with RSA
        ("2a864886f70d010105", "sha256"),  # SHA-1 with RSA
        ("2a864886f70d01010b", "sha256"), ("2a864886f70d01010c", "sha384"), ("2a864886f70d01010d", "sha512"),
        ("2a8648ce3d0401", "sha256"),  # SHA-1 with ECDSA
        ("2a8648ce3d040302", "sha256"), ("2a8648ce3d040303", "sha384"), ("2a8648ce3d040304", "sha512"),
        ("2b6570", "sha256"),  # Ed25519 has no hash of its own
        ("2a864886f70d01010a", "sha256"),  # PSS, of SHA-1 when it does not say
    ],
)  # fmt: skip
def test_the_hash_is_the_signatures_own(algorithm: str, name: str) -> None:
    certificate = signed_with(algorithm)
    assert end_point(certificate) == hashlib.new(name, certificate).digest()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not here")
@pytest.mark.parametrize(
    ("key", "options", "name"),
    [
        (EC, ("-sha256",), "sha256"), (EC, ("-sha384",), "sha384"), (EDWARDS, (), "sha256"),
        (RSA, ("-sha512",), "sha512"), (RSA, ("-sha512", *PSS), "sha512"), (RSA, ("-sha1", *PSS), "sha256"),
    ],
)  # fmt: skip
def test_certificates_as_openssl_makes_them(
    tmp_path: Path, key: tuple[str, ...], options: tuple[str, ...], name: str
) -> None:
    secret = tmp_path / "key"
    subprocess.run(["openssl", "genpkey", *key, "-out", secret], check=True, timeout=60, capture_output=True)
    ask = ["openssl", "req", "-x509", "-key", secret, *options, "-subj", "/CN=x", "-outform", "DER"]
    certificate = subprocess.run(ask, check=True, timeout=60, capture_output=True).stdout
    assert end_point(certificate) == hashlib.new(name, certificate).digest()


def dated(tag: int, text: bytes) -> bytes:
    parts = [value(2, b"\1"), value(0x30), value(0x30), value(0x30, value(0x17, b"200101000000Z"), value(tag, text))]
    return value(0x30, value(0x30, *parts))


@pytest.mark.parametrize(
    ("tag", "text", "year"),
    [(0x17, b"491231235959Z", 2049), (0x17, b"500101000000Z", 1950), (0x18, b"21261028210649Z", 2126)],
)
def test_until_when_it_is_good(tag: int, text: bytes, year: int) -> None:
    assert datetime.fromtimestamp(expires(dated(tag, text)), UTC).year == year


def test_our_own_is_good_for_a_hundred_years_and_one_without_a_date_for_ever() -> None:
    assert datetime.fromtimestamp(expires(OURS), UTC).year == 2126
    assert expires(dated(0x17, b"soon")) == expires(b"") == expires(OURS[:60]) == inf


@given(st.binary(max_size=60) | st.integers(0, len(OURS)).map(lambda cut: OURS[:cut]))
def test_nothing_that_it_may_hold_raises(certificate: bytes) -> None:
    assert len(end_point(certificate)) in (28, 32, 48, 64)
    assert expires(certificate) > 0
