"""``make scorecard``: every proof short, and the bench; one page, which README shows from then on.

``python -m tests.proofs.scorecard [--only NAME ...] [--print]`` with CHAT_SEED. A line for each figure: what it is, the
aim, the verdict, and the command that measures it again. A proof that fails, says nothing or takes too long has a line
that says so, the others go on, and the exit status is 1. A missed aim is no failure: a busy machine misses some.

`--print`: README stays as it is. Otherwise its part between ``<!-- scorecard -->`` and ``<!-- end -->`` is written.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chance import SEED
from tests.cluster.engine import why_not
from tests.proofs.scores import Score

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0  # seconds until a proof hangs
# At the door: of the rows that there are.
ATTACKS = ("talk", "held", "held-door", "dropped", "junk", "registrations", "leaving", "crowd", "handshakes")
ROWS = ("broadcast-1000", "direct-32", "direct-1", "logins", "latency")
OUTAGES = ("server-kill", "leader-kill", "leader-part", "all-kill")
SHARED = ("cluster-latency", "cluster-foreign", "cluster-upload")
Taking = Callable[[str, str], list[Score]]  # the proof's name and all that it printed → scores


def closing(name: str, said: str) -> list[Score]:
    """Of a proof that notes no figures: its last line."""
    last = (said.strip().splitlines() or [""])[-1]
    return [Score(name, last.removeprefix(f"{name}: ").removeprefix("ok: "), "nothing goes wrong")] if last else []


def attacks(_name: str, said: str) -> list[Score]:
    """Of objects, one for each attack."""
    scores = []
    for line in said.splitlines():
        if not line.startswith("{"):
            continue
        row = json.loads(line)
        what, again = f"attack: {row['name']}", f"make attack ROWS={row['name']}"
        if "failure" in row:
            scores.append(Score(what, row["failure"], "", "FAILED", again))
            continue
        figure, aim = f"others' messages p99 {row['p99']:.1f} ms", "< 20 ms"
        missed = row["p99"] >= 20.0 or row["memory"] >= 200e6
        if "login" in row:
            figure, aim = f"{figure}, logins {row['login']:.1f} ms", f"{aim}, < 50 ms"
            missed = missed or row["login"] >= 50.0
        verdict = "FAILED" if row["missing"] or row["wrong"] else "missed" if missed else "ok"
        figure, aim = f"{figure}; memory {row['memory'] / 1e6:.0f} MB", f"{aim}; < 200 MB"
        scores.append(Score(what, figure, aim, verdict, again))
    return scores


def rows(_name: str, said: str) -> list[Score]:
    """Of objects, one for each line of the bench."""
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [
        Score(f"bench: {row['work']}", row["reached"], row["aim"], row["verdict"], f"make bench ROWS={row['row']}")
        for row in found
    ]


@dataclass(frozen=True, slots=True)
class Proof:
    """What is run, what people type for it, and how its figures are read when it notes none."""

    name: str
    command: Sequence[str]
    typed: str
    take: Taking = closing


def there(script: str, names: Sequence[str]) -> list[str]:
    """Those of the rows that a script of the bench has."""
    text = (ROOT / "tests" / "bench" / script).read_text(encoding="utf-8")
    return [name for name in names if f'("{name}"' in text]


def proofs(python: str) -> list[Proof]:
    """All of them, in the order of the page."""

    def made(name: str, *words: str) -> Proof:
        given = [*words, f"SEED={SEED}"]
        typed = [word.replace("=", '="', 1) + '"' if " " in word else word for word in given]
        return Proof(name, ["make", "-s", f"PYTHON={python}", name, *given], " ".join(["make", name, *typed]))

    def benched(name: str, script: str, chosen: Sequence[str], take: Taking, *words: str) -> Proof:
        command = [python, f"tests/bench/{script}", "--json", "--only", *chosen, *words]
        return Proof(name, command, f'make {name} ROWS="{" ".join(chosen)}"', take)

    return [
        made("fuzz", "SECONDS=60"),
        made("sim"),
        made("crash", "CYCLES=50"),
        made("soak", "SECONDS=60"),
        benched("attack", "attack.py", there("attacks.py", ATTACKS), attacks, "--seconds", "5"),
        *([] if why_not() else [made("cluster", f"ONLY={' '.join(OUTAGES)}")]),
        benched("bench", "bench.py", ROWS if why_not() else (*ROWS, *SHARED), rows),
    ]


def heard(command: Sequence[str], path: Path, patience: float) -> tuple[int, str]:
    """The exit status of a command, and all that it said; its figures are in the file at `path`."""
    environment = {**os.environ, "CHAT_SEED": str(SEED), "CHAT_SCORES": str(path)}
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return 1, str(error)
    with process:
        try:
            said, _ = process.communicate(timeout=patience)
        except BaseException as over:
            os.killpg(process.pid, signal.SIGKILL)  # all that it has started
            if not isinstance(over, subprocess.TimeoutExpired):
                raise
            return 1, f"it was not over after {patience:.0f} s"
    return process.returncode, said


def run(proof: Proof, patience: float = PATIENCE) -> list[tuple[Score, str]]:
    """The scores of one, each with what to type."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="scorecard-") as name:
        path = Path(name) / "scores"
        status, said = heard(proof.command, path, patience)
        noted = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    scores = [Score(**json.loads(line)) for line in noted]
    if not scores and (status == 0 or proof.take is not closing):
        scores = proof.take(proof.name, said)
    if (status and not any(score.verdict == "FAILED" for score in scores)) or not scores:
        lines = [line for line in said.strip().splitlines() if not line.startswith("make: ")]
        last = " / ".join(lines[-2:]) or "it said nothing"
        scores.append(Score(proof.name, last[:500], "nothing goes wrong", "FAILED"))
    print(f"{proof.name}: {time.monotonic() - begun:.0f} s", flush=True)
    return [(score, score.command or proof.typed) for score in scores]


