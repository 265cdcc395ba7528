"""Brains that misbehave: recorded, nothing acts, and after a while another one decides."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, cast

import pytest
from langgraph.types import Command, interrupt

from agentorch.model.limits import (
    BRAIN_FAILURES_BEFORE_FALLBACK,
    BRAIN_PREVIEWS_PER_CYCLE,
    BRAIN_PROBE_EVERY_CYCLES,
    PROPOSALS_PER_CYCLE,
    REASON_MAX_CHARS,
)
from agentorch.model.proposals import BrainReport, Draft, Exchange
from tests.graphs.brains import Answering, Hanging, Previewing, Raising, Saying, Swallowing
from tests.graphs.stage import Stage
from tests.graphs.supervising import supervising
from tests.graphs.waiting import eventually

SCALE = {"kind": "scale", "pool": "gpu-0", "workers": 3}


class Unreadable(Exception):
    def __str__(self) -> str:
        raise ValueError("no message for you")


class Unnatural(BaseException):
    pass


def report(*actions: object, **fields: Any) -> BrainReport:
    return BrainReport(brain="liar", drafts=tuple(Draft(action=action) for action in actions), **fields)


def drafted(**fields: Any) -> BrainReport:
    return BrainReport(brain="liar", drafts=(Draft(action=SCALE, **fields),))


def endless() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


NONSENSE: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "text": lambda: "scale gpu to 3",
    "a dict": lambda: {"brain": "liar", "drafts": []},
    "the class": lambda: BrainReport,
    "a graph command": lambda: Command(goto="dispatch", update={"report": {}}),
    "thousands of drafts": lambda: report(*[SCALE] * 5_000),
    "one draft too many": lambda: report(*[SCALE] * (PROPOSALS_PER_CYCLE + 1)),
    "drafts that are no list": lambda: BrainReport(brain="liar", drafts=cast(Any, 7)),
    "drafts that are dicts": lambda: BrainReport(brain="liar", drafts=cast(Any, (SCALE,))),
    "NaN": lambda: report({**SCALE, "workers": math.nan}),
    "infinity": lambda: report({**SCALE, "workers": math.inf}),
    "an endless integer": lambda: report({**SCALE, "workers": 10**400}),
    "a set": lambda: report({**SCALE, "pool": {"gpu"}}),
    "bytes": lambda: report({**SCALE, "pool": b"gpu"}),
    "a function": lambda: report(print),
    "keys that are numbers": lambda: report({1: "scale"}),
    "a list in itself": lambda: report(endless()),
    "a wide action": lambda: report([0] * 100_000),
    "a huge name": lambda: report({**SCALE, "pool": "x" * 10_000_000}),
    "a huge reason": lambda: drafted(reason="x" * 10_000_000),
    "many long reasons": lambda: drafted(evidence=tuple("x" * 50_000 for _ in range(10))),
    "a reason that is a number": lambda: drafted(reason=cast(Any, 7)),
    "evidence that is text": lambda: drafted(evidence=cast(Any, "because")),
    "a hold that is a list": lambda: BrainReport(brain="liar", hold=cast(Any, [])),
    "an exchange of bytes": lambda: report(exchanges=(Exchange(model="m", request=cast(Any, b""), response=""),)),
    "an exchange with NaN tokens": lambda: report(
        exchanges=(Exchange(model="m", request="", response="", tokens_in=cast(Any, math.nan)),)
    ),
    "a huge exchange": lambda: report(exchanges=(Exchange(model="m", request="x" * 5_000_000, response=""),)),
}


@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_nonsense_is_recorded_and_nothing_acts(stage: Stage, name: str) -> None:
    async def scenario() -> None:
        async with supervising(stage.port, Answering(NONSENSE[name])) as supervisor:
            result = await supervisor.run_cycle()
            assert (result.error, result.proposals) == ("", ())
            recorded = stage.reports()[-1]
            assert recorded.brain == "answering"
            assert recorded.error
            assert len(recorded.error) <= REASON_MAX_CHARS
            assert recorded.drafts == ()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x" * 1_000_000 + "\ud800\x1b[2J"),
        Unreadable(),
        Unnatural("not even an Exception"),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError("says the brain"),
        TimeoutError(),
        StopAsyncIteration(),
        ExceptionGroup("two", [ValueError(), KeyError()]),
        RecursionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_brain_raises_is_a_held_cycle(stage: Stage, error: BaseException) -> None:
    async def scenario() -> None:
        async with supervising(stage.port, Raising(error)) as supervisor:
            result = await supervisor.run_cycle()
            assert (result.error, result.proposals) == ("", ())
            assert stage.reports()[-1].error.isprintable()
            assert stage.reports()[-1].error

    asyncio.run(scenario())


def test_a_brain_that_interrupts_the_graph_does_not_stop_it(stage: Stage) -> None:
    async def scenario() -> None:
        async with supervising(stage.port, Answering(lambda: interrupt("let me wait"))) as supervisor:
            assert (await supervisor.run_cycle()).error == ""
            assert stage.reports()[-1].error

    asyncio.run(scenario())


def test_a_brain_that_hangs_is_cancelled_and_recorded(stage: Stage) -> None:
    async def scenario() -> None:
        brain = Hanging()
        async with supervising(stage.port, brain, timeout_s=0.01) as supervisor:
            await supervisor.run_cycle()
            assert brain.cancelled == 1
            assert "did not answer within 0.01 s" in stage.reports()[-1].error

    asyncio.run(scenario())


def test_a_brain_that_swallows_cancellation_holds_nothing_up(stage: Stage) -> None:
    async def scenario() -> None:
        brain = Swallowing()
        fallback = Saying((stage.allowed(),))
        async with supervising(stage.port, brain, fallback, timeout_s=0.01) as supervisor:
            for _ in range(BRAIN_FAILURES_BEFORE_FALLBACK):
                await supervisor.run_cycle()
            assert brain.swallowed >= 1
            assert brain.asked == 1, "it is not asked again while its old call still runs"
            assert "still runs" in stage.reports()[-1].error
            assert [each.state for each in (await supervisor.run_cycle()).proposals] == ["done"]
            reports = len(stage.reports())
            brain.release.set()
            await eventually(brain.ended.is_set, "the end of the old call")
            assert brain.late == ["Refused"], "its time is over, and so are its previews"
            assert len(stage.reports()) == reports, "what it says too late is not heard"

    asyncio.run(scenario())


def test_closing_does_not_wait_for_a_brain(stage: Stage) -> None:
    async def scenario() -> None:
        swallowing, hanging = Swallowing(), Hanging()
        async with supervising(stage.port, swallowing, ticking=True):
            await eventually(lambda: swallowing.asked == 1)
        async with supervising(stage.port, hanging, ticking=True):
            await hanging.began.wait()
        await eventually(lambda: hanging.cancelled == 1)
        assert not swallowing.ended.is_set(), "it was closed while this brain still held on"
        swallowing.release.set()
        await swallowing.ended.wait()

    asyncio.run(scenario())


def test_after_failures_in_a_row_the_fallback_decides_until_the_brain_is_back(stage: Stage) -> None:
    async def scenario() -> None:
        brain, fallback = Raising(ValueError("no answer")), Saying(id="rules")
        async with supervising(stage.port, brain, fallback) as supervisor:
            for _ in range(BRAIN_FAILURES_BEFORE_FALLBACK + BRAIN_PROBE_EVERY_CYCLES - 1):
                await supervisor.run_cycle()
            assert brain.asked == BRAIN_FAILURES_BEFORE_FALLBACK
            assert fallback.asked == BRAIN_PROBE_EVERY_CYCLES - 1
            last = stage.reports()[-1]
            assert (last.brain, last.fallback_from, last.error) == ("rules", "raising", "")
            assert [code for code, _ in stage.alerts()] == ["brain-fallback"]

            await supervisor.run_cycle()
            assert brain.asked == BRAIN_FAILURES_BEFORE_FALLBACK + 1, "the brain is probed"
            assert (stage.reports()[-1].brain, stage.reports()[-1].drafts) == ("raising", ())
            brain.well = True
            for _ in range(BRAIN_PROBE_EVERY_CYCLES + 1):
                await supervisor.run_cycle()
            assert [each.hold for each in stage.reports()[-2:]] == ["well again"] * 2
            assert [code for code, _ in stage.alerts()] == ["brain-fallback", "brain-back"]

    asyncio.run(scenario())


def test_failures_must_be_in_a_row(stage: Stage) -> None:
    async def scenario() -> None:
        brain, fallback = Raising(ValueError("now and then")), Saying(id="rules")
        async with supervising(stage.port, brain, fallback) as supervisor:
            for cycle in range(4 * BRAIN_FAILURES_BEFORE_FALLBACK):
                brain.well = cycle % BRAIN_FAILURES_BEFORE_FALLBACK == 0
                await supervisor.run_cycle()
            assert (fallback.asked, stage.alerts()) == (0, [])

    asyncio.run(scenario())


def test_a_fallback_that_fails_too_is_an_alert_and_a_hold(stage: Stage) -> None:
    async def scenario() -> None:
        brain, fallback = Raising(ValueError("one")), Raising(ValueError("two"), id="rules")
        async with supervising(stage.port, brain, fallback) as supervisor:
            for _ in range(BRAIN_FAILURES_BEFORE_FALLBACK + 2):
                assert (await supervisor.run_cycle()).error == ""
            assert [code for code, _ in stage.alerts()] == ["brain-fallback", "fallback-failed"]
            assert (stage.reports()[-1].brain, stage.reports()[-1].fallback_from) == ("rules", "raising")

    asyncio.run(scenario())


def test_an_error_that_a_brain_reports_itself_counts_and_keeps_its_exchanges(stage: Stage) -> None:
    async def scenario() -> None:
        said = Exchange(model="m", request='{"a": 1}', response="<html>\ud800", tokens_in=3, tokens_out=4, took_ms=5)
        brain = Answering(lambda: report(SCALE, error="the server spoke HTML", exchanges=(said,)))
        async with supervising(stage.port, brain) as supervisor:
            for _ in range(BRAIN_FAILURES_BEFORE_FALLBACK):
                assert (await supervisor.run_cycle()).proposals == ()
            recorded = stage.reports()[-1]
            assert (recorded.error, recorded.drafts) == ("the server spoke HTML", ())
            assert recorded.exchanges[0].request == said.request
            assert recorded.exchanges[0].response == "<html>?"
            assert [code for code, _ in stage.alerts()] == ["brain-fallback"]

    asyncio.run(scenario())


def test_words_are_cleaned_and_clipped_on_their_way_into_the_record(stage: Stage) -> None:
    async def scenario() -> None:
        reason = "clear\x1b[2J the\u202e screen\x00 \ud800" + "x" * REASON_MAX_CHARS
        brain = Answering(lambda: drafted(reason=reason, evidence=tuple(f"fact\r{n}" for n in range(100))))
        async with supervising(stage.port, brain) as supervisor:
            proposal = (await supervisor.run_cycle()).proposals[0]
            assert proposal.reason.isprintable()
            assert len(proposal.reason) == REASON_MAX_CHARS
            assert proposal.evidence[:2] == ("fact 0", "fact 1")
            assert len(proposal.evidence) == 12

    asyncio.run(scenario())


def test_a_brain_may_preview_and_is_bounded_in_it(stage: Stage) -> None:
    async def scenario() -> None:
        drafts = (stage.allowed(), stage.denied())
        modest = Previewing(drafts, times=BRAIN_PREVIEWS_PER_CYCLE)
        async with supervising(stage.port, modest) as supervisor:
            assert len((await supervisor.run_cycle()).proposals) == 2
            assert [verdict.ruling for verdict in modest.verdicts] == ["allow", "deny"]
        for greedy in (
            Previewing(drafts, times=BRAIN_PREVIEWS_PER_CYCLE + 1),
            Previewing((stage.allowed(),) * (BRAIN_PREVIEWS_PER_CYCLE + 1), times=1),
            Previewing((Draft(action={1, 2}),), times=1),
        ):
            async with supervising(stage.port, greedy) as supervisor:
                assert (await supervisor.run_cycle()).proposals == ()
                assert stage.reports()[-1].error

    asyncio.run(scenario())
