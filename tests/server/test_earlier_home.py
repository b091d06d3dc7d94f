"""A home of an earlier version, with all positions in mailboxes.txt: it is read, and its positions become chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.core import streams
from tests.server.house import PASSWORD, VERIFIER, House
from tests.server.peer import Peer
from tests.server.test_bank import audit, balances, path_of

# As that version left it when it was killed, with <V> for the verifier.
HOME = {
    "credentials.txt": """\
Ann <V>
Bob <V>
Cyd <V>
""",
    "data/addresses.txt": """\
# addresses.txt 2: user, address from which the password was proven, client
ann 10.0.0.1 ""
bob 10.0.0.1 ""
""",
    "data/block_rep.txt": """\
# block_rep.txt 2: who blocks whom
ann bob
""",
    "data/credentials.base": """\
{"lsn": 2, "lines": {"cyd": "<V>", "bob": "<V>", "ann": "<V>"}} f137da56
""",
    "data/epoch.txt": """\
b94067c48d740023 0c2bb162
""",
    "data/file_rep.txt": """\
# file_rep.txt 2: receiver, sender, waiting file: number, time, from, name, size, SHA-256, bytes
""",
    "data/journal.txt": """\
# journal.txt 2: LSN, CRC-32 of LSN and command, command; and marks of what was on disk
# durable 27 27 99a90b4a
28 9e4bc720 {"by":"ann","at":1700000000.0,"action": "message", "to": "Bob", "text": "journaled 0"}
# durable 28 28 5175068d
29 170085c4 {"by":"bob","at":1700000000.0,"action": "broadcast", "text": "hidden 3"}
# durable 29 29 9ece517e
30 86546540 {"by":"ann","at":1700000000.0,"action": "broadcast", "text": "journaled 1"}
# durable 30 30 be61bea1
31 4c953c36 {"action":"seen","at":1700000001.0,"seen":{"ann":30,"bob":30}}
# durable 31 31 71dae952
""",
    "data/list_block.txt": """\
# list_block.txt 2: user, origin, wrong passwords, last one, locked out until
""",
    "data/mailboxes.txt": """\
# mailboxes.txt 2: user, seen up to, when blocks held (all: senders), seqs and offsets in message_rep.txt
all\t0\tbob bob bob bob bob bob bob bob bob\t10 11 12 13 15 16 18 19 21\t547 639 731 823 915 1010 1105 1199 1293
ann\t2\tbob:14,17,20\t\t
bob\t2\t\t5 6 7 8 9\t92 183 274 365 456
cyd\t2\t\t22 23 24 25 26 27\t1388 1481 1574 1667 1760 1853
""",
    "data/manifest.txt": """\
# manifest.txt 2: the last command in this set of files; each file, its bytes, its SHA-256; of these lines likewise
lsn 27
state.txt 937 77f0e48f64a9988a86727e8da2c87254c662e8d4fba8d47e68599bfe5e02c4d1
users.txt 588 61fa1a014e8e650118f192f5fdd1624b91d43477a7f62e9082e18cac3f239898
mailboxes.txt 327 ce57b90cdb3ae2f985439485faa5abdd4619e34b20267a8a10d0c2b8f28bb692
block_rep.txt 43 3a6dc2ad57955d855cf647dcb76c6264123c62da18fb6328ffc6c3c8ac9ca516
list_block.txt 78 8a9a68485df4d82a8ec9c19b52785f40e78312076b4affe3c6edcd0d738f02f3
addresses.txt 108 f509b9960d488c057336501b1a439c775a7873f4dd19308c78927ed968e4c73c
file_rep.txt 97 ff9dc9c42963f3f65cfb4ef565e48290b81659d135a4eff6daeecb29ac5450fe
replies.txt 43 d4e31434882835525317663ccb843b8e73132bf97602897f199cd4f897ae9971
manifest.txt 773 bb2b8ded8be083ce9f94190f368466a014b4879d95afade3eff1fb8af633439f
""",
    "data/message_rep.txt": """\
