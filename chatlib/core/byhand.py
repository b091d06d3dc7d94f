"""Edits that were taken in from the two files that people edit, until the server has written those files anew.

A crash in between leaves the edited lines where they are. The world then knows that it has them already: taken in once
more, they would undo what was changed since. In a cluster each node has such files. Must not know what they look like.
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
    """The edits of both files of one server."""

    parameters: Taken = field(default_factory=dict)
    accounts: Taken = field(default_factory=dict)


class ByHands(dict[str, ByHand]):
    """Those of each node that has any; "" is a single server. Only commands change it."""

    def of(self, node: str) -> ByHand:
        """Those of one; for reading. The server that founds a cluster has those from when it was a single one."""
        return self.get(node) or self.get("") or ByHand()

    def take_in(self, lsn: int, command: Command) -> None:
        """An edit came from a node's files, which had last been written at the LSNs in `written`."""
        node = command.get("node", "")
        self.forget(node, command["written"])
        taken = self.get(node) or ByHand()
        taken.parameters.update((fold(name), (lsn, value)) for name, value in command["parameters"].items())
        taken.accounts.update((fold(name), (lsn, value)) for name, value in command["accounts"].items())
        self._keep(node, taken)

    def founds(self, node: str) -> None:
        """The files that were a single server's are this node's."""
        known = self.pop("", None)
        if known:
            self.setdefault(node, known)

    def forget(self, node: str, written: Sequence[int]) -> None:
        """A node's para.txt and credentials.txt have been written, up to these LSNs."""
        known = self.pop(node, None)
        if known:
            parameters = {name: taken for name, taken in known.parameters.items() if taken[0] > written[0]}
            accounts = {name: taken for name, taken in known.accounts.items() if taken[0] > written[1]}
            self._keep(node, ByHand(parameters, accounts))

    def _keep(self, node: str, taken: ByHand) -> None:
        if taken.parameters or taken.accounts:
            self[node] = taken
