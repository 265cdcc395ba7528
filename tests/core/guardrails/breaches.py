"""An independent judge: reads a ledger's events and says where the supervisor did what it never may.

Written from the laws, not from the guardrails: it imports none of them, keeps its own books and its own numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from agentorch.model import events as ev
from agentorch.model.jobs import JobSpec
from agentorch.model.proposals import (
    Action,
    AnswerKind,
    Cordon,
    Proposal,
    Reroute,
    Reschedule,
    Scale,
    Uncordon,
    target_of,
)

SUPERVISOR = "supervisor"
MINUTE = 60_000


class Books:
    """What is known of the world from the events so far, and every breach found."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.mode = "guarded"
        self.specs: dict[str, Any] = {}
        self.targets: dict[str, int] = {}
        self.paused: set[str] = set()
        self.grew: dict[str, int] = {}
        self.workers: dict[str, str] = {}
        self.retiring: set[str] = set()
        self.cordoned: set[str] = set()
        self.jobs: dict[str, JobSpec] = {}
        self.place: dict[str, tuple[str, int, int | None]] = {}  # job -> (pool, attempt, running since)
        self.kept: dict[str, str] = {}  # worker -> job that room is kept for
        self.needs: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.sampled: dict[str, int] = {}
        self.proposals: dict[str, Proposal] = {}
        self.states: dict[str, str] = {}
        self.answered: set[str] = set()  # by a person, with a yes
        self.acts: list[tuple[int, str, str]] = []  # (time, proposal, target)
        self.preempted: list[tuple[int, str]] = []
        self.acting: Action | None = None  # the action whose effects are being told

    def breach(self, text: str) -> None:
        self.found.append(text)


def breaches(events: list[ev.Event]) -> list[str]:
    """Every breach in this ledger, in words."""
    books = Books()
    for event in events:
        _doer(books, event)
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(books, event)
        waiting = sum(1 for state in books.states.values() if state == "open")
        if waiting > 20:
            books.breach(f"{waiting} approvals wait at {event.at_ms}")
    return books.found


def _doer(books: Books, event: ev.Event) -> None:
    """Whatever the supervisor does is the effect of an action that was begun in the same breath, and of that target."""
    if isinstance(event, ev.ActionStarted | ev.ActionEnded | ev.ProposalSuperseded):
        return
    by = getattr(event, "by", "")
    if by != SUPERVISOR:
        return
    if isinstance(event, ev.WorkerRetired):
        meant: bool = isinstance(books.acting, Scale) and books.workers[event.worker] == books.acting.pool
    elif isinstance(event, ev.PoolScaled):
        meant = books.acting == Scale(pool=event.pool, workers=event.workers)
    elif isinstance(event, ev.WorkerCordoned):
        meant = books.acting in (Cordon(worker=event.worker), Uncordon(worker=event.worker))
    elif isinstance(event, ev.JobRerouted):
        meant = isinstance(books.acting, Reroute) and books.acting.pool == event.pool
    elif isinstance(event, ev.JobChanged | ev.JobHeld | ev.JobReleased | ev.JobStopping):
        meant = isinstance(books.acting, Reschedule) and books.acting.job == event.job
    else:
        meant = isinstance(event, ev.AlertRaised)
    if not meant:
        books.breach(f"the supervisor did {type(event).__name__} outside of any action: {event}")


# -- the world


def _pool_configured(books: Books, event: ev.PoolConfigured) -> None:
    books.specs[event.spec.name] = event.spec
    books.targets.setdefault(event.spec.name, event.spec.workers)


def _pool_scaled(books: Books, event: ev.PoolScaled) -> None:
    if event.workers > books.targets[event.pool]:
        books.grew[event.pool] = event.at_ms
    books.targets[event.pool] = event.workers


def _pool_paused(books: Books, event: ev.PoolPaused) -> None:
    (books.paused.add if event.paused else books.paused.discard)(event.pool)


def _worker_added(books: Books, event: ev.WorkerAdded) -> None:
    books.workers[event.worker] = event.pool


def _worker_retired(books: Books, event: ev.WorkerRetired) -> None:
    if event.by == SUPERVISOR and event.worker in books.kept:
        books.breach(f"retired {event.worker}, which is kept for {books.kept[event.worker]}")
    books.kept.pop(event.worker, None)
    books.retiring.add(event.worker)


def _worker_removed(books: Books, event: ev.WorkerRemoved) -> None:
    del books.workers[event.worker]
    books.retiring.discard(event.worker)
    books.cordoned.discard(event.worker)


def _worker_cordoned(books: Books, event: ev.WorkerCordoned) -> None:
    (books.cordoned.add if event.cordoned else books.cordoned.discard)(event.worker)
    books.kept.pop(event.worker, None)


