"""``data/node.txt``: of which log's cluster this home is a node, and what the node is called.

A single server's home has no such file. Each line is sealed. Must not know what a node does.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from chatlib.storage.textfile import FileError, replace, sealed, unsealed

NAME = "node.txt"


class NodeFile(NamedTuple):
    """What it says."""

    node: str
    log: str


def read(data: Path) -> NodeFile | None:
    """None: it is a single server's home, or a new one. Raises FileError."""
    path = data / NAME
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    lines = [unsealed(line) for line in text.splitlines(keepends=True)]
    found = dict(line.split(" ", 1) for line in lines if line and " " in line)
    if None in lines or not found.get("node") or not found.get("log"):
        raise FileError(
            f"{path} is damaged (its checksum does not fit). It says the node's name and the log's: take data/ away,"
            " and start again with --log; or, with --repair, make it a single server's home."
        )
    return NodeFile(found["node"], found["log"])


def write(folder: Path, node: str, log: str) -> None:
    """Raises OSError."""
    replace(folder / NAME, sealed(f"node {node}") + sealed(f"log {log}"))
