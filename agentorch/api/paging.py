"""Pages of jobs out of up to millions, newest first, without stalling the loop that schedules them."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from dataclasses import dataclass

from agentorch.api.access import Caller
from agentorch.api.views.jobs import job_document
from agentorch.core.facts import Facts
from agentorch.core.state import State
from agentorch.errors import Refused
from agentorch.model.jobs import FINISHED, ON_WORKER, WAITING, Job, JobState
from agentorch.runtime.source import Source
from agentorch.schemas.documents import JobPage

#: Jobs looked at between two turns of the event loop: about two milliseconds.
SLICE_JOBS = 5_000


@dataclass(frozen=True)
class JobFilter:
    """Empty fields filter nothing. `states`: any of them. `q`: part of the id, name or command."""

    states: frozenset[JobState] = frozenset()
    tenant: str = ""
    pool: str = ""
    label: tuple[str, str] | None = None
    q: str = ""

    def admits(self, job: Job) -> bool:
        if self.states and job.state not in self.states:
            return False
        if self.tenant and job.tenant != self.tenant:
            return False
        if self.pool and self.pool not in _pools_of(job):
            return False
        if self.label is not None and not _carries(job, *self.label):
            return False
        return not self.q or self.q in _text_of(job)

    @property
    def empty(self) -> bool:
        return not (self.states or self.tenant or self.pool or self.label or self.q)


def _pools_of(job: Job) -> tuple[str, ...]:
    """The pool it runs or ran in; of a job that waits, those that it was sent to or named."""
    if job.state in WAITING:
        return (job.route_pool,) if job.route_pool else job.spec.constraints.pools
    return (job.attempts[-1].pool,) if job.attempts else ()


def _carries(job: Job, key: str, value: str) -> bool:
    return key in job.spec.labels and (not value or job.spec.labels[key] == value)


def _text_of(job: Job) -> str:
    what = job.spec.entry.call if job.spec.entry is not None else " ".join(job.spec.command)
    return f"{job.id} {job.spec.name} {what}".lower()


def job_filter(caller: Caller, *, state: str, tenant: str, pool: str, label: str, q: str) -> JobFilter:
    """From query parameters: `state` may name several, with commas, or `live` and `finished`; `label` is `key=value`
    or `key`. Raises Refused("invalid"). A caller bound to a tenant gets that tenant's jobs and no others.
    """
    states: set[JobState] = set()
    for word in filter(None, (part.strip() for part in state.split(","))):
        if word == "live":
            states |= WAITING | ON_WORKER
        elif word == "finished":
            states |= FINISHED
        elif word in JobState.__members__:
            states.add(JobState(word))
        else:
            raise Refused("invalid", f"state: {word!r} is none of {', '.join(JobState)}, live, finished")
    if caller.tenant and tenant and tenant != caller.tenant:
        raise Refused("not_found", f"there is no tenant {tenant!r}")
    key, _, value = label.partition("=")
    return JobFilter(frozenset(states), caller.tenant or tenant, pool, (key, value) if label else None, q.lower())


def _candidates(facts: Facts, wanted: JobFilter) -> list[str]:
    """Ids in submit order among which the filter's jobs are: the smallest index that holds them all."""
    for states, index in ((ON_WORKER, facts.running), ({JobState.held}, facts.held), (FINISHED, facts.finished)):
        if wanted.states and wanted.states <= states:
            found = [name for name in index if name in facts.jobs]
            return sorted(found, key=lambda name: facts.jobs[name].number)
    return list(facts.jobs)


async def job_page(source: Source, wanted: JobFilter, cursor: str, limit: int) -> JobPage:
    """Jobs older than the cursor, newest first. `total` counts all that the filter admits."""
    state = await source.view()
    names = _candidates(state.facts, wanted)
    end = len(names) if not cursor else _before(state, names, cursor)
    if wanted.empty:
        chosen, total = names[max(0, end - limit) : end][::-1], len(names)
    else:
        chosen, total = await _scan(source, names, wanted, end, limit)
        state = await source.view()
    jobs = [job for name in chosen if (job := state.facts.jobs.get(name)) is not None]
    now_ms = source.now_ms()
    more = len(chosen) == limit and (not wanted.empty or end > limit)
    return JobPage(
        items=[job_document(state, job, now_ms) for job in jobs],
        next=str(jobs[-1].number) if more and jobs else None,
        total=total,
    )


def _before(state: State, names: list[str], cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 16):
        raise Refused("invalid", "cursor: expected the `next` of an earlier page")
    jobs = state.facts.jobs
    return bisect_left(names, int(cursor), key=lambda name: jobs[name].number)


async def _scan(source: Source, names: list[str], wanted: JobFilter, end: int, limit: int) -> tuple[list[str], int]:
    """Look at every candidate, newest first, giving way to the loop between slices."""
    chosen: list[str] = []
    total = 0
    for stop in range(len(names), 0, -SLICE_JOBS):
        jobs = (await source.view()).facts.jobs
        for position in range(stop - 1, max(0, stop - SLICE_JOBS) - 1, -1):
            job = jobs.get(names[position])
            if job is not None and wanted.admits(job):
                total += 1
                if position < end and len(chosen) < limit:
                    chosen.append(job.id)
        await asyncio.sleep(0)
    return chosen, total
