"""Threads against a plain list: whatever is done by whom, in whatever order, and whatever people write."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from chatlib.core import forum, threads
from chatlib.core.threads import forum_of
from chatlib.protocol.text import is_title
from tests.core.stage import HOST, Stage, picture

USERS = ("ann", "bob", "cyd")
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
NAMES = TEXTS.filter(lambda name: name not in (".", "..") and not {"/", "\\"} & set(name))
TITLES = st.text("aZ09!@#$%.?,", min_size=1, max_size=8) | st.sampled_from(["..", "CON", "%2e%2e", "lpt9", "Aux"])


class Entry(NamedTuple):
    """What stands in the plain list."""

    seq: int
    who: tuple[str, int]  # a user, and the how-manieth of that name
    text: str
    is_file: bool
    edited: bool = False


class Story:
    """A stage with one thread, and beside it the plain list; each user has a view, which may be out of date."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.entries: list[Entry] = []
        self.lives = dict.fromkeys(USERS, 0)
        self.views: dict[str, list[int]] = {user: [] for user in USERS}
        for user in USERS:
            self.come(user)
        self.stage.do("crt", "ann", title="Plans")

    def come(self, user: str) -> None:
        self.stage.do("register", user=user, verifier="v")
        self.stage.do("login", user=user, address=HOST)

    def me(self, user: str) -> tuple[str, int]:
        return user, self.lives[user]

    def messages(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.is_file]

    # What is done.

    def post(self, user: str, text: str) -> None:
        reply = self.stage.do("msg", user, title="plans", text=text)
        self.entries.append(Entry(self.stage.lsn, self.me(user), text, False))
        assert reply == {"status": "OK", "seq": self.stage.lsn, "number": len(self.messages())}

    def attach(self, user: str, name: str) -> None:
        account = self.stage.world.accounts[user]
        reply = self.stage.do("attached", user=user, joined=account.joined, title="plans",
                              created=forum_of(self.stage.world)["plans"].created, name=name, size=1,
                              sha256="0", blob="b")  # fmt: skip
        there = name in {entry.text for entry in self.entries if entry.is_file}
        assert reply["status"] == ("FILE_EXISTS" if there else "OK")
        if not there:
            self.entries.append(Entry(self.stage.lsn, self.me(user), name, True))

    def detach(self, user: str, name: str) -> None:
        found = [entry for entry in self.entries if entry.is_file and entry.text == name]
        status = self.stage.do("rmf", user, title="plans", name=name)["status"]
        if not found:
            assert status == "NO_SUCH_FILE"
        elif self.me(user) in (found[0].who, ("ann", 0)):
            assert status == "OK"
            self.entries.remove(found[0])
        else:
            assert status == "NOT_OWNER"

    def look(self, user: str) -> None:
        self.views[user] = [entry.seq for entry in self.messages()]

    def delete(self, user: str, number: int, text: str | None = None) -> None:
        """Or edit, by a number that the user saw some time ago, with the seq that stood there; or by a number alone."""
        view, messages = self.views[user], self.messages()
        seq = {"seq": view[number - 1]} if number <= len(view) else {}
        fields = {"title": "PLANS", "number": number, **seq, **({"text": text} if text else {})}
        status = self.stage.do("edt" if text else "dlt", user, **fields)["status"]
        if seq and (number > len(messages) or messages[number - 1].seq != seq["seq"]):
            assert status == "CHANGED"
        elif number > len(messages):
            assert status == "NO_SUCH_MESSAGE"
        elif messages[number - 1].who != self.me(user):
            assert status == "NOT_OWNER"
        else:
            assert status == "OK"
            place = self.entries.index(messages[number - 1])
            if text:
                self.entries[place] = messages[number - 1]._replace(text=text, edited=True)
            else:
                del self.entries[place]

    def leave(self, user: str) -> None:
        """And come anew, as somebody else."""
        self.stage.do("depart", user=user, session=self.stage.world.online[user].login)
        self.stage.do("deregister", user=user)
        self.lives[user] += 1
        self.come(user)

    def save(self) -> None:
        self.stage.save()

    # What must hold.

    def check(self, chance: int) -> None:
        whole = self.read()
        numbers = iter(range(1, len(whole) + 1))
        for item, entry in zip(whole, self.entries, strict=True):
            assert (item["seq"], item["from"]) == (entry.seq, entry.who[0])
            assert item.get("number") == (None if entry.is_file else next(numbers))
            assert item["file" if entry.is_file else "text"] == entry.text and ("edited" in item) == entry.edited
        count, number = chance % 5 + 1, chance % 7 + 1
        assert self.read(count=count) == whole[-count:]
        behind = next((place for place, item in enumerate(whole) if item.get("number") == number), len(whole))
        assert self.read(number=number) == whole[:behind]
        assert self.read(count=count, number=number) == whole[:behind][-count:]

    def read(self, **fields: int) -> list[dict[str, Any]]:
        return list(forum.read(self.stage.world, "bob", {"title": "plans", **fields}, 0.0)["items"])


