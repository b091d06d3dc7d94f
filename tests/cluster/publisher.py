"""The engine alone under a plain publisher: one message in flight, numbered, the same again until it is acknowledged.

What the servers build on must hold without them: whatever was acknowledged is in the stream, in order; what was sent
again may be there twice (the servers tell by its number), and nothing is lost. `answers` says when each came.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time

from tests.cluster.engine import Engine
from tests.cluster.history import Said
from tests.cluster.plain import Plain, Silence

STREAM = "plain"
PATIENCE = 1.0  # seconds until the same message is sent again


def make_stream(engine: Engine, stream: str = STREAM) -> None:
    """As the servers make theirs."""
    question = {"name": stream, "subjects": [f"{stream}.log"], "num_replicas": 3, "storage": "file", "discard": "new",
                "deny_delete": True, "allow_direct": True,
                "republish": {"src": f"{stream}.log", "dest": f"{stream}.out"}}  # fmt: skip

    def made() -> bool:
        with engine.connect() as plain:
            return "error" not in plain.api(f"STREAM.CREATE.{stream}", question, 5.0)

    engine.wait_for(made, "the stream")
    engine.wait_whole(stream)


class Publisher:
    """Publishes in a thread of its own until it is stopped."""

    def __init__(self, engine: Engine, name: str = "p", pace: float = 0.005) -> None:
        self.said: list[Said] = []
        self._engine, self._name, self._pace, self._stopped = engine, name, pace, False
        self._connection: Plain | None = None
        self._turn = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped:
            key = f"{self._name}-{len(self.said)}"
            one = Said(key, self._name, "", time.monotonic())
            self.said.append(one)
            while not self._stopped and not self._try(one):
                one.tries += 1
            time.sleep(self._pace)
        if self._connection:
            self._connection.close()

    def _try(self, one: Said) -> bool:
        try:
            if self._connection is None:
                nodes = list(self._engine.nodes)
                self._turn += 1
                self._connection = self._engine.connect(nodes[self._turn % len(nodes)], PATIENCE)
            answer = self._connection.ask(f"{STREAM}.log", one.key.encode(), {"Nats-Msg-Id": one.key}, PATIENCE)
            reply = json.loads(answer.payload)
            if "error" in reply:
                time.sleep(0.1)
                return False
        except (Silence, OSError) as silence:
            if self._connection and str(silence) != "503":
                self._connection.close()
                self._connection = None
            time.sleep(0.1)
            return False
        one.seq, one.answered = int(reply["seq"]), time.monotonic()
        return True

    def last(self) -> float:
        """When the last acknowledgement came."""
        return max((one.answered or 0.0 for one in self.said), default=0.0)

    def stop(self) -> list[Said]:
        """What it said."""
        self._stopped = True
        self._thread.join(30.0)
        return self.said


def stored(engine: Engine, stream: str = STREAM) -> list[tuple[int, str]]:
    """The whole stream, as direct gets tell it. Where one replica has a hole, another is asked."""
    found: list[tuple[int, str]] = []
    last = int(engine.wait_for(lambda: engine.info(stream).get("state"), "the stream's state")["last_seq"])
    missing = range(1, last + 1)
    for name in list(engine.nodes) * 3:
        with contextlib.closing(engine.connect(name)) as plain:
            got = [(seq, plain.get(stream, seq)) for seq in missing]
        found += [(seq, message.payload.decode()) for seq, message in got if message]
        missing = [seq for seq, message in got if not message]
    return sorted([*found, *((seq, "") for seq in missing)])


def holes(engine: Engine, name: str, stream: str = STREAM) -> list[int]:
    """What one replica lacks: whoever is asked there answers itself."""
    last = int(engine.wait_for(lambda: engine.info(stream).get("state"), "the stream's state")["last_seq"])
    with contextlib.closing(engine.connect(name)) as plain:
        return [seq for seq in range(1, last + 1) if not plain.get(stream, seq)]
