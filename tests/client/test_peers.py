"""Direct connections between two clients, over real sockets and real TLS; the server is the test."""

from __future__ import annotations

import socket

import pytest

from chatlib.client import news as n
from chatlib.client.contacts import NotSent
from chatlib.client.given import UNSHOWN
from chatlib.protocol.peer import WINDOW
from chatlib.reactor.tlsstream import NoAnonymousTls
from tests.client.peerrig import KEY, LOCAL, Side, Stage


def linked(stage: Stage, ann: Side, bob: Side) -> None:
    """After a first text of ann's."""
    stage.introduce(ann, bob)
    ann.peers.private("bob", "hello")
    stage.until(lambda: ann.all(n.ParcelShown))


def refused(side: Side, user: str, text: str = "hi") -> str:
    with pytest.raises(NotSent) as error:
        side.peers.private(user, text)
    return error.value.status


# From one to the other.


def test_the_first_text_calls_and_both_may_speak(stage: Stage, ann: Side, bob: Side) -> None:
    stage.introduce(ann, bob)
    parcel = ann.peers.private("BOB", "hello")
    assert (parcel.user, parcel.acknowledged, ann.peers.unacknowledged) == ("Bob", False, 1)
    stage.until(lambda: parcel.acknowledged)
    assert bob.texts == ["hello"]
    event = bob.all(n.Arrived)[-1].event
    assert (event["from"], event["time"]) == ("ann", 7.0)
    bob.peers.private("ann", "hello yourself")
    stage.until(lambda: ann.texts)
    assert ann.texts == ["hello yourself"]
    assert ann.all(n.LinkOpened) == [n.LinkOpened("Bob", True)]
    assert bob.all(n.LinkOpened) == [n.LinkOpened("ann", False)]
    assert (ann.peers.users(), bob.peers.users(), ann.peers.unacknowledged) == (["Bob"], ["ann"], 0)


def test_what_is_written_while_one_calls_comes_in_its_order(stage: Stage, ann: Side, bob: Side) -> None:
    stage.introduce(ann, bob)
    for number in range(WINDOW):
        ann.peers.private("bob", str(number))
    stage.until(lambda: len(ann.all(n.ParcelShown)) == WINDOW)
    assert bob.texts == [str(number) for number in range(WINDOW)]


def test_a_text_is_acknowledged_when_it_was_shown_and_no_sooner(stage: Stage, ann: Side, bob: Side) -> None:
    bob.reads = False
    stage.introduce(ann, bob)
    first, second = ann.peers.private("bob", "one"), ann.peers.private("bob", "two")
    stage.until(lambda: len(bob.texts) == 2)
    stage.settle()
    assert not first.acknowledged
    bob.peers.shown(bob.all(n.Arrived)[-2].event)
    stage.until(lambda: first.acknowledged)
    assert not second.acknowledged


def test_a_cheque_goes_the_same_way(stage: Stage, ann: Side, bob: Side) -> None:
    linked(stage, ann, bob)
    parcel = bob.peers.cheque("ann", "cheque/1 bob ann 5 ...")
    stage.until(lambda: parcel.acknowledged)
    event = ann.all(n.Arrived)[-1].event
    assert (event["event"], event["from"], event["cheque"]) == ("cheque", "Bob", "cheque/1 bob ann 5 ...")


def test_who_takes_no_calls_can_call(stage: Stage, ann: Side) -> None:
    carl = stage.side("carl", listen=None)
    assert (carl.told(), carl.peers.port) == ([], 0)
    stage.introduce(ann, carl)
    assert refused(ann, "carl") == "NO_LISTENER"
    carl.peers.private("ann", "it is me")
    stage.until(lambda: ann.texts)
    parcel = ann.peers.private("carl", "now it goes")
    stage.until(lambda: parcel.acknowledged)


# Both at once.


