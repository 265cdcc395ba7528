"""The independent checker: it reads what is durable, and what really runs, and knows nothing of the core's own books.

It keeps a second account of jobs, money, rooms and approvals, written down from the events alone, and says what breaks
a promise. Nothing here depends on the order in which the scheduler starts work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agentorch.ledger import codec
from agentorch.ledger.chain import Row
from agentorch.model import events as ev
from agentorch.model.attempts import AttemptSpec, parse_attempt_id
from agentorch.model.fleet import NodeState, PoolSpec
from agentorch.model.jobs import Cause, JobSpec, Tier
from tests.simulated.accounts import Payer, Room, Try, Work, names
from tests.simulated.approvals import Approvals

#: Beside its grace, until what was stopped must be gone: machines are cut off and the runtime is down only so long.
STOP_SLACK_MS = 240_000
QUIET_SLACK_MS = 60_000  # once nothing fails any more


class Checker:
    """Feed it every durable row. `broken` is called with each breach; `runs` tells which attempts really run now."""

    def __init__(
        self, broken: Callable[[str], None], runs: Callable[[], list[str]], true_ms: Callable[[], int]
    ) -> None:
        self.broken = broken
        self.runs = runs
        self.true_ms = true_ms
        self.quiet_from_ms = 1 << 62
        self.hashes: list[bytes] = []
        self.seq = 0
        self.at_ms = 0
        self.epoch = 0
        self.jobs: dict[str, Work] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.payers: dict[str, Payer] = {}
        self.pools: dict[str, PoolSpec] = {}
        self.paused: dict[str, bool] = {}
        self.rooms: dict[str, Room] = {}
        self.nodes: dict[str, NodeState] = {}
        self.approvals = Approvals(broken, self._running_in)

    # -- the ledger

    def recovered(self, rows: Sequence[Row]) -> None:
        """A new start found these: everything that was durable, and perhaps what nobody was told of."""
        found = [row.hash for row in rows]
        if found[: len(self.hashes)] != self.hashes:
            self.broken(f"of {len(self.hashes)} durable commits, {len(found)} are there after a restart, or others")
        for row in rows[len(self.hashes) :]:
            self.durable(row)

    def durable(self, row: Row) -> None:
        self.hashes.append(row.hash)
        events = codec.decode(row.codec, row.body, row.first, row.count)
        self.approvals.begin(events)
        for seq, event in enumerate(events, row.first):
            if seq != self.seq + 1:
                self.broken(f"sequence {seq} follows {self.seq}")
            self.seq = seq
            if event.at_ms < self.at_ms:
                self.broken(f"time runs backwards at {seq}: {event.at_ms} after {self.at_ms}")
            self.at_ms = event.at_ms
            handler = _HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)
            self.approvals.see(event)

    def _work(self, name: str, event: object) -> Work:
        if name not in self.jobs:
            self.broken(f"{type(event).__name__} of {name}, which nobody submitted")
            self.jobs[name] = Work(name, "", JobSpec())
        return self.jobs[name]

    def _started_runtime(self, event: ev.RuntimeStarted) -> None:
        if event.epoch <= self.epoch:
            self.broken(f"epoch {event.epoch} after {self.epoch}")
        self.epoch = event.epoch

    def _tenant(self, event: ev.TenantConfigured) -> None:
        known = self.payers.setdefault(event.spec.name, Payer(event.spec))
        known.spec = event.spec

    def _pool(self, event: ev.PoolConfigured) -> None:
        self.pools[event.spec.name] = event.spec

    def _scaled(self, event: ev.PoolScaled) -> None:
        spec = self.pools[event.pool]
        if not spec.min_workers <= event.workers <= spec.max_workers:
            self.broken(f"{event.pool} is set to {event.workers} of {spec.min_workers} to {spec.max_workers} workers")

    def _pool_paused(self, event: ev.PoolPaused) -> None:
        self.paused[event.pool] = event.paused

    def _added(self, event: ev.WorkerAdded) -> None:
        shape = event.shape
        self.rooms[event.worker] = Room(
            event.pool, event.node, shape.cpu_milli, shape.memory_bytes, list(event.devices)
        )
        mine = (room for room in self.rooms.values() if room.pool == event.pool and not room.retiring)
        there = sum(1 for room in mine if self.nodes.get(room.node) is not NodeState.down)
        if there > self.pools[event.pool].max_workers:
            self.broken(f"{event.pool} has {there} workers, at most {self.pools[event.pool].max_workers} may be")

    def _retired(self, event: ev.WorkerRetired) -> None:
        self.rooms[event.worker].retiring = True

    def _removed(self, event: ev.WorkerRemoved) -> None:
        busy = [work.id for work in self.jobs.values() if work.live and self._is_on(work.live, event.worker)]
        if busy:
            self.broken(f"worker {event.worker} is removed under {busy}")
        del self.rooms[event.worker]

    def _cordoned(self, event: ev.WorkerCordoned) -> None:
        self.rooms[event.worker].cordoned = event.cordoned

    def _repaired(self, event: ev.WorkerRepaired) -> None:
        self.rooms[event.worker].cordoned = False

    def _node(self, event: ev.NodeSeen) -> None:
        known = event.listed or event.state is NodeState.down
        self.nodes[event.node] = event.state if known else NodeState.suspect

    def _node_gone(self, event: ev.NodeRemoved) -> None:
        self.nodes.pop(event.node, None)

    # -- jobs

    def _submitted(self, event: ev.JobSubmitted) -> None:
        if event.job in self.jobs:
            self.broken(f"{event.job} is submitted twice")
        self.jobs[event.job] = Work(event.job, event.tenant, event.spec)
        if event.idempotency_key:
            other = self.keys.setdefault((event.tenant, event.idempotency_key), event.job)
            if other != event.job:
                self.broken(f"key {event.idempotency_key} of {event.tenant} made {other} and {event.job}")

    def _held(self, event: ev.JobHeld) -> None:
        self._work(event.job, event).held = True

    def _released(self, event: ev.JobReleased) -> None:
        self._work(event.job, event).held = False

    def _started(self, event: ev.JobStarted) -> None:
        work = self._work(event.job, event)
        self._check_start(work, event)
        places = [(event.worker, event.devices), *((place.worker, place.devices) for place in event.ranks)]
        kept = self._kept_workers(event.pool)
        work.tries[event.attempt] = Try(
            event.attempt,
            event.worker,
            event.pool,
            places,
            event.resources.cpu_milli,
            event.resources.memory_bytes,
            event.reserved_usd_micros,
            event.paid_until_ms,
        )
        payer, spec = self.payers[work.tenant], self.pools[event.pool]
        payer.running += 1
        payer.reserved += event.reserved_usd_micros
        if payer.spec.max_running is not None and payer.running > payer.spec.max_running:
            self.broken(f"{work.tenant} runs {payer.running} jobs, at most {payer.spec.max_running} may run")
        if event.reserved_usd_micros:
            self._check_money(work, event.reserved_usd_micros)
        for worker, devices in places:
            self._check_place(event, worker, devices)
        for one, before, after in zip(spec.reservations, kept, self._kept_workers(event.pool), strict=True):
            if not names(one, work) and after < min(before, one.workers):
                self.broken(f"{event.job}.{event.attempt} takes room of {event.pool} that is reserved: {one}")

    def _check_start(self, work: Work, event: ev.JobStarted) -> None:
        name = f"{event.job}.{event.attempt}"
        if work.over is not None:
            self.broken(f"{name} starts though the job has {work.over}")
        if work.live is not None:
            self.broken(f"{name} starts while attempt {work.live.number} has not ended")
        if work.cancelled:
            self.broken(f"{name} starts though somebody was told that it is cancelled")
        if work.held:
            self.broken(f"{name} starts though it is held")
        if event.attempt != max(work.tries, default=0) + 1:
            self.broken(f"{name} follows attempt {max(work.tries, default=0)}")
        running = [one for one in self.runs() if parse_attempt_id(one)[0] == event.job]
        if running:
            self.broken(f"{name} starts while {running} still runs")
        wanted = work.spec.constraints
        spec = self.pools[event.pool]
        borrows = event.borrowed and wanted.borrow and spec.lends
        if (wanted.pools and event.pool not in wanted.pools and not borrows) or (
            wanted.regions and spec.region not in wanted.regions
        ):
            self.broken(f"{name} starts in {event.pool} ({spec.region}), outside of {wanted}")
        if self.paused.get(event.pool):
            self.broken(f"{name} starts in {event.pool}, which is paused")

    def _running_in(self, pool: str) -> int:
        return sum(1 for work in self.jobs.values() if work.live is not None and work.live.pool == pool)

    def _kept_workers(self, pool: str) -> list[int]:
        """For each reservation of a pool: workers that could be used for it, or are, and for nothing else."""
        running: dict[str, list[Work]] = {}
        for work in self.jobs.values():
            if work.live is not None:
                for worker, _ in work.live.places:
                    running.setdefault(worker, []).append(work)
        rooms = {name: room for name, room in self.rooms.items() if room.pool == pool}
        return [
            sum(
                all(names(one, work) for work in running[name])
                if name in running
                else not (room.cordoned or room.retiring)
                for name, room in rooms.items()
            )
            for one in self.pools[pool].reservations
        ]

    def _check_place(self, event: ev.JobStarted, worker: str, devices: tuple[str, ...]) -> None:
        name = f"{event.job}.{event.attempt}"
        room = self.rooms.get(worker)
        if room is None or room.pool != event.pool:
            self.broken(f"{name} starts on {worker}, which is not there")
            return
        if room.cordoned or room.retiring or self.nodes.get(room.node, NodeState.up) is not NodeState.up:
            self.broken(f"{name} starts on {worker}, which takes no work")
        cpu = memory = 0
        taken: list[str] = []
        for work in self.jobs.values():
            if work.live is None:
                continue
            for other, used in work.live.places:
                if other == worker:
                    cpu += work.live.cpu_milli
                    memory += work.live.memory_bytes
                    taken += used
        if cpu > room.cpu_milli or memory > room.memory_bytes:
            self.broken(f"{name} makes {worker} overfull: {cpu}m of {room.cpu_milli}m cpu")
        if len(set(taken)) != len(taken) or not set(taken) <= set(room.devices):
            self.broken(f"{name}: devices {sorted(taken)} are used on {worker}, which has {sorted(room.devices)}")

    @staticmethod
    def _is_on(one: Try, worker: str) -> bool:
        return any(place == worker for place, _ in one.places)

    def _check_money(self, work: Work, added: int) -> None:
        payer = self.payers[work.tenant]
        cap = payer.spec.hard_cap_usd_micros
        if cap is not None and payer.spent + payer.reserved > cap:
            total = f"{payer.spent} spent and {payer.reserved} reserved of {cap}"
            self.broken(f"{work.id} takes {added} of {work.tenant}'s money, which then has {total}")

    def _extended(self, event: ev.ReservationExtended) -> None:
        work = self._work(event.job, event)
        work.tries[event.attempt].reserved += event.add_usd_micros
        work.tries[event.attempt].paid_until_ms = event.paid_until_ms
        self.payers[work.tenant].reserved += event.add_usd_micros
        self._check_money(work, event.add_usd_micros)

    def _stopping(self, event: ev.JobStopping) -> None:
        work = self._work(event.job, event)
        one = work.tries[event.attempt]
        one.stopping = event.cause
        one.stop_ms = one.stop_ms or self.true_ms() + event.grace_ms
        if event.cause is Cause.preempted and (not work.spec.preemptible or work.spec.tier is Tier.realtime):
            self.broken(f"{event.job} is preempted, which may not be")

    def _ended_try(self, event: ev.AttemptEnded) -> None:
        work = self._work(event.job, event)
        one = work.tries.get(event.attempt)
        if one is None or one.ended:
            self.broken(f"attempt {event.job}.{event.attempt} ends twice, or never began")
            return
        one.ended = True
        payer = self.payers[work.tenant]
        payer.running -= 1
        payer.reserved -= one.reserved
        payer.spent += event.cost_usd_micros
        still = [name for name in self.runs() if parse_attempt_id(name)[:2] == (event.job, event.attempt)]
        if still:
            self.broken(f"attempt {event.job}.{event.attempt} ended ({event.cause}), and {still} still runs")

    def _requeued(self, event: ev.JobRequeued) -> None:
        work = self._work(event.job, event)
        if work.cancelled:
            self.broken(f"{event.job} is queued again ({event.cause}) though somebody was told that it is cancelled")

    def _ended(self, event: ev.JobEnded) -> None:
        work = self._work(event.job, event)
        if work.over is not None:
            self.broken(f"{event.job} ends twice: {work.over}, then {event.state}")
        if work.live is not None:
            self.broken(f"{event.job} ends while its attempt {work.live.number} has not ended")
        work.over = event.state

    # -- what people were told

    def told_submitted(self, tenant: str, key: str, job: str) -> None:
        work = self.jobs.get(job)
        if work is None or work.tenant != tenant:
            self.broken(f"{job} was acknowledged and is not durable")
        elif key and self.keys.get((tenant, key)) != job:
            self.broken(f"key {key} was answered with {job}, durable is {self.keys.get((tenant, key))}")

    def told_cancelled(self, job: str) -> None:
        work = self.jobs.get(job)
        stopping = work is not None and work.live is not None and work.live.stopping is Cause.cancelled
        if work is None or (work.over is None and not stopping):
            self.broken(f"{job} is said to be cancelled, and nothing durable says so")
        elif work.over is None:
            work.cancelled = True

    # -- what really happens

    def begins(self, spec: AttemptSpec) -> None:
        """An attempt begins to run on a machine."""
        work = self.jobs.get(spec.job)
        one = work.tries.get(spec.number) if work is not None else None
        if one is None:
            self.broken(f"{spec.id} runs, and its start is not durable")
            return
        if one.ended:
            self.broken(f"{spec.id} begins to run after its end was written down")
        for other in self.runs():
            job, number, _ = parse_attempt_id(other)
            if job == spec.job and (number != spec.number or other == spec.id):
                self.broken(f"{spec.id} begins to run while {other} runs")

    def look_around(self) -> None:
        """What should be over by now. Called now and then."""
        now_ms = self.true_ms()
        for work in self.jobs.values():
            one = work.live
            if one is None or one.stopping is None:
                continue
            quiet_ms = self.quiet_from_ms + work.spec.grace_ms + QUIET_SLACK_MS
            if now_ms > min(one.stop_ms + STOP_SLACK_MS, max(quiet_ms, one.stop_ms + QUIET_SLACK_MS)):
                self.broken(f"{work.id}.{one.number} was told to stop ({one.stopping}) and is still there")

    def is_stopped(self, attempt: str) -> None:
        """Somebody tells a machine to stop an attempt."""
        job, number, _ = parse_attempt_id(attempt)
        work = self.jobs.get(job)
        one = work.tries.get(number) if work is not None else None
        if one is None or (one.stopping is None and not one.ended):
            self.broken(f"{attempt} is told to stop, and nothing durable says so")


_HANDLERS: dict[type, Callable[[Checker, ev.Event], None]] = {
    ev.RuntimeStarted: Checker._started_runtime,
    ev.TenantConfigured: Checker._tenant,
    ev.PoolConfigured: Checker._pool,
    ev.PoolScaled: Checker._scaled,
    ev.PoolPaused: Checker._pool_paused,
    ev.WorkerAdded: Checker._added,
    ev.WorkerRetired: Checker._retired,
    ev.WorkerRemoved: Checker._removed,
    ev.WorkerCordoned: Checker._cordoned,
    ev.WorkerRepaired: Checker._repaired,
    ev.NodeSeen: Checker._node,
    ev.NodeRemoved: Checker._node_gone,
    ev.JobSubmitted: Checker._submitted,
    ev.JobHeld: Checker._held,
    ev.JobReleased: Checker._released,
    ev.JobStarted: Checker._started,
    ev.ReservationExtended: Checker._extended,
    ev.JobStopping: Checker._stopping,
    ev.AttemptEnded: Checker._ended_try,
    ev.JobRequeued: Checker._requeued,
    ev.JobEnded: Checker._ended,
}
