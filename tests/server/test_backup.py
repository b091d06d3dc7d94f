"""A backup is taken while the server runs, and what is restored from it is a home like any other; or none."""

from __future__ import annotations

import io
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.server import backup, upkeep
from chatlib.server.restoring import restore
from chatlib.storage import archive
from chatlib.storage.archive import ArchiveWriter
from chatlib.storage.textfile import FileError
from tests.chance import new_chance
from tests.server.carrying import upload
from tests.server.house import House
from tests.server.lived import Dial, facts, flip, live, looked_at, state, texts

Restored = Callable[[Path, Path], House]


@pytest.fixture
def restored() -> Iterator[Restored]:
    """Makes a house of a backup, in a new home."""
    houses: list[House] = []

    def restore_one(archive_file: Path, folder: Path) -> House:
        _, report = restore(archive_file, folder)
        assert report.is_whole, report.damage
        assert looked_at(folder).is_whole
        houses.append(House(folder))
        return houses[-1]

    yield restore_one
    for house in houses:
        house.close()


@pytest.mark.parametrize("how", ["running", "crash", "stop"])
def test_what_is_restored_is_what_was_there(
    house: House, dial: Dial, tmp_path: Path, how: str, restored: Restored
) -> None:
    live(house, dial)
    if how != "running":
        getattr(house, how)()
    before = state(house.folder)
    said: list[str] = []
    assert upkeep.back_up_home(house.folder, tmp_path / "b.tar.gz", said.append) == 0
    assert "b.tar.gz: " in said[0] and ", with everything up to command " in said[0]
    assert state(house.folder) == before
    assert stat.S_IMODE((tmp_path / "b.tar.gz").stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".*"))
    if how == "running":
        house.crash()
    house.restart()
    again = restored(tmp_path / "b.tar.gz", tmp_path / "again")
    assert facts(again) == facts(house)
    assert again.stop() == ""
    assert looked_at(again.folder).is_whole


