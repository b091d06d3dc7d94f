#!/usr/bin/env python3
"""The server: ``python3 server.py 1234``. Flags → objects → run; the architecture in reading order.

Exit status: 0 after a clean stop, 1 when it could not start or had to give up, 2 for wrong flags.
"""

import argparse
import contextlib
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from chatlib.protocol.text import printable_lines
from chatlib.reactor.loop import Signals
from chatlib.server import nodeflags, upkeep
from chatlib.server.addresses import invitations
from chatlib.server.server import Server
from chatlib.server.service import Service
from chatlib.server.setpassword import NoPassword, set_password
from chatlib.storage.checker import Checker
from chatlib.storage.ephemeral import Ephemeral
from chatlib.storage.home import Home
from chatlib.storage.log import CommitFailed
from chatlib.storage.syncer import Syncer
from chatlib.storage.textfile import FileError
from chatlib.terminal.history import HistoryFile
from chatlib.terminal.teletype import Teletype


def flags(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line. Exits with status 2 and a sentence for what is wrong with it."""
    parser = argparse.ArgumentParser(description="A group server: chat, mail for people who are away, and more.")
    parser.add_argument("port", type=_port, nargs="?", help="TCP port to listen on, 1 to 65535 (0: any that is free)")
    parser.add_argument("--bind", default="", metavar="ADDRESS", help="listen on this address only (default: all)")
    parser.add_argument("--home", type=Path, metavar="FOLDER",
                        help="folder of para.txt, credentials.txt and data/ (default: the current one)")  # fmt: skip
    parser.add_argument("--ephemeral", action="store_true",
                        help="use a new home, which a clean stop removes: with copies of credentials.txt and para.txt"
                             " of the current folder or that of --home, where nothing is changed")  # fmt: skip
    parser.add_argument("--set-admin-password", action="store_true",
                        help="ask for the password of SHT and of client.py --admin; start no server")  # fmt: skip
    parser.add_argument("--tls", action="store_true",
                        help="let clients come over TLS; a first start makes a certificate (data/tls.pem)")
    parser.add_argument("--cert", type=Path, metavar="FILE", help="a certificate of your own, as PEM (implies --tls)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="its key (default: in the file of --cert)")
    nodeflags.add_flags(parser)
    parser.add_argument("--plain", action="store_true", help="plain lines at the console: for screen readers")
    for name, metavar, about in UPKEEP:
        if metavar:
            parser.add_argument(name, metavar=metavar, type=Path, help=about)
        else:
            parser.add_argument(name, action="store_true", help=about)
    options = parser.parse_args(arguments)
    chosen = [name for name in NO_SERVER if getattr(options, name[2:].replace("-", "_"))]
    alone = options.ephemeral or options.port is not None or (options.log is not None and not options.backup)
    if len(chosen) > 1 or (chosen and alone):
        also = ", and --log where that is a node's" if options.backup else " alone"
        parser.error(f"{chosen[0]} starts no server: it takes --home FOLDER{also}")
    if options.restore and not options.home:
        parser.error("--restore needs --home FOLDER: a new one, or one with nothing in it")
    wrong = nodeflags.check_flags(options)  # no :=, for Python 3.6 is to get to the sentence that says what it lacks
    if wrong:
        parser.error(wrong)
    if options.key and not options.cert:
        parser.error("--key is the key of --cert FILE: name both")
    if options.port is None and not chosen:
        parser.error("a port is missing, such as 1234: python3 server.py 1234")
    return options


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


# What is done for a home instead of serving it (chatlib/server/upkeep.py).
UPKEEP = (
    ("--verify", "", "read everything, say what is there and whether it is whole; change nothing, start no server"),
    ("--backup", "FILE", "write one archive of everything, also while a server runs; start no server"),
    ("--restore", "FILE", "unpack such an archive into the empty folder of --home; start no server"),
    ("--repair", "", "of a damaged home, keep what can be proven and move the rest aside; asks first; start no server"),
)
NO_SERVER = ("--set-admin-password", *(name for name, _, _ in UPKEEP))


class NotStarted(Exception):
    """There will be no server; the message says why."""


def is_home(folder: Path) -> bool:
    """Whether one of a home's own files is there."""
    return any((folder / name).exists() for name in ("para.txt", "credentials.txt", "data"))


def home_folder(named: Path | None) -> Path:
    """Where the home is. A new one is made only where the flag or a person says so: raises NotStarted otherwise."""
    folder = named or Path()
    if named or is_home(folder):
        return folder
    where = f"There is no server's home in {Path.cwd()}."
    if not (os.isatty(0) and os.isatty(1)):
        raise NotStarted(f"{where} Go to the folder that holds it, or name one with --home FOLDER.")
    if not agreed(f"{where} Make one here? (yes/no) "):
        raise NotStarted("No home was made.")
    return folder


def agreed(question: str) -> bool:
    """Whether somebody says yes to a question: at a terminal, or through a pipe. Nothing is a no."""
    while True:
        try:
            print(printable_lines(question), end="", flush=True)
            answer = sys.stdin.readline().strip().lower()
        except KeyboardInterrupt:
            print()
            return False
        if answer in ("yes", "y"):
            return True
        if answer in ("no", "n", ""):
            return False
        question = 'Please type "yes" or "no": '


def listening_socket(address: str, port: int) -> socket.socket:
    """A socket that listens; for no address in particular on IPv6 and IPv4 at once where the system can.

    Raises NotStarted.
    """
    try:
        if address:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family, backlog=1_024)
        if socket.has_dualstack_ipv6():
            with contextlib.suppress(OSError):  # IPv6 may be switched off
                return socket.create_server(("", port), family=socket.AF_INET6, backlog=1_024, dualstack_ipv6=True)
        return socket.create_server(("", port), backlog=1_024)
    except (OSError, UnicodeError) as error:
        number = 0 if isinstance(error, UnicodeError) else error.errno or 0
        if address and (number <= 0 or number == errno.EADDRNOTAVAIL):  # below 0: no name that can be looked up
            raise NotStarted(f"--bind must be an address of this machine, not {address!r}.") from None
        then = " Another program listens there: end it, or take another port." if number == errno.EADDRINUSE else ""
        raise NotStarted(f"Port {port}: {os.strerror(number)}.{then}") from None


