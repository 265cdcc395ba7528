"""All rules over one action, and a proposal's ruling: what the rules, the mode and the inbox say together."""

from __future__ import annotations

from typing import Final

import msgspec

from agentorch.core.facts import RULES_VERSION, Facts
from agentorch.core.guardrails import blast, protection, scaling, spending, targets, timing, work
from agentorch.core.guardrails.binding import fingerprint
from agentorch.core.guardrails.case import Case, Rule, allow, ask, deny
from agentorch.core.guardrails.classes import classify
from agentorch.core.guardrails.describe import before_after
from agentorch.core.guardrails.drafts import read_action
from agentorch.core.state import State
from agentorch.model import limits
from agentorch.model.events import ProposalChanged, ProposalJudged
from agentorch.model.proposals import (
    RULING_RANK,
    Action,
    Draft,
    Mode,
    Note,
    Proposal,
    ProposalState,
    Ruling,
    Verdict,
    calibration_key,
    target_of,
)

#: Every rule, by the id that its notes carry. All speak on every action; none is skipped because another denied.
RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("schema", targets.schema),
    ("target", targets.target),
    ("G1", scaling.scale_step),
    ("G2", scaling.shrink_window),
    ("G3", scaling.dead_band),
    ("G4", timing.stale_data),
    ("G5", timing.cooldown),
    ("G6", blast.blast_radius),
    ("G7", spending.budget),
    ("G8", work.tiers),
    ("G9", work.residency),
    ("G10", work.reservations),
    ("G11", blast.unhealthy_halt),
    ("G12", work.poison),
    ("G13", spending.power_and_heat),
    ("G14", scaling.predictions_add),
    ("G15", blast.reversible_first),
    ("G16", protection.self_protection),
)


def verdict_of(notes: list[Note]) -> Verdict:
    """The strictest ruling, its notes last. Nothing said is a no: every allowed action has at least G15's note."""
    ordered = sorted(notes, key=lambda note: RULING_RANK[note.ruling])
    ruling = ordered[-1].ruling if ordered else Ruling.deny
    return Verdict(ruling, tuple(ordered))


def judge(
    state: State,
    action: Action,
    now_ms: int,
    *,
    earlier: tuple[Action, ...] = (),
    approved: bool = False,
    cycle: int | None = None,
) -> Verdict:
    """What the guardrails say of an action on this state. Pure; a rule that fails is a no.

    `earlier`: actions of the same cycle that count as if they had happened. `approved`: a person said yes, which
    settles what was to be asked and nothing that is denied. `cycle`: the proposal's; default the present one.
    """
    case = Case(state, action, now_ms, tuple(earlier), cycle)
    notes = []
    for rule_id, rule in RULES:
        try:
            note = rule(case)
        except Exception as error:
            note = deny(rule_id, f"the rule could not be evaluated ({type(error).__name__}), and that is a no")
        if note is not None:
            notes.append(
                allow(note.rule, f"{note.text} (approved)") if approved and note.ruling is Ruling.ask else note
            )
    return verdict_of(notes)


# -- rulings: the verdict with the mode and the inbox in it


def ruling(
    state: State,
    action: Action,
    now_ms: int,
    *,
    earlier: tuple[Action, ...],
    judged: int,
    asked: int = 0,
    brain: str = "",
) -> Verdict:
    """The verdict on a new proposal. `judged`: how many of its cycle were judged before it. `asked`: questions that
    are not in the inbox yet and count as if they were. `brain`: whose it is; "" = nobody's yet."""
    facts = state.facts
    notes = [*judge(state, action, now_ms, earlier=earlier).notes]
    if judged >= limits.PROPOSALS_PER_CYCLE:
        notes.append(deny("G5", f"more than {limits.PROPOSALS_PER_CYCLE} proposals in one cycle"))
    notes.extend(_mode(facts))
    notes.extend(_calibration(facts, action, brain))
    notes.extend(_inbox(facts, action, now_ms))
    if verdict_of(notes).ruling is Ruling.ask and facts.mode is not Mode.observe:
        notes.extend(_room(facts, action, asked))
    return verdict_of(notes)


def _mode(facts: Facts) -> list[Note]:
    if facts.mode is Mode.paused:
        return [deny("mode", "the supervisor is paused")]
    return [ask("mode", "in mode approve every action is asked")] if facts.mode is Mode.approve else []


def _calibration(facts: Facts, action: Action, brain: str) -> list[Note]:
    """Where predictions came out otherwise too often, people look at them again."""
    found = facts.calibration.get(calibration_key(brain, action))
    if found is None or found.scored < limits.CALIBRATION_LEAST:
        return []
    percent = 100 * found.inside // found.scored
    if percent >= limits.CALIBRATION_INSIDE_PERCENT:
        return []
    what = f"of {found.scored} numbers foreseen for such actions of {brain}"
    return [ask("calibration", f"{what} {percent} % came out within their range, which is to hold 80 %")]


