"""A client as a library: the wire without I/O, the link under it, and what a bot imports.

Must not know the server's insides, nor people (that is ``chatlib.program``). Read in this order: ``news`` (what
happens), ``conversation`` (the wire), ``entrance`` (who one is), ``link`` (coming back), ``servers`` (which of several
is next), ``sockets`` (plain, and inside TLS), ``trust`` and ``trusts`` (whose certificate that is), ``library`` (for
programs). Files: ``transfers`` (the queue), ``files`` (the two ways), ``filelinks`` (their connections), ``localfiles``
(the disk). Direct connections: ``peers`` (introductions), ``contacts`` (one for each user), ``peerlinks`` (the
connection), ``peerport`` (where one is called), ``given`` (what came before), ``peercalls`` (a bot's calls). Money:
``bank`` (a bot's calls), ``cheques`` (the book of them), ``kept`` (its file).
"""

from chatlib.client.cheques import NoCheque
from chatlib.client.conversation import Conversation
from chatlib.client.failures import Disconnected, Refused
from chatlib.client.library import Client
from chatlib.client.link import Link
from chatlib.client.localfiles import TransferError
from chatlib.client.memory import FileMemory

__all__ = ["Client", "Conversation", "Disconnected", "TransferError", "FileMemory", "Link", "NoCheque", "Refused"]
