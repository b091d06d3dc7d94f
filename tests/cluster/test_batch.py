"""What one node commits at once, as a message."""

from __future__ import annotations

from zlib import crc32

import pytest

from chatlib.cluster.batch import HEADER, Chains, Damaged, chained, pack, parse
from tests.chance import examples, new_chance


def test_a_batch_says_what_was_sent() -> None:
    records = [b'{"action":"block"}', b'{"action":"broadcast","text":"hi"}']
    message = pack("alpha", 3, 44, 1_700_000_000.25, (55, 0xBEEF), records)
    assert message.split(b"\n")[0].split(b" ")[5:] == [b"1700000000.250", b"55", b"0000beef"]
    read = parse(message)
    assert (read.node, read.incarnation, read.number, read.at) == ("alpha", 3, 44, 1_700_000_000.25)
    assert (read.position, read.chain, read.records) == (55, 0xBEEF, records)


def test_it_may_have_nothing_to_say() -> None:
    assert parse(pack("a", 1, 1, 0.0, (0, 0), [])).records == []


def test_a_header_is_never_longer_than_one_counts_on() -> None:
    most = 10**18
    assert len(pack("n" * 32, most, most, 999_999_999_999.999, (most, 0xFFFFFFFF), [])) <= HEADER


def test_any_other_byte_is_noticed_whatever_it_is_in() -> None:
    message = pack("alpha", 3, 44, 1_700_000_000.25, (55, 0xBEEF), [b'{"a":1}', b"{}"])
    for at in range(len(message)):
        for other in range(256):
            if other != message[at]:
                with pytest.raises(Damaged):
                    parse(message[:at] + bytes([other]) + message[at + 1 :])


def test_what_is_cut_short_or_has_more_is_noticed() -> None:
    message = pack("alpha", 3, 44, 1_700_000_000.25, (55, 0xBEEF), [b'{"a":1}', b"{}"])
    for end in range(len(message)):
        with pytest.raises(Damaged):
            parse(message[:end])
    for more in (b"\n", b"{}\n", b"x"):
        with pytest.raises(Damaged):
            parse(message + more)


def test_what_nobody_sent_is_no_batch() -> None:
    chance = new_chance()
    sample = pack("alpha", 3, 44, 1_700_000_000.25, (55, 0xBEEF), [b"{}"])
    for _ in range(examples(300)):
        junk = bytes(chance.choice(sample) for _ in range(chance.randrange(120)))
        with pytest.raises(Damaged):
            parse(junk)
    for wrong in (b"2 a 1 1 00000000 1.000 0 00000000\n", b"1  1 1 00000000 1.000 0 00000000\n", b""):
        with pytest.raises(Damaged):
            parse(wrong)


def test_a_chain_is_the_crc_of_all_messages() -> None:
    messages = [b"one", b"two", b"three"]
    chain = 0
    for message in messages:
        chain = chained(message, chain)
    assert chain == crc32(b"".join(messages))


def test_of_chains_the_latest_are_remembered() -> None:
    chains = Chains(kept=3)
    for position in range(10):
        chains.add(position, position * 7)
    assert chains.differs(9, 0) and chains.differs(7, 0) and not chains.differs(9, 63)
    assert not chains.differs(6, 0), "nothing is known of it any more"
    assert not chains.differs(10, 0), "nor of what is still to come"
    chains.add(10, chained(b"next", 63))
    assert not chains.is_other(10, b"next") and chains.is_other(10, b"other") and not chains.is_other(5, b"other")
