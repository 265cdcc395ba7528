"""What happens around the supervisor: what it saw, wanted and was answered, and what came of it."""

from __future__ import annotations

from agentorch.model.events.base import Recorded
from agentorch.model.guardrails import GuardrailSettings
from agentorch.model.observation import HistoryPoint, Observation
from agentorch.model.proposals import Action, Answer, BrainReport, Mode, Proposal, Risk, Verdict
from agentorch.model.twin import Impact, Score, Watched


class ModeChanged(Recorded, tag="mode-changed", frozen=True, kw_only=True):
    mode: Mode
    by: str
    reason: str = ""


class GuardrailsConfigured(Recorded, tag="guardrails-configured", frozen=True, kw_only=True):
    """Tightened, or back towards the limits; never beyond them."""

    settings: GuardrailSettings
    by: str = "config"


class AlertRaised(Recorded, tag="alert-raised", frozen=True, kw_only=True):
    code: str
    text: str
    by: str


class CycleObserved(Recorded, tag="cycle-observed", frozen=True, kw_only=True):
    observation: Observation
    sha256: str
    history: HistoryPoint


class CycleDecided(Recorded, tag="cycle-decided", frozen=True, kw_only=True):
    cycle: int
    report: BrainReport


class ProposalJudged(Recorded, tag="proposal-judged", frozen=True, kw_only=True):
    proposal: Proposal


class ProposalChanged(Recorded, tag="proposal-changed", frozen=True, kw_only=True):
    """The world moved under an open proposal: it was judged again and must be looked at again."""

    proposal: Proposal


class ProposalSuperseded(Recorded, tag="proposal-superseded", frozen=True, kw_only=True):
    proposal: str
    by: str


class ApprovalAnswered(Recorded, tag="approval-answered", frozen=True, kw_only=True):
    """After an edit the proposal's new hash, title, value, verdict and risk come with it."""

    proposal: str
    answer: Answer
    hash: str = ""
    title: str = ""
    after: str = ""
    verdict: Verdict | None = None
    risk: Risk | None = None


class ApprovalExpired(Recorded, tag="approval-expired", frozen=True, kw_only=True):
    """Nobody answered in time. That is a no, and not a person's."""

    proposal: str


class ProposalLapsed(Recorded, tag="proposal-lapsed", frozen=True, kw_only=True):
    """Allowed or approved, and not carried out in time: it never will be."""

    proposal: str
    why: str


class ActionRefused(Recorded, tag="action-refused", frozen=True, kw_only=True):
    """Judged again at execution, and denied."""

    proposal: str
    notes: tuple[str, ...]


class ActionStarted(Recorded, tag="action-started", frozen=True, kw_only=True):
    """The intent. Its effects follow in the same commit.

    `disturbs` says how many jobs or workers of which pools it disturbs, and `disruption` in which way ("" = in none):
    what later actions are weighed against (G6).
    """

    proposal: str
    action: Action
    disruption: str = ""
    disturbs: tuple[tuple[str, int], ...] = ()
    watched: Watched | None = None  # how it stood, for the score of its impact; None: it will have none


class ActionEnded(Recorded, tag="action-ended", frozen=True, kw_only=True):
    proposal: str
    ok: bool
    outcome: str


class ProposalScored(Recorded, tag="proposal-scored", frozen=True, kw_only=True):
    """The horizon of an action's impact is over: what was foreseen, beside what came of it."""

    proposal: str
    score: Score


class ProposalForeseen(Recorded, tag="proposal-foreseen", frozen=True, kw_only=True):
    """The world had moved under an open proposal: its impact was computed again."""

    proposal: str
    impact: Impact
