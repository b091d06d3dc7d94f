"""Calling a person: the bell, and a note on the desktop for whoever is not in front of the terminal.

Terminals show a note for OSC 9 (iTerm2, Windows Terminal, kitty) or OSC 777 (VTE, urxvt, foot, and others). Those that
know neither pass it over; those that would print it are sent none. Pure functions. Must not know whose note it is.
Invariant: a text can neither end its sequence nor be taken for another one, whatever is in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from chatlib.protocol.text import printable

BELL = "\a"
FOCUS_ON, FOCUS_OFF = "\x1b[?1004h", "\x1b[?1004l"  # the terminal says when it comes to the front, and when it goes
_FOCUS_REPORTS = re.compile(rb"(?:\x1b\[[IO])+")
_LONGEST = 200  # characters of a note
_NO_NOTES = ("linux", "vt", "dumb", "eterm", "cons")  # consoles: some print what they do not know
_BY_777 = ("rxvt", "foot")


def is_focus_report(data: bytes) -> bool:
    """Whether this is all that a terminal has sent: no key was pressed."""
    return _FOCUS_REPORTS.fullmatch(data) is not None


def note_form(environ: Mapping[str, str]) -> str:
    """How this terminal takes notes: ``9`` or ``777``, behind ``tmux`` or ``screen`` where that has to pass it on;
    empty: not at all."""
    term = environ.get("TERM", "")
    if not term or term.startswith(_NO_NOTES):
        return ""
    number = "777" if "VTE_VERSION" in environ or term.startswith(_BY_777) else "9"
    if "TMUX" in environ or term.startswith("tmux"):
        return f"tmux {number}"
    return f"screen {number}" if term.startswith("screen") else number


def note(title: str, text: str, form: str) -> str:
    """What makes a terminal that takes notes in this `form` show one."""
    if not form:
        return ""
    through, _, number = form.rpartition(" ")
    title, text = _clean(title), _clean(text)
    # Behind OSC 9 a digit and a semicolon would be an order; a blank, or a name, is none.
    said = f"777;notify;{title};{text}" if number == "777" else f"9;{title}: {text}"
    sequence = f"\x1b]{said}\a"
    if through == "tmux":
        doubled = sequence.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{doubled}\x1b\\"
    return f"\x1bP{sequence}\x1b\\" if through else sequence


def _clean(text: str) -> str:
    """Without control characters, and without what parts a note's fields."""
    clean = printable(text[: 4 * _LONGEST]).replace(";", ",")
    return clean if len(clean) <= _LONGEST else clean[: _LONGEST - 1] + "…"
