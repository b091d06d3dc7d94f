"""Plain lines: each thing once, and nothing that a screen reader would read again."""

from __future__ import annotations

from chatlib.terminal.modes import LineReader
from chatlib.terminal.plain import PlainScreen
from chatlib.terminal.screen import Part, style


class Script:
    """A PlainScreen and what it wrote."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.echoes: list[bool] = []
        self.reader = LineReader()
        self.screen = PlainScreen(self.written.append, self.reader, echo_input=self.echoes.append)
        self.screen.open()

    def take(self) -> str:
        self.screen.flush()
        text = "".join(self.written)
        self.written.clear()
        return text


def test_lines_and_nothing_else() -> None:
    script = Script()
    script.screen.print("Please enter your username:")
    script.screen.set_prompt(">> ")
    assert script.take() == "Please enter your username:\n"
    script.screen.set_status(["50 %"])
    script.screen.set_prompt("facebook> ", "(offline)")
    script.screen.echo("facebook")
    script.screen.resize(10, 10)
    script.screen.redraw()
    assert script.take() == ""
    parts: list[Part] = ["\x1b[31m", style("ann", "green"), ": hi\n"]
    script.screen.print(*parts)
    script.screen.print("two, which is longer than the terminal is wide")
    assert script.take() == "[31mann: hi\ntwo, which is longer than the terminal is wide\n"
    script.screen.print("last")
    script.screen.close()
    script.screen.close()
    script.screen.print("too late")
    assert script.take() == "last\n"


def test_what_is_for_the_eyes_is_not_read_aloud() -> None:
    script = Script()
    parts = [style("── ", "dim ornament"), style("the end", "dim"), style(" ──", "ornament")]
    script.screen.print(*parts)
    assert script.take() == "the end\n"


def test_what_is_typed_is_hidden_while_it_is_secret() -> None:
    script = Script()
    script.screen.print("Password:")
    script.screen.set_prompt(">> ", secret=True)
    assert script.take() == "Password:\n"
    assert script.reader.secret
    script.screen.echo("secret")
    script.screen.print("Welcome!")
    script.screen.set_prompt("ann> ")
    assert script.take() == "Welcome!\n"
    assert script.echoes == [False, True]
