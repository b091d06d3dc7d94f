"""Several servers and one log: what counts, what is passed over, what is asked for again, and what ends it all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatlib.cluster import batch, reading, stream
from chatlib.storage.log import CommitFailed, Log
from tests.chance import examples, new_chance
from tests.cluster.small import Small, Stream, pass_time, written


@pytest.fixture
def engine() -> Stream:
    return Stream()


def same(*servers: Small) -> list[bytes]:
    """What all of them have executed."""
    for server in servers[1:]:
        assert server.executed == servers[0].executed
        assert server.nodes.place == servers[0].nodes.place
    return [record for record in servers[0].executed if not record.startswith((b"up ", b"down "))]


def test_it_is_a_log(engine: Stream) -> None:
    log: Log = Small(engine, "a").log
    assert log.shared and log.at_rest and not log.busy and log.durable == log.given == log.lsn == 1
    log.close()


def test_everybody_executes_everybodys_commands_in_one_order(engine: Stream) -> None:
    a, b, c = (Small(engine, name) for name in "abc")
    for number in range(5):
        a.append(f"a{number}")
        b.append(f"b{number}", f"b{number}!")
        pass_time(0.2, a, b, c)
    assert sorted(same(a, b, c)) == sorted(
        record.encode() for n in range(5) for record in (f"a{n}", f"b{n}", f"b{n}!")
    )
    assert [r for r in a.own if r[:1] == b"a"] == [b"a%d" % n for n in range(5)], "ours in our order, as tickets"
    assert not a.waiting and not b.waiting and c.log.waits == 0.0


def test_what_is_appended_in_one_tick_is_one_batch_and_one_is_in_flight(engine: Stream) -> None:
    a = Small(engine, "a")
    sent = len(a.link.sent)
    a.append("1", "2")
    a.log.commit()
    a.append("3", "4")
    a.log.commit()
    a.log.commit()
    assert len(a.link.sent) == sent + 1 and a.log.busy
    a.tick()
    a.tick()
    assert [batch.parse(one).records for one in a.link.sent[sent:]] == [[b"1", b"2"], [b"3", b"4"]]


def test_a_batch_is_not_too_large_unless_a_single_command_is(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    sent = len(a.link.sent)
    large = "x" * 65_536
    a.append(*[large] * 9, "y" * 500_000, "small")
    pass_time(1.0, a, b)
    sizes = [len(one) for one in a.link.sent[sent:]]
    assert len(same(a, b)) == 11 and not a.waiting
    assert sorted(sizes)[-1] < 501_000 and sum(size > batch.LARGEST for size in sizes) == 1
    with pytest.raises(CommitFailed, match="1048577 bytes"):
        a.append("z" * 1_048_577)


def test_the_first_command_of_an_incarnation_goes_alone(engine: Stream) -> None:
    a = Small(engine, "a", is_up=False)
    a.catch_up()
    a.log.come_up(1)
    a.append("up a 1", "one", "two")
    a.settle()
    assert [batch.parse(one).records for one in a.link.sent] == [[b"up a 1"], [b"one", b"two"]]


def test_a_node_that_has_nothing_to_say_says_so_each_second(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    before = len(a.beats)
    pass_time(5.0, a, b)
    assert 4 <= a.beats[before:].count("a") <= 6 and a.beats[before:].count("b") in (4, 5, 6)
    assert same(a, b) == []


# A barrier.


def test_a_barrier_comes_when_a_later_batch_has_come_back(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    b.append("before")
    b.settle()
    assert b"before" not in a.executed, "a has not heard of it"
    ticket = a.log.barrier()
    a.append("behind")
    a.log.commit()
    a.tick()
    assert a.passed == [ticket] and a.executed[-2:] == [b"before", b"behind"]
    assert a.log.lsn == len(a.executed) == 4


def test_a_barrier_does_not_count_what_was_sent_before_it(engine: Stream) -> None:
    a = Small(engine, "a")
    a.append("early")
    a.log.commit()
    ticket = a.log.barrier()
    a.link.pump()
    a.execute()
    assert a.executed[-1] == b"early" and a.passed == []
    a.tick()
    a.tick()
    assert a.passed == [ticket]


# What is sent again.


@pytest.mark.parametrize("trouble", ["silence", "no acknowledgement", "busy", "connection", "lost connection"])
def test_what_is_not_acknowledged_is_sent_again_and_carried_out_once(engine: Stream, trouble: str) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    sent = len(a.link.sent)
    if trouble == "silence":
        engine.stores = False
    elif trouble == "no acknowledgement":
        engine.acknowledges = engine.publishes = False
    elif trouble == "busy":
        engine.refusals.extend([10158, 10077, 10158])
    a.append("once")
    if trouble == "connection":
        a.link.lose()
    a.tick()
    if trouble == "lost connection":
        a.append("twice")
        a.tick()
        a.link.lose()
    pass_time(1.5, a, b)
    engine.stores = engine.acknowledges = engine.publishes = True
    if not a.link.connected:
        assert a.log.waits > 1.0
        a.link.connect()
    a.append("later")
    pass_time(2.5, a, b)
    assert same(a, b)[:1] == [b"once"] and same(a, b)[-1] == b"later" and len(same(a, b)) <= 3
    again = [one for one in a.link.sent[sent:] if b"once" in one]
    assert len(set(again)) == 1, "the very same bytes"
    assert not a.waiting and a.log.waits < 1.0


def test_the_same_batch_twice_is_carried_out_once_however_late_the_copy_is(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    a.append("pay 100")
    pass_time(0.2, a, b)
    copy = next(one for one in a.link.sent if b"pay" in one)
    engine.store(copy)
    a.append("then")
    pass_time(0.2, a, b)
    engine.store(copy)
    pass_time(5.0, a, b)
    engine.store(copy)
    engine.store(copy)
    a.append("at last")
    pass_time(1.0, a, b)
    assert same(a, b) == [b"pay 100", b"then", b"at last"] and a.over == 0


def test_a_copy_that_comes_before_the_next_batch_does_not_stand_in_for_it(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    a.append("one")
    a.tick()
    engine.store(a.link.sent[-1])
    a.append("two")
    pass_time(0.5, a, b)
    assert same(a, b) == [b"one", b"two"] and not a.waiting


def test_what_comes_after_the_end_of_a_node_is_passed_over_by_everybody(engine: Stream) -> None:
    a, b, c = (Small(engine, name) for name in "abc")
    engine.stores = False
    a.append("too late")
    a.tick()
    engine.stores = True
    late = a.link.sent[-1]
    a.link.lose()
    b.append("down a")
    b.settle()
    pass_time(0.2, b, c)
    engine.store(late)
    pass_time(3.0, b, c)
    engine.store(late)
    pass_time(1.0, b, c)
    assert b"too late" not in same(b, c)
    a.link.connect()
    pass_time(1.0, a, b, c)
    assert a.over == 1 and a.log.over and a.executed == b.executed
    assert a.log.lost() == [*a.waiting], "nobody will ever carry it out"
    a.waiting.clear()
    a.come_up()
    a.append("anew")
    pass_time(1.0, a, b, c)
    assert same(a, b, c) == [b"anew"] and b"up a 2" in a.executed


def test_what_was_appended_meanwhile_is_lost_too_and_what_comes_later_is_not(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    engine.stores = False
    tickets = a.append("in flight")
    a.log.commit()
    tickets += [*a.append("waits"), a.log.barrier()]
    a.link.lose()
    engine.stores = True
    b.append("down a")
    b.settle()
    a.link.connect()
    pass_time(1.0, a, b)
    tickets += a.append("nor this")
    pass_time(3.0, a, b)
    assert a.log.lost() == tickets and a.passed == []
    a.waiting.clear()
    pass_time(3.0, a, b)
    a.come_up()
    assert a.append("later")[0] > tickets[-1], "tickets go on"
    pass_time(1.0, a, b)
    assert same(a, b) == [b"later"]


@pytest.mark.parametrize(
    ("node", "incarnation", "number"),
    [("a", 1, 2), ("a", 2, 4), ("a", 2, 6), ("a", 2, 7), ("a", 3, 2), ("a", 4, 1), ("x", 1, 2), ("x", 2, 1)],
)
def test_a_batch_of_another_incarnation_or_out_of_its_turn_does_not_count(
    engine: Stream, node: str, incarnation: int, number: int
) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    b.append("down a")
    b.settle()
    pass_time(0.5, a, b)
    a.log.lost()
    a.come_up()
    while a.nodes.up["a"][1] < 4:
        a.append("x")
        a.settle()
    pass_time(0.1, a, b)
    assert b.nodes.up["a"] == (2, 4, True)
    lsn, place = b.log.lsn, b.nodes.place
    engine.store(written(node, incarnation, number, "never"))
    b.link.pump()
    b.execute()
    assert b"never" not in b.executed and b.log.lsn == lsn
    assert b.nodes.place[0] == place[0] + 1 and b.nodes.place[1] != place[1], "it is part of the chain all the same"


def test_of_two_processes_with_one_name_the_first_in_the_log_wins_and_the_other_finds_out(engine: Stream) -> None:
    a, twin, b = Small(engine, "a", is_up=False), Small(engine, "a", is_up=False), Small(engine, "b")
    for one in (a, twin):
        one.catch_up()
        one.log.come_up(1)
    a.append("up a 1")
    twin.append("up a 1 twin")
    a.log.commit()
    twin.log.commit()
    pass_time(0.5, a, twin, b)
    assert a.own == [b"up a 1"] and not a.waiting and a.over == 0
    assert twin.own == [] and twin.waiting and twin.over == 1 and twin.executed == a.executed == b.executed
    assert twin.log.lost() == [*twin.waiting]


def test_a_twin_that_comes_later_and_writes_the_number_of_a_batch_in_flight_is_noticed(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    engine.stores = False
    a.append("mine")
    a.tick()
    engine.stores = True
    engine.store(written("a", 1, batch.parse(a.link.sent[-1]).number, "the twin's"))
    pass_time(2.0, a, b)
    assert same(a, b) == [b"the twin's"] and a.over == 1
    assert a.executed.count(b"mine") == 0


def test_a_twin_that_writes_while_nothing_of_ours_is_in_flight_is_noticed(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    engine.store(written("a", 1, 2, "the twin's"))
    pass_time(0.1, a, b)
    assert same(a, b) == [b"the twin's"] and a.over == 1
    a.append("more")
    sent = len(a.link.sent)
    pass_time(2.0, a, b)
    assert len(a.link.sent) == sent, "nothing is sent by who is over"


# Reading.


def test_what_was_not_heard_live_is_asked_for(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    engine.publishes = False
    for number in range(20):
        a.append(f"{number}")
        pass_time(0.3, a)
    engine.publishes = True
    a.append("heard")
    pass_time(0.2, a, b)
    assert same(a, b) == [*[b"%d" % number for number in range(20)], b"heard"]


def test_the_last_ones_are_asked_for_too(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b", is_up=False)
    engine.publishes = False
    a.append("quiet")
    pass_time(2.5, a, b)
    assert same(a, b) == [b"quiet"]


def test_a_question_that_went_to_a_node_which_stands_still_is_soon_asked_again(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b", is_up=False)
    pass_time(0.5, a, b)
    b.link.lose()
    a.append("meanwhile")
    pass_time(0.5, a)
    engine.mute = 1
    b.link.connect()
    pass_time(1.0, b)
    assert same(a, b) == [b"meanwhile"]
    b.link.lose()
    a.append("again")
    pass_time(0.5, a)
    engine.mute, asked = 6, len(engine.asked)
    b.link.connect()
    pass_time(3.0, b)
    assert 1 < engine.mute < 4 and len(engine.asked) == asked, "whoever is slow is given more time"
    pass_time(8.0, b)
    assert same(a, b) == [b"meanwhile", b"again"]


def test_a_connection_that_was_lost_loses_nothing(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    chance = new_chance()
    count = 40 * examples(1)
    for number in range(count):
        a.append(f"{number}")
        if chance.random() < 0.2:
            b.link.lose()
        a.tick()
        b.tick()
        if not b.link.connected and chance.random() < 0.3:
            b.link.connect()
    b.link.connect()
    pass_time(3.0, a, b)
    assert same(a, b) == [b"%d" % number for number in range(count)]


def test_a_start_reads_on_from_its_place(engine: Stream) -> None:
    a = Small(engine, "a")
    for number in range(600):
        a.append(f"{number}")
        a.tick()
    early = Small(engine, "b", is_up=False)
    early.catch_up()
    for number in range(600):
        a.append(f"{number}")
        a.tick()
    pass_time(0.1, a)
    late = Small(engine, "b", earlier=early)
    assert late.nodes.place[0] > 1_200 and late.executed[:-1] == a.executed
    assert all(one["seq"] > 600 for one in engine.asked[-3:]), "what it had is not read again"


def test_an_empty_log_is_read_to_its_end_at_once(engine: Stream) -> None:
    a = Small(engine, "a", is_up=False)
    assert a.log.behind
    a.catch_up()
    assert a.executed == []


def test_nobody_comes_up_before_one_knows_where_the_log_ends(engine: Stream) -> None:
    a = Small(engine, "a")
    engine.stores = False
    b = Small(engine, "b", is_up=False)
    for _ in range(30):
        b.log.ready()
    assert b.log.behind and a.log.unread == 0
    engine.stores = True
    b.catch_up()
    assert b.executed == a.executed


@pytest.mark.parametrize("damage", ["a hole", "another byte", "cut short", "a hole at the first", "two holes"])
def test_what_one_of_the_engines_nodes_has_lost_another_has(engine: Stream, damage: str) -> None:
    a = Small(engine, "a")
    for number in range(30):
        a.append(f"{number}")
        a.settle()
    answers = 0

    def answer(position: int, message: bytes) -> bytes | None:
        """Every fifth answer comes from a node without damage."""
        nonlocal answers
        answers += position == (1 if "first" in damage else 10)
        if answers % 5 == 4:
            return message
        if "hole" in damage:
            bad = {"two holes": (10, 20), "a hole at the first": (1,)}.get(damage, (10,))
            return None if position in bad else message
        if position == 10:
            return message[:-9] if damage == "cut short" else message[:60] + b"?" + message[61:]
        return message

    engine.answer = answer
    b = Small(engine, "b", is_up=False)
    b.catch_up()
    assert b.executed == a.executed and b.nodes.place == a.nodes.place
    assert answers >= 4


def test_a_damaged_message_that_is_heard_live_is_asked_for(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    a.append("whole")
    a.log.commit()
    message = engine.messages[engine.last]
    engine.publishes = False
    b.link._coming.clear()
    b.link.say("chat.out", {"Nats-Sequence": str(engine.last)}, message[:-3] + b"!" + message[-2:])
    engine.publishes = True
    pass_time(0.5, a, b)
    assert same(a, b) == [b"whole"]


@pytest.mark.parametrize("lost", [True, False])
def test_only_bad_answers_for_30_s_end_it_and_say_what_is_wrong(engine: Stream, lost: bool) -> None:
    a = Small(engine, "a")
    for number in range(5):
        a.append(f"{number}")
        a.tick()
    engine.answer = lambda position, message: message if position != 4 else None if lost else message[:-1] + b"x"
    b = Small(engine, "b", is_up=False)
    begun = engine.moments.now
    with pytest.raises(CommitFailed) as failed:
        b.catch_up()
    assert 30.0 <= engine.moments.now - begun < 45.0
    words = "there is nothing at 4, and something at 5" if lost else "what is at 4 is not what was sent"
    assert words in str(failed.value) and b.executed == a.executed[:3]
    for call in (b.log.commit, b.log.every_second, b.log.ready):
        with pytest.raises(CommitFailed):
            call()


def test_silence_is_no_bad_answer(engine: Stream) -> None:
    a = Small(engine, "a")
    for number in range(5):
        a.append(f"{number}")
        a.settle()
    engine.answer = lambda position, message: None if position == 4 else message
    b = Small(engine, "b", is_up=False)
    pass_time(20.0, b)
    b.link.lose()
    engine.moments.now += 100.0
    b.link.connect()
    pass_time(2.0, b)
    engine.answer = lambda position, message: message
    pass_time(2.0, b)
    assert b.executed == a.executed


def test_a_node_of_the_engine_that_ends_earlier_is_cut_off_or_lags_and_is_not_damaged(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    engine.publishes = False
    end = engine.last
    engine.answer = lambda position, message: message if position <= end else None
    a.append("new")
    a.log.commit()
    b.log._reader.known(engine.last)
    pass_time(100.0, b)
    assert b"new" not in b.executed and b.link.left == 4, "it looks for another one of the engine's nodes"
    engine.answer, engine.publishes = lambda position, message: message, True
    pass_time(2.0, a, b)
    assert b"new" in same(a, b)


def test_a_node_of_the_engine_that_answers_and_stores_nothing_is_left(engine: Stream) -> None:
    a = Small(engine, "a")
    engine.stores = False
    a.append("x")
    pass_time(15.0, a)
    assert a.link.left == 2 and a.log.waits > 14.0
    engine.stores = True
    pass_time(12.0, a)
    assert a.link.left == 2 and not a.waiting
    engine.stores = False
    pass_time(6.0, a)
    assert a.link.left == 3, "as soon as the first time"


def test_who_is_never_idle_leaves_as_soon_as_any_other(engine: Stream) -> None:
    a = Small(engine, "a")
    for outage in range(3):
        engine.stores = False
        a.append("x")
        pass_time(6.0, a)
        assert a.link.left == outage + 1
        engine.stores = True
        pass_time(2.0, a)
        for _ in range(60):
            a.append("y")
            a.log.commit()
            a.log.every_second()
            assert a.log.waits == 0.0 and a.log.busy, "something is in flight whenever one looks"
            a.moments.now += 0.1
            a.tick()


def test_a_log_that_begins_later_than_we_are_says_that_the_node_must_start_anew(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    b.link.lose()
    for number in range(20):
        a.append(f"{number}")
        a.tick()
    engine.purge(15)
    b.link.connect()
    with pytest.raises(CommitFailed, match=r"begins at 16 by now, and 3 was to be read next.*start it again"):
        pass_time(60.0, a, b)
    with pytest.raises(CommitFailed, match="takes the last snapshot"):
        Small(engine, "c", earlier=b)
    pass_time(1.0, a)  # nobody else minds


def test_a_log_that_ends_before_our_place_is_not_read(engine: Stream) -> None:
    a = Small(engine, "a")
    for number in range(9):
        a.append(f"{number}")
        a.tick()
    pass_time(0.1, a)
    for position in (8, 9, 10):
        del engine.messages[position]
    engine.last = 7
    with pytest.raises(CommitFailed, match=r"ends at 7, and 10 was read"):
        Small(engine, "b", earlier=a)


def test_what_is_read_ahead_is_bounded(engine: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "AHEAD", 50_000)
    a, b = Small(engine, "a"), Small(engine, "b")
    for number in range(200):
        a.append(f"{number:1000}")
        a.tick()
        b.link.pump()
        assert b.log._reader._size < 52_000
    assert b.log.unread >= 200 - 50
    pass_time(5.0, a, b)
    assert len(same(a, b)) == 200


# Budgets.


def test_one_call_hands_out_so_much_and_the_rest_comes_in_the_next_tick(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    a.append(*[f"{number}" for number in range(1_000)])
    a.settle()
    assert a.moments.unfinished >= 3
    before, place = len(b.executed), b.nodes.place
    b.link.pump()
    b.moments.unfinished = 0
    b.execute()
    assert len(b.executed) == before + stream.BUDGET and b.moments.unfinished == 1
    assert not b.log.at_rest and b.nodes.place == place, "a batch is executed when all of it is"
    for _ in range(3):
        b.execute()
    assert b.executed == a.executed and b.log.at_rest and b.nodes.place == a.nodes.place
    assert b.moments.unfinished == 3


def test_at_the_end_a_batch_is_handed_out_as_a_whole_and_nothing_behind_it(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    a.append(*[f"{number}" for number in range(1_000)])
    a.settle()
    executed, place = list(a.executed), a.nodes.place
    a.append("later")
    a.settle()
    b.link.pump()
    b.execute()
    b.log.read_no_more()
    while not b.log.at_rest:
        b.execute()
    b.execute()
    assert b.executed == executed and b.nodes.place == place


def test_commands_that_take_long_are_fewer_in_one_call(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    a.append(*[f"{number}" for number in range(200)])
    a.settle()
    before = len(b.executed)
    b.link.pump()
    for part in b.log.committed():
        b.executed += [entry for entry in part if isinstance(entry, bytes)]
        b.moments.now += 0.002
    assert len(b.executed) == before + 2 * stream.SLICE and b.moments.unfinished > 0


def test_a_command_decides_whether_what_comes_behind_it_counts(engine: Stream) -> None:
    """Judged when all before is executed, though it was read long before."""
    _, b = Small(engine, "a"), Small(engine, "b")
    number = b.nodes.up["a"][1]
    engine.store(written("b", 1, 2, *["x"] * 300, "down a"))
    engine.store(written("a", 1, number + 1, "passed over"))
    engine.store(written("a", 2, 1, "up a 2"))
    engine.store(written("a", 2, 2, "counts"))
    pass_time(0.3, b)
    assert b"passed over" not in b.executed and b.executed[-2:] == [b"up a 2", b"counts"]


# One history.


def test_who_has_read_another_log_is_named(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    pass_time(0.1, a, b)
    number = a.nodes.up["b"][1] + 1
    engine.store(written("b", 1, number, "alien", place=(2, 0xABCD)))
    with pytest.raises(CommitFailed, match=r'The node "b" has read another log: at 2, its chain is 0000abcd'):
        a.tick()
    assert b"alien" not in a.executed


def test_of_three_the_one_who_has_read_another_log_stops(engine: Stream) -> None:
    a, b, c = (Small(engine, name) for name in "abc")
    pass_time(3.0, a, b, c)
    b.log._chain ^= 1  # its memory is damaged
    a.append("goes on")
    c.append("goes on, too")
    with pytest.raises(CommitFailed, match="So have most others: take data/ away"):
        pass_time(3.0, a, c, b)
    pass_time(3.0, a, c)
    assert same(a, c)[-2:] == [b"goes on", b"goes on, too"]


def test_what_one_of_three_says_of_another_log_stops_nobody_else(engine: Stream) -> None:
    a, b, c = (Small(engine, name) for name in "abc")
    pass_time(2.0, a, b, c)
    for number in (1, 2):
        engine.store(written("b", 1, a.nodes.up["b"][1] + 1, f"odd {number}", place=(2, 0xABCD)))
        pass_time(1.0, a, c)
    assert same(a, c) == [b"odd 1", b"odd 2"]
    assert len([one for one in a.said if 'WARNING: The node "b" has read another log' in one]) == 1
    again = Small(engine, "a", a)
    pass_time(1.0, again, c)
    assert same(again, c)[-1] == b"odd 2", "it keeps nobody from coming back"


def test_who_comes_back_with_another_history_than_most_others_does_not_come_up(engine: Stream) -> None:
    a, b, c = (Small(engine, name) for name in "abc")
    pass_time(3.0, a, b, c)
    b.nodes.place = b.nodes.place[0], b.nodes.place[1] ^ 1
    pass_time(3.0, a, c)
    with pytest.raises(CommitFailed, match="So have most others"):
        Small(engine, "b", b)


def test_of_two_who_differ_whoever_is_left_comes_back(engine: Stream) -> None:
    a, b = (Small(engine, name) for name in "ab")
    pass_time(2.0, a, b)
    engine.store(written("b", 1, a.nodes.up["b"][1] + 1, "odd", place=(2, 0xABCD)))
    with pytest.raises(CommitFailed, match="another log"):
        pass_time(1.0, a)
    again = Small(engine, "a", a)
    assert again.executed[-2:] == [b"odd", b"up a 2"]


def test_who_is_further_than_the_log_has_read_another_one(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    pass_time(0.1, a, b)
    engine.store(written("b", 1, a.nodes.up["b"][1] + 1, "alien", place=(1_000, 1)))
    with pytest.raises(CommitFailed, match="another log: at 1000"):
        a.tick()


def test_what_is_passed_over_ends_nothing_whatever_it_says(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    engine.store(written("stranger", 7, 7, "alien", place=(2, 0xABCD)))
    pass_time(1.0, a, b)
    assert same(a, b) == []


def test_old_positions_are_not_remembered_for_ever(engine: Stream) -> None:
    a = Small(engine, "a")
    for _ in range(5_000):
        a.append("x")
        a.tick()
    a.settle()
    assert len(a.log._chains._at) <= 4_097
    engine.store(written("a", 1, a.nodes.up["a"][1] + 1, "old", place=(5, 1)))
    a.link.pump()
    a.execute()
    assert a.executed[-1] == b"old"


def test_another_message_at_a_position_that_was_read_is_noticed(engine: Stream) -> None:
    a, b = Small(engine, "a"), Small(engine, "b")
    pass_time(1.5, a, b)
    a.link.say("chat.out", {"Nats-Sequence": "3"}, engine.messages[3])
    pass_time(0.1, a)
    a.link.say("chat.out", {"Nats-Sequence": "3"}, written("b", 1, 2, "other"))
    a.link.pump()
    with pytest.raises(CommitFailed, match="another message at 3"):
        a.log.commit()


def test_a_log_that_was_begun_anew_beneath_us_is_noticed(engine: Stream) -> None:
    a = Small(engine, "a")
    pass_time(3.0, a)
    engine.messages.clear()
    engine.last = 0
    engine.identities.clear()
    with pytest.raises(CommitFailed, match="The engine has another"):
        pass_time(5.0, a)


# The rest of being a log.


def test_its_size_is_what_was_handed_out_since_the_cut(engine: Stream) -> None:
    a = Small(engine, "a")
    a.append("x" * 1_000)
    a.settle()
    assert 1_000 < a.log.size < 1_500 and a.log.records == 2
    a.log.cut()
    assert a.log.size == a.log.records == 0
    a.log.truncate()
    a.log.settle()
    a.log.clear()
    a.append("y")
    a.settle()
    assert 0 < a.log.size < 200 and a.log.lsn == 3


def test_a_start_without_an_engine_that_lets_us_in_says_so(engine: Stream) -> None:
    a = Small(engine, "a", is_up=False)
    a.link.connected, a.link.failure = False, "127.0.0.1:4222: Authorization Violation"
    with pytest.raises(CommitFailed, match="lets us in: 127.0.0.1:4222: Authorization Violation"):
        a.catch_up()


def test_whatever_goes_wrong_all_execute_the_same(engine: Stream) -> None:
    """Servers and the engine fail as they like; what was answered is there once, in everybody's order."""
    chance = new_chance()
    servers = [Small(engine, name) for name in "abc"]
    answered: dict[str, list[bytes]] = {server.node: [] for server in servers}
    copies: list[bytes] = []
    faults: list[Callable[[], None]] = [
        lambda: setattr(engine, "stores", chance.random() < 0.7),
        lambda: setattr(engine, "publishes", chance.random() < 0.7),
        lambda: setattr(engine, "acknowledges", chance.random() < 0.7),
        lambda: engine.refusals.append(10158),
        lambda: chance.choice(servers).link.lose(),
        lambda: chance.choice(servers).link.connect(),
        lambda: copies and engine.store(chance.choice(copies)) and None,
    ]
    for number in range(60 * examples(8)):
        server = chance.choice(servers)
        if server.log.over:
            server.log.lost()
            server.waiting.clear()
            incarnation = server.nodes.up[server.node][0] + 1
            server.log.come_up(incarnation)
            server.append(f"up {server.node} {incarnation}")
        server.append(f"{server.node}{number}")
        if chance.random() < 0.2:
            chance.choice(faults)()
        if chance.random() < 0.03:
            server.append(f"down {chance.choice(servers).node}")
        pass_time(chance.choice([0.05, 0.05, 0.3]), *chance.sample(servers, 2))
        copies = [sent for one in servers for sent in one.link.sent[-20:]]
    engine.stores = engine.publishes = engine.acknowledges = True
    for server in servers:
        server.link.connect()
    pass_time(5.0, *servers)
    same(*servers)
    for server in servers:
        answered[server.node] = server.own
        for record in server.own:
            if not record.startswith((b"up", b"down")):
                assert server.executed.count(record) == 1, record
