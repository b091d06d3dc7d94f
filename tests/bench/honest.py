"""Honest clients, a process of their own: they chat at a steady rate, and say how long it took.

``honest.py PORT FIRST COUNT [MESSAGES]``: the users numbered FIRST and following log in (then it prints "ready"). From
one line on standard input until the next they send direct messages to each other, pair by pair (so many a second, all
together), and ask ``alive`` in between, which
the server answers without a disk. Then it prints what it saw, as JSON. A message's time is from when it was due,
whatever kept the sender, until its receiver has it; that of ``alive`` until its reply. So the worst ``alive`` is about
as long as the server's longest tick: there is one every few milliseconds.
"""

from __future__ import annotations

import json
import selectors
import sys
import time
from collections import deque
from typing import Any

from peers import Peer

MESSAGES = 20  # a second, of all together
PROBES = 200
PATIENCE = 60.0  # seconds until what is still missing is lost


def points(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [float("nan")]
    point = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in point.items()}


class Client:
    """One of them: what it waits for, and what it heard."""

    def __init__(self, port: int, user: str) -> None:
        self._peer = Peer(port, user)
        self.user = user
        self.socket = self._peer.socket
        self.socket.setblocking(False)
        self.asked: deque[tuple[str, float]] = deque()  # requests without a reply: the action, and when it was due
        self.partner: Client = self
        self.to_come: deque[tuple[str, float]] = deque()  # texts that the partner sent, and when they were due
        self.closed = ""
        self._rest = self._peer.rest

    def ask(self, due: float, action: str, **fields: Any) -> None:
        """A request. It is a line, far smaller than what the kernel takes."""
        if self.closed:
            return
        try:
            self.socket.send(json.dumps({"action": action, **fields}).encode() + b"\n")
        except OSError as error:
            self.closed = str(error)
            return
        self.asked.append((action, due))

    def say(self, due: float, text: str) -> None:
        """A direct message to the partner."""
        self.ask(due, "message", to=self.partner.user, text=text)
        self.partner.to_come.append((text, due))

    def lines(self) -> list[dict[str, Any]]:
        """What has come of replies and direct messages."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError as error:
            self.closed = str(error)
            return []
        if not data:
            self.closed = self.closed or "closed by the server"
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines if line.startswith((b'{"action"', b'{"event":"message"'))]


class Chat:
    """All of them."""

    def __init__(self, port: int, first: int, count: int, messages: int = MESSAGES) -> None:
        self._messages, self._probes = messages, max(PROBES, 2 * messages)
        self.clients = [Client(port, f"u{number:05d}") for number in range(first, first + count)]
        for number, client in enumerate(self.clients):
            client.partner = self.clients[number ^ 1]
        self._delivered: list[float] = []
        self._answered: list[float] = []
        self._wrong: list[str] = []
        self._selector = selectors.DefaultSelector()
        for client in self.clients:
            self._selector.register(client.socket, selectors.EVENT_READ, client)
        self._selector.register(sys.stdin, selectors.EVENT_READ)

    def run(self) -> dict[str, Any]:
        """From one line of standard input to the next."""
        while self._read(time.perf_counter() + 1.0):  # what is said while the attack is set up
            pass
        sys.stdin.readline()
        begun, sent = time.perf_counter(), 0
        each = self._probes // self._messages
        while True:
            due = begun + sent / self._probes
            if not self._read(due):
                break
            if time.perf_counter() >= due:
                client = self.clients[sent % len(self.clients)]
                if sent // len(self.clients) % each == sent % each:  # everyone in turn, not all in a row
                    client.say(due, f"text {sent}")
                else:
                    client.ask(due, "alive")
                sent += 1
        self._wait_for_the_rest(time.perf_counter() + PATIENCE)
        return {
            "messages": points(self._delivered),
            "alive": points(self._answered),
            "delivered": len(self._delivered),
            "missing": sum(len(client.asked) + len(client.to_come) for client in self.clients),
            "wrong": self._wrong[:3] + [client.closed for client in self.clients if client.closed][:3],
        }

    def _wait_for_the_rest(self, deadline: float) -> None:
        self._selector.unregister(sys.stdin)
        while any(client.asked or client.to_come for client in self.clients if not client.closed):
            if time.perf_counter() > deadline:
                break
            self._read(time.perf_counter() + 0.1)

    def _read(self, until: float) -> bool:
        """Reads what comes until then. False when it is to end."""
        ready = self._selector.select(max(0.0, until - time.perf_counter()))
        now = time.perf_counter()
        for key, _ in ready:
            if key.data is None:
                return False
            for line in key.data.lines():
                self._take(key.data, line, now)
            if key.data.closed:
                self._selector.unregister(key.data.socket)
        return True

    def _take(self, client: Client, line: dict[str, Any], now: float) -> None:
        if "action" in line:
            action, due = client.asked.popleft()
            if (line["action"], line["status"]) != (action, "OK"):
                self._wrong.append(f"{action}: {line}")
            if action == "alive":
                self._answered.append(now - due)
        else:
            text, due = client.to_come.popleft()
            if line["text"] != text:
                self._wrong.append(f"{line['text']} came instead of {text}")
            self._delivered.append(now - due)


def main() -> None:
    chat = Chat(*map(int, sys.argv[1:]))
    print("ready", flush=True)
    print(json.dumps(chat.run()), flush=True)


if __name__ == "__main__":
    main()
