"""A recording made second by second: a core, work that runs for known times, a brain, and people who do things."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agentorch.core.guardrails import preview
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model import commands as cmd
from agentorch.model.brain import Brain, BrainContext
from agentorch.model.jobs import ON_WORKER, Cause, Checkpoint
from agentorch.model.observation import DeviceSample, Observation
from agentorch.model.proposals import AnswerKind, BrainReport, Draft, ProposalState, Verdict
from agentorch.simulation.supervised import no_twin
from tests.core.world import START_MS, World

Script = dict[int, Callable[["Past"], object]]


class Grows:
    """A brain that wants one worker more whenever so many wait. Knows nothing of guardrails."""

    def __init__(self, queued: int = 2, step: int = 1) -> None:
        self.id = f"grows/{queued}"
        self.queued = queued
        self.step = step

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        pool = observation.pools[0]
        if observation.queued_total < self.queued or pool.target >= pool.max_workers:
            return BrainReport(brain=self.id, hold=f"{observation.queued_total} wait")
        workers = min(pool.max_workers, pool.target + self.step)
        action = {"kind": "scale", "pool": pool.name, "workers": workers}
        return BrainReport(brain=self.id, drafts=(Draft(action=action, reason="they wait"),))


class Past(World):
    """`lengths` are run times in seconds by job, None = it does not end by itself; a start takes a second."""

    def __init__(self, brain: Brain, *, thinks_s: int = 0) -> None:
        super().__init__()
        self.brain = brain
        self.thinks_s = thinks_s  # less than the five seconds between two cycles
        self.seen: Observation | None = None
        self.lengths: dict[str, list[tuple[int | None, Cause]]] = {}
        self.began: dict[str, int] = {}
        self.ask(cmd.StartRuntime(version="test"))
        self.tenant()

    def work(self, *seconds: int | None, cause: Cause = Cause.completed, **spec: Any) -> str:
        """A job whose attempts last for so long: the last ends with `cause`, those before with errors."""
        name = self.submit(**spec)
        causes = [Cause.error] * (len(seconds) - 1) + [cause]
        self.lengths[name] = list(zip(seconds, causes, strict=True))
        return name

    def live(self, seconds: int, script: Script) -> None:
        for second in range(seconds):
            self.now_ms = START_MS + 1000 * second
            self._stops()
            self._ends()
            self._begins()
            if second in script:
                script[second](self)
            self.ask(cmd.Tick())
            if second and not second % 5:
                self._observe()
            if self.seen is not None and second % 5 == self.thinks_s:
                self._decide(self.seen)
            while self.ask(cmd.Schedule()):
                pass

    def _stops(self) -> None:
        for name in list(self.facts.running):
            if self.job(name).stop_cause is not None:
                self.began.pop(name, None)
                self.end(name, Cause.error, None)

    def _ends(self) -> None:
        for name, began_ms in list(self.began.items()):
            length, cause = self.lengths[name][0]
            if length is not None and self.now_ms >= began_ms + 1000 * length:
                del self.began[name]
                self.lengths[name] = self.lengths[name][1:] or [(length, cause)]
                self.end(name, cause, 0 if cause is Cause.completed else 1)

    def _begins(self) -> None:
        for name in list(self.facts.running):
            job = self.job(name)
            if job.state in ON_WORKER and job.attempts[-1].started_ms is None and job.stop_cause is None:
                self.running(name)
                self.began[name] = self.now_ms

    def _observe(self) -> None:
        sample = DeviceSample(id="cpu", kind="cpu", at_ms=self.now_ms, utilization_percent=50.0)
        self.seen = self.ask(cmd.Observe(devices=(sample,)))

    def _decide(self, seen: Observation) -> None:
        async def previewed(drafts: tuple[Draft, ...]) -> list[Verdict]:
            return preview(self.state, drafts, self.now_ms)

        async def foreseen(drafts: tuple[Draft, ...]) -> Any:
            return no_twin(self.state, drafts, self.now_ms)

        context = BrainContext(preview=previewed, foresee=foreseen, timeout_s=1.0)
        report = asyncio.run(_decided(self.brain, seen, context))
        for proposal in self.ask(cmd.HandIn(cycle=seen.cycle, report=report)):
            if proposal.state is ProposalState.allowed:
                self.ask(cmd.CarryOut(proposal=proposal.id))

    def answer(self, kind: AnswerKind, **edits: int) -> None:
        """Whoever is asked longest gets this answer."""
        name = next(one for one in self.facts.unsettled if self.facts.proposals[one].state is ProposalState.open)
        given = cmd.AnswerApproval(
            proposal=name, kind=kind, by="ann", hash=self.facts.proposals[name].hash, edits=dict(edits)
        )
        self.ask(given)
        if kind is not AnswerKind.reject:
            self.ask(cmd.CarryOut(proposal=name))

    async def _write(self, file: Path) -> None:
        ledger = SqliteLedger(file)
        await ledger.open()
        for first in range(0, len(self.events), 1000):
            await ledger.commit(self.events[first : first + 1000], self.now_ms)
        await ledger.close()

    def write(self, file: Path) -> Path:
        asyncio.run(self._write(file))
        return file


async def _decided(brain: Brain, seen: Observation, context: BrainContext) -> BrainReport:
    return await brain.decide(seen, context)


def busy(brain: Brain | None = None, *, thinks_s: int = 0) -> Past:
    """Five minutes in which most of what can happen happens. Growing costs money, so people are asked."""
    past = Past(brain or Grows(), thinks_s=thinks_s)
    past.pool(workers=1, max_workers=4, price_usd_micros_per_hour=12_000_000, target_wait_ms=10_000)
    soon = START_MS + 60_000
    script: Script = {
        1: lambda p: [p.work(40), p.work(20, deadline_ms=soon), p.work(30), p.work(5, 15)],
        12: lambda p: p.answer(AnswerKind.approve),
        20: lambda p: [p.work(25, priority=10), p.work(None), p.work(50, checkpoint=Checkpoint())],
        22: lambda p: p.ask(cmd.PatchJob(job="job-000005", by="ann", priority=90)),
        24: lambda p: p.ask(cmd.PatchJob(job="job-000007", by="ann", hold=True)),
        26: lambda p: p.work(10),
        28: lambda p: p.ask(cmd.CancelJob(job="job-000008", by="ann")),
        60: lambda p: p.ask(cmd.PatchJob(job="job-000007", by="ann", hold=False)),
        100: lambda p: [p.work(30) for _ in range(6)],
        118: lambda p: p.answer(AnswerKind.reject),
        150: lambda p: p.ask(cmd.CancelJob(job="job-000006", by="ann")),
        200: lambda p: [p.work(20) for _ in range(3)],
        280: lambda p: p.work(100),
    }
    past.live(300, script)
    past.ask(cmd.CloseRuntime())
    return past


def encoded(events: list[Any]) -> bytes:
    return msgspec.json.encode(events)
