"""What it may cost: G7 budget, and G13 power and heat, which are spent alike."""

from __future__ import annotations

from agentorch.core import money
from agentorch.core.guardrails.case import Case, allow, ask, deny
from agentorch.model.fleet import Pool
from agentorch.model.health import Sign
from agentorch.model.proposals import Note, Reroute, Scale, Uncordon


def budget(case: Case) -> Note | None:
    """G7: nothing may exceed a hard cap; an unknown price is asked. Starts themselves are reserved by the scheduler."""
    if case.pool is None:
        return None
    if case.grows_by:
        return _growth(case, case.pool)
    if isinstance(case.action, Reroute):
        return _dearer_place(case, case.pool)
    return None


def _growth(case: Case, pool: Pool) -> Note:
    """Growing on known prices is allowed while the caps that people set would pay an hour of all unused workers."""
    price = pool.spec.price_usd_micros_per_hour
    if price is None:
        return ask("G7", f"the price of {pool.spec.name} is unknown")
    if price == 0:
        return allow("G7", f"workers of {pool.spec.name} cost nothing")
    tenants = list(case.facts.tenants.values())
    active = [tenant for tenant in tenants if tenant.queued or tenant.running] or tenants
    adds = f"adds {money.usd(price * case.grows_by)} per hour"
    if any(tenant.spec.hard_cap_usd_micros is None for tenant in active):
        return ask("G7", f"{adds}, and not every tenant at work has a cap")
    unused = _unused_per_hour(case)
    room = sum(max(0, money.headroom(tenant) or 0) for tenant in active)
    if unused > room:
        return deny("G7", f"{adds}; unused workers would cost {money.usd(unused)} an hour, {money.usd(room)} is left")
    if price * case.grows_by > case.settings.ask_above_usd_micros_per_hour:
        return ask("G7", f"{adds}; more than {money.usd(case.settings.ask_above_usd_micros_per_hour)} is asked")
    return allow("G7", f"{adds}; {money.usd(room)} is left under the caps")


def _unused_per_hour(case: Case) -> int:
    """Micro-dollars an hour of all priced workers that run nothing, with this growth and what was planned before it."""
    wanted = {name: pool.target for name, pool in case.facts.pools.items()}
    for action in (*case.earlier, case.action):
        if isinstance(action, Scale) and action.pool in wanted:
            wanted[action.pool] = max(wanted[action.pool], action.workers)
    total = 0
    for name, pool in case.facts.pools.items():
        busy = sum(1 for worker in case.workers_of(pool) if worker.running)
        total += (pool.spec.price_usd_micros_per_hour or 0) * max(0, wanted[name] - busy)
    return total


def _dearer_place(case: Case, pool: Pool) -> Note | None:
    """Moving work to a pool: its tenant must be able to pay there, and dearer than now is asked."""
    name = pool.spec.name
    if pool.spec.price_usd_micros_per_hour is None:
        return ask("G7", f"the price of {name} is unknown")
    cost = 0
    for job in case.moved:
        price = money.share_price(pool.spec, job.resources, job.spec.gang) or 0
        if price and not money.covers(case.facts, job, price):
            return deny("G7", f"{job.tenant} can't pay for {job.id} in {name}: {money.usd(price)} per hour")
        cost += price
    before = [case.facts.pools[source].spec.price_usd_micros_per_hour for source in case.moved_from]
    if cost and any(price is not None and price < pool.spec.price_usd_micros_per_hour for price in before):
        return ask("G7", f"{name} is dearer: {money.usd(cost)} per hour while they run")
    return allow("G7", f"{name} is no dearer") if case.moved else None


def power_and_heat(case: Case) -> Note | None:
    """G13: no more work for devices over their temperature limit, nor past a pool's watt cap."""
    pool = case.pool
    adds_work = case.grows_by or isinstance(case.action, Reroute | Uncordon)
    if pool is None or not adds_work:
        return None
    workers = [case.worker] if case.worker is not None else case.workers_of(pool)
    devices = [device for worker in workers for device in worker.devices]
    limit_c = case.settings.device_temperature_limit_c
    for device in devices:
        fault = case.facts.device_faults.get(device)
        if fault is not None and fault.sign is Sign.heat:
            return deny("G13", f"{device} is too hot: {fault.reason}")
        sample = case.samples.get(device)
        if sample is not None and sample.temperature_c is not None and sample.temperature_c >= limit_c:
            return deny("G13", f"{device} is at {sample.temperature_c:.0f} C; the limit is {limit_c} C")
    cap = pool.spec.power_cap_watts
    if cap is None:
        return None
    watts = [sample.power_watts if (sample := case.samples.get(device)) else None for device in devices]
    known = [watt for watt in watts if watt is not None]
    if len(known) < len(watts) or not watts:
        return ask("G13", f"{pool.spec.name} has a cap of {cap} W and its power is unknown")
    drawn = max(sum(known), pool.power.watts or 0)  # the state may know more than the observation did
    if drawn + drawn / len(workers) * max(1, case.grows_by) > cap:
        return deny("G13", f"{pool.spec.name} draws {drawn:.0f} W of at most {cap} W; more would pass the cap")
    return allow("G13", f"{pool.spec.name} draws {drawn:.0f} W of at most {cap} W")
