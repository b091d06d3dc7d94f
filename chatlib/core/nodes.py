"""The nodes of a cluster, as the world sees them: which are up, which batch of each comes next, what snapshot there is.

A node's batches are numbered from 1, anew in each of its incarnations. A batch is carried out only if its incarnation
is the node's current one, the node is up, and its number is the last one's and one more: so a batch may come any number
of times, and as late as it likes. The first batch of an incarnation holds ``node_up`` and nothing else, which decides.
None of the commands here comes from a client. Must not know the log, nor any connection.

Invariants: ``place`` is true between two messages of the log only, so a world may be dumped there alone; a session
whose node has a name is one of a node that is up; who is `snapshotting` is up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unicodedata import unidata_version

from chatlib.core import sessions
from chatlib.core.effects import END, NODES
from chatlib.core.entry import end_session
from chatlib.core.feature import Command, Feature
from chatlib.core.replies import Reply, refusal

if TYPE_CHECKING:
    from chatlib.core.world import World

# Of the commands and of what they do: the same for all nodes of a cluster. Whether a cheque's memo is good, say,
# depends on what Python knows of its characters.
FORMAT = f"1 unicode {unidata_version}"
KEPT = 100  # nodes that are known: beyond, those that have been down the longest are forgotten

Place = tuple[int, int]  # a position in the log, and the chain there; zeros: before all of it


@dataclass(slots=True)
class Node:
    """One server. `number`: of its last batch. `since`: when it came up, or went down."""

    name: str
    incarnation: int = 0
    number: int = 0
    up: bool = False
    since: float = 0.0
    address: str = ""  # where clients reach it; "": it did not say
    nonce: str = ""  # of the process that came up: tells it from another of that name


@dataclass(slots=True)
class Nodes:
    """All of them, and how far the log was carried out."""

    by_name: dict[str, Node] = field(default_factory=dict)
    place: Place = (0, 0)  # of the last message that was carried out, or refused
    format: str = ""  # "": there has never been a node
    snapshot: Place = (0, 0)  # the last one,
    earlier: Place = (0, 0)  # and the one before
    snapshotting: str = ""  # which node makes the next

    def get(self, name: str) -> Node | None:
        """The node of that name."""
        return self.by_name.get(name)

    def is_up(self, name: str) -> bool:
        """Whether that node is."""
        node = self.by_name.get(name)
        return node is not None and node.up

    def names_up(self) -> list[str]:
        """Of the nodes that are."""
        return [node.name for node in self.by_name.values() if node.up]

    def addresses(self) -> list[str]:
        """Where clients reach the nodes that are up: each place once, also where two share one."""
        return list(dict.fromkeys(node.address for _, node in sorted(self.by_name.items()) if node.up and node.address))

    def accepts(self, name: str, incarnation: int, number: int) -> bool:
        """Whether the next message may be this batch."""
        node = self.by_name.get(name) or Node(name)
        if incarnation == node.incarnation:
            return node.up and number == node.number + 1
        return incarnation == node.incarnation + 1 and number == 1

    def took(self, name: str, incarnation: int, number: int) -> None:
        """The commands of this batch, which is accepted, are carried out next. Of a first one ``node_up`` notes it."""
        node = self.by_name.get(name)
        if node is not None and incarnation == node.incarnation:
            node.number = number

    def give_up_snapshot(self, name: str) -> None:
        """If that node is making one, it does no more."""
        if self.snapshotting == name:
            self.snapshotting = ""

    def forget(self) -> None:
        """The world is a single server's again."""
        self.by_name.clear()
        self.place = self.snapshot = self.earlier = (0, 0)
        self.format = self.snapshotting = ""

    def forget_oldest(self) -> None:
        """Beyond KEPT, those that have been down the longest."""
        down = sorted((node.since, name) for name, node in self.by_name.items() if not node.up)
        for _, name in down[: max(0, len(self.by_name) - KEPT)]:
            del self.by_name[name]


def nodes_of(world: World) -> Nodes:
    """The world's nodes."""
    nodes: Nodes = world.state["nodes"]
    return nodes


# Coming and going.


def node_up(world: World, _lsn: int, command: Command) -> Reply:
    """A server comes up. Its earlier sessions are over since it was last known to run."""
    nodes, name, incarnation = nodes_of(world), command["node"], command["incarnation"]
    node = nodes.get(name) or Node(name)
    if incarnation != node.incarnation + 1:
        return refusal("NODE_TAKEN", f'The node "{name}" has come up elsewhere: each server needs a name of its own.')
    refused = _other_format(nodes, name, command["format"])
    if refused:
        return refused
    world.shared = True
    if nodes.format != command["format"]:  # as at a single server's start
        nodes.format = command["format"]
        world.lockouts.expire(world.at)
        world.meet()
    world.limited |= command.get("limited", False)
    world.by_hand.founds(name)
    world.by_hand.forget(name, command.get("written", (0, 0)))
    _end_sessions(world, ("", name), min(command["left"], world.at))
    nodes.give_up_snapshot(name)
    address, nonce = command.get("address", ""), command.get("nonce", "")
    nodes.by_name[name] = Node(name, incarnation, 1, True, world.at, address, nonce)
    nodes.forget_oldest()
    told = {"node": name, "incarnation": incarnation, "address": address, "nonce": nonce}
    world.effects.append((NODES, "up", told))
    return {"status": "OK", "node": name, "incarnation": incarnation}


