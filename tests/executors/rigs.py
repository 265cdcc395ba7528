"""One rig for each executor: how to open it, and what it is to be told for a few simple behaviours."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

from agentorch.executors.contract import Executor
from agentorch.executors.fake import FakeExecutor, FakeMachine, Plan
from agentorch.executors.local import LocalExecutor
from agentorch.executors.remote.executor import RemoteExecutor
from agentorch.model.attempts import AttemptSpec, NodeInfo
from tests.executors.remote.cluster import Cluster


def attempt(name: str, *command: str, **fields: object) -> AttemptSpec:
    """The first attempt of a job; `fields` are those of `AttemptSpec`."""
    return AttemptSpec(id=f"{name}.1", job=name, number=1, worker="w-1", command=command, **fields)  # type: ignore[arg-type]


def shell(name: str, script: str, **fields: object) -> AttemptSpec:
    return attempt(name, "/bin/sh", "-c", script, **fields)


class Rig(Protocol):
    def executor(self) -> Executor:
        """A new executor on the same machine, as after a restart of the runtime."""

    def advance(self, executor: Executor) -> None:
        """Let time pass, where it does not pass by itself."""


class LocalRig:
    def __init__(self, root: Path) -> None:
        self.root = root

    def executor(self) -> LocalExecutor:
        return LocalExecutor(self.root)

    def advance(self, executor: Executor) -> None:
        """Real time passes by itself."""


class RemoteRig:
    """One node elsewhere, behind its agent."""

    def __init__(self, root: Path) -> None:
        self.cluster = Cluster(root)

    def executor(self) -> RemoteExecutor:
        return self.cluster.executor()

    def advance(self, executor: Executor) -> None:
        """Real time passes by itself."""


@dataclasses.dataclass
class FakeRig:
    """Understands the few shell scripts that the suite uses."""

    machine: FakeMachine = dataclasses.field(default_factory=FakeMachine)
    now_ms: int = 1_000

    def executor(self) -> FakeExecutor:
        node = NodeInfo(id="n-1", cpu_milli=1_000, memory_bytes=1 << 30)
        return FakeExecutor(lambda: self.now_ms, script=self._script, nodes=[node], machine=self.machine)

    def advance(self, executor: Executor) -> None:
        assert isinstance(executor, FakeExecutor)
        self.now_ms += 1_000
        executor.advance()

    def _script(self, spec: AttemptSpec) -> Plan:
        match spec.command[-1].split():
            case ["exit", code]:
                return Plan(run_ms=10, exit_code=int(code))
            case ["kill", "-9", "$$"]:
                return Plan(run_ms=10, signal=9)
            case ["echo", word]:
                return Plan(run_ms=10, stdout=f"{word}\n".encode())
            case ["/no/such/program"]:
                return Plan(exec_error="can't execute '/no/such/program'")
            case ["trap", *_]:
                return Plan(heeds_stop=False, stdout=b"ready\n")
            case _:
                return Plan()
