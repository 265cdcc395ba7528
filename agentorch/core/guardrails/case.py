"""What a rule is given to judge, and the words it answers in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cached_property

from agentorch.core.demand import Demand, demand, first_pool, standing_workers
from agentorch.core.facts import Facts
from agentorch.core.guardrails.selection import rerouted_jobs
from agentorch.core.state import State
from agentorch.model.fleet import Pool, Worker
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.jobs import Job
from agentorch.model.observation import DeviceSample
from agentorch.model.proposals import Action, Cordon, Note, Reroute, Reschedule, Ruling, Scale, Uncordon


class Case:
    """One action before the guardrails, with the state it is judged on.

    `earlier` are the actions of the same cycle that were judged before this one and not denied: guardrails are
    cumulative, so that many small steps are no way around them.
    """

    def __init__(
        self, state: State, action: Action, now_ms: int, earlier: tuple[Action, ...] = (), cycle: int | None = None
    ) -> None:
        self.state = state
        self.facts: Facts = state.facts
        self.action = action
        self.now_ms = now_ms
        self.earlier = earlier
        self.cycle = self.facts.cycle if cycle is None else cycle

    @property
    def settings(self) -> GuardrailSettings:
        return self.facts.settings

    @cached_property
    def demand(self) -> Demand:
        return demand(self.state, self.now_ms)

    @cached_property
    def samples(self) -> dict[str, DeviceSample]:
        """The devices as the newest observation saw them, by id."""
        decision = self.facts.decisions.get(self.facts.cycle)
        if decision is None or decision.observation is None:
            return {}
        return {sample.id: sample for sample in decision.observation.devices}

    # -- what the action is about; None when it is about something else, or about nothing that exists

    @property
    def pool(self) -> Pool | None:
        """The pool whose size or work changes: what is scaled, rerouted to, or whose worker is meant."""
        match self.action:
            case Scale(pool=name) | Reroute(pool=name):
                return self.facts.pools.get(name)
        return self.facts.pools.get(self.worker.pool) if self.worker is not None else None

    @property
    def job(self) -> Job | None:
        match self.action:
            case Reschedule(job=name) | Reroute(job=name):
                return self.facts.jobs.get(name)
        return None

    @property
    def worker(self) -> Worker | None:
        match self.action:
            case Cordon(worker=name) | Uncordon(worker=name):
                return self.facts.workers.get(name)
        return None

    @property
    def shrinks_by(self) -> int:
        """How many workers fewer the action wants; 0 when it does not shrink."""
        pool = self.pool
        return max(0, pool.target - self.action.workers) if pool and isinstance(self.action, Scale) else 0

    @property
    def grows_by(self) -> int:
        pool = self.pool
        return max(0, self.action.workers - pool.target) if pool and isinstance(self.action, Scale) else 0

    @property
    def stops_work(self) -> bool:
        """Whether running work would be stopped."""
        return isinstance(self.action, Reschedule) and self.action.change in ("preempt", "requeue")

    @cached_property
    def moved(self) -> list[Job]:
        """The jobs that a reroute moves; empty for anything else."""
        return rerouted_jobs(self.state, self.action) if isinstance(self.action, Reroute) else []

    @cached_property
    def moved_from(self) -> Counter[str]:
        """How many of `moved` wait for which pool first."""
        return Counter(name for job in self.moved if (name := first_pool(self.facts, job)))

    @property
    def source_pools(self) -> list[str]:
        """The pools that the action takes something from: room, work or workers."""
        if self.shrinks_by and self.pool is not None:
            return [self.pool.spec.name]
        if self.stops_work and self.job is not None and self.job.attempt is not None:
            return [self.job.attempt.pool]
        if isinstance(self.action, Cordon) and self.worker is not None:
            return [self.worker.pool]
        return sorted(self.moved_from)

    def workers_of(self, pool: Pool) -> list[Worker]:
        return standing_workers(self.facts, pool)


Rule = Callable[[Case], Note | None]


def allow(rule: str, text: str) -> Note:
    return Note(rule, Ruling.allow, text)


def ask(rule: str, text: str) -> Note:
    return Note(rule, Ruling.ask, text)


def deny(rule: str, text: str) -> Note:
    return Note(rule, Ruling.deny, text)


def seconds(duration_ms: int) -> str:
    """For people: `12 s`, `4 min`."""
    whole = max(0, round(duration_ms / 1000))
    return f"{whole} s" if whole < 120 else f"{round(whole / 60)} min"
