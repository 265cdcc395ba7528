"""Those who use it: clients that try again, operators who answer late, twice or from memory, and bad luck itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from agentorch.core.facts import Facts
from agentorch.errors import ExecutorError, Refused, RuntimeStopped
from agentorch.model import commands as cmd
from agentorch.model.jobs import JobState
from agentorch.model.proposals import AnswerKind, Mode, Proposal, ProposalState, Scale
from agentorch.simulation.faults.loop import pass_time
from tests.simulated import town
from tests.simulated.world import World


class Client:
    """Submits with a key, and asks again with the same key until somebody answers."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.rng = world.rng(f"client/{name}")
        self.mine: list[str] = []

    async def live(self) -> None:
        number = 0
        while True:
            await pass_time(self.rng.expovariate(1 / 7))
            number += 1
            await self.submit(f"{self.name}-{number}" if self.rng.random() < 0.9 else "")
            if self.mine and self.rng.random() < 0.5:
                await self.meddle(self.rng.choice(self.mine[-12:]))

    async def submit(self, key: str) -> None:
        world, tenant = self.world, self.rng.choice(town.TENANTS)
        known = self.mine[-4:] if tenant == "rich" else []
        spec = town.job(self.rng, known, world.clock.now_ms())
        body = f"{tenant} {spec}"
        command = cmd.SubmitJob(tenant=tenant, spec=spec, by=self.name, idempotency_key=key, body_sha256=body)
        at_once = 2 if key and self.rng.random() < 0.1 else 1
        await asyncio.gather(*(self._until_answered(command) for _ in range(at_once)))

    async def _until_answered(self, command: cmd.SubmitJob) -> None:
        patience_s = self.rng.choice([0.5, 5.0, 60.0])
        for _ in range(100):
            try:
                async with asyncio.timeout(patience_s):
                    job, created = await self.world.ask(command)
            except (RuntimeStopped, TimeoutError):
                if not command.idempotency_key:
                    return
            except Refused as refused:
                if refused.retry_after_s is None:
                    return
            else:
                self.world.say(f"{self.name} was told {job} ({'new' if created else 'known'})")
                self.world.checker.told_submitted(command.tenant, command.idempotency_key, job)
                self.mine.append(job)
                return
            await pass_time(self.rng.uniform(0.2, 3.0))

    async def meddle(self, job: str) -> None:
        rng, by = self.rng, self.name
        wanted: list[Any] = [
            cmd.CancelJob(job=job, by=by),
            cmd.CancelJob(job=job, by=by),
            cmd.PatchJob(job=job, by=by, priority=rng.randint(0, 100)),
            cmd.PatchJob(job=job, by=by, hold=rng.random() < 0.4),
            cmd.PatchJob(job=job, by=by, pool=rng.choice(["", "cpu", "paid"])),
            cmd.ReportProgress(job=job, by=by, percent=50.0, checkpointed=True),
            cmd.ReportProgress(job=job, by=by, move_to=""),
        ]
        command = rng.choice(wanted)
        try:
            result = await self.world.ask(command)
        except (Refused, RuntimeStopped):
            return
        if isinstance(command, cmd.CancelJob):
            self.world.say(f"{by} was told that {job} is cancelled: {result}")
            if result in (JobState.cancelled, JobState.stopping):
                self.world.checker.told_cancelled(job)


