"""The rule brain with the twin, in virtual time: a burst waits less, nothing goes to and fro, money is not wasted."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from agentorch.core.invariants import breaches
from agentorch.core.policy import RuleBrain
from agentorch.core.twin import foresee
from agentorch.model import commands as cmd
from agentorch.model.brain import Brain, BrainContext
from agentorch.model.events import CycleDecided, Event, PoolScaled
from agentorch.model.fleet import PoolSpec, TenantSpec
from agentorch.model.jobs import Resources
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport
from agentorch.simulation.driver import Driver
from agentorch.simulation.supervised import Supervisor
from agentorch.simulation.traces import TraceJob

DOLLAR = 1_000_000
#: A burst at noon, of work that is known from the hours before it; then little, evenly.
JOBS = [
    *(TraceJob(f"before-{at}", 400 * at, 300, 8) for at in range(12)),
    *(TraceJob(f"burst-{at}", 5000 + 10 * at, 300 + 10 * at, 8) for at in range(20)),
    *(TraceJob(f"after-{at}", 7500 + 400 * at, 300, 8) for at in range(8)),
]


class Holding:
    id = "test/holding"

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        return BrainReport(brain=self.id, hold="nothing is ever done")


class Lived:
    """One run of the trace on a pool of 2 to 8 workers, and what came of it."""

    def __init__(self, brain: Brain, price_usd: int = 0) -> None:
        pool = PoolSpec(
            name="gpu",
            min_workers=2,
            max_workers=8,
            workers=2,
            price_usd_micros_per_hour=price_usd * DOLLAR,
            shape=Resources(cpu_milli=8_000, gpus=8),
        )
        self.events: list[Event] = []
        self.supervisor = Supervisor(brain, foresee=foresee)
        driver = Driver(JOBS, [pool], self.events.extend, supervisor=self.supervisor)
        for tenant in list(driver.state.facts.tenants):
            driver.take(cmd.ConfigureTenant(spec=TenantSpec(name=tenant, hard_cap_usd_micros=10_000 * DOLLAR)))
        for _ in driver.steps():
            pass
        assert breaches(driver.state) == []
        ends = zip(driver.run.ends_s, JOBS, strict=True)
        self.waited_s = sum(end_s - job.submit_s - job.duration_s for end_s, job in ends) / len(JOBS)
        self.reports = [event.report for event in self.events if isinstance(event, CycleDecided)]
        assert [report.error for report in self.reports if report.error] == []

    def sizes(self) -> list[int]:
        return [2, *(event.workers for event in self.events if isinstance(event, PoolScaled))]

    def turns(self) -> int:
        """How often the pool changed direction."""
        ups = [after > before for before, after in pairwise(self.sizes())]
        return sum(1 for before, after in pairwise(ups) if before is not after)


@pytest.fixture(scope="module")
def held() -> Lived:
    return Lived(Holding())


@pytest.fixture(scope="module")
def lived() -> Lived:
    return Lived(RuleBrain())


def test_a_burst_waits_less_and_the_pool_goes_up_and_down_once(held: Lived, lived: Lived) -> None:
    assert lived.waited_s < held.waited_s / 3
    assert max(lived.sizes()) == 8
    assert lived.sizes()[-1] < 8, "what is not needed is given back"
    assert lived.turns() == 1
    assert lived.supervisor.counts.denied == 0


def test_what_it_proposes_and_what_it_holds_has_computed_numbers(lived: Lived) -> None:
    drafts = [draft for report in lived.reports for draft in report.drafts]
    assert drafts
    for draft in drafts:
        assert draft.evidence[-1].startswith("foreseen, ")
        assert draft.alternatives[0].startswith("do nothing: p95 of waits ")


def test_where_workers_cost_much_it_waits_for_more_to_be_gained(held: Lived, lived: Lived) -> None:
    paid = Lived(RuleBrain(), price_usd=4)
    assert held.waited_s > paid.waited_s >= lived.waited_s
    assert paid.supervisor.counts.actions > 0


def test_the_same_day_twice_is_the_same_bytes(lived: Lived) -> None:
    again = Lived(RuleBrain())
    assert msgspec.json.encode(again.events) == msgspec.json.encode(lived.events)
