"""A parameter at the console: shown, asked for, changed.

Must not know how a change is carried out. Legal order: ``answer`` while a value is ``asked`` for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatlib.core.world import World
from chatlib.storage.parameters import PARAMETERS, Parameter, find, like


class Asking:
    """`say` shows a line; `change` takes a parameter and a value that it may have."""

    def __init__(self, world: World, say: Callable[[str], None], change: Callable[[Parameter, Any], None]) -> None:
        self.asked: Parameter | None = None  # whose new value comes in the next line
        self._world, self._say, self._change = world, say, change

    def show(self, parameter: Parameter) -> None:
        value = parameter.show(self._world.parameters[parameter.name])
        self._say(f"{parameter.name} is {value} ({parameter.help}; {parameter.allowed}).")

    def begin(self, name: str, value: str | None) -> None:
        """``change NAME value``; without a value it is asked for."""
        parameter = find(name)
        if parameter is None:
            close = like(name)
            hint = f'Did you mean "{close.name}"?' if close else f"There are: {', '.join(PARAMETERS)}."
            self._say(f'Error! There is no parameter "{name}". {hint}')
        elif value is not None:
            self._take(parameter, value)
        else:
            self.show(parameter)
            self._say("New value:")
            self.asked = parameter

    def answer(self, text: str) -> None:
        """What was typed when a value was asked for; nothing leaves it as it is."""
        parameter, self.asked = self.asked, None
        assert parameter is not None
        if text.strip():
            self._take(parameter, text)
        else:
            self._say(f"{parameter.name} stays {parameter.show(self._world.parameters[parameter.name])}.")

    def _take(self, parameter: Parameter, text: str) -> None:
        try:
            value = parameter.parse(text)
        except ValueError as wrong:
            self._say(f"Error! {wrong}.")
            return
        self._change(parameter, value)
