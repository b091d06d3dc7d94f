"""Files in threads: who put which bytes where, and who may fetch or remove them. The bytes are not here; they lie under
names that the server chose.

One command makes a file visible, when its bytes are on disk; so it is there whole or not at all. It stays until it is
removed, or its thread is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from chatlib.core.effects import ADOPT, UNLINK
from chatlib.core.feature import Coming, Command, DownloadGrant, Pools, Request, UploadGrant
from chatlib.core.following import head, join, no_such_thread, publish
from chatlib.core.replies import Reply, no_such_user, refusal
from chatlib.core.rulings import muted
from chatlib.core.threads import Attachment, Author, Thread, forum_of
from chatlib.protocol.framing import quote

if TYPE_CHECKING:
    from chatlib.core.world import World

FILES = 2_000  # files in one thread; empty ones count

_NOTHING_COMING = Coming(0, 0, 0)


def _no_such_file(thread: Thread, name: str) -> Reply:
    return refusal("NO_SUCH_FILE", f'There is no file "{name}" in the thread "{thread.title}".')


def _refuses(world: World, thread: Thread, name: str, size: int, coming: Coming = _NOTHING_COMING) -> Reply:
    """Why a file may not be put into the thread (empty: it may)."""
    there = thread.attachments.get(name)
    if there is not None:
        text = f'There is a file "{name}" in the thread "{thread.title}" already: rename yours.'
        return refusal("FILE_EXISTS", text, sha256=there.sha256)
    limit, quota = world.parameters["MAX_FILE_SIZE"], world.parameters["THREAD_QUOTA"]
    if size > limit:
        return refusal("FILE_TOO_LARGE", f'"{name}" has {size:,} bytes; {limit:,} are allowed.')
    if len(thread.attachments) + coming.files >= FILES:
        return refusal("TOO_MANY_FILES", f'There are {FILES} files in the thread "{thread.title}".')
    used = thread.size + coming.size
    if used + size > quota:
        text = f'"{name}" has {size:,} bytes; the thread "{thread.title}" has room for {max(0, quota - used):,}.'
        return refusal("QUOTA_EXCEEDED", text)
    return {}


def upload(world: World, user: str, request: Request, coming: Pools) -> UploadGrant | Reply:
    """May the user put this file there? Its bytes become visible by ``attached``, which checks again."""
    thread = forum_of(world).named(request["title"])
    if thread is None:
        return no_such_thread(request["title"])
    name, size, sha256 = request["name"], request["size"], request["sha256"]
    refused = _refuses(world, thread, name, size, coming(thread.stream))
    if refused:
        return refused
    sender = world.accounts[user]
    command = {"action": "attached", "user": user, "joined": sender.joined, "title": thread.title,
               "created": thread.created, "name": name, "size": size, "sha256": sha256}  # fmt: skip
    # A name or a title may go to another user or thread, so whichever is meant is part of the identity.
    identity = (sender.party, thread.stream, name, str(size), sha256)
    return UploadGrant(identity, thread.stream, name, size, sha256, command, tells="")


def download(world: World, _user: str, request: Request, _coming: Pools) -> DownloadGrant | Reply:
    """A file of a thread, for anybody."""
    thread = forum_of(world).named(request["title"])
    if thread is None:
        return no_such_thread(request["title"])
    file = thread.attachments.get(request["name"])
    if file is None:
        return _no_such_file(thread, request["name"])
    return DownloadGrant(file.blob, file.size, file.sha256)


def attached(world: World, lsn: int, command: Command) -> Reply:
    """A file's bytes are on disk: it becomes visible, unless a rule refuses it by now."""
    thread, account = forum_of(world).named(command["title"]), world.accounts.get(command["user"])
    if thread is None or thread.created != command["created"]:
        return no_such_thread(command["title"])
    if account is None or account.joined != command["joined"]:
        return no_such_user(command["user"])
    refused = _refuses(world, thread, command["name"], command["size"]) or muted(world, account.user)
    if refused:
        return refused
    author = Author(account.name, account.joined)
    file = Attachment(lsn, world.at, author, command["name"], command["size"], command["sha256"], command["blob"])
    thread.attach(file)
    thread.changed = lsn
    world.effects.append((ADOPT, file.blob, None))
    join(world, lsn, account, thread)
    event = head(world, lsn, thread, '"event":"upload"', account.name)
    publish(world, thread, account, f'{event},"name":{quote(file.name)},"size":{file.size}}}')
    return {"status": "OK", "seq": lsn}


def remove_file(world: World, lsn: int, command: Command) -> Reply:
    """Whoever put the file there, or opened the thread, removes it."""
    thread, account = forum_of(world).named(command["title"]), world.accounts[command["by"]]
    if thread is None:
        return no_such_thread(command["title"])
    file = thread.attachments.get(command["name"])
    if file is None:
        return _no_such_file(thread, command["name"])
    if not (file.author.is_account(account) or thread.creator.is_account(account)):
        text = f'"{file.name}" is a file of "{file.author.name}", and the thread one of "{thread.creator.name}".'
        return refusal("NOT_OWNER", text)
    thread.detach(file)
    thread.changed = lsn
    world.effects.append((UNLINK, file.blob, None))
    event = head(world, lsn, thread, '"event":"file_removed"', account.name)
    publish(world, thread, account, f'{event},"name":{quote(file.name)}}}')
    return {"status": "OK", "seq": lsn}


def blobs(world: World) -> Iterator[str]:
    """The bytes of all files in threads."""
    return (file.blob for thread in forum_of(world).values() for file in thread.attachments.values())