A_USER, A_NUMBER, A_NAME = st.sampled_from(USERS), st.integers(1, 8), st.sampled_from(["a", "b", "c d"])
STEPS = st.lists(st.one_of(
    st.tuples(st.just("post"), A_USER, TEXTS), st.tuples(st.just("post"), A_USER, TEXTS),
    st.tuples(st.just("attach"), A_USER, A_NAME), st.tuples(st.just("detach"), A_USER, A_NAME),
    st.tuples(st.just("look"), A_USER), st.tuples(st.just("delete"), A_USER, A_NUMBER),
    st.tuples(st.just("delete"), A_USER, A_NUMBER, TEXTS), st.tuples(st.just("save")),
    st.tuples(st.just("leave"), A_USER),
), min_size=10, max_size=50)  # fmt: skip


@given(STEPS)
def test_a_thread_is_a_plain_list(steps: list[tuple[Any, ...]]) -> None:
    story = Story()
    for number, (what, *values) in enumerate(steps):
        getattr(story, what)(*values)
        story.check(number)
    assert picture(story.stage.replayed()) == picture(story.stage.world)


@given(
    st.lists(TITLES, min_size=1, max_size=5, unique_by=str.lower),
    st.lists(st.tuples(st.sampled_from(["12", "uploaded", "1", "a.b-c_"]), TEXTS | NAMES, st.booleans()), max_size=12),
)
def test_whatever_people_write_comes_back_from_the_files(titles: list[str], said: list[tuple[str, str, bool]]) -> None:
    stage = Stage()
    for user in ("12", "uploaded", "1", "a.b-c_"):
        stage.do("register", user=user, verifier="v")
        stage.do("login", user=user, address=HOST)
    for number, title in enumerate(titles):
        assert is_title(title)
        stage.do("crt", "12", title=title)
        for user, text, is_file in said[number:]:
            stage.now += 0.1
            if is_file:
                stage.do("attached", user=user, joined=stage.world.accounts[user].joined, title=title,
                         created=forum_of(stage.world)[title.lower()].created, name=text, size=3, sha256="ab",
                         blob="b")  # fmt: skip
            else:
                stage.do("msg", user, title=title, text=text)
                stage.do("edt", user, title=title, number=1, text=text[::-1])
    stage.save()
    names = [name for name, _ in threads.names(stage.world)]
    assert len({name.casefold() for name in names}) == len(titles)
    for name in names:
        assert name.isascii() and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789%")
        first, *lines = threads.dump(stage.world, name)
        assert first.partition("\t")[0] == "12"
        for line in lines:
            assert line.count("\t") == 1 and "\n" not in line


@given(st.lists(st.text("a%.2eE5fcon", min_size=1, max_size=6), min_size=2, max_size=30))
def test_no_two_titles_have_one_file(titles: list[str]) -> None:
    folded = {title.lower() for title in titles}
    assert len({threads.file_name(title) for title in folded}) == len(folded)


def test_a_title_of_any_length_is_a_files_name() -> None:
    for title in ("!" * 64, "a" * 64, "." * 64):
        assert len(threads.file_name(title)) <= 3 * 64
    assert threads.file_name("con") == "%63on" and threads.file_name("com10") == "com10"
