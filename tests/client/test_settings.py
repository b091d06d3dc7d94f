"""A person's settings in their file: read, changed, edited by hand meanwhile, and wrong in every way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chatlib.program.settings import TABLE, Settings, default_path
from chatlib.protocol.commands import TABLE as COMMANDS
from chatlib.protocol.commands import Role
from tests.chance import examples, new_chance

WRITTEN = """\
# mine
bell off

frobnicate 12
alias gm broadcast Good morning
mute ann
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "chatlib" / "client.txt"


def written(path: Path, text: str) -> Settings:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Settings(path)


def test_where_the_file_is() -> None:
    assert default_path({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}) == Path("/x/chatlib/client.txt")
    assert default_path({"XDG_CONFIG_HOME": "x", "HOME": "/h"}) == Path("/h/.config/chatlib/client.txt")
    assert default_path({"HOME": "/h"}) == Path("/h/.config/chatlib/client.txt")


def test_without_a_file_the_defaults_hold(path: Path) -> None:
    settings = Settings(path)
    assert settings.load() == []
    assert {name: settings[name] for name in TABLE} == {name: row.default for name, row in TABLE.items()}
    assert (settings.on("bell"), settings.on("notify"), settings.servers) == (True, False, ())
    assert not path.exists()


def test_a_file_by_hand(path: Path) -> None:
    text = "Server [::1]:1234\nUSER ann\r\nbell\tOFF\n\n  # a comment\nmute Bob\nalias W \tmessage bob\n"
    settings = written(path, text)
    assert settings.load() == []
    assert (settings.servers, settings["user"], settings["bell"]) == ((("::1", 1234),), "ann", "off")
    assert settings.mutes("bob") and settings.mutes("BOB") and not settings.mutes("carl") and not settings.mutes(None)
    assert settings.expanded("w hi") == "message bob hi"


