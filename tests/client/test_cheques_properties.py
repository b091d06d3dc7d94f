"""The book of cheques on disk, under whatever comes: written, cashed, ended, killed in the middle of a line."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol.cheque import Cheque, signed, write
from tests.client.test_cheques import TIME, Payer, tells

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("writes"), st.integers(1, 10**12)),
        st.tuples(st.sampled_from(["cashed", "given", "done"]), st.integers(0, 5)),
        st.tuples(st.sampled_from(["again", "ends"]), st.just(0)),
        st.tuples(st.just("killed"), st.integers(1, 40)),
    ),
    max_size=25,
)


class Story:
    """What a payer does, and what should be in the book then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.payer = Payer(folder).log_in()
        self.written: list[str] = []  # lines, oldest first
        self.given: list[str] = []
        self.seq = 0

    def writes(self, amount: int) -> None:
        line = self.payer.writes(amount, memo="t" * (amount % 7))
        assert signed(line, self.payer.key)
        self.written.append(line)

    def cashed(self, index: int) -> None:
        if index < len(self.written):
            self.seq += 1
            line = self.written.pop(index)
            tells(self.payer, {"event": "cheque_cashed", "seq": self.seq, "number": line.split(" ")[4]})

    def given_one(self, index: int) -> None:
        line = write(Cheque("ann", "bob", index + 1, f"{index:016x}", TIME + 1_000), b"ann's")
        self.payer.cheques.give(line, "ann", self.payer.wire.now)
        self.given = [each for each in self.given if each != line] + [line]

    def done(self, index: int) -> None:
        if index < len(self.given):
            self.payer.cheques.done_with(self.given.pop(index))

    def again(self) -> None:
        self.payer.hears(self.payer.wire.cut())
        told = len(self.payer.wire.news)
        self.payer.wire.connect()
        self.payer.hears(self.payer.wire.news[told:])

    def ends(self) -> None:
        self.payer.ends()
        self.payer = Payer(self.folder, self.payer.wire.server).log_in()

    def killed(self, size: int) -> None:
        """While it wrote one more: a part of that line is there."""
        self.payer.ends()
        path = self.folder / "e1" / "bob.cheques"
        whole = path.read_bytes() if path.exists() else b""
        path.write_bytes(whole + b'{"to":"ann","amount":5,"number":"0000000000000000","expiry":1800600000'[:size])
        self.payer = Payer(self.folder, self.payer.wire.server).log_in()

    def holds(self) -> None:
        cheques, now = self.payer.cheques, self.payer.wire.now
        assert [write(each, self.payer.key) for each in cheques.written(now)] == self.written
        assert [line for each in cheques.given(now) for line in cheques.lines(each.number)] == self.given
        assert self.payer.complaints == []


@given(STEPS)
def test_the_book_is_what_was_written_and_not_cashed(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder))
        for step, number in steps:
            match step:
                case "writes":
                    story.writes(number)
                case "cashed":
                    story.cashed(number)
                case "given":
                    story.given_one(number)
                case "done":
                    story.done(number)
                case "again":
                    story.again()
                case "ends":
                    story.ends()
                case "killed":
                    story.killed(number)
            story.holds()
        story.payer.ends()
