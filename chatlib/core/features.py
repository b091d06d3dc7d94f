"""The features of the house: the one place in the core that lists them, and what is looked up by a command's name.

Legal order: a feature is added before a world is built that is to have it, and when its rows are in the command table.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from chatlib.core import admin, bank, entry, files, forum, history, peers, talk
from chatlib.core.feature import (
    Answer,
    DownloadGrant,
    DownloadRule,
    Feature,
    Handler,
    Pools,
    Request,
    UploadGrant,
    UploadRule,
)
from chatlib.core.replies import Reply
from chatlib.protocol.commands import ACTIONS

if TYPE_CHECKING:
    from chatlib.core.world import World

FEATURES: list[Feature] = []

HANDLERS: dict[str, Handler] = {}  # by action: a command keeps the name it came with, which may be an alias
ANSWERS: dict[str, Answer] = {}
UPLOADS: dict[str, UploadRule] = {}
DOWNLOADS: dict[str, DownloadRule] = {}
# By action, what a request's fingerprint is made of: a text with places, and what finds the fields for them in a
# command. None: the fields are looked at one by one.
Recipe = tuple[str, Callable[[Mapping[str, Any]], Any]]
RECIPES: dict[str, tuple[str, Recipe | None]] = {}


def add(feature: Feature) -> None:
    """New worlds have this feature from now on. Raises ValueError, and adds nothing, if a name in it is known."""
    names = [other.name for other in FEATURES]
    there: tuple[Container[str], ...] = (names, HANDLERS, ANSWERS, UPLOADS, DOWNLOADS)
    added = ([feature.name], feature.handlers, feature.answers, feature.uploads, feature.downloads)
    twice = [name for known, new in zip(there, added, strict=True) for name in new if name in known]
    if twice:
        raise ValueError(f"{', '.join(twice)}: there is already such a feature, or a command of one")
    FEATURES.append(feature)
    ANSWERS.update(feature.answers)
    UPLOADS.update(feature.uploads)
    DOWNLOADS.update(feature.downloads)
    for name, handler in feature.handlers.items():
        for action in _names(name):
            HANDLERS[action] = handler
            RECIPES[action] = _recipe(feature.kept_as.get(name, name), name)


def remove(feature: Feature) -> None:
    """Undoes ``add``; its rows must be in the table still."""
    FEATURES.remove(feature)
    for table, names in ((ANSWERS, feature.answers), (UPLOADS, feature.uploads), (DOWNLOADS, feature.downloads)):
        for name in names:
            del table[name]
    for name in feature.handlers:
        for action in _names(name):
            del HANDLERS[action], RECIPES[action]


def grant(world: World, row: str, user: str, request: Request, coming: Pools) -> UploadGrant | DownloadGrant | Reply:
    """What the feature of this row says to a request for a ticket."""
    rule: UploadRule | DownloadRule = UPLOADS[row] if row in UPLOADS else DOWNLOADS[row]
    return rule(world, user, request, coming)


def _names(name: str) -> tuple[str, ...]:
    return ACTIONS[name].names if name in ACTIONS else (name,)


def _recipe(kept_as: str, name: str) -> tuple[str, Recipe | None]:
    """Fields in the order of their names: fingerprints are kept on disk, so they must not depend on the row's order."""
    row = ACTIONS.get(name)
    if row is None or not row.fields or not all(field.required and field.sent for field in row.fields):
        return kept_as, None
    fields = sorted(field.name for field in row.fields)
    return kept_as, ("\0".join([kept_as, *(f"{field}\0%s" for field in fields)]), itemgetter(*fields))


for _feature in (
    entry.FEATURE, admin.FEATURE, talk.FEATURE, files.FEATURE, forum.FEATURE, bank.FEATURE, peers.FEATURE,
    history.FEATURE,
):  # fmt: skip
    add(_feature)
