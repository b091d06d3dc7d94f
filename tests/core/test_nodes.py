"""The nodes of a cluster: who is up, whose sessions end with whom, what an old connection or a late batch cannot do."""

from __future__ import annotations

from typing import Any

import pytest

from chatlib.core.nodes import FORMAT, KEPT, nodes_of
from chatlib.core.replies import refusal
from tests.core.stage import HOST, Stage, picture, saved

LATER = f"2 {FORMAT.partition(' ')[2]}"


@pytest.fixture
def stage() -> Stage:
    """Ann and Bob have accounts; the node a is up."""
    stage = Stage(DUPLICATE_LOGIN="share")
    stage.now = 100.0
    stage.play("""
        > register user=Ann
        < OK user=Ann
        > register user=Bob
        < OK user=Bob
        > node_up node=a incarnation=1 address=10.0.0.7:1234 nonce=x
        < OK node=a incarnation=1
          the servers hear: up node=a incarnation=1 address=10.0.0.7:1234 nonce=x
    """)
    return stage


def up(stage: Stage, name: str, incarnation: int = 1, **more: Any) -> str:
    command = {"node": name, "incarnation": incarnation, "format": FORMAT, "left": stage.now, **more}
    return str(stage.do("node_up", **command)["status"])


# Whose batch comes next.


def test_a_batch_counts_once_and_in_its_turn(stage: Stage) -> None:
    nodes = nodes_of(stage.world)
    assert not nodes.accepts("a", 1, 1), "node_up was the first one"
    assert nodes.accepts("a", 1, 2)
    nodes.took("a", 1, 2)
    assert not nodes.accepts("a", 1, 2) and not nodes.accepts("a", 1, 4) and nodes.accepts("a", 1, 3)
    assert nodes.accepts("a", 2, 1) and not nodes.accepts("a", 2, 2) and not nodes.accepts("a", 3, 1)
    assert nodes.accepts("new", 1, 1) and not nodes.accepts("new", 1, 2) and not nodes.accepts("new", 2, 1)
    nodes.took("new", 1, 1)
    assert nodes.get("new") is None, "only node_up makes a node"


def test_after_a_node_s_end_none_of_its_batches_counts_until_it_comes_up_anew(stage: Stage) -> None:
    nodes = nodes_of(stage.world)
    assert stage.do("node_down", node="a", incarnation=1, number=1)["status"] == "OK"
    assert not nodes.accepts("a", 1, 2) and not nodes.accepts("a", 1, 1) and nodes.accepts("a", 2, 1)
    assert up(stage, "a", 2) == "OK"
    assert not nodes.accepts("a", 1, 2) and nodes.accepts("a", 2, 2)
    stage.save()


def test_each_incarnation_comes_up_once(stage: Stage) -> None:
    before = picture(stage.world)
    for incarnation in (0, 1, 3):
        assert up(stage, "a", incarnation) == "NODE_TAKEN"
    assert {**picture(stage.world), "lsn": before["lsn"]} == before


# Sessions.


def test_a_node_s_sessions_end_with_it_and_no_others(stage: Stage) -> None:
    assert up(stage, "b") == "OK"
    stage.recorder.take()
    stage.play("""
        > login user=ann client=c1 node=a
        < OK user=Ann unread=0 since=1 seq=5
          nobody <- presence user=Ann online=True
        > login user=bob client=c2 node=b
        < OK user=Bob unread=0 since=2 seq=6
          ann <- presence user=Bob online=True
        > login user=ann client=c3 node=b
        < OK user=Ann unread=0 since=1 seq=7
        > save
        > at 160
        > node_down node=a incarnation=1 number=7
        < NODE_IS_UP: The node "a" has said something meanwhile.
        > node_down node=a incarnation=2 number=1
        < NO_SUCH_NODE: There is no node "a" with the incarnation 2.
        > node_down node=a incarnation=1 number=1
        < OK node=a
          ann (login 5) ends: NODE_LOST: This server was cut off from the others: log in again, here or at another one.
          the servers hear: down node=a incarnation=1 clean=False
        > node_down node=a incarnation=1 number=1
        < NO_SUCH_NODE: There is no node "a" with the incarnation 1.
        > bob sees
        = Ann
        > save
        > at 170
    """)
    assert up(stage, "b", 2, left=165.0) == "OK"
    assert [said[:4] for said in stage.recorder.take() if said[0] == "ends"] == [
        ("ends", "ann", 7, "NODE_LOST"), ("ends", "bob", 6, "NODE_LOST"),
    ]  # fmt: skip
    assert not stage.world.online and not stage.world.further
    assert (stage.world.accounts["ann"].left, stage.world.accounts["bob"].left) == (165.0, 165.0)


