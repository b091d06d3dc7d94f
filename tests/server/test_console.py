"""The administrator's console: every command, its errors, and what it must never show."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from chatlib.core.accounts import Account, Presence
from chatlib.core.bank import Book, bank_of
from chatlib.core.files import WaitingFile, WaitingFiles
from chatlib.core.lockouts import Failures
from chatlib.core.threads import Author, Thread, forum_of
from chatlib.protocol import commands
from chatlib.protocol.commands import Role
from chatlib.reactor.connection import Connection
from chatlib.server import console as server_console
from chatlib.server.listings import PORTION
from chatlib.server.presence import QUIET
from chatlib.storage.parameters import PARAMETERS
from chatlib.terminal.operator import Prompt
from chatlib.terminal.screen import Part
from tests.server.house import PASSWORD, VERIFIER, House


def test_users(house: House) -> None:
    assert house.admin("online users") == ["Nobody is online."]
    house.login("Columbia", address="10.0.0.5")
    facebook = house.login("facebook")
    facebook.ask("message", to="SEAS", text="hi")
    facebook.ask("block", user="Google")
    online = house.admin("online users")
    assert online[0] == "2 online:" and online[1].startswith("  Columbia from 10.0.0.5 since 20")
    assert house.admin("all users") == [
        "4 registered:", "  Columbia: online, 0 unread", "  facebook: online, 0 unread",
        "  Google: never here, 0 unread", "  SEAS: never here, 1 unread",
    ]  # fmt: skip
    assert house.admin("blocked users") == [
        "Nobody is locked out.", "1 blocked by other users:", "  facebook blocks Google"]  # fmt: skip
    facebook.ask("logout")
    assert house.admin("all users")[2].startswith("  facebook: last here 20")


def test_accounts_are_shown_in_a_row_each(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "port", property(lambda self: 51_234 if self.address == "10.0.0.5" else 0))
    columbia = house.login("Columbia", address="10.0.0.5")
    house.login("facebook", address="fe80::1%eth0")
    columbia.ask("listen", port=4_001)
    assert house.admin("grant seas 5") and house.admin("accounts") == [
        "  name      address        port  peer port  online  balance",
        "  Columbia  10.0.0.5      51234       4001  yes      10,000",
        "  facebook  fe80::1%eth0      -          -  yes      10,000",
        "  Google    -                 -          -  no       10,000",
        "  SEAS      -                 -          -  no       10,005",
    ]
    columbia.ask("logout")
    assert house.admin("accounts")[1] == "  Columbia  -                -          -  no       10,000"


def test_a_list_shows_what_was_asked_for_just_before_it(house: House) -> None:
    """Lines from a pipe, or pasted, come faster than the disk answers."""
    house.heard_by_admin()
    house.disk.fast = False
    house.console.line("grant seas 5")
    house.console.line("accounts")
    house.settle()
    house.disk.release()
    house.settle()
    house.disk.fast = True
    granted, *rows = house.heard_by_admin()
    assert "10,005" in granted and rows[-1].endswith(" 10,005") and len(rows) == 5
    assert not house.console.busy


def test_in_a_narrow_window_a_balance_stays_beside_its_name(house: House) -> None:
    columbia = house.login("Columbia", address="2001:db8:1234:5678:9abc:def0:1234:5678")
    columbia.ask("listen", port=4_001)
    (wide, *_) = house.admin("accounts")
    house.columns = len(wide) - 1
    assert house.admin("accounts") == [
        "  name      online  balance",
        "  Columbia  yes      10,000",
        "    at 2001:db8:1234:5678:9abc:def0:1234:5678, port -, peer port 4001",
        "  facebook  no       10,000",
        "  Google    no       10,000",
        "  SEAS      no       10,000",
    ]
    house.columns = len(wide)
    assert house.admin("accounts")[0] == wide, "what fits stays in one row"


def test_lockouts_are_shown_and_lifted(house: House) -> None:
    for _ in range(3):
        house.greet().prove("login", "SEAS", "wrong")
    house.clock.now += 15
    house.settle()
    assert house.admin("blocked users")[:2] == ["1 locked out:", "  SEAS from 10.0.0.1 for another 45 seconds"]
    assert house.admin("unlock seas") == ["SEAS is not locked out any more."]
    assert house.admin("unlock seas") == ['Error! "SEAS" is not locked out.']
    assert house.admin("unlock nobody") == ['Error! There is no user "nobody".']
    house.login("SEAS")


def test_kick(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    house.pass_time(QUIET)
    assert house.admin("kick COLUMBIA") == ["Columbia has been logged off."]
    assert columbia.events[-1] == {"event": "bye", "status": "KICKED", "text": "The administrator logged you off."}
    assert columbia.closed
    assert facebook.events[-1]["online"] is False
    assert house.admin("kick Columbia") == ['Error! "Columbia" is not online.']
    assert house.admin("kick nobody") == ['Error! There is no user "nobody".']
    assert house.admin("kick") == ["Error! Usage: kick <user>"]
    assert house.admin("kick a b") == ["Error! Usage: kick <user>"]
    assert house.admin("kick a/b")[0] == "Error! Usage: kick <user>"


def test_say(house: House) -> None:
    columbia = house.login("Columbia")
    columbia.hear()
    assert house.admin("say  The server stops at noon. ") == ["Told 1 user."]
    assert columbia.hear() == [{"event": "notice", "time": 1_700_000_000.0, "text": "The server stops at noon."}]
    assert house.admin("say") == ["Error! Usage: say <text>"]
    assert "must be a text" in house.admin("say \x1b[2J")[1]


def test_a_parameters_name_shows_it(house: House) -> None:
    for name in PARAMETERS:
        for written in (name, f" {name.lower()} "):
            (shown,) = house.admin(written)
            assert shown.startswith(f"{name} is ") and PARAMETERS[name].allowed in shown


@pytest.mark.parametrize("line, said", [
    ("change MaxCon 7", "MaxCon is now 7."),
    ("change maxcon 8", "MaxCon is now 8."),
    ("change BLOCK_TIME 2.5", "BLOCK_TIME is now 2.5."),
    ("change DUPLICATE_LOGIN replace", "DUPLICATE_LOGIN is now replace."),
    ("change JOURNAL_LIMIT 128 KiB", "JOURNAL_LIMIT is now 128 KiB."),
    ("change MaxCon 0", "Error! MaxCon must be a whole number from 1 to 1,000,000, not '0'."),
    ("change MaxCon many", "Error! MaxCon must be a whole number from 1 to 1,000,000, not 'many'."),
    ("change HEARTBEAT nan", "Error! HEARTBEAT must be a number from 0.1 to 86,400, not 'nan'."),
    ("change REGISTRATION ajar", "Error! REGISTRATION must be open or closed, not 'ajar'."),
    ("change FSYNC never", "Error! FSYNC must be always or second, not 'never'."),
    ("change COLOUR red", 'Error! There is no parameter "COLOUR". There are: ' + ", ".join(PARAMETERS) + "."),
    ("change", "Error! Usage: change <name> [value]"),
])  # fmt: skip
def test_change_with_a_value(house: House, line: str, said: str) -> None:
    assert house.admin(line) == [said]


def test_change_without_a_value_asks_for_it(house: House) -> None:
    shown, asked = house.admin("change MaxCon")
    assert shown.startswith("MaxCon is 100 ") and asked == "New value:"
    assert house.admin("5") == ["MaxCon is now 5."]
    house.admin("change MaxCon")
    assert house.console.prompt == Prompt("MaxCon> ", question=True)
    assert house.admin("stop") == ["Error! MaxCon must be a whole number from 1 to 1,000,000, not 'stop'."]
    assert house.admin("MaxCon")[0].startswith("MaxCon is 5 ")


@pytest.mark.parametrize("leave", ["", "  ", "Ctrl+C", "Ctrl+D"])
def test_a_question_can_be_left(house: House, leave: str) -> None:
    house.login("facebook")
    house.admin("change MaxCon")
    house.console.interrupted() if leave == "Ctrl+C" else None
    house.console.end_typed() if leave == "Ctrl+D" else None
    assert (house.admin(leave) if not leave.strip() else house.heard_by_admin()) == ["MaxCon stays 100."]
    assert not house.console.prompt.question and not house.server.stopping
    assert house.admin("stats")[1].startswith("  up: ")


def test_a_changed_parameter_outlives_crash_and_stop(house: House) -> None:
    house.admin("change MAX_FAILURES 9", "change JOURNAL_LIMIT 2 MiB", "change RATE_LIMIT 0")
    house.crash()
    house.restart()
    assert house.admin("MAX_FAILURES")[0].startswith("MAX_FAILURES is 9 ")
    assert "MAX_FAILURES 9\n" in house.read("para.txt"), "and the file says so at the next start"
    house.admin("change MAX_FAILURES 8")
    assert house.stop() == ""
    assert "MAX_FAILURES 8\n" in house.read("para.txt") and "JOURNAL_LIMIT 2 MiB\n" in house.read("para.txt")
    house.restart()
    assert house.admin("MAX_FAILURES")[0].startswith("MAX_FAILURES is 8 ")


def test_a_long_list_is_said_in_portions_and_the_next_command_waits_for_its_end(house: House) -> None:
    house.register(*(f"user{number:03}" for number in range(250)))
    house.heard_by_admin()
    console = house.console
    console.line("all users")
    said = house.heard_by_admin()
    assert said[:2] == ["254 registered:", "  Columbia: never here, 0 unread"]
    portions = [said]
    while not console.ready:
        house.tick()
        portions.append(house.heard_by_admin())
    assert [len(each) for each in portions] == [PORTION, PORTION, 55]
    assert portions[-1][-1] == "  user249: never here, 0 unread"
    assert said[2:5] == [f"  {name}: never here, 0 unread" for name in ("facebook", "Google", "SEAS")]


def test_ctrl_c_ends_a_list_and_an_account_that_goes_meanwhile_is_passed_over(house: House) -> None:
    house.register(*(f"user{number:03}" for number in range(250)))
    house.heard_by_admin()
    console = house.console
    console.line("all users")
    del house.server.world.accounts["user120"]
    house.tick()
    said = house.heard_by_admin()
    assert not console.ready
    assert "  user119: never here, 0 unread" in said and "  user120: never here, 0 unread" not in said
    console.interrupted()
    assert house.heard_by_admin() == ["(The list ends here.)"] and console.ready and not house.server.stopping
    house.settle()
    assert house.heard_by_admin() == []


@pytest.mark.parametrize("line", ["online users", "blocked users", "all users", "accounts", "files", "threads"])
def test_no_list_of_very_many_is_said_or_made_in_one_tick(house: House, line: str) -> None:
    world, count = house.server.world, 1_000
    for number in range(count):
        user = f"user{number:04}"
        world.accounts.load(user, Account(user, user, "", 0))
        bank_of(world).books[user] = Book()
        world.accounts[user].blocks = ["seas"]
        world.online[user] = Presence(1, 0.0, "10.0.0.1", None, 0)
        world.lockouts.add(user, "10.0.0.1", Failures(3, 0.0, 1e12))
        forum_of(world)[user] = Thread(user, Author(user, 0), 1, 1)
        files = world.accounts[user].files = WaitingFiles()
        files.add("seas", WaitingFile(number, 0.0, "SEAS", "a.txt", 1, "0" * 64, "blob"))
    house.heard_by_admin()
    house.console.line(line)
    counts = [len(house.heard_by_admin())]
    while not house.console.ready:
        house.tick()
        counts.append(len(house.heard_by_admin()))
    assert sum(counts) >= count and max(counts) <= PORTION


# What an administrator at a terminal is asked, told, and saved from.


def test_the_end_key_says_how_to_end_the_server(house: House) -> None:
    house.console.end_typed()
    assert house.heard_by_admin() == ['Type "stop" to end the server.']
    assert not house.server.stopping


def test_ctrl_c_asks_once_while_people_are_online(house: House) -> None:
    for name in ("Columbia", "facebook", "SEAS"):
        house.login(name)
    asked = '3 users are online. Ctrl+C again or "stop" ends the server.'
    house.console.interrupted()
    assert house.heard_by_admin() == [asked]
    house.admin("online users")
    house.console.interrupted()
    assert house.heard_by_admin() == [asked], "something else was typed meanwhile"
    assert not house.server.stopping
    house.console.interrupted()
    assert house.heard_by_admin() == ["Stopping."] and house.server.stopping
    assert house.console.prompt == Prompt("")
    house.console.interrupted()
    assert house.heard_by_admin() == ["The server is stopping; it saves everything first."]
    assert house.stop() == ""


def test_ctrl_c_stops_at_once_when_nobody_is_online(house: House) -> None:
    house.login("SEAS").ask("logout")
    house.console.interrupted()
    assert house.heard_by_admin() == ["Stopping."] and house.server.stopping


def test_one_user_is_one(house: House) -> None:
    house.login("SEAS")
    house.console.interrupted()
    assert house.heard_by_admin() == ['1 user is online. Ctrl+C again or "stop" ends the server.']


def test_a_closed_window_stops_the_server_unless_it_was_to_outlive_it(build: Callable[..., House]) -> None:
    for outlives in (True, False):
        house = build()
        house.console.outlives_terminal = outlives
        house.console.hung_up()
        assert house.server.stopping is not outlives
        assert "console: the terminal is gone" in house.log()


def test_after_ctrl_z_it_says_how_long_everybody_waited(house: House) -> None:
    house.console.continued(0.2)
    assert house.heard_by_admin() == []
    (said,) = shown(house, lambda console: console.continued(35.4))
    assert said.endswith("The server stood still for 35 seconds; clients that left meanwhile come back by themselves.")


def shown(house: House, do: Callable[[server_console.Console], object]) -> list[str]:
    """What a console at a terminal of its own shows."""
    lines: list[str] = []

    def write(*parts: Part) -> None:
        lines.append("".join(part if isinstance(part, str) else part.text for part in parts))

    do(house.server.console(write))
    return lines


def test_what_happens_is_shown_with_its_time(house: House) -> None:
    def happen(console: server_console.Console) -> None:
        house.server.notices.watch = console.happened
        house.login("Columbia").hang_up()
        house.settle()
        for _ in range(3):
            house.greet().prove("login", "SEAS", "wrong")
        house.register("dora")

    stamp = time.strftime("[%H:%M:%S] ", time.localtime(house.clock.wall()))
    assert shown(house, happen) == [stamp + text for text in (
        "login Columbia from 10.0.0.1", "logout Columbia from 10.0.0.1",
        "wrong password seas from 10.0.0.1: 2 tries are left", "wrong password seas from 10.0.0.1: 1 try is left",
        "wrong password seas from 10.0.0.1: locked out for 60 seconds", "register dora from 10.0.0.1",
    )]  # fmt: skip


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_help_is_readable_however_wide_the_terminal_is(house: House, columns: int) -> None:
    lines: list[str] = []
    console = house.server.console(lines.append, lambda: columns)
    console.line("help")
    assert max(map(len, lines)) <= columns
    text = " ".join(" ".join(lines).split())
    for command in commands.typed_by(Role.ADMIN):
        assert f"{commands.usage(command)} {command.help}" in text
    if columns == 40:
        assert lines[:3] == ["  online users", "      who is online, from where, since", "      when"]


@pytest.mark.parametrize("before, completions", [
    ("o", ["online users"]),
    ("ON", ["online users"]),
    ("block", ["blocked users", "BLOCK_TIME", "BLOCK_SCOPE"]),
    ("st", ["stats ", "stop", "STRANGERS", "STRANGERS_PER_ADDRESS"]),
    ("stats ", ["stats --json"]),
    ("kick ", ["kick Columbia", "kick facebook"]),
    ("kick F", ["kick facebook"]),
    ("unlock ", ["unlock SEAS"]),
    ("change maxc", ["change MaxCon "]),
    ("change fsync ", ["change FSYNC always", "change FSYNC second"]),
    ("change MaxCon ", ["change MaxCon 100"]),
    ("change nothing ", []),
    ("drop ", ["drop 7"]),
    ("remove ", ["remove thread "]),
    ("remove thread p", ["remove thread Plans"]),
    ("help unl", ["help unlock"]),
    ("say h", []),
    ("dance ", []),
])  # fmt: skip
def test_completion(house: House, before: str, completions: list[str]) -> None:
    house.login("Columbia").ask("crt", title="Plans")
    house.login("facebook")
    for _ in range(3):
        house.greet().prove("login", "SEAS", "wrong")
    waiting = house.server.world.accounts["google"].files = WaitingFiles()
    waiting.add("seas", WaitingFile(7, 0.0, "SEAS", "a.txt", 1, "0" * 64, "blob"))
    assert house.console.complete(before) == completions


def test_no_answer_to_a_question_is_completed(house: House) -> None:
    house.admin("change MaxCon")
    assert house.console.complete("s") == []


def test_help_and_what_is_unknown(house: House) -> None:
    said = house.admin("help")
    for command in commands.typed_by(Role.ADMIN):
        assert any(line.strip().startswith(command.name) for line in said), command.name
    assert all(name in said[-1] for name in PARAMETERS)
    assert len(house.admin("help kick")) == 1
    assert house.admin("help dance") == ['Error! There is no command "dance". Type "help" for what there is.']
    assert house.admin("dance") == ['Error! Unknown command "dance". Type "help" for what there is.']
    assert house.admin("onlin users", "help kik", "rate_limits", "change RATELIMIT 5") == [
        'Error! Unknown command "onlin". Did you mean "online users"? Type "help" for what there is.',
        'Error! There is no command "kik". Did you mean "kick"? Type "help" for what there is.',
        'Error! Unknown command "rate_limits". Type "help" for what there is.',
        'Or did you mean the parameter "RATE_LIMIT"?',
        'Error! There is no parameter "RATELIMIT". Did you mean "RATE_LIMIT"?']
    assert house.admin("help maxcon") == house.admin("MaxCon"), "help names the parameters, so it explains them"
    assert house.admin("", "   ") == []
    assert house.admin("message SEAS hi")[0].startswith("Error! Unknown command"), "the console is nobody"
    assert set(server_console._CARRY_OUT) == {command.name for command in commands.typed_by(Role.ADMIN)}


@pytest.mark.parametrize("word", ["quit", "EXIT", "logout", "bye"])
def test_who_wants_to_leave_is_told_how(house: House, word: str) -> None:
    (said,) = house.admin(word)
    assert said.startswith(f'Error! "{word}" is no command here: "stop" ends the server.') and "Ctrl+D" in said
    assert not house.server.stopping


def test_an_amount_is_typed_as_it_is_shown(house: House) -> None:
    house.admin("grant seas 1,000", "grant seas 1000000")
    assert house.admin("accounts")[-1].endswith(" 1,011,000")
    for wrong in ("1,00", "1,0000", ",100", "1.000", "1_000", "-1", "+1", "0", "1,000,000,000,001", "²"):
        assert "must be a whole number of credits from 1 to" in house.admin(f"grant seas {wrong}")[1], wrong
    assert house.admin("accounts")[-1].endswith(" 1,011,000")


def test_stats(house: House) -> None:
    house.login("Columbia")
    house.pass_time(60, 30)
    said = dict(line.strip().partition(": ")[::2] for line in house.admin("stats"))
    assert (said["registered"], said["online"], said["connections"], said["up"]) == ("4", "1", "1", "60 s")


def test_save_and_stop(house: House) -> None:
    columbia = house.login("Columbia")
    columbia.ask("message", to="SEAS", text="hi")
    assert house.save() == ["Saved."]
    assert house.journal() == []
    columbia.ask("message", to="SEAS", text="ho")
    assert house.admin("stop") == ["Stopping."]
    assert columbia.events[-1] == {"event": "bye", "status": "SHUTTING_DOWN", "text": "The server is shutting down."}
    assert house.stop() == ""
    house.restart()
    assert house.login("SEAS").texts == ["hi", "ho"]


def test_no_password_and_no_verifier_is_ever_shown_or_logged(build: Callable[..., House]) -> None:
    house = build()
    house.edit("credentials.txt", f"SEAS {VERIFIER}", "SEAS a plain secret")
    house.reload()
    columbia, seas = house.login("Columbia"), house.greet()
    seas.prove("login", "SEAS", "a plain secret")
    house.greet().prove("login", "facebook", "wrong")
    columbia.prove("password", "Columbia", verifier=str(VERIFIER))
    columbia.ask("message", to="SEAS", text="between us")
    seas.ask("broadcast", text="to all of you")
    house.admin(*(command.name for command in commands.typed_by(Role.ADMIN) if command.name not in ("stop", "save")))
    house.admin("say attention please")
    house.save()
    house.server.fault(ValueError("x"))
    everything = "\n".join(house.said) + house.log()
    for secret in ("a plain secret", PASSWORD, "SCRAM-SHA", "between us", "to all of you", "wrong"):
        assert secret not in everything.replace("wrong password", ""), secret
    assert house.stop() == ""
    for path in house.folder.rglob("*"):
        if path.is_file():
            assert b"a plain secret" not in path.read_bytes(), path


def test_the_log_says_who_did_what(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    for _ in range(3):
        columbia.say({"action": "message", "to": "facebook", "text": "psst"}, {"action": "whoelse"})
    house.settle()
    columbia.ask("alive", seen=0)
    columbia.ask("logout")
    facebook.hang_up()
    house.admin("kick SEAS", "change MaxCon 9")
    house.settle()
    assert house.stop() == ""
    (path,) = (house.folder / "data" / "logs").iterdir()
    assert path.name.startswith("log_20") and path.suffix == ".log"
    lines = [line.split(" ", 2)[2] for line in path.read_text().splitlines()]
    lines = [line.replace("Columbia", "columbia") for line in lines]
    for line in ("login columbia from 10.0.0.1", "columbia message x3, whoelse x3, logout",
                 "bye columbia LOGGED_OUT", "logout facebook from 10.0.0.1", "console: kick", "console: change",
                 "console: MaxCon becomes 9", "stop"):  # fmt: skip
        assert line in lines, f"{line}\n" + "\n".join(lines)
    assert not any("psst" in line or "alive" in line for line in lines)


def test_a_log_that_a_crash_left_is_kept(house: House) -> None:
    house.login("Columbia")
    house.crash()
    house.restart()
    names = sorted(path.name for path in (house.folder / "data" / "logs").iterdir())
    assert names[0] == "current.log" and names[1].startswith("log_20")
    assert "login Columbia" in (house.folder / "data" / "logs" / names[1]).read_text()
