"""Executors that can't do what they are told just now: nothing is forgotten, run twice, or held against anybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from agentorch.core.facts import Facts
from agentorch.errors import EpochOver, NodeUnreachable, Refused
from agentorch.executors.fake import FakeExecutor
from agentorch.executors.fake_nodes import Offer
from agentorch.model import commands as cmd
from agentorch.model.attempts import AttemptPhase, AttemptSpec, AttemptStatus, NodeInfo
from agentorch.model.fleet import NodeState, PoolSpec, TenantSpec
from agentorch.model.jobs import Cause, JobState, Resources
from agentorch.runtime.runtime import Runtime
from tests.runtime.stage import NoTelemetry, Stage, job, submit, until

AWAY = NodeUnreachable("nobody answers")


class Faulty(FakeExecutor):
    """A fake whose methods raise what `faults` says, each as often as it is there."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.faults: dict[str, list[Exception]] = {}
        self.launched_before_fault = False

    def fail(self, method: str) -> None:
        if self.faults.get(method):
            raise self.faults[method].pop(0)

    async def launch(self, attempts: Sequence[AttemptSpec]) -> list[AttemptStatus]:
        if self.launched_before_fault:
            await super().launch(attempts)
        self.fail("launch")
        return await super().launch(attempts)

    async def stop(self, attempt: str, reason: str, grace_ms: int) -> None:
        self.fail("stop")
        await super().stop(attempt, reason, grace_ms)

    async def inspect(self, attempts: Sequence[str]) -> list[AttemptStatus]:
        self.fail("inspect")
        return await super().inspect(attempts)

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        self.fail("logs")
        return await super().logs(attempt, stream, offset, limit)


class FaultyStage(Stage):
    executor: Faulty

    async def start(self) -> Runtime:
        self.executor = Faulty(self.clock.now_ms, machine=self.machine)
        runtime = Runtime(self.ledger, {"fake": self.executor}, NoTelemetry(), clock=self.clock)
        await runtime.open(self.configure)
        return runtime

    async def pass_time(self, runtime: Runtime, holds: Callable[[Facts], bool]) -> None:
        for _ in range(1_000):
            if holds(runtime.loop.state.facts):
                await runtime.settled()
                return
            self.clock.turn(0.5)
            self.executor.advance()
            for _ in range(20):
                await asyncio.sleep(0)
        raise AssertionError("it never came to that")


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario

    asyncio.run(bounded())


def alerts(facts: Facts, code: str) -> list[str]:
    return [one.text for one in facts.alerts if one.code == code]


@pytest.mark.parametrize("error", [AWAY, OSError(28, "No space left on device")])
def test_a_launch_that_failed_is_made_again_at_no_cost(error: Exception) -> None:
    async def scenario() -> None:
        stage = FaultyStage()
        async with stage.runtime() as runtime:
            stage.executor.faults = {"launch": [error] * 4, "inspect": [AWAY, OSError(5, "I/O error")]}
            name = await submit(runtime)
            await stage.pass_time(runtime, lambda facts: facts.jobs[name].state is JobState.running)
            assert job(runtime, name).attempts_made == 5
            assert job(runtime, name).retries_used == 0
            assert {one.cause for one in job(runtime, name).attempts[:-1]} == {Cause.no_capacity}
            assert list(stage.machine.runs) == [f"{name}.5"]

    play(scenario())


def test_a_launch_that_failed_after_it_had_begun_is_found_running() -> None:
    async def scenario() -> None:
        stage = FaultyStage()
        async with stage.runtime() as runtime:
            stage.executor.launched_before_fault = True
            stage.executor.faults = {"launch": [AWAY], "inspect": [AWAY] * 3}
            name = await submit(runtime)
            await stage.pass_time(runtime, lambda facts: facts.jobs[name].state is JobState.running)
            assert job(runtime, name).attempts_made == 1
            assert list(stage.machine.runs) == [f"{name}.1"]

    play(scenario())


