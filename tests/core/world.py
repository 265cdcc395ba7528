"""A core with a clock in hand: every step is checked against the invariants and against a fold from the beginning."""

from __future__ import annotations

from typing import Any

import msgspec

from agentorch.core.decide import decide
from agentorch.core.evolve import evolve
from agentorch.core.invariants import breaches
from agentorch.core.state import State
from agentorch.model import commands as cmd
from agentorch.model.events import Event
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.jobs import Cause, Job, JobSpec, Resources

START_MS = 1_700_000_000_000
GIB = 2**30
_encode = msgspec.json.Encoder().encode
_decode_events = msgspec.json.Decoder(list[Event]).decode


def facts_bytes(state: State) -> bytes:
    return msgspec.msgpack.encode(state.facts)


def refold(events: list[Event]) -> State:
    """Through the encoding and back, so that what the ledger keeps is enough."""
    state = State()
    for event in _decode_events(_encode(events)):
        evolve(state, event)
    return state


class World:
    """`ask` decides at the present time; `assert_sound` compares with the fold of all events so far."""

    def __init__(self) -> None:
        self.state = State()
        self.now_ms = START_MS
        self.events: list[Event] = []

    @property
    def facts(self) -> Any:
        return self.state.facts

    def ask(self, command: cmd.Command) -> Any:
        events, result = decide(self.state, command, self.now_ms)
        self.events.extend(events)
        assert breaches(self.state) == []
        return result

    def assert_sound(self) -> None:
        assert facts_bytes(refold(self.events)) == facts_bytes(self.state)
        assert State(self.facts).homes == self.state.homes
        assert State(self.facts).yielding == self.state.yielding

    # -- the usual things

    def pool(self, name: str = "cpu", workers: int = 1, *, cpus: int = 1, gpus: int = 0, **spec: Any) -> None:
        shape = Resources(cpu_milli=cpus * 1000, memory_bytes=8 * GIB, gpus=gpus)
        fields = {"min_workers": 0, "max_workers": max(workers, 8), "workers": workers, "shape": shape} | spec
        count = gpus * int(fields["max_workers"])
        devices = tuple(f"GPU-{name}-{index}" for index in range(count))
        self.ask(cmd.ConfigurePool(spec=PoolSpec(name=name, **fields), devices=devices))

    def tenant(self, name: str = "t", **spec: Any) -> None:
        self.ask(cmd.ConfigureTenant(spec=TenantSpec(name=name, **spec)))

    def submit(self, tenant: str = "t", *, cpus: float = 1, gpus: int = 0, key: str = "", **spec: Any) -> str:
        resources = Resources(cpu_milli=int(cpus * 1000), gpus=gpus)
        job = JobSpec(**({"command": ("true",), "resources": resources} | spec))
        name, _ = self.ask(cmd.SubmitJob(tenant=tenant, spec=job, by="key", idempotency_key=key, body_sha256=repr(job)))
        assert isinstance(name, str)
        return name

    def schedule(self) -> list[str]:
        """One pass; the jobs that started, in order."""
        before = len(self.events)
        self.ask(cmd.Schedule())
        return [event.job for event in self.events[before:] if type(event).__name__ == "JobStarted"]

    def job(self, name: str) -> Job:
        found = self.facts.jobs[name]
        assert isinstance(found, Job)
        return found

    def running(self, name: str) -> None:
        """All ranks of it."""
        for attempt in self.job(name).attempts[-1:]:
            for rank in range(len(attempt.members)):
                self.ask(cmd.ReportRunning(job=name, attempt=attempt.number, rank=rank))

    def end(self, name: str, cause: Cause = Cause.completed, exit_code: int | None = 0, **report: Any) -> None:
        """All ranks of it that have not ended."""
        attempt = self.job(name).attempts[-1]
        for rank, member in enumerate(attempt.members):
            if member.ended_ms is None:
                self.end_rank(name, rank, cause, exit_code=exit_code, **report)

    def end_rank(self, name: str, rank: int, cause: Cause = Cause.completed, **report: Any) -> None:
        attempt = self.job(name).attempts[-1]
        self.ask(
            cmd.ReportEnded(
                job=name,
                attempt=attempt.number,
                rank=rank,
                cause=cause,
                started_ms=attempt.members[rank].started_ms,
                ended_ms=self.now_ms,
                **report,
            )
        )

    def tick(self, seconds: float = 0) -> None:
        self.now_ms += int(seconds * 1000)
        self.ask(cmd.Tick())
