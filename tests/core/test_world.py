"""What holds for every command, whatever it does: its number, its time, its effects, its reply; and how features come
and go."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatlib.core import features, talk
from chatlib.core.effects import APPEND, POST
from chatlib.core.feature import Command, Feature
from chatlib.core.replies import Encoded, Reply, page, page_of_names, text_of
from chatlib.core.world import World
from chatlib.protocol import kinds
from chatlib.protocol.commands import ACTIONS, TABLE
from chatlib.protocol.commands.table import Field, Row, Runs
from chatlib.storage.parameters import defaults
from tests.core.stage import Stage


def register(world: World, name: str, at: float = 1.0) -> tuple[Reply, list[Any], Exception | None]:
    return world.execute({"action": "register", "at": at, "user": name, "verifier": "v"})


def test_a_commands_lsn_is_the_last_one_and_one_more() -> None:
    world = World(defaults())
    world.lsn = 41
    reply, effects, fault = register(world, "Ann")
    assert (reply, [kind for kind, _, _ in effects], fault) == ({"status": "OK", "user": "Ann"}, [APPEND], None)
    assert world.lsn == world.accounts["ann"].joined == 42
    assert register(world, "ann")[0]["status"] == "USER_EXISTS" and world.lsn == 43


def test_time_never_goes_back(three: Stage) -> None:
    def said_at(now: float) -> float:
        three.now = now
        three.recorder.take()
        three.do("message", "alice", to="bob", text="hi")
        [(_, _, line)] = three.recorder.take()
        at = json.loads(line)["time"]
        assert isinstance(at, float) and three.world.at == at
        return at

    assert [said_at(now) for now in (10.5, 7.0, 10.5, 10.75)] == [10.5, 10.5, 10.5, 10.75]
    three.save()
    assert said_at(3.0) == 10.75, "also behind a restart"


@pytest.fixture
def faulty(three: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """`message` says what must follow, and then raises."""

    def handler(world: World, lsn: int, command: Command) -> Reply:
        talk.message(world, lsn, command)
        raise ZeroDivisionError("ours")

    monkeypatch.setitem(features.HANDLERS, "message", handler)
    return three


def test_a_handler_that_raises_gives_internal_and_what_it_said_before(faulty: Stage) -> None:
    command = {"action": "message", "at": 2.0, "by": "alice", "to": "bob", "text": "hi", "key": "k"}
    reply, effects, fault = faulty.world.execute(command)
    assert reply == {"status": "INTERNAL", "text": "The server made a mistake; its log has the details."}
    assert [(kind, user) for kind, user, _ in effects] == [(POST, "bob")]
    assert isinstance(fault, ZeroDivisionError) and faulty.world.lsn == 6
    assert faulty.world.accounts["alice"].replies is None, "it may be asked again"
    assert faulty.world.execute({**command, "action": "unheard of"})[0] == reply, "as a later version's record would be"
    assert faulty.world.lsn == 7


def test_the_effects_of_one_command_are_not_the_next_ones(three: Stage) -> None:
    message = {"action": "message", "at": 2.0, "by": "alice", "to": "bob", "text": "hi"}
    first, second = three.world.execute(message)[1], three.world.execute(message)[1]
    assert len(first) == len(second) == 1 and first != second


@pytest.mark.parametrize("fields", [
    {"action": "message", "to": "carol", "text": "é \" \\ \u2028"}, {"action": "message", "to": "bob", "text": "hi"},
    {"action": "broadcast", "text": "hi"}, {"action": "block", "user": "bob"},
    {"action": "message", "to": "nobody", "text": "hi"},
])  # fmt: skip
@pytest.mark.parametrize("key", [{}, {"key": "k"}])
def test_what_is_sent_is_what_was_said(three: Stage, fields: Command, key: Command) -> None:
    command = {"at": 2.0, "by": "alice", **fields, **key}
    reply = three.world.execute(dict(command))[0]
    assert json.loads(text_of(reply)) == reply
    if key:
        again = three.world.execute(dict(command))[0]
        wanted = Encoded if reply["status"] == "OK" else dict
        assert type(reply) is type(again) is wanted, "nobody encodes it again, but for the few refusals"
        assert (again, text_of(again)) == (reply, text_of(reply))


# Features.


def test_every_row_that_changes_something_has_a_handler() -> None:
    changing = {row.name for row in TABLE.rows if row.on_the_wire and row.runs in (Runs.CHANGES, Runs.PROVES)}
    ends_in = {"logout": "depart"}  # who logs out departs, as whoever is cut off does
    assert {ends_in.get(name, name) for name in changing} <= features.HANDLERS.keys()


def test_answers_are_to_rows_that_read_and_to_the_question_for_a_name() -> None:
    reading = {row.name for row in TABLE.rows if row.on_the_wire and row.runs is Runs.READS}
    assert features.ANSWERS.keys() <= reading | {"register"}


def test_an_alias_is_the_same_command() -> None:
    for name, row in ACTIONS.items():
        assert features.HANDLERS.get(name) is features.HANDLERS.get(row.name)


ROW = Row("vote", "say yes or no", (Field("yes", kinds.FLAG), Field("why", kinds.TEXT, required=False)),
          aliases=("ballot",), runs=Runs.CHANGES)  # fmt: skip
VOTE = Feature("vote", {"vote": lambda world, lsn, command: {"status": "OK", "seq": lsn}}, state=list)


@pytest.fixture
def vote() -> Iterator[None]:
    TABLE.add([ROW])
    features.add(VOTE)
    yield
    features.remove(VOTE)
    TABLE.remove([ROW])


def test_a_feature_comes_and_goes() -> None:
    tables = (features.HANDLERS, features.ANSWERS, features.UPLOADS, features.DOWNLOADS)
    before = [dict(table) for table in tables], list(features.FEATURES)
    kept_as = {name: recipe[0] for name, recipe in features.RECIPES.items()}
    for feature in (VOTE, *before[1]):
        if feature is VOTE:
            features.add(feature)
            assert features.HANDLERS["vote"] is VOTE.handlers["vote"] and World(defaults()).state["vote"] == []
        features.remove(feature)
        assert feature not in features.FEATURES
    for feature in before[1]:
        features.add(feature)
    assert ([dict(table) for table in tables], features.FEATURES) == before
    assert {name: recipe[0] for name, recipe in features.RECIPES.items()} == kept_as


@pytest.mark.parametrize("feature", [
    Feature("talk"), Feature("vote", {"message": VOTE.handlers["vote"]}),
    Feature("vote", answers={"whoelse": talk.whoelse}),
])  # fmt: skip
def test_a_name_that_is_there_already_is_refused(feature: Feature) -> None:
    before = list(features.FEATURES)
    with pytest.raises(ValueError, match="there is already such"):
        features.add(feature)
    assert before == features.FEATURES


def test_a_key_knows_fields_that_may_be_left_out_and_aliases(vote: None, three: Stage) -> None:
    seq = three.do("vote", "alice", key="k", yes=True)["seq"]
    assert three.do("ballot", "alice", key="k", yes=True)["seq"] == seq
    assert three.do("vote", "alice", key="k", yes=True, why="so")["status"] == "KEY_REUSED"
    assert three.do("vote", "alice", key="k", yes=False)["status"] == "KEY_REUSED"


def test_all_features_forget_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[str] = []
    feature = replace(VOTE, handlers={}, forget=lambda world, account: forgotten.append(account.name))
    monkeypatch.setattr(features, "FEATURES", [*features.FEATURES, feature])
    monkeypatch.setattr("chatlib.core.world.FEATURES", features.FEATURES)
    stage = Stage()
    stage.do("register", user="Ann", verifier="v")
    stage.do("deregister", user="ann")
    assert forgotten == ["Ann"] and not stage.world.accounts


def test_only_the_list_names_features() -> None:
    """Besides what builds on a feature: other ones, and at the edge proofs, presence, introductions and long lists; and
    whoever proves or mends a home, and must know what its lines mean; and what makes a server one of several."""
    names = "|".join(feature.name for feature in features.FEATURES)
    imports = re.compile(rf"^from chatlib\.core(\.({names}) import| import (.*, )?({names})\b)", re.MULTILINE)
    root = Path(features.__file__).parent.parent
    found = {str(path.relative_to(root)) for path in root.rglob("*.py") if imports.search(path.read_text())}
    assert found == {"core/audit.py", "core/bank.py", "core/door.py", "core/features.py",
                     "core/files.py", "core/mending.py", "core/nodes.py", "core/searching.py",
                     "server/introductions.py", "server/joining.py", "server/listings.py", "server/lostcommands.py",
                     "server/membership.py", "server/presence.py", "server/proving.py", "server/repairing.py",
                     "server/saving.py", "server/searches.py", "server/server.py", "server/snapshotting.py",
                     "server/verifying.py"}  # fmt: skip


# Pages.


def test_a_page_has_one_shape() -> None:
    assert page([1, 2], None) == {"status": "OK", "items": [1, 2]}
    assert page([9, 8], 8) == {"status": "OK", "items": [9, 8], "next": 8}
    names = [f"n{number:04d}" for number in range(1_001)]
    first = page_of_names(iter(names), str.upper)
    assert (len(first["items"]), first["items"][-1], first["next"]) == (1_000, "N0999", "n0999")
    assert page_of_names(iter(names[:1_000]), str) == {"status": "OK", "items": names[:1_000]}
    assert page_of_names(iter(()), str) == {"status": "OK", "items": []}
