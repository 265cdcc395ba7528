"""`agentorch replay LEDGER`: step through what was seen, wanted, judged, answered and done."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from agentorch.api.stream import log_as_of
from agentorch.api.views.fleet import budget_document, pool_document
from agentorch.api.views.supervision import decision_document, mode_document, proposal_document
from agentorch.cli.counterfactual import Other, counterfactual
from agentorch.cli.proof import prove
from agentorch.cli.verify import ledger_file
from agentorch.core.facts import Facts
from agentorch.core.state import State
from agentorch.errors import ConfigError
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.model.events import CycleObserved
from agentorch.model.jobs import FINISHED
from agentorch.runtime.recording import Recording
from agentorch.schemas.supervision import DecisionDocument, LogLine


def replay(
    ledger: Path,
    *,
    seq: int | None = None,
    at: str | None = None,
    output: Annotated[Literal["table", "json", "jsonl"], Parameter(name=["--output", "-o"])] = "table",
    tui: bool = False,
    verify: bool = False,
    other: Other | None = None,
) -> int:
    """Show the decisions of a ledger and the state they led to, as of the end or of any moment before; or, with
    --brain or --set, what another brain or other settings would have made of it.

    Parameters
    ----------
    ledger
        A data directory or a ledger file; a running server's too.
    seq
        Look at the state as of this sequence number.
    at
        Look at the state as of this time (ISO 8601, or seconds since the epoch).
    output
        table, json (one document) or jsonl (one decision a line).
    tui
        Open the terminal UI on it, read-only.
    verify
        Prove that every recorded decision comes out again byte for byte, without any model. Exit code 1: not.
    """
    file = ledger_file(ledger)
    if tui:
        from agentorch.cli.replay_tui import show

        other = other or Other()
        return show(file, () if other.brain is None else (other.brain,), other.config)
    if verify:
        return prove(file, output)
    if other is not None and other.asked:
        return counterfactual(file, other, output, moment_ms)
    return asyncio.run(_print(file, seq, at, output))


def moment_ms(text: str) -> int:
    """Milliseconds since the epoch of `2026-01-31T12:00:00` (UTC unless it says otherwise) or of plain seconds.

    Raises ConfigError.
    """
    try:
        return int(float(text) * 1000)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--at: expected an ISO 8601 time or seconds since the epoch, not {text!r}") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


async def _print(file: Path, seq: int | None, at: str | None, output: str) -> int:
    recording = Recording(SqliteLedger(file, read_only=True), str(file))
    await recording.open()
    try:
        if at is not None:
            seq = recording.seq_at(moment_ms(at))
        end = recording.last_seq if seq is None else seq
        decisions = decisions_upto(recording, end)
        state = recording.state_at(end)
        if output == "json":
            body: dict[str, Any] = {"seq": end, "last_seq": recording.last_seq, "at": state.facts.at_ms / 1000}
            body |= {"state": summary(state), "decisions": [one.model_dump(mode="json") for one in decisions]}
            print(json.dumps(body))
        elif output == "jsonl":
            for one in decisions:
                print(one.model_dump_json())
        else:
            lines = await log_as_of(recording, end)
            for line in reversed(lines):
                print(row(line))
            print(
                f"{len(lines)} lines, {len(decisions)} decisions, sequence {end} of {recording.last_seq}",
                file=sys.stderr,
            )
            print(told(summary(state)))
    finally:
        await recording.close()
    return 0


def decisions_upto(recording: Recording, seq: int) -> list[DecisionDocument]:
    """Every decision whose observation lies at or before a sequence, whole, with its proposals as they are then."""
    found: dict[int, DecisionDocument] = {}
    for index, event in enumerate(recording.events[:seq]):
        if isinstance(event, CycleObserved) and event.observation.cycle > 1:
            _keep(found, recording.state_at(index).facts, event.observation.cycle - 1)
    facts = recording.state_at(seq).facts
    _keep(found, facts, facts.cycle)
    return [_as_of(decision, facts) for decision in found.values()]


def _keep(found: dict[int, DecisionDocument], facts: Facts, cycle: int) -> None:
    decision = facts.decisions.get(cycle)
    if decision is not None:
        found[cycle] = decision_document(facts, decision, whole=True)


def _as_of(decision: DecisionDocument, facts: Facts) -> DecisionDocument:
    """Answers and outcomes come after their cycle: show each proposal as the later state has it."""
    now = [
        proposal_document(facts, facts.proposals[one.id]) if one.id in facts.proposals else one
        for one in decision.proposals
    ]
    return decision.model_copy(update={"proposals": now})


def summary(state: State) -> dict[str, Any]:
    """The state in a few numbers, JSON-compatible."""
    facts = state.facts
    now_ms = facts.at_ms
    return {
        "mode": mode_document(facts, "").model_dump(include={"mode", "by", "reason"}),
        "jobs": {
            "queued": len(state.queue),
            "held": len(facts.held),
            "running": len(facts.running),
            **{name: facts.ended_by_state.get(name, 0) for name in sorted(str(state) for state in FINISHED)},
        },
        "pools": [pool_document(state, pool, now_ms).model_dump() for pool in facts.pools.values()],
        "budgets": [budget_document(state, tenant, now_ms).model_dump() for tenant in facts.tenants.values()],
        "open_approvals": [
            proposal_document(facts, facts.proposals[name]).model_dump(mode="json")
            for name in facts.unsettled
            if facts.proposals[name].state == "open"
        ],
    }


def row(line: LogLine) -> str:
    moment = datetime.fromtimestamp(line.at, UTC).strftime("%H:%M:%S")
    return f"{line.seq:>8}  {moment}  {line.actor:<6}  {line.verb:<12}  {line.status:<8}  {line.text}"


def told(state: dict[str, Any]) -> str:
    """The summary for people."""
    jobs = ", ".join(f"{count} {name}" for name, count in state["jobs"].items())
    lines = [f"mode {state['mode']['mode']} (by {state['mode']['by']}); jobs: {jobs}"]
    for pool in state["pools"]:
        lines.append(
            f"pool {pool['name']}: {pool['workers']} of {pool['min_workers']}-{pool['max_workers']} workers, "
            f"{pool['busy']} busy, {pool['queued']} queued, {pool['running']} running"
        )
    for budget in state["budgets"]:
        cap = "no cap" if budget["hard_cap_usd"] is None else f"cap ${budget['hard_cap_usd']:.2f}"
        money = f"${budget['spent_usd']:.2f} spent, ${budget['reserved_usd']:.2f} reserved, {cap}"
        lines.append(f"tenant {budget['tenant']}: {money}")
    for one in state["open_approvals"]:
        lines.append(f"open approval {one['id']}: {one['title']}")
    return "\n".join(lines)
