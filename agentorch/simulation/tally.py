"""What came of a course of events, counted in the same way whether it was recorded or simulated."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

import msgspec

from agentorch.core import money
from agentorch.core.facts import Facts
from agentorch.model import events as ev
from agentorch.model.jobs import Cause, JobState
from agentorch.model.proposals import Ruling
from agentorch.model.units import usd
from agentorch.simulation.run import percentile

#: Points of the series that are told.
POINTS: Final = 240


class Step(NamedTuple):
    """How many jobs waited and ran from a time on."""

    at_ms: int
    queued: int
    running: int


class _Paid(NamedTuple):
    since_ms: int
    price_usd_micros_per_hour: int


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one course. Waits are all that a job waited, those that still wait included. Ranges are nearest rank."""

    wait_avg_s: float = 0.0
    wait_p50_s: float = 0.0
    wait_p95_s: float = 0.0
    wait_p99_s: float = 0.0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    unfinished: int = 0
    deadlines_missed: int = 0
    cost_usd: float = 0.0
    preemptions: int = 0
    cycles: int = 0
    actions: int = 0
    asked: int = 0
    approved: int = 0
    rejected: int = 0
    expired: int = 0
    denied: int = 0


#: What each number counts.
UNITS: Final = {
    **dict.fromkeys(("wait_avg_s", "wait_p50_s", "wait_p95_s", "wait_p99_s"), "s"),
    **dict.fromkeys(("succeeded", "failed", "cancelled", "unfinished", "deadlines_missed", "preemptions"), "jobs"),
    "cost_usd": "usd",
    "cycles": "cycles",
    **dict.fromkeys(("actions", "asked", "approved", "rejected", "expired", "denied"), "proposals"),
}
assert set(UNITS) == set(Measures.__struct_fields__), "every measure has a unit"


class Tally:
    """Takes the events that follow some facts, in order."""

    def __init__(self, before: Facts) -> None:
        self.queued: dict[str, int] = {}  # waiting jobs: since when
        self.running: dict[str, int] = {}
        self.waited_ms: dict[str, int] = {}
        self.deadlines: dict[str, int] = {}
        self.paid: dict[str, _Paid] = {}
        self.cost_usd_micros = 0
        self.missed = 0
        self.ended: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.steps: list[Step] = []
        for job in before.jobs.values():
            if job.deadline_ms is not None and job.ended_ms is None:
                self.deadlines[job.id] = job.deadline_ms
            if job.ended_ms is None and job.id not in before.running:
                self.queued[job.id] = job.queued_ms
        for name in before.running:
            attempt = before.jobs[name].attempts[-1]
            self.running[name] = attempt.ordered_ms
            self._pays(name, attempt.started_ms or before.at_ms, attempt.price_usd_micros_per_hour)
        if before.seq:
            self.steps.append(Step(before.at_ms, len(self.queued), len(self.running)))

    def take(self, event: ev.Event) -> None:
        if self._job(event):
            step = Step(event.at_ms, len(self.queued), len(self.running))
            if self.steps and self.steps[-1].at_ms == event.at_ms:
                self.steps[-1] = step
            else:
                self.steps.append(step)
        else:
            self._supervision(event)

    def _job(self, event: ev.Event) -> bool:
        at_ms = event.at_ms
        match event:
            case ev.JobSubmitted():
                self.queued[event.job] = at_ms
                self.waited_ms[event.job] = 0
                if event.spec.deadline_ms is not None:
                    self.deadlines[event.job] = event.spec.deadline_ms
            case ev.JobChanged():
                if event.deadline_ms is not None:
                    self.deadlines[event.job] = event.deadline_ms
            case ev.JobStarted():
                self._stops_waiting(event.job, at_ms)
                self.running[event.job] = at_ms
                self._pays(event.job, at_ms, event.price_usd_micros_per_hour)
            case ev.AttemptEnded():
                self.running.pop(event.job, None)
                self.paid.pop(event.job, None)
                self.cost_usd_micros += event.cost_usd_micros
                self._count("preemptions", event.cause is Cause.preempted)
            case ev.JobRequeued():
                self.queued[event.job] = at_ms
            case ev.JobEnded():
                self._ends(event)
            case _:
                return False
        return True

    def _supervision(self, event: ev.Event) -> None:
        match event:
            case ev.CycleObserved():
                self._count("cycles")
            case ev.ProposalJudged():
                self._count("denied", event.proposal.verdict.ruling is Ruling.deny)
                self._count("asked", event.proposal.verdict.ruling is Ruling.ask)
            case ev.ActionRefused():
                self._count("denied")
            case ev.ActionStarted():
                self._count("actions")
            case ev.ApprovalExpired():
                self._count("expired")
            case ev.ApprovalAnswered():
                self._count("rejected" if event.answer.kind == "reject" else "approved")

    def _count(self, what: str, counts: bool = True) -> None:
        self.counts[what] = self.counts.get(what, 0) + counts

    def _stops_waiting(self, job: str, at_ms: int) -> None:
        since_ms = self.queued.pop(job, None)
        if since_ms is not None:
            self.waited_ms[job] = self.waited_ms.get(job, 0) + max(0, at_ms - since_ms)

    def _pays(self, job: str, since_ms: int, price: int | None) -> None:
        """An unknown price costs what is known of it: nothing."""
        if price:
            self.paid[job] = _Paid(since_ms, price)

    def _ends(self, event: ev.JobEnded) -> None:
        self._stops_waiting(event.job, event.at_ms)
        self.running.pop(event.job, None)
        state = str(event.state)
        self.ended[state] = self.ended.get(state, 0) + 1
        deadline_ms = self.deadlines.pop(event.job, None)
        in_time = event.state is JobState.succeeded and deadline_ms is not None and event.at_ms <= deadline_ms
        self.missed += deadline_ms is not None and not in_time and event.state is not JobState.cancelled

    def measures(self, end_ms: int) -> Measures:
        """As of a time at or after the last event. What runs then costs what it has cost so far."""
        waited = dict(self.waited_ms)
        for job, since_ms in self.queued.items():
            waited[job] = waited.get(job, 0) + max(0, end_ms - since_ms)
        waits = [ms / 1000 for ms in waited.values()] or [0.0]
        open_cost = sum(
            money.cost_of(one.price_usd_micros_per_hour, end_ms - one.since_ms) or 0 for one in self.paid.values()
        )
        late = sum(1 for deadline_ms in self.deadlines.values() if deadline_ms < end_ms)
        return Measures(
            wait_avg_s=round(sum(waits) / len(waits), 3),
            wait_p50_s=percentile(waits, 50),
            wait_p95_s=percentile(waits, 95),
            wait_p99_s=percentile(waits, 99),
            succeeded=self.ended.get("succeeded", 0),
            failed=self.ended.get("failed", 0),
            cancelled=self.ended.get("cancelled", 0),
            unfinished=len(self.queued) + len(self.running),
            deadlines_missed=self.missed + late,
            cost_usd=usd(self.cost_usd_micros + open_cost),
            **self.counts,
        )

    def at(self, times_ms: list[int]) -> tuple[list[float], list[float]]:
        """(waiting, running) at these times."""
        stamps = [step.at_ms for step in self.steps]
        places = [bisect_right(stamps, at_ms) - 1 for at_ms in times_ms]
        first = Step(0, 0, 0)
        found = [self.steps[place] if place >= 0 else first for place in places]
        return [float(step.queued) for step in found], [float(step.running) for step in found]
