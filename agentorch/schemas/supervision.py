"""What the API answers with about the supervisor: proposals, approvals, decisions, mode, and the one snapshot."""

from __future__ import annotations

from typing import Any

from agentorch.schemas.base import Document, Page
from agentorch.schemas.documents import (
    AlertDocument,
    BudgetDocument,
    DeviceDocument,
    JobDocument,
    PoolDocument,
    TenantDocument,
    WorkerDocument,
)
from agentorch.schemas.twin import CalibrationDocument, ImpactDocument, ScoreDocument


class NoteDocument(Document):
    rule: str
    ruling: str  # allow | ask | deny
    text: str


class AnswerDocument(Document):
    kind: str  # approve | edit | reject
    by: str
    at: float
    reason: str = ""
    previous: dict[str, Any] | None = None


class ProposalDocument(Document):
    """A proposal, and from its verdict on an approval or an action: the id stays the same."""

    id: str
    cycle: int
    brain: str
    title: str
    action: dict[str, Any] | None
    kind: str  # scale | reschedule | reroute | cordon | uncordon | alert | malformed
    target: str
    state: str  # model.proposals.ProposalState
    risk: str  # low | medium | high
    reversible: bool
    reason: str
    evidence: list[str] = []
    alternatives: list[str] = []
    impact: ImpactDocument | None = None  # None: not computed
    score: ScoreDocument | None = None  # how its impact came out; None before its horizon
    ruling: str
    notes: list[NoteDocument] = []
    before: str = ""
    after: str = ""
    affected_jobs: list[str] = []
    proposal_hash: str
    rules_version: int
    judged_seq: int
    created_at: float
    expires_at: float
    on_expiry: str = "nothing happens; recorded as expired"
    changed: int = 0
    answer: AnswerDocument | None = None
    started_at: float | None = None
    ended_at: float | None = None
    outcome: str = ""
    edit_fields: dict[str, dict[str, Any]] = {}  # field -> {type, from, to, choices}: the range an edit may narrow to
    command: str = ""  # the same on the command line


class ProposalPage(Page):
    items: list[ProposalDocument]


class ForeseenDocument(Document):
    """What the twin says of an action that somebody thinks of, and what guardrails would say of it as a proposal."""

    action: dict[str, Any]
    kind: str
    target: str
    title: str
    before: str = ""
    after: str = ""
    seq: int  # of the state that it was asked of
    at: float
    ruling: str  # allow | ask | deny
    notes: list[NoteDocument] = []
    impact: ImpactDocument
    rests_on: str = ""  # what the twin did not know, and how it made do


class AnsweredItem(Document):
    """What became of one answer of a batch: the proposal, or the problem that refused it."""

    id: str
    status: int
    proposal: ProposalDocument | None = None
    problem: dict[str, Any] | None = None


class AnsweredDocument(Document):
    items: list[AnsweredItem]


class ExchangeDocument(Document):
    """Of each request what is new since the one before it."""

    model: str
    request: str
    response: str
    tokens_in: int = 0
    tokens_out: int = 0
    took_s: float = 0.0
    status: int = 0  # HTTP's; 0: there was no answer
    fault: str = ""  # what ended it before its end


class DecisionDocument(Document):
    cycle: int
    seq: int
    at: float
    brain: str = ""
    hold: str = ""
    error: str = ""
    fallback_from: str = ""
    took_s: float = 0.0
    observation_sha256: str = ""
    observation: dict[str, Any] | None = None  # whole, in the single-decision document
    exchanges: list[ExchangeDocument] = []
    proposals: list[ProposalDocument] = []
    calibration: list[CalibrationDocument] = []  # of its brain and the kinds of its proposals, as of now


class DecisionPage(Page):
    items: list[DecisionDocument]
    calibration: list[CalibrationDocument] = []  # of every brain and kind of action


class ModeDocument(Document):
    mode: str  # paused | observe | approve | guarded
    by: str
    reason: str = ""
    brain: str = ""
    brain_failures: int = 0


class HistoryDocument(Document):
    """Parallel lists, oldest first, one entry per observation."""

    at: list[float] = []
    queued: list[int] = []
    running: list[int] = []
    wait_s_p95: list[float] = []
    utilization_percent: list[float] = []
    spent_usd: list[float] = []
    burn_usd_per_hour: list[float] = []
    pool_wait_s_p95: dict[str, list[float | None]] = {}


class LogLine(Document):
    """One line of the decision log: who did what, and how it went."""

    seq: int
    at: float
    actor: str  # agent | human | guard | system
    verb: str
    text: str
    status: str  # ok | denied | failed | expired | pending | hold | info
    proposal: str = ""
    cycle: int | None = None


class SnapshotDocument(Document):
    """Everything the terminal UI shows but job pages and logs, as of one ledger sequence."""

    seq: int
    at: float  # time of the newest event
    server_time: float
    server: str  # name and version
    read_only: bool  # a ledger file, not a running server
    last_seq: int  # newest sequence there is; differs from seq when looking back
    head_hash: str = ""
    key_roles: list[str] = []
    mode: ModeDocument
    queued: int
    running: int
    held: int
    finished: dict[str, int] = {}
    utilization_percent: float = 0.0
    gpu_utilization_percent: float | None = None  # None: no GPU that can be read
    wait_s_p95: float = 0.0
    spent_usd: float = 0.0
    burn_usd_per_hour: float = 0.0
    submitted_total: int = 0
    pools: list[PoolDocument] = []
    workers: list[WorkerDocument] = []
    devices: list[DeviceDocument] = []
    tenants: list[TenantDocument] = []
    budgets: list[BudgetDocument] = []
    approvals: list[ProposalDocument] = []  # open, soonest expiry first
    decided: list[ProposalDocument] = []  # settled in the last hour, newest first
    log: list[LogLine] = []  # newest first
    recent_jobs: list[JobDocument] = []  # newest activity first, a few
    alerts: list[AlertDocument] = []
    history: HistoryDocument = HistoryDocument()
    truncated: dict[str, int] = {}  # list name -> how many there really are, where a list was cut
