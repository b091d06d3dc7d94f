"""What people say in the tests of survival, known beforehand: so the check at the end can count.

A text tells who says it, which one it is of that person's, and to whom (``*``: everyone): ``p03:17:p11``.
"""

from __future__ import annotations

import random


class Plan:
    """What `name` says, in order: (to whom, text); broadcasts have ``*``."""

    def __init__(self, name: str, everyone: list[str], seed: int, count: int, broadcasts: float = 0.15) -> None:
        rng = random.Random(f"{seed} {name}")
        others = [other for other in everyone if other != name]
        self.says: list[tuple[str, str]] = []
        for number in range(count):
            to = "*" if rng.random() < broadcasts else rng.choice(others)
            self.says.append((to, f"{name}:{number}:{to}"))


def request_of(to: str, text: str) -> tuple[str, dict[str, object]]:
    return ("broadcast", {"text": text}) if to == "*" else ("message", {"to": to, "text": text})


def for_whom(plans: dict[str, Plan], reader: str) -> dict[str, list[str]]:
    """Sender → the texts that `reader` is to see, in order."""
    return {name: [text for to, text in plan.says if to in ("*", reader)] for name, plan in plans.items()}


def check_shown(plans: dict[str, Plan], reader: str, texts: list[str]) -> None:
    """Everything that was for `reader`, once, in order per sender; nothing else."""
    by_sender: dict[str, list[str]] = {name: [] for name in plans}
    for text in texts:
        by_sender[text.split(":")[0]].append(text)
    expected = for_whom(plans, reader)
    for name in plans:
        assert by_sender[name] == expected[name], f"what {reader} was shown of {name}'s"
