"""What a bot can do with threads: a part of :class:`chatlib.client.library.Client`.

Must not know connections, nor how a call waits. Each raises Refused for what the server refuses. A number means what it
means at that moment; who goes by what was read before gives the message's ``seq``, too, and is refused as CHANGED when
another message has the number by now.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import cast

from chatlib.client.files import Fetching, Place, ThreadFiles
from chatlib.client.news import Fields


class ForumCalls(ABC):
    """Calls about threads."""

    @abstractmethod
    def request(self, action: str, fields: Fields | None = None, *, key: str | None = None) -> Fields: ...

    @abstractmethod
    def _put(self, place: Place, path: str | Path) -> None: ...

    @abstractmethod
    def _get(self, place: Place, name: str, folder: str | Path) -> Fetching: ...

    # Threads.

    def threads(self) -> list[Fields]:
        """All: ``title``, ``creator``, ``messages``, the last one's ``time`` if there is any, ``following``."""
        return cast(list[Fields], self.request("lst")["items"])

    def create_thread(self, title: str) -> None:
        """Opens a thread, and follows it."""
        self.request("crt", {"title": title})

    def remove_thread(self, title: str) -> None:
        """Removes one that one has created, with its files."""
        self.request("rmv", {"title": title})

    def follow(self, title: str) -> None:
        """What happens there becomes an event: ``post``, ``edit``, ``delete``, ``upload``, ``file_removed``,
        ``thread_removed``."""
        self.request("follow", {"title": title})

    def unfollow(self, title: str) -> None:
        self.request("unfollow", {"title": title})

    def following(self) -> list[str]:
        """The titles that one follows."""
        return cast(list[str], self.request("following")["items"])

    # Messages.

    def post(self, title: str, text: str, *, key: str | None = None) -> Fields:
        """Writes a message, and follows the thread; ``["number"]`` and ``["seq"]`` are the message's."""
        return self.request("msg", {"title": title, "text": text}, key=key)

    def read_thread(self, title: str, count: int | None = None, before: int | None = None) -> list[Fields]:
        """What stands there, oldest first; the last `count` items; those before the message number `before`.

        A message has ``seq``, ``time``, ``from``, ``number``, ``text`` and perhaps ``edited``; a file ``seq``,
        ``time``, ``from``, ``file``, ``size``.
        """
        asked = {"title": title, "count": count, "number": before}
        fields: Fields = {name: value for name, value in asked.items() if value is not None}
        return cast(list[Fields], self.request("rdt", fields)["items"])

    def edit_post(self, title: str, number: int, text: str, *, seq: int | None = None) -> None:
        """Changes a message of one's own."""
        self.request("edt", {"title": title, "number": number, "text": text, **({} if seq is None else {"seq": seq})})

    def delete_post(self, title: str, number: int, *, seq: int | None = None) -> None:
        """Deletes a message of one's own; those behind it move up."""
        self.request("dlt", {"title": title, "number": number, **({} if seq is None else {"seq": seq})})

    # Files.

    def upload(self, title: str, path: str | Path) -> None:
        """Puts a file into a thread; as ``send_file``."""
        self._put(ThreadFiles(title), path)

    def download(self, title: str, name: str, folder: str | Path = ".") -> Path:
        """Saves a thread's file in `folder`, under a name that is safe and free: the answer. As ``fetch``."""
        path = self._get(ThreadFiles(title), name, folder).path
        assert path is not None
        return path

    def remove_file(self, title: str, name: str) -> None:
        """Removes a file of one's own, or one from a thread of one's own."""
        self.request("rmf", {"title": title, "name": name})
