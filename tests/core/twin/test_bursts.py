"""Much work at once: what it makes the twin expect, and that nobody waits while it is run ahead."""

from __future__ import annotations

from typing import Any

from agentorch.core.decide import decide
from agentorch.core.twin import foresee
from agentorch.core.twin.chance import Dice
from agentorch.core.twin.fork import fork
from agentorch.core.twin.lives import Comers, Lives
from agentorch.core.twin.running import Run
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.jobs import Constraints, JobSpec, Resources
from agentorch.model.proposals import Draft
from tests.core.twin.town import scale
from tests.core.world import World

#: Between two moments at which others may do something: the events of one pass of the scheduler, and a few.
EVENTS_AT_ONCE = 3 * limits.DISPATCH_PER_PASS
SPEC = JobSpec(command=("true",), resources=Resources(cpu_milli=1_000), max_duration_ms=20_000)


class Burst(World):
    """Work that came within a second; checked when it is there, not at each step."""

    def __init__(self, jobs: int, workers: int = 4, since_ms: int = 1_000) -> None:
        super().__init__()
        self.tenant()
        self.pool(workers=workers, max_workers=workers + 8)
        for at in range(jobs):
            self.now_ms += at * 1_000 // jobs - (at - 1) * 1_000 // jobs if at else 0
            self.ask(cmd.SubmitJob(tenant="t", spec=SPEC, by="key"))
        self.ask(cmd.Schedule())
        for name in list(self.facts.running):
            self.running(name)
        self.now_ms += since_ms

    def ask(self, command: cmd.Command) -> Any:
        return decide(self.state, command, self.now_ms)[1]

    def came(self, horizon_ms: int, draws: int = 36) -> float:
        """How many come within the horizon, on average."""
        comers = Comers(self.facts, self.now_ms)
        counts = [sum(1 for _ in comers.drawn(Dice(0, draw, draws), horizon_ms)) for draw in range(draws)]
        return sum(counts) / draws


def test_a_burst_is_expected_once_and_not_all_the_time() -> None:
    burst = Burst(60)
    assert burst.came(limits.MINUTE_MS) <= 20
    assert 30 <= burst.came(limits.HOUR_MS) <= 100


def test_a_burst_of_long_ago_is_expected_the_less_the_longer_it_was_quiet() -> None:
    burst = Burst(60, since_ms=10 * limits.MINUTE_MS)
    assert 30 <= burst.came(10 * limits.MINUTE_MS) <= 100
    assert burst.came(2 * limits.MINUTE_MS) <= 60 / 2
    burst.now_ms += 50 * limits.MINUTE_MS
    assert burst.came(2 * limits.MINUTE_MS) == 0


def test_of_an_unknown_past_nothing_far_ahead_is_told() -> None:
    """The newest jobs that are looked at reach back for two minutes, and there were others before them."""
    burst = Burst(limits.TWIN_ARRIVALS_MAX, since_ms=2 * limits.MINUTE_MS)
    found = foresee(burst.state, (), burst.now_ms)
    assert found.horizon_s <= 121
    assert found.stopped_early
    assert "of them are run ahead: waits are longer than told" in found.text


def test_a_crowd_is_run_ahead_bit_by_bit() -> None:
    burst = Burst(1_000, workers=300)
    base = fork(burst.state)
    lives = Lives(base.facts, burst.now_ms)
    for job in base.facts.jobs.values():
        lives.look(job)
    coming = [*Comers(burst.facts, burst.now_ms).drawn(Dice(0, 0, 9), limits.MINUTE_MS)]
    coming += [one._replace(at_ms=burst.now_ms + 1_000) for one in Comers(burst.facts, burst.now_ms).recent]
    coming.sort(key=lambda one: one.at_ms)
    run = Run(base, lives, Dice(0, 0, 9), coming, limits.MINUTE_MS)
    before = longest = 0
    for steps in run.go():
        longest, before = max(longest, steps - before), steps
    assert before > 3_000
    assert longest <= EVENTS_AT_ONCE
    assert run.record.outcome is not None


def test_a_crowd_costs_little_more_than_the_budget() -> None:
    """It is overdrawn where the nearest horizon is farther than it lasts."""
    burst = Burst(1_000, workers=50)
    found = foresee(burst.state, (Draft(action=scale(52)),), burst.now_ms)
    assert found.steps <= 16 * limits.TWIN_STEPS


def test_a_short_past_and_work_without_budget_are_told() -> None:
    burst = Burst(10)
    text = foresee(burst.state, (), burst.now_ms).text
    assert "all work came within 1 s: as much is expected once more in 60 minutes" in text
    poor = Burst(0)
    poor.pool("dear", workers=1, price_usd_micros_per_hour=9_000_000)
    poor.tenant("poor", hard_cap_usd_micros=1)
    for _ in range(3):
        poor.submit(tenant="poor", constraints=Constraints(pools=("dear",)))
    poor.ask(cmd.Schedule())
    text = foresee(poor.state, (), poor.now_ms).text
    assert "3 jobs wait for the budgets of their tenants" in text
