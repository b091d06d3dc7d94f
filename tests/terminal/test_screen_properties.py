"""What is on the screen after any mix of arriving lines, keys, resizes and wraps is what a fresh drawing shows."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.chance import examples
from tests.terminal.person import Person

LEFT, HOME = "\x1b[D", "\x1b[H"
SEARCH, UNDO, INTERRUPT = "\x12", "\x1f", "\x03"

alphabet = st.sampled_from(["a", "b ", " ", "中", "e\u0301", "😀", "0123456789", "字字字字字", "words of a line ",
                            "https://example.com/a-path-longer-than-a-row?x=1", "。"])  # fmt: skip
text = st.lists(alphabet, max_size=8).map("".join)
KEYS = [LEFT, LEFT * 5, HOME, "\x05", "\x7f", "\x17", "\x15", "\r", "\x1b[A", "\x14", "\x1bb", "\t", "\t\t", "st\t",
        SEARCH, SEARCH + "a", SEARCH + "b", UNDO, INTERRUPT]  # fmt: skip
keys = st.one_of(text, st.sampled_from(KEYS))


def steps(width: st.SearchStrategy[int]) -> st.SearchStrategy[list[tuple[str, object]]]:
    return st.lists(
        st.one_of(
            st.tuples(st.just("type"), keys),
            st.tuples(st.just("type"), keys),
            st.tuples(st.just("print"), text.map("#".__add__)),
            st.tuples(st.just("say"), st.tuples(st.sampled_from(["ann", "a_much_longer_name"]), text)),
            st.tuples(st.just("set_prompt"), text.map("#".__add__)),
            st.tuples(st.just("set_status"), st.lists(text.map("#".__add__), max_size=4)),
            st.tuples(st.just("resize"), st.tuples(width, st.integers(1, 9))),
            st.tuples(st.just("look"), st.none()),
        ),
        min_size=8,
        max_size=40,
    )


def do(person: Person, steps: list[tuple[str, object]]) -> None:
    person.look()
    for name, value in steps:
        if name == "look":
            person.look()
        elif isinstance(value, tuple):
            getattr(person, name)(*value)
        else:
            getattr(person, name)(value)
    person.look()
    event("scrolled off" if person.scrolled_off else "whole")


@settings(max_examples=examples(250))
@given(st.integers(2, 30), st.integers(1, 9), st.booleans(), steps(st.integers(2, 30)))
def test_whatever_happens(columns: int, rows: int, reflows: bool, steps: list[tuple[str, object]]) -> None:
    do(Person(columns, rows, reflows), steps)


@pytest.mark.parametrize("columns", [12, 40, 80, 200])
@settings(max_examples=examples(60))
@given(rows=st.integers(3, 50), reflows=st.booleans(), steps=steps(st.sampled_from([12, 40, 80, 200])))
def test_whatever_happens_in_a_usual_window(
    columns: int, rows: int, reflows: bool, steps: list[tuple[str, object]]
) -> None:
    do(Person(columns, rows, reflows), steps)
