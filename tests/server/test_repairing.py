"""A damaged home is repaired: it starts, it verifies, and all that is not in the damaged place is there."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.core import snapshot
from chatlib.server import storemending, upkeep
from chatlib.server.repairing import AHEAD
from chatlib.storage import messagefiles
from chatlib.storage.textfile import FileError
from tests.chance import examples, new_chance
from tests.server.house import VERIFIER, House
from tests.server.lived import FLAT, Dial, facts, flip, live, looked_at, state, texts

DATA = [*FLAT, "manifest.txt", "epoch.txt", "journal.txt", "message_rep.txt", "ledger.txt", "credentials.base",
        "para.base"]  # fmt: skip
# What a user may miss when this file is damaged; nobody misses anything else.
MISSED = {
    "block_rep.txt": {"blacklist"},
    "file_rep.txt": {"files"},
    "ledger.txt": {"statement"},
    "mailboxes.txt": {"messages"},
    "message_rep.txt": {"messages"},
    "threads/plans": {"thread", "messages"},
    "journal.txt": {"balance", "statement", "messages", "files", "thread"},
}


@pytest.fixture(params=["crash", "stop"])
def lived(request: pytest.FixtureRequest, house: House, dial: Dial) -> Path:
    """The home of a server that has crashed, or stopped."""
    live(house, dial)
    getattr(house, request.param)()
    return house.folder


@pytest.fixture
def open_house() -> Iterator[Callable[[Path], House]]:
    """Starts servers, which are put away at the end."""
    houses: list[House] = []

    def open_one(folder: Path) -> House:
        houses.append(House(folder))
        return houses[-1]

    yield open_one
    for each in houses:
        each.close()


def repaired(folder: Path, answer: bool = True) -> list[str]:
    """What is said."""
    said: list[str] = []
    assert upkeep.repair_home(folder, said.append, lambda question: answer) == (0 if answer else 1), said
    return said


def known(folder: Path, open_house: Callable[[Path], House]) -> dict[str, object]:
    """What there is, in a copy."""
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    house = open_house(copy)
    found = facts(house)
    house.close()
    return found


def damage(path: Path, chance: random.Random) -> str:
    """Does something to a file."""
    size = path.stat().st_size
    what = chance.choices(["flip", "cut", "remove", "zeros"], [6, 3, 1, 1])[0]
    at = chance.randrange(max(1, size))
    if what == "flip" and size:
        flip(path, at, chance.randrange(8))
    elif what == "cut":
        os.truncate(path, at)
    elif what == "zeros":
        data = path.read_bytes()
        path.write_bytes(data[:at] + bytes(min(50, size - at)) + data[at + 50 :])
    else:
        path.unlink()
    return f"{what} at byte {at} of {path}"


def test_any_damage_to_any_file(lived: Path, open_house: Callable[[Path], House]) -> None:
    chance = new_chance(lived.name)
    before = known(lived, open_house)
    home = lived.with_name("damaged")
    for name in DATA:
        for _ in range(examples(1)):
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(lived, home)
            what = damage(home / "data" / name, chance)
            said = repaired(home)
            assert looked_at(home).is_whole, what
            house = open_house(home)
            after = facts(house)
            missed = {fact.split(" ")[-1] for fact, value in before.items() if after.get(fact) != value}
            assert missed <= MISSED.get(name, set()), (what, said)
            for user in ("SEAS", "Columbia"):
                assert set(after[f"{user}'s messages"]) <= set(before[f"{user}'s messages"])  # type: ignore[call-overload]
            assert house.stop() == ""
            assert looked_at(home).is_whole, what


def test_any_damage_to_several_files(lived: Path, open_house: Callable[[Path], House]) -> None:
    """Then much may be lost; but it starts, and it is whole."""
    chance = new_chance(lived.name)
    home = lived.with_name("damaged")
    names = [*DATA, *(f"files/{path.name}" for path in (lived / "data" / "files").iterdir())]
    for _ in range(examples(6)):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(lived, home)
        what = [damage(home / "data" / name, chance) for name in chance.sample(names, chance.randint(2, 6))]
        assert repaired(home)[-1] == "All of it is whole now.", what
        house = open_house(home)
        assert house.stop() == "", what
        assert looked_at(home).is_whole, what


def test_accounts_of_which_nothing_else_is_whole(lived: Path, open_house: Callable[[Path], House]) -> None:
    """Each name stays that can be read; who has no verifier any more needs a new password."""
    data = lived / "data"
    for name in ("manifest.txt", "credentials.base"):
        (data / name).unlink()
    users = data / "users.txt"
    text = users.read_text().replace("SEAS SCRAM", "SEAS XCRAM")
    users.write_text(text)
    (lived / "credentials.txt").unlink()
    said = repaired(lived)
    assert "Lost: users.txt: the password of SEAS: give another one in credentials.txt." in said
    house = open_house(lived)
    assert house.login("facebook").ask("balance")["status"] == "OK"
    assert "seas" in house.server.world.accounts


def test_the_administrators_password(house: House) -> None:
    house.write("credentials.txt", house.read("credentials.txt") + f"admin {VERIFIER}\n")
    house.reload()
    house.stop()
    path = house.folder / "data" / "admin.txt"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"SCRAM", b"XCRAM"))
    repaired(house.folder)
    assert path.read_bytes().split(b"\n")[1] == whole.split(b"\n")[1]


def test_what_is_not_there_because_it_was_too_old(house: House, open_house: Callable[[Path], House]) -> None:
    """The first segments went; state.txt, which said so, is gone."""
    house.admin("change KEEP_MESSAGES 1")
    house.server.messages._limit = 2_000
    columbia = house.login("Columbia")
    for number in range(60):
        columbia.ask("message", to="SEAS", text=f"old {number} {'x' * 20}")
    house.clock.wall_at_start += 3 * 86_400.0
    for number in range(60):
        columbia.ask("message", to="SEAS", text=f"new {number} {'x' * 20}")
    house.save()
    house.stop()
    data = house.folder / "data"
    assert not (data / "message_rep.txt").exists()
    (data / "state.txt").unlink()
    said = repaired(house.folder)
    assert not any("message_rep" in sentence for sentence in said if sentence.startswith("Lost")), said
    again = open_house(house.folder)
    assert again.server.world.parameters["KEEP_MESSAGES"] == 1
    found = texts(again)
    assert [text for text in found if text.startswith("new ")] == [f"new {number} {'x' * 20}" for number in range(60)]


def test_it_looks_first_and_asks(lived: Path) -> None:
    flip(lived / "data" / "users.txt", 300)
    before = state(lived)
    assert repaired(lived, answer=False)[-1] == "Nothing was changed."
    assert state(lived) == before
    said = repaired(lived)
    assert "All of it is whole now." in said
    assert repaired(lived)[-1] == "All of it is whole: there is nothing to repair."


def test_what_was_damaged_is_kept_as_it_was(lived: Path) -> None:
    path = lived / "data" / "block_rep.txt"
    flip(path, path.stat().st_size - 3)
    damaged = path.read_bytes()
    repaired(lived)
    (folder,) = (lived / "data" / "damaged").iterdir()
    assert (folder / "data" / "block_rep.txt").read_bytes() == damaged
    assert (folder / "report.txt").read_text().startswith(f"Damage! {path} is damaged")
    assert (folder / "data" / "block_rep.txt").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    flip(path, path.stat().st_size - 3)
    repaired(lived)
    assert (folder / "data" / "block_rep.txt").read_bytes() == damaged
    assert len(list((lived / "data" / "damaged").iterdir())) == 2


def test_not_beside_a_server(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatlib.server.verifying.used_by", lambda data: 17)
    with pytest.raises(FileError, match=r"a server \(process 17\) uses this home: stop it first"):
        upkeep.repair_home(house.folder, lambda text: None, lambda question: True)


def test_a_flipped_record_costs_that_command_alone(
    house: House, dial: Dial, open_house: Callable[[Path], House]
) -> None:
    """And a text or a payment is made again of what it had left."""
    live(house, dial)
    house.crash()
    before = known(house.folder, open_house)
    journal = house.folder / "data" / "journal.txt"
    for words in (b"journaled 2", b'"action": "pay"'):
        flip(journal, journal.read_bytes().index(words))
    said = repaired(house.folder)
    assert any("; 1 of them made again: texts and payments" in sentence for sentence in said), said
    again = open_house(house.folder)
    after = facts(again)
    assert {fact for fact in before if before[fact] != after[fact]} <= {"Columbia's statement", "facebook's statement"}
    assert after["Columbia's balance"] == before["Columbia's balance"]
    assert again.server.world.lsn > AHEAD, "whoever has seen later seqs misses nothing that comes"


def test_a_journal_that_is_gone(house: House, dial: Dial, open_house: Callable[[Path], House]) -> None:
    live(house, dial)
    house.crash()
    (house.folder / "data" / "journal.txt").unlink()
    said = repaired(house.folder)
    assert any(sentence.startswith("Lost: the journal: ") for sentence in said)
    again = open_house(house.folder)
    assert texts(again)[-5:] == [f"journaled {number}" for number in range(5)]
    assert again.login("facebook").ask("balance")["balance"] == 10_050


def test_a_journal_that_was_cut_between_two_lines_is_noticed(
    house: House, dial: Dial, open_house: Callable[[Path], House]
) -> None:
    live(house, dial)
    house.crash()
    journal = house.folder / "data" / "journal.txt"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: whole.index(b"\n", 200) + 1])
    (sentence,) = [sentence for _, sentence in looked_at(house.folder).damage]
    assert "what was acknowledged in between is lost" in sentence
    repaired(house.folder)
    assert texts(open_house(house.folder))[-5:] == [f"journaled {number}" for number in range(5)]


def test_balances_that_disagree(lived: Path, open_house: Callable[[Path], House]) -> None:
    """Those of the ledger hold, whose lines have checksums of their own."""
    before = known(lived, open_house)
    path = lived / "data" / "accounts.txt"
    path.write_text(path.read_text().replace("seas 10250", "seas 99999"))
    said = repaired(lived)
    assert "All of it is whole now." in said and "Nothing is known to be lost." in said
    assert facts(open_house(lived)) == before


def test_missing_bytes_of_a_file(lived: Path, open_house: Callable[[Path], House]) -> None:
    first, _ = sorted((lived / "data" / "files").iterdir())
    first.unlink()
    said = repaired(lived)
    assert [sentence for sentence in said if sentence.startswith("Lost")][0].endswith('.bin" of Columbia for SEAS.')
    assert len(open_house(lived).login("SEAS").ask("fileget")["items"]) == 1


def test_bytes_without_a_line_are_moved_aside_and_not_removed(lived: Path, open_house: Callable[[Path], House]) -> None:
    (lived / "data" / "file_rep.txt").unlink()
    repaired(lived)
    held = {path.read_bytes() for path in (lived / "data").rglob("*") if path.is_file() and path.parent.name == "files"}
    assert {b"saved bytes"} <= held
    open_house(lived).stop()
    held = {path.read_bytes() for path in (lived / "data" / "damaged").rglob("*") if path.is_file()}
    assert b"saved bytes" in held


def test_no_epoch_and_a_damaged_certificate(lived: Path) -> None:
    (lived / "data" / "epoch.txt").unlink()
    (lived / "data" / "tls.pem").write_text("nonsense")
    said = repaired(lived)
    assert any(sentence.startswith("Mended: epoch.txt: a new one") for sentence in said)
    assert any(sentence.startswith("Mended: tls.pem: ") for sentence in said)
    assert not (lived / "data" / "tls.pem").exists()


def test_what_people_edit(lived: Path, open_house: Callable[[Path], House]) -> None:
    before = known(lived, open_house)
    (lived / "para.txt").write_bytes(b"MaxCon \xff\n")
    (lived / "credentials.txt").write_text("bad name\x00 x\nColumbia\n")
    said = repaired(lived)
    assert sum("the next start writes it anew" in sentence for sentence in said) == 2
    house = open_house(lived)
    assert facts(house) == before
    assert "SCRAM_ITERATIONS 4096" in house.read("para.txt")


def test_segments_that_were_cut_or_are_gone(house: House, open_house: Callable[[Path], House]) -> None:
    house.server.messages._limit = 3_000
    columbia = house.login("Columbia")
    for number in range(300):
        columbia.ask("message", to="SEAS", text=f"text {number} {'x' * 20}")
    house.stop()
    segments = [one.path for one in messagefiles.listing(house.folder / "data" / "message_rep.txt")]
    assert len(segments) > 5
    segments[2].unlink()
    os.truncate(segments[3], 1_000)
    with open(segments[4], "ab") as file:
        file.write(b"too much")
    said = repaired(house.folder)
    assert sum("all messages that stood from byte" in sentence for sentence in said) == 2
    again = open_house(house.folder)
    peer = again.login("SEAS")
    found = [text for text in peer.texts if text.startswith("text ")]
    assert 200 < len(found) < 300
    assert found == sorted(found, key=lambda text: int(text.split(" ")[1]))
    assert again.stop() == ""
    assert looked_at(house.folder).is_whole


def test_all_positions_are_found_again_in_the_messages(house: House, dial: Dial) -> None:
    live(house, dial)
    peers = [house.login("SEAS"), house.login("facebook")]
    chance = new_chance()
    for number in range(400):
        peer = chance.choice(peers)
        match chance.randrange(3):
            case 0:
                peer.ask("message", to="Columbia", text=f"text {number}")
            case 1:
                peer.ask("broadcast", text=f"text {number}")
            case 2:
                peer.ask("msg", title="plans", text=f"text {number}")
    house.server.messages.flush()
    world = house.server.world

    def positions() -> dict[str, list[tuple[int, int]]]:
        archive = house.server.archive
        streams = {name: stream for name, stream in world.streams.items() if stream.seqs}
        for account in world.accounts.values():
            mine = {account.user: account.mail, f">{account.user}": account.sent}
            streams |= {name: stream for name, stream in mine.items() if len(stream.seqs)}
        return {name: list(stream.after(0, archive)) for name, stream in streams.items()}

    before, said = positions(), dict(world.said)
    storemending.find_positions(world, house.server.home.messages)
    after = positions()
    assert after.keys() == before.keys()
    for name in before:
        assert after[name] == before[name], name
    assert world.said == said
    assert list(snapshot.dump(world))
