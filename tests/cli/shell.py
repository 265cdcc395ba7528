"""Runs the command line: in this process, which is quick, or as people do, in a process of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentorch.cli import main


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def agentorch(*arguments: str, url: str = "", key: str = "") -> Done:
    """One command in this process, stdout and stderr apart."""
    out, err = io.StringIO(), io.StringIO()
    given = {"AGENTORCH_URL": url, "AGENTORCH_KEY": key}
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _environment(given):
        code = main(list(arguments))
    return Done(code, out.getvalue(), err.getvalue())


def process(*arguments: str, url: str = "", key: str = "", cwd: Path | None = None) -> Done:
    """The same as a process."""
    with _environment({"AGENTORCH_URL": url, "AGENTORCH_KEY": key}):
        done = subprocess.run(
            [sys.executable, "-m", "agentorch.cli", *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    return Done(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def _environment(given: dict[str, str]) -> Iterator[None]:
    """Nothing of this machine's own configuration leaks in."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("AGENTORCH_"):
            del os.environ[name]
    os.environ.update({name: value for name, value in given.items() if value})
    os.environ["XDG_CONFIG_HOME"] = "/nonexistent"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