def test_one_value_is_changed_and_nothing_else_in_the_file(path: Path) -> None:
    settings = written(path, WRITTEN)
    settings.load()
    assert settings.change("bell", "ON") == []
    assert settings.change("user", "bob") == []
    assert settings.change("alias", "gm broadcast  Hello") == []
    assert settings.change("mute", "Carl") == []
    assert settings.remove("mute", "ANN") == []
    assert path.read_text() == (
        WRITTEN.replace("bell off", "bell on").replace("mute ann\n", "").replace("Good morning", " Hello")
        + "user bob\nmute Carl\n"
    )
    again = Settings(path)
    again.load()
    assert (again["bell"], again["user"], list(again.all_of("mute").values())) == ("on", "bob", ["Carl"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["client.txt"]


def test_the_first_change_makes_the_file_and_its_folder(path: Path) -> None:
    settings = Settings(path)
    assert settings.remove("bell") == []
    assert not path.exists()
    assert settings.change("bell", "off") == []
    assert path.read_text().endswith("\nbell off\n")
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


def test_an_edit_by_hand_is_kept_and_taken_in(path: Path) -> None:
    settings = written(path, "bell on\n")
    settings.load()
    path.write_text("# I was here\nbell on\nuser bob\n")
    settings.change("times", "off")
    assert path.read_text() == "# I was here\nbell on\nuser bob\ntimes off\n"
    assert settings["user"] == "bob"
    path.write_text("user carl\n")
    assert settings.load() == []
    assert (settings["user"], settings["times"]) == ("carl", "on")


def test_what_is_wrong_is_named_and_the_rest_counts(path: Path) -> None:
    lines = ["bell maybe", "user a b", "times off", "server here", "bel off", "mute", "mute ann bob", "alias message x"]
    settings = written(path, "\n".join([*lines, "times on"]))
    wrong = settings.load()
    assert [line.removeprefix(f"{path}, ") for line in wrong] == [
        'line 1: bell must be on or off, not "maybe". The line does not count.',
        'line 2: user must be a user\'s name: 1 to 32 of A-Z a-z 0-9 _ . -, not "a b". The line does not count.',
        "line 4: server must be an address and a port, such as 192.168.1.5 1234, or [::1]:1234; or several, such as "
        "a:1234,b:1234: the port is missing: here 1234, for example, or here:1234. The line does not count.",
        f'line 5: "bel" is no setting: those are {", ".join(TABLE)}.',
        'line 6: mute must be a user\'s name: 1 to 32 of A-Z a-z 0-9 _ . -, not "". The line does not count.',
        'line 7: mute must be a user\'s name: 1 to 32 of A-Z a-z 0-9 _ . -, not "ann bob". The line does not count.',
        'line 8: alias cannot hide a command, and "message" is one. The line does not count.',
        "line 9: times stands above already. This line counts.",
    ]
    assert (settings["bell"], settings["times"]) == ("on", "on")
    assert settings.load() == [], "each thing is said once"


@pytest.mark.parametrize(
    "value", ["here", "", "a b c", "h 0", "h 65536", "h x", "[::1]", "-h 1", ":12", "h\x1b 12", "[::1 12"]
)
def test_what_is_no_server(value: str) -> None:
    with pytest.raises(ValueError, match="server must be an address and a port"):
        TABLE["server"].value(value)


@pytest.mark.parametrize("value", ["::1 12", "[::1]:12", "[::1] 12"])
def test_an_address_with_colons_stays_one(path: Path, value: str) -> None:
    settings = Settings(path)
    settings.change("server", value)
    assert settings.servers == (("::1", 12),)


def test_an_alias_hides_no_command_and_calls_no_alias() -> None:
    alias = TABLE["alias"]
    for row in COMMANDS.rows:
        if row.role in (Role.USER, Role.LOCAL):
            with pytest.raises(ValueError, match=r"hide a command|word of your own"):
                alias.value(f"{row.name.upper()} message ann hi")
    for wrong in ("gm", "gm ", "gm gm", "gm hello ann", "gm !ls", "gm $(ls)", "g\x07m message a b", "#x message a b"):
        with pytest.raises(ValueError, match="alias "):
            alias.value(wrong)
    settings = Settings()
    settings.change("alias", "m2 message ann m2")
    assert settings.expanded("m2 m2") == "message ann m2 m2"
    assert settings.expanded(" m2 x") == " m2 x", "a blank before it: that is text"


def test_a_file_that_cannot_be_read_or_written_is_left_as_it_is(path: Path) -> None:
    settings = written(path, "")
    path.write_bytes(b"bell \xff\n")
    assert settings.load() == [f"{path}: not UTF-8 (byte 6)"]
    (note,) = settings.change("bell", "off")
    assert note.startswith(f"Cannot write {path} (") and note.endswith(": this holds until you leave.")
    assert settings["bell"] == "off"
    settings.load()
    assert settings["bell"] == "off"
    assert path.read_bytes() == b"bell \xff\n"


def test_a_folder_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    settings = Settings(path)
    assert settings.load() == [f"{path}: Is a directory"]
    assert settings.change("mute", "ann") != []
    assert settings.mutes("ann")
    assert settings.remove("mute", "ann") != []
    assert not settings.mutes("ann")


def test_a_link_stays_one(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(parents=True)
    own = tmp_path / "dotfiles.txt"
    own.write_text("bell off\n")
    path.symlink_to(own)
    settings = Settings(path)
    settings.change("times", "off")
    assert path.is_symlink()
    assert own.read_text() == "bell off\ntimes off\n"


def test_whatever_stands_in_the_file_a_change_touches_one_line(path: Path) -> None:
    chance = new_chance()
    pieces = ["bell", "mute", "ann", " ", "\n", "#", "alias", "on", "é", "\t", "off", "\x0b", "user", "server", "\r"]
    path.parent.mkdir(parents=True)
    for _ in range(examples(100)):
        text = "".join(chance.choices(pieces, k=chance.randrange(30)))
        path.write_bytes(text.encode())
        settings = Settings(path)
        settings.load()
        before = {name: settings[name] for name in TABLE if name != "notify"}
        settings.change("notify", "on")
        lines = path.read_bytes().decode().split("\n")
        old = text.split("\n")
        assert lines == [*(old if old[-1] else old[:-1]), "notify on", ""]
        assert {name: settings[name] for name in TABLE if name != "notify"} == before


def test_two_clients_change_their_settings_at_once(path: Path) -> None:
    path.parent.mkdir(parents=True)
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                settings = Settings(path)
                status = int(any(settings.change("mute", f"user{number}x{each}") for each in range(5)))
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    settings = Settings(path)
    assert settings.load() == []
    assert len(settings.all_of("mute")) == 20


def test_several_servers_may_be_set(tmp_path: Path) -> None:
    path = tmp_path / "client.txt"
    path.write_text("server a:1, b:2,[::1]:3\n")
    settings = Settings(path)
    assert settings.load() == [] and settings.servers == (("a", 1), ("b", 2), ("::1", 3))
    assert settings["server"] == "a:1,b:2,[::1]:3"
