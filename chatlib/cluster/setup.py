"""The engine's two streams: they are made once, and checked by every start and every minute.

``NAME`` is the log, which nothing but a snapshot makes shorter. ``NAME_files`` has the bytes of files and snapshots. In
the log's metadata stands the epoch of the world that it is a log of. A stream that is not as it must be is never
changed: the start is refused with what differs, since somebody made it so. Must not know what is in them.

`make_streams` and `check_streams` wait, and pump the link alone; they are for a start.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from time import monotonic
from typing import Any

from chatlib.cluster.batch import FORMAT, LARGEST
from chatlib.cluster.link import EngineLink
from chatlib.protocol.nats import Message

REPLICAS = 3
OLDEST = (2, 14)  # the engine's version
PATIENCE = 30.0  # seconds for an engine that is about to begin, or to choose a leader
PERIOD = 60  # seconds between two looks
_PAYLOAD = 2 * LARGEST  # bytes that a message must be able to have
_AGAIN, _ANSWER = 0.3, 5.0
_NOT_FOUND = 10059  # the engine's numbers
_TOO_FEW = (10005, 10074, 10023)  # no peers for so many copies; none at all; no room on so many

_UNLIMITED = {"retention": "limits", "storage": "file", "max_msgs": -1, "max_bytes": -1, "max_age": 0,
              "max_msgs_per_subject": -1, "max_msg_size": -1, "max_consumers": -1}  # fmt: skip
# What may be missing in the engine's answer, and is this then.
_PLAIN = {"sealed": False, "deny_purge": False, "no_ack": False, "mirror": None, "sources": None,
          "subject_transform": None, "allow_msg_ttl": False, "allow_rollup_hdrs": False, "first_seq": 0}  # fmt: skip
_EPOCH, _FORMAT = "chatlib-epoch", "chatlib-format"


class EngineUnfit(Exception):
    """The engine is not as it must be, or does not answer. The message says what, and what is allowed."""


def log_stream(name: str) -> dict[str, Any]:
    """What the log must be, but for its epoch."""
    return {"name": name, "subjects": [f"{name}.log"], **_UNLIMITED, "num_replicas": REPLICAS, "discard": "new",
            "deny_delete": True, "allow_direct": True,
            "republish": {"src": f"{name}.log", "dest": f"{name}.out"}}  # fmt: skip


def files_stream(name: str) -> dict[str, Any]:
    """What holds the bytes of files and snapshots."""
    return {"name": f"{name}_files", "subjects": [f"{name}.files.>"], **_UNLIMITED, "num_replicas": REPLICAS,
            "allow_direct": True, "deny_delete": False}  # fmt: skip


def make_streams(link: EngineLink, name: str, epoch: str, patience: float = PATIENCE) -> None:
    """Makes what is not there, and checks what is; the log must be empty, and of this epoch. Raises EngineUnfit."""
    _check_engine(link, patience)
    for wanted in (log_stream(name), files_stream(name)):
        config = dict(wanted)
        if wanted["name"] == name:
            config["metadata"] = {_EPOCH: epoch, _FORMAT: str(FORMAT)}
        found = _ask(link, f"STREAM.INFO.{wanted['name']}", None, patience)
        if found is None:
            found = _ask(link, f"STREAM.CREATE.{wanted['name']}", config, patience)
        _check(found, wanted)
        if wanted["name"] == name and found is not None:
            _check_epoch(found, name, epoch)
            if last := found["state"]["last_seq"]:
                raise EngineUnfit(f'The log "{name}" has {last:,} messages already: a new world needs an empty one. '
                                  "Give another name, or delete its streams if nobody needs them.")  # fmt: skip


def check_streams(link: EngineLink, name: str, epoch: str = "", patience: float = PATIENCE) -> str:
    """Checks both; the log's epoch, which must be `epoch` if one is given. Raises EngineUnfit."""
    _check_engine(link, patience)
    found_epoch = ""
    for wanted in (log_stream(name), files_stream(name)):
        found = _ask(link, f"STREAM.INFO.{wanted['name']}", None, patience)
        _check(found, wanted)
        if wanted["name"] == name and found is not None:
            found_epoch = _check_epoch(found, name, epoch)
    return found_epoch


def _check_engine(link: EngineLink, patience: float) -> None:
    link.wait(lambda: link.connected or bool(link.failure), patience)
    if not link.connected:
        raise EngineUnfit(f"No node of the engine lets us in: {link.failure or link.trouble or 'none answers'}.")
    info = link.info
    assert info is not None
    words = info.version.split(".")[:2]
    version = tuple(int(word) for word in words if word.isdecimal())
    if version < OLDEST:
        raise EngineUnfit(f"The engine is nats-server {info.version}; {'.'.join(map(str, OLDEST))} or later is needed.")
    if link.max_payload < _PAYLOAD:
        raise EngineUnfit(
            f"The engine takes {link.max_payload} bytes in a message (max_payload); it must take {_PAYLOAD} at least."
        )


