"""The command table: every row well-formed, and the three operations on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatlib.protocol import kinds
from chatlib.protocol.commands import (
    ACTIONS,
    COMMON,
    IN_STATE,
    IS_WELL_FORMED,
    TABLE,
    Field,
    Role,
    Row,
    Runs,
    State,
    UsageError,
    check,
    find,
    parse,
    status,
    typed_by,
    usage,
)
from chatlib.protocol.framing import encode
from chatlib.protocol.kinds import Kind
from chatlib.protocol.scram import make_verifier
from tests.chance import new_chance

VERIFIER = str(make_verifier("pencil", 4096))
EXAMPLES: dict[Kind, object] = {
    kinds.PROTOCOL: 1, kinds.CLIENT: "c1", kinds.NAME: "Bob", kinds.VERIFIER: VERIFIER, kinds.SEQ: 812,
    kinds.SCRAM: "n,,n=bob,r=abcdefgh", kinds.TEXT: "hi there", kinds.MINUTES: 5, kinds.COUNT: 10,
    kinds.PORT: 1234,
    kinds.FILE_NAME: "a file.txt", kinds.NEW_FILE_NAME: "a file.txt", kinds.SHA256: "0" * 64, kinds.TICKET: "t1",
    kinds.FLAG: True, kinds.TITLE: "plans", kinds.PLACE: "#plans", kinds.NUMBER: 3, kinds.LINE: "kick bob",
    kinds.WORDS: "two words",
    kinds.AMOUNT: 250, kinds.MEMO: "for tea", kinds.CHEQUE: "cheque/1 ...", kinds.KEY: "k1",
}  # fmt: skip
FIELDS = {field.name for row in TABLE.rows for field in row.fields}
WIRE = [row for row in TABLE.rows if row.on_the_wire]


def ids(rows: list[Row]) -> list[str]:
    return [f"{row.role.value} {row.name}" for row in rows]


# Rows.


@pytest.mark.parametrize("row", TABLE.rows, ids=ids(TABLE.rows))
def test_a_row_is_well_formed(row: Row) -> None:
    assert row.help
    assert not row.help.endswith(".")
    assert len(row.help) < 80
    for name in (row.name, *row.aliases):
        assert re.fullmatch(r"[a-z_-]+( [a-z]+)?|/[a-z]+|[?]", name), name
    names = [field.name for field in row.fields]
    assert len(set(names)) == len(names)
    assert not set(names) & set(COMMON)
    if row.role is not Role.WIRE:
        required = [field.must_be_typed for field in row.typed]
        assert required == sorted(required, reverse=True), "what may be left out stands last"
        assert not any(p.kind.rest_of_line for p in row.typed[:-1]), "only the last takes the rest of the line"
    assert row.states
    assert row.states <= set(State)


@pytest.mark.parametrize("roles", [(Role.WIRE, Role.USER), (Role.USER, Role.LOCAL), (Role.ADMIN,)])
def test_names_and_aliases_are_unique_for_whoever_says_them(roles: tuple[Role, ...]) -> None:
    names = [name for row in typed_by(*roles) for name in (row.name, *row.aliases)]
    assert sorted(set(names)) == sorted(names)


def test_what_people_know_from_elsewhere() -> None:
    for typed, name in {
        "send bob hi": "message", "message bob hi": "message", "online": "whoelse", "whoelse": "whoelse",
        "blacklist add bob": "block", "blacklist rm bob": "unblock", "block bob": "block", "unblock bob": "unblock",
        "blacklist": "blacklist", "exit": "logout", "quit": "logout", "logout": "logout", "history 0": "history",
        "wholasthr": "wholasthr", "wholasthr 5": "wholasthr", "list_users": "list_users", "broadcast x": "broadcast",
        "/msg bob hi": "message", "/me waves": "/me", "/quit": "logout", "/help": "help", "? block": "help",
        "help": "help", "help block": "help", "break": "break", "password": "password",
    }.items():  # fmt: skip
        assert parse(typed, Role.USER, Role.LOCAL)[0].name == name


def test_the_console_has_the_commands_of_the_design() -> None:
    wanted = {"online users", "blocked users", "all users", "change", "kick", "say", "stats", "save", "reload", "help",
              "stop", "unlock"}  # fmt: skip
    assert wanted <= {row.name for row in typed_by(Role.ADMIN)}


def test_only_what_comes_over_the_wire_is_an_action() -> None:
    assert {row.name for row in ACTIONS.values()} == {row.name for row in WIRE}
    assert "break" not in ACTIONS
    assert "stop" not in ACTIONS
    assert all(re.fullmatch("[a-z_-]+", name) for name in ACTIONS), "what only people type is none"
    assert ACTIONS["send"] is ACTIONS["message"]
    assert ACTIONS["quit"] is ACTIONS["logout"]


def test_states_and_how_each_runs() -> None:
    assert ACTIONS["hello"].states == {State.NEW}
    for name in ("register", "login", "deregister"):
        assert ACTIONS[name].states == {State.GREETED}
    for row in typed_by(Role.USER):
        assert row.states == {State.ONLINE}
    for name in ("login", "deregister", "password"):
        assert ACTIONS[name].runs is Runs.PROVES
    for name in ("register", "message", "broadcast", "block", "unblock", "logout"):
        assert ACTIONS[name].runs is Runs.CHANGES
    for name in ("hello", "alive", "whoelse", "list_users", "wholasthr", "blacklist", "history"):
        assert ACTIONS[name].runs is Runs.READS


def test_every_action_stands_in_the_wires_reference_and_nothing_else() -> None:
    reference = Path(kinds.__file__).with_name("WIRE.md").read_text(encoding="utf-8")
    table = reference.split("| request |")[1].split("\n\n")[0]
    listed = {name for line in table.splitlines()[2:] for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])}
    assert listed - {"online"} == {row.name for row in WIRE}


# check: requests from the wire.


def sent(row: Row) -> list[Field]:
    return [field for field in row.fields if field.sent]


def request_for(row: Row) -> dict[str, object]:
    return {"action": row.name, **{p.name: EXAMPLES[p.kind] for p in sent(row)}}


@pytest.mark.parametrize("row", WIRE, ids=ids(WIRE))
def test_a_request_is_good_with_all_its_fields_and_with_those_it_needs(row: Row) -> None:
    full = request_for(row)
    assert check(row, full) is None or row.needs_key
    assert check(row, {**full, "id": 7, "key": "k1"}) is None
    key = {"key": "k1"} if row.needs_key else {}
    needed = {p.name: EXAMPLES[p.kind] for p in sent(row) if p.required}
    assert check(row, {"action": row.name, **key, **needed}) is None
    if row.needs_key:
        assert check(row, full) == 'Field "key" is missing: it must be 1 to 64 characters without control characters.'


@pytest.mark.parametrize("row", WIRE, ids=ids(WIRE))
def test_a_wrong_request_is_told_which_field(row: Row) -> None:
    full = {**request_for(row), "key": "k1"}
    for field in sent(row):
        for bad in (None, [], {}, "\x00", -1, 1.0 if field.kind is kinds.FLAG else True):
            text = check(row, {**full, field.name: bad})
            assert text == f'Field "{field.name}" must be {field.kind.allowed}.'
        without = {name: value for name, value in full.items() if name != field.name}
        if field.required:
            text = check(row, without)
            assert text is not None
            assert text.startswith(f'Field "{field.name}" is missing: ')
    text = check(row, {**full, "by": "admin"})
    assert text is not None
    assert text.startswith('Unknown field "by"')
    assert '"id", "key"' in text
    statuses = {field.kind: status(row, {**full, field.name: None}) for field in sent(row)}
    assert statuses == {field.kind: field.kind.status for field in sent(row)}
    assert set(statuses.values()) <= {"BAD_REQUEST", "BAD_AMOUNT", "BAD_CHEQUE"}
    for field, bad in (("id", 1.5), ("id", "x" * 65), ("key", ""), ("key", "x" * 65), ("key", 7), ("action", 7)):
        text = check(row, {**full, field: bad})
        assert text is not None
        assert text.startswith(f'Field "{field}" must be ')


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(2**60, 2**200) | st.floats() | st.text(max_size=80)
    | st.sampled_from(["\ud800", "x" * 5_000, "\x1b[2J"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


FIELD_NAMES = st.sampled_from([*sorted(FIELDS), *COMMON]) | st.text(max_size=70)


@given(st.sampled_from(WIRE), st.dictionaries(FIELD_NAMES, JSON_VALUES))
def test_check_never_raises_and_its_sentence_can_be_sent(row: Row, request: dict[str, object]) -> None:
    text = check(row, request)
    if text is not None:
        assert encode({"status": "BAD_REQUEST", "text": text})
        assert not re.search("[\x00-\x1f\x7f-\x9f]", text)


@pytest.mark.parametrize("name", ["\ud800", "\x1b[2J", "a\nb", "\u202e", "x" * 10_000])
def test_a_field_with_a_hostile_name_is_refused_in_a_sentence_that_is_not(name: str) -> None:
    text = check(ACTIONS["logout"], {"action": "logout", name: 1})
    assert text is not None
    assert text.startswith("Unknown field ")
    assert text.isprintable()
    assert len(text) < 300


# parse, find, usage: typed lines.


@pytest.mark.parametrize(
    ("line", "name", "fields"),
    [
        ("message bob hi there", "message", {"to": "bob", "text": "hi there"}),
        ("  send   Bob   hi  there  ", "message", {"to": "Bob", "text": "hi  there"}),
        ("message\tbob\thi there", "message", {"to": "bob", "text": "hi there"}),
        ("MESSAGE bob Hi", "message", {"to": "bob", "text": "Hi"}),
        ("broadcast It's me facebook ~", "broadcast", {"text": "It's me facebook ~"}),
        ("broadcast block bob", "broadcast", {"text": "block bob"}),
        ("blacklist", "blacklist", {}),
        ("blacklist add bob", "block", {"user": "bob"}),
        ("Blacklist   ADD   bob", "block", {"user": "bob"}),
        ("blacklist\trm bob", "unblock", {"user": "bob"}),
        ("history", "history", {"count": 20}),
        ("history 50", "history", {"count": 50}),
        ("history ann", "history", {"place": "ann", "count": 20}),
        ("history ann 50", "history", {"place": "ann", "count": 50}),
        ("history 50 ann", "history", {"place": "ann", "count": 50}),
        ("history @123", "history", {"place": "123", "count": 20}),
        ("history 50 @ann", "history", {"place": "ann", "count": 50}),
        ("history #plans 50", "history", {"place": "#plans", "count": 50}),
        ("history 0 all", "history", {"place": "all", "count": 0}),
        ("wholasthr", "wholasthr", {}),
        ("wholasthr 30", "wholasthr", {"minutes": 30}),
        ("wholasthr 0.5", "wholasthr", {"minutes": 0.5}),
        ("quit", "logout", {}),
        ("logout ", "logout", {}),
        ("pay bob 5", "pay", {"to": "bob", "amount": 5}),
        ("pay bob 5 --print", "pay", {"to": "bob", "amount": 5, "memo": "--print"}),
        ("cheque bob 5", "cheque", {"user": "bob", "amount": 5}),
        ("cheque bob 5 for  tea", "cheque", {"user": "bob", "amount": 5, "memo": "for  tea"}),
        ("cheque bob 5 --print", "cheque", {"user": "bob", "amount": 5, "print": True}),
        ("cheque bob 5  --print for  tea ", "cheque", {"user": "bob", "amount": 5, "print": True, "memo": "for  tea"}),
        ("cheque bob 5 for  tea --print ", "cheque", {"user": "bob", "amount": 5, "print": True, "memo": "for  tea"}),
        ("cheque bob 5 no --print here", "cheque", {"user": "bob", "amount": 5, "memo": "no --print here"}),
        ("cheque bob 5 a--print", "cheque", {"user": "bob", "amount": 5, "memo": "a--print"}),
        ("help blacklist add", "help", {"command": "blacklist add"}),
    ],
)
def test_typed_lines(line: str, name: str, fields: dict[str, object]) -> None:
    command, parsed = parse(line, Role.USER, Role.LOCAL)
    assert (command.name, parsed) == (name, fields)


@pytest.mark.parametrize(
    ("line", "name", "fields"),
    [
        ("change TIME_OUT 5", "change", {"name": "TIME_OUT", "value": "5"}),
        ("change MAX_FILE_SIZE 2 GiB", "change", {"name": "MAX_FILE_SIZE", "value": "2 GiB"}),
        ("change TIME_OUT", "change", {"name": "TIME_OUT"}),
        ("online users", "online users", {}),
        ("Online  Users", "online users", {}),
        ("say the server stops at six", "say", {"text": "the server stops at six"}),
        ("kick bob", "kick", {"user": "bob"}),
        ("stop", "stop", {}),
    ],
)
def test_lines_typed_at_the_console(line: str, name: str, fields: dict[str, object]) -> None:
    command, parsed = parse(line, Role.ADMIN)
    assert (command.name, parsed) == (name, fields)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", 'Unknown command "". Type "help" for what there is.'),
        ("   ", 'Unknown command "".'),
        ("dance", 'Unknown command "dance". Type "help" for what there is.'),
        ("messages bob hi", 'Unknown command "messages". Did you mean "message"? Type "help" for what there is.'),
        ("/mgs bob hi", 'Unknown command "/mgs". Did you mean "/msg"?'),
        ("blacklst ad bob", 'Unknown command "blacklst". Did you mean "blacklist add"?'),
        ("x" * 500, 'Unknown command "' + "x" * 64 + '".'),
        ("stop", 'Unknown command "stop".'),  # the console's
        ("hello", 'Unknown command "hello".'),  # a client program's
        ("message", "Usage: message <to> <text>"),
        ("message bob", "Usage: message <to> <text>"),
        ("send bob  ", "Usage: send <to> <text>"),
        ("message b*b hi", "<to> must be a user's name: 1 to 32 of A-Z a-z 0-9 _ . -"),
        ("message bob a\x1b[2Jb", "<text> must be a text of 1 to 4,096 characters without control characters"),
        ("block", "Usage: block <user>"),
        ("blacklist add", "Usage: blacklist add <user>"),
        ("blacklist bob", "Usage: blacklist"),
        ("block bob alice", "Usage: block <user>"),
        ("history @", "Usage: history [place] [count]\n<place> must be a user's name"),
        ("history #", "Usage: history [place] [count]\n<place> must be a user's name"),
        ("history ann 20 bob", "Usage: history [place] [count]"),
        ("history ann ten", "Usage: history [place] [count]\n<count> must be a whole number from 0"),
        ("history 20 30", "Usage: history [place] [count]\n<place> must be a user's name"),
        ("history -1", "<count> must be a whole number from 0"),
        ("history 1.5", "<count> must be"),
        ("wholasthr 0", "<minutes> must be a number of minutes above 0, at most 1,000,000"),
        ("wholasthr nan", "<minutes> must be"),
        ("wholasthr soon", "Usage: wholasthr [minutes]"),
        ("logout now", "Usage: logout"),
        ("exit now", "Usage: exit"),
    ],
)
def test_wrong_lines_say_what_is_right(line: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(line, Role.USER, Role.LOCAL)
    assert sentence in str(refused.value)


WORDS = st.sampled_from(["message", "blacklist", "add", "bob", "5", " ", "\t"])


@given(st.text(max_size=60) | st.lists(WORDS).map("".join))
def test_parse_gives_good_fields_or_a_usage_error(line: str) -> None:
    try:
        command, fields = parse(line, Role.USER)
    except UsageError as refused:
        assert str(refused)  # noqa: PT017
    else:
        assert check(command, {"action": command.name, **fields}) is None or command.name == "password"


def test_the_longest_alias_wins() -> None:
    found = find("blacklist add bob", Role.USER)
    assert found is not None
    assert (found[0].name, found[1], found[2]) == ("block", "blacklist add", "bob")
    found = find("blacklist addbob", Role.USER)
    assert found is not None
    assert (found[0].name, found[2]) == ("blacklist", "addbob")
    assert find("black list", Role.USER) is None
    assert find("", Role.USER) is None


@pytest.mark.parametrize(
    ("name", "alias", "shown"),
    [
        ("message", None, "message <to> <text>"), ("message", "send", "send <to> <text>"),
        ("wholasthr", None, "wholasthr [minutes]"), ("block", "blacklist add", "blacklist add <user>"),
        ("pay", None, "pay <to> <amount> [memo]"),
        ("logout", "quit", "quit [number]"), ("password", None, "password"),
        ("history", None, "history [place] [count]"),
    ],
)  # fmt: skip
def test_usage(name: str, alias: str | None, shown: str) -> None:
    assert usage(ACTIONS[name], alias) == shown


def test_the_usage_of_a_command_with_an_option() -> None:
    (row,) = [row for row in typed_by(Role.LOCAL) if row.name == "cheque"]
    assert usage(row) == "cheque <user> <amount> [--print] [memo]"


@pytest.mark.parametrize("command", sorted({command.name for command in ACTIONS.values()}))
def test_the_guard_of_a_command_and_the_search_for_what_is_wrong_agree(command: str) -> None:
    """Of each field: right, of every wrong type, missing; and fields that are not the command's."""
    row, chance = ACTIONS[command], new_chance(command)
    values: list[object] = [None, True, 0, -1, 7, 2**60, 1.5, "", "ann", "a b", "x" * 5_000, "\x07", (), {}, "1" * 64]
    fields = [*(field.name for field in row.fields), "id", "key", "colour", "by", "at"]
    for _ in range(2_000):
        request: dict[str, object] = {"action": command}
        for field in chance.sample(fields, chance.randrange(len(fields) + 1)):
            request[field] = chance.choice(values)
        assert IS_WELL_FORMED[command](request) == (check(row, request) is None), request


