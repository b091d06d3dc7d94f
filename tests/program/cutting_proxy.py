"""A proxy that cuts: between clients and a server on this machine, it does to connections what bad networks do.

Single-threaded, by ``selectors``; chance comes from the `random.Random` given, time from `clock`. What happens to a
connection is its :class:`Plan`, made when it is accepted: how its bytes are cut up and delayed, and one fault, which
strikes when so many bytes have passed (or so many seconds, whichever is first). A stream is never falsified: bytes are
late, or they and all after them never come.

Legal order: build, ``step`` (or ``fileno`` in another selector, and ``step`` when it is readable or ``patience`` is
over) as often as one likes, ``close``.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

FULL = 65_536  # bytes held for one direction; more stays with the kernel
NEVER = float("inf")
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Fault(Enum):
    """What may happen to a connection."""

    NONE = "none"
    RESET = "reset"  # both ends hear of it at once; what was under way is gone
    CLOSE = "close"  # likewise, politely
    STALL = "stall"  # nothing moves for a while, then all goes on: also what a client that has left meanwhile had said
    STALL_RESET = "stall, then reset"
    HALF_UP = "half-open: the server hears nothing more"
    HALF_DOWN = "half-open: the client hears nothing more"
    HALF_BOTH = "half-open: nobody hears anything more"


@dataclass
class Plan:
    """What happens to one connection."""

    fault: Fault = Fault.NONE
    after_bytes: float = NEVER  # in both directions together
    after_seconds: float = NEVER
    stall: float = 0.0  # seconds
    drip: int = 0  # so many bytes of each direction pass one at a time
    delay: float = 0.0  # seconds for which each piece is held, at most


Planner = Callable[[random.Random], Plan]


def faultless(_: random.Random) -> Plan:
    """A cable that nobody touches."""
    return Plan()


def rough(rng: random.Random, longest_stall: float = 1.5) -> Plan:
    """A bad network: nine connections of ten break, many of them during the login."""
    fault = rng.choices(list(Fault), weights=[2, 6, 3, 3, 2, 1, 1, 1])[0]
    upper = rng.choice([600, 1_500, 6_000, 30_000, 60_000])
    return Plan(
        fault,
        after_bytes=rng.randrange(upper),
        after_seconds=rng.uniform(0.2, 4.0),
        stall=rng.uniform(0.05, longest_stall),
        drip=rng.choice([0, 0, 200, 900]),
        delay=rng.choice([0.0, 0.0, 0.0, 0.005, 0.03]),
    )


class _Flow:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, drip: int) -> None:
        self.source, self.sink = source, sink
        self.drip = drip
        self.held = bytearray()
        self.not_before = 0.0
        self.swallows = False
        self.ended = False  # the source has said all it had to say, or is gone
        self.passed_end = False


class _Pair:
    """A connection: the client's socket, the server's, and the two flows between them."""

    def __init__(self, client: socket.socket, server: socket.socket, plan: Plan, now: float) -> None:
        self.client, self.server, self.plan = client, server, plan
        self.up, self.down = _Flow(client, server, plan.drip), _Flow(server, client, plan.drip)
        self.passed = 0  # bytes
        self.strikes_at = now + plan.after_seconds
        self.stalled_until = 0.0
        self.resets_then = False
        self.connecting = True
        self.open = True

    @property
    def flows(self) -> tuple[_Flow, _Flow]:
        return self.up, self.down


class CuttingProxy:
    """Listens on a free port of 127.0.0.1 and leads to port `upstream`, which may change, or be 0: refused."""

    def __init__(
        self,
        rng: random.Random,
        planner: Planner = rough,
        upstream: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rng, self.planner, self.upstream = rng, planner, upstream
        self.struck: Counter[str] = Counter()  # faults that came true
        self.accepted = 0
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector.register(self._listener, _READ, None)
        self._pairs: dict[_Pair, None] = {}

    def fileno(self) -> int:
        """For another selector: readable when there is something to do."""
        return self._selector.fileno()

    def calm(self) -> None:
        """From now on no fault begins. What is half-open stays so; what is stalled goes on when its time has come."""
        self.planner = faultless
        for pair in self._pairs:
            pair.plan = Plan()
            pair.strikes_at = NEVER

    def cut_all(self) -> None:
        """Resets every connection."""
        for pair in list(self._pairs):
            self._reset(pair)

    def silence(self, up: bool = True, down: bool = True) -> None:
        """Makes every connection half-open, now: upwards, downwards, or both."""
        for pair in self._pairs:
            for flow, silent in ((pair.up, up), (pair.down, down)):
                if silent:
                    flow.swallows = True
                    flow.held.clear()

    def close(self) -> None:
        """Gives everything back."""
        self.cut_all()
        self._selector.unregister(self._listener)
        self._listener.close()
        self._selector.close()

    # One step.

    def patience(self) -> float | None:
        """Seconds until something is due without anyone saying a word; None: nothing is."""
        now, due = self._clock(), NEVER
        for pair in self._pairs:
            due = min(due, self._due(pair, now))
        return None if due == NEVER else max(0.0, due - now)

    def _due(self, pair: _Pair, now: float) -> float:
        if pair.stalled_until:
            return pair.stalled_until
        due = pair.strikes_at
        if not pair.connecting:
            for flow in pair.flows:
                if flow.held and (flow.drip > 0 or flow.not_before > now):
                    due = min(due, flow.not_before)
        return due

    def step(self, timeout: float | None = 0.0) -> None:
        """Waits up to `timeout` (None: for ever) for bytes or a deadline, and does what is to be done then."""
        patience = self.patience()
        if patience is not None:
            timeout = patience if timeout is None else min(timeout, patience)
        ready = self._selector.select(timeout)
        now = self._clock()
        for key, events in ready:
            if key.data is None:
                self._accept(now)
                continue
            pair, flow = key.data
            if not pair.open:
                continue
            if pair.connecting:
                self._connected(pair)
            elif events & _READ:
                self._take(pair, flow, now)
        for pair in list(self._pairs):
            self._live(pair, now)

    def _accept(self, now: float) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket.socket()
            for each in (client, server):
                each.setblocking(False)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server, self.planner(self.rng), now)
            self._pairs[pair] = None
            server.connect_ex(("127.0.0.1", self.upstream))
            self._selector.register(server, _WRITE, (pair, pair.down))

    def _connected(self, pair: _Pair) -> None:
        # A port that nobody listens on may, by chance, be connected to itself.
        error = pair.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error or pair.server.getsockname() == pair.server.getpeername():
            self._reset(pair)
            return
        pair.connecting = False

    def _take(self, pair: _Pair, flow: _Flow, now: float) -> None:
        if flow.ended or len(flow.held) >= FULL:
            return
        try:
            chunk = flow.source.recv(FULL)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            flow.ended = True
        elif not flow.swallows:
            if not flow.held and pair.plan.delay:
                flow.not_before = now + self.rng.uniform(0.0, pair.plan.delay)
            flow.held += chunk

    def _live(self, pair: _Pair, now: float) -> None:
        """Time passes for a connection."""
        if pair.connecting or not pair.open:
            return
        if pair.stalled_until:
            if now < pair.stalled_until:
                self._listen(pair)
                return
            pair.stalled_until = 0.0
            if pair.resets_then:
                self._reset(pair)
                return
        if pair.passed >= pair.plan.after_bytes or now >= pair.strikes_at:
            self._strike(pair, now)
        for flow in pair.flows:
            if pair.open and not pair.stalled_until and now >= flow.not_before:
                self._pass_on(pair, flow)
        if pair.open and pair.up.ended and pair.down.ended and not (pair.up.held or pair.down.held):
            self._end(pair)
        if pair.open:
            self._listen(pair)

    def _strike(self, pair: _Pair, now: float) -> None:
        plan, fault = pair.plan, pair.plan.fault
        plan.after_bytes = pair.strikes_at = NEVER
        if fault is Fault.NONE:
            return
        self.struck[fault.value] += 1
        match fault:
            case Fault.RESET:
                self._reset(pair)
            case Fault.CLOSE:
                self._end(pair)
            case Fault.STALL | Fault.STALL_RESET:
                pair.stalled_until = now + plan.stall
                pair.resets_then = fault is Fault.STALL_RESET
            case _:
                for flow, faults in ((pair.up, (Fault.HALF_UP, Fault.HALF_BOTH)),
                                     (pair.down, (Fault.HALF_DOWN, Fault.HALF_BOTH))):  # fmt: skip
                    if fault in faults:
                        flow.swallows = True
                        flow.held.clear()

    def _pass_on(self, pair: _Pair, flow: _Flow) -> None:
        limit = len(flow.held)
        if flow.drip > 0:
            limit = 1
        elif pair.plan.fault is not Fault.NONE and pair.plan.after_bytes != NEVER:
            limit = int(min(limit, max(1, pair.plan.after_bytes - pair.passed)))
        if limit and flow.held:
            try:
                sent = flow.sink.send(flow.held[:limit])
            except BlockingIOError:
                return
            except OSError:  # the other end is gone, and says so itself
                flow.held.clear()
                flow.swallows = True
                return
            del flow.held[:sent]
            flow.drip -= sent
            pair.passed += sent
        if flow.ended and not flow.held and not flow.passed_end:
            flow.passed_end = True
            if not flow.swallows:
                with contextlib.suppress(OSError):
                    flow.sink.shutdown(socket.SHUT_WR)

    def _listen(self, pair: _Pair) -> None:
        """Waits for what can be of use now. A stalled connection still takes what the kernels would."""
        for flow, back in ((pair.up, pair.down), (pair.down, pair.up)):
            events = 0 if flow.ended or len(flow.held) >= FULL else _READ
            stuck = back.held and not back.drip > 0 and not pair.stalled_until and not back.not_before > self._clock()
            events |= _WRITE if stuck else 0
            known = flow.source in self._selector.get_map()
            if events and known:
                self._selector.modify(flow.source, events, (pair, flow))
            elif events:
                self._selector.register(flow.source, events, (pair, flow))
            elif known:
                self._selector.unregister(flow.source)

    # The end of a connection.

    def _reset(self, pair: _Pair) -> None:
        for each in (pair.client, pair.server):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end(pair)

    def _end(self, pair: _Pair) -> None:
        pair.open = False
        self._pairs.pop(pair, None)
        for each in (pair.client, pair.server):
            if each in self._selector.get_map():
                self._selector.unregister(each)
            each.close()
