"""What the administrator is told: at the server's console, at those from afar, and in the server log.

Must not know who listens, nor what happened.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from chatlib.storage.serverlog import ServerLog


class Notices:
    """`say`: a line for the console of the server's own terminal. `watch`: one for whoever looks at that terminal.
    `afar`: one for the consoles from afar.
    """

    def __init__(self, log: ServerLog, say: Callable[[str], None]) -> None:
        self.say = say
        self.watch: Callable[[str], None] = lambda text: None
        self.afar: Callable[[str], None] = lambda text: None
        self._log = log

    def tell(self, text: str) -> None:
        """Something for the administrator: to the console, and to the log."""
        self._log.write(text)
        self.say(text)
        self.afar(text)

    def note(self, text: str) -> None:
        """Something that happened: to the log, and to whoever watches."""
        self._log.write(text)
        self.watch(text)
        self.afar(text)

    def fault(self, fault: BaseException) -> None:
        """A mistake of ours: its traceback goes to the log."""
        self._log.write("".join(traceback.format_exception(fault)).rstrip())
        text = f"Internal error: {type(fault).__name__}; the log has the details."
        self.say(text)
        self.afar(text)
