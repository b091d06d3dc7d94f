"""Conversations as scripts: what is said, and what must come back, compared with a diff that people can read.

    columbia> {"action": "message", "to": "SEAS", "text": "hi"}
    columbia< {"action": "message", "status": "OK", "seq": "$1", "delivered": true}
    seas< {"event": "message", "seq": "$1", "time": "*", "from": "Columbia", "text": "hi"}

Lines that say something directly below each other go out in one packet a peer. ``"*"`` stands for any value, ``"$1"``
for one that is the same wherever ``$1`` stands; a reply's ``text`` may be left out. ``x< closed``: the server has hung
up. ``(35 seconds)`` lets time pass. What is said back and not in the script is a difference, too.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any

from tests.server.house import House, Peer

_LINE = re.compile(r"(\w+)([<>]) ?(.*)")
_TIME = re.compile(r"\(([\d.]+) seconds?\)")


class Transcript:
    """One conversation among `peers`."""

    def __init__(self, house: House, **peers: Peer) -> None:
        self._house, self._peers = house, peers
        self._bound: dict[str, Any] = {}
        self._expected: list[str] = []
        self._actual: list[str] = []
        self._hung_up: set[str] = set()

    def run(self, script: str) -> None:
        """Holds the conversation. Raises AssertionError with a diff."""
        self.forget()
        lines = [line.strip() for line in script.strip().splitlines() if line.strip()]
        while lines:
            said, expected = _next_exchange(lines)
            self._say(said)
            self._compare(expected)
        if self._expected != self._actual:
            diff = "\n".join(difflib.ndiff(self._expected, self._actual))
            raise AssertionError(f"The conversation (-: the script, +: what was said)\n{diff}")

    def forget(self) -> None:
        """What was said up to now belongs to no script."""
        self._house.settle()
        for peer in self._peers.values():
            peer.hear()
        self._expected, self._actual = [], []

    def _say(self, said: list[str]) -> None:
        packets: dict[str, list[str]] = {}
        for line in said:
            self._expected.append(line)
            self._actual.append(line)
            time = _TIME.fullmatch(line)
            if time:
                self._house.pass_time(float(time[1]))
                continue
            match = _LINE.fullmatch(line)
            assert match, line
            packets.setdefault(match[1], []).append(match[3] + "\n")
        for name, packet in packets.items():
            self._peers[name].say(*packet)
        self._house.settle()

    def _compare(self, expected: list[str]) -> None:
        wanted: dict[str, list[str]] = {}
        for line in expected:
            match = _LINE.fullmatch(line)
            assert match, line
            wanted.setdefault(match[1], []).append(match[3])
        for name in [*wanted, *(name for name in self._peers if name not in wanted)]:
            heard: list[Any] = list(self._peers[name].hear())
            if self._peers[name].closed and name not in self._hung_up:
                self._hung_up.add(name)
                heard.append("closed")
            script = wanted.get(name, [])
            self._expected += [f"{name}< {line}" for line in script]
            for place, message in enumerate(heard):
                fits = place < len(script) and self._fits(script[place], message)
                self._actual.append(f"{name}< {script[place] if fits else _show(message)}")

    def _fits(self, line: str, message: Any) -> bool:
        if line == "closed" or message == "closed":
            return bool(line == message)
        wanted = json.loads(line)
        if "event" not in wanted and "text" not in wanted:
            message = {name: value for name, value in message.items() if name != "text"}
        return self._same(wanted, message)

    def _same(self, wanted: Any, value: Any) -> bool:
        if wanted == "*":
            return True
        if isinstance(wanted, str) and wanted.startswith("$"):
            return bool(self._bound.setdefault(wanted, value) == value)
        if isinstance(wanted, dict):
            return (isinstance(value, dict) and wanted.keys() == value.keys()
                    and all(self._same(wanted[name], value[name]) for name in wanted))  # fmt: skip
        if isinstance(wanted, list):
            return isinstance(value, list) and len(wanted) == len(value) and all(map(self._same, wanted, value))
        return bool(wanted == value) and type(wanted) is type(value)


def _next_exchange(lines: list[str]) -> tuple[list[str], list[str]]:
    said: list[str] = []
    expected: list[str] = []
    while lines and not _expects(lines[0]):
        said.append(lines.pop(0))
    while lines and _expects(lines[0]):
        expected.append(lines.pop(0))
    return said, expected


def _expects(line: str) -> bool:
    match = _LINE.fullmatch(line)
    return match is not None and match[2] == "<"


def _show(message: Any) -> str:
    return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
