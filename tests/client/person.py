"""A person who types at a dialogue and reads what it writes, against a fake server, without a terminal."""

from __future__ import annotations

from pathlib import Path

from chatlib.client.conversation import Conversation
from chatlib.client.transfers import TransferQueue
from chatlib.program.dialogue import Dialogue
from chatlib.program.filetalk import FileTalk
from chatlib.program.peertalk import PeerTalk
from chatlib.program.settings import Settings
from chatlib.program.settingstalk import SettingsTalk
from chatlib.reactor.loop import Loop
from chatlib.terminal.screen import Part
from tests.client.fake_peers import FakePeers
from tests.client.fake_server import Wire


def _raise(fault: BaseException) -> None:
    raise fault


class Person:
    """Types lines when they can be taken; `transcript` is what stands on the screen. `times`: and so what one says."""

    def __init__(
        self, user: str = "", window: int = 1, script: bool = False, times: bool = False,
        settings: Settings | None = None,
    ) -> None:  # fmt: skip
        self.calls: list[str] = []
        self.editor = ""  # what is half typed
        self.transcript: list[str] = []
        self.wire = Wire(Conversation(attended=not script))
        self.away = False
        self.loop = Loop(on_fault=_raise)
        self.transfers = TransferQueue(self.loop, self.wire.conversation, lambda: None)
        self.files = FileTalk(self.wire.conversation, self.transfers, self.print, Path())
        self.peers = FakePeers()
        private = PeerTalk(self.wire.conversation, self.peers, self.print, lambda: 1_700_000_000.0, script=script)
        self.dialogue = Dialogue(
            self.wire.conversation, self.print, self.wire.cut, self.files, private, lambda: 1_700_000_000.0, user=user,
            window=window, script=script, times=times, give_back=self._give_back if times else None, caller=self,
            settings=SettingsTalk(
                settings or Settings(), self.print, lambda: 0, lambda: self.wire.conversation.user
            ),
        )  # fmt: skip
        self._listen()

    def _give_back(self, line: str) -> bool:
        was_empty, self.editor = not self.editor, self.editor or line
        return was_empty

    def ring(self) -> None:
        self.calls.append("bell")

    def note(self, title: str, text: str) -> None:
        self.calls.append(f"{title}: {text}")

    def print(self, *parts: Part) -> None:
        self.transcript.append("".join(part if isinstance(part, str) else part.text for part in parts))

    def _prompt(self) -> str:
        prompt = self.dialogue.prompt(4.0, self.wire.now)
        return prompt.text + (prompt.note and prompt.note + " ")

    def presses_ctrl_c(self) -> None:
        self.transcript.append(self._prompt() + "^C")
        if not self.dialogue.back_out(self.wire.now):
            self.dialogue.leave(self.wire.now)
        self._listen()

    def loses(self, status: str, text: str) -> None:
        """The server says goodbye, and is away until ``connect``."""
        self.away = True
        self.wire.server.say({"event": "bye", "status": status, "text": text})
        self._listen()

    def connect(self) -> None:
        self.away = False
        self.wire.connect()
        self._listen()

    def _listen(self) -> None:
        conversation = self.wire.conversation
        if conversation.state is None and conversation.wanted and conversation.user == "" and not self.away:
            self.wire.connect()
        while True:
            self.wire.run()
            news, self.wire.news = self.wire.news, []
            news += conversation.take_news() + self.peers.take_news()
            for item in news:
                self.dialogue.heard(item, self.wire.now)
            self.dialogue.was_read(self.wire.now)
            if not news:
                self.dialogue.rest(self.wire.now)
                if not self.wire.conversation.has_news and not self.peers.news:
                    break

    def types(self, *typed: str) -> None:
        for line in typed:
            assert self.dialogue.accepts(), f"{line!r} has to wait"
            if not (self.dialogue.online and self.dialogue.saying.shows(line)):
                is_secret = self.dialogue.prompt(4.0, self.wire.now).secret
                self.transcript.append(self._prompt() + ("" if is_secret else line))
            self.dialogue.line(line, self.wire.now)
            self._listen()

    def hears(self, text: str) -> None:
        self.wire.server.post(text)
        self._listen()

    def read(self) -> str:
        lines, self.transcript = self.transcript, []
        return "\n".join(line.rstrip() for line in lines) + "\n"
