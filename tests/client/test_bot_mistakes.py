"""What a bot's author does wrong on the first day: each mistake is named at once, and costs nothing but the call."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.client import Client, Disconnected, NoCheque, Refused
from tests.client.conftest import USERS, Server
from tests.patience import LIMIT

ROOT = Path(__file__).parents[2]


def client(server: Server, user: str = "", **options: object) -> Client:
    chat = Client("127.0.0.1", server.port, timeout=LIMIT, **options)  # type: ignore[arg-type]
    if user:
        chat.login(user, USERS[user])
    return chat


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refused:
        call()
    return str(refused.value)


def test_what_needs_a_login_is_refused_before_it(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    with client(server) as chat:
        assert refusal(chat.whoelse) == 'NOT_ALLOWED: Log in before "whoelse".'
        assert refusal(chat.next_event) == 'NOT_ALLOWED: Log in before "next_event".'
        assert refusal(lambda: next(chat.events())) == 'NOT_ALLOWED: Log in before "next_event".'
        assert refusal(lambda: chat.change_password("a", "b")) == 'NOT_ALLOWED: Log in before "change_password".'
        assert refusal(lambda: chat.send_file("bob", tmp_path / "a.txt")) == 'NOT_ALLOWED: Log in before "files".'
        chat.login("ann", USERS["ann"])
        assert chat.whoelse() == [], "and all goes on"


def test_what_comes_before_a_login_is_refused_after_it(server: Server) -> None:
    with client(server, "ann") as chat:
        assert refusal(lambda: chat.login("ann", "x")) == 'NOT_ALLOWED: "ann" is logged in: too late for "login".'
        assert refusal(lambda: chat.register("dora", "x")).endswith('too late for "register".')
        assert refusal(lambda: chat.deregister("ann", "x")).endswith('too late for "deregister".')
        assert chat.whoelse() == []


def test_after_the_end_there_is_nothing_to_call(server: Server) -> None:
    chat = client(server, "ann")
    chat.logout()
    for call in (chat.whoelse, lambda: chat.login("ann", USERS["ann"])):
        with pytest.raises(Disconnected, match="LOGGED_OUT: This client has logged out: build another one."):
            call()
    chat.close()
    with client(server, "bob") as left:
        left.close()
        with pytest.raises(Disconnected, match="CLOSED: This client was closed: build another one."):
            left.whoelse()
        left.close()


@pytest.mark.parametrize("port", [-1, 0, 65_536, 471_100])
def test_a_port_that_is_none(port: int) -> None:
    with pytest.raises(ValueError, match="A port is a number from 1 to 65535, not"):
        Client("127.0.0.1", port)


@pytest.mark.parametrize("text, why", [
    ("x" * 70_000, "65,336 are allowed"), ("half \ud83d", "half a character"),
])  # fmt: skip
def test_what_no_line_can_say_costs_nothing_but_the_call(server: Server, tmp_path: Path, text: str, why: str) -> None:
    with client(server, "ann", memory=tmp_path / "state") as ann:
        said = refusal(lambda: ann.message("bob", text))
        assert said.startswith("BAD_REQUEST: ") and why in said
        assert ann.message("bob", "hi")["status"] == "OK", "the connection stands"
    with client(server, "ann", memory=tmp_path / "state") as ann:
        assert ann.whoelse() == [], "nothing of it is sent at the next start"


def test_a_number_that_is_none_and_a_key_that_is_empty(server: Server) -> None:
    with client(server, "ann") as ann:
        assert "NaN" in refusal(lambda: ann.wholasthr(float("nan")))
        assert '"key"' in refusal(lambda: ann.message("bob", "hi", key=""))
        with pytest.raises(TypeError):
            ann.message("bob", object())  # type: ignore[arg-type]
        assert ann.whoelse() == []


def test_what_a_bot_says_to_all_comes_to_itself(server: Server) -> None:
    """README says so: else a bot that answers posts answers itself, for ever."""
    with client(server, "ann") as ann:
        ann.create_thread("plans")
        ann.post("plans", "hello")
        ann.broadcast("hello")
        own = (each for each in ann.events(LIMIT) if each.get("from") == ann.user)
        assert [next(own)["event"], next(own)["event"]] == ["post", "broadcast"]


def test_a_memory_may_be_named_by_a_string(server: Server, tmp_path: Path) -> None:
    with client(server, "ann", memory=str(tmp_path / "state")) as ann:
        assert ann.message("bob", "hi")["status"] == "OK"
    assert list((tmp_path / "state").iterdir())


def test_a_port_that_another_program_has_is_an_event(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, client(server, "ann", listen=taken.getsockname()[1]) as ann:
        event = next(each for each in ann.events(LIMIT) if each["event"] == "uncallable")
        assert "your port cannot be opened" in str(event["text"])


def test_a_cheque_that_cannot_be_written_says_why(server: Server) -> None:
    with client(server, "ann") as ann:
        for payee, amount, memo, why in [
            ("bob", "5", "", "amount"),
            ("bob", 0, "", "amount"),
            ("bob", True, "", "amount"),
            ("two words", 5, "", "payee"),
            ("bob", 5, "m" * 201, "memo"),
        ]:
            with pytest.raises(NoCheque, match=why):
                ann.write_cheque(payee, amount, memo)  # type: ignore[arg-type]
        assert ann.cheques() == []


def fields_of_events(rows: str) -> dict[str, set[str]]:
    """What a table of events says → the fields of each."""
    found: dict[str, set[str]] = {}
    for first, second in re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]*)", rows, re.MULTILINE):
        for name in re.findall("`([a-z_]+)`", first):
            found[name] = set(re.findall("[a-z0-9_]+", second))
    return found


def test_the_readmes_events_are_those_of_the_wire() -> None:
    """Who writes a bot has the names of fields from there: a wrong one is a KeyError on the first day."""
    _, _, wire = (ROOT / "chatlib/protocol/WIRE.md").read_text().partition("| event | fields |")
    _, _, rest = (ROOT / "README.md").read_text().partition("<!-- events -->")
    known, shown = fields_of_events(wire), fields_of_events(rest.partition("<!-- end -->")[0])
    assert len(shown) == 9
    for name, fields in shown.items():
        assert fields <= known[name], name


def test_every_call_that_the_readme_names_is_there() -> None:
    _, _, section = (ROOT / "README.md").read_text().partition("## A bot in ten lines")
    called = set(re.findall(r"chat\.([a-z_]+)\(", section))
    assert len(called) > 20 and all(hasattr(Client, name) for name in called)
