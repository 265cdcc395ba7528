"""What a supervisor may want, what guardrails say of it, what people answer, what came of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

from agentorch.model.twin import Impact, Score


class Mode(StrEnum):
    """How far the supervisor may go. The safest wins; only a person raises it. `paused` is the kill switch."""

    paused = "paused"
    observe = "observe"  # decides and records, nothing acts
    approve = "approve"  # everything that guardrails would allow is asked
    guarded = "guarded"  # what guardrails allow acts, what they ask is asked


MODE_RANK: dict[Mode, int] = {mode: rank for rank, mode in enumerate(Mode)}


# -- actions: the closed set of things a brain can want


class _Action(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True, omit_defaults=True):
    pass


class Scale(_Action, tag="scale", frozen=True):
    """How much: set a pool's number of workers."""

    pool: str
    workers: int


class Reschedule(_Action, tag="reschedule", frozen=True):
    """When: change one job's place in time."""

    job: str
    change: Literal["priority", "start_at", "pause", "resume", "preempt", "requeue"]
    priority: int | None = None  # for `priority`
    start_ms: int | None = None  # for `start_at`


class Reroute(_Action, tag="reroute", frozen=True):
    """Where: send one queued job, or up to `at_most` queued jobs of a class, to another pool."""

    pool: str
    job: str = ""
    tenant: str = ""  # class: whose jobs ("" = any)
    tier: str = ""  # class: of which tier ("" = any)
    from_pool: str = ""  # class: that now wait for this pool
    at_most: int = 1


class Cordon(_Action, tag="cordon", frozen=True):
    """Place nothing new on a worker; what runs there goes on."""

    worker: str


class Uncordon(_Action, tag="uncordon", frozen=True):
    worker: str


class Alert(_Action, tag="alert", frozen=True):
    """Tell people something; changes nothing."""

    text: str


Action = Scale | Reschedule | Reroute | Cordon | Uncordon | Alert


def target_of(action: Action) -> str:
    """The one thing an action acts on, as `kind:name`: cooldown, deduplication and superseding go by it."""
    match action:
        case Scale():
            return f"pool:{action.pool}"
        case Reschedule():
            return f"job:{action.job}"
        case Reroute():
            return f"job:{action.job}" if action.job else f"route:{action.from_pool}>{action.pool}"
        case Cordon() | Uncordon():
            return f"worker:{action.worker}"
        case Alert():
            return f"alert:{action.text[:80]}"


def calibration_key(brain: str, action: Action) -> str:
    """Whose predictions are counted together."""
    return f"{brain}\0{action.__struct_config__.tag}"


# -- verdicts


class Ruling(StrEnum):
    allow = "allow"
    ask = "ask"
    deny = "deny"


RULING_RANK: dict[Ruling, int] = {ruling: rank for rank, ruling in enumerate(Ruling)}


class Note(msgspec.Struct, frozen=True):
    """What one rule said. `rule` is a stable id: G1 to G17, or one of these.

    `schema`: no action, or fields that do not go together; `target`: nothing there to act on; `mode`; `duplicate`:
    asked, answered or under way; `pending-cap`: the inbox is full; `calibration`: what was foreseen of such actions of
    this brain came out otherwise too often.
    """

    rule: str
    ruling: Ruling
    text: str


class Verdict(msgspec.Struct, frozen=True):
    """The strictest ruling and every note, the decisive ones last."""

    ruling: Ruling
    notes: tuple[Note, ...]


class Risk(StrEnum):
    low = "low"
    medium = "medium"
    high = "high"


# -- proposals


class Draft(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a brain hands in, unchecked: `action` may be anything JSON can say."""

    action: Any
    reason: str = ""
    evidence: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()  # what else was weighed, and why not


class ProposalState(StrEnum):
    denied = "denied"  # a guardrail, the mode or the schema said no
    observed = "observed"  # mode `observe`: recorded, nothing acts
    allowed = "allowed"  # may be carried out at once, for a minute
    open = "open"  # waits for a person
    approved = "approved"  # answered yes, not carried out yet
    rejected = "rejected"  # answered no by a person
    expired = "expired"  # nobody answered: that is a no, and not a person's
    superseded = "superseded"  # a newer proposal for the same target took its place
    lapsed = "lapsed"  # allowed or approved, but not carried out in time
    acting = "acting"  # being carried out
    done = "done"
    failed = "failed"  # it was carried out and did not get there


OPEN_STATES = frozenset({ProposalState.allowed, ProposalState.open, ProposalState.approved, ProposalState.acting})


class AnswerKind(StrEnum):
    approve = "approve"
    edit = "edit"
    reject = "reject"


class Answer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A person's answer, or none: an expiry is never written as one."""

    kind: AnswerKind
    by: str
    at_ms: int
    reason: str = ""
    edited: Action | None = None  # what an edit made of the action
    previous: Action | None = None  # what it was before the edit


class Proposal(msgspec.Struct, kw_only=True):
    """An action that a brain wants. Its id stays when it becomes an action."""

    id: str
    cycle: int
    brain: str
    action: Action | None  # None: the draft was not an action at all
    raw: Any = None  # the draft as handed in, when it was not an action
    title: str = ""  # one line for people
    reason: str = ""
    evidence: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    impact: Impact | None = None  # None: not computed
    score: Score | None = None  # of its impact, after the horizon
    verdict: Verdict
    risk: Risk = Risk.high
    reversible: bool = False
    hash: str = ""  # of action, fingerprint, rules version and expiry: what an answer is bound to (G17)
    fingerprint: str = ""  # of the facts about the target that the judgement rested on
    rules_version: int
    judged_seq: int  # the ledger sequence it was judged on
    created_ms: int
    expires_ms: int
    changed: int = 0  # how often the world moved under it
    before: str = ""  # old value, for people
    after: str = ""  # new value, for people
    state: ProposalState
    answer: Answer | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    outcome: str = ""


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One exchange with a model, whole, so that a replay needs none.

    A cycle's requests repeat what was said before: of each only what differs from the one before it is in `request`,
    after its first `same_start` characters and before its last `same_end`.
    """

    model: str
    request: str
    response: str
    tokens_in: int = 0
    tokens_out: int = 0
    took_ms: int = 0
    same_start: int = 0
    same_end: int = 0
    status: int = 0  # HTTP's; 0: there was no answer
    content_type: str = ""
    base64: bool = False  # the response is no UTF-8, and is written so
    fault: str = ""  # the name of what ended it before its end
    tools_sha256: str = ""  # of the tools' schemas as they were sent
    parameters: str = ""  # JSON, in the first exchange of a report: the brain's limits and settings, no secret
    libraries: str = ""  # in the first exchange of a report: what spoke to the server, in which version


class BrainReport(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one brain did in one cycle. No drafts and a `hold` reason: not acting is a decision with a reason."""

    brain: str
    drafts: tuple[Draft, ...] = ()
    hold: str = ""
    error: str = ""  # it raised, hung or spoke nonsense: recorded, no action
    fallback_from: str = ""  # the brain that failed, when another decided in its place
    exchanges: tuple[Exchange, ...] = ()
    took_ms: int = 0
