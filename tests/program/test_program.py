"""The real server: talk, restarts, its console and its signals, and peers of the worst kind."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import server as program
from tests.patience import LIMIT
from tests.program.peer import PASSWORD, VERIFIER, Program, make_home

Start = Callable[..., Program]


def test_two_clients_talk_and_one_gets_its_mail_after_a_restart(start: Start) -> None:
    server = start()
    ann, bob = server.login("ann"), server.login("bob")
    assert ann.event("presence")["user"] == "bob"
    assert ann.ask("message", to="bob", text="hi")["delivered"] is True
    assert bob.event("message")["text"] == "hi"
    bob.ask("alive", seen=bob.events[-1]["seq"])
    assert ann.ask("message", to="cid", text="for later")["delivered"] is False
    assert ann.ask("broadcast", text="to all")["undelivered"] == 0
    assert bob.event("broadcast")["text"] == "to all"
    assert "Everything is saved" in server.stop()
    assert bob.event("bye")["status"] == "SHUTTING_DOWN" and bob.read() is None
    server = start()
    assert server.login("bob").texts() == ["to all"], "bob had not acknowledged it"
    assert server.login("cid").texts() == ["for later", "to all"]


def test_a_lockout_outlives_a_restart(start: Start) -> None:
    server = start()
    replies = [server.greet().prove("login", "ann", "wrong") for _ in range(3)]
    assert [reply["status"] for reply in replies] == ["WRONG_PASSWORD", "WRONG_PASSWORD", "LOCKED_OUT"]
    server.stop()
    server = start()
    assert server.greet().prove("login", "ann")["status"] == "LOCKED_OUT"
    server.type("unlock ann")
    server.wait_for("ann is not locked out any more.")
    server.login("ann")


def test_de_register(start: Start) -> None:
    server = start()
    assert server.login("bob").ask("message", to="ann", text="private")["status"] == "OK"
    assert server.greet().prove("deregister", "ann", "wrong")["status"] == "WRONG_PASSWORD"
    assert server.greet().prove("deregister", "ann")["status"] == "OK"
    server.stop()
    assert "ann " not in (server.home / "credentials.txt").read_text()
    assert "private" not in (server.home / "data" / "message_rep.txt").read_text()
    server = start()
    assert server.greet().prove("login", "ann")["status"] == "NO_SUCH_USER"


def test_a_home_that_is_empty(start: Start, tmp_path: Path) -> None:
    """No para.txt, no credentials.txt: the first start makes them."""
    folder = tmp_path / "empty"
    folder.mkdir()
    server = start(at=folder)
    peer = server.greet()
    assert peer.ask("register", user="dora", verifier=VERIFIER)["status"] == "OK"
    assert peer.prove("login", "dora", PASSWORD)["status"] == "OK"
    server.stop()
    assert "MaxCon 100\n" in (folder / "para.txt").read_text()
    assert (folder / "credentials.txt").read_text() == f"dora {VERIFIER}\n"
    for path in folder.rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"


# Refusals to start.


def test_a_second_server_on_the_same_home_is_refused(start: Start) -> None:
    first = start()
    status, said = start(wait=False).ended()
    assert status == 1 and f"another server (process {first.process.pid}) uses this home" in said
    first.login("ann")


def test_a_port_in_use(start: Start) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, said = start(wait=False, port=port).ended()
    assert status == 1 and said == (
        f"Error! Port {port}: Address already in use. Another program listens there: end it, or take another port."
    )
    start().login("ann")


@pytest.mark.parametrize("flags", [["65536"], ["-1"], ["1e3"], ["chat"], [], ["1", "2"], ["0", "--colour"]])
def test_wrong_flags(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(flags)
    assert ended.value.code == 2 and "usage: " in capsys.readouterr().err


def test_wrong_flags_given_to_the_program() -> None:
    program = subprocess.run(
        ["python3", "server.py", "1e3"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=LIMIT,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert program.returncode == 2 and "usage: server.py" in program.stderr


def test_no_such_home(start: Start, tmp_path: Path) -> None:
    status, said = start(at=tmp_path / "nowhere", wait=False).ended()
    assert status == 1 and "nowhere: there is no such folder" in said


@pytest.mark.parametrize("file, line, complaint", [
    ("para.txt", "MaxCon lots", "para.txt, line 3: MaxCon must be a whole number from 1 to 1,000,000, not 'lots'"),
    ("credentials.txt", "a/b secret", "credentials.txt, line 4: a name is 1 to 32 of A-Z a-z 0-9"),
])  # fmt: skip
def test_a_bad_line_names_file_line_and_what_is_allowed(
    start: Start, home: Path, file: str, line: str, complaint: str
) -> None:
    with open(home / file, "a") as target:
        target.write(line)
    status, said = start(wait=False).ended()
    assert status == 1 and complaint in said and "Traceback" not in said


# The console, whatever standard input is.


def test_the_console_by_a_pipe(start: Start) -> None:
    server = start()
    server.login("ann")
    server.type("online users", "maxcon", "dance", "change maxcon 7")
    server.wait_for("1 online:")
    server.wait_for("MaxCon is 100")
    server.wait_for('Error! Unknown command "dance"')
    server.wait_for("MaxCon is now 7.")
    server.type("stop")
    assert server.ended()[0] == 0


def test_the_console_by_a_plain_file(start: Start, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("online users\nchange maxcon 7")
    with open(tmp_path / "input") as stdin:
        server = start(stdin=stdin)
    server.wait_for("Nobody is online.")
    server.wait_for("MaxCon is now 7.")
    server.login("ann")
    server.stop()


def test_the_end_of_input_ends_the_console_only(start: Start) -> None:
    server = start()
    assert server.process.stdin
    server.process.stdin.write(b"online users")
    server.process.stdin.close()
    server.wait_for("Nobody is online.")
    server.login("ann")
    server.stop()


def test_dev_null_as_input(start: Start) -> None:
    server = start(stdin=subprocess.DEVNULL)
    server.login("ann")
    assert "Error" not in server.stop()


def test_input_that_is_closed(start: Start) -> None:
    server = start(stdin=None, before=lambda: os.close(0))
    server.login("ann").ask("broadcast", text="x")
    assert "Error" not in server.stop()


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_input_and_output_that_are_closed(start: Start, home: Path, tmp_path: Path) -> None:
    # Not one that the system gives to clients: whoever knocks at it again and again would once come out at it, too.
    port = next(port for port in range(20_000 + os.getpid() % 10_000, 32_768) if is_free(port))

    def close_all() -> None:
        for fd in (0, 1, 2):
            os.close(fd)

    server = start(stdin=None, before=close_all, wait=False, port=str(port))
    server.port = port
    for _ in range(100_000):  # it has nowhere to say that it listens
        try:
            ann = server.login("ann")
            break
        except ConnectionRefusedError:
            assert server.process.poll() is None
    ann.ask("message", to="bob", text="x")
    server.stop()
    for name in ("journal.txt", "message_rep.txt", "lock"):
        assert "Listening" not in (home / "data" / name).read_text()
    assert start().login("bob").texts() == ["x"]


# Signals.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_as_stop_does(start: Start, number: signal.Signals) -> None:
    server = start()
    ann, greeted, mute = server.login("ann"), server.greet(), server.connect()
    assert "Everything is saved. Goodbye!" in server.stop(number)
    for peer in (ann, greeted, mute):
        assert peer.hung_up_with()[-1] == {
            "event": "bye", "status": "SHUTTING_DOWN", "text": "The server is shutting down.",
        }  # fmt: skip
    journal = (server.home / "data" / "journal.txt").read_text()
    assert all(line.startswith("#") for line in journal.splitlines()), "after a clean stop the journal is empty"
    logs = [path.name for path in (server.home / "data" / "logs").iterdir()]
    assert len(logs) == 1 and logs[0].startswith("log_")


def test_sighup_reloads_where_there_is_no_terminal(start: Start) -> None:
    server = start(before=os.setsid)
    ann = server.login("ann")
    text = (server.home / "para.txt").read_text()
    (server.home / "para.txt").write_text(text + "MaxCon 7\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("Reloaded: MaxCon is 7.")
    (server.home / "para.txt").write_text(text + "MaxCon 0\n")
    server.process.send_signal(signal.SIGHUP)
    assert "para.txt" in server.wait_for("Nothing was changed:")
    server.type("maxcon")
    server.wait_for("MaxCon is 7 ")
    assert (server.home / "para.txt").read_text() == text + "MaxCon 0\n", "what cannot be read is left alone"
    assert ann.ask("whoelse") == {"action": "whoelse", "status": "OK", "items": []}


# Peers of the worst kind.


def test_peers_of_the_worst_kind(start: Start) -> None:
    server = start()
    bob = server.login("bob")

    for say in (b"", b'{"action":"hello","prot', b'{"action":"hello","protocol":1}\n{"act'):
        peer = server.connect()
        peer.send(say)
        peer.reset()
        peer = server.connect()
        peer.send(say)
        peer.close()

    half = server.login("ann")
    half.send(b'{"action":"message","to":"bob","text":"whole"}\n{"action":"message","to":"bob","text":"half"}')
    half.socket.shutdown(socket.SHUT_WR)
    assert [m.get("action") for m in half.hung_up_with()][-1] == "message"
    assert bob.event("message")["text"] == "whole"

    long = server.greet()
    with contextlib.suppress(ConnectionError):
        long.send(b'{"action":"' + b"x" * 10_000_000 + b'"}\n')
    assert [m["status"] for m in long.hung_up_with()][:2] in (["TOO_LONG", "PROTOCOL_ERROR"], [])

    rude = server.greet()
    rude.send(b'\xff\xfe{"action"}\n\x00\n', {"action": "whoelse"})
    assert [rude.reply()["status"] for _ in range(3)] == ["BAD_REQUEST", "BAD_REQUEST", "NOT_ALLOWED"]

    twice = server.login("ann")
    twice.send({"action": "logout"}, {"action": "logout"})
    assert [(m.get("action"), m.get("event")) for m in twice.hung_up_with() if m.get("event") != "presence"] == [
        ("logout", None), (None, "bye"),
    ]  # fmt: skip

    assert bob.ask("whoelse")["items"] == []
    assert "Internal error" not in server.stop()
    (log,) = (server.home / "data" / "logs").iterdir()
    assert "Traceback" not in log.read_text()


def test_a_reader_that_never_reads(start: Start) -> None:
    server = start()
    ann, bob, slow = server.login("ann"), server.login("bob"), server.login("cid")
    count = 0
    while "cid" in ann.ask("whoelse")["items"]:
        batch = [{"action": "broadcast", "text": f"{count + i} " + "x" * 4_000} for i in range(50)]
        ann.send(*batch)
        for _ in batch:
            assert ann.reply()["status"] == "OK"
        count += len(batch)
        bob.texts(until=batch[-1]["text"])
        bob.events.clear()
        assert count < 20_000, "it must have been ended by now"
    said = [m for m in slow.hung_up_with() if "text" in m]
    assert said[-1]["status"] == "SLOW_CONSUMER" and len(said) < count
    again = server.login("cid")
    texts = again.texts(until=f"{count - 1} " + "x" * 4_000)
    assert [int(text.split()[0]) for text in texts] == list(range(count)), "all of it, at the next login"


def test_strangers_do_not_take_the_last_descriptors(start: Start) -> None:
    """Some are kept back for newcomers, for saving and for files: the greediest address's newest connections go."""
    server = start(limit=(resource.RLIMIT_NOFILE, 40))
    ann = server.login("ann")
    crowd = [server.connect("127.0.0.66") for _ in range(60)]
    assert ann.ask("broadcast", text="still here")["status"] == "OK"
    server.type("save")
    server.wait_for("Saved.")
    for number in range(20):
        assert ann.ask("message", to="bob", text=str(number))["status"] == "OK"
    assert server.login("bob").texts() == ["still here", *map(str, range(20))]
    assert "Everything is saved" in server.stop()
    assert crowd


