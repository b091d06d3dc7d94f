"""Where chance begins in random tests: one seed for all of them, the same in each run unless somebody gives another.

``CHAT_SEED=7`` (``make test SEED=7``) begins elsewhere, ``CHAT_SEED=random`` somewhere new each time; a test that fails
prints the seed. ``CHAT_EXAMPLES=10000`` (``make test EXAMPLES=10000``) tries so many examples in each property test.

`load_profile` must be called before the first property test is imported, since they inherit it. The rest needs nothing
but the standard library, so that the proofs run on a machine without hypothesis.
"""

from __future__ import annotations

import os
import random

FIXED = 1
MANY = 60  # examples of a property test that does not say how many


def _chosen() -> int | None:
    """The seed that somebody asked for. A random one is put into the environment, where child processes find it."""
    word = os.environ.get("CHAT_SEED", "")
    if word == "random":
        word = os.environ["CHAT_SEED"] = str(random.SystemRandom().randrange(10**9))
    if word and not word.isdecimal():
        raise SystemExit(f'CHAT_SEED must be a whole number or "random", not "{word}".')
    return int(word) if word else None


def _examples_wanted() -> int:
    word = os.environ.get("CHAT_EXAMPLES", "0") or "0"
    if not word.isdecimal():
        raise SystemExit(f'CHAT_EXAMPLES must be a whole number, not "{word}".')
    return int(word)


_CHOSEN = _chosen()
_EXAMPLES = _examples_wanted()
SEED = FIXED if _CHOSEN is None else _CHOSEN


def new_chance(what: object = "") -> random.Random:
    """Chance for one test, and the seed on its output. `what` tells the cases of one test apart."""
    print(f"CHAT_SEED={SEED}")
    return random.Random(f"{SEED} {what}")


def examples(usual: int = MANY) -> int:
    """How many examples a property test tries: `usual`, or what CHAT_EXAMPLES says."""
    return _EXAMPLES or usual


def load_profile() -> None:
    """How property tests run: no time limit, which a busy machine would miss; the same examples each time."""
    import hypothesis.core
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "chatlib",
        deadline=None,
        print_blob=True,
        max_examples=examples(),
        database=None,
        derandomize=_CHOSEN is None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    settings.load_profile("chatlib")
    hypothesis.core.global_force_seed = _CHOSEN  # what --hypothesis-seed sets
