"""Proof that a ledger is whole: its chain holds, its fold breaks no invariant, its snapshots agree, and its verdicts
come out again."""

from __future__ import annotations

import msgspec

from agentorch.core.canonical import canonical
from agentorch.core.decide.proposals import handed_in_again
from agentorch.core.evolve import evolve
from agentorch.core.facts import RULES_VERSION
from agentorch.core.guardrails import rejudge
from agentorch.core.invariants import breaches
from agentorch.core.state import State
from agentorch.errors import LedgerError
from agentorch.ledger.contract import Ledger
from agentorch.ledger.verify import verify_chain
from agentorch.model import limits
from agentorch.model.events import CycleDecided, Event, ProposalChanged, ProposalJudged, RuntimeStarted
from agentorch.runtime.fold import digest, encode, snapshot_schema
from agentorch.runtime.source import Verification

#: Invariants cost time proportional to the state, so they are checked at the end of the commit in which so many events
#: have been folded in: between two events of one command they need not hold.
INVARIANTS_EVERY = 2_000


_encode = msgspec.json.Encoder(order="deterministic").encode


class _Walk:
    """Folds a ledger event by event and remembers the first thing that does not hold."""

    def __init__(self, snapshot: tuple[int, str, bytes] | None) -> None:
        self.state = State()
        self.snapshot = snapshot
        self.checked = 0
        self.again = 0
        self.older = 0
        self.reports = 0
        self.rules_version = 0
        self.same = 0
        self.not_again = 0
        self.different_seq: int | None = None
        self.bad_seq: int | None = None
        self.why = ""

    def fail(self, seq: int, why: str) -> None:
        if self.bad_seq is None:
            self.bad_seq, self.why = seq, why

    def step(self, seq: int, event: Event) -> None:
        if isinstance(event, ProposalJudged | ProposalChanged):
            self.judge(seq, event)
        if isinstance(event, RuntimeStarted):
            self.rules_version = event.rules_version
        self.reports += isinstance(event, CycleDecided) and self.rules_version == RULES_VERSION
        try:
            evolve(self.state, event)
        except (KeyError, AttributeError, IndexError, ValueError) as error:
            self.fail(seq, f"{type(event).__name__} can't follow what is before it: {error!r}")
            return
        if self.snapshot is not None and seq == self.snapshot[0]:
            mine = digest(encode(self.state.facts))
            if mine != self.snapshot[1]:
                self.fail(seq, "the snapshot taken here is not what the events amount to")

    def judge(self, seq: int, event: ProposalJudged | ProposalChanged) -> None:
        if event.proposal.rules_version != RULES_VERSION:
            self.older += 1
            return
        verdict = rejudge(self.state, event)
        self.again += 1
        if verdict != event.proposal.verdict:
            self.fail(seq, f"{event.proposal.id} was ruled {event.proposal.verdict.ruling}; again: {verdict.ruling}")
        made = handed_in_again(self.state, event)
        if made is None:
            self.not_again += 1
        elif _encode(canonical(made)) == _encode(canonical(event.proposal)):
            self.same += 1
        elif self.different_seq is None:
            self.different_seq = seq

    def committed(self, seq: int, events: int) -> None:
        """A commit ends here; a full one may have been cut inside a command."""
        if seq - self.checked >= INVARIANTS_EVERY and events < limits.COMMIT_EVENTS_MAX:
            self.check(seq)

    def check(self, seq: int) -> None:
        self.checked = seq
        broken = breaches(self.state)
        if broken:
            self.fail(seq, f"invariants are broken: {'; '.join(broken[:5])}")


async def verify(ledger: Ledger) -> Verification:
    """Verify everything committed so far. Never raises for what it finds: it reports the first bad sequence."""
    chain = await verify_chain(ledger)
    walk = _Walk(await ledger.load_snapshot(snapshot_schema()) if chain.ok else None)
    if not chain.ok:
        walk.fail(chain.first_bad_seq or 0, chain.why)
    upto = chain.last_seq if chain.ok else (chain.first_bad_seq or 1) - 1
    events = 0
    try:
        async for batch in ledger.read(upto=upto):
            for seq, event in batch:
                events += 1
                walk.step(seq, event)
                if walk.bad_seq is not None and chain.ok:
                    break
            else:
                walk.committed(walk.state.facts.seq, len(batch))
            if walk.bad_seq is not None and chain.ok:
                break
    except LedgerError as error:
        walk.fail(getattr(error, "seq", events + 1), str(error))
    if walk.bad_seq is None:
        walk.check(walk.state.facts.seq)
    return Verification(
        ok=walk.bad_seq is None,
        last_seq=chain.last_seq,
        head_hash=chain.head_hash,
        segments=chain.segments,
        events=events,
        verdicts_judged_again=walk.again,
        verdicts_of_older_rules=walk.older,
        reports_handed_in_again=walk.reports,
        proposals_same=walk.same,
        proposals_not_again=walk.not_again,
        first_different=walk.different_seq,
        first_bad_seq=walk.bad_seq,
        why=walk.why,
    )
