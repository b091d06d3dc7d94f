"""``data/tls.pem``: a key and a certificate that the server makes for itself, once, by the ``openssl`` program.

Must not know what TLS does with them. The key goes through pipes and into a file of mode 0600, which is there whole or
not at all; it never stands among a program's arguments.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import zlib
from pathlib import Path

from chatlib.storage.textfile import FileError, replace, write_new

DAYS = 3_650
PATIENCE = 60.0  # seconds that the program may take
_SEAL = "# The checksum of what follows: "  # TLS passes over it
_CURVE = ("-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve")
_DNS_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_REQUEST = """\
[req]
distinguished_name = who
x509_extensions = what
prompt = no
[who]
CN = chat server
[what]
basicConstraints = critical, CA:FALSE
subjectAltName = {names}
"""


def make(path: Path, program: str = "openssl") -> None:
    """Makes the file. Raises FileError with what the administrator can do about it, OSError."""
    asks = path.with_name(f".{path.name}.{os.getpid()}.asks.new")  # what a killed server leaves, its next start removes
    try:
        write_new(asks, [_REQUEST.format(names=", ".join(_names()))], sync=False)
        key = _ask(program, ("genpkey", "-algorithm", "EC", *_CURVE))
        signs = ("req", "-x509", "-new", "-sha256", "-days", str(DAYS), "-config", str(asks), "-key", "/dev/stdin")
        both = key + _ask(program, signs, key)
        replace(path, f"{_SEAL}{zlib.crc32(both.encode()):08x}\n{both}")
    finally:
        asks.unlink(missing_ok=True)


def is_damaged(path: Path) -> bool:
    """Whether it is not what ``make`` wrote: a certificate with another fingerprint would drive clients away. A file
    that a person has put there has no checksum, and is not. Raises OSError."""
    seal, _, both = path.read_text(encoding="utf-8", errors="replace").partition("\n")
    return seal.startswith(_SEAL) and seal != f"{_SEAL}{zlib.crc32(both.encode()):08x}"


def _names() -> list[str]:
    """Under which names this machine is reached, as far as they do not change. For --cafile of the client."""
    host = socket.gethostname()
    names = [host] if len(host) <= 64 and _DNS_NAME.fullmatch(host) and host != "localhost" else []
    return [f"DNS:{name}" for name in (*names, "localhost")] + ["IP:127.0.0.1", "IP:::1"]


def _ask(program: str, words: tuple[str, ...], told: str = "") -> str:
    """What the program prints."""
    try:
        done = subprocess.run(
            (program, *words), input=told, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except FileNotFoundError:
        raise FileError(
            f'TLS needs a certificate, and there is no program "{program}" here to make one: install it,'
            " or name a certificate of your own with --cert FILE --key FILE"
        ) from None
    except subprocess.TimeoutExpired:
        raise FileError(f"The program {program} does not come to an end; no certificate was made") from None
    except subprocess.CalledProcessError as failed:
        said = failed.stderr.strip().splitlines()
        why = said[-1][:200] if said else f"it ended with status {failed.returncode}"
        raise FileError(f"The program {program} made no certificate: {why}") from None
    return done.stdout
