"""The attacks: what each needs, and what it does. Each is as large as the one that once held everybody up.

An assault sets itself up, yields, attacks until the field's time is over, and yields a sentence about what came of it.
Homes have the default parameters but for what an attack names, MaxCon, and SCRAM_ITERATIONS 4096.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import crowds
from field import ADDRESS, Assault, Field, Readers, read_until, reset, user
from handshakes import begun_and_left, half_done
from peers import Login, Stranger
from testbed import ITERATIONS, PASSWORD, Failure

from chatlib.protocol import scram

HONEST = 20  # honest clients
_HELLO = b'{"action":"hello","protocol":1}\n'


@dataclass(frozen=True, slots=True)
class Attack:
    """`users` are the attacker's own, numbered from 0; `prepare` puts things into the home before the start."""

    name: str
    title: str
    assault: Assault
    seconds: float = 10.0
    users: int = 0
    parameters: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()  # of the server
    prepare: Callable[[Path, bool], None] = lambda home, quick: None
    honest: int = HONEST  # clients who chat
    messages: int = 20  # of theirs, in a second
    usual: str = "nothing"  # the row that says how long a message takes usually; "": it is not compared


def _nothing(field: Field) -> Iterator[str]:
    yield ""
    time.sleep(field.left)
    yield "for comparison"


# Strangers.


def _newlines(count: int) -> Assault:
    def assault(field: Field) -> Iterator[str]:
        readers = {sock: b"\n" * 65_000 for sock in (field.connect() for _ in range(field.few(count)))}
        for sock in readers:
            sock.setblocking(False)
        yield ""
        sent = 0
        while field.under_way:
            before = sent
            for sock, rest in readers.items():
                if rest:
                    with contextlib.suppress(OSError):
                        taken = sock.send(rest)
                        readers[sock] = rest[taken:]
                        sent += taken
            if sent == before:
                time.sleep(0.02)
        yield f"{sent / 1e6:.0f} MB of newlines were taken"

    return assault


def _half_lines(field: Field) -> Iterator[str]:
    sockets = [field.connect() for _ in range(field.few(200))]
    for sock in sockets:
        sock.setblocking(False)
    yield ""
    pieces = 0
    while field.under_way and pieces < 32_000:
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.send(b"xx")
        pieces += 1
    time.sleep(field.left)
    yield f"{2 * pieces:,} bytes of a line by each"


def _http_posts(field: Field) -> Iterator[str]:
    verifier = str(scram.make_verifier(PASSWORD, ITERATIONS))
    yield ""
    posts = executed = 0
    while field.under_way:
        name = f"web{posts}"
        body = _HELLO + json.dumps({"action": "register", "user": name, "verifier": verifier}).encode() + b"\n"
        head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with field.connect() as sock:
            sock.sendall(head + body)
            sock.shutdown(1)
            heard = read_until(sock, lambda heard: False, 5.0)
            executed += b'"register"' in heard and b'"status":"OK","user"' in heard
            reset(sock)
        posts += 1
    yield f"{executed:,} of {posts:,} web pages registered a user"


def _registrations(field: Field) -> Iterator[str]:
    verifier = str(scram.make_verifier(PASSWORD, ITERATIONS))
    yield ""
    made, number = Counter[str](), 0
    while field.under_way:
        sockets = [field.connect() for _ in range(field.few(100))]
        for sock in sockets:
            lines = [_HELLO]
            for _ in range(100):
                number += 1
                lines.append(b'{"action":"register","user":"r%d","verifier":"%b"}\n' % (number, verifier.encode()))
            sock.sendall(b"".join(lines))
        for sock in sockets:
            for line in read_until(sock, lambda heard: heard.count(b"\n") > 100, field.left).split(b"\n")[1:-1]:
                made[json.loads(line).get("status", "bye")] += 1
            reset(sock)
    yield f"{made.pop('OK', 0):,} accounts made; otherwise {dict(made) or 'nothing'}"


# Files.


def _put_parts(home: Path, quick: bool) -> None:
    folder = home / "data" / "files"
    folder.mkdir(parents=True)
    for _ in range(2_500 if quick else 50_000):
        (folder / f"{secrets.token_hex(16)}.part").write_bytes(b"x")


def _file_requests(field: Field) -> Iterator[str]:
    (peer,) = field.all_users(0, 1)
    request = {"to": user(1), "name": "a", "size": 1_000, "sha256": "0" * 64}
    yield ""
    asked = 0
    while field.under_way:
        peer.ask("file", "", **request)
        asked += 1
    yield f"{asked:,} file requests"


