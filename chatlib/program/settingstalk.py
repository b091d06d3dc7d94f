"""What a person says about the settings: ``set``, ``mute``, ``bell``, and the others of the same kind.

Must not know terminals: what a setting means is for those who ask for it; `changed` is called when one may be another.
Legal calls: ``command`` for the rows named in COMMANDS, ``begin`` once before.
"""

from __future__ import annotations

from collections.abc import Callable

from chatlib.client.news import Fields
from chatlib.program import commandline
from chatlib.program.sentences import settings as say
from chatlib.program.sentences.book import Line, error
from chatlib.program.settings import SWITCH, TABLE, Settings
from chatlib.protocol.commands import find
from chatlib.protocol.text import fold
from chatlib.terminal.completion import starting


class SettingsTalk:
    """With one person, who reads what `write` gets. `columns`: how wide a list may be (0: as wide as it is)."""

    COMMANDS = frozenset({"set", "unset", "mute", "unmute", "muted", "presence", "bell", "notify"})

    def __init__(
        self,
        settings: Settings,
        write: Callable[..., None],
        columns: Callable[[], int],
        me: Callable[[], str],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self._write, self._columns, self._me = write, columns, me
        self._changed = changed

    def begin(self) -> None:
        """The file is read, and what is wrong in it is said."""
        self._complain(self.settings.load())
        self._changed()

    def command(self, name: str, fields: Fields) -> bool:
        """One of COMMANDS; whether it could be done."""
        self._complain(self.settings.load())  # it may have been edited by hand
        text = {each: str(value) for each, value in fields.items()}
        match name:
            case "mute":
                done = self._mute(text["user"])
            case "unmute":
                done = self._take_away("mute", text["user"], say.unmuted(text["user"]))
            case "muted":
                self._show(*say.muted(self.settings.all_of("mute").values()))
                done = True
            case "set":
                done = self._set(fold(text.get("setting", "")), text.get("value", ""))
            case "unset":
                setting, word = fold(text["setting"]), text.get("word", "")
                done = self._take_away(setting, word, say.unset(setting, word)) if self._there_is(setting) else False
            case _:
                done = self._set(name, text.get("on|off", ""))
        self._changed()
        return done

    # Typing.

    def expanded(self, line: str) -> str:
        """A typed line, as the command table knows it."""
        return self.settings.expanded(line)

    def complete(self, before: str, complete: Callable[[str], list[str]]) -> list[str]:
        """As `complete`, with aliases."""
        name, blank, rest = before.partition(" ")
        long = self.settings.expanded(before)
        if not blank:
            return [*complete(before), *(f"{each} " for each in starting(before, self.settings.all_of("alias")))]
        if long == before:
            return complete(before)
        head = long[: len(long) - len(rest)]
        return [name + blank + each[len(head) :] for each in complete(long) if each.startswith(head)]

    def follow(self, command: str, rest: str) -> list[str] | None:
        """What the rest of a command may become; None: as the kinds of its fields say."""
        if command in ("presence", "bell", "notify"):
            return starting(rest, SWITCH)
        if command == "unmute":
            return starting(rest, self.settings.all_of("mute").values())
        if command not in ("set", "unset"):
            return None
        name, blank, value = rest.partition(" ")
        if not blank:
            return starting(rest, [f"{each} " for each in TABLE])
        words: list[str] = []
        if name in TABLE and TABLE[name].many:
            words = [each.split(" ", 1)[0] for each in self.settings.all_of(name).values()]
        elif command == "set" and name in TABLE and TABLE[name].default in SWITCH:
            words = [*SWITCH]
        return [f"{name} {each}" for each in starting(value, words)]

    def without_text(self, line: str) -> str:
        """As :func:`.commandline.without_text`: of an alias with words behind it only its name may be kept."""
        name = line.split(None, 1)[0] if line.strip() else ""
        if find(line, *commandline.ROLES) is None and self.settings.expanded(line) != line:
            return name
        return commandline.without_text(line)

    # Inside.

    def _mute(self, user: str) -> bool:
        if fold(user) == fold(self._me()):
            return self._refuse("You cannot mute yourself.")
        return self._change("mute", user, say.mutes(user))

    def _set(self, name: str, value: str) -> bool:
        if not name:
            self._show(*say.all_settings(self.settings, self._columns()))
            return True
        if not self._there_is(name):
            return False
        if not value:
            self._show(*say.one_setting(self.settings, name))
            return True
        return self._mute(value) if name == "mute" else self._change(name, value)

    def _change(self, name: str, value: str, said: Line | None = None) -> bool:
        try:
            notes = self.settings.change(name, value)
        except ValueError as wrong:
            return self._refuse(f"{wrong}.")
        self._show(said or say.is_now(self.settings, name, value))
        self._complain(notes)
        return True

    def _take_away(self, name: str, word: str, said: Line) -> bool:
        if TABLE[name].many and not self.settings.has(name, word):
            return self._refuse(say.none_such(name, word))
        notes = self.settings.remove(name, word if TABLE[name].many else "")
        self._show(said)
        self._complain(notes)
        return True

    def _there_is(self, name: str) -> bool:
        return name in TABLE or self._refuse(say.no_setting(name))

    def _refuse(self, why: str) -> bool:
        self._write(*error(why))
        return False

    def _show(self, *lines: Line) -> None:
        for line in lines:
            self._write(*line)

    def _complain(self, notes: list[str]) -> None:
        for note in notes:
            self._write(*say.warning(note))
