"""Ports for servers that tests start, kill, and start again in the same place.

They are below those that the system gives to clients: whoever knocks there while the server is away would come out at
it himself once, and be in its way. What is free now may be taken a moment later; so no two workers of pytest-xdist are
given the same ports, and each process begins somewhere else.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterator, Mapping
from itertools import count

FIRST, BEYOND = 20_000, 32_768


def ports_of(environ: Mapping[str, str], start: int) -> Iterator[int]:
    """Those of one worker, again and again, from its `start`-th one on."""
    workers = int(environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = int(environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    each = (BEYOND - FIRST) // workers
    return (FIRST + number % each * workers + own for number in count(start))


_PORTS = ports_of(os.environ, random.SystemRandom().randrange(BEYOND))


def free_port() -> int:
    """One that nobody listens on."""
    while True:
        port = next(_PORTS)
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port
