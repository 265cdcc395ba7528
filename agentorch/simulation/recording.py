"""A simulated run as a ledger: the same file that a server writes, to be verified, replayed and looked at."""

from __future__ import annotations

from collections.abc import Sequence

from agentorch.errors import ConfigError
from agentorch.ledger.contract import Ledger
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.events import Event
from agentorch.model.fleet import PoolSpec
from agentorch.simulation.driver import PREEMPT_COST_S, Driver
from agentorch.simulation.reference import silent
from agentorch.simulation.run import TELL_EVERY, Run, Tell
from agentorch.simulation.supervised import Supervisor
from agentorch.simulation.traces import TraceJob

#: So many events are committed together, and what else happened at the same instant.
COMMIT_FROM = limits.COMMIT_EVENTS_MAX // 2


async def drive_into(
    ledger: Ledger,
    jobs: Sequence[TraceJob],
    pools: Sequence[PoolSpec],
    tell: Tell = silent,
    *,
    preempt_cost_s: int = PREEMPT_COST_S,
    supervisor: Supervisor | None = None,
) -> Run:
    """As `driver.drive`, with every event in the ledger, which must be open and empty. The trace begins a day after
    1970-01-01. Raises ConfigError, LedgerFailed."""
    if (await ledger.info()).last_seq:
        raise ConfigError("the ledger holds events already; name a file that is not there yet")
    waiting: list[Event] = []
    driver = Driver(jobs, pools, waiting.extend, preempt_cost_s=preempt_cost_s, supervisor=supervisor)
    for step, ended in enumerate(driver.steps(), 1):
        if len(waiting) >= COMMIT_FROM:
            await _commit(ledger, waiting, driver.now_ms)
        if not step % TELL_EVERY:
            tell(ended)
    driver.take(cmd.CloseRuntime())
    driver.flush()
    await _commit(ledger, waiting, driver.now_ms)
    return driver.run


async def _commit(ledger: Ledger, waiting: list[Event], now_ms: int) -> None:
    """All of it, so that a commit ends where an instant does; only one that is too big is cut."""
    for first in range(0, len(waiting), limits.COMMIT_EVENTS_MAX):
        await ledger.commit(waiting[first : first + limits.COMMIT_EVENTS_MAX], now_ms)
    waiting.clear()
