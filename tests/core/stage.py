"""A stage for the world: conversations are scripts, and what was said instead is shown as a diff.

A script's lines that begin with ``>`` are carried out; the lines between them are what must come out of it: the reply
(``<``), and what each user who is online hears. In a script ``> bob: message to=alice text=hi`` is a command of bob's;
``> register user=bob`` is the edge's own. Numbers are numbers, ``'two words'`` is one word. What reads:

    > at 60            the clock stands at 60.0
    > save             the world goes through its text files, and must come back equal
    > bob unread       how many messages bob has not seen
    > bob gets         what a login would hand out now
    > bob history      what bob was sent, newest first
    > bob sees         who is online, as bob is told
    > bob saw since=0  also those who left later than that
"""

from __future__ import annotations

import difflib
import json
import shlex
import textwrap
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from chatlib.core import entry, snapshot
from chatlib.core.effects import Effect
from chatlib.core.nodes import FORMAT
from chatlib.core.replies import text_of
from chatlib.core.streams import MORE, Chunk, Position, Stream
from chatlib.core.threads import forum_of
from chatlib.core.world import Command, Reply, World
from chatlib.storage.messages import at_rest
from chatlib.storage.parameters import defaults

HOST = "10.0.0.1"
_JSON_FIELDS = ("session", "number", "resume", "amount", "count", "seq", "seen", "left", "before", "since", "id",
                "parameters", "accounts", "seconds", "limited", "incarnation", "position", "chain", "connection",
                "clean", "written")  # fmt: skip


def all_waiting(world: World, user: str, after: int) -> list[Position]:
    """All that waits, asked for again where there is more to be looked at."""
    found = world.waiting(user, after)
    if found and found[-1][1] == MORE:
        return found[:-1] + all_waiting(world, user, found[-1][0])
    return found


def whole_history(world: World, user: str, before: int) -> list[Position]:
    """All of it, likewise."""
    found = []
    for position in world.history(user, before):
        if position[1] == MORE:
            return found + whole_history(world, user, position[0])
        found.append(position)
    return found


class Recorder:
    """Carries out effects, and keeps everything: what each user online heard, the message store, ends of sessions."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.messages = bytearray()
        self.appended_to = {name: bytearray(file.first_line.encode()) for name, file in snapshot.appends().items()}
        self.said: list[tuple[Any, ...]] = []  # since it was last taken

    def carry_out(self, effects: list[Effect]) -> None:
        for kind, a, b in effects:
            getattr(self, f"_{kind}")(a, b)

    def _online(self) -> set[str]:
        assert self.world is not None
        return set(self.world.online)

    def _post(self, user: str, line: bytes) -> None:
        self._store(line)
        if user in self._online():
            self._tell(user, line.split(b" ", 2)[2])

    def _broadcast(self, line: bytes, excluded: Collection[str]) -> None:
        self._store(line)
        self._fan_out(line.split(b" ", 2)[2], excluded)

    def _publish(self, line: bytes, audience: tuple[str, Collection[str]]) -> None:
        self._store(line)
        stream, excluded = audience
        assert self.world is not None
        followers = {one for one in self._online() if stream in (self.world.accounts[one].follows or ())}
        self.said.append(("hears", tuple(sorted(followers - set(excluded))), line.split(b" ", 2)[2]))

    def _follow(self, user: str, stream: str) -> None:
        assert self.world is not None and stream in (self.world.accounts[user].follows or ())

    def _unfollow(self, user: str, stream: str) -> None:
        assert self.world is not None and stream not in (self.world.accounts[user].follows or ())

    def _close(self, stream: str, _: None) -> None:
        assert self.world is not None and stream not in {thread.stream for thread in forum_of(self.world).values()}

    def _between(self, user: str, other: str) -> None:
        assert self.world is not None and {user, other} <= self.world.accounts.keys()

    def _bar(self, network: str, _: None) -> None:
        self.said.append(("barred", network))

    def _nodes(self, what: str, fields: dict[str, Any]) -> None:
        self.said.append(("nodes", what, fields))

    def _sent(self, user: str, line: bytes) -> None:
        assert self.world is not None and user in self.world.further
        self.said.append(("hears", (f"{user} elsewhere",), line))

    def _tell(self, user: str, line: bytes) -> None:
        self.said.append(("hears", (user,), line))

    def _fan_out(self, line: bytes, excluded: Collection[str] = ()) -> None:
        self.said.append(("hears", tuple(sorted(self._online() - set(excluded))), line))

    def _announce(self, user: str, news: entry.News) -> None:
        """Tells at once: when it is told is the edge's affair."""
        world = self.world
        assert world is not None
        assert news.online == (user in world.online)
        if len(world.online) <= world.parameters["PRESENCE_LIMIT"]:
            self._fan_out(news.event(), news.hidden)

    def _end(self, user: str, ending: tuple[int, str, str]) -> None:
        self.said.append(("ends", user, *ending))

    def _store(self, line: bytes, _: None = None) -> None:
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        self.messages += at_rest(line)

    def _forget(self, name: str, party: str) -> None:
        assert self.world is not None and party.partition(" ")[0] not in self.world.accounts and (name or "#" in party)

    def _erase_last(self, offsets: list[int], _: None) -> None:
        assert offsets

    def _append(self, name: str, line: bytes) -> None:
        assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.startswith(b" ")
        self.appended_to[name] += at_rest(line)

    def _erase(self, offsets: Iterable[int], _: None) -> None:
        for offset in offsets:
            end = self.messages.index(b"\n", offset)
            self.said.append(("erased", bytes(self.messages[offset:end]).split(b" ", 2)[2]))
            self.messages[offset:end] = b" " * (end - offset)

    def _adopt(self, blob: str, _: None) -> None:
        """Nobody hears of it."""

    def _unlink(self, blob: str, _: None) -> None:
        self.said.append(("unlinked", blob))

    def _parameters(self, _a: None, _b: None) -> None:
        """Nobody hears of it."""

    # What a world reads.

    def lines(self, positions: Iterable[Position], _user: str) -> Iterator[tuple[str, bytes]]:
        for _, offset in positions:
            _, receiver, event = self._line(offset).split(b" ", 2)
            if not event.strip():
                yield "", b""
            else:
                yield "" if receiver == b"all" or receiver[:1] == b"#" else receiver.decode(), event + b"\n"

    def appended(self, name: str, offset: int) -> bytes | None:
        found = self.appended_to[name]
        line = bytes(found[offset - 1 : found.find(b"\n", offset) + 1])
        return line[9:] if line[:1] == b"\n" and at_rest(line[9:]) == line[1:] else None

    def chunk(self, offset: int) -> Chunk:
        return Chunk.read(self._line(offset).split(b" ", 2)[2])

    def _line(self, offset: int) -> bytes:
        return bytes(self.messages[offset : self.messages.index(b"\n", offset)])

    def take(self) -> list[tuple[Any, ...]]:
        said, self.said = self.said, []
        return said


