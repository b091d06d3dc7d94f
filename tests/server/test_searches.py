"""Searching: what is found is what one may read, it comes in pages, and nobody else waits for it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from chatlib.server import searches
from chatlib.storage import messages
from tests.chance import new_chance
from tests.server.house import House, Peer

Build = Callable[..., House]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short story has many windows and segments."""
    monkeypatch.setattr(searches, "WINDOW", 300)
    monkeypatch.setattr(messages, "SEGMENT", 1_200)


@pytest.fixture(params=["rare", "dense"])
def density(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the words, or the user's own lines, are what is looked for first."""
    if request.param == "dense":
        monkeypatch.setattr(searches, "WINDOW", 2_000)
        monkeypatch.setattr(searches, "_MANY", 1)


def ask(peer: Peer, action: str, **fields: Any) -> dict[str, Any]:
    """As Peer.ask, of what takes several ticks."""
    before = len(peer.hear_all(action))
    peer.say({"action": action, **fields})
    peer.read_until(lambda: len(peer.hear_all(action)) > before)
    return peer.hear_all(action)[before]


def hits(peer: Peer, words: str, **fields: Any) -> list[str]:
    """All of them, in pages, the newest first."""
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {}
    while True:
        reply = ask(peer, "search", words=words, **fields, **page)
        assert reply["status"] == "OK", reply
        found += reply["items"]
        if "next" not in reply:
            return [shown(item) for item in found]
        page = {"before": reply["next"]}


def shown(item: dict[str, Any]) -> str:
    place = f"#{item['thread']} " if "thread" in item else ""
    to = f">{item['to']}" if "to" in item else ""
    return f"{place}{item.get('from', '')}{to} {item.get('text', item.get('name'))}"


@pytest.mark.usefixtures("density")
def test_what_one_may_read(house: House) -> None:
    columbia, facebook, seas = (house.login(name) for name in ("Columbia", "facebook", "SEAS"))
    columbia.ask("message", to="facebook", text="a needle for facebook")
    facebook.ask("message", to="Columbia", text="no such thing")
    seas.ask("broadcast", text="NEEDLES for all")
    facebook.ask("message", to="SEAS", text="Needle, and thread")
    assert hits(columbia, "needle") == ["SEAS NEEDLES for all", "Columbia>facebook a needle for facebook"]
    assert hits(facebook, "needle") == [
        "facebook>SEAS Needle, and thread", "SEAS NEEDLES for all", "Columbia a needle for facebook"
    ]  # fmt: skip
    assert hits(house.login("Google"), "needle") == ["SEAS NEEDLES for all"]
    assert hits(facebook, "thread needle") == ["facebook>SEAS Needle, and thread"], "all of the words"
    assert hits(facebook, "needle haystack") == []
    house.register("late")
    assert hits(house.login("late"), "needle") == [], "what was said before is not for a newcomer"


@pytest.mark.parametrize("word", ["event", "message", "seq", "time", "from", "text", "Columbia", "all", "17", "seqs"])
def test_what_is_no_text_is_not_found(house: House, word: str) -> None:
    columbia = house.login("Columbia")
    for _ in range(150):
        columbia.ask("message", to="facebook", text="hi")
    columbia.ask("broadcast", text="hi")
    assert hits(columbia, word) == []
    columbia.ask("broadcast", text=f"about {word}s")
    assert hits(columbia, word) == [f"Columbia about {word}s"]


@pytest.mark.usefixtures("density")
def test_what_a_block_hid_stays_hidden(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("broadcast", text="needle 1")
    facebook.ask("block", user="Columbia")
    columbia.ask("broadcast", text="needle 2")
    facebook.ask("unblock", user="Columbia")
    columbia.ask("broadcast", text="needle 3")
    assert hits(facebook, "needle") == ["Columbia needle 3", "Columbia needle 1"]


@pytest.mark.usefixtures("density")
def test_threads_are_found_as_they_stand_now(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("crt", title="Plans")
    for text in ("needle 1", "needle 2", "haystack", "needle 4"):
        columbia.ask("msg", title="plans", text=text)
    columbia.ask("edt", title="plans", number=1, text="only hay")
    columbia.ask("edt", title="plans", number=3, text="a new needle")
    columbia.ask("edt", title="plans", number=3, text="a newer needle")
    columbia.ask("dlt", title="plans", number=2)
    assert hits(facebook, "needle") == ["#Plans Columbia a newer needle", "#Plans Columbia needle 4"]
    assert hits(facebook, "only hay") == ["#Plans Columbia only hay"]
    columbia.ask("rmv", title="plans")
    assert hits(facebook, "needle") == []
    columbia.ask("crt", title="Plans")
    assert hits(columbia, "needle") == [], "another thread of that title"


@pytest.mark.usefixtures("density")
def test_somebody_new_under_a_name_finds_nothing_of_the_old_one(house: House) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    columbia.ask("message", to="SEAS", text="needle to the old one")
    seas.ask("message", to="Columbia", text="needle of the old one")
    seas.ask("broadcast", text="needle for all")
    seas.ask("logout")
    house.server.effects.step = lambda: False  # type: ignore[method-assign]  # nothing is erased yet
    assert house.greet().prove("deregister", "SEAS")["status"] == "OK"
    left = ["SEAS needle for all", "SEAS needle of the old one"]
    assert hits(columbia, "needle") == left
    house.register("SEAS")
    assert hits(house.login("SEAS"), "needle") == []
    assert hits(columbia, "needle") == left


@pytest.mark.usefixtures("density")
def test_pages(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    for number in range(250):
        columbia.ask("message", to="facebook", text=f"{'needle' if number % 2 else 'hay'} {number}")
    wanted = [f"Columbia needle {number}" for number in range(249, 0, -2)]
    assert hits(facebook, "needle") == wanted, "of a hundred"
    assert hits(facebook, "needle", count=7) == wanted
    reply = ask(facebook, "search", words="needle", count=2)
    assert [shown(item) for item in reply["items"]] == wanted[:2]
    columbia.ask("message", to="facebook", text="a needle meanwhile")
    reply = ask(facebook, "search", words="needle", count=2, before=reply["next"])
    assert [shown(item) for item in reply["items"]] == wanted[2:4]
    for before in (0, 1, 93, 1_000, 1_001, 10**15):
        assert ask(facebook, "search", words="needle", before=before)["status"] == "OK", "any number will do"
    assert ask(facebook, "search", words="needle", before=0)["items"] == []


def test_a_page_looks_through_so_much(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "LOOKED_AT", 2_000)
    columbia = house.login("Columbia")
    columbia.ask("broadcast", text="needle")
    for number in range(60):
        columbia.ask("broadcast", text=f"hay {number}")
    reply = ask(columbia, "search", words="needle")
    assert reply["items"] == [] and reply["next"]
    assert hits(columbia, "needle") == ["Columbia needle"]


def test_long_texts_fill_a_page_that_is_a_line(house: House) -> None:
    columbia = house.login("Columbia")
    texts = [f'needle {number} "{"é" * 4_000}' for number in range(30)]
    for text in texts:
        columbia.ask("message", to="facebook", text=text)
    assert hits(columbia, "needle") == [f"Columbia>facebook {text}" for text in texts[::-1]]


def test_words_that_are_refused(house: House) -> None:
    columbia = house.login("Columbia")
    for words in ("", "a", "a needle", "x" * 201, "needle\n", "nee\x1bdle", " ".join(["hi"] * 17), 7, None):
        reply = columbia.ask("search", words=words)
        assert reply["status"] == "BAD_REQUEST" and '"words"' in reply["text"], words
    assert columbia.ask("search")["status"] == "BAD_REQUEST"
    assert columbia.ask("whoelse")["status"] == "OK"


def test_after_a_crash_and_when_old_messages_went(build: Build) -> None:
    house = build(KEEP_MESSAGES=10)
    columbia = house.login("Columbia")
    for day in range(40):
        columbia.ask("message", to="SEAS", text=f"needle {day}")
        house.clock.wall_at_start += 86_400.0
        house.settle()
    assert len(hits(columbia, "needle")) == 40
    house.save()
    kept = hits(columbia, "needle")
    assert 10 <= len(kept) < 30 and kept[0] == "Columbia>SEAS needle 39"
    house.crash()
    house.restart()
    assert hits(house.login("Columbia"), "needle") == kept


def test_a_line_that_the_disk_lost_is_not_found(house: House) -> None:
    columbia = house.login("Columbia")
    for number in range(3):
        columbia.ask("message", to="facebook", text=f"needle {number}")
    house.server.messages.flush()
    path = house.folder / "data" / "message_rep.txt"
    path.write_bytes(path.read_bytes().replace(b"needle 1", b"needle X"))
    assert hits(columbia, "needle") == ["Columbia>facebook needle 2", "Columbia>facebook needle 0"]


# Others.


def busy(house: House, monkeypatch: pytest.MonkeyPatch, count: int = 400) -> None:
    """So much is stored that a search takes many ticks: each look at the clock is half a millisecond later."""
    clock = [0.0]

    def perf_counter() -> float:
        clock[0] += 0.0005
        return clock[0]

    monkeypatch.setattr(searches, "perf_counter", perf_counter)
    google = house.login("Google")
    google.ask("broadcast", text="needle")
    google.say(*({"action": "broadcast", "text": f"hay {number}"} for number in range(count)))
    google.read_until(lambda: len(google.hear_all("broadcast")) >= count)
    google.hang_up()
    house.settle()


def test_others_do_not_wait_for_a_search(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    busy(house, monkeypatch)
    columbia.say({"action": "search", "words": "needle"})
    house.tick(3)
    for number in range(5):
        facebook.say({"action": "message", "to": "SEAS", "text": "meanwhile"}, {"action": "whoelse"})
        house.tick(2)
        assert facebook.hear_all("message") and facebook.hear_all("whoelse"), number
    assert not columbia.hear_all("search"), "it goes on"
    assert hits(columbia, "needle") == ["Google needle"]


@pytest.mark.skipif(sys.platform != "linux", reason="only there a disk can be asked without waiting for it")
@pytest.mark.parametrize("never", [False, True])
def test_nobody_waits_for_a_slow_disk(house: House, monkeypatch: pytest.MonkeyPatch, never: bool) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    columbia.ask("message", to="facebook", text="a needle")
    monkeypatch.setattr(searches, "_PATIENCE", 20)
    asked, preadv = [0], os.preadv

    def slow(*words: Any) -> int:
        asked[0] += 1
        if never or asked[0] % 10:
            raise BlockingIOError
        return preadv(*words)

    monkeypatch.setattr(os, "preadv", slow)
    columbia.say({"action": "search", "words": "needle"})
    house.tick(5)
    assert asked[0] > 1 and not columbia.hear_all("search") and facebook.ask("whoelse")["status"] == "OK"
    assert hits(facebook, "needle") == ["Columbia a needle"]
    columbia.read_until(lambda: bool(columbia.hear_all("search")))
    assert len(columbia.hear_all("search")[0]["items"]) == 1


def test_what_the_connection_asks_for_meanwhile_is_answered_behind_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    columbia = house.login("Columbia")
    busy(house, monkeypatch)
    requests = [{"action": "message", "to": "facebook", "text": "x"}, {"action": "search", "words": "needle"},
                {"action": "whoelse"}, {"action": "search", "words": "hay 7"}, {"action": "nonsense"},
                {"action": "list_users"}, {"action": "search", "words": "x"}] * 2  # fmt: skip
    columbia.say(*({**request, "id": number} for number, request in enumerate(requests)))
    columbia.end()
    columbia.read_until(lambda: columbia.closed)
    assert [message["id"] for message in columbia.heard if "id" in message] == list(range(14))
    assert len(house.server.searches) == 0


def test_several_sessions_of_a_user_search_one_after_the_other(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build(DUPLICATE_LOGIN="share", SESSIONS=3)
    desk, laptop, phone = (house.login("Columbia") for _ in range(3))
    desk.ask("message", to="facebook", text="a needle")
    busy(house, monkeypatch)
    for peer in (desk, phone, laptop):
        peer.say({"action": "search", "words": "needle"})
    house.tick(3)
    assert len(house.server.searches) == 1
    phone.hang_up()
    wanted = ["Google needle", "Columbia>facebook a needle"]
    for peer in (desk, laptop):
        peer.read_until(lambda: bool(peer.hear_all("search")))  # noqa: B023
        assert [shown(item) for item in peer.hear_all("search")[0]["items"]] == wanted
    assert hits(laptop, "needle") == hits(desk, "needle") == wanted


def test_all_who_search_take_turns(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [house.login(name) for name in ("Columbia", "facebook", "SEAS")]
    busy(house, monkeypatch)
    for peer in peers:
        peer.say({"action": "search", "words": "needle"})
    house.tick(2)
    assert len(house.server.searches) == 3
    done: dict[str, int] = {}
    for tick in range(5_000):
        house.tick()
        done = {**{peer.name: tick for peer in peers if peer.hear_all("search")}, **done}
        if len(done) == 3:
            break
    first, *_, last = sorted(done.values())
    assert len(done) == 3 and last - first < first / 2, "nobody is far behind"


@pytest.mark.parametrize("end", ["hang up", "kick", "half", "stop"])
def test_a_session_that_ends_in_the_middle(house: House, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    columbia = house.login("Columbia")
    busy(house, monkeypatch)
    columbia.say({"action": "search", "words": "needle"}, {"action": "search", "words": "hay"})
    house.tick(3)
    assert len(house.server.searches) == 1
    if end == "hang up":
        columbia.hang_up()
    elif end == "kick":
        house.admin("kick Columbia")
    elif end == "half":
        columbia.end()
    else:
        assert house.stop() == ""
        return
    house.settle()
    columbia.read_until(lambda: len(house.server.searches) == 0)
    assert ("Columbia" in house.server.delivery.sessions) is False
    found = columbia.hear_all("search") if end != "hang up" else []
    assert len(found) == (2 if end == "half" else 0)
    assert hits(house.login("Columbia"), "needle") == ["Google needle"]


def test_a_fault_costs_its_own_search(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    columbia = house.login("Columbia")
    columbia.ask("broadcast", text="needle")
    with monkeypatch.context() as patch:
        patch.setattr(searches, "found", lambda *_: 1 // 0)
        assert ask(columbia, "search", words="needle")["status"] == "INTERNAL"
    assert any("ZeroDivisionError" in line for line in house.heard_by_admin())
    assert hits(columbia, "needle") == ["Columbia needle"]


def test_a_search_counts_for_more_than_one_request(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    house = build(RATE_LIMIT=1_000)
    columbia = house.login("Columbia")
    busy(house, monkeypatch)
    bucket = house.server.delivery.sessions["columbia"].intake.bucket
    before = bucket.fill(1_000, house.server.loop.now)
    assert hits(columbia, "needle") == ["Google needle"]
    assert bucket.fill(1_000, house.server.loop.now) < before - 50


@pytest.mark.usefixtures("density")
def test_it_equals_a_plain_list(house: House) -> None:
    """Of anything said in any order, what has the words is found, newest first."""
    chance, names = new_chance(), ("Columbia", "facebook", "SEAS")
    peers = {name: house.login(name) for name in names}
    said: list[tuple[str, str, str]] = []
    alphabet = ["ab", "Ab", "äb", "ÄB", 'a"b', "ba", "\\b", "x"]
    for number in range(150):
        sender, to = chance.choice(names), chance.choice((*names, "all"))
        text = f"{''.join(chance.choices(alphabet, k=3))} {number}"
        if to == "all":
            peers[sender].ask("broadcast", text=text)
        elif to != sender:
            peers[sender].ask("message", to=to, text=text)
        if to != sender:
            said.append((sender, to, text))
    for words in ("ab", "äb", 'a"b', "\\b ab", "bäb", "xx ab ba"):
        for name, peer in peers.items():
            plain = [text for sender, to, text in said[::-1] if to == "all" or name in (sender, to)
                     if all(word.lower() in text.lower() for word in words.split())]  # fmt: skip
            assert [json.loads(json.dumps(line)).split(" ", 1)[1] for line in hits(peer, words, count=9)] == plain


def test_a_search_may_begin_in_the_middle_of_any_line(house: House) -> None:
    """Also where only a part of a checksum is left, in which the word happens to stand."""
    facebook = house.login("facebook")
    facebook.ask("message", to="SEAS", text="it is the last one")
    last = house.read("data/message_rep.txt").splitlines()[-1]
    begins = house.server.world.store_end - len(last) - 1
    for cut in range(2, len(last), 2):
        words = last[cut - 2 : cut] if cut <= 8 else "last"
        reply = ask(facebook, "search", words=words, before=begins + cut)
        assert (reply["status"], reply["items"]) == ("OK", [])