def test_any_tar_unpacks_it(house: House, dial: Dial, tmp_path: Path) -> None:
    live(house, dial)
    backup.write(house.folder, tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as file:
        assert {"para.txt", "credentials.txt", "data/manifest.txt", "data/journal.txt"} <= set(file.getnames())
        assert all(member.isreg() and member.mode == 0o600 for member in file.getmembers())
        file.extractall(tmp_path / "unpacked")
    assert looked_at(tmp_path / "unpacked").is_whole


def test_nothing_is_overwritten(house: House, tmp_path: Path) -> None:
    (tmp_path / "b.tar.gz").write_text("somebody's")
    with pytest.raises(FileError, match="is there already: a backup overwrites nothing"):
        backup.write(house.folder, tmp_path / "b.tar.gz")
    assert (tmp_path / "b.tar.gz").read_text() == "somebody's"
    with pytest.raises(FileError, match="there is no such folder"):
        backup.write(house.folder, tmp_path / "nowhere" / "b.tar.gz")
    with pytest.raises(FileError, match="there is no server's home"):
        backup.write(tmp_path, tmp_path / "c.tar.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar.gz", "home0"]


def test_a_save_in_between_makes_it_read_again(
    house: House, dial: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: Restored
) -> None:
    columbia = live(house, dial)
    columbia.ask("crt", title="gone")
    house.save()
    taken, times = backup._Taking._text_files, []

    def text_files(taking: backup._Taking) -> int:
        lsn = taken(taking)
        times.append(lsn)
        if len(times) <= 3:
            columbia.ask("message", to="SEAS", text=f"meanwhile {len(times)}")
            columbia.ask("rmv", title="gone")
            house.save()
        return lsn

    monkeypatch.setattr(backup, "used_by", lambda data: 1)
    monkeypatch.setattr(backup, "_AGAIN", 0.0)
    monkeypatch.setattr(backup._Taking, "_text_files", text_files)
    backup.write(house.folder, tmp_path / "b.tar.gz")
    assert len(times) == 4
    house.crash()
    again = restored(tmp_path / "b.tar.gz", tmp_path / "again")
    assert texts(again)[-3:] == ["meanwhile 1", "meanwhile 2", "meanwhile 3"]


def test_bytes_that_come_and_go_meanwhile(
    house: House, dial: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: Restored
) -> None:
    """What is fetched after its bytes were looked for, or comes just before the journal is read."""
    columbia = live(house, dial)
    journal, times = backup._Taking._journal, []

    def read(taking: backup._Taking, lsn: int) -> tuple[int, set[str]]:
        if not times:
            upload(dial, columbia, b"late bytes", "late.bin")
            house.admin("drop 15")
            house.settle()
        times.append(lsn)
        return journal(taking, lsn)

    monkeypatch.setattr(backup._Taking, "_journal", read)
    backup.write(house.folder, tmp_path / "b.tar.gz")
    house.crash()
    again = restored(tmp_path / "b.tar.gz", tmp_path / "again")
    columbia = again.login("SEAS")
    assert {item["name"] for item in columbia.ask("fileget")["items"]} >= {"late.bin", "journaled.bin"}
    again.stop()
    assert looked_at(again.folder).is_whole


def test_bytes_that_do_not_have_their_name_yet(house: House, dial: Dial, tmp_path: Path, restored: Restored) -> None:
    """A server names them right behind the command; it may be killed in between."""
    live(house, dial)
    house.crash()
    folder = house.folder / "data" / "files"
    (late,) = [path for path in folder.iterdir() if path.read_bytes() == b"journaled bytes"]
    late.rename(folder / f"{late.name.partition('.')[0]}.part")
    assert looked_at(house.folder).is_whole
    backup.write(house.folder, tmp_path / "b.tar.gz")
    again = restored(tmp_path / "b.tar.gz", tmp_path / "again")
    assert (again.folder / "data" / "files" / late.name).read_bytes() == b"journaled bytes"


def test_what_is_erased_while_it_is_read_is_erased_in_the_backup(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: Restored
) -> None:
    house.server.messages._limit = 2_000
    columbia = house.login("Columbia")
    for number in range(60):
        columbia.ask("message", to=("SEAS", "Google")[number % 2], text=f"secret {number} {'x' * 50}")
    moment = backup._Taking._moment

    def later(taking: backup._Taking) -> int:
        assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
        house.settle()
        house.save()
        return moment(taking)

    monkeypatch.setattr(backup._Taking, "_moment", later)
    backup.write(house.folder, tmp_path / "b.tar.gz")
    house.crash()
    monkeypatch.undo()
    again = restored(tmp_path / "b.tar.gz", tmp_path / "again")
    assert len(texts(again, "Google")) == 30
    held = b"".join(path.read_bytes() for path in (again.folder / "data").glob("message_rep*"))
    assert b"secret 1 " in held
    assert b"secret 2 " not in held


def test_no_pieces_larger_than_some_mebibytes(house: House, dial: Dial, tmp_path: Path) -> None:
    live(house, dial)
    sizes: list[int] = []

    class Watched(io.BytesIO):
        def fileno(self) -> int:
            return 2

        def write(self, data: object) -> int:
            sizes.append(len(bytes(data)))  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    writer = ArchiveWriter(Watched())
    with open(tmp_path / "large", "wb") as file:
        file.truncate(50 << 20)
    with open(tmp_path / "large", "rb") as file:
        assert writer.add("large", file, 50 << 20)
    assert max(sizes) < 4 << 20


def test_a_home_whose_text_files_are_damaged_is_not_backed_up(house: House, dial: Dial, tmp_path: Path) -> None:
    live(house, dial)
    house.stop()
    path = house.folder / "data" / "users.txt"
    flip(path, 300)
    with pytest.raises(FileError, match="a backup of this home could not be used. See --verify"):
        backup.write(house.folder, tmp_path / "b.tar.gz")
    path.unlink()
    with pytest.raises(FileError, match="a backup of this home could not be used. See --verify"):
        backup.write(house.folder, tmp_path / "b.tar.gz")
    (house.folder / "data" / "manifest.txt").unlink()
    with pytest.raises(FileError, match="manifest.txt is missing"):
        backup.write(house.folder, tmp_path / "b.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["home0"]


def test_who_is_not_wanted_any_more_leaves_nothing(house: House, dial: Dial, tmp_path: Path) -> None:
    live(house, dial)
    with pytest.raises(InterruptedError):
        backup.write(house.folder, tmp_path / "b.tar.gz", wanted=lambda: False)
    assert [path.name for path in tmp_path.iterdir()] == ["home0"]


# Restoring.


def test_a_restored_home_has_another_epoch_and_knows_the_one_before(
    house: House, dial: Dial, tmp_path: Path, restored: Restored
) -> None:
    live(house, dial)
    lsn = house.server.world.lsn
    backup.write(house.folder, tmp_path / "b.tar.gz")
    epoch = house.server.home.epoch()
    again = restored(tmp_path / "b.tar.gz", tmp_path / "again")
    assert again.server.home.epoch() != epoch
    assert again.server.home.earlier() == [(epoch, lsn)]
    again.stop()
    backup.write(again.folder, tmp_path / "c.tar.gz")
    third = restored(tmp_path / "c.tar.gz", tmp_path / "third")
    assert [name for name, _ in third.server.home.earlier()] == [again.server.home.epoch(), epoch]


@pytest.mark.parametrize("there", [True, False])
def test_a_disk_that_fails_while_it_is_unpacked_leaves_nothing(
    house: House, dial: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    live(house, dial)
    backup.write(house.folder, tmp_path / "b.tar.gz")
    if there:
        (tmp_path / "again").mkdir()
    for what in ("verify", "renew_epoch"):
        with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):

            def fail(*_: object) -> None:
                raise OSError(28, "The disk is full")

            patched.setattr(f"chatlib.server.restoring.{what}", fail)
            restore(tmp_path / "b.tar.gz", tmp_path / "again")
        assert (tmp_path / "again").exists() == there
        assert not there or not list((tmp_path / "again").iterdir())


def test_only_into_an_empty_folder(house: House, tmp_path: Path, restored: Restored) -> None:
    backup.write(house.folder, tmp_path / "b.tar.gz")
    before = state(house.folder)
    with pytest.raises(FileError, match="into an empty folder, or a new one"):
        restore(tmp_path / "b.tar.gz", house.folder)
    assert state(house.folder) == before
    (tmp_path / "empty").mkdir()
    restored(tmp_path / "b.tar.gz", tmp_path / "empty")
    with pytest.raises(FileError, match="there is no such folder"):
        restore(tmp_path / "b.tar.gz", tmp_path / "no" / "where")


def test_an_archive_that_was_cut_or_flipped_is_refused_and_leaves_nothing(
    house: House, dial: Dial, tmp_path: Path
) -> None:
    """But for a bit that means nothing to gzip: then all of it is there."""
    chance = new_chance()
    live(house, dial)
    backup.write(house.folder, tmp_path / "b.tar.gz")
    whole = (tmp_path / "b.tar.gz").read_bytes()
    bad, home = tmp_path / "bad.tar.gz", tmp_path / "again"
    for _ in range(40):
        bad.write_bytes(whole[: chance.randrange(len(whole))])
        with pytest.raises(FileError, match=r"bad\.tar\.gz (is|was) "):
            restore(bad, home)
        assert not home.exists()
    for _ in range(80):
        flipped = bytearray(whole)
        flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        bad.write_bytes(flipped)
        try:
            _, report = restore(bad, home)
        except FileError:
            assert not home.exists()
        else:
            assert report.is_whole
            shutil.rmtree(home)


def packed(path: Path, *members: tarfile.TarInfo, listed: bool = True) -> Path:
    with open(path, "wb") as file:
        writer = ArchiveWriter(file)
        for member in members:
            writer._file.write(member.tobuf(tarfile.PAX_FORMAT))
        if listed:
            writer.finish(["lsn 1"])
        else:
            writer._file.close()
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (member("../evil"), "has a file '../evil'"),
        (member("/etc/evil"), "has a file '/etc/evil'"),
        (member("data/../../evil"), "has a file"),
        (member("data/threads/../../evil"), "has a file"),
        (member("data/threads/a/b"), "has a file"),
        (member("data/lock"), "has a file"),
        (member("data/files/.hidden"), "has a file"),
        (member("x" * 300), "has a file"),
        (member("para.txt", tarfile.SYMTYPE, "/etc/passwd"), "is no plain file"),
        (member("para.txt", tarfile.LNKTYPE, "credentials.txt"), "is no plain file"),
        (member("data", tarfile.DIRTYPE), "is no plain file"),
        (member("para.txt", tarfile.CHRTYPE), "is no plain file"),
        (member("para.txt", tarfile.FIFOTYPE), "is no plain file"),
    ],
)
def test_names_and_kinds_that_no_home_has_are_refused(tmp_path: Path, bad: tarfile.TarInfo, why: str) -> None:
    with pytest.raises(FileError, match=why):
        restore(packed(tmp_path / "bad.tar.gz", bad), tmp_path / "again")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tar.gz"]


