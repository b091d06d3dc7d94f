"""What a server that shares its world with no other has in the place of a cluster's membership.

It is always in, nobody else is there, and its own disk is all that it waits for. Legal calls: those of
:class:`chatlib.server.membership.Membership`, in the same order.
"""

from __future__ import annotations

from typing import Any

from chatlib.core.world import World
from chatlib.reactor.loop import Loop
from chatlib.server.pipeline import Pipeline


class Alone:
    """A single server's."""

    node = ""
    gives_up = False

    def __init__(self, world: World, loop: Loop, pipeline: Pipeline) -> None:
        self._world, self._loop, self._pipeline = world, loop, pipeline

    def catch_up(self) -> None:
        """Recovery has done that."""

    def come_up(self, written: tuple[int, int]) -> None:
        """Sessions that a crash left open end. `written`: up to where the files that people edit are written."""
        at = self._loop.wall
        start = {"action": "start", "at": at, "left": min(self._world.at, at), "written": written, "limited": True}
        self._pipeline.submit(None, "", None, start)

    def settle(self) -> bool:
        """Until all that was submitted is carried out: True. Raises CommitFailed."""
        self._pipeline.settle()
        return True

    def step(self) -> None: ...

    def every_second(self) -> None: ...

    def changed(self, what: str, fields: dict[str, Any]) -> None: ...

    def saved(self, position: int) -> None: ...

    def servers(self) -> list[str]:
        """Where else clients could go."""
        return []

    def why_nobody_comes_in(self) -> None: ...

    def figures(self) -> None: ...

    def stops(self) -> None: ...

    def go_down(self) -> None: ...

    def come_to_rest(self) -> None: ...
