"""A small forked child that works on files for a loop, which waits for a disk no more than for a network.

It gets tasks with descriptors over a socket pair and answers each, in order; it ends when the pair is closed, however
this process ended. It must be forked before there are sockets to inherit. Must not know what is asked of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable


class ChildDied(OSError):
    """The child is gone: nothing that was asked of it will be done any more."""


class Child:
    """This process's end. Legal order: anything, then ``close``."""

    def __init__(self, work: str, serve: Callable[[socket.socket], None]) -> None:
        """`work`: "syncing", say. `serve`: what the child does with its end, until it is closed."""
        self._died = f"the {work} child has died"
        self._pipe, pipe = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._pipe.close()
            _live(pipe, serve)
        pipe.close()

    def fileno(self) -> int:
        """For the selector: readable when an answer has come."""
        return self._pipe.fileno()

    def _send(self, task: bytes, fds: tuple[int, ...]) -> None:
        """The descriptors may be closed at once. Raises OSError; ChildDied."""
        try:
            socket.send_fds(self._pipe, [task], fds)
        except ConnectionError:
            raise ChildDied(self._died) from None

    def _receive(self, size: int) -> bytes:
        """The next answer; waits for it where none has come. Raises ChildDied."""
        try:
            answer = self._pipe.recv(size, socket.MSG_WAITALL)
        except ConnectionError:
            answer = b""
        if len(answer) < size:
            raise ChildDied(self._died)
        return answer

    def close(self) -> None:
        """Ends the child, perhaps before it has done all that it was given."""
        with contextlib.suppress(OSError):
            self._pipe.shutdown(socket.SHUT_WR)  # another child of ours may have inherited this end
        self._pipe.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _live(pipe: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    # The terminal's keys reach the whole process group; this child ends with its parent, and stops for nobody.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    try:
        serve(pipe)
    finally:
        os._exit(0)
