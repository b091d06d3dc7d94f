"""Certificates for tests, made by the openssl program, each once a run."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.patience import LIMIT

NEEDS_OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl program is not here")
_FOLDER = tempfile.TemporaryDirectory()
KEYS = {
    "ECDSA": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "P-384": ("EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "RSA": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "Ed25519": ("ED25519",),
}


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=LIMIT)


@cache
def _key(kind: str, who: str) -> Path:
    path = Path(_FOLDER.name) / f"{kind}-{who}.key"
    _openssl("genpkey", "-algorithm", *KEYS[kind], "-out", str(path))
    return path


@cache
def certificate(
    who: str = "server", kind: str = "ECDSA", digest: str = "sha256", *, name: str = "localhost", days: str = "",
    signed_by: Path | None = None,
) -> Path:  # fmt: skip
    """A file with the key and the certificate of `who`, for the host `name` and 127.0.0.1, signed by itself or by
    another such file. `days`: flags that say how long it is valid."""
    path = Path(_FOLDER.name) / f"{who}-{kind}-{digest}-{len(list(Path(_FOLDER.name).iterdir()))}"
    key, found, asked = _key(kind, who), path.with_suffix(".crt"), path.with_suffix(".csr")
    extensions = path.with_suffix(".ext")
    extensions.write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\nbasicConstraints=CA:TRUE\n")
    _openssl("req", "-new", "-key", str(key), "-subj", f"/CN={who}\x1b[31m\x07", "-utf8", "-out", str(asked))
    signer = ["-CA", str(signed_by), "-CAkey", str(signed_by)] if signed_by else ["-signkey", str(key)]
    _openssl("x509", "-req", "-in", str(asked), *signer, f"-{digest}", "-extfile", str(extensions), "-out", str(found),
             *(days.split() or ["-days", "2"]))  # fmt: skip
    whole = path.with_suffix(".pem")
    whole.write_text(key.read_text() + found.read_text())
    return whole


def der_of(pem: Path) -> bytes:
    text = pem.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERT") :])


def server_context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
