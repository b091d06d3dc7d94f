"""Messages, presence, lists in pages, history, and what waited for people who were away."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatlib.server.presence import QUIET
from tests.server.house import PASSWORD, House, Peer

Talk = Callable[..., None]


def test_a_conversation(house: House, talk: Talk) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    talk(
        """
        f> {"action":"message","id":1,"to":"csee4119","text":"hi"}
        f> {"action":"message","id":2,"to":"SEAS","text":"I want to try off-line message~"}
        f< {"action":"message","id":1,"status":"NO_SUCH_USER","text":"There is no user \\"csee4119\\"."}
        f< {"action":"message","id":2,"status":"OK","seq":"$1","delivered":false}
        f> {"action":"broadcast","text":"It's me facebook ~"}
        f< {"event":"broadcast","seq":"$2","time":"*","from":"facebook","text":"It's me facebook ~"}
        f< {"action":"broadcast","status":"OK","seq":"$2","undelivered":0}
        c< {"event":"broadcast","seq":"$2","time":"*","from":"facebook","text":"It's me facebook ~"}
        """,
        c=columbia,
        f=facebook,
    )
    seas = house.greet("seas")
    reply = seas.prove("login", "SEAS")
    assert reply["unread"] == 2
    assert [(e["event"], e["text"], e["offline"]) for e in seas.events] == [
        ("message", "I want to try off-line message~", True), ("broadcast", "It's me facebook ~", True),
    ]  # fmt: skip
    assert [peer.events[-1]["user"] for peer in (columbia, facebook)] == ["SEAS", "SEAS"]


def test_a_text_arrives_with_all_that_its_script_needs_and_without_heaps_of_marks(house: House) -> None:
    columbia, seas = house.login("Columbia"), house.login("SEAS")
    for text in ("می\u200cخواهم", "ക്\u200d", "👨\u200d⚕\ufe0f", "e" + "\u0301" * 16):
        assert columbia.ask("message", to="SEAS", text=text)["status"] == "OK"
        assert seas.events[-1]["text"] == text
    assert columbia.ask("message", to="SEAS", text="e" + "\u0301" * 17) == {
        "action": "message", "status": "BAD_REQUEST",
        "text": 'Field "text" must be a text of 1 to 4,096 characters without control characters, with at most 16'
                " combining marks in a row.",
    }  # fmt: skip


def test_presence_is_hidden_from_whom_one_blocks(house: House) -> None:
    columbia, facebook, google = (house.login(user) for user in ("Columbia", "facebook", "Google"))
    google.ask("block", user="facebook")
    columbia.hear(), facebook.hear()
    house.pass_time(QUIET)
    google.ask("logout")
    house.pass_time(QUIET)
    google = house.login("Google")
    told = [(e["user"], e["online"]) for e in columbia.events][-2:]
    assert told == [("Google", False), ("Google", True)]
    assert [e for e in facebook.hear() if e.get("event") == "presence"] == []
    assert facebook.ask("whoelse")["items"] == ["Columbia"]
    assert facebook.ask("wholasthr")["items"] == ["Columbia"]
    assert {"user": "Google", "online": False} in facebook.ask("list_users")["items"]
    assert columbia.ask("online")["items"] == ["facebook", "Google"]


def test_presence_is_told_whatever_the_cause(house: House) -> None:
    watcher = house.login("SEAS")
    watcher.ask("alive", seen=0)
    for number, leave in enumerate((Peer.hang_up, Peer.end, lambda peer: peer.ask("logout"),
                                    lambda _: house.admin("kick columbia"))):  # fmt: skip
        peer = house.login("Columbia")
        house.pass_time(QUIET)
        leave(peer)
        house.pass_time(QUIET)
        watcher.ask("alive")
        told = [(e["user"], e["online"]) for e in watcher.events if e["event"] == "presence"]
        assert told == [("Columbia", True), ("Columbia", False)] * (number + 1)


def test_above_the_presence_limit_nobody_is_told(build: Callable[..., House]) -> None:
    house = build(PRESENCE_LIMIT=2)
    columbia, _ = house.login("Columbia"), house.login("facebook")
    google = house.login("Google")
    google.ask("logout")
    house.settle()
    assert [(e["user"], e["online"]) for e in columbia.events] == [("facebook", True), ("Google", False)]


def test_who_was_here_lately(build: Callable[..., House]) -> None:
    house = build(LAST_HOUR=3600, TIME_OUT=100_000)
    columbia = house.login("Columbia")
    house.login("facebook").ask("logout")
    house.pass_time(1_800, 600)
    house.login("Google").ask("logout")
    house.pass_time(1_700, 850)
    assert columbia.ask("wholasthr")["items"] == ["facebook", "Google"], "within the hour, never oneself"
    assert columbia.ask("wholasthr", minutes=30)["items"] == ["Google"]
    assert columbia.ask("wholasthr", minutes=0.5)["items"] == []
    house.pass_time(200, 100)
    assert columbia.ask("wholasthr")["items"] == ["Google"]
    house.crash()
    house.restart()
    assert house.login("facebook").ask("wholasthr")["items"] == ["Columbia", "Google"], "it outlives a crash"


def test_history(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    for number in range(5):
        columbia.ask("message", to="facebook", text=f"seen {number}")
    facebook.ask("alive", seen=facebook.hear()[-1]["seq"])
    facebook.ask("logout")
    columbia.ask("message", to="facebook", text="away 1")
    columbia.ask("broadcast", text="away 2")
    facebook = house.login("facebook")
    columbia.ask("message", to="facebook", text="live")

    def texts(**fields: int) -> list[str]:
        return [event["text"] for event in facebook.ask("history", **fields)["items"]]

    assert texts(count=0) == ["away 1", "away 2"]
    assert texts(count=3) == ["away 1", "away 2", "live"]
    assert texts(count=99) == [*(f"seen {number}" for number in range(5)), "away 1", "away 2", "live"]
    before = facebook.ask("history", count=3)["items"][0]["seq"]
    assert texts(count=2, before=before) == ["seen 3", "seen 4"]
    own = columbia.ask("history", count=3)["items"]
    assert [(event["text"], event.get("to")) for event in own] == [
        ("away 1", "facebook"), ("away 2", None), ("live", "facebook")
    ]  # fmt: skip


def test_history_comes_in_pages(house: House) -> None:
    columbia = house.login("Columbia")
    texts = [f"{number} " + "é" * 3_000 for number in range(60)]
    for text in texts:
        columbia.ask("message", to="facebook", text=text)
    facebook = house.login("facebook")
    for count in (60, 0):
        found: list[str] = []
        left, before, pages = count, {}, 0
        while True:
            page = facebook.ask("history", count=left, **before)
            found = [event["text"] for event in page["items"]] + found
            pages += 1
            if "next" not in page:
                break
            left, before = (left - len(page["items"]) if count else 0), {"before": page["next"]}
        assert found == texts and pages > 3


def test_lists_of_1500_users_come_in_pages(build: Callable[..., House]) -> None:
    names = tuple(f"u{number:04d}" for number in range(1_500))
    house = build(users=names)
    peer = house.login("u0700")
    found: list[str] = []
    reply = peer.ask("list_users")
    while True:
        found += [entry["user"] for entry in reply["items"]]
        if "next" not in reply:
            break
        reply = peer.ask("list_users", after=reply["next"])
    assert tuple(found) == names
    assert [entry for entry in peer.ask("list_users", after="u0698")["items"] if entry["online"]] == [
        {"user": "u0700", "online": True}
    ]


def test_thousands_of_offline_messages_while_new_ones_arrive(house: House) -> None:
    columbia = house.login("Columbia")
    offline = [f"offline {number}" for number in range(4_000)]
    while offline_sent := [text for text in offline[len(columbia.hear_all("message")) :]][:1_000]:
        columbia.say(*({"action": "message", "to": "facebook", "text": text} for text in offline_sent))
        house.settle()
    facebook = house.greet("facebook")
    exchange, challenge = facebook.challenge("login", "facebook")
    facebook.say({"action": "login", "scram": facebook.final(exchange, challenge, PASSWORD)})
    live: list[str] = []
    while len(facebook.texts) < 2_000:
        live.append(f"live {len(live)}")
        columbia.say({"action": "message" if len(live) % 2 else "broadcast", "text": live[-1],
                      **({"to": "facebook"} if len(live) % 2 else {})})  # fmt: skip
        house.tick()
        columbia.hear()
    assert len(live) > 3, "some must have come in between"
    facebook.read_until(lambda: len(facebook.texts) >= 4_000 + len(live))
    assert facebook.texts == offline + live
    seqs = [event["seq"] for event in facebook.events if "seq" in event]
    assert seqs == sorted(set(seqs))
    flags = [event.get("offline", False) for event in facebook.events if "seq" in event]
    assert flags == [True] * 4_000 + [False] * len(live), "offline: what came before the login"


def test_what_was_not_acknowledged_comes_again(house: House) -> None:
    columbia, facebook = house.login("Columbia"), house.login("facebook")
    facebook.ask("alive", seen=0)
    seqs = [columbia.ask("message", to="facebook", text=str(number))["seq"] for number in range(5)]
    facebook.ask("alive", seen=seqs[1])
    facebook.hang_up()
    house.settle()
    facebook = house.login("facebook")
    assert facebook.texts == ["2", "3", "4"]
    assert facebook.ask("alive", seen=10**9)["status"] == "OK", "more than there is acknowledges what there is"
    columbia.ask("message", to="facebook", text="5")
    facebook.hang_up()
    house.settle()
    facebook = house.login("facebook")
    assert facebook.texts == ["5"]
    facebook.ask("logout", seen=facebook.heard[-1]["seq"])
    assert house.login("facebook").texts == []


def test_acknowledgements_are_one_record_a_second_and_outlive_a_crash(house: House) -> None:
    columbia, facebook, google = (house.login(user) for user in ("Columbia", "facebook", "Google"))
    seq = columbia.ask("broadcast", text="x")["seq"]
    house.pass_time(1)
    before = house.server.journal.given
    for _ in range(50):
        for peer in (facebook, google, columbia):
            peer.ask("alive", seen=seq)
    assert house.server.journal.given == before
    house.pass_time(1)
    assert house.server.journal.given <= before + 1
    house.crash()
    house.restart()
    assert [house.login(user).texts for user in ("facebook", "Google", "Columbia")] == [[], [], []]


def test_for_a_client_that_never_acknowledges_taken_is_seen(house: House) -> None:
    columbia = house.login("Columbia")
    house.login("facebook")
    columbia.ask("message", to="facebook", text="x")
    house.pass_time(2)
    house.crash()
    house.restart()
    assert house.login("facebook").texts == []


# Fan-out: a simple model says what each client sees.

_NAMES = ("a", "b", "c", "d")
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(("broadcast", "message", "block", "unblock", "login", "logout", "hang up", "tick", "tick")),
        st.sampled_from(_NAMES),
        st.sampled_from(_NAMES),
    ),
    max_size=40,
)


class Model:
    """What each user's client must have seen, in order: (event, from or user, text or online)."""

    def __init__(self) -> None:
        self.online: dict[str, list[tuple[str, str, object]]] = {}
        self.mail: dict[str, list[tuple[str, str, object]]] = {name: [] for name in _NAMES}
        self.blocks: set[tuple[str, str]] = set()

    def tell(self, name: str, event: tuple[str, str, object]) -> None:
        """To `name`, now or later; presence is for now only."""
        if name in self.online:
            self.online[name].append(event)
        elif event[0] != "presence":
            self.mail[name].append(event)

    def presence(self, name: str, online: bool) -> None:
        for other in self.online:
            if other != name and not {(name, other), (other, name)} & self.blocks:
                self.tell(other, ("presence", name, online))

    def say(self, action: str, name: str, other: str, text: str) -> None:
        if action == "broadcast":
            for reader in _NAMES:
                if (reader, name) not in self.blocks:
                    self.tell(reader, ("broadcast", name, text))
        elif action == "message" and other != name and (other, name) not in self.blocks:
            self.tell(other, ("message", name, text))
        elif action == "block" and other != name:
            self.blocks.add((name, other))
        elif action == "unblock":
            self.blocks.discard((name, other))

    def login(self, name: str) -> None:
        self.online[name] = [*self.mail[name]]
        self.mail[name].clear()
        self.presence(name, True)


