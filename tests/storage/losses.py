"""What a power cut may leave of a disk: of changes of names that were not synced, and of a file's sectors."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

SECTOR = 512


class Change(NamedTuple):
    """Of names. `node`: what gets a name."""

    kind: str
    paths: tuple[str, ...]
    node: Any = None

    def stands_on(self, earlier: Change) -> bool:
        for one in self.paths:
            for two in earlier.paths:
                if one == two or one.startswith(two + "/"):
                    return True
                if self.kind == "remove" and two.startswith(one + "/"):
                    return True  # a folder goes when it is empty
        return False

    def apply(self, names: dict[str, Any]) -> None:
        path = self.paths[-1]
        if self.kind == "remove":
            names.pop(path, None)
        elif self.kind == "rename":
            source = self.paths[0]
            for name in [name for name in names if name == source or name.startswith(source + "/")]:
                names[path + name[len(source) :]] = names.pop(name)
        else:
            names[path] = self.node


def names_left(durable: Mapping[str, Any], changes: Sequence[Change], chance: random.Random) -> dict[str, Any]:
    """Any changes are lost or kept; but one is kept only when the earlier ones that it stands on are."""
    names, kept = dict(durable), list[bool]()
    likely = chance.choice([0.0, 0.5, 0.9, 1.0])
    for place, change in enumerate(changes):
        stands = all(kept[i] for i in range(place) if change.stands_on(changes[i]))
        kept.append(stands and chance.random() <= likely)
        if kept[-1]:
            change.apply(names)
    return names


def torn(states: Sequence[bytes], chance: random.Random) -> bytes:
    """Each sector holds what any of a file's states since its last sync had there; its length is any between theirs."""
    lengths = sorted(len(state) for state in states)
    length = chance.choice([lengths[0], lengths[-1], len(states[-1]), chance.randint(lengths[0], lengths[-1])])
    wanted = chance.choice([[states[0]], [states[-1]], [states[0], states[-1]], states])
    whole = bytearray()
    while len(whole) < length:
        state = chance.choice(wanted)
        whole += state[len(whole) : len(whole) + SECTOR].ljust(SECTOR, b"\0")
    return bytes(whole[:length])
