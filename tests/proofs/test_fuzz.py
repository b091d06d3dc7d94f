"""A very short `make fuzz`: it goes well, it notices a server that breaks a promise, and says how to see that again."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from chatlib.core.features import ANSWERS
from chatlib.core.world import World
from chatlib.server.session import Session
from chatlib.terminal import screen
from tests.proofs import fuzz, fuzz_client

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs it for a moment, or as it says that a failure is repeated; the exit status, and what it printed."""
    monkeypatch.setattr(fuzz, "STEPS", 80)

    def run(*words: str) -> tuple[int, str]:
        status = fuzz.main([*(words or ("--seconds", "0.5")), "--seed", "1"])
        return status, capsys.readouterr().out

    return run


def test_a_round(run: Run) -> None:
    status, said = run()
    assert status == 0 and said.startswith("CHAT_SEED=1\nfuzz: "), said
    assert "homes replayed and equal" in said


def _fails(run: Run, with_what: str) -> None:
    status, said = run()
    assert status == 1 and with_what in said, said
    again = re.search(r"python3 -m tests.proofs.fuzz (--seed 1 --round \d+ --steps [\d,-]+)", said)
    assert again and with_what in run(*again[1].split())[1], said


def test_a_handler_that_raises_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANSWERS, "balance", lambda *_: 1 // 0)  # type: ignore[misc]
    _fails(run, "ZeroDivisionError")


def test_a_reply_that_nobody_asked_for_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Session.mistaken

    def twice(self: Session) -> None:
        real(self)
        if self.user:
            self.reply("alive", None, {"status": "OK"})

    monkeypatch.setattr(Session, "mistaken", twice)
    _fails(run, "Illegal")


def test_a_replay_that_differs_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real, lives = World.execute, []

    def otherwise(self: World, command: object) -> object:
        lives.append(self)
        self.shunned["ghost"] = {str(len(lives))}  # type: ignore[assignment]
        return real(self, command)  # type: ignore[arg-type]

    monkeypatch.setattr(World, "execute", otherwise)
    _fails(run, "replayed")


def test_a_client_that_shows_what_others_wrote_as_it_is_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "printable", lambda text: text)
    status, said = run()
    assert status == 1 and "a terminal is given" in said, said
    again = re.search(r"python3 -m tests.proofs.fuzz --seed 1 --client (\d+)", said)
    assert again
    with pytest.raises(fuzz_client.Failed):
        run("--client", again[1])
