"""The administrator's account, which is no user, and what its password does: SHT, and consoles from afar."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from chatlib.core.entry import add_account
from chatlib.protocol import kinds
from chatlib.protocol.commands import Role, typed_by
from chatlib.server import administrators
from chatlib.server.administrators import CANDIDATES, MOST, PORTION, TIME_OUT
from chatlib.server.console import Console
from chatlib.server.session import MISTAKES
from tests.server.house import PASSWORD, VERIFIER, House, Peer

V = str(VERIFIER)
NOT_SET = "No administrator's password is set. Where the server runs: python3 server.py --set-admin-password"
NEVER = 10**9


@pytest.fixture
def kept(house: House) -> House:
    """A house with an administrator's password."""
    house.write("credentials.txt", house.read("credentials.txt") + f"admin {V}\n")
    assert house.reload()[0] == "Reloaded: the administrator's password was set."
    return house


class Administrator(Peer):
    """A peer at a console from afar."""

    shown = 0  # of `heard`, by fresh

    def fresh(self) -> list[dict[str, Any]]:
        """What has arrived since this was last called."""
        self.house.settle()
        self.hear()
        fresh, self.shown = self.heard[self.shown :], len(self.heard)
        return fresh

    def said(self) -> list[str]:
        """Of that, the lines that were asked for,"""
        events = [each for each in self.fresh() if each.get("event") == "console" and "time" not in each]
        return [line for event in events for line in event["text"].split("\n")]

    def watched(self) -> list[str]:
        """or those that were not."""
        return [each["text"] for each in self.fresh() if each.get("event") == "console" and "time" in each]

    @property
    def prompts(self) -> list[tuple[str, bool]]:
        """All that were said."""
        return [(each["text"], each["question"]) for each in self.events if each["event"] == "prompt"]

    def typed(self, *lines: str) -> list[str]:
        """What these lines are answered."""
        self.fresh()
        for line in lines:
            assert self.ask("console", line=line) == {"action": "console", "status": "OK"}
        return self.said()


def arrive(house: House, address: str = "10.0.0.9", client: str | None = "c", password: str = PASSWORD
           ) -> Administrator:  # fmt: skip
    """A console from afar; what it was told so far counts as heard."""
    peer = Administrator(house, "admin", address)
    house.peers.append(peer)
    peer.hello(client)
    reply = peer.prove("admin", "admin", password)
    assert reply["status"] == "OK", reply
    peer.fresh()
    return peer


def tries(house: House, count: int, action: str = "admin", address: str = "10.0.0.9") -> list[Any]:
    return [house.greet(address=address).prove(action, "admin", "wrong")["status"] for _ in range(count)]


# The account.


def test_a_password_by_hand_becomes_a_verifier_like_the_others(house: House) -> None:
    house.write("credentials.txt", house.read("credentials.txt") + "Admin open sesame\n")
    assert house.reload()[0] == "Reloaded: the administrator's password was set."
    text = house.read("credentials.txt")
    assert "open sesame" not in text and "Admin SCRAM-SHA-256$" in text
    arrive(house)
    house.crash()
    house.restart()
    arrive(house)
    assert house.stop() == ""
    house.restart()
    arrive(house)
    assert "Admin SCRAM-SHA-256$" in house.read("credentials.txt")


def test_it_is_nobody_for_users(kept: House) -> None:
    ann = kept.login("Columbia")
    assert {user["user"] for user in ann.ask("list_users")["items"]} == {"Columbia", "facebook", "Google", "SEAS"}
    assert ann.ask("message", to="admin", text="hi")["status"] == "NO_SUCH_USER"
    assert ann.ask("file", to="admin", name="a", size=1, sha256="0" * 64)["status"] == "NO_SUCH_USER"
    assert kept.greet().prove("login", "admin")["status"] == "NO_SUCH_USER"
    assert kept.greet().prove("deregister", "admin")["status"] == "NO_SUCH_USER"
    for name in ("admin", "ADMIN"):
        assert kept.greet().ask("register", user=name, verifier=V)["text"] == f'The name "{name}" is reserved.'
    assert "admin" not in " ".join(kept.admin("all users", "online users"))


