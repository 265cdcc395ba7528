"""Asking a brain, and asking another one when it fails. A brain is not trusted with time, types or cancellation.

A failure is recorded as a report with an error and no drafts: nothing acts. After BRAIN_FAILURES_BEFORE_FALLBACK of
them in a row the fallback decides. Every BRAIN_PROBE_EVERY_CYCLES-th cycle from then on asks the failed brain again;
when that fails, its report is what the ledger gets for that cycle, because the observation may have grown as old as
the time-out by then, and a decision on old facts is worse than none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentorch.errors import BrainError, Refused
from agentorch.graphs.alarms import Alarms
from agentorch.model.brain import Brain, BrainContext
from agentorch.model.limits import (
    BRAIN_FAILURES_BEFORE_FALLBACK,
    BRAIN_FORESIGHTS_PER_CYCLE,
    BRAIN_PREVIEWS_PER_CYCLE,
    BRAIN_PROBE_EVERY_CYCLES,
)
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Draft, Mode, Verdict
from agentorch.model.twin import Outlook
from agentorch.tools.reports import checked_report
from agentorch.tools.steps import Steps
from agentorch.tools.text import describe

CANCEL_GRACE_S = 0.5  # for a brain to close its connections after it was cancelled


class Decider:
    """Holds which brain decides. In memory only: a restart begins with the primary brain, and no harm is done."""

    def __init__(
        self,
        steps: Steps,
        alarms: Alarms,
        brain: Brain,
        fallback: Brain,
        *,
        timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._alarms = alarms
        self._primary = Asker(steps, brain, timeout_s, clock)
        self._fallback = Asker(steps, fallback, timeout_s, clock)
        self._failures = 0
        self._since_probe = 0

    @property
    def fallen_back(self) -> bool:
        return self._failures >= BRAIN_FAILURES_BEFORE_FALLBACK

    async def decide(self, observation: Observation) -> BrainReport:
        """The report to hand in for this cycle. Never raises because of a brain."""
        if observation.mode is Mode.paused:
            return BrainReport(brain=self._primary.id, hold="paused: no brain was asked")
        if self.fallen_back:
            self._since_probe += 1
            if self._since_probe < BRAIN_PROBE_EVERY_CYCLES:
                return await self._decide_instead(observation)
            self._since_probe = 0
        report = await self._primary.ask(observation)
        await (self._note_failure(report.error) if report.error else self._note_success())
        return report

    async def _decide_instead(self, observation: Observation) -> BrainReport:
        report = await self._fallback.ask(observation, instead_of=self._primary.id)
        if report.error:
            await self._alarms.raise_alert("fallback-failed", f"fallback {self._fallback.id}: {report.error}")
        else:
            self._alarms.calm("fallback-failed")
        return report

    async def _note_failure(self, error: str) -> None:
        self._failures += 1
        if self._failures == BRAIN_FAILURES_BEFORE_FALLBACK:
            await self._alarms.raise_alert(
                "brain-fallback",
                f"{self._primary.id} failed {self._failures} times in a row, {self._fallback.id} decides now; {error}",
            )

    async def _note_success(self) -> None:
        if self.fallen_back:
            self._alarms.calm("brain-fallback")
            self._alarms.calm("brain-back")
            await self._alarms.raise_alert("brain-back", f"{self._primary.id} answers again and decides from now on")
        self._failures = 0
        self._since_probe = 0

    def close(self) -> None:
        """Cancel calls that are still running; one that swallows it is left behind."""
        self._primary.close()
        self._fallback.close()


class Asker:
    """Asks one brain, each call in a task of its own, at most one at a time."""

    def __init__(self, steps: Steps, brain: Brain, timeout_s: float, clock: Callable[[], float]) -> None:
        self.id = brain.id
        self._steps = steps
        self._brain = brain
        self._timeout_s = timeout_s
        self._clock = clock
        self._call: asyncio.Task[object] | None = None

    async def ask(self, observation: Observation, instead_of: str = "") -> BrainReport:
        """Its checked report, or a report of what went wrong, after at most the time-out and a short grace."""
        started_s = self._clock()
        try:
            report = checked_report(await self._answer(observation), self.id)
        except Exception as error:  # noqa: BLE001 - whatever a brain raises is a held cycle, and recorded
            report = BrainReport(brain=self.id, error=describe(error))
        took_ms = max(0, round((self._clock() - started_s) * 1000))
        return BrainReport(
            brain=report.brain,
            drafts=report.drafts,
            hold=report.hold,
            error=report.error,
            fallback_from=instead_of,
            exchanges=report.exchanges,
            took_ms=took_ms,
        )

    async def _answer(self, observation: Observation) -> object:
        if self._call is not None and not self._call.done():
            raise BrainError(f"brain {self.id} still runs its call of an earlier cycle; it was cancelled and goes on")
        gate = _Gate(self._steps, self.id)
        context = BrainContext(preview=gate.preview, foresee=gate.foresee, timeout_s=self._timeout_s)
        call = self._call = asyncio.create_task(_decide(self._brain, observation, context), name=f"brain {self.id}")
        call.add_done_callback(_retrieve)
        try:
            # Waiting, unlike awaiting under a time-out, comes back also from a call that swallows its cancellation.
            await asyncio.wait({call}, timeout=self._timeout_s)
        finally:
            gate.close()
            call.cancel()
        if not call.done():
            await asyncio.wait({call}, timeout=min(CANCEL_GRACE_S, self._timeout_s))
            raise BrainError(f"brain {self.id} did not answer within {self._timeout_s:g} s")
        if call.cancelled():
            raise BrainError(f"brain {self.id} cancelled itself")
        if (failure := call.exception()) is not None:
            raise BrainError(describe(failure)) from failure
        return call.result()

    def close(self) -> None:
        if self._call is not None:
            self._call.cancel()


async def _decide(brain: Brain, observation: Observation, context: BrainContext) -> object:
    try:
        return await brain.decide(observation, context)
    except (SystemExit, GeneratorExit) as error:
        # A task that ends with SystemExit takes the whole event loop with it; a brain has no say in that.
        raise BrainError(describe(error)) from error


def _retrieve(call: asyncio.Task[object]) -> None:
    # A call that ends after nobody waits any more must not be reported as an exception that was never looked at.
    if not call.cancelled():
        call.exception()


class _Gate:
    """What one call of one brain may ask: bounded, and shut once the brain had its time."""

    def __init__(self, steps: Steps, brain: str) -> None:
        self._steps = steps
        self._brain = brain
        self._previews = BRAIN_PREVIEWS_PER_CYCLE
        self._questions = BRAIN_FORESIGHTS_PER_CYCLE
        self._shut = False

    async def preview(self, drafts: tuple[Draft, ...]) -> list[Verdict]:
        """Raises Refused when the cycle is over or its previews are used up, BrainError for unfit drafts."""
        self._check()
        if self._previews <= 0:
            raise Refused("overloaded", f"more than {BRAIN_PREVIEWS_PER_CYCLE} previews in one cycle")
        self._previews -= 1
        return await self._steps.preview(drafts, self._brain)

    async def foresee(self, drafts: tuple[Draft, ...]) -> Outlook:
        """Raises as `preview` does."""
        self._check()
        if self._questions <= 0:
            raise Refused("overloaded", f"more than {BRAIN_FORESIGHTS_PER_CYCLE} questions to the twin in one cycle")
        self._questions -= 1
        return await self._steps.foresee(drafts)

    def _check(self) -> None:
        if self._shut:
            raise Refused("conflict", "this cycle is decided; nothing more is answered")

    def close(self) -> None:
        self._shut = True
