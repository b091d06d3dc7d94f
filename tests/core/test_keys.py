"""What is kept on disk for a key: a fingerprint of the request, which must stay the same as the code changes."""

from __future__ import annotations

import pytest

from chatlib.core.features import HANDLERS
from chatlib.protocol.commands import ACTIONS
from tests.core.stage import Stage

# Once published, these are for ever: a home keeps them, and a client asks again with the same key.
KEPT = {
    ("message", "to=bob", "text=hi"): "70dbd67d",
    ("send", "to=bob", "text=hi"): "70dbd67d",
    ("broadcast", "text=hi"): "75d26de2",
    ("block", "user=bob"): "7a27bd77",
    ("unblock", "user=bob"): "4d55bc7c",
    ("received", "from=bob", "name=a.txt", "sha256=0"): "074c4c46",
    ("received", "from=bob", "name=a.txt"): "0815924e",  # of an earlier version, whose journal may be replayed
    ("crt", "title=plans"): "961568ef",
    ("msg", "title=plans", "text=hi"): "78c69e28",
    ("dlt", "title=plans", "number=3"): "55390749",
    ("dlt", "title=plans", "number=3", "seq=57"): "c0ab8aad",
    ("edt", "title=plans", "number=3", "text=hi"): "fb859dd8",
    ("rmv", "title=plans"): "3bf61199",
    ("rmf", "title=plans", "name=a.txt"): "7c5d4417",
    ("follow", "title=plans"): "dc640960",
    ("unfollow", "title=plans"): "af135a2d",
    ("pay", "to=nobody", "amount=3"): "98478899",
    ("pay", "to=nobody", "amount=3", "memo=tea"): "3567fc98",
    ("cash", "cheque=cheque/1"): "56cbd52c",
    ("filedecline", "from=bob", "name=a.txt"): "6bd27c2a",
    ("allow", "user=bob"): "4650b9fd",
    ("disallow", "user=bob"): "adf272ca",
}


@pytest.mark.parametrize("words", KEPT, ids=lambda words: words[0])
def test_a_fingerprint_stays_what_it_was(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    handler = HANDLERS[words[0]]
    monkeypatch.setattr(handler, "__name__", "renamed")
    stage = Stage()
    for user in ("alice", "bob"):
        stage.do("register", user=user, verifier="v")
    stage.do("login", user="alice", address="10.0.0.1")
    action, *fields = words
    stage.do(action, "alice", key="k", **dict(field.split("=") for field in fields))
    replies = stage.world.accounts["alice"].replies
    assert replies is not None
    assert replies["k"][:8] == KEPT[words]


def test_every_command_that_takes_a_key_is_among_them() -> None:
    assert {row.name for row in ACTIONS.values() if row.takes_key} <= {words[0] for words in KEPT}
    assert not any(ACTIONS[name].takes_key for name in ("register", "logout", "login", "password", "whoelse"))
