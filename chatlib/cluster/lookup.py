"""Names of hosts → addresses, without waiting for it: a small program of its own asks the system.

Must not know what is at these addresses. ``done`` is called once, from ``readable`` or ``expire``, unless ``cancel``
comes before it; the lookup is over then. *Why a program:* the system's call waits for as long as it likes, and nothing
can end it but its process's end. It costs some 20 ms of another core, and only where a host is not given as an address.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

from chatlib.reactor.loop import READ, Loop

Where = tuple[int, tuple[object, ...]]  # a family, and what one connects a socket of it to

_MOST = 16  # addresses of one host
_ANSWER = 65_536  # bytes of an answer
_PROGRAM = """
import json, socket, sys
found = []
for host, port in json.loads(sys.argv[1]):
    try:
        found.append([[int(one[0]), list(one[4])] for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
    except OSError as error:
        found.append(error.strerror or str(error))
    except UnicodeError:
        found.append("not a name that hosts have")
print(json.dumps(found))
"""


def literal(host: str, port: int) -> Where | None:
    """Where that is, when `host` is an address; None: a name."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    if version == 4:
        return socket.AF_INET, (host, port)
    address, _, zone = host.partition("%")
    try:
        scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
    except OSError:
        scope = 0  # nobody has it now: calling says so
    return socket.AF_INET6, (address, port, 0, scope)


class Lookup:
    """One question. `done` is given a list for each address in order: of places, or a sentence about why there is none.

    Raises OSError when there can be no program.
    """

    def __init__(
        self,
        loop: Loop | None,
        addresses: Sequence[tuple[str, int]],
        done: Callable[[list[list[Where] | str]], object],
    ) -> None:
        self.events = READ  # what it waits for
        self._loop, self._count, self._done = loop, len(addresses), done
        self._pieces: list[bytes] = []
        self._program = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, json.dumps(list(addresses))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # the terminal's keys are not for it
        )
        assert self._program.stdout is not None
        self._answer = self._program.stdout
        os.set_blocking(self._answer.fileno(), False)
        if loop is not None:
            loop.watch(self._answer.fileno(), READ, self)

    def fileno(self) -> int:
        return self._answer.fileno()

    def readable(self) -> None:
        """Something of the answer has come, or its end."""
        try:
            piece = os.read(self._answer.fileno(), _ANSWER)
        except BlockingIOError:
            return
        self._pieces.append(piece)
        if not piece or sum(map(len, self._pieces)) > _ANSWER:
            self.cancel()
            self._done(self._understood(b"".join(self._pieces)))

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...

    def expire(self) -> None:
        """It takes too long."""
        self.cancel()
        self._done(["looking up the name takes too long"] * self._count)

    def _understood(self, answer: bytes) -> list[list[Where] | str]:
        try:
            said = json.loads(answer)
        except ValueError:
            return ["the program that looks names up has failed"] * self._count
        return [
            one if isinstance(one, str) else [(family, tuple(place)) for family, place in one[:_MOST]] for one in said
        ]

    def cancel(self) -> None:
        """Ends it; nobody is told."""
        if self._loop is not None:
            self._loop.forget(self._answer.fileno(), self)
        self._program.kill()
        self._answer.close()
        self._program.wait()
