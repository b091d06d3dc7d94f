"""The bytes of files that other nodes have, for a backup: from the engine, over a link of its own, which waits.

Must not know whose bytes they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

from chatlib.cluster.blobs import Mover
from chatlib.cluster.link import EngineLink
from chatlib.cluster.vault import Outcome
from chatlib.protocol.nats import Engine
from chatlib.server.backup import Fetch
from chatlib.storage.textfile import FileError

PATIENCE = 15.0  # seconds for an engine that does not let us in


@contextmanager
def fetching(engine: Engine) -> Iterator[Fetch]:
    """What fetches a blob into a file, while the block lasts. Raises FileError when the engine does not let us in."""
    link = EngineLink(None, engine)
    mover = Mover(link, engine.name)

    def fetch(blob: str, size: int, sha256: str, file: BinaryIO) -> bool:
        return mover.alone(partial(mover.fetch, blob, file.fileno(), size, sha256)).outcome is Outcome.DONE

    try:
        if not link.wait(lambda: link.connected or bool(link.failure), PATIENCE) or link.failure:
            raise FileError(f"The log cannot be used: {link.failure or link.trouble}.")
        yield fetch
    finally:
        link.close()
