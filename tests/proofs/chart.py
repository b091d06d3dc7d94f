"""Line charts as SVG, one above the other with one time axis, drawn by hand: no library."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 860, 130, 76, 150, 70, 44  # pixels
COLOURS = ("#1f6feb", "#d1242f", "#6e7781")


@dataclass
class Panel:
    """One chart: lines by name, a value for each second (None: there is none)."""

    title: str
    unit: str
    lines: dict[str, Sequence[float | None]]
    from_zero: bool = True
    marks: list[tuple[float, float, float, float, str]] = field(default_factory=list)  # a straight line, and its name


def nice_step(span: float, about: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that parts `span` into about so many."""
    rough = max(span, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def draw(title: str, subtitle: str, panels: Sequence[Panel], seconds: float) -> str:
    """All panels, as the text of an SVG file."""
    height = TOP + len(panels) * (PANEL + GAP) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12" fill="#1f2328">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="20" y="26" font-size="17" font-weight="bold">{escape(title)}</text>',
        f'<text x="20" y="46" fill="#57606a">{escape(subtitle)}</text>',
    ]
    for number, panel in enumerate(panels):
        out += _panel(panel, TOP + number * (PANEL + GAP) + 14, max(seconds, 1.0))
    return "\n".join([*out, "</svg>", ""])


def _panel(panel: Panel, top: float, seconds: float) -> list[str]:
    values = [value for line in panel.lines.values() for value in line if value is not None] or [0.0]
    low = 0.0 if panel.from_zero else min(values)
    step = nice_step(max(max(values) - low, abs(low) * 0.02, 1e-9), 4)
    low, high = math.floor(low / step) * step, math.ceil(max(values) / step + 0.05) * step
    inner = WIDTH - LEFT - RIGHT

    def place(second: float, value: float) -> tuple[float, float]:
        return LEFT + inner * second / seconds, top + PANEL * (1 - (value - low) / (high - low))

    out = [f'<text x="{LEFT}" y="{top - 8:.0f}" font-weight="bold">{escape(panel.title)}</text>']
    for tick in range(round((high - low) / step) + 1):
        value = round(low + tick * step, 9)
        _, y = place(0, value)
        out.append(f'<path d="M{LEFT} {y:.1f}H{LEFT + inner}" stroke="#d0d7de"/>'
                   f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')  # fmt: skip
    each = nice_step(seconds, 10)
    for tick in range(int(seconds / each + 1e-9) + 1):
        x, _ = place(tick * each, low)
        unit = " s" if tick == 0 else ""
        out.append(f'<text x="{x:.1f}" y="{top + PANEL + 16:.0f}" text-anchor="middle" fill="#57606a">'
                   f"{_number(tick * each)}{unit}</text>")  # fmt: skip
    out.append(f'<text x="18" y="{top + 4:.0f}" fill="#57606a">{escape(panel.unit)}</text>')
    for number, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        out += [_path(line, place, colour), _legend(top, number, colour, name, "")]
    for number, (x1, y1, x2, y2, name) in enumerate(panel.marks, len(panel.lines)):
        (a, b), (c, d) = place(x1, y1), place(x2, y2)
        out.append(f'<path d="M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" stroke="#d1242f" stroke-dasharray="5 4" fill="none"/>')
        out.append(_legend(top, number, "#d1242f", name, ' stroke-dasharray="5 4"'))
    return out


def _path(line: Sequence[float | None], place: Callable[[float, float], tuple[float, float]], colour: str) -> str:
    words, pen = [], "M"
    for second, value in enumerate(line):
        if value is None:
            pen = "M"
            continue
        x, y = place(second, value)
        words.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    return f'<path d="{"".join(words)}" stroke="{colour}" stroke-width="1.6" fill="none"/>'


def _legend(top: float, number: int, colour: str, name: str, style: str) -> str:
    x, y = WIDTH - RIGHT + 12, top + 10 + 18 * number
    return (f'<path d="M{x} {y:.0f}h18" stroke="{colour}" stroke-width="2"{style}/>'
            f'<text x="{x + 24}" y="{y + 4:.0f}">{escape(name)}</text>')  # fmt: skip
