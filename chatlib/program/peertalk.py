"""Private talk in a person's words: texts and cheques on their way to a peer, and the questions that come with it.

A talk with a peer is APART: what is said goes to the connection, or begins one. Without an introduction it is ASKING
(the server, which asks the peer), and what is typed is kept. What cannot be said directly makes it STUCK: the person is
asked whether to leave it with the server. A script is asked nothing. Who takes no calls may have come just now, and not
have said yet where: so the server is asked once more.

Must not know sockets, keys or screens. Legal order: ``answers`` for each typed line, ``private``, ``cheque`` and
``stop`` for commands, ``heard`` for each news, ``shown`` when an event was read, ``look`` once a tick, ``leave`` at the
end. Invariant: of each text it is said once that it was delivered, or went by way of the server, or was not sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from chatlib.client import news as n
from chatlib.client.contacts import NotSent
from chatlib.client.conversation import Conversation
from chatlib.client.news import Fields, News, Parcel, Request, integer_of
from chatlib.client.peercalls import SETTLING
from chatlib.client.peers import Peers
from chatlib.program.sentences import private as sentences
from chatlib.program.sentences.book import Line, error
from chatlib.program.yesorno import NEVER, Ambiguous, OpenQuestion, YesOrNo
from chatlib.protocol.text import fold

_FUTILE = ("NO_SUCH_USER", "SELF_ADDRESS", "BLOCKED")  # the server would not take it, either
_ASKERS = 100  # who may wait for an answer at a time; who else asks is told after a minute that there is none
_NEVER_SENT = ("UNREACHABLE", "NOT_PROVEN", "NO_TLS")


class _Stage(Enum):
    APART = auto()
    ASKING = auto()
    STUCK = auto()


@dataclass(frozen=True, slots=True)
class _Thing:
    """A text or a cheque. `unsure`: it may have been shown, and the peer has not said so."""

    kind: str
    content: str
    unsure: bool = False
    key: str = ""  # it was sent before under this one: the peer does not show it twice


@dataclass(slots=True)
class _Talk:
    """With one peer. `kept`: what is on no connection; `sent`: what has no acknowledgement yet."""

    user: str
    stage: _Stage = _Stage.APART
    kept: list[_Thing] = field(default_factory=list)
    sent: list[Parcel] = field(default_factory=list)
    request: Request | None = None
    was_patient: bool = False  # the server is asked once more, or was
    question: OpenQuestion | None = None
    why: str = ""  # it is asked


class PeerTalk:
    """With one person, who reads what `write` gets. `times`: what is said is shown with its time."""

    def __init__(
        self,
        conversation: Conversation,
        peers: Peers,
        write: Callable[..., None],
        wall: Callable[[], float],
        *,
        times: bool = False,
        script: bool = False,
    ) -> None:
        self.refused = False  # something could not be said
        self._conversation, self._peers = conversation, peers
        self._write, self._wall = write, wall
        self._times, self._script = times, script
        self._talks: dict[str, _Talk] = {}  # by the folded name
        self._left = False
        self.questions = YesOrNo()
        self._again_at: dict[str, float] = {}  # when the server is asked once more for whom
        self._asked: set[str] = set()  # who has our question, folded
        self._askers: dict[str, OpenQuestion] = {}  # who wants our address, by the folded name

    @property
    def busy(self) -> int:
        """How much is under way."""
        return sum(
            len(talk.sent) + (len(talk.kept) if talk.stage is _Stage.ASKING else 0) for talk in self._talks.values()
        )

    # What the person does.

    def answers(self, line: str, now: float) -> bool:
        """Whether a typed line answers a question; then there is nothing more to do about it."""
        try:
            return self.questions.answers(line, now)
        except Ambiguous:
            self._show(sentences.which(self.questions.users))
            self.refused = True
            return True

    def back_out(self, now: float) -> bool:
        """Ctrl+C: leaves a question; False: there is none to be left."""
        return self.questions.leave(now)

    def repeat(self) -> None:
        """Shows again what is asked."""
        for talk in self._talks.values():
            if talk.question:
                self._show(self._leave_it(talk))

    def private(self, user: str, text: str, now: float) -> None:
        """The command ``private``."""
        self._send(user, _Thing("text", text), now)

    def cheque(self, user: str, line: str, now: float) -> bool:
        """A cheque for `user`, as the line of text that it is; False: there is no direct way, and none on its way."""
        waits = self._talk(user).stage is _Stage.ASKING
        there_is = waits or self._peers.linked(user) or self._peers.introduced(user)
        if there_is:
            self._send(user, _Thing("cheque", line), now)
        return there_is

    def stop(self, user: str) -> None:
        """The command ``stopprivate``."""
        talk = self._talk(user)
        waits = talk.stage is not _Stage.APART
        self._give_up(talk)
        if not self._peers.hang_up(user) and not waits:
            self.refused = True
            self._show(sentences.not_joined(user))

    def leave(self) -> None:
        """The person leaves: says what was not sent, and no more after it."""
        for talk in self._talks.values():
            talk.kept[:0] = [_Thing(each.kind, each.content, True) for each in talk.sent]
            talk.sent.clear()
            self._give_up(talk)
        self._left = True

    # What happens.

    def heard(self, item: News, now: float) -> bool:
        """Any news; whether there is nothing more to say about it."""
        if self._left:
            return isinstance(item, n.PeerNews)
        match item:
            case n.Answered():
                return self._answered(item, now)
            case n.Arrived(event):
                return self._arrived(event, now)
            case n.Lost() | n.Idle():
                self._end_session()
            case n.LoggedIn():
                self._ask_again(now)
            case n.LinkOpened(user, called):
                self._show(sentences.joined(user, not called))
                self._withdraw(self._talk(user))
                self._send_kept(self._talk(user), now)
                return True
            case n.ParcelShown(parcel):
                self._delivered(parcel, now)
                return True
            case n.LinkClosed(user, status, text, left):
                self._parted(self._talk(user), status, text, left)
                return True
            case n.PeersUnavailable(text):
                self._show(sentences.notice(text))
                return True
        return False

    def shown(self, event: Fields) -> None:
        """`event` has been read."""
        self._peers.shown(event)

    def look(self, now: float) -> float:
        """Ends questions whose time has come, and asks the server once more; when to look again."""
        self.questions.look(now)
        for user in [user for user, at in self._again_at.items() if at <= now]:
            self._ask(self._talks[user], now)
        return min(self.questions.deadline, *self._again_at.values(), NEVER)

    # Sending.

    def _talk(self, user: str) -> _Talk:
        return self._talks.setdefault(fold(user), _Talk(user))

    def _send(self, user: str, thing: _Thing, now: float) -> None:
        talk = self._talk(user)
        talk.kept.append(thing)
        if talk.stage is _Stage.ASKING:
            self._show(sentences.kept(talk.user))
        else:
            self._withdraw(talk)
            self._send_kept(talk, now)

    def _send_kept(self, talk: _Talk, now: float) -> None:
        """All that is kept, as far as it can be sent."""
        while talk.kept:
            thing = talk.kept[0]
            send = self._peers.cheque if thing.kind == "cheque" else self._peers.private
            try:
                talk.sent.append(send(talk.user, thing.content, thing.key))
            except NotSent as wrong:
                if wrong.status == "NOT_INTRODUCED":
                    self._ask(talk, now)
                elif wrong.status != "TOO_MANY":  # else acknowledgements make room
                    self._stuck(talk, wrong.text)
                return
            del talk.kept[0]
        talk.stage = _Stage.APART

    def _ask(self, talk: _Talk, now: float) -> None:
        if talk.stage is not _Stage.ASKING or talk.request is None:
            talk.stage = _Stage.ASKING
            self._again_at.pop(fold(talk.user), None)
            talk.request = self._conversation.request("getaddress", {"user": talk.user}, now)

    def _ask_again(self, now: float) -> None:
        """A session begins: of what the one before has asked, the server knows nothing."""
        for talk in self._talks.values():
            if talk.stage is _Stage.ASKING and talk.request is None:
                self._ask(talk, now)

    def _answered(self, item: n.Answered, now: float) -> bool:
        user = fold(str(item.request.fields.get("user")))
        if item.status == "ASKED":
            self._asked.add(user)
        talk = next((talk for talk in self._talks.values() if talk.request is item.request), None)
        if talk is None:
            return False
        talk.request = None
        if talk.stage is not _Stage.ASKING:
            return True  # it was given up meanwhile
        if item.status == "ASKED" or (item.status == "ALREADY_ASKED" and user in self._asked):
            self._show(sentences.asked(talk.user, integer_of(item.reply, "seconds") or 60))
        elif item.status == "NO_LISTENER" and not talk.was_patient:
            self._again_at[user], talk.was_patient = now + SETTLING, True
        elif item.status != "OK":  # else the address follows
            self._stuck(talk, str(item.reply.get("text") or item.status), item.status in _FUTILE)
        return True

    def _delivered(self, parcel: Parcel, now: float) -> None:
        talk = self._talk(parcel.user)
        talk.sent = [each for each in talk.sent if each is not parcel]
        self._show(sentences.delivered(talk.user, parcel.kind, parcel.content, self._wall(), self._times))
        if talk.stage is _Stage.APART:
            self._send_kept(talk, now)

    # Events.

    def _arrived(self, event: Fields, now: float) -> bool:
        user = str(event.get("from") if event.get("event") == "address_asked" else event.get("user"))
        if event.get("event") in ("address", "address_refused"):
            self._asked.discard(fold(user))
        match event.get("event"):
            case "address_asked":
                if len(self._askers) >= _ASKERS and fold(user) not in self._askers:
                    return True
                self._be_asked(user, now + integer_of(event, "seconds"))
            case "address":
                self._end_consent(user)
                talk = self._talk(user)
                talk.user = user
                if talk.stage is not _Stage.APART:
                    self._withdraw(talk)
                    self._send_kept(talk, now)
            case "address_refused":
                talk = self._talk(user)
                if talk.stage is _Stage.ASKING and talk.request is None:
                    self._stuck(talk, str(event.get("text")), event.get("status") in _FUTILE)
                    return True
            case "introduction_over":
                self._end_consent(user)
        return False

    def _be_asked(self, user: str, until: float) -> None:
        def answered(answer: bool | None, now: float) -> None:
            self._askers.pop(fold(user), None)
            if answer is None:
                self._show(sentences.unanswered(user))
            else:
                self._conversation.request("yes" if answer else "no", {"user": user}, now)

        self._end_consent(user)
        question = self._askers[fold(user)] = OpenQuestion(user, answered, until)
        self.questions.ask(question)

    def _end_consent(self, user: str) -> None:
        question = self._askers.pop(fold(user), None)
        self.questions.withdraw([question] if question else [])

    def _end_session(self) -> None:
        """With it have ended the questions that went through the server."""
        self.questions.withdraw(self._askers.values())
        self._askers.clear()
        self._asked.clear()

    # What cannot be said directly.

    def _parted(self, talk: _Talk, status: str, text: str, left: tuple[Parcel, ...]) -> None:
        unsure = status not in _NEVER_SENT
        talk.kept[:0] = [_Thing(each.kind, each.content, unsure, each.key) for each in left]
        talk.sent.clear()
        if status == "HUNG_UP":
            self._show((text,))
            self._give_up(talk)
        elif talk.kept:
            self._stuck(talk, text, status in _FUTILE)
        else:
            self._show(sentences.notice(text))

    def _stuck(self, talk: _Talk, why: str, futile: bool = False) -> None:
        """Asks whether to leave all that is kept with the server, where that is of use and there is somebody to ask."""
        self._withdraw(talk)
        talk.why = why
        if futile or self._script:
            self._show(error(why))
            self._give_up(talk)
            return
        talk.stage = _Stage.STUCK
        talk.question = OpenQuestion(talk.user, lambda answer, now: self._decided(talk, bool(answer), now), leaves=True)
        self.questions.ask(talk.question)
        self._show(self._leave_it(talk))

    def _leave_it(self, talk: _Talk) -> Line:
        unsure = sum(each.unsure for each in talk.kept)
        return sentences.leave_it(talk.why, talk.user, len(talk.kept), unsure)

    def _decided(self, talk: _Talk, with_server: bool, now: float) -> None:
        """The person's answer."""
        if with_server:
            for each in talk.kept:
                self._conversation.request("message", {"to": talk.user, "text": each.content}, now)
            talk.kept.clear()
            self._show(sentences.left_with_server(talk.user))
        self._give_up(talk)

    def _give_up(self, talk: _Talk) -> None:
        """What is kept is not sent."""
        self._withdraw(talk)
        for each in talk.kept:
            self.refused = True
            self._show(sentences.unsent(talk.user, each.kind, each.content, each.unsure))
        talk.kept.clear()

    def _withdraw(self, talk: _Talk) -> None:
        if talk.question:
            self.questions.withdraw([talk.question])
        talk.stage, talk.question = _Stage.APART, None
        talk.was_patient = False
        self._again_at.pop(fold(talk.user), None)

    def _show(self, line: Line) -> None:
        self._write(*line)
