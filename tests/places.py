"""Where tests write: their homes into memory, and compiled modules where the next program that starts finds them.

Nothing is proven about the disk itself, whose failures tests make up; so a real one only costs time. The programs that
tests start are some hundred, and half of each start would be spent on compiling.

Must be used before the first test module is imported, since those are compiled, too.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes that must be free: homes take 0.3 GB in a run, and those of three runs are kept
COMPILED = Path(__file__).resolve().parents[1] / ".compiled_cache"


def choose() -> None:
    """For this process and those that it starts. Whoever has said where homes go is obeyed."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(COMPILED)
    sys.dont_write_bytecode = False