# message_rep.txt 2: a checksum of the rest, receiver (or all), and the event as it is sent
55163562 Bob {"event":"message","seq":5,"time":1700000000.0,"from":"Ann","text":"saved 0"}
6ec382c4 Bob {"event":"message","seq":6,"time":1700000000.0,"from":"Ann","text":"saved 1"}
02ae9d6b Bob {"event":"message","seq":7,"time":1700000000.0,"from":"Ann","text":"saved 2"}
594f6302 Bob {"event":"message","seq":8,"time":1700000000.0,"from":"Ann","text":"saved 3"}
ba40ebfa Bob {"event":"message","seq":9,"time":1700000000.0,"from":"Ann","text":"saved 4"}
e72849e1 all {"event":"broadcast","seq":10,"time":1700000000.0,"from":"Bob","text":"all 0"}
95aadd17 all {"event":"broadcast","seq":11,"time":1700000000.0,"from":"Bob","text":"all 1"}
022d600d all {"event":"broadcast","seq":12,"time":1700000000.0,"from":"Bob","text":"all 2"}
70aff4fb all {"event":"broadcast","seq":13,"time":1700000000.0,"from":"Bob","text":"all 3"}
d8d8c8e7 all {"event":"broadcast","seq":15,"time":1700000000.0,"from":"Bob","text":"hidden 0"}
628a5558 all {"event":"broadcast","seq":16,"time":1700000000.0,"from":"Bob","text":"hidden 1"}
36f1d33d all {"event":"broadcast","seq":18,"time":1700000000.0,"from":"Bob","text":"shown 0"}
f0950419 all {"event":"broadcast","seq":19,"time":1700000000.0,"from":"Bob","text":"shown 1"}
12437384 all {"event":"broadcast","seq":21,"time":1700000000.0,"from":"Bob","text":"hidden 2"}
0a4af43c Cyd {"event":"message","seq":22,"time":1700000000.0,"from":"Ann","text":"secret 0"}
b3533aef Cyd {"event":"message","seq":23,"time":1700000000.0,"from":"Ann","text":"secret 1"}
a59ec903 Cyd {"event":"message","seq":24,"time":1700000000.0,"from":"Ann","text":"secret 2"}
1c8707d0 Cyd {"event":"message","seq":25,"time":1700000000.0,"from":"Ann","text":"secret 3"}
83bec5b3 Cyd {"event":"message","seq":26,"time":1700000000.0,"from":"Ann","text":"secret 4"}
3aa70b60 Cyd {"event":"message","seq":27,"time":1700000000.0,"from":"Ann","text":"secret 5"}
6729a39b Bob {"event":"message","seq":28,"time":1700000000.0,"from":"Ann","text":"journaled 0"}
a7d25951 all {"event":"broadcast","seq":29,"time":1700000000.0,"from":"Bob","text":"hidden 3"}
73a1befa all {"event":"broadcast","seq":30,"time":1700000000.0,"from":"Ann","text":"journaled 1"}
""",
    "data/para.base": """\
{"lsn": 2, "lines": {"rate_limit": "0", "scram_iterations": "4096"}} 4384d490
""",
    "data/replies.txt": """\
# replies.txt 2: user, key and first reply
""",
    "data/state.txt": """\
# state.txt 2: the last command in these files, and the parameters
lsn 27
at 1700000000.0
store_end 1946
by_hand [{"scram_iterations":[2,4096],"rate_limit":[2,0]},{"ann":[2,"<V>"],"bob":[2,"<V>"],"cyd":[2,"<V>"]}]
MaxCon 100
WAITING_ROOM 0
BLOCK_TIME 60.0
MAX_FAILURES 3
BLOCK_SCOPE "user_ip"
DUPLICATE_LOGIN "refuse"
LAST_HOUR 3600.0
TIME_OUT 1800.0
PRESENCE_LIMIT 500
HEARTBEAT 30.0
REGISTRATION "open"
SCRAM_ITERATIONS 4096
RATE_LIMIT 0
INITIAL_BALANCE 10000
MAX_FILE_SIZE 1073741824
FILE_QUOTA 4294967296
FSYNC "always"
JOURNAL_LIMIT 67108864
""",
    "data/users.txt": """\
# users.txt 2: name, verifier, LSN of registration, last departure, open session
Ann <V> 2 0.0 [3,1700000000.0,"10.0.0.1",null,2]
Bob <V> 2 0.0 [4,1700000000.0,"10.0.0.1",null,2]
Cyd <V> 2 0.0 null
""",
    "para.txt": """\
SCRAM_ITERATIONS 4096
RATE_LIMIT 0
""",
}
ANN = [*(f"all {number}" for number in range(4)), "shown 0", "shown 1", "journaled 1"]
BOB = [*(f"saved {number}" for number in range(5)), *(f"all {number}" for number in range(4)), "hidden 0", "hidden 1",
       "shown 0", "shown 1", "hidden 2", "journaled 0", "hidden 3", "journaled 1"]  # fmt: skip


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That home; and chunks of two positions, so that little is much."""
    monkeypatch.setattr(streams, "CHUNK", 2)
    monkeypatch.setattr(streams, "TAIL", 4)
    (tmp_path / "data").mkdir(mode=0o700)
    for name, held in HOME.items():
        (tmp_path / name).write_text(held.replace("<V>", str(VERIFIER)), encoding="utf-8")
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


