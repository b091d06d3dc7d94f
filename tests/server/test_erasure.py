"""What an account leaves when it goes, and what KEEP_MESSAGES lets go of: after the next save no file has it any more.

Each test looks for it in every byte of the home.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.core import streams
from chatlib.server.erasure import Erasure
from chatlib.storage import messages
from tests.server.carrying import Dial, announce, cut_upload, upload
from tests.server.house import House

SECRET = "nobody-else-says-this"
DATA = b"bytes of " + SECRET.encode() + b"\n" + bytes(5_000)
Saves = Callable[[House], None]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of four positions: those of the one who goes stand in the message store, too."""
    monkeypatch.setattr(streams, "CHUNK", 4)
    monkeypatch.setattr(streams, "TAIL", 8)


def holding(house: House, word: str) -> set[str]:
    """The files in which `word` stands, however it is written; and those whose name it is a part of."""
    found = set()
    for path in house.folder.rglob("*"):
        name = str(path.relative_to(house.folder))
        if word.lower() in name.lower() or path.is_file() and word.lower().encode() in path.read_bytes().lower():
            found.add(name)
    return found


def tear(house: House) -> None:
    """A crash; of what was written last, which said SECRET, a part is there."""
    house.crash()
    with open(house.folder / "data" / "journal.txt", "a", encoding="utf-8") as journal:
        journal.write(f'99999 0badc0de {{"by":"seas","at":1.0,"action":"message","to":"Vanessa","text":"{SECRET} 99')
    house.restart()


def live(house: House, dial: Dial) -> None:
    """Vanessa was there for a while: mail, seen and waiting; files, and halves of some; a lockout; a block."""
    house.register("Vanessa")
    seas, vanessa = house.login("SEAS"), house.login("Vanessa", address="10.7.7.7")
    for number in range(20):
        assert seas.ask("message", to="Vanessa", text=f"{SECRET} {number}")["status"] == "OK"
    vanessa.ask("alive", seen=house.server.world.lsn)
    vanessa.ask("block", user="facebook")
    upload(dial, seas, DATA, to="Vanessa")
    cut_upload(dial, vanessa, DATA, 2_000)
    vanessa.ask("logout")
    seas.ask("message", to="Vanessa", text=f"{SECRET}, for later")
    reply = announce(seas, DATA, f"{SECRET}.txt", "Vanessa")
    pipe = dial(house)
    pipe.ask("upload", reply["ticket"], 0, DATA[:1_000])
    house.settle()
    pipe.hang_up()
    house.greet().prove("login", "Vanessa", "wrong")
    seas.ask("logout")
    house.settle()


def go(house: House) -> None:
    """She removes her account."""
    stranger = house.greet(address="10.7.7.7")
    assert stranger.prove("deregister", "Vanessa")["status"] == "OK"
    house.settle()
    assert holding(house, "vanessa") > {"data/logs/current.log", "data/journal.txt"}


def save(house: House) -> None:
    assert house.save() == ["Saved."]


def stop(house: House) -> None:
    assert house.stop() == ""


def crash_and_save(house: House) -> None:
    house.crash()
    house.restart()
    save(house)


def crash_and_stop(house: House) -> None:
    house.crash()
    house.restart()
    stop(house)


@pytest.mark.parametrize("comes_to_rest", [save, stop, crash_and_save, crash_and_stop])
def test_a_removed_account_is_in_no_file_after_a_save(house: House, dial: Dial, comes_to_rest: Saves) -> None:
    live(house, dial)
    tear(house)
    assert len(holding(house, SECRET)) > 4, "the mail, the journal, its torn tail, a file, halves of files"
    go(house)
    comes_to_rest(house)
    assert holding(house, SECRET) == set()
    assert holding(house, "vanessa") == {"data/ledger.txt"}, "books are never rewritten"


