"""Values in order: pages of long lists, whatever was added and removed, at the cost of a page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.core.ordered import Directory, Ordered
from tests.core.stage import Stage

KEYS = st.sampled_from([f"{letter}{digit}" for letter in "abc" for digit in range(4)])


@given(st.lists(KEYS, unique=True), st.lists(st.tuples(st.sampled_from(["set", "del"]), KEYS)), KEYS)
def test_a_directory_is_a_dict_in_order(loaded: list[str], acts: list[tuple[str, str]], after: str) -> None:
    directory, model = Directory[int](), dict[str, int]()
    for number, key in enumerate(loaded):
        directory.load(key, number)
        model[key] = number
    for number, (act, key) in enumerate(acts):
        if act == "set":
            directory[key] = model[key] = number
        elif key in model:
            del directory[key], model[key]
        else:
            with pytest.raises(KeyError):
                del directory[key]
    assert directory == model and list(directory) == list(model)
    assert list(directory.after(after)) == sorted(key for key in model if key > after)
    assert list(directory.after("")) == sorted(model)


def test_what_is_loaded_twice_is_refused() -> None:
    directory = Directory[int]()
    directory.load("ann", 1)
    with pytest.raises(ValueError, match="ann is there twice"):
        directory.load("ann", 2)


@given(st.sets(st.integers(0, 20)), st.integers(-1, 21), st.integers(-1, 21))
def test_what_lies_between(values: set[int], low: int, high: int) -> None:
    ordered = Ordered[int]()
    for value in values:
        ordered.add(value)
    count, between = ordered.between(low, high)
    wanted = sorted(value for value in values if low < value <= high)
    assert (count, list(between)) == (len(wanted), wanted)


def test_a_page_of_a_long_list_costs_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    world = stage.world
    for number in range(5_000):
        stage.do("register", user=f"user{number:04}", verifier="v")
    stage.do("login", user="user4990", address="a")
    names = world.accounts.after("user4000")
    assert [next(names) for _ in range(3)] == ["user4001", "user4002", "user4003"]
    monkeypatch.setattr(Directory, "__iter__", None)  # nobody goes through all of them
    assert list(world.visible("user0001", "user4000")) == ["user4990"]
    assert list(world.seen_lately("user0001", -1.0, 1.0, "user4000")) == ["user4990"]


@pytest.mark.parametrize("few", [0, 2_000])
def test_who_was_here_lately_is_the_same_whichever_way_it_is_found(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr("chatlib.core.world._FEW", few)
    stage = Stage()
    for number, name in enumerate("ABCDEFG"):
        stage.now = 10.0 * (number + 1)
        stage.do("register", user=name, verifier="v")
        login = stage.do("login", user=name.lower(), address="a")["seq"]
        if name in "BCDE":
            stage.do("depart", user=name.lower(), session=login)
    stage.do("block", "g", user="a")
    stage.do("login", user="c", address="a")
    stage.do("block", "c", user="a")
    stage.save()
    assert stage.saw("f", 20.0) == "A, C, D, E, G"
    assert stage.saw("a", 0.0) == "B, D, E, F", "neither G nor C, who block A"
    assert list(stage.world.seen_lately("f", 20.0, 70.0, "c")) == ["d", "e", "g"]
    assert list(stage.world.seen_lately("f", 20.0, 40.0)) == ["a", "c", "d", "g"], "E leaves in the future"
