"""What a fuzzer says: requests made of the command table's rows, and bytes that are hardly requests at all.

Each row is said with values that are right, nearly right, or absurd; which ones, chance decides. Must not know a
connection: what has to fit to what a server said (tickets, proofs) is in the steps.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from chatlib.protocol import cheque, kinds
from chatlib.protocol.commands import ACTIONS, Role, Row, typed_by
from chatlib.protocol.scram import ClientExchange
from chatlib.storage.parameters import PARAMETERS
from tests.proofs.hostile_text import hostile
from tests.server.peer import VERIFIER

Json = Any
Make = Callable[[random.Random], Json]

NAMES = ("Ann", "Bob", "Cyd", "Dan", "Eve", "Fay", "Gus", "Hal")  # who is there from the beginning
OTHERS = ("new1", "new2", "NEW3", "nobody", "admin", "system", "all", "ann", "BOB", "x" * 32, "a.b-c_d", "*")
TITLES = ("plans", "Plans", "Bugs!", "a", "t" * 64, "1", "$%.?,", "all")
FILES = ("a.txt", "b.bin", "ü 1.txt", "con", "..a", "-rf", "x" * 255)
NOW = 1_700_000_000

DEEP = 200  # levels that any reader of JSON takes
ABSURD: tuple[Json, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**53,
    2**53 - 1,
    -(2**53),
    2**63,
    2**64 + 1,
    10**18,
    10**400,
    0.5,
    -0.0,
    1e308,
    1e-320,
    "",
    " ",
    "\n",
    "\0",
    "\ud800",
    "\udfff\ud800",
    "\ufeff",
    "a" * 70,
    "a" * 5_000,
    "1",
    "true",
    "null",
    "é",
    "e\u0301" * 20,
    "\u0301" * 1_000,
    "１２",
    "../../etc/passwd",
    "%s%n{0}",
    "'\";--",
    "$(reboot)",
    [],
    {},
    [[]],
    [None] * 50,
    {"a": {"a": {}}},
    {"action": "logout"},
    ["message"],
    {"": ""},
)
RAW = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-",
    b"01",
    b"1.",
    b".5",
    b"+1",
    b"0x10",
    b"1" * 5_000,
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\\x"',
    b'"\xff"',
    b'"\xc0\x80"',
    b'"\xed\xa0\x80"',
    b'"\x00"',
    b"'a'",
    b"nul",
    b"[" * 5_000,
    b"[" * 900 + b"]" * 900,
    b'{"a":' * 3_000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'"' + b"a" * 60_000 + b'"',
    b'"' + b"a" * 70_000 + b'"',
    b'"\\u00',
    b"//",
    b"1 1",
    b"",
)


def deep(chance: random.Random) -> Json:
    value: Json = 1
    for _ in range(chance.choice((1, 5, DEEP))):
        value = [value] if chance.random() < 0.5 else {"a": value}
    return value


def text(chance: random.Random) -> str:
    how = chance.random()
    if how < 0.5:
        return f"text {chance.randrange(100)}"
    if how < 0.7:
        return "".join(
            chr(chance.choice((32, 65, 97, 233, 0x4E2D, 0x1F600, 0x301, 0x200D)))
            for _ in range(1 + chance.randrange(60))
        )
    return "a" * chance.choice((1, 200, 201, 4_095, 4_096, 4_097)) if how < 0.9 else hostile(chance)


def name(chance: random.Random) -> str:
    return chance.choice(NAMES) if chance.random() < 0.8 else chance.choice(OTHERS)


def _cheque(chance: random.Random) -> str:
    """One that is good, or was changed a little."""
    written = cheque.Cheque(
        name(chance),
        name(chance),
        1 + chance.randrange(50),
        f"{chance.randrange(20):016x}",
        chance.choice((NOW + 7 * 86_400, NOW + 86_400, NOW, 1, 10**11)),
        chance.choice(("", "rent")),
    )
    try:
        line = cheque.write(written, cheque.cheque_key(VERIFIER.server_key))
    except cheque.BadCheque:
        return "cheque/1 a b 1"
    return line if chance.random() < 0.7 else mutated_text(chance, line)


def _scram(chance: random.Random) -> str:
    first = ClientExchange(name(chance), "nonce").first
    return chance.choice(
        (
            first,
            first.replace("n,,", "y,,"),
            first.replace("n,,", "p=tls-unique,,"),
            "c=biws,r=nonce,p=AAAA",
            "n,,n=,r=",
            "n,a=b,n=c,r=d",
            mutated_text(chance, first),
        )
    )


def _name_or_title(chance: random.Random) -> str:
    return chance.choice((name(chance), "#" + chance.choice(TITLES), "all"))


VALID: Mapping[str, Make] = {
    "name": name,
    "title": lambda chance: chance.choice(TITLES),
    "place": _name_or_title,
    "destination": _name_or_title,
    "text": text,
    "words": lambda chance: chance.choice(("text", "te", "plans 1", "aa bb cc", "é中", " ".join(["word"] * 16))),
    "number": lambda chance: chance.choice((1, 2, 3, 10, 1_000, 2**53 - 1)),
    "amount": lambda chance: chance.choice((1, 5, 100, 9_999, 10**12)),
    "memo": lambda chance: chance.choice(("rent", "é", "m" * 200, "two  blanks")),
    "cheque": _cheque,
    "line": lambda chance: console_line(chance),
    "port": lambda chance: chance.choice((0, 1, 4_000, 65_535)),
    "count": lambda chance: chance.choice((0, 1, 5, 100, 2**53 - 1)),
    "minutes": lambda chance: chance.choice((1, 0.5, 60, 1_000_000, 1e-9)),
    "seq": lambda chance: chance.choice((0, 1, 5, 50, 500, 2**53 - 1)),
    "key": lambda chance: f"k{chance.randrange(40)}",
    "client": lambda chance: f"c{chance.randrange(4)}",
    "scram": _scram,
    "verifier": lambda chance: str(VERIFIER),
    "file name": lambda chance: chance.choice(FILES),
    "new file name": lambda chance: chance.choice(FILES),
    "sha256": lambda chance: chance.choice(("0" * 64, "ab" * 32)),
    "ticket": lambda chance: chance.choice(("t", "AAAAAAAAAAAAAAAAAAAAAAAA", "x" * 64)),
    "protocol": lambda chance: 1,
    "flag": lambda chance: chance.random() < 0.5,
    "print": lambda chance: True,
    "switch": lambda chance: "on",
    "word": lambda chance: chance.choice(tuple(PARAMETERS)),
    "value": lambda chance: chance.choice(
        ("1", "0", "share", "open", "never", "user", "1 MiB", "second", "60", "", "no")
    ),
    "paths": lambda chance: "a.txt",
    "id": lambda chance: chance.choice((chance.randrange(1_000), f"id{chance.randrange(9)}")),
}


def mutated_text(chance: random.Random, word: str) -> str:
    """Something near it."""
    at = chance.randrange(len(word) + 1)
    return chance.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + chance.choice("\0\n\u202e０é\ud83d ") + word[at:],
            word + "\n",
            word * 2,
            word.swapcase(),
            word[:at],
            word + " ",
        )
    )


def value(chance: random.Random, kind: kinds.Kind) -> Json:
    """Mostly right for `kind`."""
    how = chance.random()
    if how < 0.03:
        return chance.choice(ABSURD)
    found = VALID[kind.name](chance) if kind.name in VALID else text(chance)
    if how < 0.06:
        if isinstance(found, str):
            return mutated_text(chance, found)
        return chance.choice((str(found), [found], -found, found + 0.5, float(found), found + 2**53))
    return found


def request(chance: random.Random, row: Row | None = None) -> dict[str, Json]:
    """A request for a row, or for any."""
    action = chance.choice(tuple(ACTIONS)) if row is None else row.name
    row = ACTIONS[action] if row is None else row
    asked: dict[str, Json] = {"action": action}
    for field in row.fields:
        if field.sent and chance.random() < (0.97 if field.required else 0.4):
            asked[field.name] = value(chance, field.kind)
    if row.needs_key or chance.random() < 0.2:
        asked["key"] = value(chance, kinds.KEY)
    if chance.random() < 0.6:
        asked["id"] = chance.choice(ABSURD) if chance.random() < 0.1 else VALID["id"](chance)
    if chance.random() < 0.03:
        asked[chance.choice(("by", "at", "user", "session", "extra", "", "é", "action "))] = chance.choice(ABSURD)
    if chance.random() < 0.02:
        asked["action"] = chance.choice((*ABSURD, "edit", "grant", "kick", "start", "seen", "wrong_password", "depart"))
    return asked


def line(chance: random.Random, row: Row | None = None) -> bytes:
    """A line, its end with it: mostly a request, and now and then what was one."""
    asked = request(chance, row)
    if chance.random() < 0.01:
        asked["deep"] = deep(chance)
    said = json.dumps(asked, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")
    how = chance.random()
    if how < 0.90:
        return said + (b"\r\n" if how < 0.05 else b"\n")
    if how < 0.93:
        return mutated(chance, said) + b"\n"
    if how < 0.95:  # a raw value in place of one
        return b'{"action": "%b", "id": 3, "text": %b}\n' % (
            chance.choice((b"message", b"broadcast", b"hello")),
            chance.choice(RAW),
        )
    if how < 0.97:
        return chance.choice(RAW) + b"\n"
    if how < 0.98:
        return b" \t" + said + b" \t \n"
    if how < 0.99:
        return said[:-1] + b', "id": 1, "id": 2}\n'
    return chance.randbytes(chance.randrange(200)).replace(b"\n", b"") + b"\n"


def mutated(chance: random.Random, data: bytes) -> bytes:
    """With a few bytes changed, lost, doubled or put in."""
    changed = bytearray(data)
    for _ in range(1 + chance.randrange(3)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0:
                changed[at : at + 1] = b""
            case 1:
                changed[at:at] = chance.choice(
                    (b"\0", b'"', b"{", b"}", b"\\", b"\xff", b"\r", b",", b":", b"\n", b"\x1b[2J")
                )
            case 2:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                changed[at:at] = changed[max(0, at - 9) : at]
            case _:
                del changed[at : at + chance.randrange(9)]
    return bytes(changed)


NEVER = ("stop", "backup", "SCRAM_ITERATIONS", "MaxCon", "sht")  # what other steps do, or what would only cost time


def console_line(chance: random.Random) -> str:
    """What an administrator types, or nearly. One that would stop the server is made by its own step."""
    how = chance.random()
    if how < 0.05:
        said = hostile(chance)
    elif how < 0.1:
        said = chance.choice(
            (
                *PARAMETERS,
                "help",
                "?",
                "",
                " ",
                "quit",
                "change",
                "change change",
                "grant ann",
                "kick é",
                "drop 99999999999999999999",
            )
        )
    elif how < 0.3:
        said = parameter_line(chance, "change ", " ")
    else:
        row = chance.choice(typed_by(Role.ADMIN))
        words = [row.name, *(str(value(chance, field.kind)) for field in row.typed)]
        said = " ".join(words if chance.random() < 0.9 else words[:-1])
    return "help" if any(word.lower() in said.lower() for word in NEVER) else said


_USUAL: Mapping[str, tuple[str, ...]] = {
    "int": ("0", "1", "2", "5", "100", "-1", "x", "1e3", "10**9"),
    "float": ("0.1", "1", "60", "3600", "nan", "inf", "-1"),
    "size": ("0", "64 KiB", "1 MiB", "100", "1 EiB", "-5", "1 mib"),
}


def parameter_line(chance: random.Random, before: str = "", between: str = " ") -> str:
    """A parameter and a value for it: mostly one that is allowed."""
    parameter = chance.choice(tuple(PARAMETERS.values()))
    said = chance.choice((parameter.show(parameter.default), *_USUAL.get(parameter.kind, parameter.choices)))
    if parameter.name in NEVER:
        said = parameter.show(parameter.default)
    return f"{before}{parameter.name}{between}{said}"


def encoded(**fields: Json) -> bytes:
    """A line that says this."""
    return json.dumps(fields).encode() + b"\n"
