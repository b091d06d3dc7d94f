"""A start reads all of a home, or refuses it in one sentence and leaves every byte as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.core import snapshot
from chatlib.storage.journal import RESERVE
from chatlib.storage.textfile import REMEDY, FileError
from tests.server.house import PASSWORD, House, Peer

FLAT = [name + "plans" if name.endswith("/") else name for name in snapshot.files()]  # in a home that was lived in


def digests(folder: Path) -> dict[str, str]:
    """What a start must not change when it refuses: all but its locks and its log."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lock", "writer.lock") and path.parent.name != "logs"
    }


def refused(house: House) -> str:
    """Why the house does not start."""
    before = digests(house.folder)
    with pytest.raises(FileError) as why:
        house.restart()
    assert digests(house.folder) == before
    return str(why.value)


def lived_in(house: House) -> Peer:
    """Messages that wait, blocks, keys, some of it in the text files and some in the journal."""
    columbia = house.login("Columbia")
    for number in range(5):
        columbia.ask("message", to="SEAS", text=f"saved {number}")
    columbia.ask("block", user="Google", key="k1")
    columbia.ask("crt", title="plans")
    columbia.ask("broadcast", text="to all")
    assert house.save() == ["Saved."]
    for number in range(5):
        columbia.ask("message", to="SEAS", text=f"journaled {number}")
    house.pass_time(1.0)
    return columbia


def mail(house: House, name: str = "SEAS") -> list[str]:
    peer = house.login(name)
    texts = peer.texts
    peer.hang_up()
    house.settle()
    return texts


