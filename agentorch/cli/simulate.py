"""`agentorch simulate jobs TRACE`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cyclopts import App, Parameter

from agentorch.cli.output import Printer, span
from agentorch.config import load
from agentorch.errors import ConfigError
from agentorch.model import limits
from agentorch.model.fleet import PoolSpec
from agentorch.model.units import parse_duration_ms
from agentorch.simulation import reference
from agentorch.simulation.driver import PREEMPT_COST_S, drive, fixed, one_pool
from agentorch.simulation.plot import plot as picture
from agentorch.simulation.run import Report, Run, Tell, summarise
from agentorch.simulation.supervised import CYCLE_MS, Counts, Supervisor, no_twin, twin
from agentorch.simulation.traces import TraceJob, read_trace, shuffled_ties

app: Final = App(name="simulate", help="Run the scheduler on a recorded trace, in virtual time.")

DEFAULT: Final = "default"
NODES, GPUS_PER_NODE = 1, 8
TELL_EVERY_S: Final = 0.2
SHORTEST_CYCLE_MS: Final = 100


@Parameter(name="*")
@dataclass(frozen=True)
class Rows:
    """Which jobs of the trace."""

    limit: Annotated[int | None, Parameter(help="Only the first so many jobs.")] = None
    max_duration: Annotated[str | None, Parameter(help="Leave out jobs that take longer, such as 3d.")] = None
    gpu_jobs_only: Annotated[bool, Parameter(negative="", help="Leave out jobs without a GPU.")] = False
    seed: Annotated[
        int, Parameter(help="Shuffle the jobs that came in the same second; 0 leaves them as the trace has them.")
    ] = 0

    def of(self, trace: Path) -> list[TraceJob]:
        """Raises ConfigError."""
        _at_least(1, limit=self.limit)
        longest_s = (
            None if self.max_duration is None else _duration_ms("--max-duration", self.max_duration) // limits.SECOND_MS
        )
        found = read_trace(trace, max_duration_s=longest_s, gpu_jobs_only=self.gpu_jobs_only, limit=self.limit)
        return shuffled_ties(found, self.seed)


@Parameter(name="*")
@dataclass(frozen=True)
class Cluster:
    """What the jobs run on."""

    nodes: Annotated[int | None, Parameter(help="Nodes of the cluster; by default 1.")] = None
    gpus_per_node: Annotated[int | None, Parameter(help="GPUs of each; by default 8.")] = None
    pools: Annotated[
        Path | None,
        Parameter(
            help="A file with [pools.NAME] tables as in agentorch.toml, instead of --nodes. A job whose vc names a "
            "pool stays there; the references then run each pool alone."
        ),
    ] = None

    def specs(self) -> tuple[PoolSpec, ...]:
        """Raises ConfigError."""
        _at_least(1, nodes=self.nodes, gpus_per_node=self.gpus_per_node)
        if self.pools is None:
            return (one_pool(self.nodes or NODES, self.gpus_per_node or GPUS_PER_NODE),)
        if self.nodes is not None or self.gpus_per_node is not None:
            raise ConfigError("--pools says what there is: leave out --nodes and --gpus-per-node")
        # The user's own file says nothing about the cluster of a trace.
        found = load(environ={"XDG_CONFIG_HOME": os.devnull}, config_file=self.pools).pools
        if not found:
            raise ConfigError(f"{self.pools}: expected a table such as [pools.NAME]")
        for pool in found:
            if not pool.shape.gpus or not pool.workers:
                raise ConfigError(f"{self.pools}: pools.{pool.name}: expected gpus and workers of at least 1")
        return tuple(fixed(pool) for pool in found)


@Parameter(name="*")
@dataclass(frozen=True)
class Supervision:
    """Who watches over the cluster."""

    supervised: Annotated[
        bool,
        Parameter(
            negative="",
            help="Let the rule brain supervise the policy default, mode guarded: what guardrails allow is carried out, "
            "what they ask nobody answers.",
        ),
    ] = False
    cycle: Annotated[str | None, Parameter(help="Time between its cycles; by default 5s, as a server's.")] = None

    twin: Annotated[
        bool, Parameter(negative="", help="Let it ask the twin, as on a server; a run then takes very much longer.")
    ] = False

    def supervisor(self, policy: str) -> Supervisor | None:
        """Raises ConfigError."""
        if not self.supervised:
            if self.cycle is not None or self.twin:
                raise ConfigError("--cycle and --twin are the supervisor's: add --supervised")
            return None
        if policy != DEFAULT:
            raise ConfigError(f"--supervised: expected --policy {DEFAULT}, not {policy}")
        cycle_ms = CYCLE_MS if self.cycle is None else _duration_ms("--cycle", self.cycle)
        if not SHORTEST_CYCLE_MS <= cycle_ms <= limits.DAY_MS:
            raise ConfigError(f"--cycle {self.cycle}: expected 0.1s to 1d")
        return Supervisor(cycle_ms=cycle_ms, foresee=twin if self.twin else no_twin)


@app.command
def jobs(
    trace: Path,
    *,
    cluster: Cluster | None = None,
    policy: str = DEFAULT,
    preempt_cost: int = PREEMPT_COST_S,
    supervision: Supervision | None = None,
    rows: Rows | None = None,
    output: Annotated[Literal["table", "json"], Parameter(name=["--output", "-o"])] = "table",
    plot: Path | None = None,
    ledger: Path | None = None,
) -> int:
    """Run a trace of jobs under a policy, and say how long its jobs waited.

    The trace is CSV with a header, or gzipped CSV: job_id, submit_s, duration_s, gpus; tenant and vc if it has them.

    Parameters
    ----------
    policy
        default: the scheduler itself, which knows no duration. For comparison fifo, fifo-greedy, easy, sjf, sjf-easy,
        las2d and srtf; of these easy, the sjf ones and srtf know every duration, and preemption costs them nothing.
    preempt_cost
        Seconds that a preempted job loses under the policy default.
    output
        table or json.
    plot
        Write a picture of the queue and of the GPUs in use, an SVG.
    ledger
        Write what happened under the policy default into this new ledger file, as a server would.
    """
    _at_least(0, preempt_cost=preempt_cost)
    if policy not in (DEFAULT, *reference.POLICIES):
        raise ConfigError(f"--policy {policy!r}: there is {', '.join((DEFAULT, *reference.POLICIES))}")
    if ledger is not None and (policy != DEFAULT or ledger.exists()):
        raise ConfigError(f"--ledger {ledger}: expected a file that is not there yet, and --policy {DEFAULT}")
    supervisor = (supervision or Supervision()).supervisor(policy)
    cluster = cluster or Cluster()
    specs = cluster.specs()
    found = (rows or Rows()).of(trace)
    tell = _Progress(len(found))
    began = time.perf_counter()
    if policy != DEFAULT:
        run = _reference(found, specs, policy, tell, alone=cluster.pools is not None)
    elif ledger is not None:
        run = asyncio.run(_recorded(ledger, found, specs, tell, preempt_cost, supervisor))
    else:
        run = drive(found, specs, tell, preempt_cost_s=preempt_cost, supervisor=supervisor)
    report = summarise(found, run, time.perf_counter() - began)
    tell.clear()
    _print(report, supervisor.counts if supervisor is not None else None, output)
    if plot is not None:
        _write(plot, picture(run, f"{trace.name}, {policy}"))
    return 0


def _reference(found: Sequence[TraceJob], cluster: Sequence[PoolSpec], policy: str, tell: Tell, *, alone: bool) -> Run:
    if alone:
        return reference.simulate_apart(found, policy, cluster, tell)
    return reference.simulate(found, policy, cluster[0].workers, cluster[0].shape.gpus, tell)


async def _recorded(
    file: Path,
    found: Sequence[TraceJob],
    cluster: Sequence[PoolSpec],
    tell: Tell,
    preempt_cost: int,
    supervisor: Supervisor | None,
) -> Run:
    from agentorch.ledger.sqlite import SqliteLedger
    from agentorch.simulation.recording import drive_into

    ledger = SqliteLedger(file)
    await ledger.open()
    try:
        return await drive_into(ledger, found, cluster, tell, preempt_cost_s=preempt_cost, supervisor=supervisor)
    finally:
        await ledger.close()


def _at_least(low: int, **given: int | None) -> None:
    for name, value in given.items():
        if value is not None and value < low:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least {low}, not {value}")


def _duration_ms(option: str, text: str) -> int:
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: {error}") from error


def _print(report: Report, counts: Counts | None, output: Literal["table", "json"]) -> None:
    lines = [
        ("jobs", report.jobs),
        ("avg JCT", f"{span(report.avg_jct_s)} ({report.avg_jct_s:,.0f} s)"),
        ("p50 JCT", f"{span(report.p50_jct_s)} ({report.p50_jct_s:,.0f} s)"),
        ("p99 JCT", f"{span(report.p99_jct_s)} ({report.p99_jct_s:,.0f} s)"),
        ("avg queue", f"{span(report.avg_queue_s)} ({report.avg_queue_s:,.0f} s)"),
        ("p99 queue", f"{span(report.p99_queue_s)} ({report.p99_queue_s:,.0f} s)"),
        ("bounded slowdown", f"{report.bounded_slowdown:.2f}"),
        ("GPUs used", f"{100 * report.utilization:.1f} %"),
        ("preemptions", report.preemptions),
        ("took", span(report.sim_wall_s)),
    ]
    found = msgspec.to_builtins(report)
    if counts is not None:
        found |= msgspec.to_builtins(counts)
        lines += [("actions", counts.actions), ("asked", counts.asked), ("denied", counts.denied)]
    Printer(output).one(found, lines)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--plot {path}: can't be written: {error.strerror}") from error


class _Progress:
    """A line on stderr that counts the jobs that have ended; silent unless a person sees it."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.next_s = time.monotonic() + TELL_EVERY_S if sys.stderr.isatty() else None
        self.shown = False

    def __call__(self, ended: int) -> None:
        now_s = time.monotonic()
        if self.next_s is None or now_s < self.next_s:
            return
        self.next_s = now_s + TELL_EVERY_S
        self.shown = True
        done = 30 * ended // self.total
        print(
            f"\r[{'#' * done}{'.' * (30 - done)}] {ended:,} of {self.total:,} jobs", end="", file=sys.stderr, flush=True
        )

    def clear(self) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
