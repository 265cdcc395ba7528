"""G8 tiers, G9 residency, G10 reservations, G12 poison jobs and broken pools."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentorch.core.guardrails.work import poison, reservations, residency, tiers
from agentorch.model import commands as cmd
from agentorch.model.fleet import Reservation
from agentorch.model.jobs import Cause, Constraints, RetryOn, RetryPolicy, Tier
from agentorch.model.proposals import Action, Cordon, Reroute, Reschedule, Ruling, Scale
from tests.core.guardrails.supervised import Supervised

ALLOW, DENY = Ruling.allow, Ruling.deny


def fleet(workers: int = 4, **spec: Any) -> Supervised:
    world = Supervised()
    world.tenant()
    world.pool(workers=workers, **spec)
    return world


def preempt(job: str) -> Action:
    return Reschedule(job=job, change="preempt")


# -- G8


def test_g8_work_runs_a_minute_before_it_may_be_stopped() -> None:
    world = fleet()
    (job,) = world.run_some(1, run_s=59.9)
    assert world.said(tiers, preempt(job)) is DENY
    world.now_ms += 100
    assert world.said(tiers, preempt(job)) is ALLOW
    assert world.said(tiers, Reschedule(job=job, change="requeue")) is ALLOW


@pytest.mark.parametrize("spec", [{"tier": Tier.realtime}, {"preemptible": False}])
def test_g8_some_work_is_never_stopped(spec: dict[str, Any]) -> None:
    world = fleet()
    (job,) = world.run_some(1, run_s=1000, **spec)
    assert world.said(tiers, preempt(job)) is DENY


def test_g8_only_running_work_can_be_stopped() -> None:
    assert fleet().said(tiers, preempt("job-000001")) is None
    world = fleet()
    assert world.said(tiers, preempt(world.submit())) is DENY


def test_g8_the_least_work_is_lost() -> None:
    world = fleet()
    (old,) = world.run_some(1, run_s=500)
    (young,) = world.run_some(1, run_s=100)
    assert world.said(tiers, preempt(old)) is DENY
    assert world.said(tiers, preempt(young)) is ALLOW
    world.ask(cmd.ReportProgress(job=old, by="key", checkpointed=True))
    assert world.said(tiers, preempt(old)) is ALLOW
    assert world.said(tiers, preempt(young)) is DENY


def test_g8_more_urgent_or_smaller_work_is_no_better_choice() -> None:
    world = fleet(cpus=2)
    (old,) = world.run_some(1, cpus=2, tier=Tier.standard, run_s=500)
    world.run_some(1, cpus=1, tier=Tier.standard)
    world.run_some(1, cpus=2, tier=Tier.realtime, run_s=100)
    assert world.said(tiers, preempt(old)) is ALLOW


def test_g8_one_job_frees_less_than_a_gang() -> None:
    world = fleet()
    (gang,) = world.run_some(1, gang=3, run_s=500)
    (young,) = world.run_some(1, run_s=100)
    assert world.said(tiers, preempt(gang)) is ALLOW
    assert world.said(tiers, preempt(young)) is ALLOW


@given(st.sampled_from(list(Tier)), st.booleans(), st.integers(0, 200))
def test_g8_allows_only_what_may_be_stopped(tier: Tier, preemptible: bool, ran_s: int) -> None:
    world = fleet()
    (job,) = world.run_some(1, run_s=ran_s, tier=tier, preemptible=preemptible)
    may = tier is not Tier.realtime and preemptible and ran_s >= 60
    assert (world.said(tiers, preempt(job)) is ALLOW) is may


# -- G9


def regions() -> Supervised:
    world = fleet(workers=0)
    world.pool("eu", workers=0, region="eu")
    world.pool("us", workers=0, region="us", cpus=4)
    return world


def test_g9_work_never_leaves_its_regions() -> None:
    world = regions()
    job = world.submit(constraints=Constraints(regions=("local", "eu")))
    assert world.said(residency, Reroute(pool="eu", job=job)) is ALLOW
    assert world.said(residency, Reroute(pool="us", job=job)) is DENY


def test_g9_work_is_not_sent_where_it_can_not_fit() -> None:
    world = regions()
    big = world.submit(cpus=4)
    assert world.said(residency, Reroute(pool="us", job=big)) is ALLOW
    assert world.said(residency, Reroute(pool="eu", job=big)) is DENY


def test_g9_of_a_class_only_what_may_go_is_moved() -> None:
    world = regions()
    world.submit(constraints=Constraints(pools=("cpu",)))
    free = world.submit()
    world.submit(constraints=Constraints(regions=("local",)))
    action = Reroute(pool="us", from_pool="cpu", at_most=50)
    assert [job.id for job in world.case(action).moved] == [free]
    assert world.said(residency, action) is ALLOW
    world.ask(cmd.CancelJob(job=free, by="key"))
    assert world.said(residency, action) is DENY


names = st.lists(st.sampled_from(["cpu", "eu", "us"]), unique=True)
places = st.lists(st.sampled_from(["local", "eu", "us"]), unique=True)


@given(st.lists(st.tuples(names, places), max_size=8), st.sampled_from(["cpu", "eu", "us"]))
def test_g9_nothing_moves_outside_of_its_constraints(jobs: list[tuple[list[str], list[str]]], pool: str) -> None:
    world = regions()
    for pools, where in jobs:
        world.submit(constraints=Constraints(pools=tuple(pools), regions=tuple(where)))
    region = world.facts.pools[pool].spec.region
    for action in (Reroute(pool=pool, tenant="t", at_most=50), *(Reroute(pool=pool, job=n) for n in world.facts.jobs)):
        for job in world.case(action).moved:
            limits = job.spec.constraints
            assert not limits.pools or pool in limits.pools
            assert not limits.regions or region in limits.regions


# -- G10


def kept() -> Supervised:
    """Worker 0 is kept for a job that is too big for what is free."""
    world = fleet(workers=2, cpus=2, max_workers=2)
    world.run_some(2, cpus=1.5)
    big = world.submit(cpus=2)
    world.schedule()
    world.now_ms += 31_000
    world.schedule()
    assert big in world.facts.reserved
    return world


def test_g10_a_kept_worker_is_not_cordoned() -> None:
    world = kept()
    ((held,),) = world.facts.reserved.values()
    (other,) = {*world.facts.workers} - {held}
    assert world.said(reservations, Cordon(worker=held)) is DENY
    assert world.said(reservations, Cordon(worker=other)) is None


def test_g10_a_pool_does_not_shrink_into_kept_room() -> None:
    world = kept()
    assert world.said(reservations, Scale(pool="cpu", workers=1)) is DENY
    ((held,),) = world.facts.reserved.values()
    (other,) = {*world.facts.workers} - {held}
    world.end(world.facts.workers[other].running[0])
    assert world.said(reservations, Scale(pool="cpu", workers=1)) is None


@given(st.integers(0, 3))
def test_g10_what_shrinking_takes_is_never_kept(idle: int) -> None:
    world = fleet(workers=4, cpus=2)
    jobs = world.run_some(4, cpus=1.5)
    world.submit(cpus=2)
    world.now_ms += 31_000
    world.schedule()
    ((held,),) = world.facts.reserved.values()
    others = [job for job in jobs if world.job(job).attempts[-1].worker != held]
    for job in others[:idle]:
        world.end(job)
    for workers in range(4):
        if world.said(reservations, Scale(pool="cpu", workers=workers)) is None:
            assert 4 - workers <= idle


# -- G12


def test_g12_a_paused_pool_gets_neither_workers_nor_work() -> None:
    world = fleet()
    world.pool("other", workers=1)
    waiting = world.submit()
    grow, move = Scale(pool="other", workers=2), Reroute(pool="other", job=waiting)
    assert (world.said(poison, grow), world.said(poison, move)) == (None, None)
    world.ask(cmd.PausePool(pool="other", paused=True, by="guardrail", reason="starts fail"))
    assert (world.said(poison, grow), world.said(poison, move)) == (DENY, DENY)


def test_g12_retries_are_finite() -> None:
    world = fleet()
    (job,) = world.run_some(1)
    world.job(job).attempts_made = 19
    assert world.said(poison, preempt(job)) is None
    world.job(job).attempts_made = 20
    assert world.said(poison, preempt(job)) is DENY


def test_g12_a_job_that_took_down_three_workers_is_left_alone() -> None:
    world = fleet()
    job = world.submit()
    hurry = Reschedule(job=job, change="priority", priority=90)
    world.job(job).workers_lost = 2
    assert world.said(poison, hurry) is None
    world.job(job).workers_lost = 3
    assert world.said(poison, hurry) is DENY


@given(st.integers(0, 20_000))
def test_g12_a_back_off_is_not_cut_short(later_ms: int) -> None:
    world = fleet()
    job = world.submit(retry=RetryPolicy(on=(RetryOn.error,), attempts=5, backoff_ms=10_000))
    world.schedule()
    world.running(job)
    world.end(job, Cause.error, 1)
    action = Reschedule(job=job, change="start_at", start_ms=world.now_ms + later_ms)
    assert (world.said(poison, action) is DENY) is (later_ms < 10_000)


def test_g10_a_cordon_leaves_as_much_of_a_reservation_as_shrinking_does() -> None:
    world = fleet(4, reservations=(Reservation(tenant="mine", workers=2),))
    world.tenant("mine")
    cordon = [Cordon(worker=f"cpu-{at}") for at in range(4)]
    assert world.said(reservations, cordon[0]) is None
    assert world.said(reservations, cordon[2], cordon[0], cordon[1]) is DENY
    busy = world.run_some(2)
    used = [world.job(name).attempts[-1].worker for name in busy]
    empty = [one for one in cordon if one.worker not in used]
    assert world.said(reservations, empty[0]) is DENY
    assert world.said(reservations, Scale(pool="cpu", workers=3)) is DENY
    assert world.said(reservations, Cordon(worker=used[0])) is None  # others' work: nothing reserved is lost
    world.run_some(2, tenant="mine")
    assert world.said(reservations, empty[0]) is DENY  # when its work ends, there is no other worker for it
    world.ask(cmd.CordonWorker(worker=empty[0].worker, cordoned=True, by="op"))
    assert world.said(reservations, empty[0]) is None  # it takes nothing new anyway


def test_g10_a_cordon_leaves_the_gpus_that_are_reserved() -> None:
    world = fleet(3, gpus=4, reservations=(Reservation(tier="realtime", gpus=8),))
    assert world.said(reservations, Cordon(worker="cpu-0")) is None
    world.run_some(1, gpus=1)
    assert world.said(reservations, Cordon(worker="cpu-2")) is DENY