# Rows that come and go.


def test_rows_are_taken_in_and_given_back() -> None:
    rows = [Row("vote", "say yes or no", (Field("yes", kinds.FLAG),), aliases=("ballot",), runs=Runs.CHANGES)]
    before = (list(TABLE.rows), dict(ACTIONS), {state: dict(rows) for state, rows in IN_STATE.items()},
              dict(IS_WELL_FORMED))  # fmt: skip
    TABLE.add(rows)
    assert ACTIONS["ballot"] is IN_STATE[State.ONLINE]["vote"] is rows[0]
    assert "vote" not in IN_STATE[State.GREETED]
    assert IS_WELL_FORMED["vote"]({"action": "ballot", "yes": True})
    assert not IS_WELL_FORMED["vote"]({"action": "vote", "yes": 1})
    assert check(rows[0], {"action": "vote"}) == 'Field "yes" is missing: it must be true or false.'
    assert typed_by(Role.USER)[-1] is rows[0]
    TABLE.remove(rows)
    assert before == (TABLE.rows, ACTIONS, IN_STATE, IS_WELL_FORMED)


@pytest.mark.parametrize("rows", [
    [Row("send", "")], [Row("vote", "", aliases=("quit",))], [Row("vote", "")] * 2,
    [Row("history", "", role=Role.LOCAL)], [Row("kick", "", role=Role.ADMIN)],
])  # fmt: skip
def test_a_name_that_is_taken_is_refused_and_nothing_changes(rows: list[Row]) -> None:
    before = list(TABLE.rows)
    with pytest.raises(ValueError, match="two commands have one name: "):
        TABLE.add(rows)
    assert before == TABLE.rows
