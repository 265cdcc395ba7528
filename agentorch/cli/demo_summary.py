"""What a demo amounted to, from the server's own answers and from its ledger."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from agentorch.client import Client
from agentorch.runtime.source import Verification
from agentorch.schemas.documents import BudgetDocument, JobDocument
from agentorch.schemas.supervision import ProposalDocument

SHOWN = 4


@dataclass(frozen=True)
class Summary:
    submitted: int
    jobs: list[JobDocument]
    budgets: list[BudgetDocument]
    proposals: list[ProposalDocument]
    cycles: int

    def print(self, ledger: Path) -> int:
        """Print it, verify the ledger file, and return the exit code: 0 when it verifies."""
        from agentorch.cli.verify import verify_file

        states = Counter(job.state for job in self.jobs)
        waits = sorted(job.wait_s for job in self.jobs if job.started_at is not None)
        outcome = Counter(proposal.state for proposal in self.proposals)
        report = asyncio.run(verify_file(ledger))
        rows = [
            ("jobs", f"{self.submitted} submitted: " + ", ".join(f"{n} {state}" for state, n in states.most_common())),
            ("waits", f"median {_at(waits, 0.5):.1f} s, p95 {_at(waits, 0.95):.1f} s, longest {_at(waits, 1):.1f} s"),
            ("cycles", f"{self.cycles} supervisor cycles, {len(self.proposals)} proposals"),
            ("actions", _actions(self.proposals)),
            (
                "approvals",
                f"{outcome['expired']} expired, {outcome['rejected']} rejected, {_approved(self.proposals)} approved",
            ),
            *(("foreseen", text) for text in _foreseen(self.proposals)),
            *(("spend", _spend(budget)) for budget in self.budgets if budget.spent_usd or budget.blocked_jobs),
            ("ledger", _ledger(report)),
        ]
        for name, text in rows:
            print(f"{name:<10} {text}")
        return 0 if report.ok else 1


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def _actions(proposals: list[ProposalDocument]) -> str:
    done = [proposal.title for proposal in proposals if proposal.state == "done"]
    denied = sum(1 for proposal in proposals if proposal.state == "denied")
    named = f" ({'; '.join(done[:4])}{'; ...' if len(done) > 4 else ''})" if done else ""
    return f"{len(done)} carried out{named}, {denied} denied by guardrails"


def _foreseen(proposals: list[ProposalDocument]) -> list[str]:
    """What the twin said that each would change, the newest first; and how it came out, where that is known by now."""
    said = []
    for proposal in proposals:
        impact, score = proposal.impact, proposal.score
        if impact is None or impact.acted is None:
            continue
        gain = impact.gain_s
        range_min = f"{gain.mid / 60:.0f} min of waiting saved ({gain.low / 60:.0f} to {gain.high / 60:.0f})"
        text = f"{proposal.title}: {range_min} within {impact.horizon_s:.0f} s"
        if score is not None:
            inside = sum(1 for measure in score.measures if measure.inside)
            text += f"; of {len(score.measures)} measures {inside} came out as foreseen"
        said.append(f"{text} ({proposal.state})")
    return said[:SHOWN]


def _ledger(report: Verification) -> str:
    if report.ok:
        return f"verified: {report.events} events, head {report.head_hash[:16]}"
    return f"NOT VERIFIED at sequence {report.first_bad_seq}: {report.why}"


def _approved(proposals: list[ProposalDocument]) -> int:
    return sum(1 for proposal in proposals if proposal.answer is not None and proposal.answer.kind != "reject")


def _spend(budget: BudgetDocument) -> str:
    cap = "no cap" if budget.hard_cap_usd is None else f"of ${budget.hard_cap_usd:.2f}"
    blocked = f", {budget.blocked_jobs} jobs wait for budget" if budget.blocked_jobs else ""
    return f"{budget.tenant}: ${budget.spent_usd:.2f} {cap}{blocked}"


async def summarise(client: Client, submitted: int) -> Summary:
    """Read all pages of jobs and decisions."""
    jobs: list[JobDocument] = []
    cursor = ""
    while True:
        page = await client.jobs(limit=500, cursor=cursor)
        jobs.extend(page.items)
        if page.next is None:
            break
        cursor = page.next
    proposals: list[ProposalDocument] = []
    cursor, cycles = "", 0
    while True:
        decisions = await client.decisions(cursor=cursor, limit=100)
        cycles += len(decisions.items)
        for decision in decisions.items:
            proposals.extend(decision.proposals)
        if decisions.next is None:
            break
        cursor = decisions.next
    return Summary(submitted, jobs, await client.budgets(), proposals, cycles)
