"""The library against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.client import Client, Disconnected, Refused, TransferError, library
from chatlib.protocol.scram import ScramError
from tests.client.conftest import USERS, Server
from tests.patience import LIMIT


def client(server: Server, user: str = "", **options: object) -> Client:
    chat = Client("127.0.0.1", server.port, timeout=LIMIT, **options)  # type: ignore[arg-type]
    while user:
        try:
            chat.login(user, USERS[user])
            break
        except Refused as refused:
            assert refused.status == "ALREADY_ONLINE"  # the server has not heard yet that a killed one is gone
    return chat


def texts(chat: Client, count: int) -> list[object]:
    found: list[object] = []
    for event in chat.events(timeout=LIMIT):
        if event["event"] in ("message", "broadcast"):
            found.append(event["text"])
        if len(found) == count:
            break
    return found


def test_two_talk(server: Server) -> None:
    with client(server, "ann") as ann:
        assert ann.message("bob", "you there?")["delivered"] is False
        with client(server, "bob") as bob:
            assert bob.user == "bob"
            assert texts(bob, 1) == ["you there?"]
            assert bob.message("ann", "yes")["delivered"] is True
            assert texts(ann, 1) == ["yes"]
            assert ann.whoelse() == ["bob"]
            assert ann.wholasthr(5) == ["bob"]
            assert ann.list_users() == {"ann": True, "bob": True, "carl": False}
            ann.block("bob")
            assert ann.blacklist() == ["bob"]
            with pytest.raises(Refused) as refused:
                bob.message("ann", "hello?")
            assert refused.value.status == "BLOCKED" and "blocked you" in str(refused.value)
            ann.unblock("bob")
            assert bob.broadcast("all")["undelivered"] == 0
            assert texts(ann, 1) == ["all"]


def test_several_sessions_of_one_user(house: Callable[..., Server]) -> None:
    server = house(DUPLICATE_LOGIN="share")
    with client(server, "ann") as desk, client(server, "ann") as laptop, client(server, "bob") as bob:
        desk.message("bob", "from the desk")
        bob.message("ann", "for both")
        assert texts(bob, 1) == ["from the desk"] and texts(desk, 1) == ["for both"]
        told = [event for _, event in zip(range(3), laptop.events(timeout=LIMIT), strict=False)]
        sent = next(event for event in told if event["event"] == "sent")
        assert (sent["to"], sent["text"]) == ("bob", "from the desk")
        here = [session["here"] for session in laptop.sessions()]
        assert here == [False, True]
        laptop.logout(1)
        with pytest.raises(Disconnected) as over:
            desk.sessions()
        assert over.value.status == "LOGGED_OUT"
        assert [session["number"] for session in laptop.sessions()] == [2]


def test_a_bot(server: Server) -> None:
    with client(server, "carl") as asker, client(server, "ann") as chat:
        asker.message("ann", "hi")
        for event in chat.events():
            if event["event"] == "message":
                chat.message(str(event["from"]), "you said: " + str(event["text"]))
                break
        assert texts(asker, 1) == ["you said: hi"]


def test_accounts(server: Server) -> None:
    with client(server) as chat:
        with pytest.raises(ScramError):
            chat.register("eve", "\x07")
        chat.register("eve", "first")
        with pytest.raises(Refused, match="USER_EXISTS"):
            chat.register("Eve", "first")
        with pytest.raises(Refused, match="NO_SUCH_USER"):
            chat.login("nobody", "x")
        with pytest.raises(Refused, match="WRONG_PASSWORD"):
            chat.login("ann", "x")
        chat.login("eve", "first")
        with pytest.raises(Refused, match="WRONG_PASSWORD"):
            chat.change_password("not it", "second")
        chat.change_password("first", "second")
    with client(server) as chat:
        with pytest.raises(Refused, match="WRONG_PASSWORD"):
            chat.deregister("eve", "first")
        chat.deregister("eve", "second")
        with pytest.raises(Refused, match="NO_SUCH_USER"):
            chat.login("eve", "second")


def test_an_event_that_was_not_worked_on_comes_again(server: Server) -> None:
    with client(server, "ann") as ann:
        ann.message("bob", "one")
        ann.message("bob", "two")
        bob = client(server, "bob")
        assert texts(bob, 2) == ["one", "two"]
        bob.close()  # killed while it works on the second, before the first was acknowledged
        with pytest.raises(OSError), client(server, "bob") as bob:
            assert texts(bob, 2) == ["one", "two"]
            raise OSError  # while it works on the second
        with client(server, "bob") as bob:
            assert texts(bob, 1) == ["two"]
        assert client(server).login("bob", USERS["bob"]) == 0


def test_with_a_memory_only_the_event_that_was_not_worked_on_comes_again(server: Server, tmp_path: Path) -> None:
    with client(server, "ann") as ann:
        ann.message("bob", "one")
        ann.message("bob", "two")
        bob = client(server, "bob", memory=tmp_path / "state")
        assert texts(bob, 2) == ["one", "two"]
        bob.close()
        with client(server, "bob", memory=tmp_path / "state") as bob:
            assert texts(bob, 1) == ["two"]


def test_the_server_is_killed_and_comes_back(server: Server) -> None:
    with client(server, "ann") as ann, client(server, "bob") as bob:
        ann.message("bob", "before")
        assert texts(bob, 1) == ["before"]
        server.kill()
        server.start()
        ann.message("bob", "after", key="only once")
        assert ann.message("bob", "after", key="only once")["status"] == "OK"
        ann.message("bob", "last")
        assert texts(bob, 2) == ["after", "last"]


def test_kicked(server: Server) -> None:
    with client(server, "ann") as ann:
        server.command("kick ann")
        with pytest.raises(Disconnected) as over:
            list(ann.events(timeout=LIMIT))
        assert over.value.status == "KICKED"
        with pytest.raises(Disconnected):
            ann.whoelse()


def test_files(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "my report.pdf"
    path.write_bytes(b"%PDF" * 100_000)
    with client(server, "ann") as ann, client(server, "bob") as bob:
        ann.send_file("bob", path)
        with pytest.raises(Refused, match="FILE_EXISTS"):
            ann.send_file("bob", str(path))
        with pytest.raises(Refused, match="NO_SUCH_USER"):
            ann.send_file("nobody", path)
        with pytest.raises(TransferError, match="There is no file"):
            ann.send_file("bob", tmp_path / "nope")
        (file,) = bob.files()
        assert (file["from"], file["name"], file["size"]) == ("ann", "my report.pdf", 400_000)
        server.kill()
        server.start()
        with pytest.raises(TransferError, match="No such file"):
            bob.fetch("ann", "my report.pdf", tmp_path / "nowhere")
        found = bob.fetch("ann", "my report.pdf", tmp_path)
        assert found == tmp_path / "my report (2).pdf" and found.read_bytes() == path.read_bytes()
        assert bob.files() == []
        with pytest.raises(Refused, match="NO_SUCH_FILE"):
            bob.fetch("ann", "my report.pdf", tmp_path)
        ann.send_file("bob", path)
        bob.decline("ann", "my report.pdf")
        outcomes = (event["outcome"] for event in ann.events(20) if event["event"] == "file_gone")
        assert [next(outcomes), next(outcomes)] == ["fetched", "declined"]


def test_a_transfer_that_does_not_go_on(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    chat = client(server, "ann")
    server.kill()
    chat.timeout = 0.05
    with pytest.raises(TimeoutError):
        chat.send_file("bob", tmp_path / "x")
    chat.close()
    server.start()
    chat = client(server, "ann", reconnect=False)
    server.kill()
    with pytest.raises(Disconnected):
        chat.send_file("bob", tmp_path / "x")
    chat.close()


def test_events_that_nobody_asks_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MAX_PASSING", 3)
    with client(server, "ann") as ann:
        for number in range(20):
            ann._keep({"event": "presence", "user": f"u{number}"})
            ann._keep({"event": "message", "seq": number, "text": "x"})
        assert len(ann._events) <= 20 + 2 * 3
        kept = list(ann._events)
        assert sum(event["event"] == "message" for event in kept) == 20
        assert kept[-2] == {"event": "presence", "user": "u19"}
        ann._events.clear()
        ann._told = None


def test_nobody_there(server: Server) -> None:
    server.kill()
    with pytest.raises(Disconnected, match="cannot be reached"):
        client(server)


def test_no_reconnecting(server: Server) -> None:
    chat = client(server, "ann", reconnect=False)
    server.kill()
    with pytest.raises(Disconnected):
        list(chat.events())
    chat.close()


def test_a_time_limit(server: Server) -> None:
    chat = client(server, "ann")
    server.kill()
    chat.timeout = 0.05
    with pytest.raises(TimeoutError):
        chat.whoelse()
    chat.close()


def test_a_memory_on_disk(server: Server, tmp_path: Path) -> None:
    state = tmp_path / "state"
    ann = client(server, "ann", memory=state)
    server.kill()
    ann.timeout = 0.05
    with pytest.raises(TimeoutError):
        ann.message("bob", "not lost")
    ann.close()
    server.start()
    with client(server, "ann", memory=state):
        pass
    with client(server, "bob") as bob:
        assert texts(bob, 1) == ["not lost"]


def test_threads(server: Server, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a note")
    with client(server, "ann") as ann, client(server, "bob") as bob:
        assert ann.threads() == []
        ann.create_thread("plans")
        bob.follow("PLANS")
        first = ann.post("plans", "Who comes?", key="once")
        assert ann.post("plans", "Who comes?", key="once")["seq"] == first["seq"] and first["number"] == 1
        ann.upload("plans", tmp_path / "notes.txt")
        bob.post("plans", "I do.")
        bob.edit_post("plans", 2, "We do.", seq=int(str(bob.read_thread("plans", 1)[0]["seq"])))
        with pytest.raises(Refused, match="CHANGED"):
            bob.delete_post("plans", 1, seq=12345)
        with pytest.raises(Refused, match="NOT_OWNER"):
            bob.delete_post("plans", 1)
        assert [each.get("text", each.get("file")) for each in bob.read_thread("plans")] == [
            "Who comes?", "notes.txt", "We do."]  # fmt: skip
        assert [each["number"] for each in bob.read_thread("plans", 1, before=2) if "number" in each] == []
        ann.delete_post("plans", 1)
        assert bob.download("plans", "notes.txt", tmp_path) == tmp_path / "notes (2).txt"
        ann.remove_file("plans", "notes.txt")
        (listed,) = bob.threads()
        assert {**listed, "time": 0} == {
            "title": "plans", "creator": "ann", "messages": 1, "time": 0, "following": True}  # fmt: skip
        assert bob.following() == ["plans"]
        bob.unfollow("plans")
        assert bob.following() == []
        bob.follow("plans")
        ann.remove_thread("plans")
        happened: list[object] = []
        while "thread_removed" not in happened:
            event = bob.next_event(LIMIT)
            assert event is not None, happened
            happened += [event["event"]] if "thread" in event else []
    assert happened == ["post", "upload", "post", "edit", "delete", "file_removed", "thread_removed"]
