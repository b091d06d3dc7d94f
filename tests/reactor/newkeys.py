"""A TLS 1.3 client that asks for new keys, which Python's own cannot: by the functions of the libssl that it has."""

from __future__ import annotations

import ctypes
import re
import ssl  # loads it
from pathlib import Path

import pytest

_CONNECT, _ASKED = 1 << 20, 1


def _library(name: str) -> ctypes.CDLL:
    maps = Path("/proc/self/maps")
    found = re.search(rf"/\S*{name}\S*", maps.read_text()) if maps.exists() else None
    if not found:
        pytest.skip(f"where {name} is cannot be said here")
    assert ssl.OPENSSL_VERSION
    library = ctypes.CDLL(found[0])
    if name == "libssl" and not hasattr(library, "SSL_key_update"):
        pytest.skip("this TLS knows no new keys")
    return library


class NewKeys:
    """Records in and out, as TlsStream."""

    def __init__(self) -> None:
        self._tls, self._crypto = _library("libssl"), _library("libcrypto")
        for function in (self._tls.TLS_client_method, self._tls.SSL_CTX_new, self._tls.SSL_new, self._crypto.BIO_new,
                         self._crypto.BIO_s_mem):  # fmt: skip
            function.restype = ctypes.c_void_p
        pointer = ctypes.c_void_p
        self._context = pointer(self._tls.SSL_CTX_new(pointer(self._tls.TLS_client_method())))
        self._ssl = pointer(self._tls.SSL_new(self._context))
        self._in, self._out = (pointer(self._crypto.BIO_new(pointer(self._crypto.BIO_s_mem()))) for _ in range(2))
        self._tls.SSL_set_bio(self._ssl, self._in, self._out)
        self._tls.SSL_set_connect_state(self._ssl)
        self._room = ctypes.create_string_buffer(_CONNECT)

    def take_in(self, records: bytes) -> None:
        if records:
            self._crypto.BIO_write(self._in, records, len(records))

    def give_out(self) -> bytes:
        size = self._crypto.BIO_read(self._out, self._room, _CONNECT)
        return self._room.raw[:size] if size > 0 else b""

    def shake(self) -> None:
        self._tls.SSL_do_handshake(self._ssl)

    def write(self, data: bytes) -> None:
        assert self._tls.SSL_write(self._ssl, data, len(data)) == len(data)

    def ask(self) -> bytes:
        """New keys for both ways."""
        assert self._tls.SSL_key_update(self._ssl, _ASKED) == 1
        self.shake()
        return self.give_out()

    def close(self) -> None:
        self._tls.SSL_free(self._ssl)
        self._tls.SSL_CTX_free(self._context)
