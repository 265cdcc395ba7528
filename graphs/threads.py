"""Keeps one waiting thread per open proposal, and pushes into it what the ledger says.

Whatever happens to a thread, the answer is in the ledger: a thread that is not exactly waiting is deleted and begun
again, and storage that fails is begun anew. One lock per thread, because two concurrent resumes would act twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from agentorch.errors import RuntimeStopped
from agentorch.graphs.alarms import Alarms
from agentorch.graphs.approval import ApprovalGraph
from agentorch.graphs.checkpoints import Checkpoints
from agentorch.model.proposals import OPEN_STATES, Proposal, ProposalState
from agentorch.tools.steps import Steps
from agentorch.tools.text import describe


class ApprovalThreads:
    """`ensure` and `push` are idempotent, safe to call concurrently, and raise nothing but RuntimeStopped."""

    def __init__(self, steps: Steps, checkpoints: Checkpoints, alarms: Alarms) -> None:
        self._steps = steps
        self._checkpoints = checkpoints
        self._alarms = alarms
        self._graph = ApprovalGraph(steps, checkpoints.saver)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._renewing = asyncio.Lock()
        self._known: set[str] = set()  # threads that this process began or found

    async def open(self) -> None:
        """Open the checkpoints; a file that can't be used is an alert."""
        if trouble := await self._checkpoints.open():
            await self._tell_rebuilt(trouble)
        self._graph = ApprovalGraph(self._steps, self._checkpoints.saver)
        self._known = await self._checkpoints.threads()

    async def close(self) -> None:
        await self._checkpoints.close()

    async def waiting(self) -> set[str]:
        """Ids of the proposals that have a thread."""
        return await self._checkpoints.threads()

    async def ensure(self, proposal: Proposal) -> None:
        """See that a thread waits for this open proposal's answer."""
        async with self._lock(proposal.id):
            await self._keeping(proposal.id, lambda: self._ensure(proposal))

    async def push(self, proposal_id: str) -> None:
        """Bring the thread to where the ledger is: waiting, acted, or gone."""
        async with self._lock(proposal_id):
            try:
                proposal = await self._steps.proposal(proposal_id)
            except RuntimeStopped:
                raise
            except Exception as error:  # noqa: BLE001 - one proposal that can't be read doesn't stop the others
                await self._alarms.raise_alert("thread-failed", f"{proposal_id}: {describe(error)}")
                return
            await self._keeping(proposal_id, lambda: self._push(proposal_id, proposal))

    async def reconcile(self, *, starting: bool = False) -> None:
        """Compare every thread with the ledger: nothing stays answered and not acted on, nothing waits for nobody.

        At the start, what a crash left as acting is carried out again, which is idempotent; later it belongs to the
        runtime. What was only allowed is left to lapse: the next cycle judges afresh. Raises what the port raises
        when it can't list the unsettled.
        """
        unsettled = await self._steps.unsettled()
        for proposal in unsettled:
            if proposal.state is ProposalState.open and proposal.id not in self._known:
                await self.ensure(proposal)
            elif proposal.state is ProposalState.approved:
                await self.push(proposal.id)
            elif proposal.state is ProposalState.acting and starting:
                await self._carry_out_again(proposal.id)
        for orphan in sorted(self._known - {proposal.id for proposal in unsettled}):
            await self.push(orphan)

    async def _carry_out_again(self, proposal_id: str) -> None:
        async with self._lock(proposal_id):
            try:
                await self._steps.carry_out(proposal_id)
            except RuntimeStopped:
                raise
            except Exception as error:  # noqa: BLE001 - the others are carried out all the same
                await self._alarms.raise_alert("carry-out-failed", f"{proposal_id}: {describe(error)}")

    # -- under the thread's lock

    async def _ensure(self, proposal: Proposal) -> str:
        question = await self._graph.waiting_for(proposal.id)
        if question is None:
            await self._forget(proposal.id)
            question = await self._graph.begin(proposal)
        self._known.add(proposal.id)
        return question

    async def _push(self, proposal_id: str, proposal: Proposal | None) -> None:
        if proposal is None or proposal.state is ProposalState.allowed:
            await self._forget(proposal_id)
        elif proposal.state is ProposalState.open:
            await self._ensure(proposal)
        elif proposal.state in OPEN_STATES or proposal_id in self._known:
            await self._answer(proposal)

    async def _answer(self, proposal: Proposal) -> None:
        ended = await self._graph.resume(proposal, await self._ensure(proposal))
        await self._forget(proposal.id)
        if error := ended.get("error"):
            await self._alarms.raise_alert("carry-out-failed", f"{proposal.id}: {error}")
        if ended.get("outcome") == ProposalState.open:
            await self._ensure(proposal)  # the world had moved since the answer: it must be looked at again

    async def _forget(self, proposal_id: str) -> None:
        await self._checkpoints.delete(proposal_id)
        self._known.discard(proposal_id)

    def _lock(self, proposal_id: str) -> asyncio.Lock:
        # Held weakly: a lock lives as long as somebody holds or awaits it.
        return self._locks.setdefault(proposal_id, asyncio.Lock())

    async def _keeping(self, proposal_id: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do `work` on the thread; storage that fails is begun anew, once."""
        graph = self._graph
        try:
            await work()
        except RuntimeStopped:
            raise
        except Exception as error:  # noqa: BLE001 - whatever storage or library raise, the ledger has the truth
            await self._renew(graph, describe(error))
            try:
                await work()
            except RuntimeStopped:
                raise
            except Exception as again:  # noqa: BLE001 - reconciliation comes back to it
                self._known.discard(proposal_id)
                await self._alarms.raise_alert("thread-failed", f"{proposal_id}: {describe(again)}")

    async def _renew(self, failed: ApprovalGraph, why: str) -> None:
        async with self._renewing:
            if self._graph is not failed:
                return  # another thread failed on the same storage and has renewed it
            trouble = await self._checkpoints.renew(why)
            self._graph = ApprovalGraph(self._steps, self._checkpoints.saver)
            self._known = set()
        await self._tell_rebuilt(trouble)

    async def _tell_rebuilt(self, trouble: str) -> None:
        self._alarms.calm("checkpoints-rebuilt")  # each time is news
        await self._alarms.raise_alert("checkpoints-rebuilt", trouble)
