"""The server's children, simulated: the syncer, the checker, and forked jobs. Each works at moments of its own, may be
slow, and a job may be killed in the middle.
"""

from __future__ import annotations

import copy
import errno
import types
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from chatlib.core.streams import NO_MAIL
from chatlib.reactor.loop import READ, Loop
from chatlib.server.effects import Effects
from chatlib.server.saving import Saver
from chatlib.storage.checker import Checked, Task, carry_out
from chatlib.storage.messages import MessageStore
from tests.proofs.sim.machine import Crash, Fiber, Machine
from tests.proofs.sim.net import Flag
from tests.proofs.sim.nodes import File, Open, Process, failed


class _Child:
    """Answers tasks in their order."""

    def __init__(self, machine: Machine) -> None:
        assert machine.server is not None
        self._machine, self._server = machine, machine.server
        self._process = machine.new_process(machine.server)
        for fd in list(self._process.open):
            self._process.close(fd)
        self._flag = Flag(self._server)
        self._answers: deque[Any] = deque()
        self._idle_at = 0.0

    def fileno(self) -> int:
        return self._flag.fd

    def _later(self, work: Callable[[], Any]) -> None:
        """`work` gives an answer, when all before it have theirs."""
        machine = self._machine
        self._idle_at = max(self._idle_at, machine.now) + machine.chance.choice((0.0001, 0.001, 0.01, 0.1))
        machine.later(self._idle_at - machine.now, partial(self._work, work))

    def _work(self, work: Callable[[], Any]) -> None:
        if self._server.over:
            return
        self._machine.process = self._process
        self._answers.append(work())
        self._flag.count += 1
        self._machine.wake_server()

    def _receive(self) -> Any:
        while not self._answers:
            assert self._machine.happen(float("inf")), "an answer that will never come"
        self._flag.count -= 1
        return self._answers.popleft()

    def close(self) -> None:
        self._process.end()


class SimulatedSyncer(_Child):
    """As storage/syncer.py; in place now and then."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._under_way = 0
        self.in_place = machine.chance.choice((0.0, 0.5, 1.0))

    def start(self, *fds: int) -> bool:
        machine = self._machine
        files = [self._server.open[fd] for fd in fds]
        if not self._under_way and machine.chance.random() < self.in_place:
            for one in files:
                machine.disk.sync(one)
            return True
        self._under_way += 1
        self._later(partial(self._sync, [(one, getattr(one.node, "total", 0)) for one in files]))
        return False

    def _sync(self, files: list[tuple[Open, int]]) -> OSError | None:
        """Each file as it was at the start."""
        disk = self._machine.disk
        for one, total in files:
            try:
                if isinstance(one.node, File):
                    disk.sync(one, total)
                else:
                    disk.sync(one)
            except OSError as error:
                return error
        return None

    def ready(self) -> None:
        error = self._receive()
        self._under_way -= 1
        if error is not None:
            raise error


class SimulatedChecker(_Child):
    """As storage/checker.py."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._hashers: dict[int, Any] = {}

    def start(self, fd: int, task: Task, folder: int = -1) -> None:
        fds = [self._process.give(self._server.open[each]) for each in (fd, folder) if each >= 0]
        self._later(partial(self._check, fds, task))

    def _check(self, fds: list[int], task: Task) -> Checked:
        answer = carry_out(self._hashers, fds[0], task, *fds[1:])
        for fd in fds:
            self._process.close(fd)
        return answer

    def ready(self) -> Checked:
        answer: Checked = self._receive()
        return answer


