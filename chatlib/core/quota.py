"""MAIL_QUOTA: how many messages of one sender may wait for one user.

Counted is what came while the receiver was away and was not seen since: what is shown as it comes does not wait, and
costs nothing here. The count of one sender is kept in groups, each with the seq of its last message, and a group goes
when that was seen. So a quota below 32 is exact; of a larger one, up to a sixteenth that was seen may still count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatlib.core.replies import Reply, refusal

if TYPE_CHECKING:
    from chatlib.core.accounts import Account
    from chatlib.core.world import World

_GROUPS = 16  # about, of one sender

Waiting = dict[str, list[list[int]]]  # by sender: groups, each the last seq and how many, the oldest first


def refusal_of(world: World, sender: str, receiver: Account) -> Reply | None:
    """Why nothing more may wait for `receiver`, who is away, from `sender`; or None, and it is counted.

    The world is `limited` since a version that knows this rule has started on it: what an earlier one has let in is
    let in by each replay.
    """
    quota = world.parameters["MAIL_QUOTA"] if world.limited else 0
    if not quota or _counts(receiver, sender, world.lsn, quota, max(receiver.seen, world.floor - 1)):
        return None
    text = f'{quota:,} of your messages wait for "{receiver.name}" already: no more is taken before some are read.'
    return refusal("MAILBOX_FULL", text)


def _counts(receiver: Account, sender: str, seq: int, quota: int, seen: int) -> bool:
    """Whether the message `seq` still fits in; then it is counted."""
    if receiver.waiting is None:
        receiver.waiting = {}
    groups = receiver.waiting.setdefault(sender, [])
    while groups and groups[0][0] <= seen:
        del groups[0]
    if sum(count for _, count in groups) >= quota:
        return False
    if groups and groups[-1][1] < quota // _GROUPS:
        groups[-1][0] = seq
        groups[-1][1] += 1
    else:
        groups.append([seq, 1])
    return True


def seen(account: Account) -> None:
    """The account has seen more: nothing is kept of who has nothing waiting any more."""
    if account.waiting is not None and account.seen >= max(groups[-1][0] for groups in account.waiting.values()):
        account.waiting = None
