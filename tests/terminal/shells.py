"""What other line editors make of keys: GNU readline as Python has it, and zsh, each in a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import struct
import sys
import termios
import time

from tests.patience import LIMIT

HISTORY = ("one fish", "two fish", "red herring")

_READLINE = f"""
import readline
assert "GNU readline" in readline.__doc__, readline.__doc__
readline.parse_and_bind("set enable-bracketed-paste on")
readline.parse_and_bind("set bell-style none")
for line in {HISTORY!r}:
    readline.add_history(line)
readline.set_auto_history(False)
def answer(line):
    print("got" + "[" + line + "]end", flush=True)
print("ready", flush=True)
while True:
    answer(input("keys: "))
"""

_ZSH = """
for p in $MODULES; do module_path=($p $module_path); done
zmodload zsh/zle
HISTSIZE=100
for line in "one fish" "two fish" "red herring"; do print -s -- $line; done
bindkey -e
print ready
while true; do
  line=
  vared -h -p 'keys: ' line
  print -r -- "got[$line]end"
done
"""


class Shell:
    """One of them. ``after`` is the line that comes of keys, with | where the cursor stands."""

    def __init__(self, words: list[str], **environ: str) -> None:
        self.pid, self.fd = os.forkpty()
        if self.pid == 0:
            os.execvpe(words[0], words, {"PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8", **environ})
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 500, 0, 0))
        modes = termios.tcgetattr(self.fd)
        modes[0] &= ~termios.IXON  # Ctrl+S is a key
        termios.tcsetattr(self.fd, termios.TCSANOW, modes)
        self.said = ""
        self._until("ready")

    def after(self, keys: str) -> str:
        self._until("keys: ")
        os.write(self.fd, (keys + "|\r").encode())
        self._until("got[")
        return self._until("]end")

    def _until(self, text: str) -> str:
        """What was said before `text`, for which it waits."""
        deadline = time.monotonic() + LIMIT
        while text not in self.said:
            assert select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0], self.said
            self.said += os.read(self.fd, 65_536).decode(errors="replace")
        before, _, self.said = self.said.partition(text)
        return before

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def readline() -> Shell | None:
    """GNU readline; None where Python has another one."""
    import readline as module

    if "GNU readline" not in (module.__doc__ or ""):
        return None
    return Shell([sys.executable, "-c", _READLINE], INPUTRC="/dev/null")


def zsh() -> Shell | None:
    """None where there is none."""
    found = shutil.which("zsh")
    if found is None:
        return None
    return Shell([found, "-f", "-c", _ZSH], MODULES=os.environ.get("ZSH_MODULES", ""))
