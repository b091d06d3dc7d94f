"""The client's edge: the wire without I/O, the link under it, a library for bots, and the program for people.

Must not know the server's insides. Read in this order: ``news`` (what happens), ``conversation`` (the wire), ``link``
(the socket, and coming back), ``library`` (for programs); ``lines``, ``dialogue`` and ``program`` (for people).
Files: ``transfers`` (the queue, and what all have in common), ``sending`` and ``receiving`` (the two ways),
``carriers`` (their connections), ``localfiles`` (the disk); ``filetalk`` (for people).
"""

from chatlib.client.conversation import Conversation
from chatlib.client.library import Client, Disconnected, Refused
from chatlib.client.link import Link
from chatlib.client.localfiles import FileError
from chatlib.client.memory import FileMemory

__all__ = ["Client", "Conversation", "Disconnected", "FileError", "FileMemory", "Link", "Refused"]
