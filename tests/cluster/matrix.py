"""``make cluster``: one world on three servers and three engine nodes, and everything that can happen to them.

``python -m tests.cluster.matrix [--only ROW ...] [--list]`` with CHAT_SEED. Each row makes a cluster of its own in a
temporary folder, has nine people talk on it, breaks something, mends it, and looks at what must be true (history.py):
real time binds the order, everything acknowledged is in each server's store once and was told once, and all text files
are equal. A violation is printed with the command that repeats the row, its folder stays, and the exit status is 1.
How long people waited is printed and never judged. Half a minute a row; loopback only; Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.chance import SEED, new_chance
from tests.cluster.engine import why_not
from tests.cluster.rows import ROWS, Row
from tests.cluster.trial import Result, Trial
from tests.places import MEMORY
from tests.proofs.scores import note

CALM = 2.0  # seconds of load before anything breaks, and after it was mended
_WIDTHS = (51, 9, 8, 8, 8, 10)
_HEADS = ("what happens", "messages", "p50 ms", "p99 ms", "next s", "all s")


def line(*cells: str) -> str:
    first, *others = cells
    return " | ".join([f"{first:<{_WIDTHS[0]}}", *(f"{c:>{w}}" for c, w in zip(others, _WIDTHS[1:], strict=False))])


def run(row: Row, folder: Path) -> Result:
    """One row, from nothing to nothing."""
    chance = random.Random(f"{SEED} {row.name}")
    with Trial(folder, chance, **dict(row.parameters)) as trial:
        trial.load(CALM)
        row.do(trial)
        trial.load(CALM)
        return trial.finish()


def tell(row: Row, result: Result, folder: Path) -> None:
    """A line of the table; and what was wrong."""
    seconds = [f"{value:.2f}" if 0 < value < 1e9 else "" for value in (result.answer, result.everybody)]
    print(line(row.what, f"{result.messages:,}", f"{result.p50:.1f}", f"{result.p99:.1f}", *seconds), flush=True)
    outage = f"; next answer after {result.answer:.1f} s, everybody's after {result.everybody:.1f} s"
    note(f"cluster: {row.what}", f"{result.messages:,} messages{outage if 0 < result.answer < 1e9 else ''}",
         "all there, once, in order", "FAILED" if result.wrong else "ok")  # fmt: skip
    if result.notes:
        print(f"    {result.notes}")
    for sentence in result.wrong:
        print(f"    WRONG: {sentence}")
    if result.wrong:
        print(f"    repeat it: make cluster SEED={SEED} ONLY={row.name}; its folder: {folder}", flush=True)


def judge(row: Row, parent: Path) -> bool:
    """Runs a row and tells of it; whether all is well."""
    folder = parent / row.name
    folder.mkdir()
    try:
        result = run(row, folder)
    except AssertionError as error:
        result = Result([str(error)])
    except Exception:
        result = Result([traceback.format_exc()])
    tell(row, result, folder)
    if not result.wrong:
        shutil.rmtree(folder)
    return not result.wrong


def main() -> int:
    """Exit status 1: a promise was broken."""
    parser = argparse.ArgumentParser(description="Breaks three servers and three engine nodes in all known ways.")
    names = [row.name for row in ROWS]
    parser.add_argument("--only", nargs="+", metavar="ROW", choices=names, default=names, help="these rows alone")
    parser.add_argument("--list", action="store_true", help="say which rows there are")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{row.name:<20} {row.what}" for row in ROWS))
        return 0
    if sys.platform != "linux" or why_not():
        parser.error(why_not() or "this needs Linux")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # whatever runs is ended then, too
    new_chance()
    begun = time.monotonic()
    parent = Path(tempfile.mkdtemp(prefix="cluster-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    print(line(*_HEADS), flush=True)
    well = [judge(row, parent) for row in ROWS if row.name in options.only]
    taken = time.monotonic() - begun
    if all(well):
        shutil.rmtree(parent)
    verdict = "ok" if all(well) else f"FAILED: {well.count(False)} of"
    print(f"cluster: {verdict} {len(well)} rows in {taken:.0f} s")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