def flip(path: Path, at: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("name", [*FLAT, "manifest.txt", "epoch.txt", "message_rep.txt", "journal.txt"])
@pytest.mark.parametrize("how", ["stop", "crash"])
def test_a_missing_file_is_never_taken_as_empty(house: House, name: str, how: str) -> None:
    lived_in(house)
    getattr(house, how)()
    path = house.folder / "data" / name
    whole = path.read_bytes()
    path.unlink()
    assert refused(house) == f"{path} is missing: the server does not start without it. {REMEDY}"
    path.write_bytes(whole)
    house.restart()
    assert {"saved 0", "journaled 4"} <= set(mail(house))


@pytest.mark.parametrize("name", [*FLAT, "manifest.txt", "epoch.txt"])
def test_a_damaged_file_is_refused_and_named(house: House, name: str) -> None:
    lived_in(house)
    house.crash()
    path = house.folder / "data" / name
    flip(path, path.stat().st_size // 2)
    assert str(path) in refused(house)


def test_a_file_of_an_earlier_save_is_refused(house: House) -> None:
    columbia = lived_in(house)
    path = house.folder / "data" / "mailboxes.txt"
    earlier = path.read_bytes()
    columbia.ask("message", to="SEAS", text="one more")
    house.stop()
    path.write_bytes(earlier)
    assert f"{path} is damaged" in refused(house)


def test_text_files_of_an_earlier_save_are_refused_when_the_journal_knows_of_a_later_one(house: House) -> None:
    lived_in(house)
    data = house.folder / "data"
    earlier = {name: (data / name).read_bytes() for name in (*FLAT, "manifest.txt")}
    house.stop()
    for name, held in earlier.items():
        (data / name).write_bytes(held)
    assert f"{data / 'journal.txt'}, line 2: commands up to LSN" in refused(house)


def test_a_refused_start_has_not_cut_the_message_store(house: House) -> None:
    """What stands behind the length that the text files name is evidence, as long as the journal cannot be read."""
    lived_in(house)
    house.crash()
    journal = house.folder / "data" / "journal.txt"
    whole = journal.read_bytes()
    flip(journal, whole.index(b"journaled 1"))
    assert f"{journal}, line " in refused(house)
    assert b"journaled 4" in (house.folder / "data" / "message_rep.txt").read_bytes()
    journal.write_bytes(whole)
    house.restart()
    assert "journaled 4" in mail(house)


def test_a_flipped_last_line_end_of_the_journal_is_refused(house: House) -> None:
    lived_in(house)
    house.crash()
    journal = house.folder / "data" / "journal.txt"
    flip(journal, journal.read_bytes().rindex(b"\n# durable"))
    assert "though it was on disk already" in refused(house)


def test_a_checkpoint_that_holds_and_is_damaged_is_not_moved(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    lived_in(house)
    with monkeypatch.context() as patched:
        patched.setattr("chatlib.storage.checkpoint._move", lambda folder: None)
        house.stop()
    ready = house.folder / "data" / ".next"
    flip(ready / "mailboxes.txt", 100)
    assert "mailboxes.txt is damaged" in refused(house)
    flip(ready / "mailboxes.txt", 100)
    house.restart()
    assert not ready.exists()
    assert "journaled 4" in mail(house)


def test_a_new_home_starts_also_after_its_first_start_was_cut_short(build: Callable[..., House]) -> None:
    house = build()
    house.crash()  # nobody ever said anything
    for name in ("journal.txt", "epoch.txt", "ledger.txt"):
        (house.folder / "data" / name).unlink()
    house.restart()
    assert house.stop() == ""


def test_messages_without_anything_that_knows_of_them_are_not_a_new_home(house: House) -> None:
    lived_in(house)
    house.crash()
    data = house.folder / "data"
    for name in (*FLAT, "manifest.txt", "journal.txt"):
        (data / name).unlink()
    assert refused(house).startswith(f"{data / 'manifest.txt'} is missing")


# FSYNC second.


def unsynced(house: House) -> tuple[Path, int]:
    """The journal, and how much of it is durable."""
    journal = house.folder / "data" / "journal.txt"
    house.pass_time(1.0)
    assert house.server.journal.durable == house.server.journal.given
    return journal, journal.stat().st_size


def test_a_seq_that_was_shown_is_never_given_again(build: Callable[..., House]) -> None:
    house = build(FSYNC="second")
    columbia = house.login("Columbia")
    columbia.ask("message", to="SEAS", text="durable")
    journal, durable = unsynced(house)
    shown = columbia.ask("message", to="SEAS", text="shown, and lost")["seq"]
    house.crash()
    with open(journal, "r+b") as file:
        file.truncate(durable)  # the machine's power failed
    house.restart()
    assert house.login("Columbia").ask("message", to="SEAS", text="after")["seq"] > max(shown, RESERVE)
    assert mail(house) == ["durable", "after"]
    assert house.stop() == ""
    house.restart()
    assert house.login("Columbia").ask("message", to="Google", text="on")["seq"] < 3 * RESERVE


def test_nothing_is_erased_before_its_command_is_durable(build: Callable[..., House]) -> None:
    house = build(FSYNC="second")
    house.login("Columbia").ask("message", to="SEAS", text="for SEAS")
    journal, durable = unsynced(house)
    store = house.folder / "data" / "message_rep.txt"
    house.disk.fast = False
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    house.settle()
    assert b"for SEAS" in store.read_bytes()
    house.crash()
    with open(journal, "r+b") as file:
        file.truncate(durable)
    house.restart()
    assert mail(house) == ["for SEAS"], "the account is back, and so is its mail"
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    house.pass_time(2.0)
    assert b"for SEAS" not in store.read_bytes()


def test_what_waits_to_be_erased_is_erased_before_a_checkpoint_holds(build: Callable[..., House]) -> None:
    """The start after it would not replay the command."""
    for finish in ("save", "stop"):
        house = build(FSYNC="second")
        house.login("Columbia").ask("message", to="SEAS", text="for SEAS")
        unsynced(house)
        assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
        store = house.folder / "data" / "message_rep.txt"
        assert b"for SEAS" in store.read_bytes()
        getattr(house, finish)()
        assert b"for SEAS" not in store.read_bytes()


def test_erasing_much_goes_on_in_the_next_tick(build: Callable[..., House]) -> None:
    house = build()
    columbia = house.login("Columbia")
    for number in range(450):
        columbia.say({"action": "message", "to": "SEAS", "text": f"secret {number}"})
    house.settle()
    columbia.hear()
    store = house.folder / "data" / "message_rep.txt"
    peer = house.greet()
    exchange, challenge = peer.challenge("deregister", "SEAS")
    peer.say({"action": "deregister", "scram": peer.final(exchange, challenge, PASSWORD)})
    left = [450]
    while left[-1]:
        house.tick()
        left.append(store.read_bytes().count(b"secret"))
        assert left[-2] - left[-1] <= 200
    house.settle()
    assert peer.hear()[-1]["status"] == "OK"


def test_a_replay_erases_what_a_crash_left(house: House) -> None:
    house.login("Columbia").ask("message", to="SEAS", text="for SEAS")
    store = house.folder / "data" / "message_rep.txt"
    house.server.effects.step = lambda: False  # type: ignore[method-assign]
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    assert b"for SEAS" in store.read_bytes()
    house.crash()
    house.restart()
    assert b"for SEAS" not in store.read_bytes()
