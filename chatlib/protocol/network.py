"""Addresses and networks: ``10.0.0.1``, ``10.0.0.0/24``, ``2001:db8::/32``. Words and numbers, no I/O.

An address of IPv6 is one of the 2^64 that its network gives to whoever asks: what is counted by address is counted by
its ``place``, which is an address of IPv4, or the /64 that one of IPv6 lies in. An address that is none (a test's, a
socket's without one) is its own place and lies in no network. What was parsed lately is kept: a flood comes from few.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NamedTuple

_SIZES = {4: 32, 6: 128}  # bits of an address
_HOME = 64  # bits of a network of IPv6 that one customer has
_LATELY = 4_096


class Network(NamedTuple):
    """All addresses that begin with the same `bits` bits; `first` is what these say."""

    version: int
    bits: int
    first: int

    @property
    def text(self) -> str:
        """As it is written: an address alone without its bits."""
        size = _SIZES[self.version]
        kind = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address
        address = str(kind(self.first << (size - self.bits)))
        return address if self.bits == size else f"{address}/{self.bits}"

    def holds(self, address: str) -> bool:
        """Whether `address` is in it."""
        found = parsed(address)
        return found is not None and found.version == self.version and found.within(self.bits) == self.first

    def within(self, bits: int) -> int:
        """What the first so many bits of this network say."""
        return self.first >> (self.bits - bits)


@lru_cache(_LATELY)
def parsed(address: str) -> Network | None:
    """One address as a network; None when it is none."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if found.version == 6 and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return Network(found.version, _SIZES[found.version], int(found))


def network(text: str) -> Network | None:
    """What a person wrote: an address, or one with the number of its first bits that count; None when it is neither.

    Bits behind these need not be 0: 10.0.0.7/24 is 10.0.0.0/24.
    """
    address, slash, bits = text.partition("/")
    found = parsed(address)
    if found is None or not slash:
        return found
    if not (bits.isascii() and bits.isdigit() and len(bits) <= 3 and int(bits) <= found.bits):
        return None
    return Network(found.version, int(bits), found.within(int(bits)))


@lru_cache(_LATELY)
def place(address: str) -> str:
    """Under what `address` is counted."""
    found = parsed(address)
    if found is None or found.version == 4 or is_this_machine(address):
        return address if found is None else found.text
    return Network(6, _HOME, found.within(_HOME)).text


@lru_cache(_LATELY)
def is_this_machine(address: str) -> bool:
    """Whether it is a loopback address: everybody at this machine has the same."""
    found = parsed(address)
    return found is not None and ipaddress.ip_address(found.text).is_loopback