def test_what_others_have_stays(house: House, dial: Dial) -> None:
    """What she sent is theirs."""
    live(house, dial)
    vanessa = house.login("Vanessa")
    vanessa.ask("message", to="SEAS", text="remember me")
    vanessa.ask("logout")
    go(house)
    save(house)
    seas = house.login("SEAS")
    (item,) = seas.ask("history", count=5, place="Vanessa")["items"]
    assert (item["from"], item["text"]) == ("Vanessa", "remember me")
    assert [line for line in house.heard_by_admin() if "cannot be read" in line] == []


def test_whoever_has_the_name_later_starts_with_nothing_and_leaves_nothing(house: House, dial: Dial) -> None:
    live(house, dial)
    go(house)
    live(house, dial)
    vanessa = house.login("Vanessa")
    assert len(vanessa.ask("history", count=100)["items"]) == 22, "hers alone, and that a file waits"
    vanessa.ask("logout")
    save(house)
    assert SECRET.encode() in b"".join(path.read_bytes() for path in house.folder.rglob("message_rep*"))
    go(house)
    save(house)
    assert holding(house, SECRET) == set()


def test_the_log_goes_on_without_the_name(house: House) -> None:
    house.register("Vanessa", "Vanessa2")
    house.login("Vanessa2").ask("whoelse")
    house.admin("kick Vanessa2")
    stranger = house.greet(address="10.7.7.7")
    assert stranger.prove("deregister", "Vanessa")["status"] == "OK"
    before = house.log()
    assert "deregister vanessa from 10.7.7.7\n" in before.lower()
    house.console.line("save")
    house.server.note("login Vanessa3 from 10.0.0.9")  # while the child is at work
    house.wait_for(lambda: not house.server.saver.busy)
    log = house.log()
    assert "deregister (removed) from 10.7.7.7\n" in log and "login Vanessa2 from 10.0.0.1\n" in log
    assert log.count("login Vanessa3 from 10.0.0.9\n") == 1 and log.count("\n") == before.count("\n") + 3
    house.server.note("still written")
    assert house.log().endswith("still written\n") and "still written" in house.read("data/logs/current.log")
    assert len(list((house.folder / "data" / "logs").iterdir())) == 1
    stop(house)
    assert "still written" in house.log()


def test_nobody_cleans_the_administrators_doings_out_of_the_log(house: House) -> None:
    house.register("grant", "bob")
    house.admin("grant bob 5")
    assert house.greet().prove("deregister", "grant")["status"] == "OK"
    save(house)
    log = house.log()
    assert "console: grant\n" in log and "register (removed) from" in log


