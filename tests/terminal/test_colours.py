"""A colour for each name: the same everywhere, readable on dark and on light, and none where none is wanted."""

from __future__ import annotations

import pytest

from chatlib.terminal.colours import FEW, MANY, colours, name_colour
from chatlib.terminal.editor import Editor
from chatlib.terminal.screen import Screen, style

_LEVELS = (0, 95, 135, 175, 215, 255)


def luminance(red: int, green: int, blue: int) -> float:
    """As WCAG 2 defines it."""
    parts = [each / 255 for each in (red, green, blue)]
    r, g, b = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


@pytest.mark.parametrize("code", MANY)
def test_readable_on_dark_and_on_light_ground(code: str) -> None:
    number = int(code.removeprefix("38;5;")) - 16
    colour = luminance(_LEVELS[number // 36], _LEVELS[number // 6 % 6], _LEVELS[number % 6])
    assert contrast(colour, luminance(0, 0, 0)) >= 4 and contrast(colour, luminance(255, 255, 255)) >= 4
    for ground in ((0, 43, 54), (30, 30, 30), (253, 246, 227)):  # two dark ones and a light one that many people use
        assert contrast(colour, luminance(*ground)) >= 2.9


def test_a_name_has_one_colour_however_it_is_written() -> None:
    for count in (8, 256):
        assert len({name_colour(each, count) for each in ("ann", "Ann:", "ANN(broadcast):", "ann ")}) == 1
    assert {name_colour(f"user{number}", 8) for number in range(50)} == set(FEW)
    assert {name_colour(f"user{number}", 256) for number in range(200)} == set(MANY)
    assert name_colour("ann", 256) == "38;5;63", "it stays, whatever else changes"
    assert name_colour("!", 8) in FEW


@pytest.mark.parametrize(("environ", "count"), [
    ({"TERM": "xterm-256color"}, 256), ({"TERM": "xterm-direct"}, 256),
    ({"TERM": "tmux", "COLORTERM": "truecolor"}, 256),
    ({"TERM": "linux"}, 8), ({"TERM": "xterm-256color", "NO_COLOR": "1"}, 0), ({"TERM": "dumb"}, 0), ({}, 0),
])  # fmt: skip
def test_how_many_there_are(environ: dict[str, str], count: int) -> None:
    assert colours(environ) == count


def test_no_colour_where_none_is_wanted() -> None:
    for count in (0, 8, 256):
        written: list[str] = []
        screen = Screen(written.append, Editor(), colours=count)
        screen.open()
        screen.print(style("ann:", "name"), " hi")
        screen.flush()
        expected = f"\x1b[{name_colour('ann', count)}mann:\x1b[0m hi" if count else "ann: hi"
        assert f"{expected}\r\n" in written[-1]
        assert ("\x1b[3" in written[-1]) is bool(count)


def test_a_name_that_is_broken_keeps_its_colour() -> None:
    written: list[str] = []
    screen = Screen(written.append, Editor(), columns=4)
    screen.open()
    screen.print(style("a.b c:", "name"), " hi")
    screen.flush()
    code = name_colour("a.b", 8)
    assert f"\x1b[{code}ma.b\x1b[0m\r\n" in written[-1] and f"\x1b[{code}mc:\x1b[0m" in written[-1]
