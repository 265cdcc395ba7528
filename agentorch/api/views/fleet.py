"""Pools, workers, devices, tenants, budgets, keys."""

from __future__ import annotations

from collections.abc import Sequence

from agentorch.api.access import Caller
from agentorch.core.health import health_of, why_unhealthy
from agentorch.core.lending import borrowers_of
from agentorch.core.observe import pool_facts, tenant_facts
from agentorch.core.reservations import Kept
from agentorch.core.state import State
from agentorch.model.fleet import ApiKey, Node, Pool, Tenant, Worker
from agentorch.model.observation import DeviceSample
from agentorch.model.units import seconds, seconds_or_none, usd, usd_or_none
from agentorch.schemas.documents import (
    BudgetDocument,
    DeviceDocument,
    KeyDocument,
    NodeDocument,
    PoolDocument,
    ReservationDocument,
    TenantDocument,
    WorkerDocument,
)


def pool_document(state: State, pool: Pool, now_ms: int) -> PoolDocument:
    spec = pool.spec
    facts = pool_facts(state, spec.name, now_ms)
    return PoolDocument(
        name=spec.name,
        executor=spec.executor,
        node_type=spec.node_type,
        workers=facts.workers,
        available=facts.available,
        busy=facts.busy,
        target=pool.target,
        min_workers=spec.min_workers,
        max_workers=spec.max_workers,
        cpus=spec.shape.cpu_milli / 1000,
        memory_bytes=spec.shape.memory_bytes,
        gpus=spec.shape.gpus,
        price_usd_per_hour=usd_or_none(spec.price_usd_micros_per_hour),
        region=spec.region,
        spot=spec.spot,
        labels=dict(spec.labels),
        paused=pool.paused,
        paused_reason=pool.paused_reason,
        protected=spec.protected,
        queued=facts.queued,
        running=facts.running,
        utilization_percent=facts.utilization_percent,
        wait_s_p50=facts.wait_s_p50,
        wait_s_p95=facts.wait_s_p95,
        target_wait_s=facts.target_wait_s,
        telemetry_age_s=facts.telemetry_age_s,
        failed_starts=pool.failed_starts,
        nodes=facts.nodes,
        nodes_wanted=facts.nodes_wanted,
        provisioning_failures=facts.provisioning_failures,
        provisioning_error=facts.provisioning_error,
        provisioning_retry_s=facts.provisioning_retry_s,
        power_cap_watts=spec.power_cap_watts,
        power_watts=pool.power.watts,
        lends=spec.lends,
        borrowed=sum(1 for _ in borrowers_of(state.facts, spec.name)),
        reservations=_reservations(state, pool),
    )


def _reservations(state: State, pool: Pool) -> list[ReservationDocument]:
    if not pool.spec.reservations:
        return []
    kept = Kept(state.facts, pool)
    found = []
    for part, one in enumerate(pool.spec.reservations):
        unused = kept.unused(part)
        found.append(
            ReservationDocument(
                tenant=one.tenant,
                tier=one.tier,
                workers=one.workers,
                gpus=one.gpus,
                cpus=one.cpu_milli / 1000,
                unused_workers=kept.unused_workers(part),
                unused_gpus=unused.gpus,
                unused_cpus=unused.cpu_milli / 1000,
            )
        )
    return found


def node_document(state: State, node: Node) -> NodeDocument:
    workers = [state.facts.workers[name] for name in node.workers]
    return NodeDocument(
        id=node.id,
        executor=node.executor,
        type=node.type,
        state=node.state,
        problem=node.problem,
        address=node.address,
        labels=dict(node.labels),
        cpus=node.cpu_milli / 1000,
        memory_bytes=node.memory_bytes,
        devices=list(node.devices),
        device_names=list(node.device_names),
        workers=[worker.id for worker in workers],
        pools=list(dict.fromkeys(worker.pool for worker in workers)),
        added_at=seconds(node.added_ms),
        goes_at=seconds_or_none(node.notice_ms),
    )


