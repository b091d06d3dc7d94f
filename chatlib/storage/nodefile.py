"""``data/node.txt``: to which cluster a home belongs, and as which node.

Two sealed lines: the node's name, and the name of the log. A home without this file is a single server's. Must not know
what a cluster is.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from chatlib.storage.textfile import REMEDY, FileError, replace, sealed, unsealed

FILE = "node.txt"
NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
ALLOWED = "1 to 32 of A-Z a-z 0-9 _ -"


def is_node_name(text: str) -> bool:
    """Whether a node, or a log, may be called that."""
    return NAME.fullmatch(text) is not None


def random_name() -> str:
    """For a node that nobody has named."""
    return f"node-{secrets.token_hex(4)}"


def read(data: Path) -> tuple[str, str] | None:
    """The node's name and the log's; None: the home belongs to no cluster. Raises FileError, OSError."""
    path = data / FILE
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return None
    names = [unsealed(line) for line in lines]
    if len(names) != 2 or not all(name and is_node_name(name) for name in names):
        raise FileError(f"{path} is damaged (its checksum does not fit). {REMEDY}")
    return names[0] or "", names[1] or ""


def write(data: Path, node: str, log: str) -> None:
    """From now on the home belongs to the cluster whose log is called `log`, as this node. Raises OSError."""
    replace(data / FILE, "".join(map(sealed, (node, log))))


def remove(data: Path) -> None:
    """The home belongs to no cluster any more. Raises OSError."""
    (data / FILE).unlink(missing_ok=True)
