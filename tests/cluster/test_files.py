"""Files between real servers on a real engine, while either dies."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path

import pytest

from chatlib.client import Client, Refused
from tests.cluster.engine import Engine, why_not
from tests.cluster.servers import WORLD, Server, Servers
from tests.patience import LIMIT
from tests.program.peer import PASSWORD

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
DATA = random.Random(9).randbytes(20_000_003)


def logged_in(server: Server, user: str) -> Client:
    client = Client("127.0.0.1", server.port)
    client.login(user, PASSWORD)
    return client


def fetched(client: Client, name: str, folder: Path) -> bytes:
    """A file that the client's server hears of now, or has heard of."""
    while (event := client.next_event(LIMIT)) is not None and event.get("name") != name:
        pass
    return client.fetch("ann", name, folder).read_bytes()


def shipper(server: Server) -> int:
    """The child that carries files to the engine: the last of those that were forked at the start."""
    assert server.process
    pid = server.process.pid
    return max(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def a_file(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(DATA)
    return path


def test_files_of_one_server_are_there_at_all(engine: Engine, tmp_path: Path) -> None:
    with Servers(engine, tmp_path, ("ann", "bob", "carl")) as servers:
        servers.start()
        down = tmp_path / "down"
        down.mkdir()
        ann, bob = logged_in(servers["s1"], "ann"), logged_in(servers["s2"], "bob")
        ann.send_file("bob", a_file(tmp_path, "one"))
        assert fetched(bob, "one", down) == DATA
        node = engine.node("leader", f"{WORLD}_files")
        threading.Timer(0.2, node.kill).start()
        for name in ("two", "three"):  # the node dies in the middle of one of them
            ann.send_file("bob", a_file(tmp_path, name))
        node.start()
        servers["s1"].kill()
        for name in ("two", "three"):
            assert fetched(bob, name, down) == DATA
        os.kill(shipper(servers["s2"]), signal.SIGKILL)
        servers["s2"].wait_for("The child that carries files to the other servers has died")
        with logged_in(servers["s2"], "carl") as carl:
            with pytest.raises(Refused, match="until it is started again"):
                carl.send_file("ann", a_file(tmp_path, "four"))
            carl.message("ann", "files go no more, but words do")
        ann.close()
        bob.close()
