"""What all tests share: how random tests run.

Random tests (hypothesis) print what reproduces a failure; none has a time limit, since a busy machine would miss it.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "chatlib",
    deadline=None,
    print_blob=True,
    max_examples=60,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("chatlib")