def history(peer: Peer) -> list[object]:
    return [message["text"] for message in peer.ask("history", count=99)["items"] if "to" not in message]


def sent(peer: Peer) -> list[object]:
    """What it has sent, as far as it is known: that version did not keep it."""
    return [message["text"] for message in peer.ask("history", count=99)["items"] if "to" in message]


def check(house: House) -> None:
    for user, texts in (("Ann", ANN), ("Bob", BOB)):
        peer = house.login(user)
        assert history(peer) == texts
        assert sent(peer) == (["journaled 0"] if user == "Ann" else [])
        peer.hang_up()
    house.settle()


def chunks(house: House) -> int:
    return house.read("data/message_rep.txt").count('"seqs"')


def test_it_is_read_and_sealed(move_in: Callable[[], House]) -> None:
    house = move_in()
    check(house)
    assert chunks(house) == 8, "3 of all, 1 of Bob's and 2 of Cyd's at the start; the journal made 2 more"
    before = house.read("data/mailboxes.txt")
    assert house.stop() == ""
    assert "\t" in before and "\t" not in house.read("data/mailboxes.txt")
    house.restart()
    check(house)
    ann = house.login("Ann")
    for number in range(5):
        ann.ask("message", to="Bob", text=f"on {number}")
    bob = house.login("Bob")
    assert history(bob) == [*BOB, *(f"on {number}" for number in range(5))]


@pytest.mark.parametrize("kept", [0, 1, 50, 300, 10_000])
def test_a_crash_before_it_is_saved(move_in: Callable[[], House], kept: int) -> None:
    """However much of what the start has written is there."""
    house = move_in()
    check(house)
    store = house.folder / "data" / "message_rep.txt"
    house.crash()
    store.write_bytes(store.read_bytes()[: 1_946 + kept])
    house.restart()
    check(house)
    assert house.stop() == ""
    house.restart()
    check(house)


@pytest.mark.parametrize("kept", [0, 100, 250, 10_000])
def test_everybody_there_gets_credits_once(move_in: Callable[[], House], kept: int) -> None:
    """That version had no bank. However much of the ledger a crash has left, before anything was saved."""
    house = move_in()
    assert balances(house) == {"*": -30_000, "ann": 10_000, "bob": 10_000, "cyd": 10_000}
    assert house.login("Ann").ask("pay", to="Cyd", amount=1, key="k")["status"] == "OK"
    before, lines = balances(house), path_of(house).read_bytes()
    house.crash()
    path_of(house).write_bytes(lines[:kept])
    for _ in range(2):
        house.restart()
        assert balances(house) == before and path_of(house).read_bytes() == lines
        assert audit(house).startswith("The books are right: 4 lines and 3 accounts agree")
        assert house.stop() == ""
    house.restart()


def test_mail_in_chunks_goes_with_its_account(move_in: Callable[[], House]) -> None:
    house = move_in()
    assert house.stop() == ""
    house.restart()
    assert len(house.server.world.accounts["cyd"].mail.firsts) == 2
    assert "secret 0" in house.read("data/message_rep.txt")
    assert house.greet().prove("deregister", "Cyd", PASSWORD)["status"] == "OK"
    house.settle()
    assert "secret" not in house.read("data/message_rep.txt")
    check(house)


def test_erasing_what_is_in_chunks_comes_after_a_crash(move_in: Callable[[], House]) -> None:
    """The command is in the journal; the lines that say where the mail stands were written by the same replay."""
    house = move_in()
    house.server.effects.step = lambda: False  # type: ignore[method-assign]
    ann = house.login("Ann")
    for number in range(9):
        ann.ask("message", to="Cyd", text=f"secret {6 + number}")
    assert house.greet().prove("deregister", "Cyd", PASSWORD)["status"] == "OK"
    assert house.read("data/message_rep.txt").count("secret") == 15
    house.crash()
    house.restart()
    assert "secret" not in house.read("data/message_rep.txt")
    check(house)


def test_a_chunk_that_the_disk_has_lost_costs_its_messages(move_in: Callable[[], House]) -> None:
    house = move_in()
    assert house.stop() == ""
    stream = house.server.world.broadcasts
    store, place = house.folder / "data" / "message_rep.txt", stream.places[1]
    held = bytearray(store.read_bytes())
    held[place + 20] ^= 1
    store.write_bytes(held)
    house.restart()
    house.heard_by_admin()
    bob = house.login("Bob")
    assert history(bob) == [text for text in BOB if text not in ("all 2", "all 3")]
    told = house.heard_by_admin()
    assert told and all(line.startswith("Where 2 messages stand cannot be read: message_rep.txt") for line in told)
    assert bob.ask("message", to="Cyd", text="on")["status"] == "OK"