def test_others_are_told_that_a_user_went_with_a_node(stage: Stage) -> None:
    assert up(stage, "b") == "OK"
    stage.do("login", user="ann", address=HOST, node="a")
    stage.do("login", user="bob", address=HOST, node="b")
    stage.recorder.take()
    stage.play("""
        > node_down node=a incarnation=1 clean=true
        < OK node=a
          bob <- presence user=Ann online=False
          ann (login 5) ends: NODE_LOST: This server was cut off from the others: log in again, here or at another one.
          the servers hear: down node=a incarnation=1 clean=True
    """)


def test_who_was_online_at_a_single_server_is_not_when_it_founds_a_cluster() -> None:
    stage = Stage()
    stage.do("register", user="ann", verifier="v")
    stage.do("login", user="ann", address=HOST)
    stage.now = 60.0
    assert up(stage, "a", left=1e9) == "OK"
    assert not stage.world.online and stage.world.accounts["ann"].left == 60.0, "it cannot have left later than now"


def test_nobody_logs_in_at_a_node_that_is_gone(stage: Stage) -> None:
    stage.do("node_down", node="a", incarnation=1, clean=True)
    for node in ("a", "never"):
        reply = stage.do("login", user="ann", address=HOST, node=node)
        text = "This server was cut off from the others: log in again, here or at another one."
        assert reply == refusal("NODE_LOST", text)
    assert not stage.world.online


@pytest.mark.parametrize("rule", ["share", "replace", "refuse"])
def test_an_old_connection_does_not_replace_a_newer_one_of_its_client(rule: str) -> None:
    stage = Stage(DUPLICATE_LOGIN=rule)
    stage.do("register", user="ann", verifier="v")
    assert up(stage, "a") == up(stage, "b") == "OK"
    person = {"user": "ann", "address": HOST, "client": "c"}
    assert stage.do("login", **person, node="b", connection=3)["status"] == "OK"
    stage.save()
    newer = stage.world.online["ann"].login
    late = stage.do("login", **person, node="a", connection=2)
    assert (late["status"], stage.world.online["ann"].login) == ("ALREADY_ONLINE", newer)
    assert stage.do("login", **person, node="a", connection=4)["status"] == "OK"
    assert (stage.world.online["ann"].node, stage.world.online["ann"].connection) == ("a", 4)
    assert stage.do("login", **person, node="a", connection=0)["status"] == "OK", "a client that does not count"


# Formats, and a single server.


def test_all_nodes_have_one_format(stage: Stage) -> None:
    refused = stage.do("node_up", node="b", incarnation=1, format=LATER, left=0.0)
    assert refused["status"] == "WORLD_FORMAT" and "First the others must stop: a." in refused["text"]
    assert up(stage, "b", format="0 unicode 9") == "WORLD_FORMAT"
    stage.do("node_down", node="a", incarnation=1, clean=True)
    assert up(stage, "b", format="0 unicode 9") == "WORLD_FORMAT"
    assert up(stage, "b", format=LATER) == "OK"
    assert up(stage, "a", 2) == "WORLD_FORMAT"
    stage.save()


