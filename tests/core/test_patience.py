"""No tier and no tenant starves another: what lost its patience is standard work, waiting or running."""

from __future__ import annotations

import pytest

from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.jobs import Cause, Checkpoint, JobState, Tier
from tests.core.world import World

MINUTE_MS = limits.MINUTE_MS
WORK_MS = 3 * limits.HOUR_MS
STEP_MS = 5 * MINUTE_MS


def hours_until_done(tenant: str, tier: Tier, checkpoint: Checkpoint | None, most_hours: int) -> tuple[float, int]:
    """One worker, and always standard work of ten minutes waiting for it; how long three hours of a lower tier's work
    take, and how often it is stopped."""
    world = World()
    world.tenant()
    world.tenant("other")
    world.pool(workers=1, max_workers=1)
    slow = world.submit(tenant, tier=tier, checkpoint=checkpoint)
    began_ms = world.now_ms
    while world.job(slow).state is not JobState.succeeded:
        assert world.now_ms - began_ms < most_hours * limits.HOUR_MS
        waiting = [job for job in world.facts.jobs.values() if job.state is JobState.queued and job.id != slow]
        for _ in range(2 - len(waiting)):
            world.submit()
        world.tick()
        world.schedule()
        world.now_ms += STEP_MS
        for name in list(world.facts.running):
            job = world.job(name)
            if job.state is JobState.starting:
                world.running(name)
            ran_ms = job.ran_before_ms + world.now_ms - (job.attempts[-1].started_ms or world.now_ms)
            if job.state is JobState.stopping:
                world.end(name, Cause.error, None)
            elif ran_ms >= (WORK_MS if name == slow else 10 * MINUTE_MS):
                world.end(name)
    stops = [one for one in world.events if isinstance(one, ev.JobStopping) and one.job == slow]
    return (world.now_ms - began_ms) / limits.HOUR_MS, len(stops)


@pytest.mark.parametrize("tenant", ["t", "other"])
@pytest.mark.parametrize(("tier", "checkpoint"), [(Tier.batch, None), (Tier.batch, Checkpoint()), (Tier.flex, None)])
def test_work_that_lost_its_patience_is_done_at_last(tenant: str, tier: Tier, checkpoint: Checkpoint | None) -> None:
    _, stops = hours_until_done(tenant, tier, checkpoint, most_hours=48)
    assert stops < 10


def test_it_stays_standard_work_once_it_was_stopped() -> None:
    world = World()
    world.tenant()
    world.pool()
    first = world.submit()
    world.schedule()
    batch = world.submit(tier=Tier.batch, checkpoint=Checkpoint())
    world.now_ms += 4 * limits.HOUR_MS
    world.end(first)
    assert world.schedule() == [batch]
    world.running(batch)
    world.now_ms += limits.PREEMPT_MIN_RUN_MS
    world.submit()
    assert world.schedule() == []
    assert world.job(batch).state is JobState.running  # before its patience it would have given way at once
    world.now_ms += limits.DEBT_FACTOR * limits.HOUR_MS
    world.schedule()
    assert world.job(batch).state is JobState.stopping
    world.end(batch, Cause.error, None)
    assert len(world.schedule()) == 1
    world.assert_sound()
