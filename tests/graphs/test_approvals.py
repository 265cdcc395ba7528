"""Approval threads: the ledger decides, an answer acts once, and nothing is lost while nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agentorch.errors import Refused
from agentorch.graphs.driver import Supervisor
from agentorch.model.limits import RECONCILE_EVERY_CYCLES
from agentorch.model.proposals import AnswerKind, Draft, ProposalState
from tests.graphs.brains import Saying
from tests.graphs.faults import FaultyPort
from tests.graphs.port import MemoryPort
from tests.graphs.stage import Stage
from tests.graphs.supervising import supervising
from tests.graphs.waiting import eventually

Restart = Callable[[], Stage]
CHECKPOINTS = pytest.mark.parametrize("stored", [False, True], ids=["in memory", "in a file"])


def file_in(tmp_path: Path, stored: bool) -> Path | None:
    return tmp_path / "checkpoints.db" if stored else None


async def ask(supervisor: Supervisor) -> str:
    """The id of the one proposal of the next cycle, which is open."""
    (proposal,) = (await supervisor.run_cycle()).proposals
    assert proposal.state is ProposalState.open
    return proposal.id


@CHECKPOINTS
@pytest.mark.parametrize(("kind", "effects"), [(AnswerKind.approve, 1), (AnswerKind.edit, 1), (AnswerKind.reject, 0)])
def test_an_answer_is_pushed_and_its_thread_ends(
    stage: Stage, tmp_path: Path, stored: bool, kind: AnswerKind, effects: int
) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        brain = Saying((stage.asked(0),), (stage.asked(1),))
        async with supervising(port, brain, checkpoints=file_in(tmp_path, stored)) as supervisor:
            answered, other = await ask(supervisor), await ask(supervisor)
            assert stage.effects(answered) == 0
            await stage.answer(answered, kind)
            await eventually(lambda: stage.effects(answered) == effects)
            await supervisor.threads.push(answered)
            assert await supervisor.threads.waiting() == {other}
            assert port.calls.count(f"carry_out {answered}") == effects
            assert stage.effects(answered) == effects

    asyncio.run(scenario())


def test_an_expiry_is_a_no_and_its_thread_ends(stage: Stage) -> None:
    async def scenario() -> None:
        async with supervising(stage.port, Saying((stage.asked(),))) as supervisor:
            waiting = await ask(supervisor)
            await stage.expire(waiting)
            await supervisor.threads.push(waiting)
            assert await supervisor.threads.waiting() == set()
            assert (stage.state(waiting), stage.effects(waiting)) == ("expired", 0)
            with pytest.raises(Refused):
                await stage.answer(waiting, AnswerKind.approve)

    asyncio.run(scenario())


def test_a_newer_proposal_for_the_same_target_ends_the_older_thread(stage: Stage) -> None:
    async def scenario() -> None:
        async with supervising(stage.port, Saying((stage.asked(),), (stage.asked(),))) as supervisor:
            older, newer = await ask(supervisor), await ask(supervisor)
            await supervisor.threads.push(older)
            assert await supervisor.threads.waiting() == {newer}
            assert stage.state(older) == "superseded"

    asyncio.run(scenario())


@CHECKPOINTS
def test_concurrent_pushes_carry_out_once(stage: Stage, tmp_path: Path, stored: bool) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        async with supervising(port, Saying((stage.asked(),)), checkpoints=file_in(tmp_path, stored)) as supervisor:
            waiting = await ask(supervisor)
            port.gates[waiting] = asyncio.Event()
            pushes = [asyncio.create_task(supervisor.threads.push(waiting)) for _ in range(8)]
            await stage.answer(waiting, AnswerKind.approve)
            port.gates[waiting].set()
            await asyncio.gather(*pushes, supervisor.reconcile())
            await eventually(lambda: stage.effects(waiting) == 1)
            assert port.calls.count(f"carry_out {waiting}") == 1

    asyncio.run(scenario())


def test_of_two_people_the_first_answer_wins(stage: Stage) -> None:
    async def scenario() -> None:
        async with supervising(stage.port, Saying((stage.asked(),))) as supervisor:
            waiting = await ask(supervisor)
            answers = await asyncio.gather(
                stage.answer(waiting, AnswerKind.reject),
                stage.answer(waiting, AnswerKind.approve),
                return_exceptions=True,
            )
            assert [type(answer).__name__ for answer in answers] == ["Proposal", "Refused"]
            await supervisor.threads.push(waiting)
            assert stage.effects(waiting) == 0

    asyncio.run(scenario())


def test_pushing_what_nobody_answered_changes_nothing(stage: Stage) -> None:
    async def scenario() -> None:
        async with supervising(stage.port, Saying((stage.asked(),))) as supervisor:
            waiting = await ask(supervisor)
            await supervisor.threads.push(waiting)
            await supervisor.threads.push("p404")
            assert await supervisor.threads.waiting() == {waiting}
            assert (stage.state(waiting), stage.effects(waiting), stage.alerts()) == ("open", 0, [])

    asyncio.run(scenario())


@CHECKPOINTS
@pytest.mark.parametrize("kind", [AnswerKind.approve, AnswerKind.reject, None], ids=str)
def test_what_happened_while_the_driver_was_down_is_made_good_at_the_start(
    open_stage: Restart, tmp_path: Path, stored: bool, kind: AnswerKind | None
) -> None:
    checkpoints = file_in(tmp_path, stored)

    async def before() -> str:
        stage = open_stage()
        async with supervising(stage.port, Saying((stage.asked(),)), checkpoints=checkpoints) as supervisor:
            waiting = await ask(supervisor)
        await (stage.answer(waiting, kind) if kind else stage.expire(waiting))
        return waiting

    async def after(waiting: str) -> None:
        stage = open_stage()
        for _ in range(2):  # the second start finds it done
            async with supervising(stage.port, Saying(), checkpoints=checkpoints) as supervisor:
                assert stage.effects(waiting) == (1 if kind is AnswerKind.approve else 0)
                assert await supervisor.threads.waiting() == set()

    asyncio.run(after(asyncio.run(before())))


@CHECKPOINTS
def test_what_is_open_at_the_start_waits_again_and_is_answerable(
    open_stage: Restart, tmp_path: Path, stored: bool
) -> None:
    checkpoints = file_in(tmp_path, stored)

    async def before() -> list[str]:
        stage = open_stage()
        brain = Saying(tuple(stage.asked(n) for n in range(3)))
        async with supervising(stage.port, brain, checkpoints=checkpoints) as supervisor:
            return [proposal.id for proposal in (await supervisor.run_cycle()).proposals]

    async def after(waiting: list[str]) -> None:
        stage = open_stage()
        async with supervising(stage.port, Saying(), checkpoints=checkpoints) as supervisor:
            assert await supervisor.threads.waiting() == set(waiting)
            await stage.answer(waiting[1], AnswerKind.approve)
            await eventually(lambda: stage.effects(waiting[1]) == 1)
            assert [stage.state(each) for each in waiting] == ["open", "done", "open"]

    asyncio.run(after(asyncio.run(before())))


def test_an_approved_action_that_could_not_start_is_tried_again(stage: Stage) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        async with supervising(port, Saying((stage.asked(),))) as supervisor:
            waiting = await ask(supervisor)
            port.faults["carry_out"] = OSError("not now")
            await stage.answer(waiting, AnswerKind.approve)
            await eventually(lambda: bool(stage.alerts()))
            for _ in range(2 * RECONCILE_EVERY_CYCLES):
                await supervisor.run_cycle()
            assert (stage.state(waiting), stage.effects(waiting)) == ("approved", 0)
            assert [code for code, _ in stage.alerts()] == ["carry-out-failed"], "one alert, however often it is tried"
            assert port.calls.count(f"carry_out {waiting}") >= 3
            port.faults.clear()
            for _ in range(RECONCILE_EVERY_CYCLES):
                await supervisor.run_cycle()
            assert (stage.state(waiting), stage.effects(waiting)) == ("done", 1)

    asyncio.run(scenario())


def test_a_stream_of_answers_that_breaks_off_loses_none(stage: Stage) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        async with supervising(port, Saying((stage.asked(0),), (stage.asked(1),))) as supervisor:
            lost, heard = await ask(supervisor), await ask(supervisor)
            port.faults["stream"] = OSError("broken pipe")
            await stage.answer(lost, AnswerKind.approve)
            await eventually(lambda: stage.effects(lost) == 1, "the answer that broke the stream")
            assert ("answers-unheard", "OSError: broken pipe") in stage.alerts()
            port.faults.clear()
            await stage.answer(heard, AnswerKind.approve)
            await eventually(lambda: stage.effects(heard) == 1, "an answer on a later stream")

    asyncio.run(scenario())


def test_a_proposal_that_cannot_be_read_does_not_keep_the_others_waiting(stage: Stage) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        async with supervising(port, Saying((stage.asked(0),), (stage.asked(1),))) as supervisor:
            unreadable, other = await ask(supervisor), await ask(supervisor)
            port.faults["proposal", unreadable] = OSError("unreadable")
            port.faults["settled"] = OSError("deaf")
            await stage.answer(unreadable, AnswerKind.approve)
            await stage.answer(other, AnswerKind.approve)
            await supervisor.reconcile()
            assert [stage.effects(each) for each in (unreadable, other)] == [0, 1]
            port.faults.clear()
            await supervisor.reconcile()
            assert stage.effects(unreadable) == 1

    asyncio.run(scenario())


def test_a_ledger_that_cannot_be_listed_is_an_alert_and_asked_again(stage: Stage) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        port.faults["unsettled"] = OSError("no list")
        async with supervising(port, Saying()) as supervisor:
            assert ("reconcile-failed", "OSError: no list") in stage.alerts()
            for _ in range(2 * RECONCILE_EVERY_CYCLES):
                assert (await supervisor.run_cycle()).error == ""
            assert port.calls.count("unsettled") >= 3
            assert len(stage.alerts()) == 1

    asyncio.run(scenario())


def test_what_was_only_allowed_before_a_restart_is_left_to_lapse(open_stage: Restart) -> None:
    async def scenario() -> None:
        stage = open_stage()
        port = FaultyPort(stage.port)
        port.faults["carry_out"] = OSError("crashed here")
        async with supervising(port, Saying((stage.allowed(),))) as supervisor:
            left = (await supervisor.run_cycle()).proposals[0].id
        stage = open_stage()
        async with supervising(stage.port, Saying()) as supervisor:
            await supervisor.reconcile()
            assert (stage.state(left), stage.effects(left)) == ("allowed", 0)
            assert await supervisor.threads.waiting() == set()

    asyncio.run(scenario())


@pytest.mark.parametrize("pool", ["ask", "gpu"])
def test_when_the_world_moved_it_is_asked_again(pool: str) -> None:
    async def scenario() -> None:
        port = MemoryPort()
        draft = Draft(action={"kind": "scale", "pool": pool, "workers": 3})
        port.moved = {"p1"}
        async with supervising(port, Saying((draft,))) as supervisor:
            await supervisor.run_cycle()
            if pool == "ask":
                await port.answer("p1", AnswerKind.approve)
                await eventually(lambda: not port.moved)
                await supervisor.threads.push("p1")
            assert (port.record.proposals["p1"].state, port.record.effects) == ("open", [])
            assert await supervisor.threads.waiting() == {"p1"}
            await port.answer("p1", AnswerKind.approve)
            await eventually(lambda: port.record.effects == ["p1"])

    asyncio.run(scenario())
