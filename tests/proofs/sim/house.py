"""The server of a schedule: its lives on one home, each from the start to a clean stop, a failure or a crash."""

from __future__ import annotations

import gc
import json
import resource
import select
import selectors
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatlib.core import snapshot, world
from chatlib.reactor import jobs
from chatlib.server.server import Server
from chatlib.storage import writerlock
from chatlib.storage.home import Home
from chatlib.storage.log import CommitFailed
from chatlib.storage.textfile import FileError
from tests.proofs.sim.calls import Around, Calls
from tests.proofs.sim.children import SimulatedChecker, SimulatedJob, SimulatedSyncer
from tests.proofs.sim.machine import HOME, Crash, Machine
from tests.proofs.sim.net import End, Listener, Network, Selector
from tests.proofs.sim.nodes import Process


class Watched(world.World):
    """A world that tells of each command: live and in replay."""

    watcher: House

    def execute(self, command: Any) -> Any:
        found = super().execute(command)
        self.watcher.executed(self, command, found[0])
        return found


class House:
    """Legal: ``live`` again and again. `faults`: what went wrong in the server, which is always a fault of ours."""

    def __init__(self, machine: Machine, network: Network) -> None:
        self.machine, self.network = machine, network
        self.server: Server | None = None
        self.said: list[str] = []
        self.commands: dict[int, Any] = {}  # by LSN: as they were last executed
        self.replies: dict[int, Any] = {}
        self.world: Watched | None = None  # the one that lives
        self.dump_at = 0  # of the LSN whose dump is wanted of a replay
        self.dumped: list[str] | None = None
        self.on_start: Callable[[Server], None] = lambda server: None
        self.replays: list[str] = []  # commands whose replay differs from what was live

    def executed(self, one: Watched, command: Any, reply: Any) -> None:
        lsn, command = one.lsn, json.dumps(command, sort_keys=True)
        if one is not self.world:  # a replay
            known = self.replies.get(lsn)
            if known is not None and lsn <= self.dump_at and known[0] != command:
                self.replays.append(f"LSN {lsn} was {known[0]}, and is {command} now")
            if lsn == self.dump_at:
                self.dumped = dump(one)
        self.replies[lsn] = command, reply
        self.machine.note("executes", lsn, command[:200], reply.get("status"))

    def start(self) -> Server:
        """As server.py does."""
        machine = self.machine
        machine.server = machine.process = machine.new_process()
        machine.crashing = False
        SimulatedJob.machine = machine
        Watched.watcher, self.world, self.dumped = self, None, None
        home = Home(Path(HOME), self.say)
        server = Server(
            home, SimulatedSyncer(machine), SimulatedChecker(machine), self.say, machine.monotonic, machine.wall  # type: ignore[arg-type]
        )
        self.world = server.world  # type: ignore[assignment]
        server.open(Listener(self.network, machine.process))  # type: ignore[arg-type]
        phases = server.loop.phases
        phases[:] = [self._stepped(phase, number) for number, phase in enumerate(phases)]
        self.network.silent = False
        return server

    def _stepped(self, phase: Callable[[], None], number: int) -> Callable[[], None]:
        def call() -> None:
            self.machine.step("phase", number)
            phase()

        return call

    def say(self, text: str) -> None:
        self.machine.note("says", text)
        self.said.append(text)

    def live(self) -> str:
        """A life: "" after a clean stop, "crash", or why the server ended or did not start."""
        machine = self.machine
        self.server = None
        try:
            self.server = self.start()
            machine.note("has started", self.server.world.lsn)
            self.on_start(self.server)
            self.server.run()
            machine.note("has run", self.server.failure)
            failure = self.server.close()
        except Crash:
            failure = "crash"
        except (FileError, CommitFailed, OSError) as error:
            failure = f"not started: {error}"
        self._put_away()
        machine.note("ends", failure)
        return failure

    def _put_away(self) -> None:
        machine = self.machine
        if machine.server is not None:
            machine.server.end()
        machine.server = machine.process = None
        if self.network.listener is not None:
            self.network.listener.pending.clear()
        self.network.listener = None

    def power_cut(self) -> None:
        """Behind a crash: what was not synced may be lost, and every process is over."""
        machine = self.machine
        for fiber in machine.jobs:
            fiber.kill()
        machine.jobs.clear()
        machine.disk.cut(machine.chance)


def dump(one: world.World) -> list[str]:
    """All that the world holds, as its files would."""
    return [f"{name}: {line}" for name, _, lines in snapshot.dump(one) for line in lines]


def replacements(calls: Calls, network: Callable[[], Network]) -> list[tuple[Any, Any]]:
    """What modules of chatlib get for what they have."""

    def new_socket(_family: object = None, _kind: object = None) -> End:
        machine = calls.machine
        assert machine.process is not None
        woken = machine.woken[machine.process.number]
        return End(network(), machine.process, woken, machine.addresses[machine.process.number])

    def began(number: int) -> str:
        return "1" if _fiber(number) is not None else ""

    def _fiber(number: int) -> Any:
        return next((one for one in calls.machine.jobs if one.process.number == number and not one.done), None)

    def send_signal(handle: int, _number: int) -> None:
        machine = calls.machine
        assert machine.process is not None
        fiber = _fiber(machine.process.open[handle])
        if fiber is not None:
            machine.note("ends a child that was left")
            fiber.kill()

    return [
        (selectors, Around(selectors, DefaultSelector=lambda: Selector(calls.machine))),
        (socket, Around(socket, socket=new_socket,
                        getaddrinfo=lambda *_, **__: [(socket.AF_INET, 0, 0, "", ("10.0.0.254", 1_234))])),
        (gc, Around(gc, freeze=_nothing, disable=_nothing, enable=_nothing, set_threshold=_nothing,
                    callbacks=[])),
        (resource, Around(resource, getrlimit=lambda _: (1 << 30, 1 << 30))),
        (jobs.Job, SimulatedJob), (world.World, Watched), (writerlock.began, began),
        (signal, Around(signal, pidfd_send_signal=send_signal)),
        (select, Around(select, select=_nothing)),
    ]  # fmt: skip


def _nothing(*_: object) -> None: ...


__all__ = ["House", "Process", "Watched", "dump", "replacements"]
