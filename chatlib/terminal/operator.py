"""The operator of a teletype: the program behind it, as far as the teletype is concerned.

Must not know what a line means, nor how it is typed and shown.
"""

from __future__ import annotations

from typing import NamedTuple


class Prompt(NamedTuple):
    """What stands before the half-typed line."""

    text: str
    note: str = ""  # in between, such as ``(offline)``
    secret: bool = False  # nothing that is typed is shown
    question: bool = False  # the next line answers one: it is no command, and not remembered


class Operator:
    """The program behind it: what a person does there. A program overrides what concerns it."""

    @property
    def prompt(self) -> Prompt:
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether the next line can be taken now; before, it has to wait."""
        return True

    def shows(self, line: str) -> bool:
        """Whether `line`, once it is entered, will be shown by the program: else it stays as it was typed."""
        return False

    def line(self, line: str) -> None:
        """A line was typed."""

    def complete(self, before: str) -> list[str]:
        """What the half-typed line may become, as :class:`.Editor` takes it."""
        return []

    def turn(self, step: int) -> bool:
        """Tab on an empty line, or with a negative step Shift+Tab: whether it has a meaning besides completion."""
        return False

    def begins(self) -> None:
        """The first key of a line is pressed."""

    def touched(self) -> None:
        """Keys were pressed at a terminal: somebody is there."""

    def interrupted(self) -> None:
        """Ctrl+C, with nothing typed that it was to clear."""

    def end_typed(self) -> None:
        """Ctrl+D at a terminal."""

    def ended(self) -> None:
        """The end of a pipe or file: no more lines."""

    def hung_up(self) -> None:
        """The terminal is gone."""

    def continued(self, seconds: float) -> None:
        """The program had been stopped: by Ctrl+Z for so long, else 0."""

    def unread(self, failure: OSError) -> None:
        """What was printed cannot be written: nobody will ever read it."""
