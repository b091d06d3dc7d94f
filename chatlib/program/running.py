"""A program at its terminal: from the first key to the last, with the terminal as it was found afterwards.

Must not know what is typed, nor what is said.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from chatlib.client.addresses import ServerAddress
from chatlib.program.sentences import entry as say
from chatlib.reactor.loop import Loop, Signals
from chatlib.terminal.teletype import Teletype

SLOW = 0.5  # seconds until a person is told what takes so long


def announce(
    loop: Loop, teletype: Teletype, servers: Sequence[ServerAddress], waits: Callable[[], bool]
) -> None:
    """Tells a person after half a second whom the program calls, if it still `waits`; a name whose lookup may take long
    is told at once, since nothing is shown meanwhile."""
    is_told_late = all(host == "localhost" or set(host) <= set("0123456789.") or ":" in host for host, _ in servers)

    def told() -> None:
        if waits():
            teletype.print(*say.connecting(servers))
            teletype.flush()

    if teletype.at_terminal:
        loop.call_later(SLOW if is_told_late else 0.0, told)


def run(loop: Loop, teletype: Teletype, leave: Callable[[], object], *at_end: Callable[[], object]) -> bool:
    """Runs `loop` until it stops; False, and it is said, when the terminal cannot be used.

    A signal that would end the program calls `leave`; Ctrl+C is the teletype's. However it ends, `at_end` is called,
    the last one first, when the terminal is given back.
    """

    def signalled(number: int) -> None:
        if number in teletype.signals:
            teletype.signalled(number)
        elif number == signal.SIGINT:
            teletype.interrupt()
        else:
            leave()

    Signals(loop, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *teletype.signals], signalled)
    with ExitStack() as stack:
        stack.callback(loop.close)
        for each in at_end:
            stack.callback(each)
        stack.enter_context(teletype)
        if not teletype.present:
            print("Error! The terminal cannot be used.", file=sys.stderr)
            return False
        loop.run()
    return True
