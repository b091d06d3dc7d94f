"""Parameters: the design's table, each row's bounds, and text that comes back."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.storage.parameters import PARAMETERS, Parameter, defaults, find, show_size, template

DESIGN = {
    "MaxCon": 100, "WAITING_ROOM": 0, "BLOCK_TIME": 60.0, "MAX_FAILURES": 3, "BLOCK_SCOPE": "user_ip",
    "DUPLICATE_LOGIN": "refuse", "LAST_HOUR": 3600.0, "TIME_OUT": 1800.0, "PRESENCE_LIMIT": 500, "HEARTBEAT": 30.0,
    "REGISTRATION": "open", "SCRAM_ITERATIONS": 600_000, "RATE_LIMIT": 20, "INITIAL_BALANCE": 10_000,
    "MAX_FILE_SIZE": 1024**3, "FILE_QUOTA": 4 * 1024**3, "FSYNC": "always", "JOURNAL_LIMIT": 64 * 1024**2,
}  # fmt: skip
ROWS = list(PARAMETERS.values())
NUMBERS = [row for row in ROWS if row.kind != "choice"]


def test_the_designs_table() -> None:
    assert {name: defaults()[name] for name in DESIGN} == DESIGN


def test_a_name_is_found_whatever_its_case() -> None:
    assert find("maxcon") is find("MAXCON") is PARAMETERS["MaxCon"]
    assert find("MaxCons") is None
    assert find("") is None


@pytest.mark.parametrize("row", ROWS, ids=PARAMETERS)
def test_a_default_is_allowed_and_comes_back(row: Parameter) -> None:
    value = row.parse(row.show(row.default))
    assert (value, type(value)) == (row.default, type(row.default))
    assert row.help
    assert row.allowed


@pytest.mark.parametrize("row", NUMBERS, ids=lambda row: row.name)
def test_the_bounds_of_a_number(row: Parameter) -> None:
    for bound in (row.least, row.most):
        value = bound if row.kind == "float" else int(bound)
        assert row.parse(row.show(value)) == value
    step = 0.01 if row.kind == "float" else 1
    outside = [row.most + step] + ([row.least - step] if row.least >= step else [])
    for wrong in [*map(str, outside), "-1", "-0.5", "", "x", "1 2", "nan", "inf", "-inf", "1e400", "9" * 5_000, "0x10"]:
        with pytest.raises(ValueError, match=f"^{row.name} must be ") as refused:
            row.parse(wrong)
        assert row.allowed in str(refused.value)
        assert len(str(refused.value)) < 300


@pytest.mark.parametrize("row", [row for row in NUMBERS if row.kind == "int"], ids=lambda row: row.name)
def test_a_whole_number_is_whole(row: Parameter) -> None:
    assert row.parse(f"  {row.default} ") == row.default
    assert row.parse(f"{int(row.most):,}") == row.most, "as it is shown in what is allowed"
    for wrong in ("1,0", ",1", "1,0000", "1.5", "1e3", "ten"):
        with pytest.raises(ValueError, match="a whole number"):
            row.parse(wrong)


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind == "choice"], ids=lambda row: row.name)
def test_a_choice(row: Parameter) -> None:
    for choice in row.choices:
        assert row.parse(choice) == row.parse(f" {choice.upper()} ") == choice
        assert choice in row.allowed
    for wrong in ("", "maybe", " ".join(row.choices)):
        with pytest.raises(ValueError, match=" or "):
            row.parse(wrong)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1000", 1000), ("5B", 5), ("5 B", 5), ("1 KiB", 1024), ("512KiB", 512 * 1024),
        ("64 mib", 64 * 1024**2), ("2 GIB", 2 * 1024**3), ("1  TiB", 1024**4), (" 7 KiB ", 7 * 1024),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert PARAMETERS["FILE_QUOTA"].parse(text) == size


@pytest.mark.parametrize("text", ["1.5 GiB", "1 MB", "GiB", "1 GiB 2", "-1 KiB", "1 PiB", "0x10", "1,000"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="a size from 0 to 1024 TiB"):
        PARAMETERS["FILE_QUOTA"].parse(text)


@given(st.integers(0, 2**50))
def test_a_size_comes_back_from_what_is_shown(size: int) -> None:
    assert PARAMETERS["FILE_QUOTA"].parse(show_size(size)) == size


@given(st.floats(0.1, 86_400))
def test_a_number_comes_back_from_what_is_shown(value: float) -> None:
    row = PARAMETERS["HEARTBEAT"]
    assert row.parse(row.show(value)) == value


@given(st.sampled_from(ROWS), st.text(max_size=20))
def test_any_text_is_a_value_within_bounds_or_a_value_error(row: Parameter, text: str) -> None:
    try:
        value: Any = row.parse(text)
    except ValueError:
        return
    assert value in row.choices if row.kind == "choice" else row.least <= value <= row.most
    assert not (isinstance(value, float) and math.isnan(value))
    assert row.parse(row.show(value)) == value


def test_the_template_says_all_defaults_and_what_is_allowed() -> None:
    text = template()
    said = dict(line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert {name: PARAMETERS[name].parse(value) for name, value in said.items()} == defaults()
    assert all(row.allowed in text and row.help in text for row in ROWS)
