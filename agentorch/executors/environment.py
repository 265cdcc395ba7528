"""What a job sees of the outside: its environment is built here, never inherited from the runtime."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import Final

from agentorch.executors.records import ATTEMPT_VARIABLE, DIRECTORY_VARIABLE, TEMPORARY
from agentorch.model.attempts import AttemptSpec

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def default_environment() -> dict[str, str]:
    """PATH, HOME, LANG and USER of whoever runs the executor, from the system's own tables."""
    try:
        entry = pwd.getpwuid(os.getuid())
        home, user = entry.pw_dir, entry.pw_name
    except KeyError:  # a container may run under a number without a name
        home, user = "/", str(os.getuid())
    return {"PATH": _PATH, "HOME": home, "LANG": "C.UTF-8", "USER": user, "LOGNAME": user}


def build_environment(base: Mapping[str, str], spec: AttemptSpec, directory: str) -> dict[str, str]:
    """The whole environment of an attempt: the base, then the job's own, then what a job can't change.

    A job that could name its own GPUs would take its neighbour's, so the device variables come last, and are set also
    when it has none.
    """
    devices = ",".join(spec.visible or spec.devices)
    return {
        **base,
        "TMPDIR": f"{directory}/{TEMPORARY}",
        **spec.env,
        ATTEMPT_VARIABLE: spec.id,
        DIRECTORY_VARIABLE: directory,
        "AGENTORCH_JOB": spec.job,
        "CUDA_VISIBLE_DEVICES": devices,
        "NVIDIA_VISIBLE_DEVICES": devices or "void",  # "" would mean all of them to some container runtimes
    }
