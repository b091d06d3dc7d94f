"""What was taken in from the files that people edit, until the files have been written anew.

A crash in between finds the edited lines still there. The world then knows that they are in it already: taken in once
more, they would undo what was changed since. Must not know what the files look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.feature import Command

Taken = dict[str, tuple[int, Any]]  # folded name → LSN of the edit, and the value (None: an account was removed)


@dataclass(slots=True)
class ByHand:
    """The edits of both files. Only commands change it."""

    parameters: Taken = field(default_factory=dict)
    accounts: Taken = field(default_factory=dict)

    def take_in(self, lsn: int, command: Command) -> None:
        """An edit that came from the files: `written` says up to which LSN they had been written before."""
        self.forget(command["written"])
        self.parameters.update((fold(name), (lsn, value)) for name, value in command["parameters"].items())
        self.accounts.update((fold(name), (lsn, value)) for name, value in command["accounts"].items())

    def forget(self, written: Sequence[int]) -> None:
        """para.txt and credentials.txt have been written, up to these LSNs."""
        self.parameters = {name: taken for name, taken in self.parameters.items() if taken[0] > written[0]}
        self.accounts = {name: taken for name, taken in self.accounts.items() if taken[0] > written[1]}
