"""Effects: what must follow from a change of the world, as plain data.

A handler says ``world.effects.append((KIND, a, b))``. An effect always has three parts, so that one table of functions
can carry out all of them. The server carries them out in order, right after their command, even if the handler raised.
A replay carries out only what stores something. ERASE, UNLINK and FORGET cannot be undone: they wait until their
command is durable.

The kinds, and their `a` and `b`:
"""

from __future__ import annotations

from typing import Any

Effect = tuple[str, Any, Any]

STORE = "store"  # line, None: stored, and heard by nobody
APPEND = "append"  # file, line: added to a file of a feature that only grows. The line is " <words>\n"
POST = "post"  # user, line: stored for one user, who hears it now when online. The line is " <name> <event>\n"
BROADCAST = "broadcast"  # line, excluded: stored for all; everyone online but `excluded` hears it. " all <event>\n"
PUBLISH = "publish"  # line, (stream, excluded): stored; who is online and follows hears it. " <stream> <event>\n"
FOLLOW = "follow"  # user, stream: hears, while online, what is published there from now on,
UNFOLLOW = "unfollow"  # user, stream: or no longer
CLOSE = "close"  # stream, None: nothing more is published there
TELL = "tell"  # user, event: heard by one user when online, and not kept
SENT = "sent"  # user, event: heard by the user's sessions but the one that gave the command, and not kept
FAN_OUT = "fan_out"  # event, excluded: heard by everyone online but `excluded`, and not kept
BETWEEN = "between"  # user, other: one has blocked or allowed the other; what goes on between them must follow
ANNOUNCE = "announce"  # user, News: came or went: the others may be told
BAR = "bar"  # network, None: it is banned: whoever is connected from there is told so, and let go
NODES = "nodes"  # what ("up", "down", "snapshot_begin", "snapshot"), fields: a node has come, gone, or made a snapshot
END = "end"  # user, (login, status, text): the session that began with `login` is over; its connection is told why
FORGET = "forget"  # name ("": none), party: an account, or a thread, is gone: parts of its files, its name in the logs
ERASE = "erase"  # offsets (read as they are erased), None: the lines there in the message store are blanked, in place
ERASE_LAST = "erase_last"  # offsets, None: the same, when all that was erased before is durable
ADOPT = "adopt"  # blob, None: these bytes of an upload are the world's now
PARAMETERS = "parameters"  # None, None: some, or the administrator's password, have changed; what goes on must follow
UNLINK = "unlink"  # blob, None: nobody needs these bytes any more
