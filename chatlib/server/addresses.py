"""Under which addresses others reach a listening socket, and the line that they type to get here.

Must not know the chat. No name server is asked and nothing is sent: the answers are the kernel's, which may leave some
out (on macOS, IPv6 addresses but the one that leads outside, and second addresses of an interface).
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import ipaddress
import shlex
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_SIOCGIFADDR = 0xC0206921 if sys.platform == "darwin" else 0x8915
_SIOCGIFCONF = 0x8912  # Linux's: all IPv4 addresses at once
_IFREQ = 40  # bytes of Linux's struct ifreq on 64-bit machines, 32 on others
_OUTSIDE = {socket.AF_INET: "203.0.113.1", socket.AF_INET6: "2001:db8::1"}  # nobody's: nothing is sent there
_UNUSABLE = 0x01 | 0x08 | 0x20 | 0x40  # of IPv6: temporary, a duplicate, deprecated, not proven yet
_IPV6 = Path("/proc/net/if_inet6")


def invitations(
    listener: socket.socket, program: str, *, tls: bool = False, servers: Sequence[str] = ()
) -> list[str]:
    """What is said at the start about how to get here, a line each. `program`: how the server was started. `tls`: it
    offers that. `servers`: where clients reach it, and others that show the same world."""
    port = f"{listener.getsockname()[1]}{' --tls' if tls else ''}"
    client = client_of(program)
    if servers:
        return [f"Others connect with: {client} {','.join(servers)}{' --tls' if tls else ''}"]
    found = reachable(listener)
    others = [each for each in found if not ipaddress.ip_address(each).is_loopback]
    if not others:
        return [f"Only this machine reaches it, with: {client} {found[0] if found else '127.0.0.1'} {port}"]
    return [f"{'                 or' if place else 'Others connect with'}: {client} {each} {port}"
            for place, each in enumerate(others)]  # fmt: skip


def client_of(program: str) -> str:
    """How the client is started where the server is started as `program`."""
    name = Path(program).name
    if name.endswith(".pyz"):
        return f"python3 {shlex.quote(name.replace('server', 'client'))}"
    return shlex.quote(name.replace("server", "client")) if name.endswith("-server") else "python3 client.py"


def reachable(listener: socket.socket) -> list[str]:
    """The addresses that `listener` listens on, without those that mean something else on every machine; the one that
    leads outside is first."""
    bound = listener.getsockname()[0]
    address = ipaddress.ip_address(bound.partition("%")[0])
    if not address.is_unspecified:
        return [bound]
    families = [socket.AF_INET]
    if listener.family == socket.AF_INET6:
        families.append(socket.AF_INET6)
    found: dict[str, None] = {}
    for family in families:
        for each in (*_towards_outside(family), *(_ipv4() if family == socket.AF_INET else _ipv6())):
            one = ipaddress.ip_address(each)
            if not (one.is_loopback or one.is_link_local or one.is_unspecified):
                found[str(one)] = None
    return list(found)


def _towards_outside(family: socket.AddressFamily) -> Iterator[str]:
    """The address that a packet to anywhere would bear."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((_OUTSIDE[family], 9))
        yield probe.getsockname()[0].partition("%")[0]


def _ipv4() -> list[str]:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return _all_at_once()
    with contextlib.suppress(OSError):
        return list(_of_each_interface())
    return []


def _all_at_once() -> list[str]:
    size = _IFREQ if sys.maxsize > 1 << 32 else 32
    room = array.array("B", bytes(size * 1_024))
    address, length = room.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
        answer = fcntl.ioctl(asks, _SIOCGIFCONF, struct.pack("iL", length, address))
    filled = struct.unpack("iL", answer)[0]
    return [socket.inet_ntoa(room[place + 20 : place + 24].tobytes()) for place in range(0, filled, size)]


def _of_each_interface() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # it has none
                answer = fcntl.ioctl(asks, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                yield socket.inet_ntoa(answer[20:24])


def _ipv6() -> Iterator[str]:
    """Those of Linux; elsewhere the one that leads outside has to do."""
    with contextlib.suppress(OSError):
        for line in _IPV6.read_text().splitlines():
            digits, _, _, _, flags, _ = line.split()
            if not int(flags, 16) & _UNUSABLE:
                yield str(ipaddress.ip_address(bytes.fromhex(digits)))
