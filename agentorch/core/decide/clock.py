"""What time brings: a dispatch pass, and on each tick expiries, money running out, and workers that may go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core import fit, money
from agentorch.core.decide import nodes, supervision
from agentorch.core.decide.fleet import settle
from agentorch.core.decide.jobs import end, stop
from agentorch.core.placement import job_obstacle, pool_obstacle
from agentorch.core.schedule import schedule
from agentorch.core.turn import Turn
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.jobs import WAITING, Attempt, Cause, Job, JobState

#: A reservation is extended by this much at a time, when this little of it is left.
EXTENSION_MS = 15 * limits.MINUTE_MS
EXTEND_BEFORE_MS = limits.MINUTE_MS


def dispatch(turn: Turn, command: cmd.Schedule) -> int:
    """One pass; returns how many jobs started."""
    return schedule(turn)


def tick(turn: Turn, command: cmd.Tick) -> None:
    _give_up_waiting(turn)
    _pay_on(turn)
    _drop_idle_reservations(turn)
    nodes.tick(turn)
    for name, pool in list(turn.facts.pools.items()):
        if not pool.spec.elastic and (pool.retiring or pool.target != len(pool.workers)):
            settle(turn, name)
        if pool.spec.max_workers == 0 and not pool.workers:
            turn.emit(ev.PoolRemoved(at_ms=turn.now_ms, pool=name))
    supervision.tick(turn)


def _give_up_waiting(turn: Turn) -> None:
    """Jobs that waited longer than they were willing to have failed."""
    for job in turn.queue.lost_patience(turn.now_ms):
        if job.state in WAITING:  # the end of an earlier one may have ended this one as its dependant
            end(turn, job, JobState.failed, Cause.max_queue)


def _pay_on(turn: Turn) -> None:
    """Extend the reservations that run out; what can't be paid for is given its grace and stopped (G7)."""
    facts = turn.facts
    for name in list(turn.state.paying):
        job = facts.jobs[name]
        attempt = job.attempts[-1]
        price = attempt.price_usd_micros_per_hour or 0
        if job.stop_cause is not None or turn.now_ms < attempt.paid_until_ms - EXTEND_BEFORE_MS:
            continue
        if job.spec.max_duration_ms is not None and attempt.paid_until_ms >= _latest_end_ms(job, attempt):
            continue  # its time-out ends it before the money does
        add_ms = _affordable(turn, job, price)
        if add_ms > 0:
            turn.emit(
                ev.ReservationExtended(
                    at_ms=turn.now_ms,
                    job=name,
                    attempt=attempt.number,
                    add_usd_micros=money.cost_of(price, add_ms) or 0,
                    paid_until_ms=attempt.paid_until_ms + add_ms,
                )
            )
        elif turn.now_ms >= attempt.paid_until_ms - job.spec.grace_ms:
            stop(turn, name, Cause.budget, "budget")


def _latest_end_ms(job: Job, attempt: Attempt) -> int:
    return attempt.ordered_ms + (job.spec.max_duration_ms or 0)


def _affordable(turn: Turn, job: Job, price: int) -> int:
    room = [EXTENSION_MS]
    headroom = money.headroom(turn.facts.tenants[job.tenant])
    if headroom is not None:
        room.append(money.affordable_ms(price, headroom))
    if job.spec.max_cost_usd_micros is not None:
        left = job.spec.max_cost_usd_micros - job.cost_usd_micros - job.attempts[-1].reserved_usd_micros
        room.append(money.affordable_ms(price, left))
    return min(room)


def _drop_idle_reservations(turn: Turn) -> None:
    """Room is not kept for a job that could not take it, nor on a worker that takes nothing."""
    facts = turn.facts
    for name, worker_name in [(name, worker) for name, workers in facts.reserved.items() for worker in workers]:
        job, worker = facts.jobs.get(name), facts.workers[worker_name]
        if (
            job is None
            or job_obstacle(facts, job, turn.now_ms) is not None
            or not fit.takes_work(worker)
            or pool_obstacle(facts, job, facts.pools[worker.pool]) is not None
        ):
            turn.emit(ev.WorkerReserved(at_ms=turn.now_ms, worker=worker_name, job=""))


HANDLERS: dict[type, Callable[[Turn, Any], Any]] = {
    cmd.Schedule: dispatch,
    cmd.Tick: tick,
}
