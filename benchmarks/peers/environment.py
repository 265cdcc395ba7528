"""The peers' environment, and how their scripts are run in it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venv-bench"
PACKAGES = {
    "huey": ["huey==3.5.4"],
    "saq": ["saq[redis]==0.26.4", "typing_extensions"],
    "hyperqueue": ["hyperqueue==0.27.0"],
}
SCRIPT_TIMEOUT_S = 60
INSTALL_TIMEOUT_S = 300


class PeerMissing(Exception):
    """A peer can't be had on this machine; the message says why, in words for a table."""


def python_with(package: str) -> Path:
    """An interpreter with this peer in it: this one, or that of `.venv-bench`, where it is installed now if need be.

    Raises PeerMissing.
    """
    if importlib.util.find_spec(package) is not None:
        return Path(sys.executable)
    python = HOME / "bin" / "python"
    if not python.exists():
        venv.create(HOME, with_pip=True)
    if subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0:
        return python
    print(f"installing {package} into {HOME}", file=sys.stderr)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[package]]
    try:
        done = subprocess.run(install, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(f"{package} can't be installed: pip took too long") from error
    if done.returncode != 0:
        raise PeerMissing(f"{package} can't be installed: {done.stderr.strip().splitlines()[-1:]}")
    return python


def program(name: str, package: str) -> str:
    """The path of a program of the machine. Raises PeerMissing with the Debian package that has it."""
    found = shutil.which(name)
    if found is None:
        raise PeerMissing(f"{name} is not installed (apt-get install {package})")
    return found


def run(script: str, package: str, *arguments: str) -> dict[str, float]:
    """What a script of this folder printed. Raises PeerMissing."""
    command = [str(python_with(package)), str(Path(__file__).parent / f"{script}.py"), *arguments]
    try:
        # Some leave files where they run: HyperQueue writes what each task printed.
        with tempfile.TemporaryDirectory(prefix="bench-") as own:
            done = subprocess.run(
                command, cwd=own, capture_output=True, text=True, timeout=SCRIPT_TIMEOUT_S, check=False
            )
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(f"{package}: its script took longer than {SCRIPT_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise PeerMissing(f"{package}: its script failed: {done.stderr.strip().splitlines()[-1:]}")
    printed: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return printed
