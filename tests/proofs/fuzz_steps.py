"""What a fuzzer does to a server, a step at a time.

Each takes the scene and a chance of its own, so that any may be left out."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from chatlib.protocol.commands import ACTIONS, Row, State
from chatlib.protocol.scram import ClientExchange, ScramError
from tests.proofs import fuzz_words as words
from tests.proofs.fuzz_files import asks_to_carry, carries
from tests.proofs.fuzz_scene import MOST, Scene
from tests.proofs.fuzz_talker import Illegal, Talker
from tests.proofs.hostile_text import hostile
from tests.server.peer import PASSWORD, salted

Step = Callable[[Scene, random.Random], None]
TLS_HELLO = bytes.fromhex("160301005a010000560303") + bytes(79)
ONLINE: tuple[Row, ...] = tuple(
    row for row in dict.fromkeys(ACTIONS.values()) if State.ONLINE in row.states and row.name not in ("logout", "sht")
)
AFAR: tuple[Row, ...] = tuple(
    row for row in dict.fromkeys(ACTIONS.values()) if State.CONSOLE in row.states and row.name != "leave"
)
STATES = {state: tuple(row for row in ACTIONS.values() if state in row.states) for state in State}


def requests(scene: Scene, chance: random.Random) -> None:
    """A packet of requests that are allowed where the talker stands, mostly."""
    talker = scene.someone(chance)
    rows = AFAR if talker.admin else ONLINE if talker.user else STATES[State.GREETED]
    count = chance.choice((1, 1, 3, 10, 40, 150))
    talker.say(
        b"".join(words.line(chance, chance.choice(rows) if chance.random() < 0.95 else None) for _ in range(count))
    )


def stranger(scene: Scene, chance: random.Random) -> None:
    """Somebody who has not logged in says anything."""
    talker = scene.connect(chance)
    if chance.random() < 0.6:
        talker.say(words.encoded(action="hello", protocol=1, client=f"c{chance.randrange(4)}"))
    talker.say(b"".join(words.line(chance) for _ in range(chance.choice((1, 3, 10, 30)))))


def log_in(scene: Scene, chance: random.Random) -> None:
    """Greets and logs in, properly but for chance."""
    talker = scene.connect(chance)
    talker.client = chance.choice(("", "", "c1", "c2"))
    hello: dict[str, Any] = {"client": talker.client} if talker.client else {}
    scene.ask(talker, words.encoded(action="hello", protocol=1, **hello))
    prove(scene, chance, talker, "login", chance.choice(words.NAMES))


def prove(scene: Scene, chance: random.Random, talker: Talker, action: str, user: str) -> None:
    """Both halves of a proof; a wrong password now and then, and what may come in between."""
    exchange = ClientExchange(user, "the-nonce-of-a-client", talker.binding if chance.random() < 0.98 else None)
    reply = scene.ask(talker, words.encoded(action=action, scram=exchange.first))
    if not reply or reply["status"] != "CONTINUE":
        return
    if chance.random() < 0.1:
        talker.say(words.line(chance))
    try:
        salt, _ = exchange.salt_of(reply["scram"])
        final = exchange.final(reply["scram"], salted(PASSWORD if chance.random() < 0.93 else "wrong", salt))
    except ScramError as wrong:
        raise Illegal(f"a challenge that no client takes: {reply}") from wrong
    more: dict[str, Any] = {"seen": chance.choice((0, 5))} if action == "login" and chance.random() < 0.5 else {}
    if more and chance.random() < 0.3:
        more["resume"] = True
        talker._seq = 0
    reply = scene.ask(talker, words.encoded(action=action, scram=final, **more))
    if reply and reply["status"] == "OK" and action == "login":
        talker.user = user
    talker.say(words.line(chance) if chance.random() < 0.2 else b"")


def administrator(scene: Scene, chance: random.Random) -> None:
    """A console from afar, or the server's end."""
    if chance.random() < 0.1:
        talker = scene.someone(chance)
        if talker.user:
            prove(scene, chance, talker, "sht", "admin")
        return
    talker = scene.connect(chance)
    scene.ask(talker, words.encoded(action="hello", protocol=1, console=True))
    prove(scene, chance, talker, "admin", "admin")


