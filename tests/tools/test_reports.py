"""A report that passes can always be recorded; one that can't is refused with a reason."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentorch.errors import BrainError
from agentorch.model.limits import EVIDENCE_MAX, PROPOSALS_PER_CYCLE, REASON_MAX_CHARS
from agentorch.model.proposals import BrainReport, Draft, Exchange, Scale
from agentorch.tools.reports import checked_drafts, checked_report

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters()) | st.binary()
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.lists(inside) | st.dictionaries(st.text(alphabet=st.characters()) | st.integers(), inside),
    max_leaves=20,
)


@given(VALUES, st.text(alphabet=st.characters()), st.lists(VALUES, max_size=3))
def test_whatever_passes_can_be_recorded_and_read_back(action: Any, reason: str, evidence: list[Any]) -> None:
    raw = BrainReport(brain="liar", drafts=(Draft(action=action, reason=reason, evidence=tuple(evidence)),))
    try:
        report = checked_report(raw, "mine")
    except BrainError:
        return
    encoded = msgspec.json.encode(report)
    assert msgspec.json.decode(encoded, type=BrainReport) == report
    assert report.brain == "mine"


def test_plain_json_passes_unchanged() -> None:
    action = {"kind": "scale", "pool": "gpu", "workers": 3, "extra": [1.5, True, None, {"a": "b"}]}
    draft = Draft(action=action, reason="long wait", evidence=("p95 90 s",), alternatives=("hold",))
    assert checked_drafts((draft,), 1) == (draft,)


def test_a_typed_action_becomes_json() -> None:
    assert checked_drafts((Draft(action=Scale(pool="gpu", workers=3)),), 1)[0].action == {
        "kind": "scale",
        "pool": "gpu",
        "workers": 3,
    }


def test_words_are_clipped_but_too_many_of_them_are_refused() -> None:
    draft = Draft(action={}, reason="x" * (REASON_MAX_CHARS + 1), evidence=("y",) * (EVIDENCE_MAX + 1))
    (checked,) = checked_drafts((draft,), 1)
    assert (len(checked.reason), len(checked.evidence)) == (REASON_MAX_CHARS, EVIDENCE_MAX)
    with pytest.raises(BrainError, match="characters of text"):
        checked_drafts((draft,) * 200, 200)


def test_the_number_of_drafts_is_limited_exactly() -> None:
    drafts = (Draft(action={}),) * PROPOSALS_PER_CYCLE
    assert len(checked_report(BrainReport(brain="b", drafts=drafts), "b").drafts) == PROPOSALS_PER_CYCLE
    with pytest.raises(BrainError, match=f"at most {PROPOSALS_PER_CYCLE}"):
        checked_report(BrainReport(brain="b", drafts=(*drafts, Draft(action={}))), "b")


@pytest.mark.parametrize(
    "action",
    [float("nan"), 2**63, {1: 2}, {"a": object()}, b"", [[[[[[[[[[1]]]]]]]]]], [0] * 1_000],
    ids=["nan", "big", "key", "object", "bytes", "deep", "wide"],
)
def test_what_json_cannot_say_or_nobody_can_read_is_refused(action: Any) -> None:
    with pytest.raises(BrainError):
        checked_drafts((Draft(action=action),), 1)


def test_an_exchange_is_kept_whole() -> None:
    said = Exchange(model="m", request='{"text": "\\u001b[2J"}', response="\x1b[2J\n", tokens_in=1, took_ms=2)
    assert checked_report(BrainReport(brain="b", exchanges=(said,)), "b").exchanges == (said,)
