"""Edits that were taken in from the two files that people edit, until the server has written those files anew.

A crash in between leaves the edited lines where they are. The world then knows that it has them already: taken in once
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
        """An edit came from the files, which had last been written at the LSNs in `written`."""
        self.forget(command["written"])
        self.parameters.update((fold(name), (lsn, value)) for name, value in command["parameters"].items())
        self.accounts.update((fold(name), (lsn, value)) for name, value in command["accounts"].items())

    def forget(self, written: Sequence[int]) -> None:
        """para.txt and credentials.txt have been written, up to these LSNs."""
        self.parameters = {name: taken for name, taken in self.parameters.items() if taken[0] > written[0]}
        self.accounts = {name: taken for name, taken in self.accounts.items() if taken[0] > written[1]}
