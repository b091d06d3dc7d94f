"""A group server in one process: chat, mail for people who are away, and what a small network needs besides.

The map, and what each part must not know:

===========  ====================================================  =========================================
package      is                                                    must not know
===========  ====================================================  =========================================
reactor      descriptors and time: loop, timers, connections       chat; it imports nothing of ours but framing
protocol     words and bytes: framing, command table, SCRAM        sockets, files, who is online
core         the world: a deterministic state machine              sockets, files, the clock, chance
storage      what is on disk: journal, text files, messages        sockets, what a command means
server       the server's edge: sessions, fan-out, console         (everything meets here)
client       a client as a library: what a bot imports             the server's insides, terminals
terminal     a person's terminal: keys, screen, completion, bars   chat
program      the client for people: dialogue, sentences            the server's insides
===========  ====================================================  =========================================

Imports point one way: ``program``, ``server`` → ``client``, ``terminal``, ``storage``, ``core`` → ``reactor`` →
``protocol``.
``tests/test_architecture.py`` enforces it by reading the imports.
"""

import os
import sys

# Before any import that an older Python does not understand.
if sys.version_info < (3, 11):  # noqa: UP036
    raise SystemExit(f"Error! Python 3.11 or newer is needed; this is {sys.version_info[0]}.{sys.version_info[1]}.")
if os.name != "posix":
    raise SystemExit("Error! Linux or macOS is needed; on Windows, run this inside WSL, which is a Linux.")
