"""A seed from its first commit to its last: trouble for a while, then quiet, in which all work must end."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from agentorch.errors import ExecutorError, Refused, RuntimeStopped
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.fleet import NodeState
from agentorch.model.proposals import Mode
from agentorch.runtime.fold import encode, fold
from agentorch.runtime.verification import verify
from agentorch.simulation.faults.disk import DiskLedger
from agentorch.simulation.faults.loop import pass_time, run_virtually
from agentorch.simulation.faults.machine import Weather
from tests.simulated import town
from tests.simulated.people import population
from tests.simulated.world import Breach, Faults, World

TROUBLE_S = 150.0
#: Virtual time after the last fault in which everything must have ended.
QUIET_S = 2 * 3600.0
#: Lives are short here: snapshots are written more often, so that starts from one happen too, and the twin looks less
#: far ahead, because what it says is not what is tested.
LIMITS = {"SNAPSHOT_EVERY_EVENTS": 60, "TWIN_STEPS": 12, "TWIN_QUESTION_STEPS": 24}


class Told(msgspec.Struct, kw_only=True):
    """What a seed came to."""

    seed: int
    hash: str  # of everything durable
    events: int
    commits: int
    jobs: int
    virtual_s: float
    rounds: int
    crashes: dict[str, int]
    kinds: dict[str, int]


def run_seed(seed: int, *, trouble_s: float = TROUBLE_S, say: Callable[[str], None] | None = None) -> Told:
    """Raises Breach."""
    with _short_life():
        world, loop = run_virtually(_whole(seed, trouble_s, say))
    return Told(
        seed=seed,
        hash=hashlib.sha256(bytes(world.disk.content)).hexdigest(),
        events=world.checker.seq,
        commits=world.commits,
        jobs=len(world.checker.jobs),
        virtual_s=loop.time(),
        rounds=loop.rounds,
        crashes=world.crashes,
        kinds=world.kinds,
    )


@contextmanager
def _short_life() -> Iterator[None]:
    before = {name: getattr(limits, name) for name in LIMITS}
    logging.disable(logging.CRITICAL)
    try:
        for name, value in LIMITS.items():
            setattr(limits, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(limits, name, value)
        logging.disable(logging.NOTSET)


async def _whole(seed: int, trouble_s: float, say: Callable[[str], None] | None) -> World:
    world = World(seed, say=say)
    for machine in world.machines.values():
        machine.start()
    keeper = asyncio.create_task(world.keep(), name="keeper")
    people = [asyncio.create_task(one) for one in population(world)]
    tasks = [keeper, *people, *(machine.task for machine in world.machines.values() if machine.task)]
    try:
        await _watch(world, tasks, pass_time(trouble_s))
        for task in people:
            task.cancel()
        await asyncio.gather(*people, return_exceptions=True)
        await _watch(world, [keeper], _quiet(world))
        world.end()
        await _watch(world, [], keeper)
        await _watch(world, [], _last_look(world))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return world


async def _watch(world: World, tasks: list[asyncio.Task[None]], work: object) -> None:
    """Let `work` go on until it is done, a promise is broken, or somebody falls over. Raises Breach."""
    working = asyncio.ensure_future(work)  # type: ignore[arg-type]
    broken = asyncio.create_task(world.broken.wait())
    await asyncio.wait({working, broken, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    broken.cancel()
    fallen = next((task for task in [*tasks, working] if task.done() and task.exception() is not None), None)
    if not working.done():
        working.cancel()
    if fallen is not None and not world.breach:
        world.fail(f"{fallen.get_name()} fell over: {fallen.exception()!r}")
    if world.breach:
        step = f"commit {world.commits}, {asyncio.get_running_loop().time():.3f} s"
        error = Breach(f"seed {world.seed}, {step}: {world.breach}\n  again: make sim SEED={world.seed}")
        raise error from (fallen.exception() if fallen is not None else None)
    await working


# -- quiet


async def _quiet(world: World) -> None:
    """No faults any more, and people let everything go on: then all work ends."""
    world.say("quiet")
    world.faults = Faults()
    world.full, world.samples.trouble, world.brain.calm = False, 0.0, True
    for machine in world.machines.values():
        machine.weather, machine.cut = Weather(latency_ms=(1, 5)), False
    cloud = world.machines["cloud"]
    cloud.inner.nodes.offers = town.offers()
    for node in list(cloud.inner.nodes.there.values()):
        if node.state is NodeState.suspect:
            cloud.driver.trust(node.id)
    world.checker.quiet_from_ms = world.clock.true_ms()
    until_s = asyncio.get_running_loop().time() + QUIET_S
    while not await _is_over(world):
        world.checker.look_around()
        if asyncio.get_running_loop().time() > until_s:
            left = [work.id for work in world.checker.jobs.values() if work.over is None]
            world.fail(
                f"after {QUIET_S:g} s without faults there is still {left[:8]}, running {world.really_running()}"
            )
            return
        try:
            await _let_go_on(world)
        except (Refused, RuntimeStopped):
            continue
        finally:
            await pass_time(20.0)


async def _is_over(world: World) -> bool:
    return all(work.over is not None for work in world.checker.jobs.values()) and not world.really_running()


async def _let_go_on(world: World) -> None:
    """What a patient operator does once everything is well again."""
    if world.runtime is None:
        return
    facts = (await world.runtime.view()).facts
    wanted: list[cmd.Command] = [cmd.SetMode(mode=Mode.guarded, by="ann")]
    wanted += [cmd.ConfigureTenant(spec=town.generous(one.spec)) for one in facts.tenants.values()]
    for name, pool in facts.pools.items():
        if pool.paused:
            wanted.append(cmd.PausePool(pool=name, paused=False, by="ann"))
        if pool.target != pool.spec.max_workers:
            wanted.append(cmd.ScalePool(pool=name, workers=pool.spec.max_workers, by="ann"))
    wanted += [cmd.RepairDevice(device=name, by="ann") for name in facts.device_faults]
    for worker in facts.workers.values():
        if worker.broken:
            wanted.append(cmd.RepairWorker(worker=worker.id, by="ann"))
        elif worker.cordoned:
            wanted.append(cmd.CordonWorker(worker=worker.id, cordoned=False, by="ann"))
    wanted += [cmd.PatchJob(job=name, by="ann", hold=False) for name in facts.held]
    for job in facts.jobs.values():
        if job.spec.max_cost_usd_micros is not None and job.id not in facts.finished:
            wanted.append(cmd.CancelJob(job=job.id, by="ann"))
        elif job.route_pool:
            wanted.append(cmd.PatchJob(job=job.id, by="ann", pool=""))
    for command in wanted:
        try:
            await world.ask(command)
        except Refused as refused:
            world.say(f"refused: {refused}")


async def _last_look(world: World) -> None:
    """The ledger by itself: whole, judged again, and the fold from a snapshot the same as that of every event."""
    ledger = DiskLedger(world.disk)
    try:
        await ledger.open()
        found = await verify(ledger)
        if not found.ok:
            world.fail(f"verify: sequence {found.first_bad_seq}: {found.why}")
        whole = await fold(ledger, snapshots=False)
        if encode((await fold(ledger)).facts) != encode(whole.facts):
            world.fail("a snapshot does not lead to what the events lead to")
        if encode(world.shadow.facts) != encode(whole.facts):
            world.fail("the ledger folds otherwise the second time")
    except ExecutorError as error:
        world.fail(repr(error))
    finally:
        await ledger.close()
