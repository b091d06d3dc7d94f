"""A home that an earlier version left, of format 1: nothing had a checksum, and there was no manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.core import snapshot
from chatlib.server import backup
from chatlib.storage import checkpoint
from chatlib.storage.textfile import FileError
from tests.server.house import VERIFIER, House
from tests.server.lived import looked_at
from tests.server.test_recovery import digests, mail

V = str(VERIFIER)
HOME = {
    "para.txt": "SCRAM_ITERATIONS 4096\nRATE_LIMIT 0\n",
    "credentials.txt": f"Columbia {V}\nSEAS {V}\ndeadbeef {V}\n",
    "data/credentials.base": f'{{"deadbeef": "{V}", "seas": "{V}", "columbia": "{V}"}}',
    "data/para.base": '{"rate_limit": "0", "scram_iterations": "4096"}',
    "data/epoch.txt": "7fbe33da00bcc568\n",
    "data/state.txt": """\
# state.txt 1: the last command in these files, and the parameters
lsn 11
at 1700000000.0
store_end 535
SCRAM_ITERATIONS 4096
RATE_LIMIT 0
""",
    "data/users.txt": f"""\
# users.txt 1: name, verifier, LSN of registration, last departure, open session
Columbia {V} 2 1700000000.0 null
SEAS {V} 2 0.0 null
deadbeef {V} 2 0.0 null
""",
    "data/mailboxes.txt": """\
# mailboxes.txt 1: user, seen up to, skipped broadcasts, seqs and offsets in message_rep.txt
all\t0\t\t7\t356
columbia\t9\t\t\t
seas\t2\t\t4 5 6\t68 164 260
deadbeef\t2\t\t8\t444
""",
    "data/block_rep.txt": "# block_rep.txt 1: who blocks whom\nseas deadbeef\n",
    "data/list_block.txt": "# list_block.txt 1: user, origin, wrong passwords, last one, locked out until\n",
    "data/file_rep.txt": "# file_rep.txt 1: receiver, sender, waiting file\n",
    "data/replies.txt": """\
# replies.txt 1: user, key and first reply
columbia ["k1","a409e4f5{\\"status\\":\\"OK\\",\\"seq\\":8,\\"delivered\\":false}"]
""",
    "data/message_rep.txt": """\
# message_rep.txt 1: receiver (or all), and the event as it is sent
SEAS {"event":"message","seq":4,"time":1700000000.0,"from":"Columbia","text":"first 0 grüße"}
SEAS {"event":"message","seq":5,"time":1700000000.0,"from":"Columbia","text":"first 1 grüße"}
SEAS {"event":"message","seq":6,"time":1700000000.0,"from":"Columbia","text":"first 2 grüße"}
all {"event":"broadcast","seq":7,"time":1700000000.0,"from":"Columbia","text":"to all"}
deadbeef {"event":"message","seq":8,"time":1700000000.0,"from":"Columbia","text":"secret"}
SEAS {"event":"message","seq":14,"time":1700000000.0,"from":"Columbia","text":"in the journal"}
""",
    "data/journal.txt": """\
# journal.txt 1: LSN, CRC-32 of LSN and command, command
12 82391e38 {"action":"start","at":1700000000.0,"left":1700000000.0}
13 ee00e3cb {"action":"login","at":1700000000.0,"user":"columbia","address":"10.0.0.1"}
14 a65bc660 {"by":"columbia","at":1700000000.0,"action": "message", "to": "SEAS", "text": "in the journal"}
15 f43b15ae {"action":"deregister","at":1700000000.0,"user":"deadbeef"}
""",
}
TEXTS = ["first 0 grüße", "first 1 grüße", "first 2 grüße", "to all", "in the journal"]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The home of an earlier version that was killed."""
    (tmp_path / "data").mkdir(mode=0o700)
    for name, held in HOME.items():
        (tmp_path / name).write_text(held, encoding="utf-8")
    return tmp_path


@pytest.fixture
def move_in(old: Path) -> Iterator[Callable[[], House]]:
    """Starts this version's server there."""
    houses: list[House] = []

    def start() -> House:
        houses.append(House(old))
        return houses[-1]

    yield start
    for house in houses:
        house.close()


def check(house: House) -> None:
    assert mail(house) == TEXTS
    assert house.server.home.epoch() == "7fbe33da00bcc568"
    assert b"secret" not in (house.folder / "data" / "message_rep.txt").read_bytes(), "deadbeef is gone"
    assert "deadbeef" not in house.read("credentials.txt")


def test_it_is_read_and_written_anew(move_in: Callable[[], House]) -> None:
    house = move_in()
    assert "The text files are of an earlier version's format: they are written anew." in house.said
    check(house)
    assert checkpoint.prove(house.folder / "data", snapshot.files()).format == 2
    house.crash()
    house.restart()
    assert house.login("Columbia").ask("message", to="SEAS", text="and on")["status"] == "OK"
    assert house.stop() == ""
    for path in (house.folder / "data").glob("*.txt"):
        text = path.read_text()
        assert path.name == "epoch.txt" or text.startswith(f"# {path.name} 2: "), path
    assert len(house.read("data/epoch.txt")) == 26
    house.restart()
    assert mail(house) == ["and on"]


@pytest.mark.parametrize("moment", ["before it holds", "before it is moved", "while it is moved"])
def test_a_crash_in_between(move_in: Callable[[], House], monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    class Crash(BaseException):
        pass

    def crash(*_: object) -> None:
        raise Crash

    replaced = Path.replace
    moved: list[str] = []

    def twice(path: Path, target: Path) -> Path:
        moved.append(path.name)
        if len(moved) == 5:
            raise Crash
        return replaced(path, target)

    with monkeypatch.context() as patched:
        if moment == "before it holds":
            patched.setattr(Path, "rename", crash)
        elif moment == "before it is moved":
            patched.setattr(checkpoint, "_move", crash)
        else:
            patched.setattr(Path, "replace", twice)
        with pytest.raises(Crash):
            move_in()
    check(move_in())


def test_it_is_verified_as_far_as_it_can_be_proven_and_not_backed_up(old: Path, tmp_path: Path) -> None:
    report = looked_at(old)
    assert report.is_whole
    assert "an earlier version" in report.notes[0]
    with pytest.raises(FileError, match="start the server once, if an earlier version wrote the home"):
        backup.write(old, tmp_path / "b.tar.gz")
    (old / "data" / "users.txt").unlink()
    assert not looked_at(old).is_whole


@pytest.mark.parametrize("name", [name for name in HOME if name.endswith(".txt") and name.startswith("data/")])
def test_an_incomplete_one_is_refused(move_in: Callable[[], House], old: Path, name: str) -> None:
    (old / name).unlink()
    before = digests(old)
    with pytest.raises(FileError, match=f"{old / name} is missing: the server does not start without it"):
        move_in()
    assert digests(old) == before


def test_one_whose_journal_is_damaged_is_left_as_it_is(move_in: Callable[[], House], old: Path) -> None:
    journal = old / "data" / "journal.txt"
    journal.write_text(journal.read_text().replace("in the journal", "im the journal"))
    before = digests(old)
    with pytest.raises(FileError, match="line 4: the record is corrupt"):
        move_in()
    assert digests(old) == before
