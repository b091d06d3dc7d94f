"""Rows about money: payments, each of them durable and told to both, and an audit of all of them.

The payments go round: each user pays the next one. The load checks every balance; what the ledger says is counted by
``tests/ledger.py``, which knows none of the server's code.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from figures import RATE, SECONDS, Aim, Figure, Row, Scale
from peers import Login, Stranger
from testbed import ROOT, Failure, Measurement, Server, Testbed

sys.path.insert(0, str(ROOT))

from tests import ledger  # noqa: E402

_PAYERS = 50


def _payments(bed: Testbed, scale: Scale) -> list[Figure]:
    with bed.home(_PAYERS, INITIAL_BALANCE="1000000") as home:
        with open(home / "credentials.txt", "a") as file:
            file.write(f"admin {bed.verifier}\n")
        with Server(home) as server:
            paid = _pay(bed, server, seconds=scale.seconds)
            more = _pay(bed, server, count=max(1, scale.history - int(paid.load["messages"])), seconds=300)
            count = int(paid.load["messages"] + more.load["messages"])
            seconds = _audit(server)
            server.stop()
        _check(home, count)
    rate = paid.load["messages"]
    return [
        Figure(rate / max(paid.cpu, 0.01), rate / paid.seconds, f"{count:,} payments counted in the ledger"),
        Figure(seconds),
    ]


def _pay(bed: Testbed, server: Server, **limits: int) -> Measurement:
    return bed.run_load(server, "pay", users=_PAYERS, inflight=32, **limits)


def _audit(server: Server) -> float:
    """Seconds from asking for it, at a console from afar, to the answer."""
    with Stranger(server.port) as console:
        login = Login(console, "admin", "admin")
        login.begin()
        login.prove()
        login.finish()
        begun = time.perf_counter()
        console.say("console", line="audit")
        said = b""
        while b"The books are " not in said:
            piece = console.socket.recv(65_536)
            if not piece:
                raise Failure("the server closed the connection")
            said += piece
        if b"The books are right" not in said:
            raise Failure(said.decode(errors="replace"))
        return time.perf_counter() - begun


def _check(home: Path, count: int) -> None:
    try:
        found = ledger.read(home / "data" / "ledger.txt")
    except AssertionError as wrong:
        raise Failure(str(wrong)) from None
    if found.payments != count or found.memos.total() != count:
        raise Failure(f"{count} payments were answered, {found.payments} are in the ledger")


PAYMENTS = Row(
    "payments",
    (
        Aim("payments, durable, 50 users, 32 in flight", 20_000, RATE),
        Aim("an audit of 1,000,000 of them", 5, SECONDS),
    ),
    _payments,
)
