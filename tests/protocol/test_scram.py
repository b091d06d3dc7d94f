"""SCRAM-SHA-256: RFC 7677's vector from both ends, every refusal, and PostgreSQL's verifiers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatlib.protocol.scram import (
    MAX_ITERATIONS,
    MIN_ITERATIONS,
    ClientExchange,
    OtherChannel,
    ScramError,
    ServerExchange,
    Verifier,
    fingerprint,
    make_verifier,
    new_nonce,
    parse_verifier,
    salted_password,
    saslprep,
)
from tests.chance import examples

# RFC 7677, section 3: user "user", password "pencil".
C_NONCE = "rOprNGfwEbeRWgbNEkqO"
S_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
FIRST = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = (
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
ANSWER = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
VERIFIER = make_verifier("pencil", 4096, SALT)


def server() -> ServerExchange:
    return ServerExchange.begin(FIRST, VERIFIER, S_NONCE)


def client() -> ClientExchange:
    exchange = ClientExchange("user", C_NONCE)
    exchange.salt_of(CHALLENGE)
    return exchange


def test_the_vector_from_the_server() -> None:
    assert ServerExchange.user_of(FIRST) == "user"
    exchange = server()
    assert (exchange.user, exchange.challenge) == ("user", CHALLENGE)
    assert exchange.verify(FINAL) == ANSWER


def test_the_vector_from_the_client() -> None:
    exchange = ClientExchange("user", C_NONCE)
    assert exchange.first == FIRST
    assert exchange.salt_of(CHALLENGE) == (SALT, 4096)
    assert exchange.final(CHALLENGE, salted_password("pencil", SALT, 4096)) == FINAL
    exchange.check(ANSWER)


def prove(password: str, verifier: Verifier) -> str | None:
    one = ClientExchange("someone", new_nonce())
    other = ServerExchange.begin(one.first, verifier, new_nonce())
    salt, iterations = one.salt_of(other.challenge)
    answer = other.verify(one.final(other.challenge, salted_password(password, salt, iterations)))
    if answer is not None:
        one.check(answer)
    return answer


@settings(max_examples=examples(15))
@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=30))
def test_both_ends_agree_about_any_password(password: str) -> None:
    verifier = make_verifier(password, 4096)
    assert prove(password, verifier) is not None
    assert prove(password + "x", verifier) is None


def test_passwords_that_look_alike_are_one() -> None:
    assert prove("IX", make_verifier("\u2168", 4096)) is not None


def test_every_salt_and_nonce_is_new() -> None:
    assert make_verifier("x", 4096) != make_verifier("x", 4096)
    assert len({new_nonce() for _ in range(100)}) == 100


# The server's refusals.


@pytest.mark.parametrize(
    "first",
    [
        "", "n,,", "n,,n=user", "n,,r=rOprNGfwEbeRWgbNEkqO", "n,,n=,r=rOprNGfwEbeRWgbNEkqO",
        "x,,n=user,r=rOprNGfwEbeRWgbNEkqO", "p=tls-unique,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "n,a=admin,n=user,r=rOprNGfwEbeRWgbNEkqO", "n,,m=x,n=user,r=rOprNGfwEbeRWgbNEkqO",
        "n,,n=user,r=", "n,,n=user,r=with space12", "n,,n=user,r=abcdefgh,x=1",
        "n,,n=user,r=abcdefgh\n", " n,,n=user,r=abcdefgh", "n,,n=user,r=nönascii1",
    ],
)  # fmt: skip
def test_a_first_message_that_is_none(first: str) -> None:
    with pytest.raises(ScramError, match="first SCRAM message must be"):
        ServerExchange.user_of(first)


@pytest.mark.parametrize("length", [1, 7, 129, 900])
def test_a_nonce_may_have_any_length_from_one(length: int) -> None:
    assert ServerExchange.user_of("n,,n=bob,r=" + "x" * length) == "bob"


def proof_without_binding(first: str, challenge: str, header: str) -> str:
    """A final message made by hand (RFC 5802, section 3): `header` is what it says that `first` began with."""
    salted = salted_password("pencil", SALT, 4096)
    key = hmac.digest(salted, b"Client Key", "sha256")
    final = f"c={base64.b64encode(header.encode()).decode()},r={challenge[2:challenge.index(',')]}"
    auth = f"{first[3:]},{challenge},{final}".encode()
    signature = hmac.digest(hashlib.sha256(key).digest(), auth, "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    return f"{final},p={base64.b64encode(proof).decode()}"


def test_a_client_that_could_bind_to_a_channel_may_say_so_and_must_mean_it() -> None:
    first = FIRST.replace("n,,", "y,,")
    here = ServerExchange.begin(first, VERIFIER, S_NONCE)
    assert (here.verify(proof_without_binding(first, here.challenge, "y,,")) or "").startswith("v=")
    for said, meant in ((first, "n,,"), (FIRST, "y,,")):  # someone on the way has changed the first message
        here = ServerExchange.begin(said, VERIFIER, S_NONCE)
        with pytest.raises(ScramError, match="final SCRAM message must be"):
            here.verify(proof_without_binding(said, here.challenge, meant))


# Over TLS (SCRAM-SHA-256-PLUS): the certificate's hash goes into the proof.

HERE, ELSEWHERE = hashlib.sha256(b"this server's certificate").digest(), hashlib.sha256(b"a relay's").digest()


def bound(mine: bytes | None, theirs: bytes, *, offers_tls: bool = True) -> str | None:
    """The whole proof, between a client that is bound to `mine` and a server that expects `theirs`."""
    one = ClientExchange("user", C_NONCE, mine)
    other = ServerExchange.begin(one.first, VERIFIER, S_NONCE, theirs, offers_tls=offers_tls)
    one.salt_of(other.challenge)
    answer = other.verify(one.final(other.challenge, salted_password("pencil", SALT, 4096)))
    if answer is not None:
        one.check(answer)
    return answer


def test_a_proof_is_bound_to_the_certificate() -> None:
    one = ClientExchange("user", C_NONCE, HERE)
    assert one.first == "p=tls-server-end-point,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert ServerExchange.user_of(one.first) == "user"
    one.salt_of(CHALLENGE)
    final = one.final(CHALLENGE, salted_password("pencil", SALT, 4096))
    said = base64.b64decode(final[2 : final.index(",")])
    assert said == b"p=tls-server-end-point,," + HERE
    assert (bound(HERE, HERE) or "").startswith("v=")
    assert bound(HERE, HERE) != bound(None, b""), "the header is part of what is proven"


def test_a_relay_with_another_certificate_has_a_proof_that_is_good_for_nothing() -> None:
    with pytest.raises(OtherChannel, match="bound to another certificate: somebody in between"):
        bound(ELSEWHERE, HERE)
    final = ClientExchange("user", C_NONCE, ELSEWHERE).final(CHALLENGE, salted_password("pencil", SALT, 4096))
    here = ServerExchange.begin(FIRST.replace("n,,", "p=tls-server-end-point,,"), VERIFIER, S_NONCE, HERE)
    exchanged = f"c={here.binding}{final[final.index(',r=') :]}"  # a relay that says what the server expects
    assert here.verify(exchanged) is None


@pytest.mark.parametrize("header", ["n,,", "y,,"])
def test_over_tls_only_a_bound_proof_is_taken(header: str) -> None:
    with pytest.raises(ScramError, match='bound to the server\'s certificate: "p=tls-server-end-point,,n=<user>'):
        ServerExchange.begin(FIRST.replace("n,,", header), VERIFIER, S_NONCE, HERE, offers_tls=True)


def test_who_was_kept_from_tls_is_told() -> None:
    assert ClientExchange("user", C_NONCE, b"").first.startswith("y,,"), "it would have bound, but was offered nothing"
    with pytest.raises(OtherChannel, match="offers TLS: somebody in between has kept that from your client"):
        bound(b"", b"")
    assert bound(b"", b"", offers_tls=False), "nothing was offered"
    assert bound(None, b""), "it was offered, and the client's user will not have it"


def test_a_bound_proof_that_arrives_plain_is_refused() -> None:
    with pytest.raises(OtherChannel, match="not TLS where it arrives"):
        bound(HERE, b"")


def test_a_fingerprint_tells_verifiers_apart_and_nothing_of_them() -> None:
    one, other = str(VERIFIER), str(make_verifier("pencil", 4096))
    assert fingerprint(one) == fingerprint(one) != fingerprint(other)
    assert re.fullmatch("[0-9a-f]{16}", fingerprint(one))


@pytest.mark.parametrize(
    "final",
    [
        "", "p=abc", FINAL + ",x=1", FINAL.replace("biws", "eSws"), FINAL.replace("c=biws,", ""), FINAL + "\n",
        FINAL[: FINAL.index(",p=")], FIRST,
    ],
)  # fmt: skip
def test_a_final_message_that_is_none(final: str) -> None:
    with pytest.raises(ScramError, match="final SCRAM message must be"):
        server().verify(final)


@pytest.mark.parametrize("nonce", [C_NONCE, S_NONCE, C_NONCE + S_NONCE + "x", (C_NONCE + S_NONCE)[:-1], "x" * 50])
def test_another_nonce_than_the_challenge(nonce: str) -> None:
    with pytest.raises(ScramError, match="another nonce"):
        server().verify(FINAL.replace(C_NONCE + S_NONCE, nonce))


@pytest.mark.parametrize("proof", ["=", "A", "====", "A===", "dHzb=pWI", "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndV"])
def test_base64_garbage_is_no_proof(proof: str) -> None:
    with pytest.raises(ScramError, match="base64"):
        server().verify(FINAL[: FINAL.index("p=")] + "p=" + proof)


@pytest.mark.parametrize("size", [1, 31, 33, 64])
def test_a_proof_of_another_length_is_wrong(size: int) -> None:
    proof = base64.b64encode(b"x" * size).decode()
    assert server().verify(FINAL[: FINAL.index("p=")] + "p=" + proof) is None


def test_every_flipped_bit_of_the_proof_is_noticed() -> None:
    head, proof = FINAL[: FINAL.index("p=") + 2], base64.b64decode(FINAL[FINAL.index("p=") + 2 :])
    for bit in range(256):
        wrong = bytearray(proof)
        wrong[bit // 8] ^= 1 << bit % 8
        assert server().verify(head + base64.b64encode(wrong).decode()) is None
    assert server().verify(head + base64.b64encode(proof).decode()) == ANSWER


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda data: data.decode("latin-1")))
def test_nothing_but_scram_errors(text: str) -> None:
    for attempt in (
        lambda: ServerExchange.user_of(text),
        lambda: server().verify(text),
        lambda: ClientExchange("user", C_NONCE).salt_of(text),
        lambda: client().check(text),
        lambda: parse_verifier(text),
        lambda: saslprep(text),
    ):
        try:
            attempt()
        except ScramError as refused:
            assert str(refused)  # noqa: PT017


# The client's refusals: a server may be anyone.


@pytest.mark.parametrize(
    "challenge",
    [
        "", "r=x", CHALLENGE + ",x=1", "m=1," + CHALLENGE, CHALLENGE.replace("i=4096", "i="), "e=other-error",
        CHALLENGE.replace("i=4096", "i=-4096"), CHALLENGE.replace("i=4096", "i=4096.0"), CHALLENGE + "\n",
        CHALLENGE.replace("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s="), CHALLENGE.replace("i=4096", "i=" + "9" * 10),
        CHALLENGE.replace("r=rO", "r=RO"), CHALLENGE.replace(S_NONCE, ""), CHALLENGE.replace(C_NONCE, ""),
    ],
)  # fmt: skip
def test_a_malformed_challenge(challenge: str) -> None:
    with pytest.raises(ScramError, match="malformed"):
        ClientExchange("user", C_NONCE).salt_of(challenge)


@pytest.mark.parametrize("salt", ["A", "=", "W22ZaJ0SNY7soEsUEjb6gQ", "W2=ZaJ0S"])
def test_a_salt_that_is_no_base64(salt: str) -> None:
    with pytest.raises(ScramError, match="base64"):
        ClientExchange("user", C_NONCE).salt_of(f"r={C_NONCE}xyz,s={salt},i=4096")


@pytest.mark.parametrize("iterations", [0, 1, 4095, 10_000_001, 999_999_999])
def test_iterations_that_are_not_safe_are_refused(iterations: int) -> None:
    with pytest.raises(ScramError, match="4096 to 10000000 are safe"):
        ClientExchange("user", C_NONCE).salt_of(CHALLENGE.replace("i=4096", f"i={iterations}"))


@pytest.mark.parametrize("iterations", [4096, 10_000_000])
def test_iterations_at_the_bounds_are_taken(iterations: int) -> None:
    exchange = ClientExchange("user", C_NONCE)
    assert exchange.salt_of(CHALLENGE.replace("i=4096", f"i={iterations}")) == (SALT, iterations)


@pytest.mark.parametrize(
    "answer",
    ["", "v=", "e=invalid-proof", ANSWER[2:], ANSWER + "=", ANSWER.replace("v=6", "v=7"), "v=é", "v=\ud800"],
)
def test_a_server_that_cannot_prove_itself(answer: str) -> None:
    exchange = client()
    exchange.final(CHALLENGE, salted_password("pencil", SALT, 4096))
    with pytest.raises(ScramError, match="could not prove"):
        exchange.check(answer)


# Verifiers.


def test_a_verifier_is_postgresqls_text() -> None:
    # What PostgreSQL keeps in pg_authid.rolpassword for "pencil" with this salt: StoredKey and ServerKey of RFC 7677.
    text = (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert str(VERIFIER) == text
    assert parse_verifier(text) == VERIFIER


@given(
    st.integers(MIN_ITERATIONS, MAX_ITERATIONS),
    st.binary(min_size=8, max_size=64),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
)
def test_verifiers_come_back_from_their_text(iterations: int, salt: bytes, stored: bytes, key: bytes) -> None:
    verifier = Verifier(iterations, salt, stored, key)
    assert parse_verifier(str(verifier)) == verifier


def written(iterations: object = 4096, salt: int = 16, stored: int = 32, key: int = 32) -> str:
    parts = [base64.b64encode(b"k" * size).decode() for size in (salt, stored, key)]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


def test_the_bounds_of_a_verifier() -> None:
    for good in (written(4096), written(10_000_000), written(salt=8), written(salt=64)):
        assert str(parse_verifier(good)) == good


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "A verifier is SCRAM-SHA-256"),
        ("md5abcdef", "A verifier is"),
        ("SCRAM-SHA-1$4096:" + written()[19:], "A verifier is"),
        (written() + "\n", "A verifier is"),
        (written(""), "A verifier is"),
        (written("-4096"), "A verifier is"),
        (written("10000000000"), "A verifier is"),
        (written(4095), "iterations must be 4096 to 10000000"),
        (written(10_000_001), "iterations must be"),
        (written(salt=7), "salt must be 8 to 64 bytes"),
        (written(salt=65), "salt must be 8 to 64 bytes"),
        (written(stored=31), "must be 32 bytes each"),
        (written(key=33), "must be 32 bytes each"),
        (written().replace("a2tr", "=a2t", 1), "salt is not base64"),
        (written()[:-1], "ServerKey is not base64"),
        ("SCRAM-SHA-256$4096:a2tra2tra2s=$A:" + "A" * 44, "StoredKey is not base64"),
    ],
)
def test_verifiers_that_are_none(text: str, wrong: str) -> None:
    with pytest.raises(ScramError, match=wrong):
        parse_verifier(text)


# SASLprep: RFC 4013, section 3, and the tables behind it.


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("I\u00adX", "IX"),  # the RFC's examples: soft hyphen mapped to nothing
        ("user", "user"),  # no transformation
        ("USER", "USER"),  # case preserved
        ("\u00aa", "a"),  # output is NFKC
        ("\u2168", "IX"),
        ("a\u00a0b\u3000c", "a b c"),  # non-ASCII spaces become spaces
        ("e\u0301", "é"),
        ("two words", "two words"),
        ("\u0627", "\u0627"),  # one right-to-left letter
        ("\u06271\u0628", "\u06271\u0628"),
        ("p\u00e4ss w\u00f6rd", "päss wörd"),
        ("😀", "😀"),
    ],
)
def test_saslprep(password: str, prepared: str) -> None:
    assert saslprep(password) == prepared


@pytest.mark.parametrize(
    "password",
    [
        "\u0007",  # the RFC's example: a control character
        "\u06271",  # the RFC's example: right-to-left letters must stand at both ends
        "1\u0627", "\u0627a\u0627", "a\u0627",
        "tab\t", "\x00", "\x7f", "\x85", "\u2028", "\ufeff\u2029", "\ue000", "\ufdd0", "\ufffe", "\ufff9", "\u2ff0",
        "\u202e", "\U000e0041", "\ud800", "\U000f0000",
        "", "\u00ad", "\u200b\u200d\ufeff",
    ],
)  # fmt: skip
def test_passwords_that_saslprep_prohibits(password: str) -> None:
    with pytest.raises(ScramError, match="password"):
        saslprep(password)
