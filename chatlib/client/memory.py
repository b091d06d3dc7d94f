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

from chatlib.client.news import Request
from chatlib.client.outbox import Remembered
from chatlib.protocol.commands import ACTIONS, check
from chatlib.protocol.framing import BadLine, decode, encode
from chatlib.protocol.text import fold, is_name

MAX_OUTBOX = 1 << 20  # bytes after which answered requests are squeezed out
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
        self._seen = self._outbox = -1  # descriptors; negative: none
        self._outbox_path = folder
        self._stem: Path | None = None  # the files' common path
        self._size = 0
        self._places: dict[str, tuple[int, bytes]] = {}  # key → where its line stands in the outbox, and the line

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

    def queued(self, request: Request) -> None:
        """`request` is about to be sent."""
        if self._outbox < 0 or request.key is None or request.key in self._places:
            return
        line = encode({"action": request.action, "key": request.key, **request.fields})
        if self._size > MAX_OUTBOX:
            self._guard(self._squeeze)
        self._guard(lambda: self._append(request.key or "", line))

    def answered(self, request: Request) -> None:
        """`request` has its reply: forget it."""
        place = self._places.pop(request.key or "", None)
        if place is None:
            return
        if self._places:
            self._guard(lambda: os.pwrite(self._outbox, b" " * (len(place[1]) - 1), place[0]))
        else:
            self._size = 0
            self._guard(lambda: os.ftruncate(self._outbox, 0))

    def shown(self, seq: int) -> None:
        """Every event up to `seq` was shown."""
        if self._seen >= 0:
            self._guard(lambda: os.pwrite(self._seen, b"%020d\n" % seq, 0))

    def beside(self, extension: str) -> Path | None:
        """Where a program may keep a file of its own about this user; None: nothing is remembered."""
        return None if self._stem is None else self._stem.with_name(self._stem.name + extension)

    def close(self) -> None:
        """Lets go of the files; another client may take them."""
        for fd in (self._seen, self._outbox):
            if fd >= 0:
                os.close(fd)
        self._seen = self._outbox = -1
        self._stem = None
        self._places.clear()

    # Inside.

    def _open(self, epoch: str, user: str) -> Remembered:
        name = epoch if _EPOCH.fullmatch(epoch) else hashlib.sha256(epoch.encode("utf-8", "replace")).hexdigest()
        self._folder.parent.mkdir(0o700, parents=True, exist_ok=True)
        folder = self._folder / name
        for each in (self._folder, folder):
            each.mkdir(0o700, exist_ok=True)
        seen = _file(folder / (user + ".seen"), os.O_RDWR)
        try:
            fcntl.flock(seen, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._outbox_path = folder / (user + ".outbox")
            self._outbox = _file(self._outbox_path, os.O_RDWR)
        except OSError:
            os.close(seen)
            raise
        self._seen = seen
        self._stem = folder / user
        number = os.pread(seen, 20, 0)
        requests = _requests(_everything(self._outbox))
        for request in requests:
            self._places[request.key or ""] = 0, encode(request.message())
        self._squeeze()
        return Remembered(int(number) if number.isdigit() else 0, requests)

    def _append(self, key: str, line: bytes) -> None:
        self._places[key] = self._size, line
        self._size += os.pwrite(self._outbox, line, self._size)

    def _squeeze(self) -> None:
        """Writes the outbox anew with what is unanswered, beside and then in place of the old one."""
        beside = self._outbox_path.with_name(self._outbox_path.name + ".new")
        fd = _file(beside, os.O_RDWR | os.O_TRUNC)
        os.close(self._outbox)
        self._outbox, self._size = fd, 0
        for key, (_, line) in list(self._places.items()):
            self._append(key, line)
        beside.replace(self._outbox_path)

    def _guard(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            self._fail(f"Cannot write to {self._folder} ({error.strerror}): history and unsent messages {_LOST}")

    def _fail(self, why: str) -> None:
        self.close()
        self._complain(why)


def _file(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _everything(fd: int) -> bytes:
    with os.fdopen(os.dup(fd), "rb") as file:
        return file.read()


def _requests(lines: bytes) -> list[Request]:
    """The unanswered requests in an outbox; what is torn, or no request that may be sent again, is dropped."""
    requests = []
    for line in lines.split(b"\n")[:-1]:
        try:
            message = decode(line) if line.strip() else {}
        except BadLine:
            continue
        command = ACTIONS.get(str(message.get("action")))
        if command and command.takes_key and isinstance(message.get("key"), str) and not check(command, message):
            fields = {name: value for name, value in message.items() if name not in ("action", "key")}
            requests.append(Request(command.name, fields, str(message["key"])))
    return requests
