"""The observation: what one supervisor cycle sees. Built from the state and fresh samples, in bounded work.

Counts are whole; lists are samples with limits of their own. Waits are measured on the longest waiting jobs, so where
there are more than the sample holds, the percentiles err on the side of waiting.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import sha256
from itertools import islice

import msgspec

from agentorch.core import fit
from agentorch.core.canonical import canonical
from agentorch.core.demand import Demand, demand, first_pool, fits, standing_workers
from agentorch.core.facts import Facts
from agentorch.core.guardrails.protection import SUPERVISOR
from agentorch.core.health import health_of, why_unhealthy
from agentorch.core.nodes import group_of, may_use
from agentorch.core.placement import Search, job_obstacle
from agentorch.core.queue import LineKey, line_key
from agentorch.core.state import State
from agentorch.model import limits
from agentorch.model.fleet import NodeState, Pool, PoolSpec, Worker, WorkerState
from agentorch.model.jobs import Job, Reason
from agentorch.model.observation import (
    DeviceSample,
    HistoryPoint,
    JobFacts,
    NodeFacts,
    Observation,
    PoolFacts,
    TenantFacts,
    WorkerFacts,
)
from agentorch.model.proposals import target_of
from agentorch.model.twin import Calibrated

#: Starts within this time count towards a pool's waits, beside what waits now.
WAIT_WINDOW_MS = 5 * limits.MINUTE_MS

#: Reasons beside which `preempted` is the more telling one, as in `core.explain`.
_ROOM_REASONS = frozenset({Reason.no_capacity, Reason.reserved, Reason.order})


def observe(state: State, devices: tuple[DeviceSample, ...], now_ms: int) -> Observation:
    """The next cycle's observation. Reads only; the caller records it."""
    facts = state.facts
    look = _Look(state, now_ms, devices)
    recent_ms = now_ms - facts.settings.cooldown_ms
    unsettled = (facts.proposals[name].action for name in facts.unsettled)
    running = [facts.jobs[name] for name in islice(facts.running, limits.OBSERVED_JOBS_MAX)]
    return Observation(
        cycle=facts.cycle + 1,
        seq=facts.seq,
        at_ms=now_ms,
        mode=facts.mode,
        guardrails=facts.settings,
        pools=tuple(look.pool(pool) for pool in facts.pools.values()),
        tenants=tuple(look.tenant(name) for name in islice(facts.tenants, limits.OBSERVED_TENANTS_MAX)),
        queued=tuple(look.job(job) for job in look.waiting[: limits.OBSERVED_JOBS_MAX]),
        running=tuple(look.job(job) for job in running),
        workers=_workers(facts),
        nodes=_nodes(facts, now_ms),
        devices=devices[: limits.OBSERVED_DEVICES_MAX],
        queued_total=len(state.queue),
        running_total=len(facts.running),
        open_targets=tuple(dict.fromkeys(target_of(action) for action in unsettled if action is not None)),
        recent_targets=tuple(dict.fromkeys(one.target for one in facts.acted if one.at_ms > recent_ms)),
        calibration=calibrated(facts)[-limits.OBSERVED_CALIBRATIONS_MAX :],
        alerted=tuple(one.text for one in facts.alerts if one.by == SUPERVISOR and one.at_ms > now_ms - limits.HOUR_MS),
    )


def calibrated(facts: Facts) -> tuple[Calibrated, ...]:
    """Of every brain and kind of action that was ever scored, the one scored last last."""
    known = ((key.rsplit("\0", 1), found) for key, found in facts.calibration.items())
    return tuple(Calibrated(brain, kind, found.scored, found.inside) for (brain, kind), found in known)


def pool_facts(state: State, pool: str, now_ms: int) -> PoolFacts:
    """One pool as of now, with the telemetry age of the newest observation. KeyError for one that is not there."""
    return _Look(state, now_ms, None).pool(state.facts.pools[pool])


def tenant_facts(state: State, tenant: str, now_ms: int) -> TenantFacts:
    """One tenant as of now. KeyError for one that is not there."""
    return _Look(state, now_ms, None).tenant(tenant)


def observation_sha256(observation: Observation) -> str:
    """Of its canonical JSON, as hex."""
    return sha256(msgspec.json.encode(canonical(observation), order="deterministic")).hexdigest()


def history_point(state: State, observation: Observation) -> HistoryPoint:
    """The observation boiled down for plots. The fleet's wait is that of the pool where it is worst."""
    available = sum(pool.available for pool in observation.pools)
    used = sum(pool.utilization_percent * pool.available for pool in observation.pools)
    return HistoryPoint(
        at_ms=observation.at_ms,
        queued=observation.queued_total,
        running=observation.running_total,
        wait_s_p95=max((pool.wait_s_p95 for pool in observation.pools), default=0.0),
        utilization_percent=round(used / available, 1) if available else 0.0,
        spent_usd_micros=state.facts.spent_usd_micros,
        burn_usd_micros_per_hour=sum(tenant.burn_usd_micros_per_hour for tenant in observation.tenants),
        pools={pool.name: (pool.wait_s_p95, pool.queued, pool.utilization_percent) for pool in observation.pools},
    )


