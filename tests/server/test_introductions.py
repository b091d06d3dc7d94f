"""Introductions: who is asked, who is told whose address with which key, and when that is over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from chatlib.server import introductions
from chatlib.server.catchup import CatchUp
from chatlib.server.introductions import ASKING, ASKS
from tests.server.house import House, Peer

Talk = Callable[..., None]
HEARD: WeakKeyDictionary[Peer, int] = WeakKeyDictionary()  # how many of these each peer was asked for
HAPPENS = ("address_asked", "address", "address_refused", "introduction_over")
C, F, G = "10.0.0.1", "10.0.0.2", "10.0.0.3"


@pytest.fixture(autouse=True)
def sound(house: House) -> Iterator[None]:
    """After each test: each ask and each introduction stands with both, and nothing is kept of those who have left."""
    yield
    if not house.running:
        return
    house.settle()
    people = house.server.introductions._people
    for user, person in people.items():
        logins = {session.login for session in house.server.delivery.of(user)}
        assert logins and person.ports.keys() | set(person.at.values()) <= logins
        assert {ask.login for ask in person.asks.values()} <= logins and person.at.keys() == person.keys.keys()
        for other, ask in person.asks.items():
            assert people[other].asked_by[user] is ask and ask.timer.call is not None
        assert all(people[other].asks[user] is ask for other, ask in person.asked_by.items())
        assert all(people[other].keys[user] == key for other, key in person.keys.items())
        assert not person.asks.keys() & person.keys.keys(), "who is introduced needs no asking"


def come(house: House, name: str, address: str, port: int = 4_000, client: str | None = None) -> Peer:
    """Logged in, with a listener."""
    peer = house.login(name, client, address=address)
    assert peer.ask("listen", port=port)["status"] == "OK"
    peer.hear()
    return peer


def three(house: House) -> tuple[Peer, Peer, Peer]:
    found = come(house, "Columbia", C, 4_001), come(house, "facebook", F, 4_002), come(house, "Google", G, 4_003)
    for peer in found:
        peer.hear()
    return found


def heard(peer: Peer) -> list[Any]:
    """What it has heard of introductions since this was last asked."""
    found = [event for event in peer.events if event["event"] in HAPPENS]
    fresh, HEARD[peer] = found[HEARD.get(peer, 0) :], len(found)
    return fresh


def said(peer: Peer) -> list[str]:
    """The same in short."""
    peer.house.settle()
    return [" ".join(filter(None, (one["event"], one.get("user", one.get("from")), one.get("status"))))
            for one in heard(peer)]  # fmt: skip


def introduce(one: Peer, other: Peer) -> str:
    """The key of a new introduction."""
    assert one.ask("getaddress", user=other.user)["status"] == "ASKED"
    assert other.ask("yes", user=one.user)["status"] == "OK"
    keys = {message["key"] for peer in (one, other) for message in heard(peer) if message["event"] == "address"}
    assert len(keys) == 1
    return str(keys.pop())


def known(peer: Peer) -> dict[str, str]:
    """Whose address `list` shows."""
    items = peer.ask("list")["items"]
    return {item["user"]: f"{item['address']}#{item['port']}" for item in items if "address" in item}


# Asked and answered.


def test_consent_is_asked_for_and_given(house: House, talk: Talk) -> None:
    columbia, facebook, google = three(house)
    talk(
        """
        f> {"action":"getaddress","id":1,"user":"COLUMBIA"}
        f< {"action":"getaddress","id":1,"status":"ASKED","user":"Columbia","seconds":60}
        c< {"event":"address_asked","from":"facebook","seconds":60}
        (59 seconds)
        c> {"action":"yes","id":2,"user":"Facebook"}
        c< {"action":"yes","id":2,"status":"OK","user":"facebook"}
        c< {"event":"address","user":"facebook","address":"10.0.0.2","port":4002,"key":"$key"}
        f< {"event":"address","user":"Columbia","address":"10.0.0.1","port":4001,"key":"$key"}
        (61 seconds)
        c> {"action":"yes","user":"facebook"}
        c> {"action":"no","user":"facebook"}
        c< {"action":"yes","status":"NOT_ASKED","text":"\\"facebook\\" is not waiting for an answer of yours."}
        c< {"action":"no","status":"NOT_ASKED"}
        """,
        c=columbia, f=facebook, g=google,
    )  # fmt: skip


def test_keys_are_random_and_of_32_bytes(house: House) -> None:
    columbia, facebook, google = three(house)
    keys = {introduce(facebook, columbia), introduce(facebook, google), introduce(google, columbia)}
    assert len(keys) == 3 and all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)


def test_consent_is_refused_and_the_same_user_does_not_ask_all_the_time(house: House, talk: Talk) -> None:
    columbia, facebook, google = three(house)
    talk(
        """
        f> {"action":"getaddress","user":"columbia"}
        f< {"action":"getaddress","status":"ASKED","user":"Columbia","seconds":60}
        c< {"event":"address_asked","from":"facebook","seconds":60}
        f> {"action":"getaddress","user":"columbia"}
        f< {"action":"getaddress","status":"ALREADY_ASKED","seconds":60}
        c> {"action":"no","user":"facebook"}
        c< {"action":"no","status":"OK","user":"facebook"}
        f< {"event":"address_refused","user":"Columbia","status":"REFUSED","text":"\\"Columbia\\" has refused."}
        c> {"action":"yes","user":"facebook"}
        c< {"action":"yes","status":"NOT_ASKED"}
        (20 seconds)
        f> {"action":"getaddress","user":"columbia"}
        f< {"action":"getaddress","status":"ALREADY_ASKED","seconds":40}
        (40 seconds)
        f> {"action":"getaddress","user":"columbia"}
        f< {"action":"getaddress","status":"ASKED","user":"Columbia","seconds":60}
        c< {"event":"address_asked","from":"facebook","seconds":60}
        """,
        c=columbia, f=facebook, g=google,
    )  # fmt: skip


def test_nothing_after_60_seconds_means_no(house: House, talk: Talk) -> None:
    columbia, facebook, _ = three(house)
    talk(
        """
        f> {"action":"getaddress","user":"columbia"}
        f< {"action":"getaddress","status":"ASKED","user":"Columbia","seconds":60}
        c< {"event":"address_asked","from":"facebook","seconds":60}
        (59 seconds)
        (1 second)
        f< {"event":"address_refused","user":"Columbia","status":"NO_ANSWER","text":"\\"Columbia\\" has not answered."}
        c> {"action":"yes","user":"facebook"}
        c< {"action":"yes","status":"NOT_ASKED"}
        f> {"action":"getaddress","user":"columbia"}
        f< {"action":"getaddress","status":"ASKED","user":"Columbia","seconds":60}
        c< {"event":"address_asked","from":"facebook","seconds":60}
        """,
        c=columbia, f=facebook,
    )  # fmt: skip


def test_who_cannot_be_asked(house: House) -> None:
    columbia, facebook, google = three(house)
    google.ask("listen", port=0)
    facebook.ask("block", user="google")
    refused = [columbia.ask("getaddress", user=user) for user in ("nobody", "columbia", "SEAS", "google")]
    assert [(reply["status"], reply["text"]) for reply in refused] == [
        ("NO_SUCH_USER", 'There is no user "nobody".'),
        ("SELF_ADDRESS", "You know your own address!"),
        ("NOT_ONLINE", '"SEAS" is not online.'),
        ("NO_LISTENER", '"Google" takes no direct connections.'),
    ]
    assert google.ask("getaddress", user="facebook")["text"] == '"facebook" has blocked you: nothing was asked.'
    assert facebook.ask("getaddress", user="google")["text"] == 'You have blocked "Google": unblock that user first.'
    facebook.ask("logout")
    assert google.ask("getaddress", user="facebook")["status"] == "BLOCKED", "as to a message: also when not online"
    assert google.ask("getaddress", user="no blanks")["text"].startswith('Field "user" must be a user\'s name: ')
    assert google.ask("listen", port=65_536)["text"] == 'Field "port" must be a port: a whole number from 0 to 65535.'
    assert said(google) == said(columbia) == []


def test_who_takes_no_direct_connections_may_still_ask(house: House) -> None:
    columbia, facebook = come(house, "Columbia", C, 0), come(house, "facebook", F, 4_002)
    assert columbia.ask("getaddress", user="facebook")["status"] == "ASKED"
    facebook.ask("yes", user="columbia")
    assert [message["port"] for message in heard(facebook)[1:]] == [0]
    assert [message["port"] for message in heard(columbia)] == [4_002]


def test_two_who_ask_each_other_need_no_answer(house: House) -> None:
    columbia, facebook, google = three(house)
    assert columbia.ask("getaddress", user="facebook")["status"] == "ASKED"
    assert facebook.ask("getaddress", user="columbia") == {"action": "getaddress", "status": "OK", "user": "Columbia"}
    assert said(columbia) == ["address facebook"]
    assert said(facebook) == ["address_asked Columbia", "address Columbia"]
    assert google.ask("getaddress", user="facebook")["status"] == "ASKED"
    facebook.ask("no", user="google")
    assert facebook.ask("getaddress", user="google")["status"] == "ASKED", "who was refused is asked, too"


def test_an_introduction_that_stands_is_said_once_more_to_who_asks(house: House) -> None:
    columbia, facebook, _ = three(house)
    key = introduce(columbia, facebook)
    columbia.ask("listen", port=5_000)
    assert facebook.ask("getaddress", user="columbia")["status"] == "OK"
    again = {"event": "address", "user": "Columbia", "address": C, "port": 5_000, "key": key}
    assert (heard(facebook), heard(columbia)) == ([again], [])


def test_the_reply_comes_before_the_event_also_behind_a_change(house: House) -> None:
    columbia, facebook, google = three(house)
    facebook.ask("allow", user="columbia")
    columbia.say({"action": "message", "to": "facebook", "text": "hi"}, {"action": "getaddress", "user": "facebook"},
                 {"action": "block", "user": "facebook"})  # fmt: skip
    house.settle()
    told = [message.get("action", message.get("event")) for message in columbia.hear()]
    assert told == ["message", "getaddress", "block", "introduction_over"], "a block takes back what was not said yet"
    facebook.ask("allow", user="google")
    google.say({"action": "message", "to": "facebook", "text": "hi"}, {"action": "getaddress", "user": "facebook"},
               {"action": "unblock", "user": "facebook"})  # fmt: skip
    house.settle()
    assert [message.get("action", message.get("event")) for message in google.hear()] == [
        "message", "getaddress", "unblock", "address"
    ]  # fmt: skip


def test_who_is_still_handed_what_waited_hears_of_introductions_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    columbia = come(house, "Columbia", C)
    columbia.ask("message", to="facebook", text="hi")
    monkeypatch.setattr(CatchUp, "go_on", lambda *_: None)  # its turn does not come
    facebook = come(house, "facebook", F)
    assert not house.server.delivery.sessions["facebook"].listening
    introduce(columbia, facebook)
    assert facebook.texts == []


# Departures.


@pytest.mark.parametrize("leave", [
    lambda house, peer: peer.ask("logout"), lambda house, peer: peer.hang_up(), lambda house, peer: peer.end(),
    lambda house, peer: house.admin("kick facebook"),
    lambda house, peer: (house.edit("credentials.txt", "facebook", "# facebook"), house.reload()),
])  # fmt: skip
def test_all_of_it_ends_with_either_session(house: House, leave: Callable[[House, Peer], object]) -> None:
    columbia, facebook, google = three(house)
    seas = come(house, "SEAS", "10.0.0.4")
    introduce(columbia, facebook)
    assert google.ask("getaddress", user="facebook")["status"] == "ASKED"
    assert facebook.ask("getaddress", user="seas")["status"] == "ASKED"
    leave(house, facebook)
    assert said(columbia) == ["introduction_over facebook LEFT"]
    assert said(google) == ["address_refused facebook NOT_ONLINE"]
    assert said(seas) == ["address_asked facebook"]
    assert seas.ask("yes", user="facebook")["status"] == "NOT_ASKED"
    house.pass_time(ASKING + 1)
    assert said(columbia) == said(google) == said(seas) == []
    assert house.server.introductions._people.keys() == {"columbia", "google", "seas"}


@pytest.mark.parametrize("client", [None, "the same"])
def test_a_session_that_takes_over_begins_anew(build: Callable[..., House], client: str | None) -> None:
    house = build(DUPLICATE_LOGIN="replace")
    columbia, facebook = come(house, "Columbia", C), come(house, "facebook", F, client=client)
    introduce(columbia, facebook)
    again = house.login("facebook", client, address=G)
    assert said(columbia) == ["introduction_over facebook LEFT"]
    assert known(again) == {} and said(again) == []
    assert columbia.ask("getaddress", user="facebook")["status"] == "NO_LISTENER"
    again.ask("listen", port=9)
    assert columbia.ask("getaddress", user="facebook")["status"] == "ASKED"
    again.ask("yes", user="columbia")
    assert [(one["address"], one["port"]) for one in heard(columbia)] == [(G, 9)]


def test_an_answer_that_crosses_a_departure_harms_nobody(house: House) -> None:
    columbia, facebook, google = three(house)
    for peer in (columbia, google):
        assert peer.ask("getaddress", user="facebook")["status"] == "ASKED"
    columbia.say({"action": "logout"})
    facebook.say({"action": "yes", "user": "columbia"})
    house.settle()
    facebook.say({"action": "logout"}, {"action": "yes", "user": "google"})
    house.settle()
    assert said(google) == ["address_refused facebook NOT_ONLINE"]
    columbia.hear(), facebook.hear()
    assert columbia.heard[-1]["event"] == facebook.heard[-1]["event"] == "bye", "nothing follows it"


def test_a_name_that_is_registered_anew_has_none_of_it(house: House) -> None:
    columbia, facebook, google = three(house)
    columbia.ask("allow", user="facebook")
    facebook.ask("allow", user="google")
    introduce(google, columbia)
    facebook.ask("logout")
    assert house.greet().prove("deregister", "facebook")["status"] == "OK"
    house.register("FaceBook")
    facebook = come(house, "FaceBook", F)
    assert facebook.ask("allowed")["items"] == columbia.ask("allowed")["items"] == []
    assert facebook.ask("getaddress", user="columbia")["status"] == "ASKED"
    assert google.ask("getaddress", user="facebook")["status"] == "ASKED"
    assert known(facebook).keys() == {"FaceBook"}


# Blocks.


def test_a_block_by_either_ends_an_introduction_at_once(house: House) -> None:
    for by, of in (("Columbia", "facebook"), ("facebook", "Columbia")):
        peers = {"Columbia": come(house, "Columbia", C), "facebook": come(house, "facebook", F)}
        introduce(peers["Columbia"], peers["facebook"])
        assert peers[by].ask("block", user=of)["status"] == "OK"
        for name, other in (("Columbia", "facebook"), ("facebook", "Columbia")):
            assert said(peers[name]) == [f"introduction_over {other} BLOCKED"]
        assert known(peers[by]).keys() == {by} and known(peers[of]).keys() == {of}
        peers[by].ask("unblock", user=of)
        assert peers[of].ask("getaddress", user=by)["status"] == "ASKED", "it is as if they had never met"
        for peer in peers.values():
            peer.ask("logout")


def test_a_block_by_either_answers_what_was_asked(house: House) -> None:
    columbia, facebook, google = three(house)
    assert columbia.ask("getaddress", user="facebook")["status"] == "ASKED"
    assert google.ask("getaddress", user="columbia")["status"] == "ASKED"
    columbia.ask("block", user="facebook")
    columbia.ask("block", user="google")
    assert said(columbia) == ["address_asked Google", "address_refused facebook BLOCKED"]
    assert said(google) == ["address_refused Columbia BLOCKED"]
    assert facebook.ask("yes", user="columbia")["status"] == "NOT_ASKED"
    assert columbia.ask("yes", user="google")["status"] == "NOT_ASKED"
    house.pass_time(ASKING + 1)
    assert [said(peer) for peer in (columbia, facebook, google)] == [[], ["address_asked Columbia"], []]


@pytest.mark.parametrize("policy", ["open", "consent"])
def test_who_blocks_in_the_tick_of_the_question_is_neither_asked_nor_told(house: House, policy: str) -> None:
    columbia, facebook, _ = three(house)
    house.admin(f"change ADDRESS_POLICY {policy}")
    columbia.say({"action": "getaddress", "user": "facebook"})
    facebook.say({"action": "block", "user": "columbia"})
    house.settle()
    if policy == "open":
        assert columbia.reply("getaddress")["status"] == "OK"
        assert said(columbia) == ["introduction_over facebook BLOCKED"]
        assert said(facebook) == ["introduction_over Columbia BLOCKED"]
    else:
        assert columbia.reply("getaddress")["status"] == "ASKED"
        assert (said(columbia), said(facebook)) == (["address_refused facebook BLOCKED"], [])


def test_a_block_ends_an_allowance_for_good(house: House) -> None:
    columbia, facebook, _ = three(house)
    assert columbia.ask("allow", user="facebook")["status"] == "OK"
    columbia.ask("block", user="facebook")
    assert columbia.ask("allow", user="facebook")["status"] == "YOU_BLOCK"
    columbia.ask("unblock", user="facebook")
    assert columbia.ask("allowed")["items"] == []
    assert facebook.ask("getaddress", user="columbia")["status"] == "ASKED"


# Allowances.


def test_a_standing_allowance_spares_the_question_also_after_a_restart(house: House) -> None:
    for stop in (house.crash, house.stop, house.crash):
        columbia, facebook = come(house, "Columbia", C), come(house, "facebook", F)
        assert columbia.ask("allow", user="FACEBOOK")["user"] == "facebook"
        assert columbia.ask("allowed")["items"] == ["facebook"]
        assert facebook.ask("getaddress", user="columbia")["status"] == "OK"
        assert (said(facebook), said(columbia)) == (["address Columbia"], ["address facebook"])
        assert columbia.ask("getaddress", user="facebook")["status"] == "OK"
        stop()
        house.restart()
        columbia, facebook = come(house, "Columbia", C), come(house, "facebook", F)
        assert facebook.ask("getaddress", user="columbia")["status"] == "OK"
        assert columbia.ask("disallow", user="facebook")["status"] == "OK"
        facebook.ask("logout"), columbia.ask("logout")
    house.save()
    assert "facebook" not in house.read("data/allow_rep.txt")


def test_an_allowance_is_a_yes_to_what_was_asked_and_disallow_is_for_the_future(house: House) -> None:
    columbia, facebook, _ = three(house)
    assert facebook.ask("getaddress", user="columbia")["status"] == "ASKED"
    columbia.ask("allow", user="facebook")
    assert (said(facebook), said(columbia)) == (["address Columbia"], ["address_asked facebook", "address facebook"])
    columbia.ask("disallow", user="facebook")
    assert said(facebook) == said(columbia) == []
    assert facebook.ask("getaddress", user="columbia")["status"] == "OK", "the introduction stands"


# The policy.


def test_open_introduces_whoever_asks_and_never_nobody(house: House) -> None:
    columbia, facebook, google = three(house)
    house.admin("change ADDRESS_POLICY open")
    assert columbia.ask("getaddress", user="facebook")["status"] == "OK"
    assert (said(columbia), said(facebook)) == (["address facebook"], ["address Columbia"])
    facebook.ask("block", user="google"), facebook.hear()
    assert google.ask("getaddress", user="facebook")["status"] == "BLOCKED"
    house.admin("change ADDRESS_POLICY never")
    assert google.ask("getaddress", user="columbia")["text"] == "This server tells nobody's address."
    columbia.ask("allow", user="google")
    assert google.ask("getaddress", user="columbia")["status"] == "ADDRESSES_CLOSED"
    assert said(columbia) == said(facebook) == [], "introductions that stand go on"
    assert house.admin("change ADDRESS_POLICY maybe") == [
        "Error! ADDRESS_POLICY must be consent, open or never, not 'maybe'."
    ]


@pytest.mark.parametrize("at_once", [1, 64])
def test_what_was_asked_is_decided_by_a_new_policy(
    house: House, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """A few in each tick: there may be thousands."""
    monkeypatch.setattr(introductions, "SAID", at_once)
    columbia, facebook, google = three(house)
    for policy, came in (("open", "address columbia"), ("never", "address_refused Columbia ADDRESSES_CLOSED")):
        house.admin("change ADDRESS_POLICY consent")
        assert facebook.ask("getaddress", user="columbia")["status"] == "ASKED"
        assert google.ask("getaddress", user="columbia")["status"] == "ASKED"
        columbia.ask("no", user="google")
        heard(google)
        house.admin("change TIME_OUT 3000")
        assert said(facebook) == []
        house.admin(f"change ADDRESS_POLICY {policy}")
        assert [one.lower() for one in said(facebook)] == [came.lower()]
        assert said(google) == [], "a refusal is a refusal"
        house.pass_time(ASKING)
        facebook.ask("block", user="columbia"), facebook.ask("unblock", user="columbia")
        heard(facebook), heard(columbia)


# Limits.


def crowd(house: House, count: int) -> list[Peer]:
    names = [f"user{number}" for number in range(count)]
    house.register(*names)
    return [come(house, name, C) for name in names]


def test_nobody_is_flooded_with_questions_and_nobody_asks_everybody(house: House) -> None:
    columbia, *others = come(house, "Columbia", C), *crowd(house, ASKS + 1)
    for peer in others[:-1]:
        assert peer.ask("getaddress", user="columbia")["status"] == "ASKED"
    refused = others[-1].ask("getaddress", user="columbia")
    assert (refused["status"], refused["text"]) == (
        "TOO_MANY_REQUESTS", '"Columbia" has been asked by 16 others: wait a minute.'
    )
    columbia.ask("yes", user=others[0].user)
    assert others[-1].ask("getaddress", user="columbia")["status"] == "ASKED", "there is room again"
    columbia.ask("no", user=others[1].user)
    others[2].ask("logout")
    for peer in others[3:]:
        assert columbia.ask("getaddress", user=peer.user)["status"] == "OK", "asked back"
    house.pass_time(ASKING)
    for peer in others[3:]:
        peer.ask("logout")
    fresh = [come(house, peer.user, C) for peer in others[2:]] + [come(house, "SEAS", C), come(house, "Google", C)]
    replies = [columbia.ask("getaddress", user=peer.user) for peer in fresh]
    assert [reply["status"] for reply in replies] == ["ASKED"] * ASKS + ["TOO_MANY_REQUESTS"]
    assert replies[-1]["text"] == "You have asked 16 users who have not agreed: wait a minute."
    house.pass_time(ASKING)
    assert columbia.ask("getaddress", user="google")["status"] == "ASKED"


def test_nobody_is_introduced_to_everybody(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introductions, "KNOWN", 1)
    columbia, facebook, google = three(house)
    assert google.ask("getaddress", user="columbia")["status"] == "ASKED"
    introduce(columbia, facebook)
    refused = columbia.ask("yes", user="google")
    assert (refused["status"], refused["text"]) == (
        "TOO_MANY_REQUESTS", '"Columbia" has been introduced to 1 users.'
    )
    facebook.ask("logout")
    assert columbia.ask("yes", user="google")["status"] == "OK"


def test_what_follows_from_one_leaving_is_said_over_many_ticks(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introductions, "SAID", 1)
    house.admin("change ADDRESS_POLICY open")
    columbia, facebook, google = three(house)
    for peer in (facebook, google):
        assert peer.ask("getaddress", user="columbia")["status"] == "OK"
        heard(peer)
    columbia.say({"action": "logout"})
    told = []
    for _ in range(50):
        house.tick()
        told.append(sum(bool(heard(peer)) for peer in (facebook, google)))
    assert sum(told) == 2 and max(told) == 1


# The list.


def test_list_shows_addresses_to_those_who_may_know_them(house: House) -> None:
    columbia, facebook, google = three(house)
    seas = house.login("SEAS")
    assert columbia.ask("list") == {
        "action": "list", "status": "OK", "balance": 10_000, "online": 4,
        "items": [{"user": "Columbia", "address": C, "port": 4_001}, {"user": "facebook"}, {"user": "Google"},
                  {"user": "SEAS"}],
    }  # fmt: skip
    facebook.ask("allow", user="columbia")
    introduce(google, columbia)
    assert known(columbia) == {"Columbia": f"{C}#4001", "facebook": f"{F}#4002", "Google": f"{G}#4003"}
    assert known(facebook).keys() == {"facebook"}, "an allowance is one-sided"
    house.admin("change ADDRESS_POLICY open")
    assert known(seas).keys() == {"Columbia", "facebook", "Google"}
    facebook.ask("listen", port=0)
    google.ask("block", user="seas")
    assert known(seas).keys() == {"Columbia"} and seas.ask("list")["online"] == 3, "who blocks the asker is not shown"
    assert known(google).keys() == {"Columbia", "Google"}, "whom one blocks has no address"
    house.admin("change ADDRESS_POLICY never")
    assert known(columbia).keys() == {"Columbia", "Google"}, "only who was introduced"


def test_a_list_comes_in_pages_that_are_lines(build: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introductions, "PAGE", 2)
    house = build(ADDRESS_POLICY="open")
    columbia = three(house)[0]
    page = columbia.ask("list")
    assert ([item["user"] for item in page["items"]], page["next"]) == (["Columbia", "facebook"], "facebook")
    page = columbia.ask("list", after="facebook")
    assert ([item["user"] for item in page["items"]], page["online"], "next" in page) == (["Google"], 3, False)


# Secrets.


def test_no_key_is_ever_on_disk(build: Callable[..., House]) -> None:
    house = build(ADDRESS_POLICY="consent")
    columbia, facebook, google = three(house)
    keys = [introduce(columbia, facebook)]
    google.ask("allow", user="columbia")
    columbia.ask("getaddress", user="google"), columbia.ask("getaddress", user="facebook")
    keys += [message["key"] for message in heard(google)]
    house.save()
    facebook.ask("logout"), columbia.ask("block", user="google")
    house.admin("stats", "online users", "all users")
    shown = "".join(house.said) + repr(house.server.introductions._people)
    everything = house.log().encode()
    for stop in (lambda: None, house.stop):
        stop()
        everything += b"".join(path.read_bytes() for path in house.folder.rglob("*") if path.is_file())
    assert len(keys) == 2 and b'"action": "block"' in everything, "the journal is among it"
    for key in keys:
        assert key not in shown and key.encode() not in everything and bytes.fromhex(key) not in everything


# Several sessions.


def shared(build: Callable[..., House]) -> tuple[Peer, Peer, Peer]:
    """columbia, and facebook at a desk and with a laptop; both listen."""
    house = build(DUPLICATE_LOGIN="share")
    return (come(house, "Columbia", C, 4_001), come(house, "facebook", F, 4_002), come(house, "facebook", G, 4_003))


def test_all_sessions_are_asked_and_the_one_that_answers_is_introduced(build: Callable[..., House]) -> None:
    columbia, desk, laptop = shared(build)
    assert columbia.ask("getaddress", user="facebook")["status"] == "ASKED"
    assert said(desk) == said(laptop) == ["address_asked Columbia"]
    assert desk.ask("yes", user="columbia")["status"] == "OK"
    assert laptop.ask("yes", user="columbia")["status"] == "NOT_ASKED"
    (told,), (here,) = heard(columbia), heard(desk)
    assert (told["address"], told["port"]) == (F, 4_002) and (here["address"], here["port"]) == (C, 4_001)
    assert told["key"] == here["key"] and said(laptop) == []
    laptop.ask("logout")
    assert said(columbia) == [] and known(columbia)["facebook"] == f"{F}#4002"
    desk.hang_up()
    assert said(columbia) == ["introduction_over facebook LEFT"]


def test_whoever_need_not_ask_is_introduced_to_the_one_that_began_to_listen_last(build: Callable[..., House]) -> None:
    columbia, desk, laptop = shared(build)
    desk.ask("allow", user="columbia")
    assert known(columbia)["facebook"] == f"{G}#4003"
    assert columbia.ask("getaddress", user="facebook")["status"] == "OK"
    assert [one["address"] for one in heard(columbia)] == [G]
    assert said(desk) == [] and said(laptop) == ["address Columbia"]
    laptop.ask("listen", port=0)
    assert columbia.ask("getaddress", user="facebook")["status"] == "OK", "the introduction stands"
    assert [(one["address"], one["port"]) for one in heard(columbia)] == [(G, 0)]
    laptop.hang_up()
    assert said(columbia) == ["introduction_over facebook LEFT"]
    assert columbia.ask("getaddress", user="facebook")["status"] == "OK"
    assert [one["address"] for one in heard(columbia)] == [F]


def test_one_that_does_not_listen_may_say_yes_for_the_one_that_does(build: Callable[..., House]) -> None:
    columbia, desk, laptop = shared(build)
    laptop.ask("listen", port=0)
    assert columbia.ask("getaddress", user="facebook")["status"] == "ASKED"
    said(desk), said(laptop)
    assert laptop.ask("yes", user="columbia")["status"] == "OK"
    assert said(desk) == ["address Columbia"] and said(laptop) == []
    assert [one["address"] for one in heard(columbia)] == [F]


def test_the_session_that_asks_is_the_one_that_is_introduced(build: Callable[..., House]) -> None:
    columbia, desk, laptop = shared(build)
    assert desk.ask("getaddress", user="columbia")["status"] == "ASKED"
    assert laptop.ask("getaddress", user="columbia")["status"] == "ALREADY_ASKED"
    columbia.ask("yes", user="facebook")
    (first,) = [one for one in heard(columbia) if one["event"] == "address"]
    assert first["address"] == F and said(desk) == ["address Columbia"] and said(laptop) == []
    assert laptop.ask("getaddress", user="columbia")["status"] == "OK", "it need not be asked again"
    assert said(desk) == ["introduction_over Columbia LEFT"]
    (again,), (here,) = heard(columbia), heard(laptop)
    assert again["address"] == G and again["key"] == here["key"] != first["key"]
    desk.hang_up()
    assert said(columbia) == []
    columbia.ask("block", user="facebook")
    assert said(columbia) == ["introduction_over facebook BLOCKED"]
    assert said(laptop) == ["introduction_over Columbia BLOCKED"]


def test_what_a_session_asked_ends_with_it_and_what_was_asked_of_its_user_goes_on(build: Callable[..., House]) -> None:
    columbia, desk, laptop = shared(build)
    assert desk.ask("getaddress", user="columbia")["status"] == "ASKED"
    desk.hang_up()
    columbia.house.settle()
    assert columbia.ask("yes", user="facebook")["status"] == "NOT_ASKED"
    assert columbia.ask("getaddress", user="facebook")["status"] == "ASKED"
    again = columbia.house.login("facebook", address=F)
    laptop.hang_up()
    assert said(columbia)[-1] == "address_refused facebook NO_LISTENER"
    again.ask("listen", port=7)
    assert columbia.ask("getaddress", user="facebook")["status"] == "ASKED"
    again.hang_up()
    assert said(columbia) == ["address_refused facebook NOT_ONLINE"]
