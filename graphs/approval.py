"""The approval graph: approve -> act, one thread per open proposal, `thread_id` = proposal id.

`approve` holds nothing but the interrupt, because a node that interrupts runs again from its beginning. Resuming says
what the ledger says already; the port judges again and acts at most once, so that a second resume has no effect.
"""

from __future__ import annotations

from typing import TypedDict, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, interrupt

from agentorch.graphs.checkpoints import thread_config
from agentorch.model.limits import CYCLE_STEPS_MAX
from agentorch.model.proposals import Proposal, ProposalState
from agentorch.tools.steps import Steps
from agentorch.tools.text import describe


class ApprovalState(TypedDict, total=False):
    """What a thread keeps: whom it waits for, what the ledger said, what came of it. JSON only."""

    proposal: str
    title: str
    answered: str  # the proposal's state in the ledger when the thread was resumed
    outcome: str  # its state after acting; open again, when the world moved since the answer
    error: str  # why acting failed


class ApprovalGraph:
    """The compiled graph on one saver."""

    def __init__(self, steps: Steps, saver: BaseCheckpointSaver[str]) -> None:
        self._steps = steps
        graph = StateGraph(ApprovalState)
        graph.add_node("approve", _approve)
        graph.add_node("act", self._act)
        graph.add_edge(START, "approve")
        graph.add_conditional_edges("approve", _after_answer, {"act": "act", END: END})
        graph.add_edge("act", END)
        self._compiled: CompiledStateGraph[ApprovalState, None, ApprovalState, ApprovalState] = graph.compile(
            checkpointer=saver
        )

    async def _act(self, state: ApprovalState) -> ApprovalState:
        # A node that raises would leave its thread between two nodes; what went wrong is a value here.
        try:
            return {"outcome": (await self._steps.carry_out(state["proposal"])).state.value}
        except Exception as error:  # noqa: BLE001 - the caller reports it, and the ledger keeps the answer
            return {"error": describe(error)}

    async def waiting_for(self, proposal: str) -> str | None:
        """The id of the one interrupt that this thread waits at; None when there is no such thread."""
        snapshot = await self._compiled.aget_state(thread_config(proposal, CYCLE_STEPS_MAX))
        # Anything but exactly one question (a renamed node, a thread that broke off) is no thread to build on.
        return snapshot.interrupts[0].id if len(snapshot.interrupts) == 1 else None

    async def begin(self, proposal: Proposal) -> str:
        """Start the thread; returns the id of its interrupt when it waits."""
        begun = await self._compiled.ainvoke(
            {"proposal": proposal.id, "title": proposal.title},
            thread_config(proposal.id, CYCLE_STEPS_MAX),
            durability="exit",
        )
        return str(begun["__interrupt__"][0].id)

    async def resume(self, proposal: Proposal, question: str) -> ApprovalState:
        """Hand the ledger's answer to the thread; returns when it has run to its end."""
        answer = {"state": proposal.state.value}
        ended = await self._compiled.ainvoke(
            Command(resume={question: answer}), thread_config(proposal.id, CYCLE_STEPS_MAX), durability="exit"
        )
        return cast(ApprovalState, ended)


async def _approve(state: ApprovalState) -> ApprovalState:
    return {"answered": interrupt({"proposal": state["proposal"], "title": state.get("title", "")})["state"]}


async def _after_answer(state: ApprovalState) -> str:
    return "act" if state["answered"] in (ProposalState.approved, ProposalState.acting) else END
