"""The flags of a cluster's node: what is taken, and what is refused in which words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import server
from chatlib.server.nodeflags import log_address
from chatlib.storage import nodefile


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    with pytest.raises(SystemExit) as ended:
        server.flags(list(flags))
    assert ended.value.code == 2
    return said(capsys).partition("error: ")[2]


def test_a_node_is_named_and_says_where_it_is() -> None:
    options = server.flags(["1234", "--log", "nats://a,b,c/chat", "--node", "north-1", "--advertise", "[::1]:1234"])
    assert (options.log, options.node, options.advertise) == ("nats://a,b,c/chat", "north-1", "[::1]:1234")
    assert options.found is False


@pytest.mark.parametrize("name", ["", "a" * 33, "two words", "a.b", "é", ">"])
def test_other_names_are_none(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "a node's name is 1 to 32 of" in refused(capsys, "1234", "--log", "nats://a/chat", "--node", name)


@pytest.mark.parametrize("address", ["host", ":1234", "host:", "host:0", "host:65536", "a b:1", "::1:80x", "ho/st:1"])
def test_other_addresses_are_none(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is HOST:PORT or [IPV6]:PORT" in refused(capsys, "1234", "--log", "nats://a/chat", "--advertise", address)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[0::0]"])
def test_nobody_is_sent_to_all_addresses(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    what = refused(capsys, "1234", "--log", "nats://a/chat", "--advertise", f"{host}:1234")
    assert what.endswith(f"at one address, and {host} stands for all of them")


def test_what_is_for_a_node_needs_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--found"], ["--node", "a"], ["--advertise", "a:1"]):
        assert refused(capsys, "1234", *flags) == f"{flags[0]} is for one of several servers: it needs --log URL"
    assert "a node keeps its home" in refused(capsys, "1234", "--log", "nats://a/chat", "--ephemeral")
    assert "--verify starts no server" in refused(capsys, "--verify", "--log", "nats://a/chat")
    assert server.flags(["--backup", "b.tar.gz", "--log", "nats://a/chat"]).log == "nats://a/chat"
    assert refused(capsys, "1234", "--backup", "b.tar.gz", "--log", "nats://a/chat") == (
        "--backup starts no server: it takes --home FOLDER, and --log where that is a node's"
    )


def test_the_address_of_the_log_may_stand_in_a_file(tmp_path: Path) -> None:
    heard: list[str] = []
    path = tmp_path / "log.txt"
    path.write_text("# where the world is\nnats://me:secret@a:1,b/chat\n\n")
    path.chmod(0o600)
    engine = log_address(f"@{path}", heard.append)
    assert (engine.addresses, engine.password, engine.name) == ((("a", 1), ("b", 4222)), "secret", "chat")
    assert heard == []
    path.chmod(0o640)
    log_address(f"@{path}", heard.append)
    assert heard == [f"Others on this machine may read {path}, which may hold a password: chmod 600 {path}"]


def test_a_password_that_everybody_sees_is_taken_and_said() -> None:
    heard: list[str] = []
    assert log_address("nats://me:secret@a/chat", heard.append).password == "secret"
    assert len(heard) == 1 and "--log @FILE" in heard[0] and "secret" not in heard[0]
    assert log_address("nats://a/chat", heard.append).name == "chat" and len(heard) == 1


def test_what_is_no_address_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    empty, two, long = tmp_path / "empty", tmp_path / "two", tmp_path / "long"
    empty.write_text("# nothing\n")
    long.write_text("#" * 4_000 + "\nnats://" + "a.example," * 20 + "b/chat\n")  # a part of it is an address, too
    two.write_text("nats://a/chat\nnats://b/chat\n")
    for text, wrong in {
        "http://a/chat": "nats://", "nats://a": "/NAME", "nats://a/two words": "/NAME", f"@{tmp_path}/none": "No such",
        f"@{tmp_path}": "is no file", f"@{pipe}": "is no file", f"@{empty}": "in one line", f"@{two}": "in one line",
        f"@{long}": "is longer than 4,096 bytes", "": "it is empty", "@": "it is empty",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=wrong):
            log_address(text, lambda said: None)


def test_an_address_that_is_empty_makes_no_single_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert server.main(["0", "--home", str(tmp_path), "--log", ""]) == 1
    assert "--log: it is empty; nats://HOST/NAME is allowed" in said(capsys)
    assert not (tmp_path / "para.txt").exists()
    assert "a node keeps its home" in refused(capsys, "1234", "--log", "", "--ephemeral")


def test_a_nodes_home_does_not_start_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    nodefile.write(tmp_path / "data", "north", "chat")
    assert server.main(["0", "--home", str(tmp_path)]) == 1
    told = said(capsys)
    assert told.startswith(f"Error! {tmp_path} is the home of the node north of a cluster, whose log chat holds what")
    assert "start it with --log nats://HOST/chat" in told and "--backup" in told and "--restore" in told