class Operator:
    """Answers what is open, when it suits; and now and then turns a knob."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.rng = world.rng(f"operator/{name}")
        self.seen: list[Proposal] = []

    async def live(self) -> None:
        while True:
            await pass_time(self.rng.expovariate(1 / 6))
            try:
                await self.look()
                if self.rng.random() < 0.35:
                    await self.turn()
            except (Refused, RuntimeStopped):
                continue

    async def facts(self) -> Facts:
        if self.world.runtime is None:
            raise RuntimeStopped("nobody answers")
        return (await self.world.runtime.view()).facts

    async def look(self) -> None:
        facts = await self.facts()
        proposals = [facts.proposals[name] for name in facts.unsettled]
        fresh = [msgspec.structs.replace(one) for one in proposals if one.state is ProposalState.open]
        await pass_time(self.rng.choice([0.0, 0.0, 0.0, 2.0, 60.0]))  # coffee
        self.seen = (self.seen + fresh)[-20:]
        for proposal in self.rng.sample(self.seen, min(2, len(self.seen))):
            times = 2 if self.rng.random() < 0.2 else 1
            await asyncio.gather(*(self.answer(proposal) for _ in range(times)))

    async def answer(self, proposal: Proposal) -> None:
        rng = self.rng
        kind = rng.choice([AnswerKind.approve] * 5 + [AnswerKind.reject, AnswerKind.edit])
        edits: dict[str, int | str] = {}
        if kind is AnswerKind.edit:
            edits = {"workers": proposal.action.workers - 1} if isinstance(proposal.action, Scale) else {"at_most": 1}
        shown = proposal.hash if rng.random() < 0.9 else "0" * 64
        try:
            await self.world.ask(
                cmd.AnswerApproval(proposal=proposal.id, kind=kind, by=self.name, hash=shown, edits=edits)
            )
        except (Refused, RuntimeStopped):
            return
        self.world.say(f"{self.name} was told that {kind} of {proposal.id} counts")
        self.world.checker.approvals.told_answered(proposal.id, kind)

    async def turn(self) -> None:
        rng, by = self.rng, self.name
        facts = await self.facts()
        worker, pool = rng.choice(list(facts.workers) or [""]), rng.choice(list(facts.pools) or [""])
        wanted: list[Any] = [
            cmd.ScalePool(pool=pool, workers=rng.randint(0, 5), by=by),
            cmd.PausePool(pool=pool, paused=rng.random() < 0.2, by=by),
            cmd.CordonWorker(worker=worker, cordoned=rng.random() < 0.3, by=by),
            cmd.RepairWorker(worker=worker, by=by),
            cmd.RepairDevice(device=rng.choice(town.GPUS), by=by),
            cmd.SetMode(mode=rng.choice([town.mode(self.world.chance)] * 5 + list(Mode)), by=by),
        ]
        await self.world.ask(rng.choice(wanted))


class BadLuck:
    """What happens by itself, now and then."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng("luck")

    async def live(self) -> None:
        happenings: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self.lose_node,
            self.lose_attempt,
            self.doubt_node,
            self.notice,
            self.cut,
            self.jump,
            self.fill_disk,
            self.no_nodes,
            self.restart,
            self.sicken,
        ]
        mine = [one for one in happenings if self.rng.random() < 0.7] or happenings
        pause_s = self.rng.choice([4, 9, 9, 30])
        while True:
            await pass_time(self.rng.expovariate(1 / pause_s))
            what = self.rng.choice(mine)
            self.world.say(f"bad luck: {what.__name__}")
            try:
                await what()
            except ExecutorError as error:
                self.world.say(f"  not this time: {error}")

    def _node(self) -> str:
        return self.rng.choice(list(self.world.machines["cloud"].inner.nodes.there) or ["none"])

    async def lose_node(self) -> None:
        self.world.machines["cloud"].driver.lose_node(self._node())

    async def lose_attempt(self) -> None:
        running = self.world.really_running()
        if running:
            name = self.rng.choice(running)
            machine = next(one for one in self.world.machines.values() if name in one.inner.runs)
            machine.driver.lose(name)

    async def doubt_node(self) -> None:
        node, cloud = self._node(), self.world.machines["cloud"]
        cloud.driver.doubt(node)
        await pass_time(self.rng.uniform(1, 20))
        cloud.driver.trust(node)

    async def notice(self) -> None:
        cloud = self.world.machines["cloud"]
        cloud.driver.notice(self._node(), self.world.clock.true_ms() + self.rng.choice([5_000, 30_000]))
        cloud.poke()

    async def cut(self) -> None:
        machine = self.world.machines[self.rng.choice(["house", "cloud"])]
        machine.cut = True
        await pass_time(self.rng.uniform(0.5, 40))
        machine.cut = False

    async def jump(self) -> None:
        self.world.clock.jump(self.rng.choice([-60_000, -2_000, 2_000, 60_000, 600_000, 3_600_000]))

    async def fill_disk(self) -> None:
        self.world.full = True
        await pass_time(self.rng.uniform(0.5, 20))
        self.world.full = False

    async def no_nodes(self) -> None:
        nodes = self.world.machines["cloud"].inner.nodes
        name = self.rng.choice(list(nodes.offers))
        nodes.offers[name] = msgspec.structs.replace(nodes.offers[name], error=self.rng.choice(["", "no quota"]))

    async def restart(self) -> None:
        self.world.die(self.rng.choice(["closed", "closed", "killed", "power"]), "any time")

    async def sicken(self) -> None:
        self.world.samples.trouble = self.rng.choice([0.0, 0.05, 0.2])


def population(world: World) -> list[Coroutine[Any, Any, None]]:
    clients = [Client(world, f"client{number}") for number in range(3)]
    operators = [Operator(world, name) for name in ("ann", "bob")]
    return [*(one.live() for one in clients), *(one.live() for one in operators), BadLuck(world).live()]


def some(rng: random.Random, names: list[str]) -> str:
    return rng.choice(names) if names else ""