class SimulatedJob:
    """As reactor/jobs.py: the work sees everything but the disk as it was at the fork."""

    machine: Machine
    killed = 0.0  # how likely, each time that it pauses

    def __init__(self, loop: Loop, work: Callable[[], bytes], done: Callable[[bytes, str], None]) -> None:
        machine = self.machine
        assert machine.server is not None
        if machine.chance.random() < self.killed:
            raise failed(errno.EAGAIN)
        self._loop, self._done = loop, done
        self._flag = Flag(machine.server)
        process = machine.new_process(machine.server)
        self._fiber = Fiber(machine, process, frozen(work), machine.chance.choice((0.0, 0.05, 0.3)))
        machine.jobs.append(self._fiber)
        self._over = False
        self.failure = ""
        loop.watch(self._flag.fd, READ, self)
        machine.later(machine.chance.choice((0.0, 0.01, 1.0)), self._proceed)

    def _proceed(self) -> None:
        fiber, machine = self._fiber, self.machine
        if fiber.done:
            return
        if not fiber.process.over and machine.chance.random() < self.killed:
            machine.note("a child is killed")
            fiber.kill()
            self.failure = "the child ended with status -9"
        else:
            fiber.proceed()
        if not fiber.done:
            machine.later(fiber.wakes, self._proceed)
            return
        fiber.process.end()
        if isinstance(fiber.error, Exception):
            self.failure = str(fiber.error) or repr(fiber.error)
        elif fiber.error is not None and not isinstance(fiber.error, Crash):
            raise fiber.error
        machine.note("a child is done", self.failure)
        self._flag.count = 1
        machine.wake_server()

    def readable(self) -> None:
        self._forget()
        self._done(b"" if self.failure else self._fiber.result, self.failure)

    def _forget(self) -> None:
        self._loop.forget(self._flag.fd, self)
        server = self.machine.server
        assert server is not None
        server.close(self._flag.fd)

    def end(self) -> None:
        self._fiber.kill()
        self._forget()

    def writable(self) -> None: ...

    def again(self) -> None: ...

    def broken(self) -> None: ...


# What a fork copies.


def frozen(work: Callable[[], bytes]) -> Callable[[], bytes]:
    """`work`, with copies of what it will see."""
    memo: dict[int, Any] = {id(NO_MAIL): NO_MAIL}  # there is one
    cells = tuple(types.CellType(_copied(cell.cell_contents, memo)) for cell in work.__closure__ or ())
    assert isinstance(work, types.FunctionType)
    return types.FunctionType(work.__code__, work.__globals__, work.__name__, work.__defaults__, cells)


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    if isinstance(value, Saver):
        return _saver(value, memo)
    return copy.deepcopy(value, memo) if type(value).__module__.startswith("chatlib.core") else value


def _saver(saver: Saver, memo: dict[int, Any]) -> Saver:
    child = copy.copy(saver)
    child._messages = copy.deepcopy(saver._messages, memo)
    child._appended = copy.deepcopy(saver._appended, memo)
    memo[id(saver._world.archive)] = archive = copy.copy(saver._world.archive)
    for name, value in vars(archive).items():
        if id(value) in memo:
            setattr(archive, name, memo[id(value)])
    memo[id(saver._world.effects)] = []  # they are carried out
    child._world = copy.deepcopy(saver._world, memo)
    child._edited = copy.deepcopy(saver._edited, memo)
    child._journal = copy.copy(saver._journal)
    child._effects = _effects(saver._effects, child._messages)
    child._erasure = erasure = copy.copy(saver._erasure)
    erasure._names, erasure._blobs = list(erasure._names), copy.copy(erasure._blobs)
    erasure._blobs.aside = deque(erasure._blobs.aside)
    return child


def _effects(effects: Effects, messages: MessageStore) -> Effects:
    """What waits is done by the child with its own store; the bytes of files are put aside by the parent alone."""
    child = copy.copy(effects)
    child._waiting = deque()
    for place, (lsn, acts) in enumerate(effects._waiting):
        every = list(acts)
        effects._waiting[place] = lsn, iter(every)
        mine = [partial(messages.erase, *act.args) for act in every if isinstance(act.func.__self__, MessageStore)]  # type: ignore[attr-defined]
        child._waiting.append((lsn, iter(mine)))
    return child


__all__ = ["Process", "SimulatedChecker", "SimulatedJob", "SimulatedSyncer"]