def machine() -> str:
    """What the figures were measured on."""
    sys.path.insert(0, str(ROOT / "tests" / "bench"))
    from machine import describe

    return describe(ROOT).splitlines()[0]


def page(found: Sequence[tuple[Score, str]], seconds: float, on: str) -> str:
    """All of it, as README shows it."""
    when = time.strftime("%Y-%m-%d %H:%M")
    out = [f"`make scorecard SEED={SEED}`, {when}, {on}; {seconds / 60:.1f} minutes in all.", ""]
    out += ["| what | figure | aim | verdict | to measure it again |", "| --- | --- | --- | --- | --- |"]
    for score, typed in found:
        cells = (score.what, score.figure, score.aim, score.verdict, f"`{typed}`")
        out.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(out)


def filled(readme: str, text: str) -> str:
    """README with that page in it. Raises ValueError where it has no place for it."""
    before, opening, rest = readme.partition("<!-- scorecard -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not end:
        raise ValueError("README.md has no part <!-- scorecard --> ... <!-- end -->")
    return f"{before}{opening}{text}\n{end}{after}"


def main() -> int:
    """Exit status 1: something failed."""
    parser = argparse.ArgumentParser(description="Runs every proof short, and writes the figures into README.md.")
    names = [proof.name for proof in proofs(sys.executable)]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, default=names, help="these alone")
    parser.add_argument("--print", action="store_true", help="leave README.md as it is")
    options = parser.parse_args()
    begun = time.monotonic()
    print(f"CHAT_SEED={SEED}; this takes about seven minutes", flush=True)
    found = [pair for proof in proofs(sys.executable) if proof.name in options.only for pair in run(proof)]
    text = page(found, time.monotonic() - begun, machine())
    print(f"\n{text}")
    if not options.print:
        path = ROOT / "README.md"
        path.write_text(filled(path.read_text(encoding="utf-8"), text), encoding="utf-8")
    failed = [score.what for score, _ in found if score.verdict == "FAILED"]
    print(f"\nscorecard: {'FAILED: ' + ', '.join(failed) if failed else f'ok: {len(found)} figures'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