@pytest.mark.parametrize("turns", range(0, 24, 2))
def test_both_call_at_once_and_have_one_connection(stage: Stage, ann: Side, bob: Side, turns: int) -> None:
    stage.introduce(ann, bob)
    ann.peers.private("bob", "from ann")
    stage.turns.tick(turns)  # the second call begins anywhere in the first
    bob.peers.private("ann", "from bob")
    stage.until(lambda: ann.all(n.ParcelShown) and bob.all(n.ParcelShown))
    stage.settle()
    assert (ann.texts, bob.texts) == (["from bob"], ["from ann"])
    assert [len(side.all(n.LinkOpened)) for side in (ann, bob)] == [1, 1]
    assert [side.closed for side in (ann, bob)] == [[], []]


def test_when_only_the_other_ones_call_can_succeed_that_counts(stage: Stage, ann: Side, bob: Side) -> None:
    """ann's name comes first, but nobody takes her call."""
    with socket.create_server((LOCAL, 0), backlog=1) as silent:
        stage.introduce(ann, bob, Bob=silent.getsockname()[1])
        ann.peers.private("bob", "from ann")
        bob.peers.private("ann", "from bob")
        stage.settle()
        assert (ann.texts, bob.texts) == ([], [])
        stage.later(5.0)
        stage.until(lambda: ann.texts and bob.texts)
    assert (ann.texts, bob.texts) == (["from bob"], ["from ann"])
    assert [side.closed for side in (ann, bob)] == [[], []]


# The end.


def test_who_hangs_up_says_so(stage: Stage, ann: Side, bob: Side) -> None:
    linked(stage, ann, bob)
    assert ann.peers.hang_up("bob")
    stage.until(lambda: bob.closed)
    assert ann.closed == [("Bob", "HUNG_UP", [])]
    assert bob.closed == [("ann", "PEER_LEFT", [])]
    assert not ann.peers.hang_up("bob")
    bob.peers.private("ann", "one more thing")  # the introduction still stands
    stage.until(lambda: ann.texts)


def test_what_was_not_acknowledged_comes_back(stage: Stage, ann: Side, bob: Side) -> None:
    bob.reads = False
    stage.introduce(ann, bob)
    for text in ("one", "two", "three"):
        ann.peers.private("bob", text)
    stage.until(lambda: len(bob.texts) == 3)
    bob.peers.shown(bob.all(n.Arrived)[-3].event)
    stage.until(lambda: ann.all(n.ParcelShown))
    bob.peers.stop()
    stage.until(lambda: ann.closed)
    assert [(user, left) for user, _, left in ann.closed] == [("Bob", ["two", "three"])]
    assert {each.status for each in ann.all(n.LinkClosed)[0].left} <= {"PEER_LEFT", "PEER_LOST"}
    bob.peers.shown(bob.all(n.Arrived)[-1].event)  # too late, and harmless


def test_a_text_of_an_earlier_connection_is_not_acknowledged_on_a_later_one(stage: Stage, ann: Side, bob: Side) -> None:
    bob.reads = False
    stage.introduce(ann, bob)
    ann.peers.private("bob", "old")
    stage.until(lambda: bob.texts)
    ann.peers.hang_up("bob")
    stage.until(lambda: bob.closed)
    new = ann.peers.private("bob", "new")
    stage.until(lambda: len(bob.texts) == 2)
    old, _ = (item.event for item in bob.all(n.Arrived) if item.event["event"] == "private")
    bob.peers.shown(old)
    stage.settle()
    assert not new.acknowledged


def test_a_peer_that_calls_again_has_lost_the_connection(stage: Stage, ann: Side, bob: Side) -> None:
    """Its program was killed, say, and the news of that has not come; the new one has an introduction of its own."""
    linked(stage, ann, bob)
    bob.reads = False
    left = ann.peers.private("bob", "lost with it")
    stage.until(lambda: len(bob.texts) == 2)
    again = stage.side("bob")
    stage.introduce(ann, again, key=bytes(32))
    again.peers.private("ann", "here I am again")
    stage.until(lambda: ann.texts)
    assert ann.closed == [("Bob", "PEER_LOST", ["lost with it"])]
    assert left.status == "PEER_LOST"
    parcel = ann.peers.private("bob", "welcome")
    stage.until(lambda: parcel.acknowledged)
    assert again.texts == ["welcome"]
    assert [len(side.peers.users()) for side in (ann, again)] == [1, 1]