def test_nobody_else_is_proven_by_it(kept: House) -> None:
    said = kept.greet().prove("admin", "facebook")
    assert (said["status"], said["text"]) == ("BAD_REQUEST", 'Field "scram": this is proven as "admin".')


def test_without_a_password_it_is_said_how_to_set_one(house: House) -> None:
    for reply in (house.greet().prove("admin", "admin"), house.login("SEAS").prove("sht", "admin")):
        assert (reply["status"], reply["text"]) == ("NO_ADMIN", NOT_SET)


def test_a_password_that_is_taken_away_is_gone(kept: House) -> None:
    arrive(kept)
    kept.edit("credentials.txt", f"admin {V}\n", "")
    assert kept.reload()[0] == "Reloaded: the administrator's password was removed."
    assert kept.greet().prove("admin", "admin")["status"] == "NO_ADMIN"
    kept.stop()
    kept.restart()
    assert kept.greet().prove("admin", "admin")["status"] == "NO_ADMIN"


def test_an_ordinary_user_of_that_name_stays_one(house: House) -> None:
    """A home of an earlier version may have one: it opens nothing, and its name is free again when it goes."""
    world = house.server.world
    world.effects = []
    add_account(world, 1, "Admin", V)
    house.server.effects.carry_out(world.effects, None)
    house.stop()
    house.restart()
    admin = house.login("admin")
    assert admin.ask("message", to="facebook", text="hi")["status"] == "OK"
    reply = admin.prove("sht", "admin")
    assert (reply["status"], reply["text"]) == (
        "NO_ADMIN", 'Here "admin" is an ordinary user. Remove that user, then set an administrator\'s password.'
    )  # fmt: skip
    assert house.greet().prove("admin", "admin")["status"] == "NO_ADMIN"
    assert admin.ask("logout")["status"] == "OK"
    assert house.greet().prove("deregister", "admin")["status"] == "OK"
    house.save()
    house.write("credentials.txt", house.read("credentials.txt") + f"admin {V}\n")
    house.reload()
    arrive(house)
    assert house.greet().prove("login", "admin")["status"] == "NO_SUCH_USER"


# Wrong passwords.


def test_wrong_passwords_count_to_a_lockout_across_ways_connections_and_restarts(kept: House) -> None:
    user = kept.login("SEAS", address="10.0.0.9")
    assert tries(kept, 1) == ["WRONG_PASSWORD"]
    wrong = user.prove("sht", "admin", "wrong")
    assert (wrong["status"], wrong["text"]) == ("WRONG_PASSWORD", "Wrong password: 1 try is left.")
    kept.crash()
    kept.restart()
    assert tries(kept, 1) == ["LOCKED_OUT"]
    locked = kept.greet(address="10.0.0.9").prove("admin", "admin")
    assert (locked["status"], locked["text"]) == ("LOCKED_OUT", '"admin" is locked out: try again in 60 seconds.')
    assert kept.login("SEAS", address="10.0.0.9").prove("sht", "admin")["status"] == "LOCKED_OUT"
    arrive(kept, address="10.0.0.10")
    assert "  admin from 10.0.0.9 for another 60 seconds" in kept.admin("blocked users")
    assert kept.admin("unlock ADMIN") == ["admin is not locked out any more."]
    arrive(kept)


def test_block_scope_and_max_failures_hold_for_it(kept: House) -> None:
    kept.admin("change BLOCK_SCOPE user", "change MAX_FAILURES 2")
    assert tries(kept, 2) == ["WRONG_PASSWORD", "LOCKED_OUT"]
    assert kept.greet(address="10.0.0.77").prove("admin", "admin")["status"] == "LOCKED_OUT"
    kept.pass_time(61.0)
    arrive(kept)


def test_who_has_been_there_is_not_locked_out_by_strangers(kept: House) -> None:
    arrive(kept)
    tries(kept, 5)
    arrive(kept)
    kept.stop()
    kept.restart()
    arrive(kept)