def _uploads(size: int, sent: bytes) -> Assault:
    """Twenty users who each begin upload after upload; of `size` bytes, `sent` are sent."""

    def assault(field: Field) -> Iterator[str]:
        peers = field.all_users(0, field.few(20))
        yield ""
        came, number = Counter[str](), 0
        while field.under_way:
            number += 1
            for peer in peers:
                peer.say("file", to=user(20), name=f"{number}", size=size, sha256=sha256(sent).hexdigest())
            for peer in peers:
                came[_upload(field, peer.hear(""), sent, size)] += 1
        yield f"{number * len(peers):,} uploads: {dict(came)}"

    return assault


def _upload(field: Field, offered: dict[str, object], sent: bytes, size: int) -> str:
    if offered["status"] != "OK":
        return str(offered["status"])
    with field.connect() as sock:
        head = {"action": "upload", "ticket": offered["ticket"], "offset": offered["offset"]}
        sock.sendall(json.dumps(head).encode() + b"\n" + sent)
        if len(sent) < size:
            sock.shutdown(1)
        answer = read_until(sock, lambda heard: b"\n" in heard, 5.0)
        reset(sock)
    return str(json.loads(answer)["status"]) if answer else "broken off"


# Users.


def _blockers(field: Field) -> Iterator[str]:
    count = field.few(3_000)
    for batch in field.users(1, count):
        for peer in batch:
            peer.say("block", user=user(0))
            peer.say("logout")
        for peer in batch:
            peer.hear()
            peer.hear()
            peer.close()
    (broadcaster,) = field.all_users(0, 1)
    yield ""
    sent = 0
    while field.under_way:
        sent += broadcaster.ask("broadcast", text="x" * 64)["undelivered"] == count
    yield f"{sent:,} broadcasts that {count:,} do not get"


def _listing(field: Field) -> Iterator[str]:
    peers = field.all_users(0, field.few(50))
    readers = Readers(peers)
    yield ""
    for peer in peers:
        peer.say("list_users")
    pages = 0
    while field.under_way:
        for number, lines in readers.read(min(0.1, field.left)):
            for reply in map(json.loads, lines or ()):
                if reply.get("action") == "list_users":
                    pages += 1
                    after = {"after": reply["next"]} if "next" in reply else {}
                    peers[number].say("list_users", **after)
    yield f"{pages:,} pages"


def _presence(field: Field) -> Iterator[str]:
    listeners = field.all_users(1, field.few(200))
    listeners[0].ask("block", user=user(0))
    readers = Readers(listeners)
    events: Counter[int] = Counter()

    def listen(seconds: float) -> None:
        for number, lines in readers.read(seconds):
            events[number] += sum(b'"presence"' in line and user(0).encode() in line for line in lines or ())

    yield ""
    logins = 0
    while field.under_way:
        with Stranger(field.port, ADDRESS) as stranger:
            login = Login(stranger, user(0))
            login.begin()
            with contextlib.suppress(Failure):  # its last session is not over yet
                login.prove()
                login.finish()
                stranger.ask("logout")
                logins += 1
        listen(0.0)
    listen(0.2)
    told = events[len(listeners) - 1] / field.seconds
    yield f"{logins:,} logins: {told:.1f} presence events a second to each, {events[0]} in all to one who blocks"


