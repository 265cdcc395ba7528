"""Supervisor cycles in virtual time: observe, decide, judge, carry out, around anything that takes commands.

A cycle goes the road of a server's, on the same core: the observation is recorded, the brain's report is handed in and
judged, and what guardrails allow is carried out. Nobody answers what they ask, so it expires, which is a no.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from agentorch.core.guardrails import preview
from agentorch.core.policy import RuleBrain
from agentorch.core.state import State
from agentorch.core.twin import foresee
from agentorch.errors import BrainError, Refused
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.brain import Brain, BrainContext
from agentorch.model.observation import DeviceSample, Observation
from agentorch.model.proposals import BrainReport, Draft, Mode, ProposalState, Ruling, Verdict
from agentorch.model.twin import Impact, Outlook
from agentorch.tools.reports import checked_report
from agentorch.tools.text import describe

#: As a server's, `supervisor.cycle_s`.
CYCLE_MS = 5 * limits.SECOND_MS
#: A cycle is left out while nothing has changed since the last one, but never for longer: waits grow, and what was
#: needed must be remembered without a gap before anything may shrink (G2).
QUIET_MS = limits.MINUTE_MS
#: Told to brains; virtual time stands still while they think.
BRAIN_TIMEOUT_S = 30.0

Foresee = Callable[[State, tuple[Draft, ...], int], Outlook]
Runner = Callable[[Coroutine[Any, Any, None]], None]


class Driven(Protocol):
    """What a supervisor can watch and steer: a driver of virtual time."""

    @property
    def state(self) -> State: ...

    @property
    def now_ms(self) -> int: ...

    def take(self, command: cmd.Command) -> Any:
        """Decide a command now, and do what its events order. Raises Refused."""


class Counts(msgspec.Struct):
    """What came of the proposals of a run."""

    actions: int = 0  # carried out
    asked: int = 0  # of a person, and nobody answered
    denied: int = 0


def at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run what waits for nothing outside, without an event loop, also while another one runs. Raises BrainError."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise BrainError("it waits for something outside; such a brain needs a runner with an event loop")


def no_twin(state: State, drafts: tuple[Draft, ...], now_ms: int) -> Outlook:
    """For brains that are to go without."""
    raise Refused("unreachable", "nothing is foreseen here")


def twin(state: State, drafts: tuple[Draft, ...], now_ms: int) -> Outlook:
    """With a server's budget."""
    return foresee(state, drafts, now_ms, steps=min(limits.TWIN_STEPS, limits.TWIN_QUESTION_STEPS // (1 + len(drafts))))


class Supervisor:
    """Holds a brain, and when its next cycle is due.

    `run` runs one cycle; a brain that really waits, for a model say, needs one that has an event loop. `look` gives
    the samples that an observation carries.
    """

    def __init__(
        self,
        brain: Brain | None = None,
        *,
        cycle_ms: int = CYCLE_MS,
        foresee: Foresee = twin,
        run: Runner = at_once,
        look: Callable[[State, int], tuple[DeviceSample, ...]] | None = None,
    ) -> None:
        self.brain: Brain = brain if brain is not None else RuleBrain()
        self.cycle_ms = cycle_ms
        self.foresee = foresee
        self.run = run
        self.look = look or samples
        self.counts = Counts()
        self._seen_ms = 0  # time of the last cycle
        self._seen_seq = -1  # and `world_seq` then
        self._impacts: dict[bytes, Impact] = {}  # that it was told of in this cycle

    def begin(self, at_ms: int) -> None:
        """The first cycle is due then."""
        self._seen_ms = at_ms - self.cycle_ms

    def due_ms(self, driven: Driven) -> int:
        """When the next cycle is due as it looks now. One is left out while nothing has changed since the last."""
        cycles = max(1, -(-(driven.now_ms - self._seen_ms) // self.cycle_ms))
        if driven.state.facts.world_seq == self._seen_seq:
            cycles = max(cycles, QUIET_MS // self.cycle_ms)
        return self._seen_ms + cycles * self.cycle_ms

    def step(self, driven: Driven) -> None:
        """One cycle, now. Raises BrainError when the brain can't be run here."""
        self.run(self.cycle(driven))

    async def cycle(self, driven: Driven) -> None:
        """One cycle now. Never raises because of a brain."""
        await self.conclude(driven, self.observe(driven))

    def observe(self, driven: Driven) -> Observation:
        """Begin a cycle; `conclude` ends it, then or when a brain would have answered."""
        self._seen_ms, self._seen_seq = driven.now_ms, driven.state.facts.world_seq
        seen = driven.take(cmd.Observe(devices=self.look(driven.state, driven.now_ms)))
        assert isinstance(seen, Observation)
        return seen

    async def conclude(self, driven: Driven, seen: Observation) -> None:
        """Ask the brain, hand in what it says, carry out what is allowed. Never raises because of a brain."""
        self._impacts.clear()
        report = await self._decide(driven, seen)
        impacts = self._of_drafts(driven, report.drafts)
        for proposal in driven.take(cmd.HandIn(cycle=seen.cycle, report=report, impacts=impacts)):
            found = proposal
            if found.state is ProposalState.allowed:
                found = driven.take(cmd.CarryOut(proposal=found.id))
            self._count(found.state)

    async def _decide(self, driven: Driven, seen: Observation) -> BrainReport:
        if seen.mode is Mode.paused:
            return BrainReport(brain=self.brain.id, hold="paused: no brain was asked")
        try:
            return checked_report(await self.brain.decide(seen, self._context(driven)), self.brain.id)
        except Exception as error:  # noqa: BLE001 - whatever a brain raises is a held cycle, and recorded
            return BrainReport(brain=self.brain.id, error=describe(error))

    def _context(self, driven: Driven) -> BrainContext:
        async def previewed(drafts: tuple[Draft, ...]) -> list[Verdict]:
            return preview(driven.state, drafts, driven.now_ms, self.brain.id)

        async def foreseen(drafts: tuple[Draft, ...]) -> Outlook:
            return self._foresee(driven, drafts)

        return BrainContext(preview=previewed, foresee=foreseen, timeout_s=BRAIN_TIMEOUT_S)

    def _foresee(self, driven: Driven, drafts: tuple[Draft, ...]) -> Outlook:
        outlook = self.foresee(driven.state, drafts, driven.now_ms)
        self._impacts |= {_key(draft): impact for draft, impact in zip(drafts, outlook.impacts, strict=True)}
        return outlook

    def _of_drafts(self, driven: Driven, drafts: tuple[Draft, ...]) -> tuple[Impact | None, ...]:
        """What was foreseen of drafts that are handed in, by now at the latest; nothing of what is denied anyway."""
        verdicts = preview(driven.state, drafts, driven.now_ms, self.brain.id)
        new = [draft for draft, said in zip(drafts, verdicts, strict=True) if said.ruling is not Ruling.deny]
        new = [draft for draft in new if _key(draft) not in self._impacts]
        if new:
            with suppress(Refused):
                self._foresee(driven, tuple(new))
        return tuple(self._impacts.get(_key(draft)) for draft in drafts)

    def _count(self, state: ProposalState) -> None:
        match state:
            case ProposalState.acting | ProposalState.done | ProposalState.failed:
                self.counts.actions += 1
            case ProposalState.open:
                self.counts.asked += 1
            case ProposalState.denied:
                self.counts.denied += 1


def _key(draft: Draft) -> bytes:
    """The twin is asked about actions, whatever is said of them."""
    return msgspec.json.encode(draft.action, order="deterministic")


def samples(state: State, now_ms: int) -> tuple[DeviceSample, ...]:
    """The simulated machine as a probe would see it now: work keeps busy what it holds, and nothing is unknown."""
    workers = state.facts.workers.values()
    cores = sum(worker.shape.cpu_milli for worker in workers)
    free = sum(worker.free_cpu_milli for worker in workers)
    share = 100.0 * (cores - free) / cores if cores else 0.0
    found = [DeviceSample(id="cpu", kind="cpu", at_ms=now_ms, utilization_percent=share)]
    for worker in workers:
        if len(found) >= limits.OBSERVED_DEVICES_MAX:
            break
        idle = set(worker.free_devices)
        found += (
            DeviceSample(id=device, kind="gpu", at_ms=now_ms, utilization_percent=0.0 if device in idle else 100.0)
            for device in worker.devices
        )
    return tuple(found[: limits.OBSERVED_DEVICES_MAX])