def test_a_wrong_password_is_shown_at_the_console_with_the_address(kept: House) -> None:
    shown: list[str] = []
    kept.server.notices.watch = shown.append
    tries(kept, 1, address="10.1.2.3")
    assert shown == ["wrong password admin from 10.1.2.3: 2 tries are left"]


def test_a_client_of_a_user_who_is_logged_in_is_not_known_as_the_administrators(kept: House) -> None:
    """Whoever sits there now may be somebody else: SHT there is locked out like from anywhere else."""
    arrive(kept, client="here")
    user = kept.login("SEAS", client="here", address="10.0.0.9")
    kept.admin("change MAX_FAILURES 1")
    for _ in range(25):
        user.prove("sht", "admin", "wrong")
    assert user.prove("sht", "admin")["status"] == "LOCKED_OUT"


# SHT.


def test_sht_tells_everyone_and_stops_the_server(kept: House) -> None:
    ann, bob = kept.login("Columbia", address="10.0.0.4"), kept.login("SEAS")
    afar = arrive(kept)
    bob.hear()
    exchange, challenge = ann.challenge("sht", "admin")
    ann.say({"action": "sht", "scram": ann.final(exchange, challenge, PASSWORD)})
    kept.settle()
    bye = {"event": "bye", "status": "SHUTTING_DOWN", "text": "The server is shutting down."}
    notice = {"event": "notice", "time": 1_700_000_000.0, "text": '"Columbia" stops the server from 10.0.0.4.'}
    heard = ann.hear()
    assert (heard[0]["action"], heard[0]["status"]) == ("sht", "OK") and heard[1:] == [notice, bye] == bob.hear()
    assert afar.fresh()[-1] == bye and kept.server.stopping
    assert kept.stop() == ""
    assert "stopped by Columbia from 10.0.0.4" in kept.log()


def test_a_wrong_password_stops_nothing(kept: House) -> None:
    ann = kept.login("Columbia")
    assert ann.prove("sht", "admin", "wrong")["status"] == "WRONG_PASSWORD"
    assert not kept.server.stopping and ann.ask("whoelse")["status"] == "OK"


def test_sht_is_for_users_who_are_logged_in(kept: House) -> None:
    assert kept.greet().prove("sht", "admin")["status"] == "NOT_ALLOWED"


def test_a_password_that_was_changed_meanwhile_stops_nothing(kept: House) -> None:
    ann = kept.login("Columbia")
    exchange, challenge = ann.challenge("sht", "admin")
    kept.edit("credentials.txt", f"admin {V}\n", "admin another\n")
    kept.reload()
    reply = ann.ask("sht", scram=ann.final(exchange, challenge, PASSWORD))
    assert (reply["status"], reply["text"]) == ("WRONG_PASSWORD", '"admin" has another password by now.')
    assert not kept.server.stopping


# The console from afar.


