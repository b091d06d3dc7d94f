"""``client.py --send``, ``--file`` and ``--json`` as other programs start them: what is done, said, and the status."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import client as program
from chatlib.client import Client
from tests.client.conftest import ROOT, USERS, Server
from tests.client.programs import WELCOME, Pseudo, command, environment, script, until
from tests.patience import LIMIT

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Bob's password, in a file that nobody else can read."""
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text("bob-password\n")
    return path


@pytest.fixture
def bob(server: Server, secret: Path, tmp_path: Path) -> Run:
    """The client as bob, with these flags and this standard input."""

    def run(*flags: str, lines: str = "") -> subprocess.CompletedProcess[str]:
        words = command(server, "--user", "bob", "--password-file", str(secret), *flags)
        return subprocess.run(words, input=lines, text=True, capture_output=True, timeout=LIMIT,
                              env=environment(tmp_path), cwd=tmp_path)  # fmt: skip

    return run


@pytest.fixture
def ann(server: Server) -> Iterator[Client]:
    with Client("127.0.0.1", server.port, timeout=LIMIT) as client:
        client.login("ann", USERS["ann"])
        yield client


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


def heard(client: Client, kind: str, count: int) -> list[dict[str, Any]]:
    """The next events of that kind."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        event = client.next_event(LIMIT)
        assert event is not None, f"only {found}"
        if event["event"] == kind:
            found.append(event)
    return found


# What is sent.


def test_a_text_is_sent_and_nothing_is_said(bob: Run, ann: Client) -> None:
    assert outcome(bob("--send", "ann", "The backup is done.")) == (0, "", "")
    assert [event["text"] for event in heard(ann, "message", 1)] == ["The backup is done."]


@pytest.mark.parametrize("text", ["-", "--help", "-5 degrees", "--user carl", "--", "-x"])
def test_a_text_is_no_flag_whatever_it_looks_like(bob: Run, ann: Client, text: str) -> None:
    assert outcome(bob("--send", "ann", text, lines="-\n")) == (0, "", "")
    assert [event["text"] for event in heard(ann, "message", 1)] == [text]


def test_steps_are_carried_out_in_their_order(bob: Run, ann: Client) -> None:
    done = bob("--send", "ann", "first\n\nsecond", "--send", "ann", "-", "--send", "all", "last", lines="a\n\n b \nc")
    assert outcome(done) == (0, "", "")
    assert [event["text"] for event in heard(ann, "message", 5)] == ["first", "second", "a", " b ", "c"]
    assert [event["text"] for event in heard(ann, "broadcast", 1)] == ["last"]


def test_a_log_goes_into_a_thread_line_by_line(bob: Run, ann: Client) -> None:
    ann.create_thread("plans")
    lines = [f"line {number}" for number in range(1_000)]
    assert outcome(bob("--send", "#plans", "-", lines="\n".join(lines))) == (0, "", "")
    assert [each["text"] for each in ann.read_thread("plans", 1_000)] == lines


def test_lines_are_sent_as_they_come(server: Server, secret: Path, ann: Client, tmp_path: Path) -> None:
    words = command(server, "--user", "bob", "--password-file", str(secret), "--send", "ann", "-")
    with subprocess.Popen(words, stdin=subprocess.PIPE, env=environment(tmp_path), text=True) as sends:
        assert sends.stdin is not None
        for text in ("one", "two"):
            sends.stdin.write(f"{text}\n")
            sends.stdin.flush()
            assert heard(ann, "message", 1)[0]["text"] == text
        sends.stdin.close()
        assert sends.wait(LIMIT) == 0


def test_lines_go_on_after_the_server_was_away(server: Server, secret: Path, tmp_path: Path) -> None:
    words = command(server, "--user", "bob", "--password-file", str(secret), "--send", "ann", "-", "--json")
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(tmp_path),
                          text=True) as sends:  # fmt: skip
        assert sends.stdin is not None and sends.stdout is not None
        sends.stdin.write("before\n")
        sends.stdin.flush()
        assert json.loads(sends.stdout.readline())["status"] == "OK"
        server.kill()
        sends.stdin.write("after\n")
        sends.stdin.close()
        server.start()
        assert sends.wait(LIMIT) == 0
    with Client("127.0.0.1", server.port, timeout=LIMIT) as ann:
        ann.login("ann", USERS["ann"])
        assert [event["text"] for event in heard(ann, "message", 2)] == ["before", "after"]


def test_files_go_to_users_and_into_threads(bob: Run, ann: Client, tmp_path: Path) -> None:
    ann.create_thread("plans")
    (tmp_path / "one.txt").write_text("1" * 1_000)
    (tmp_path / "-two.txt").write_text("22")
    assert outcome(bob("--file", "ann", "one.txt", "--file", "#plans", "-two.txt")) == (0, "", "")
    assert [(each["from"], each["name"]) for each in ann.files()] == [("bob", "one.txt")]
    assert heard(ann, "upload", 1)[0]["name"] == "-two.txt"


def test_what_waits_for_the_sender_goes_on_waiting(bob: Run, ann: Client, server: Server, tmp_path: Path) -> None:
    ann.message("bob", "read me")
    for _ in range(2):
        assert outcome(bob("--send", "ann", "hi")) == (0, "", "")
    said, _ = script(server, tmp_path, "bob\nbob-password\n")
    assert "While you were away (1 message):" in said and "ann: read me" in said


# What is refused: status 1, a sentence on standard error, and all else is done.


@pytest.mark.parametrize(("flags", "said"), [
    (("--send", "nobody", "x"), 'There is no user "nobody".'),
    (("--send", "bob", "x"), "You cannot send a message to yourself!"),
    (("--send", "#nowhere", "x"), 'There is no thread "nowhere".'),
    (("--send", "ann", "x" * 4_097), "Not sent: this must be a text of 1 to 4,096 characters without control"
                                     " characters, with at most 16 combining marks in a row."),
    (("--send", "ann", ""), "Not sent: this must be a text of 1 to 4,096 characters without control"
                            " characters, with at most 16 combining marks in a row."),
    (("--file", "ann", "nothing.txt"), 'There is no file "nothing.txt".'),
    (("--file", "nobody", "secret"), 'There is no user "nobody".'),
    (("--file", "bob", "secret"), "You cannot send a file to yourself!"),
])  # fmt: skip
def test_a_refusal_fails_it_and_the_rest_is_done(bob: Run, ann: Client, flags: tuple[str, ...], said: str) -> None:
    status, out, error = outcome(bob(*flags, "--send", "ann", "and this"))
    assert (status, out) == (1, "") and error == f"Error! {said}\n"
    assert [event["text"] for event in heard(ann, "message", 1)] == ["and this"]


def test_a_wrong_password(bob: Run, ann: Client, secret: Path) -> None:
    secret.write_text("wrong\n")
    assert outcome(bob("--send", "ann", "x")) == (1, "", "Error! Wrong password: 2 tries are left.\n")


def test_nobody_is_asked_for_another_session(bob: Run, server: Server) -> None:
    with Client("127.0.0.1", server.port, timeout=LIMIT) as here:
        here.login("bob", USERS["bob"])
        status, out, error = outcome(bob("--send", "ann", "x"))
    assert (status, out, error.count("\n")) == (1, "", 1) and error.startswith("Error! ")


def test_a_server_that_is_not_there(bob: Run, server: Server) -> None:
    server.kill()
    status, out, error = outcome(bob("--send", "ann", "x"))
    assert (status, out) == (1, "") and error.startswith(f"Error! The server 127.0.0.1 port {server.port} cannot")


def test_a_server_that_goes_ends_it_where_it_is_not_to_come_back(
    server: Server, secret: Path, tmp_path: Path
) -> None:
    words = command(server, "--user", "bob", "--password-file", str(secret), "--json", "--no-reconnect",
                    "--send", "ann", "hi", "--send", "ann", "-")  # fmt: skip
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment(tmp_path)) as sends:  # fmt: skip
        assert sends.stdout is not None and sends.stderr is not None
        assert json.loads(sends.stdout.readline())["status"] == "OK"
        server.kill()
        assert sends.wait(LIMIT) == 1
        assert sends.stderr.read().startswith("Error! ")


IMPATIENT = """
import sys
import client
from chatlib.program import scripting
scripting._PATIENCE = 0.0
sys.exit(client.main(sys.argv[1:]))
"""


def test_a_server_that_does_not_come_back_is_given_up_when_all_lines_are_read(
    server: Server, secret: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", IMPATIENT, f"127.0.0.1:{server.port}", "--user", "bob", "--password-file",
             str(secret), "--send", "ann", "-", "--json"]  # fmt: skip
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment(tmp_path), cwd=ROOT) as sends:  # fmt: skip
        assert sends.stdin is not None and sends.stdout is not None and sends.stderr is not None
        sends.stdin.write("before\n")
        sends.stdin.flush()
        assert json.loads(sends.stdout.readline())["status"] == "OK"
        server.kill()
        sends.stdin.write("after\n")
        sends.stdin.close()
        said = "The connection was lost, and the server did not come back. Without an answer: 1 request."
        assert (sends.wait(LIMIT), sends.stderr.read()) == (1, f"Error! {said}\n")


@pytest.mark.parametrize(("key", "status"), [("\x04", 0), ("\x03", 1)])
def test_lines_are_typed_at_a_terminal(
    server: Server, secret: Path, ann: Client, tmp_path: Path, key: str, status: int
) -> None:
    flags = ("--user", "bob", "--password-file", str(secret), "--send", "ann", "-")
    sends = Pseudo(command(server, *flags), tmp_path, controls=True)
    try:
        sends.types("half a li\x7fine\n")
        assert heard(ann, "message", 1)[0]["text"] == "half a line"
        sends.types(key)
        assert sends.ends() == status
    finally:
        sends.close()


def test_whoever_stops_it_before_all_was_sent_fails_it(server: Server, secret: Path, tmp_path: Path) -> None:
    words = command(server, "--user", "bob", "--password-file", str(secret), "--json",
                    "--send", "ann", "hi", "--send", "ann", "-")  # fmt: skip
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment(tmp_path)) as sends:  # fmt: skip
        assert sends.stdout is not None and sends.stderr is not None
        assert json.loads(sends.stdout.readline())["status"] == "OK"
        sends.send_signal(signal.SIGTERM)
        assert (sends.wait(LIMIT), sends.stderr.read()) == (1, "Error! It was stopped before all was done.\n")


# What is wrong with the flags: status 2, and nobody is called.


@pytest.mark.parametrize(("flags", "said"), [
    (("--send", "ann"), "expected 2 arguments"),
    (("--send", "no name", "x"), "must be a user's name"),
    (("--file", "all", "x"), "files go to one user, or into a thread"),
    (("--send", "ann", "-", "--send", "carl", "-"), "standard input can be sent once only"),
    (("--admin",), "--admin is no user's"),
])  # fmt: skip
def test_wrong_flags(bob: Run, flags: tuple[str, ...], said: str) -> None:
    status, out, error = outcome(bob(*flags))
    assert (status, out) == (2, "") and said in error and "usage:" in error


@pytest.mark.parametrize(("flags", "said"), [
    (("--send", "ann", "x"), "--send, --file and --json need --user NAME and --password-file FILE"),
    (("--json",), "--send, --file and --json need --user NAME and --password-file FILE"),
    (("--json", "--user", "bob"), "--send, --file and --json need --user NAME and --password-file FILE"),
    (("--password-file", "secret"), "--password-file needs --user NAME: whose password it is"),
    (("--user", "bob", "--password-file", "nowhere"), '"nowhere" cannot be read: No such file or directory'),
    (("--user", "bob", "--password-file", "empty"), 'the first line of "empty" is no password: The password is empty.'),
    (("--user", "bob", "--password-file", "bytes"), 'the first line of "bytes" is no password: it is no text'),
])  # fmt: skip
def test_passwords_that_are_not_there(
    secret: Path, tmp_path: Path, flags: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "empty").touch()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        program.main(["127.0.0.1", "1234", *flags])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "") and said in printed.err


# The password's file.


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_password_that_others_can_read_is_warned_of_and_used(
    bob: Run, ann: Client, secret: Path, mode: int
) -> None:
    secret.chmod(mode)
    said = f'Warning! Others can read the password in "{secret}": "chmod 600" on it keeps them out.\n'
    assert outcome(bob("--send", "ann", "hi")) == (0, "", said)


def test_a_password_may_come_through_a_pipe(server: Server, ann: Client, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"bob-password\n")
    os.close(write)
    words = command(server, "--user", "bob", "--password-file", f"/dev/fd/{read}", "--send", "ann", "hi")
    done = subprocess.run(words, text=True, capture_output=True, timeout=LIMIT, pass_fds=(read,))
    os.close(read)
    assert outcome(done) == (0, "", "")


def test_commands_need_no_lines_for_name_and_password(bob: Run, ann: Client) -> None:
    welcome = WELCOME.format("bob").splitlines()[-1]
    assert outcome(bob(lines="whoelse\nmessage ann hi\n")) == (0, f"{welcome}\nann\n", "")
    assert heard(ann, "message", 1)[0]["text"] == "hi"


def test_a_file_with_a_wrong_password_is_tried_once(bob: Run, secret: Path) -> None:
    secret.write_text("wrong\n")
    assert outcome(bob(lines="bob-password\n")) == (1, "Error! Wrong password: 2 tries are left.\n", "")


# JSON lines.


def test_what_happens_is_printed_as_json_until_it_is_stopped(
    server: Server, secret: Path, ann: Client, tmp_path: Path
) -> None:
    ann.message("bob", "waited for you")
    words = command(server, "--user", "bob", "--password-file", str(secret), "--json")
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          env=environment(tmp_path)) as prints:  # fmt: skip
        assert prints.stdout is not None
        first = json.loads(prints.stdout.readline())
        assert (first["event"], first["from"], first["text"], first["offline"]) == (
            "message", "ann", "waited for you", True)  # fmt: skip
        ann.message("bob", "Grüße\u202e")
        line = prints.stdout.readline()
        assert line.isascii() and json.loads(line)["text"] == "Grüße\u202e"
        prints.send_signal(signal.SIGINT)
        assert (prints.wait(LIMIT), prints.stdout.read()) == (0, "")
    said, _ = script(server, tmp_path, "bob\nbob-password\n")
    assert "waited" not in said, "what was printed is not told again"


def test_with_json_the_answers_are_printed_too(bob: Run, ann: Client, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("1")
    ann.create_thread("plans")
    done = bob("--json", "--send", "ann", "hi", "--send", "#plans", "hi", "--send", "all", "hi", "--send", "eve", "hi",
               "--file", "ann", "one.txt", "--file", "#nowhere", "one.txt")  # fmt: skip
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    answers = {(each["action"], each.get("to") or each.get("title")): each["status"]
               for each in printed if "action" in each}  # fmt: skip
    assert answers == {
        ("message", "ann"): "OK", ("msg", "plans"): "OK", ("broadcast", "all"): "OK",
        ("message", "eve"): "NO_SUCH_USER",
        ("file", "ann"): "OK", ("upd", "nowhere"): "NO_SUCH_THREAD",
    }  # fmt: skip
    assert done.returncode == 1 and done.stderr.splitlines() == [
        'Error! There is no user "eve".', 'Error! There is no thread "nowhere".']  # fmt: skip
    assert all("id" not in each for each in printed)


def test_what_a_reader_has_not_taken_is_not_acknowledged(
    server: Server, secret: Path, ann: Client, tmp_path: Path
) -> None:
    for number in range(100):
        ann.message("bob", f"number {number}." + "x" * 4_000)
    words = command(server, "--user", "bob", "--password-file", str(secret), "--json")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment(tmp_path)) as prints:  # fmt: skip
        assert prints.stdout is not None and prints.stderr is not None
        assert json.loads(prints.stdout.readline())["text"].startswith("number 0.")
        prints.stdout.close()
        assert (prints.wait(LIMIT), prints.stderr.read()) == (1, "")
    until(lambda: not ann.whoelse())
    with Client("127.0.0.1", server.port, timeout=LIMIT) as bob:
        bob.login("bob", USERS["bob"])
        texts = [event["text"].split(".")[0] for event in heard(bob, "message", 1)]
        assert int(texts[0].split()[1]) <= 99


@pytest.mark.parametrize("words", [["127.0.0.1:{}"], ["localhost:{}"], ["[::1]:{}"], ["[::1]", "{}"], ["::1", "{}"]])
def test_an_address_in_each_form(server: Server, secret: Path, ann: Client, words: list[str]) -> None:
    if "::1" in words[0] and not socket.has_dualstack_ipv6():
        pytest.skip("the server listens on IPv4 alone")
    where = [word.format(server.port) for word in words]
    flags = ["--user", "bob", "--password-file", str(secret), "--send", "ann", "hi"]
    done = subprocess.run([sys.executable, str(ROOT / "client.py"), *where, *flags], text=True, capture_output=True,
                          timeout=LIMIT)  # fmt: skip
    assert outcome(done) == (0, "", "")