def account(scene: Scene, chance: random.Random) -> None:
    """Registers, or leaves for good, or changes a password to what it was."""
    talker = scene.connect(chance)
    scene.ask(talker, words.encoded(action="hello", protocol=1))
    user = chance.choice((*words.NAMES[3:], "new1", "NEW3"))
    if chance.random() < 0.7:
        talker.say(words.encoded(action="register", user=user, verifier=str(words.VERIFIER)))
    else:
        prove(scene, chance, talker, "deregister", user)


def change_password(scene: Scene, chance: random.Random) -> None:
    talker = scene.someone(chance)
    if talker.user:
        prove(scene, chance, talker, "password", talker.user)
        talker.say(words.encoded(action="password", verifier=str(words.VERIFIER)))


def seal(scene: Scene, chance: random.Random) -> None:
    """TLS that is none, or is no more."""
    if not scene.tls:
        return
    talker = scene.someone(chance)
    junk = chance.choice(
        (chance.randbytes(50), b"\x17\x03\x03\x00\x10" + bytes(16), b"\x15\x03\x03\x00\x02\x02\x28", TLS_HELLO)
    )
    if talker.binding:
        talker.break_seal(junk)


def bytes_of_any_kind(scene: Scene, chance: random.Random) -> None:
    """What is no request at all."""
    talker = scene.connect(chance) if chance.random() < 0.7 else scene.someone(chance)
    match chance.randrange(8):
        case 0:
            talker.say(
                chance.choice(
                    (
                        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                        b"POST /a HTTP/1.0\r\n\r\n{}",
                        b"GET ",
                        b"GET\n",
                        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                    )
                )
            )
        case 1:
            hello = TLS_HELLO if chance.random() < 0.5 else words.mutated(chance, TLS_HELLO)
            talker.say(hello[: chance.randrange(1, len(hello) + 1)])
        case 2:
            talker.say(chance.randbytes(chance.choice((1, 10, 1_000, 70_000))))
        case 3:
            talker.say(b"\n" * chance.choice((1, 20, 300)))
        case 4:
            talker.say(b"x" * chance.choice((4_095, 4_096, 65_535, 65_536, 200_000)) + b"\n" * chance.randrange(2))
        case 5:
            talker.say(b"\0" * 50 + b"\n\x1b[2J\n\xef\xbb\xbf{}\n")
        case 6:
            talker.say((hostile(chance) + "\n").encode(errors="surrogatepass") * 3)
        case _:
            talker.say(b"[" * chance.choice((100, 4_000, 60_000)) + b"\n")


def comes_and_goes(scene: Scene, chance: random.Random) -> None:
    """A connection that ends, in one way or another."""
    talker = scene.someone(chance, online=chance.random() < 0.5)
    if chance.random() < 0.5:
        talker.say(words.line(chance)[: chance.randrange(1, 40)])
    match chance.randrange(4):
        case 0:
            talker.end()
        case 1:
            talker.hang_up(hard=True)
        case 2:
            talker.hang_up(hard=False)
        case _:
            talker.say(words.encoded(action="logout"))


def reading(scene: Scene, chance: random.Random) -> None:
    """Somebody reads slowly, or reads on; asks for all that is long meanwhile."""
    talker = scene.someone(chance)
    talker.slow = not talker.slow
    talker.was_slow = True
    if talker.slow and talker.user:
        talker.say(words.encoded(action="history", count=1_000) * chance.choice((1, 30, 200)))


def time_passes(scene: Scene, chance: random.Random) -> None:
    scene.pass_time(chance.choice((0.1, 1.0, 5.0, 40.0, 200.0)), step=chance.choice((1.0, 20.0)))