def _worker_reserved(books: Books, event: ev.WorkerReserved) -> None:
    books.kept.pop(event.worker, None)
    if event.job:
        books.kept[event.worker] = event.job


def _job_submitted(books: Books, event: ev.JobSubmitted) -> None:
    books.jobs[event.job] = event.spec


def _job_started(books: Books, event: ev.JobStarted) -> None:
    books.place[event.job] = (event.pool, event.attempt, None)
    books.kept = {worker: job for worker, job in books.kept.items() if job != event.job}


def _attempt_running(books: Books, event: ev.AttemptRunning) -> None:
    pool, attempt, since = books.place[event.job]
    books.place[event.job] = (pool, attempt, since or event.at_ms)


def _attempt_ended(books: Books, event: ev.AttemptEnded) -> None:
    del books.place[event.job]


def _job_rerouted(books: Books, event: ev.JobRerouted) -> None:
    spec, job = books.specs.get(event.pool), books.jobs[event.job].constraints
    if event.by != SUPERVISOR:
        return
    if spec is None or (job.pools and event.pool not in job.pools) or (job.regions and spec.region not in job.regions):
        books.breach(f"{event.job} was sent to {event.pool}, where it may not run")
    elif spec.protected or event.pool in books.paused:
        books.breach(f"{event.job} was sent to {event.pool}, which takes nothing")


def _observed(books: Books, event: ev.CycleObserved) -> None:
    seen = event.observation
    for pool in seen.pools:
        books.needs[pool.name].append((event.at_ms, pool.need))
    times = [one.at_ms for one in seen.devices if one.kind == "cpu" and one.utilization_percent is not None]
    if times:
        for pool in seen.pools:
            books.sampled[pool.name] = max(*times, books.sampled.get(pool.name, 0))


def _mode_changed(books: Books, event: ev.ModeChanged) -> None:
    books.mode = event.mode


# -- proposals


def _judged(books: Books, event: ev.ProposalJudged | ev.ProposalChanged) -> None:
    books.proposals[event.proposal.id] = msgspec.structs.replace(event.proposal)  # an edit is noted in the copy
    books.states[event.proposal.id] = event.proposal.state
    books.answered.discard(event.proposal.id)


def _settled(into: str) -> Callable[[Books, Any], None]:
    def settle(books: Books, event: Any) -> None:
        books.states[event.proposal] = into

    return settle


def _answered(books: Books, event: ev.ApprovalAnswered) -> None:
    proposal, answer = books.proposals[event.proposal], event.answer
    if books.states[event.proposal] != "open":
        books.breach(f"{event.proposal} was answered while {books.states[event.proposal]}")
    if event.at_ms >= proposal.expires_ms:
        books.breach(f"{event.proposal} was answered after it expired")
    if SUPERVISOR in answer.by:
        books.breach(f"the supervisor answered {event.proposal}")
    if answer.kind is AnswerKind.reject:
        books.states[event.proposal] = "rejected"
        return
    books.states[event.proposal] = "approved"
    books.answered.add(event.proposal)
    if answer.edited is not None:
        assert proposal.action is not None
        if target_of(answer.edited) != target_of(proposal.action):
            books.breach(f"an edit of {event.proposal} changed its target")
        proposal.action = answer.edited


def _started(books: Books, event: ev.ActionStarted) -> None:
    name, action = event.proposal, event.action
    proposal = books.proposals[name]
    target = target_of(action)
    if books.states[name] not in ("allowed", "approved"):
        books.breach(f"{name} was carried out while {books.states[name]}")
    if proposal.action != action:
        books.breach(f"{name} was carried out as something else")
    if books.mode in ("paused", "observe") or (books.mode == "approve" and name not in books.answered):
        books.breach(f"{name} was carried out in mode {books.mode}")
    if any(other == target and event.at_ms - at_ms < MINUTE for at_ms, _, other in books.acts):
        books.breach(f"{target} was acted on twice within a minute")
    if sum(1 for at_ms, _, _ in books.acts if event.at_ms - at_ms < 60 * MINUTE) >= 60:
        books.breach("more than 60 actions in an hour")
    if sum(1 for _, other, _ in books.acts if books.proposals[other].cycle == proposal.cycle) >= 5:
        books.breach(f"more than 5 actions of cycle {proposal.cycle}")
    books.acts.append((event.at_ms, name, target))
    books.states[name] = "acting"
    books.acting = action
    check = _ACTIONS.get(type(action))
    if check is not None:
        check(books, event, action)


def _ended(books: Books, event: ev.ActionEnded) -> None:
    books.states[event.proposal] = "done"
    books.acting = None


# -- actions


