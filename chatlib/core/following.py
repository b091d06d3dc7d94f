"""Following: who hears what happens in a thread.

What happens in a thread is an event in the thread's stream: one line, stored once, for all who follow it, online or
away. Who opens a thread or puts something into it follows it from then on. When a thread is removed, its stream stays
for those who are away, until GRAVES others were removed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from chatlib.core.effects import CLOSE, FOLLOW, PUBLISH, UNFOLLOW
from chatlib.core.feature import Command, Request
from chatlib.core.replies import Reply, page_of_names, refusal
from chatlib.core.streams import UNKNOWN
from chatlib.core.threads import Thread, forum_of
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import World

FOLLOWED = 500  # threads that one user may follow
GRAVES = 100  # streams of removed threads that are kept
PAGE = 300  # threads in one page: with the longest titles and names it still is one line


def no_such_thread(title: str) -> Reply:
    """The refusal for a title that no thread has."""
    return refusal("NO_SUCH_THREAD", f'There is no thread "{title}".')


def publish(world: World, thread: Thread, account: Account | None, event: str) -> None:
    """What `account` did in `thread` (None: what no block hides), for whoever follows it. `event` is JSON."""
    line = f" {thread.stream} {event}\n".encode()
    sender, excluded = (account.user, account.blocked_by or ()) if account else (UNKNOWN, ())
    world.say_in(thread.stream, sender, line, (PUBLISH, line, (thread.stream, excluded)))


def head(world: World, lsn: int, thread: Thread, what: str, by: str) -> str:
    """With what each event of a thread begins: `what` says its kind. Titles and names need no escapes."""
    return f'{{{what},"seq":{lsn},"time":{world.at_text},"thread":"{thread.title}","from":"{by}"'


def join(world: World, lsn: int, account: Account, thread: Thread) -> bool:
    """`account` follows `thread`, this command's own event included; False: it follows too many."""
    follows = account.follows or {}
    if thread.stream in follows:
        return True
    if len(follows) >= FOLLOWED:
        follows = {name: since for name, since in follows.items() if name in world.streams}
        if len(follows) >= FOLLOWED:
            return False
    follows[thread.stream] = lsn - 1
    account.follows = follows
    world.effects.append((FOLLOW, account.user, thread.stream))
    return True


def bury(world: World, thread: Thread) -> None:
    """`thread` is removed, and its last event published: its stream stays for a while."""
    streams, forum = world.streams, forum_of(world)
    if forum.graves is None:  # the first time since the world was read; all streams are looked through once
        alive = {each.stream for each in forum.values()} | {thread.stream}
        forum.graves = deque(name for name in streams if name.startswith("#") and name not in alive)
    streams[thread.stream] = streams.pop(thread.stream)  # the last to be removed stands last
    forum.graves.append(thread.stream)
    while len(forum.graves) > GRAVES:
        del streams[forum.graves.popleft()]
    world.effects.append((CLOSE, thread.stream, None))


def follow(world: World, lsn: int, command: Command) -> Reply:
    """`by` wants to hear what happens in a thread. Whoever does already goes on."""
    thread = forum_of(world).named(command["title"])
    if thread is None:
        return no_such_thread(command["title"])
    if not join(world, lsn, world.accounts[command["by"]], thread):
        return refusal("TOO_MANY_THREADS", f"You follow {FOLLOWED} threads: unfollow one first.")
    return {"status": "OK", "thread": thread.title}


def unfollow(world: World, _lsn: int, command: Command) -> Reply:
    """`by` wants to hear nothing more of a thread."""
    thread, account = forum_of(world).named(command["title"]), world.accounts[command["by"]]
    if thread is None:
        return no_such_thread(command["title"])
    if account.follows and account.follows.pop(thread.stream, None) is not None:
        account.follows = account.follows or None
        world.effects.append((UNFOLLOW, account.user, thread.stream))
    return {"status": "OK", "thread": thread.title}


def following(world: World, user: str, request: Request, _now: float) -> Reply:
    """The threads that the user follows."""
    forum, after = forum_of(world), fold(request.get("after", ""))
    followed = {name: name[1:].rpartition("/")[0] for name in world.accounts[user].follows or ()}
    found = sorted(folded for name, folded in followed.items()
                   if folded > after and folded in forum and forum[folded].stream == name)  # fmt: skip
    return page_of_names(iter(found), lambda folded: forum[folded].title, PAGE)
