"""What must hold in every state. Checked after each step in tests, at each start, and by `verify`."""

from __future__ import annotations

from collections import Counter

from agentorch.core import reservations
from agentorch.core.facts import Facts
from agentorch.core.nodes import room_on
from agentorch.core.rooms import Rooms
from agentorch.core.state import State, homes, paying
from agentorch.core.yielding import Yielding
from agentorch.model import limits
from agentorch.model.fleet import NodeState, Worker, WorkerState
from agentorch.model.jobs import FINISHED, ON_WORKER, JobState
from agentorch.model.proposals import OPEN_STATES, ProposalState


def breaches(state: State) -> list[str]:
    """Every broken invariant, in words; empty when all hold. O(jobs + workers)."""
    facts = state.facts
    return [
        *_workers(facts),
        *_jobs(facts),
        *_tenants(facts),
        *_queue(state),
        *_indexes(state),
        *_pools(facts),
        *_gangs(facts),
        *_nodes(facts),
        *_proposals(facts),
    ]


def _workers(facts: Facts) -> list[str]:
    out = []
    for worker in facts.workers.values():
        cpu, memory, devices = worker.shape.cpu_milli, worker.shape.memory_bytes, list(worker.devices)
        for name in worker.running:
            job = facts.jobs.get(name)
            ranks = job.attempts[-1].ranks_on(worker.id) if job is not None and job.state in ON_WORKER else 0
            if job is None or not ranks:
                out.append(f"worker {worker.id} runs {name}, which does not run there")
                continue
            attempt = job.attempts[-1]
            cpu -= attempt.resources.cpu_milli * ranks
            memory -= attempt.resources.memory_bytes * ranks
            for device in (device for one in attempt.members if one.worker == worker.id for device in one.devices):
                if device not in devices:
                    out.append(f"device {device} is used twice, or is not of worker {worker.id}")
                else:
                    devices.remove(device)
        usable = [device for device in devices if device not in facts.device_faults]
        out.extend(_room(worker, cpu, memory, usable))
    return out


def _room(worker: Worker, cpu: int, memory: int, devices: list[str]) -> list[str]:
    out = []
    if (cpu, memory, devices) != (worker.free_cpu_milli, worker.free_memory_bytes, worker.free_devices):
        out.append(f"worker {worker.id} says free {worker.free_cpu_milli}m cpu; its jobs leave {cpu}m")
    if cpu < 0 or memory < 0:
        out.append(f"worker {worker.id} is overfull: {cpu}m cpu, {memory} bytes")
    return out


def _jobs(facts: Facts) -> list[str]:
    out = []
    on_worker = {name for worker in facts.workers.values() for name in worker.running}
    for job in facts.jobs.values():
        if (job.state in ON_WORKER) != (job.id in facts.running):
            out.append(f"{job.id} is {job.state} but the list of running jobs disagrees")
        if (job.state in ON_WORKER and job.attempts[-1].borrowed) != (job.id in facts.borrowed):
            out.append(f"{job.id} is {job.state} but the list of borrowers disagrees")
        if job.state in ON_WORKER and job.id not in on_worker:
            out.append(f"{job.id} is {job.state} on no worker")
        if (job.state in FINISHED) != (job.id in facts.finished):
            out.append(f"{job.id} is {job.state} but the list of finished jobs disagrees")
        if (job.state is JobState.held) != (job.id in facts.held):
            out.append(f"{job.id} is {job.state} but the list of held jobs disagrees")
        if job.state in FINISHED and job.ended_ms is None:
            out.append(f"{job.id} is {job.state} without an end")
        if job.cost_usd_micros < 0:
            out.append(f"{job.id} cost less than nothing")
    return out


def _tenants(facts: Facts) -> list[str]:
    waiting = Counter(job.tenant for job in facts.jobs.values() if job.state in (JobState.queued, JobState.held))
    running = Counter(facts.jobs[name].tenant for name in facts.running)
    reserved: Counter[str] = Counter()
    for name in facts.running:
        job = facts.jobs[name]
        reserved[job.tenant] += job.attempts[-1].reserved_usd_micros
    out = []
    for name, tenant in facts.tenants.items():
        if tenant.queued != waiting[name]:
            out.append(f"tenant {name} counts {tenant.queued} waiting jobs, there are {waiting[name]}")
        if tenant.running != running[name]:
            out.append(f"tenant {name} counts {tenant.running} running jobs, there are {running[name]}")
        if tenant.reserved_usd_micros != reserved[name]:
            out.append(f"tenant {name} reserves {tenant.reserved_usd_micros}, its jobs {reserved[name]}")
    return out


