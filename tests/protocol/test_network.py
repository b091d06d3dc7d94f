"""Addresses and networks, as people write them and as connections are counted."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol.network import is_this_machine, network, place


@pytest.mark.parametrize(("text", "written"), [
    ("10.0.0.1", "10.0.0.1"), ("10.0.0.7/24", "10.0.0.0/24"), ("10.0.0.1/32", "10.0.0.1"), ("1.2.3.4/0", "0.0.0.0/0"),
    ("2001:DB8::1", "2001:db8::1"), ("2001:db8:1:2:3::/64", "2001:db8:1:2::/64"), ("::ffff:10.0.0.1", "10.0.0.1"),
    ("fe80::1%eth0", "fe80::1"), ("10.0.0.1/33", None), ("10.0.0.1/", None), ("10.0.0.1/x", None), ("ann", None),
    ("10.0.0", None), ("", None), ("/24", None), ("1", None), ("10.0.0.1/٣", None),
])  # fmt: skip
def test_what_a_person_may_write(text: str, written: str | None) -> None:
    found = network(text)
    assert (found and found.text) == written


@pytest.mark.parametrize(("address", "counted_as", "here"), [
    ("10.0.0.1", "10.0.0.1", False), ("::ffff:10.0.0.1", "10.0.0.1", False), ("127.0.0.5", "127.0.0.5", True),
    ("::1", "::1", True), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", False), ("pipe", "pipe", False),
    ("", "", False),
])  # fmt: skip
def test_what_an_address_is_counted_as(address: str, counted_as: str, here: bool) -> None:
    assert (place(address), is_this_machine(place(address))) == (counted_as, here)


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 128))
def test_a_network_holds_what_the_standard_library_says(one: object, other: object, bits: int) -> None:
    text = f"{one}/{bits}"
    try:
        wanted = ipaddress.ip_network(text, strict=False)
    except ValueError:
        assert network(text) is None
        return
    found = network(text)
    assert found is not None and found.holds(str(one)) == (ipaddress.ip_address(str(one)) in wanted)
    assert found.holds(str(other)) == (ipaddress.ip_address(str(other)) in wanted)
    assert network(found.text) == found