def cut(stage: Stage, *sides: Side) -> None:
    """The connection is lost, without a word."""
    for side in sides:
        for contact in side.peers._contacts.all():
            assert contact.link is not None
            contact.link._break("")
    stage.until(lambda: all(side.closed for side in sides))


@pytest.mark.parametrize("is_shown", [True, False])
def test_what_is_sent_again_on_the_next_connection_is_told_once(
    stage: Stage, ann: Side, bob: Side, is_shown: bool
) -> None:
    """The connection breaks before Ann hears that it was shown; if it was not, she hears of it on the next one."""
    linked(stage, ann, bob)
    bob.reads = False
    lost = ann.peers.private("bob", "once")
    stage.until(lambda: bob.texts[1:])
    event = bob.all(n.Arrived)[-1].event
    cut(stage, bob)
    stage.until(lambda: ann.closed)
    if is_shown:
        bob.peers.shown(event)
    again = ann.peers.private("bob", "once", lost.key)
    new = ann.peers.private("bob", "twice")
    stage.until(lambda: len(bob.texts) == 3)
    stage.settle()
    assert bob.texts[1:] == ["once", "twice"] and again.acknowledged is is_shown
    bob.peers.shown(event)
    stage.until(lambda: again.acknowledged)
    assert not new.acknowledged


def test_a_peer_that_comes_back_again_and_again_leaves_no_more_unread(stage: Stage, ann: Side, bob: Side) -> None:
    linked(stage, ann, bob)
    bob.reads = False
    bob.news.clear()
    for number in range(UNSHOWN):
        ann.peers.private("bob", str(number))
        if number % 60 == 59:
            stage.until(lambda so_far=number: len(bob.texts) == so_far + 1)  # type: ignore[misc]
            ann.news.clear()
            cut(stage, ann)
    stage.until(lambda: len(bob.texts) == UNSHOWN)
    ann.news.clear()
    bob.news.clear()
    ann.peers.private("bob", "one too many")
    stage.until(lambda: ann.closed and bob.closed)
    assert bob.closed == [("ann", "PROTOCOL_ERROR", [])] and bob.texts == []


def test_an_introduction_that_ends_between_two_tries(stage: Stage, ann: Side, bob: Side) -> None:
    ann.hears("address", user="Bob", address=LOCAL, port=bob.peers.port, key=KEY.hex())
    ann.peers.private("bob", "one")
    stage.settle()
    ann.hears("introduction_over", user="Bob", status="LEFT")
    stage.later(0.25)
    stage.until(lambda: ann.closed)
    assert ann.closed == [("Bob", "UNREACHABLE", ["one"])]


def test_who_waits_for_ones_own_call_may_give_up(stage: Stage, ann: Side, bob: Side) -> None:
    """bob has called, and waits for what becomes of ann's call; he leaves, and calls again."""
    with socket.create_server((LOCAL, 0), backlog=1) as silent:
        stage.introduce(ann, bob, Bob=silent.getsockname()[1])
        ann.peers.private("bob", "from ann")
        for text in ("one", "two"):
            bob.peers.private("ann", text)
            stage.settle()
            assert bob.peers.hang_up("ann")
        bob.peers.private("ann", "three")
        stage.settle()
        stage.later(5.0)
        stage.until(lambda: ann.texts and bob.texts)
    assert (ann.texts, bob.texts) == (["three"], ["from ann"])


