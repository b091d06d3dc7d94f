"""A node's place in its cluster, as the server's edge sees it::

    READING ──``come_up``──▶ COMING ──node_up is carried out──▶ UP ──``go_down``──▶ DOWN
                               ▲                                 │
                               └──── the log went on without us ─┘

It hears who else is there. Of whom nothing was heard for too long, it says so in the log, and so does every other node:
the first one counts. It hears that the others have said so of itself: then all that waits here will never be carried
out, everybody is sent away, and it comes up anew.

Legal order: ``catch_up`` → ``come_up``, before the loop runs; then in each tick ``step``, behind what was carried out;
``every_second``; ``changed`` for each effect of that kind; ``stops`` and ``go_down`` when the server ends.
"""

from __future__ import annotations

import gc
import secrets
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import Any

from chatlib.cluster.members import OFF, WRONG, Members
from chatlib.core.nodes import FORMAT, nodes_of
from chatlib.core.replies import refusal
from chatlib.core.world import Command, Reply, World
from chatlib.protocol.text import counted
from chatlib.reactor.loop import Loop
from chatlib.server.clustering import Cluster
from chatlib.server.delivery import Delivery
from chatlib.server.notices import Notices
from chatlib.server.pipeline import Pipeline, Told
from chatlib.server.quorum import NOTICE, Quorum
from chatlib.server.session import Session
from chatlib.storage.home import Home
from chatlib.storage.log import CommitFailed

STOPPING = 5.0  # seconds that a stop waits for the log
_PROGRESS = 5.0  # seconds between two words about that
_MINUTE = 60.0
_LISTENS = 1.2  # seconds in which another node that is up says something

LOST = refusal("NODE_LOST", "This server was cut off from the others, and nobody knows this request: ask again.")
_LOST = "This server was cut off from the others: log in again, here or at another one."


class NodeState(Enum):
    """Where this node is."""

    READING = "what others did meanwhile is read"
    COMING = "the log is asked to let us in"
    UP = "what we say counts"
    DOWN = "we have said that we go"


