"""The benchmark: ``python tests/bench/bench.py [--only NAME ...] [--quick]`` (``make bench``). Linux, gcc, 9 minutes.

Each row makes a home, starts the real server on it and loads it from load.c, a C program that checks every delivery and
is not the bottleneck. What counts is work per second of CPU that the system charged to the server and its children
(fsync always, 64-byte texts, everything on loopback); the same per second of wall time stands beside it.

A missed aim is printed and is no failure. A row that cannot be measured, or in which anything arrives wrongly, is one:
it says why, the others go on, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

from figures import Aim, Figure, Row, Scale
from machine import describe
from rows import ROWS
from testbed import Failure, Testbed

from tests.cluster.engine import program

_WIDTHS = (44, 17, 6, 9, 9, 9, 13)
_HEADS = ("work", "C servers", "relay", "aim", "reached", "by wall", "")


def _print_line(work: str, *figures: str, note: str = "") -> None:
    cells = (f"{figure:>{width}}" for figure, width in zip(figures, _WIDTHS[1:], strict=True))
    print(" | ".join((f"{work:<{_WIDTHS[0]}}", *cells, note)).rstrip(" |"), flush=True)


def _verdict(aim: Aim, reached: float) -> str:
    missing = reached / aim.goal - 1 if aim.unit.at_most else 1 - reached / aim.goal
    return "ok" if missing <= 0 else f"missed by {missing:.0%}" if missing < 10 else f"missed {missing + 1:.0f}-fold"


def _print_figure(_name: str, aim: Aim, figure: Figure) -> None:
    show = aim.unit.show
    wall = "" if figure.wall is None else show(figure.wall)
    goal = ("< " if aim.unit.at_most else "") + show(aim.goal)
    verdict = _verdict(aim, figure.reached)
    _print_line(aim.work, aim.servers, aim.relay, goal, show(figure.reached), wall, verdict, note=figure.note)


def _print_object(name: str, aim: Aim, figure: Figure) -> None:
    reached, goal = aim.unit.show(figure.reached), ("< " if aim.unit.at_most else "") + aim.unit.show(aim.goal)
    verdict = _verdict(aim, figure.reached)
    row = {"row": name, "work": aim.work, "aim": goal, "reached": reached, "verdict": verdict}
    print(json.dumps(row), flush=True)


def _run(row: Row, bed: Testbed, scale: Scale, show: Callable[[str, Aim, Figure], None]) -> bool:
    """Measures a row and shows it; whether that went well."""
    try:
        figures = row.measure(bed, scale)
    except Failure as failure:
        print(f"{row.aims[0].work}: FAILED: {failure}", flush=True)
        return False
    for aim, figure in zip(row.aims, figures, strict=True):
        show(row.name, aim, figure)
    return True


def _print_head(bed: Testbed, quick: bool) -> None:
    print(describe(bed.folder), end="\n\n")
    if quick:
        print("--quick: fewer users, less history, 1 second a row; not to be compared.", end="\n\n")
    _print_line(*_HEADS)


def main() -> int:
    names = [row.name for row in ROWS]
    groups = sorted({name.partition("-")[0] for name in names} - {*names})
    usual = [name for name in names if program() or not name.startswith("cluster-")]
    parser = argparse.ArgumentParser(description="Measures the chat server.", epilog=f"The rows: {', '.join(names)}.")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[*names, *groups], default=usual,
                        help="these rows alone; cluster: all whose names begin so")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="scaled down: shows that it works, measures little")
    parser.add_argument("--json", action="store_true", help="an object a line, for programs")
    arguments = parser.parse_args()
    show = _print_object if arguments.json else _print_figure
    if sys.platform != "linux":
        parser.error("the benchmark needs Linux (epoll, /proc)")
    begun = time.perf_counter()
    try:
        with Testbed() as bed:
            if not arguments.json:
                _print_head(bed, arguments.quick)
            went_well = [_run(row, bed, Scale(arguments.quick), show) for row in ROWS
                         if row.name in arguments.only or row.name.partition("-")[0] in arguments.only]  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"The benchmark could not run: {error}", file=sys.stderr)
        return 1
    if not arguments.json:
        taken = time.perf_counter() - begun
        print(f"\n{taken:.0f} seconds; reached: per second of the server's CPU, or the value itself")
    return 0 if all(went_well) else 1


if __name__ == "__main__":
    sys.exit(main())
