"""The cycle: observe -> decide -> guard -> dispatch. One run a tick, no checkpointer, no interrupt, one after another.

State is JSON only, every node is a coroutine function (others hop to threads), and effects are never fanned out: in a
parallel step one failure would cancel its siblings.
"""

from __future__ import annotations

from typing import Any, Protocol, TypedDict

import msgspec
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agentorch.errors import RuntimeStopped
from agentorch.graphs.alarms import Alarms
from agentorch.graphs.deciding import Decider
from agentorch.model.limits import CYCLE_STEPS_MAX
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Proposal, ProposalState, Verdict
from agentorch.tools.steps import Steps
from agentorch.tools.text import describe


class CycleState(TypedDict, total=False):
    """What the nodes hand on; each value is what JSON can say."""

    observation: dict[str, Any]
    report: dict[str, Any]
    verdicts: list[dict[str, Any]]  # the preview, in the order of the report's drafts
    proposals: list[dict[str, Any]]  # as they were after dispatch
    failures: list[str]  # what went wrong without ending the cycle


class CycleResult(msgspec.Struct, frozen=True, kw_only=True):
    """One cycle. `error` is set, and nothing else is sure, when it broke off."""

    observation: Observation | None = None
    report: BrainReport | None = None
    verdicts: tuple[Verdict, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    failures: tuple[str, ...] = ()
    error: str = ""


class Threads(Protocol):
    async def ensure(self, proposal: Proposal) -> None:
        """See that a thread waits for this open proposal's answer."""


class _Cycle:
    """The nodes."""

    def __init__(self, steps: Steps, decider: Decider, threads: Threads, alarms: Alarms) -> None:
        self._steps = steps
        self._decider = decider
        self._threads = threads
        self._alarms = alarms

    async def observe(self, state: CycleState) -> CycleState:
        return {"observation": msgspec.to_builtins(await self._steps.observe()), "failures": []}

    async def decide(self, state: CycleState) -> CycleState:
        observation = msgspec.convert(state["observation"], Observation)
        return {"report": msgspec.to_builtins(await self._decider.decide(observation))}

    async def guard(self, state: CycleState) -> CycleState:
        """A preview for the record. Drafts that can't be previewed are not handed in: unknown is no."""
        report = msgspec.convert(state["report"], BrainReport)
        if not report.drafts:
            return {"verdicts": []}
        try:
            return {"verdicts": msgspec.to_builtins(await self._steps.preview(report.drafts, report.brain))}
        except RuntimeStopped:
            raise
        except Exception as error:  # noqa: BLE001 - a broken preview costs the drafts, not the cycle's record
            failure = f"the preview failed, so the drafts were dropped: {describe(error)}"
        held = msgspec.structs.replace(report, drafts=(), error=failure)
        return {"verdicts": [], "report": msgspec.to_builtins(held), "failures": [failure]}

    async def dispatch(self, state: CycleState) -> CycleState:
        """Hand in, start what is allowed, open a thread for what is asked; one failure doesn't stop the others."""
        cycle = state["observation"]["cycle"]
        handed_in = await self._steps.hand_in(cycle, msgspec.convert(state["report"], BrainReport))
        proposals: list[Proposal] = []
        failures = list(state["failures"])
        for proposal in handed_in:
            try:
                proposals.append(await self._dispatch(proposal))
            except RuntimeStopped:
                raise
            except Exception as error:  # noqa: BLE001 - each proposal stands alone
                proposals.append(proposal)
                failures.append(f"{proposal.id}: {describe(error)}")
                await self._alarms.raise_alert("carry-out-failed", failures[-1])
        return {"proposals": msgspec.to_builtins(proposals), "failures": failures}

    async def _dispatch(self, proposal: Proposal) -> Proposal:
        if proposal.state is ProposalState.allowed:
            proposal = await self._steps.carry_out(proposal.id)
        if proposal.state is ProposalState.open:  # also when the world moved and an allowed one must be asked now
            await self._threads.ensure(proposal)
        return proposal


class CycleGraph:
    """The compiled graph with its limits."""

    def __init__(self, steps: Steps, decider: Decider, threads: Threads, alarms: Alarms) -> None:
        nodes = _Cycle(steps, decider, threads, alarms)
        graph = StateGraph(CycleState)
        graph.add_node("observe", nodes.observe)
        graph.add_node("decide", nodes.decide)
        graph.add_node("guard", nodes.guard)
        graph.add_node("dispatch", nodes.dispatch)
        graph.add_edge(START, "observe")
        graph.add_edge("observe", "decide")
        graph.add_edge("decide", "guard")
        graph.add_edge("guard", "dispatch")
        graph.add_edge("dispatch", END)
        self.compiled: CompiledStateGraph[CycleState, None, CycleState, CycleState] = graph.compile()

    async def run(self) -> CycleResult:
        """One cycle, from observing to dispatching. Raises what the port raises."""
        state = await self.compiled.ainvoke({"failures": []}, {"recursion_limit": CYCLE_STEPS_MAX})
        return msgspec.convert(state, CycleResult)
