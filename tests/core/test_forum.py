"""The forum: every rule and every refusal, as conversations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatlib.core import attachments, following, forum
from chatlib.core.streams import SharedStream
from tests.core.stage import Stage, picture


def message_by(name: str) -> str:
    return f'Message 1 is by "{name}", who alone may do that.'


def thread_by(name: str) -> str:
    return f'The thread "plans" is by "{name}", who alone may do that.'


def test_a_thread_from_its_beginning_to_its_end(three: Stage) -> None:
    three.play("""
        > alice: crt title=Plans
        < OK thread=Plans
        > bob: msg title=plans text='What about a walk?'
        < OK seq=7 number=1
          alice, bob <- post seq=7 thread=Plans from=Bob number=1: What about a walk?
        > alice: msg title=PLANS text=Gladly.
        < OK seq=8 number=2
          alice, bob <- post seq=8 thread=Plans from=Alice number=2: Gladly.
        > alice: edt title=plans number=2 text='Gladly, at six.'
        < OK seq=9 number=2
          alice, bob <- edit seq=9 thread=Plans from=Alice number=2 of=8: Gladly, at six.
        > bob: dlt title=plans number=1
        < OK seq=10 number=1
          alice, bob <- delete seq=10 thread=Plans from=Bob number=1 of=7
        > alice: dlt title=plans number=1 seq=8
        < OK seq=11 number=1
          alice, bob <- delete seq=11 thread=Plans from=Alice number=1 of=8
        > alice: rmv title=plans
        < OK seq=12 thread=Plans
          alice, bob <- thread_removed seq=12 thread=Plans from=Alice
        > save
        > alice: msg title=plans text=hello
        < NO_SUCH_THREAD: There is no thread "plans".
    """)


def test_titles_are_unique_without_regard_to_case_and_all_is_reserved(three: Stage) -> None:
    three.play("""
        > alice: crt title=Plans
        < OK thread=Plans
        > bob: crt title=pLANS
        < THREAD_EXISTS: There is a thread "Plans" already.
        > bob: crt title=ALL
        < THREAD_EXISTS: The title "ALL" is reserved.
        > bob: crt title=pla.ns
        < OK thread=pla.ns
    """)


def test_there_is_no_end_of_threads_but_a_limit(three: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forum, "THREADS", 2)
    three.play("""
        > alice: crt title=1
        < OK thread=1
        > alice: crt title=2
        < OK thread=2
        > alice: crt title=3
        < TOO_MANY_THREADS: There are 2 threads: one must be removed first.
        > alice: rmv title=1
        < OK seq=9 thread=1
          alice <- thread_removed seq=9 thread=1 from=Alice
        > alice: crt title=3
        < OK thread=3
    """)


def test_a_thread_may_be_full(three: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forum, "MESSAGES", 2)
    three.do("crt", "alice", title="plans")
    for number in (1, 2):
        ask(three, "alice", "msg", title="plans", text="hi").is_done(number=number)
    ask(three, "bob", "msg", title="plans", text="hi").is_refused(
        "TOO_MANY_MESSAGES", 'The thread "plans" is full: open another one.'
    )
    three.do("dlt", "alice", title="plans", number=1)
    ask(three, "bob", "msg", title="plans", text="hi").is_done(number=2)


@pytest.mark.parametrize("command", [
    "msg title=no text=hi", "dlt title=no number=1", "edt title=no number=1 text=hi", "rmv title=no",
    "rmf title=no name=a", "follow title=no", "unfollow title=no",
])  # fmt: skip
def test_a_thread_that_is_not_there(three: Stage, command: str) -> None:
    before = picture(three.world)
    action, *words = command.split()
    fields = dict(word.split("=") for word in words)
    assert three.do(action, "alice", **fields) == {"status": "NO_SUCH_THREAD", "text": 'There is no thread "no".'}
    assert {**picture(three.world), "lsn": before["lsn"]} == before and not three.recorder.take()


def test_only_the_author_changes_a_message(three: Stage) -> None:
    three.play("""
        > alice: crt title=plans
        < OK thread=plans
        > bob: msg title=plans text=mine
        < OK seq=7 number=1
          alice, bob <- post seq=7 thread=plans from=Bob number=1: mine
    """)
    ask(three, "alice", "dlt", title="plans", number=1).is_refused("NOT_OWNER", message_by("Bob"))
    ask(three, "alice", "edt", title="plans", number=1, text="x").is_refused("NOT_OWNER", message_by("Bob"))
    ask(three, "bob", "rmv", title="plans").is_refused("NOT_OWNER", thread_by("Alice"))
    for number in (0, 2, 2**53):
        text = f'There is no message {number} in the thread "plans".'
        if number:
            ask(three, "bob", "dlt", title="plans", number=number).is_refused("NO_SUCH_MESSAGE", text)


class ask:  # noqa: N801  it reads as a sentence
    """A command and its reply."""

    def __init__(self, stage: Stage, user: str, action: str, **fields: object) -> None:
        self.stage = stage
        stage.recorder.take()
        before = picture(stage.world)
        self.reply = stage.do(action, user, **fields)
        self.changed = {**picture(stage.world), "lsn": before["lsn"]} != before

    def is_refused(self, status: str, text: str, **more: object) -> None:
        assert self.reply == {"status": status, "text": text, **more}
        assert not self.changed and not self.stage.recorder.take(), "nothing came of it"

    def is_done(self, **more: object) -> None:
        assert self.reply["status"] == "OK" and more.items() <= self.reply.items()


def test_whoever_means_another_message_by_its_number_is_told(three: Stage) -> None:
    three.do("crt", "alice", title="plans")
    for text in ("one", "two", "three"):
        three.do("msg", "alice", title="plans", text=text)  # 7, 8, 9
    ask(three, "alice", "dlt", title="plans", number=2, seq=8).is_done(number=2)
    moved = "The message that you mean has the number 2 by now. Read the thread again."
    gone = "The message that you mean is gone by now. Read the thread again."
    ask(three, "alice", "dlt", title="plans", number=3, seq=9).is_refused("CHANGED", moved, number=2)
    ask(three, "alice", "edt", title="plans", number=1, seq=9, text="x").is_refused("CHANGED", moved, number=2)
    ask(three, "alice", "dlt", title="plans", number=2, seq=8).is_refused("CHANGED", gone)
    ask(three, "alice", "edt", title="plans", number=7, seq=8, text="x").is_refused("CHANGED", gone)
    ask(three, "bob", "dlt", title="plans", number=1, seq=9).is_refused("CHANGED", moved, number=2)
    ask(three, "alice", "edt", title="plans", number=2, seq=9, text="3").is_done(number=2)
    assert [item["text"] for item in read(three, "bob", "plans")["items"]] == ["one", "3"]


# Reading.


def read(stage: Stage, user: str, title: str, **fields: int) -> dict[str, object]:
    return dict(forum.read(stage.world, user, {"title": title, **fields}, stage.now))  # type: ignore[arg-type]


def attach(stage: Stage, user: str, title: str, name: str, size: int = 3) -> dict[str, object]:
    """What the edge does when the bytes are there."""
    request = {"title": title, "name": name, "size": size, "sha256": "0" * 64}
    grant = attachments.upload(stage.world, user, request, lambda pool: attachments._NOTHING_COMING)
    if isinstance(grant, dict):
        return grant
    return dict(stage.do(**grant.command, blob="blob-of-" + name.replace(" ", "-")))


def test_messages_are_numbered_and_files_stand_between_them(three: Stage) -> None:
    three.do("crt", "alice", title="Plans")
    assert read(three, "bob", "plans") == {"thread": "Plans", "status": "OK", "items": []}, "an empty one is said so"
    three.now = 10.5
    three.do("msg", "alice", title="plans", text="see")
    attach(three, "bob", "plans", "a map.txt")
    three.do("msg", "bob", title="plans", text="there")
    three.now = 11.5
    three.do("edt", "bob", title="plans", number=2, text="there!")
    first = {"seq": 7, "time": 10.5, "from": "Alice", "number": 1, "text": "see"}
    file = {"seq": 8, "time": 10.5, "from": "Bob", "file": "a map.txt", "size": 3}
    last = {"seq": 9, "time": 10.5, "from": "Bob", "number": 2, "text": "there!", "edited": 11.5}
    for _ in "again":
        assert read(three, "alice", "PLANS")["items"] == [first, file, last]
        assert read(three, "alice", "plans", count=2)["items"] == [file, last]
        assert read(three, "alice", "plans", number=2)["items"] == [first, file]
        assert read(three, "alice", "plans", count=1, number=2)["items"] == [file]
        assert read(three, "alice", "plans", number=1)["items"] == []
        assert read(three, "alice", "plans", number=3)["items"] == [first, file, last]
        assert read(three, "alice", "plans", before=9)["items"] == [first, file]
        three.save()
    three.do("dlt", "alice", title="plans", number=1)
    assert read(three, "alice", "plans")["items"] == [file, {**last, "number": 1}], "it keeps its place"
    assert read(three, "alice", "no")["status"] == "NO_SUCH_THREAD"


def test_a_long_thread_comes_in_pages(three: Stage) -> None:
    three.do("crt", "alice", title="plans")
    for number in range(1, 61):
        three.do("msg", "alice", title="plans", text=f"{number} " + "é" * 2_000)
        if number % 7 == 0:
            attach(three, "alice", "plans", f"{number}.txt")
    whole = [item["seq"] for item in read(three, "bob", "plans", before=three.lsn + 1)["items"]]  # type: ignore[union-attr]
    assert len(whole) < 20
    for count in (None, 68, 50, 3):
        pages, before, left = 0, three.lsn + 1, count
        found: list[int] = []
        while True:
            limits = {} if left is None else {"count": left}
            page = read(three, "bob", "plans", before=before, **limits)
            seqs = [item["seq"] for item in page["items"]]  # type: ignore[attr-defined]
            found, pages = seqs + found, pages + 1
            left = None if left is None else left - len(seqs)
            if "next" not in page:
                break
            before = page["next"]  # type: ignore[assignment]
        thread = forum.forum_of(three.world)["plans"]
        every = sorted([*thread.seqs, *(file.seq for file in thread.attachments.values())])
        assert found == every[-count if count else 0 :] and (pages > 2 or count == 3)


def test_the_list_of_threads(three: Stage) -> None:
    def listed(user: str, **fields: str) -> dict[str, object]:
        return dict(forum.list_threads(three.world, user, fields, 0.0))

    assert listed("alice") == {"status": "OK", "items": []}, "an empty forum is said so"
    three.now = 7.5
    three.do("crt", "alice", title="b")
    three.do("crt", "bob", title="A")
    three.do("msg", "alice", title="b", text="hi")
    b = {"title": "b", "creator": "Alice", "messages": 1, "time": 7.5, "following": True}
    a = {"title": "A", "creator": "Bob", "messages": 0, "following": False}
    assert listed("alice")["items"] == [a, b]
    assert listed("alice", after="A")["items"] == [b]
    assert listed("bob")["items"] == [{**a, "following": True}, {**b, "following": False}]


def test_a_long_list_comes_in_pages_that_are_lines(three: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FOLLOWED", 1_000)
    titles = sorted(f"{number:03}" + "x" * 61 for number in range(following.PAGE * 2 + 1))
    for title in titles:
        three.do("crt", "alice", title=title)
    for answer in (forum.list_threads, following.following):
        pages, after = [], {}
        while True:
            page = answer(three.world, "alice", after, 0.0)
            pages.append([item["title"] if isinstance(item, dict) else item for item in page["items"]])
            assert len(str(page)) < 60_000
            if "next" not in page:
                break
            after = {"after": page["next"]}
        assert [len(each) for each in pages] == [following.PAGE, following.PAGE, 1]
        assert [title for each in pages for title in each] == titles


# Accounts that go.


def test_messages_stay_when_their_author_goes_and_are_not_a_namesakes(three: Stage) -> None:
    three.do("crt", "bob", title="plans")
    three.do("msg", "bob", title="plans", text="mine")
    attach(three, "bob", "plans", "a.txt")
    three.do("depart", user="bob", session=5)
    three.do("deregister", user="bob")
    three.do("register", user="BOB", verifier="v")
    three.do("login", user="bob", address="10.0.0.1")
    assert three.world.accounts["bob"].follows is None
    for _ in "again":
        ask(three, "bob", "dlt", title="plans", number=1).is_refused("NOT_OWNER", message_by("Bob"))
        ask(three, "bob", "rmv", title="plans").is_refused("NOT_OWNER", thread_by("Bob"))
        text = '"a.txt" is a file of "Bob", and the thread one of "Bob".'
        ask(three, "bob", "rmf", title="plans", name="a.txt").is_refused("NOT_OWNER", text)
        three.save()
    assert [item["from"] for item in read(three, "alice", "plans")["items"]] == ["Bob", "Bob"]  # type: ignore[attr-defined]
    three.do("follow", "alice", title="plans")
    three.recorder.take()
    three.play(f"""
        > remove_thread title=PLANS
        < OK thread=plans
          alice <- thread_removed seq={three.lsn + 1} thread=plans from=system
          unlinked blob-of-a.txt
    """)


def test_a_name_written_anew_is_the_same_account(three: Stage) -> None:
    three.do("crt", "bob", title="plans")
    three.do("msg", "bob", title="plans", text="mine")
    three.do("edit", accounts={"BOB": "v2"})
    ask(three, "bob", "edt", title="plans", number=1, text="still mine").is_done(number=1)
    ask(three, "bob", "rmv", title="plans").is_done()


def test_the_administrator_asks_for_a_thread_that_is_not_there(three: Stage) -> None:
    three.play("""
        > remove_thread title=plans
        < NO_SUCH_THREAD: There is no thread "plans".
    """)


# Files.


def test_files_in_threads(three: Stage) -> None:
    three.do("crt", "alice", title="plans")
    assert attach(three, "bob", "Plans", "a.txt") == {"status": "OK", "seq": 7}
    (heard,) = three.recorder.take()
    assert heard[1] == ("alice", "bob") and b'"event":"upload"' in heard[2] and b'"name":"a.txt","size":3' in heard[2]
    refused = attach(three, "alice", "plans", "a.txt")
    assert refused["status"] == "FILE_EXISTS" and refused["sha256"] == "0" * 64, "so that its sender knows it again"
    assert attach(three, "alice", "no", "a.txt")["status"] == "NO_SUCH_THREAD"
    assert attach(three, "alice", "plans", "A.txt")["status"] == "OK"
    three.recorder.take()
    grant = attachments.download(three.world, "alice", {"title": "PLANS", "name": "a.txt"}, lambda pool: None)  # type: ignore[arg-type,return-value]
    assert (grant.blob, grant.size, grant.sha256) == ("blob-of-a.txt", 3, "0" * 64)  # type: ignore[union-attr]
    for title, name, status in (("plans", "b.txt", "NO_SUCH_FILE"), ("no", "a.txt", "NO_SUCH_THREAD")):
        refused = attachments.download(three.world, "alice", {"title": title, "name": name}, lambda pool: None)  # type: ignore[arg-type,return-value]
        assert refused["status"] == status  # type: ignore[index]
    three.save()
    assert sorted(attachments.blobs(three.world)) == ["blob-of-A.txt", "blob-of-a.txt"]
    ask(three, "bob", "rmf", title="plans", name="A.txt").is_refused(
        "NOT_OWNER", '"A.txt" is a file of "Alice", and the thread one of "Alice".'
    )
    ask(three, "bob", "rmf", title="plans", name="b.txt").is_refused(
        "NO_SUCH_FILE", 'There is no file "b.txt" in the thread "plans".'
    )
    ask(three, "alice", "rmf", title="plans", name="a.txt").is_done()
    assert ("unlinked", "blob-of-a.txt") in three.recorder.take()
    assert attach(three, "bob", "plans", "a.txt")["status"] == "OK", "the name is free again"
    ask(three, "bob", "rmf", title="plans", name="a.txt").is_done()


def test_a_threads_files_have_limits(three: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    three.do("crt", "alice", title="plans")
    three.do("edit", parameters={"MAX_FILE_SIZE": 100, "THREAD_QUOTA": 150})
    monkeypatch.setattr(attachments, "FILES", 3)
    refused = attach(three, "bob", "plans", "a", 101)
    assert refused == {"status": "FILE_TOO_LARGE", "text": '"a" has 101 bytes; 100 are allowed.'}
    assert attach(three, "bob", "plans", "a", 100)["status"] == "OK"
    refused = attach(three, "alice", "plans", "b", 51)
    assert refused == {"status": "QUOTA_EXCEEDED", "text": '"b" has 51 bytes; the thread "plans" has room for 50.'}
    assert attach(three, "alice", "plans", "b", 50)["status"] == "OK"
    assert attach(three, "alice", "plans", "c", 0)["status"] == "OK"
    refused = attach(three, "alice", "plans", "d", 0)
    assert refused == {"status": "TOO_MANY_FILES", "text": 'There are 3 files in the thread "plans".'}
    three.do("rmf", "bob", title="plans", name="a")
    assert attach(three, "alice", "plans", "d", 100)["status"] == "OK", "there is room again"


def test_what_changed_while_the_bytes_came_is_looked_at_again(three: Stage) -> None:
    three.do("crt", "alice", title="plans")
    request = {"title": "plans", "name": "a", "size": 3, "sha256": "0" * 64}
    grant = attachments.upload(three.world, "bob", request, lambda pool: attachments._NOTHING_COMING)
    assert not isinstance(grant, dict)
    came = {**grant.command, "blob": "b"}
    assert attach(three, "alice", "plans", "a")["status"] == "OK"
    assert three.do(**came)["status"] == "FILE_EXISTS"
    three.do("rmv", "alice", title="plans")
    assert three.do(**came)["status"] == "NO_SUCH_THREAD"
    three.do("crt", "alice", title="plans")
    assert three.do(**came)["status"] == "NO_SUCH_THREAD", "another thread of that title"
    again = attachments.upload(three.world, "bob", request, lambda pool: attachments._NOTHING_COMING)
    assert not isinstance(again, dict) and again.identity != grant.identity
    three.do("depart", user="bob", session=5)
    three.do("deregister", user="bob")
    assert three.do(**again.command, blob="b")["status"] == "NO_SUCH_USER"
    three.do("register", user="bob", verifier="v")
    assert three.do(**again.command, blob="b")["status"] == "NO_SUCH_USER", "another user of that name"


# Following.


def test_whoever_follows_hears_of_it_and_nobody_else(three: Stage) -> None:
    three.play("""
        > alice: crt title=plans
        < OK thread=plans
        > alice: msg title=plans text=early
        < OK seq=7 number=1
          alice <- post seq=7 thread=plans from=Alice number=1: early
        > bob: follow title=PLANS
        < OK thread=plans
        > bob: follow title=plans
        < OK thread=plans
        > alice: msg title=plans text=now
        < OK seq=10 number=2
          alice, bob <- post seq=10 thread=plans from=Alice number=2: now
        > bob: unfollow title=plans
        < OK thread=plans
        > bob: unfollow title=plans
        < OK thread=plans
        > alice: unfollow title=plans
        < OK thread=plans
        > bob: broadcast text=all
        < OK seq=14 undelivered=0
          alice, bob <- broadcast seq=14 from=Bob: all
        > alice: edt title=plans number=1 text=late
        < OK seq=15 number=1
          nobody <- edit seq=15 thread=plans from=Alice number=1 of=7: late
        > bob: msg title=plans text=again
        < OK seq=16 number=3
          bob <- post seq=16 thread=plans from=Bob number=3: again
    """)


def test_what_was_missed_waits_and_is_merged_with_all_else(three: Stage) -> None:
    three.play("""
        > alice: crt title=plans
        < OK thread=plans
        > bob: follow title=plans
        < OK thread=plans
        > depart user=bob session=5
        < OK
          alice <- presence user=Bob online=False
        > alice: message to=bob text=one
        < OK seq=9 delivered=False
        > alice: msg title=plans text=two
        < OK seq=10 number=1
          alice <- post seq=10 thread=plans from=Alice number=1: two
        > alice: broadcast text=three
        < OK seq=11 undelivered=0
          alice <- broadcast seq=11 from=Alice: three
        > save
        > alice: edt title=plans number=1 text=four
        < OK seq=12 number=1
          alice <- edit seq=12 thread=plans from=Alice number=1 of=10: four
        > bob unread
        = 4
        > bob gets
        = Alice: one, Alice: two, Alice: three, Alice: four
        > seen 'seen={"bob":11}'
        < OK
        > bob gets
        = Alice: four
        > carol unread
        = 1
    """)


def test_blocks_hide_what_happens_and_not_what_is_read(three: Stage) -> None:
    three.do("crt", "bob", title="plans")
    three.do("follow", "alice", title="plans")
    three.do("follow", "alice", title="plans")
    three.do("block", "alice", user="bob")
    three.recorder.take()
    three.play("""
        > bob: msg title=plans text=hidden
        < OK seq=10 number=1
          bob <- post seq=10 thread=plans from=Bob number=1: hidden
        > alice unread
        = 0
        > alice: unblock user=bob
        < OK user=Bob
        > bob: msg title=plans text=heard
        < OK seq=12 number=2
          alice, bob <- post seq=12 thread=plans from=Bob number=2: heard
        > alice gets
        = Bob: heard
        > alice: block user=bob
        < OK user=Bob
        > bob: rmv title=plans
        < OK seq=14 thread=plans
          alice, bob <- thread_removed seq=14 thread=plans from=Bob
    """)


def test_a_block_does_not_apply_to_reading(three: Stage) -> None:
    three.do("crt", "bob", title="plans")
    three.do("block", "alice", user="bob")
    three.do("msg", "bob", title="plans", text="hidden")
    assert [item["text"] for item in read(three, "alice", "plans")["items"]] == ["hidden"]  # type: ignore[attr-defined]


def test_what_one_follows(three: Stage) -> None:
    def followed(user: str) -> list[object]:
        return list(following.following(three.world, user, {}, 0.0)["items"])

    assert followed("bob") == []
    three.do("crt", "alice", title="b")
    three.do("crt", "alice", title="A")
    three.do("msg", "bob", title="b", text="hi")
    three.save()
    assert (followed("alice"), followed("bob")) == (["A", "b"], ["b"])
    three.do("rmv", "alice", title="b")
    three.do("crt", "alice", title="B")
    three.save()
    assert (followed("alice"), followed("bob")) == (["A", "B"], []), "another thread of that title is not followed"


def test_one_follows_only_so_many(three: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FOLLOWED", 2)
    monkeypatch.setattr(following, "GRAVES", 0)
    for title in "abc":
        three.do("crt", "alice", title=title)
    assert list(three.world.accounts["alice"].follows or ()) == ["#a/6", "#b/7"], "the third is not followed"
    ask(three, "alice", "follow", title="c").is_refused(
        "TOO_MANY_THREADS", "You follow 2 threads: unfollow one first."
    )
    ask(three, "alice", "follow", title="a").is_done()
    three.do("rmv", "alice", title="a")
    ask(three, "alice", "follow", title="c").is_done()
    assert list(three.world.accounts["alice"].follows or ()) == ["#b/7", "#c/8"], "what is gone is forgotten"
    three.save()


def test_the_stream_of_a_removed_thread_stays_for_a_while(three: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "GRAVES", 2)
    for title in ("one", "two", "three"):
        three.do("crt", "alice", title=title)
    three.do("follow", "bob", title="one")
    three.do("depart", user="bob", session=5)
    three.do("msg", "alice", title="one", text="missed")
    before = three.world.unread(three.world.accounts["bob"])
    three.do("rmv", "alice", title="one")
    three.save()
    assert three.world.unread(three.world.accounts["bob"]) == before + 1 == 2, "what was missed, and that it is gone"
    for title in ("two", "three"):
        three.do("rmv", "alice", title=title)
    assert list(three.world.streams) == ["all", "#two/7", "#three/8"]
    assert three.world.unread(three.world.accounts["bob"]) == 0
    three.save()


class NotWalked(dict[str, SharedStream]):
    """Streams of which there may be very many."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all streams were looked through")


