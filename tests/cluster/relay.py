"""Small TCP relays, all in one process of their own: what goes through them can be cut, delayed and reset.

    with Relays() as relays:
        port = relays.open("s1>n2", upstream)
        relays.cut("s1>n2")   # silence, both ways: nothing is lost, nobody is told; also for those who come anew
        relays.mute("s1>n2")  # the same, but only of what comes from the one who called
    relays.heal("s1>n2")  # what was held goes on, as after a cable was plugged in again
        relays.reset("s1>n2") # the connections of now break
        relays.lag(1.0, "s1>n2")  # each byte arrives so much later, either way

The process ends with the one that started it, since its standard input ends then. Loopback only.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FULL = 1 << 20  # bytes of one direction that are held at most
TAKE = 1 << 18  # bytes taken at once
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Relays:
    """The relays of a test, from the outside."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.relay"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, bufsize=1, env={name: value for name, value in os.environ.items() if "COVERAGE" not in name},
        )  # fmt: skip
        self.ports: dict[str, int] = {}

    def open(self, name: str, upstream: int) -> int:
        """A new relay to that port of this machine; its own port."""
        self.ports[name] = int(self._say(do="open", names=[name], upstream=upstream)["port"])
        return self.ports[name]

    def cut(self, *names: str) -> None:
        """From now on nothing passes."""
        self._say(do="cut", names=names)

    def mute(self, *names: str) -> None:
        """From now on nothing passes towards the one who was called; what comes from there does."""
        self._say(do="mute", names=names)

    def heal(self, *names: str) -> None:
        """Everything passes again, what was held first."""
        self._say(do="heal", names=names)

    def reset(self, *names: str) -> None:
        """The connections of now break."""
        self._say(do="reset", names=names)

    def lag(self, seconds: float, *names: str) -> None:
        """What comes from now on arrives so much later."""
        self._say(do="lag", names=names, seconds=seconds)

    def _say(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("the relays have ended")
        return dict(json.loads(line))

    def close(self) -> None:
        """Ends all of them."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Relays:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Relay:
    def __init__(self, upstream: int) -> None:
        self.upstream, self.is_cut, self.is_mute, self.lag = upstream, False, False, 0.0
        self.pairs: set[_Pair] = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listener.setblocking(False)


class _Flow:
    """One direction of a connection. `held`: when it may go on, and what."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.held: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.ended = self.told = False


class _Pair:
    def __init__(self, relay: _Relay, client: socket.socket) -> None:
        self.relay, self.client, self.server = relay, client, socket.socket()
        self.flows = (_Flow(client, self.server), _Flow(self.server, client))
        self.connecting = False  # not yet begun, or under way
        self.begun = False
        for each in (client, self.server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _House:
    """All relays, in their own process."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.relays: dict[str, _Relay] = {}
        self.selector.register(sys.stdin.fileno(), _READ, None)
        self._rest = b""

    def run(self) -> None:
        """Until standard input ends."""
        while True:
            for key, events in self.selector.select(self._patience()):
                if key.data is None:
                    if not self._commanded():
                        return
                elif isinstance(key.data, _Relay):
                    self._accept(key.data)
                elif key.data in key.data.relay.pairs:
                    self._ready(key.data, key.fileobj, events)
            now = time.monotonic()
            for pair in self._late():
                if pair in pair.relay.pairs:
                    self._go_on(pair, now)

    # Commands.

    def _commanded(self) -> bool:
        data = os.read(sys.stdin.fileno(), 65_536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            sys.stdout.write(json.dumps(self._do(**json.loads(line))) + "\n")
            sys.stdout.flush()
        return bool(data)

    def _do(self, do: str, names: list[str], upstream: int = 0, seconds: float = 0.0) -> dict[str, int]:
        if do == "open":
            relay = self.relays[names[0]] = _Relay(upstream)
            self.selector.register(relay.listener, _READ, relay)
            return {"port": relay.listener.getsockname()[1]}
        for relay in [self.relays[name] for name in names]:
            if do == "lag":
                relay.lag = seconds
            elif do == "reset":
                for pair in list(relay.pairs):
                    self._end(pair, broken=True)
            else:
                relay.is_cut, relay.is_mute = do == "cut", do == "mute"
                for pair in list(relay.pairs):
                    self._go_on(pair, time.monotonic())
        return {}

    # Connections.

    def _accept(self, relay: _Relay) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = relay.listener.accept()
                pair = _Pair(relay, client)
                relay.pairs.add(pair)
                self._go_on(pair, time.monotonic())

    def _connect(self, pair: _Pair) -> None:
        pair.begun = pair.connecting = True
        pair.server.connect_ex(("127.0.0.1", pair.relay.upstream))

    def _ready(self, pair: _Pair, end: Any, events: int) -> None:
        if pair.connecting:
            if pair.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or _is_its_own_end(pair.server):
                self._end(pair, broken=True)
                return
            pair.connecting = False
        for flow in pair.flows:
            if events & _READ and end is flow.source and not self._take(pair, flow):
                return
        self._go_on(pair, time.monotonic())

    def _take(self, pair: _Pair, flow: _Flow) -> bool:
        """Whether the connection still is."""
        try:
            data = flow.source.recv(TAKE)
        except BlockingIOError:
            return True
        except OSError:
            self._end(pair, broken=True)
            return False
        if data:
            flow.held.append((time.monotonic() + pair.relay.lag, data))
            flow.size += len(data)
        else:
            flow.ended = True
        return True

    def _go_on(self, pair: _Pair, now: float) -> None:
        """Passes on what may be passed on, and waits for what can be of use."""
        if not pair.relay.is_cut:
            if not pair.begun:
                self._connect(pair)
            elif not pair.connecting and not all([self._pass_on(flow, now) for flow in _open(pair)]):
                self._end(pair, broken=True)
                return
        if all(flow.told for flow in pair.flows):
            self._end(pair)
            return
        for end, flow, back in ((pair.client, *pair.flows), (pair.server, *reversed(pair.flows))):
            self._watch(pair, end, flow, back, now)

    def _watch(self, pair: _Pair, end: socket.socket, flow: _Flow, back: _Flow, now: float) -> None:
        """`flow` leaves this end, `back` comes to it."""
        events, is_cut = 0, pair.relay.is_cut
        if pair.connecting or not pair.begun:
            events = _WRITE if pair.connecting and end is pair.server else 0
        elif not is_cut:
            events = 0 if flow.ended or flow.size >= FULL else _READ
            events |= _WRITE if back in _open(pair) and back.held and back.held[0][0] <= now else 0
        known = end in self.selector.get_map()
        if events and known:
            self.selector.modify(end, events, pair)
        elif events:
            self.selector.register(end, events, pair)
        elif known:
            self.selector.unregister(end)

    def _pass_on(self, flow: _Flow, now: float) -> bool:
        """False: the other end is gone."""
        try:
            while flow.held and flow.held[0][0] <= now:
                due, data = flow.held[0]
                sent = flow.sink.send(data)
                flow.size -= sent
                if sent == len(data):
                    flow.held.popleft()
                else:
                    flow.held[0] = due, data[sent:]
            if flow.ended and not flow.held and not flow.told:
                flow.told = True
                flow.sink.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def _late(self) -> list[_Pair]:
        return [pair for relay in self.relays.values() if relay.lag or any(_held(pair) for pair in relay.pairs)
                for pair in list(relay.pairs)]  # fmt: skip

    def _patience(self) -> float | None:
        """Until the next delayed byte is due."""
        due = [flow.held[0][0] for relay in self.relays.values() if not relay.is_cut for pair in relay.pairs
               for flow in pair.flows if flow.held]  # fmt: skip
        now = time.monotonic()
        later = [moment for moment in due if moment > now]  # what is due already waits for room
        return min(later) - now if later else None

    def _end(self, pair: _Pair, broken: bool = False) -> None:
        pair.relay.pairs.discard(pair)
        for each in (pair.client, pair.server):
            if each.fileno() >= 0 and each in self.selector.get_map():
                self.selector.unregister(each)
            if broken:
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()


def _open(pair: _Pair) -> tuple[_Flow, ...]:
    """The directions in which bytes pass now."""
    return pair.flows[1:] if pair.relay.is_mute else pair.flows


def _held(pair: _Pair) -> bool:
    return any(flow.held for flow in pair.flows)


def _is_its_own_end(end: socket.socket) -> bool:
    """A port that nobody listens on may, by chance, be connected to itself."""
    try:
        return bool(end.getsockname() == end.getpeername())
    except OSError:
        return True


if __name__ == "__main__":
    _House().run()
