"""What came from outside in a recording: what people, submitters, executors and machines did, and nothing that the
core or a brain made of it. Driven with these again, the core decides for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agentorch.core.facts import Facts
from agentorch.core.guardrails.drafts import read_action
from agentorch.core.guardrails.protection import is_supervisor
from agentorch.core.state import State
from agentorch.errors import Refused
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model.attempts import NodeInfo
from agentorch.model.fleet import Node, NodeState
from agentorch.model.jobs import Attempt, Cause, JobSpec
from agentorch.model.observation import DeviceSample
from agentorch.model.proposals import Action, Answer, BrainReport, Draft, Proposal
from agentorch.model.twin import Course, Impact, Outlook

#: Who else than people and executors writes events: the core itself.
_CORE: Final = frozenset({"config", "guardrail", "health", "node", "drain", "budget"})
#: Ends that came from the work itself, or from its machine's treatment of it. Every other was ordered, or came with
#: the loss of a node, and says nothing of how long the work would have run.
OWN: Final = frozenset(
    {Cause.completed, Cause.error, Cause.exec_failed, Cause.oom, Cause.timeout, Cause.lost, Cause.no_capacity}
)
#: Ends of jobs that came before their work was done: how long it would have run is not known.
_CUT_SHORT: Final = frozenset({Cause.cancelled, Cause.budget, Cause.max_queue, Cause.dependency, Cause.poison})
#: Events of telemetry that was judged; without any, nobody looked at devices.
_HEALTH: Final = (ev.DeviceCounted, ev.DeviceJudged, ev.PoolPowered, ev.HealthHalted)
_REPORTED: Final = tuple(name for name in NodeInfo.__struct_fields__ if name in ev.NodeSeen.__struct_fields__)


class Ending(msgspec.Struct, frozen=True):
    """How an attempt ended by itself, after having run for so long; None = it never ran."""

    cause: Cause
    run_ms: int | None
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    result: str = ""


class Life(msgspec.Struct):
    """What a job's attempts would do if nobody stopped them, in order."""

    resumes: bool = False  # it goes on from its checkpoint
    endings: list[Ending] = []
    over: bool = False  # the last of these was the job's own end
    least_ms: int = 0  # that it ran beyond the last of these, when something else ended it or it still ran
    launch_ms: list[int] = []  # from the order to the first sign of it, of each attempt
    marks: list[tuple[int, ev.JobProgressed]] = []  # (after so much run time, what it said of itself)


class Answered(msgspec.Struct, frozen=True):
    """A person's answer: to which action, asked when, and after how long."""

    action: Action
    asked_ms: int
    after_ms: int
    answer: Answer


class Outside(msgspec.Struct):
    """`happenings` are commands in order of their times, with the recording's job ids."""

    begin_ms: int = 0
    end_ms: int = 0
    happenings: list[tuple[int, cmd.Command]] = []
    # Times of cycles: when it was observed, and when the brain's report was handed in; None: it never was.
    cycles: list[tuple[int, int | None]] = []
    devices: list[tuple[int, tuple[DeviceSample, ...]]] = []
    reports: dict[int, BrainReport] = {}
    impacts: dict[tuple[int, bytes], Impact] = {}  # that were foreseen, by cycle and action
    answers: list[Answered] = []
    lives: dict[str, Life] = {}
    launch_ms: int = 0  # medians: from the order of a start, or of a stop, to its report
    stop_ms: int = 0
    lost_ms: int = 0  # from a node that is gone to the news that its work is
    health: bool = False  # telemetry was judged, and is to be again

    def foreseen(self, state: State, drafts: tuple[Draft, ...], now_ms: int) -> Outlook:
        """What was foreseen of them in this cycle. Raises Refused when nothing was."""
        keys = [(state.facts.cycle, _key(read_action(draft)[0])) for draft in drafts]
        if not any(key in self.impacts for key in keys):
            raise Refused("unreachable", "nothing was foreseen of it then")
        missing = Impact(text="nothing was foreseen of it then")
        return Outlook(horizon_s=0.0, idle=Course(), impacts=tuple(self.impacts.get(key, missing) for key in keys))


