"""The administrator's console: lines from standard input, answers to standard output.

Commands come from the command table (Role.ADMIN); a parameter's name shows it. What changes something goes through the
journal like everything else. Passwords are never shown. Must not know where its lines come from.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chatlib.core.world import Reply
from chatlib.protocol import commands
from chatlib.protocol.commands import Role, UsageError
from chatlib.protocol.framing import encode
from chatlib.protocol.text import printable
from chatlib.storage.parameters import PARAMETERS, Parameter, find

if TYPE_CHECKING:
    from chatlib.server.server import Server

Fields = dict[str, Any]


class Console:
    """One administrator. `write` takes text with its line ends."""

    def __init__(self, server: Server, write: Callable[[str], None]) -> None:
        self._server, self._write = server, write
        self._asked: Parameter | None = None  # the parameter whose new value comes in the next line

    def say(self, text: str) -> None:
        """One line (or several) for the administrator."""
        self._write(printable_lines(text) + "\n")

    def line(self, line: str) -> None:
        """One line that the administrator typed."""
        if self._asked:
            parameter, self._asked = self._asked, None
            self._change(parameter, line)
            return
        if not line.strip():
            return
        parameter_shown = find(line.strip())
        if parameter_shown:
            self._show(parameter_shown)
            return
        try:
            command, fields = commands.parse(line, Role.ADMIN)
        except UsageError as wrong:
            self.say(f"Error! {wrong}")
            return
        self._server.log.write(f"console: {command.name}")
        _CARRY_OUT[command.name](self, fields)

    def ended(self) -> None:
        """Standard input has ended; the server goes on."""
        self._server.log.write("console: end of input")

    def answered(self, _echo: str, _request_id: Any, command: Fields, reply: Reply) -> None:
        """A command was carried out."""
        if reply["status"] != "OK":
            self.say(f"Error! {reply['text']}")
        elif command["action"] == "edit":
            self._server.parameters_changed()
            self._server.saver.rewrite()
            for name, value in command["parameters"].items():
                self.say(f"{name} is now {PARAMETERS[name].show(value)}.")
        else:
            self.say(f'Done: {command["action"]} "{reply.get("file", reply["user"])}".')

    def broken(self) -> None: ...

    # Commands, by name in _CARRY_OUT.

    def _submit(self, action: str, **fields: Any) -> None:
        command = {"action": action, "at": self._server.loop.wall, **fields}
        self._server.pipeline.submit(self, "", None, command)

    def _show(self, parameter: Parameter) -> None:
        value = parameter.show(self._server.world.parameters[parameter.name])
        self.say(f"{parameter.name} is {value} ({parameter.help}; {parameter.allowed}).")

    def _online_users(self, _fields: Fields) -> None:
        world = self._server.world
        self.say(f"{len(world.online)} online:")
        for user, presence in sorted(world.online.items()):
            self.say(f"  {world.accounts[user].name} from {presence.address} since {_clock(presence.since)}")

    def _blocked_users(self, _fields: Fields) -> None:
        world, now = self._server.world, self._server.loop.wall
        locked = [(user, where, seconds) for (user, where), entry in world.lockouts.entries.items()
                  if (seconds := entry.seconds_left(now))]  # fmt: skip
        self.say(f"{len(locked)} locked out:")
        for user, where, seconds in sorted(locked):
            origin = "every address" if where == "*" else where
            self.say(f"  {world.accounts[user].name} from {origin} for another {seconds:.0f} seconds")
        blocks = [(account.name, world.name_of(other)) for account in world.accounts.values()
                  for other in account.blocks or ()]  # fmt: skip
        self.say(f"{len(blocks)} blocked by other users:")
        for blocker, blocked in sorted(blocks):
            self.say(f"  {blocker} blocks {blocked}")

    def _all_users(self, _fields: Fields) -> None:
        world = self._server.world
        self.say(f"{len(world.accounts)} registered:")
        for user, account in sorted(world.accounts.items()):
            left = f"last here {_clock(account.left)}" if account.left else "never here"
            self.say(f"  {account.name}: {'online' if user in world.online else left}, {world.unread(account)} unread")

    def _ask_change(self, fields: Fields) -> None:
        parameter = find(fields["name"])
        if parameter is None:
            self.say(f"Error! There is no parameter {fields['name']!r}. There are: {', '.join(PARAMETERS)}.")
        elif "value" in fields:
            self._change(parameter, fields["value"])
        else:
            self._show(parameter)
            self.say("New value:")
            self._asked = parameter

    def _change(self, parameter: Parameter, text: str) -> None:
        try:
            value = parameter.parse(text)
        except ValueError as wrong:
            self.say(f"Error! {wrong}.")
            return
        self._server.log.write(f"console: {parameter.name} becomes {parameter.show(value)}")
        self._submit("edit", parameters={parameter.name: value})

    def _kick(self, fields: Fields) -> None:
        self._submit("kick", user=fields["user"])

    def _unlock(self, fields: Fields) -> None:
        self._submit("unlock", user=fields["user"])

    def _say(self, fields: Fields) -> None:
        notice = {"event": "notice", "time": self._server.loop.wall, "text": fields["text"]}
        self._server.delivery.fan_out(encode(notice))
        self.say(f"Told {len(self._server.delivery.listeners)} users.")

    def _files(self, _fields: Fields) -> None:
        waiting = [(file, account.name) for account in self._server.world.accounts.values()
                   for _, file in account.files or ()]  # fmt: skip
        self.say(f"{len(waiting)} waiting:")
        for file, receiver in sorted(waiting, key=lambda pair: pair[0].number):
            self.say(f'  {file.number}: "{file.name}" ({file.size} bytes) from {file.sender} for {receiver},'
                     f" since {_clock(file.at)}")  # fmt: skip

    def _drop(self, fields: Fields) -> None:
        self._submit("drop", number=fields["number"])

    def _stats(self, _fields: Fields) -> None:
        server, usage = self._server, resource.getrusage(resource.RUSAGE_SELF)
        rows = {
            "up": f"{server.loop.wall - server.started:.0f} s",
            "registered": len(server.world.accounts),
            "online": len(server.world.online),
            "connections": len(server.sessions),
            "commands": server.pipeline.executed,
            "last LSN": server.world.lsn,
            "lines delivered": server.delivery.delivered,
            "ticks": server.loop.ticks,
            "CPU": f"{usage.ru_utime + usage.ru_stime:.2f} s",
            "journal": f"{server.journal.size} bytes",
            "messages": f"{server.world.store_end} bytes",
        }
        for name, value in rows.items():
            self.say(f"  {name}: {value}")

    def _save(self, _fields: Fields) -> None:
        self._server.saver.save(self.say)

    def _reload(self, _fields: Fields) -> None:
        self._server.saver.reload(self.say)

    def _help(self, fields: Fields) -> None:
        shown = commands.typed_by(Role.ADMIN)
        if "command" in fields:
            found = commands.find(fields["command"], Role.ADMIN)
            if found is None:
                self.say(f"Error! Unknown command {fields['command']!r}.")
                return
            shown = [found[0]]
        for command in shown:
            self.say(f"  {commands.usage(command):24} {command.help}")
        if len(shown) > 1:
            self.say(f"  {'a parameter':24} shows it: {', '.join(PARAMETERS)}")

    def _stop(self, _fields: Fields) -> None:
        self.say("Stopping.")
        self._server.stop()


def _clock(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def printable_lines(text: str) -> str:
    """Several lines, each without what a terminal would obey."""
    return "\n".join(map(printable, text.split("\n")))


_CARRY_OUT: dict[str, Callable[[Console, Fields], None]] = {
    "online users": Console._online_users,
    "blocked users": Console._blocked_users,
    "all users": Console._all_users,
    "change": Console._ask_change,
    "kick": Console._kick,
    "unlock": Console._unlock,
    "say": Console._say,
    "files": Console._files,
    "drop": Console._drop,
    "stats": Console._stats,
    "save": Console._save,
    "reload": Console._reload,
    "help": Console._help,
    "stop": Console._stop,
}
