"""The features of the house: the one place in the core that lists them, and what is looked up by a command's name.

Legal order: a feature is added before a world is built that is to have it, and when its rows are in the command table.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from chatlib.core import admin, bank, door, entry, files, forum, history, nodes, peers, talk
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
from chatlib.core.rulings import muted
from chatlib.protocol.commands import ACTIONS

if TYPE_CHECKING:
    from chatlib.core.world import World

FEATURES: list[Feature] = []

HANDLERS: dict[str, Handler] = {}  # by action: a command keeps the name it came with, which may be an alias
ANSWERS: dict[str, Answer] = {}
UPLOADS: dict[str, UploadRule] = {}
DOWNLOADS: dict[str, DownloadRule] = {}
SPEAKS: dict[str, str] = {}  # by action: the field that speaks to others ("": the whole command does)
# What a request's fingerprint is made of: a text with places, and what finds the fields for them in a command.
Recipe = tuple[str, Callable[[Mapping[str, Any]], Any]]


class Recipes(NamedTuple):
    """Of one command: `plain`, or `full` where it has the field `optional`. None: all fields are looked at."""

    name: str
    plain: Recipe | None
    optional: str
    full: Recipe | None


RECIPES: dict[str, Recipes] = {}  # by action


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
    SPEAKS.update((action, spoken) for name, spoken in feature.speaks.items() for action in _names(name))
    for name, handler in feature.handlers.items():
        for action in _names(name):
            HANDLERS[action] = handler
            RECIPES[action] = _recipes(feature.kept_as.get(name, name), name)


def remove(feature: Feature) -> None:
    """Undoes ``add``; its rows must be in the table still."""
    FEATURES.remove(feature)
    for table, names in ((ANSWERS, feature.answers), (UPLOADS, feature.uploads), (DOWNLOADS, feature.downloads)):
        for name in names:
            del table[name]
    for action in (action for name in feature.speaks for action in _names(name)):
        del SPEAKS[action]
    for name in feature.handlers:
        for action in _names(name):
            del HANDLERS[action], RECIPES[action]


def grant(
    world: World, now: Callable[[], float], row: str, user: str, request: Request, coming: Pools
) -> UploadGrant | DownloadGrant | Reply:
    """What the feature of this row says to a request for a ticket. `now`: what time it is."""
    rule: UploadRule | DownloadRule = UPLOADS[row] if row in UPLOADS else DOWNLOADS[row]
    refused = muted(world, user, now()) if row in SPEAKS else None
    return refused or rule(world, user, request, coming)


def parties(world: World) -> Iterator[str]:
    """Of whom and for whom bytes may be on their way."""
    return chain.from_iterable(feature.parties(world) for feature in FEATURES)


def _names(name: str) -> tuple[str, ...]:
    return ACTIONS[name].names if name in ACTIONS else (name,)


def _recipes(kept_as: str, name: str) -> Recipes:
    row = ACTIONS.get(name)
    fields = {field.name: field.required for field in row.fields} if row else {}
    optional = [field for field, required in fields.items() if not required]
    if not row or len(optional) > 1 or not all(field.sent for field in row.fields):
        return Recipes(kept_as, None, "", None)
    plain, full = _recipe(kept_as, fields.keys() - optional), _recipe(kept_as, fields)
    return Recipes(kept_as, plain, optional[0] if optional else "", full)


def _recipe(kept_as: str, names: Iterable[str]) -> Recipe | None:
    """Fields in the order of their names: fingerprints are kept on disk, so they must not depend on the row's order."""
    fields = sorted(names)
    return ("\0".join([kept_as, *(f"{field}\0%s" for field in fields)]), itemgetter(*fields)) if fields else None


for _feature in (
    entry.FEATURE, admin.FEATURE, talk.FEATURE, files.FEATURE, forum.FEATURE, bank.FEATURE, peers.FEATURE,
    history.FEATURE, door.FEATURE, nodes.FEATURE,
):  # fmt: skip
    add(_feature)
