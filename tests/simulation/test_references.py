"""Every reference against the plain version of it, on random traces."""

from __future__ import annotations

import random

import pytest

from agentorch.errors import ConfigError
from agentorch.model.fleet import PoolSpec
from agentorch.model.jobs import Resources
from agentorch.simulation import reference
from agentorch.simulation.run import percentile, summarise
from agentorch.simulation.traces import TraceJob
from tests.simulation import naive

WAITING = ("fifo", "fifo-greedy", "easy", "sjf", "sjf-easy")
PREEMPTING = ("las2d", "srtf")


def random_trace(seed: int, *, long: bool = False) -> list[TraceJob]:
    """Crowded, with many jobs at the same second and sizes beyond a node."""
    stream = random.Random(seed)
    scale = 60 if long else 1
    times = sorted(stream.randrange(60 * scale) for _ in range(40))
    sizes = stream.choices((1, 2, 3, 4, 5, 8, 9, 12), weights=(12, 6, 3, 4, 2, 3, 1, 1), k=40)
    return [
        TraceJob(f"j{at}", when, stream.randint(1, 30) * scale, gpus)
        for at, (when, gpus) in enumerate(zip(times, sizes, strict=True))
    ]


@pytest.mark.parametrize("policy", WAITING)
@pytest.mark.parametrize("seed", range(30))
def test_who_waits_starts_as_in_the_plain_version(policy: str, seed: int) -> None:
    jobs = random_trace(seed)
    nodes, per_node = 2 + seed % 3, (4, 8)[seed % 2] if seed % 3 == 2 else 8
    assert reference.simulate(jobs, policy, nodes, per_node).ends_s == naive.waiting(jobs, policy, nodes, per_node)


@pytest.mark.parametrize("policy", PREEMPTING)
@pytest.mark.parametrize("seed", range(10))
def test_who_is_preempted_is_as_in_the_plain_version(policy: str, seed: int) -> None:
    jobs = random_trace(seed, long=policy == "las2d")
    run = reference.simulate(jobs, policy, 2, 8)
    assert (run.ends_s, run.preemptions) == naive.preempting(jobs, policy, 2, 8)


@pytest.mark.parametrize("policy", reference.POLICIES)
def test_a_cluster_that_is_big_enough_keeps_nobody_waiting(policy: str) -> None:
    jobs = random_trace(1)
    report = summarise(jobs, reference.simulate(jobs, policy, 100, 8), 0.0)
    assert (report.avg_queue_s, report.p99_queue_s, report.bounded_slowdown, report.preemptions) == (0, 0, 1, 0)


@pytest.mark.parametrize("policy", reference.POLICIES)
def test_never_more_gpus_are_in_use_than_there_are(policy: str) -> None:
    run = reference.simulate(random_trace(2), policy, 2, 8)
    assert 0 < max(moment.gpus_busy for moment in run.moments) <= run.gpus == 16
    assert min(moment.queued for moment in run.moments) == run.moments[-1].gpus_busy == run.moments[-1].queued == 0


def test_pools_apart_are_as_clusters_of_their_own() -> None:
    jobs = [job._replace(vc="ab"[at % 2]) for at, job in enumerate(random_trace(3))]
    pools = [PoolSpec(name=name, workers=2, max_workers=2, shape=Resources(gpus=8)) for name in "ab"]
    whole = reference.simulate_apart(jobs, "las2d", pools)
    for name in "ab":
        own = [at for at, job in enumerate(jobs) if job.vc == name]
        alone = reference.simulate([jobs[at] for at in own], "las2d", 2, 8)
        assert [whole.ends_s[at] for at in own] == alone.ends_s
    assert max(moment.gpus_busy for moment in whole.moments) <= 32
    assert [moment.at_s for moment in whole.moments] == sorted({moment.at_s for moment in whole.moments})


def test_a_job_that_no_node_can_hold_is_named() -> None:
    jobs = [TraceJob("small", 0, 1, 1), TraceJob("huge", 0, 1, 17)]
    with pytest.raises(ConfigError, match=r"huge asks for 17 GPUs; the cluster has 16"):
        reference.simulate(jobs, "fifo", 2, 8)
    with pytest.raises(ConfigError, match="no policy 'lifo'; there are fifo, "):
        reference.simulate(jobs[:1], "lifo", 2, 8)


def test_a_percentile_is_a_value_that_was_there() -> None:
    assert percentile(range(1, 101), 99) == 99
    assert percentile([5, 1, 3], 50) == 3
    assert percentile([7], 99) == 7
