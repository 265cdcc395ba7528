"""Prometheus metrics, computed from the state at each scrape: nothing is counted twice and nothing can drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from agentorch import __version__
from agentorch.api.services import Services
from agentorch.core.facts import Facts
from agentorch.core.observe import pool_facts
from agentorch.core.state import State
from agentorch.model.health import HealthState
from agentorch.model.jobs import TIER_RANK
from agentorch.model.proposals import MODE_RANK
from agentorch.model.units import usd

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(services: Services, state: State) -> bytes:
    """The text format. Synchronous: it reads one state."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_AtScrape([*_families(services, state)]))
    return generate_latest(registry)


class _AtScrape(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _gauge(name: str, text: str, labels: list[str], values: list[tuple[list[str], float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"agentorch_{name}", text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, labels: list[str], values: list[tuple[list[str], float]]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"agentorch_{name}", text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _families(services: Services, state: State) -> Iterator[Metric]:
    facts, source = state.facts, services.source
    yield _gauge("build_info", "Version of the server", ["version"], [([__version__], 1)])
    yield from _queue(state)
    yield from _pools(state, source.now_ms())
    yield from _health(facts)
    yield from _money(facts)
    yield from _supervisor(facts)
    yield _gauge("ledger_sequence", "Newest durable sequence number", [], [([], source.last_seq)])
    commits = getattr(source, "commits", None)
    if isinstance(commits, int):
        yield _counter("ledger_commits", "Commits since this server started", [], [([], commits)])
    yield _gauge("event_subscribers", "Open event streams", [], [([], services.hub.subscribers)])
    if services.settings.loop_lag_s is not None:
        yield _gauge("loop_lag_seconds", "How late the event loop is", [], [([], services.settings.loop_lag_s())])


def _queue(state: State) -> Iterator[Metric]:
    facts = state.facts
    tiers: Counter[str] = Counter(dict.fromkeys(TIER_RANK, 0))
    for job, count in state.queue.lines():
        tiers[job.spec.tier] += count
    yield _gauge(
        "jobs_in_line", "Queued jobs that may start now, by tier", ["tier"], [([k], v) for k, v in tiers.items()]
    )
    yield _gauge("jobs_queued", "Queued jobs, also those that wait for time or others", [], [([], len(state.queue))])
    yield _gauge("jobs_running", "Jobs on a worker", [], [([], len(facts.running))])
    yield _gauge("jobs_held", "Jobs that a person or a pause holds", [], [([], len(facts.held))])
    yield _counter("jobs_submitted", "Jobs ever submitted", [], [([], facts.next_job - 1)])
    ended = [([name], float(count)) for name, count in facts.ended_by_state.items()]
    yield _counter("jobs_finished", "Jobs ever finished, by final state", ["state"], ended)


def _pools(state: State, now_ms: int) -> Iterator[Metric]:
    found = [pool_facts(state, name, now_ms) for name in state.facts.pools]
    columns = [
        ("pool_workers", "Workers that exist and are not retiring", [float(one.workers) for one in found]),
        ("pool_workers_available", "Of those, up and not cordoned", [float(one.available) for one in found]),
        ("pool_workers_target", "Workers wanted", [float(one.target) for one in found]),
        ("pool_queued", "Jobs that wait for this pool first", [float(one.queued) for one in found]),
        ("pool_running", "Jobs that run here", [float(one.running) for one in found]),
        (
            "pool_utilization_ratio",
            "Share of available workers' slots in use",
            [one.utilization_percent / 100 for one in found],
        ),
        ("pool_wait_seconds_p50", "Median queue wait", [one.wait_s_p50 for one in found]),
        ("pool_wait_seconds_p95", "95th percentile of queue wait", [one.wait_s_p95 for one in found]),
    ]
    names = [[one.name] for one in found]
    for name, text, values in columns:
        yield _gauge(name, text, ["pool"], list(zip(names, values, strict=True)))


def _health(facts: Facts) -> Iterator[Metric]:
    states = Counter(str(fault.state) for fault in facts.device_faults.values())
    out = [([str(state)], float(states[state])) for state in HealthState if state is not HealthState.ok]
    yield _gauge("devices_out", "Devices that take no work for their health", ["state"], out)
    yield _gauge(
        "health_halted", "1 while nothing is cordoned by itself (G11)", [], [([], float(bool(facts.health_halt)))]
    )


def _money(facts: Facts) -> Iterator[Metric]:
    tenants = facts.tenants.values()
    spent = [([one.spec.name], usd(one.spent_usd_micros)) for one in tenants]
    yield _counter("spent_usd", "Money spent, by tenant", ["tenant"], spent)
    reserved = [([one.spec.name], usd(one.reserved_usd_micros)) for one in tenants]
    yield _gauge("reserved_usd", "Money reserved for running work, by tenant", ["tenant"], reserved)


def _supervisor(facts: Facts) -> Iterator[Metric]:
    rulings = Counter((str(one.verdict.ruling), str(one.state)) for one in facts.proposals.values())
    yield _gauge(
        "proposals",
        "Proposals kept in state, by ruling and state",
        ["ruling", "state"],
        [([*key], float(count)) for key, count in rulings.items()],
    )
    yield _counter("proposals_made", "Proposals ever made", [], [([], facts.next_proposal - 1)])
    yield _counter("supervisor_cycles", "Cycles of the supervisor", [], [([], facts.cycle)])
    yield _gauge("brain_failures", "Failures of the brain in a row", [], [([], facts.brain_failures)])
    yield _gauge(
        "supervisor_mode",
        "1 for the present mode",
        ["mode"],
        [([mode], float(mode == facts.mode)) for mode in MODE_RANK],
    )
