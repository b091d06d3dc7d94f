"""Pieces and what the engine does to them: answers that are lost, nodes that are cut off, damaged replicas."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from chatlib.cluster.link import EngineLink
from chatlib.cluster.pieces import PART, EngineFailed, Latest, PieceLost, Pieces, seconds
from tests.chance import new_chance
from tests.cluster.fakeengine import FakeEngine, Fate

FILES = "chat_files"
DATA = new_chance().randbytes(5 * PART + 100)
NAME = hashlib.sha256(DATA).hexdigest()
LATEST = Latest(1, 2, 3, "epoch", NAME, len(DATA))


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(3) as one:
        one.make(FILES, subjects=["chat.files.>"], deny_delete=False, republish=None)
        one.make()
        yield one


@pytest.fixture
def pieces(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pieces]:
    monkeypatch.setattr("chatlib.cluster.pieces._ANSWER", 0.5)
    link = EngineLink(None, engine.parse())
    assert link.wait(lambda: link.connected, 30.0)
    yield Pieces(link, "chat", 3.0)
    link.close()


def stored(pieces: Pieces) -> None:
    pieces.put(NAME, DATA)
    pieces.finish()


def test_what_is_put_is_got(pieces: Pieces) -> None:
    stored(pieces)
    assert pieces.get(NAME, len(DATA)) == DATA
    assert list(pieces.subjects("piece.*.0")) == [["piece", NAME, "0"]]


@pytest.mark.parametrize("fate", [Fate.UNANSWERED, Fate.LOST, Fate.REFUSED, Fate.IN_PROCESS])
def test_what_is_not_answered_is_put_again(engine: FakeEngine, pieces: Pieces, fate: Fate) -> None:
    engine.fates(FILES, Fate.STORED)
    engine.fates(FILES, fate, 2)
    stored(pieces)
    assert pieces.get(NAME, len(DATA)) == DATA


def test_a_full_engine_is_given_up_with_its_own_words(engine: FakeEngine, pieces: Pieces) -> None:
    engine.fates(FILES, Fate.FULL, 10_000)
    with pytest.raises(EngineFailed, match="stores nothing: insufficient storage"):
        stored(pieces)


def test_a_lost_connection_costs_nothing(engine: FakeEngine, pieces: Pieces) -> None:
    pieces.put(NAME, DATA)
    engine.nodes[0].kill()
    pieces.finish()
    assert pieces.get(NAME, len(DATA)) == DATA


@pytest.mark.parametrize("how", ["missing", "damaged", "lags"])
def test_a_bad_replica_is_left_for_another(engine: FakeEngine, pieces: Pieces, how: str) -> None:
    stored(pieces)
    replica = engine.nodes[0].replica(FILES)
    if how == "missing":
        replica.missing.add(3)
    elif how == "damaged":
        replica.damaged[3] = b"x" * PART
    else:
        replica.upto = 2
    assert pieces.get(NAME, len(DATA)) == DATA


def test_a_piece_that_nobody_has_is_lost(engine: FakeEngine, pieces: Pieces) -> None:
    with pytest.raises(PieceLost, match="the engine has not got piece"):
        pieces.get(NAME, len(DATA))
    with pytest.raises(PieceLost, match="of an earlier snapshot"):
        pieces.get(NAME, len(DATA), lambda: False)


def test_an_answer_that_is_lost_makes_no_doubt_of_it(engine: FakeEngine, pieces: Pieces) -> None:
    engine.fates(FILES, Fate.UNANSWERED)
    assert pieces.point(LATEST, 0) and pieces.latest()[0] == LATEST


def test_what_a_later_version_made_is_refused(engine: FakeEngine, pieces: Pieces) -> None:
    pieces.point(LATEST._replace(format=2), 0)
    with pytest.raises(EngineFailed, match="a later version made"):
        pieces.latest()
    engine.store(FILES, b"{}", subject="chat.files.snapshot")
    with pytest.raises(EngineFailed, match="cannot be read"):
        pieces.latest()


def test_what_is_dropped_is_gone_and_nothing_else(pieces: Pieces) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    stored(pieces)
    pieces.put(other, b"other")
    pieces.finish()
    pieces.point(LATEST, 0)
    _, sequence = pieces.latest()
    pieces.put(NAME, DATA)
    pieces.finish()
    pieces.drop(f"piece.{other}.*", sequence)
    pieces.drop(f"piece.{NAME}.*", sequence)
    assert list(pieces.subjects("piece.*.0")) == [["piece", NAME, "0"]]
    assert pieces.get(NAME, len(DATA)) == DATA


def test_the_log_is_looked_at_and_cut(engine: FakeEngine, pieces: Pieces) -> None:
    assert Pieces(pieces._link, "none").log_state() is None
    for _ in range(5):
        engine.store("chat", b"x")
    log = pieces.log_state()
    assert log and (log.first, log.last) == (1, 5)
    pieces.drop_log(3)
    log = pieces.log_state()
    assert log and (log.first, log.last) == (4, 5)
    pieces.drop_log(5)
    log = pieces.log_state()
    assert log and (log.first, log.last) == (6, 5)


def test_when_something_was_stored(engine: FakeEngine, pieces: Pieces) -> None:
    assert pieces.stored_at("blob.a.b.0") == 0.0
    engine.store(FILES, b"x", subject="chat.files.blob.a.b.0")
    assert pieces.stored_at("blob.a.b.0") == pytest.approx(seconds("2026-01-01T00:00:00Z"), abs=1e10)
    assert seconds("1970-01-01T00:01:00.5Z") == 60.5 and seconds("1970-01-02T00:00:00Z") == 86_400.0
