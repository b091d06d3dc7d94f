"""``stats``: how the server is doing, as one object for programs and as lines for people.

Only reads. Whoever has something to count does so in :class:`chatlib.server.figures.Figures`, and it is shown here
without a word more. Must not know who reads it.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any

from chatlib.core.world import World
from chatlib.protocol.framing import dumps
from chatlib.protocol.text import counted
from chatlib.reactor.loop import Loop
from chatlib.server.alone import Alone
from chatlib.server.delivery import Delivery
from chatlib.server.figures import Figures
from chatlib.server.membership import Membership
from chatlib.server.notices import Notices
from chatlib.server.pipeline import Pipeline
from chatlib.server.saving import Saver
from chatlib.server.ticks import Ticks
from chatlib.server.tlsdoor import TlsDoor
from chatlib.storage.log import Log
from chatlib.storage.serverlog import ServerLog

Data = dict[str, Any]
_MEASURED = {"ticks": "length of a tick", "queue": "from a command to its commit", "syncs": "sync of the disk"}


class Stats:
    """Those of one server. `connected`: what there is of connections, by name."""

    def __init__(
        self, *, loop: Loop, world: World, journal: Log, pipeline: Pipeline, delivery: Delivery, saver: Saver,
        figures: Figures, ticks: Ticks, log: ServerLog, notices: Notices, connected: dict[str, Sized], tls: TlsDoor,
        membership: Membership | Alone,
    ) -> None:  # fmt: skip
        self._member = membership
        self._loop, self._world, self._journal, self._pipeline = loop, world, journal, pipeline
        self._delivery, self._saver, self._figures, self._ticks = delivery, saver, figures, ticks
        self._log, self._notices, self._connected, self._tls = log, notices, connected, tls
        self._started, self._clock_at_start = loop.wall, loop.now

    def lines(self, json: bool) -> list[str]:
        """For the console."""
        data = self.data()
        return [dumps(data)] if json else list(_lines(data))

    def data(self) -> Data:
        """Everything. Times in seconds, sizes in bytes; None: this system does not say."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        pending = {f"requests: {name}": count for name, count in self._log.pending().items()}
        return {
            "server": {
                "time": self._loop.wall, "started": self._started,
                "up": round(self._loop.now - self._clock_at_start, 3),
                "cpu": round(usage.ru_utime + usage.ru_stime, 2),
                "memory": _memory(usage), "descriptors": _descriptors(), "certificate": self._tls.fingerprint or None,
            },
            "people": {
                "registered": len(self._world.accounts), "online": len(self._world.online),
                "sessions": len(self._delivery.everyone()),
                **{name: len(them) for name, them in self._connected.items()},
            },
            "work": {
                "commands": self._pipeline.executed, "last_lsn": self._world.lsn, "ticks": self._loop.ticks,
                "lines_delivered": self._delivery.delivered, "bytes_delivered": self._delivery.pushed,
            },
            "times": self._times(),
            "disk": self._disk(),
            **({"cluster": cluster} if (cluster := self._member.figures()) else {}),
            "counted": _grouped(Counter(self._figures.counters) + Counter(pending)),
            "counted_lately": _grouped(Counter(self._figures.lately()) + Counter(pending)),
            "lately": round(self._figures.within(self._loop.now), 3),
            "errors": [{"at": at, "text": text} for at, text in self._notices.latest],
        }  # fmt: skip

    def _times(self) -> Data:
        found: Data = {}
        for name in _MEASURED:
            (p50, p99), (p50_lately, p99_lately) = (
                map(_rounded, percentiles(name, 0.5, 0.99))
                for percentiles in (self._figures.percentiles, self._figures.percentiles_lately)
            )
            found[name] = {
                "count": self._figures.histogram(name).total, "p50": p50, "p99": p99,
                "p50_lately": p50_lately, "p99_lately": p99_lately,
            }  # fmt: skip
        found["syncs"]["in_place"] = self._ticks.in_place
        longest = self._ticks.longest
        found["longest_tick"] = {"seconds": _rounded(longest.seconds), "at": longest.at, "cause": longest.cause}
        return found

    def _disk(self) -> Data:
        saved = self._saver.latest
        return {
            "journal": {"bytes": self._journal.size, "records": self._journal.records},
            "messages": self._world.store_end - self._world.floor_offset,
            "checkpoint": {"at": saved.at, "age": saved.at and round(self._loop.wall - saved.at, 3),
                           "seconds": _rounded(saved.seconds)},
        }  # fmt: skip


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds:.3g}")


def _memory(usage: resource.struct_rusage) -> Data:
    """What is in memory now, and the most that was."""
    now, peak = None, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    try:
        status = Path("/proc/self/status").read_text()
        now, peak = (1024 * int(status.partition(name)[2].split(maxsplit=1)[0]) for name in ("VmRSS:", "VmHWM:"))
    except (OSError, ValueError, IndexError):  # another system
        pass
    return {"now": now, "peak": peak}


