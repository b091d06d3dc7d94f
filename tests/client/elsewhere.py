"""Runs a program as on a machine of its own: all that it connects to sees it at the address that is named first.

    python tests/client/elsewhere.py 127.0.0.2 client.py 127.0.0.1 1234

On Linux every 127.x.x.x is this machine's; elsewhere only 127.0.0.1 is, and ``address`` gives that to everybody.
"""

from __future__ import annotations

import contextlib
import runpy
import socket
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def address(number: int) -> str:
    """The machine with this number."""
    wanted = f"127.0.0.{number}"
    with contextlib.suppress(OSError), socket.socket() as found:
        found.bind((wanted, 0))
        return wanted
    return "127.0.0.1"


def live_at(own: str) -> None:
    """From now on whatever this process connects comes from `own`."""

    class Here(socket.socket):
        def connect_ex(self, address: Any) -> int:
            self._come_from_here()
            return super().connect_ex(address)

        def connect(self, address: Any) -> None:
            self._come_from_here()
            super().connect(address)

        def _come_from_here(self) -> None:
            if self.family == socket.AF_INET and self.getsockname()[1] == 0:
                self.bind((own, 0))

    socket.socket = Here  # type: ignore[misc]


if __name__ == "__main__":
    _, where, program, *words = sys.argv
    live_at(where)
    sys.path.insert(0, str(ROOT))
    sys.argv = [program, *words]
    runpy.run_path(str(ROOT / program), run_name="__main__")
