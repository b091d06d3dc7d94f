"""What was said and what became of it, and what must be true of it afterwards. Pure; a check gives sentences, or none.

A :class:`Said` is one request that may be asked several times under its key, on several servers: `asked` is when it was
first sent, `answered` when the first acknowledgement was read, both on one clock. Real time binds: whatever was
acknowledged before something else was asked for has the smaller seq.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MOST = 5  # sentences of one kind


@dataclass
class Said:
    """A request with a key, and what became of it."""

    key: str
    who: str
    to: str
    asked: float
    answered: float | None = None
    seq: int = 0
    tries: int = 1
    pays: bool = False  # one credit


Stored = Sequence[tuple[int, str]]  # (seq, key), as they stand


def order(said: Iterable[Said]) -> list[str]:
    """Linearizability: acknowledged before another was asked for, hence a smaller seq; and no two have one seq."""
    done = [one for one in said if one.answered is not None]
    wrong = []
    by_answer = sorted(done, key=lambda one: one.answered or 0.0)
    latest: Said | None = None  # the greatest seq of all that were answered before
    index = 0
    for one in sorted(done, key=lambda one: one.asked):
        while index < len(by_answer) and (by_answer[index].answered or 0.0) < one.asked:
            if latest is None or by_answer[index].seq > latest.seq:
                latest = by_answer[index]
            index += 1
        if latest is not None and one.seq <= latest.seq:
            gap = one.asked - (latest.answered or 0.0)
            wrong.append(f"{one.key} has seq {one.seq}, but was asked {gap * 1e3:.1f} ms after {latest.key} "
                         f"was acknowledged, with seq {latest.seq}")  # fmt: skip
    owners = defaultdict(list)
    for one in done:
        owners[one.seq].append(one.key)
    wrong += [f"seq {seq} was given to {', '.join(keys)}" for seq, keys in owners.items() if len(keys) > 1]
    return wrong[:MOST]


def once(said: Iterable[Said], stored: Mapping[str, Stored]) -> list[str]:
    """Everything acknowledged is in each node's store, once, with its seq; nothing is there that nobody said."""
    wrong: list[str] = []
    known = {one.key: one for one in said}
    for node, lines in stored.items():
        times = Counter(key for _, key in lines)
        seqs = {key: seq for seq, key in lines}
        done = [one for one in known.values() if one.answered is not None]
        wrong += [f"{node}: {one.key} (seq {one.seq}) was acknowledged, and is not there"
                  for one in done if not times[one.key]][:MOST]  # fmt: skip
        wrong += [f"{node}: {key} is there {count} times" for key, count in times.items() if count > 1][:MOST]
        wrong += [f"{node}: {one.key} has seq {seqs[one.key]}, and was acknowledged with {one.seq}"
                  for one in done if one.key in seqs and seqs[one.key] != one.seq][:MOST]  # fmt: skip
        wrong += [f"{node}: {key} is there, and nobody said it" for key in times if key not in known][:MOST]
        fallen = [key for (before, _), (seq, key) in zip(lines, lines[1:], strict=False) if seq <= before]
        wrong += [f"{node}: {key} stands behind a greater seq" for key in fallen][:MOST]
    return wrong


def heard(said: Iterable[Said], told: Mapping[str, Sequence[tuple[int, str]]]) -> list[str]:
    """Everybody was told what was acknowledged to be for them, each once and in order of seq. `told`: by user."""
    wrong: list[str] = []
    wanted: dict[str, dict[str, int]] = defaultdict(dict)
    for one in said:
        if one.answered is not None:
            wanted[one.to][one.key] = one.seq
    for user, events in told.items():
        times = Counter(key for _, key in events)
        missing = [(key, seq) for key, seq in wanted[user].items() if not times[key]]
        wrong += [f"{user} was not told {key} (seq {seq})" for key, seq in missing][:MOST]
        wrong += [f"{user} was told {key} {count} times" for key, count in times.items() if count > 1][:MOST]
        wrong += [f"{user} was told {key} with seq {seq}, and it has {wanted[user][key]}"
                  for seq, key in events if wanted[user].get(key, seq) != seq][:MOST]  # fmt: skip
        fallen = [key for (before, _), (seq, key) in zip(events, events[1:], strict=False) if seq <= before]
        wrong += [f"{user} was told {key} behind a greater seq" for key in fallen][:MOST]
    return wrong


def books(said: Iterable[Said], memos: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Each payment that was acknowledged is in each node's ledger, once; no other, and none twice. `memos`: by node."""
    wrong: list[str] = []
    paid = {one.key: one for one in said if one.pays}
    for node, found in memos.items():
        done = [key for key, one in paid.items() if one.answered is not None]
        wrong += [f"{node}: the payment {key} was acknowledged, and is not in the ledger"
                  for key in done if not found.get(key)][:MOST]  # fmt: skip
        wrong += [f"{node}: {key} was paid {count} times" for key, count in found.items() if count > 1][:MOST]
        wrong += [f"{node}: {key} was paid, and nobody paid it" for key in found if key not in paid][:MOST]
    return wrong


def equal(files: Mapping[str, Mapping[str, bytes]]) -> list[str]:
    """The text files of all nodes are the same, byte for byte. `files`: by node, by name."""
    wrong: list[str] = []
    (first, there), *others = files.items()
    for node, found in others:
        for name in sorted(there.keys() | found.keys()):
            one, other = there.get(name), found.get(name)
            if one is None or other is None:
                has, has_not = (first, node) if other is None else (node, first)
                wrong.append(f"{name} is at {has} and not at {has_not}")
            elif one != other:
                wrong.append(f"{name} differs between {first} and {node}: {_difference(one, other)}")
    return wrong


def _difference(one: bytes, other: bytes) -> str:
    """The first line that differs, of both."""
    lines, others = one.split(b"\n"), other.split(b"\n")
    for number, (a, b) in enumerate(zip(lines, others, strict=False), 1):
        if a != b:
            return f"line {number} is {_around(a, b)} and {_around(b, a)}"
    return f"{len(lines)} lines and {len(others)}"


def _around(line: bytes, other: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(line, other, strict=False)) if a != b), min(len(line), len(other)))
    begin = max(0, at - 30)
    return repr(line[begin : at + 60].decode(errors="replace"))


def pauses(said: Iterable[Said], since: float) -> tuple[float, float]:
    """Seconds from `since` to the first acknowledgement of what was asked after it: of anybody, and of the last one."""
    first: dict[str, float] = {}
    for one in said:
        if one.answered is not None and one.answered > since and one.asked > since:
            first[one.who] = min(first.get(one.who, one.answered), one.answered)
    if not first:
        return float("inf"), float("inf")
    return min(first.values()) - since, max(first.values()) - since


def percentile(values: Iterable[float], part: float) -> float:
    """Of values; 0.0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
