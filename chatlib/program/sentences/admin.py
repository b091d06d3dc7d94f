"""Sentences about the administrator's password: the server's end, and its console from afar."""

from __future__ import annotations

from chatlib.program.sentences.book import Sentences, says

PASSWORD = "Please enter the administrator's password:"
GOES_ON = "The server goes on."

LEFT = "You have left the console. The server goes on."


def console(host: str, port: int) -> str:
    return f'The console of the server {host} port {port}. Type "help" for its commands; Ctrl+D leaves it.'


SENTENCES = Sentences(replies={"sht": says("The server stops.")})