class _Reader:
    """Goes through the events of a window once."""

    def __init__(self, before: Facts) -> None:
        self.found = Outside(begin_ms=before.at_ms)
        self.nodes: dict[str, dict[str, NodeInfo]] = {}
        self.ordered: dict[str, int] = {}  # job -> when its newest attempt was ordered
        self.began: dict[str, int] = {}  # job -> when it was first seen running
        self.down: dict[str, int] = {}  # nodes: since when
        self.nodes_of: dict[str, tuple[str, ...]] = {}  # on which a job runs
        self.stopping: dict[str, tuple[int, Cause]] = {}
        self.carried: dict[str, int] = {}  # what a job that resumes ran in attempts that were stopped
        self.cancelled: dict[str, None] = {}
        self.asked: dict[str, Proposal] = {}
        self.launches: list[int] = []
        self.stops: list[int] = []
        self.losses: list[int] = []
        for name in before.unsettled:
            self.asked[name] = before.proposals[name]
        for job in before.jobs.values():
            self.life(job.id, job.spec)
        for name in before.running:
            self.resume(name, before.jobs[name].attempts[-1])
        for node in before.nodes.values():
            if node.unlisted_ms is None:
                self.list_node(node.executor, _info(node))

    def life(self, job: str, spec: JobSpec) -> Life:
        if job not in self.found.lives:
            self.found.lives[job] = Life(resumes=spec.checkpoint is not None)
        return self.found.lives[job]

    def resume(self, job: str, attempt: Attempt) -> None:
        """It was on a worker when the window began."""
        self.ordered[job] = attempt.ordered_ms
        self.nodes_of[job] = tuple(one.node for one in attempt.members)
        if attempt.started_ms is not None:
            self.began[job] = attempt.started_ms

    def list_node(self, executor: str, info: NodeInfo) -> None:
        self.nodes.setdefault(executor, {})[info.id] = info

    def add(self, at_ms: int, command: cmd.Command) -> None:
        self.found.happenings.append((at_ms, command))

    # -- what is read

    def read(self, event: ev.Event) -> None:
        self.found.end_ms = event.at_ms
        if not (self.fleet(event) or self.people(event) or self.submitters(event) or self.attempts(event)):
            self.supervisor(event)

    def fleet(self, event: ev.Event) -> bool:
        at_ms = event.at_ms
        match event:
            case ev.RuntimeStarted():
                self.add(at_ms, cmd.StartRuntime(version=event.version))
            case ev.PoolConfigured():
                self.add(at_ms, cmd.ConfigurePool(spec=event.spec, devices=event.devices))
            case ev.TenantConfigured():
                self.add(at_ms, cmd.ConfigureTenant(spec=event.spec))
            case ev.GuardrailsConfigured():
                self.add(at_ms, cmd.ConfigureGuardrails(settings=event.settings, by=event.by))
            case ev.NodeSeen():
                listed = self.nodes.setdefault(event.executor, {})
                listed.pop(event.node, None)
                if event.listed:
                    listed[event.node] = _info(event)
                self.down.pop(event.node, None)
                if event.state is NodeState.down:
                    self.down[event.node] = at_ms
                self.lists(at_ms, event.executor)
            case ev.NodeRemoved():
                for executor, listed in self.nodes.items():
                    if listed.pop(event.node, None) is not None:
                        self.lists(at_ms, executor)
            case ev.ProvisioningFailed():
                self.add(
                    at_ms,
                    cmd.ReportProvisioning(
                        executor=event.executor, node_type=event.node_type, error=event.error, remove=event.kept
                    ),
                )
            case _:
                return False
        return True

    def lists(self, at_ms: int, executor: str) -> None:
        """All that an executor listed at one moment was one report."""
        command = cmd.ReportNodes(executor=executor, nodes=tuple(self.nodes[executor].values()))
        match self.found.happenings[-1:]:
            case [(before_ms, cmd.ReportNodes(executor=before))] if (before_ms, before) == (at_ms, executor):
                self.found.happenings.pop()
        self.add(at_ms, command)

    def people(self, event: ev.Event) -> bool:
        at_ms = event.at_ms
        match event:
            case ev.PoolPaused(by=by) if by not in _CORE:
                self.add(at_ms, cmd.PausePool(pool=event.pool, paused=event.paused, by=by, reason=event.reason))
            case ev.PoolScaled(by=by) if _is_person(by):
                self.add(at_ms, cmd.ScalePool(pool=event.pool, workers=event.workers, by=by))
            case ev.WorkerCordoned(by=by) if _is_person(by):
                self.add(
                    at_ms, cmd.CordonWorker(worker=event.worker, cordoned=event.cordoned, by=by, reason=event.reason)
                )
            case ev.WorkerRepaired():
                self.add(at_ms, cmd.RepairWorker(worker=event.worker, by=event.by))
            case ev.DeviceRepaired():
                self.add(at_ms, cmd.RepairDevice(device=event.device, by=event.by))
            case ev.ModeChanged():
                self.add(at_ms, cmd.SetMode(mode=event.mode, by=event.by, reason=event.reason))
            case _:
                return False
        return True

    def submitters(self, event: ev.Event) -> bool:
        at_ms = event.at_ms
        match event:
            case ev.JobSubmitted():
                self.life(event.job, event.spec)
                self.add(at_ms, cmd.SubmitJob(tenant=event.tenant, spec=event.spec, by=event.by))
            case ev.JobHeld(by=by) if _is_person(by):
                self.add(at_ms, cmd.PatchJob(job=event.job, by=by, hold=True, reason=event.reason))
            case ev.JobReleased(by=by) if _is_person(by):
                self.add(at_ms, cmd.PatchJob(job=event.job, by=by, hold=False))
            case ev.JobChanged(by=by) if _is_person(by):
                self.add(
                    at_ms,
                    cmd.PatchJob(
                        job=event.job,
                        by=by,
                        priority=event.priority,
                        deadline_ms=event.deadline_ms,
                        not_before_ms=event.not_before_ms,
                    ),
                )
            case ev.JobRerouted(by=by) if _is_person(by):
                self.add(at_ms, cmd.PatchJob(job=event.job, by=by, pool=event.pool))
            case ev.JobEnded():
                self.found.lives[event.job].over = event.cause not in _CUT_SHORT
                if event.cause is Cause.cancelled:
                    self.cancel(event.job, at_ms, event.by)
            case _:
                return False
        return True

    def attempts(self, event: ev.Event) -> bool:
        match event:
            case ev.JobStarted():
                self.ordered[event.job] = event.at_ms
                self.nodes_of[event.job] = (event.node, *(place.node for place in event.ranks))
            case ev.AttemptRunning():
                self.began[event.job] = event.at_ms
                took_ms = event.at_ms - self.ordered.get(event.job, event.at_ms)
                self.launches.append(took_ms)
                self.found.lives[event.job].launch_ms.append(took_ms)
            case ev.JobStopping():
                self.stopping[event.job] = (event.at_ms, event.cause)
                if event.cause is Cause.cancelled:
                    self.cancel(event.job, event.at_ms, event.by)
            case ev.AttemptEnded():
                self.ended(event)
            case ev.JobProgressed():
                began_ms = self.began.get(event.job)
                if began_ms is not None:
                    done_ms = self.carried.get(event.job, 0) + event.at_ms - began_ms
                    self.found.lives[event.job].marks.append((done_ms, event))
            case _:
                return False
        return True

    def cancel(self, job: str, at_ms: int, by: str) -> None:
        """Once: what was stopped for it ends as cancelled later."""
        if job not in self.cancelled:
            self.cancelled[job] = None
            self.add(at_ms, cmd.CancelJob(job=job, by=by))

    def ended(self, event: ev.AttemptEnded) -> None:
        job, life = event.job, self.found.lives[event.job]
        stopped = self.stopping.pop(job, None)
        ordered_ms = self.ordered.pop(job, event.at_ms)
        began_ms = self.began.pop(job, event.started_ms)
        own = event.cause in OWN or (event.cause is Cause.node_lost and not self.lost(event))
        if began_ms is None and own:
            life.launch_ms.append(event.at_ms - ordered_ms)
        # What counts is how long its place was taken: from the first sign of it to the news of its end.
        run_ms = None if began_ms is None else max(0, event.at_ms - began_ms)
        if not own:
            if stopped is not None:
                self.stops.append(event.at_ms - stopped[0])
            if life.resumes:
                self.carried[job] = self.carried.get(job, 0) + (run_ms or 0)
                life.least_ms = self.carried[job]
            else:
                life.least_ms = max(life.least_ms, run_ms or 0)
            return
        whole_ms = None if run_ms is None else run_ms + self.carried.pop(job, 0)
        life.endings.append(Ending(event.cause, whole_ms, event.exit_code, event.signal, event.message, event.result))
        life.least_ms = 0

    def supervisor(self, event: ev.Event) -> None:
        match event:
            case ev.CycleObserved():
                self.found.cycles.append((event.at_ms, None))
                self.found.devices.append((event.at_ms, event.observation.devices))
            case ev.CycleDecided():
                self.found.reports[event.cycle] = event.report
                if self.found.cycles:
                    self.found.cycles[-1] = (self.found.cycles[-1][0], event.at_ms)
            case ev.ProposalJudged() | ev.ProposalChanged():
                self.asked[event.proposal.id] = event.proposal
                self.foreseen(event.proposal)
            case ev.ApprovalAnswered():
                asked = self.asked.get(event.proposal)
                if asked is not None and asked.action is not None:
                    after_ms = event.at_ms - asked.created_ms
                    self.found.answers.append(Answered(asked.action, asked.created_ms, after_ms, event.answer))
            case _ if isinstance(event, _HEALTH):
                self.found.health = True

    def lost(self, event: ev.AttemptEnded) -> bool:
        """Whether a node of it is known to have gone; else it was lost by itself, over a restart of the server."""
        since = [self.down[node] for node in self.nodes_of.get(event.job, ()) if node in self.down]
        self.losses += [event.at_ms - min(since)] if since else []
        return bool(since)

    def foreseen(self, proposal: Proposal) -> None:
        if proposal.impact is not None and not proposal.changed:
            self.found.impacts[proposal.cycle, _key(proposal.action)] = proposal.impact

    def finished(self) -> Outside:
        """Whatever still runs has run at least until now."""
        found = self.found
        for job, began_ms in self.began.items():
            if job in self.ordered:
                life = found.lives[job]
                life.least_ms = self.carried.get(job, 0) + max(0, found.end_ms - began_ms)
        found.launch_ms, found.stop_ms = _median(self.launches), _median(self.stops)
        found.lost_ms = _median(self.losses)
        return found


def outside(before: Facts, events: Sequence[ev.Event]) -> Outside:
    """What came from outside in these events, which follow these facts."""
    reader = _Reader(before)
    for event in events:
        reader.read(event)
    if events:
        reader.found.begin_ms = events[0].at_ms
    return reader.finished()


def _key(action: Action | None) -> bytes:
    return msgspec.json.encode(action, order="deterministic")


def _is_person(by: str) -> bool:
    return by not in _CORE and not is_supervisor(by)


def _info(node: ev.NodeSeen | Node) -> NodeInfo:
    """As its executor reported it."""
    found = {name: getattr(node, name) for name in _REPORTED}
    if isinstance(node, Node):
        return NodeInfo(id=node.id, **{**found, "state": node.reported})
    return NodeInfo(id=node.node, **found)


def _median(values: Sequence[int]) -> int:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0
