"""The certificate that a server shows: its own, another one, one that is exchanged, and one that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chatlib.protocol.certificate import fingerprint
from chatlib.storage.textfile import FileError
from tests.client.certificates import certificate, der_of
from tests.server.house import House
from tests.server.inside import go_inside, login, offer

NAMES = {name: certificate(name, days="-days 365") for name in ("one", "other")}
EXPIRED = certificate("old", days="-days -1")


def seen_by_a_client(house: House) -> str:
    peer = go_inside(house.connect())
    return fingerprint(peer.socket.stream.certificate)  # type: ignore[attr-defined]


def known(path: Path) -> str:
    return fingerprint(der_of(path))


def test_a_new_one_is_for_those_who_come_from_then_on(house: House) -> None:
    path = offer(house, NAMES["one"].read_text())
    seas = login(house, "SEAS")
    assert house.reload() == ["Nothing was changed by hand."], "it is the same"
    os.replace(_copy(NAMES["other"], path), path)
    said = house.reload()
    assert said[0] == f"New certificate, for connections from now on: {known(NAMES['other'])}."
    assert house.server.tls.fingerprint == seen_by_a_client(house) == known(NAMES["other"])
    google = login(house, "Google")
    assert seas.ask("message", to="Google", text="still here")["status"] == "OK"
    house.settle()
    assert google.texts == ["still here"]
    assert seas.prove("password", "SEAS")["status"] == "OK", "bound to the certificate of its own connection"


def test_what_vouches_for_it_may_be_exchanged_alone(house: House) -> None:
    authority = certificate("authority")
    signed = certificate("signed", signed_by=authority).read_text()
    path = offer(house, signed)

    def shown() -> int:
        stream = go_inside(house.connect()).socket.stream  # type: ignore[attr-defined]
        return len(stream._tls._sslobj.get_unverified_chain())

    assert shown() == 1
    above = authority.read_text()
    path.write_text(signed + above[above.index("-----BEGIN CERT") :])
    assert house.reload() == ["Nothing was changed by hand."]
    assert shown() == 2


def test_a_pipe_in_its_place_holds_nobody_up(house: House) -> None:
    path = offer(house, NAMES["one"].read_text())
    path.unlink()
    os.mkfifo(path)
    said = f"The certificate stays as it is: {path} cannot be used: it must be a plain file,"
    assert house.reload()[0] == f"{said} since it is read more than once."


def _copy(source: Path, beside: Path) -> Path:
    there = beside.with_name("new.pem")
    there.write_bytes(source.read_bytes())
    return there


@pytest.mark.parametrize("bad", ["gone", "junk", "expired", "another's key"])
def test_a_bad_new_one_is_refused_and_the_old_one_stays(house: House, bad: str) -> None:
    path = offer(house, NAMES["one"].read_text())
    if bad == "gone":
        path.unlink()
    elif bad == "junk":
        path.write_text("junk")
    elif bad == "expired":
        path.write_text(EXPIRED.read_text())
    else:
        key, _, _ = NAMES["one"].read_text().partition("-----BEGIN CERT")
        path.write_text(key + NAMES["other"].read_text().partition("-----BEGIN CERT")[2].join(("-----BEGIN CERT", "")))
    said = house.reload()
    assert said[0].startswith("The certificate stays as it is: ") and "tls.pem" in said[0]
    assert seen_by_a_client(house) == known(NAMES["one"])


def test_an_expired_one_is_shown_with_a_warning(house: House) -> None:
    offer(house, EXPIRED.read_text())
    (said,) = house.heard_by_admin()
    assert said.startswith("The certificate of this server has expired on 20")
    assert seen_by_a_client(house) == known(EXPIRED), "clients that know it still come in"


def test_one_that_ends_soon(house: House) -> None:
    offer(house, certificate("soon", days="-days 20").read_text())
    assert " expires on 20" in house.heard_by_admin()[0]


def test_one_of_the_administrators_own(house: House) -> None:
    house.server.tls.begin(True, NAMES["one"])
    assert seen_by_a_client(house) == known(NAMES["one"])
    assert not house.server.home.tls.exists()


def test_a_start_with_a_bad_one_is_refused(house: House) -> None:
    with pytest.raises(FileError, match="cannot be used: there is no certificate in it"):
        offer(house, "junk")
    with pytest.raises(FileError, match="move it away: a new one is made"):
        house.server.tls.begin(True)


def test_it_is_made_at_first_use_and_kept(house: House) -> None:
    house.server.tls.begin(True)
    first = house.server.tls.fingerprint
    assert first == seen_by_a_client(house)
    house.stop()
    house.restart()
    assert house.server.tls.fingerprint == ""
    house.server.tls.begin(True)
    assert house.server.tls.fingerprint == first


def test_a_flipped_bit_in_the_servers_own_does_not_pass_for_another_one(house: House) -> None:
    house.server.tls.begin(True)
    house.stop()
    path = house.server.home.tls
    whole = path.read_bytes()
    at = whole.index(b"BEGIN CERTIFICATE") + 200
    path.write_bytes(whole[:at] + (b"A" if whole[at : at + 1] != b"A" else b"B") + whole[at + 1 :])
    house.restart()
    with pytest.raises(FileError, match=r"Restore it from a backup, or move it away"):
        house.server.tls.begin(True)


def test_a_start_without_tls_where_people_came_over_tls_says_so(house: House) -> None:
    house.server.tls.begin(False)
    assert house.heard_by_admin() == []
    house.server.tls.begin(True)
    house.stop()
    house.restart()
    house.server.tls.begin(False)
    assert "TLS is off, and this home has a certificate" in house.heard_by_admin()[-1]


def test_requiring_tls_makes_one_while_the_server_runs(house: House, build: Callable[..., House]) -> None:
    house.server.tls.begin(False)
    google = house.login("Google")
    house.admin("change REQUIRE_TLS yes")
    house.wait_for(lambda: house.server.tls._job is None)
    assert f"TLS is on. The certificate is {house.server.tls.fingerprint}." in house.heard_by_admin()
    assert login(house, "SEAS").ask("whoelse")["items"] == ["Google"]
    assert google.ask("whoelse")["items"] == ["SEAS"], "who is connected stays"
    assert house.connect().hello()["status"] == "TLS_REQUIRED"


def test_requiring_tls_with_a_damaged_one(house: House) -> None:
    house.server.tls.begin(False)
    house.server.home.tls.write_text("junk")
    (said,) = [line for line in house.admin("change REQUIRE_TLS yes") if "certificate" in line]
    assert said.startswith("Nobody can come in: ")
    assert said.endswith("a new one is made, which clients must be told of.")
    house.server.home.tls.write_text(NAMES["one"].read_text())
    house.reload()
    assert seen_by_a_client(house) == known(NAMES["one"]), "a reload tries again"


def test_a_stop_while_one_is_made(house: House) -> None:
    house.server.tls.begin(False)
    house.admin("change REQUIRE_TLS yes")
    house.stop()
    assert house.server.tls._job is None


def test_one_that_was_exchanged_waits_for_the_reload_whatever_is_forgotten(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The context is renewed when OpenSSL keeps too much: with what is shown, and nothing else."""
    monkeypatch.setattr("chatlib.server.tlsdoor.REMEMBERED", -1)
    path = offer(house, NAMES["one"].read_text())
    first = house.server.tls._shown
    assert seen_by_a_client(house) == known(NAMES["one"])
    assert house.server.tls._shown is not first
    for exchanged in (NAMES["other"].read_text(), "junk"):
        path.write_text(exchanged)
        assert seen_by_a_client(house) == known(NAMES["one"])


def test_without_the_program_nobody_comes_in_and_the_administrator_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    house.server.tls.begin(False)
    house.admin("change REQUIRE_TLS yes")
    house.wait_for(lambda: house.server.tls._job is None)
    (said,) = [line for line in house.heard_by_admin() if "certificate" in line]
    assert said.startswith("Nobody can come in: REQUIRE_TLS is yes, but there is no certificate.")
    assert "install it, or name a certificate of your own" in said
    assert house.connect().hello()["status"] == "TLS_REQUIRED"
    house.admin("change REQUIRE_TLS no")
    assert house.connect().hello()["status"] == "OK"
