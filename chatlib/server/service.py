"""The server as a service: what its manager is told, and where its log goes when there is no terminal.

Must not know how a manager is told anything (:mod:`chatlib.reactor.notify`), nor how a record looks
(:mod:`.records`). Legal order: build, ``watch`` when the server listens, ``finish`` when it is closed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, MutableMapping

from chatlib.protocol.text import counted
from chatlib.reactor.loop import Loop
from chatlib.reactor.notify import ServiceManager
from chatlib.server.records import Records
from chatlib.storage.serverlog import LIFE, Weight

SECOND = 1.0  # between two looks at who is online


class Service:
    """`environ` loses the variables that are meant for this process alone. `record`: takes the log's records, if
    nobody sees them otherwise. `say`: what is said before the loop runs; `print_at_once` is for a terminal.
    """

    def __init__(self, environ: MutableMapping[str, str], print_at_once: Callable[[str], None]) -> None:
        self.manager = ServiceManager(environ)
        self.record: Callable[[Weight, str], None] | None = None
        self.say = print_at_once
        self._records = None if os.isatty(1) or os.isatty(2) else Records(2, environ)
        if self._records:
            self.record = add = self._records.add
            self.say = lambda text: add(LIFE, text)
        self._status = ""
        self._stopped = self._reloads = False

    def watch(
        self, loop: Loop, online: Callable[[], int], stopping: Callable[[], bool], busy: Callable[[], bool]
    ) -> None:
        """The server listens. `busy`: a reload is not done yet."""
        self._loop, self._online, self._stopping, self._busy = loop, online, stopping, busy
        if self._records:
            self._records.attach(loop)
            loop.phases.append(self._records.flush)
        if self.manager.listens:
            loop.phases.append(self._look)
            self.manager.tell(READY="1")
            self._every_second()
            self._live()

    def reload(self) -> None:
        """One begins: systemd waits for its end."""
        self._reloads = True
        self.manager.tell(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1_000))

    def _look(self) -> None:
        """A phase of the tick."""
        if self._reloads and not self._busy():
            self._reloads = False
            self.manager.tell(READY="1")
        if self._stopping() and not self._stopped:
            self._stopped = True
            self.manager.tell(STOPPING="1", STATUS="Stopping: everything is saved.")

    def _every_second(self) -> None:
        status = f"{counted(self._online(), 'user')} online"
        if status != self._status and not self._stopped:
            self._status = status
            self.manager.tell(STATUS=status)
        self._loop.call_later(SECOND, self._every_second)

    def _live(self) -> None:
        """A sign of life: a loop that stands still gives none."""
        if self.manager.interval:
            self.manager.tell(WATCHDOG="1")
            self._loop.call_later(self.manager.interval, self._live)

    def finish(self) -> None:
        """All is saved."""
        if self._records:
            self._records.finish()
