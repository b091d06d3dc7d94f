"""Values kept in order: a page of a long list costs a search and its own length, however long the list is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Ordered(Generic[T]):
    """A sorted list, each value once. ``load`` brings values in any order; they are sorted when they are needed."""

    __slots__ = ("_sorted", "_values")

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._sorted = True

    def load(self, value: T) -> None:
        """Adds one of very many, in any order."""
        self._values.append(value)
        self._sorted = False

    def add(self, value: T) -> None:
        """Adds `value`, which is not there."""
        insort(self._in_order(), value)

    def remove(self, value: T) -> None:
        """Removes `value`, which is there."""
        values = self._in_order()
        place = bisect_left(values, value)
        assert values[place] == value
        del values[place]

    def after(self, value: T) -> Iterator[T]:
        """The values greater than `value`. Not to be used after a value was added or removed."""
        values = self._in_order()
        return (values[place] for place in range(bisect_right(values, value), len(values)))

    def between(self, low: T, high: T) -> tuple[int, Iterator[T]]:
        """How many are greater than `low` and not greater than `high`, and which."""
        values = self._in_order()
        start, end = bisect_right(values, low), bisect_right(values, high)
        return max(0, end - start), (values[place] for place in range(start, end))

    def _in_order(self) -> list[Any]:
        if not self._sorted:
            self._values.sort()
            self._sorted = True
        return self._values


class Directory(dict[str, T]):
    """A dict whose keys can be read in order as well. Only ``[key] = value``, ``del`` and ``load`` change it."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        super().__init__()
        self._keys: Ordered[str] = Ordered()

    def __setitem__(self, key: str, value: T) -> None:
        if key not in self:
            self._keys.add(key)
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._keys.remove(key)

    def load(self, key: str, value: T) -> None:
        """Adds one of very many, in any order; `key` must not be there."""
        if key in self:
            raise ValueError(f"{key} is there twice")
        self._keys.load(key)
        super().__setitem__(key, value)

    def after(self, key: str) -> Iterator[str]:
        """The keys greater than `key`, in order. Not to be used after a key was added or removed."""
        return self._keys.after(key)
