"""The runtime on nodes that come and go, on a clock in hand: grown and shrunk, lost, noticed, never provided, and
brought down and up again in the middle of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from agentorch.core.facts import Facts
from agentorch.executors.fake_nodes import Offer
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import NodeState, PoolSpec, TenantSpec
from agentorch.model.jobs import Cause, JobState, Resources
from agentorch.runtime.runtime import Runtime
from agentorch.telemetry.sampler import Sampler
from tests.runtime.stage import Stage, ended, job, submit, until

NODE = NodeInfo(id="-", cpu_milli=1000, memory_bytes=2**30)
POOL = PoolSpec(
    name="cpu",
    executor="fake",
    node_type="std",
    workers=1,
    min_workers=0,
    max_workers=4,
    shape=Resources(cpu_milli=1000, memory_bytes=2**30),
    provision_timeout_ms=60_000,
)


class Elastic(Stage):
    """A stage whose pool lives on nodes."""

    def __init__(self, pool: PoolSpec = POOL, offer: Offer | None = None) -> None:
        super().__init__()
        self.telemetry = Sampler([], self.clock.now_ms)
        self.pool = pool
        self.machine.nodes.offers["std"] = offer or Offer(node=NODE, delay_ms=1_000)

    def configure(self, facts: Facts) -> Sequence[cmd.Command]:
        if facts.pools:
            return []
        return [cmd.ConfigurePool(spec=self.pool), cmd.ConfigureTenant(spec=TenantSpec(name="t"))]

    async def pass_time(self, runtime: Runtime, holds: Callable[[Facts], bool], *, step_s: float = 1) -> None:
        """Turn the clock, second by second, until the durable state is as wanted."""
        for _ in range(3_000):
            if holds(runtime.loop.state.facts):
                await runtime.settled()
                return
            self.clock.turn(step_s)
            self.executor.advance()
            for _ in range(20):
                await asyncio.sleep(0)
            await runtime.settled()
        raise AssertionError(f"it never came to that: {self.machine.nodes.orders}")

    def nodes(self) -> list[str]:
        return sorted(self.machine.nodes.there)


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(bounded())


def workers(count: int) -> Callable[[Facts], bool]:
    return lambda facts: len(facts.workers) == count


def all_on_nodes(count: int) -> Callable[[Facts], bool]:
    return lambda facts: len(facts.workers) == len(facts.nodes) == count


async def scale(runtime: Runtime, count: int) -> None:
    await runtime.ask(cmd.ScalePool(pool="cpu", workers=count, by="op"))


def test_from_one_node_to_three_and_back_with_work_on_all() -> None:
    async def scenario() -> None:
        stage = Elastic()
        async with stage.runtime() as runtime:
            await stage.pass_time(runtime, all_on_nodes(1))
            await scale(runtime, 3)
            await stage.pass_time(runtime, all_on_nodes(3))
            names = [await submit(runtime) for _ in range(3)]
            await stage.pass_time(runtime, lambda facts: all(job(runtime, n).state is JobState.running for n in names))
            placed = {stage.machine.runs[f"{name}.1"].spec.node for name in names}
            assert placed == set(stage.nodes())
            await scale(runtime, 1)
            kept = next(w.node for w in runtime.loop.state.facts.workers.values() if w.state == "up")
            later_ms = stage.clock.now_ms() + 60_000
            await stage.pass_time(runtime, lambda facts: stage.clock.now_ms() >= later_ms)
            assert len(stage.nodes()) == 3, "nothing goes while it works"
            for name in names:
                stage.executor.finish(f"{name}.1")
            await stage.pass_time(runtime, all_on_nodes(1))
            assert stage.nodes() == [kept]
            assert [job(runtime, name).state for name in names] == [JobState.succeeded] * 3
            assert all(job(runtime, name).attempts_made == 1 for name in names)

    play(scenario())


def test_a_crash_between_an_order_and_its_effect_gives_the_order_again() -> None:
    async def scenario() -> None:
        stage = Elastic()
        runtime = await stage.start()
        await stage.pass_time(runtime, all_on_nodes(1))
        await runtime.fleet.close()  # from here on an order is durable, and nobody performs it
        await scale(runtime, 3)
        await runtime.abandon()
        assert len(stage.nodes()) == 1
        async with stage.runtime() as again:
            await stage.pass_time(again, all_on_nodes(3))
            await scale(again, 2)
            await stage.pass_time(again, lambda facts: any(node.released for node in facts.nodes.values()))
        async with stage.runtime() as third:
            await stage.pass_time(third, all_on_nodes(2))
            removed = [name for _, _, remove in stage.machine.nodes.orders for name in remove]
            assert len(set(removed)) == 1

    play(scenario())


def test_a_lost_node_is_replaced_and_its_jobs_run_once_more() -> None:
    async def scenario() -> None:
        wide = Offer(node=NodeInfo(id="-", cpu_milli=10_000, memory_bytes=2**34), delay_ms=1_000)
        shape = Resources(cpu_milli=10_000, memory_bytes=2**34)
        stage = Elastic(PoolSpec(name="cpu", executor="fake", node_type="std", shape=shape, max_workers=2), wide)
        async with stage.runtime() as runtime:
            names = [await submit(runtime) for _ in range(10)]
            await stage.pass_time(runtime, lambda facts: all(job(runtime, n).state is JobState.running for n in names))
            (node,) = stage.nodes()
            stage.executor.doubt(node)
            await stage.pass_time(runtime, lambda facts: facts.nodes[node].state is NodeState.suspect)
            assert all(job(runtime, name).state is JobState.running for name in names)
            stage.executor.lose_node(node)
            await stage.pass_time(runtime, lambda facts: all(job(runtime, n).attempts_made == 2 for n in names))
            await stage.pass_time(runtime, lambda facts: all(job(runtime, n).state is JobState.running for n in names))
            causes = Counter(job(runtime, name).attempts[0].cause for name in names)
            assert causes == {Cause.node_lost: 10}
            assert len(stage.nodes()) == 1
            assert stage.nodes() != [node]

    play(scenario())


def test_a_node_lost_while_nobody_looks_costs_each_job_one_attempt() -> None:
    async def scenario() -> None:
        stage = Elastic()
        runtime = await stage.start()
        name = await submit(runtime)
        await stage.pass_time(runtime, lambda facts: job(runtime, name).state is JobState.running)
        await runtime.abandon()
        (node,) = stage.nodes()
        stage.executor.lose_node(node)
        async with stage.runtime() as again:
            await stage.pass_time(again, lambda facts: job(again, name).state is JobState.running)
            assert job(again, name).attempts_made == 2
            assert job(again, name).attempts[0].cause is Cause.node_lost
            assert node not in again.loop.state.facts.nodes

    play(scenario())


def test_a_drain_goes_on_after_a_crash() -> None:
    async def scenario() -> None:
        stage = Elastic(msgspec.structs.replace(POOL, workers=2, drain_grace_ms=30_000))
        runtime = await stage.start()
        await stage.pass_time(runtime, all_on_nodes(2))
        names = [await submit(runtime) for _ in range(2)]
        await stage.pass_time(runtime, lambda facts: all(job(runtime, n).state is JobState.running for n in names))
        await scale(runtime, 1)
        await runtime.abandon()
        async with stage.runtime() as again:
            await stage.pass_time(again, lambda facts: len(stage.machine.nodes.there) == 1)
            attempts = sorted(job(again, name).attempts[0].cause or "" for name in names)
            assert attempts == ["", Cause.interruption]
            (moved,) = (name for name in names if job(again, name).state is JobState.queued)
            (other,) = (name for name in names if name != moved)
            stage.executor.finish(f"{other}.1")
            await stage.pass_time(again, lambda facts: job(again, moved).state is JobState.running)

    play(scenario())


def test_a_node_that_never_comes_ends_in_a_pause_and_not_in_a_loop() -> None:
    async def scenario() -> None:
        stage = Elastic(offer=Offer(node=NODE, delay_ms=None))
        async with stage.runtime() as runtime:
            await stage.pass_time(runtime, lambda facts: facts.pools["cpu"].paused, step_s=10)
            grown = [target for _, target, _ in stage.machine.nodes.orders if target]
            assert len(grown) == limits.POOL_FAILED_STARTS_PAUSE
            await stage.pass_time(runtime, lambda facts: stage.machine.nodes.orders[-1] == ("std", 0, ()))
            assert "came in time" in runtime.loop.state.facts.pools["cpu"].paused_reason

    play(scenario())


def test_a_refused_order_backs_off_across_a_restart() -> None:
    async def scenario() -> None:
        stage = Elastic(offer=Offer(node=NODE, error="quota exceeded"))
        async with stage.runtime() as runtime:
            await until(runtime, lambda facts: any(g.failures == 1 for g in facts.node_groups.values()))
        async with stage.runtime() as again:
            (group,) = again.loop.state.facts.node_groups.values()
            assert "quota exceeded" in group.error
            stage.machine.nodes.offers["std"] = Offer(node=NODE)
            await stage.pass_time(again, all_on_nodes(1))
            assert group.failures == 0

    play(scenario())


def test_while_the_engine_does_not_answer_nothing_new_goes_to_its_nodes() -> None:
    async def scenario() -> None:
        stage = Elastic()
        async with stage.runtime() as runtime:
            await stage.pass_time(runtime, lambda facts: bool(facts.workers))
            running = await submit(runtime)
            await until(runtime, lambda facts: facts.jobs[running].state is JobState.running)
            stage.machine.nodes.silent = "the engine is away"
            await stage.pass_time(runtime, states_are(NodeState.suspect))
            stage.executor.finish(f"{running}.1")
            await until(runtime, ended(running))
            waiting = await submit(runtime)
            later_ms = stage.clock.at_ms + 60_000
            await stage.pass_time(runtime, lambda facts: stage.clock.at_ms >= later_ms)
            assert job(runtime, waiting).state is JobState.queued
            stage.machine.nodes.silent = ""
            await stage.pass_time(runtime, lambda facts: facts.jobs[waiting].state is JobState.running)
            assert job(runtime, waiting).attempts_made == 1

    asyncio.run(scenario())


def states_are(state: NodeState) -> Callable[[Facts], bool]:
    return lambda facts: {node.state for node in facts.nodes.values()} == {state}


def test_the_nodes_of_an_executor_that_is_not_configured_any_more_are_forgotten() -> None:
    async def scenario() -> None:
        stage = Elastic()
        async with stage.runtime() as runtime:
            await stage.pass_time(runtime, all_on_nodes(1))
            await runtime.ask(cmd.RemovePool(pool="cpu"))
        runtime = Runtime(stage.ledger, {"other": stage.executor}, stage.telemetry, clock=stage.clock)
        await runtime.open()
        await stage.pass_time(runtime, lambda facts: not facts.nodes and not facts.pools)
        await runtime.close()

    play(scenario())


def test_a_notice_moves_the_work_before_the_node_goes() -> None:
    async def scenario() -> None:
        stage = Elastic()
        async with stage.runtime() as runtime:
            name = await submit(runtime)
            await stage.pass_time(runtime, lambda facts: job(runtime, name).state is JobState.running)
            (node,) = stage.nodes()
            stage.executor.notice(node, stage.clock.now_ms() + 60_000)
            await stage.pass_time(runtime, lambda facts: facts.nodes[node].state is NodeState.draining)
        async with stage.runtime() as runtime:
            await stage.pass_time(runtime, lambda facts: job(runtime, name).attempts_made == 2)
            await stage.pass_time(runtime, lambda facts: job(runtime, name).state is JobState.running)
            first, second = job(runtime, name).attempts
            assert first.cause is Cause.interruption
            assert first.node != second.node
            await stage.pass_time(runtime, lambda facts: node not in facts.nodes)
            stage.executor.finish(f"{name}.2")
            await stage.pass_time(runtime, ended(name))
            assert job(runtime, name).attempts_made == 2

    play(scenario())


def test_telemetry_of_nodes_is_handed_on_and_never_recorded() -> None:
    async def scenario() -> None:
        stage = Elastic()
        async with stage.runtime() as runtime:
            await stage.pass_time(runtime, all_on_nodes(1))
            before = runtime.last_seq
            (node,) = stage.nodes()
            await stage.pass_time(runtime, lambda facts: len(runtime.device_history(f"{node}:cpu")) >= 3)
            assert runtime.last_seq == before

    play(scenario())
