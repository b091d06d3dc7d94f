"""What is remembered of what peers have given."""

from __future__ import annotations

from chatlib.client.given import KEPT, NOWHERE, UNSHOWN, USERS, Given, Taken


def test_what_comes_again_is_known() -> None:
    given = Given()
    assert given.take("ann", "k", (1, 1)) is Taken.NEW
    assert given.take("bob", "k", (2, 1)) is Taken.NEW, "each has keys of one's own"
    assert given.take("ann", "k", (3, 5)) is Taken.WAITING
    assert given.shown("ann", "k") == (3, 5), "it is acknowledged where it came last"
    assert given.take("ann", "k", (4, 1)) is Taken.SHOWN
    assert given.shown("ann", "k") == NOWHERE, "once"
    assert given.shown("ann", "unknown") == given.shown("cid", "k") == NOWHERE


def test_so_much_waits_of_one_user_and_what_comes_again_has_room() -> None:
    given = Given()
    for number in range(UNSHOWN):
        assert given.take("ann", str(number), (1, number)) is Taken.NEW
    assert given.take("ann", "more", (2, 1)) is Taken.TOO_MANY
    assert given.take("ann", "7", (2, 1)) is Taken.WAITING
    assert given.take("bob", "more", (3, 1)) is Taken.NEW
    given.shown("ann", "7")
    assert given.take("ann", "more", (2, 1)) is Taken.NEW


def test_what_is_kept_is_bounded_and_only_what_was_shown_is_forgotten() -> None:
    given = Given()
    given.take("ann", "unshown", (1, 1))
    for number in range(2, 2 * KEPT):
        given.take("ann", str(number), (1, number))
        given.shown("ann", str(number))
    assert len(given._users["ann"]) == KEPT
    for number in range(2 * USERS):
        given.take(f"user{number}", "k", (number, 1))
        given.shown(f"user{number}", "k")
    assert len(given._users) == USERS
    assert given.take("ann", "unshown", (9, 1)) is Taken.WAITING
    assert given.take(f"user{2 * USERS - 1}", "k", (9, 2)) is Taken.SHOWN
