"""The checker's account of the supervisor: nothing acts without a yes written down before, and each yes once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from agentorch.model import events as ev
from agentorch.model import limits
from agentorch.model.proposals import Action, AnswerKind, Mode, Proposal, ProposalState, Ruling, target_of

SUPERVISOR = "supervisor"
#: What follows from an action, and must stand behind one in the same commit.
_EFFECTS = (
    ev.JobHeld,
    ev.JobReleased,
    ev.JobChanged,
    ev.JobRerouted,
    ev.JobStopping,
    ev.PoolScaled,
    ev.WorkerCordoned,
)


_NOT_YET = (ProposalState.allowed, ProposalState.open, ProposalState.approved)


class Asked(msgspec.Struct):
    action: Action | None
    state: ProposalState
    expires_ms: int
    answered_ms: int = 0
    starts: int = 0


class Approvals:
    def __init__(self, broken: Callable[[str], None], running_in: Callable[[str], int]) -> None:
        self.broken = broken
        self.running_in = running_in
        self.asked: dict[str, Asked] = {}
        self.mode = Mode.guarded
        self.actions: list[tuple[int, str]] = []  # (time, target)
        self.disturbing: list[ev.ActionStarted] = []
        self._acting: set[str] = set()  # targets of actions that this commit has begun

    def begin(self, events: Sequence[ev.Event]) -> None:
        """A commit begins."""
        self._acting = set()

    def see(self, event: ev.Event) -> None:
        match event:
            case ev.ModeChanged():
                self.mode = event.mode
            case ev.ProposalJudged():
                self._judged(event.proposal)
            case ev.ProposalChanged():
                self._changed(event.proposal)
            case ev.ApprovalAnswered():
                self._answered(event)
            case ev.ApprovalExpired():
                self._leave(event.proposal, (ProposalState.open,), ProposalState.expired)
            case ev.ProposalLapsed():
                self._leave(event.proposal, (ProposalState.allowed, ProposalState.approved), ProposalState.lapsed)
            case ev.ActionRefused():
                self._leave(event.proposal, _NOT_YET, ProposalState.denied)
            case ev.ActionStarted():
                self._acts(event)
            case ev.ActionEnded():
                self._leave(event.proposal, (ProposalState.acting,), ProposalState.done)
            case _ if isinstance(event, _EFFECTS) and event.by == SUPERVISOR:
                if not self._acting:
                    self.broken(f"{event} by the supervisor, without an action in its commit")

    def _judged(self, proposal: Proposal) -> None:
        if proposal.id in self.asked:
            self.broken(f"{proposal.id} is proposed twice")
        self.asked[proposal.id] = Asked(proposal.action, proposal.state, proposal.expires_ms)
        if proposal.state is ProposalState.allowed and (
            proposal.verdict.ruling is not Ruling.allow or self.mode is not Mode.guarded
        ):
            self.broken(f"{proposal.id} is allowed, ruled {proposal.verdict.ruling} in mode {self.mode}")

    def _changed(self, proposal: Proposal) -> None:
        one = self.asked[proposal.id]
        if one.starts:
            self.broken(f"{proposal.id} is judged again after it was carried out")
        one.action, one.state, one.expires_ms = proposal.action, proposal.state, proposal.expires_ms

    def _answered(self, event: ev.ApprovalAnswered) -> None:
        one, answer = self.asked[event.proposal], event.answer
        if one.state is not ProposalState.open:
            self.broken(f"{event.proposal} is answered and was {one.state}")
        if answer.at_ms >= one.expires_ms and answer.kind is not AnswerKind.reject:
            self.broken(f"{event.proposal} is answered after it expired")
        if answer.by.startswith(SUPERVISOR):
            self.broken(f"{event.proposal} is answered by {answer.by}")
        one.state = ProposalState.rejected if answer.kind is AnswerKind.reject else ProposalState.approved
        one.action = answer.edited or one.action
        one.answered_ms = answer.at_ms

    def _leave(self, name: str, known: tuple[ProposalState, ...], state: ProposalState) -> None:
        one = self.asked[name]
        if one.state not in known:
            self.broken(f"{name} becomes {state} and was {one.state}")
        one.state = state

    def _acts(self, event: ev.ActionStarted) -> None:
        one = self.asked.get(event.proposal)
        if one is None or one.state not in (ProposalState.allowed, ProposalState.approved):
            self.broken(f"{event.proposal} is carried out and was {one.state if one else 'never proposed'}")
            return
        one.starts += 1
        if one.starts > 1:
            self.broken(f"{event.proposal} is carried out {one.starts} times")
        if event.action != one.action:
            self.broken(f"{event.proposal} does {event.action}, the yes was to {one.action}")
        approved = one.state is ProposalState.approved
        if self.mode in (Mode.paused, Mode.observe) or (self.mode is Mode.approve and not approved):
            self.broken(f"{event.proposal} ({one.state}) is carried out in mode {self.mode}")
        until_ms = one.answered_ms + limits.APPROVED_TTL_MS if approved else one.expires_ms
        if event.at_ms >= until_ms:
            self.broken(f"{event.proposal} ({one.state}) is carried out too late")
        one.state = ProposalState.acting
        self._check_pace(event)
        if event.disruption:
            self._check_blast(event)

    def _check_pace(self, event: ev.ActionStarted) -> None:
        """G5: one action on a target a minute, sixty an hour."""
        target = target_of(event.action)
        self._acting.add(target)
        self.actions = [one for one in self.actions if one[0] > event.at_ms - limits.HOUR_MS]
        recent = [
            at_ms for at_ms, other in self.actions if other == target and event.at_ms < at_ms + limits.COOLDOWN_MS
        ]
        if recent:
            self.broken(f"{event.proposal} acts on {target} again after {event.at_ms - recent[-1]} ms")
        self.actions.append((event.at_ms, target))
        if len(self.actions) > limits.ACTIONS_PER_HOUR:
            self.broken(f"{len(self.actions)} actions in an hour")

    def _check_blast(self, event: ev.ActionStarted) -> None:
        """G6: one kind of disruption at once, and of the jobs that run in a pool a tenth, at least one."""
        since_ms = event.at_ms - limits.BLAST_WINDOW_MS
        self.disturbing = [one for one in self.disturbing if one.at_ms > since_ms]
        other = next((one for one in self.disturbing if one.disruption != event.disruption), None)
        if other is not None:
            self.broken(f"{event.proposal} is a {event.disruption}, {other.proposal} a {other.disruption} just before")
        self.disturbing.append(event)
        if event.disruption == "preemption":
            for pool in dict(event.disturbs):
                stopped = sum(dict(one.disturbs).get(pool, 0) for one in self.disturbing)
                most = max(1, self.running_in(pool) * limits.BLAST_RADIUS_PERCENT // 100)
                if stopped > most:
                    self.broken(f"{event.proposal} makes it {stopped} jobs of {pool} stopped at once, at most {most}")

    def told_answered(self, proposal: str, kind: AnswerKind) -> None:
        """Somebody was told that this answer counts."""
        one = self.asked.get(proposal)
        if one is None or not one.answered_ms:
            self.broken(f"the answer {kind} to {proposal} was acknowledged and is not durable")
