"""Where servers are, as people write it, and as a server says it who may lie."""

from __future__ import annotations

import pytest

from chatlib.client.addresses import MAX_LEARNED, addresses_of, learned


@pytest.mark.parametrize(("text", "port", "found"), [
    ("a:1,b:2", None, [("a", 1), ("b", 2)]),
    ("a, b ,[::1]", "7", [("a", 7), ("b", 7), ("::1", 7)]),
    ("[::1]:5,a:1,A:1,[::1]:5", None, [("::1", 5), ("a", 1)]),
])  # fmt: skip
def test_several_servers(text: str, port: str | None, found: list[tuple[str, int]]) -> None:
    assert list(addresses_of(text, port)) == found


@pytest.mark.parametrize(("text", "port", "wrong"), [
    ("a:1,", None, 'an address is missing beside a comma: a:1234,b:1234 names two servers, not "a:1,"'),
    ("a:1,b", None, "the port is missing: b 1234, for example, or b:1234"),
    ("a:1,b", "2", 'the port stands twice: in "a:1", and as 2'),
    ("a:1,b:0", None, 'the port must be a number from 1 to 65535, not "0"'),
])  # fmt: skip
def test_what_is_wrong_with_one_of_them_is_named(text: str, port: str | None, wrong: str) -> None:
    with pytest.raises(ValueError, match=".") as raised:
        addresses_of(text, port)
    assert str(raised.value) == wrong


def test_a_server_says_who_else_there_is() -> None:
    said = ["10.0.0.1:1234", "chat-2.example.org:1", "[2001:db8::1]:65535", "10.0.0.1:1234"]
    found = learned(said, near=False)
    assert found == [("10.0.0.1", 1234), ("chat-2.example.org", 1), ("2001:db8::1", 65_535)]
    assert [str(each) for each in found] == said[:3]


@pytest.mark.parametrize("lie", [
    None, 5, "a:1", {"a:1": 2}, [None], [["a", 1]], ["a"], ["a:0"], ["a:65536"], ["a:1 "], ["a b:1"], ["-a:1"],
    ["a..b:1"],
    ["a:1,b:2"], ["a\x1b[2J:1"], ["\u0430:1"], ["x" * 254 + ":1"], ["10.0.0.1"], ["0.0.0.0:1"], ["[::]:1"],
    ["224.0.0.1:1"], ["127.1:1"], ["2130706433:1"], ["0x7f000001:1"], ["10.0.0.1:1:1"], ["user@host:1"],
    ["127.0.0.1:1"], ["[::1]:1"], ["localhost:1"], ["[::ffff:127.0.0.1]:1"],
])  # fmt: skip
def test_what_a_stranger_may_say_is_left_out(lie: object) -> None:
    assert learned(lie, near=False) == []


def test_on_one_machine_servers_of_this_machine_are_others() -> None:
    assert learned(["127.0.0.1:1", "localhost:2"], near=True) == [("127.0.0.1", 1), ("localhost", 2)]


def test_no_more_than_so_many_are_learned() -> None:
    assert len(learned([f"h{number}:1" for number in range(1_000)], near=False)) == MAX_LEARNED