@pytest.mark.parametrize("step", ["carry_out", "end"])
def test_a_crash_behind_the_save_forgets_nobody(house: House, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """The text files are without her already, and so is the journal: no replay says that she was there."""
    house.register("Vanessa")
    assert house.greet().prove("deregister", "Vanessa")["status"] == "OK"
    monkeypatch.setattr(Erasure, step, lambda erasure: os.kill(os.getpid(), 9) if step == "carry_out" else None)
    house.console.line("save")
    house.wait_for(lambda: not house.server.saver.busy)
    monkeypatch.undo()
    house.crash()
    house.restart()
    assert "vanessa" not in house.server.world.accounts and house.server.world.lsn
    assert any(name.startswith("data/logs/log_") for name in holding(house, "vanessa"))
    save(house)
    assert holding(house, "vanessa") == {"data/ledger.txt"}


def test_a_stop_that_is_cut_short_forgets_nobody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.register("Vanessa")
    assert house.greet().prove("deregister", "Vanessa")["status"] == "OK"
    monkeypatch.setattr(Erasure, "finish", lambda erasure: None)
    stop(house)
    monkeypatch.undo()
    house.restart()
    stop(house)
    assert holding(house, "vanessa") == {"data/ledger.txt"}


def test_a_copy_of_the_log_that_an_earlier_save_left_is_not_taken_for_this_ones(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.register("Vanessa")
    assert house.greet().prove("deregister", "Vanessa")["status"] == "OK"
    monkeypatch.setattr(Erasure, "end", lambda erasure: None)  # the child was killed behind its last step
    save(house)
    monkeypatch.undo()
    house.server.note("said between the two")
    house.settle()

    def refuses(erasure: Erasure) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Erasure, "carry_out", refuses)
    save(house)
    monkeypatch.undo()
    assert "said between the two" in house.log()
    save(house)
    assert "said between the two" in house.log()
    assert holding(house, "vanessa") == {"data/ledger.txt"}


def test_a_log_that_is_closed_meanwhile_is_for_the_next_save(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.register("Vanessa")
    assert house.greet().prove("deregister", "Vanessa")["status"] == "OK"
    house.console.line("save")
    house.settle()
    monkeypatch.setattr("chatlib.storage.serverlog.LOG_LIMIT", 1)
    house.server.note("one more")
    house.settle()
    monkeypatch.undo()
    house.wait_for(lambda: not house.server.saver.busy)
    save(house)
    assert holding(house, "vanessa") == {"data/ledger.txt"} and "one more" in house.log()


def test_a_half_of_a_file_goes_with_whom_it_is_for_while_it_comes(house: House, dial: Dial) -> None:
    """The account goes while the bytes are on their way; the connection breaks later."""
    house.register("Vanessa")
    seas = house.login("SEAS")
    reply = announce(seas, DATA, to="Vanessa")
    pipe = dial(house)
    pipe.ask("upload", reply["ticket"], 0, DATA[:3_000])
    house.settle()
    assert house.greet().prove("deregister", "Vanessa")["status"] == "OK"
    house.settle()
    assert holding(house, SECRET) != set(), "it still comes"
    pipe.hang_up()
    house.settle()
    save(house)
    assert holding(house, SECRET) == set()


def test_a_half_of_an_attachment_goes_with_its_thread(house: House, dial: Dial) -> None:
    seas = house.login("SEAS")
    assert seas.ask("crt", title="plans")["status"] == "OK"
    reply = seas.ask("upd", title="plans", name="a.bin", size=len(DATA), sha256="0" * 64)
    pipe = dial(house)
    pipe.ask("upload", reply["ticket"], 0, DATA[:3_000])
    house.settle()
    pipe.hang_up()
    assert holding(house, SECRET) != set()
    assert seas.ask("rmv", title="plans")["status"] == "OK"
    save(house)
    assert holding(house, SECRET) == set()


def test_what_keep_messages_lets_go_of_is_in_no_file(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "SEGMENT", 1_200)
    house.admin("change KEEP_MESSAGES 5")
    seas = house.login("SEAS")
    seas.ask("message", to="Google", text=SECRET)
    tear(house)
    seas = house.login("SEAS")
    house.clock.wall_at_start += 10 * 86_400
    house.settle()
    for number in range(30):
        seas.ask("broadcast", text=f"later, number {number}")
    house.clock.wall_at_start += 10 * 86_400
    house.settle()
    assert holding(house, SECRET) == {"data/message_rep.txt", "data/journal.txt"} | {
        str(path.relative_to(house.folder)) for path in Path(house.folder / "data").glob("torn.*.txt")
    }
    save(house)
    assert holding(house, SECRET) == set()


def test_a_child_that_is_killed_while_it_cleans_the_logs_leaves_nothing(house: House) -> None:
    house.register("Vanessa")
    assert house.greet().prove("deregister", "Vanessa")["status"] == "OK"
    house.console.line("save")
    house.tick(3)
    assert house.server.saver._job is not None
    logs = house.folder / "data" / "logs"
    (logs / ".log_2026-01-31_23:59:59.log.4711.new").write_text("login Vanessa from 10.0.0.1\n")  # as the child does
    stop(house)
    assert holding(house, "vanessa") == {"data/ledger.txt"} and not list(logs.glob(".*"))
