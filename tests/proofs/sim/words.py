"""What the people of all stories have in common."""

from __future__ import annotations

PASSWORDS = ("open sesame", "barley", "oats")
NAMES = ("Ann", "Bob", "Cyd", "Dan")