def test_what_the_list_does_not_name_does_not_count(tmp_path: Path) -> None:
    known = archive.listed(packed(tmp_path / "b.tar.gz", member("para.txt")), backup.may_be)
    assert known.members == {}
    with pytest.raises(FileError, match="is a backup of nothing"):
        restore(tmp_path / "b.tar.gz", tmp_path / "again")
    with pytest.raises(FileError, match="cut short"):
        archive.listed(packed(tmp_path / "c.tar.gz", member("para.txt"), listed=False), backup.may_be)


def test_what_was_damaged_before_is_restored_and_said(house: House, dial: Dial, tmp_path: Path) -> None:
    live(house, dial)
    house.stop()
    store = house.folder / "data" / "message_rep.txt"
    store.write_bytes(store.read_bytes().replace(b"saved 2", b"saved !"))
    backup.write(house.folder, tmp_path / "b.tar.gz")
    said: list[str] = []
    assert upkeep.restore_home(tmp_path / "b.tar.gz", tmp_path / "again", said.append) == 1
    assert said[1].startswith(f"Damage! {tmp_path / 'again' / 'data' / 'message_rep.txt'}: the line at byte ")
    assert said[-1] == "That was so already when it was backed up. See --repair."


# The console's.


def test_the_console_backs_up_while_the_server_goes_on(
    house: House, dial: Dial, tmp_path: Path, restored: Restored
) -> None:
    columbia = live(house, dial)
    house.heard_by_admin()
    house.console.line(f"backup {tmp_path / 'b.tar.gz'}")
    assert house.console.busy
    house.wait_for(lambda: house.console.busy is False)
    (said,) = house.heard_by_admin()
    assert said.startswith(f"Backed up: {tmp_path / 'b.tar.gz'}: ")
    assert columbia.ask("whoelse")["status"] == "OK"
    assert house.admin(f"backup {tmp_path / 'b.tar.gz'}") == [
        f"Error! {tmp_path / 'b.tar.gz'} is there already: a backup overwrites nothing."
    ]
    house.crash()
    assert "saved 0" in texts(restored(tmp_path / "b.tar.gz", tmp_path / "again"))


