"""Lockouts: what they cost, how long they last whatever the clock does, and whom they never keep out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chatlib.core import lockouts
from chatlib.core.accounts import MAX_KNOWN
from chatlib.core.lockouts import FORGET, Failures, Lockouts
from chatlib.core.proofs import LOOKED_AT
from tests.core.stage import HOST, Stage

YEAR = 365 * 86_400.0


def locked_out(stage: Stage, user: str = "carol", address: str = HOST) -> None:
    for _ in range(3):
        status = stage.do("wrong_password", user=user, address=address)["status"]
    assert status == "LOCKED_OUT"


def login(stage: Stage, address: str = HOST, **more: Any) -> str:
    status: str = stage.do("login", user="carol", address=address, **more)["status"]
    return status


def logout(stage: Stage) -> None:
    presence = stage.world.online["carol"]
    assert stage.do("depart", user="carol", session=presence.login)["status"] == "OK"


# The clock.


def test_a_lockout_never_lasts_longer_than_it_was_set_for_whatever_the_clock_does(three: Stage) -> None:
    three.now = YEAR
    locked_out(three)
    three.now = 0.0  # set back by a year
    three.save()
    assert login(three) == "OK"
    assert three.world.lockouts.seconds_left("carol", HOST, 59.0) == 0.0


def test_a_lockout_that_begins_behind_the_clocks_turn_lasts_as_long_as_ever(three: Stage) -> None:
    three.now = YEAR
    locked_out(three)
    three.now = 10.0
    locked_out(three)
    three.now = 69.0
    assert login(three) == "LOCKED_OUT"
    three.now = 70.0
    assert login(three) == "OK"


def test_wrong_passwords_of_a_time_to_come_are_forgotten(three: Stage) -> None:
    three.now = YEAR
    three.do("wrong_password", user="carol", address=HOST)
    three.do("wrong_password", user="carol", address=HOST)
    three.now = 0.0
    assert three.do("wrong_password", user="carol", address=HOST)["tries_left"] == 2


def test_wrong_passwords_of_long_ago_count_no_more_without_a_restart(three: Stage) -> None:
    three.do("wrong_password", user="carol", address=HOST)
    three.now = FORGET + 1.0
    assert three.do("wrong_password", user="carol", address=HOST)["tries_left"] == 2


# What it costs.


class Counted(dict[Any, Any]):
    """A mapping that nobody may go through from one end to the other."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("all lockouts are looked at")

    items = keys = values = __iter__  # type: ignore[assignment]


def test_what_one_user_does_looks_at_no_other_users_lockouts(three: Stage) -> None:
    for number in range(1_000):
        three.do("wrong_password", user="bob", address=f"10.0.{number // 250}.{number % 250}")
    locked_out(three)
    entries, three.world.lockouts.entries = three.world.lockouts.entries, Counted()  # type: ignore[assignment]
    three.world.lockouts.entries.update(entries)  # dict.update does not ask a dict for its __iter__
    three.now = 100.0
    assert login(three) == "OK"
    logout(three)
    assert three.do("unlock", user="alice")["status"] == "NOT_LOCKED_OUT"
    assert three.do("deregister", user="carol")["status"] == "OK"


def test_old_entries_go_a_few_at_a_time_and_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockouts, "MAX_ENTRIES", 10)
    kept = Lockouts()
    for number in range(25):
        kept.fail("carol", f"address {number}", 1.0, 3, 60.0)
    assert [origin for _, origin in kept.entries] == [f"address {number}" for number in range(15, 25)]
    kept.fail("carol", "address 24", FORGET + 100.0, 3, 60.0)
    assert len(kept.entries) == 8, "two old ones at a time"
    for number in range(4):
        kept.fail("bob", f"address {number}", FORGET + 100.0, 3, 60.0)
    assert {user for user, _ in kept.entries} == {"carol", "bob"} and len(kept.entries) == 5
    assert kept.clear("carol") == 1 and kept.clear("bob", "address 2") == 1 and kept.clear("bob", "address 2") == 0
    assert kept.clear("bob") == 3 and not kept._origins


def test_whoever_was_touched_last_goes_last_also_after_a_save(three: Stage) -> None:
    for address in ("1.1.1.1", "2.2.2.2", "1.1.1.1"):
        three.do("wrong_password", user="carol", address=address)
    three.save()
    assert [origin for _, origin in three.world.lockouts.entries] == ["2.2.2.2", "1.1.1.1"]


def test_nobody_with_a_lockout_removes_an_account_in_a_journal_of_before(three: Stage) -> None:
    kept = three.world.lockouts
    kept.add("carol", "6.6.6.6", Failures(0, 0.0, 60.0))
    assert three.do("deregister", user="carol")["status"] == "LOCKED_OUT", "it did not say from where"
    assert three.do("deregister", user="carol", address="6.6.6.6")["status"] == "LOCKED_OUT"
    assert three.do("deregister", user="carol", address=HOST)["status"] == "OK"


# Whom it never keeps out.


def test_a_stranger_behind_the_users_address_does_not_lock_the_user_out(three: Stage) -> None:
    assert login(three, client="mine") == "OK"
    logout(three)
    three.save()
    locked_out(three)
    assert login(three, client="mine") == "OK", "the very client that was there before"
    logout(three)
    assert login(three, client="another run") == "OK"
    logout(three)
    assert login(three) == "OK"
    logout(three)
    assert login(three, "10.0.0.2") == "OK", "no lockout is there"
    logout(three)
    locked_out(three, address="6.6.6.6")
    assert login(three, "6.6.6.6") == "LOCKED_OUT", "nobody has logged in from there"


def test_guessing_at_the_users_own_address_stays_slow(three: Stage) -> None:
    assert login(three, client="mine") == "OK"
    logout(three)
    locked_out(three)
    for number in range(LOOKED_AT):
        assert three.do("wrong_password", user="carol", address=HOST)["status"] == "LOCKED_OUT"
        three.save()
        assert three.world.lockouts.looked_at("carol", HOST) == number + 1
    assert login(three, client="a guess that is right") == "LOCKED_OUT"
    assert login(three, client="mine") == "OK", "the client that has proven it before is never locked out"
    logout(three)
    assert login(three, client="a guess that is right") == "LOCKED_OUT", "nor does it open the door to the guesser"
    three.now = 60.0
    assert login(three, client="a guess that is right") == "OK", "wrong ones have not made it longer"


def test_addresses_are_remembered_for_each_user_up_to_a_limit(three: Stage) -> None:
    for number in range(MAX_KNOWN + 1):
        assert login(three, f"10.0.0.{number}", client="c") == "OK"
        logout(three)
    assert login(three, "10.0.0.5", client="d") == "OK"
    account = three.world.accounts["carol"]
    assert [address for address, _ in account.known] == [f"10.0.0.{number}" for number in (5, 8, 7, 6, 4, 3, 2, 1)]
    assert account.knows("10.0.0.5", "d") and not account.knows("10.0.0.5", "c") and not account.knows("10.0.0.0")
    three.save()


def test_a_password_given_by_hand_forgets_them(three: Stage) -> None:
    assert login(three) == "OK"
    three.do("edit", accounts={"Carol": "v-Carol"})
    assert three.world.accounts["carol"].known
    three.do("edit", accounts={"Carol": "another"})
    assert not three.world.accounts["carol"].known
