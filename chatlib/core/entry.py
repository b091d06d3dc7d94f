"""Coming and going: registration, login, departure, and what the administrator does to accounts.

The edge checks passwords (SCRAM). The commands here say how that came out, those about wrong ones in :mod:`.proofs`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from chatlib.core import proofs, quota, sessions
from chatlib.core.accounts import Account, Presence, folded
from chatlib.core.effects import ANNOUNCE, END, PARAMETERS
from chatlib.core.feature import Command, Feature, Request
from chatlib.core.proofs import forget_failures, locked_out, lockout_refusal, proof_refusal, unproven
from chatlib.core.replies import Reply, no_such_user, refusal
from chatlib.core.rulings import banned
from chatlib.protocol.framing import encode
from chatlib.protocol.text import ADMIN, RESERVED, counted, fold

if TYPE_CHECKING:
    from chatlib.core.world import World


def already_online(name: str) -> Reply:
    """The refusal for a second login."""
    return refusal("ALREADY_ONLINE", f'"{name}" is logged in already.')


def register_refusal(world: World, name: str, now: float | None = None) -> Reply | None:
    """Why nobody may register `name` `now`, or None. Without it, for a command: at the command's time."""
    user = fold(name)
    if world.parameters["REGISTRATION"] != "open":
        return refusal("REGISTRATION_CLOSED", "This server takes no new users; ask its administrator.")
    if user in RESERVED:
        return refusal("USER_EXISTS", f'The name "{name}" is reserved.')
    if user in world.accounts:
        return refusal("USER_EXISTS", f'There is a user "{world.accounts[user].name}" already.')
    if world.bans.names.of(user, world.at if now is None else now):
        return refusal("BANNED", f'The name "{name}" is banned. Ask the administrator.')
    limit = world.parameters["MAX_USERS"] if world.limited else 0
    if limit and len(world.accounts) >= limit:
        return refusal("TOO_MANY_USERS", f"This server has all of its {limit:,} users. Ask the administrator.")
    return None


def register(world: World, lsn: int, command: Command) -> Reply:
    """A new account."""
    name = command["user"]
    refused = register_refusal(world, name)
    if refused:
        return refused
    add_account(world, lsn, name, command["verifier"])
    return {"status": "OK", "user": name}


def add_account(world: World, lsn: int, name: str, verifier: str) -> None:
    """A new account. Blocks of its name hold already."""
    user = folded(name)
    world.add(Account(name, user, verifier, lsn, lsn, blocked_by=world.shunned.pop(user, None)))


def _banned(world: World, account: Account) -> Reply | None:
    """Why the user of this name may not come in, or None. It is said only behind the right password."""
    ruling = world.bans.names.of(account.user, world.at)
    return banned(account.name, ruling, world.at) if ruling else None


def _no_room(world: World, account: Account, earlier: Sequence[Presence], same: Presence | None) -> Reply | None:
    """Why no session may begin beside the `earlier` ones, or None. `same`: the one that the same client takes over."""
    rule, most = world.parameters["DUPLICATE_LOGIN"], world.parameters["SESSIONS"]
    if not earlier:
        full = world.seats_left() == 0
        return refusal("SERVER_FULL", "All seats are taken; try again later.") if full else None
    if same is None and rule == "refuse":
        return already_online(account.name)
    if same is None and rule == "share" and len(earlier) >= most:
        text = f'"{account.name}" has {counted(len(earlier), "session")} open already: log out of one first.'
        return refusal("TOO_MANY_SESSIONS", text)
    return None


def _from_nowhere(world: World, command: Command) -> Reply | None:
    """Why no session may begin on the node that `command` came from, or None: it is down, and would never end it."""
    if "node" not in command or world.state["nodes"].is_up(command["node"]):
        return None
    return refusal("NODE_LOST", "This server was cut off from the others: log in again, here or at another one.")


