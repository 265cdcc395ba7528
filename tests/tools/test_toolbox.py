"""Tool calls as models really send them: whatever comes, the answer is an answer and nothing acts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from agentorch.errors import Refused
from agentorch.model.brain import BrainContext
from agentorch.model.limits import EVIDENCE_MAX, NAME_MAX_CHARS, PROPOSALS_PER_CYCLE, REASON_MAX_CHARS
from agentorch.model.observation import JobFacts, Observation
from agentorch.model.proposals import Action, Draft, Mode, Note, Ruling, Verdict
from agentorch.model.twin import Course, Impact, Outlook
from agentorch.tools.toolbox import ToolAnswer, Toolbox

SCALE = {"pool": "gpu", "workers": 3, "reason": "p95 wait is 90 s"}
QUEUED = tuple(JobFacts(id=f"j{n}", name="n", tenant="t", tier="batch", state="queued", priority=0) for n in range(50))
SEEN = Observation(cycle=1, seq=1, at_ms=0, mode=Mode.guarded, queued=QUEUED, open_targets=("pool:gpu",))


async def preview(drafts: tuple[Draft, ...]) -> list[Verdict]:
    if any(draft.action.get("pool") == "gone" for draft in drafts):
        raise Refused("conflict", "this cycle is decided")
    return [Verdict(ruling=Ruling.allow, notes=(Note(rule="G1", ruling=Ruling.allow, text="ok"),)) for _ in drafts]


async def foresee(drafts: tuple[Draft, ...]) -> Outlook:
    return Outlook(horizon_s=60.0, idle=Course(), impacts=tuple(Impact(horizon_s=60.0) for _ in drafts))


def toolbox() -> Toolbox:
    return Toolbox(SEEN, BrainContext(preview=preview, foresee=foresee, timeout_s=1.0))


def call(box: Toolbox, name: object, arguments: object) -> ToolAnswer:
    return asyncio.run(box.call(name, arguments))


VALID: dict[str, dict[str, Any]] = {
    "propose_scale": {"pool": "gpu", "workers": 3},
    "propose_reschedule": {"job": "j1", "change": "priority", "priority": 50},
    "propose_reroute": {"pool": "gpu", "tier": "batch", "at_most": 5},
    "propose_cordon": {"worker": "w1"},
    "propose_uncordon": {"worker": "w1"},
    "propose_alert": {"text": "look at pool gpu"},
}


@pytest.mark.parametrize("name", sorted(VALID))
@pytest.mark.parametrize("as_text", [False, True])
def test_each_proposal_tool_drafts_a_real_action(name: str, as_text: bool) -> None:
    box = toolbox()
    arguments = {**VALID[name], "reason": "why", "evidence": ["e"], "alternatives": ["hold"]}
    assert call(box, name, json.dumps(arguments) if as_text else arguments).ok
    (draft,) = box.drafts
    action = msgspec.convert(draft.action, Action)
    assert type(action).__name__.lower() == name.removeprefix("propose_")
    assert {**VALID[name]}.items() <= msgspec.to_builtins(draft.action).items()
    assert (draft.reason, draft.evidence, draft.alternatives) == ("why", ("e",), ("hold",))


WRONG: dict[str, tuple[object, object]] = {
    "an unknown tool": ("rm_rf", {}),
    "no name": (None, {}),
    "a name that is a list": (["propose_scale"], SCALE),
    "approve": ("approve", {"proposal": "p1"}),
    "carry out": ("carry_out", {"proposal": "p1"}),
    "set mode": ("set_mode", {"mode": "guarded"}),
    "half a JSON": ("propose_scale", '{"pool": "gpu", "workers": 3'),
    "no JSON": ("propose_scale", "scale it"),
    "empty text": ("propose_scale", ""),
    "null": ("propose_scale", "null"),
    "nothing": ("propose_scale", None),
    "a list": ("propose_scale", "[1]"),
    "a string": ("propose_scale", '"gpu"'),
    "NaN": ("propose_scale", '{"pool":"gpu","workers":NaN,"reason":"r"}'),
    "a number as text": ("propose_scale", {**SCALE, "workers": "3"}),
    "a float": ("propose_scale", {**SCALE, "workers": 3.0}),
    "a boolean": ("propose_scale", {**SCALE, "workers": True}),
    "a negative number": ("propose_scale", {**SCALE, "workers": -1}),
    "a huge number": ("propose_scale", {**SCALE, "workers": 10**30}),
    "another kind": ("propose_scale", {**SCALE, "kind": "cordon"}),
    "an extra field": ("propose_scale", {**SCALE, "approved": True}),
    "a missing field": ("propose_scale", {"pool": "gpu"}),
    "an empty name": ("propose_scale", {**SCALE, "pool": ""}),
    "a long name": ("propose_scale", {**SCALE, "pool": "x" * (NAME_MAX_CHARS + 1)}),
    "too much evidence": ("propose_scale", {**SCALE, "evidence": ["e"] * (EVIDENCE_MAX + 1)}),
    "an unknown change": ("propose_reschedule", {"job": "j", "change": "delete", "reason": "r"}),
    "surrogates in JSON text": ("propose_scale", '{"pool":"\ud800"}'),
    "an unknown section": ("read_observation", {"section": "keys"}),
    "a refused preview": ("preview", {"actions": [{"kind": "scale", "pool": "gone"}]}),
    "no actions to preview": ("preview", {"actions": []}),
    "a deep preview": ("preview", '{"actions": ' + "[" * 10_000 + "]" * 10_000 + "}"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_call_that_is_not_understood_says_so_and_drafts_nothing(case: str) -> None:
    box = toolbox()
    answer = call(box, *WRONG[case])
    assert not answer.ok
    assert json.loads(answer.content)["error"]
    assert (box.drafts, box.hold) == ((), "")


def test_text_is_cleaned_on_its_way_in() -> None:
    box = toolbox()
    assert call(box, "propose_alert", {"text": "a\x1b[2J\ud800", "reason": "x" * 10_000, "evidence": ["\x00"]}).ok
    (draft,) = box.drafts
    assert draft.action["text"] == "a\ufffd[2J\ufffd"
    assert len(draft.reason) == REASON_MAX_CHARS
    assert draft.evidence == ("\ufffd",)


def test_five_hundred_calls_are_sixteen_proposals() -> None:
    box = toolbox()
    answers = [call(box, "propose_scale", SCALE).ok for _ in range(500)]
    assert answers == [True] * PROPOSALS_PER_CYCLE + [False] * (500 - PROPOSALS_PER_CYCLE)
    assert len(box.drafts) == PROPOSALS_PER_CYCLE


def test_reading_is_free_and_drafts_nothing() -> None:
    box = toolbox()
    rows = json.loads(call(box, "read_observation", {"section": "queued", "at_most": 2}).content)
    assert ([row["id"] for row in rows["rows"]], rows["of"]) == (["j0", "j1"], 50)
    targets = json.loads(call(box, "list_unsettled", {}).content)
    assert targets == {"open_targets": ["pool:gpu"], "recent_targets": []}
    verdicts = json.loads(call(box, "preview", {"actions": [{"kind": "scale", "pool": "gpu", "workers": 3}]}).content)
    assert [verdict["ruling"] for verdict in verdicts] == ["allow"]
    assert box.drafts == ()


def test_holding_is_said_with_its_reason() -> None:
    box = toolbox()
    assert call(box, "hold", {"reason": "nothing waits"}).ok
    assert (box.hold, box.drafts) == ("nothing waits", ())
