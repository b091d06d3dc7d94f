"""Work that would hold up the loop, done in a forked child that sees everything as it was at the fork.

The child's answer comes through a pipe that is one more channel. Must not know what the work is.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from chatlib.reactor.loop import READ, Loop

Done = Callable[[bytes, str], None]  # what the work returned, and why it failed ("" when it did not)


class Job:
    """One child at work. `done` is called once, in the tick's input, unless ``end`` comes before it."""

    def __init__(self, loop: Loop, work: Callable[[], bytes], done: Done) -> None:
        """Forks. Raises OSError when there can be no child."""
        self._loop, self._done = loop, done
        self._pieces: list[bytes] = []
        self._said_all = False  # what is left is the child's end
        self._fd, answer = os.pipe()
        begun = time.perf_counter()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self._fd)
            os.close(answer)
            raise
        if self._pid == 0:
            _work(loop, work, answer)
        loop.took("a fork", time.perf_counter() - begun)
        os.close(answer)
        loop.watch(self._fd, READ, self)

    def readable(self) -> None:
        if not self._said_all:
            piece = os.read(self._fd, 65_536)
            if piece:
                self._pieces.append(piece)
                return
            self._said_all = True
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        self._loop.forget(self._fd, self)
        os.close(self._fd)
        if not pid and self._watch_the_end():
            return
        if not pid:
            _, status = os.waitpid(self._pid, 0)
        answer, code = b"".join(self._pieces), os.waitstatus_to_exitcode(status)
        if code == 0:
            self._done(answer, "")
        else:  # never without a reason: that would mean that it went well
            reason = answer.decode(errors="replace") if code == 1 else ""
            self._done(b"", reason or f"the child ended with status {code}")

    def _watch_the_end(self) -> bool:
        """A busy machine may put a child's end off: the loop goes on meanwhile, where the system can tell of it."""
        try:
            self._fd = os.pidfd_open(self._pid)
        except (AttributeError, OSError):
            return False
        self._loop.watch(self._fd, READ, self)
        return True

    def end(self) -> None:
        """Kills the child, which may be stopped or stuck; `done` is not called any more."""
        os.kill(self._pid, signal.SIGKILL)
        self._loop.forget(self._fd, self)
        os.close(self._fd)
        os.waitpid(self._pid, 0)

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...


def _work(loop: Loop, work: Callable[[], bytes], answer: int) -> None:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        loop.close_watched()
        os.nice(19)  # whatever the loop has to do comes first
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            text = work()
            code = 0
        except Exception as error:
            text = (str(error) or repr(error)).encode(errors="replace")
        view = memoryview(text)
        while view:
            view = view[os.write(answer, view) :]
    finally:
        os._exit(code)