def _given_up(command: Command, account: Account, same: Presence | None) -> Reply | None:
    """Why a client may not take over its session, or None: it has come on a newer connection since."""
    is_older = same is not None and 0 < command.get("connection", 0) < same.connection
    return already_online(account.name) if is_older else None


def login(world: World, lsn: int, command: Command) -> Reply:
    """The password was proven: a session begins, unless a rule refuses it.

    `resume`: where a client that comes back goes on, whatever other sessions of the user have seen.
    """
    user, address, client = command["user"], command["address"], command.get("client")
    account, earlier = world.accounts.get(user), sessions.sessions_of(world, user)
    if account is None:
        return no_such_user(user)
    same = sessions.of_client(earlier, client)
    refused = (
        _from_nowhere(world, command)
        or unproven(world, account, command)
        or _banned(world, account)
        or _given_up(command, account, same)
        or _no_room(world, account, earlier, same)
    )
    if refused:
        return refused
    account.seen = max(account.seen, min(command.get("seen", 0), lsn - 1))
    quota.seen(account)
    account.came_from(address, client)
    forget_failures(world, account, command)
    since = min(command.get("resume", account.seen), account.seen)
    replaced = earlier if world.parameters["DUPLICATE_LOGIN"] == "replace" else [same] if same else []
    session = Presence(lsn, command["at"], address, client, away_from=since)
    session.node, session.connection = command.get("node", ""), command.get("connection", 0)
    sessions.begin(world, user, session, replaced)
    if not earlier:
        world.effects.append((ANNOUNCE, user, news_of(world, account)))
    for each in replaced:
        world.effects.append((END, user, (each.login, "REPLACED", f"You logged in again from {address}.")))
    shared = {"since": since} if world.parameters["DUPLICATE_LOGIN"] == "share" else {}
    return {"status": "OK", "user": account.name, "unread": world.unread(account, since), **shared, "seq": lsn}


def depart(world: World, _lsn: int, command: Command) -> Reply:
    """A session ended, for whatever reason. `session` is the LSN of its login: other sessions of that user stay."""
    user = command["user"]
    session = sessions.that_began(world, user, command["session"])
    if session is None:
        return refusal("NOT_ALLOWED", "That session has ended already.")
    account = world.accounts[user]
    account.seen = max(account.seen, min(command.get("seen", 0), world.lsn))
    quota.seen(account)
    end_session(world, account, session, command["at"])
    return {"status": "OK"}


def end_session(world: World, account: Account, session: Presence, at: float) -> None:
    """A session is over. With the last one `account` goes offline, and the others are told."""
    if sessions.end(world, account, session, at):
        world.effects.append((ANNOUNCE, account.user, news_of(world, account)))


def logout(world: World, _lsn: int, command: Command) -> Reply:
    """A user ends a session, by its number, from another one."""
    account, number = world.accounts[command["by"]], command["number"]
    found = [each for each in sessions.sessions_of(world, account.user) if each.number == number]
    for session in found:
        end_session(world, account, session, command["at"])
        text = "You logged out here from another session of yours."
        world.effects.append((END, account.user, (session.login, "LOGGED_OUT", text)))
    return {"status": "OK", "number": number} if found else refusal("NO_SUCH_SESSION", f"You have no session {number}.")


class News(NamedTuple):
    """What others may hear of a user who came or went. It stands alone: the account may be gone by then."""

    name: str
    at: float
    online: bool
    hidden: Collection[str]  # they hear nothing: the user, those whom the user blocks, those who block the user

    def event(self) -> bytes:
        """The event."""
        return encode({"event": "presence", "time": self.at, "user": self.name, "online": self.online})


def news_of(world: World, account: Account) -> News:
    """Whether `account` is online now, and since when, or when it left."""
    presence = world.online.get(account.user)
    hidden = {account.user, *(account.blocks or ()), *(account.blocked_by or ())}
    return News(account.name, presence.since if presence else account.left, presence is not None, hidden)