LINES = [
    "online users", "blocked users", "all users", "MaxCon", "change MaxCon 7", "change MaxCon 0", "change nothing 1",
    "kick SEAS", "kick nobody", "unlock SEAS", "say  hello ", "say", "files", "drop 7", "save", "reload", "help",
    "help change", "help no", "no such command", "", "   ", "kick a/b", "threads", "remove thread plans",
    "accounts", "grant SEAS 5", "ban 10.9.9.9 2h spam", "bans", "unban eve", "mute SEAS", "unmute SEAS",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_answered_as_at_the_servers_own(build: Callable[..., House], line: str) -> None:
    answers = []
    for where in ("here", "afar"):
        house = build()
        house.write("credentials.txt", house.read("credentials.txt") + f"admin {V}\n")
        house.reload()
        house.login("SEAS")
        if where == "here":
            house.admin()
            house.console.line(line)
            house.wait_for(lambda house=house: not house.console.busy)
            answers.append(house.heard_by_admin())
        else:
            peer = arrive(house)
            peer.ask("console", line=line)
            house.wait_for(lambda house=house: not house.server.saver.busy)
            house.settle()
            answers.append(peer.said())
    assert answers[0] == answers[1]


def test_every_command_of_the_console_is_tried_afar() -> None:
    names = {row.name for row in typed_by(Role.ADMIN)} - {"stats", "audit", "backup", "stop"}  # figures, paths
    assert all(any(line.startswith(name) for line in LINES) for name in names)


def test_a_question(kept: House) -> None:
    peer = arrive(kept)
    assert peer.typed("change MaxCon")[-1] == "New value:" and peer.prompts[-1] == ("MaxCon> ", True)
    assert peer.typed("7") == ["MaxCon is now 7."] and peer.prompts[-1] == ("server> ", False)
    assert peer.typed("change MaxCon", "")[-1] == "MaxCon stays 7."
    peer.typed("change MaxCon")
    assert peer.ask("interrupt")["left"] is True
    assert peer.said() == ["MaxCon stays 7."] and peer.prompts[-1] == ("server> ", False)
    kept.login("SEAS")
    assert peer.ask("interrupt")["left"] is False and peer.said() == [] and not kept.server.stopping


def test_each_console_has_questions_of_its_own(kept: House) -> None:
    one, two = arrive(kept), arrive(kept, client="d")
    one.typed("change MaxCon")
    kept.console.line("change HEARTBEAT")
    assert two.typed("MaxCon")[0].startswith("MaxCon is 100") and two.prompts == [("server> ", False)]
    assert kept.console.prompt.text == "HEARTBEAT> "
    assert one.typed("8") == ["MaxCon is now 8."]


def test_a_line_waits_for_the_end_of_a_list_and_the_list_can_be_ended(kept: House) -> None:
    names = [f"user{number:03}" for number in range(500)]
    kept.register(*names)
    peer = arrive(kept)
    for line in ("all users", "MaxCon", "change MaxCon"):
        peer.say({"action": "console", "line": line})
    heard = peer.said()
    assert heard[0] == "504 registered:" and heard[504].startswith("  user499") and heard[505].startswith("MaxCon is")
    assert peer.prompts[-1] == ("MaxCon> ", True) and peer.typed("9") == ["MaxCon is now 9."]
    peer.say({"action": "console", "line": "all users"}, {"action": "interrupt"})
    heard = peer.said()
    assert heard[-1] == "(The list ends here.)" and len(heard) < 300


def test_only_so_many_lines_wait(kept: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administrators, "TYPED_AHEAD", 2)
    kept.register(*(f"user{number:03}" for number in range(500)))
    peer = arrive(kept)
    peer.say(*({"action": "console", "line": line} for line in ("all users", "MaxCon", "MaxCon", "MaxCon")))
    kept.settle()
    assert [reply["status"] for reply in peer.hear_all("console")] == ["OK", "OK", "OK", "TOO_MANY_LINES"]


def test_it_is_told_what_the_servers_own_console_shows(kept: House) -> None:
    shown: list[str] = []
    kept.server.notices.watch = shown.append
    peer = arrive(kept)
    shown.clear()
    columbia = kept.login("Columbia", address="10.0.0.4")
    kept.greet(address="10.0.0.5").prove("login", "SEAS", "wrong")
    columbia.ask("logout")
    columbia.hang_up()
    kept.settle()
    assert peer.watched() == shown == [
        "login Columbia from 10.0.0.4", "wrong password seas from 10.0.0.5: 2 tries are left",
        "logout Columbia from 10.0.0.4",
    ]  # fmt: skip


def test_each_use_stands_in_the_log_with_the_address(kept: House) -> None:
    peer = arrive(kept, address="10.9.9.9")
    peer.typed("stats", "change MaxCon 9", "kick nobody")
    kept.wait_for(lambda: not kept.server.saver.busy)  # its child has the peer's socket, too
    peer.hang_up()
    kept.settle()
    log = kept.log()
    for use in ("console from 10.9.9.9: opened", "console from 10.9.9.9: stats", "console from 10.9.9.9: change",
                "console from 10.9.9.9: MaxCon becomes 9", "console from 10.9.9.9: kick",
                "console from 10.9.9.9: closed"):  # fmt: skip
        assert use in log


def test_stats_as_json_come_on_one_line(kept: House) -> None:
    (line,) = arrive(kept).typed("stats --json")
    assert json.loads(line)["people"]["consoles_from_afar"] == 1


def test_help_fits_the_peers_terminal(kept: House) -> None:
    peer = arrive(kept)
    peer.ask("console", line="help", columns=40)
    assert max(map(len, peer.said())) <= 40
    peer.ask("console", line="help")
    assert max(map(len, peer.said())) > 60


def test_lines_are_completed(kept: House) -> None:
    kept.login("SEAS")
    peer = arrive(kept)
    for line in ("", "k", "kick ", "kick s", "change ", "change FSYNC ", "help st", "unlock ", "nothing of ours"):
        assert peer.ask("complete", line=line)["items"] == kept.console.complete(line)


def test_completions_are_bounded_and_begin_alike(kept: House) -> None:
    names = [f"user{number}" for number in range(CANDIDATES + 100)]
    kept.register(*names, "other")
    kept.admin("change MaxCon 10000")
    for name in [*names, "other"]:
        kept.server.world.online[name] = kept.server.world.online.get(name) or _presence()
    peer = arrive(kept)
    items = peer.ask("complete", line="kick ")["items"]
    assert len(items) <= CANDIDATES + 2 and "kick other" in items and "kick user99" in items
    for name in [*names, "other"]:
        del kept.server.world.online[name]


def _presence() -> Any:
    from chatlib.core.accounts import Presence

    return Presence(1, 0.0, "10.0.0.1", None, 0)


def test_it_takes_no_seat_and_waits_for_none(kept: House) -> None:
    kept.admin("change MaxCon 1")
    kept.login("SEAS")
    assert kept.connect().hello()["status"] == "SERVER_FULL"
    peer = Administrator(kept, "admin", "10.0.0.9")
    kept.peers.append(peer)
    assert peer.ask("hello", protocol=1, console=True)["status"] == "OK"
    assert peer.prove("admin", "admin")["status"] == "OK"
    other = kept.connect()
    other.ask("hello", protocol=1, console=True)
    assert other.prove("login", "Columbia")["status"] == "SERVER_FULL", "it opens no way past the seats"
    assert peer.typed("online users")[0] == "1 online:"


def test_only_so_many_are_open_at_once(kept: House) -> None:
    peers = [arrive(kept, client=f"c{number}") for number in range(MOST)]
    reply = kept.greet().prove("admin", "admin")
    assert (reply["status"], reply["text"]) == ("TOO_MANY_CONSOLES", f"{MOST} consoles are open from afar already.")
    peers[0].hang_up()
    kept.settle()
    arrive(kept)


def test_users_commands_are_not_for_a_console_nor_its_for_users(kept: House) -> None:
    peer = arrive(kept)
    assert peer.ask("whoelse")["status"] == peer.ask("message", to="SEAS", text="hi")["status"] == "NOT_ALLOWED"
    for other in (kept.login("SEAS"), kept.greet()):
        for action in ("console", "complete", "interrupt", "leave"):
            fields = {"line": "stop"} if action in ("console", "complete") else {}
            assert other.ask(action, **fields)["status"] == "NOT_ALLOWED"
    assert not kept.server.stopping


def test_it_lives_by_its_heartbeat_and_ends_without_one(kept: House) -> None:
    peer = arrive(kept)
    for _ in range(4):
        kept.pass_time(30.0)
        assert peer.ask("alive")["status"] == "OK"
    kept.pass_time(36.0)
    assert peer.hear()[-1]["status"] == "HEARTBEAT_LOST"


def test_an_idle_one_ends_and_a_busy_one_does_not(kept: House) -> None:
    kept.admin("change HEARTBEAT 86400")
    idle, busy, present = (arrive(kept, client=name) for name in "abc")
    kept.pass_time(TIME_OUT - 10, step=100.0)
    busy.ask("console", line="stats")
    present.ask("alive", active=True)
    kept.pass_time(20.0, step=10.0)
    assert idle.hear()[-1] == {"event": "bye", "status": "TIME_OUT", "text": "You were idle for 1 hour."}
    assert not busy.closed and not present.closed


def test_leaving_leaves_the_server(kept: House) -> None:
    peer = arrive(kept)
    kept.disk.fast = False
    peer.say({"action": "console", "line": "unlock SEAS"}, {"action": "leave"})
    kept.settle()
    assert not [each for each in peer.hear() if each.get("event") == "bye"], "not before it is answered"
    kept.disk.fast = True
    kept.disk.release()
    kept.pass_time(0.2, step=0.05)
    heard = peer.hear()
    assert heard[-1] == {"event": "bye", "status": "LOGGED_OUT", "text": "Goodbye!"} and peer.closed
    assert heard[-2] == {"event": "console", "text": 'Error! "SEAS" is not locked out.'}
    assert not kept.server.stopping and len(kept.server.administrators) == 0


def test_stop_stops_the_server(kept: House) -> None:
    user, peer = kept.login("SEAS"), arrive(kept, address="10.9.9.9")
    peer.hear()
    peer.say({"action": "console", "line": "stop"})
    kept.settle()
    heard = peer.hear()
    assert heard[-2:] == [{"event": "console", "text": "Stopping."}, user.events[-1]]
    assert heard[-1]["status"] == "SHUTTING_DOWN" and kept.server.stopping
    assert kept.stop() == "" and "console from 10.9.9.9: stop" in kept.log()


def test_a_new_password_ends_the_consoles_that_the_old_one_opened(kept: House) -> None:
    peer = arrive(kept)
    kept.edit("credentials.txt", f"admin {V}\n", "admin another\n")
    kept.reload()
    bye = {"event": "bye", "status": "KICKED", "text": "The administrator's password is another one by now."}
    assert peer.hear()[-1] == bye and peer.closed
    assert arrive(kept, password="another").typed("MaxCon")[0].startswith("MaxCon is ")


# Long answers.


def listing(count: int) -> Callable[[Console, dict[str, Any]], None]:
    def say(console: Console, _fields: dict[str, Any]) -> None:
        for number in range(count):
            console.say(f"line {number}")

    return say


def test_a_long_listing_comes_in_portions_and_whole(kept: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(console_table(), "all users", listing(30_000))
    peer = arrive(kept)
    peer.say({"action": "console", "line": "all users"})
    kept.tick()
    assert kept.server.administrators._all[_session(kept)]._waiting, "not all of it at once"
    peer.read_until(lambda: peer.heard and "line 29999" in str(peer.heard[-1]))
    events = [each for each in peer.heard if each.get("event") == "console" and "time" not in each]
    assert [line for each in events for line in each["text"].split("\n")] == [f"line {n}" for n in range(30_000)]
    assert max(len(each["text"]) for each in events) <= PORTION + 100


def test_who_does_not_read_is_not_logged_off_but_loses_lines(kept: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(administrators, "KEPT", 600_000)
    monkeypatch.setitem(console_table(), "all users", listing(100_000))
    peer = arrive(kept)
    peer.say({"action": "console", "line": "all users"})
    kept.settle()
    assert not _session(kept).over
    peer.read_until(lambda: peer.heard and "dropped: nobody read on" in str(peer.heard[-1]))
    assert peer.typed("MaxCon")[0].startswith("MaxCon is ")


def console_table() -> dict[str, Any]:
    from chatlib.server import console

    return console._CARRY_OUT


def _session(house: House) -> Any:
    (session,) = house.server.administrators._all
    return session


def test_it_is_no_stranger_however_often_it_is_mistaken(kept: House) -> None:
    peer = arrive(kept)
    for _ in range(MISTAKES + 5):
        assert peer.ask("console", line="a\nb")["status"] == "BAD_REQUEST"
    assert peer.ask("alive")["status"] == "OK"


def test_a_line_that_is_too_long_is_refused(kept: House) -> None:
    peer = arrive(kept)
    assert peer.ask("console", line="x" * (kinds.MAX_LINE + 1))["status"] == "BAD_REQUEST"
    assert peer.ask("console", line="a\nb")["status"] == "BAD_REQUEST"
    assert peer.typed("x" * kinds.MAX_LINE)[0].startswith('Error! Unknown command "')
