"""What a client remembers between its runs, for each server (its epoch) and user: two small files, mode 0600.

===========  =========================================================================================
``.seen``    the seq of the last event shown, in 20 digits that are overwritten; its lock keeps others out
``.outbox``  a JSON line for each request that changes something and is not answered yet, with its key
===========  =========================================================================================

A program may keep a file of its own beside them (``beside``).

Must not know connections or screens. Never a password, and no message's text once it is acknowledged: an answered
request is overwritten with blanks, and the file is emptied when none is left. Each change is one write, so a client
may be killed at any moment: a torn line was not sent, or was answered, and is dropped. Not synced: a client's power
cut may lose what was typed last. A fault (no space, say) is told once and ends the memory, never the program.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from chatlib.client.kept import KeptLines
from chatlib.client.news import Request
from chatlib.client.outbox import Remembered
from chatlib.protocol.commands import ACTIONS, check
from chatlib.protocol.framing import BadLine, decode, encode
from chatlib.protocol.text import fold, is_name

_LOST = "will be lost when you leave."
_EPOCH = re.compile(r"[A-Za-z0-9_-]{1,64}")


def default_folder(environ: Mapping[str, str]) -> Path:
    """Where programs keep their state (XDG base directories; a relative path there is to be ignored)."""
    state = environ.get("XDG_STATE_HOME", "")
    home = Path(state) if os.path.isabs(state) else Path(environ.get("HOME") or "~").expanduser() / ".local/state"
    return home / "chatlib"


class FileMemory:
    """A memory in `folder`. Legal order: ``open`` (again for another epoch), the others, ``close``.

    `complain` is told in a sentence why there is no memory, once. Two clients of one user: the second has none.
    """

    def __init__(self, folder: Path, complain: Callable[[str], None] = lambda _: None) -> None:
        self._folder = folder
        self._complain = complain
        self._seen = -1  # a descriptor; negative: none
        self._outbox = KeptLines[str](self._cannot_write)
        self._stem: Path | None = None  # the files' common path

    # What a conversation asks for.

    def open(self, epoch: str, user: str) -> Remembered:
        """What an earlier run left behind."""
        self.close()
        if not is_name(user):
            return Remembered()
        try:
            return self._open(epoch, fold(user))
        except BlockingIOError:
            self._fail(f'"{user}" has another client running here: history and unsent messages of this one {_LOST}')
        except OSError as error:
            self._fail(f"Cannot write to {error.filename} ({error.strerror}): history and unsent messages {_LOST}")
        return Remembered()

    def seen_of(self, epoch: str, user: str) -> int:
        """The last seq shown of another epoch; 0: nothing is known of it."""
        try:
            number = (self._folder / _named(epoch) / f"{fold(user)}.seen").read_bytes()[:20]
        except OSError:
            return 0
        return int(number) if number.isdigit() and is_name(user) else 0

    def queued(self, request: Request) -> None:
        """`request` is about to be sent."""
        if self._seen >= 0 and request.key is not None and request.key not in self._outbox:
            self._outbox.add(request.key, encode(request.message())[:-1])

    def answered(self, request: Request) -> None:
        """`request` has its reply: forget it."""
        self._outbox.remove(request.key or "")

    def shown(self, seq: int) -> None:
        """Every event up to `seq` was shown."""
        if self._seen >= 0:
            try:
                os.pwrite(self._seen, b"%020d\n" % seq, 0)
            except OSError as error:
                self._cannot_write(error)

    def beside(self, extension: str) -> Path | None:
        """Where a program may keep a file of its own about this user; None: nothing is remembered."""
        return None if self._stem is None else self._stem.with_name(self._stem.name + extension)

    def close(self) -> None:
        """Lets go of the files; another client may take them."""
        if self._seen >= 0:
            os.close(self._seen)
        self._seen, self._stem = -1, None
        self._outbox.close()

    # Inside.

    def _open(self, epoch: str, user: str) -> Remembered:
        self._folder.parent.mkdir(0o700, parents=True, exist_ok=True)
        folder = self._folder / _named(epoch)
        for each in (self._folder, folder):
            each.mkdir(0o700, exist_ok=True)
        seen = _file(folder / (user + ".seen"), os.O_RDWR)
        try:
            fcntl.flock(seen, fcntl.LOCK_EX | fcntl.LOCK_NB)
            outbox = folder / (user + ".outbox")
            os.close(_file(outbox, os.O_RDWR))  # that it cannot be written is told now, and not with the first request
        except OSError:
            os.close(seen)
            raise
        self._seen, self._stem = seen, folder / user
        number = os.pread(seen, 20, 0)
        requests: dict[str, Request] = {}

        def key_of(line: bytes) -> str | None:
            request = _request(line)
            if request is None or request.key is None:
                return None
            requests[request.key] = request
            return request.key

        self._outbox.open(outbox, key_of)
        if self._seen < 0:  # that has failed, and was told
            return Remembered()
        return Remembered(int(number) if number.isdigit() else 0, list(requests.values()))

    def _cannot_write(self, error: OSError) -> None:
        self._fail(f"Cannot write to {self._folder} ({error.strerror}): history and unsent messages {_LOST}")

    def _fail(self, why: str) -> None:
        self.close()
        self._complain(why)


def _named(epoch: str) -> str:
    """The name of the folder for an epoch, which any server may choose."""
    return epoch if _EPOCH.fullmatch(epoch) else hashlib.sha256(epoch.encode("utf-8", "replace")).hexdigest()


def _file(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _request(line: bytes) -> Request | None:
    """The unanswered request in a line of an outbox; None: it is torn, or no request that may be sent again."""
    try:
        message = decode(line) if line.strip() else {}
    except BadLine:
        return None
    command = ACTIONS.get(str(message.get("action")))
    if not (command and command.takes_key and isinstance(message.get("key"), str)) or check(command, message):
        return None
    fields = {name: value for name, value in message.items() if name not in ("action", "key")}
    return Request(command.name, fields, str(message["key"]))