def test_a_node_alone_may_come_up_with_a_later_format(stage: Stage) -> None:
    """After a crash nobody has said that it is down."""
    assert up(stage, "a", 2, format=LATER) == "OK"


def test_a_single_server_s_files_say_nothing_of_nodes_and_it_ends_a_cluster(stage: Stage) -> None:
    single = Stage()
    single.do("register", user="ann", verifier="v")
    single.do("login", user="ann", address=HOST)
    words = {line.split(" ")[0] for line in saved(single.world)["state.txt"]}
    assert not words & {"log", "nodes", "node"}
    assert saved(single.world)["users.txt"] == ['ann v 1 0.0 [2,0.0,"10.0.0.1",null,1]']
    nodes_of(stage.world).place = (7, 99)
    assert "log [7,99]" in saved(stage.world)["state.txt"]
    stage.do("start", left=0.0)
    words = {line.split(" ")[0] for line in saved(stage.world)["state.txt"]}
    assert not words & {"log", "nodes", "node"} and not stage.world.shared
    stage.save()


def test_where_two_nodes_are_reached_at_one_place_it_is_told_once(stage: Stage) -> None:
    assert up(stage, "b", address="10.0.0.7:1234") == up(stage, "c", address="10.0.0.9:1234") == "OK"
    assert nodes_of(stage.world).addresses() == ["10.0.0.7:1234", "10.0.0.9:1234"]


def test_nodes_that_have_long_been_down_are_forgotten_and_no_others(stage: Stage) -> None:
    for number in range(KEPT + 5):
        stage.now += 1
        assert up(stage, f"n{number}") == "OK"
        stage.do("node_down", node=f"n{number}", incarnation=1, clean=True)
    names = list(nodes_of(stage.world).by_name)
    assert len(names) == KEPT and names[:2] == ["a", "n6"] and names[-1] == f"n{KEPT + 4}"
    assert nodes_of(stage.world).addresses() == ["10.0.0.7:1234"]
    stage.save()


# Clocks, and what one has seen.


def test_a_slow_clock_undoes_no_lockout_of_another_node_s() -> None:
    stage = Stage(MAX_FAILURES=3, BLOCK_TIME=60.0)
    stage.do("register", user="ann", verifier="v")
    up(stage, "a")
    for at in (50.0, 49.0, 50.5, 48.0):
        stage.now = at
        reply = stage.do("wrong_password", user="ann", address=HOST)
    assert reply["status"] == "LOCKED_OUT" and reply["seconds"] == 60
    stage.do("login", user="ann", address="10.0.0.2", node="a")
    assert stage.world.online["ann"].since == stage.world.at == 50.5


def test_a_single_server_s_clock_that_is_set_back_ends_a_lockout_as_ever() -> None:
    stage = Stage(MAX_FAILURES=1, BLOCK_TIME=60.0)
    stage.do("register", user="ann", verifier="v")
    stage.now = 1e9
    assert stage.do("wrong_password", user="ann", address=HOST)["status"] == "LOCKED_OUT"
    stage.now = 5.0
    assert stage.do("login", user="ann", address=HOST)["status"] == "OK"


# Edits by hand.


def test_each_node_has_files_of_its_own_that_people_edit(stage: Stage) -> None:
    stage.do("edit", parameters={"MaxCon": 7}, accounts={}, written=[0, 0], node="a")
    stage.do("edit", parameters={"MaxCon": 8}, accounts={"cyd": "v"}, written=[0, 0], node="b")
    stage.save()
    by_hand = stage.world.by_hand
    assert by_hand.of("a").parameters == {"maxcon": (4, 7)} and by_hand.of("b").parameters == {"maxcon": (5, 8)}
    assert up(stage, "b", written=[5, 4]) == "OK"
    assert by_hand.of("b").parameters == {} and by_hand.of("b").accounts == {"cyd": (5, "v")}
    stage.do("edit", parameters={"TIME_OUT": 9.0}, accounts={}, written=[4, 4], node="a")
    assert by_hand.of("a").parameters == {"time_out": (7, 9.0)} and "" not in by_hand
    stage.save()


