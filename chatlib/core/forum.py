"""The forum: threads and their numbered messages. Files in threads are in :mod:`.attachments`, and who hears what
happens in :mod:`.following`.

Everybody reads and writes. Only its author changes or deletes a message, only its creator removes a thread; that of a
creator whose account is gone belongs to the administrator, who may remove any. An account's messages stay under its
name when it goes, and somebody new under that name owns nothing of them. Blocks do not apply to what is read here.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from chatlib.core import attachments, threads
from chatlib.core.effects import FORGET, UNLINK
from chatlib.core.feature import Command, Feature, FlatFolder, Request
from chatlib.core.following import PAGE, bury, follow, following, head, join, no_such_thread, publish, unfollow
from chatlib.core.replies import Reply, encoded, page, page_of_names, refusal
from chatlib.core.streams import SharedStream
from chatlib.core.threads import Attachment, Author, Forum, Thread, forum_of
from chatlib.protocol.framing import MAX_LINE, dumps, quote
from chatlib.protocol.text import fold

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import World

THREADS = 10_000  # in all
MESSAGES = 50_000  # in one thread: what is done to a thread as a whole must not take long
PAGE_SIZE = MAX_LINE - 4_096  # bytes that the items of one page may have
_RESERVED = frozenset({"all"})


def create(world: World, lsn: int, command: Command) -> Reply:
    """A new thread, which its creator follows."""
    forum, title, account = forum_of(world), command["title"], world.accounts[command["by"]]
    if fold(title) in _RESERVED:
        return refusal("THREAD_EXISTS", f'The title "{title}" is reserved.')
    there = forum.named(title)
    if there is not None:
        return refusal("THREAD_EXISTS", f'There is a thread "{there.title}" already.')
    if len(forum) >= THREADS:
        return refusal("TOO_MANY_THREADS", f"There are {THREADS} threads: one must be removed first.")
    thread = Thread(title, Author(account.name, account.joined), lsn, lsn)
    forum[fold(title)] = thread
    world.streams[thread.stream] = SharedStream()
    join(world, lsn, account, thread)
    return {"status": "OK", "thread": title}


def write(world: World, lsn: int, command: Command) -> Reply:
    """Another message in a thread, whose author follows it from then on."""
    thread, account = forum_of(world).named(command["title"]), world.accounts[command["by"]]
    if thread is None:
        return no_such_thread(command["title"])
    if len(thread.seqs) >= MESSAGES:
        return refusal("TOO_MANY_MESSAGES", f'The thread "{thread.title}" is full: open another one.')
    text = command["text"]
    number = thread.add(lsn, world.at, Author(account.name, account.joined), text)
    thread.changed = lsn
    if account.follows is None or thread.stream not in account.follows:
        join(world, lsn, account, thread)
    event = head(world, lsn, thread, '"event":"post"', account.name)
    publish(world, thread, account, f'{event},"number":{number},"text":{quote(text)}}}')
    return encoded(f'{{"status":"OK","seq":{lsn},"number":{number}}}', {"status": "OK", "seq": lsn, "number": number})


def _own(world: World, command: Command) -> tuple[Thread, int] | Reply:
    """The thread and the place of a message that `by` may change, or why not."""
    thread, number, seq = forum_of(world).named(command["title"]), command["number"], command.get("seq")
    if thread is None:
        return no_such_thread(command["title"])
    if seq is not None and (number > len(thread.seqs) or thread.seqs[number - 1] != seq):
        place = thread.place_of(seq)
        where = "is gone" if place is None else f"has the number {place + 1}"
        more = {} if place is None else {"number": place + 1}
        return refusal("CHANGED", f'The message that you mean {where} by now. Read the thread again.', **more)
    if number > len(thread.seqs):
        return refusal("NO_SUCH_MESSAGE", f'There is no message {number} in the thread "{thread.title}".')
    author = thread.authors[number - 1]
    if not author.is_account(world.accounts[command["by"]]):
        return refusal("NOT_OWNER", f'Message {number} is by "{author.name}", who alone may do that.')
    return thread, number - 1


def delete(world: World, lsn: int, command: Command) -> Reply:
    """A message goes, and those behind it move up."""
    found = _own(world, command)
    if isinstance(found, dict):
        return found
    (thread, place), account = found, world.accounts[command["by"]]
    seq = thread.seqs[place]
    thread.delete(place)
    thread.changed = lsn
    event = head(world, lsn, thread, '"event":"delete"', account.name)
    publish(world, thread, account, f'{event},"number":{place + 1},"of":{seq}}}')
    return {"status": "OK", "seq": lsn, "number": place + 1}


def change(world: World, lsn: int, command: Command) -> Reply:
    """A message says something else."""
    found = _own(world, command)
    if isinstance(found, dict):
        return found
    (thread, place), account, text = found, world.accounts[command["by"]], command["text"]
    thread.edit(place, text, world.at)
    thread.changed = lsn
    event = head(world, lsn, thread, '"event":"edit"', account.name)
    more = f'"number":{place + 1},"of":{thread.seqs[place]},"text":{quote(text)}'
    publish(world, thread, account, f"{event},{more}}}")
    return {"status": "OK", "seq": lsn, "number": place + 1}


def remove(world: World, lsn: int, command: Command) -> Reply:
    """The creator removes a thread, with its files."""
    thread, account = forum_of(world).named(command["title"]), world.accounts[command["by"]]
    if thread is None:
        return no_such_thread(command["title"])
    if not thread.creator.is_account(account):
        text = f'The thread "{thread.title}" is by "{thread.creator.name}", who alone may do that.'
        return refusal("NOT_OWNER", text)
    _remove(world, lsn, thread, account)
    return {"status": "OK", "seq": lsn, "thread": thread.title}


def remove_for_admin(world: World, lsn: int, command: Command) -> Reply:
    """The administrator removes a thread, whoever created it."""
    thread = forum_of(world).named(command["title"])
    if thread is None:
        return no_such_thread(command["title"])
    _remove(world, lsn, thread, None)
    return {"status": "OK", "thread": thread.title}


def _remove(world: World, lsn: int, thread: Thread, account: Account | None) -> None:
    """No block hides that a thread is gone. ``system`` is nobody's name."""
    event = head(world, lsn, thread, '"event":"thread_removed"', account.name if account else "system")
    publish(world, thread, None, f"{event}}}")
    del forum_of(world)[fold(thread.title)]
    world.effects += [(UNLINK, file.blob, None) for file in thread.attachments.values()]
    world.effects.append((FORGET, "", thread.stream))
    bury(world, thread)


