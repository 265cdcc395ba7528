"""How many nodes are asked for, which are let go, and what happens when they don't come.

Numbers are ordered, and nodes are let go by name: which of them go is never left to whoever provides them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentorch.core.facts import Facts
from agentorch.core.fit import describe
from agentorch.core.nodes import asks_for_nodes, failed, group_key, lacking, missing, pools_of, standing, too_big
from agentorch.core.turn import Turn
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.fleet import NodeGroup, NodeState, Pool, WorkerState


def groups(facts: Facts) -> list[tuple[str, str]]:
    """(executor, type) of nodes that a pool asks for, or once asked for."""
    asked = [(group.executor, group.type) for group in facts.node_groups.values() if group.wanted is not None]
    specs = [pool.spec for pool in facts.pools.values() if asks_for_nodes(pool.spec)]
    return list(dict.fromkeys([*asked, *((spec.executor, spec.node_type) for spec in specs)]))


def provision(turn: Turn, executor: str, node_type: str) -> None:
    """Ask for as many nodes as workers need, when that is not what was asked for, or did not come."""
    facts = turn.facts
    group = facts.node_groups.get(group_key(executor, node_type))
    there = standing(facts, executor, node_type)
    needed = there + missing(facts, executor, node_type)
    wanted = group.wanted if group is not None else None
    changed = needed != (there if wanted is None else wanted)
    waits = group is not None and group.since_ms is not None
    backs_off = group is not None and turn.now_ms < group.retry_ms
    if changed or (there < needed and not waits):
        if not backs_off or (wanted is not None and needed < wanted):
            turn.emit(ev.NodesWanted(at_ms=turn.now_ms, executor=executor, node_type=node_type, nodes=needed))
    elif group is not None and _is_late(facts, group, turn.now_ms):
        fail(turn, executor, node_type, f"no node of type {node_type} came in time")
    _check_size(turn, executor, node_type)


def _is_late(facts: Facts, group: NodeGroup, now_ms: int) -> bool:
    if group.since_ms is None:
        return False
    patience_ms = [pool.spec.provision_timeout_ms for pool in pools_of(facts, group.executor, group.type)]
    return now_ms >= group.since_ms + max(patience_ms, default=limits.PROVISION_TIMEOUT_MS)


def _check_size(turn: Turn, executor: str, node_type: str) -> None:
    """More nodes never help a worker that is bigger than one: that is a failure like any other, and ends like it."""
    facts = turn.facts
    group = facts.node_groups.get(group_key(executor, node_type))
    pool = too_big(facts, executor, node_type)
    if pool is None or group is None or turn.now_ms < group.retry_ms:
        return
    need = describe(pool.spec.shape)
    fail(turn, executor, node_type, f"a worker of {pool.spec.name} needs {need}: a node of type {node_type} has less")


def report_provisioning(turn: Turn, command: cmd.ReportProvisioning) -> None:
    """An order failed. Nodes that were to go stay for now; so do those that are not there any more."""
    if group_key(command.executor, command.node_type) not in turn.facts.node_groups:
        return
    nodes = turn.facts.nodes
    kept = tuple(name for name in command.remove if name in nodes and nodes[name].released)
    fail(turn, command.executor, command.node_type, command.error, kept)
    provision(turn, command.executor, command.node_type)


def fail(turn: Turn, executor: str, node_type: str, error: str, kept: tuple[str, ...] = ()) -> None:
    """Back off; after too many failures in a row, want no more than there is (G12)."""
    facts = turn.facts
    failures = facts.node_groups[group_key(executor, node_type)].failures + 1
    turn.emit(
        ev.ProvisioningFailed(
            at_ms=turn.now_ms,
            executor=executor,
            node_type=node_type,
            error=error[: limits.REASON_MAX_CHARS],
            failures=failures,
            retry_ms=turn.now_ms + backoff_ms(failures),
            kept=kept,
        )
    )
    most = facts.settings.pool_failed_starts_pause
    why = f"G12: nodes of type {node_type} {failed(failures)}: {error}"[: limits.REASON_MAX_CHARS]
    short = [pool for pool in pools_of(facts, executor, node_type) if not pool.paused and lacking(facts, pool)]
    if failures >= most:
        for pool in short:
            _give_up(turn, pool, why)
    if failures == most and not short:
        turn.emit(ev.AlertRaised(at_ms=turn.now_ms, code="provisioning-failed", text=why, by="guardrail"))


def backoff_ms(failures: int) -> int:
    """Doubles with each failure in a row, up to a cap."""
    return min(limits.PROVISION_BACKOFF_MS << min(failures - 1, 20), limits.PROVISION_BACKOFF_CAP_MS)


def _give_up(turn: Turn, pool: Pool, why: str) -> None:
    """A pool with workers makes do with them; one without is paused for a person to look at."""
    name = pool.spec.name
    up = sum(1 for worker in pool.workers if turn.facts.workers[worker].state is WorkerState.up)
    if up:
        turn.emit(ev.PoolScaled(at_ms=turn.now_ms, pool=name, workers=up, by="guardrail"))
        text = f"{name} makes do with {up} workers. {why}"
    else:
        turn.emit(ev.PoolPaused(at_ms=turn.now_ms, pool=name, paused=True, by="guardrail", reason=why))
        text = f"{name} is paused. {why}"
    turn.emit(ev.AlertRaised(at_ms=turn.now_ms, code="provisioning-failed", text=text, by="guardrail"))


def release(turn: Turn, executor: str, node_type: str) -> None:
    """Let go of each node that is empty though everybody has had a chance to use it.

    Only where nodes were asked for, or of those that our workers left: others are not ours to give away.
    """
    facts = turn.facts
    group = facts.node_groups.get(group_key(executor, node_type))
    if group is None or turn.now_ms < group.retry_ms:
        return
    mine = [one for one in facts.nodes.values() if (one.executor, one.type) == (executor, node_type)]
    late_ms = turn.now_ms - limits.PROVISION_TIMEOUT_MS
    stuck = tuple(node.id for node in mine if node.released and late_ms >= (node.released_ms or 0))
    if stuck:
        fail(turn, executor, node_type, f"nodes that were let go are still there: {', '.join(stuck)}", stuck)
        return
    idle = [node for node in mine if node.state is NodeState.up and not node.workers]
    left = standing(facts, executor, node_type) + missing(facts, executor, node_type) if idle else 0
    for node in idle:
        if node.hosted or group.wanted is not None:
            left -= 1
            turn.emit(
                ev.NodeReleased(at_ms=turn.now_ms, node=node.id, executor=executor, node_type=node_type, nodes=left)
            )


HANDLERS: dict[type, Callable[[Turn, Any], Any]] = {
    cmd.ReportProvisioning: report_provisioning,
}