def test_a_stop_beside_a_crowd_of_strangers(start: Start) -> None:
    server = start(limit=(resource.RLIMIT_NOFILE, 40))
    ann = server.login("ann")
    crowd = [server.connect("127.0.0.66") for _ in range(60)]
    ann.ask("message", to="bob", text="kept")
    assert "Everything is saved" in server.stop()
    assert crowd
    assert start().login("bob").texts() == ["kept"]


def test_a_slow_disk_delays_acknowledgements_and_nothing_else(start: Start) -> None:
    server = start(slow_sync=0.3)
    ann, bob = server.login("ann"), server.login("bob")
    ann.send({"action": "message", "to": "bob", "text": "slow", "id": 1})
    assert bob.ask("whoelse")["items"] == ["ann"]
    assert server.greet().ask("nonsense")["status"] == "UNKNOWN_ACTION"
    assert ann.reply()["id"] == 1
    assert bob.event("message")["text"] == "slow"


def test_a_background_checkpoint_by_the_limit(start: Start, tmp_path: Path) -> None:
    server = start(at=make_home(tmp_path / "small", JOURNAL_LIMIT="64 KiB"), stderr=subprocess.DEVNULL)  # no log
    ann = server.login("ann")
    texts = [f"{number} " + "x" * 2_000 for number in range(300)]
    for text in texts:
        assert ann.ask("message", to="bob", text=text)["status"] == "OK"
    server.type("save")
    server.wait_for("Saved.")
    assert (server.home / "data" / "journal.txt").stat().st_size < 128 << 10
    server.kill()
    assert start(at=tmp_path / "small").login("bob").texts() == texts


def test_what_is_printed_is_json_lines_on_the_wire(start: Start) -> None:
    """Any program that speaks lines is a client."""
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as nc:
        nc.sendall(b'{"action":"hello","protocol":1}\r\n')
        nc.shutdown(socket.SHUT_WR)
        data = b""
        while piece := nc.recv(4096):
            data += piece
    assert json.loads(data)["status"] == "OK" and data.endswith(b"}\n")