def _check_scale(books: Books, event: ev.ActionStarted, action: Scale) -> None:
    spec, now = books.specs[action.pool], books.targets[action.pool]
    if spec.protected:
        books.breach(f"{action.pool} is protected and was scaled")
    if not spec.min_workers <= action.workers <= spec.max_workers:
        books.breach(f"{action.pool} was scaled out of its bounds, to {action.workers}")
    if action.workers - now > max(2, now / 2) or now - action.workers > max(1, now / 10):
        books.breach(f"{action.pool} was scaled from {now} to {action.workers} in one step")
    if action.workers > now:
        if spec.price_usd_micros_per_hour is None and event.proposal not in books.answered:
            books.breach(f"{action.pool} grew at an unknown price without a person")
        return
    if event.at_ms - books.grew.get(action.pool, -(10**15)) < 10 * MINUTE:
        books.breach(f"{action.pool} shrank soon after it grew")
    seen = books.needs[action.pool]
    recent = [need for at_ms, need in seen if at_ms > event.at_ms - 5 * MINUTE]
    if not seen or seen[0][0] > event.at_ms - 5 * MINUTE or not recent or action.workers < max(recent):
        books.breach(f"{action.pool} shrank to {action.workers}, below a need of the last five minutes")
    _check_fresh(books, event, action.pool)


def _check_fresh(books: Books, event: ev.ActionStarted, pool: str) -> None:
    if event.at_ms - books.sampled.get(pool, 0) > 15_000:
        books.breach(f"{event.proposal} took from {pool} on stale telemetry")


def _check_reschedule(books: Books, event: ev.ActionStarted, action: Reschedule) -> None:
    if action.change == "priority" and not (action.priority is not None and 0 <= action.priority <= 100):
        books.breach(f"{action.job} got priority {action.priority}")
    if action.change in ("preempt", "requeue", "pause") and event.proposal not in books.answered:
        books.breach(f"{action.job} was stopped or held without a person")
    if action.change not in ("preempt", "requeue"):
        return
    spec = books.jobs[action.job]
    pool, _, since = books.place[action.job]
    if spec.tier == "realtime" or not spec.preemptible:
        books.breach(f"{action.job} is {spec.tier} and was stopped")
    if since is None or event.at_ms - since < MINUTE:
        books.breach(f"{action.job} was stopped before its minimum run time")
    if books.specs[pool].protected:
        books.breach(f"{action.job} runs in {pool}, which is protected, and was stopped")
    running = sum(1 for where, _, _ in books.place.values() if where == pool)
    lately = sum(1 for at_ms, where in books.preempted if where == pool and event.at_ms - at_ms < MINUTE)
    if lately + 1 > max(1, running / 10):
        books.breach(f"{lately + 1} of {running} jobs of {pool} were stopped at once")
    books.preempted.append((event.at_ms, pool))
    _check_fresh(books, event, pool)


def _check_cordon(books: Books, event: ev.ActionStarted, action: Cordon) -> None:
    pool = books.workers[action.worker]
    mine = [name for name, where in books.workers.items() if where == pool and name not in books.retiring]
    out = Counter(name in books.cordoned for name in mine)[True]
    if books.specs[pool].protected:
        books.breach(f"{action.worker} is of a protected pool and was cordoned")
    if out + 1 > max(1, len(mine) / 10):
        books.breach(f"{out + 1} of {len(mine)} workers of {pool} are cordoned at once")
    if event.proposal not in books.answered:
        books.breach(f"{action.worker} was cordoned without a person")
    if action.worker in books.kept:
        books.breach(f"{action.worker} was cordoned, and is kept for {books.kept[action.worker]}")


_ACTIONS: dict[type, Callable[[Books, ev.ActionStarted, Any], None]] = {
    Scale: _check_scale,
    Reschedule: _check_reschedule,
    Cordon: _check_cordon,
}

_HANDLERS: dict[type, Callable[[Books, Any], None]] = {
    ev.PoolConfigured: _pool_configured,
    ev.PoolScaled: _pool_scaled,
    ev.PoolPaused: _pool_paused,
    ev.WorkerAdded: _worker_added,
    ev.WorkerRetired: _worker_retired,
    ev.WorkerRemoved: _worker_removed,
    ev.WorkerCordoned: _worker_cordoned,
    ev.WorkerReserved: _worker_reserved,
    ev.JobSubmitted: _job_submitted,
    ev.JobStarted: _job_started,
    ev.AttemptRunning: _attempt_running,
    ev.AttemptEnded: _attempt_ended,
    ev.JobRerouted: _job_rerouted,
    ev.CycleObserved: _observed,
    ev.ModeChanged: _mode_changed,
    ev.ProposalJudged: _judged,
    ev.ProposalChanged: _judged,
    ev.ProposalSuperseded: _settled("superseded"),
    ev.ApprovalAnswered: _answered,
    ev.ApprovalExpired: _settled("expired"),
    ev.ProposalLapsed: _settled("lapsed"),
    ev.ActionRefused: _settled("denied"),
    ev.ActionStarted: _started,
    ev.ActionEnded: _ended,
}
