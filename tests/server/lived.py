"""A home in which something of everything is, and what must still be there of it afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from chatlib.core import snapshot
from chatlib.server.verifying import Report, verify
from tests.server.carrying import Pipe, upload
from tests.server.house import PASSWORD, House, Peer

FLAT = [name + "plans" if name.endswith("/") else name for name in snapshot.files()]
Dial = Callable[..., Pipe]


def live(house: House, dial: Dial) -> Peer:
    """Messages, posts, files, payments, blocks, keys: some of it in the text files, some in the journal."""
    columbia = house.login("Columbia")
    for number in range(5):
        columbia.ask("message", to="SEAS", text=f"saved {number}")
    columbia.ask("block", user="Google", key="k1")
    columbia.ask("allow", user="facebook")
    columbia.ask("crt", title="plans")
    columbia.ask("msg", title="plans", text="a post")
    columbia.ask("broadcast", text="to all")
    assert columbia.ask("pay", to="SEAS", amount=250, memo="saved", key="k2")["status"] == "OK"
    assert house.greet().prove("login", "facebook", "wrong")["status"] == "WRONG_PASSWORD"
    upload(dial, columbia, b"saved bytes", "saved.bin")
    assert house.save() == ["Saved."]
    for number in range(5):
        columbia.ask("message", to="SEAS", text=f"journaled {number}")
    columbia.ask("msg", title="plans", text="another post")
    assert columbia.ask("pay", to="facebook", amount=50, memo="journaled", key="k3")["status"] == "OK"
    upload(dial, columbia, b"journaled bytes", "journaled.bin")
    house.pass_time(1.0)
    return columbia


def texts(house: House, name: str = "SEAS") -> list[str]:
    """What waits for a user."""
    peer = house.login(name)
    found = peer.texts
    peer.hang_up()
    house.settle()
    return found


def facts(house: House) -> dict[str, object]:
    """What there is, as users see it."""
    found: dict[str, object] = {}
    for name in ("Columbia", "facebook", "Google", "SEAS"):
        peer = house.greet()
        if peer.prove("login", name, PASSWORD)["status"] != "OK":
            continue
        found[f"{name}'s balance"] = peer.ask("balance").get("balance")
        items = peer.ask("history", count=100).get("items", [])
        found[f"{name}'s messages"] = [item["text"] for item in items if "text" in item]
        found[f"{name}'s files"] = [item["name"] for item in peer.ask("fileget").get("items", [])]
        found[f"{name}'s blacklist"] = peer.ask("blacklist").get("items")
        thread = peer.ask("rdt", title="plans").get("items", [])
        found[f"{name}'s thread"] = [item.get("text") for item in thread]
        found[f"{name}'s statement"] = [item["memo"] for item in peer.ask("statement").get("items", [])]
        peer.hang_up()
        house.settle()
    return found


def state(folder: Path) -> dict[str, object]:
    """Each file's content, and when it was changed: what reading alone must not change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.is_file() and _digest(path))
        for path in sorted(folder.rglob("*"))
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def looked_at(folder: Path) -> Report:
    """Verified, and nothing is changed by it."""
    before = state(folder)
    report = verify(folder)
    assert state(folder) == before
    return report


def flip(path: Path, at: int, bit: int = 0) -> None:
    """One bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)
