"""A bot of the library, as a process: ``bot.py ADDRESSES NAME TO``. It says numbered messages until its input ends.

It says on its output, a JSON list a line: ``["asked", key, when, answered, seq, port]`` for each that was acknowledged,
``["told", seq, text]`` for each that it hears, ``["refused", key, status]``, and at its end ``["over"]``. Nothing
in it knows that servers die: that is the library's work.
"""

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from chatlib.client import Client, Refused  # noqa: E402
from tests.program.peer import PASSWORD  # noqa: E402

PACE = 0.03  # seconds between two messages
LAST = 1.0  # seconds of silence until a bot leaves


def say(*words: object) -> None:
    print(json.dumps(words), flush=True)


def hear(chat: Client, patience: float) -> bool:
    """What has come; whether anything did."""
    event = chat.next_event(patience)
    if event is not None and event["event"] == "message":
        say("told", event["seq"], event["text"])
    return event is not None


def main(addresses: str, name: str, to: str) -> None:
    with Client(addresses) as chat:
        chat.login(name, PASSWORD)
        number = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            key, asked = f"{name}-{number}", time.monotonic()
            try:
                reply = chat.request("message", {"to": to, "text": key}, key=key)
                say("asked", key, asked, time.monotonic(), reply["seq"], chat.server.port)
            except Refused as refused:
                say("refused", key, refused.status)
            number += 1
            while hear(chat, PACE):
                pass
        while hear(chat, LAST):
            pass
    say("over")


if __name__ == "__main__":
    main(*sys.argv[1:])
