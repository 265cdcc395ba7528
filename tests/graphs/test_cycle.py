"""One cycle after another: what is dispatched, what a failure costs, and that nothing waits for a person."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from agentorch.errors import RuntimeStopped
from agentorch.graphs.driver import Supervisor
from agentorch.model.proposals import AnswerKind, Mode, ProposalState
from tests.graphs.brains import Raising, Saying
from tests.graphs.faults import FaultyPort
from tests.graphs.stage import Stage
from tests.graphs.supervising import supervising
from tests.graphs.waiting import eventually


def states(stage: Stage, *proposals: str) -> list[ProposalState]:
    return [stage.state(proposal) for proposal in proposals]


def types_in(value: object) -> set[type]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return {type(value)}.union(*map(types_in, inside))


def test_each_ruling_is_dispatched_its_own_way(stage: Stage) -> None:
    async def scenario() -> None:
        brain = Saying((stage.allowed(), stage.asked(), stage.denied()))
        async with supervising(stage.port, brain) as supervisor:
            result = await supervisor.run_cycle()
            done, waiting, denied = (proposal.id for proposal in result.proposals)
            assert [verdict.ruling for verdict in result.verdicts] == ["allow", "ask", "deny"]
            assert states(stage, done, waiting, denied) == ["done", "open", "denied"]
            assert [proposal.state for proposal in result.proposals] == ["done", "open", "denied"]
            assert [stage.effects(each) for each in (done, waiting, denied)] == [1, 0, 0]
            assert await supervisor.threads.waiting() == {waiting}
            assert (result.failures, result.error) == ((), "")

    asyncio.run(scenario())


def test_a_draft_that_is_no_action_is_recorded_as_denied(stage: Stage) -> None:
    async def scenario() -> None:
        nonsense = msgspec.structs.replace(stage.allowed(), action=["rm", "-rf", {"deep": [1.5, None, True]}])
        async with supervising(stage.port, Saying((nonsense,))) as supervisor:
            result = await supervisor.run_cycle()
            assert [proposal.state for proposal in result.proposals] == ["denied"]
            assert result.proposals[0].raw == ["rm", "-rf", {"deep": [1.5, None, True]}]

    asyncio.run(scenario())


def test_a_waiting_approval_does_not_hold_up_the_next_cycles(stage: Stage) -> None:
    async def scenario() -> None:
        brain = Saying((stage.asked(),), (stage.allowed(1),), (stage.allowed(2),))
        async with supervising(stage.port, brain) as supervisor:
            waiting = (await supervisor.run_cycle()).proposals[0].id
            later = [(await supervisor.run_cycle()).proposals[0].id for _ in range(2)]
            assert states(stage, waiting, *later) == ["open", "done", "done"]
            await stage.answer(waiting, AnswerKind.approve)
            await eventually(lambda: stage.state(waiting) is ProposalState.done)

    asyncio.run(scenario())


def test_paused_observes_and_records_but_asks_no_brain(stage: Stage) -> None:
    async def scenario() -> None:
        brain = Saying((stage.allowed(),))
        async with supervising(stage.port, brain) as supervisor:
            await stage.set_mode(Mode.paused)
            held = await supervisor.run_cycle()
            assert (brain.asked, held.proposals) == (0, ())
            assert stage.reports()[-1].hold.startswith("paused")
            await stage.set_mode(Mode.guarded)
            acted = await supervisor.run_cycle()
            assert held.observation is not None
            assert acted.observation is not None
            assert acted.observation.cycle == held.observation.cycle + 1
            assert states(stage, acted.proposals[0].id) == ["done"]

    asyncio.run(scenario())


@pytest.mark.parametrize(("mode", "state"), [(Mode.observe, "observed"), (Mode.approve, "open")])
def test_a_safer_mode_lets_nothing_act(stage: Stage, mode: Mode, state: str) -> None:
    async def scenario() -> None:
        async with supervising(stage.port, Saying((stage.allowed(),))) as supervisor:
            await stage.set_mode(mode)
            proposal = (await supervisor.run_cycle()).proposals[0]
            assert (proposal.state, stage.effects(proposal.id)) == (state, 0)

    asyncio.run(scenario())


def test_one_action_that_fails_does_not_stop_the_others(stage: Stage) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        brain = Saying((stage.allowed(0), stage.asked(), stage.allowed(1)), tuple(stage.allowed(n) for n in (2, 3)))
        async with supervising(port, brain) as supervisor:
            port.faults["carry_out", "p1"] = OSError("the disk is gone")
            result = await supervisor.run_cycle()
            assert [stage.effects(proposal.id) for proposal in result.proposals] == [0, 0, 1]
            assert await supervisor.threads.waiting() == {result.proposals[1].id}
            assert "the disk is gone" in result.failures[0]
            assert [code for code, _ in stage.alerts()] == ["carry-out-failed"]
            assert (await supervisor.run_cycle()).failures == ()

    asyncio.run(scenario())


def test_drafts_that_cannot_be_previewed_are_not_handed_in(stage: Stage) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        async with supervising(port, Saying((stage.allowed(),))) as supervisor:
            port.faults["preview"] = ValueError("broken rule")
            result = await supervisor.run_cycle()
            assert result.proposals == ()
            assert "broken rule" in stage.reports()[-1].error
            assert stage.reports()[-1].drafts == ()

    asyncio.run(scenario())


@pytest.mark.parametrize("step", ["observe", "hand_in"])
def test_a_broken_cycle_is_one_alert_and_the_next_one_works(stage: Stage, step: str) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        brain = Saying((), (), (), (stage.allowed(),))
        async with supervising(port, brain) as supervisor:
            port.faults[step] = OSError("no")
            assert "OSError: no" in (await supervisor.run_cycle()).error
            assert "OSError: no" in (await supervisor.run_cycle()).error
            assert [code for code, _ in stage.alerts()] == ["cycle-failed"]
            del port.faults[step]
            assert (await supervisor.run_cycle()).error == ""
            port.faults[step] = OSError("no")
            assert "OSError: no" in (await supervisor.run_cycle()).error
            assert [code for code, _ in stage.alerts()] == ["cycle-failed", "cycle-failed"]

    asyncio.run(scenario())


def test_the_loop_goes_on_after_broken_cycles_and_ends_with_the_runtime(stage: Stage) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        port.faults["observe"] = OSError("no")
        brain = Saying((stage.allowed(),))
        async with supervising(port, brain, ticking=True) as supervisor:
            await eventually(lambda: port.calls.count("observe") >= 3, "three tries")
            assert brain.asked == 0
            port.faults.clear()
            await eventually(lambda: stage.effects("p1") == 1, "the effect")
            stage.stop()
            with pytest.raises(RuntimeStopped):
                await supervisor.run_cycle()
            await eventually(lambda: all(task.done() for task in supervisor._tasks), "the end of the loop")

    asyncio.run(scenario())


def test_an_alert_that_cannot_be_recorded_ends_nothing(stage: Stage) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        async with supervising(port, Saying((), (stage.allowed(),))) as supervisor:
            port.faults.update({"observe": OSError("no"), "alert": OSError("no alert either")})
            assert (await supervisor.run_cycle()).error
            port.faults.clear()
            assert (await supervisor.run_cycle()).error == ""

    asyncio.run(scenario())


def test_the_graph_state_is_json_and_no_more(stage: Stage) -> None:
    async def scenario() -> None:
        brain = Saying((stage.allowed(), stage.asked(), stage.denied()))
        async with supervising(stage.port, brain) as supervisor:
            state = await supervisor._cycle.compiled.ainvoke({"failures": []})
            assert set(state) == {"observation", "report", "verdicts", "proposals", "failures"}
            text = json.dumps(state, allow_nan=False)
            assert json.dumps(json.loads(text)) == text
            assert types_in(state) <= {dict, list, tuple, str, int, float, bool, type(None)}

    asyncio.run(scenario())


def test_cycles_never_overlap(stage: Stage) -> None:
    async def scenario() -> None:
        port = FaultyPort(stage.port)
        async with supervising(port, Saying()) as supervisor:
            port.calls.clear()
            await asyncio.gather(*(supervisor.run_cycle() for _ in range(3)))
            assert [call for call in port.calls if call in ("observe", "hand_in")] == ["observe", "hand_in"] * 3

    asyncio.run(scenario())


def test_a_new_supervisor_on_the_same_record_goes_on(open_stage: Callable[[], Stage]) -> None:
    async def one(drafts: int) -> int:
        stage = open_stage()
        brain = Saying(tuple(stage.allowed(n) for n in range(drafts)))
        async with supervising(stage.port, brain) as supervisor:
            result = await supervisor.run_cycle()
            assert result.observation is not None
            return result.observation.cycle

    assert [asyncio.run(one(2)), asyncio.run(one(0))] == [1, 2]


def test_a_closed_supervisor_can_be_started_again(stage: Stage) -> None:
    async def scenario() -> None:
        supervisor = Supervisor(
            stage.port,
            Saying((stage.asked(),)),
            Raising(ValueError()),
            cycle_s=0.0,
            timeout_s=1.0,
            checkpoints=None,
        )
        await supervisor.start(ticking=False)
        waiting = (await supervisor.run_cycle()).proposals[0].id
        await supervisor.close()
        await supervisor.close()
        await stage.answer(waiting, AnswerKind.approve)
        assert stage.effects(waiting) == 0
        await supervisor.start(ticking=False)
        assert stage.effects(waiting) == 1
        await supervisor.close()

    asyncio.run(scenario())


def test_a_start_on_a_stopped_runtime_leaves_nothing_open(stage: Stage, tmp_path: Path) -> None:
    async def scenario() -> None:
        stage.stop()
        file = tmp_path / "checkpoints.db"
        supervisor = Supervisor(stage.port, Saying(), Saying(), cycle_s=0.0, timeout_s=1.0, checkpoints=file)
        with pytest.raises(RuntimeStopped):
            await supervisor.start()
        assert supervisor._tasks == []
        assert [thread.name for thread in threading.enumerate() if "connection" in thread.name] == []

    asyncio.run(scenario())
