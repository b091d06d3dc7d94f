"""The words of the client's command line."""

from __future__ import annotations

from argparse import ArgumentTypeError

import pytest

from chatlib.program.arguments import servers, verbatim
from client import parse_arguments


@pytest.mark.parametrize(("words", "found"), [
    (["10.0.0.1", "1234"], ("10.0.0.1", 1234)),
    (["10.0.0.1:1234"], ("10.0.0.1", 1234)),
    (["host.example:65535"], ("host.example", 65_535)),
    (["[::1]", "1234"], ("::1", 1234)),
    (["[::1]:1234"], ("::1", 1234)),
    (["::1", "1234"], ("::1", 1234)),
    (["fe80::1%eth0", "1"], ("fe80::1%eth0", 1)),
    (["--plain", "host:1", "--user", "ann"], ("host", 1)),
    (["host", "--user", "ann", "1"], ("host", 1)),
])  # fmt: skip
def test_an_address(words: list[str], found: tuple[str, int]) -> None:
    options = parse_arguments(words)
    assert options.servers == (found,)


@pytest.mark.parametrize(("host", "port", "said"), [
    ("host", None, "the port is missing: host 1234, for example, or host:1234"),
    ("::1", None, "the port is missing: ::1 1234, for example, or [::1]:1234"),
    ("[::1]", None, "the port is missing: ::1 1234, for example, or [::1]:1234"),
    ("::1:1234", None, "the port is missing: ::1:1234 1234, for example, or [::1:1234]:1234"),
    ("host:1", "2", 'the port stands twice: in "host:1", and as 2'),
    ("[::1]:1", "1", 'the port stands twice: in "[::1]:1", and as 1'),
    ("host:", None, 'the port must be a number from 1 to 65535, not ""'),
    ("host:0", None, 'the port must be a number from 1 to 65535, not "0"'),
    ("host", "65536", 'the port must be a number from 1 to 65535, not "65536"'),
    ("host", "\u0661", 'the port must be a number from 1 to 65535, not "\u0661"'),
    (":1234", None, 'no address stands in ":1234"'),
    ("[]:1234", None, 'no address stands in "[]:1234"'),
    ("", "1", 'no address stands in ""'),
    ("[::1", "1", 'an address in brackets looks like [::1] or [::1]:1234, not "[::1"'),
    ("[::1]1234", None, 'an address in brackets looks like [::1] or [::1]:1234, not "[::1]1234"'),
])  # fmt: skip
def test_no_address(host: str, port: str | None, said: str) -> None:
    with pytest.raises(ArgumentTypeError) as wrong:
        servers(host, port)
    assert str(wrong.value) == said


def test_what_is_sent_is_marked_and_nothing_else_is() -> None:
    marked = verbatim(["h", "--send", "--file", "-x", "--file", "a", "b", "--json", "--", "--send", "c"])
    assert marked == ["h", "--send", "\0--file", "\0-x", "--file", "\0a", "\0b", "--json", "--", "--send", "c"]


def test_a_password_is_in_no_trace_of_the_options(tmp_path: object) -> None:
    path = f"{tmp_path}/secret"
    with open(path, "w") as file:
        file.write("correct horse\n")
    options = parse_arguments(["host:1", "--user", "ann", "--password-file", path])
    assert options.password == "correct horse" and "horse" not in repr(options)
