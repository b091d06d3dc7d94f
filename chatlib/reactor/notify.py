"""What a service manager is told of this process by its notification socket, as ``sd_notify`` of systemd does.

Nothing here ever fails or waits: a manager that does not listen is not told. The variables that name the socket are
taken out of the environment, so that no child speaks in this process's name. Must not know what the states mean.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, MutableMapping

_STEP = 5.0  # seconds between two words that something takes long,
_MORE = 30_000_000  # and what the manager is asked to wait from each on, in microseconds


class ServiceManager:
    """Whoever started this process, if it wants to be told. `interval`: seconds between two signs of life; 0: none."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.listens = address[:1] in ("/", "@")
        meant = self.listens and usec.isdecimal() and pid in ("", str(os.getpid()))
        self.interval = int(usec) / 2_000_000 if meant else 0.0
        self._untold: dict[str, str] = {}  # by variable: the latest value alone counts
        if self.listens:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def tell(self, **state: str) -> None:
        """``READY="1"``, say. What does not get through is told with the next call."""
        if not self.listens:
            return
        self._untold |= state
        text = "\n".join(f"{name}={value}" for name, value in self._untold.items())
        with contextlib.suppress(OSError, ValueError):
            self._socket.sendto(text.encode(errors="replace"), self._address)
            self._untold.clear()

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """While this goes on, the manager is told every few seconds that a start or a stop takes longer.

        A signal says so, since there is no loop yet, or no more: SIGALRM is not to be used meanwhile.
        """
        if not self.listens:
            yield
            return
        before = signal.signal(signal.SIGALRM, lambda *_: self.tell(EXTEND_TIMEOUT_USEC=str(_MORE)))
        signal.setitimer(signal.ITIMER_REAL, _STEP, _STEP)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