def raise_descriptor_limit() -> None:
    """As many connections as the system allows."""
    import resource  # here: what lacks it is told by `chatlib` what is needed

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_standard_descriptors() -> None:
    """No file of ours may get the number of a closed standard input or output: it would be typed or printed into."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one


def main(arguments: list[str] | None = None) -> int:
    """Runs a server; returns the exit status."""
    options = flags(arguments)
    os.umask(0o077)
    open_standard_descriptors()
    raise_descriptor_limit()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the loop hears signals: as Ctrl+C
    try:
        if options.set_admin_password:
            set_password(home_folder(options.home), print_at_once)
            return 0
        if options.restore:
            return upkeep.restore_home(options.restore, options.home, print_at_once)
        if options.verify:
            return upkeep.verify_home(options.home or Path(), print_at_once)
        if options.repair:
            return upkeep.repair_home(options.home or Path(), print_at_once, agreed)
        if options.backup:
            engine = nodeflags.engine(options, print_at_once)
            return upkeep.back_up_home(options.home or Path(), options.backup, print_at_once, engine)
        return serve(options)
    except KeyboardInterrupt:
        error: object = "It was stopped before it had started; nothing is lost."
    except (NotStarted, NoPassword, FileError, CommitFailed) as failure:
        error = failure
    except OSError as failure:
        error = f"{failure.filename or 'The server'}: {failure.strerror or failure}."
    print(printable_lines(f"Error! {error}"), file=sys.stderr)
    return 1


def serve(options: argparse.Namespace) -> int:
    """From recovery to the clean stop; returns the exit status."""
    service = Service(os.environ, print_at_once)
    if not options.ephemeral:
        server, listener = begin(options, home_folder(options.home), service)
        return run(options, server, listener, service, lambda: "Everything is saved. Goodbye!")
    ephemeral = ephemeral_home(options.home or Path())
    try:
        server, listener = begin(options, ephemeral.path, service)
    except BaseException:
        ephemeral.remove()  # nothing happened in it
        raise
    removed = f"{ephemeral.path} is removed. Goodbye!"
    status = run(options, server, listener, service, lambda: ephemeral.remove() or removed)
    if ephemeral.path.exists():
        print(printable_lines(f"Error! {ephemeral.path} was not removed."), file=sys.stderr)
        status = 1
    return status


def ephemeral_home(source: Path) -> Ephemeral:
    """A new home, as --ephemeral says, with what is in `source`. Raises NotStarted, OSError."""
    if not source.is_dir():
        raise NotStarted(f"{source}: there is no such folder: make it first, or name another with --home.")
    ephemeral = Ephemeral(source)
    copies = f"copies of {' and '.join(ephemeral.copied)} from {source.resolve()}" if ephemeral.copied else "nothing"
    print_at_once(f"The home is {ephemeral.path}, a new one with {copies} in it. A clean stop removes all of it.")
    return ephemeral


def begin(options: argparse.Namespace, folder: Path, service: Service) -> tuple[Server, socket.socket]:
    """A server with the home at `folder`, recovered, and the socket that it is to listen on."""
    is_new = not is_home(folder)
    home = Home(folder, print_at_once)
    if is_new and not options.ephemeral and (options.found or options.log is None):  # there, more is said
        print_at_once(f"New home in {folder.resolve()}: no users yet. Whoever connects may register.")
    # Forked before there is a socket to inherit. The variable is for tests: a disk that is so many seconds slow.
    slow = float(os.environ.get("CHAT_SLOW_SYNC", "0"))
    syncer, checker = Syncer(slow), Checker(slow)
    with service.manager.patient():
        cluster = nodeflags.begin(options, home, syncer, service.say)
        server = Server(home, syncer, checker, service.say, record=service.record, cluster=cluster)
        server.tls.begin(options.tls or bool(options.cert), options.cert or kept_certificate(options), options.key)
    return server, listening_socket(options.bind, options.port)


def kept_certificate(options: argparse.Namespace) -> Path | None:
    """The one that clients know already, where the home is a new one for an afternoon."""
    kept = (options.home or Path()) / "data" / "tls.pem"
    return kept if options.ephemeral and kept.is_file() else None


def run(
    options: argparse.Namespace, server: Server, listener: socket.socket, service: Service, farewell: Callable[[], str]
) -> int:
    """Serves until the stop; returns the exit status. `farewell`: the last word of a clean one."""
    survives = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # nohup
    teletype = Teletype(server.loop, os.environ, plain=options.plain)
    teletype.remember(HistoryFile(server.home.logs / "console_history.txt"))
    console = server.console(teletype.print, lambda: teletype.columns)
    console.outlives_terminal = survives
    teletype.attach(console)
    server.notices.say = console.say
    if os.isatty(1):
        server.notices.say = server.notices.watch = console.happened
    hear_signals(server, teletype, service, survives)
    server.open(listener)
    server.loop.phases.append(teletype.flush)
    service.watch(
        server.loop, lambda: len(server.world.online), lambda: server.stopping, lambda: server.saver.busy
    )
    with teletype:
        console.say(f'Listening on port {listener.getsockname()[1]}. Type "help" for the console\'s commands.')
        for line in invitations(listener, sys.argv[0], tls=server.tls.offered, servers=server.membership.servers()):
            console.say(line)
        if server.tls.offered:
            console.say(f"The certificate's fingerprint, for people to compare: {server.tls.fingerprint}")
        teletype.flush()  # at once: the first tick may wait for a second
        server.run()
        with service.manager.patient():
            failure = server.close()
        service.finish()
        console.say(f"Error! {failure}" if failure else farewell())
    return 1 if failure else 0


def hear_signals(server: Server, teletype: Teletype, service: Service, survives: bool) -> None:
    """From now on signals are heard by the loop. `survives`: SIGHUP was ignored when we came, and stays so."""
    stops = has_terminal()

    def heard(number: int) -> None:
        if number in teletype.signals:
            teletype.signalled(number)
        elif number == signal.SIGINT and teletype.at_terminal:
            teletype.interrupt()
        elif number == signal.SIGHUP and not stops:
            service.reload()
            server.reload(server.notices.inform, server.tell)
        else:
            server.stop()

    numbers = [signal.SIGINT, signal.SIGTERM, *teletype.signals] + ([] if survives else [signal.SIGHUP])
    Signals(server.loop, numbers, heard)


def has_terminal() -> bool:
    """Whether there is a window that may be closed: that of standard input or output, or of the shell behind them."""
    if os.isatty(0) or os.isatty(1):
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def print_at_once(text: str) -> None:
    """What is said before the loop runs, without what a terminal would obey: names in a home may be anything."""
    print(printable_lines(text), flush=True)


if __name__ == "__main__":
    sys.exit(main())
