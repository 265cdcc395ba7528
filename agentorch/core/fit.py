"""Where a job may go and where it fits. Every question has one function; the scheduler, `explain` and the guardrails
ask the same ones."""

from __future__ import annotations

from agentorch.core.facts import Facts
from agentorch.model import limits
from agentorch.model.fleet import NodeState, Pool, PoolSpec, Worker, WorkerState
from agentorch.model.jobs import Constraints, Job, Resources


def constraint_breach(spec: PoolSpec, within: Constraints) -> str:
    """Which constraint keeps a job out of this pool, in words; "" when none does (G9)."""
    if within.pools and spec.name not in within.pools:
        return f"allowed pools are {', '.join(within.pools)}"
    return place_breach(spec, within)


def place_breach(spec: PoolSpec, within: Constraints) -> str:
    """As `constraint_breach`, whatever pools are allowed by name."""
    if within.regions and spec.region not in within.regions:
        return f"region {spec.region} is not among {', '.join(within.regions)}"
    if spec.spot and not within.spot_ok:
        return "spot workers are not accepted"
    missing = [f"{key}={value}" for key, value in within.labels if (key, value) not in spec.labels]
    return f"the pool lacks label {', '.join(missing)}" if missing else ""


def allowed_pools(facts: Facts, job: Job) -> list[str]:
    """Pools that the job's constraints allow, whoever asks; a reroute is not counted. Cheapest first."""
    names = [name for name, pool in facts.pools.items() if not constraint_breach(pool.spec, job.spec.constraints)]
    return sorted(names, key=lambda name: price_rank(facts.pools[name]))


def candidate_pools(facts: Facts, job: Job) -> list[str]:
    """`allowed_pools`, narrowed to the pool that the job was rerouted to, if any."""
    allowed = allowed_pools(facts, job)
    return [job.route_pool] if job.route_pool and job.route_pool in allowed else allowed


def price_rank(pool: Pool) -> tuple[bool, int]:
    """Cheapest first, unknown prices last; ties keep the order of the configuration."""
    price = pool.spec.price_usd_micros_per_hour
    return (price is None, price or 0)


def could_fit(shape: Resources, need: Resources) -> bool:
    """Whether an empty worker of this shape is big enough."""
    return (
        need.cpu_milli <= shape.cpu_milli
        and need.memory_bytes <= shape.memory_bytes
        and need.gpus <= shape.gpus
        and (not need.gpus or gpu_matches(shape, need))
    )


def gpu_matches(shape: Resources, need: Resources) -> bool:
    """Whether the GPUs of this shape are of the model and size asked for."""
    return need.gpu_memory_bytes <= shape.gpu_memory_bytes and need.gpu_model.lower() in shape.gpu_model.lower()


def takes_work(worker: Worker) -> bool:
    """Whether anything new may be placed on the worker at all."""
    return (
        worker.state is WorkerState.up
        and worker.node_state is NodeState.up
        and not worker.cordoned
        and not worker.suspect
    )


def has_room(worker: Worker, need: Resources) -> bool:
    """Whether the worker is big enough with what runs there now."""
    return (
        need.cpu_milli <= worker.free_cpu_milli
        and need.memory_bytes <= worker.free_memory_bytes
        and need.gpus <= len(worker.free_devices)
        and could_fit(worker.shape, need)
    )


def could_hold(spec: PoolSpec, job: Job) -> bool:
    """Whether the pool could ever have room for the job, for all ranks of a gang at once."""
    gang = job.spec.gang
    if gang == 1:
        return spec.max_workers > 0 and could_fit(spec.shape, job.resources)
    return spec.max_workers * at_once(spec.shape, job.resources) >= gang


def at_once(shape: Resources, need: Resources) -> int:
    """How many times `need` an empty worker of this shape holds, at most `GANG_MAX`; 0 when it is too small."""
    if not could_fit(shape, need):
        return 0
    return times(shape.cpu_milli, shape.memory_bytes, shape.gpus, need)


def rooms(worker: Worker, need: Resources) -> int:
    """How many times `need` fits on the worker with what runs there now, at most `GANG_MAX`."""
    if not has_room(worker, need):
        return 0
    return times(worker.free_cpu_milli, worker.free_memory_bytes, len(worker.free_devices), need)


def times(cpu: int, memory: int, gpus: int, need: Resources) -> int:
    found = limits.GANG_MAX
    if need.cpu_milli > 0:
        found = min(found, cpu // need.cpu_milli)
    if need.memory_bytes > 0:
        found = min(found, memory // need.memory_bytes)
    if need.gpus > 0:
        found = min(found, gpus // need.gpus)
    return max(0, found)


def free_at(facts: Facts, worker: Worker, need: Resources, ranks: int = 1) -> int | None:
    """When the worker will have room for so many times `need` if every job there takes its longest duration.

    0 = now; None = unknown, because a job in the way named no duration.
    """
    return next((at_ms for at_ms, there in rooms_over_time(facts, worker, need) if there >= ranks), None)


def rooms_over_time(
    facts: Facts, worker: Worker, need: Resources, guess_ms: int | None = None
) -> list[tuple[int, int]]:
    """(time, how many times `need` fits from then on) as jobs there reach their longest durations, from (0, now) on.

    Ends of jobs that named no duration are unknown, and left out. With a present time to guess at, such a job is taken
    to run on for as long as it has: half of what has lasted for so long does not (Gott, Nature 363, 1993).
    """
    cpu, memory, gpus = worker.free_cpu_milli, worker.free_memory_bytes, len(worker.free_devices)
    found = [(0, times(cpu, memory, gpus, need))]
    ends: list[tuple[int, int, Resources]] = []
    for name in worker.running:
        job = facts.jobs[name]
        attempt = job.attempts[-1]
        if job.spec.max_duration_ms is not None:
            end_ms = (attempt.started_ms or attempt.ordered_ms) + job.spec.max_duration_ms
        elif guess_ms is not None:
            end_ms = 2 * guess_ms - (attempt.started_ms or attempt.ordered_ms)
        else:
            continue
        ends.append((end_ms, attempt.ranks_on(worker.id), attempt.resources))
    for end_ms, ranks, held in sorted(ends, key=lambda item: item[0]):
        cpu, memory, gpus = cpu + ranks * held.cpu_milli, memory + ranks * held.memory_bytes, gpus + ranks * held.gpus
        found.append((end_ms, times(cpu, memory, gpus, need)))
    return found


def describe_job(job: Job) -> str:
    """For people: as `describe`, with the number of ranks of a gang: `4 x 2 cpus at once`."""
    gang = job.spec.gang
    return describe(job.resources) if gang == 1 else f"{gang} x {describe(job.resources)} at once"


def describe(need: Resources) -> str:
    """For people: `2 cpus, 4.0 GiB, 1 GPU`."""
    parts = [f"{need.cpu_milli / 1000:g} cpu{'s' if need.cpu_milli != 1000 else ''}"]
    if need.memory_bytes:
        parts.append(f"{need.memory_bytes / 2**30:.1f} GiB")
    if need.gpus:
        model = f" {need.gpu_model}" if need.gpu_model else ""
        parts.append(f"{need.gpus}{model} GPU{'s' if need.gpus != 1 else ''}")
    return ", ".join(parts)
