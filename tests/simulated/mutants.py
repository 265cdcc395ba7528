"""Deliberately broken rules: the test of the test. Each takes one line of the product away, for as long as it lasts."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from agentorch.core import fit, money, placement, reservations
from agentorch.core.decide import actions, approvals, attempts
from agentorch.core.instruct import instruction, unfinished
from agentorch.core.turn import Turn
from agentorch.executors.fake import FakeExecutor
from agentorch.ledger import chain
from agentorch.model import limits
from agentorch.model.attempts import AttemptPhase, AttemptStatus, attempt_id
from agentorch.model.events import Event, JobStarted
from agentorch.model.fleet import WorkerState
from agentorch.model.jobs import ON_WORKER, Reason
from agentorch.model.proposals import ProposalState
from agentorch.runtime import performer
from agentorch.runtime.fold import digest, encode, snapshot_schema
from agentorch.runtime.loop import Loop
from agentorch.runtime.performer import Performer

Change = tuple[Any, str, Any]


@contextmanager
def swapped(*changes: Change) -> Iterator[None]:
    """Each name of each object is the other thing, for a while."""
    with ExitStack() as back:
        for owner, name, other in changes:
            back.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, other)
        yield


def budget_ignored() -> list[Change]:
    return [(money, "headroom", lambda tenant: None)]


def quota_ignored() -> list[Change]:
    rest = tuple(one for one in placement._JOB_CHECKS if one[1] is not Reason.quota)
    return [(placement, "_JOB_CHECKS", rest)]


def acknowledged_before_durable() -> list[Change]:
    async def settled(self: Loop) -> None:
        return

    return [(Loop, "settled", settled)]


def effect_before_durable() -> list[Change]:
    commit = Loop._commit

    async def early(self: Loop, events: list[Event]) -> None:
        self._perform([order for event in events if (order := instruction(event)) is not None])
        await commit(self, events)

    return [(Loop, "_commit", early)]


def answered_again() -> list[Change]:
    return [(approvals, "_check_open", lambda proposal, now_ms: None)]


def carried_out_again() -> list[Change]:
    attempt = actions._attempt

    def again(turn: Turn, proposal: Any) -> None:
        if proposal.state is ProposalState.acting:
            actions._judge_and_act(turn, proposal, True)
        else:
            attempt(turn, proposal)

    return [(actions, "_OVER", frozenset({ProposalState.done, ProposalState.failed})), (actions, "_attempt", again)]


def absent_is_not_final() -> list[Change]:
    async def inspect(self: FakeExecutor, asked: Sequence[str]) -> list[AttemptStatus]:
        found = []
        for attempt in asked:
            run = self.machine.runs.get(attempt)
            absent = AttemptStatus(id=attempt, phase=AttemptPhase.absent)
            found.append(run.status if run else self.machine.verdicts.get(attempt, absent))
        return found

    return [(FakeExecutor, "inspect", inspect), (FakeExecutor, "_require_epoch", lambda self: None)]


def recovered_work_is_launched_again() -> list[Change]:
    async def recover(self: Performer) -> None:
        gone = [attempt_id(*one) for one in unfinished(self.facts)]
        await self._report([AttemptStatus(id=one, phase=AttemptPhase.absent) for one in gone], recovering=True)
        await self._loop.settled()

    return [(Performer, "recover", recover)]


def torn_commit_accepted() -> list[Change]:
    return [(chain, "flaw", lambda ledger_id, at, row, body_hash: None)]


def late_end_believed() -> list[Change]:
    def live(turn: Turn, job_id: str, attempt: int, rank: int) -> Any:
        job = turn.facts.jobs.get(job_id)
        return (job, job.attempts[-1]) if job and job.state in ON_WORKER and rank < job.spec.gang else None

    return [(attempts, "_live", live)]


def keys_forgotten() -> list[Change]:
    return [(limits, "IDEMPOTENCY_KEPT_MS", 0)]


def stops_not_repeated() -> list[Change]:
    return [(performer, "stops_to_repeat", lambda facts: [])]


def ledger_time_runs_back() -> list[Change]:
    return [(Loop, "now_ms", lambda self: self.clock.now_ms())]


def decided_without_an_event() -> list[Change]:
    emit = Turn.emit

    def more(self: Turn, event: Event) -> None:
        emit(self, event)
        if isinstance(event, JobStarted):
            self.facts.tenants[self.facts.jobs[event.job].tenant].usage += 1e-3

    return [(Turn, "emit", more)]


def snapshot_ahead_of_the_disk() -> list[Change]:
    async def maybe(self: Loop) -> None:
        facts = self.state.facts
        if facts.seq - self._snapshot_seq >= limits.SNAPSHOT_EVERY_EVENTS:
            self._snapshot_seq = facts.seq
            body = encode(facts)
            await self.ledger.save_snapshot(self.durable_seq, snapshot_schema(), digest(body), body)

    return [(Loop, "_maybe_snapshot", maybe)]


def cordon_ignored() -> list[Change]:
    return [(fit, "takes_work", lambda worker: worker.state is WorkerState.up)]


def _without(rule: str) -> list[Change]:
    judging = importlib.import_module("agentorch.core.guardrails.judge")  # a function has taken the module's name
    return [(judging, "RULES", tuple(one for one in judging.RULES if one[0] != rule))]


def cooldown_ignored() -> list[Change]:
    return _without("G5")


def blast_radius_ignored() -> list[Change]:
    return _without("G6")


def reservation_ignored() -> list[Change]:
    return [
        (reservations.Kept, "short_workers", lambda self, but=None: 0),
        (reservations.Kept, "short", lambda self, but=None: reservations.NONE),
    ]


MUTANTS: dict[str, Callable[[], list[Change]]] = {
    one.__name__: one
    for one in (
        budget_ignored,
        quota_ignored,
        acknowledged_before_durable,
        effect_before_durable,
        answered_again,
        carried_out_again,
        absent_is_not_final,
        recovered_work_is_launched_again,
        torn_commit_accepted,
        late_end_believed,
        keys_forgotten,
        stops_not_repeated,
        ledger_time_runs_back,
        decided_without_an_event,
        snapshot_ahead_of_the_disk,
        cordon_ignored,
        reservation_ignored,
        cooldown_ignored,
        blast_radius_ignored,
    )
}
