"""Nodes of one cluster, in one process: who comes, who goes, who was cut off, and what people hear of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.core.nodes import nodes_of
from chatlib.server.membership import NodeState
from chatlib.server.quorum import GIVE_UP, NOTICE
from chatlib.storage.log import CommitFailed
from tests.core.stage import picture
from tests.server.house import PASSWORD, Peer
from tests.server.shared_nodes import NodeHouse, Sent, Town, commands

Build = Callable[..., Town]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Build]:
    """Builds nodes of one cluster."""
    towns: list[Town] = []

    def build(*nodes: str) -> Town:
        towns.append(Town(tmp_path, *(nodes or ("a", "b", "c"))))
        return towns[-1]

    yield build
    for one in towns:
        one.close()


def state_of(house: NodeHouse) -> NodeState:
    assert house.server.membership is not None
    return house.server.membership.state


def up(house: NodeHouse) -> list[str]:
    return sorted(node.name for node in nodes_of(house.server.world).by_name.values() if node.up)


def said(peer: Peer) -> list[str]:
    """The statuses of byes, and what notices say."""
    return [event.get("status") or event["text"] for event in peer.events if event["event"] in ("bye", "notice")]


def test_what_is_said_at_one_is_heard_at_all(town: Build) -> None:
    all_of_it = town()
    columbia, google = all_of_it["a"].login("Columbia"), all_of_it["b"].login("Google")
    assert columbia.ask("message", to="Google", text="hello over there")["delivered"] is True
    all_of_it.settle()
    assert google.texts == ["hello over there"]
    seas = all_of_it["c"].login("SEAS")
    assert seas.ask("whoelse")["items"] == ["Columbia", "Google"]
    all_of_it.settle()
    worlds = [picture(house.server.world) for house in all_of_it.running]
    assert worlds[0] == worlds[1] == worlds[2]


def test_hello_says_where_the_servers_are(town: Build) -> None:
    all_of_it = town()
    assert all_of_it["b"].connect().hello()["servers"] == ["a.example:1234", "b.example:1234", "c.example:1234"]
    assert all_of_it["c"].stop() == ""
    all_of_it.settle()
    assert all_of_it["b"].connect().hello()["servers"] == ["a.example:1234", "b.example:1234"]


def test_who_comes_and_who_proves_a_password_is_answered_behind_what_others_were_told(town: Build) -> None:
    all_of_it = town("a", "b")
    newcomer = all_of_it["b"].greet()
    all_of_it["a"].register("Newton")
    assert newcomer.challenge("login", "Newton")[1]["status"] == "CONTINUE", "though nothing here has read it yet"
    all_of_it.log.answers = False
    late = all_of_it["b"].connect()
    late.say({"action": "hello", "protocol": 1}, {"action": "login", "scram": "n,,n=SEAS,r=12345678"})
    all_of_it.settle()
    assert late.hear() == []
    all_of_it.log.answers = True
    all_of_it.pass_time(1)
    assert [message["action"] for message in late.hear()] == ["hello", "login"]


def test_a_clean_stop_is_a_word_of_its_own(town: Build) -> None:
    all_of_it = town()
    columbia = all_of_it["c"].login("Columbia")
    assert all_of_it["c"].stop() == ""
    assert columbia.events[-1]["status"] == "SHUTTING_DOWN"
    all_of_it.settle()
    assert up(all_of_it["a"]) == ["a", "b"]
    assert commands(all_of_it.log)[-1]["action"] == "node_down"
    assert "columbia" not in all_of_it["a"].server.world.online
    all_of_it["c"].restart()
    all_of_it.settle()
    assert up(all_of_it["a"]) == ["a", "b", "c"]


def test_a_server_that_dies_is_missed_and_its_sessions_end(town: Build) -> None:
    all_of_it = town()
    all_of_it["c"].login("Columbia")
    google = all_of_it["a"].login("Google")
    all_of_it.pass_time(2)
    all_of_it["c"].crash()
    all_of_it.pass_time(4)
    assert "columbia" in all_of_it["a"].server.world.online
    all_of_it.pass_time(4)
    assert up(all_of_it["a"]) == up(all_of_it["b"]) == ["a", "b"]
    assert "columbia" not in all_of_it["a"].server.world.online
    assert any(event["event"] == "presence" and not event["online"] for event in google.events)
    assert any("c is silent" in line for line in all_of_it["a"].said)
    all_of_it["c"].restart()
    all_of_it.settle()
    assert up(all_of_it["a"]) == ["a", "b", "c"]
    node = nodes_of(all_of_it["a"].server.world).by_name["c"]
    assert node.incarnation == 2


def test_it_is_said_again_when_the_first_word_of_it_was_lost(town: Build) -> None:
    all_of_it = town()
    house, log = all_of_it["a"], all_of_it.log
    all_of_it.pass_time(2)
    all_of_it["b"].crash()
    all_of_it["c"].crash()
    nodes, agree = nodes_of(house.server.world).by_name, log.agree
    lost: list[int] = []

    def first_the_others() -> None:
        if not lost and any(b'"node_down"' in record for batch in log.proposed for _, record in batch.entries):
            lost.append(len(log.batches))
            down = {"action": "node_down", "node": "a", "incarnation": 1, "number": nodes["a"].number, "at": 1.0}
            word = [(1, json.dumps(down).encode())]
            log.batches.append(Sent("b", 1, nodes["b"].number + 1, house.clock.wall(), word))
        agree()

    log.agree = first_the_others  # type: ignore[method-assign]
    all_of_it.pass_time(30)
    assert lost and nodes["a"].incarnation == 2 and up(house) == ["a"]


def test_a_server_that_is_killed_and_back_at_once_ends_its_own_sessions(town: Build) -> None:
    all_of_it = town("a", "b")
    all_of_it["b"].login("Columbia")
    all_of_it["b"].crash()
    all_of_it["b"].restart()
    all_of_it.settle()
    assert "columbia" not in all_of_it["a"].server.world.online
    assert all_of_it["b"].login("Columbia").ask("whoelse")["status"] == "OK"


def test_who_was_cut_off_hears_so_and_nothing_that_waited_is_done(town: Build) -> None:
    all_of_it = town()
    columbia, google = all_of_it["c"].login("Columbia"), all_of_it["a"].login("Google")
    stranger = all_of_it["c"].greet()
    all_of_it.pass_time(2)
    all_of_it["c"].seat.parted = True
    columbia.say({"action": "broadcast", "id": 7, "text": "into the void"})
    all_of_it.pass_time(9)
    assert up(all_of_it["a"]) == ["a", "b"]
    assert said(columbia) == ["The servers cannot agree on anything at the moment: what you ask for waits."]
    assert columbia.blanks == 0, "its client goes on to another server"
    all_of_it["c"].seat.parted = False
    all_of_it.settle()
    assert said(columbia)[-1] == said(stranger)[-1] == "NODE_LOST" and columbia.closed
    assert google.texts == []
    assert state_of(all_of_it["c"]) is NodeState.UP
    assert up(all_of_it["a"]) == ["a", "b", "c"]
    assert all_of_it["c"].login("Columbia").ask("broadcast", text="here I am again")["status"] == "OK"
    all_of_it.settle()
    assert google.texts == ["here I am again"]
    assert picture(all_of_it["a"].server.world) == picture(all_of_it["c"].server.world)


def test_nobody_is_missed_while_nobody_can_say_anything(town: Build) -> None:
    all_of_it = town()
    all_of_it["c"].login("Columbia")
    all_of_it.pass_time(2)
    all_of_it.log.answers = False
    all_of_it.pass_time(14)
    all_of_it.log.answers = True
    all_of_it.pass_time(3)
    assert up(all_of_it["a"]) == ["a", "b", "c"]
    assert "columbia" in all_of_it["a"].server.world.online


def test_without_a_log_people_hear_so_and_then_are_sent_away(town: Build) -> None:
    all_of_it = town("a", "b")
    columbia = all_of_it["a"].login("Columbia")
    all_of_it.pass_time(2)
    all_of_it.log.answers = False
    columbia.say({"action": "broadcast", "id": 1, "text": "slow"})
    all_of_it.pass_time(NOTICE + 2)
    assert len(said(columbia)) == 1 and not columbia.closed
    assert columbia.blanks >= NOTICE, "so that its client, whose heartbeats are not answered, stays"
    all_of_it.pass_time(GIVE_UP - NOTICE)
    assert said(columbia)[-1] == "NO_QUORUM" and columbia.closed
    newcomer = all_of_it["a"].connect()
    all_of_it["a"].settle()
    assert said(newcomer) == ["NO_QUORUM"], "whoever comes is sent to the next server at once"
    all_of_it.log.answers = True
    all_of_it.pass_time(1.5)
    google = all_of_it["b"].login("Google")
    assert google.texts == ["slow"], "it was not lost"
    assert any("The log answers again" in line for line in all_of_it["a"].said)
    assert all_of_it["a"].login("Columbia").ask("whoelse")["status"] == "OK"


def test_a_short_silence_of_the_log_ends_with_a_word(town: Build) -> None:
    all_of_it = town("a", "b")
    columbia = all_of_it["a"].login("Columbia")
    all_of_it.log.answers = False
    all_of_it.pass_time(6)
    all_of_it.log.answers = True
    all_of_it.pass_time(2)
    assert said(columbia)[-1] == "The servers agree again: what waited is done." and not columbia.closed


def test_a_stop_without_a_log_gives_up_and_keeps_what_was_carried_out(town: Build) -> None:
    all_of_it = town("a", "b")
    columbia = all_of_it["a"].login("Columbia")
    columbia.ask("broadcast", text="heard")
    all_of_it.log.answers = False
    columbia.say({"action": "broadcast", "text": "not heard"})
    house = all_of_it["a"]
    house.settle()
    house.server.stop()
    house.settle()
    assert not house.server.pipeline.idle
    for _ in range(8):
        house.clock.now += 1.0
        house.settle()
    assert not house.server.loop.running
    assert house.server.close() == ""
    house._put_away()
    assert any("did not answer in time" in line for line in house.said)
    assert '"heard"' in house.read("data/message_rep.txt") and "not heard" not in house.read("data/message_rep.txt")
    all_of_it.log.answers = True
    all_of_it.pass_time(8)
    house.restart()
    all_of_it.settle()
    assert picture(all_of_it["a"].server.world) == picture(all_of_it["b"].server.world)


def test_what_is_read_at_a_start_is_kept_for_nobody(town: Build) -> None:
    all_of_it = town("a", "b")
    assert all_of_it["b"].stop() == ""
    columbia = all_of_it["a"].login("Columbia")
    for number in range(20):
        columbia.ask("broadcast", text=f"number {number}")
    all_of_it["b"].restart()
    assert not all_of_it["b"].server.delivery._common


def test_text_files_are_never_of_the_middle_of_a_batch(town: Build) -> None:
    all_of_it = town("a", "b")
    columbia, house = all_of_it["a"].login("Columbia"), all_of_it["b"]
    house.seat.most = 3

    def goes_on(_node: str) -> None:
        if commands(all_of_it.log)[-1]["action"] == "node_down":
            columbia.say(*({"action": "broadcast", "text": f"number {n}"} for n in range(5)))
            all_of_it["a"].settle()

    all_of_it.log.while_waiting = goes_on
    assert house.stop() == ""
    assert commands(all_of_it.log)[-1]["text"] == "number 4"
    all_of_it.log.while_waiting = all_of_it._others_go_on
    house.restart()
    all_of_it.settle()
    assert picture(all_of_it["a"].server.world) == picture(house.server.world)


def test_nor_are_those_of_a_server_that_cannot_go_on(town: Build) -> None:
    all_of_it = town("a", "b")
    columbia, house = all_of_it["a"].login("Columbia"), all_of_it["b"]
    all_of_it.settle()
    house.seat.most = 3
    columbia.say(*({"action": "broadcast", "text": f"number {n}"} for n in range(9)))
    all_of_it["a"].settle()
    house.server.pipeline.execute()
    assert not house.seat.at_rest
    house.seat.failure = "The log begins later by now."
    house.server.run()
    assert "The log begins later" in house.server.close()
    house._put_away()
    house.restart()
    all_of_it.settle()
    assert picture(all_of_it["a"].server.world) == picture(house.server.world)


def test_an_edit_that_was_lost_on_its_way_is_asked_for_again(town: Build) -> None:
    all_of_it = town("a", "b")
    house = all_of_it["b"]
    assert house.stop() == ""
    house.write("para.txt", house.read("para.txt") + "\nMaxCon 7\n")
    put_out: list[bool] = []

    def goes_on(node: str) -> None:
        """The log hears of the edit later than that its node is silent."""
        batch = all_of_it.log.batches[-1]
        if node == "b" and b'"edit"' in batch.entries[0][1] and not put_out:
            put_out.append(True)
            all_of_it.log.batches.pop()
            down = {"action": "node_down", "node": "b", "incarnation": batch.incarnation, "number": 1}
            all_of_it["a"].server.submit({**down, "at": all_of_it["a"].clock.wall()})
            all_of_it["a"].settle()
            all_of_it.log.batches.append(batch)
        all_of_it._others_go_on(node)

    all_of_it.log.while_waiting = goes_on
    house.restart()
    all_of_it.settle()
    assert put_out and "MaxCon 7" in house.read("para.txt")
    assert all_of_it["a"].server.world.parameters["MaxCon"] == 7


def test_a_clock_that_is_off_is_said_and_one_that_is_wrong_stops_its_server(town: Build) -> None:
    all_of_it = town()
    all_of_it["c"].clock.wall_at_start += 3.0
    all_of_it.pass_time(8)
    assert any("seconds ahead" in line for line in all_of_it["c"].said)
    assert not any("clock" in line for line in all_of_it["a"].said)
    all_of_it["c"].clock.wall_at_start += 15.0
    all_of_it.pass_time(16)
    assert all_of_it["c"].server.stopping
    assert not all_of_it["a"].server.stopping and not all_of_it["b"].server.stopping
    assert "seconds ahead" in all_of_it["c"].server.close()
    all_of_it["c"]._put_away()
    all_of_it.pass_time(2)
    with pytest.raises(CommitFailed, match="ahead of those of the other servers"):
        all_of_it["c"].restart()


def test_clocks_that_were_wrong_before_all_of_them_died_keep_nobody_from_coming_back(town: Build) -> None:
    all_of_it = town()
    for house in all_of_it.running:
        house.clock.wall_at_start += 3_600.0
    all_of_it.pass_time(4)
    for house in all_of_it.running:
        house.crash()
    for house in all_of_it.nodes.values():
        house.clock.wall_at_start -= 3_600.0  # somebody has set them right
        house.restart()
    all_of_it.pass_time(8)
    assert all(state_of(house) is NodeState.UP for house in all_of_it.running)


def test_after_a_night_without_any_server_the_first_one_comes_up(town: Build) -> None:
    all_of_it = town()
    all_of_it.pass_time(4)
    for house in all_of_it.running:
        house.crash()
    for house in all_of_it.nodes.values():
        house.clock.now += 30_000.0
    all_of_it["b"].restart()
    all_of_it.pass_time(8)
    assert up(all_of_it["b"]) == ["b"] and not all_of_it["b"].server.stopping


def test_a_server_whose_name_another_one_has_that_speaks_is_refused(town: Build) -> None:
    all_of_it = town("a", "b")
    all_of_it.log.while_waiting = lambda _: all_of_it._others_go_on("")
    with pytest.raises(CommitFailed, match="A server runs as the node b already: give each a name of its own"):
        all_of_it.add("b", "twin")
    assert not all_of_it["b"].server.stopping, "it hears nothing of that"
    assert all_of_it["b"].login("Columbia").ask("whoelse")["status"] == "OK"


def test_two_servers_of_one_name_do_not_live_together(town: Build) -> None:
    all_of_it = town("a", "b")
    twin = all_of_it.add("b", "twin")
    all_of_it.settle()
    assert all_of_it["b"].server.stopping and not twin.server.stopping
    assert "Another server has come up as the node b" in all_of_it["b"].server.close()
    all_of_it["b"]._put_away()
    assert twin.login("Columbia").ask("whoelse")["status"] == "OK"


def test_a_client_that_comes_back_over_another_server_takes_its_session_along(town: Build) -> None:
    all_of_it = town("a", "b")
    there = all_of_it["a"].connect()
    there.ask("hello", protocol=1, client="one", connection=1)
    assert there.prove("login", "Columbia")["status"] == "OK"
    all_of_it.settle()
    here = all_of_it["b"].connect()
    here.ask("hello", protocol=1, client="one", connection=2)
    assert here.prove("login", "Columbia")["status"] == "OK"
    all_of_it.settle()
    assert said(there) == ["REPLACED"]
    late = all_of_it["a"].connect()  # it was under way for long
    late.ask("hello", protocol=1, client="one", connection=1)
    assert late.prove("login", "Columbia")["status"] == "ALREADY_ONLINE"
    assert not here.closed


def test_edits_by_hand_are_taken_in_at_any_node(town: Build) -> None:
    all_of_it = town("a", "b")
    assert all_of_it["b"].stop() == ""
    all_of_it["b"].write("para.txt", all_of_it["b"].read("para.txt") + "\nMaxCon 7\n")
    all_of_it["b"].restart()
    all_of_it.settle()
    assert all_of_it["a"].server.world.parameters["MaxCon"] == 7
    assert all_of_it["a"].admin("change MaxCon 8")
    all_of_it.settle()
    assert all_of_it["b"].server.world.parameters["MaxCon"] == 8
    all_of_it["b"].crash()
    all_of_it["b"].restart()
    all_of_it.settle()
    assert all_of_it["a"].server.world.parameters["MaxCon"] == 8, "the same edit is not taken in twice"


def test_stats_show_the_cluster(town: Build) -> None:
    all_of_it = town("a", "b")
    all_of_it.pass_time(5)
    lines = all_of_it["a"].admin("stats")
    assert "Cluster world:" in lines and "  this node: a, up" in lines
    assert any(line.startswith("  b at b.example:1234: up for ") for line in lines)
    assert any("our oldest batch waits" in line for line in lines)


def test_who_reads_passwords_is_told_the_same_everywhere(town: Build) -> None:
    all_of_it = town("a", "b")
    assert all_of_it["a"].greet().prove("login", "Columbia", "wrong")["tries_left"] == 2
    assert all_of_it["b"].greet().prove("login", "Columbia", "wrong")["tries_left"] == 1
    assert all_of_it["b"].greet().prove("login", "Columbia", PASSWORD)["status"] == "OK"


def test_who_has_come_in_elsewhere_is_shown_and_not_introduced(town: Build) -> None:
    all_of_it = town("a", "b")
    columbia, google = all_of_it["a"].login("Columbia"), all_of_it["b"].login("Google", address="10.1.2.3")
    assert google.ask("listen", port=4_711)["status"] == "OK"
    all_of_it.settle()
    refused = columbia.ask("getaddress", user="Google")
    assert refused["status"] == "OTHER_SERVER" and "another server" in refused["text"]
    assert columbia.ask("getaddress", user="SEAS")["status"] == "NOT_ONLINE"
    assert columbia.ask("list")["online"] == 2
    shown = [line.split() for line in all_of_it["a"].admin("accounts") if line.split()[:1] == ["Google"]]
    assert shown == [["Google", "10.1.2.3", "-", "-", "yes", "10,000"]]


def test_who_had_a_seat_at_a_server_that_is_gone_has_it_here(town: Build) -> None:
    all_of_it = town("a", "b")
    there = all_of_it["a"].login("Columbia", client="one")
    assert all_of_it["b"].admin("change MaxCon 1")
    all_of_it.pass_time(2)
    all_of_it["a"].crash()
    assert there.closed
    assert all_of_it["b"].connect().hello("another")["status"] == "SERVER_FULL"
    here = all_of_it["b"].greet(client="one")
    assert here.prove("login", "Columbia")["status"] == "OK"