def test_what_it_costs_to_remove_a_thread_does_not_grow_with_the_others(
    three: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "GRAVES", 2)
    for title in ("one", "two", "three", "four", "five"):
        three.do("crt", "alice", title=title)
    three.do("rmv", "alice", title="three")
    three.save()
    three.do("rmv", "alice", title="two")
    three.world.streams = NotWalked(three.world.streams)
    three.do("rmv", "alice", title="one")
    three.world.streams = dict(three.world.streams.items())
    assert [name.partition("/")[0] for name in three.world.streams] == ["all", "#four", "#five", "#two", "#one"]
    three.save()


def test_a_post_to_many_followers_costs_one_line_and_one_effect(three: Stage) -> None:
    three.do("crt", "alice", title="plans")
    for number in range(500):
        three.do("register", user=f"u{number}", verifier="v")
        three.do("login", user=f"u{number}", address="10.0.0.1")
        three.do("follow", f"u{number}", title="plans")
    command = {"action": "msg", "at": 1.0, "by": "alice", "title": "plans", "text": "hi"}
    _, effects, _ = three.world.execute(command)
    ((kind, line, (stream, excluded)),) = effects
    assert kind == "publish" and stream == "#plans/6" and not excluded and line.count(b"\n") == 1


def test_old_messages_that_go_leave_threads_whole(three: Stage) -> None:
    three.do("crt", "alice", title="plans")
    for number in range(300):
        three.do("msg", "alice", title="plans", text=f"{number}")
    whole = read(three, "bob", "plans")
    assert three.world.unread(three.world.accounts["alice"]) == 300
    three.do("expire", before=three.lsn + 1, offset=three.world.store_end)
    assert three.world.unread(three.world.accounts["alice"]) == 0
    three.save()
    assert read(three, "bob", "plans") == whole and len(whole["items"]) == 300  # type: ignore[arg-type]
    three.do("msg", "alice", title="plans", text="on")
    assert three.world.unread(three.world.accounts["alice"]) == 1
