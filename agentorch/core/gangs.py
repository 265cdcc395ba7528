"""Gangs: several ranks of one job at once, all or nothing, in one pool. Where they go, and where they meet.

Ranks of a node follow each other, so that rank, node rank and rank on the node count as launchers of such programs do
(docs.pytorch.org/docs/stable/elastic/run.html).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import TypeVar

from agentorch.core import fit, reservations
from agentorch.core.facts import Facts
from agentorch.core.predicates import Reckoned, kept_for_other
from agentorch.core.rooms import Rooms
from agentorch.model import limits
from agentorch.model.fleet import Pool, Worker
from agentorch.model.jobs import Attempt, Job, Place, Reason, Resources

T = TypeVar("T")

#: A worker, and how many ranks go there.
Seats = list[tuple[Worker, int]]

#: Workers with room that are compared for the fewest nodes, where the first of them do not suffice already.
COMPARED_WORKERS = 256

#: Of a node that named no address: the machine itself.
LOOPBACK = "127.0.0.1"


def workers_in(
    facts: Facts, job: Job, workers: Iterable[Worker], now_ms: int, reckoned: Reckoned
) -> tuple[Worker, ...] | Reason:
    """One of these workers for each rank, or why there are none: no capacity, or room kept.

    They all have room, and come with the most first. On the fewest nodes of those that are compared, and the last ranks
    where they leave the least room.
    """
    gang = job.spec.gang
    free = kept = 0
    seats: Seats = []
    for worker in workers:
        ranks = min(gang, fit.rooms(worker, job.resources))
        if worker.reserved_for and kept_for_other(facts, job, worker, now_ms, reckoned):
            kept += ranks
            continue
        seats.append((worker, ranks))
        free += ranks
        if free >= gang and len(seats) >= COMPARED_WORKERS:
            break
    if free < gang:
        return Reason.reserved if free + kept >= gang else Reason.no_capacity
    seats.sort(key=lambda seat: seat[0].number)  # ties go to the oldest
    packed = pack(seats, gang)
    if not free_port(facts, packed[0][0].node):
        return Reason.no_capacity
    return tuple(worker for worker, ranks in packed for _ in range(ranks))


def room(facts: Facts, job: Job, pool: Pool) -> int:
    """How many ranks would fit in the pool now, whatever is kept."""
    workers = (facts.workers[name] for name in pool.workers)
    return sum(min(job.spec.gang, fit.rooms(one, job.resources)) for one in workers if fit.takes_work(one))


def pack(seats: Seats, gang: int) -> Seats:
    """Seats for all ranks out of enough: on the fewest nodes, there on the fewest workers."""
    nodes: dict[str, Seats] = {}
    for worker, ranks in seats:
        nodes.setdefault(worker.node, []).append((worker, ranks))
    chosen: Seats = []
    whole = [(there, sum(ranks for _, ranks in there)) for there in nodes.values()]
    for there, ranks in _fewest(whole, gang):
        chosen += _fewest(there, ranks)
    return chosen


def _fewest(options: Sequence[tuple[T, int]], wanted: int) -> list[tuple[T, int]]:
    """The fewest options that give what is wanted: the biggest, and last the smallest that gives the rest."""
    ordered = sorted(options, key=lambda option: -option[1])
    chosen: list[tuple[T, int]] = []
    for index, (option, size) in enumerate(ordered):
        if size >= wanted:
            last = next(one for one in reversed(ordered[index:]) if one[1] >= wanted)
            chosen.append((last[0], wanted))
            break
        chosen.append((option, size))
        wanted -= size
    return chosen


def places(workers: Sequence[Worker], gpus: int, *, nodes: bool) -> tuple[Place, ...]:
    """Where each rank goes, with GPUs of its own out of its worker's free ones; by node where there are `nodes`."""
    taken: dict[str, int] = {}
    found = []
    for worker in workers:
        first = taken.get(worker.id, 0)
        taken[worker.id] = first + gpus
        devices = tuple(worker.free_devices[first : first + gpus])
        found.append(Place(worker.id, worker.node if nodes else "", devices))
    return tuple(found)


