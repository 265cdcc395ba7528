"""From an attempt to what a worker is told: which worker may make the call, the order, and the worker's process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import agentorch
from agentorch.executors.records import ATTEMPT_VARIABLE
from agentorch.executors.warm import wire
from agentorch.executors.warm.link import Key
from agentorch.model import limits
from agentorch.model.attempts import AttemptSpec

_SOURCE_ROOT: Final = str(Path(agentorch.__file__).resolve().parent.parent)
#: agentorch is on the path only while the worker's own files are imported: packages are the interpreter's.
_BOOTSTRAP: Final = (
    "import sys; sys.path.append(sys.argv[1]); from agentorch.executors.warm.worker import main; sys.path.pop(); "
    "main(sys.argv[2], int(sys.argv[3]), sys.argv[4])"
)
_OURS: Final = "AGENTORCH_"
#: What a gang's rank is told, which differs from call to call: it is set for the call, like our own.
_OF_THE_CALL: Final = frozenset(
    {
        "GROUP_RANK",
        "LOCAL_RANK",
        "LOCAL_WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "NODE_RANK",
        "RANK",
        "WORLD_SIZE",
    }
)
_UNBOUND_MILLI: Final = 10**9  # as many cores as there are


def key_of(spec: AttemptSpec) -> Key:
    assert spec.entry is not None
    return Key(
        python=spec.entry.python or sys.executable,
        workdir=spec.workdir,
        devices=spec.visible or spec.devices,
        memory_bytes=spec.memory_bytes,
        log_quota_bytes=spec.log_quota_bytes,
        stop_signal=spec.stop_signal,
        environment=tuple(sorted(item for item in spec.env.items() if not _is_of_the_call(item[0]))),
    )


def order_of(spec: AttemptSpec) -> bytes:
    entry = spec.entry
    assert entry is not None
    environment = {name: value for name, value in spec.env.items() if _is_of_the_call(name)}
    environment[ATTEMPT_VARIABLE] = spec.id
    environment["AGENTORCH_JOB"] = spec.job
    return wire.encode_order(
        wire.Order(
            call=spec.id,
            name=entry.call,
            args=entry.args,
            kwargs=entry.kwargs,
            environment=environment,
            timeout_ms=spec.timeout_ms,
            grace_ms=spec.grace_ms,
        )
    )


def _is_of_the_call(name: str) -> bool:
    return name.startswith(_OURS) or name in _OF_THE_CALL


def process_of(name: str, key: Key, epoch: int) -> AttemptSpec:
    """The worker's process, as an attempt of its own. Its working directory is the job's, or one of its own."""
    return AttemptSpec(
        id=name,
        job=name,
        number=1,
        worker=name,
        command=(key.python, "-c", _BOOTSTRAP, _SOURCE_ROOT, name, str(epoch), key.stop_signal),
        env=dict(key.environment),
        workdir=key.workdir,
        devices=key.devices,
        cpu_milli=_UNBOUND_MILLI,
        memory_bytes=key.memory_bytes,
        grace_ms=limits.STOP_GRACE_MS,
        stop_signal=key.stop_signal,
        log_quota_bytes=key.log_quota_bytes,
    )
