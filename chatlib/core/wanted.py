"""What a search looks for: words of which all must occur, whatever their capitals, in what people have said.

Bytes at rest are looked through first, for a part of one word, in each way in which capitals can write it (`forms`);
only lines that have it are read, and `in_texts` decides. Letters are compared as Unicode folds their case, so that
"straße" finds STRASSE. Pure functions on strings. Invariant: what `in_texts` accepts has one of the forms, but for a
few signs that look like letters (the Kelvin sign, say), and for ß where "ss" was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from chatlib.protocol.framing import quote

_FORMS = 8  # of a part that is looked for: each costs as much as the first
_ANY = (b'"event":"',)  # when no part of any word can be looked for
_ALSO = {"σ": "ς", "ς": "σ", "Σ": "ς", "µ": "μ", "μ": "µ"}  # what folds to the same, and capitals do not lead to


class Wanted:
    """Words that are looked for. `forms`: bytes, of which a line has one, when the capitals of ASCII are made small."""

    def __init__(self, words: str) -> None:
        self._words = list(dict.fromkeys(word.casefold() for word in words.split()))
        self.forms = _forms(words.split())

    def in_texts(self, texts: Iterable[str]) -> bool:
        """Whether all of the words occur somewhere in these."""
        folded = "\0".join(texts).casefold()
        return all(word in folded for word in self._words)


def _forms(words: Iterable[str]) -> tuple[bytes, ...]:
    """Those of the longest part of a word that has few."""
    best: tuple[bytes, ...] = ()
    for word in words:
        for part in _parts([_ways(char) for char in word]):
            if not best or (len(part[0]), -len(part)) > (len(best[0]), -len(best)):
                best = part
    return best or _ANY


def _parts(ways: list[list[bytes]]) -> Iterator[tuple[bytes, ...]]:
    """From each place in a word the longest part with at most so many forms."""
    for start in range(len(ways)):
        stop, count = start, 1
        while stop < len(ways) and ways[stop] and count * len(ways[stop]) <= _FORMS:
            count *= len(ways[stop])
            stop += 1
        if stop > start:
            yield tuple(b"".join(form) for form in product(*ways[start:stop]))


def _ways(char: str) -> list[bytes]:
    """How a character may stand in a line, in which the capitals of ASCII are small; empty: there is no telling."""
    folded = char.casefold()
    if len(folded) > 1:
        return []
    near = {char, folded, char.upper(), char.lower(), char.title(), folded.upper(), _ALSO.get(char, char)}
    same = sorted({way.lower() if way.isascii() else way for way in near if way.casefold() == folded})
    return [quote(way)[1:-1].encode() for way in same if len(way) == 1]
