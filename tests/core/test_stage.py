"""The stage itself: it must notice what goes another way."""

from __future__ import annotations

import pytest

from tests.core.stage import Stage


def test_a_conversation_that_goes_another_way_is_shown_as_a_diff(stage: Stage) -> None:
    with pytest.raises(AssertionError) as wrong:
        stage.play("""
            > register user=Bob
            < OK user=Alice
        """)
    assert "-< OK user=Alice\n+< OK user=Bob" in str(wrong.value)