def test_who_founds_a_cluster_knows_its_edits_from_before() -> None:
    stage = Stage()
    stage.do("edit", parameters={"MaxCon": 7}, accounts={}, written=[0, 0])
    assert stage.world.by_hand.of("a").parameters == {"maxcon": (1, 7)}
    assert up(stage, "a", written=[0, 0]) == up(stage, "b") == "OK"
    assert stage.world.by_hand.of("a").parameters == {"maxcon": (1, 7)} and stage.world.by_hand.keys() == {"a"}
    assert up(stage, "a", 2, written=[1, 1]) == "OK" and not stage.world.by_hand


# Snapshots.


def test_one_node_makes_a_snapshot_and_all_hear_when_it_is_there(stage: Stage) -> None:
    assert up(stage, "b") == "OK"
    stage.recorder.take()
    stage.play("""
        > snapshot_begin node=a position=0
        < OK
          the servers hear: snapshot_begin node=a position=0
        > snapshot_begin node=b position=0
        < SNAPSHOT_UNDER_WAY: Another node makes a snapshot, or has just made one.
        > snapshot_begin node=a position=0
        < OK
          the servers hear: snapshot_begin node=a position=0
        > snapshot node=b position=9 chain=4
        < NO_SNAPSHOT: No such snapshot was begun.
        > save
        > snapshot node=a position=9 chain=4
        < OK
          the servers hear: snapshot node=a position=9 chain=4 earlier=(0, 0)
        > snapshot_begin node=b position=0
        < SNAPSHOT_UNDER_WAY: Another node makes a snapshot, or has just made one.
        > snapshot_begin node=b position=9
        < OK
          the servers hear: snapshot_begin node=b position=9
        > snapshot node=b position=9 chain=4
        < NO_SNAPSHOT: No such snapshot was begun.
        > snapshot node=b position=20 chain=5
        < OK
          the servers hear: snapshot node=b position=20 chain=5 earlier=(9, 4)
        > save
    """)


@pytest.mark.parametrize("end", ["node_up", "node_down"])
def test_a_snapshot_that_a_node_s_end_cut_short_may_be_made_by_another(stage: Stage, end: str) -> None:
    assert up(stage, "b") == "OK"
    stage.do("snapshot_begin", node="a", position=0)
    if end == "node_up":
        assert up(stage, "a", 2) == "OK"
    else:
        stage.do("node_down", node="a", incarnation=1, number=1)
        assert stage.do("snapshot_begin", node="a", position=0)["status"] == "SNAPSHOT_UNDER_WAY", "it is down"
    assert stage.do("snapshot", node="a", position=9, chain=4)["status"] == "NO_SNAPSHOT"
    assert stage.do("snapshot_begin", node="b", position=0)["status"] == "OK"


def test_who_cannot_make_a_snapshot_leaves_it_to_another(stage: Stage) -> None:
    assert up(stage, "b") == "OK"
    stage.do("snapshot_begin", node="a", position=0)
    assert stage.do("snapshot_end", node="b")["status"] == "OK"  # it has none to give up
    assert stage.do("snapshot_begin", node="b", position=0)["status"] == "SNAPSHOT_UNDER_WAY"
    assert stage.do("snapshot_end", node="a")["status"] == "OK"
    assert stage.do("snapshot", node="a", position=9, chain=4)["status"] == "NO_SNAPSHOT"
    assert stage.do("snapshot_begin", node="b", position=0)["status"] == "OK"


def test_messages_that_have_gone_go_once_whoever_says_so(stage: Stage) -> None:
    for node in ("a", "b", "c"):
        stage.do("expire", before=3, offset=stage.world.store_end, node=node)
        assert (stage.world.floor, stage.world.expiring) == (3, None)