def deregister(world: World, _lsn: int, command: Command) -> Reply:
    """The password was proven: the account goes, with its mail and files."""
    user = command["user"]
    account = world.accounts.get(user)
    if account is None:
        return no_such_user(user)
    refused = proof_refusal(world, account, command)
    if refused:
        return refused
    if user in world.online:
        return refusal("ALREADY_ONLINE", f'"{account.name}" is logged in: log out there first.')
    if "address" in command:
        refused = lockout_refusal(world, account, command["address"], command.get("client"), command["at"])
    elif seconds := world.lockouts.locked(user, command["at"]):  # an earlier version did not say from where
        refused = locked_out(account.name, seconds)
    if refused:
        return refused
    world.remove(account)
    return {"status": "OK", "user": account.name}


def forget(world: World, account: Account) -> None:
    """The last departure goes, and all wrong passwords."""
    world.forget_departure(account)
    world.lockouts.clear(account.user)


def start(world: World, _lsn: int, command: Command) -> Reply:
    """A single server started. Sessions that a crash left open ended when the server was last known to run."""
    for user in list(world.online):
        world.leave(world.accounts[user], command["left"])
    world.lockouts.expire(command["at"])
    world.limited |= command.get("limited", False)
    world.by_hand.forget("", command.get("written", (0, 0)))
    world.state["nodes"].forget()
    world.shared = False
    world.meet()
    return {"status": "OK"}


def edit(world: World, lsn: int, command: Command) -> Reply:
    """A person changed para.txt, credentials.txt or, at the console, a parameter. A verifier of None: removed."""
    if "written" in command:  # not with `change`
        world.by_hand.take_in(lsn, command)
    if command.get("parameters"):
        world.parameters.update(command["parameters"])
        world.effects.append((PARAMETERS, None, None))
    for name, verifier in command.get("accounts", {}).items():
        user = fold(name)
        account = world.accounts.get(user)
        if user == ADMIN and account is None:
            edit_admin(world, lsn, name, verifier)
        elif account is None:
            if verifier is not None:
                add_account(world, lsn, name, verifier)
        elif verifier is not None:
            if verifier != account.verifier:
                account.known = ()  # a client that knew the old password proves the new one first
            account.name, account.verifier = name, verifier
        else:
            if user in world.online:
                kick(world, lsn, {**command, "user": user})
            world.remove(account)
    return {"status": "OK"}


def edit_admin(world: World, lsn: int, name: str, verifier: str | None) -> None:
    """A person gave the administrator a password, or took it away. An ordinary user of that name keeps it."""
    world.effects.append((PARAMETERS, None, None))
    if verifier is None:
        world.admin = None
        world.lockouts.clear(ADMIN)
    elif world.admin is None:
        world.admin = Account(name, ADMIN, verifier, lsn)
    elif verifier != world.admin.verifier:
        world.admin.known, world.admin.verifier = (), verifier


def kick(world: World, _lsn: int, command: Command) -> Reply:
    """The administrator logs a user off."""
    account = world.accounts.get(fold(command["user"]))
    if account is None:
        return no_such_user(command["user"])
    found = sessions.sessions_of(world, account.user)
    if not found:
        return refusal("NOT_ONLINE", f'"{account.name}" is not online.')
    for session in found:
        end_session(world, account, session, command["at"])
        world.effects.append((END, account.user, (session.login, "KICKED", "The administrator logged you off.")))
    return {"status": "OK", "user": account.name}


def register_question(world: World, _user: str, request: Request, now: float) -> Reply:
    """Whether a name could be registered now."""
    return register_refusal(world, request["user"], now) or {"status": "OK", "user": request["user"]}


FEATURE = Feature(
    "entry",
    handlers={
        "register": register, "login": login, "depart": depart, "logout": logout, "deregister": deregister,
        "start": start, "edit": edit, "kick": kick, **proofs.HANDLERS,
    },
    answers={"register": register_question},
    files=proofs.FILES,
    forget=forget,
)  # fmt: skip
