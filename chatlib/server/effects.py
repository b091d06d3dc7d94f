"""Carries out what the world says must follow from a command: one function for each kind of effect.

What cannot be undone (lines erased, bytes removed) waits until its command is durable, and is done a little a tick:
with FSYNC ``second`` a command is carried out before it is durable, and were a line erased at once, a power cut could
bring an account back without its mail. Legal order: ``carry_out`` right behind each command that has effects; ``step``
once a tick; ``finish`` when everything is durable, before a checkpoint, which would not let them be replayed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol

from chatlib.core import effects as kinds
from chatlib.core.effects import Effect
from chatlib.storage.appendfile import AppendFiles
from chatlib.storage.blobs import Blobs
from chatlib.storage.log import Log
from chatlib.storage.messages import MessageStore

BUDGET = 200  # irreversible effects carried out in one tick: about 2 ms

Act = Callable[[], object]


def _mind_nobody(_name: str) -> None: ...


def _mind_no_node(_what: str, _fields: dict[str, Any]) -> None: ...


class Speaker(Protocol):
    """Who says things to connections. Legal at any time."""

    def deliver(self, user: str, line: bytes) -> None: ...

    def fan_out(self, line: bytes, excluded: Any = ()) -> None: ...

    def publish(self, stream: str, line: bytes, excluded: Any = ()) -> None: ...

    def follow(self, user: str, stream: str) -> None: ...

    def unfollow(self, user: str, stream: str) -> None: ...

    def close(self, stream: str, _: None) -> None: ...

    def end(self, user: str, ending: tuple[int, str, str]) -> None: ...

    def sent(self, user: str, line: bytes, origin: object) -> None: ...


class Effects:
    """The table of functions, and the queue of what cannot be undone, in the order of the commands.

    A fault costs its own effect and nothing else; a disk that fails is fail-stop.
    """

    def __init__(self, journal: Log, messages: MessageStore, appended: AppendFiles, blobs: Blobs, speaker: Speaker,
                 announce: Callable[[str, Any], None], between: Callable[[str, str], None],
                 parameters_changed: Callable[[], None], lsn: Callable[[], int],
                 on_fault: Callable[[BaseException], None],
                 gone: Callable[[str], None] = _mind_nobody,
                 bar: Callable[[str, None], None] = lambda network, _: None,
                 nodes: Callable[[str, dict[str, Any]], None] = _mind_no_node) -> None:  # fmt: skip
        """`lsn`: that of the command whose effects are carried out. `gone`: hears the name of an account that is.
        `bar`: hears of a network that is banned. `nodes`: hears of a cluster's nodes."""
        self._journal, self._messages, self._blobs, self._on_fault = journal, messages, blobs, on_fault
        self._gone = gone
        self.unneeded: Callable[[str], None] = _mind_nobody  # hears of bytes that a command given here has removed
        self._waiting: deque[tuple[int, Iterator[Act]]] = deque()  # the LSN to be durable, and what follows
        self._current_lsn = lsn
        self._origin: object = None  # who gave the command whose effects are carried out
        store, deliver, fan_out = messages.append, speaker.deliver, speaker.fan_out

        def post(user: str, line: bytes) -> None:
            store(line)
            deliver(user, line[len(user) + 2 :])

        def broadcast(line: bytes, excluded: Any) -> None:
            store(line)
            fan_out(line[5:], excluded)

        def publish(line: bytes, audience: tuple[str, Any]) -> None:
            store(line)
            stream, excluded = audience
            speaker.publish(stream, line[len(stream) + 2 :], excluded)

        self._functions: dict[str, Callable[[Any, Any], None]] = {
            kinds.STORE: lambda line, _: store(line), kinds.APPEND: appended.append, kinds.POST: post,
            kinds.BROADCAST: broadcast,
            kinds.PUBLISH: publish, kinds.FOLLOW: speaker.follow, kinds.UNFOLLOW: speaker.unfollow,
            kinds.CLOSE: speaker.close,
            kinds.TELL: deliver, kinds.FAN_OUT: fan_out, kinds.BETWEEN: between,
            kinds.SENT: lambda user, line: speaker.sent(user, line, self._origin),
            kinds.ANNOUNCE: announce, kinds.END: speaker.end, kinds.ERASE: self._erase, kinds.ADOPT: self._adopt,
            kinds.ERASE_LAST: lambda offsets, _: messages.erase_last(offsets), kinds.FORGET: self._forget,
            kinds.BAR: bar, kinds.NODES: nodes,
            kinds.UNLINK: self._unlink, kinds.PARAMETERS: lambda *_: parameters_changed(),
        }  # fmt: skip

    def carry_out(self, effects: Iterable[Effect], origin: object) -> None:
        """What follows from a command of this origin. Raises OSError: the disk's fault."""
        self._origin, functions = origin, self._functions
        for kind, a, b in effects:
            try:
                functions[kind](a, b)
            except OSError:
                raise
            except Exception as fault:
                self._on_fault(fault)

    def _adopt(self, blob: str, _: None) -> None:
        self._blobs.adopt(blob)

    def _erase(self, offsets: Iterable[int], _: None) -> None:
        self._put(partial(self._messages.erase, [offset]) for offset in offsets)

    def _unlink(self, blob: str, _: None) -> None:
        acts = [partial(self._blobs.unlink, blob)]
        self._put(acts if self._origin is None else [*acts, partial(self.unneeded, blob)])

    def _forget(self, name: str, party: str) -> None:
        if name:
            self._gone(name)
        blobs = self._blobs
        self._put(partial(blobs.give_up, key) for key in blobs.parts_of(party))

    # What cannot be undone.

    def _put(self, acts: Iterable[Act]) -> None:
        self._waiting.append((self._current_lsn(), iter(acts)))

    def step(self) -> bool:
        """Carries out what is due, as far as the budget goes. Whether more is due."""
        left = BUDGET
        while self._is_due() and left:
            for act in islice(self._waiting[0][1], left):
                left -= 1
                try:
                    act()
                except (OSError, ValueError) as fault:  # one line, one file
                    self._on_fault(fault)
            if left:
                self._waiting.popleft()
        return self._is_due()

    def finish(self) -> None:
        """Carries out everything; legal when everything committed is durable."""
        while self.step():
            pass
        assert not self._waiting

    def _is_due(self) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= self._journal.durable


class Replayed:
    """What follows from replayed commands: only what is stored. Erasing is gathered for when the store is whole.

    Bytes are left alone: a later command may be about the same name, and what nobody needs is found afterwards.
    """

    def __init__(self, messages: MessageStore, appended: AppendFiles, gone: Callable[[str], None]) -> None:
        self._erased: list[Iterable[int]] = []
        self._functions: dict[str, Callable[[Any, Any], None]] = {
            kinds.STORE: lambda line, _: messages.append(line),
            kinds.APPEND: appended.append,
            kinds.POST: lambda user, line: messages.append(line),
            kinds.BROADCAST: lambda line, excluded: messages.append(line),
            kinds.PUBLISH: lambda line, audience: messages.append(line),
            kinds.ERASE: lambda offsets, _: self._erased.append(offsets),
            kinds.ERASE_LAST: lambda offsets, _: messages.erase_last(offsets),
            kinds.FORGET: lambda name, _: gone(name) if name else None,
        }

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """What a replay does of `effects`."""
        for kind, a, b in effects:
            function = self._functions.get(kind)
            if function is not None:
                function(a, b)

    def erased(self) -> Iterator[int]:
        """What is to be erased. Legal when everything stored is written: some of it is found by what is stored."""
        return chain.from_iterable(self._erased)
