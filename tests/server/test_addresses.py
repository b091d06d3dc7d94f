"""Under which addresses a server says that it is reached: each of them is tried."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatlib.server import addresses
from chatlib.server.addresses import client_of, invitations, reachable

EACH = [(socket.AF_INET, ""), (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, ""), (socket.AF_INET6, "::1")]


@pytest.fixture(params=EACH, ids=str)
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family, address = request.param
    both = family == socket.AF_INET6 and not address
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with socket.create_server((address, 0), family=family, dualstack_ipv6=both) as opened:
        yield opened


def test_each_address_that_is_named_leads_there(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        raise AssertionError("a name server was asked")

    with monkeypatch.context() as patched:
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "getfqdn"):
            patched.setattr(socket, name, asked)
        found = reachable(listener)
    for each in found:
        socket.create_connection((each, listener.getsockname()[1]), timeout=10).close()
    assert len(found) == len(set(found)) and "0.0.0.0" not in found and "::" not in found


def test_a_server_for_this_machine_alone_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        said = [f"Only this machine reaches it, with: python3 client.py 127.0.0.1 {port}"]
        assert invitations(listener, "server.py") == said


def test_a_line_for_each_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "reachable", lambda _: ["192.168.1.5", "fd00::2"])
    with socket.create_server(("", 0)) as listener:
        port = listener.getsockname()[1]
        assert invitations(listener, "server.py") == [
            f"Others connect with: python3 client.py 192.168.1.5 {port}",
            f"                 or: python3 client.py fd00::2 {port}",
        ]


def test_a_machine_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "reachable", lambda _: [])
    with socket.create_server(("", 0)) as listener:
        port = listener.getsockname()[1]
        said = [f"Only this machine reaches it, with: python3 client.py 127.0.0.1 {port}"]
        assert invitations(listener, "server.py") == said


@pytest.mark.parametrize(("program", "client"), [
    ("server.py", "python3 client.py"),
    ("/some/where/server.py", "python3 client.py"),
    ("./chat-server.pyz", "python3 chat-client.pyz"),
    ("/home/ann/.local/bin/chat-server", "chat-client"),
    ("-c", "python3 client.py"),
])  # fmt: skip
def test_the_client_is_started_as_the_server_was(program: str, client: str) -> None:
    assert client_of(program) == client


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has two ways to ask")
def test_both_ways_to_ask_the_kernel_agree() -> None:
    assert set(addresses._of_each_interface()) <= set(addresses._all_at_once())
    assert "127.0.0.1" in addresses._all_at_once()


def test_of_ipv6_only_what_lasts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [f"fd00000000000000000000000000000{number} 02 40 00 {flags} eth0"
             for number, flags in enumerate(["80", "01", "08", "20", "40", "00"])]  # fmt: skip
    (tmp_path / "if_inet6").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(addresses, "_IPV6", tmp_path / "if_inet6")
    assert list(addresses._ipv6()) == ["fd00::", "fd00::5"]
    monkeypatch.setattr(addresses, "_IPV6", tmp_path / "none")
    assert list(addresses._ipv6()) == []


def test_a_kernel_that_tells_nothing_keeps_no_server_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    with socket.create_server(("", 0)) as listener:
        monkeypatch.setattr(addresses.fcntl, "ioctl", refused)
        monkeypatch.setattr(addresses.socket, "if_nameindex", refused)
        monkeypatch.setattr(addresses, "_OUTSIDE", {socket.AF_INET: "300.0.0.1"})
        assert reachable(listener) == []


def test_of_several_servers_all_are_named(listener: socket.socket) -> None:
    servers = ["10.0.0.1:1234", "10.0.0.2:1234"]
    said = "Others connect with: python3 client.py 10.0.0.1:1234,10.0.0.2:1234"
    assert invitations(listener, "server.py", servers=servers) == [said]
    assert invitations(listener, "server.py", servers=servers, tls=True) == [f"{said} --tls"]
