"""Questions that are answered with yes or no whenever a person gets to it, while everything else goes on.

Must not know what they are about. Only ``yes``, ``no``, either with the user whom the question is about, and for some
the empty line are answers; any other line is what it would be without a question. Legal order: ``ask``, then
``answers`` for each typed line and ``look`` once a tick. Invariant: each question has one end: an answer, ``withdraw``,
or its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chatlib.protocol.text import fold

NEVER = float("inf")


@dataclass(eq=False, slots=True)
class OpenQuestion:
    """About `user`. `answered` gets the answer, and when; None: its time, `until`, has come. `leaves`: an empty line is
    a no."""

    user: str
    answered: Callable[[bool | None, float], None]
    until: float = NEVER
    leaves: bool = False


def begins_answer(line: str) -> bool:
    """Whether it begins with yes or no, as answers do, and much else that people say."""
    return line.split(None, 1)[0].lower() in ("yes", "no")


class Ambiguous(ValueError):
    """A plain yes or no, and several questions."""


class YesOrNo:
    """Of one person, in the order in which they were asked."""

    def __init__(self) -> None:
        self._open: list[OpenQuestion] = []

    @property
    def users(self) -> list[str]:
        """Whom the open questions are about."""
        return list({fold(each.user): each.user for each in self._open}.values())

    def ask(self, question: OpenQuestion) -> None:
        """Keeps it until its end."""
        self._open.append(question)

    def withdraw(self, questions: Iterable[OpenQuestion]) -> None:
        """They need no answer any more."""
        gone = list(questions)
        self._open = [each for each in self._open if each not in gone]

    def answers(self, line: str, now: float) -> bool:
        """Whether a typed line is an answer; then it has been given. Raises Ambiguous."""
        words = line.split()
        if not words:
            return self.leave(now)
        if not begins_answer(line) or line[0].isspace() or len(words) > 2:
            return False
        if len(words) == 1 and len(self.users) > 1:
            raise Ambiguous
        about = [each for each in self._open if len(words) == 1 or fold(each.user) == fold(words[1])]
        if about:
            self._end(min(about, key=lambda each: each.until), words[0].lower() == "yes", now)
        return bool(about)

    def leave(self, now: float) -> bool:
        """An empty line, or Ctrl+C: leaves the last question that can be left so; False: there is none."""
        found = next((each for each in reversed(self._open) if each.leaves), None)
        if found:
            self._end(found, False, now)
        return found is not None

    @property
    def deadline(self) -> float:
        """When ``look`` is wanted."""
        return min((each.until for each in self._open), default=NEVER)

    def look(self, now: float) -> None:
        """Ends those whose time has come."""
        for each in [each for each in self._open if each.until <= now]:
            self._end(each, None, now)

    def _end(self, question: OpenQuestion, answer: bool | None, now: float) -> None:
        self._open.remove(question)
        question.answered(answer, now)
