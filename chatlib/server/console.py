"""The administrator's console: lines from standard input, answers to standard output.

Commands come from the command table (Role.ADMIN); a parameter's name shows it. What changes something goes through the
journal like everything else. Passwords are never shown. Must not know where its lines come from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chatlib.core import rulings
from chatlib.core.world import Reply, World
from chatlib.protocol import commands
from chatlib.protocol.commands import Role, UsageError
from chatlib.protocol.framing import encode
from chatlib.protocol.text import counted, printable
from chatlib.reactor.loop import Loop
from chatlib.server import completion, listings
from chatlib.server.asking import Asking
from chatlib.server.audit import Auditor
from chatlib.server.backups import Backups
from chatlib.server.delivery import Delivery
from chatlib.server.listings import Lines, Listings
from chatlib.server.pipeline import Pipeline
from chatlib.server.saving import Saver
from chatlib.server.whereabouts import Where
from chatlib.storage.parameters import PARAMETERS, Parameter, find, like
from chatlib.storage.serverlog import ServerLog
from chatlib.terminal.operator import Operator, Prompt
from chatlib.terminal.screen import style
from chatlib.terminal.width import explained

Fields = dict[str, Any]
PROMPT = "server> "
_LEAVE = frozenset({"quit", "exit", "logout", "bye"})  # what is typed elsewhere to leave
_AFAR = "(Ctrl+D leaves a console from afar, and the server goes on.)"
_USAGE = 27  # columns of the first of two in help


class Console(Operator):
    """One administrator. `write` shows one line, in parts; `columns` are how wide help and tables may be (0: as wide as
    they are).

    `name`: what the server log calls it.
    """

    def __init__(
        self,
        write: Callable[..., None],
        columns: Callable[[], int],
        *,
        world: World,
        loop: Loop,
        log: ServerLog,
        delivery: Delivery,
        saver: Saver,
        reload: Callable[[Callable[[str], None]], None],
        auditor: Auditor,
        backups: Backups,
        pipeline: Pipeline,
        stats: Callable[[bool], list[str]],
        where: Callable[[str], Where | None],
        stop: Callable[[], None],
        stopping: Callable[[], bool],
        name: str = "console",
    ) -> None:
        self._write, self._columns = write, columns
        self._world, self._loop, self._log, self._delivery, self._saver = world, loop, log, delivery, saver
        self._auditor, self._pipeline, self._stats_lines, self._where = auditor, pipeline, stats, where
        self._end, self._stopping, self._name, self._take_in = stop, stopping, name, reload
        self._submitted = 0  # commands that are on their way
        self._saves = False  # it has asked for a save, or a reload,
        self._audits = False  # or for an audit,
        self._backups, self._backs_up = backups, False  # or for a backup
        self._listings = Listings(loop, self.say)
        self._asking = Asking(world, self.say, self._change)
        self._warned = False  # that people are online: Ctrl+C once more stops the server
        self.outlives_terminal = False  # the server goes on when the terminal is gone (nohup)

    def say(self, text: str) -> None:
        """One line (or several) for the administrator, who asked."""
        for line in text.split("\n"):
            self._write(printable(line))

    def happened(self, text: str) -> None:
        """The same about what nobody asked, with its time."""
        stamp = time.strftime("[%H:%M:%S] ", time.localtime(self._loop.wall))
        for line in text.split("\n"):
            self._write(style(stamp, "dim head"), printable(line))

    # What a Teletype asks and tells.

    @property
    def prompt(self) -> Prompt:
        if self._stopping():
            return Prompt("")
        asked = self._asking.asked
        return Prompt(f"{asked.name}> ", question=True) if asked else Prompt(PROMPT)

    @property
    def ready(self) -> bool:
        """A command waits until the list before it has been said."""
        return not self._listings.busy

    def complete(self, before: str) -> list[str]:
        return [] if self._asking.asked else completion.complete(before, self._world, self._loop.wall)

    def line(self, line: str) -> None:
        """One line that the administrator typed."""
        self._warned = False
        if self._asking.asked:
            self._asking.answer(line)
            return
        if not line.strip():
            return
        parameter_shown = find(line.strip())
        if parameter_shown:
            self._asking.show(parameter_shown)
            return
        try:
            command, fields = commands.parse(line, Role.ADMIN)
        except UsageError as wrong:
            if line.strip().lower() in _LEAVE:
                self.say(f'Error! "{line.strip()}" is no command here: "stop" ends the server. {_AFAR}')
                return
            known = commands.find(line, Role.ADMIN) or commands.TABLE.like(line.split(), Role.ADMIN)
            meant = None if known else like(line.strip())
            self.say(f"Error! {wrong}")
            if meant:
                self.say(f'Or did you mean the parameter "{meant.name}"?')
            return
        self._log.happened(f"{self._name}: {command.name}")
        _CARRY_OUT[command.name](self, fields)

    def interrupted(self) -> None:
        """Ctrl+C: out of a list, or a question; else the server's end, if nobody is online or it comes twice."""
        online = len(self._world.online)
        if self._listings.busy:
            self._listings.end()
            self.say("(The list ends here.)")
        elif self._asking.asked:
            self._asking.answer("")
        elif self._stopping():
            self.say("The server is stopping; it saves everything first.")
        elif online and not self._warned:
            self._warned = True
            verb = "is" if online == 1 else "are"
            self.say(f'{counted(online, "user")} {verb} online. Ctrl+C again or "stop" ends the server.')
        else:
            self._log.happened("console: Ctrl+C")
            self._stop({})

    def end_typed(self) -> None:
        """Ctrl+D."""
        if self._asking.asked:
            self._asking.answer("")
        else:
            self.say('Type "stop" to end the server.')

    def ended(self) -> None:
        """Standard input has ended; the server goes on."""
        self._log.happened("console: end of input")

    def hung_up(self) -> None:
        """The window that the server runs in was closed."""
        self._log.happened("console: the terminal is gone")
        if not self.outlives_terminal:
            self._end()

    def continued(self, seconds: float) -> None:
        """The server was stopped by Ctrl+Z, and goes on."""
        if seconds >= 1.0:
            whole = counted(round(seconds), "second")
            self.happened(f"The server stood still for {whole}; clients that left meanwhile come back by themselves.")

    # What comes of a command.

    @property
    def busy(self) -> bool:
        """Whether something that was asked for here is not done yet."""
        self._saves = self._saves and self._saver.busy
        self._audits = self._audits and self._auditor.busy
        self._backs_up = self._backs_up and self._backups.busy
        return self._saves or self._audits or self._backs_up or self._submitted > 0 or self._listings.busy

    def answered(self, _echo: str, _request_id: Any, command: Fields, reply: Reply) -> None:
        """A command was carried out."""
        self._submitted -= 1
        if reply["status"] != "OK":
            self.say(f"Error! {reply['text']}")
        elif command["action"] == "edit":
            self._saver.rewrite()
            for name, value in command["parameters"].items():
                self.say(f"{name} is now {PARAMETERS[name].show(value)}.")
        else:
            self.say(_DONE[command["action"]].format_map({**command, **reply}))

    def broken(self) -> None: ...

    # Commands, by name in _CARRY_OUT.

    def _submit(self, action: str, **fields: Any) -> None:
        self._submitted += 1
        command = {"action": action, "at": self._loop.wall, **fields}
        self._pipeline.submit(self, "", None, command)

    def _list(self, lines: Lines) -> None:
        """Behind what was asked for before, which the list shows."""
        if self._submitted:
            self._submitted += 1
            self._pipeline.submit_read(self, "", None, lambda: self._begin_list(lines))
        else:
            self._listings.begin(lines)

    def _begin_list(self, lines: Lines) -> None:
        self._submitted -= 1
        self._listings.begin(lines)

    def _online_users(self, _fields: Fields) -> None:
        self._list(listings.online(self._world))

    def _blocked_users(self, _fields: Fields) -> None:
        self._list(listings.blocked(self._world, self._loop.wall))

    def _all_users(self, _fields: Fields) -> None:
        self._list(listings.accounts(self._world))

    def _accounts(self, _fields: Fields) -> None:
        self._list(listings.table(self._world, self._where, self._columns()))

    def _ask_change(self, fields: Fields) -> None:
        self._asking.begin(fields["name"], fields.get("value"))

    def _change(self, parameter: Parameter, value: Any) -> None:
        self._log.happened(f"{self._name}: {parameter.name} becomes {parameter.show(value)}")
        self._submit("edit", parameters={parameter.name: value})

    def _kick(self, fields: Fields) -> None:
        self._submit("kick", user=fields["user"])

    def _unlock(self, fields: Fields) -> None:
        self._submit("unlock", user=fields["user"])

    def _rule(self, action: str, fields: Fields) -> None:
        self._submit(action, **rulings.typed(fields))

    def _bans(self, _fields: Fields) -> None:
        self._list(listings.rulings(self._world, self._loop.wall))

    def _say(self, fields: Fields) -> None:
        notice = {"event": "notice", "time": self._loop.wall, "text": fields["text"]}
        self._delivery.fan_out(encode(notice))
        told = self._delivery.hearing()
        self.say(f"Told {counted(told, 'user')}." if told else "Nobody is online.")

    def _files(self, _fields: Fields) -> None:
        self._list(listings.files(self._world))

    def _drop(self, fields: Fields) -> None:
        self._submit("drop", number=fields["number"])

    def _threads(self, _fields: Fields) -> None:
        self._list(listings.threads(self._world))

    def _remove_thread(self, fields: Fields) -> None:
        self._submit("remove_thread", title=fields["title"])

    def _grant(self, fields: Fields) -> None:
        self._submit("grant", user=fields["user"], amount=fields["amount"])

    def _audit(self, _fields: Fields) -> None:
        self._submitted += 1
        self._pipeline.submit_read(self, "", None, self._begin_audit)  # behind what was asked for before

    def _backup(self, fields: Fields) -> None:
        self._submitted += 1
        self._pipeline.submit_read(self, "", None, lambda: self._begin_backup(fields["file"]))

    def _begin_backup(self, file: str) -> None:
        self._submitted -= 1
        self._backs_up = True
        self._backups.begin(file, self.say, from_afar=self._name != "console")

    def _begin_audit(self) -> None:
        self._submitted -= 1
        self._audits = True
        self._auditor.begin(self.say)

    def _stats(self, fields: Fields) -> None:
        for line in self._stats_lines("json" in fields):
            self.say(line)

    def _save(self, _fields: Fields) -> None:
        self._saves = True
        self._saver.save(self.say)

    def _reload(self, _fields: Fields) -> None:
        self._saves = True
        self._take_in(self.say)

    def _help(self, fields: Fields) -> None:
        shown = commands.typed_by(Role.ADMIN)
        if "command" in fields:
            found = commands.find(fields["command"], Role.ADMIN)
            parameter = find(fields["command"].strip())
            if found is None and parameter:
                self._asking.show(parameter)
                return
            if found is None:
                self.say(f"Error! {commands.TABLE.unknown('There is no command {}.', fields['command'], Role.ADMIN)}")
                return
            shown = [found[0]]
        for command in shown:
            self._explain(commands.usage(command), command.help)
        if len(shown) > 1:
            self._explain("a parameter", f"shows it: {', '.join(PARAMETERS)}")

    def _explain(self, usage: str, text: str) -> None:
        for line in explained("  " + usage, text, _USAGE, self._columns()):
            self.say("".join(line))

    def _stop(self, _fields: Fields) -> None:
        self.say("Stopping.")
        self._end()


