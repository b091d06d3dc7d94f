"""Many users come back at once, a process of their own, and are handed what waited for them.

``returning.py PORT COUNT WAITING``: it prints "ready". At a line on standard input the users u00000 to COUNT connect,
say hello and log in, all at once. When each has been handed WAITING stored messages it prints, as JSON, the seconds
from the beginning until each had its last one: the median and the most. It checks that their seqs grow, and that
nobody is handed more.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time

from peers import salted
from testbed import Failure

from chatlib.protocol import scram

_PATIENCE = 60.0  # seconds
_STORED = re.compile(rb'"seq":(\d+),[^\n]*"offline":true\}\n')


class Returning:
    """One of them."""

    def __init__(self, port: int, user: str, waiting: int) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self._exchange = scram.ClientExchange(user, scram.new_nonce())
        self._waiting, self._seq, self._rest = waiting, 0, b""
        self._challenged = False

    def writable(self) -> None:
        """The connection is there."""
        hello = {"action": "hello", "protocol": 1}
        self._say(hello, {"action": "login", "scram": self._exchange.first})

    def _say(self, *requests: dict[str, object]) -> None:
        self.socket.send("".join(json.dumps(request) + "\n" for request in requests).encode())

    def readable(self) -> bool:
        """Takes what has come; whether all that waited has. Raises Failure."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise Failure("the server closed the connection")
        lines, end, self._rest = (self._rest + data).rpartition(b"\n")
        if not self._challenged:
            for line in lines.split(b"\n"):
                self._prove(line)
        seqs = [self._seq, *map(int, _STORED.findall(lines + end))]
        if seqs != sorted(set(seqs)):
            raise Failure("stored messages came twice, or in another order")
        self._seq = seqs[-1]
        self._waiting -= len(seqs) - 1
        if self._waiting < 0:
            raise Failure("more came than waited")
        return self._waiting == 0

    def _prove(self, line: bytes) -> None:
        reply = json.loads(line) if line.startswith(b'{"action":"login"') else {}
        if not reply:
            return
        if reply["status"] != "CONTINUE":
            raise Failure(str(reply))
        self._challenged = True
        salt = self._exchange.salt_of(reply["scram"])
        final = self._exchange.final(reply["scram"], salted(*salt))
        self._say({"action": "login", "scram": final, "seen": 0})


def come_back(port: int, count: int, waiting: int) -> dict[str, float]:
    """All of them; what to print."""
    selector = selectors.DefaultSelector()
    begun, took = time.perf_counter(), []
    for number in range(count):
        user = Returning(port, f"u{number:05d}", waiting)
        selector.register(user.socket, selectors.EVENT_WRITE, user)
    while len(took) < count:
        for key, events in selector.select(1.0):
            if events & selectors.EVENT_WRITE:
                key.data.writable()
                selector.modify(key.data.socket, selectors.EVENT_READ, key.data)
            elif key.data.readable():
                took.append(time.perf_counter() - begun)
                selector.unregister(key.data.socket)
        if time.perf_counter() > begun + _PATIENCE:
            raise Failure(f"{count - len(took)} users are not handed all that waits")
    return {"median": sorted(took)[count // 2], "most": max(took)}


def main() -> None:
    port, count, waiting = map(int, sys.argv[1:])
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(come_back(port, count, waiting)), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
