"""The twin on the real runtime: proposals carry what it foresaw, nobody waits for it, and its failure stops nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentorch.core.facts import Facts
from agentorch.model import commands as cmd
from agentorch.model.proposals import AnswerKind, BrainReport, Draft, Mode, ProposalState, Ruling
from agentorch.model.twin import OUTDATED
from agentorch.runtime import foresight
from agentorch.runtime.port import RuntimePort
from agentorch.runtime.runtime import Runtime
from tests.runtime.stage import Stage, submit

GROW = Draft(action={"kind": "scale", "pool": "cpu", "workers": 4}, reason="a test wants it")


def report(*drafts: Draft) -> BrainReport:
    return BrainReport(brain="b", drafts=drafts)


async def crowd(runtime: Runtime, count: int) -> None:
    for _ in range(count):
        await submit(runtime, max_duration_ms=600_000)


def facts(runtime: Runtime) -> Facts:
    return runtime.loop.state.facts


def test_a_proposal_carries_what_was_foreseen_and_keeps_it_over_a_restart() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            await crowd(runtime, 20)
            port = RuntimePort(runtime)
            seen = await port.observe()
            outlook = await port.foresee((GROW,))
            (proposal,) = await port.hand_in(seen.cycle, report(GROW))
            assert proposal.impact == outlook.impacts[0]
            assert proposal.impact.gain_s.low > 0
        async with stage.runtime() as runtime:
            assert facts(runtime).proposals[proposal.id].impact == proposal.impact

    asyncio.run(scenario())


def test_what_was_not_asked_before_is_foreseen_when_it_is_handed_in() -> None:
    async def scenario() -> None:
        async with Stage().runtime() as runtime:
            await crowd(runtime, 20)
            port = RuntimePort(runtime)
            cycle = (await port.observe()).cycle
            nonsense = Draft(action=float("nan"))
            grown, denied, odd = await port.hand_in(
                cycle, report(GROW, Draft(action={"kind": "scale", "pool": "moon", "workers": 1}), nonsense)
            )
            assert grown.impact is not None
            assert grown.impact.acted is not None
            assert denied.verdict.ruling is odd.verdict.ruling is Ruling.deny
            assert denied.impact is odd.impact is None

    asyncio.run(scenario())


def test_the_loop_goes_on_while_the_twin_runs_and_does_not_change_its_answer() -> None:
    async def scenario() -> None:
        async with Stage().runtime() as runtime:
            await crowd(runtime, 30)
            port = RuntimePort(runtime)
            await port.observe()
            alone = await port.foresee((GROW,))
            asked = asyncio.create_task(port.foresee((GROW,)))
            turns = 0
            while not asked.done():
                turns += 1
                if turns == 5:
                    await submit(runtime)
                await asyncio.sleep(0)
            assert turns > 50
            assert await asked == alone
            assert await port.foresee((GROW,)) != alone  # now there is one more

    asyncio.run(scenario())


def test_an_answer_that_comes_in_the_next_cycle_is_not_that_cycles() -> None:
    async def scenario() -> None:
        async with Stage().runtime() as runtime:
            await crowd(runtime, 30)
            port = RuntimePort(runtime)
            await port.observe()
            asked = asyncio.create_task(port.foresee((GROW,)))
            for _ in range(5):
                await asyncio.sleep(0)
            assert not asked.done()
            await crowd(runtime, 5)
            cycle = (await port.observe()).cycle
            assert not asked.done()
            late = await asked
            (proposal,) = await port.hand_in(cycle, report(GROW))
            assert proposal.impact is not None
            assert proposal.impact != late.impacts[0]
            assert proposal.impact == (await port.foresee((GROW,))).impacts[0]

    asyncio.run(scenario())


def test_a_twin_that_fails_keeps_no_proposal_from_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **options: Any) -> Any:
        raise ZeroDivisionError("a defect")

    async def scenario() -> None:
        async with Stage().runtime() as runtime:
            await crowd(runtime, 5)
            port = RuntimePort(runtime)
            monkeypatch.setattr(foresight, "compare", broken)
            for workers in (3, 4):
                draft = Draft(action={"kind": "scale", "pool": "cpu", "workers": workers})
                (proposal,) = await port.hand_in((await port.observe()).cycle, report(draft))
                assert proposal.impact is None
                assert proposal.action is not None
            alerts = [alert for alert in facts(runtime).alerts if alert.code == "twin-failed"]
            assert [alert.text for alert in alerts] == [
                "proposals have no computed impact: ZeroDivisionError: a defect"
            ]

    asyncio.run(scenario())


def test_an_impact_is_old_once_the_world_has_moved() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            await crowd(runtime, 20)
            await runtime.ask(cmd.SetMode(mode=Mode.approve, by="op"))
            port = RuntimePort(runtime)
            (proposal,) = await port.hand_in((await port.observe()).cycle, report(GROW))
            assert proposal.state is ProposalState.open
            assert proposal.impact is not None
            await runtime.ask(cmd.ScalePool(pool="cpu", workers=3, by="op"))
            await runtime.ask(cmd.Tick())
            moved = facts(runtime).proposals[proposal.id]
            assert moved.changed == 1
            assert moved.impact is not None
            assert moved.impact.text == OUTDATED
            await port.hand_in((await port.observe()).cycle, report())
            renewed = facts(runtime).proposals[proposal.id].impact
            assert renewed is not None
            assert (renewed.text, renewed.gain_s == proposal.impact.gain_s) == ("", False)
            await runtime.ask(cmd.ScalePool(pool="cpu", workers=2, by="op"))
            await runtime.ask(cmd.Tick())
            moved = facts(runtime).proposals[proposal.id]
            answer = cmd.AnswerApproval(proposal=moved.id, kind=AnswerKind.approve, by="op", hash=moved.hash)
            await runtime.ask(answer)
            await port.carry_out(moved.id)
            assert facts(runtime).watched == {}

    asyncio.run(scenario())


def test_an_action_carried_out_is_scored_on_the_runtimes_clock() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            await crowd(runtime, 20)
            port = RuntimePort(runtime)
            (proposal,) = await port.hand_in((await port.observe()).cycle, report(GROW))
            await port.carry_out(proposal.id)
            assert proposal.impact is not None
            stage.clock.at_ms += int(1000 * proposal.impact.horizon_s)
            await runtime.ask(cmd.Tick())
            score = facts(runtime).proposals[proposal.id].score
            assert score is not None
            assert score.measures

    asyncio.run(scenario())
