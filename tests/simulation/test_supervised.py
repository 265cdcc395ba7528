"""A supervisor in virtual time: on the road of a server's, within the guardrails, the same each time."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from agentorch.core.invariants import breaches
from agentorch.core.policy import RuleBrain
from agentorch.errors import BrainError, ConfigError, Refused
from agentorch.ledger.memory import MemoryLedger
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.brain import BrainContext
from agentorch.model.events import CycleDecided, CycleObserved, Event, PoolScaled
from agentorch.model.fleet import PoolSpec
from agentorch.model.jobs import Resources
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft, Mode, ProposalState
from agentorch.runtime.verification import verify
from agentorch.simulation.driver import Driver
from agentorch.simulation.recording import drive_into
from agentorch.simulation.supervised import CYCLE_MS, QUIET_MS, Supervisor, no_twin, samples
from agentorch.simulation.traces import TraceJob

BURST = [TraceJob(f"j{at}", 10 * at, 600, 8) for at in range(12)]


def elastic(most: int = 8, *, least: int = 2) -> list[PoolSpec]:
    shape = Resources(cpu_milli=8_000, gpus=8)
    return [PoolSpec(name="gpu", min_workers=least, max_workers=most, workers=least, shape=shape)]


def recorded(jobs: list[TraceJob], pools: list[PoolSpec], supervisor: Supervisor) -> tuple[list[Event], Driver]:
    events: list[Event] = []
    driver = Driver(jobs, pools, events.extend, supervisor=supervisor)
    for _ in driver.steps():
        assert breaches(driver.state) == []
    return events, driver


class Says:
    """A brain that wants the same in every cycle."""

    id = "test/says"

    def __init__(self, *actions: dict[str, Any]) -> None:
        self.drafts = tuple(Draft(action=action, reason="because") for action in actions)

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        return BrainReport(brain=self.id, drafts=self.drafts, hold="" if self.drafts else "nothing")


def test_a_burst_is_met_by_growing_and_what_is_not_needed_goes_again() -> None:
    supervisor = Supervisor(RuleBrain())
    events, driver = recorded([*BURST, TraceJob("late", 7200, 1200, 1)], elastic(), supervisor)
    alone = Driver(BURST, elastic(), lambda _: None)
    for _ in alone.steps():
        pass
    scaled = [event.workers for event in events if isinstance(event, PoolScaled)]
    assert max(scaled) > 2 > 0 < supervisor.counts.actions == len(scaled)
    assert scaled[-1] < max(scaled)
    assert sum(driver.run.ends_s[: len(BURST)]) < sum(alone.run.ends_s)


def test_the_same_run_gives_the_same_bytes() -> None:
    first, second = (msgspec.json.encode(recorded(BURST, elastic(), Supervisor())[0]) for _ in range(2))
    assert first == second


def test_the_ledger_of_a_supervised_run_verifies() -> None:
    async def scenario() -> None:
        ledger = MemoryLedger()
        await ledger.open()
        supervisor = Supervisor()
        await drive_into(ledger, BURST, elastic(), supervisor=supervisor)
        found = await verify(ledger)
        assert (found.ok, found.why) == (True, "")
        assert found.verdicts_judged_again >= supervisor.counts.actions > 0

    asyncio.run(scenario())


def test_cycles_come_on_time_and_are_left_out_only_while_nothing_changes() -> None:
    jobs = [TraceJob("a", 0, 300, 1), TraceJob("b", 301, 1, 1)]
    events, _ = recorded(jobs, elastic(2), Supervisor(Says()))
    times = [event.at_ms for event in events if isinstance(event, CycleObserved)]
    gaps = [after - before for before, after in pairwise(times)]
    assert {gap % CYCLE_MS for gap in gaps} == {0}
    assert max(gaps) == QUIET_MS
    assert min(gaps) < QUIET_MS


def test_telemetry_is_fresh_and_says_what_is_busy() -> None:
    events, driver = recorded([TraceJob("a", 0, 100, 3)], elastic(1, least=1), Supervisor(Says()))
    seen = next(event.observation for event in events if isinstance(event, CycleObserved))
    assert seen.pools[0].telemetry_age_s == 0
    assert [sample.utilization_percent for sample in seen.devices] == [37.5, *[100.0] * 3, *[0.0] * 5]
    assert [sample.utilization_percent for sample in samples(driver.state, driver.now_ms)] == [0.0] * 9


def test_what_is_asked_nobody_answers() -> None:
    pools = [msgspec.structs.replace(pool, price_usd_micros_per_hour=None) for pool in elastic()]
    supervisor = Supervisor(Says({"kind": "scale", "pool": "gpu", "workers": 3}))
    _, driver = recorded([TraceJob("a", 0, 3600, 8)], pools, supervisor)
    found = driver.state.facts.proposals.values()
    assert supervisor.counts.actions == 0 < supervisor.counts.asked
    assert {one.state for one in found} <= {ProposalState.expired, ProposalState.denied, ProposalState.open}
    assert any(one.state is ProposalState.expired for one in found)
    assert driver.state.facts.pools["gpu"].target == 2


def test_guardrails_deny_and_are_counted() -> None:
    supervisor = Supervisor(Says({"kind": "scale", "pool": "gpu", "workers": 8}, {"kind": "nonsense"}))
    recorded([TraceJob("a", 0, 30, 8)], elastic(), supervisor)
    assert supervisor.counts.denied > 0 == supervisor.counts.actions == supervisor.counts.asked


def test_a_broken_brain_is_a_held_cycle() -> None:
    class Broken(Says):
        async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
            await context.foresee(())
            raise AssertionError

    events, _ = recorded(BURST[:1], elastic(), Supervisor(Broken()))
    reports = [event.report for event in events if isinstance(event, CycleDecided)]
    assert {(bool(report.error), report.drafts) for report in reports} == {(True, ())}


def test_a_paused_supervisor_asks_no_brain() -> None:
    supervisor = Supervisor(Says({"kind": "scale", "pool": "gpu", "workers": 3}))
    driver = Driver(BURST, elastic(), lambda _: None, supervisor=supervisor)
    driver.take(cmd.SetMode(mode=Mode.paused, by="op"))
    for _ in driver.steps():
        pass
    assert (supervisor.counts.actions, supervisor.counts.asked, supervisor.counts.denied) == (0, 0, 0)


class Waits(Says):
    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        await asyncio.sleep(0)
        return await super().decide(observation, context)


def test_a_brain_that_waits_for_something_outside_needs_an_event_loop() -> None:
    with pytest.raises(BrainError, match="needs a runner with an event loop"):
        recorded(BURST[:1], elastic(), Supervisor(Waits()))
    with asyncio.Runner() as runner:
        events, _ = recorded(BURST[:1], elastic(), Supervisor(Waits(), run=runner.run))
    assert next(event.report.hold for event in events if isinstance(event, CycleDecided)) == "nothing"


def test_where_only_the_supervisor_can_help_it_is_waited_for() -> None:
    events, driver = recorded([TraceJob("a", 0, 10, 8)], elastic(least=0), Supervisor())
    assert driver.run.ends_s[0] >= 10
    assert any(isinstance(event, PoolScaled) for event in events)
    with pytest.raises(ConfigError, match="1 job never starts"):
        recorded([TraceJob("a", 0, 10, 8)], elastic(least=0), Supervisor(Says()))


def test_that_a_person_was_asked_for_what_is_lacking_is_told() -> None:
    """Giving back costs nothing, and is allowed; to have it again costs more than a brain may spend by itself."""
    (cheap,) = elastic(least=1)
    dear = msgspec.structs.replace(cheap, workers=2, price_usd_micros_per_hour=16_000_000)
    jobs = [TraceJob("early", 0, 60, 8), TraceJob("wide", 20_000, 600, 16)]
    with pytest.raises(ConfigError, match=r"first is wide: .* 1 of 2 ranks; the supervisor asked \d+ times .* nobody"):
        recorded(jobs, [dear], Supervisor(foresee=no_twin))


def test_the_twin_answers_and_proposals_carry_what_it_said() -> None:
    _, driver = recorded(BURST, elastic(), Supervisor())
    found = [one for one in driver.state.facts.proposals.values() if one.state is ProposalState.done]
    assert found
    assert all(one.impact is not None and one.impact.draws > 0 for one in found)


def test_a_brain_may_be_left_without_a_twin() -> None:
    async def ask() -> None:
        context = Supervisor(foresee=no_twin)._context(Driver(BURST, elastic(), lambda _: None))
        with pytest.raises(Refused):
            await context.foresee(())
        assert context.timeout_s * 1000 == 30 * limits.SECOND_MS

    asyncio.run(ask())
    supervisor = Supervisor(foresee=no_twin)
    _, driver = recorded(BURST, elastic(), supervisor)
    assert supervisor.counts.actions > 0
    assert all(one.impact is None for one in driver.state.facts.proposals.values())
