"""The server log's records on standard error, where there is no terminal: one line each, for whoever keeps the logs.

Before ``attach`` a record is written at once, behind it through the loop, which never waits for a reader. One that does
not read for long loses records, and is told how many. Must not know what is worth a record.

systemd's journal keeps the time itself, and takes the priority from ``<4>`` in front of a line; anywhere else a line
begins with the time.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping

from chatlib.protocol.text import counted, printable
from chatlib.reactor.loop import Loop
from chatlib.reactor.terminal import Printer
from chatlib.storage.serverlog import WARNING, Weight

KEPT = 1 << 20  # bytes that wait for a reader


class Records:
    """Legal order: ``add``*, ``attach``, then ``add``* and ``flush`` once a tick, ``finish``. `clock`: the epoch's."""

    def __init__(self, fd: int, environ: Mapping[str, str], clock: Callable[[], float] = time.time) -> None:
        self._fd, self._clock = fd, clock
        self._journal = is_journal(fd, environ)
        self._printer: Printer | None = None
        self._dropped = 0

    def attach(self, loop: Loop) -> None:
        """From now on nothing waits."""
        self._printer = Printer(loop, self._fd)

    def add(self, weight: Weight, text: str) -> None:
        """A record, for which the server log has found room."""
        if self._printer is None:
            with contextlib.suppress(OSError):
                os.write(self._fd, self._line(weight, text).encode(errors="backslashreplace"))
        elif self._printer.size > KEPT:
            self._dropped += 1
        else:
            self._say_dropped()
            self._printer.write(self._line(weight, text))

    def _say_dropped(self) -> None:
        if self._dropped and self._printer is not None:
            dropped, self._dropped = self._dropped, 0
            left_out = f"Left out, because nobody was reading: {counted(dropped, 'record')}."
            self._printer.write(self._line(WARNING, left_out))

    def _line(self, weight: Weight, text: str) -> str:
        if self._journal:
            head = f"<{weight.priority}>"
        else:
            head = time.strftime("%Y-%m-%d %H:%M:%S ", time.localtime(self._clock()))
        return f"{head}{one_line(text)}\n"

    def flush(self) -> None:
        """A phase of the tick."""
        if self._printer is not None and not self._printer.idle:
            self._printer.flush()

    def finish(self) -> None:
        """Writes the rest, and waits a second at most for a reader."""
        if self._printer is not None:
            self._say_dropped()
            self._printer.finish()


def one_line(text: str) -> str:
    """`text` on one line, with nothing in it that a terminal would obey: control characters as ``\\n``, ``\\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return printable("".join(char if char >= " " and char != "\x7f" else repr(char)[1:-1] for char in text))


def is_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Whether what is written to `fd` goes to systemd's journal, as $JOURNAL_STREAM says of the descriptor it means."""
    try:
        there = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{there.st_dev}:{there.st_ino}"
