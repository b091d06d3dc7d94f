"""The server: builds and wires; the tick's phases in their order, and its life from recovery to the clean stop.

Legal order: build (recovers the home) → ``open`` → ``run`` → ``close``. Of a tick, input and timers are the loop's;
commit, execute, flush and reap are the phases here. No other module holds a Server.
"""

from __future__ import annotations

import errno
import gc
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from chatlib.cluster.vault import OwnDisk
from chatlib.core import features
from chatlib.core.nodes import nodes_of
from chatlib.core.world import Command
from chatlib.reactor.connection import Connection, Listener
from chatlib.reactor.loop import READ, Loop
from chatlib.server import dialects
from chatlib.server.acknowledged import Acknowledged
from chatlib.server.administrators import Administrators
from chatlib.server.admission import Reception, Seats
from chatlib.server.alone import Alone
from chatlib.server.atrest import AtRest
from chatlib.server.audit import Auditor
from chatlib.server.backups import Backups
from chatlib.server.catchup import CatchUp
from chatlib.server.checks import Checks
from chatlib.server.clustering import Cluster
from chatlib.server.console import Console
from chatlib.server.delivery import Delivery
from chatlib.server.dialects import Opening
from chatlib.server.door import Door
from chatlib.server.edits import EditedFiles
from chatlib.server.effects import Effects
from chatlib.server.erasure import Erasure
from chatlib.server.figures import Figures
from chatlib.server.introductions import Introductions
from chatlib.server.limits import Buckets, Budgets
from chatlib.server.membership import Membership
from chatlib.server.notices import Notices
from chatlib.server.people import People
from chatlib.server.pipeline import Pipeline
from chatlib.server.presence import Announcer
from chatlib.server.proving import Proving
from chatlib.server.recovery import recover, take_stock
from chatlib.server.requests import Requests
from chatlib.server.retention import Retention
from chatlib.server.saving import Saver
from chatlib.server.searches import Searches
from chatlib.server.seatholders import SeatHolders
from chatlib.server.session import Session
from chatlib.server.sessions import Sessions
from chatlib.server.stats import Stats
from chatlib.server.stored import Stored
from chatlib.server.syncpipe import SyncPipe
from chatlib.server.ticks import Ticks
from chatlib.server.tlsdoor import TlsDoor
from chatlib.server.transfers import Transfers
from chatlib.storage.blobs import Blobs
from chatlib.storage.checker import Checker
from chatlib.storage.home import Home
from chatlib.storage.journal import Journal
from chatlib.storage.log import CommitFailed, Log
from chatlib.storage.serverlog import LEVELS, ServerLog, Weight
from chatlib.storage.syncer import Syncer

OUTPUT_LIMIT = 4 << 20  # bytes waiting for one connection; more is a slow consumer
SECOND = 1.0
DISK_FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


