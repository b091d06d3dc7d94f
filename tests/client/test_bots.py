"""Bots as processes: one that leaves, one that fails, and README's own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatlib.client import Client, Refused
from tests.client.conftest import USERS, Server
from tests.client.programs import ROOT
from tests.patience import LIMIT

# Runs the bot below it on this test's port, whatever port the bot itself names.
HEAD = """
import sys
import chatlib.client
class Here(chatlib.client.Client):
    def __init__(self, host, port):
        super().__init__(host, {port})
chatlib.client.Client = Here
exec(compile(sys.stdin.read(), "bot", "exec"), {{"__name__": "__main__"}})
"""

BOT = """
from chatlib.client import Client, Refused
import sys
def run():
    with Client("127.0.0.1", 1234) as chat:
        chat.login("bob", "bob-password")
        for event in chat.events():
            if event["event"] == "message":
                print(event["text"], flush=True)
                {work}
run()
"""


@pytest.fixture
def bot(server: Server) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts a bot; what it prints can be read."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", HEAD.format(port=server.port)]
        started.append(subprocess.Popen(words, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT))  # fmt: skip
        assert started[-1].stdin is not None
        started[-1].stdin.write(code)
        started[-1].stdin.close()
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()
        assert each.stdout is not None
        each.stdout.close()


def says(server: Server, *texts: str) -> Client:
    ann = Client("127.0.0.1", server.port, timeout=LIMIT)
    ann.login("ann", USERS["ann"])
    for text in texts:
        ann.message("bob", text)
    return ann


def hears(each: subprocess.Popen[str]) -> str:
    assert each.stdout is not None
    return each.stdout.readline().rstrip("\n")


@pytest.mark.parametrize("work", ["break", "return", "sys.exit()", "chat.logout()"])
def test_one_that_leaves_is_not_given_the_event_again(
    server: Server, bot: Callable[[str], subprocess.Popen[str]], work: str
) -> None:
    with says(server, "one", "stop") as ann:
        first = bot(BOT.format(work=f"if event['text'] == 'stop': {work}"))
        assert [hears(first), hears(first)] == ["one", "stop"]
        assert first.wait(LIMIT) == 0
        ann.message("bob", "two")
        second = bot(BOT.format(work="pass"))
        assert hears(second) == "two"


@pytest.mark.parametrize("work", ["raise OSError", "sys.exit(3)", "chat.message('nobody', 'x')"])
def test_one_that_fails_is_given_the_event_again_and_none_before_it(
    server: Server, bot: Callable[[str], subprocess.Popen[str]], work: str
) -> None:
    with says(server, "one", "two"):
        for _ in range(2):
            failing = bot(BOT.format(work=f"if event['text'] == 'two': {work}"))
            said = hears(failing)
            if said == "one":  # only the first time
                said = hears(failing)
            assert said == "two"
            assert failing.wait(LIMIT) != 0
        assert hears(bot(BOT.format(work="pass"))) == "two"


def readme() -> str:
    """The bot in README, word for word."""
    _, _, rest = (ROOT / "README.md").read_text().partition("## A bot in ten lines\n\n```python\n")
    return rest.partition("```")[0]


def test_the_bot_of_the_readme(server: Server, bot: Callable[[str], subprocess.Popen[str]], tmp_path: Path) -> None:
    assert len(readme().splitlines()) == 10
    with Client("127.0.0.1", server.port, timeout=LIMIT) as chat:
        chat.register("foobar", "passpass")
    with says(server) as ann:
        ann.message("foobar", "hi")
        running = bot(readme())
        while "foobar" not in ann.whoelse():
            pass
        echoes = (event["text"] for event in ann.events(LIMIT) if event["event"] == "message")
        assert next(echoes) == "you said: hi"
        ann.block("foobar")
        ann.message("foobar", "and now?")
        assert hears(running).startswith("BLOCKED: ")
        ann.message("foobar", "x" * 4_096)
        assert hears(running).startswith("BAD_REQUEST: ")
        ann.unblock("foobar")
        ann.message("foobar", "still there?")
        assert next(echoes) == "you said: still there?"
        running.send_signal(signal.SIGINT)
        running.wait(LIMIT)
        with Client("127.0.0.1", server.port, timeout=LIMIT) as chat:
            while not chat.user:
                try:
                    chat.login("foobar", "passpass")
                except Refused as refused:
                    assert refused.status == "ALREADY_ONLINE"  # the server has not heard yet that the bot is gone
            # Those that were refused do not come again, nor the last one, unless its reply was still on its way.
            told = [event["text"] for event in chat.events(0) if event["event"] == "message"]
            assert told in ([], ["still there?"])