class Membership:
    """One node's."""

    def __init__(
        self, *, cluster: Cluster, world: World, loop: Loop, pipeline: Pipeline, delivery: Delivery,
        sessions: Callable[[], Iterable[Session]], notices: Notices, give_up: Callable[[str], None], home: Home,
        save: Callable[[Callable[[str], None]], None],
    ) -> None:  # fmt: skip
        """`sessions`: all of them. `give_up`: the server cannot go on, and the sentence says why. `save`: all text
        files are to be written."""
        self.node, self.state = cluster.node, NodeState.READING
        self._cluster, self._world, self._loop, self._pipeline = cluster, world, loop, pipeline
        self._delivery, self._sessions, self._notices, self._give_up = delivery, sessions, notices, give_up
        self._nodes = nodes_of(world)
        self._members = Members(cluster.node)
        self._nonce = secrets.token_hex(8)  # tells this process from another of that name
        self._incarnation = 0
        self._written: tuple[int, int] = (0, 0)
        self._refused = ""  # why we may not come up
        self._is_over = False  # our incarnation is
        self._given: dict[str, tuple[int, int]] = {}  # by node: of which batch we have said that it was its last
        self._quorum = Quorum(cluster, loop, delivery, sessions, notices)
        self.why_nobody_comes_in = self._quorum.why_nobody_comes_in
        self._warned_at = -_MINUTE  # of clocks
        self._stops_at: float | None = None
        cluster.log.heard, cluster.log.on_over = self._heard, self._ends
        submit = partial(pipeline.submit, None, "", None)
        self._snapshots = cluster.snapshots(home, loop, world, submit, save, notices.note)
        self.saved = self._snapshots.saved

    # A start, before the loop runs.

    def catch_up(self) -> None:
        """Carries out all that is in the log by now. Raises CommitFailed."""
        log = self._cluster.log
        gc.disable()  # what is read stays: there is no garbage to find
        try:
            self._pump(lambda: not log.behind)
        finally:
            gc.enable()
        gc.freeze()

    def come_up(self, written: tuple[int, int]) -> None:
        """From now on what we say counts. `written`: up to where the files that people edit are written.

        Raises CommitFailed when we may not.
        """
        self._written = written
        self._listen()
        self._ask_to_come_up()
        self._pump(lambda: self.state is NodeState.UP or bool(self._refused))
        if self._refused:
            raise CommitFailed(self._refused)

    def settle(self) -> bool:
        """Until all that was submitted is carried out, or lost; at a stop, no longer than that may take: whether it is.

        Raises CommitFailed.
        """
        patience = None if self._stops_at is None else self._time_left()
        return not self.gives_up and self._pump(lambda: self._pipeline.idle, patience)

    def _listen(self) -> None:
        """A server of our own name that still speaks keeps it. And a clock that is far ahead would take all others
        along, for ever. Raises CommitFailed.

        Nearly always what the log holds says that it is not. What is old says nothing: then it is waited for. One that
        is behind does no harm yet, and perhaps it was the others' that were wrong, and they are gone.
        """
        members, others = self._members, [name for name in self._nodes.names_up() if name != self.node]
        is_ahead = members.lead(self._loop.now, others, least=1) >= WRONG
        if self._nodes.is_up(self.node) and self._speaks([self.node]):
            raise CommitFailed(f"A server runs as the node {self.node} already: give each a name of its own (--node),"
                               " and no home to two of them.")  # fmt: skip
        if not is_ahead or not self._speaks(others):
            return
        lead = members.lead(self._loop.now, others, least=1)
        if lead >= WRONG:
            raise CommitFailed(_wrong_clock(lead))

    def _speaks(self, nodes: list[str]) -> bool:
        """Whether one of these nodes says something now. Once may have been its last word."""
        self._members.begin()
        return all(self._pump(partial(self._members.spoke, nodes, times), _LISTENS) for times in (1, 2))

    def _pump(self, until: Callable[[], bool], patience: float | None = None) -> bool:
        """Follows the log until something holds: True; or for so many seconds. Raises CommitFailed."""
        log, loop = self._cluster.log, self._loop
        loop.read_clocks()
        begun = said_at = loop.now
        while not until():
            if patience is not None and loop.now - begun >= patience:
                return False
            self._pipeline.commit()
            log.ready()
            loop.read_clocks()
            self._pipeline.execute()
            self.step()
            if self._stops_at is None:
                self._delivery.flush(self._world.lsn)  # to nobody yet: a long log would fill the memory
            if loop.now - said_at >= _PROGRESS:
                said_at = loop.now
                self._notices.say(self._progress())
        return True

    def _progress(self) -> str:
        if not self._cluster.link.connected or self._cluster.log.waits >= NOTICE:
            return f"The log does not answer{self._quorum.trouble()}: it is asked again ..."
        return f"Reading the log: {counted(self._pipeline.executed, 'command')} so far ..."

    # Coming and going.

    def _ask_to_come_up(self) -> None:
        node = self._nodes.get(self.node)
        self._incarnation = (node.incarnation if node else 0) + 1
        self.state = NodeState.COMING
        self._cluster.log.come_up(self._incarnation)
        self._submit({
            "action": "node_up", "incarnation": self._incarnation, "address": self._cluster.advertise,
            "format": FORMAT, "left": self._world.at, "written": self._written, "limited": True,
            "nonce": self._nonce,
        })  # fmt: skip

    def _submit(self, fields: dict[str, Any]) -> None:
        command = {"node": self.node, "at": self._loop.wall, **fields}
        self._pipeline.submit(Told(self._carried_out), "", None, command)

    def _carried_out(self, command: Command, reply: Reply) -> None:
        is_ours = command["action"] == "node_up" and command["incarnation"] == self._incarnation
        if is_ours and reply["status"] not in ("OK", LOST["status"]):
            self._refused = reply["text"]
            self._give_up(self._refused)

    def changed(self, what: str, fields: dict[str, Any]) -> None:
        """The world says of a node that it has come or gone."""
        name = fields["node"]
        self._snapshots.heard(what, fields)
        if self.state is NodeState.READING:
            return  # that was long ago, perhaps
        if name == self.node:
            self._changed_here(what, fields)
        elif what == "up":
            self._members.came(name)
            self._notices.note(f"server {name} is up{' at ' + fields['address'] if fields['address'] else ''}")
        elif what == "down" and fields["clean"]:
            self._notices.note(f"server {name} has stopped")
        elif what == "down":
            self._notices.tell(f"The server {name} is silent: the others go on without it.")

    def _changed_here(self, what: str, fields: dict[str, Any]) -> None:
        if what == "down" and fields["incarnation"] == self._incarnation:
            if fields["clean"]:
                self.state = NodeState.DOWN
            else:
                self._ends()
        elif what == "up" and fields["nonce"] == self._nonce:
            self.state = NodeState.UP
            self._members.begin()
            self._given.clear()  # it may have been lost with our last incarnation
            self._given.clear()
        elif what == "up" and self.state is NodeState.UP:
            self.state = NodeState.DOWN
            self._ends()
            self._give_up(f"Another server has come up as the node {self.node}: give each a name of its own (--node).")
        elif what == "up":
            self._ends()  # it came while we asked

    def _ends(self) -> None:
        self._is_over = True

    def step(self) -> None:
        """When our incarnation is over, the next one begins."""
        if not self._is_over:
            return
        self._is_over = False
        if self.state is NodeState.DOWN:
            self._stops_at = self._loop.now  # there is nothing to wait for
            self._pipeline.lose(LOST, self._cluster.log.lost)
            return
        if self.state is NodeState.UP:
            self._notices.tell("The other servers went on without this one, which was cut off: it comes up anew.")
        for session in self._sessions():
            session.departed = True  # the world knows
            session.end("NODE_LOST", _LOST)
        self._pipeline.lose(LOST, self._come_up_anew)

    def _come_up_anew(self) -> None:
        self._cluster.log.lost()  # with what was submitted on the way out: ``node_up`` comes first
        self._ask_to_come_up()

    def stops(self) -> None:
        """The server has begun to stop."""
        self._snapshots.end()
        if self._stops_at is None:
            self._stops_at = self._loop.now + STOPPING

    @property
    def gives_up(self) -> bool:
        """Whether a stop has waited long enough for the log."""
        return self._stops_at is not None and self._loop.now >= self._stops_at

    def go_down(self) -> None:
        """The last word. When the log does not answer, the others will find out by themselves. Raises CommitFailed."""
        left = self._time_left()
        if self._pipeline.idle and self.state is NodeState.UP and not self.gives_up:
            self._submit({"action": "node_down", "incarnation": self._incarnation, "number": 0, "clean": True})
            self._pump(lambda: self._pipeline.idle, left)
        self.come_to_rest()
        if not self._pipeline.idle:
            self._notices.tell("The log did not answer in time: whether what waited in it is carried out, the other"
                               " servers will know. The text files hold what this one has carried out.")  # fmt: skip
            self._pipeline.lose(LOST)
        self.state = NodeState.DOWN

    def come_to_rest(self) -> None:
        """The last message is carried out as a whole, and no more are read: text files are of a place between two."""
        self._cluster.log.read_no_more()
        while not self._cluster.log.at_rest:
            self._pipeline.execute()

    def _time_left(self) -> float:
        self._loop.read_clocks()
        return STOPPING if self._stops_at is None else max(0.0, self._stops_at - self._loop.now)

    # Life.

    def _heard(self, node: str, at: float) -> None:
        self._members.heard(node, at, self._loop.now, self._loop.wall)

    def every_second(self) -> None:
        """Looks at the log, the others, and the clocks."""
        self._quorum.look(self._stops_at is not None)
        if self.state is NodeState.UP and self._stops_at is None:
            self._look_at_others()
            self._look_at_clocks()

    def _look_at_others(self) -> None:
        for name in self._members.silent(self._nodes.names_up()):
            node = self._nodes.by_name[name]
            if self._given.get(name) != (node.incarnation, node.number):
                self._given[name] = (node.incarnation, node.number)
                self._submit({"action": "node_down", "node": name, "incarnation": node.incarnation,
                              "number": node.number})  # fmt: skip

    def _look_at_clocks(self) -> None:
        lead, now = self._members.lead(self._loop.now, self._nodes.names_up()), self._loop.now
        if abs(lead) >= WRONG:
            self._give_up(_wrong_clock(lead))
        elif abs(lead) >= OFF and now - self._warned_at >= _MINUTE:
            self._warned_at = now
            self._notices.tell(f"{_off(lead)} It is to be set right before it is {WRONG:g} seconds off.")

    # What others are told.

    def servers(self) -> list[str]:
        """Where clients reach the nodes that are up."""
        return self._nodes.addresses()

    def figures(self) -> dict[str, Any]:
        """For ``stats``."""
        now, up = self._loop.now, self._nodes.names_up()
        ahead = self._members.ahead(now, up)
        nodes = [{"node": node.name, "up": node.up, "since": node.since, "address": node.address,
                  "incarnation": node.incarnation, "batches": node.number, "ahead": ahead.get(node.name)}
                 for _, node in sorted(self._nodes.by_name.items())]  # fmt: skip
        position, chain = self._nodes.place
        return {
            "log": self._cluster.name, "node": self.node, "state": self.state.name.lower(),
            "connected": self._cluster.link.connected, "position": position, "chain": f"{chain:08x}",
            "unread": self._cluster.log.unread, "waits": round(self._cluster.log.waits, 3), "nodes": nodes,
        }  # fmt: skip


def _off(lead: float) -> str:
    where = "ahead of" if lead > 0 else "behind"
    return f"This machine's clock is {abs(lead):.1f} seconds {where} those of the other servers."


def _wrong_clock(lead: float) -> str:
    return f"{_off(lead)} The server stops: set the clock right, then start it again."