class _Look:
    """What several parts of an observation share, measured once. `devices` None: no new samples were taken."""

    def __init__(self, state: State, now_ms: int, devices: tuple[DeviceSample, ...] | None) -> None:
        self.state = state
        self.facts: Facts = state.facts
        self.now_ms = now_ms
        self.demand: Demand = demand(state, now_ms)
        self.search = Search(self.facts, state.rooms, now_ms)
        self.waiting = state.queue.waiting_jobs(limits.OBSERVED_WAITING_SAMPLE)
        self.waits_now: dict[str, list[int]] = {}
        self.reasons: dict[LineKey, Reason] = {}
        self.first: dict[LineKey, str] = {}
        for job in self.waiting:
            if not job.waiting_on and job.not_before_ms <= now_ms:
                waits = self.waits_now.setdefault(self.first_pool(job), [])
                waits.append(max(0, now_ms - max(job.queued_ms, job.not_before_ms)))
        self.newest: dict[str, int] | None = None if devices is None else _newest_samples(devices)
        self.burn: dict[str, int] = {}
        self.running_in: dict[str, int] = {}
        for name in self.facts.running:
            job = self.facts.jobs[name]
            attempt = job.attempts[-1]
            self.burn[job.tenant] = self.burn.get(job.tenant, 0) + (attempt.price_usd_micros_per_hour or 0)
            self.running_in[attempt.pool] = self.running_in.get(attempt.pool, 0) + 1

    def first_pool(self, job: Job) -> str:
        key = line_key(job)
        if key not in self.first:
            self.first[key] = first_pool(self.facts, job)
        return self.first[key]

    def pool(self, pool: Pool) -> PoolFacts:
        spec = pool.spec
        workers = standing_workers(self.facts, pool)
        available = [worker for worker in workers if fit.takes_work(worker)]
        busy = sum(1 for worker in available if worker.running)
        group = group_of(self.facts, spec)
        now_waiting = self.waits_now.get(spec.name, [])
        since = bisect_left(pool.waits, (self.now_ms - WAIT_WINDOW_MS, 0))
        waits = sorted([*now_waiting, *(wait_ms for _, wait_ms in pool.waits[since:])])
        return PoolFacts(
            name=spec.name,
            workers=len(workers),
            available=len(available),
            busy=busy,
            idle=len(available) - busy,
            target=pool.target,
            min_workers=spec.min_workers,
            max_workers=spec.max_workers,
            price_usd_micros_per_hour=spec.price_usd_micros_per_hour,
            paused=pool.paused,
            protected=spec.protected,
            queued=self.demand.queued.get(spec.name, 0),
            running=self.running_in.get(spec.name, 0),
            need=self.demand.need.get(spec.name, 0),
            utilization_percent=_utilization(available),
            wait_s_p50=_percentile_s(waits, 50),
            wait_s_p95=_percentile_s(waits, 95),
            oldest_wait_s=max(now_waiting, default=0) / 1000,
            target_wait_s=spec.target_wait_ms / 1000,
            telemetry_age_s=self.telemetry_age_s(pool),
            failed_starts=pool.failed_starts,
            nodes=_standing_nodes(self.facts, spec),
            nodes_wanted=group.wanted if group is not None else None,
            provisioning_failures=group.failures if group is not None else 0,
            provisioning_retry_s=max(0, group.retry_ms - self.now_ms) / 1000 if group is not None else 0.0,
            provisioning_error=group.error if group is not None else "",
        )

    def telemetry_age_s(self, pool: Pool) -> float | None:
        """Of the node whose newest sample is oldest; None when a node was never sampled."""
        if self.newest is None:
            return None if pool.telemetry_ms is None else max(0, self.now_ms - pool.telemetry_ms) / 1000
        nodes = {self.facts.workers[name].node for name in pool.workers}
        if pool.spec.executor == "local" or not nodes:
            nodes = {"local"}
        times = [self.newest.get(node) for node in sorted(nodes)]
        known = [at_ms for at_ms in times if at_ms is not None]
        return max(0, self.now_ms - min(known)) / 1000 if len(known) == len(times) else None

    def tenant(self, name: str) -> TenantFacts:
        tenant = self.facts.tenants[name]
        return TenantFacts(
            name=name,
            hard_cap_usd_micros=tenant.spec.hard_cap_usd_micros,
            spent_usd_micros=tenant.spent_usd_micros,
            reserved_usd_micros=tenant.reserved_usd_micros,
            burn_usd_micros_per_hour=self.burn.get(name, 0),
            queued=tenant.queued,
            running=tenant.running,
            budget_blocked=self.demand.blocked.get(name, 0),
        )

    def job(self, job: Job) -> JobFacts:
        attempt = job.attempt if job.id in self.facts.running else None
        run_ms = self.now_ms - attempt.started_ms if attempt is not None and attempt.started_ms is not None else 0
        allowed = fit.allowed_pools(self.facts, job)
        fitting = tuple(name for name in allowed if fits(self.facts.pools[name].spec, job))
        return JobFacts(
            id=job.id,
            name=job.spec.name,
            tenant=job.tenant,
            tier=job.spec.tier,
            state=job.state,
            priority=job.priority,
            pool=attempt.pool if attempt is not None else self.first_pool(job),
            pools=fitting,
            worker=attempt.worker if attempt is not None else "",
            wait_s=max(0, self.now_ms - job.queued_ms) / 1000 if attempt is None else 0.0,
            run_s=max(0, run_ms) / 1000,
            remaining_s=_remaining_s(job, run_ms),
            deadline_in_s=None if job.deadline_ms is None else (job.deadline_ms - self.now_ms) / 1000,
            reason="" if attempt is not None else self.reason(job),
            preemptible=job.spec.preemptible,
        )

    def reason(self, job: Job) -> str:
        """Why it waits. Jobs of one line share all reasons but their own, so each line is asked once."""
        key = line_key(job)
        known = self.reasons.get(key)
        own = job.waiting_on or job.not_before_ms > self.now_ms or job.was_preempted
        if known is not None and not own:
            return known
        reason = job_obstacle(self.facts, job, self.now_ms)
        if reason is not None:
            return reason
        found = self.search.find(job)
        reason = found if isinstance(found, Reason) else Reason.order
        if not own:
            self.reasons[key] = reason
        elif job.was_preempted and reason in _ROOM_REASONS:
            return Reason.preempted
        return reason


