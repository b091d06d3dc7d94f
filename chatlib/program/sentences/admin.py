"""Sentences about the administrator's password: the server's end, and its console from afar."""

from __future__ import annotations

from chatlib.program.sentences.book import Sentences, says

PASSWORD = "Please enter the administrator's password:"
GOES_ON = "The server goes on."

SENTENCES = Sentences(replies={"sht": says("The server stops.")})
