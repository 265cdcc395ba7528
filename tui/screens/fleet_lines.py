"""A pool or a worker, with its devices, in lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentorch.tui import glyphs, words
from agentorch.tui.spans import Line, Span, clip, fit, line, plain, wrap
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import gauge, level, spark

if TYPE_CHECKING:
    from agentorch.schemas.documents import DeviceDocument, PoolDocument, WorkerDocument

STALE_S = 30.0
HOT_C = 80.0
NODE_CHARS = 12  # engines name nodes by long numbers; their beginnings tell them apart


def _fact(name: str, text: str, width: int, look: str = "") -> Line:
    return line((fit(name, 13), "dim"), (clip(text, width - 13), look))


def pool_details(view: View, pool: PoolDocument, width: int) -> list[Line]:
    gpus = f", {pool.gpus} gpu" if pool.gpus else ""
    shape = f"{words.number(pool.cpus)} cpu, {words.size(pool.memory_bytes)}{gpus}"
    over = pool.queued and pool.wait_s_p95 > pool.target_wait_s
    lines = [
        _fact("executor", pool.executor + (", spot" if pool.spot else ""), width),
        _fact("a worker has", shape, width),
        _fact(
            "workers", f"{pool.workers}, wanted {pool.target}, between {pool.min_workers} and {pool.max_workers}", width
        ),
        _fact("price", f"{words.rate(pool.price_usd_per_hour)} a worker", width),
        _fact("region", pool.region or words.UNKNOWN, width),
        _fact(
            "queue wait",
            f"p50 {words.duration(pool.wait_s_p50)}, p95 {words.duration(pool.wait_s_p95)}, "
            f"target {words.duration(pool.target_wait_s)}",
            width,
            "error" if over else "",
        ),
    ]
    if pool.paused:
        lines.append(_fact("paused", pool.paused_reason or "yes", width, "warning"))
    if pool.protected:
        lines.append(_fact("protected", "the supervisor may not touch it", width, "guard"))
    lines += _shares(pool, width)
    if pool.node_type:
        lines += _nodes(view, pool, width)
    if pool.failed_starts:
        lines.append(_fact("failed starts", words.count(pool.failed_starts), width, "warning"))
    waits = view.snapshot.history.pool_wait_s_p95.get(pool.name, [])
    if len(waits) > 1:
        lines += [[], line(("Queue wait p95 so far", "dim bold")), spark(waits, min(width, 60), "primary", low=0.0)]
    workers = [worker for worker in view.snapshot.workers if worker.pool == pool.name]
    return lines + _devices(view, workers, width)


def _shares(pool: PoolDocument, width: int) -> list[Line]:
    """What others may borrow there, and what nobody else may take."""
    lines = []
    if pool.lends:
        lines.append(_fact("lends", f"what idles; {words.plural(pool.borrowed, 'job')} there now give way", width))
    for one in pool.reservations:
        whom = plain(" ".join(name for name in (one.tenant, one.tier) if name))
        units = (
            (one.workers, one.unused_workers, "workers"),
            (one.gpus, one.unused_gpus, "gpus"),
            (one.cpus, one.unused_cpus, "cpus"),
        )
        for there, unused, unit in units:
            if there:
                text = f"{words.number(there)} {unit} for {whom}, {words.number(unused)} unused"
                lines.append(_fact("reserved", text, width))
    return lines


def _node_problem(worker: WorkerDocument, width: int) -> list[Line]:
    if worker.node_state == "up":
        return []
    text = f"{worker.node_state}: {worker.node_problem}" if worker.node_problem else worker.node_state
    rows = wrap(text, width - 13)
    return [_fact("" if number else "node is", row, width, "warning") for number, row in enumerate(rows)]


def _nodes(view: View, pool: PoolDocument, width: int) -> list[Line]:
    """How many machines stand behind the pool, how many are asked for, and why they do not come."""
    kind = "of any type" if pool.node_type == "*" else f"of type {plain(pool.node_type)}"
    missing = pool.nodes_wanted is not None and pool.nodes_wanted > pool.nodes
    wanted = "" if pool.nodes_wanted is None else f", {pool.nodes_wanted} asked for"
    lines = [_fact("nodes", f"{pool.nodes} {kind}{wanted}", width, "warning" if missing else "")]
    if pool.provisioning_failures:
        again = f"; next try in {words.duration(pool.provisioning_retry_s)}" if pool.provisioning_retry_s else ""
        text = f"failed {words.plural(pool.provisioning_failures, 'time')}{again}: {plain(pool.provisioning_error)}"
        rows = wrap(text, width - 13)
        lines += [_fact("" if number else "provisioning", row, width, "error") for number, row in enumerate(rows)]
    return lines


def worker_details(view: View, worker: WorkerDocument, width: int) -> list[Line]:
    memory = f"{words.size(worker.free_memory_bytes)} of {words.size(worker.memory_bytes)}"
    free = f"{words.number(worker.free_cpus)} of {words.number(worker.cpus)} cpu, {memory}"
    if worker.gpus:
        free += f", {worker.free_gpus} of {worker.gpus} gpu"
    lines = [
        _fact("pool", worker.pool, width),
        _fact("node", worker.node, width),
        *_node_problem(worker, width),
        _fact("state", worker.state, width, "" if worker.state == "up" else "error"),
        _fact("free", free, width),
    ]
    if worker.cordoned:
        lines.append(_fact("cordoned", worker.cordon_reason or "no reason given", width, "warning"))
    if worker.health == "broken":
        lines.append(_fact("repair", f"agentorch workers repair {worker.id}", width, "error"))
    elif worker.health == "suspect":
        lines.append(_fact("suspect", worker.health_reason, width, "warning"))
    if worker.reserved_for:
        lines.append(_fact("kept for", worker.reserved_for, width))
    lines += [[], line(("Jobs on it", "dim bold"))]
    names = {job.id: job.name for job in view.snapshot.recent_jobs}
    if not worker.jobs:
        lines.append(line(("  none", "dim")))
    for job in worker.jobs[:12]:
        lines.append(
            [Span("  "), Span(job, "primary", f"app.open_job('{job}')"), Span(f" {plain(names.get(job, ''))}")]
        )
    return lines + _devices(view, [worker], width)


def _devices(view: View, workers: list[WorkerDocument], width: int) -> list[Line]:
    """Those that the workers own, and the processors of their nodes, which all workers there share."""
    owned = {device for worker in workers for device in worker.devices}
    nodes = {worker.node for worker in workers}
    devices = [
        device
        for device in view.snapshot.devices
        if device.id in owned or (device.kind == "cpu" and device.node in nodes)
    ]
    lines: list[Line] = [[], line(("Devices", "dim bold"), (f"  {len(devices)}", "dim"))]
    if not devices:
        return [*lines, line(("  none that can be read", "dim"))]
    for device in devices:
        lines += device_lines(device, width)
    return lines


def device_lines(device: DeviceDocument, width: int) -> list[Line]:
    """Name with its age; what is wrong with it; utilisation with history; memory, temperature, power."""
    if device.age_s is None:
        age, age_look = "never read", "warning"
    else:
        age, age_look = f"{words.duration(device.age_s)} old", "warning" if device.age_s > STALE_S else "dim"
    node, colon, kind = device.id.rpartition(":")
    name = f"{kind} of {node[:NODE_CHARS]}" if colon else device.id
    head = line("  ", (plain(name), "bold"), (f"  {plain(device.name)}  ", "dim"), (age, age_look))
    above = [head]
    if device.health != "ok":
        text = f"{device.health}: {device.health_reason}"
        look = "warning" if device.health == "suspect" else "error"
        above += [line((row, look)) for row in wrap(plain(text), width, indent=4)]
    if device.error:
        return [*above, *(line((row, "error")) for row in wrap(device.error, width, indent=4))]
    use = device.utilization_percent
    share = use / 100 if use is not None else None
    bar = max(6, min(20, width - 36))
    second: Line = [Span("    use "), *gauge(share, bar, level(share or 0)), Span(f" {words.percent(use):>5}  ")]
    second += spark(
        [value for _, value in device.history], min(20, max(4, width - bar - 17)), "primary", low=0.0, high=100.0
    )
    third = line(
        ("    memory ", "dim"), f"{words.size(device.memory_used_bytes)} of {words.size(device.memory_total_bytes)}"
    )
    if device.temperature_c is not None:
        hot = device.temperature_c >= HOT_C
        sign = f"{glyphs.HIGH} " if hot else ""
        third += line(("  ", ""), (f"{sign}{device.temperature_c:.0f} °C", "error" if hot else ""))
    if device.power_watts is not None:
        limit = f" of {device.power_limit_watts:.0f}" if device.power_limit_watts is not None else ""
        third += line((f"  {device.power_watts:.0f}{limit} W", ""))
    if device.pressure_percent is not None:
        third += line(("  pressure ", "dim"), words.percent(device.pressure_percent))
    return [*above, second, third]