def test_a_stop_that_failed_is_tried_again_until_the_attempt_is_gone() -> None:
    async def scenario() -> None:
        stage = FaultyStage()
        async with stage.runtime() as runtime:
            name = await submit(runtime)
            await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
            stage.executor.faults = {"stop": [AWAY, OSError(5, "I/O error"), AWAY]}
            await runtime.ask(cmd.CancelJob(job=name, by="x"))
            await stage.pass_time(runtime, lambda facts: facts.jobs[name].state is JobState.cancelled)
            assert stage.machine.runs[f"{name}.1"].status.phase is AttemptPhase.ended
            assert alerts(runtime.loop.state.facts, "stop-failed") == [f"{name}.1 could not be stopped: nobody answers"]

    play(scenario())


@pytest.mark.parametrize("method", ["launch", "stop"])
def test_a_runtime_whose_epoch_is_over_stops(method: str) -> None:
    async def scenario() -> None:
        stage = FaultyStage()
        runtime = await stage.start()
        name = await submit(runtime)
        await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
        stage.executor.faults = {method: [EpochOver("a newer one has come")]}
        await (submit(runtime) if method == "launch" else runtime.ask(cmd.CancelJob(job=name, by="x")))
        await runtime.loop.stopped.wait()
        assert isinstance(runtime.loop.failure, EpochOver)
        await runtime.close()

    play(scenario())


def test_a_log_that_can_not_be_read_just_now_is_not_a_log_that_is_not_there() -> None:
    async def scenario() -> None:
        stage = FaultyStage()
        async with stage.runtime() as runtime:
            name = await submit(runtime)
            await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
            for error in (AWAY, OSError(5, "I/O error")):
                stage.executor.faults = {"logs": [error]}
                with pytest.raises(Refused, match=f"{name}.1: ") as caught:
                    await runtime.logs(f"{name}.1", "stdout", 0, 10)
                assert (caught.value.code, caught.value.retry_after_s) == ("unreachable", 5)
            assert await runtime.logs(f"{name}.1", "stdout", 0, 10) == (b"", 0, False)
            with pytest.raises(Refused, match="there is no attempt") as caught:
                await runtime.logs(f"{name}.2", "stdout", 0, 10)
            assert caught.value.code == "not_found"

    play(scenario())


class Elastic(FaultyStage):
    def configure(self, facts: Facts) -> Sequence[cmd.Command]:
        shape = Resources(cpu_milli=1000, memory_bytes=2**30)
        pool = PoolSpec(name="cpu", executor="fake", node_type="std", workers=8, max_workers=8, shape=shape)
        return [cmd.ConfigurePool(spec=pool), cmd.ConfigureTenant(spec=TenantSpec(name="t"))]


def test_starts_on_a_node_that_vanished_wait_for_another_and_nobody_is_blamed() -> None:
    async def scenario() -> None:
        stage = Elastic()
        node = NodeInfo(id="-", cpu_milli=8_000, memory_bytes=2**33)
        stage.machine.nodes.offers["std"] = Offer(node=node, delay_ms=20_000)
        async with stage.runtime() as runtime:
            await stage.pass_time(runtime, lambda facts: len(facts.workers) == 8)
            stage.machine.nodes.drop("std-1")
            names = [await submit(runtime) for _ in range(40)]
            await stage.pass_time(runtime, lambda facts: any(facts.jobs[name].attempts for name in names))
            await stage.pass_time(runtime, lambda facts: facts.nodes["std-1"].state is not NodeState.up)
            await stage.pass_time(runtime, lambda facts: len(facts.running) == 8)
            facts = runtime.loop.state.facts
            assert not facts.pools["cpu"].paused
            assert all(facts.jobs[name].retries_used == 0 for name in names)
            assert max(facts.jobs[name].attempts_made for name in names) == 2
            missed = sum(1 for name in names for one in facts.jobs[name].attempts if one.cause is Cause.no_capacity)
            assert missed <= 8, "the first to fail says enough"

    play(scenario())
