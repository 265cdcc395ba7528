"""The core under a trace: the same bytes each time, sound at every step, and honest about what it was given."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from agentorch.core.evolve import evolve
from agentorch.core.invariants import breaches
from agentorch.core.state import State
from agentorch.errors import ConfigError
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.events import Event
from agentorch.model.fleet import PoolSpec
from agentorch.model.jobs import Cause, JobState, Resources
from agentorch.simulation import reference
from agentorch.simulation.driver import Driver, drive, one_pool, ranks_of
from agentorch.simulation.run import summarise
from agentorch.simulation.traces import TraceJob, shuffled_ties
from tests.simulation.test_references import random_trace

encode = msgspec.json.Encoder().encode


def recorded(jobs: list[TraceJob], pools: list[PoolSpec], **options: Any) -> tuple[list[Event], Driver]:
    events: list[Event] = []
    driver = Driver(jobs, pools, events.extend, **options)
    for _ in driver.steps():
        assert breaches(driver.state) == []
    return events, driver


def pool(name: str, workers: int = 1, gpus: int = 8) -> PoolSpec:
    shape = Resources(cpu_milli=gpus * 1000, gpus=gpus)
    return PoolSpec(name=name, min_workers=workers, max_workers=workers, workers=workers, shape=shape)


def test_the_same_trace_gives_the_same_bytes() -> None:
    jobs = [job._replace(tenant="abc"[at % 3]) for at, job in enumerate(random_trace(4))]
    first, second = (encode(recorded(jobs, [one_pool(3, 8)])[0]) for _ in range(2))
    assert first == second
    shuffled = shuffled_ties(jobs, 1)
    assert encode(recorded(shuffled, [one_pool(3, 8)])[0]) != first


@pytest.mark.parametrize("seed", range(5))
def test_what_happened_folds_to_the_state_that_it_made(seed: int) -> None:
    events, driver = recorded(random_trace(seed), [one_pool(3, 8)])
    state = State()
    for event in msgspec.json.Decoder(list[Event]).decode(encode(events)):
        evolve(state, event)
    assert msgspec.msgpack.encode(state.facts) == msgspec.msgpack.encode(driver.state.facts)
    assert {job.state for job in state.facts.jobs.values()} == {JobState.succeeded}


def test_a_cluster_that_is_big_enough_keeps_nobody_waiting() -> None:
    jobs = random_trace(5)
    report = summarise(jobs, drive(jobs, [one_pool(60, 8)]), 0.0)
    assert (report.avg_queue_s, report.bounded_slowdown, report.preemptions) == (0, 1, 0)
    assert report.avg_jct_s == sum(job.duration_s for job in jobs) / len(jobs)


@pytest.mark.parametrize("seed", range(10))
def test_while_nobody_waits_long_one_tenant_is_served_as_first_come_first_served_with_gaps_filled(seed: int) -> None:
    """On one node nothing is a matter of taste; room is kept only for those that waited `RESERVE_AFTER_MS`."""
    stream = random.Random(seed)
    times = sorted(stream.randrange(60) for _ in range(40))
    jobs = [TraceJob(f"j{at}", when, stream.randint(1, 3), stream.randint(1, 8)) for at, when in enumerate(times)]
    greedy = reference.simulate(jobs, "fifo-greedy", 1, 8)
    longest_s = max(end_s - job.submit_s - job.duration_s for job, end_s in zip(jobs, greedy.ends_s, strict=True))
    assert 2 < longest_s < limits.RESERVE_AFTER_MS / 1000
    assert drive(jobs, [one_pool(1, 8)]).ends_s == greedy.ends_s


def test_ends_are_those_of_the_events() -> None:
    jobs = random_trace(6)
    _, driver = recorded(jobs, [one_pool(2, 8)])
    for at, job in enumerate(jobs):
        found = driver.state.facts.jobs[driver.names[at]]
        assert found.started_ms is not None
        assert found.ended_ms is not None
        assert found.ended_ms - found.started_ms == job.duration_s * 1000
        assert driver.run.ends_s[at] - job.submit_s == (found.ended_ms - found.submitted_ms) / 1000


@pytest.mark.parametrize(("gpus", "ranks"), [(1, 1), (8, 1), (9, 3), (12, 2), (16, 2), (11, 11), (24, 3)])
def test_a_job_beyond_a_node_becomes_equal_ranks(gpus: int, ranks: int) -> None:
    assert ranks_of(gpus, 8) == ranks
    _, driver = recorded([TraceJob("wide", 0, 5, gpus)], [one_pool(4, 8)])
    attempt = driver.state.facts.jobs["job-000001"].attempts[-1]
    assert len(attempt.members) == ranks
    assert sum(len(member.devices) for member in attempt.members) == gpus


def test_a_job_stays_in_the_pool_that_its_vc_names() -> None:
    jobs = [TraceJob(f"j{at}", 0, 10, 8, vc=vc) for at, vc in enumerate(("a", "a", "b", "other"))]
    _, driver = recorded(jobs, [pool("a"), pool("b"), pool("c")])
    pools = [driver.state.facts.jobs[name].attempts[-1].pool for name in driver.names]
    assert pools[:3] == ["a", "a", "b"]
    assert driver.run.ends_s == [10, 20, 10, 10]


def test_a_stopped_job_goes_on_where_it_was_and_pays_for_it() -> None:
    driver = Driver([TraceJob("mover", 0, 100, 4), TraceJob("later", 30, 1, 1)], [pool("a"), pool("b")], lambda _: None)
    for step, _ in enumerate(driver.steps()):
        if step == 1:  # at 30 s, when the other comes
            assert driver.take(cmd.PatchJob(job="job-000001", by="op", pool="b")) is None
            driver.take(cmd.Schedule())
    job = driver.state.facts.jobs["job-000001"]
    assert [(attempt.pool, attempt.cause) for attempt in job.attempts] == [
        ("a", Cause.requeued),
        ("b", Cause.completed),
    ]
    assert driver.run.preemptions == 1
    assert driver.run.ends_s[0] == 100 + 60
    assert driver.run.moments[-1].gpus_busy == driver.run.moments[-1].queued == 0


def test_what_can_never_start_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"huge asks for 17 GPUs, more than any pool has"):
        Driver([TraceJob("huge", 0, 1, 17)], [pool("a", 2)], lambda _: None)
    with pytest.raises(ConfigError, match=r"big asks for 9 GPUs, more than pool a has"):
        Driver([TraceJob("big", 0, 1, 9, vc="a")], [pool("a"), pool("b", 2)], lambda _: None)
    with pytest.raises(ConfigError, match=r"prime asks for 257 GPUs, 257 ranks; a gang has at most 256"):
        Driver([TraceJob("prime", 0, 1, 257)], [pool("a", 100)], lambda _: None)


def test_what_no_worker_can_hold_is_told_in_the_end() -> None:
    jobs = [TraceJob("fits", 0, 5, 4), TraceJob("between", 0, 1, 12)]  # ranks of 6, for the biggest worker there is
    with pytest.raises(
        ConfigError, match=r"1 job never starts; the first is between: needs 2 x 6 cpus, 6 GPUs at once"
    ):
        drive(jobs, [pool("big"), pool("small", 3, gpus=4)])
