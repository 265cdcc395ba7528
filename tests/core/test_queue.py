"""The queue as an index: what it says does not depend on how the jobs came to stand in it."""

from __future__ import annotations

from agentorch.core.guardrails.selection import rerouted_jobs
from agentorch.core.invariants import breaches
from agentorch.core.observe import observe
from agentorch.core.state import State
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.jobs import Cause, Checkpoint, Constraints, JobState
from agentorch.model.proposals import Reroute
from tests.core.world import World

EITHER = Constraints(pools=("a", "b"))


def test_waiting_jobs_come_in_the_order_of_their_submits_whatever_happened_to_them() -> None:
    world = World()
    world.tenant()
    world.pool("a")
    world.pool("b", workers=0)
    first = world.submit(checkpoint=Checkpoint(), constraints=EITHER)
    world.schedule()
    world.running(first)
    jobs = [world.submit(constraints=EITHER) for _ in range(40)]
    asleep = [world.submit(constraints=EITHER, not_before_ms=world.now_ms + limits.HOUR_MS) for _ in range(4)]
    world.now_ms += limits.HOUR_MS - 1_000
    for job in (*reversed(jobs[:20]), *reversed(asleep)):
        world.ask(cmd.PatchJob(job=job, by="me", priority=51))
    world.schedule()
    assert world.job(first).state is JobState.stopping
    world.end(first, Cause.error, None)
    everybody = [first, *jobs, *asleep]
    assert [job.id for job in world.state.queue.waiting_jobs(100)] == everybody
    assert [job.id for job in world.state.queue.waiting_jobs(7)] == everybody[:7]
    world.schedule()  # one starts, in the middle of its line
    action = Reroute(pool="b", from_pool="a", at_most=20)
    again = State(world.facts)
    assert [job.id for job in rerouted_jobs(world.state, action)] == [job.id for job in rerouted_jobs(again, action)]
    assert observe(world.state, (), world.now_ms) == observe(again, (), world.now_ms)


def test_an_entry_that_is_missing_among_those_that_give_way_is_a_breach() -> None:
    world = World()
    world.tenant()
    world.pool()
    job = world.submit(checkpoint=Checkpoint())
    world.schedule()
    assert breaches(world.state) == []
    world.state.yielding.leaves(job)
    assert breaches(world.state) == ["the index yielding is not what the facts make of it"]
