#!/usr/bin/env python3
"""The chat client: ``python3 client.py HOST PORT``, or ``HOST:PORT,HOST:PORT``. Flags → objects → run; see
chatlib/client for the rest.

Exit status: 0 after leaving, when all that a script asked for was done; 1 when it was not, or the server was lost or
refused; 2 for wrong flags.
"""

import argparse
import os
import sys
from pathlib import Path

from chatlib.client.addresses import ServerAddress
from chatlib.program import arguments
from chatlib.program.options import Options
from chatlib.program.program import Program
from chatlib.program.scripting import ScriptProgram
from chatlib.program.settings import Settings, default_path
from chatlib.program.steering import ConsoleProgram
from chatlib.protocol.kinds import NAME
from chatlib.protocol.text import is_name


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
    parser = _parser()
    found = parser.parse_intermixed_args(arguments.verbatim(words))
    try:
        servers, tls = (arguments.servers(found.host, found.port), False) if found.host else _servers_set()
        password = arguments.password_in(found.password_file) if found.password_file else ""
    except argparse.ArgumentTypeError as wrong:
        parser.error(str(wrong))
    if found.admin and (found.user or found.steps or found.json):
        parser.error("--admin is no user's: it takes no --user, --send, --file or --json")
    if found.password_file and not found.user:
        parser.error("--password-file needs --user NAME: whose password it is")
    if (found.steps or found.json) and not password:
        parser.error("--send, --file and --json need --user NAME and --password-file FILE")
    return Options(servers, found.plain, found.user or "", not found.no_reconnect, not found.no_history,
                   found.downloads, found.admin, None if found.no_listen else found.listen,
                   password, tls or found.tls or found.cafile is not None, found.cafile, found.json,
                   tuple(found.steps))  # fmt: skip


def _servers_set() -> tuple[tuple[ServerAddress, ...], bool]:
    """The server of the settings, or several, and whether it is called over TLS: what counts when the command line
    names none."""
    settings = Settings(default_path(os.environ))
    wrong = settings.load()
    if not settings.servers:
        why = next((each for each in wrong if ": server " in each or each.startswith(f"{settings.path}:")), "")
        raise argparse.ArgumentTypeError(
            why or f"no server is named: HOST PORT, or a line such as server 192.168.1.5 1234 in {settings.path}"
        )
    return settings.servers, settings.on("tls")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Chat with the server at HOST and PORT.",
        epilog="HOST:PORT and [::1]:PORT are understood, too. HOST:PORT,HOST:PORT names several servers that show one "
        "world: when one is gone, the client goes on at another.",
    )
    add = parser.add_argument
    add("host", metavar="HOST", nargs="?", help="the server's address or name (that of the settings)")
    add("port", metavar="PORT", nargs="?", help="the server's port, 1 to 65535")
    add("--tls", action="store_true", help="talk over TLS: nobody on the network can read along")
    add("--cafile", metavar="FILE", type=arguments.cafile,
        help="talk over TLS with a server that the CA in FILE vouches for, by its name")  # fmt: skip
    add("--plain", action="store_true", help="plain lines only: for screen readers and scripts")
    add("--user", metavar="NAME", type=_name, help="log in as NAME")
    add("--password-file", metavar="FILE", help="log in with the password that is the first line of FILE")
    add("--downloads", metavar="FOLDER", type=_folder, default=Path(),
        help="where files are saved (the current folder)")  # fmt: skip
    add("--no-reconnect", action="store_true", help="end when the connection is lost")
    add("--no-history", action="store_true", help="do not keep what is typed for the next time")
    private = parser.add_mutually_exclusive_group()
    private.add_argument("--listen", metavar="PORT", type=arguments.port, default=0,
                         help="on which port to take private connections (any free one)")  # fmt: skip
    private.add_argument("--no-listen", action="store_true", help="take no private connections")
    add("--admin", action="store_true", help="no chat: the server's own console from afar, for the administrator")
    script = parser.add_argument_group("for scripts, with --user and --password-file")
    script.add_argument("--send", metavar=("TO", "TEXT"), nargs=2, action=arguments.AddStep, dest="steps", default=(),
                        help="send TEXT to a user, a #thread or all, and leave; -: the lines of stdin")  # fmt: skip
    script.add_argument("--file", metavar=("TO", "PATH"), nargs=2, action=arguments.AddStep, dest="steps", default=(),
                        help="send a file to a user or a #thread, and leave")  # fmt: skip
    script.add_argument("--json", action="store_true",
                        help="print what happens, and the answers, as JSON: one object a line")  # fmt: skip
    return parser


def main(words: list[str] | None = None) -> int:
    """Runs a client; returns the exit status."""
    options = parse_arguments(sys.argv[1:] if words is None else words)
    if options.steps or options.json:
        return ScriptProgram(options).run()
    return (ConsoleProgram if options.admin else Program)(options, os.environ).run()


if __name__ == "__main__":
    sys.exit(main())