def _queue(state: State) -> list[str]:
    standing = state.queue.standing()
    queued = {job.id for job in state.facts.jobs.values() if job.state is JobState.queued}
    return [f"{name} is queued but stands nowhere" for name in sorted(queued - standing)] + [
        f"{name} stands in the queue but is not queued" for name in sorted(standing - queued)
    ]


def _indexes(state: State) -> list[str]:
    """They are what the facts make of them."""
    facts = state.facts
    checks = (
        ("rooms", state.rooms == Rooms(facts.workers.values())),
        ("homes", state.homes == homes(facts)),
        ("paying", list(state.paying) == list(paying(facts))),
        ("yielding", state.yielding == Yielding(facts) and state.yielding.is_sound()),
    )
    return [f"the index {name} is not what the facts make of it" for name, holds in checks if not holds]


def _pools(facts: Facts) -> list[str]:
    out = []
    for name, pool in facts.pools.items():
        retiring = sum(1 for worker in pool.workers if facts.workers[worker].state is WorkerState.retiring)
        if pool.retiring != retiring:
            out.append(f"pool {name} counts {pool.retiring} retiring workers, there are {retiring}")
        if any(facts.workers[worker].pool != name for worker in pool.workers):
            out.append(f"pool {name} lists a worker of another pool")
    listed = sum(len(pool.workers) for pool in facts.pools.values())
    if listed != len(facts.workers):
        out.append(f"pools list {listed} workers, there are {len(facts.workers)}")
    kept = [(job, worker) for job, workers in facts.reserved.items() for worker in workers]
    for job, worker in kept:
        if worker not in facts.workers or facts.workers[worker].reserved_for != job:
            out.append(f"room is kept for {job} on {worker}, which does not know")
    if len(kept) != sum(1 for worker in facts.workers.values() if worker.reserved_for):
        out.append("a worker keeps room for a job that nobody knows of")
    for pool in facts.pools.values():
        out.extend(reservations.breaches(facts, pool))
    devices = Counter(device for worker in facts.workers.values() for device in worker.devices)
    out.extend(f"device {device} belongs to {count} workers" for device, count in devices.items() if count > 1)
    return out


def _nodes(facts: Facts) -> list[str]:
    out = []
    for worker in facts.workers.values():
        home = facts.nodes.get(worker.node)
        pool = facts.pools[worker.pool]
        if home is None:
            if pool.spec.elastic and worker.state is not WorkerState.retiring:
                out.append(f"worker {worker.id} is on {worker.node}, which is no node")
        elif worker.id not in home.workers:
            out.append(f"worker {worker.id} is on node {home.id}, which does not list it")
        elif worker.node_state is not home.state:
            out.append(f"worker {worker.id} takes its node for {worker.node_state}, it is {home.state}")
    for node in facts.nodes.values():
        if any(name not in facts.workers or facts.workers[name].node != node.id for name in node.workers):
            out.append(f"node {node.id} lists a worker that is not there")
        elif node.state is NodeState.up:
            room = room_on(facts, node, standing_only=True)
            if room.cpu_milli < 0 or room.memory_bytes < 0:
                out.append(f"node {node.id} is overfull: {room.cpu_milli}m cpu, {room.memory_bytes} bytes")
        if node.released and node.workers:
            out.append(f"node {node.id} was let go with {len(node.workers)} workers on it")
    return out


def _gangs(facts: Facts) -> list[str]:
    """Each gang that lives meets at a port of its own on its first node."""
    out = []
    ports: dict[str, list[int]] = {}
    for name in facts.running:
        attempt = facts.jobs[name].attempts[-1]
        if attempt.ranks and len(attempt.ranks) != facts.jobs[name].spec.gang:
            out.append(f"{name} runs {len(attempt.ranks)} ranks of {facts.jobs[name].spec.gang}")
        if attempt.port:
            ports.setdefault(attempt.node, []).append(attempt.port)
    for node, taken in ports.items():
        if sorted(taken) != sorted(facts.ports.get(node, ())) or len(set(taken)) != len(taken):
            out.append(f"gangs on {node} meet at {sorted(taken)}, taken are {sorted(facts.ports.get(node, ()))}")
    out.extend(f"ports of {node} are taken by nobody" for node in facts.ports if node not in ports)
    return out


def _proposals(facts: Facts) -> list[str]:
    unsettled = {name for name, proposal in facts.proposals.items() if proposal.state in OPEN_STATES}
    out = [f"proposal {name} is unsettled but not listed" for name in sorted(unsettled - set(facts.unsettled))]
    out.extend(f"proposal {name} is listed as unsettled" for name in sorted(set(facts.unsettled) - unsettled))
    pending = sum(1 for name in unsettled if facts.proposals[name].state is ProposalState.open)
    if pending > limits.PENDING_APPROVALS_MAX:
        out.append(f"{pending} approvals are pending, at most {limits.PENDING_APPROVALS_MAX} may be")
    return out
