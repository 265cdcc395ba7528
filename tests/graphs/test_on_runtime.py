"""The graphs on the real runtime: its ledger decides, its people answer, its clock expires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agentorch.core.policy import RuleBrain
from agentorch.errors import Refused, RuntimeStopped
from agentorch.executors.fake import Plan
from agentorch.model import commands as cmd
from agentorch.model.events import ActionStarted
from agentorch.model.limits import APPROVAL_TTL_MS, SECOND_MS
from agentorch.model.proposals import AnswerKind, Draft, Mode, Proposal, ProposalState
from agentorch.runtime.port import RuntimePort
from agentorch.runtime.runtime import Runtime
from tests.graphs.brains import Saying
from tests.graphs.supervising import supervising
from tests.graphs.waiting import eventually
from tests.runtime.stage import Stage, submit

TELL = Draft(action={"kind": "alert", "text": "look at pool cpu"}, reason="a test wants it")


async def answer(runtime: Runtime, proposal: Proposal, kind: AnswerKind = AnswerKind.approve) -> None:
    await runtime.ask(cmd.AnswerApproval(proposal=proposal.id, kind=kind, by="operator", hash=proposal.hash))


def is_now(runtime: Runtime, proposal: Proposal, state: ProposalState) -> Callable[[], bool]:
    return lambda: runtime.loop.state.facts.proposals[proposal.id].state is state


async def times_started(stage: Stage, proposal: Proposal) -> int:
    events = [event async for batch in stage.ledger.read() for _, event in batch]
    return sum(isinstance(event, ActionStarted) and event.proposal == proposal.id for event in events)


async def ask_for_approvals(runtime: Runtime) -> None:
    await runtime.ask(cmd.SetMode(mode=Mode.approve, by="operator"))


def test_what_is_allowed_is_carried_out_in_its_cycle() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime, supervising(RuntimePort(runtime), Saying((TELL,))) as supervisor:
            (proposal,) = (await supervisor.run_cycle()).proposals
            assert proposal.state is ProposalState.done
            assert await times_started(stage, proposal) == 1

    asyncio.run(scenario())


def test_the_rule_brain_runs_many_cycles_without_a_failure() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            for _ in range(20):
                await submit(runtime)
            async with supervising(RuntimePort(runtime), RuleBrain()) as supervisor:
                for _ in range(10):
                    result = await supervisor.run_cycle()
                    assert (result.error, result.failures) == ("", ())
                    assert result.report is not None
                    assert (result.report.error, result.report.fallback_from) == ("", "")
                    stage.clock.turn(30.0)

    asyncio.run(scenario())


def test_the_rule_brain_asks_the_twin_and_its_proposal_carries_what_was_foreseen() -> None:
    async def scenario() -> None:
        stage = Stage(script=lambda _: Plan(run_ms=600_000))
        async with stage.runtime() as runtime, supervising(RuntimePort(runtime), RuleBrain()) as supervisor:
            for _ in range(20):
                await submit(runtime, max_duration_ms=900_000)
            stage.clock.turn(61.0)
            (proposal,) = (await supervisor.run_cycle()).proposals
            assert proposal.title == "Grow cpu from 2 to 4 workers"
            assert proposal.evidence[-1].startswith("foreseen, ")
            assert proposal.alternatives[0].startswith("do nothing: p95 of waits ")
            assert proposal.alternatives[1].startswith("scale cpu to 3: ")
            assert proposal.impact is not None
            assert proposal.impact.gain_s.low > 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("kind", "state", "started"),
    [(AnswerKind.approve, ProposalState.done, 1), (AnswerKind.reject, ProposalState.rejected, 0)],
)
def test_an_answer_is_acted_on_once(kind: AnswerKind, state: ProposalState, started: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            await ask_for_approvals(runtime)
            checkpoints = tmp_path / "checkpoints.db"
            port = RuntimePort(runtime)
            async with supervising(port, Saying((TELL,)), checkpoints=checkpoints) as supervisor:
                (proposal,) = (await supervisor.run_cycle()).proposals
                assert proposal.state is ProposalState.open
                await supervisor.run_cycle()
                await answer(runtime, proposal, kind)
                await eventually(is_now(runtime, proposal, state))
                await asyncio.gather(*(supervisor.threads.push(proposal.id) for _ in range(4)))
                assert await supervisor.threads.waiting() == set()
                assert await times_started(stage, proposal) == started
                with pytest.raises(Refused):
                    await answer(runtime, proposal)

    asyncio.run(scenario())


@pytest.mark.parametrize("restart", ["the supervisor", "the runtime too"])
def test_an_answer_while_the_supervisor_is_down_is_acted_on_at_its_start(restart: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage = Stage()
        runtime = await stage.start()
        await ask_for_approvals(runtime)
        async with supervising(RuntimePort(runtime), Saying((TELL,)), checkpoints=tmp_path / "one.db") as supervisor:
            (proposal,) = (await supervisor.run_cycle()).proposals
        await answer(runtime, proposal)
        if restart == "the runtime too":
            await runtime.close()
            runtime = await stage.start()
        assert is_now(runtime, proposal, ProposalState.approved)()
        async with supervising(RuntimePort(runtime), Saying(), checkpoints=tmp_path / "another.db"):
            assert is_now(runtime, proposal, ProposalState.done)()
        assert await times_started(stage, proposal) == 1
        await runtime.close()

    asyncio.run(scenario())


def test_what_nobody_answers_expires_and_its_thread_ends() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            await ask_for_approvals(runtime)
            async with supervising(RuntimePort(runtime), Saying((TELL,))) as supervisor:
                (proposal,) = (await supervisor.run_cycle()).proposals
                stage.clock.turn(APPROVAL_TTL_MS / SECOND_MS + 1)
                await eventually(is_now(runtime, proposal, ProposalState.expired))
                await supervisor.threads.push(proposal.id)
                assert await supervisor.threads.waiting() == set()
                assert await times_started(stage, proposal) == 0

    asyncio.run(scenario())


def test_paused_holds_and_the_cycles_go_on_being_recorded() -> None:
    async def scenario() -> None:
        stage = Stage()
        async with stage.runtime() as runtime:
            await runtime.ask(cmd.SetMode(mode=Mode.paused, by="operator"))
            brain = Saying((TELL,))
            async with supervising(RuntimePort(runtime), brain) as supervisor:
                cycles = [await supervisor.run_cycle() for _ in range(3)]
            assert [cycle.observation.cycle for cycle in cycles if cycle.observation] == [1, 2, 3]
            assert brain.asked == 0

    asyncio.run(scenario())


def test_the_loop_ends_with_the_runtime() -> None:
    async def scenario() -> None:
        stage = Stage()
        runtime = await stage.start()
        async with supervising(RuntimePort(runtime), Saying(), ticking=True) as supervisor:
            await eventually(lambda: runtime.loop.state.facts.cycle >= 2)
            await runtime.close()
            with pytest.raises(RuntimeStopped):
                await supervisor.run_cycle()
            await eventually(lambda: all(task.done() for task in supervisor._tasks))

    asyncio.run(scenario())
