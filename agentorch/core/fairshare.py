"""Fair share with decay: whoever used least of late, for its weight, goes first.

Usage is billed as the largest of a job's weighted resources times its duration, as Slurm does with
`PriorityFlags=MAX_TRES` and TRESBillingWeights (slurm.schedmd.com/tres.html). It decays exponentially. Decay shrinks
everybody by the same factor, so it never changes who is first: instead of shrinking the past, new usage is *grown* by
`2 ** ((now - epoch) / half life)`, and all is scaled back together before the numbers get too big.
"""

from __future__ import annotations

from agentorch.core.facts import Facts
from agentorch.model import limits
from agentorch.model.fleet import Tenant
from agentorch.model.jobs import Attempt, Resources

GPU_UNITS = 16.0  # one GPU weighs as much as 16 cores
GIB_UNITS = 0.25  # 4 GiB weigh as much as one core
ADVANCE_MS = 60_000  # charged at the start, set right at the end: one pass can't hand everything to one tenant
RESCALE_HALF_LIVES = 64
GROWTH_HALF_LIVES = 900  # nothing that is older counts; a float ends at 2 ** 1024


def units(need: Resources) -> float:
    """Billing units that a job holds at once."""
    if not need.memory_bytes and not need.gpus:  # most work is asked for in cores alone
        return max(need.cpu_milli / 1000, 0.001)
    return max(need.cpu_milli / 1000, need.memory_bytes / 2**30 * GIB_UNITS, need.gpus * GPU_UNITS, 0.001)


def growth(facts: Facts, at_ms: int) -> float:
    """By how much usage of this moment outweighs usage at the epoch, which the first charge sets."""
    if not facts.usage_epoch_ms:
        return 1.0
    half_lives = max(0, at_ms - facts.usage_epoch_ms) / limits.FAIR_SHARE_HALF_LIFE_MS
    return float(2.0 ** min(half_lives, GROWTH_HALF_LIVES))


def advance(facts: Facts, need: Resources, at_ms: int, ranks: int = 1) -> float:
    """What a start is charged, for all ranks of a gang."""
    return ranks * units(need) * ADVANCE_MS / 1000 * growth(facts, at_ms)


def settlement(facts: Facts, attempt: Attempt, ended_ms: int) -> float:
    """What an end adds to what its start was charged: negative for work shorter than the advance."""
    return settled(facts, attempt.resources, attempt.ordered_ms, ended_ms, len(attempt.ranks) or 1)


def settled(facts: Facts, need: Resources, started_ms: int, ended_ms: int, ranks: int = 1) -> float:
    """As `settlement`, of so many ranks that hold `need` each."""
    ran_ms = max(0, ended_ms - started_ms)
    advanced = advance(facts, need, started_ms, ranks)
    if not ran_ms:
        return -advanced
    middle_ms = started_ms + ran_ms // 2
    return ranks * units(need) * ran_ms / 1000 * growth(facts, middle_ms) - advanced


def share(tenant: Tenant) -> float:
    """The number that orders tenants: least first."""
    return tenant.usage / tenant.spec.weight


def charge(facts: Facts, tenant: Tenant, amount: float, at_ms: int) -> None:
    """Called by evolve only. Rescales everybody when the growth factor gets large."""
    tenant.usage = max(0.0, tenant.usage + amount)
    if not facts.usage_epoch_ms:
        facts.usage_epoch_ms = at_ms
    if at_ms - facts.usage_epoch_ms > RESCALE_HALF_LIVES * limits.FAIR_SHARE_HALF_LIFE_MS:
        factor = growth(facts, at_ms)
        for other in facts.tenants.values():
            other.usage /= factor
        facts.usage_epoch_ms = at_ms