# Questions.


def list_threads(world: World, user: str, request: Request, _now: float) -> Reply:
    """All threads, by their titles."""
    forum, follows = forum_of(world), world.accounts[user].follows or {}

    def show(folded: str) -> dict[str, Any]:
        thread = forum[folded]
        item = {"title": thread.title, "creator": thread.creator.name, "messages": len(thread.seqs)}
        last = {"time": thread.times[-1]} if thread.times else {}
        return {**item, **last, "following": thread.stream in follows}

    return page_of_names(forum.after(fold(request.get("after", ""))), show, PAGE)


def read(world: World, _user: str, request: Request, _now: float) -> Reply:
    """What stands in a thread: the last of it, or the last before a number."""
    thread = forum_of(world).named(request["title"])
    if thread is None:
        return no_such_thread(request["title"])
    before, number = request.get("before", world.lsn + 1), request.get("number")
    if number is not None and number <= len(thread.seqs):
        before = min(before, thread.seqs[number - 1])
    return {"thread": thread.title, **_page(thread, before, request.get("count"))}


def _page(thread: Thread, before: int, count: int | None) -> Reply:
    found: list[dict[str, Any]] = []
    size, last = 0, before
    for entry in islice(thread.before(before), count):
        item = _shown(thread, entry)
        size += len(dumps(item).encode()) + 1
        if size > PAGE_SIZE:
            return page(found[::-1], last)
        found.append(item)
        last = item["seq"]
    return page(found[::-1], None)


def _shown(thread: Thread, entry: int | Attachment) -> dict[str, Any]:
    if isinstance(entry, Attachment):
        return {"seq": entry.seq, "time": entry.at, "from": entry.author.name, "file": entry.name, "size": entry.size}
    seq = thread.seqs[entry]
    item = {"seq": seq, "time": thread.times[entry], "from": thread.authors[entry].name, "number": entry + 1,
            "text": thread.texts[entry]}  # fmt: skip
    return {**item, "edited": thread.edited[seq]} if seq in thread.edited else item


FEATURE = Feature(
    "forum",
    handlers={
        "crt": create, "msg": write, "dlt": delete, "edt": change, "rmv": remove, "rmf": attachments.remove_file,
        "attached": attachments.attached, "follow": follow, "unfollow": unfollow, "remove_thread": remove_for_admin,
    },
    answers={"lst": list_threads, "rdt": read, "following": following},
    uploads={"upd": attachments.upload},
    downloads={"dwn": attachments.download},
    files={
        "threads/": FlatFolder(
            "who created a thread; its messages, and files that were uploaded; behind a tab, what the server needs",
            threads.names, threads.dump, threads.load, threads.first_line,
        ),
    },
    blobs=attachments.blobs,
    parties=lambda world: (thread.stream for thread in forum_of(world).values()),
    state=Forum,
    speaks={"crt": "", "msg": "", "edt": "", "upd": ""},
)  # fmt: skip
