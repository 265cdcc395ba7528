"""The house rules that no linter knows. Each is a function from sources to complaints, so that it can be tried on an
offender."""

from __future__ import annotations

import ast
import functools
import gc
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES = 400
FUNCTION_LINES = 70
LAW = re.compile(r"\bmust (?:never|not|hold no)\b", re.IGNORECASE)
FOREIGN = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|unittest\.mo" r"ck|Magic" r"Mock)\b")


def sources() -> dict[str, str]:
    """Every tracked or new Python file, by path; the links inside the package are the folders they point to."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return {name: (ROOT / name).read_text() for name in listed if (ROOT / name).is_file()}


@functools.cache
def parsed(text: str) -> ast.Module:
    """Its tree. A collection amid parsing may log a traceback, which parses a line of its own: Python up to 3.12 then
    raises "AST constructor recursion depth mismatch" here (https://github.com/python/cpython/issues/106905)."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        if collects:
            gc.enable()


def long_files(files: dict[str, str]) -> list[str]:
    return [
        f"{name}: {text.count(chr(10))} lines, at most {FILE_LINES}"
        for name, text in files.items()
        if text.count("\n") > FILE_LINES
    ]


def long_functions(files: dict[str, str]) -> list[str]:
    out = []
    for name, text in files.items():
        for node in ast.walk(parsed(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    out.append(f"{name}:{node.lineno} {node.name}: {lines} lines, at most {FUNCTION_LINES}")
    return out


def swallowed_errors(files: dict[str, str]) -> list[str]:
    """`except Exception: pass` hides defects; name the error, or say what is done about it."""
    out = []
    for name, text in files.items():
        for node in ast.walk(parsed(text)):
            broad = isinstance(node, ast.ExceptHandler) and (
                node.type is None
                or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
            )
            if broad and isinstance(node, ast.ExceptHandler) and all(isinstance(line, ast.Pass) for line in node.body):
                out.append(f"{name}:{node.lineno} swallows every error")
    return out


def lawless_packages(files: dict[str, str]) -> list[str]:
    """A room's `__init__` says what it owns and what it must never do."""
    out = []
    for name, text in files.items():
        parts = Path(name).parts
        room = parts[-1] == "__init__.py" and (parts[:-1] in (("tools",), ("graphs",), ("tui",)) or _is_room(parts))
        if room and not LAW.search(ast.get_docstring(parsed(text)) or ""):
            out.append(f"{name}: the docstring does not say what this room must never do")
    return out


def _is_room(parts: tuple[str, ...]) -> bool:
    return len(parts) == 3 and parts[0] == "agentorch"


def sleeping_tests(files: dict[str, str]) -> list[str]:
    """Tests wait for conditions, not for time."""
    out = []
    for name, text in files.items():
        if not name.startswith("tests/"):
            continue
        for node in ast.walk(parsed(text)):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("time.sleep", "asyncio.sleep"):
                continue
            if not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0):
                out.append(f"{name}:{node.lineno} sleeps")
    return out


def unfinished_words(files: dict[str, str]) -> list[str]:
    out = []
    for name, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            if FOREIGN.search(line):
                out.append(f"{name}:{number} {line.strip()[:80]}")
    return out


def declared_packages() -> set[str]:
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])


def package_folders(files: dict[str, str]) -> set[str]:
    """Import names of every folder with an `__init__.py`, as the wheel ships them."""
    out = set()
    for name in files:
        path = Path(name)
        if path.name != "__init__.py" or path.parts[0] not in ("agentorch", "tools", "graphs", "tui"):
            continue
        parts = path.parent.parts
        out.add(".".join(parts if parts[0] == "agentorch" else ("agentorch", *parts)))
    return out
