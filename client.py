"""The chat client: ``python client.py IP PORT``. Flags → objects → run; see chatlib/client for the rest."""

import argparse
import os
import sys
from pathlib import Path

from chatlib.program.program import Options, Program
from chatlib.program.steering import ConsoleProgram
from chatlib.protocol.kinds import NAME
from chatlib.protocol.text import is_name


def _port(word: str) -> int:
    if not (word.isascii() and word.isdigit() and 1 <= int(word) <= 65_535):
        raise argparse.ArgumentTypeError(f'the port must be a number from 1 to 65535, not "{word}"')
    return int(word)


def _name(word: str) -> str:
    if not is_name(word):
        raise argparse.ArgumentTypeError(f"this must be {NAME.allowed}")
    return word


def _folder(word: str) -> Path:
    folder = Path(word).expanduser()
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f'there is no folder "{word}"')
    if not os.access(folder, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f'nothing can be saved in the folder "{word}"')
    return folder


def parse_arguments(words: list[str]) -> Options:
    """The command line; leaves the program with a sentence and status 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="client.py", description="Chat with the server at IP and PORT.")
    parser.add_argument("ip", metavar="IP", help="the server's address or name")
    parser.add_argument("port", metavar="PORT", type=_port, help="the server's port, 1 to 65535")
    parser.add_argument("--plain", action="store_true", help="plain lines only: for screen readers and scripts")
    parser.add_argument("--user", metavar="NAME", type=_name, help="log in as NAME")
    parser.add_argument("--downloads", metavar="FOLDER", type=_folder, default=Path(),
                        help="where files are saved (the current folder)")  # fmt: skip
    parser.add_argument("--no-reconnect", action="store_true", help="end when the connection is lost")
    parser.add_argument("--no-history", action="store_true", help="do not keep what is typed for the next time")
    private = parser.add_mutually_exclusive_group()
    private.add_argument("--listen", metavar="PORT", type=_port, default=0,
                         help="on which port to take private connections (any free one)")  # fmt: skip
    private.add_argument("--no-listen", action="store_true", help="take no private connections")
    parser.add_argument("--admin", action="store_true",
                        help="no chat: the server's own console from afar, for the administrator")  # fmt: skip
    found = parser.parse_args(words)
    if found.admin and found.user:
        parser.error("--admin is no user's: it takes no --user")
    return Options(found.ip, found.port, found.plain, found.user or "", not found.no_reconnect, not found.no_history,
                   found.downloads, found.admin, None if found.no_listen else found.listen)  # fmt: skip


def main(words: list[str]) -> int:
    """Runs a client; returns the exit status."""
    options = parse_arguments(words)
    return (ConsoleProgram if options.admin else Program)(options, os.environ).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
