"""The twin beside the loop: the state is forked at once, and run ahead in slices that keep nobody waiting."""

from __future__ import annotations

import asyncio

import msgspec

from agentorch.core.canonical import canonical
from agentorch.core.guardrails import preview
from agentorch.core.guardrails.drafts import read_action
from agentorch.core.twin import compare
from agentorch.errors import RuntimeStopped
from agentorch.model import commands as cmd
from agentorch.model import limits
from agentorch.model.proposals import BrainReport, Draft, ProposalState, Ruling
from agentorch.model.twin import OUTDATED, Impact, Outlook
from agentorch.runtime.loop import Loop


class Foresight:
    """Answers one question after another. An answer is kept for the drafts of the cycle that it was asked in."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._one_at_a_time = asyncio.Lock()
        self._cycle = 0
        self._known: dict[bytes, Impact] = {}
        self._failed = False

    async def foresee(self, drafts: tuple[Draft, ...]) -> Outlook:
        """What the twin foresees of each draft from now on."""
        async with self._one_at_a_time:
            cycle = self._begin_cycle()
            outlook = await self._run(drafts)
        if self._begin_cycle() == cycle:  # else it is of a state that nobody asks about any more
            self._known |= {_key(draft): impact for draft, impact in zip(drafts, outlook.impacts, strict=True)}
        return outlook

    async def impacts(self, report: BrainReport) -> tuple[Impact | None, ...]:
        """Of drafts that are handed in: as they were foreseen in this cycle, else foreseen now. None of one that is
        denied anyway, and of all when the twin fails: that keeps no proposal from being made, and is told once.
        """
        if report.error or not report.drafts:
            return ()
        try:
            return await self._impacts(report.brain, report.drafts[: limits.PROPOSALS_PER_CYCLE])
        except RuntimeStopped:
            raise
        except Exception as error:  # noqa: BLE001 - without an impact a proposal is poorer, and still a proposal
            await self._tell(error)
            return ()

    async def _impacts(self, brain: str, drafts: tuple[Draft, ...]) -> tuple[Impact | None, ...]:
        self._begin_cycle()
        verdicts = preview(self._loop.state, drafts, self._loop.now_ms(), brain)
        new = [
            draft
            for draft, verdict in zip(drafts, verdicts, strict=True)
            if verdict.ruling is not Ruling.deny and _key(draft) not in self._known
        ]
        if new:
            await self.foresee(tuple(new))
        self._failed = False
        return tuple(self._known.get(_key(draft)) for draft in drafts)

    async def _tell(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            text = f"proposals have no computed impact: {type(error).__name__}: {error}"
            await self._loop.ask(cmd.RaiseAlert(code="twin-failed", text=text, by="twin"))

    async def renew(self) -> None:
        """Compute again what is out of date of the questions that people have before them."""
        facts = self._loop.state.facts
        asked = [facts.proposals[name] for name in facts.unsettled]
        old = [one for one in asked if one.state is ProposalState.open and one.impact and one.impact.text == OUTDATED]
        old = old[: limits.TWIN_CANDIDATES_MAX]
        if not old:
            return
        hashes = [(one.id, one.hash) for one in old]
        try:
            async with self._one_at_a_time:
                outlook = await self._run(tuple(Draft(action=one.action) for one in old))
        except RuntimeStopped:
            raise
        except Exception as error:  # noqa: BLE001 - what is old stays marked as old
            await self._tell(error)
            return
        commands = [
            cmd.RenewImpact(proposal=name, hash=mark, impact=impact)
            for (name, mark), impact in zip(hashes, outlook.impacts, strict=True)
        ]
        await self._loop.ask_all(commands)

    async def _run(self, drafts: tuple[Draft, ...]) -> Outlook:
        loop = self._loop
        steps = min(limits.TWIN_STEPS, limits.TWIN_QUESTION_STEPS // (1 + len(drafts)))
        answer = compare(loop.state, drafts, loop.now_ms(), steps=steps)
        while True:
            try:
                next(answer)
            except StopIteration as done:
                outlook = done.value
                assert isinstance(outlook, Outlook)
                return outlook
            # After so many steps, not after some time: a simulated runtime must take the same turns each time.
            await asyncio.sleep(0)
            if loop.failure is not None:
                raise RuntimeStopped("the runtime has stopped; nothing is foreseen") from loop.failure

    def _begin_cycle(self) -> int:
        """The present cycle. What was asked in another is forgotten."""
        cycle = self._loop.state.facts.cycle
        if cycle != self._cycle:
            self._cycle = cycle
            self._known.clear()
        return cycle


def _key(draft: Draft) -> bytes:
    """Drafts of the same action are the same to the twin, and so are all that are no action."""
    action, _ = read_action(draft)
    return b"" if action is None else msgspec.json.encode(canonical(action))
