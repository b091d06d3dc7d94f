"""Who is silent, and whose clock is off, by a clock that the test moves."""

from __future__ import annotations

from chatlib.cluster.members import OFF, SILENT, WRONG, Members

UP = ("a", "b", "c")


class Story:
    """What the node `a` hears. All clocks are right unless `ahead` says more."""

    def __init__(self) -> None:
        self.members, self.now = Members("a"), 100.0
        self.ahead = dict.fromkeys(UP, 0.0)

    def seconds(self, count: int, *nodes: str, late: float = 0.0) -> None:
        """In each second a batch of each of `nodes`, made so many seconds before."""
        for _ in range(count):
            self.now += 1.0
            for node in nodes:
                self.members.heard(node, 1e9 + self.now + self.ahead[node] - late, self.now, 1e9 + self.now)

    def silent(self) -> list[str]:
        return self.members.silent(UP)


def test_who_says_nothing_for_five_seconds_is_silent() -> None:
    story = Story()
    story.seconds(3, "a", "b", "c")
    story.seconds(int(SILENT) - 1, "a", "b")
    assert story.silent() == []
    story.seconds(1, "a", "b")
    assert story.silent() == ["c"]
    story.seconds(1, "a", "b", "c")
    assert story.silent() == []


def test_nobody_is_silent_while_nothing_of_ours_comes_back() -> None:
    story = Story()
    story.seconds(3, "a", "b", "c")
    story.now += 60.0  # no quorum
    assert story.silent() == []
    story.seconds(1, "a")  # ours is the first; the others' follow
    assert story.silent() == []
    story.seconds(4, "a", "b")
    assert story.silent() == ["c"]


def test_who_stood_still_itself_learns_nothing_of_clocks_from_what_has_waited() -> None:
    story = Story()
    story.seconds(3, "a", "b", "c")
    story.now += 20.0  # and reads what was said meanwhile, of its own batch first
    wall = 1e9 + story.now
    story.members.heard("a", wall - 20.0, story.now, wall)
    for second in range(4):
        for node in ("b", "c"):
            story.members.heard(node, wall - 19.9 + second, story.now, wall)
    assert story.members.lead(story.now, UP) == 0.0
    story.seconds(3, "a", "b", "c")
    assert story.members.lead(story.now, UP) == 0.0


def test_who_was_up_before_we_came_has_the_same_time() -> None:
    story = Story()
    story.seconds(1, "a")
    assert story.silent() == []
    story.seconds(4, "a", "b")
    assert story.silent() == []
    story.seconds(1, "a", "b")
    assert story.silent() == ["c"]


def test_who_comes_up_again_is_not_silent_at_once() -> None:
    story = Story()
    story.seconds(9, "a", "b")
    story.members.came("c")
    assert story.silent() == []


def test_we_are_never_silent_ourselves() -> None:
    story = Story()
    story.seconds(1, "a", "b", "c")
    story.seconds(9, "b", "c")
    assert story.silent() == []


def test_coming_up_anew_counts_anew() -> None:
    story = Story()
    story.seconds(9, "a", "b")
    story.members.begin()
    assert story.silent() == []
    story.seconds(4, "a", "b")
    assert story.silent() == []


def test_a_clock_that_is_off_is_told_from_the_others() -> None:
    story = Story()
    story.ahead["c"] = 3.0
    story.seconds(5, "a", "b", "c")
    ahead = story.members.ahead(story.now, UP)
    assert ahead == {"b": 0.0, "c": 3.0}
    assert abs(story.members.lead(story.now, UP)) < OFF


def test_ours_is_wrong_when_the_others_agree() -> None:
    for off in (-12.0, 12.0):
        story = Story()
        story.ahead.update(b=off, c=off + 0.5)
        story.seconds(5, "a", "b", "c")
        assert abs(story.members.lead(story.now, UP) + off) <= 0.5
        assert abs(story.members.lead(story.now, UP)) >= WRONG


def test_of_two_the_one_that_is_ahead_is_wrong() -> None:
    story = Story()
    story.ahead["b"] = 12.0
    story.seconds(5, "a", "b")
    assert story.members.lead(story.now, UP) == 0.0
    story = Story()
    story.ahead["b"] = -12.0
    story.seconds(5, "a", "b")
    assert story.members.lead(story.now, UP) == 12.0


def test_a_batch_that_waited_says_nothing_of_a_clock() -> None:
    story = Story()
    story.seconds(2, "a", "b", "c", late=0.3)
    story.seconds(5, "a", "b", "c", late=20.0)  # sent again and again
    story.seconds(2, "a", "b", "c", late=0.01)
    assert abs(story.members.ahead(story.now, UP)["b"]) < 0.1


def test_what_waited_while_we_stood_still_says_nothing() -> None:
    story = Story()
    story.seconds(2, "a", "b")
    story.now += 30.0
    for late in range(30, 0, -1):  # what the others said meanwhile
        story.members.heard("b", 1e9 + story.now - late, story.now, 1e9 + story.now)
    assert story.members.ahead(story.now, UP) == {}
    assert story.silent() == []


def test_one_reading_is_none() -> None:
    story = Story()
    story.seconds(2, "a", "b", late=50.0)
    assert story.members.ahead(story.now, UP) == {}


def test_who_is_down_has_no_clock() -> None:
    story = Story()
    story.ahead.update(b=-20.0, c=-20.0)
    story.seconds(5, "a", "b", "c")
    assert story.members.lead(story.now, ("a",)) == 0.0


def test_before_we_come_up_what_the_log_holds_says_who_is_ahead() -> None:
    story = Story()
    story.members.begin()
    assert story.members.lead(story.now, UP, least=1) == 0.0
    story.ahead.update(b=12.0, c=12.0)
    story.seconds(1, "b", "c", late=1.0)
    assert story.members.lead(story.now, UP, least=1) == -11.0
    assert story.members.spoke(UP, 1) and not story.members.spoke(UP, 2)
    assert story.members.lead(story.now, UP) == 0.0, "later, more must be heard, and of us as well"
