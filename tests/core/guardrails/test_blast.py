"""G6 blast-radius, G11 unhealthy halt, G15 reversible first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentorch.core.guardrails.blast import blast_radius, reversible_first, unhealthy_halt
from agentorch.core.guardrails.classes import TABLE, UNKNOWN, classify
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.jobs import Cause, Checkpoint, Constraints, JobState
from agentorch.model.proposals import Action, Alert, Cordon, Reroute, Reschedule, Risk, Ruling, Scale, Uncordon
from tests.core.guardrails.supervised import Supervised

ALLOW, ASK, DENY = Ruling.allow, Ruling.ask, Ruling.deny


def fleet(workers: int = 20) -> Supervised:
    world = Supervised()
    world.tenant()
    world.pool(workers=workers, max_workers=100)
    world.pool("other", workers=1)
    return world


def preempt(job: str) -> Action:
    return Reschedule(job=job, change="preempt")


def approve(world: Supervised, action: Action) -> str:
    """Propose it, say yes, carry it out; the state it ends in."""
    proposal = world.propose(action)
    if proposal.state == "open":
        world.answer(proposal)
    return str(world.carry_out(proposal).state) if proposal.state != "denied" else "denied"


# -- G6


def test_g6_a_tenth_of_the_workers_at_a_time() -> None:
    world = fleet(20)
    assert [approve(world, Cordon(worker=f"cpu-{index}")) for index in range(3)] == ["done", "done", "denied"]
    world.now_ms += 3_600_000
    assert world.said(blast_radius, Cordon(worker="cpu-3")) is DENY, "time alone gives no cordoned worker back"
    world.ask(cmd.CordonWorker(worker="cpu-0", cordoned=False, by="ann"))
    assert world.said(blast_radius, Cordon(worker="cpu-3")) is ALLOW


@pytest.mark.parametrize("supervisor_first", [True, False])
def test_g6_what_the_scheduler_stops_and_what_supervisors_stop_count_together(supervisor_first: bool) -> None:
    world = fleet(2)
    first, second = (world.submit(checkpoint=Checkpoint(), constraints=Constraints(pools=("cpu",))) for _ in range(2))
    world.schedule()
    for job in (first, second):
        world.running(job)
    world.now_ms += limits.HOUR_MS
    if supervisor_first:
        assert approve(world, Reschedule(job=first, change="preempt")) in ("done", "acting")
    waits = world.submit(constraints=Constraints(pools=("cpu",)))
    world.schedule()
    stopping = [name for name in (first, second) if world.job(name).state is JobState.stopping]
    assert len(stopping) == 1  # of two jobs one at a time
    if not supervisor_first:
        assert world.job(stopping[0]).gave_way_to == waits
        left = first if stopping == [second] else second
        assert world.said(blast_radius, Reschedule(job=left, change="preempt")) is DENY
        world.now_ms += limits.BLAST_WINDOW_MS
        assert world.said(blast_radius, Reschedule(job=left, change="preempt")) is ALLOW


def test_g6_a_cordoned_worker_may_go() -> None:
    world = fleet(3)
    assert approve(world, Cordon(worker="cpu-2")) == "done"
    world.now_ms += 60_000
    assert world.said(blast_radius, Scale(pool="cpu", workers=2)) is ALLOW
    assert world.said(blast_radius, Scale(pool="cpu", workers=1)) is DENY


def test_g6_one_may_always_be_disturbed() -> None:
    assert fleet(2).said(blast_radius, Cordon(worker="cpu-1")) is ALLOW


def test_g6_a_tenth_of_the_running_jobs_at_a_time() -> None:
    world = fleet(10)
    jobs = world.run_some(10, run_s=100)
    assert approve(world, preempt(jobs[0])) == "acting"
    assert world.said(blast_radius, preempt(jobs[1])) is DENY
    world.end(jobs[0], Cause.preempted)
    world.now_ms += 60_000
    world.tick()
    assert world.said(blast_radius, preempt(jobs[1])) is ALLOW


def test_g6_what_is_still_under_way_counts_however_long_it_takes() -> None:
    world = fleet(10)
    jobs = world.run_some(10, run_s=100)
    approve(world, preempt(jobs[0]))
    world.tick(600)
    assert world.said(blast_radius, preempt(jobs[1])) is DENY


def test_g6_one_kind_of_disruption_at_once() -> None:
    world = fleet(20)
    jobs = world.run_some(20, run_s=100)
    assert approve(world, Cordon(worker="cpu-0")) == "done"
    assert world.said(blast_radius, preempt(jobs[1])) is DENY
    world.now_ms += 60_000
    assert world.said(blast_radius, preempt(jobs[1])) is ALLOW


def test_g6_a_class_is_moved_a_tenth_at_a_time() -> None:
    world = fleet(1)
    for _ in range(30):
        world.submit()
    world.observe()
    assert world.said(blast_radius, Reroute(pool="other", from_pool="cpu", at_most=3)) is ALLOW
    assert world.said(blast_radius, Reroute(pool="other", from_pool="cpu", at_most=4)) is DENY


@given(st.integers(1, 40), st.integers(0, 6))
def test_g6_never_more_than_a_tenth(workers: int, planned: int) -> None:
    world = fleet(workers)
    earlier = [Cordon(worker=f"cpu-{index}") for index in range(min(planned, workers - 1))]
    said = world.said(blast_radius, Cordon(worker=f"cpu-{workers - 1}"), *earlier)
    assert (said is ALLOW) is (len(earlier) + 1 <= max(1, workers // 10))


# -- G11


def sicken(world: Supervised, count: int) -> None:
    """The state that many failures in a row leave behind."""
    for name in list(world.facts.pools["cpu"].workers)[:count]:
        world.facts.workers[name].failures = 3


def test_g11_nothing_is_scaled_or_preempted_when_much_is_unhealthy() -> None:
    world = fleet(9)  # ten workers with the one of the other pool
    (job,) = world.run_some(1, run_s=100)
    sicken(world, 4)
    assert world.said(unhealthy_halt, Scale(pool="cpu", workers=10)) is None
    sicken(world, 5)
    assert world.said(unhealthy_halt, Scale(pool="cpu", workers=10)) is DENY
    assert world.said(unhealthy_halt, preempt(job)) is DENY
    assert world.said(unhealthy_halt, Cordon(worker="cpu-1")) is None


def test_g11_three_sick_workers_are_no_outage() -> None:
    world = fleet(3)
    sicken(world, 3)
    assert world.said(unhealthy_halt, Scale(pool="cpu", workers=4)) is None


def test_g11_when_everything_looks_sick_nothing_is_done() -> None:
    world = Supervised()
    world.pool(workers=2)
    sicken(world, 2)
    assert world.said(unhealthy_halt, Cordon(worker="cpu-1")) is DENY
    assert world.said(unhealthy_halt, Alert(text="help")) is None


@given(st.integers(1, 30), st.data())
def test_g11_halts_exactly_over_the_share(workers: int, data: st.DataObject) -> None:
    sick = data.draw(st.integers(0, workers))
    world = Supervised()
    world.pool(workers=workers, max_workers=100)
    sicken(world, sick)
    halted = world.said(unhealthy_halt, Scale(pool="cpu", workers=workers + 1)) is DENY
    assert halted is (sick == workers or (sick > 3 and sick / workers > 0.45))


# -- G15


@pytest.mark.parametrize(
    ("action", "ruling", "risk"),
    [
        (Scale(pool="cpu", workers=21), ALLOW, Risk.medium),
        (Scale(pool="cpu", workers=19), ALLOW, Risk.medium),
        (Reschedule(job="job-000001", change="priority", priority=70), ALLOW, Risk.low),
        (Reschedule(job="job-000001", change="start_at", start_ms=1), ALLOW, Risk.low),
        (Reschedule(job="job-000001", change="pause"), ASK, Risk.medium),
        (Reschedule(job="job-000001", change="resume"), ALLOW, Risk.low),
        (Reschedule(job="job-000001", change="preempt"), ASK, Risk.high),
        (Reschedule(job="job-000001", change="requeue"), ASK, Risk.high),
        (Reroute(pool="other", job="job-000001"), ALLOW, Risk.low),
        (Reroute(pool="other", tier="batch"), ALLOW, Risk.medium),
        (Cordon(worker="cpu-1"), ASK, Risk.medium),
        (Uncordon(worker="cpu-1"), ALLOW, Risk.low),
        (Alert(text="hello"), ALLOW, Risk.low),
    ],
)
def test_g15_reads_the_table(action: Action, ruling: Ruling, risk: Risk) -> None:
    world = fleet()
    assert world.said(reversible_first, action) is ruling
    assert classify(world.facts, action).risk is risk


def test_g15_what_the_table_does_not_know_is_the_worst() -> None:
    assert classify(fleet().facts, Reschedule(job="x", change="explode")) is UNKNOWN  # type: ignore[arg-type]
    assert (UNKNOWN.risk, UNKNOWN.reversible, UNKNOWN.asks) == (Risk.high, False, True)


def test_g15_draining_busy_workers_is_asked() -> None:
    world = fleet(20)
    world.run_some(19)
    assert world.said(reversible_first, Scale(pool="cpu", workers=19)) is ALLOW
    assert world.said(reversible_first, Scale(pool="cpu", workers=18)) is ASK


def test_g15_settings_may_ask_always() -> None:
    world = fleet()
    world.ask(cmd.ConfigureGuardrails(settings=GuardrailSettings(always_ask=("scale",))))
    assert world.said(reversible_first, Scale(pool="cpu", workers=21)) is ASK
    assert world.said(reversible_first, Alert(text="hello")) is ALLOW


@given(st.sampled_from(sorted(TABLE)))
def test_g15_what_can_not_be_undone_is_always_asked(name: str) -> None:
    row = TABLE[name]
    assert row.asks or row.reversible
    assert row.risk is not Risk.high or not row.reversible
