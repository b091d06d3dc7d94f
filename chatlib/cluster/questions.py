"""Questions to the engine that are not answered yet, and when each is given up.

Each has a subject of its own for its answers, below one that is subscribed to once. Must not know what is asked, nor
how it is sent. Invariant: ``answered`` hears None once at most, and nothing after that; nobody is called from ``add``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from chatlib.protocol.nats import Message
from chatlib.reactor.timers import Timer

Answered = Callable[[Message | None], bool | None]
NO_RESPONDERS = 503  # the engine's: nobody listens there now


@dataclass(slots=True)
class _Question:
    answered: Answered
    many: bool
    patience: float  # seconds without an answer
    until: float
    timer: Timer


class OpenQuestions:
    """`at` makes a call at a time of `clock`."""

    def __init__(self, at: Callable[[float, Callable[[], object]], Timer], clock: Callable[[], float]) -> None:
        self._at, self._clock = at, clock
        self._open: dict[str, _Question] = {}
        self._last = 0
        self._inbox = f"_INBOX.{secrets.token_hex(11)}."  # nobody else's
        self.subject = f"{self._inbox}*"

    def __len__(self) -> int:
        return len(self._open)

    def add(self, answered: Answered, patience: float, many: bool) -> str:
        """One more; where it is to be answered."""
        self._last += 1
        number = str(self._last)
        until = self._clock() + patience
        timer = self._at(until, lambda: self._expire(number))
        self._open[number] = _Question(answered, many, patience, until, timer)
        return self._inbox + number

    def heard(self, message: Message) -> None:
        """Something has come below the subject; perhaps too late."""
        number = message.subject[len(self._inbox) :]
        question = self._open.get(number)
        if question is None:
            return
        if message.status == NO_RESPONDERS and not message.payload:
            self._close(number)
            question.answered(None)
        elif not question.many:
            self._close(number)
            question.answered(message)
        elif question.answered(message):
            self._close(number)
        else:
            question.until = self._clock() + question.patience

    def _expire(self, number: str) -> None:
        question = self._open[number]
        if question.until > self._clock():  # an answer has come meanwhile
            question.timer = self._at(question.until, lambda: self._expire(number))
            return
        del self._open[number]
        question.answered(None)

    def end(self, reply: str) -> None:
        """Nobody was asked."""
        self._close(reply[len(self._inbox) :])

    def _close(self, number: str) -> None:
        question = self._open.pop(number, None)
        if question is not None:
            question.timer.cancel()

    def forget(self) -> list[Answered]:
        """None is answered any more: who must hear that."""
        questions = list(self._open.values())
        self._open.clear()
        for question in questions:
            question.timer.cancel()
        return [question.answered for question in questions]
