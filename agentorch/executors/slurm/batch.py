"""The batch job of an attempt: its script, and what is asked of Slurm for it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import agentorch
from agentorch.executors.slurm.options import SlurmOptions
from agentorch.model.attempts import AttemptSpec

SOURCE_ROOT: Final = str(Path(agentorch.__file__).resolve().parent.parent)
#: The guard's own words: what Slurm calls the job's output. What the attempt says is in the files of its streams.
LOG: Final = "slurm.log"

_BOOTSTRAP: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from agentorch.executors.slurm.guard import main; main(sys.argv[2], float(sys.argv[3]))"
)
_MIB: Final = 1 << 20
#: Minutes that Slurm's own limit is above ours, so that ours is the one that counts.
_TIME_MARGIN_MIN: Final = 2
#: Slurm warns the batch shell this long before its limit ends the job, so that an attempt can end in order.
_WARNING_S: Final = 60


class Submission(NamedTuple):
    script: str
    arguments: list[str]


def script(options: SlurmOptions, *arguments: str, bootstrap: str = _BOOTSTRAP, flags: Sequence[str] = ("-S",)) -> str:
    """A script that becomes the Python program `bootstrap`, given the source root and these arguments."""
    command = [options.python, "-I", *flags, "-c", bootstrap, SOURCE_ROOT, *arguments]
    return f"#!/bin/sh\nexec {shlex.join(command)}\n"


def submission(spec: AttemptSpec, *, name: str, directory: str, partition: str, options: SlurmOptions) -> Submission:
    """How to ask for this attempt. `partition` "" = as the options say."""
    arguments = [
        f"--job-name={name}",
        f"--output={directory}/{LOG}",
        "--open-mode=append",
        f"--chdir={directory}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={max(1, -(-spec.cpu_milli // 1_000))}",
        f"--signal=B:TERM@{_WARNING_S}",
    ]
    if spec.memory_bytes:
        arguments.append(f"--mem={-(-spec.memory_bytes // _MIB)}M")
    if spec.devices:
        arguments.append(f"--gres=gpu:{len(spec.devices)}")
    if spec.node:
        arguments.append(f"--nodelist={spec.node}")
    if partition:
        arguments.append(f"--partition={partition}")
    if spec.timeout_ms is not None:
        arguments.append(f"--time={-(-(spec.timeout_ms + spec.grace_ms) // 60_000) + _TIME_MARGIN_MIN}")
    return Submission(script(options, directory, str(options.fence_s)), arguments)