def _seen(peer: Peer) -> list[tuple[str, str, object]]:
    return [(e["event"], e.get("user") or e.get("from"), e["online"] if e["event"] == "presence" else e["text"])
            for e in peer.events]  # fmt: skip


@settings(suppress_health_check=list(HealthCheck))
@given(steps=_STEPS, disk=st.booleans())
def test_every_client_sees_what_the_model_says_in_order(
    build: Callable[..., House], monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, str, str]], disk: bool
) -> None:
    """Many requests in one commit, by many, between logins and departures. A connection's requests arrive together, so
    the model is asked in that order, too."""
    monkeypatch.setattr("chatlib.server.presence.QUIET", 0.0)
    house = build(users=_NAMES)
    model, peers = Model(), {}
    waiting: dict[str, list[tuple[str, str, str]]] = {}

    def run_tick() -> None:
        house.settle()
        if not disk:
            house.disk.fast = False
        for name, lines in waiting.items():
            for action, other, text in lines:
                fields = {"to": other} if action == "message" else {"user": other} if "block" in action else {}
                if action in ("message", "broadcast"):
                    fields["text"] = text
                peers[name].say({"action": action, **fields})
            house.tick()  # its requests come after those of the one before, but in the same commit on a slow disk
            for action, other, text in lines:
                model.say(action, name, other, text)
        waiting.clear()
        while house.disk.waiting:
            house.disk.release()
            house.settle()
        house.disk.fast = True
        house.settle()

    for number, (action, name, other) in enumerate(steps):
        if action == "tick":
            run_tick()
        elif action == "login" and name not in peers:
            run_tick()
            peers[name] = house.login(name)
            model.login(name)
        elif action in ("logout", "hang up") and name in peers:
            run_tick()
            assert _seen(peers[name]) == model.online[name]
            peer = peers.pop(name)
            peer.hang_up() if action == "hang up" else peer.ask("logout")
            house.settle()
            del model.online[name]
            model.presence(name, False)
        elif action in ("broadcast", "message", "block", "unblock") and name in peers:
            waiting.setdefault(name, []).append((action, other, f"{number}"))
    run_tick()
    for name, peer in peers.items():
        assert _seen(peer) == model.online[name]
        seqs = [event["seq"] for event in peer.events if "seq" in event]
        assert seqs == sorted(set(seqs))
    house.close()
    house.running = False


def test_what_users_write_in_other_cases_is_the_same_user(house: House) -> None:
    columbia, facebook = house.login("cOLUMBIA"), house.login("FACEBOOK")
    columbia.ask("message", to="faceBOOK", text="x")
    assert facebook.events[-1]["from"] == "Columbia", "shown as registered"
