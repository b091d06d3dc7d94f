"""Words as they are typed, and sizes as they are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol import kinds
from chatlib.protocol.commands import Role, parse
from chatlib.protocol.words import BadQuotes, last_word, quoted, readable_size, rest_quoted, split_words


@pytest.mark.parametrize(("size", "text"), [
    (0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_000, "1.0 kB"), (1_234_567, "1.2 MB"), (99_960, "100 kB"),
    (999_499, "999 kB"), (999_500, "1.0 MB"), (12.5e9, "12.5 GB"), (1 << 30, "1.1 GB"), (10**20, "100000 PB"),
    (10**400, "of unknown size"),
    (None, "of unknown size"), ("7", "of unknown size"), (-1, "of unknown size"),
])  # fmt: skip
def test_readable_sizes(size: object, text: str) -> None:
    assert readable_size(size) == text


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\u2028\u2029"),
                        min_size=1)))  # fmt: skip
def test_quoted_words_come_back(words: list[str]) -> None:
    line = " ".join(map(quoted, words))
    assert split_words(line) == words
    if words:
        start, word, quote = last_word(line)
        assert (line[start:], word, quote) == (quoted(words[-1]), words[-1], "")


def test_an_open_quote() -> None:
    with pytest.raises(BadQuotes, match="A quote is not closed"):
        split_words("it's")
    assert last_word("file bob 'my re") == (9, "my re", "'")
    assert last_word('file bob "my re') == (9, "my re", '"')
    assert last_word("file bob 'a b'/c") == (9, "a b/c", "")
    assert last_word("file bob ") == (9, "", "")


@given(st.text(st.sampled_from("ab \"'\u2003é"), min_size=1, max_size=6).filter(kinds.NEW_FILE_NAME.accepts))
def test_a_name_that_takes_the_rest_of_the_line_comes_back(name: str) -> None:
    assert parse(f"dwn plans {rest_quoted(name)}", Role.USER)[1] == {"title": "plans", "name": name}
