"""A user who comes and goes, a process of its own: ``comer.py PORT NUMBER`` logs that user in and out, again and again.

It prints "ready", begins with a line on standard input, ends with the next, and prints how long the logins took, from
the connection to the welcome, as JSON: in milliseconds, of 50, 99 and 100 of 100.
"""

from __future__ import annotations

import json
import select
import sys
import time

from field import user
from honest import points
from peers import Login, Stranger

EVERY = 0.05  # seconds


def main() -> None:
    port, name = int(sys.argv[1]), user(int(sys.argv[2]))
    print("ready", flush=True)
    sys.stdin.readline()
    taken = []
    while not select.select([sys.stdin], [], [], 0.0)[0]:
        begun = time.perf_counter()
        with Stranger(port) as stranger:
            if stranger.welcome["status"] != "OK":  # the attack is about seats, and all are taken
                sys.stdin.readline()
                break
            login = Login(stranger, name)
            login.begin()
            login.prove()
            login.finish()
            taken.append(time.perf_counter() - begun)
            stranger.ask("logout")
        time.sleep(max(0.0, begun + EVERY - time.perf_counter()))
    print(json.dumps({**points(taken or [0.0]), "count": len(taken)}), flush=True)


if __name__ == "__main__":
    main()