def new_world(**parameters: Any) -> tuple[World, Recorder]:
    recorder = Recorder()
    world = recorder.world = World({**defaults(), **parameters})
    world.archive = recorder
    return world, recorder


def _box(box: Stream) -> list[list[tuple[int, int]]]:
    return [list(zip(box.firsts, box.places, strict=True)), list(zip(box.seqs, box.offsets, strict=True))]


def picture(world: World) -> dict[str, Any]:
    """All that a world is, as plain values that can be compared. Written apart from the snapshot, which it tests."""
    return {
        "lsn": world.lsn,
        "at": world.at,
        "store_end": world.store_end,
        "parameters": world.parameters,
        "order": list(world.accounts),
        "accounts": {
            user: (a.name, a.user, a.verifier, a.joined, a.seen, a.left, _box(a.mail), _box(a.sent), a.refused,
                   a.waiting, a.follows, a.blocks, a.blocked_by, a.files, a.known,
                   None if a.replies is None else list(a.replies.items()))
            for user, a in world.accounts.items()
        },
        "admin": world.admin,
        "online": {
            user: [(p.login, p.since, p.address, p.client, p.away_from, p.number, p.node, p.connection)
                   for p in (oldest, *world.further.get(user, ()))]
            for user, oldest in world.online.items()
        },
        "further": {user: len(sessions) for user, sessions in world.further.items()},
        "rulings": (world.bans, world.bans._by_prefix, world.muted, world.limited),
        "lockouts": {key: (f.count, f.last, f.until) for key, f in world.lockouts.entries.items()},
        "streams": {name: (_box(stream), stream.senders) for name, stream in world.streams.items()},
        "said": world.said,
        "floor": (world.floor, world.floor_offset, world.expiring),
        "shunned": world.shunned,
        "by_hand": world.by_hand,
        "shared": world.shared,
        "state": world.state,
    }  # fmt: skip


def saved(world: World) -> dict[str, list[str]]:
    """The lines of the flat files."""
    return {name: list(lines) for name, _, lines in snapshot.dump(world)}


def loaded(files: dict[str, list[str]], recorder: Recorder) -> World:
    """A new world from the lines of the flat files; `recorder`, whose messages it goes on with, is its own now."""
    world = World(defaults())
    for lines in files.values():
        assert not any("\n" in line for line in lines)
    snapshot.load(world, {name: enumerate(lines, 2) for name, lines in files.items()})
    recorder.world, world.archive = world, recorder
    return world


def _field(word: str) -> tuple[str, Any]:
    name, _, value = word.partition("=")
    return name, json.loads(value) if name in _JSON_FIELDS else value


