"""Where servers are, as people write it (``HOST PORT``, ``HOST:PORT``, several with commas), and as servers say it.

Pure functions. Must not know connections. What a server says of other servers is a stranger's word: it is bounded and
checked, and what could not be another server is left out.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

MAX_LEARNED = 16  # servers that one may name
_LABEL = "[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\.?", re.ASCII)
_NUMBER = re.compile("[0-9]+|0x[0-9a-f]*")  # what ends so is no name: the system would read an address into it
_HERE = ("localhost", "localhost.")


class ServerAddress(NamedTuple):
    """One server's. Two that differ in capitals are one, to whoever compares ``key``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def key(self) -> str:
        return str(self).lower()


def port_of(word: str) -> int:
    """Raises ValueError, with a sentence."""
    if not (word.isascii() and word.isdigit() and len(word) < 9 and 1 <= int(word) <= 65_535):
        raise ValueError(f'the port must be a number from 1 to 65535, not "{word[:64]}"')
    return int(word)


def address_of(host: str, port_word: str | None = None) -> ServerAddress:
    """``HOST PORT``, ``HOST:PORT``, ``[::1]:PORT`` and ``[::1] PORT``. Raises ValueError, with a sentence."""
    name, behind = host, ""
    if host.startswith("["):
        name, bracket, behind = host[1:].partition("]")
        if not bracket or (behind and not behind.startswith(":")):
            raise ValueError(f'an address in brackets looks like [::1] or [::1]:1234, not "{host}"')
    elif host.count(":") == 1:
        name, behind = host.split(":")
        behind = f":{behind}"
    if not name:
        raise ValueError(f'no address stands in "{host}"')
    if behind and port_word is not None:
        raise ValueError(f'the port stands twice: in "{host}", and as {port_word}')
    if not behind and port_word is None:
        shown = f"[{name}]" if ":" in name else name
        raise ValueError(f"the port is missing: {name} 1234, for example, or {shown}:1234")
    return ServerAddress(name, port_of(behind[1:] if port_word is None else port_word))


def addresses_of(text: str, port_word: str | None = None) -> tuple[ServerAddress, ...]:
    """One or several, each as above, each once. Raises ValueError, with a sentence."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 1 and not all(parts):
        raise ValueError(f'an address is missing beside a comma: a:1234,b:1234 names two servers, not "{text}"')
    found: dict[str, ServerAddress] = {}
    for address in (address_of(part, port_word) for part in parts):
        found.setdefault(address.key, address)
    return tuple(found.values())


def learned(said: object, *, near: bool) -> list[ServerAddress]:
    """What a server says: the servers there are, a list of HOST:PORT. `near`: it runs on this machine; what another
    one says of this machine is no server of its own."""
    found: dict[str, ServerAddress] = {}
    for each in said[:MAX_LEARNED] if isinstance(said, list) else ():
        address = _checked(each)
        if address is not None and (near or not _is_here(address.host)):
            found.setdefault(address.key, address)
    return list(found.values())


def _checked(said: object) -> ServerAddress | None:
    if not isinstance(said, str) or len(said) > 300 or not said.isascii():
        return None
    try:
        address = address_of(said)
    except ValueError:
        return None
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        last = address.host.rstrip(".").rpartition(".")[2].lower()
        return address if _NAME.fullmatch(address.host) and not _NUMBER.fullmatch(last) else None
    return None if ip.is_multicast or ip.is_unspecified else address


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return host.lower() in _HERE