def _newest_samples(devices: tuple[DeviceSample, ...]) -> dict[str, int]:
    """Per node the time of its newest CPU sample that could be read."""
    newest: dict[str, int] = {}
    for sample in devices:
        if sample.kind == "cpu" and sample.utilization_percent is not None:
            newest[sample.node] = max(newest.get(sample.node, 0), sample.at_ms)
    return newest


def _utilization(workers: list[Worker]) -> float:
    """Mean share of the scarcest resource in use, percent."""
    shares = []
    for worker in workers:
        cpu = worker.shape.cpu_milli
        used = [1 - worker.free_cpu_milli / cpu] if cpu else []
        if worker.devices:
            used.append(1 - len(worker.free_devices) / len(worker.devices))
        shares.append(max(used, default=0.0))
    return round(100 * sum(shares) / len(shares), 1) if shares else 0.0


def _percentile_s(ordered: list[int], percent: int) -> float:
    """Nearest rank, of milliseconds in ascending order, in seconds."""
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, rank - 1)] / 1000


def _remaining_s(job: Job, run_ms: int) -> float | None:
    """By its own progress, else by its longest duration; None = unknown."""
    if run_ms > 0 and job.progress_percent is not None and 0 < job.progress_percent <= 100:
        return round(run_ms * (100 - job.progress_percent) / job.progress_percent / 1000, 1)
    if job.spec.max_duration_ms is not None:
        return max(0, job.spec.max_duration_ms - run_ms) / 1000
    return None


def _workers(facts: Facts) -> tuple[WorkerFacts, ...]:
    """The ones that something is wrong with first."""
    workers = facts.workers.values()
    odd = [one for one in workers if _is_odd(facts, one)]
    names = dict.fromkeys(worker.id for worker in odd)
    names.update(dict.fromkeys(islice(facts.workers, limits.OBSERVED_WORKERS_MAX)))
    chosen = (facts.workers[name] for name in islice(names, limits.OBSERVED_WORKERS_MAX))
    return tuple(
        WorkerFacts(
            id=worker.id,
            pool=worker.pool,
            state=worker.state,
            cordoned=worker.cordoned,
            running=len(worker.running),
            failures=worker.failures,
            health=health_of(facts, worker),
            health_reason=why_unhealthy(facts, worker),
            devices_out=sum(1 for device in worker.devices if device in facts.device_faults),
        )
        for worker in chosen
    )


def _is_odd(facts: Facts, worker: Worker) -> bool:
    wrong = worker.failures or worker.cordoned or worker.suspect or worker.state is not WorkerState.up
    return bool(wrong) or any(device in facts.device_faults for device in worker.devices)


def _standing_nodes(facts: Facts, spec: PoolSpec) -> int:
    nodes = (node for node in facts.nodes.values() if spec.elastic and may_use(node, spec))
    return sum(1 for node in nodes if node.state is not NodeState.down and not node.released)


def _nodes(facts: Facts, now_ms: int) -> tuple[NodeFacts, ...]:
    """The ones that something is wrong with first."""
    odd = [node.id for node in facts.nodes.values() if node.state is not NodeState.up]
    names = dict.fromkeys([*odd, *islice(facts.nodes, limits.OBSERVED_NODES_MAX)])
    chosen = (facts.nodes[name] for name in islice(names, limits.OBSERVED_NODES_MAX))
    return tuple(
        NodeFacts(
            id=node.id,
            executor=node.executor,
            type=node.type,
            state=node.state,
            workers=tuple(node.workers),
            problem=node.problem,
            notice_in_s=None if node.notice_ms is None else (node.notice_ms - now_ms) / 1000,
        )
        for node in chosen
    )
