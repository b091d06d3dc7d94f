"""The architecture (design, section 2), read from the imports: who may know whom, and how large things may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "chatlib").rglob("*.py")) + [ROOT / "server.py", ROOT / "client.py"]
FILES = [path for path in FILES if path.exists()]

# What a package may import of ours, besides itself.
MAY_IMPORT = {
    "protocol": (),
    "core": ("chatlib.protocol",),
    "storage": ("chatlib.protocol",),
    "cluster": ("chatlib.reactor", "chatlib.storage", "chatlib.protocol"),
    "reactor": ("chatlib.protocol.framing", "chatlib.protocol.certificate"),
    "server": ("chatlib.terminal", "chatlib.cluster", "chatlib.reactor", "chatlib.storage", "chatlib.core",
               "chatlib.protocol"),
    "terminal": ("chatlib.reactor", "chatlib.protocol.text", "chatlib.protocol.words"),
    "client": ("chatlib.reactor", "chatlib.storage", "chatlib.protocol"),
    "program": ("chatlib.client", "chatlib.terminal", "chatlib.reactor", "chatlib.storage", "chatlib.protocol"),
}
NEVER = {"threading", "_thread", "concurrent", "asyncio", "socketserver", "multiprocessing"}
NOT_IN_CORE = {"time", "random", "secrets", "socket", "os", "select", "selectors", "io", "pathlib", "datetime", "uuid",
               "subprocess", "signal", "shutil", "tempfile"}  # fmt: skip
LINES, FUNCTION_LINES = 400, 50


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _package(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "chatlib" and len(parts) > 2 else ""


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module, with its line; of ``from a import b`` both ``a`` and ``a.b`` where that is a module."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}, line {node.lineno}: a relative import"
            module = node.module or ""
            for alias in node.names:
                inner = ROOT.joinpath(*module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").exists()
                yield node.lineno, f"{module}.{alias.name}" if is_module else module


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_imports_point_one_way(path: Path) -> None:
    package = _package(path)
    for line, module in _imports(path):
        if module.split(".")[0] != "chatlib" or not package:
            continue
        allowed = (f"chatlib.{package}", *MAY_IMPORT[package])
        assert any(module == name or module.startswith(name + ".") for name in allowed), (
            f"{_name(path)}, line {line}: {package} must not import {module}"
        )


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_only_the_standard_library_at_run_time(path: Path) -> None:
    for line, module in _imports(path):
        top = module.split(".")[0]
        assert top in sys.stdlib_module_names or top == "chatlib", f"{_name(path)}, line {line}: {module}"
        assert top not in NEVER, f"{_name(path)}, line {line}: one thread, one loop; not {module}"
        if _package(path) == "core":
            assert top not in NOT_IN_CORE, f"{_name(path)}, line {line}: the core knows no {module}"


def test_no_circle_between_the_files_of_the_server() -> None:
    """Also of what is imported for annotations alone: who knows whose class, knows it."""
    folder = ROOT / "chatlib" / "server"
    knows = {
        f"chatlib.server.{path.stem}": {module for _, module in _imports(path) if module.startswith("chatlib.server.")}
        for path in sorted(folder.glob("*.py"))
    }
    settled: set[str] = set()
    while found := {name for name, known in knows.items() if name not in settled and known <= settled}:
        settled |= found
    assert not knows.keys() - settled, f"these know each other in a circle: {sorted(knows.keys() - settled)}"


def test_only_the_wiring_holds_a_server() -> None:
    for path in FILES:
        if _name(path) not in ("server.py", "chatlib/server/server.py"):
            assert "chatlib.server.server" not in {module for _, module in _imports(path)}, _name(path)


def test_no_two_public_classes_have_one_name() -> None:
    names = [node.name for path in FILES for node in ast.walk(_tree(path)) if isinstance(node, ast.ClassDef)]
    public = [name for name in names if not name.startswith("_")]
    assert sorted({name for name in public if public.count(name) > 1}) == []


def test_the_programs_do_not_know_each_other() -> None:
    for program, other in (
        ("server.py", ("chatlib.client", "chatlib.program")),
        ("client.py", ("chatlib.server", "chatlib.core")),
    ):
        path = ROOT / program
        if path.exists():
            assert not [module for _, module in _imports(path) if module.startswith(other)]


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(_tree(path)), f"{_name(path)} has no docstring"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_files_and_functions_stay_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LINES, f"{_name(path)} has {lines} lines: when one grows, it is two things"
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= FUNCTION_LINES, f"{_name(path)}, line {node.lineno}: {node.name} has {size} lines"


def test_nearly_all_functions_have_at_most_40_lines() -> None:
    functions = [node for path in FILES for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef)]
    long = [node.name for node in functions if (node.end_lineno or node.lineno) - node.lineno + 1 > 40]
    assert len(long) <= len(functions) // 100, long


def test_the_page_about_the_design_is_short_and_names_files_that_exist() -> None:
    text = (ROOT / "chatlib" / "DESIGN.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 200
    named = set(re.findall(r"`((?:[a-z]+/)*[a-z_]+\.(?:py|md))`", text))
    there = {path.relative_to(ROOT).as_posix() for path in (*ROOT.rglob("*.py"), *ROOT.rglob("*.md"))}
    missing = {name for name in named if not any(path == name or path.endswith(f"/{name}") for path in there)}
    assert not missing


def _top_level() -> set[str]:
    """What lies at the top: of what git keeps. In an archive that was unpacked, only what holds code can be judged."""
    git = ["git", "-C", str(ROOT), "ls-files", "-z"]
    try:
        tracked = subprocess.run(git, capture_output=True, text=True).stdout.split("\0")
    except FileNotFoundError:
        tracked = []
    if "server.py" in tracked:
        return {name.partition("/")[0] for name in tracked if name}
    return {path.name for path in ROOT.iterdir() if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))}


def test_the_top_holds_what_the_design_names_and_nothing_else() -> None:
    allowed = {"server.py", "client.py", "chatlib", "tests", "para.txt", "credentials.txt", "Makefile", "README.md",
               "pyproject.toml"}  # fmt: skip
    found = {name for name in _top_level() if not name.startswith((".", "__"))}
    assert found <= allowed, found - allowed


def _says(node: ast.AST, asserting: set[str]) -> bool:
    """Whether a function asserts something: itself, or by calling one that does."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assert | ast.Raise):
            return True
        if isinstance(inner, ast.Call):
            called = getattr(inner.func, "id", getattr(inner.func, "attr", ""))
            if called in asserting or called in ("raises", "fail"):
                return True
    return False


def test_every_test_asserts_something() -> None:
    trees = [_tree(path) for path in (ROOT / "tests").rglob("*.py")]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    helpers = [node for node in functions if not node.name.startswith("test_")]
    asserting: set[str] = set()
    while more := {node.name for node in helpers if _says(node, asserting)} - asserting:
        asserting |= more
    silent = [node.name for node in functions if node.name.startswith("test_") and not _says(node, asserting)]
    assert silent == []
