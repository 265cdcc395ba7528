"""An in-memory control port that keeps the contract: first answer wins, an action is carried out at most once, ever.

With a file it survives its process, so that a test can kill one and look on from another. What guardrails say is in
the name of the pool: `ask-...` is asked, `deny-...` is denied, everything else is allowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from agentorch.errors import Refused, RuntimeStopped
from agentorch.model.observation import Observation, PoolFacts
from agentorch.model.proposals import (
    OPEN_STATES,
    Action,
    Answer,
    AnswerKind,
    BrainReport,
    Draft,
    Mode,
    Note,
    Proposal,
    ProposalState,
    Ruling,
    Scale,
    Verdict,
    target_of,
)
from agentorch.model.twin import Course, Impact, Outlook

ANSWERED = {
    AnswerKind.approve: ProposalState.approved,
    AnswerKind.edit: ProposalState.approved,
    AnswerKind.reject: ProposalState.rejected,
}


class Record(msgspec.Struct):
    """All that a restart finds again."""

    mode: Mode = Mode.guarded
    cycle: int = 0
    proposals: dict[str, Proposal] = {}
    effects: list[str] = []  # proposal ids, one entry per effect on the world
    reports: list[BrainReport] = []
    alerts: list[tuple[str, str]] = []


class MemoryPort:
    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        found = path is not None and path.exists()
        self.record = msgspec.json.decode(path.read_bytes(), type=Record) if found and path else Record()
        self._subscribers: list[asyncio.Queue[Proposal | None]] = []
        self.stopped = False
        self.moved: set[str] = set()  # proposals that must be looked at again when they are carried out

    # -- the control port

    async def observe(self) -> Observation:
        self._check()
        self.record.cycle += 1
        self._save()
        pool = PoolFacts(
            name="gpu",
            workers=2,
            available=2,
            busy=1,
            idle=1,
            target=2,
            min_workers=0,
            max_workers=8,
            price_usd_micros_per_hour=0,
        )
        return Observation(
            cycle=self.record.cycle, seq=self.record.cycle, at_ms=0, mode=self.record.mode, pools=(pool,)
        )

    async def preview(self, drafts: tuple[Draft, ...], brain: str = "") -> list[Verdict]:
        self._check()
        return [self._judge(draft)[1] for draft in drafts]

    async def foresee(self, drafts: tuple[Draft, ...]) -> Outlook:
        self._check()
        return Outlook(horizon_s=0.0, idle=Course(), impacts=tuple(Impact(text="nothing changes") for _ in drafts))

    async def hand_in(self, cycle: int, report: BrainReport) -> list[Proposal]:
        self._check()
        self.record.reports.append(report)
        proposals = [self._propose(cycle, report.brain, draft) for draft in report.drafts]
        self._save()
        return proposals

    async def carry_out(self, proposal: str) -> Proposal:
        self._check()
        known = self.record.proposals.get(proposal)
        if known is None:
            raise Refused("not_found", f"no proposal {proposal}")
        if known.state is ProposalState.done:
            return known
        if known.state not in (ProposalState.allowed, ProposalState.approved, ProposalState.acting):
            raise Refused("conflict", f"{proposal} is {known.state}")
        if self.record.mode is Mode.paused:
            raise Refused("paused", "the supervisor is paused")
        if proposal in self.moved:
            self.moved.remove(proposal)
            return self._become(known, ProposalState.open)
        if known.state is not ProposalState.acting:
            self._become(known, ProposalState.acting)
            await asyncio.sleep(0)  # others get their turn between intent and effect
        if proposal not in self.record.effects:
            self.record.effects.append(proposal)
        return self._become(known, ProposalState.done)

    async def proposal(self, proposal: str) -> Proposal | None:
        self._check()
        return self.record.proposals.get(proposal)

    async def unsettled(self) -> list[Proposal]:
        self._check()
        return [proposal for proposal in self.record.proposals.values() if proposal.state in OPEN_STATES]

    async def settled(self) -> AsyncIterator[Proposal]:
        queue: asyncio.Queue[Proposal | None] = asyncio.Queue()
        self._subscribers.append(queue)
        try:
            while not self.stopped and (proposal := await queue.get()) is not None:
                yield proposal
        finally:
            self._subscribers.remove(queue)

    async def alert(self, code: str, text: str) -> None:
        self._check()
        self.record.alerts.append((code, text))
        self._save()

    # -- people and the clock

    async def answer(self, proposal: str, kind: AnswerKind) -> Proposal:
        """Raises Refused for every answer but the first."""
        known = self.record.proposals[proposal]
        if known.state is not ProposalState.open:
            raise Refused("already_answered", f"{proposal} is {known.state}")
        known.answer = Answer(kind=kind, by="tester", at_ms=0)
        return self._settle(known, ANSWERED[kind])

    async def expire(self, proposal: str) -> None:
        self._settle(self.record.proposals[proposal], ProposalState.expired)

    async def set_mode(self, mode: Mode) -> None:
        self.record.mode = mode
        self._save()

    def stop(self) -> None:
        self.stopped = True
        for queue in self._subscribers:
            queue.put_nowait(None)

    # -- inside

    def _check(self) -> None:
        if self.stopped:
            raise RuntimeStopped("the port has stopped")

    def _judge(self, draft: Draft) -> tuple[Action | None, Verdict]:
        try:
            action = msgspec.convert(draft.action, Action)
        except msgspec.ValidationError as error:
            return None, _verdict(Ruling.deny, "schema", str(error))
        if isinstance(action, Scale) and action.pool.startswith("deny"):
            return action, _verdict(Ruling.deny, "G1", "denied by its name")
        if isinstance(action, Scale) and action.pool.startswith("ask"):
            return action, _verdict(Ruling.ask, "G15", "asked by its name")
        return action, _verdict(Ruling.allow, "G1", "within limits")

    def _propose(self, cycle: int, brain: str, draft: Draft) -> Proposal:
        action, verdict = self._judge(draft)
        number = len(self.record.proposals) + 1
        proposal = Proposal(
            id=f"p{number}",
            cycle=cycle,
            brain=brain,
            action=action,
            raw=None if action else draft.action,
            title=f"proposal {number}",
            reason=draft.reason,
            evidence=draft.evidence,
            verdict=verdict,
            rules_version=1,
            judged_seq=number,
            created_ms=0,
            expires_ms=1_000,
            state=self._first_state(verdict.ruling),
        )
        if action is not None and proposal.state is ProposalState.open:
            self._supersede(target_of(action))
        self.record.proposals[proposal.id] = proposal
        return proposal

    def _first_state(self, ruling: Ruling) -> ProposalState:
        if ruling is Ruling.deny or self.record.mode is Mode.paused:
            return ProposalState.denied
        if self.record.mode is Mode.observe:
            return ProposalState.observed
        asked = ruling is Ruling.ask or self.record.mode is Mode.approve
        return ProposalState.open if asked else ProposalState.allowed

    def _supersede(self, target: str) -> None:
        for older in self.record.proposals.values():
            if older.state is ProposalState.open and older.action and target_of(older.action) == target:
                self._settle(older, ProposalState.superseded)

    def _become(self, proposal: Proposal, state: ProposalState) -> Proposal:
        proposal.state = state
        self._save()
        return proposal

    def _settle(self, proposal: Proposal, state: ProposalState) -> Proposal:
        self._become(proposal, state)
        for queue in self._subscribers:
            queue.put_nowait(proposal)
        return proposal

    def _save(self) -> None:
        if self._path is not None:
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(self.record))
            fresh.replace(self._path)


def _verdict(ruling: Ruling, rule: str, text: str) -> Verdict:
    return Verdict(ruling=ruling, notes=(Note(rule=rule, ruling=ruling, text=text),))
