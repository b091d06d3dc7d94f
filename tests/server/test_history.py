"""History: both sides of what went between people, in all or in one place, and where something waited."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from chatlib.core import history, mailboxes, streams
from chatlib.storage import messages
from tests.chance import new_chance
from tests.server.house import House, Peer

DAY = 86_400.0


def past(peer: Peer, count: int = 99, **fields: object) -> list[str]:
    """The whole of it, in pages, each line as ``from>to text``."""
    found: list[dict[str, Any]] = []
    page: dict[str, object] = {}
    while True:
        left = count - len(found) if count else 0
        reply = peer.ask("history", **{"count": left, **fields, **page})
        assert reply["status"] == "OK"
        found = reply["items"] + found
        if "next" not in reply:
            return [shown(item) for item in found]
        page = {"before": reply["next"]}


def shown(item: dict[str, Any]) -> str:
    to = f">{item['to']}" if "to" in item else ""
    return f"{item.get('from', '')}{to} {item.get('text', item.get('name'))}"


def where(peer: Peer) -> dict[str, int]:
    reply = peer.ask("unread")
    assert reply["status"] == "OK" and "next" not in reply
    return {item["place"]: item["count"] for item in reply["items"]}


def test_both_sides_in_their_order(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("message", to="facebook", text="one")
    facebook.ask("message", to="Columbia", text="two")
    columbia.ask("broadcast", text="three")
    columbia.ask("message", to="SEAS", text="four")
    assert past(columbia) == ["Columbia>facebook one", "facebook two", "Columbia three", "Columbia>SEAS four"]
    assert past(facebook) == ["Columbia one", "facebook>Columbia two", "Columbia three"]
    assert past(columbia, 2) == ["Columbia three", "Columbia>SEAS four"]
    for again in (house.crash, house.stop):
        again()
        house.restart()
        columbia = house.login("Columbia")
        assert past(columbia) == ["Columbia>facebook one", "facebook two", "Columbia three", "Columbia>SEAS four"]


def test_what_any_session_sent(build: Callable[..., House]) -> None:
    """Several sessions of a user have one past."""
    house = build(DUPLICATE_LOGIN="share", SESSIONS=3)
    facebook, desk, laptop = house.login("facebook"), house.login("Columbia"), house.login("Columbia")
    wanted = []
    for number in range(60):
        (desk, laptop)[number % 2].ask("message", to="facebook", text=f"sent {number}")
        wanted.append(f"Columbia>facebook sent {number}")
        if number % 3 == 0:
            facebook.ask("message", to="Columbia", text=f"back {number}")
            wanted.append(f"facebook back {number}")
    assert past(desk, 200) == past(laptop, 200) == past(laptop, 200, place="facebook") == wanted
    seen = [line.replace(">Columbia", "") for line in past(facebook, 200)]
    assert seen == [line.replace(">facebook", "") for line in wanted]
    desk.hang_up()
    house.settle()
    laptop.ask("message", to="facebook", text="alone")
    wanted.append("Columbia>facebook alone")
    for again in (house.save, house.crash, house.stop):
        again()
        if again != house.save:
            house.restart()
            desk, laptop = house.login("Columbia"), house.login("Columbia")
        assert past(laptop, 200) == wanted
    assert past(desk, 200) == wanted


def test_what_came_while_away_holds_nothing_that_one_sent(house: House) -> None:
    facebook, columbia = house.login("facebook"), house.login("Columbia")
    facebook.ask("alive", seen=0)
    columbia.ask("message", to="facebook", text="not seen")
    facebook.ask("message", to="Columbia", text="sent in between")
    facebook.hang_up()
    house.settle()
    columbia.ask("message", to="facebook", text="away")
    facebook = house.login("facebook")
    assert past(facebook, 0) == ["Columbia not seen", "Columbia away"]
    assert past(facebook, 0, place="columbia") == ["Columbia not seen", "Columbia away"]
    assert past(facebook, 0, place="SEAS") == []


def test_one_place(house: House) -> None:
    columbia, facebook, seas = (house.login(name) for name in ("Columbia", "facebook", "SEAS"))
    for number in range(3):
        columbia.ask("message", to="facebook", text=f"f{number}")
        facebook.ask("message", to="Columbia", text=f"c{number}")
        columbia.ask("message", to="SEAS", text=f"s{number}")
        seas.ask("broadcast", text=f"all {number}")
    with_facebook = [line for number in range(3) for line in (f"Columbia>facebook f{number}", f"facebook c{number}")]
    assert past(columbia, place="FACEBOOK") == with_facebook
    assert past(columbia, 3, place="facebook") == with_facebook[-3:]
    assert past(columbia, place="SEAS") == [f"Columbia>SEAS s{number}" for number in range(3)]
    assert past(facebook, place="SEAS") == []
    assert past(facebook, place="nobody") == []
    assert past(columbia, place="All") == ["SEAS all 0", "SEAS all 1", "SEAS all 2"]
    assert past(columbia, 1, place="all") == ["SEAS all 2"]
    seas.ask("block", user="Columbia")
    columbia.ask("broadcast", text="hidden")
    assert past(seas, 1, place="all") == ["SEAS all 2"] and past(facebook, 1, place="all") == ["Columbia hidden"]


def test_what_stands_in_a_thread_now(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("crt", title="Plans")
    for number in range(1, 5):
        columbia.ask("msg", title="plans", text=f"post {number}")
    columbia.ask("edt", title="plans", number=4, text="said anew")
    columbia.ask("dlt", title="plans", number=2)
    reply = facebook.ask("history", count=2, place="#PLANS")
    assert [(item["event"], item["thread"], item["number"], item["text"]) for item in reply["items"]] == [
        ("post", "Plans", 2, "post 3"), ("post", "Plans", 3, "said anew")
    ]  # fmt: skip
    assert "edited" in reply["items"][1] and "next" not in reply, "who does not follow may read it, too"
    assert past(facebook, place="#plans") == ["Columbia post 1", "Columbia post 3", "Columbia said anew"]
    before = reply["items"][0]["seq"]
    assert past(facebook, place="#plans", before=before) == ["Columbia post 1"]
    assert facebook.ask("history", count=2, place="#nothing")["status"] == "NO_SUCH_THREAD"
    long = "é" * 3_000
    for _ in range(30):
        columbia.ask("msg", title="plans", text=long)
    assert past(facebook, 31, place="#plans") == ["Columbia said anew", *[f"Columbia {long}"] * 30]


def test_messages_to_someone_who_is_gone_are_gone_on_both_sides(house: House) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    columbia.ask("message", to="SEAS", text="to be erased")
    columbia.ask("message", to="facebook", text="stays")
    seas.ask("message", to="Columbia", text="from the one who goes")
    seas.ask("logout")
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    rest = ["Columbia>facebook stays", "SEAS from the one who goes"]
    assert past(columbia) == rest
    house.register("SEAS")
    assert past(columbia) == rest, "another SEAS is somebody else"
    columbia.ask("message", to="SEAS", text="to the new one")
    assert past(columbia, place="SEAS") == ["SEAS from the one who goes", "Columbia>SEAS to the new one"]
    house.crash()
    house.restart()
    assert past(house.login("Columbia")) == [*rest, "Columbia>SEAS to the new one"]
    assert not any("cannot be read" in line for line in house.heard_by_admin())


def test_a_line_that_the_disk_lost_costs_itself_only(house: House) -> None:
    columbia = house.login("Columbia")
    for number in range(3):
        columbia.ask("message", to="facebook", text=f"text {number}")
    house.server.messages.flush()
    path = house.folder / "data" / "message_rep.txt"
    path.write_bytes(path.read_bytes().replace(b"text 1", b"text X"))
    assert [line.strip() for line in past(columbia)] == [
        "Columbia>facebook text 0",
        "Message 5 cannot be read: the server's disk has lost it. Its administrator was told.",
        "Columbia>facebook text 2",
    ]
    assert past(columbia, place="facebook") == ["Columbia>facebook text 0", "Columbia>facebook text 2"]


def test_old_messages_go_from_what_one_sent_too(build: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "SEGMENT", 1_200)
    monkeypatch.setattr(streams, "CHUNK", 4)
    monkeypatch.setattr(streams, "TAIL", 8)
    monkeypatch.setattr(mailboxes, "AT_ONCE", 2)
    house = build(KEEP_MESSAGES=10)
    columbia, texts = house.login("Columbia"), []
    for day in range(60):
        texts.append(f"Columbia>SEAS day {day}")
        columbia.ask("message", to="SEAS", text=f"day {day}")
        house.clock.wall_at_start += DAY
        house.settle()
    assert past(columbia) == texts
    house.save()
    kept = past(columbia)
    assert 10 <= len(kept) < 40 and kept == texts[-len(kept) :]
    house.crash()
    house.restart()
    assert past(house.login("Columbia")) == kept
    house.stop()
    house.restart()
    assert past(house.login("Columbia")) == kept


def test_a_home_says_what_was_sent_of_those_who_sent_something(house: House) -> None:
    columbia = house.login("Columbia")
    columbia.ask("message", to="SEAS", text="before")
    house.stop()
    lines = house.read("data/mailboxes.txt").splitlines(keepends=True)
    columns = json.loads(lines[2])
    assert columns[0] == "columbia" and len(columns) == 12, "an account that has sent something"
    assert all(len(json.loads(line)) == 8 for line in (lines[1], *lines[3:])), "others are as they always were"


def test_a_page_of_one_place_looks_at_so_many_messages(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LOOKED_AT", 10)
    columbia = house.login("Columbia")
    columbia.ask("message", to="facebook", text="long ago")
    for number in range(40):
        columbia.ask("message", to="SEAS", text=str(number))
    reply = columbia.ask("history", count=5, place="facebook")
    assert reply["items"] == [] and reply["next"]
    assert past(columbia, 5, place="facebook") == ["Columbia>facebook long ago"]


def test_pages_of_both_sides_are_lines_that_fit(house: House) -> None:
    columbia = house.login("Columbia")
    for number in range(1_500):
        columbia.say({"action": "message", "to": "facebook", "text": f"{number}"})
    columbia.read_until(lambda: len(columbia.hear_all("message")) == 1_500)
    assert [line.split()[1] for line in past(columbia, 1_500)] == [str(number) for number in range(1_500)]


def test_anything_in_any_order(house: House) -> None:
    """Each place's history is what went there, of all that was said."""
    chance, names = new_chance(), ("Columbia", "facebook", "SEAS")
    peers = {name: house.login(name) for name in names}
    said: list[tuple[str, str, str]] = []
    for number in range(200):
        sender, to = chance.choice(names), chance.choice((*names, "all"))
        if to == "all":
            peers[sender].ask("broadcast", text=str(number))
        elif to != sender:
            peers[sender].ask("message", to=to, text=str(number))
        if to != sender:
            said.append((sender, to, str(number)))
    for name, peer in peers.items():
        mine = [one for one in said if name in one[:2] or one[1] == "all"]
        for other in (name for name in names if name != peer.name):
            two = [text for sender, to, text in mine if {sender, to} == {name, other}]
            assert [line.split()[1] for line in past(peer, 99, place=other)] == two[-99:]
        assert [line.split()[1] for line in past(peer, 150)] == [text for _, _, text in mine][-150:]


