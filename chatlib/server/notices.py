"""What the administrator is told: at the server's console, at those from afar, and in the server log.

Must not know who listens, nor what happened.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable

from chatlib.storage.serverlog import ERROR, PRESENCE, WARNING, ServerLog, Weight

KEPT = 10  # of the latest warnings and errors


class Notices:
    """`say`: a line for the console of the server's own terminal. `watch`: one for whoever looks at that terminal.
    `afar`: one for the consoles from afar.
    """

    def __init__(self, log: ServerLog, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        """`clock`: seconds since the epoch."""
        self.say = say
        self.latest: deque[tuple[float, str]] = deque(maxlen=KEPT)  # of the warnings and errors, with their times
        self.watch: Callable[[str], None] = lambda text: None
        self.afar: Callable[[str], None] = lambda text: None
        self._log, self._clock = log, clock

    def tell(self, text: str) -> None:
        """Something for the administrator: to the console, and to the log."""
        self._keep(text, WARNING)
        self._show(text)

    def inform(self, text: str) -> None:
        """Likewise, and nothing is wrong."""
        self._log.write(text)
        self._show(text)

    def note(self, text: str) -> None:
        """Something that happened: to the log, and to whoever watches."""
        self._log.write(text, PRESENCE)
        self.watch(text)
        self.afar(text)

    def fault(self, fault: BaseException) -> None:
        """A mistake of ours: its traceback goes to the log."""
        self._log.write("".join(traceback.format_exception(fault)).rstrip(), ERROR)
        self.latest.append((self._clock(), f"{type(fault).__name__}: {fault}"))
        self._show(f"Internal error: {type(fault).__name__}; the log has the details.")

    def failed(self, text: str) -> None:
        """Why the server ends: to the log; the console is told at its end."""
        self._keep(text, ERROR)

    def _show(self, text: str) -> None:
        if not self._log.copy:  # else it was seen there
            self.say(text)
        self.afar(text)

    def _keep(self, text: str, weight: Weight) -> None:
        self._log.write(text, weight)
        self.latest.append((self._clock(), text))