def _other_format(nodes: Nodes, name: str, own: str) -> Reply | None:
    """Why a node of this format may not come up, or None. A later one may when no other node is up."""
    others = sorted(other.name for other in nodes.by_name.values() if other.up and other.name != name)
    if nodes.format in ("", own):
        return None
    is_older = int(own.split()[0]) < int(nodes.format.split()[0])
    if not others and not is_older:
        return None
    text = f'The world has the format "{nodes.format}", and this server, with its Python, "{own}".'
    if not is_older:
        text += f" First the others must stop: {', '.join(others)}."
    return refusal("WORLD_FORMAT", text)


def node_down(world: World, _lsn: int, command: Command) -> Reply:
    """A server is gone: another one has not heard of it since its batch `number`; or it says so itself (`clean`)."""
    nodes, name, clean = nodes_of(world), command["node"], command.get("clean", False)
    node = nodes.get(name)
    if node is None or not node.up or node.incarnation != command["incarnation"]:
        return refusal("NO_SUCH_NODE", f'There is no node "{name}" with the incarnation {command["incarnation"]}.')
    if not clean and node.number != command["number"]:
        return refusal("NODE_IS_UP", f'The node "{name}" has said something meanwhile.')
    _end_sessions(world, (name,), world.at)
    nodes.give_up_snapshot(name)
    node.up, node.since = False, world.at
    world.effects.append((NODES, "down", {"node": name, "incarnation": node.incarnation, "clean": clean}))
    return {"status": "OK", "node": name}


def _end_sessions(world: World, names: Collection[str], at: float) -> None:
    """Those of these nodes are over. Their own connections hear it, if a node is there after all."""
    found = [user for user, oldest in world.online.items() if oldest.node in names or user in world.further]
    for user in sorted(found):  # a world read from files has them in another order
        for session in sessions.sessions_of(world, user):
            if session.node in names:
                end_session(world, world.accounts[user], session, at)
                text = "This server was cut off from the others: log in again, here or at another one."
                world.effects.append((END, user, (session.login, "NODE_LOST", text)))


# Snapshots.


def snapshot_begin(world: World, _lsn: int, command: Command) -> Reply:
    """A node wants to make the next snapshot. `position`: of the last one that it knows of."""
    nodes, name = nodes_of(world), command["node"]
    taken = nodes.snapshotting not in ("", name) or command["position"] != nodes.snapshot[0]
    if taken or not nodes.is_up(name):
        return refusal("SNAPSHOT_UNDER_WAY", "Another node makes a snapshot, or has just made one.")
    nodes.snapshotting = name
    world.effects.append((NODES, "snapshot_begin", {"node": name, "position": command["position"]}))
    return {"status": "OK"}


def snapshot(world: World, _lsn: int, command: Command) -> Reply:
    """All of a snapshot is where every node can read it: of the world as it was at `position`."""
    nodes, place = nodes_of(world), (command["position"], command["chain"])
    if nodes.snapshotting != command["node"] or place[0] <= nodes.snapshot[0]:
        return refusal("NO_SNAPSHOT", "No such snapshot was begun.")
    nodes.earlier, nodes.snapshot, nodes.snapshotting = nodes.snapshot, place, ""
    told = {"node": command["node"], "position": place[0], "chain": place[1], "earlier": nodes.earlier}
    world.effects.append((NODES, "snapshot", told))
    return {"status": "OK"}


def snapshot_end(world: World, _lsn: int, command: Command) -> Reply:
    """The node that makes one cannot: another one may."""
    nodes_of(world).give_up_snapshot(command["node"])
    return {"status": "OK"}


# At rest: lines of state.txt, which a single server's does not have.


def _lines(world: World) -> Iterator[tuple[str, Any]]:
    nodes = nodes_of(world)
    if nodes.place != (0, 0):
        yield "log", nodes.place
    if nodes.format:
        yield "nodes", [nodes.format, nodes.snapshot, nodes.earlier, nodes.snapshotting]
    for node in nodes.by_name.values():
        yield "node", [node.name, node.incarnation, node.number, node.up, node.since, node.address, node.nonce]


def _read_place(world: World, value: Any) -> None:
    nodes_of(world).place = _place(value)


def _read_nodes(world: World, value: Any) -> None:
    nodes = nodes_of(world)
    own, last, earlier, name = value
    nodes.format, nodes.snapshot, nodes.earlier, nodes.snapshotting = own, _place(last), _place(earlier), name
    world.shared = True


def _read_node(world: World, value: Any) -> None:
    node = Node(*value)
    nodes_of(world).by_name[node.name] = node


def _place(value: Any) -> Place:
    position, chain = value
    return int(position), int(chain)


FEATURE = Feature(
    "nodes",
    handlers={"node_up": node_up, "node_down": node_down, "snapshot_begin": snapshot_begin, "snapshot": snapshot,
              "snapshot_end": snapshot_end},  # fmt: skip
    state=Nodes,
    lines=_lines,
    reads={"log": _read_place, "nodes": _read_nodes, "node": _read_node},
)
