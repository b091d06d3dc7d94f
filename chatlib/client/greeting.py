"""What is said first on each connection: who calls, and for which time; and who else there is, as the server says.

Must not know connections. Legal order for each connection: ``hello``, then ``heard`` with the reply; when ``plainer``
gives another request, that is the one to be answered. Invariant: `servers` is what a server said that has proven
itself.
"""

from __future__ import annotations

from chatlib.client.news import Fields, Request, status_of


class Greeting:
    """Of one client program, which is `client` to servers. `server`: where the one at hand is."""

    def __init__(self, client: str) -> None:
        self.server = ""
        self.servers: object = None  # who else there is
        self._client = client
        self._connections = 0
        self._counts = True  # until a server does not know that
        self._said: object = None
        self._home: str | None = None  # where the last session was

    def hello(self, server: str) -> Request:
        """The greeting of a new connection. The count tells a server which of two connections came later."""
        self.server = server
        self._connections += 1
        return self._request()

    def _request(self) -> Request:
        count: Fields = {"connection": self._connections} if self._counts else {}
        return Request("hello", {"protocol": 1, "client": self._client, **count})

    def plainer(self, reply: Fields) -> Request | None:
        """What an earlier server understands, if that may be why it has refused the greeting."""
        if not self._counts or status_of(reply) != "BAD_REQUEST":
            return None
        self._counts = False
        return self._request()

    def heard(self, reply: Fields) -> None:
        """The reply that lets us in."""
        self._said = reply.get("servers")

    def entered(self) -> str:
        """The server has proven itself. Where it is, if that is elsewhere than the one before; else empty."""
        self.servers, self._said = self._said, None
        before, self._home = self._home, self.server
        return self.server if before is not None and before != self.server else ""