def test_a_stop_ends_a_backup_and_leaves_nothing_of_it(house: House, tmp_path: Path) -> None:
    house.console.line(f"backup {tmp_path / 'b.tar.gz'}")
    house.tick(2)
    assert house.server.backups.busy
    house.console.line(f"backup {tmp_path / 'c.tar.gz'}")
    house.tick(2)
    house.stop()
    said = house.heard_by_admin()
    assert "Error! A backup is under way already." in said
    assert "No backup was made: the server stops." in said or (tmp_path / "b.tar.gz").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"home0", "b.tar.gz"}


def test_from_afar_a_name_alone_is_taken(build: Callable[..., House], tmp_path: Path, restored: Restored) -> None:
    house = build()
    said: list[str] = []
    console = house.server.console(lambda text: said.extend(text.splitlines()), name="console from 10.0.0.1")
    for name in ("../evil", "/tmp/evil", ".hidden", "a b", "x/y"):
        console.line(f"backup {name}")
        house.settle()
        assert said.pop().startswith("Error! From afar, a backup is told by a name of A-Z a-z 0-9 _ . - without a path")
    console.line("backup monday.tar.gz")
    house.wait_for(lambda: not console.busy)
    assert said[0].startswith(f"Backed up: {house.folder / 'backups' / 'monday.tar.gz'}: ")
    house.crash()
    assert restored(house.folder / "backups" / "monday.tar.gz", tmp_path / "again").stop() == ""