def console(scene: Scene, chance: random.Random) -> None:
    """Lines that the administrator types."""
    house = scene.house
    for _ in range(chance.choice((1, 5))):
        match chance.randrange(12):
            case 0:
                house.columns = chance.choice((0, 1, 20, 80))
                house.console.interrupted() if not house.server.world.online else house.console.end_typed()
            case 2:
                house.console.line(f"backup {scene.folder}.backup")
            case 1:
                house.console.complete(words.console_line(chance)[: chance.randrange(12)])
            case _:
                house.console.line(words.console_line(chance))
    scene.wait_for_children()
    if chance.random() < 0.01:
        house.console.line("stop")


def edit(scene: Scene, chance: random.Random) -> None:
    """A person changes one of the two files, well or badly, and says reload."""
    house = scene.house
    name = chance.choice(("para.txt", "credentials.txt"))
    path = house.folder / name
    lines = path.read_bytes().splitlines() if path.exists() else []
    at = chance.randrange(len(lines) + 1)
    match chance.randrange(8):
        case 0:
            del lines[at : at + 1]
        case 1:
            lines[at:at] = [lines[at]] if at < len(lines) else [b"x"]
        case 2:
            lines[at:at] = (
                [words.parameter_line(chance).encode()]
                if name == "para.txt"
                else [f"{words.name(chance)} pass word".encode()]
            )
        case 3:
            lines[at : at + 1] = [words.mutated(chance, lines[at] if at < len(lines) else b"abc")]
        case 4:
            lines[at:at] = [
                chance.choice(
                    (
                        b"\xff\xfe",
                        b"\0" * 30,
                        b"# \x1b[2J",
                        b"a" * 100_000,
                        b"\xef\xbb\xbf",
                        b"\r",
                        hostile(chance).encode(errors="replace"),
                    )
                )
            ]
        case 5:
            lines = []
        case 6:
            chance.shuffle(lines)
        case _:
            lines[at:at] = [f"{hostile(chance)} {hostile(chance)}".encode(errors="replace")]
    if name == "para.txt":  # with more, each password would take a second
        lines = [line for line in lines if b"scram" not in line.lower()] + [b"SCRAM_ITERATIONS 4096"]
    (house.folder / name).write_bytes(b"\n".join(lines) + chance.choice((b"\n", b"\r\n", b"")))
    house.console.line(chance.choice(("reload", "save")))
    scene.wait_for_children()
    if chance.random() < 0.7:
        house.write("para.txt", scene.parameters)
        house.write("credentials.txt", scene.credentials)
        house.console.line("reload")
        scene.wait_for_children()


def disk(scene: Scene, chance: random.Random) -> None:
    """The disk is slow for a while, or has caught up."""
    for one in (scene.house.disk, scene.house.files_disk):
        one.fast = chance.random() < 0.7
        one.release()


def looks_back(scene: Scene, chance: random.Random) -> None:
    """Is what a start would find the world as it is?"""
    scene.compare()


def dies(scene: Scene, chance: random.Random) -> None:
    """The server ends, cleanly or not, and comes again."""
    scene.restart(clean=chance.random() < 0.5)


def many_come(scene: Scene, chance: random.Random) -> None:
    while len(scene.talkers) < MOST:
        log_in(scene, chance)


STEPS: dict[Step, int] = {  # how often
    requests: 220,
    stranger: 15,
    log_in: 40,
    administrator: 4,
    account: 6,
    change_password: 2,
    bytes_of_any_kind: 12,
    seal: 2,
    comes_and_goes: 12,
    reading: 6,
    time_passes: 10,
    console: 8,
    edit: 3,
    disk: 6,
    asks_to_carry: 14,
    carries: 12,
    looks_back: 1,
    dies: 1,
    many_come: 1,
}
_KINDS, _WEIGHTS = tuple(STEPS), tuple(STEPS.values())


def take(scene: Scene, seed: str) -> None:
    """The step that `seed` stands for, and what must hold behind it."""
    chance = random.Random(seed)
    step = chance.choices(_KINDS, _WEIGHTS)[0]
    step(scene, chance)
    scene.tick(chance.choice((1, 1, 2, 5)))
    scene.look()
