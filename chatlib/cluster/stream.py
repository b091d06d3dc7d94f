"""The log that several servers share: everybody's batches in the one order in which the engine stored them.

Each node judges each message for itself, and all come to the same: a batch counts when its node is up with that
incarnation and the number is the next; anything else is passed over, a copy as well as what a node said that was given
up meanwhile. It is judged when all before it is executed, since that may decide. So ``committed`` is lazy, and has a
budget: the rest comes in the next tick.

Our own batch counts when the very bytes in flight were read. When another batch with our name and number was first, or
ours is passed over, our incarnation is over (`on_over`): what waits will never be carried out.

There is no replay: what is behind `standing.place` is read and handed out like anything else. Must not know what a
command means; who is up, it asks `standing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Protocol

from chatlib.cluster.batch import BatchRead, Chains, chained
from chatlib.cluster.link import EngineLink
from chatlib.cluster.reading import LogReader
from chatlib.cluster.sending import BatchSender
from chatlib.cluster.setup import StreamWatch
from chatlib.reactor.loop import Loop
from chatlib.reactor.timers import Timer
from chatlib.storage.log import Batch, CommitFailed

SLICE = 50  # commands that are handed out before one looks at the clock
BUDGET, BUDGET_TIME = 250, 0.0025  # commands, and seconds, of one call of ``committed``
USELESS, MOST_USELESS = 4.0, 60.0  # seconds after which another of the engine's nodes is tried; more each time
_WAIT = 0.1  # seconds that ``ready`` waits at most


class Standing(Protocol):
    """Which batches count, as far as all is executed that was handed out."""

    place: tuple[int, int]  # position and chain of what was executed last; 0, 0: nothing

    def accepts(self, name: str, incarnation: int, number: int) -> bool:
        """Whether this batch counts, if it is the next."""

    def took(self, name: str, incarnation: int, number: int) -> None:
        """It does; its commands come next."""

    def names_up(self) -> Collection[str]:
        """The nodes that are up."""


class ClusterLog:
    """A :class:`chatlib.storage.log.Log`. `standing` may be given later, before ``open``.

    Besides: ``come_up`` when all is executed that was there before (`behind` is False), or when our last incarnation is
    over; ``lost`` when it is. `heard` is told of each batch that counts: its node, and that node's clock when it was
    made.
    """

    shared = True
    sync_always = True

    def __init__(
        self, link: EngineLink, name: str, node: str, loop: Loop, standing: Standing | None = None,
        say: Callable[[str], None] = lambda text: None, *, clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.node, self.standing = node, standing
        self.heard: Callable[[str, float], None] = lambda node, at: None
        self.on_over: Callable[[], None] = lambda: None
        self.over = False  # our incarnation is, and nobody has called `lost` yet
        self.lsn = 0
        self.size = self.records = 0  # bytes and commands handed out since the last cut
        self._link, self._name, self._loop, self._clock, self._say = link, name, loop, clock, say
        self._reader = LogReader(link, name, clock, self._wake, self._seen)
        self._sender = BatchSender(link, name, node, clock, wall_clock, self._wake, self._reader.known)
        self._watch = StreamWatch(link, name, say)
        self._chains = Chains()
        self._differing: set[str] = set()  # nodes whose latest batches told of another log than ours
        self._chain = 0
        self._entries: Sequence[int | bytes] = ()  # of the batch that is being handed out,
        self._handed = 0  # so many were
        self._position = 0  # its position
        self._reads = True
        self._failure = ""
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._useful_at = 0.0  # the engine's node that we are connected to counts as useful from here,
        self._useless = USELESS  # for so long
        link.on_connected.append(self._connected)

    # A start.

    def prove(self, after: int, begun: bool) -> bool:
        """The flat files are at LSN `after`; what comes behind is read later."""
        self.lsn = after
        return begun

    def mend(self) -> str:
        """Nothing is ever torn here."""
        return ""

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Nothing: see the module."""
        return iter(())

    def open(self) -> None:
        """Begins to read behind `standing.place`."""
        assert self.standing is not None
        self._position, self._chain = self.standing.place
        self._chains.add(self._position, self._chain)
        self._reader.begin(self._position)

    @property
    def behind(self) -> bool:
        """Whether something is not executed yet that was in the log when it was opened, or whether one cannot tell."""
        return not 0 <= self._reader.goal <= self._position or bool(self._entries)

    # What one knows of it.

    @property
    def given(self) -> int:
        """No LSN is given away before its record is in the log."""
        return self.lsn

    @property
    def durable(self) -> int:
        """What was handed out is on most nodes' disks."""
        return self.lsn

    @property
    def busy(self) -> bool:
        """Whether something waits, and only ``ready`` can bring it on."""
        return self._sender.waits and not self._sender.can_begin and not self._has_more and not self._broken

    @property
    def _has_more(self) -> bool:
        return bool(self._entries) or self._reader.has_next

    @property
    def _broken(self) -> str:
        return self._failure or self._reader.failure or self._watch.failure

    @property
    def at_rest(self) -> bool:
        """Whether no batch has been handed out in part."""
        return not self._entries

    @property
    def place(self) -> tuple[int, int]:
        """Position and chain of what was executed last."""
        assert self.standing is not None
        return self.standing.place

    @property
    def unread(self) -> int:
        """How many messages are in the log, as far as one knows, that were not executed."""
        return max(0, self._reader.last - self._position)

    @property
    def waits(self) -> float:
        """Seconds that our oldest batch has been waiting to come back; 0.0: there is none."""
        flight = self._sender.flight
        return self._clock() - flight.since if flight else 0.0

    @property
    def waiting(self) -> int:
        """Bytes of ours that have not come back."""
        return self._sender.size

    @property
    def trouble(self) -> str:
        """The engine's words when it refuses what we send."""
        return self._sender.trouble

    # Our own incarnation.

    def come_up(self, incarnation: int) -> None:
        """From now on batches are sent. The first record, ``node_up``, goes alone."""
        self.over = False
        self._sender.come_up(incarnation)

    def lost(self) -> list[int]:
        """Our incarnation is over. The tickets of all that waits, which will never be carried out."""
        self.over = False
        return self._sender.lost()

    def _is_over(self) -> None:
        if not self.over:
            self.over = True
            self.on_over()

    # Life.

    def fileno(self) -> int:
        """None: the link is a channel of the loop by itself, and ``committed`` looks for what has come."""
        return -1

    def append(self, record: bytes) -> int:
        """Adds a command of ours."""
        return self._sender.append(record)

    def barrier(self) -> int:
        """A ticket that comes when a batch has come back that was begun later."""
        return self._sender.barrier()

    def commit(self) -> None:
        """Sends what was appended, unless a batch is in flight."""
        if self._broken:
            raise CommitFailed(self._broken)
        if self._sender.can_begin and not self.over:
            self._sender.begin(self.place)

    def ready(self) -> None:
        """Waits until something has come, or for a moment: pumps the link and nothing else."""
        if not self._has_more:
            self._link.wait(lambda: self._has_more or bool(self._broken), _WAIT)
        self._look()
        if self._link.failure and not self._link.connected:
            raise CommitFailed(f"No node of the engine lets us in: {self._link.failure}")
        if self._broken:
            raise CommitFailed(self._broken)

    def every_second(self) -> None:
        """Others must hear that we are here."""
        if self._broken:
            raise CommitFailed(self._broken)
        if not self.over:
            self._sender.begin(self.place, beat=True)
        self._watch.every_second()
        self._look()

    def committed(self) -> Iterable[Batch]:
        """What may be executed, a part of a batch at a time. Legal: what was handed out is executed before the next."""
        return self._hand_out() if self._has_more else ()

    def read_no_more(self) -> None:
        """For the end: nothing follows the batch that has been handed out in part."""
        self._reads = False

    def _hand_out(self) -> Iterator[Batch]:
        left, end = BUDGET, self._clock() + BUDGET_TIME
        while left > 0 and (self._entries or self._read()):
            entries, begin = self._entries, self._handed
            part = entries[begin : begin + SLICE]
            if part:
                self._handed += len(part)
                count = len(part) - self._passed(part)
                self.lsn += count
                self.records += count
                left -= len(part)
                yield part
            if self._handed >= len(entries):
                self._done()
            if self._clock() > end:
                break
        if self._has_more:
            self._loop.again(self)

    def _passed(self, part: Sequence[int | bytes]) -> int:
        """How many of these are barriers."""
        barriers = self._sender.barriers
        passed = barriers.intersection(part) if barriers else ()
        barriers.difference_update(passed)
        return len(passed)

    def _read(self) -> bool:
        """Judges the next message; what counts of it is to be handed out. False: there is none yet."""
        found = self._reader.take() if self._reads else None
        if found is None:
            return False
        position, payload, batch = found
        standing, flight = self.standing, self._sender.flight
        assert standing is not None
        is_ours = flight is not None and payload == flight.payload
        counts = standing.accepts(batch.node, batch.incarnation, batch.number)
        if counts:
            self._must_agree(position, batch)
            standing.took(batch.node, batch.incarnation, batch.number)
            self._useless = USELESS if is_ours else self._useless
            self._entries = self._sender.came_back() if is_ours else batch.records
            self.heard(batch.node, batch.at)
        if is_ours is not counts and (is_ours or self._is_in_our_place(batch)):
            self._is_over()
        self._position = position
        self._chain = chained(payload, self._chain)
        self._chains.add(position, self._chain)
        self.size += len(payload)
        self._handed = 0
        return True

    def _is_in_our_place(self, batch: BatchRead) -> bool:
        """Whether a batch counts that is not ours, though it says so."""
        return batch.node == self.node and batch.incarnation == self._sender.incarnation

    def _done(self) -> None:
        """A message is executed, or passed over."""
        assert self.standing is not None
        self._entries = ()
        self.standing.place = self._position, self._chain
        flight = self._sender.flight
        if flight is not None and 0 < flight.position <= self._position and not self.over:
            self._fail(f"The engine has another batch at {flight.position}, where it said that ours was.")

    # One log.

    def _must_agree(self, position: int, batch: BatchRead) -> None:
        """What its node had executed must be what we had: else we stop, unless most of the others agree with us.

        What one alone has said before we came up does not count: perhaps it has a new home by now.
        """
        assert self.standing is not None
        if batch.position < position and not self._chains.differs(batch.position, batch.chain):
            if self._chains.knows(batch.position):
                self._differing.discard(batch.node)
            return
        what = f'The node "{batch.node}" has read another log: at {batch.position}, its chain is {batch.chain:08x}.'
        is_new, others = batch.node not in self._differing, {*self.standing.names_up()} - {self.node}
        self._differing.add(batch.node)
        differing = len(self._differing & others)
        if 2 * differing > len(others) and (differing > 1 or self._sender.incarnation):
            remedy = " So have most others: take data/ away, and start this server again." if differing > 1 else ""
            self._fail(what + remedy)
        if is_new:
            self._say(f"WARNING: {what}")

    def _seen(self, position: int, message: bytes) -> None:
        """A message at a position that was taken already."""
        if self._chains.is_other(position, message):
            self._failure = f"The engine has another message at {position} than before."

    def _fail(self, why: str) -> None:
        self._failure = why
        raise CommitFailed(why)

    # Time.

    def _wake(self, seconds: float) -> None:
        at = self._clock() + seconds
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(at, self._alarm), at

    def _alarm(self) -> None:
        self._timer = None
        self._look()

    def _look(self) -> None:
        self._reader.look()
        self._sender.look()
        self._move_on()

    def _connected(self) -> None:
        self._useful_at = self._clock()

    def _move_on(self) -> None:
        """A node of the engine that is cut off from the others answers, and is of no use."""
        flight, since = self._sender.flight, self._reader.stuck_since
        if flight is not None and not flight.position:
            since = min(since or flight.since, flight.since)
        now = self._clock()
        if since is None:
            self._useless = USELESS
        elif self._link.connected and now - max(since, self._useful_at) >= self._useless:
            self._useful_at = now
            self._useless = min(2 * self._useless, MOST_USELESS)  # it may be all of them
            self._link.leave("it does not do what it is asked for, and may be cut off from the others")

    def again(self) -> None:
        """The next tick goes on with what the budget left."""

    def broken(self) -> None:
        """Nothing of that can be."""

    # Checkpoints and the end.

    def cut(self) -> None:
        """The flat files are about to be written: what was handed out is executed."""
        assert self.at_rest
        self.size = self.records = 0

    def truncate(self) -> None:
        """Nothing: the log is everybody's, and a snapshot makes it shorter."""

    def settle(self) -> None:
        """Nothing: what was handed out is durable."""

    def clear(self) -> None:
        """Nothing: the log is everybody's."""

    def close(self) -> None:
        """The link is its owner's."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