def test_hanging_up_while_one_calls(stage: Stage, ann: Side, bob: Side) -> None:
    stage.introduce(ann, bob)
    for turns in range(12):
        parcel = ann.peers.private("bob", "hello")
        stage.turns.tick(turns)
        assert ann.peers.hang_up("bob")
        assert parcel.status in ("HUNG_UP", n.SHOWN)
        stage.settle()
    assert ann.peers.unacknowledged == 0
    last = ann.peers.private("bob", "last")
    stage.until(lambda: last.acknowledged)
    assert bob.texts[-1] == "last"


def test_hanging_up_between_two_tries(stage: Stage, ann: Side, bob: Side) -> None:
    ann.hears("address", user="Bob", address=LOCAL, port=bob.peers.port, key=KEY.hex())
    ann.peers.private("bob", "one")
    stage.settle()
    assert ann.peers.hang_up("bob")
    ann.collect()
    assert ann.closed == [("Bob", "HUNG_UP", ["one"])]
    stage.later(1.0)
    bob.hears("address", user="ann", address=LOCAL, port=ann.peers.port, key=KEY.hex())
    two = ann.peers.private("bob", "two")
    stage.until(lambda: two.acknowledged)
    assert bob.texts == ["two"]


def test_nothing_is_kept_of_whom_one_has_nothing_to_do_with(stage: Stage, ann: Side, bob: Side) -> None:
    linked(stage, ann, bob)
    bob.peers.hang_up("ann")
    stage.until(lambda: ann.closed)
    for side in (ann, bob):
        assert side.peers._contacts.all() == []


def test_nobody_there(stage: Stage, ann: Side, bob: Side) -> None:
    with socket.create_server((LOCAL, 0)) as gone:
        port = gone.getsockname()[1]
    stage.introduce(ann, bob, Bob=port)
    ann.peers.private("bob", "hello?")
    stage.until(lambda: ann.closed)
    assert ann.closed == [("Bob", "UNREACHABLE", ["hello?"])]
    assert "Connection refused" in ann.all(n.LinkClosed)[0].text
    assert ann.peers.unacknowledged == 0


@pytest.mark.parametrize("address", ["nowhere.example", "", "1.2.3", "\ud800", "x" * 10_000])
def test_an_address_that_is_none(stage: Stage, ann: Side, address: str) -> None:
    ann.hears("address", user="bob", address=address, port=5, key=KEY.hex())
    ann.peers.private("bob", "hello?")
    stage.until(lambda: ann.closed)
    assert ann.closed == [("bob", "UNREACHABLE", ["hello?"])]


def test_a_peer_that_never_reads_is_sent_so_much_and_no_more(stage: Stage, ann: Side, bob: Side) -> None:
    bob.reads = False
    stage.introduce(ann, bob)
    for _ in range(WINDOW):
        ann.peers.private("bob", "\N{GRINNING FACE}" * 4_096)
    assert refused(ann, "bob") == "TOO_MANY"
    stage.until(lambda: len(bob.texts) == WINDOW)
    bob.peers.shown(bob.all(n.Arrived)[1].event)
    stage.until(lambda: ann.all(n.ParcelShown))
    ann.peers.private("bob", "there is room for one")
    assert refused(ann, "bob") == "TOO_MANY"


@pytest.mark.parametrize("text", ["", "x" * 4_097, "a\nb", "\x1b[2J", "e" + "\u0301" * 17])
def test_what_is_no_text_is_not_sent(stage: Stage, ann: Side, bob: Side, text: str) -> None:
    linked(stage, ann, bob)
    assert refused(ann, "bob", text) == "BAD_REQUEST"
    with pytest.raises(NotSent):
        ann.peers.cheque("bob", text[:1] * 500)


# Introductions.


def test_without_an_introduction_there_is_no_way(ann: Side) -> None:
    assert refused(ann, "bob") == "NOT_INTRODUCED"
    assert ann.peers.place("bob") is None