def _leaving(field: Field) -> Iterator[str]:
    count = field.few(800)
    waiting = field.strangers(count)
    refused = sum(stranger.welcome["status"] != "WAITING" for stranger in waiting)
    sockets = [stranger.socket for stranger in waiting]
    readers = Readers(waiting)
    yield ""
    rounds = 0
    while field.under_way:
        gone = field.chance.sample(range(count), count // 2)
        for number in gone:
            readers.drop(sockets[number])
        rounds += 1
        rest = time.perf_counter() + min(1.0, field.left)
        while time.perf_counter() < rest:
            for _ in readers.read(0.05):
                pass
        for number in gone:
            sockets[number] = field.connect()
            sockets[number].sendall(_HELLO)
            readers.add(number, sockets[number])
    yield f"{rounds} times half of {count} left at once; {refused} had not been let in to wait"


def _crowd(field: Field) -> Iterator[str]:
    typist = Stranger(field.port)
    login = Login(typist, user(0))
    login.begin()
    readers = Readers()
    opened, many = field.few(4_000), field.few(6_000)
    for number in range(opened):
        readers.add(number, field.connect())
    yield ""
    newcomers, kept_out = 0, 0
    asked = time.perf_counter()
    while field.under_way:
        for _ in range(min(200, many - opened)):
            readers.add(opened, field.connect())
            opened += 1
        for number, lines in readers.read(0.0):
            if lines is None:
                with contextlib.suppress(OSError):
                    readers.add(number, field.connect())
        if time.perf_counter() - asked > 0.5:
            asked, newcomers = time.perf_counter(), newcomers + 1
            try:
                with Stranger(field.port, "127.0.0.3") as newcomer:
                    kept_out += newcomer.welcome["status"] != "OK"
            except (Failure, OSError):
                kept_out += 1
    try:
        login.prove()
        login.finish()
        typed = "got in"
    except (Failure, OSError) as failure:
        typed = f"was thrown out ({failure})"
    yield f"{opened:,} strangers; the person typing a password {typed}; {kept_out} of {newcomers} newcomers kept out"


def _coming_back(field: Field) -> Iterator[str]:
    people, each = field.few(60), field.few(1_000)
    (sender,) = field.all_users(0, 1)
    for number in range(each):
        for person in range(1, people + 1):
            sender.say("message", to=user(person), text=f"{number:04d} " + "x" * 100)
        for _ in range(people):
            sender.hear()
    peers = field.strangers(people)
    logins = [Login(peer, user(number)) for number, peer in enumerate(peers, 1)]
    for login in logins:
        login.begin()
    yield ""
    begun = time.perf_counter()
    for login in logins:
        login.prove()
    readers = Readers(peers)
    heard: dict[int, list[int]] = {number: [] for number in range(people)}
    whole = 0.0
    while field.under_way:
        for number, lines in readers.read(min(0.1, field.left)):
            events = (json.loads(line) for line in lines or () if line.startswith(b'{"event":"message"'))
            heard[number] += [int(event["text"][:4]) for event in events]
        if not whole and all(len(numbers) >= each for numbers in heard.values()):
            whole = time.perf_counter() - begun
    right = sum(numbers == list(range(each)) for numbers in heard.values())
    yield f"{right} of {people} had all of their {each:,} messages, the last after {whole:.2f} s"


_NO_DOOR = {"STRANGERS": "0", "STRANGERS_PER_ADDRESS": "0"}  # so many are let in as once were
_BACK = {"RATE_LIMIT": "0"}
_TLS = ("--tls",)
_DOOR = {"MaxCon": str(HONEST), "WAITING_ROOM": "2000"}

ATTACKS: tuple[Attack, ...] = (
    Attack("nothing", "no attack", _nothing, usual=""),
    Attack("talk", "1,000 users talk, no attack", _nothing, honest=1_000, messages=200, usual=""),
    Attack("held", "1,000 half-open strangers, 200 slow readers, 1,000 talk", crowds.held, users=crowds.SLOW,
           honest=1_000, messages=200, usual="talk", parameters=_NO_DOOR),
    Attack("held-door", "the same at the door as it is by default", crowds.held, users=crowds.SLOW, honest=1_000,
           messages=200, usual="talk"),
    Attack("dropped", "5,000 connections opened and dropped in 10 s", crowds.dropped),
    Attack("junk", "100 connections send junk as fast as they can", crowds.junk, users=crowds.JUNK // 2),
    Attack("newlines-1000", "1,000 strangers send 65,000 newlines each", _newlines(1_000), parameters=_NO_DOOR),
    Attack("newlines-4000", "4,000 strangers send 65,000 newlines each", _newlines(4_000), parameters=_NO_DOOR),
    Attack("half-lines", "200 send a half line in pieces of two bytes", _half_lines),
    Attack("http-posts", "web pages post commands", _http_posts),
    Attack("parts-on-disk", "50,000 parts on disk, then file requests", _file_requests, users=2, prepare=_put_parts),
    Attack("parts-by-wire", "20 users begin upload after upload", _uploads(1_000, b"x"), users=21),
    Attack("empty-files", "20 users send files of no bytes", _uploads(0, b""), users=21),
    Attack("registrations", "one stranger registers accounts", _registrations, seconds=20.0),
    Attack("blockers", "3,000 blockers and one broadcaster", _blockers, seconds=30.0, users=3_001),
    Attack("listing", "20,000 accounts, 50 page the list", _listing, users=20_000),
    Attack("listing-unlimited", "the same, RATE_LIMIT 0", _listing, users=20_000, parameters={"RATE_LIMIT": "0"}),
    Attack("presence", "one user logs in and out, 200 are online", _presence, users=201),
    Attack("leaving", "400 of 800 in the waiting room leave at once", _leaving, parameters=_DOOR),
    Attack("crowd", "6,000 strangers connect, a person types a password", _crowd, users=1),
    Attack("handshakes", "1,000 TLS handshakes a second are begun and left", begun_and_left, flags=_TLS),
    Attack("half-handshakes", "3,000 strangers say a part of a TLS hello", half_done, flags=_TLS),
    Attack("coming-back", "60 people come back to 1,000 messages each", _coming_back, users=61, parameters=_BACK),
)