def free_port(facts: Facts, node: str) -> int:
    """A port at which no living gang meets on this node: the one after that given last; 0 when all are taken.

    Going on from the last keeps a port out of use for as long as possible, for the kernel may hold a closed one back.
    """
    taken = set(facts.ports.get(node, ()))
    since = max(0, facts.last_port - limits.GANG_PORT_FIRST + 1)
    for step in range(limits.GANG_PORTS):
        port = limits.GANG_PORT_FIRST + (since + step) % limits.GANG_PORTS
        if port not in taken:
            return port
    return 0


def environments(facts: Facts, attempt: Attempt) -> list[dict[str, str]]:
    """How each rank finds the others: in our words, and in those of torchrun
    (docs.pytorch.org/docs/stable/elastic/run.html), so that a program written for it starts as it is.
    """
    ranks = attempt.ranks
    nodes = [rank.node for rank in ranks]
    addresses = [_address(facts, node) for node in nodes]
    shared = {
        "AGENTORCH_WORLD_SIZE": str(len(ranks)),
        "AGENTORCH_GANG_NODES": ",".join(nodes),
        "AGENTORCH_GANG_ADDRESSES": ",".join(addresses),
        "MASTER_ADDR": addresses[0],
        "MASTER_PORT": str(attempt.port),
        "WORLD_SIZE": str(len(ranks)),
    }
    order = {node: index for index, node in enumerate(dict.fromkeys(nodes))}
    sizes = Counter(nodes)
    there: Counter[str] = Counter()
    found = []
    for number, node in enumerate(nodes):
        own = {
            "AGENTORCH_RANK": str(number),
            "RANK": str(number),
            "LOCAL_RANK": str(there[node]),
            "LOCAL_WORLD_SIZE": str(sizes[node]),
            "NODE_RANK": str(order[node]),
            "GROUP_RANK": str(order[node]),
        }
        there[node] += 1
        found.append(shared | own)
    return found


def _address(facts: Facts, node: str) -> str:
    known = facts.nodes.get(node)
    return known.address if known is not None and known.address else LOOPBACK


def visible_devices(attempt: Attempt, number: int) -> tuple[str, ...]:
    """GPUs that a rank sees, where these are more than its own: with one each, those of all ranks on its node.

    Programs written for torchrun pick the GPU whose index is LOCAL_RANK, and NCCL wants to see its neighbours (Ray
    Train shares them likewise: docs.ray.io, `share_cuda_visible_devices`). With several each, a rank sees its own.
    """
    own = attempt.ranks[number]
    if len(own.devices) != 1:
        return ()
    return tuple(device for rank in attempt.ranks if rank.node == own.node for device in rank.devices)


def compared(rooms: Rooms, job: Job, pool: Pool) -> Sequence[str]:
    """The workers of the pool among which room to keep is looked for: of very many those with the most room."""
    most = max(COMPARED_WORKERS, 2 * job.spec.gang)
    if len(pool.workers) <= most:
        return pool.workers
    nothing = Resources(cpu_milli=0)
    return list(islice(dict.fromkeys(chain(islice(rooms.widest(pool.spec.name, nothing), most), pool.workers)), most))


def seats_to_keep(
    facts: Facts, job: Job, pool: Pool, among: Sequence[str], guess_ms: int | None = None
) -> tuple[int, Seats] | None:
    """Where of these workers the gang will have room first: (when, seats to keep for it).

    None when the ends that are known, or guessed at (`fit.rooms_over_time`), do not suffice, or they are too few.
    """
    need, gang = job.resources, job.spec.gang
    seats: dict[str, int] = {}
    later: list[tuple[int, str, int]] = []
    workers = [facts.workers[name] for name in among]
    workers = [worker for worker in workers if fit.takes_work(worker) and fit.could_fit(worker.shape, need)]
    for worker in reservations.lasting(facts, job, pool, workers):
        steps = fit.rooms_over_time(facts, worker, need, guess_ms)
        seats[worker.id] = min(gang, steps[0][1])
        later += [(at_ms, worker.id, min(gang, ranks)) for at_ms, ranks in steps[1:]]
    total, when_ms = sum(seats.values()), 0
    for at_ms, name, ranks in sorted(later):
        if total >= gang:
            break
        total, when_ms = total + ranks - seats[name], at_ms
        seats[name] = ranks
    if total < gang:
        return None
    return when_ms, pack([(facts.workers[name], ranks) for name, ranks in seats.items() if ranks], gang)