def _inbox(facts: Facts, action: Action, now_ms: int) -> list[Note]:
    """A target has one proposal at a time, and what a person rejected is not asked again at once."""
    target = target_of(action)
    for name in facts.unsettled:
        other = facts.proposals[name]
        if other.action is None or target_of(other.action) != target:
            continue
        if other.state is not ProposalState.open:
            return [deny("duplicate", f"{other.id} on {target} is {other.state} and not over yet")]
        if other.action == action:
            return [deny("duplicate", f"{other.id} asks for the same and waits for an answer")]
    refused = _rejected(facts, action, now_ms)
    return [deny("duplicate", f"{refused.id} asked for that, and a person said no")] if refused is not None else []


def _room(facts: Facts, action: Action, asked: int) -> list[Note]:
    """People are not flooded. A question that this one takes the place of does not count."""
    waiting = [facts.proposals[name] for name in facts.unsettled]
    waiting = [other for other in waiting if other.state is ProposalState.open]
    others = asked + sum(1 for other in waiting if other.action and target_of(other.action) != target_of(action))
    most = facts.settings.pending_approvals_max
    return [deny("pending-cap", f"{others} approvals wait already; at most {most}")] if others >= most else []


def _rejected(facts: Facts, action: Action, now_ms: int) -> Proposal | None:
    """A proposal of this kind for this target that a person rejected lately: a no is not asked again at once."""
    target, kind = target_of(action), classify(facts, action)
    since_ms = now_ms - facts.settings.approval_ttl_ms
    for other in reversed(facts.proposals.values()):
        if other.created_ms <= since_ms - facts.settings.approval_ttl_ms:
            break  # it can't have been open as late as that
        if other.state is not ProposalState.rejected or other.action is None or (other.ended_ms or 0) <= since_ms:
            continue
        if target_of(other.action) == target and classify(facts, other.action) == kind:
            return other
    return None


def malformed(why: str) -> Verdict:
    """The verdict on a draft that is no action at all."""
    return verdict_of([deny("schema", why)])


def earlier_in_cycle(facts: Facts, cycle: int) -> tuple[tuple[Action, ...], int]:
    """(actions of this cycle that were judged and not denied, how many were judged at all)."""
    decision = facts.decisions.get(cycle)
    names = decision.proposals if decision is not None else []
    found = [facts.proposals[name] for name in names if name in facts.proposals]
    kept = tuple(one.action for one in found if one.action is not None and one.verdict.ruling is not Ruling.deny)
    return kept, len(names)


def changed_ruling(state: State, proposal: Proposal, now_ms: int) -> Verdict:
    """The verdict on a proposal under which the world moved: what the rules say now, and that it must be looked at."""
    assert proposal.action is not None, "only actions wait in the inbox"
    before, _ = before_after(state.facts, proposal.action)
    moved = f": it was {proposal.before}, it is {before}" if before != proposal.before else ""
    notes = [*judge(state, proposal.action, now_ms, cycle=proposal.cycle).notes, *_mode(state.facts)]
    return verdict_of([*notes, ask("G17", f"changed since it was judged{moved}")])


def is_stale(facts: Facts, proposal: Proposal) -> bool:
    """G17: whether the facts that the judgement rested on, or the rules, are others now."""
    if proposal.action is None:
        return False
    return proposal.rules_version != RULES_VERSION or fingerprint(facts, proposal.action) != proposal.fingerprint


# -- for others


def preview(state: State, drafts: tuple[Draft, ...], now_ms: int, brain: str = "") -> list[Verdict]:
    """What would be said of these drafts together, now, had that brain handed them in. Records nothing.

    `brain`: "" = nobody's yet, of whom no prediction was ever scored.
    """
    earlier, judged = earlier_in_cycle(state.facts, state.facts.cycle)
    out: list[Verdict] = []
    for draft in drafts:
        action, why = read_action(draft)
        if action is None:
            out.append(malformed(why))
            continue
        asked = sum(1 for said in out if said.ruling is Ruling.ask)
        verdict = ruling(state, action, now_ms, earlier=earlier, judged=judged + len(out), asked=asked, brain=brain)
        if verdict.ruling is not Ruling.deny:
            earlier = (*earlier, action)
        out.append(verdict)
    return out


def rejudge(state: State, event: ProposalJudged | ProposalChanged) -> Verdict:
    """The verdict that an event must carry, judged again on the state just before it; for `verify` and replay.

    A draft that was no action is recorded in a cleaned form, so its denial is taken as it is, if it is one.
    """
    proposal = event.proposal
    if proposal.action is None:
        denied = all(note.rule in ("schema", "G5") for note in proposal.verdict.notes)
        return proposal.verdict if denied and proposal.verdict.ruling is Ruling.deny else malformed("not an action")
    if isinstance(event, ProposalChanged):
        before = msgspec.structs.replace(state.facts.proposals[proposal.id])
        return changed_ruling(state, before, event.at_ms)
    earlier, judged = earlier_in_cycle(state.facts, proposal.cycle)
    return ruling(state, proposal.action, event.at_ms, earlier=earlier, judged=judged, brain=proposal.brain)