def _check(found: dict[str, Any] | None, wanted: dict[str, Any]) -> None:
    """Raises EngineUnfit."""
    if found is None:
        raise EngineUnfit(f'The engine has no stream "{wanted["name"]}".')
    if wrong := differences(found["config"], wanted):
        raise EngineUnfit(f'The engine\'s stream "{wanted["name"]}" is not as it must be: {"; ".join(wrong)}.')


def differences(config: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What differs, in words."""
    wrong = []
    for key, value in {**_PLAIN, **wanted}.items():
        there = config.get(key, _PLAIN.get(key))
        if key == "num_replicas" and isinstance(there, int) and there >= REPLICAS:
            continue
        if key == "max_msg_size" and isinstance(there, int) and there >= _PAYLOAD:
            continue
        if key == "republish" and isinstance(there, dict) and not there.get("headers_only"):
            there = {name: there.get(name) for name in value}
        if there != value and not (value is None and not there):
            wrong.append(f"{key} is {json.dumps(there)}, not {json.dumps(value)}")
    return wrong


def _check_epoch(found: dict[str, Any], name: str, epoch: str) -> str:
    metadata = found["config"].get("metadata") or {}
    there, form = metadata.get(_EPOCH, ""), metadata.get(_FORMAT, "")
    if not there or not form:
        raise EngineUnfit(f'No server made the engine\'s stream "{name}": it has no {_EPOCH} in its metadata.')
    if form != str(FORMAT):
        raise EngineUnfit(f'The log "{name}" has format {form}; this version of the server knows {FORMAT}.')
    if epoch and there != epoch:
        raise EngineUnfit(f'The log "{name}" is of epoch {there}, and the home of {epoch}: it is another world\'s.')
    return str(there)


def _ask(link: EngineLink, what: str, body: Any, patience: float) -> dict[str, Any] | None:
    """The API's answer; None: there is no such stream. Waits for an engine that cannot say yet. Raises EngineUnfit."""
    deadline, error = monotonic() + patience, dict[str, Any]()
    while True:
        answers: list[Message | None] = []
        link.request(f"$JS.API.{what}", b"" if body is None else json.dumps(body).encode(),
                     lambda message, answers=answers: answers.append(message), patience=_ANSWER)  # type: ignore[misc]  # fmt: skip
        link.wait(lambda answers=answers: bool(answers), _ANSWER + 1.0)  # type: ignore[misc]
        answer = _decoded(answers[0] if answers else None)
        if "config" in answer:
            return answer
        error = answer.get("error", error)
        if error.get("err_code") == _NOT_FOUND:
            return None
        if monotonic() >= deadline or error.get("code", 503) not in (500, 503, 400) or _is_final(error):
            break
        link.wait(lambda: False, _AGAIN)
    if error.get("err_code") in _TOO_FEW:
        raise EngineUnfit(
            f"The engine must be {REPLICAS} nodes that know each other, and all of them must run when the log is made. "
            f"It says: {error.get('description')}."
        )
    said = f"It says: {error['description']}" if error.get("description") else "It says nothing"
    if error.get("code", 503) == 503:
        raise EngineUnfit(
            f"The engine does not keep streams now: JetStream is off, or most of its nodes do not run. {said}."
        )
    raise EngineUnfit(f"The engine refuses {what}. {said}.")


def _is_final(error: dict[str, Any]) -> bool:
    """Whether asking again will not help."""
    return error.get("err_code") == 10074 or (error.get("code") == 400 and error.get("err_code") not in _TOO_FEW)


def _decoded(message: Message | None) -> dict[str, Any]:
    try:
        answer = json.loads(message.payload) if message else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


class StreamWatch:
    """Looks each minute whether the log is as it must be. `failure`: it is gone, or another world's."""

    def __init__(self, link: EngineLink, name: str, say: Callable[[str], None]) -> None:
        self._link, self._name, self._say = link, name, say
        self.failure = ""
        self._epoch = ""  # as it was found first
        self._seconds = 0
        self._missing = 0  # looks, one after the other, that found no stream
        self._told: list[str] = []

    def every_second(self) -> None:
        """A second is over."""
        self._seconds += 1
        if self._seconds % PERIOD == 1 and self._link.connected:
            self._link.request(f"$JS.API.STREAM.INFO.{self._name}", b"", self._answered, patience=_ANSWER)

    def _answered(self, message: Message | None) -> None:
        answer = _decoded(message)
        if answer.get("error", {}).get("err_code") == _NOT_FOUND:
            self._missing += 1
            if self._missing > 1:
                self.failure = f'The engine has no stream "{self._name}" any more.'
        if "config" not in answer:
            return
        self._missing = 0
        epoch = (answer["config"].get("metadata") or {}).get(_EPOCH, "")
        self._epoch = self._epoch or epoch
        if epoch != self._epoch:
            self.failure = f'The log "{self._name}" is of epoch {epoch or "none"} by now, and was of {self._epoch}.'
        wrong = differences(answer["config"], log_stream(self._name))
        if deleted := answer.get("state", {}).get("num_deleted", 0):
            wrong.append(f"{deleted} of its messages are gone, as after damage to the disk of an engine node")
        for what in wrong:
            if what not in self._told:
                self._say(f'WARNING: the engine\'s stream "{self._name}" is not as it must be: {what}.')
        self._told = wrong
