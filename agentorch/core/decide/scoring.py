"""Predictions meet what came of them: what is noted when an action begins, and the score when its horizon is over."""

from __future__ import annotations

from agentorch.core.outcomes import measured, watch
from agentorch.core.turn import Turn
from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.proposals import Proposal
from agentorch.model.twin import Course, Measured, Range, Score, Watched


def begin(turn: Turn, proposal: Proposal) -> Watched | None:
    """What to note of an action that begins now; None for one whose impact can't be scored.

    That is one without numbers, one whose numbers are of another action or world, and one that waited for so long that
    its beginning is not the one that was foreseen.
    """
    impact = proposal.impact
    if impact is None or impact.acted is None or impact.text:
        return None
    horizon_ms = int(1000 * impact.horizon_s)
    late = turn.now_ms - (impact.at_ms or proposal.created_ms) > horizon_ms * limits.SCORE_WAITED_PERCENT // 100
    return None if late else watch(turn.state, horizon_ms, turn.now_ms)


def tick(turn: Turn) -> None:
    """Score what is due. One whose time passed while nobody looked gets a score without numbers."""
    for name, since in list(turn.facts.watched.items()):
        if turn.now_ms < since.until_ms:
            continue
        proposal = turn.facts.proposals.get(name)
        patience_ms = (since.until_ms - since.at_ms) * limits.SCORE_LATE_PERCENT // 100
        missed = turn.now_ms > since.until_ms + max(limits.SECOND_MS, patience_ms)
        acted = None if proposal is None or proposal.impact is None or missed else proposal.impact.acted
        measures = () if acted is None else _compared(acted, measured(turn.state, since, turn.now_ms))
        score = Score(at_ms=turn.now_ms, measures=measures)
        turn.emit(ev.ProposalScored(at_ms=turn.now_ms, proposal=name, score=score))


def _compared(foreseen: Course, found: dict[str, float]) -> tuple[Measured, ...]:
    """What was neither foreseen nor happened tells nothing."""
    out = []
    for measure, value in found.items():
        predicted: Range = getattr(foreseen, measure)
        if value or predicted.high or predicted.low:
            out.append(Measured(measure, predicted, float(value)))
    return tuple(out)
