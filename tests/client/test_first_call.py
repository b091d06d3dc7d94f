"""What a person is told who calls a server for the first time, and finds something else, or nothing."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.client import news as n
from chatlib.client.conversation import Conversation
from chatlib.client.failures import NO_SUCH_HOST, stranger, unreachable
from chatlib.client.heartbeat import SILENCE
from tests.client.conftest import ROOT
from tests.client.programs import Terminal, environment
from tests.patience import LIMIT


@pytest.mark.parametrize(("number", "reason", "said"), [
    (errno.ECONNREFUSED, "", "Connection refused. Nothing listens there: has the server been started, and is the port"
                             " right?"),
    (errno.EHOSTUNREACH, "", "No route to host. Is the address right, and are both machines on the same network?"),
    (errno.ENETUNREACH, "", "Network is unreachable. Is this machine on a network that leads there?"),
    (errno.ETIMEDOUT, "", "Connection timed out. Nothing answers there: is the address right, is the machine on, does a"
                          " firewall keep you out?"),
    (NO_SUCH_HOST, "Name or service not known", "Name or service not known. Is the name spelled right? Its"
                                                " address, such as 192.168.1.5, needs no lookup."),
    (errno.EACCES, "", "Permission denied."),
])  # fmt: skip
def test_no_connection(number: int, reason: str, said: str) -> None:
    assert unreachable("10.0.0.5", 1234, number, reason) == f"The server 10.0.0.5 port 1234 cannot be reached: {said}"


@pytest.mark.parametrize(("chunk", "said"), [
    (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0-OpenSSH_9.6"),
    (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n", "HTTP/1.1 400 Bad Request"),
    (b"\x1b[2Jx" + b"y" * 100 + b"\n", "[2Jx" + "y" * 36 + "…"),
])  # fmt: skip
def test_a_stranger_is_quoted_without_what_a_terminal_obeys(chunk: bytes, said: str) -> None:
    assert stranger(chunk) == f'What answers there is no chat server: it said "{said}".'
    conversation = Conversation()
    conversation.connected(0.0)
    conversation.received(chunk, 0.0)
    assert conversation.take_news() == [n.Ended("PROTOCOL_ERROR", stranger(chunk))]


def test_what_never_says_a_word_is_given_up() -> None:
    conversation = Conversation()
    conversation.connected(0.0)
    assert conversation.is_calling and conversation.deadline() == SILENCE
    conversation.tick(SILENCE - 0.1)
    assert conversation.take_news() == []
    conversation.tick(SILENCE)
    assert conversation.take_news() == [n.Ended("LOST", "The server is silent. It may be no chat server.")]
    assert not conversation.is_calling


@pytest.fixture
def stranger_port() -> Iterator[tuple[socket.socket, int]]:
    """Something that listens, and never answers by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, listener.getsockname()[1]


@pytest.mark.parametrize("flags", [(), ("--admin",)])
def test_a_person_is_told_whom_the_program_calls_and_what_is_there(
    stranger_port: tuple[socket.socket, int], tmp_path: Path, flags: tuple[str, ...]
) -> None:
    listener, port = stranger_port
    person = Terminal(port, tmp_path, *flags)
    try:
        connection, _ = listener.accept()
        person.shows(f"Connecting to 127.0.0.1 port {port} …")
        connection.sendall(b"220 mail.example ESMTP\r\n")
        person.shows('Error! What answers there is no chat server: it said "220 mail.example ESMTP".')
        assert person.ends() == 1
        connection.close()
    finally:
        person.close()


def test_a_script_is_not_told_whom_it_calls(stranger_port: tuple[socket.socket, int], tmp_path: Path) -> None:
    listener, port = stranger_port
    words = [sys.executable, str(ROOT / "client.py"), f"127.0.0.1:{port}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=environment(tmp_path)) as script:  # fmt: skip
        connection, _ = listener.accept()
        connection.recv(65_536)
        connection.close()
        assert script.stdout is not None
        assert script.stdout.read() == "Error! The server closed the connection. It may be no chat server.\n"
        assert script.wait(LIMIT) == 1


def test_a_name_that_nobody_has_is_said_at_once(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "client.py"), "no.such.host.invalid", "1"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=LIMIT,
                          env=environment(tmp_path))  # fmt: skip
    assert done.returncode == 1 and "cannot be reached: " in done.stdout and "Is the name spelled right?" in done.stdout