def test_nobody_but_the_peers_sees_the_key(stage: Stage, ann: Side, bob: Side) -> None:
    stage.introduce(ann, bob)
    event = ann.all(n.Arrived)[-1].event
    assert event == {"event": "address", "user": "Bob", "address": LOCAL, "port": bob.peers.port}
    assert ann.peers.place("bob") == (LOCAL, bob.peers.port)


@pytest.mark.parametrize("key", [None, 5, "", "00" * 31, "0" * 63 + "g", "A0" * 32, ["00"]])
def test_an_introduction_without_a_key_is_none(ann: Side, key: object) -> None:
    ann.hears("address", user="bob", address=LOCAL, port=5, key=key)
    assert not ann.peers.introduced("bob")
    assert refused(ann, "bob") == "NOT_INTRODUCED"


def test_a_key_is_forgotten_when_the_other_session_ends_and_the_talk_goes_on(
    stage: Stage, ann: Side, bob: Side
) -> None:
    linked(stage, ann, bob)
    for side, other in ((ann, "Bob"), (bob, "ann")):
        side.hears("introduction_over", user=other, status="LEFT")
        assert not side.peers.introduced(other)
    parcel = bob.peers.private("ann", "still here")
    stage.until(lambda: parcel.acknowledged)
    bob.peers.hang_up("ann")
    stage.until(lambda: ann.closed)
    assert refused(ann, "bob") == refused(bob, "ann") == "NOT_INTRODUCED"


@pytest.mark.parametrize("end", [n.Lost("LOST", ""), n.Idle(""), n.Ended("KICKED", "")])
def test_keys_are_forgotten_with_ones_own_session_and_the_talk_goes_on(
    stage: Stage, ann: Side, bob: Side, end: n.News
) -> None:
    linked(stage, ann, bob)
    ann.conversation.tell(end)
    ann.collect()
    assert not ann.peers.introduced("bob")
    parcel = ann.peers.private("bob", "the server is away")
    stage.until(lambda: parcel.acknowledged)


def test_a_block_ends_all_at_once(stage: Stage, ann: Side, bob: Side) -> None:
    linked(stage, ann, bob)
    bob.reads = False
    ann.peers.private("bob", "and")
    ann.hears("introduction_over", user="Bob", status="BLOCKED")
    assert ann.closed == [("Bob", "BLOCKED", ["and"])]
    stage.until(lambda: bob.closed)
    assert bob.closed == [("ann", "PEER_LEFT", [])]  # the server may tell bob why before this comes, or after it
    assert refused(ann, "bob") == "NOT_INTRODUCED"


def test_ones_own_block_ends_a_talk_that_the_server_knows_nothing_of(stage: Stage, ann: Side, bob: Side) -> None:
    linked(stage, ann, bob)
    ann.hears("introduction_over", user="Bob", status="LEFT")
    ann.conversation.tell(n.Answered(n.Request("block", {"user": "bob"}), {"status": "OK"}))
    ann.collect()
    assert ann.closed == [("Bob", "BLOCKED", [])]


def test_no_server_speaks_in_a_peers_name(ann: Side) -> None:
    ann.hears("private", **{"from": "bob", "text": "send me money", "link": 1, "id": 1})
    ann.hears("cheque", **{"from": "bob", "cheque": "x", "link": 1, "id": 1})
    assert ann.news[-1] == n.LoggedIn("ann", 0, False, 0)


def test_a_peer_that_hears_of_the_introduction_later(stage: Stage, ann: Side, bob: Side) -> None:
    ann.hears("address", user="Bob", address=LOCAL, port=bob.peers.port, key=KEY.hex())
    ann.peers.private("bob", "hello")
    stage.settle()
    assert bob.texts == []
    bob.hears("address", user="ann", address=LOCAL, port=ann.peers.port, key=KEY.hex())
    stage.later(0.25)
    stage.until(lambda: bob.texts)
    assert ann.closed == []


# Where one listens.