class Server:
    """One home, one world, one loop."""

    def __init__(
        self,
        home: Home,
        syncer: Syncer,
        checker: Checker,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        record: Callable[[Weight, str], None] | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        """Recovers what the home holds. `record`: takes what goes to the server log, too. `cluster`: whose node it is.

        Raises FileError, OSError, CommitFailed.
        """
        self.stopping = False
        self.failure = ""  # why the loop ended, when it had to
        self._gave_up = ""  # why it has to stop, though all is in order here
        self._is_cut_off = False  # nothing more goes into the cluster's log
        self.cluster = cluster
        self._sync_due = False  # a second is over
        self._syncer, self._checker, self._synced = syncer, checker, SyncPipe()
        self._listener: Listener | None = None
        self.log = ServerLog(home.logs, record)
        self.notices = Notices(self.log, say, wall_clock)
        self.tell, self.note, self.fault = self.notices.tell, self.notices.note, self.notices.fault
        self._clocks = clock, wall_clock
        self.loop = Loop(self.fault, clock, wall_clock)
        self.started = self.loop.wall
        self.figures = Figures(self.loop.now)
        self.log.count = lambda name, by: self.figures.count(f"requests: {name}", by)
        self._build_storage(home)
        self._build_edge(home)
        self._build_saving()
        self.at_rest.begin()
        take_stock(self.blobs, self.world, self.loop.now, self.loop.wall)
        self._build_stats()
        self.parameters_changed()

    def _build_storage(self, home: Home) -> None:
        """The world, and what it stands on."""
        self.home = home
        self.edited = EditedFiles(home.path, self.cluster.node if self.cluster else "")
        self.journal: Log = Journal(home.data, self._syncer)
        if self.cluster:
            self.journal = self.cluster.open(self.loop, self.tell, self.notices.inform, *self._clocks)
        gone: list[str] = []
        self.world, self.messages, self.appended = recover(home, self.journal, self.tell, self.fault, gone.append)
        self.blobs = Blobs(home.data / "files")
        self.blobs.shared = self.cluster is not None
        self.erasure = Erasure(self.log, home.logs, self.blobs, gone)
        self.world.archive = self.archive = Stored(self.messages, self.appended, lambda: self.loop.wall, self.tell)
        if self.cluster:
            self.cluster.log.standing = nodes_of(self.world)
        self.journal.open()
        self.delivery = Delivery(lambda user: self.world.accounts[user].follows or (), lambda: self.world.lsn)
        self.announcer = Announcer(self.world, self.delivery.fan_out, self.loop.call_later)
        self.introductions = Introductions(self.world, self.loop, self.delivery)
        self.door = Door(world=self.world, loop=self.loop, sessions=lambda: self.sessions, count=self.figures.count,
                         on_fault=self.fault)  # fmt: skip
        self.effects = Effects(
            self.journal, self.messages, self.appended, self.blobs, self.delivery, self.announcer.changed,
            self.introductions.look_again, self.parameters_changed, lambda: self.world.lsn, self.fault,
            self.erasure.gone, self.door.bar, self._nodes_changed,
        )  # fmt: skip
        self.pipeline = Pipeline(self.world, self.journal, self.messages, self.appended, self.effects, self.fault)
        self.membership: Membership | Alone = Alone(self.world, self.loop, self.pipeline)
        if self.cluster:
            self.membership = Membership(
                cluster=self.cluster, world=self.world, loop=self.loop, pipeline=self.pipeline, delivery=self.delivery,
                sessions=lambda: self.sessions, notices=self.notices, give_up=self.give_up, home=home,
                save=lambda tell: self.saver.save(tell),
            )  # fmt: skip
        self.door.closed = self.membership.why_nobody_comes_in

    def _build_edge(self, home: Home) -> None:
        """What stands between the world and its connections."""
        world, loop = self.world, self.loop
        self.budgets, self.buckets = Budgets(loop), Buckets()
        self.tls = TlsDoor(loop, world.parameters, self.home.tls, OUTPUT_LIMIT, self.tell, self.figures.count)
        self.acknowledged = Acknowledged(world, self.delivery, self.submit)
        self.seats = Seats(world, loop, self.door.strangers, lambda: self.sessions)
        checks = Checks(loop, self._checker, self.tell, self.blobs.folder)
        self.blobs.part_gone = checks.drop
        vault = self.cluster.vault(loop, self.blobs, self.tell, self.fault) if self.cluster else OwnDisk()
        self.effects.unneeded = vault.drop
        self.transfers = Transfers(
            loop=loop, grants=partial(features.grant, world, lambda: loop.wall), blobs=self.blobs, checks=checks,
            submit=self.pipeline.submit, people=People(loop, self.delivery), log=self.log, tell=self.tell,
            idle_bytes=lambda: world.parameters["FILE_QUOTA"], vault=vault,
        )  # fmt: skip
        self.administrators = Administrators(
            world=world, loop=loop, build=self.console, fan_out=self.delivery.fan_out, stop=self.stop, note=self.note
        )
        self.notices.afar = self.administrators.happened
        self.sessions = Sessions(
            loop=loop, world=world, log=self.log, delivery=self.delivery, seats=self.seats, door=self.door,
            buckets=self.buckets, acknowledged=self.acknowledged, transfers=self.transfers,
            introductions=self.introductions, consoles=self.administrators,
            catch_up=CatchUp(world, self.archive, self.delivery, self.budgets.catching_up),
            submit=self.submit, note=self.note, figures=self.figures,
        )  # fmt: skip
        member = self.membership
        proving = Proving(world, loop, self.seats, self.delivery.of, self.acknowledged, self.tls, member.node)
        clients = SeatHolders(self.delivery.clients, world, loop)
        reception = Reception(world, loop, self.seats, self.tls, home.epoch(), clients, home.earlier(), member.servers)
        carriers = Opening("a transfer", self.transfers.is_asked_for, self.transfers.begin)
        self.searches = Searches(world, self.messages, self.budgets.searching, world.parameters, self.fault)
        self.requests = Requests(
            openings=[self.tls.opening, carriers, *dialects.OPENINGS], world=world, loop=loop, log=self.log,
            seats=self.seats, proving=proving, sessions=self.sessions, acknowledged=self.acknowledged, note=self.note,
            administrators=self.administrators, searches=self.searches, figures=self.figures, door=self.door,
            edge={
                "hello": reception.hello, "register": self.door.registration, "sessions": self.sessions.listed,
                "console": self.administrators.line,
                "complete": self.administrators.complete, "interrupt": self.administrators.interrupt,
                "leave": self.administrators.leave, **self.introductions.answers,
                **self.transfers.asked_by((*features.UPLOADS, *features.DOWNLOADS)),
            },
        )  # fmt: skip

    def _build_saving(self) -> None:
        """What brings the world to rest."""
        world, loop = self.world, self.loop
        self.auditor = Auditor(loop, world, self.appended, self.log.happened)
        self.backups = Backups(loop, self.home.path, self.log.happened, self.cluster.engine if self.cluster else None)
        self.retention = Retention(world, self.messages)
        self.saver = Saver(
            home=self.home, edited=self.edited, loop=loop, world=world, journal=self.journal, messages=self.messages,
            appended=self.appended, effects=self.effects, pipeline=self.pipeline, retention=self.retention,
            erasure=self.erasure, tell=self.tell, note=self.log.happened,
        )  # fmt: skip
        self.saver.saved = self.membership.saved
        self.at_rest = AtRest(
            home=self.home, edited=self.edited, world=world, loop=loop, journal=self.journal, messages=self.messages,
            appended=self.appended, effects=self.effects, pipeline=self.pipeline, retention=self.retention,
            notices=self.notices, submit=self.submit, membership=self.membership,
        )  # fmt: skip

    def _build_stats(self) -> None:
        """What measures the server, and says how it is doing."""
        self.ticks = Ticks(loop=self.loop, figures=self.figures, log=self.log, pipeline=self.pipeline,
                           delivery=self.delivery)  # fmt: skip
        self._syncer.took = self.ticks.synced
        self.stats = Stats(
            loop=self.loop, world=self.world, journal=self.journal, pipeline=self.pipeline, delivery=self.delivery,
            saver=self.saver, figures=self.figures, ticks=self.ticks, log=self.log, notices=self.notices, connected={
                "connections": self.sessions, "strangers": self.door.strangers, "transfers": self.transfers,
                "consoles_from_afar": self.administrators,
            }, tls=self.tls, membership=self.membership,
        )  # fmt: skip

    def parameters_changed(self) -> None:
        """What a parameter's change means for what is under way."""
        self.log.level = LEVELS.index(self.world.parameters["LOG"])
        self.requests.debugs = self.log.debugs
        self.journal.sync_always = self.world.parameters["FSYNC"] == "always"
        for session in self.delivery.everyone():
            session.watch_time()
        self.introductions.policy_changed()
        self.door.parameters_changed()
        self.administrators.password_changed()
        self.tls.policy_changed()

    # Life.

    def open(self, sock: socket.socket) -> None:
        """Listens on `sock`, bound already, and puts the phases into the loop."""
        loop = self.loop
        self.log.write(f"start: port {sock.getsockname()[1]}")
        self.sessions.count_descriptors(sock)
        if self.cluster is None:
            loop.watch(self.journal.fileno(), READ, self._synced)
        self._listener = Listener(loop, sock, self._accepted, self.tell)
        loop.phases += [self._commit_and_execute, self._flush, self._reap]
        loop.call_later(SECOND, self._every_second)

    def run(self) -> None:
        """Serves until it is stopped, or cannot go on (`failure` then says why)."""
        # A search for garbage among everything that lives takes longer than a tick may: 100 ms with 6,000 connections.
        # What comes and goes leaves none (see Intake.let_go); the youngest objects are searched as ever.
        gc.set_threshold(700, 5, 1_000_000)
        gc.callbacks.append(self.ticks.collected)
        try:
            self.loop.run()
        except CommitFailed as failure:
            broke = "The log cannot be followed" if self.cluster else "The disk did not take a record"
            self.failure = f"{broke}: the server stops, what was acknowledged is safe. {failure}"
            self._is_cut_off = self.cluster is not None
        except Exception as failure:  # outside of any one connection: nothing that follows could be trusted
            self.failure = f"The server stops, what was acknowledged is safe: {failure}"
            if not (isinstance(failure, OSError) and failure.errno in DISK_FAILED):
                self.fault(failure)  # ours
        finally:
            gc.callbacks.remove(self.ticks.collected)

    def give_up(self, why: str) -> None:
        """Stops, since the other servers cannot go on with this one."""
        self._gave_up = self._gave_up or why
        self.stop()

    def stop(self) -> None:
        """Says bye to everyone, then ends the loop when all of it is on disk."""
        if self.stopping:
            return
        self.stopping = True
        self.log.write("stop")
        self.membership.stops()
        if self._listener:
            self._listener.close()
        self.saver.end()
        self.auditor.end()
        self.backups.end()
        self.tls.end()
        self.transfers.end_all()
        for session in self.sessions:
            session.end("SHUTTING_DOWN", "The server is shutting down.")

    def close(self) -> str:
        """After ``run``: writes the text files when the stop was a clean one. Returns why it could not, or ""."""
        self.saver.end()
        self.auditor.end()
        self.backups.end()
        if not self.failure or self._is_cut_off:
            self.erasure.note_down()
            try:
                self.at_rest.finish(self._is_cut_off)
            except (OSError, ValueError, CommitFailed) as error:
                keeps = "log" if self.cluster else "journal"
                self.failure = f"The text files could not be written; the {keeps} keeps everything: {error}"
        self.failure = self.failure or self._gave_up
        if self.failure:
            self.notices.failed(self.failure)
        self.log.close(self.loop.wall)
        if not self.failure:
            self.erasure.finish()
        self._checker.close()
        self._syncer.close()
        if self.cluster:
            self.cluster.close()
        return self.failure

    # The phases of a tick.

    def _commit_and_execute(self) -> None:
        if self._synced.marked:
            self._synced.marked = False
            self.journal.ready()
        self.pipeline.execute()
        self.saver.step()
        self.pipeline.commit()
        if self._sync_due:
            self._sync_due = False
            self.journal.every_second()
        self.pipeline.execute()
        self.membership.step()
        self.budgets.listen(not self.pipeline.full)
        if self.effects.step():
            self.loop.again(self._synced)
        self.seats.admit()

    def _flush(self) -> None:
        self.introductions.speak()
        self.delivery.flush(self.world.lsn)
        self.log.flush(self.loop.wall)

    def _reap(self) -> None:
        if self.blobs.aside:
            self.loop.again(self.transfers)  # removing waits for no one, and no one waits for it
        self.sessions.reap()
        if not self.pipeline.idle and not self.journal.busy:
            self.loop.again(self._synced)  # submitted since the commit, by what was carried out or broke: no waiting
        done = self.pipeline.idle or self.membership.gives_up
        if self.stopping and done and not self.saver.busy:
            self.loop.stop()

    def _every_second(self) -> None:
        self.loop.call_later(SECOND, self._every_second)
        self.acknowledged.gather(self.loop.wall)
        self.ticks.look()
        self.membership.every_second()
        self._sync_due = True

    # The administrator.

    def console(
        self, write: Callable[..., None], columns: Callable[[], int] = lambda: 0, *, name: str = "console"
    ) -> Console:
        """A console, whose lines go to `write`; the server log calls it `name`."""
        return Console(
            write, columns, world=self.world, loop=self.loop, log=self.log, delivery=self.delivery, saver=self.saver,
            reload=self.reload, auditor=self.auditor, backups=self.backups, pipeline=self.pipeline,
            stats=self.stats.lines, where=self.introductions.where, stop=self.stop, stopping=lambda: self.stopping,
            name=name,
        )  # fmt: skip

    def reload(self, tell: Callable[[str], None], warn: Callable[[str], None] | None = None) -> None:
        """Takes in what was changed by hand: the certificate, and the two files that people edit."""
        self.tls.reload(warn or tell)
        self.saver.reload(tell, warn)

    # What the parts ask of each other.

    def submit(self, command: Command) -> None:
        """A command of the server's own."""
        self.pipeline.submit(None, "", None, command)

    def _nodes_changed(self, what: str, fields: dict[str, Any]) -> None:
        self.membership.changed(what, fields)

    def _accepted(self, sock: socket.socket, address: str) -> None:
        if self.door.turns_away(sock, address):
            return
        connection = Connection(self.loop, sock, address, OUTPUT_LIMIT)
        session = Session(
            connection, loop=self.loop, pipeline=self.pipeline, budgets=self.budgets, parameters=self.world.parameters,
            desk=self.requests, keeper=self.sessions, voice=self.delivery.to,
        )  # fmt: skip
        connection.attach(session)
        self.sessions.come(session)
