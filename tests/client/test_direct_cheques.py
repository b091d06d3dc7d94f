"""A cheque over a direct connection, between whole programs, while there is no server."""

from __future__ import annotations

from tests.client.conftest import Server
from tests.client.test_private_program import Join, introduce, join, leaves

__all__ = ["join"]


def test_a_cheque_is_given_while_the_server_is_stopped(server: Server, join: Join) -> None:
    ann, bob = join(server, "ann"), join(server, "bob")
    introduce(ann, bob)
    server.stop()
    ann.shows("Trying to come back")
    bob.shows("Trying to come back")
    ann.says("cheque bob 250")
    bob.shows("ann has given you a cheque for 250 credits, good until ")
    bob.says("cash \t")
    server.start()
    bob.shows("You have cashed ann's cheque for 250 credits. You have 10,250 credits now.")
    ann.shows("bob has cashed your cheque for 250 credits. You have 9,750 credits now.")
    leaves(ann, bob)
