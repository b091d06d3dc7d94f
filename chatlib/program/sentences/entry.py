"""Sentences about accounts, passwords, coming and going, and the connection."""

from __future__ import annotations

from collections.abc import Sequence

from chatlib.client.addresses import ServerAddress
from chatlib.client.news import Fields
from chatlib.program.sentences.book import Line, Sentences, items, named, quiet, says, stamp, system
from chatlib.protocol.text import counted
from chatlib.terminal.screen import style

# Questions.

USERNAME = 'Please enter your username: (or "register", "de-register", "quit")'
PASSWORD = "Please enter your password:"
NEW_USERNAME = "Please choose a username:"
NEW_PASSWORD = "Please choose a password:"
CURRENT_PASSWORD = "Please enter your current password:"
AGAIN = "Please type it again:"
REMOVE_USERNAME = "Please enter the username to remove:"
YES_OR_NO = 'Please type "yes" or "no".'
UNCHANGED = "Your password stays as it was."
DIFFERENT = "The two passwords differ."


def unknown_user(user: str) -> str:
    return f'There is no user "{user}". Do you want to register it? (yes/no)'


def remove_user(user: str) -> str:
    return f'Do you really want to remove the user "{user}", with all messages? (yes/no)'


# Who else can read along.


def readable(offers_tls: bool, met: bool) -> Line:
    """`met`: there was TLS with this server before."""
    why = "the server offers no TLS, and you have met it over TLS before" if met else "the server offers no TLS"
    if offers_tls:
        why = "start the client with --tls, and they cannot"
    return (style(f"Others on this network can read along: {why}.", "yellow"),)


def first_contact(place: str, fingerprint: str) -> list[Line]:
    return [(f"You have not met the server {place} over TLS before. Its certificate has the fingerprint",),
            (style(fingerprint, "bold"),),
            ("The server prints the same at its start, or somebody stands in between. "
             "It is remembered when you have logged in.",)]  # fmt: skip


def unmet(place: str, fingerprint: str) -> list[Line]:
    """The others are gone, and this one is there."""
    return [(f"The server {place} answers. You have not met it over TLS before. Its certificate has the fingerprint",),
            (style(fingerprint, "bold"),),
            ("The server prints the same at its start, or somebody stands in between. "
             "Do you want to go on there? (yes/no)",)]  # fmt: skip


def not_there(place: str) -> Line:
    return (f"You do not go to {place}. The others are tried again.",)


# Coming and going.

LOGGED_OFF = "(logged off)"


def welcome(user: str) -> Line:
    return (f'Welcome to the Chatting room user "{user}"! Now you have successfully logged in!',)


def connecting(servers: Sequence[ServerAddress]) -> Line:
    one, *more = servers
    whom = f"one of {', '.join(map(str, servers))}" if more else f"{one.host} port {one.port}"
    return (style(f"Connecting to {whom} …", "dim"),)


def queued(position: int) -> Line:
    return (style(f"The server is full. You are number {position} in the queue.", "dim"),)


def away(count: int) -> Line:
    return (style(f"While you were away ({counted(count, 'message')}):", "dim"),)


def resent(count: int) -> Line:
    which = "it" if count == 1 else "they"
    return (style(f"Sent now, because {which} had no answer: {counted(count, 'command')}.", "dim"),)


def unsent(count: int) -> Line:
    return (f"Still without an answer: {counted(count, 'command')}.",)


def lost(text: str, logged_in: bool) -> Line:
    return (style(f"{text} Trying to come back" + ("; what you type is sent then." if logged_in else "."), "yellow"),)


def back(server: str = "") -> Line:
    return (style(f"You are back online, at {server}." if server else "You are back online.", "green"),)


def moved(server: str) -> Line:
    """Back so soon that nothing was said of a loss."""
    return (style(f"Connection lost; {f'connected to {server}' if server else 'you are back online'}.", "green"),)


def server_back() -> Line:
    return (style("The server is back.", "green"),)


def idle(text: str) -> Line:
    return (style(f"{text} The next line you type logs you in again.", "yellow"),)


def offline_note(seconds: float, calls: str = "") -> str:
    if calls:
        return f"(offline, trying {calls})"
    return f"(offline, retrying in {max(1, round(seconds))} s)" if seconds > 0.5 else "(offline, retrying)"


# Replies and events.


_FEW = 3  # users whose names are said, when they came or went together


def _presence(fields: Fields) -> Line:
    if "came" in fields:
        return system(_gathered(fields.get("came"), fields.get("went")))
    return system('"', *named(fields.get("user")), f'" has just logged {"in" if fields.get("online") else "out"}.')


def _gathered(came: object, went: object) -> str:
    """Several who came or went within a moment."""
    told = [(users, word) for users, word in ((came, "in"), (went, "out")) if isinstance(users, list) and users]
    few = sum(len(users) for users, _ in told) <= _FEW
    parts = [f"{_listed(users) if few else _counted(users, place)} logged {word}"
             for place, (users, word) in enumerate(told)]  # fmt: skip
    return ", ".join(parts) + "."


def _listed(users: list[object]) -> str:
    *first, last = [f'"{user}"' for user in users]
    return f"{', '.join(first)} and {last}" if first else last


def _counted(users: list[object], place: int) -> str:
    return str(len(users)) if place else counted(len(users), "user")


def _sessions(_asked: Fields, reply: Fields, now: float) -> list[Line]:
    return [(*stamp(each.get("time"), now), f"{each.get('number')} from {each.get('address')}",
             " (this one)" if each.get("here") else "") for each in items(reply) if isinstance(each, dict)]  # fmt: skip


SENTENCES = Sentences(
    replies={
        "register": says('The user "{user}" has been registered.'),
        "login": quiet,  # a welcome is said when the session begins
        "deregister": says('The user "{user}" has been removed.'),
        "password": says("Your password has been changed."),
        "logout": says("Session {number} has ended."),  # of this one nothing is said: the program ends
        "sessions": _sessions,
    },
    events={"presence": _presence, "notice": lambda fields: system(str(fields.get("text")))},
)
