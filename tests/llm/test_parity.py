"""A model that says what the rules say gets the same proposals: the road through tools loses and adds nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from agentorch.core.guardrails.drafts import read_action
from agentorch.core.policy import RuleBrain
from agentorch.graphs.llm.brain import llm_brain
from agentorch.model.brain import BrainContext
from agentorch.model.proposals import BrainReport, Draft
from agentorch.runtime.port import RuntimePort
from tests.inference.world import World
from tests.llm.asking import settings
from tests.llm.server import Answer, answering, call, says

CYCLES = 40


def spoken(report: BrainReport) -> list[dict[str, Any]]:
    """The rules' report as tool calls."""
    if not report.drafts:
        return [call("hold", {"reason": report.hold})]
    calls = []
    for at, draft in enumerate(report.drafts):
        action = msgspec.to_builtins(draft.action)
        said = {"reason": draft.reason, "evidence": list(draft.evidence), "alternatives": list(draft.alternatives)}
        calls.append(call(f"propose_{action.pop('kind')}", {**action, **said}, f"call-{at}"))
    return calls


def plain(draft: Draft) -> tuple[Any, ...]:
    action, why = read_action(draft)
    return action, why, draft.reason, draft.evidence, draft.alternatives


def test_the_rules_through_tools_are_the_rules() -> None:
    world, rules, spoken_now = World(7), RuleBrain(), [says()]

    def answer(request: dict[str, Any]) -> Answer:
        return says(content="done") if len(request["messages"]) > 2 else spoken_now[0]

    async def scenario() -> int:
        proposed = 0
        async with world.runtime() as runtime, answering(answer) as server:
            port = RuntimePort(runtime)
            context = BrainContext(preview=port.preview, foresee=port.foresee, timeout_s=30.0)
            brain = llm_brain(settings(server))
            for _ in range(CYCLES):
                await world.step(runtime)
                seen = await port.observe()
                meant = await rules.decide(seen, context)
                spoken_now[0] = says(*spoken(meant))
                said = await brain.decide(seen, context)
                assert said.error == ""
                assert list(map(plain, said.drafts)) == list(map(plain, meant.drafts))
                assert said.hold == meant.hold
                await port.hand_in(seen.cycle, said)
                proposed += len(said.drafts)
        return proposed

    assert asyncio.run(scenario()) > 0
