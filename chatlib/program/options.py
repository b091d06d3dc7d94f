"""What the client's command line says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chatlib.client.addresses import ServerAddress
from chatlib.program.arguments import Step


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    servers: tuple[ServerAddress, ...]
    plain: bool = False
    user: str = ""
    reconnect: bool = True
    history: bool = True
    downloads: Path = Path()
    admin: bool = False
    listen: int | None = 0  # the port for private connections; 0: any free one; None: none
    password: str = field(default="", repr=False)
    tls: bool = False
    cafile: Path | None = None  # who vouches for the server; None: its certificate is remembered
    json: bool = False  # events are printed, and nothing else
    steps: tuple[Step, ...] = ()  # what a script does
