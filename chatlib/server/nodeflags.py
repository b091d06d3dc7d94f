"""The flags that make a server a cluster's node, and what must be done before it can be built.

Must not know what a node does.
"""

from __future__ import annotations

import argparse
import re
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from chatlib.protocol.nats import NAME, Engine, parse
from chatlib.server.clustering import Cluster
from chatlib.server.founding import found
from chatlib.server.joining import join
from chatlib.storage import nodefile
from chatlib.storage.home import Home
from chatlib.storage.syncer import Syncer
from chatlib.storage.textfile import FileError

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]")
_LONGEST = 4_096  # bytes of a file that holds the log's address


def log_address(text: str, say: Callable[[str], None]) -> Engine:
    """Reads what stands behind --log: the address, or @FILE that holds it. Raises ValueError with what is allowed.

    `say`: hears that others may read a password.
    """
    if text in ("", "@"):
        raise ValueError("it is empty; nats://HOST/NAME is allowed, or @FILE, where that stands in FILE.")
    engine = parse(_from_file(Path(text[1:]), say) if text.startswith("@") else text)
    if (engine.password or engine.token) and not text.startswith("@"):
        say("Everybody on this machine can read the password in --log: with --log @FILE it stands in a file.")
    return engine


def _from_file(path: Path, say: Callable[[str], None]) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path} is no file.")
        with path.open("rb") as file:
            held = file.read(_LONGEST + 1)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}.") from None
    if len(held) > _LONGEST:
        raise ValueError(f"{path} is longer than {_LONGEST:,} bytes; it must hold the log's address.")
    lines = held.decode(errors="replace").split("\n")
    if mode & 0o077:
        say(f"Others on this machine may read {path}, which may hold a password: chmod 600 {path}")
    found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if len(found) != 1:
        raise ValueError(f"{path} must hold the log's address in one line, nats://HOST/NAME, besides lines with #.")
    return found[0]


def _node_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"a node's name is 1 to 32 of A-Z a-z 0-9 _ -, not {text!r}")
    return text


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (_HOST.fullmatch(host) and port.isascii() and port.isdigit() and 0 < int(port) <= 65_535):
        raise argparse.ArgumentTypeError(f"where clients reach this server is HOST:PORT or [IPV6]:PORT, not {text!r}")
    if host == "0.0.0.0" or not host.strip("[:0]"):
        raise argparse.ArgumentTypeError(f"clients reach this server at one address, and {host} stands for all of them")
    return text


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of a cluster's node."""
    parser.add_argument("--log", metavar="URL",
                        help="be one of several servers that show one world, and share this log of NATS JetStream:"
                             " nats://HOST[:PORT],HOST[:PORT],.../NAME; @FILE: the URL stands in FILE")  # fmt: skip
    parser.add_argument("--node", metavar="NAME", type=_node_name,
                        help="with --log: what this server is called (default: random, and kept in data/)")  # fmt: skip
    parser.add_argument("--advertise", metavar="HOST:PORT", type=_address,
                        help="with --log: where clients reach this server; all servers tell theirs of it")  # fmt: skip
    parser.add_argument("--found", action="store_true",
                        help="with --log: begin the log, with what this home holds for all servers")


def check_flags(options: argparse.Namespace) -> str:
    """What is wrong with them together, or ""."""
    is_node = options.log is not None  # "" is a variable that is not set, and no wish for a world of one's own
    if is_node and options.ephemeral:
        return "--ephemeral is for a single server: a node keeps its home"
    given = [f"--{name}" for name in ("node", "advertise", "found") if getattr(options, name)]
    return f"{given[0]} is for one of several servers: it needs --log URL" if given and not is_node else ""


def engine(options: argparse.Namespace, say: Callable[[str], None]) -> Engine | None:
    """What --log names; None: nothing. Raises FileError."""
    if options.log is None:
        return None
    try:
        return log_address(options.log, say)
    except ValueError as wrong:
        raise FileError(f"--log: {wrong}") from None


def begin(options: argparse.Namespace, home: Home, syncer: Syncer, say: Callable[[str], None]) -> Cluster | None:
    """What a node's server is built with, and its home is one that the log goes on from. None: a single server.

    Raises FileError, OSError.
    """
    where = engine(options, say)
    if where is None:
        _refuse_alone(home)
        return None
    founds = partial(found, syncer=syncer, on_fault=partial(_tell_fault, say)) if options.found else None
    node = join(home, where, node=options.node or "", say=say, found=founds)
    return Cluster(where, node, options.advertise or "")


def _tell_fault(say: Callable[[str], None], fault: BaseException) -> None:
    say(f"Internal error: {type(fault).__name__}: {fault}")


def _refuse_alone(home: Home) -> None:
    """A node's home is no single server's: its text files are older than what it has acknowledged."""
    known = nodefile.read(home.data)
    if known is not None:
        raise FileError(
            f"{home.path.resolve()} is the home of the node {known.node} of a cluster, whose log {known.log} holds what"
            f" is not in it: start it with --log nats://HOST/{known.log}. To make a single server of what it holds,"
            " take a --backup of it, and --restore that into another folder."
        )