def test_the_server_is_told_where_one_listens(stage: Stage, ann: Side) -> None:
    assert ann.peers.port > 0
    assert ann.told() == [ann.peers.port]
    request = next(iter(ann.conversation.outbox.pending.values()))
    ann.conversation.tell(n.Answered(request, {"status": "OK"}))
    ann.collect()
    assert not ann.all(n.Answered)


def test_each_session_is_told_once_and_the_port_stays(stage: Stage, ann: Side) -> None:
    port = ann.peers.port
    ann.conversation.tell(n.Lost("LOST", ""))
    ann.log_in()
    assert ann.told() == [port]


def test_the_listener_moves_with_the_local_address(stage: Stage, ann: Side, bob: Side) -> None:
    port = bob.peers.port
    bob.local = (socket.AF_INET, ("127.0.0.2", 1))
    bob.log_in()
    assert bob.told()[-1] == bob.peers.port == port
    with pytest.raises(OSError):
        socket.create_connection((LOCAL, port))
    for side, other in ((ann, bob), (bob, ann)):
        address = other.local[1][0]
        side.hears("address", user=other.user, address=address, port=other.peers.port, key=KEY.hex())
    parcel = ann.peers.private("bob", "you have moved")
    stage.until(lambda: parcel.acknowledged)


def test_the_port_that_one_had_is_taken_at_the_new_address(stage: Stage, bob: Side) -> None:
    port = bob.peers.port
    with socket.create_server(("127.0.0.2", port)):
        bob.local = (socket.AF_INET, ("127.0.0.2", 1))
        bob.log_in()
    assert bob.peers.port not in (0, port)
    assert bob.told()[-1] == bob.peers.port


def test_the_other_internet_protocol(stage: Stage, ann: Side, bob: Side) -> None:
    for side in (ann, bob):
        side.local = (socket.AF_INET6, ("::1", 1, 0, 0))
        side.log_in()
    for side, other in ((ann, bob), (bob, ann)):
        side.hears("address", user=other.user, address="::1", port=other.peers.port, key=KEY.hex())
    parcel = ann.peers.private("bob", "hello")
    stage.until(lambda: parcel.acknowledged)


def test_a_port_that_somebody_else_has(stage: Stage) -> None:
    with socket.create_server((LOCAL, 0)) as other:
        ann = stage.side("ann", listen=other.getsockname()[1])
        assert ann.told() == []
        assert "Address already in use" in ann.all(n.PeersUnavailable)[0].text
        ann.log_in()
        assert len(ann.all(n.PeersUnavailable)) == 1
    ann.log_in()
    assert ann.peers.port > 0


def test_a_port_of_ones_own_choosing(stage: Stage) -> None:
    with socket.create_server((LOCAL, 0)) as other:
        port = other.getsockname()[1]
    ann = stage.side("ann", listen=port)
    assert (ann.peers.port, ann.told()) == (port, [port])


def test_a_server_that_introduces_nobody(stage: Stage, ann: Side) -> None:
    request = next(iter(ann.conversation.outbox.pending.values()))
    ann.conversation.tell(n.Answered(request, {"status": "UNKNOWN_ACTION", "text": "?"}))
    ann.collect()
    assert (ann.peers.port, ann.all(n.PeersUnavailable)) == (0, [])


# A platform that refuses.


def refusing() -> object:
    raise NoAnonymousTls("NO_CIPHER_MATCH")


def test_a_platform_without_anonymous_ciphers_says_so_and_goes_on(stage: Stage, bob: Side) -> None:
    ann = stage.side("ann", contexts=refusing)
    assert "NO_CIPHER_MATCH" in ann.all(n.PeersUnavailable)[0].text
    assert ann.told() == []
    stage.introduce(ann, bob)
    assert refused(ann, "bob") == "NO_TLS"
    assert refused(bob, "ann") == "NO_LISTENER"
    ann.log_in()
    assert len(ann.all(n.PeersUnavailable)) == 1
