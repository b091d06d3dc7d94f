"""Administrators at consoles from afar, and what the administrator's password does besides: it stops the server.

Each has a :class:`.Console` of its own, the very one that the server's terminal has. Its lines go over the connection,
in portions: the next one when the peer has taken the last, and what nobody takes is dropped in the end. Each use stands
in the server log with the address. A console ends when the password that opened it is no longer the right one.

Must not know what a command does. Legal order for a session: ``welcome`` and ``let_in`` once, when its password was
proven; ``line``, ``complete`` and ``leave`` as it asks for them; ``drained`` at any time; ``gone`` once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from chatlib.core.proofs import proof_of
from chatlib.core.replies import refusal
from chatlib.core.world import Command, Reply, World
from chatlib.protocol.framing import encode
from chatlib.protocol.text import counted
from chatlib.reactor.loop import Loop
from chatlib.server.console import Console
from chatlib.server.session import Session
from chatlib.terminal.operator import Prompt
from chatlib.terminal.screen import Styled

MOST = 8  # consoles from afar at once
TIME_OUT = 3_600.0  # seconds without a line or a key typed until one ends
PORTION = 32_768  # characters that one is told at once
TYPED_AHEAD = 1_000  # lines that wait for the end of a list
KEPT = 8 << 20  # characters kept for one whose peer does not read on; more lines are dropped
LAST = 1 << 20  # characters that one is still told when it ends
CANDIDATES = 500  # completions of a line that are sent
_SOON = 0.05  # seconds until it is looked again whether all that was asked for is done


class Build(Protocol):
    """Makes a console."""

    def __call__(self, write: Callable[..., None], columns: Callable[[], int], *, name: str) -> Console: ...


class Administrators:
    """All consoles from afar."""

    def __init__(
        self, *, world: World, loop: Loop, build: Build, fan_out: Callable[[bytes], None], stop: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._world, self._loop, self._build = world, loop, build
        self._fan_out, self._stop, self._note = fan_out, stop, note
        self._all: dict[Session, ConsoleAfar] = {}

    def __len__(self) -> int:
        return len(self._all)

    def welcome(self, reply: Reply) -> Reply:
        """What is said to whoever has proven the password: that it is a console from now on, or that there are enough.
        """
        if len(self._all) >= MOST:
            return refusal("TOO_MANY_CONSOLES", f"{MOST} consoles are open from afar already.")
        return reply

    def let_in(self, session: Session, command: Command) -> None:
        """`session` is a console from now on; `command` says which password was proven."""
        self._note(f"console from {session.address}: opened")
        proof = {name: command[name] for name in ("joined", "against")}
        afar = ConsoleAfar(session, self._loop, proof, self._build)
        self._all[session] = afar
        session.is_administrators(TIME_OUT)
        afar.show_prompt()
        self.password_changed()

    def shut_down(self, name: str, address: str) -> None:
        """The password was proven by the user `name`: everyone is told, then the server stops."""
        self._note(f"stopped by {name} from {address}")
        text = f'"{name}" stops the server from {address}.'
        self._fan_out(encode({"event": "notice", "time": self._loop.wall, "text": text}))
        self._loop.call_later(0.0, self._stop)  # behind the reply

    # What the rest of the server tells.

    def happened(self, text: str) -> None:
        """What nobody asked, and each administrator is to know."""
        for afar in list(self._all.values()):
            afar.happened(text, self._loop.wall)

    def password_changed(self) -> None:
        """Perhaps: whoever came in with an earlier one goes."""
        admin = self._world.admin
        for session, afar in list(self._all.items()):
            if admin is None or proof_of(admin) != afar.proof:
                session.end("KICKED", "The administrator's password is another one by now.")

    def drained(self, session: Session) -> None:
        """The peer has been given everything that was said."""
        if session in self._all:
            self._all[session].go_on()

    def gone(self, session: Session) -> None:
        """The session is over, or about to be."""
        afar = self._all.pop(session, None)
        if afar is not None:
            afar.end()
            self._note(f"console from {session.address}: closed")

    # What a session asks for.

    def line(self, session: Session, request: dict[str, Any]) -> Reply:
        """A line was typed."""
        afar = self._all[session]
        if len(afar.lines) >= TYPED_AHEAD:
            return refusal("TOO_MANY_LINES", f"{TYPED_AHEAD} lines wait already.")
        afar.columns = request.get("columns", 0)
        afar.lines.append(request["line"])
        afar.take_lines()
        return {"status": "OK"}

    def complete(self, session: Session, request: dict[str, Any]) -> Reply:
        """What a half-typed line may become."""
        found = self._all[session].console.complete(request["line"])
        if len(found) > CANDIDATES:  # what all begin with is what the least and the greatest begin with
            found = list(dict.fromkeys([*found[:CANDIDATES], min(found), max(found)]))
        return {"status": "OK", "items": found}

    def interrupt(self, session: Session, _request: dict[str, Any]) -> Reply:
        """Ctrl+C."""
        afar = self._all[session]
        left = afar.console.prompt.question or not afar.console.ready
        if left:
            afar.console.interrupted()
            afar.show_prompt()
        return {"status": "OK", "left": left}

    def leave(self, session: Session, _request: dict[str, Any]) -> Reply:
        """The administrator leaves: when all that was asked for has come."""
        self._all[session].leave()
        return {"status": "OK"}


class ConsoleAfar:
    """One of them. `proof`: of which password; `columns`: how wide the peer's terminal is, as it said last."""

    def __init__(self, session: Session, loop: Loop, proof: Command, build: Build) -> None:
        self.proof, self.columns = proof, 0
        self._session, self._loop = session, loop
        self._waiting: deque[tuple[float, str]] = deque()  # lines that are not sent yet; a time: nobody asked for it
        self._size = self._dropped = 0
        self._room = PORTION  # characters that may be sent in this tick
        self.lines: deque[str] = deque()  # typed, and not carried out yet
        self._prompt: Prompt | None = None  # as it was last told
        self._due = False
        self.console = build(self._write, lambda: self.columns, name=f"console from {session.address}")

    def _write(self, *parts: str | Styled) -> None:
        self._add(0.0, "".join(part if isinstance(part, str) else part.text for part in parts))

    def happened(self, text: str, at: float) -> None:
        """What nobody asked, with its time."""
        for line in text.split("\n"):
            self._add(at, line)

    def _add(self, at: float, line: str) -> None:
        if self._session.over:
            return
        if self._size + len(line) >= KEPT:
            self._dropped += 1
            return
        self._size += len(line) + 1
        self._waiting.append((at, line))
        self._send()

    def take_lines(self) -> None:
        """Carries out what was typed, as far as the console is ready for it."""
        while self.lines and self.console.ready and not self._session.over:
            self.console.line(self.lines.popleft())
            self.show_prompt()
        if self.lines and not self._session.over:
            self._look_again()

    def show_prompt(self) -> None:
        """Says what stands before the next line, when that is something else by now."""
        prompt = self.console.prompt
        if prompt != self._prompt and not self._session.over:
            self._prompt = prompt
            self._session.event({"event": "prompt", "text": prompt.text, "question": prompt.question})

    def leave(self) -> None:
        """The session ends when the console is at rest and all is sent."""
        if self._session.over:
            return
        if self.console.busy or self._waiting or self.lines:
            self._loop.call_later(_SOON, self.leave)
        else:
            self._session.end("LOGGED_OUT", "Goodbye!")

    def end(self) -> None:
        """Says as much as may still be said."""
        self._room = LAST
        if not self._session.connection.backlog_size:
            self._send()
        self._waiting.clear()

    # Portions.

    def go_on(self) -> None:
        """The peer has taken everything."""
        self._room = PORTION
        self._send()

    def again(self) -> None:
        """The next tick."""
        self._due = False
        self.take_lines()
        if not self._session.connection.backlog_size:  # else `go_on` comes
            self.go_on()

    def broken(self) -> None: ...

    def _send(self) -> None:
        while self._waiting and self._room > 0 and not self._session.over:
            at, text = self._waiting.popleft()
            lines, size = [text], len(text)
            while not at and self._waiting and not self._waiting[0][0] and size < self._room:
                lines.append(self._waiting.popleft()[1])
                size += len(lines[-1]) + 1
            self._size -= size + 1
            self._room -= size + 1
            event: dict[str, object] = {"event": "console", "text": "\n".join(lines)}
            self._session.event({**event, "time": at} if at else event)
        if not self._waiting and self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._add(0.0, f"({counted(dropped, 'line')} dropped: nobody read on.)")
        if self._room < PORTION and not self._session.over:
            self._look_again()

    def _look_again(self) -> None:
        if not self._due:
            self._due = True
            self._loop.again(self)