# What is said when a command has been carried out, with the fields of command and reply.
_DONE = {
    "kick": "{user} has been logged off.",
    "ban": "{who} is banned{lasts}.",
    "unban": "{who} is not banned any more.",
    "mute": "{who} is muted{lasts}.",
    "unmute": "{who} is not muted any more.",
    "unlock": "{user} is not locked out any more.",
    "drop": 'The file "{file}" for {user} has been removed.',
    "remove_thread": 'The thread "{thread}" has been removed, with its files.',
    "grant": "{user} has been given {amount:,}, and has {balance:,} now.",
}
_CARRY_OUT: dict[str, Callable[[Console, Fields], None]] = {
    "online users": Console._online_users,
    "blocked users": Console._blocked_users,
    "all users": Console._all_users,
    "accounts": Console._accounts,
    "change": Console._ask_change,
    "kick": Console._kick,
    "unlock": Console._unlock,
    "ban": lambda console, fields: console._rule("ban", fields),
    "unban": lambda console, fields: console._rule("unban", fields),
    "mute": lambda console, fields: console._rule("mute", fields),
    "unmute": lambda console, fields: console._rule("unmute", fields),
    "bans": Console._bans,
    "say": Console._say,
    "files": Console._files,
    "drop": Console._drop,
    "threads": Console._threads,
    "remove thread": Console._remove_thread,
    "grant": Console._grant,
    "audit": Console._audit,
    "backup": Console._backup,
    "stats": Console._stats,
    "save": Console._save,
    "reload": Console._reload,
    "help": Console._help,
    "stop": Console._stop,
}
