"""para.txt and credentials.txt belong to people: what is edited by hand while the server runs is never lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from chatlib.protocol.scram import make_verifier
from chatlib.server import edits
from chatlib.server.edits import Changes, EditedFiles, warning
from chatlib.server.saving import PATIENCE
from chatlib.storage import exchange
from chatlib.storage.textfile import FileError
from tests.server.house import ITERATIONS, VERIFIER, House

V = str(VERIFIER)
OTHER = str(make_verifier("another", ITERATIONS, b"other salt other"))
Take = Callable[[House], object]


def _stop_and_start(house: House) -> None:
    assert house.stop() == ""
    house.restart()


def _crash_and_start(house: House) -> None:
    house.crash()
    house.restart()


WAYS = pytest.mark.parametrize(
    "take", [House.reload, House.save, _stop_and_start, _crash_and_start], ids=["reload", "save", "stop", "crash"]
)


@WAYS
def test_edits_of_all_kinds_are_taken_in(house: House, take: Take) -> None:
    house.login("SEAS").ask("message", to="facebook", text="waits")
    house.edit("para.txt", "RATE_LIMIT 0\n", "# my comment\nRATE_LIMIT   40\nMY_OWN line\nTIME_OUT 99\n")
    house.edit("credentials.txt", f"Columbia {V}\n", "Columbia a new password\n")
    house.edit("credentials.txt", f"Google {V}\n", "")
    house.write("credentials.txt", house.read("credentials.txt") + f"# people\nhanded {OTHER}\nplain  just a password")
    take(house)
    parameters = house.server.world.parameters
    assert (parameters["RATE_LIMIT"], parameters["TIME_OUT"]) == (40, 99.0)
    assert house.greet().prove("login", "Columbia", "a new password")["status"] == "OK"
    assert house.greet().prove("login", "handed", "another")["status"] == "OK"
    assert house.greet().prove("login", "plain", "just a password")["status"] == "OK"
    assert house.greet().prove("login", "Google")["status"] == "NO_SUCH_USER"
    assert house.login("facebook").texts == ["waits"]
    lines = house.read("para.txt").splitlines()
    at = lines.index("# my comment")
    assert lines[at + 1].split() == ["RATE_LIMIT", "40"] and {"MY_OWN line", "TIME_OUT 99"} < set(lines[at + 2 :])
    text = house.read("credentials.txt")
    assert "a new password" not in text and "just a password" not in text and "# people\n" in text
    assert text.splitlines()[0].startswith("Columbia SCRAM-SHA-256$"), "in its place"
    _stop_and_start(house)
    assert house.greet().prove("login", "plain", "just a password")["status"] == "OK"
    assert house.read("credentials.txt") == text


@WAYS
def test_many_edits_are_several_commands_and_one_edit(
    house: House, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "_AT_ONCE", 3)
    house.edit("para.txt", "RATE_LIMIT 0\n", "RATE_LIMIT 40\n")
    house.edit("credentials.txt", f"Google {V}\n", "")
    house.write("credentials.txt", house.read("credentials.txt") + "".join(f"new{n} {OTHER}\n" for n in range(8)))
    before = house.server.world.lsn
    take(house)
    world = house.server.world
    assert {f"new{n}" for n in range(8)} < set(world.accounts) and "google" not in world.accounts
    assert world.parameters["RATE_LIMIT"] == 40 and world.lsn >= before + 3
    _crash_and_start(house)
    assert {f"new{n}" for n in range(8)} < set(house.server.world.accounts)


@WAYS
def test_an_edit_and_a_change_over_the_wire_meet(house: House, take: Take) -> None:
    columbia = house.login("Columbia")
    columbia.prove("password", "Columbia", verifier=OTHER)
    house.register("newcomer")
    house.greet().prove("deregister", "SEAS")
    house.admin("change MAX_FAILURES 7")
    house.edit("credentials.txt", f"facebook {V}", f"facebook {OTHER}")
    house.edit("para.txt", "RATE_LIMIT 0", "RATE_LIMIT 5")
    take(house)
    _stop_and_start(house)
    names = {line.split()[0]: line.split()[1] for line in house.read("credentials.txt").splitlines()}
    assert names == {"Columbia": OTHER, "facebook": OTHER, "Google": V, "newcomer": V}
    assert "RATE_LIMIT 5\n" in house.read("para.txt") and "MAX_FAILURES 7\n" in house.read("para.txt")


def test_a_user_removed_by_hand_is_logged_off_and_forgotten(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    house.edit("credentials.txt", f"Columbia {V}\n", "")
    assert house.reload() == ["Reloaded: 1 user removed (Columbia)."]
    assert columbia.events[-1]["status"] == "KICKED" and columbia.closed
    assert facebook.ask("message", to="Columbia", text="?")["status"] == "NO_SUCH_USER"


@pytest.mark.parametrize("file, old, new, complaint", [
    ("para.txt", "RATE_LIMIT 0", "RATE_LIMIT fast", "para.txt, line 2: RATE_LIMIT must be a whole number from 0 to"),
    ("credentials.txt", f"facebook {V}", "facebook SCRAM-SHA-256$1:x$y:z", "credentials.txt, line 2: facebook: "),
    ("credentials.txt", f"facebook {V}", "facebook", "credentials.txt, line 2: facebook: The password is empty."),
    ("credentials.txt", f"facebook {V}", f"face/book {V}", "credentials.txt, line 2: a name is 1 to 32 of A-Z"),
    ("credentials.txt", f"facebook {V}", f"system {V}", "credentials.txt, line 2: a name is 1 to 32 of A-Z"),
])  # fmt: skip
def test_a_bad_line_keeps_the_old_and_is_named(house: House, file: str, old: str, new: str, complaint: str) -> None:
    house.edit(file, old, new)
    (said,) = house.reload()
    assert said.startswith("Nothing was changed: ") and complaint in said, said
    assert house.server.world.parameters["RATE_LIMIT"] == 0
    house.login("facebook").ask("logout")
    text = house.read(file)
    house.save()
    assert house.read(file) == text, "a line with an edit is left alone"
    house.admin("change MaxCon 55")
    assert house.stop() == ""
    assert new in house.read(file)
    with pytest.raises(FileError, match=complaint.split(":")[0]):
        house.restart()
    house.write(file, house.read(file).replace(new, old))
    house.restart()
    assert house.server.world.parameters["MaxCon"] == 55


@pytest.mark.parametrize("file, line, twice", [
    ("para.txt", "RATE_LIMIT 0\n", "rate_limit 1\n"), ("credentials.txt", f"facebook {V}\n", f"Facebook {OTHER}\n")
])  # fmt: skip
def test_a_name_that_stands_twice_is_named_and_keeps_nothing_from_being_saved(
    house: House, file: str, line: str, twice: str
) -> None:
    house.edit(file, line, line + twice)
    columbia = house.login("Columbia")
    columbia.ask("message", to="SEAS", text="kept")
    place = f"{file}, line 3: {twice.split()[0]} stands in line 2 already; keep one"
    assert house.reload() == [f"Nothing was changed: {house.folder}/{place}"]
    columbia.prove("password", "Columbia", verifier=OTHER)
    house.admin("change MaxCon 55")
    said = house.save()
    assert place in said[-2] and said[-1] == "Saved.", said
    assert (house.folder / "data" / "journal.txt").read_text().count("\n") < 3, "the journal is not needed any more"
    assert f"Columbia {OTHER}\n" in house.read("credentials.txt") and "MaxCon 55\n" in house.read("para.txt")
    assert house.stop() == ""
    assert line + twice in house.read(file)
    assert sum(place in told for told in house.heard_by_admin()) == 1
    with pytest.raises(FileError, match="keep one"):
        house.restart()
    house.edit(file, twice, "")
    house.restart()
    assert house.login("SEAS").texts == ["kept"]
    house.login("facebook")


def test_a_file_that_cannot_be_read_keeps_nothing_from_being_saved(house: House) -> None:
    (house.folder / "credentials.txt").write_bytes(b"Columbia caf\xe9\n")
    house.register("newcomer")
    assert "credentials.txt: not UTF-8 (byte 13)" in house.reload()[0]
    assert house.save()[-1] == "Saved."
    assert house.stop() == ""
    assert (house.folder / "credentials.txt").read_bytes() == b"Columbia caf\xe9\n"
    (house.folder / "credentials.txt").unlink()
    house.restart()
    house.login("newcomer")


def test_a_file_that_an_editor_has_just_emptied_takes_nothing_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "PATIENCE", 0.0)
    whole = house.read("credentials.txt")
    with open(house.folder / "credentials.txt", "w") as editor:
        assert "credentials.txt: another program has it open for writing" in house.reload()[0]
        said = house.save()
        assert "has it open for writing" in said[0] and said[-1] == "Saved."
        editor.write(whole.replace(f"SEAS {V}\n", ""))
        editor.flush()
        assert "has it open for writing" in house.reload()[0]
    assert house.reload() == ["Reloaded: 1 user removed (SEAS)."]
    assert len(house.server.world.accounts) == 3


def test_a_child_whose_server_is_gone_turns_no_more_passwords_into_verifiers(house: House) -> None:
    house.write("credentials.txt", house.read("credentials.txt") + "".join(f"user{n} secret {n}\n" for n in range(9)))
    asked = 0

    def wanted() -> bool:
        nonlocal asked
        asked += 1
        return asked < 4

    with pytest.raises(InterruptedError, match="the server that asked for it is gone"):
        house.server.edited.read(ITERATIONS, wanted=wanted)
    assert asked == 4


# Taken in, and then a crash before the files are written anew.


def _crash_before_writing(house: House, monkeypatch: pytest.MonkeyPatch, then: Take) -> None:
    """A reload, what follows it, and a crash; the files are as the person left them."""
    with monkeypatch.context() as patch:
        patch.setattr(EditedFiles, "write", lambda self, world: [])
        house.reload()
        then(house)
    house.crash()


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("by_hand", ["a plain password", OTHER])
def test_a_password_changed_after_a_reload_stays_changed(
    house: House, monkeypatch: pytest.MonkeyPatch, by_hand: str, checkpoint: bool
) -> None:
    """Acknowledged, and then a crash before the file is written: what stands there was taken in already."""
    newest = str(make_verifier("newest", ITERATIONS, b"newest newest ne"))
    house.edit("credentials.txt", f"Columbia {V}\n", f"Columbia {by_hand}\n")
    house.edit("credentials.txt", f"SEAS {V}\n", f"SEAS {V}\nadded {OTHER}\n")
    house.edit("credentials.txt", f"Google {V}\n", "")
    house.edit("para.txt", "RATE_LIMIT 0\n", "RATE_LIMIT 9\n")

    def then(house: House) -> None:
        password = "another" if by_hand == OTHER else by_hand
        columbia = house.login("Columbia", password=password)
        assert columbia.prove("password", "Columbia", password, verifier=newest)["status"] == "OK"
        assert house.greet().prove("deregister", "added", "another")["status"] == "OK"
        house.register("Google")
        columbia.ask("message", to="Google", text="for the new one")
        house.admin("change RATE_LIMIT 8")
        if checkpoint:
            assert house.save()[-1] == "Saved."

    _crash_before_writing(house, monkeypatch, then)
    for _ in range(2):
        house.restart()
        assert house.greet().prove("login", "Columbia", "newest")["status"] == "OK"
        assert house.greet().prove("login", "added", "another")["status"] == "NO_SUCH_USER"
        assert house.login("Google").texts == ["for the new one"]
        assert house.server.world.parameters["RATE_LIMIT"] == 8
        assert f"Columbia {newest}\n" in house.read("credentials.txt")
        assert "added" not in house.read("credentials.txt") and "RATE_LIMIT 8\n" in house.read("para.txt")
        house.crash()


def test_with_fsync_second_the_files_wait_for_the_edit_to_be_durable(build: Callable[..., House]) -> None:
    """Else a power cut could take the edit out of the journal when it is not in the file any more."""
    house = build(FSYNC="second")
    house.login("SEAS").ask("message", to="facebook", text="so that LSNs are reserved")
    house.pass_time(2)
    house.disk.fast = False
    house.edit("credentials.txt", f"Columbia {V}\n", "Columbia a new password\n")
    house.console.line("reload")
    house.wait_for(lambda: any("1 password changed (Columbia)" in line for line in house.said))
    house.admin("change MaxCon 55")
    for _ in range(5):
        house.pass_time(1)
        assert "Columbia a new password\n" in house.read("credentials.txt") and "MaxCon" not in house.read("para.txt")
    house.disk.release()
    house.settle()
    house.disk.fast = True
    house.pass_time(2)
    house.wait_for(lambda: not house.server.saver.busy)
    assert "a new password" not in house.read("credentials.txt") and "MaxCon 55\n" in house.read("para.txt")


def test_an_edit_after_one_that_was_taken_in_counts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.edit("credentials.txt", f"Columbia {V}\n", "Columbia first password\n")
    _crash_before_writing(house, monkeypatch, lambda house: None)
    house.edit("credentials.txt", "Columbia first password\n", "Columbia second password\n")
    house.restart()
    assert house.greet().prove("login", "Columbia", "second password")["status"] == "OK"
    # And the same words again, once the file has been written, are a new edit.
    for password in ("first password", "second password"):
        text = house.read("credentials.txt").splitlines()
        house.write("credentials.txt", "\n".join([f"Columbia {password}", *text[1:]]) + "\n")
        assert house.reload() == ["Reloaded: 1 password changed (Columbia)."]
        house.crash()
        house.restart()
        assert house.greet().prove("login", "Columbia", password)["status"] == "OK"


# What the console changes stands in para.txt at once.


def test_a_changed_parameter_reaches_para_txt_at_once(house: House) -> None:
    house.edit("para.txt", "RATE_LIMIT 0\n", "RATE_LIMIT 0\n# mine\nLAST_HOUR 60\n")
    assert house.admin("change rate_limit 7", "change MaxCon 55", "change MaxCon 56") == [
        "RATE_LIMIT is now 7.", "MaxCon is now 55.", "MaxCon is now 56."
    ]  # fmt: skip
    house.wait_for(lambda: not house.server.saver.busy)
    assert house.heard_by_admin() == []
    lines = house.read("para.txt").splitlines()
    assert lines[lines.index("# mine") - 1] == "RATE_LIMIT 7" and "MaxCon 56" in lines
    assert "LAST_HOUR 60" in lines and house.server.world.parameters["LAST_HOUR"] == 3600.0, "an edit waits to be read"
    assert "edit" in house.read("data/journal.txt"), "and nothing else was written"
    house.crash()
    house.restart()
    assert (house.server.world.parameters["MaxCon"], house.server.world.parameters["LAST_HOUR"]) == (56, 60.0)


def test_a_changed_parameter_that_cannot_be_written_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EditedFiles, "write", full)
    house.admin("change MaxCon 55")
    house.wait_for(lambda: not house.server.saver.busy)
    (said,) = house.heard_by_admin()
    assert said.startswith("para.txt and credentials.txt could not be written: ") and "No space left" in said
    house.crash()
    monkeypatch.undo()
    house.restart()
    assert house.server.world.parameters["MaxCon"] == 55


def test_unknown_names_in_para_txt_are_named_and_refuse_nothing(house: House) -> None:
    house.edit("para.txt", "RATE_LIMIT 0\n", "RATE_LIMIT 3\nRATELIMIT 4\n# NO_NAME 1\nzzz\n")
    named = [f"{house.folder}/para.txt, line 3: there is no parameter 'RATELIMIT'; RATE_LIMIT perhaps?",
             f"{house.folder}/para.txt, line 5: there is no parameter 'zzz'"]  # fmt: skip
    assert house.reload() == [*named, "Reloaded: RATE_LIMIT is 3."]
    assert house.reload() == [*named, "Nothing was changed by hand."]
    assert house.stop() == ""
    house.heard_by_admin()
    house.restart()
    assert house.heard_by_admin()[:2] == named
    assert "RATELIMIT 4\n# NO_NAME 1\nzzz\n" in house.read("para.txt")


def test_a_reload_that_nobody_typed_is_told_to_the_console_and_the_log(house: House) -> None:
    house.edit("para.txt", "RATE_LIMIT 0", "RATE_LIMIT 3")
    house.server.saver.reload(house.server.tell)
    house.wait_for(lambda: not house.server.saver.busy)
    assert house.server.world.parameters["RATE_LIMIT"] == 3
    assert "Reloaded: RATE_LIMIT is 3." in house.log()
    assert house.reload() == ["Nothing was changed by hand."]


def test_an_edit_between_reading_and_writing_survives(house: House) -> None:
    house.edit("para.txt", "RATE_LIMIT 0", "RATE_LIMIT 3")
    house.console.line("save")
    house.wait_for(lambda: house.server.world.parameters["RATE_LIMIT"] == 3)
    house.edit("para.txt", "RATE_LIMIT 3", "RATE_LIMIT 4")
    house.edit("credentials.txt", f"SEAS {V}\n", f"SEAS {OTHER}\n")
    house.wait_for(lambda: not house.server.saver.busy)
    assert "RATE_LIMIT 4\n" in house.read("para.txt")
    house.reload()
    assert house.server.world.parameters["RATE_LIMIT"] == 4
    assert house.greet().prove("login", "SEAS", "another")["status"] == "OK"


def test_a_line_removed_from_para_txt_means_its_default(house: House) -> None:
    house.edit("para.txt", "RATE_LIMIT 0\n", "")
    house.reload()
    assert house.server.world.parameters["RATE_LIMIT"] == 20
    _stop_and_start(house)
    assert house.server.world.parameters["RATE_LIMIT"] == 20


def test_a_missing_file_takes_nothing_away(house: House) -> None:
    (house.folder / "credentials.txt").unlink()
    (house.folder / "para.txt").unlink()
    house.reload()
    assert len(house.server.world.accounts) == 4 and house.server.world.parameters["RATE_LIMIT"] == 0
    assert house.stop() == ""
    assert house.read("credentials.txt").count("\n") == 4 and "RATE_LIMIT 0\n" in house.read("para.txt")


def test_published_passwords_are_warned_of(house: House) -> None:
    house.edit("credentials.txt", f"Columbia {V}", "Columbia 116bway")
    house.heard_by_admin()
    _stop_and_start(house)
    assert any("Warning: the password of Columbia is in the published example" in line for line in house.said)
    house.login("Columbia", password="116bway").prove("password", "Columbia", "116bway", verifier=OTHER)
    house.said.clear()
    _stop_and_start(house)
    assert not any("Warning" in line for line in house.said)
    assert warning(["ann", "bob", "eve"]).startswith("Warning: the passwords of ann, bob and eve are in the published")
    assert warning([]) == ""


def test_while_many_new_passwords_are_taken_in_something_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs its maker a moment, so a class full of them takes a while: who waits is told what for."""
    go_on, tell = os.pipe()
    read = EditedFiles.read

    def slowly(self: EditedFiles, *args: Any, **named: Any) -> Changes:
        os.read(go_on, 1)
        return read(self, *args, **named)

    monkeypatch.setattr(EditedFiles, "read", slowly)
    house.write("credentials.txt", house.read("credentials.txt") + "ann a password\n")
    house.console.line("reload")
    house.tick()
    house.heard_by_admin()
    house.pass_time(PATIENCE + 1)
    assert house.heard_by_admin() == ["New passwords are being turned into verifiers: each takes a moment ..."]
    os.write(tell, b".")
    house.wait_for(lambda: not house.server.saver.busy)
    assert house.heard_by_admin() == ["Reloaded: 1 user added (ann)."]
    house.pass_time(2 * PATIENCE)
    assert house.heard_by_admin() == [], "once"
    os.close(go_on)
    os.close(tell)


def test_a_stop_says_that_it_takes_new_passwords_in(house: House) -> None:
    house.write("credentials.txt", house.read("credentials.txt") + "ann a password\n")
    house.stop()
    assert "Turning 1 password of credentials.txt into verifiers ..." in house.said
    house.restart()
    assert house.greet().prove("login", "ann", "a password")["status"] == "OK"
