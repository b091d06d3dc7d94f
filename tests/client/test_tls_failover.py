"""Several servers over TLS: each is judged by itself, and a password that was given goes to none that is not known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatlib.client import news as n
from chatlib.protocol.certificate import fingerprint
from chatlib.protocol.commands import State
from tests.client.certificates import NEEDS_OPENSSL, certificate, der_of
from tests.client.tlsrig import Bench, TlsServer

pytestmark = NEEDS_OPENSSL


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def shown(pem: Path) -> str:
    return fingerprint(der_of(pem))


def place(server: TlsServer) -> str:
    return f"127.0.0.1:{server.port}"


def logged_in(bench: Bench, *servers: TlsServer, **asked: Any) -> Bench:
    """At the first one."""
    bench.dial_several(*(server.port for server in servers), **asked).log_in()
    bench.skipped += 5.0
    bench.news.clear()
    return bench


def turn(bench: Bench, times: int = 20) -> None:
    for _ in range(times):
        bench.loop.call_later(0.01, lambda: None)
        bench.loop.tick()


def test_one_that_nobody_vouches_for_is_passed_over(bench: Bench) -> None:
    here, other = bench.server(), bench.server(certificate("other"))
    logged_in(bench, here, other)
    here.turn_away()
    bench.until(lambda: bench.complaints)
    found = shown(certificate("other"))
    assert bench.complaints == [
        f"The server 127.0.0.1 port {other.port} was not met over TLS before: its certificate has the fingerprint "
        f"{found}. Nothing was sent. So it is passed over: when it is the right one, add the line "
        f'"{place(other)} {found}" to {bench.known.path}.'
    ]
    bench.skipped += 60.0
    turn(bench)
    assert other.heard == b"" and other.accepted > 1 and len(bench.complaints) == 1, "that is said once"
    here.turn_away(False)
    bench.skipped += 60.0
    bench.comes(n.LoggedIn)
    assert not bench.conversation.ended and other.heard == b""


def test_a_line_that_a_person_adds_meanwhile_counts(bench: Bench) -> None:
    here, other = bench.server(), bench.server(certificate("other"))
    logged_in(bench, here, other)
    here.turn_away()
    bench.until(lambda: bench.complaints)
    with bench.known.path.open("a") as file:
        file.write(f"{place(other)} {shown(certificate('other'))}\n")
    bench.skipped += 60.0
    assert bench.comes(n.LoggedIn).server == place(other)


def test_a_person_is_asked_when_all_others_are_gone(bench: Bench) -> None:
    asked: list[tuple[str, str]] = []
    here, other = bench.server(), bench.server(certificate("other"))
    logged_in(bench, here, other, ask=lambda *about: asked.append(about))
    here.turn_away()
    bench.until(lambda: asked)
    assert asked == [(place(other), shown(certificate("other")))] and other.heard == b""
    bench.trusts.accept(*asked[0])
    bench.link.retry()
    assert bench.comes(n.LoggedIn).server == place(other)
    assert bench.remembered().endswith(f"{place(other)} {shown(certificate('other'))}\n"), "nobody is asked again"
    assert len(asked) == 1


def test_a_person_is_asked_about_one_at_a_time_and_about_none_twice(bench: Bench) -> None:
    asked: list[tuple[str, str]] = []
    servers = [bench.server(), bench.server(certificate("other")), bench.server(certificate("third"))]
    logged_in(bench, *servers, ask=lambda *about: asked.append(about))
    servers[0].turn_away()
    for count, each in enumerate(servers[1:], 1):
        bench.skipped += 60.0
        bench.until(lambda count=count: len(asked) == count)  # type: ignore[misc]
        bench.skipped += 60.0
        turn(bench)
        assert asked[-1][0] == place(each) and len(asked) == count
        bench.trusts.refuse(*asked[-1])
    bench.skipped += 60.0
    turn(bench)
    assert len(asked) == 2 and not bench.conversation.ended


def test_a_known_one_is_gone_to_before_anybody_is_asked(bench: Bench) -> None:
    asked: list[tuple[str, str]] = []
    here, unknown, known = bench.server(), bench.server(certificate("other")), bench.server(certificate("third"))
    bench.known.add(place(known), shown(certificate("third")))
    logged_in(bench, here, unknown, known, ask=lambda *about: asked.append(about))
    here.turn_away()
    assert bench.comes(n.LoggedIn).server == place(known)
    assert not asked and not bench.complaints and unknown.heard == b""


def test_the_certificate_of_one_that_has_proven_itself_is_as_good_at_another(bench: Bench) -> None:
    here, other = bench.server(), bench.server()
    logged_in(bench, here, other)
    here.turn_away()
    assert bench.comes(n.LoggedIn).server == place(other)
    assert bench.remembered() == "".join(f"{place(each)} {shown(certificate())}\n" for each in (here, other))


def test_where_a_ca_vouches_nobody_is_asked(bench: Bench) -> None:
    ca = certificate("ca")
    here, other = (bench.server(certificate(who, signed_by=ca)) for who in ("here", "there"))
    logged_in(bench, here, other, cafile=ca)
    here.turn_away()
    assert bench.comes(n.LoggedIn).server == place(other) and not bench.complaints and not bench.remembered()


def test_one_with_another_certificate_than_it_had_is_told_of_and_passed_over(bench: Bench) -> None:
    false, right = bench.server(certificate("other")), bench.server()
    bench.known.add(place(false), shown(certificate("third")))
    bench.dial_several(false.port, right.port).log_in()
    assert len(bench.complaints) == 1 and "does not have the certificate that it had" in bench.complaints[0]
    assert false.heard == b"" and bench.link.at.port == right.port


def test_where_none_is_trusted_that_is_the_end(bench: Bench) -> None:
    servers = [bench.server(certificate("other")), bench.server(certificate("third"))]
    for each in servers:
        bench.known.add(place(each), shown(certificate()))
    ended = bench.dial_several(*(each.port for each in servers)).over()
    assert ended.status == "NOT_TRUSTED" and [each.heard for each in servers] == [b"", b""]
    assert len(bench.complaints) == 2, "each is named"


def test_one_that_is_gone_may_come_back_although_another_is_not_trusted(bench: Bench) -> None:
    here, false = bench.server(), bench.server(certificate("other"))
    bench.known.add(place(false), shown(certificate("third")))
    logged_in(bench, here, false)
    here.turn_away()
    bench.until(lambda: len(bench.got(n.Lost)) > 2)
    here.turn_away(False)
    bench.skipped += 60.0
    bench.comes(n.LoggedIn)
    assert len(bench.complaints) == 1 and false.heard == b""


def test_before_a_password_is_given_the_next_one_is_met_like_the_first(bench: Bench) -> None:
    gone, here = bench.server(), bench.server(certificate("other"))
    gone.turn_away()
    bench.dial_several(gone.port, here.port)
    bench.until(lambda: bench.conversation.state is State.GREETED)
    assert bench.link.certificate and bench.link.certificate.is_new, "its fingerprint is shown before anything is typed"


def test_a_password_that_was_typed_and_not_proven_yet_is_not_proven_to_another(bench: Bench) -> None:
    here, other = bench.server(), bench.server(certificate("other"))
    bench.dial_several(here.port, other.port)
    bench.until(lambda: bench.conversation.state is State.GREETED)
    here.begin = lambda guest: None
    bench.skipped += 5.0
    bench.conversation.login("bob", bench.loop.now)
    bench.comes(n.Challenged)
    bench.conversation.give_password("secret")
    here.turn_away()
    bench.over()
    assert other.heard == b""


def test_nobody_falls_back_to_plain(bench: Bench) -> None:
    here, plain = bench.server(), bench.server(secured=False)
    logged_in(bench, here, plain)
    here.turn_away()
    bench.until(lambda: len(bench.got(n.Lost)) > 1)
    assert b"action" not in plain.heard and not bench.conversation.ended
