"""What a half-typed line may become, while Tab goes round it.

Must not know keys, nor where the candidates come from. Legal order: build, ``common`` once, then ``turn`` as one likes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from os.path import commonprefix
from typing import NamedTuple

from chatlib.protocol.text import printable
from chatlib.terminal.width import display_width

_HEAD = re.compile(r"[^ /]*\Z")  # what they have in common, and what is not shown of each


class Offered(NamedTuple):
    """What a person can choose from."""

    names: tuple[str, ...]  # without what they all begin with
    widest: int  # columns that the widest of them takes
    chosen: int | None  # index into names


class Candidates:
    """`lines`: each a whole line up to the cursor, the likeliest first."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = list(dict.fromkeys(lines))
        self._chosen: int | None = None
        self._offered: Offered | None = None  # made once: there may be very many

    @property
    def common(self) -> str:
        """What all of them begin with."""
        return commonprefix(self.lines)

    @property
    def offered(self) -> Offered | None:
        """What is to be chosen from; None: there is no choice."""
        if self._offered is None and len(self.lines) > 1:
            common = self.common[:-1] if self.common in self.lines else self.common  # so that something is left of each
            head = len(_HEAD.sub("", common))
            names = tuple(printable(line[head:]).rstrip() for line in self.lines)
            self._offered = Offered(names, max(map(display_width, names)), None)
        return self._offered and self._offered._replace(chosen=self._chosen)

    def turn(self, step: int) -> str:
        """The next one, or the one before."""
        if self._chosen is None:
            self._chosen = 0 if step > 0 else len(self.lines) - 1
        else:
            self._chosen = (self._chosen + step) % len(self.lines)
        return self.lines[self._chosen]