def _descriptors() -> Data:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        used = len(os.listdir("/dev/fd")) - 1  # without the one that lists them
    except OSError:
        used = None
    return {"used": used, "limit": None if soft == resource.RLIM_INFINITY else soft}


def _grouped(counters: Any) -> dict[str, dict[str, int]]:
    """By what stands before the colon; the most frequent first."""
    groups: dict[str, dict[str, int]] = {}
    for name, count in sorted(counters.items(), key=lambda each: -each[1]):
        group, colon, what = name.partition(": ")
        groups.setdefault(group if colon else "others", {})[what if colon else name] = count
    return dict(sorted(groups.items()))


# For people.


def _lines(data: Data) -> Iterator[str]:
    server, disk = data["server"], data["disk"]
    yield "Server:"
    yield f"  up: {_long(server['up'])}"
    yield f"  CPU: {server['cpu']:.2f} s"
    yield f"  memory: {_size(server['memory']['now'])}, at most {_size(server['memory']['peak'])}"
    yield f"  descriptors: {_known(server['descriptors']['used'])} of {_known(server['descriptors']['limit'])}"
    yield f"  certificate: {server['certificate'] or 'none, since TLS is not offered'}"
    for group in ("people", "work"):
        yield f"{group.capitalize()}:"
        yield from (f"  {_words(name)}: {value:,}" for name, value in data[group].items())
    yield "Times:"
    yield from _times(data["times"])
    yield "Disk:"
    yield f"  journal: {counted(disk['journal']['bytes'], 'byte')}, {counted(disk['journal']['records'], 'record')}"
    yield f"  messages: {_size(disk['messages'])}"
    yield f"  checkpoint: {_checkpoint(disk['checkpoint'])}"
    if "cluster" in data:
        yield from _cluster(data["cluster"], server["time"])
    for group, counters in data["counted"].items():
        lately = data["counted_lately"].get(group, {})
        new = f", {sum(lately.values()):,} of them in the last minute" if lately else ""
        yield f"{group[:1].upper()}{group[1:]} ({sum(counters.values()):,}{new}):"
        for name, count in counters.items():
            yield f"  {name}: {count:,}" + (f" ({lately[name]:,})" if name in lately else "")
    yield "Latest errors and warnings:" if data["errors"] else "No errors and no warnings."
    for error in data["errors"]:
        yield f"  {_stamp(error['at'])} {' '.join(error['text'].split())}"


def _words(name: str) -> str:
    return name.replace("last_lsn", "number of the last command").replace("_", " ")


def _times(times: Data) -> Iterator[str]:
    for name, what in _MEASURED.items():
        found = times[name]
        if not found["count"]:
            yield f"  {what}: none yet"
            continue
        line = f"  {what}: p50 {_ms(found['p50'])}, p99 {_ms(found['p99'])}"
        if found["p50_lately"] is not None:
            line += f"; in the last minute p50 {_ms(found['p50_lately'])}, p99 {_ms(found['p99_lately'])}"
        yield line + (f"; {found['in_place']:,} of {found['count']:,} in place" if name == "syncs" else "")
    longest = times["longest_tick"]
    if longest["at"]:
        yield f"  longest tick: {_ms(longest['seconds'])} at {_stamp(longest['at'])}: {longest['cause']}"


def _cluster(cluster: Data, now: float) -> Iterator[str]:
    yield f"Cluster {cluster['log']}:"
    link = "" if cluster["connected"] else ", not connected to the engine"
    yield f"  this node: {cluster['node']}, {cluster['state']}{link}"
    yield f"  log: position {cluster['position']:,}, chain {cluster['chain']}, {cluster['unread']:,} to be read"
    yield f"  our oldest batch waits: {_ms(cluster['waits'])}"
    for node in cluster["nodes"]:
        state = f"{'up' if node['up'] else 'down'} for {_long(max(0.0, now - node['since']))}"
        where = f" at {node['address']}" if node["address"] else ""
        clock = "" if node["ahead"] is None else f", its clock {round(node['ahead'], 1) + 0.0:+.1f} s"
        yield f"  {node['node']}{where}: {state}, batch {node['batches']:,}{clock}"


def _checkpoint(checkpoint: Data) -> str:
    if not checkpoint["at"]:
        return "none yet"
    took = "" if checkpoint["seconds"] is None else f", took {checkpoint['seconds']:g} s"
    return f"{_long(checkpoint['age'])} ago{took}"


def _known(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _size(size: int | None) -> str:
    if size is None:
        return "?"
    return counted(size, "byte") if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB"


def _ms(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds * 1_000:.3g} ms"


def _long(seconds: float) -> str:
    """In the two largest units: ``3 days 4 h``, ``12 min 30 s``."""
    whole = round(seconds)
    for unit, length, part, size in (("day", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length + (length == 60) * 60:
            count = whole // length
            return f"{counted(count, unit) if unit == 'day' else f'{count} {unit}'} {whole % length // size} {part}"
    return f"{whole} s"


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