# Where something waited.


def test_where_something_waited(house: House) -> None:
    columbia, seas, facebook = (house.login(name) for name in ("Columbia", "SEAS", "facebook"))
    columbia.ask("crt", title="Plans")
    facebook.ask("follow", title="plans")
    facebook.ask("block", user="SEAS")
    columbia.ask("message", to="facebook", text="seen")
    facebook.ask("alive", seen=facebook.hear()[-1]["seq"])
    assert where(facebook) == {}
    facebook.ask("logout")
    house.settle()
    for number in range(3):
        columbia.ask("message", to="facebook", text=str(number))
        seas.ask("broadcast", text="hidden")
    google = house.login("Google")
    google.ask("message", to="facebook", text="hi")
    google.ask("msg", title="plans", text="hi")
    google.ask("msg", title="plans", text="hi again")
    columbia.ask("broadcast", text="to all")
    seas.ask("msg", title="plans", text="hidden")
    facebook = house.greet()
    assert facebook.prove("login", "facebook")["unread"] == 7
    waited = {"Columbia": 3, "#Plans": 2, "Google": 1, "all": 1}
    assert where(facebook) == waited and list(where(facebook))[:2] == ["Columbia", "#Plans"], "the most first"
    columbia.ask("message", to="facebook", text="now")
    facebook.ask("alive", seen=facebook.hear()[-1]["seq"])
    house.pass_time(3)
    assert where(facebook) == waited, "as long as one is here"
    facebook.ask("logout")
    assert where(house.login("facebook")) == {}


def test_of_very_many_the_latest_say_from_whom(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "NAMED", 10)
    monkeypatch.setattr(history, "PLACES", 1)
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    for number in range(20):
        seas.ask("message", to="facebook", text=str(number))
    for number in range(7):
        columbia.ask("message", to="facebook", text=str(number))
    assert where(house.login("facebook")) == {"Columbia": 7, "": 20}
