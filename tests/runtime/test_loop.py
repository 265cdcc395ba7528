"""Nothing leaves before its commit; a failed commit stops everything; a restart tells the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from agentorch.errors import LedgerFailed, Refused, RuntimeStopped
from agentorch.executors.fake import Plan
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.attempts import AttemptSpec
from agentorch.model.jobs import Cause, JobState
from agentorch.runtime.fold import encode, fold
from tests.runtime.stage import Stage, at_once, ended, job, submit, until


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario

    asyncio.run(bounded())


def test_an_acknowledgement_and_a_launch_wait_for_their_commit() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            stage.ledger.gate.clear()
            asking = asyncio.create_task(submit(runtime))
            await stage.ledger.waiting.wait()
            assert runtime.loop.state.facts.jobs
            assert not asking.done()
            assert stage.machine.runs == {}
            reading = asyncio.create_task(runtime.settled())
            await asyncio.sleep(0)
            assert not reading.done()
            stage.ledger.gate.set()
            name = await asking
            await reading
            await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
            assert f"{name}.1" in stage.machine.runs

    play(scenario())


@pytest.mark.parametrize("landed", [False, True])
def test_a_failed_commit_stops_the_runtime_and_a_restart_refolds(landed: bool) -> None:
    async def scenario() -> None:
        stage = Stage()
        runtime = await stage.start()
        stage.ledger.fail_next_commit(landed=landed)
        with pytest.raises(RuntimeStopped):
            await submit(runtime)
        with pytest.raises(RuntimeStopped):
            await submit(runtime)
        await runtime.loop.stopped.wait()
        assert isinstance(runtime.loop.failure, LedgerFailed)
        await runtime.close()
        async with stage.runtime() as again:
            assert len(again.loop.state.facts.jobs) == int(landed)

    play(scenario())


def test_a_restart_gives_the_same_bytes() -> None:
    async def scenario() -> None:
        stage = Stage(at_once)
        async with stage.runtime() as runtime:
            names = [await submit(runtime) for _ in range(5)]
            await until(runtime, lambda facts: all(facts.jobs[name].state is not JobState.queued for name in names[:2]))
            stage.executor.advance()
            await until(runtime, ended(*names[:2]))
        await stage.ledger.open()
        plain = await fold(stage.ledger, snapshots=False)
        quick = await fold(stage.ledger)
        assert encode(plain.facts) == encode(quick.facts) == encode(runtime.loop.state.facts)
        await stage.ledger.close()

    play(scenario())


def test_a_crash_loses_no_running_work_and_no_verdict() -> None:
    async def scenario() -> None:
        stage = Stage()
        runtime = await stage.start()
        stays, ends = await submit(runtime), await submit(runtime)
        await until(runtime, lambda facts: all(facts.jobs[name].state is JobState.running for name in (stays, ends)))
        await runtime.abandon()
        stage.executor.finish(f"{ends}.1")
        async with stage.runtime() as again:
            await until(again, ended(ends))
            assert job(again, ends).state is JobState.succeeded
            assert (job(again, stays).state, job(again, stays).attempts_made) == (JobState.running, 1)
            stage.executor.finish(f"{stays}.1")
            await until(again, ended(stays))

    play(scenario())


def test_an_attempt_ordered_and_never_launched_is_tried_again_at_no_cost() -> None:
    async def scenario() -> None:
        stage = Stage()
        runtime = await stage.start()
        await runtime.performer.close()
        name = await submit(runtime)
        await until(runtime, lambda facts: facts.jobs[name].state is JobState.starting)
        await runtime.loop.abandon()
        async with stage.runtime() as again:
            await until(again, lambda facts: facts.jobs[name].state is JobState.running)
            assert job(again, name).attempts_made == 2
            assert job(again, name).attempts[0].cause is Cause.requeued
            assert job(again, name).retries_used == 0
            assert list(stage.machine.runs) == [f"{name}.2"]

    play(scenario())


def test_a_stop_that_was_ordered_before_a_crash_is_performed_after_it() -> None:
    async def scenario() -> None:
        stage = Stage()
        runtime = await stage.start()
        name = await submit(runtime)
        await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
        await runtime.performer.close()
        await runtime.ask(cmd.CancelJob(job=name, by="ann"))
        await runtime.loop.abandon()
        async with stage.runtime() as again:
            stage.clock.turn(60)
            stage.executor.advance()
            await until(again, ended(name))
            assert job(again, name).state is JobState.cancelled

    play(scenario())


def test_a_lost_attempt_is_tried_again_after_its_back_off() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            name = await submit(runtime)
            await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
            stage.executor.lose(f"{name}.1")
            await until(runtime, lambda facts: facts.jobs[name].state is JobState.queued)
            stage.clock.turn(2)
            await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
            assert job(runtime, name).attempts_made == 2

    play(scenario())


def test_a_flood_of_submits_is_refused_and_a_cancel_still_comes_through() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            name = await submit(runtime)
            stage.ledger.gate.clear()
            room = limits.UNDURABLE_EVENTS_MAX - limits.RESERVED_LANE_EVENTS
            flood = [asyncio.create_task(submit(runtime)) for _ in range(room + 10)]
            cancelling = asyncio.create_task(runtime.ask(cmd.CancelJob(job=name, by="ann")))
            await stage.ledger.waiting.wait()
            for _ in range(3):
                await asyncio.sleep(0)
            refused = [task for task in flood if task.done()]
            assert refused
            for task in refused:
                with pytest.raises(Refused) as caught:
                    task.result()
                assert caught.value.code == "overloaded"
                assert caught.value.retry_after_s
            stage.ledger.gate.set()
            await cancelling
            await asyncio.gather(*flood, return_exceptions=True)
            assert len(runtime.loop.state.facts.jobs) == 1 + len(flood) - len(refused)

    play(scenario())


def test_followers_get_every_event_once_and_in_order() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            seen: list[int] = []

            async def follow() -> None:
                async for batch in runtime.follow(0):
                    seen.extend(seq for seq, _ in batch)
                    if len(seen) >= 40:
                        return

            following = asyncio.create_task(follow())
            for _ in range(40):
                await submit(runtime)
            await following
            assert seen == list(range(1, len(seen) + 1))

    play(scenario())


def test_the_ledger_s_time_does_not_run_backwards() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            first = await submit(runtime)
            stage.clock.at_ms -= 3_600_000
            second = await submit(runtime)
            assert job(runtime, second).submitted_ms >= job(runtime, first).submitted_ms

    play(scenario())


def test_a_defect_in_an_executor_stops_the_runtime_instead_of_leaving_half_of_one() -> None:
    def broken(spec: AttemptSpec) -> Plan:
        raise ZeroDivisionError("a defect")

    async def scenario() -> None:
        stage = Stage(broken)
        runtime = await stage.start()
        await submit(runtime)
        await runtime.loop.stopped.wait()
        assert isinstance(runtime.loop.failure, ZeroDivisionError)
        with pytest.raises(RuntimeStopped):
            await submit(runtime)
        await runtime.close()

    play(scenario())
