"""Gangs through the runtime: every rank is launched, stopped, found again, and never run twice."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from agentorch.executors.fake import Plan
from agentorch.model import commands as cmd
from agentorch.model.attempts import AttemptSpec
from agentorch.model.jobs import Cause, EntryPoint, JobState
from tests.runtime.stage import Stage, ended, job, submit, until


def play(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario

    asyncio.run(bounded())


def test_every_rank_is_launched_with_its_place_and_all_end_as_one() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            name = await submit(runtime, gang=2, env={"OWN": "1"})
            await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
            specs = [stage.machine.runs[one].spec for one in (f"{name}.1", f"{name}.1+1")]
            assert [spec.rank for spec in specs] == [0, 1]
            assert {spec.worker for spec in specs} == {"cpu-0", "cpu-1"}
            assert [spec.env["RANK"] for spec in specs] == ["0", "1"]
            assert all(spec.env["OWN"] == "1" for spec in specs)
            stage.executor.finish(f"{name}.1+1", Plan(exit_code=4))
            await until(runtime, ended(name))
            found = job(runtime, name)
            assert (found.state, found.attempts[-1].exit_code) == (JobState.failed, 4)
            assert [rank.cause for rank in found.attempts[-1].ranks] == [Cause.gang, Cause.error]

    play(scenario())


def test_a_gang_that_was_launched_in_part_is_begun_anew_as_a_whole_at_no_cost() -> None:
    async def scenario() -> None:
        stage = Stage()
        runtime = await stage.start()
        await runtime.performer.close()
        name = await submit(runtime, gang=2)
        await until(runtime, lambda facts: facts.jobs[name].state is JobState.starting)
        await runtime.loop.abandon()
        await stage.executor.open(1)
        await stage.executor.launch([AttemptSpec(id=f"{name}.1", job=name, number=1, worker="cpu-0")])
        async with stage.runtime() as again:
            await until(again, lambda facts: facts.jobs[name].attempts_made == 2)
            await until(again, lambda facts: facts.jobs[name].state is JobState.running)
            first = job(again, name).attempts[0]
            assert (first.cause, job(again, name).retries_used) == (Cause.requeued, 0)
            assert [rank.cause for rank in first.ranks] == [Cause.gang, Cause.requeued]
            assert sorted(stage.machine.runs) == [f"{name}.1", f"{name}.2", f"{name}.2+1"]

    play(scenario())


def test_ranks_that_were_to_be_stopped_when_it_crashed_are_stopped_after_it() -> None:
    async def scenario() -> None:
        stage = Stage()
        runtime = await stage.start()
        name = await submit(runtime, gang=2)
        await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
        await runtime.performer.close()
        await runtime.ask(
            cmd.ReportEnded(job=name, attempt=1, rank=1, cause=Cause.error, started_ms=1, ended_ms=2, exit_code=5)
        )
        await runtime.loop.abandon()
        async with stage.runtime() as again:
            stage.clock.turn(60)
            stage.executor.advance()
            await until(again, ended(name))
            assert (job(again, name).cause, job(again, name).attempts[-1].exit_code) == (Cause.error, 5)

    play(scenario())


def test_a_restart_finds_all_ranks_and_goes_on() -> None:
    async def scenario() -> None:
        stage = Stage()
        runtime = await stage.start()
        name = await submit(runtime, gang=2)
        await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
        await runtime.abandon()
        stage.executor.finish(f"{name}.1+1")
        async with stage.runtime() as again:
            assert job(again, name).state is JobState.running
            stage.executor.finish(f"{name}.1")
            await until(again, ended(name))
            assert (job(again, name).state, job(again, name).attempts_made) == (JobState.succeeded, 1)

    play(scenario())


def test_an_entry_point_goes_to_the_executor_as_it_is() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            entry = EntryPoint(call="m:f", args=(1, [2]), kwargs={"k": None})
            name = await submit(runtime, command=(), entry=entry)
            await until(runtime, lambda facts: facts.jobs[name].state is JobState.running)
            assert stage.machine.runs[f"{name}.1"].spec.entry == entry
            assert stage.machine.runs[f"{name}.1"].spec.command == ()

    play(scenario())
