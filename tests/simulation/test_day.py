"""The recorded time again: with what was recorded it comes out as it did, and with anything else it may not."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from agentorch.config.overrides import Overrides, read_overrides
from agentorch.core.facts import Facts
from agentorch.core.invariants import breaches
from agentorch.errors import ConfigError
from agentorch.ledger.memory import MemoryLedger
from agentorch.model import commands as cmd
from agentorch.model.attempts import NodeInfo
from agentorch.model.brain import Brain, BrainContext
from agentorch.model.events import CycleObserved, Event, JobStarted, ProposalJudged
from agentorch.model.fleet import NodeState
from agentorch.model.jobs import Cause, Checkpoint, JobState, RetryOn, RetryPolicy
from agentorch.model.observation import Observation
from agentorch.model.proposals import Answer, AnswerKind, BrainReport, Draft, ProposalState, Reschedule
from agentorch.runtime.recording import Recording
from agentorch.simulation.asking import Recorded
from agentorch.simulation.day import Day
from agentorch.simulation.decisions import Window
from agentorch.simulation.lives import lengths
from agentorch.simulation.outside import Answered, outside
from agentorch.simulation.replay import Asked, Courses, replay, reports_of
from agentorch.simulation.tally import Tally
from tests.core.world import GIB, START_MS
from tests.simulation.past import Grows, Past, busy


async def opened(events: list[Event]) -> Recording:
    ledger = MemoryLedger()
    await ledger.open()
    await ledger.commit(events, events[-1].at_ms)
    await ledger.close()
    recording = Recording(ledger, "past.db")
    await recording.open()
    return recording


def again(events: list[Event], after: int = 0) -> tuple[Courses, Day]:
    """What was recorded, driven again."""

    async def scenario() -> tuple[Courses, Day]:
        recording = await opened(events)
        courses = Courses(recording, Window(after, len(events)))
        return courses, await courses.again(Recorded(reports_of(events)), lambda done: None)

    return asyncio.run(scenario())


def otherwise(events: list[Event], brain: Brain, overrides: Overrides | None = None, after: int = 0) -> Day:
    async def scenario() -> Day:
        courses = Courses(await opened(events), Window(after, len(events)))
        asked = Asked(overrides=overrides or Overrides(), twin=False)
        return await courses.otherwise(brain, asked, lambda done: None)

    return asyncio.run(scenario())


def lived(facts: Any) -> dict[str, Any]:
    """What became of every job, and where and when it ran."""
    return {
        job.id: (job.state, [(one.worker, one.ordered_ms, one.started_ms, one.ended_ms) for one in job.attempts])
        for job in facts.jobs.values()
    }


def answered(facts: Any) -> list[tuple[Any, ...]]:
    return [(one.title, one.state, one.created_ms, one.answer and one.answer.by) for one in facts.proposals.values()]


@pytest.fixture(scope="module")
def past() -> Past:
    return busy()


def test_what_was_recorded_comes_out_again_to_the_second(past: Past) -> None:
    courses, day = again(past.events)
    assert lived(day.state.facts) == lived(past.facts)
    assert answered(day.state.facts) == answered(past.facts)
    assert day.refused == {}
    assert breaches(day.state) == []
    end_ms = courses.outside.end_ms
    assert day.tally.measures(end_ms) == courses.measured.measures(end_ms)
    states = {job.state for job in past.facts.jobs.values()}
    assert {JobState.succeeded, JobState.cancelled, JobState.running} <= states  # or it would not have shown much


@pytest.mark.parametrize("second", [15, 27, 110, 245])
def test_it_goes_on_from_any_moment(past: Past, second: int) -> None:
    after = sum(event.at_ms < START_MS + 1000 * second for event in past.events)
    courses, day = again(past.events, after)
    assert lived(day.state.facts) == lived(past.facts)
    assert answered(day.state.facts) == answered(past.facts)
    end_ms = courses.outside.end_ms
    assert day.tally.measures(end_ms) == courses.measured.measures(end_ms)


def test_a_brain_takes_as_long_as_it_took() -> None:
    slow = busy(thinks_s=3)
    _, day = again(slow.events)
    assert lived(day.state.facts) == lived(slow.facts)
    assert answered(day.state.facts) == answered(slow.facts)
    assert answered(slow.facts) != answered(busy().facts)


def test_another_brain_makes_another_day(past: Past) -> None:
    _, was = again(past.events)
    never = otherwise(past.events, Grows(queued=1000))
    end_ms = past.now_ms
    assert never.tally.measures(end_ms).asked == 0
    assert never.tally.measures(end_ms).wait_avg_s > was.tally.measures(end_ms).wait_avg_s
    assert never.tally.measures(end_ms).cost_usd > 0
    assert breaches(never.state) == []


def test_people_answer_again_what_they_are_asked_again_in_time(past: Past) -> None:
    same = otherwise(past.events, Grows())
    assert answered(same.state.facts) == answered(past.facts)
    bigger = otherwise(past.events, Grows(step=2))
    first = next(iter(bigger.state.facts.proposals.values()))
    three = "Grow cpu from 1 to 3 workers"  # somebody said no to three, if later and from two
    assert (first.title, first.state) == (three, ProposalState.rejected)
    short = Overrides(settings={"approval_ttl_ms": 60_000}, given={"guardrails.approval_ttl": "1m"})
    late = otherwise(past.events, Grows(step=2), short)
    found = late.tally.measures(past.now_ms)
    assert found.expired > 0  # that is too long before anybody was asked for three
    assert (found.approved, found.rejected) == (0, 1)


def test_settings_are_in_force_from_the_beginning(past: Past) -> None:
    small = otherwise(past.events, Grows(), read_overrides({"pools.cpu.max_workers": "1"}))
    assert small.state.facts.pools["cpu"].spec.max_workers == 1
    assert small.tally.measures(past.now_ms).actions == 0
    big = otherwise(past.events, Grows(), read_overrides({"pools.cpu.workers": "4", "pools.cpu.min_workers": "4"}))
    assert len(big.state.facts.pools["cpu"].workers) == 4
    assert big.tally.measures(past.now_ms).wait_avg_s < small.tally.measures(past.now_ms).wait_avg_s
    half = sum(event.at_ms < START_MS + 90_000 for event in past.events)
    later = otherwise(past.events, Grows(), read_overrides({"pools.cpu.max_workers": "1"}), after=half)
    assert later.state.facts.pools["cpu"].target == 1
    seen = read_overrides({"supervisor.mode": "observe"})
    watched = otherwise(past.events, Grows(), seen)
    assert {one.state for one in watched.state.facts.proposals.values()} <= {
        ProposalState.observed,
        ProposalState.denied,
    }


def test_work_that_had_not_ended_lasts_as_is_to_be_expected(past: Past) -> None:
    courses, _ = again(past.events)
    unended = {"job-000008", "job-000006", "job-000018"}  # cancelled, cancelled while running, running at the end
    assert set(courses.lengths.whole_ms) == unended
    assert courses.lengths.expected + courses.lengths.unknown == 3
    for length_ms in courses.lengths.whole_ms.values():
        assert length_ms is None or length_ms > 0
    running = courses.lengths.whole_ms["job-000018"]
    assert running is None or running >= 18_000  # it had run for so long


def test_nothing_is_known_of_a_job_of_which_nothing_is_known() -> None:
    past = Past(Grows())
    past.pool(workers=1)
    past.live(20, {1: lambda p: p.work(None)})
    courses, day = again(past.events)
    assert courses.lengths.unknown == 1
    assert day.state.facts.jobs["job-000001"].state is JobState.running


def test_a_stopped_job_starts_over_and_one_with_a_checkpoint_goes_on() -> None:
    """It is stopped in the other course only, where a person says yes to that."""

    class Stops(Grows):
        async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
            running = [job for job in observation.running if job.run_s >= 60]
            action = {"kind": "reschedule", "job": running[0].id, "change": "requeue"} if running else None
            drafts = (Draft(action=action),) if action and observation.at_ms < START_MS + 90_000 else ()
            return BrainReport(brain=self.id, drafts=drafts, hold="" if drafts else "nothing")

    def ran_s(**spec: Any) -> list[float]:
        one = Past(Grows(queued=1000))
        one.pool(workers=1)
        one.live(400, {1: lambda p: p.work(100, **spec)})

        async def scenario() -> Day:
            courses = Courses(await opened(one.events), Window(0, len(one.events)))
            yes = Answer(kind=AnswerKind.approve, by="ann", at_ms=0)
            stop = Reschedule(job="job-000001", change="requeue")
            courses.outside.answers.append(Answered(stop, START_MS + 60_000, 5_000, yes))
            courses.outside.cycles = [(START_MS + 1000 * at, START_MS + 1000 * at) for at in range(5, 400, 5)]
            return await courses.otherwise(Stops(), Asked(twin=False), lambda done: None)

        attempts = asyncio.run(scenario()).state.facts.jobs["job-000001"].attempts
        return [((one.ended_ms or 0) - (one.started_ms or 0)) / 1000 for one in attempts]

    assert ran_s() == [68.0, 100.0]
    assert ran_s(checkpoint=Checkpoint()) == [68.0, 32.0]


def test_what_executors_and_people_did_is_told_from_what_the_core_made_of_it(past: Past) -> None:
    found = outside(Facts(), past.events)
    kinds = [type(command).__name__ for _, command in found.happenings]
    assert kinds.count("SubmitJob") == sum(job.number > 0 for job in past.facts.jobs.values())
    assert kinds.count("CancelJob") == 2
    assert kinds.count("PatchJob") == 3
    assert "ScalePool" not in kinds  # the supervisor did that
    assert len(found.answers) == 2
    assert len(found.cycles) == sum(isinstance(event, CycleObserved) for event in past.events)
    retried = found.lives["job-000004"]
    assert [(one.cause, one.run_ms) for one in retried.endings] == [(Cause.error, 5_000)]
    assert lengths(found, past.facts).whole_ms.keys() == {"job-000008", "job-000006", "job-000018"}


def test_without_a_supervisor_then_another_may_be_tried_now() -> None:
    past = Past(Grows())
    past.pool(workers=1, max_workers=4, target_wait_ms=5_000)
    events = []

    def burst(p: Past) -> None:
        for _ in range(8):
            p.work(30)

    past._observe = lambda: None  # type: ignore[method-assign]
    past.live(250, {3: burst})
    events = past.events
    assert not any(isinstance(event, CycleObserved) for event in events)

    async def scenario() -> Any:
        return await replay(await opened(events), Grows(), Asked(twin=False))

    document = asyncio.run(scenario())
    assert "nobody supervised the recording" in document.notes
    found = {one.measure: one for one in document.summary}
    assert (found["actions"].was, found["cycles"].was) == (0, 0)
    assert found["actions"].would > 0
    assert found["wait_avg_s"].would < found["wait_avg_s"].was
    assert found["wait_avg_s"].was == found["wait_avg_s"].measured


def test_machines_come_and_go_as_they_did() -> None:
    """Three nodes; one goes down with what ran there, and is not listed any more; another comes."""
    past = Past(Grows(queued=1000))
    spec = {"executor": "ray", "node_type": "*", "max_workers": 4, "min_workers": 0}
    past.pool(workers=4, **spec)
    nodes = [NodeInfo(id=f"n{at}", cpu_milli=1_000, memory_bytes=8 * GIB) for at in range(4)]
    gone = msgspec.structs.replace(nodes[1], state=NodeState.down, problem="it does not answer")

    def lists(*listed: NodeInfo) -> Any:
        return lambda p: p.ask(cmd.ReportNodes(executor="ray", nodes=listed))

    def lose(p: Past) -> None:
        for name in list(p.facts.running):
            if p.job(name).attempts[-1].node == "n1":
                del p.began[name]
                p.end(name, Cause.node_lost, None)

    script = {
        1: lists(*nodes[:3]),
        3: lambda p: [p.work(40 + at) for at in range(6)],
        20: lists(nodes[0], gone, nodes[2]),
        27: lose,
        30: lists(nodes[0], nodes[2]),
        50: lists(nodes[0], nodes[2], nodes[3]),
    }
    past.live(200, script)
    assert [job.state for job in past.facts.jobs.values()] == [JobState.succeeded] * 6
    assert any(one.cause is Cause.node_lost for job in past.facts.jobs.values() for one in job.attempts)
    for second in (0, 22, 60):
        after = sum(event.at_ms < START_MS + 1000 * second for event in past.events)
        _, day = again(past.events, after)
        assert lived(day.state.facts) == lived(past.facts)
        assert day.refused == {}


def test_gangs_end_as_one_again() -> None:
    past = Past(Grows(queued=1000))
    past.pool(workers=3)
    retry = RetryPolicy(on=(RetryOn.error,), attempts=2)
    script = {
        2: lambda p: [p.work(30, gang=2), p.work(10, 20, gang=3, retry=retry), p.work(15)],
        20: lambda p: p.ask(cmd.CancelJob(job="job-000001", by="ann")),
        30: lambda p: p.work(5, cause=Cause.oom, gang=2),
    }
    past.live(120, script)
    states = [job.state for job in past.facts.jobs.values()]
    assert states == [JobState.cancelled, JobState.succeeded, JobState.succeeded, JobState.failed]
    _, day = again(past.events)
    assert lived(day.state.facts) == lived(past.facts)


def test_the_document_is_the_same_each_time(past: Past) -> None:
    def told() -> str:
        async def scenario() -> str:
            asked = Asked(overrides=read_overrides({"pools.cpu.max_workers": "2"}), twin=False)
            return (await replay(await opened(past.events), Grows(queued=1), asked)).model_dump_json()

        return asyncio.run(scenario())

    assert told() == told()


def test_an_odd_window_or_setting_is_refused(past: Past) -> None:
    async def refused(asked: Asked) -> str:
        with pytest.raises(ConfigError) as found:
            await replay(await opened(past.events), Grows(), asked)
        return str(found.value)

    assert "no part of it" in asyncio.run(refused(Asked(after=len(past.events))))
    assert "no part of it" in asyncio.run(refused(Asked(upto=len(past.events) + 1)))
    wrong = Asked(overrides=read_overrides({"pools.cqu.max_workers": "2"}))
    assert "the recording has no such name; did you mean 'cpu'?" in asyncio.run(refused(wrong))


def test_a_tally_counts_what_was_and_not_what_is_to_come(past: Past) -> None:
    tally = Tally(Facts())
    for event in past.events:
        tally.take(event)
    found = tally.measures(past.now_ms)
    assert found.succeeded + found.failed + found.cancelled + found.unfinished == len(past.facts.jobs)
    assert found.asked == 2 == found.approved + found.rejected
    assert found.denied == sum(
        isinstance(event, ProposalJudged) and event.proposal.verdict.ruling == "deny" for event in past.events
    )
    starts = [event.at_ms for event in past.events if isinstance(event, JobStarted)]
    queued, running = tally.at([starts[0] - 1, starts[0], past.now_ms])
    assert running[0] == 0 < running[1]
    assert queued[2] == 0
    assert msgspec.json.encode(found)
