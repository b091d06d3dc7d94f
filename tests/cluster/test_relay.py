"""The relays between engine nodes and servers: what they pass, hold, delay and break."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.cluster.relay import Relays
from tests.patience import LIMIT


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of somebody who says everything back."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    connection.sendall(data)
            except OSError:
                pass

    def accept() -> None:
        try:
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def call(port: int, patience: float = LIMIT) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=patience)


def heard(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := end.recv(65_536)):
        data += more
    return data


def test_bytes_pass_and_the_end_too(echo: int) -> None:
    with Relays() as relays, call(relays.open("a", echo)) as end:
        sent = bytes(range(256)) * 4_000
        thread = threading.Thread(target=end.sendall, args=(sent,))
        thread.start()
        assert heard(end, len(sent)) == sent
        thread.join()
        end.shutdown(socket.SHUT_WR)
        assert end.recv(1) == b""


def test_a_cut_is_silence_and_what_was_held_comes_after_it(echo: int) -> None:
    with Relays() as relays, call(relays.open("a", echo)) as end:
        end.sendall(b"before")
        assert heard(end, 6) == b"before"
        relays.cut("a")
        end.sendall(b"meanwhile")
        with call(relays.ports["a"]) as other:  # a newcomer hears nothing, either
            other.sendall(b"hello")
            for each in (end, other):
                each.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    each.recv(1)
                each.settimeout(LIMIT)
            relays.heal("a")
            assert heard(end, 9) == b"meanwhile" and heard(other, 5) == b"hello"


def test_a_caller_that_is_mute_still_hears() -> None:
    with (
        Relays() as relays,
        socket.create_server(("127.0.0.1", 0)) as listener,
        call(relays.open("a", listener.getsockname()[1])) as end,
        listener.accept()[0] as there,
    ):
        there.settimeout(0.3)
        relays.mute("a")
        end.sendall(b"unheard")
        there.sendall(b"heard")
        assert heard(end, 5) == b"heard"
        with pytest.raises(TimeoutError):
            there.recv(1)
        relays.heal("a")
        there.settimeout(LIMIT)
        assert heard(there, 7) == b"unheard"


def test_one_relay_is_cut_and_another_is_not(echo: int) -> None:
    with Relays() as relays:
        relays.open("a", echo)
        relays.open("b", echo)
        relays.cut("a")
        with call(relays.ports["b"]) as end:
            end.sendall(b"here")
            assert heard(end, 4) == b"here"


def test_a_reset_breaks_what_is_there_and_the_next_connection_is_fine(echo: int) -> None:
    with Relays() as relays:
        with call(relays.open("a", echo)) as end:
            end.sendall(b"one")
            assert heard(end, 3) == b"one"
            relays.reset("a")
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        with call(relays.ports["a"]) as end:
            end.sendall(b"two")
            assert heard(end, 3) == b"two"


def test_bytes_come_later(echo: int) -> None:
    with Relays() as relays, call(relays.open("a", echo)) as end:
        relays.lag(0.2, "a")
        begun = time.monotonic()
        end.sendall(b"slow")
        assert heard(end, 4) == b"slow" and time.monotonic() - begun >= 0.4, "there and back"
        relays.lag(0.0, "a")
        end.sendall(b"fast")
        assert heard(end, 4) == b"fast"


def test_nobody_there_is_a_broken_connection() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with Relays() as relays, call(relays.open("a", port)) as end, pytest.raises(ConnectionResetError):
            end.recv(1)
