"""Bots of the library beside the load: what the real client does when servers die, and how long it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cluster.history import Said
from tests.patience import LIMIT

SCRIPT = Path(__file__).with_name("bot.py")


class Bots:
    """So many processes, each talking to the next. Whatever they have said can be asked for at any time."""

    def __init__(self, addresses: list[tuple[str, int]], names: list[str], folder: Path) -> None:
        where = ",".join(f"{host}:{port}" for host, port in addresses)
        folder.mkdir()
        self.names, self._paths = names, [folder / name for name in names]
        self._processes = []
        environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
        for i, name in enumerate(names):
            with open(self._paths[i], "wb") as output, open(folder / f"{name}.err", "wb") as errors:
                words = [sys.executable, str(SCRIPT), where, name, names[(i + 1) % len(names)]]
                self._processes.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=errors,
                                                        env=environment))  # fmt: skip
        self._errors = [folder / f"{name}.err" for name in names]

    def lines(self, number: int) -> list[list[Any]]:
        """What one of them has said so far."""
        return [json.loads(line) for line in self._paths[number].read_bytes().split(b"\n")[:-1]]

    def said(self) -> list[Said]:
        """What was acknowledged."""
        found = []
        for i, name in enumerate(self.names):
            to = self.names[(i + 1) % len(self.names)]
            asked = [line[1:5] for line in self.lines(i) if line[0] == "asked"]
            found += [Said(key, name, to, when, answered, seq) for key, when, answered, seq in asked]
        return found

    def told(self) -> dict[str, list[tuple[int, str]]]:
        """What each has heard."""
        return {name: [(line[1], line[2]) for line in self.lines(i) if line[0] == "told"]
                for i, name in enumerate(self.names)}  # fmt: skip

    def ports(self) -> dict[str, int]:
        """Where each was answered last; 0: nowhere yet."""
        asked = {name: [line for line in self.lines(i) if line[0] == "asked"] for i, name in enumerate(self.names)}
        return {name: lines[-1][5] if lines else 0 for name, lines in asked.items()}

    def stop(self) -> list[str]:
        """They say no more, hear the rest, and leave; what was wrong."""
        wrong = []
        for process in self._processes:
            assert process.stdin
            process.stdin.close()
        for i, process in enumerate(self._processes):
            try:
                process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                wrong.append(f"{self.names[i]} does not end")
                continue
            lines = self.lines(i)
            refused = [line for line in lines if line[0] == "refused"]
            wrong += [f"{self.names[i]}: {key} was refused: {status}" for _, key, status in refused[:3]]
            if not lines or lines[-1] != ["over"]:
                wrong.append(f"{self.names[i]} has failed: {self._errors[i].read_text()[-600:]}")
        return wrong

    def kill(self) -> None:
        """Whatever still runs."""
        for process in self._processes:
            process.kill()
            process.wait()
