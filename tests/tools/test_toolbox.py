"""Tool calls as models really send them: whatever comes, the answer is an answer and nothing acts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from agentorch.core.policy import decide
from agentorch.errors import Refused
from agentorch.model.brain import BrainContext
from agentorch.model.limits import (
    BRAIN_FORESIGHTS_PER_CYCLE,
    EVIDENCE_MAX,
    NAME_MAX_CHARS,
    PROPOSALS_PER_CYCLE,
    REASON_MAX_CHARS,
    TWIN_CANDIDATES_MAX,
)
from agentorch.model.observation import JobFacts, Observation, PoolFacts, TenantFacts, WorkerFacts
from agentorch.model.proposals import Action, Draft, Mode, Note, Ruling, Verdict
from agentorch.model.twin import Course, Impact, Outlook, Range, Waits
from agentorch.tools.toolbox import ToolAnswer, Toolbox

SCALE = {"pool": "gpu", "workers": 3, "reason": "p95 wait is 90 s"}
QUEUED = tuple(JobFacts(id=f"j{n}", name="n", tenant="t", tier="batch", state="queued", priority=0) for n in range(50))
SEEN = Observation(cycle=1, seq=1, at_ms=0, mode=Mode.guarded, queued=QUEUED, open_targets=("pool:gpu",))

PLOT = tuple(float(step) for step in range(500))
IDLE = Course(
    wait_p95_s=Range(1.23456, 300.4, 7000.0),
    queued=Range(1, 2, 3),
    ended=Range(5, 5, 5),
    queue=PLOT,
    pool_waited_s={"gpu": PLOT},
    waits=(Waits("gpu", "batch", Range(0, 1, 2), Range(0, 1, 2)),) * 100,
)
CHANGED = {
    "wait_p95_s": Range(-2000.4, -100.04, -0.23456),
    "queued": Range(0, 0, 0),
    "cost_usd_micros": Range(0, 1500000, 2000000),
}


async def preview(drafts: tuple[Draft, ...]) -> list[Verdict]:
    if any(draft.action.get("pool") == "gone" for draft in drafts):
        raise Refused("conflict", "this cycle is decided")
    return [Verdict(ruling=Ruling.allow, notes=(Note(rule="G1", ruling=Ruling.allow, text="ok"),)) for _ in drafts]


async def foresee(drafts: tuple[Draft, ...]) -> Outlook:
    if any(draft.action.get("pool") == "gone" for draft in drafts):
        raise Refused("unreachable", "there is no twin")
    return Outlook(horizon_s=1800.0, idle=IDLE, draws=24, impacts=tuple(map(impact, drafts)))


def impact(draft: Draft) -> Impact:
    if draft.action["kind"] != "scale":
        return Impact(text="the job is gone")
    gain = Range(12.3456, 1234.56, 98765.4)
    return Impact(horizon_s=1800.0, draws=24, idle=IDLE, acted=IDLE, gain_s=gain, changed=CHANGED)


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
    "no actions to foresee": ("foresee", {"actions": []}),
    "too much to foresee": ("foresee", {"actions": [{"kind": "alert"}] * (TWIN_CANDIDATES_MAX + 1)}),
    "a refused foresight": ("foresee", {"actions": [{"kind": "scale", "pool": "gone"}]}),
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


def test_what_the_twin_foresees_is_told_in_few_numbers() -> None:
    box = toolbox()
    actions = [{"kind": "scale", "pool": "gpu", "workers": 3}] * (TWIN_CANDIDATES_MAX - 1) + [{"kind": "reschedule"}]
    answer = call(box, "foresee", json.dumps({"actions": actions}))
    assert answer.ok
    assert len(answer.content) < 10_000
    told = json.loads(answer.content)
    assert (told["horizon_s"], told["draws"]) == (1800, 24)
    assert told["do_nothing"] == {"wait_p95_s": [1.23, 300, 7000], "queued": [1, 2, 3], "ended": [5, 5, 5]}
    assert told["actions"][0] == {
        "gain_s": [12.3, 1230, 98800],
        "changes": {"wait_p95_s": [-2000, -100, -0.235], "cost_usd_micros": [0, 1500000, 2000000]},
    }
    assert told["actions"][-1] == {"unknown": "the job is gone"}
    assert box.drafts == ()


def test_questions_to_the_twin_are_bounded() -> None:
    box = toolbox()
    ask = {"actions": [{"kind": "scale", "pool": "gpu", "workers": 3}]}
    answers = [call(box, "foresee", ask) for _ in range(BRAIN_FORESIGHTS_PER_CYCLE + 1)]
    assert [answer.ok for answer in answers] == [True] * BRAIN_FORESIGHTS_PER_CYCLE + [False]
    assert "at most 8 questions" in answers[-1].content


def test_whatever_the_rule_brain_wants_can_be_said_by_calling_tools() -> None:
    """A chat model around the rules: what comes out of the tools is what the rules said."""
    full = PoolFacts(
        name="gpu",
        workers=2,
        available=2,
        busy=2,
        idle=0,
        target=2,
        min_workers=0,
        max_workers=8,
        price_usd_micros_per_hour=0,
        queued=9,
        need=9,
        oldest_wait_s=99.0,
    )
    late = JobFacts(id="j", name="n", tenant="t", tier="batch", state="queued", priority=0, deadline_in_s=9.0)
    sick = tuple(WorkerFacts(id=name, pool="gpu", state="up", failures=failed) for name, failed in (("a", 3), ("b", 0)))
    tenant = TenantFacts(name="t", hard_cap_usd_micros=1, spent_usd_micros=1, queued=1)
    seen = Observation(
        cycle=1, seq=1, at_ms=0, mode=Mode.guarded, pools=(full,), queued=(late,), workers=sick, tenants=(tenant,)
    )
    wanted = decide(seen).drafts
    assert [draft.action["kind"] for draft in wanted] == ["cordon", "scale", "reschedule", "alert"]
    box = toolbox()
    for draft in wanted:
        fields = {name: value for name, value in draft.action.items() if name != "kind"}
        said = {"reason": draft.reason, "evidence": draft.evidence, "alternatives": draft.alternatives}
        assert call(box, f"propose_{draft.action['kind']}", json.dumps(fields | said)).ok
    assert box.drafts == wanted
