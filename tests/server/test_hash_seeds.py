"""The same log makes the same text files, byte by byte, whatever order sets have in a process (PYTHONHASHSEED)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from chatlib.protocol.framing import dumps
from chatlib.storage.home import Home
from chatlib.storage.journal import Journal
from tests.chance import examples, new_chance
from tests.server.house import VERIFIER, Disk

ROOT = Path(__file__).resolve().parents[2]
USERS = [f"user{number}" for number in range(25)]
ORIGINS = [f"10.0.0.{number}" for number in range(9)]
AT = 1_700_000_000.0
NOT_COMPARED = ("lock", "writer.lock")

SERVER = """
import sys
from pathlib import Path
from chatlib.server.server import Server
from chatlib.storage.checker import Checker
from chatlib.storage.home import Home
from chatlib.storage.syncer import Syncer

server = Server(Home(Path(sys.argv[1])), Syncer(), Checker(), print, lambda: 1_000.0, lambda: 1_700_000_060.0)
sys.exit(server.close() or 0)
"""


def commands(chance: Any, count: int) -> list[dict[str, Any]]:
    """A life in which much depends on many others: blocks, lockouts, keys, files, and who goes."""
    life = [{"action": "edit", "parameters": {"MAX_FAILURES": 3}, "accounts": {user: str(VERIFIER) for user in USERS}}]
    life += [{"action": "login", "user": user, "address": ORIGINS[0], "client": user[-1] * 3} for user in USERS]
    for number in range(count):
        title = {"by": chance.choice(USERS), "title": f"thread{number % 3}"}
        user, other, origin = chance.choice(USERS), chance.choice(USERS), chance.choice(ORIGINS)
        one: dict[str, Any] = chance.choice([
            {"action": "message", "by": user, "to": other, "text": f"message {number}", "key": f"k{number % 5}"},
            {"action": "broadcast", "by": user, "text": f"broadcast {number}"},
            {"action": "block", "by": user, "user": other},
            {"action": "block", "by": user, "user": other},
            {"action": "unblock", "by": user, "user": other},
            {"action": "wrong_password", "user": user, "address": origin},
            {"action": "login", "user": user, "address": origin, "client": f"c{number % 4}"},
            {"action": "file_stored", "user": user, "to": other, "name": f"file {number % 9}", "size": 10,
             "sha256": "0" * 64, "blob": f"{number:032x}"},
            {"action": "filedecline", "by": user, "sender": other, "name": f"file {number % 9}"},
            {"action": "crt", **title}, {"action": "msg", **title, "text": f"post {number}"},
            {"action": "msg", **title, "text": f"post {number}"}, {"action": "follow", **title},
            {"action": "rmv", **title} if number % 5 == 0 else {"action": "dlt", **title, "number": 1},
            {"action": "seen", "seen": {user: number, other: number}},
            {"action": "unlock", "user": user} if number % 10 else {"action": "kick", "user": user},
        ])  # fmt: skip
        life.append(one)
        if number % 40 == 0:
            life += [{"action": "kick", "user": user}, {"action": "deregister", "user": user}]
        if number % 40 == 20:
            life += [{"action": "register", "user": user, "verifier": str(VERIFIER)} for user in USERS]
            life += [{"action": "login", "user": user, "address": ORIGINS[0]} for user in USERS]
    return life


def test_the_text_files_do_not_depend_on_the_order_of_sets(tmp_path: Path) -> None:
    chance = new_chance()
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "para.txt").write_text("MAX_FAILURES 3\nBLOCK_SCOPE user_ip\n")
    home, disk = Home(begun), Disk()
    home.epoch()
    journal = Journal(home.data, disk)  # type: ignore[arg-type]
    journal.prove(0, False)
    journal.mend()
    journal.open()
    for number, command in enumerate(commands(chance, 100 * examples(6))):
        journal.append(dumps({"at": AT + number / 100, **command}).encode())
    journal.commit()
    journal.close()
    disk.close()
    os.close(home._lock_fd)
    made = {}
    for seed in ("0", "1", "2", str(chance.randrange(3, 2**32))):
        folder = tmp_path / seed
        shutil.copytree(begun, folder)
        done = subprocess.run([sys.executable, "-c", SERVER, str(folder)], cwd=ROOT, capture_output=True, text=True,
                              env={**os.environ, "PYTHONHASHSEED": seed}, stdin=subprocess.DEVNULL)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        said = done.stdout.rpartition(" in ")[0]  # how long the recovery took is none of its results
        made[seed] = said, {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in NOT_COMPARED and path.parent.name != "logs"
        }
    (first_said, first), *others = made.values()
    for name in ("block_rep.txt", "list_block.txt", "file_rep.txt", "replies.txt", "threads/thread1"):
        assert len(first[f"data/{name}"].splitlines()) > 5, f"{name}: a life in which too little happened"
    for said, files in others:
        assert said == first_said
        assert files.keys() == first.keys()
        for name, content in files.items():
            assert content == first[name], name