def worker_document(state: State, worker: Worker, caller: Caller) -> WorkerDocument:
    """Jobs of tenants that the caller does not see are left out."""
    jobs, faults = state.facts.jobs, state.facts.device_faults

    def visible(name: str) -> bool:
        return name in jobs and caller.sees(jobs[name].tenant)

    return WorkerDocument(
        id=worker.id,
        pool=worker.pool,
        node=worker.node,
        node_state=worker.node_state,
        node_problem=state.facts.nodes[worker.node].problem if worker.node in state.facts.nodes else "",
        state=worker.state,
        cordoned=worker.cordoned,
        cordon_reason=worker.cordon_reason,
        cordoned_by=worker.cordoned_by,
        health=health_of(state.facts, worker),
        health_reason=why_unhealthy(state.facts, worker),
        cpus=worker.shape.cpu_milli / 1000,
        memory_bytes=worker.shape.memory_bytes,
        gpus=worker.shape.gpus,
        devices=list(worker.devices),
        devices_out={name: faults[name].reason for name in worker.devices if name in faults},
        free_cpus=worker.free_cpu_milli / 1000,
        free_memory_bytes=worker.free_memory_bytes,
        free_gpus=len(worker.free_devices),
        jobs=[name for name in worker.running if visible(name)],
        reserved_for=worker.reserved_for if visible(worker.reserved_for) else "",
    )


def missing_devices(state: State, samples: Sequence[DeviceSample]) -> list[DeviceSample]:
    """Devices that something is wrong with and that no probe lists any more: nothing else is known of them."""
    listed = {sample.id for sample in samples}
    known = state.facts.devices
    return [
        DeviceSample(id=name, kind="gpu", node=known[name].node if name in known else "", error="not listed any more")
        for name in state.facts.device_faults
        if name not in listed
    ]


def device_document(state: State, sample: DeviceSample, now_ms: int, history: list[DeviceSample]) -> DeviceDocument:
    fault = state.facts.device_faults.get(sample.id)
    return DeviceDocument(
        id=sample.id,
        kind=sample.kind,
        name=sample.name,
        node=sample.node,
        age_s=max(0.0, seconds(now_ms - sample.at_ms)) if sample.at_ms else None,
        utilization_percent=sample.utilization_percent,
        memory_used_bytes=sample.memory_used_bytes,
        memory_total_bytes=sample.memory_total_bytes,
        temperature_c=sample.temperature_c,
        power_watts=sample.power_watts,
        power_limit_watts=sample.power_limit_watts,
        pressure_percent=sample.pressure_percent,
        memory_pressure_percent=sample.memory_pressure_percent,
        io_pressure_percent=sample.io_pressure_percent,
        temperature_limit_c=sample.temperature_limit_c,
        energy_j=None if sample.energy_mj is None else sample.energy_mj / 1000,
        throttled=None if sample.throttled is None else list(sample.throttled),
        ecc_uncorrected=sample.ecc_uncorrected,
        rows_pending=sample.rows_pending,
        rows_failed=sample.rows_failed,
        xid_count=sample.xid_count,
        xids=list(sample.xids),
        health="ok" if fault is None else fault.state,
        health_reason="" if fault is None else fault.reason,
        health_evidence="" if fault is None else fault.evidence,
        health_since=None if fault is None else seconds(fault.since_ms),
        parent=sample.parent,
        error=sample.error,
        history=[(seconds(one.at_ms), one.utilization_percent) for one in history],
    )


def tenant_document(tenant: Tenant) -> TenantDocument:
    return TenantDocument(
        name=tenant.spec.name,
        weight=tenant.spec.weight,
        max_running=tenant.spec.max_running,
        queued=tenant.queued,
        running=tenant.running,
        finished=tenant.finished,
    )


def budget_document(state: State, tenant: Tenant, now_ms: int) -> BudgetDocument:
    facts = tenant_facts(state, tenant.spec.name, now_ms)
    cap = tenant.spec.hard_cap_usd_micros
    exhausted_in_s = None
    if cap is not None:
        left = max(0, cap - tenant.spent_usd_micros)
        burn = facts.burn_usd_micros_per_hour
        exhausted_in_s = 0.0 if not left else left / burn * 3600 if burn else None
    return BudgetDocument(
        tenant=tenant.spec.name,
        hard_cap_usd=usd_or_none(cap),
        spent_usd=usd(tenant.spent_usd_micros),
        reserved_usd=usd(tenant.reserved_usd_micros),
        burn_usd_per_hour=usd(facts.burn_usd_micros_per_hour),
        exhausted_in_s=exhausted_in_s,
        blocked_jobs=facts.budget_blocked,
    )


def key_document(key: ApiKey, secret: str | None = None) -> KeyDocument:
    return KeyDocument(
        id=key.id,
        name=key.name,
        roles=[str(role) for role in key.roles],
        tenant=key.tenant,
        added_at=seconds(key.added_ms),
        secret=secret,
    )
