"""A corpus of what no terminal may be given of what others wrote: whatever moves a cursor, changes direction, hides.

What is looked for in an output is in `obeyed`.
"""

from __future__ import annotations

import random
import re

ESC, BEL = "\x1b", "\a"
_STRINGS = {
    "OSC": ("\x1b]", "\x9d"),
    "DCS": ("\x1bP", "\x90"),
    "APC": ("\x1b_", "\x9f"),
    "PM": ("\x1b^", "\x9e"),
    "SOS": ("\x1bX", "\x98"),
}
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
SEQUENCES = [
    "\x1b[3J",
    "\x1b[3;3H",
    "\x1b[5;95m",
    "\x1b[6n",
    "\x1b[?1049h",
    "\x1b[?25l",
    "\x1b[21t",
    "\x9b2J",
    "\x9b6n",
    "\x1bc",
    "\x1b7",
    "\x1b8",
    "\x1b(0",
    "\x1bN",
    "\x1bO",
    "\x1b[",
    "\x1b",
    "\x1b[200~\x1b[201~",
    "\x1b[!p",
    "\x1b#8",
    "\x1b[1;1H\x1b[K",
    "\x1b[2;4r",
    *(
        begin + body + end
        for begins in _STRINGS.values()
        for begin in begins
        for body in ("0;title", "52;c;Y2F0", "8;;http://x", "+q544e")
        for end in (BEL, "\x1b\\", "\x9c", "")
    ),
]
BIDI = [chr(code) for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))]
ZERO_WIDTH = [
    "\u200b",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u034f",
    "\u180e",
    "\u2061",
    "\u2062",
    "\u2063",
    "\u2064",
    "\u206a",
    "\u206f",
]
TAGS = [chr(0xE0000 + code) for code in (0, 1, 0x20, 0x41, 0x7E, 0x7F)]
SELECTORS = ["\ufe00", "\ufe0e", "\U000e0100", "\U000e01ef", "\u180b"]
SEPARATORS = ["\u2028", "\u2029", "\x85", "\r\n", "\v", "\f"]
FILLERS = ["\u115f", "\u1160", "\u3164", "\uffa0", "\ufff9", "\ufffb"]
MARKS = ["e" + "\u0301" * 1_000, "\u0301" * 1_000, "a" + "\u0489" * 17, "x" + "\u200d" * 40]
CORPUS = [*CONTROLS, *SEQUENCES, *BIDI, *ZERO_WIDTH, *TAGS, *SELECTORS, *SEPARATORS, *FILLERS, *MARKS]

MAX_MARKS = 16
_OBEYED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
    f"|[\u0300-\u036f\u0489\u200c\u200d]{{{MAX_MARKS + 1},}}"
)


def obeyed(shown: str) -> str:
    """The first thing in `shown` that a terminal would obey, hide or heap up; or "". Line feeds are lines' ends."""
    found = _OBEYED.search(shown)
    return found[0] if found else ""


# What our programs say to a terminal for themselves: colours, the cursor, pastes, the focus; notes for the desktop.
_OWN = re.compile(
    "\x1b\\[(?:0m|(?:[1247]|3[0-6]|38;5;[0-9]+|;)+m|[0-9]*[AC]|H|2?J|\\?2004[hl]|\\?1004[hl])|\r|\a"
    "|\x1b\\](?:9;|777;notify;)[^\x00-\x1f\x7f-\x9f]*\a"
)
MARK = "§"  # stands before and behind what is hostile, so that it is told from what is our own


def foreign(written: str) -> str:
    """The first thing in what was written to a terminal that is not our own and would be obeyed; or ""."""
    if found := re.search(f"{MARK}(?!\r\n)[\x00-\x1a\x1c-\x1f\x7f-\x9f]", written):
        return found[0]
    return obeyed(_OWN.sub("", written))


def hostile(chance: random.Random) -> str:
    """Something of it."""
    return f"a{MARK}{chance.choice(CORPUS)}{MARK}{chance.choice(CORPUS)}z"
