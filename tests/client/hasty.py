"""Runs a server that gives those who are asked for an address only so many seconds to answer.

    python tests/client/hasty.py 0.5 server.py 1234
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from chatlib.server import introductions  # noqa: E402

if __name__ == "__main__":
    _, seconds, program, *words = sys.argv
    introductions.ASKING = float(seconds)
    sys.argv = [program, *words]
    runpy.run_path(program, run_name="__main__")
