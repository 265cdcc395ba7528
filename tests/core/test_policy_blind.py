"""The rule brain when the twin does not answer: its own numbers decide, and it says so."""

from __future__ import annotations

from agentorch.model.twin import Impact
from tests.core.test_policy import BUSY, pool, seen
from tests.core.test_policy_twin import Told, actions, blind, by_size, saving


def test_without_the_twin_the_numbers_alone_decide_and_the_draft_says_so() -> None:
    (draft,) = blind(seen(pool(**BUSY))).drafts
    assert draft.action == {"kind": "scale", "pool": "cpu", "workers": 6}
    assert draft.evidence[-1] == "not foreseen: there is no twin"
    assert draft.alternatives == ("do nothing: the oldest job has waited 95 s", "scale cpu to 5")
    assert actions(blind(seen(pool()))) == [{"kind": "scale", "pool": "cpu", "workers": 3}]


def test_an_answer_without_numbers_is_no_answer() -> None:
    nothing = Impact(text="no run time is known", stopped_early=True)
    (draft,) = Told(lambda _: nothing).decide(seen(pool(**BUSY))).drafts
    assert (draft.action["workers"], draft.evidence[-1]) == (6, "not foreseen: no run time is known")
    some = Told(by_size({5: saving(500, 900, 1200)}, nothing))
    assert actions(some.decide(seen(pool(**BUSY))))[0]["workers"] == 5, "of those with numbers"
