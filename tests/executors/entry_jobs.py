"""Functions that attempts of the tests call: `entry_jobs:...`, from this folder as their working directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

calls = 0
_pause = threading.Event().wait


def add(left: int, right: int = 1) -> int:
    return left + right


def count() -> int:
    """How often this process was asked."""
    global calls
    calls += 1
    return calls


def say(out: str, err: str = "") -> None:
    print(out)
    print(err, file=sys.stderr, end="")


def flood(size_bytes: int) -> None:
    sys.stdout.write("x" * size_bytes + "end\n")


def surroundings() -> dict[str, object]:
    """And spoils them for whoever comes next."""
    found: dict[str, object] = {
        "cwd": str(Path.cwd()),
        "attempt": os.environ["AGENTORCH_ATTEMPT"],
        "mine": os.environ.get("MINE"),
        "spoilt": os.environ.get("SPOILT"),
        "cuda": os.environ["CUDA_VISIBLE_DEVICES"],
        "rank": os.environ.get("RANK"),
    }
    os.environ["SPOILT"] = "yes"
    os.chdir("/")
    sys.stdout = sys.stderr
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return found


def leave(code: object) -> None:
    sys.exit(code)  # type: ignore[arg-type]


def fail(text: str) -> None:
    raise ValueError(text)


def end_process(code: int) -> None:
    os._exit(code)


def kill_process(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


def not_json() -> object:
    return {1, 2}


def huge() -> str:
    return "x" * 70_000


def wait(release: str) -> str:
    """Say so, then wait until the file is there."""
    print("ready", flush=True)
    while not Path(release).exists():
        _pause(0.01)
    return "released"


def wait_stubbornly() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        _pause(600)


def wait_with_daemons() -> None:
    """Children in sessions of their own, and their children."""
    for _ in range(2):
        subprocess.Popen(["/bin/sh", "-c", "setsid sh -c 'sleep 600 & sleep 600' & sleep 600"], start_new_session=True)
    wait("/no/such/file")


def leave_daemon() -> int:
    """Returns while a process that it started runs on."""
    return subprocess.Popen(["/bin/sh", "-c", "setsid sleep 600 & sleep 600"], start_new_session=True).pid


def leave_thread() -> int:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()


def forks_and_falls_through() -> int:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
    return os.getpid()


def pid() -> int:
    return os.getpid()


def eat(size_bytes: int) -> None:
    held = bytearray(size_bytes)
    held[::4096] = b"x" * len(held[::4096])
    wait("/no/such/file")


def once(path: str, pause_s: float = 0.0) -> None:
    """A line in a file for each time it runs."""
    with Path(path).open("a") as file:
        file.write("run\n")
    _pause(pause_s)
    print("done")


def meet(folder: str, rank: int, size: int) -> int:
    """Returns once all ranks are there: only if they run at the same time."""
    (Path(folder) / f"rank-{rank}").touch()
    while sum((Path(folder) / f"rank-{other}").exists() for other in range(size)) < size:
        _pause(0.005)
    return rank