class Stage:
    """A world, its clock and its log."""

    def __init__(self, **parameters: Any) -> None:
        self.world, self.recorder = new_world(**parameters)
        self.now = 0.0
        self.lsn = 0
        self.log: list[tuple[int, str]] = []

    def do(self, action: str, by: str | None = None, **fields: Any) -> Reply:
        """Carries out one command, as it comes back from the journal."""
        command: Command = {"action": action, "at": self.now, **fields}
        if by is not None:
            command["by"] = by
        self.lsn += 1
        body = json.dumps(command)
        self.log.append((self.lsn, body))
        reply, effects, fault = self.world.execute(json.loads(body))
        if fault is not None:
            raise fault
        assert json.loads(text_of(reply)) == reply, "what is sent is another reply"
        self.recorder.carry_out(effects)
        assert self.world.store_end == len(self.recorder.messages), "the world has counted the message store wrongly"
        assert self.world.lsn == self.lsn
        return reply

    def save(self) -> None:
        """Through the text files and back."""
        before = picture(self.world)
        self.world = loaded(json.loads(json.dumps(saved(self.world))), self.recorder)
        assert picture(self.world) == before

    def replayed(self) -> World:
        """Another world of the same commands."""
        world, recorder = new_world()
        for lsn, body in self.log:
            world.lsn = lsn - 1
            recorder.carry_out(world.execute(json.loads(body))[1])
        return world

    # Scripts.

    def play(self, script: str) -> None:
        """Carries a script out; raises AssertionError with a diff when something else comes out of it."""
        wanted = [line.rstrip() for line in textwrap.dedent(script).strip().splitlines() if line.strip()]
        got = [out for line in wanted if line.startswith((">", "#")) for out in self._line(line)]
        if got != wanted:
            raise AssertionError("the conversation went another way:\n" + "\n".join(
                difflib.unified_diff(wanted, got, "as written", "as it went", lineterm="", n=3)))  # fmt: skip

    def _line(self, line: str) -> Iterator[str]:
        yield line
        words = shlex.split(line[1:]) if line.startswith(">") else []
        if not words:
            return
        if words[0] == "at":
            self.now = float(words[1])
            return
        if words[0] == "save":
            self.save()
            return
        fields = dict(_field(word) for word in words if "=" in word)
        if words[0].endswith(":"):
            yield self._reply(self.do(words[1], words[0][:-1], **fields))
        elif len(words) > 1 and words[1] in self.READS:
            yield f"= {self.READS[words[1]](self, words[0], **fields)}".rstrip()
        else:
            yield self._reply(self.do(words[0], **self._filled(words[0], fields)))
        for said in self.recorder.take():
            yield self._said(said)

    @staticmethod
    def _filled(action: str, fields: dict[str, Any]) -> dict[str, Any]:
        if action == "register":
            return {"verifier": f"v-{fields.get('user')}", **fields}
        if action in ("login", "wrong_password"):
            return {"address": HOST, **fields}
        if action == "node_up":
            return {"format": FORMAT, "left": 0.0, **fields}
        return fields

    @staticmethod
    def _reply(reply: Reply) -> str:
        rest = [f"{name}={value}" for name, value in reply.items() if name not in ("status", "text")]
        text = [f": {reply['text']}"] if "text" in reply else []
        return "".join(["< ", " ".join([reply["status"], *rest]), *text])

    @staticmethod
    def _event(line: bytes) -> str:
        event = json.loads(line)
        name = event.pop("event")
        event.pop("time")
        text = f": {event.pop('text')}" if "text" in event else ""
        return " ".join([name, *(f"{field}={value}" for field, value in event.items())]) + text

    def _said(self, said: tuple[Any, ...]) -> str:
        if said[0] == "hears":
            return f"  {', '.join(said[1]) or 'nobody'} <- {self._event(said[2])}"
        if said[0] == "ends":
            return f"  {said[1]} (login {said[2]}) ends: {said[3]}: {said[4]}"
        if said[0] == "barred":
            return f"  {said[1]} is barred"
        if said[0] == "nodes":
            return f"  the servers hear: {said[1]} {' '.join(f'{name}={value}' for name, value in said[2].items())}"
        if said[0] == "unlinked":
            return f"  unlinked {said[1]}"
        return f"  erased {self._event(said[1])}"

    # What reads.

    def _shown(self, positions: Iterable[tuple[int, int]]) -> str:
        return ", ".join(self.stored(seq, offset)[1] for seq, offset in positions)

    def stored(self, seq: int, offset: int) -> tuple[bytes, str]:
        """The event at a position of the message store, whole and in short."""
        messages = self.recorder.messages
        line = bytes(messages[offset : messages.index(b"\n", offset)])
        crc, _, event = line.split(b" ", 2)
        assert int(crc, 16) == zlib.crc32(line[8:] + b"\n")
        fields = json.loads(event)
        assert fields["seq"] == seq
        return event, f"{fields.get('from', 'bank')}: {fields.get('text', fields['event'])}"

    def gets(self, user: str) -> str:
        return self._shown(all_waiting(self.world, user, self.world.accounts[user].seen))

    def history(self, user: str, before: int | None = None) -> str:
        return self._shown(whole_history(self.world, user, self.lsn + 1 if before is None else before))

    def unread(self, user: str) -> str:
        return str(self.world.unread(self.world.accounts[user]))

    def sees(self, user: str) -> str:
        return ", ".join(map(self.world.name_of, self.world.visible(user)))

    def saw(self, user: str, since: float) -> str:
        return ", ".join(map(self.world.name_of, self.world.seen_lately(user, since, self.now)))

    READS = {"gets": gets, "history": history, "unread": unread, "sees": sees, "saw": saw}
