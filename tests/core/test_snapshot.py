"""The world at rest: what is written is what is read, and what cannot be read is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.core import snapshot
from chatlib.core.bank import bank_of
from chatlib.core.files import WaitingFile, WaitingFiles
from chatlib.core.snapshot import SnapshotError
from chatlib.storage.parameters import defaults
from tests.core.stage import Recorder, Stage, loaded, new_world, picture, saved


def lively() -> Stage:
    """A world with something in every file."""
    stage = Stage()
    for name in ("Alice", "Bob", "Carol"):
        stage.do("register", user=name, verifier=f"v-{name}")
    stage.now = 1700000000.123
    stage.do("login", user="alice", address="fe80::1%eth0", client='a "quoted" näme\u2028')
    stage.do("login", user="bob", address="10.0.0.2")
    stage.do("block", "alice", user="carol", key="k 1")
    stage.do("block", "bob", user="carol")
    stage.do("message", "alice", to="bob", text="hi", key='"}\u2028')
    stage.do("broadcast", "bob", text="all")
    stage.do("wrong_password", user="carol", address="")
    stage.do("wrong_password", user="carol", address="10.0.0.3")
    stage.do("login", user="carol", address="10.0.0.4")
    stage.do("broadcast", "carol", text="not for two")
    stage.do("depart", user="carol", session=12, seen=10)
    stage.do("edit", parameters={"BLOCK_SCOPE": "user", "TIME_OUT": 0.1 + 0.2, "MaxCon": 7})
    stage.do("edit", parameters={"TIME_OUT": 0.7}, accounts={"Dan": "v-dan", "eve": None, "Admin": "v"}, written=[3, 4])
    stage.do("seen", seen={"alice": 9})
    waiting = WaitingFile(7, 1.5, "Alice", 'a "file".txt', 2**33, "0" * 64, "blob7")
    files = stage.world.accounts["bob"].files = WaitingFiles()
    files.add("alice", waiting)
    stage.do("pay", "alice", to="bob", amount=5, memo="über", key="k 2")
    bank_of(stage.world).cash("alice", "0123456789abcdef", 1_700_604_800)
    stage.do("crt", "alice", title="%Plans")
    stage.do("msg", "bob", title="%plans", text="hi")
    stage.do("allow", "bob", user="alice")
    stage.do("start", left=30.0, limited=True)
    stage.do("login", user="alice", address="10.0.0.1")
    stage.do("message", "alice", to="bob", text="counted")
    for who in ({"user": "bob"}, {"network": "10.0.0.0/8"}, {"network": "2001:db8::/32"}, {"network": "10.0.0.1"}):
        stage.do("ban", **who, seconds=0.3, reason="über")
    stage.do("mute", user="alice")
    return stage


def test_an_empty_world() -> None:
    world, recorder = new_world()
    assert picture(loaded(saved(world), recorder)) == picture(world)


def test_a_world_with_something_in_every_file() -> None:
    stage = lively()
    files = saved(stage.world)
    assert all(files[name] for name in [*snapshot.files(), "threads/%25plans"] if not name.endswith("/"))
    stage.save()
    assert saved(stage.world) == files


def test_waiting_files_go_with_their_receiver() -> None:
    stage = lively()
    stage.do("edit", accounts={"bob": None})
    assert ("unlinked", "blob7") in stage.recorder.take()
    assert saved(stage.world)["file_rep.txt"] == []


def test_edits_by_hand_are_known_until_the_files_are_written() -> None:
    stage = Stage()
    stage.do("edit", parameters={"MaxCon": 7}, accounts={"Amy": "v", "bob": None}, written=[0, 0])
    stage.do("edit", parameters={"MaxCon": 8})
    by_hand = stage.world.by_hand.of("")
    assert (by_hand.parameters, by_hand.accounts) == ({"maxcon": (1, 7)}, {"amy": (1, "v"), "bob": (1, None)})
    stage.do("edit", parameters={"TIME_OUT": 9.0}, accounts={}, written=[1, 0])
    by_hand = stage.world.by_hand.of("")
    assert (by_hand.parameters, by_hand.accounts) == ({"time_out": (3, 9.0)}, {"amy": (1, "v"), "bob": (1, None)})
    stage.save()
    stage.do("start", left=0.0, written=[0, 1])
    stage.save()
    by_hand = stage.world.by_hand.of("")
    assert (by_hand.parameters, by_hand.accounts) == ({"time_out": (3, 9.0)}, {})


def test_every_file_says_what_it_is() -> None:
    rows = list(snapshot.dump(new_world()[0]))
    assert [name for name, _, _ in rows] == [name for name in snapshot.files() if not name.endswith("/")]
    assert all(about and "\n" not in about for _, about, _ in rows)


def test_the_files_are_text_that_a_person_can_read() -> None:
    files = saved(lively().world)
    assert files["block_rep.txt"] == ["alice carol", "bob carol"]
    assert files["list_block.txt"][0] == "carol  1 1700000000.123 0.0"
    assert "MaxCon 7" in files["state.txt"]
    assert files["users.txt"][2].startswith("Carol v-Carol 3 1700000000.123 null")


def test_a_parameter_of_another_version_is_forgotten_and_a_new_one_has_its_default() -> None:
    world, recorder = new_world(MaxCon=7)
    files = saved(world)
    files["state.txt"] = ["OLD_ONE 5" if line.startswith("TIME_OUT ") else line for line in files["state.txt"]]
    again = loaded(files, recorder)
    assert again.parameters == {**defaults(), "MaxCon": 7}


def test_missing_files_are_empty_ones() -> None:
    assert picture(loaded({}, Recorder())) == picture(new_world()[0])


BAD = [
    ("state.txt", "lsn"), ("state.txt", "lsn x"), ("state.txt", "MaxCon }"),
    ("users.txt", "Alice"), ("users.txt", "Alice v x 0.0 null"), ("users.txt", "Alice v 1 soon null"),
    ("users.txt", "Alice v 1 0.0 [1]"), ("users.txt", "Alice v 1 0.0 7"), ("users.txt", ""),
    ("mailboxes.txt", "all"), ("mailboxes.txt", "all\t0\t\t1 2\t5"), ("mailboxes.txt", "nobody\t0\t\t\t"),
    ("mailboxes.txt", "all\t0\t\tx\t5"), ("mailboxes.txt", "all\t0\tann bob\t1\t5"),
    ("mailboxes.txt", "alice\t0\tbob\t\t"), ("mailboxes.txt", "alice\t0\tbob:\t\t"),
    ("mailboxes.txt", "alice\t0\tbob:1,x\t\t"), ("addresses.txt", "alice 10.0.0.1"),
    ("addresses.txt", "nobody 1.1.1.1 \"\""),
    ("mailboxes.txt", "all\t0\t\t99999999999999999999\t5"),
    *(("mailboxes.txt", line) for line in (
        "[", "[1]", '["all",0,[],{},[1],[],[2],[3]]', '["all",0,[],{},[1],[2],[],[]]', '["all",0,[],{},[],[],[1],[2]]',
        '["all",0,["ann"],{"ann":"x"},[],[],[1],[2]]', '["all",0,[7],{},[],[],[1],[2]]',
        '["all",0,[],[],[],[],[1.5],[2]]', '["alice","x",{},{},[],[],[],[]]', '["alice",0,{"bob":7},{},[],[],[],[]]',
        '["alice",0,[1],{},[],[],[],[]]', '["alice",0,{},{"all":null},[],[],[],[]]', '["alice",0,{},{},7,[],[],[]]',
        '["nobody",0,{},{},[],[],[],[]]', '[["alice"],0,{},{},[],[],[],[]]', '["alice",0,{},{},[],[],[1],["2"]]',
        '["alice",0,{},{},[],[],[99999999999999999999],[5]]',
    )),
    ("state.txt", "floor 1"), ("state.txt", "floor [1]"),
    ("block_rep.txt", "alice"), ("block_rep.txt", "alice no+body"), ("block_rep.txt", "nobody alice"),
    ("allow_rep.txt", "alice"), ("allow_rep.txt", "alice nobody"), ("allow_rep.txt", "alice alice"),
    ("list_block.txt", "alice 10.0.0.1 1 2"), ("list_block.txt", "alice 10.0.0.1 x 0.0 0.0"),
    ("replies.txt", "alice"), ("replies.txt", "nobody [1,2]"), ("replies.txt", "alice [1"),
    ("replies.txt", "alice [1]"), ("replies.txt", "alice [[],1]"),
    ("file_rep.txt", "alice"), ("file_rep.txt", "alice bob [1]"), ("file_rep.txt", "alice bob {"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "line"), BAD)
def test_a_line_that_cannot_be_read_is_named(name: str, line: str) -> None:
    world, _ = new_world()
    good = [(2, "Alice v 1 0.0 null")] if name != "users.txt" else []
    with pytest.raises(SnapshotError, match=f"^{name}, line 7: .* is expected"):
        snapshot.load(world, {"users.txt": good, name: [*(good if name == "users.txt" else []), (7, line)]})


FLAT = ["threads/plans", *sorted(snapshot.files())]


@given(st.sampled_from(FLAT), st.text(st.sampled_from('alice \t0159.-ex[]{},"nul'), max_size=30))
def test_a_line_is_read_or_named(name: str, line: str) -> None:
    world, _ = new_world()
    files = {"users.txt": [(2, "Alice v 1 0.0 null")]}
    files[name] = [*files.get(name, []), (3, line)]
    try:
        snapshot.load(world, files)
    except SnapshotError as wrong:
        assert f"{name}, line 3" in str(wrong)  # noqa: PT017


def test_a_home_of_an_earlier_version_is_read_and_hides_what_it_hid() -> None:
    """Its broadcasts have no senders, its blocks no beginnings, and it kept the broadcasts that a block hid."""
    stage = Stage()
    stage.world = loaded(
        {
            "state.txt": ["lsn 9", "at 1.0", "store_end 500"],
            "users.txt": [f"{name} v-{name} {number} 0.0 null" for number, name in enumerate(("Alice", "Bob"), 1)],
            "mailboxes.txt": ["all\t0\t\t5 6 8\t100 200 300", "alice\t2\t5 8\t7\t250", "bob\t2\t\t\t"],
            "block_rep.txt": ["alice bob"],
        },
        stage.recorder,
    )
    stage.lsn, world = 9, stage.world

    def gets(user: str) -> list[int]:
        found = [seq for seq, _ in world.waiting(user, 0)]
        assert world.unread(world.accounts[user]) == len(found)
        assert [seq for seq, _ in world.history(user, 99)] == found[::-1]
        return found

    assert gets("alice") == [6, 7] and gets("bob") == [5, 6, 8]
    stage.recorder.messages += b" " * 500
    stage.do("login", user="alice", address="x")
    stage.do("login", user="bob", address="x")
    stage.do("broadcast", "bob", text="hidden")
    assert stage.do("unblock", "alice", user="bob")["status"] == "OK"
    stage.do("broadcast", "bob", text="shown")
    stage.save()
    world = stage.world
    assert gets("alice") == [6, 7, 14] and gets("bob") == [5, 6, 8, 12, 14]
    kept = saved(world)["mailboxes.txt"]
    assert kept[0].startswith('["all",0,["?","?","?","bob","bob"],{"bob":14},[],[],[5,6,8,12,14],')
    assert kept[1].startswith('["alice",2,{"?":[4,5,7,8],"bob":[9,13]},{},[],[],[7],[250]]')
