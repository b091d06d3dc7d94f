"""Makes what is given to others: ``chat-server.pyz`` and ``chat-client.pyz`` in ``dist/``, each one file that Python
runs as it is; and for pip and pipx the wheel (PEP 517: pyproject.toml names this file as the build backend).

Nothing is fetched and nothing is compiled. Equal sources make equal bytes. Each program gets the packages that it may
import, and no others.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "server": ("protocol", "reactor", "core", "storage", "cluster", "server", "terminal"),
    "client": ("protocol", "reactor", "storage", "client", "terminal", "program"),
}
ARGUMENTS = {"server": "1234", "client": "SERVER-ADDRESS 1234"}
MAIN = "import sys\n\nfrom {} import main\n\nsys.exit(main())\n"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)

File = tuple[str, bytes]


def library(packages: Iterable[str]) -> Iterator[File]:
    """The files of these packages of chatlib."""
    paths = [ROOT / "chatlib" / "__init__.py"]
    for package in packages:
        paths += (ROOT / "chatlib" / package).rglob("*.py")
    for path in sorted(paths):
        yield path.relative_to(ROOT).as_posix(), path.read_bytes()


def zipped(target: Path, files: Iterable[File], head: bytes = b"") -> None:
    """Writes an archive behind `head`."""
    with target.open("wb") as out:
        out.write(head)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files:
                archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), content, zipfile.ZIP_DEFLATED)


def program(name: str, folder: Path) -> Path:
    """``chat-NAME.pyz`` in `folder`."""
    target = folder / f"chat-{name}.pyz"
    own = [("__main__.py", MAIN.format(name).encode()), (f"{name}.py", (ROOT / f"{name}.py").read_bytes())]
    zipped(target, [*own, *library(PACKAGES[name])], b"#!/usr/bin/env python3\n")
    target.chmod(0o755)
    return target


# The build backend.


def build_wheel(folder: str, settings: object = None, metadata: object = None) -> str:
    """The wheel. Its programs are modules with names of their own: ``server`` and ``client`` may be anybody's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stem = f"{project['name']}-{project['version']}"
    info = f"{stem}.dist-info"
    files = [(f"chatlib_{name}.py", (ROOT / f"{name}.py").read_bytes()) for name in PACKAGES]
    files += library(sorted({package for packages in PACKAGES.values() for package in packages}))
    files += [(f"{info}/{name}", text.encode()) for name, text in _metadata(project).items()]
    lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files]
    record = "\n".join([*lines, f"{info}/RECORD,,\n"])
    name = f"{stem}-py3-none-any.whl"
    zipped(Path(folder) / name, [*files, (f"{info}/RECORD", record.encode())])
    return name


class UnsupportedOperation(Exception):
    """By this name PEP 517 knows it."""


def build_sdist(folder: str, settings: object = None) -> str:
    raise UnsupportedOperation("There is only the wheel: the sources are the folder itself.")


def _metadata(project: dict[str, object]) -> dict[str, str]:
    scripts = project["scripts"]
    assert isinstance(scripts, dict)
    about = {"Metadata-Version": "2.1", "Name": project["name"], "Version": project["version"],
             "Summary": project["description"], "Requires-Python": project["requires-python"]}  # fmt: skip
    return {
        "METADATA": "".join(f"{name}: {value}\n" for name, value in about.items()),
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests/dist.py\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "[console_scripts]\n" + "".join(f"{name} = {at}\n" for name, at in scripts.items()),
    }


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def main(words: list[str]) -> int:
    """Makes both programs, in the folder that is named."""
    folder = Path(words[0]) if words else ROOT / "dist"
    folder.mkdir(exist_ok=True)
    for name in PACKAGES:
        made = program(name, folder)
        print(f"{made}: {made.stat().st_size // 1_024} KiB. Run it with: python3 {made.name} {ARGUMENTS[name]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
