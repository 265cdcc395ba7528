"""`agentorch what-if`: the twin's answer in words and as JSON; nothing is proposed by asking."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentorch.cli.impacts import impact_line, score_lines
from agentorch.cli.what_if import action_of
from agentorch.errors import ConfigError
from agentorch.schemas.twin import ImpactDocument, ScoreDocument
from tests.api.live import Live
from tests.cli.shell import agentorch


def test_what_if_is_answered_in_words_and_as_json(server: Live) -> None:
    done = agentorch("what-if", "scale", "cpu", "4", url=server.url)
    assert done.returncode == 0, done.stderr
    assert "misses" in done.stdout and "8 OF 10 FUTURES" in done.stdout
    assert "nothing was proposed" in done.stderr and "guardrails: " in done.stderr
    found = json.loads(agentorch("what-if", "scale", "cpu", "4", "-o", "json", url=server.url).stdout)
    assert found["action"] == {"kind": "scale", "pool": "cpu", "workers": 4}
    assert found["impact"]["changes"]
    assert json.loads(agentorch("approvals", "--all-states", "-o", "json", url=server.url).stdout) == []


def test_what_can_not_be_done_says_why(server: Live) -> None:
    done = agentorch("what-if", "preempt", "job-999999", url=server.url)
    assert "job-999999" in done.stderr
    assert "guardrails: deny" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("typed", "action"),
    [
        (("scale", "gpu", "6"), {"kind": "scale", "pool": "gpu", "workers": 6}),
        (("cordon", "gpu-1", ""), {"kind": "cordon", "worker": "gpu-1"}),
        (("reroute", "job-1", "cpu"), {"kind": "reroute", "job": "job-1", "pool": "cpu"}),
        (("priority", "job-1", "9"), {"kind": "reschedule", "job": "job-1", "change": "priority", "priority": 9}),
        (("preempt", "job-1", ""), {"kind": "reschedule", "job": "job-1", "change": "preempt"}),
    ],
)
def test_words_become_an_action(typed: tuple[str, str, str], action: dict[str, Any]) -> None:
    assert action_of(*typed) == action


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        (("scale", "gpu", ""), "say the number of workers after it"),
        (("scale", "gpu", "many"), "expected a whole number, not 'many'"),
        (("cordon", "gpu-1", "3"), "takes nothing after the target"),
    ],
)
def test_mistakes_are_named(typed: tuple[str, str, str], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        action_of(*typed)


def test_impacts_and_scores_in_words() -> None:
    courses = {
        "idle": {"wait_p95_s": {"low": 200, "mid": 341, "high": 434}, "misses": {"low": 9, "mid": 9, "high": 9}},
        "acted": {"wait_p95_s": {"low": 62, "mid": 96, "high": 160}, "misses": {"low": 9, "mid": 9, "high": 9}},
    }
    assert impact_line(ImpactDocument.model_validate(courses)) == "wait p95 5m41s -> 1m36s (better)"
    assert impact_line(ImpactDocument(text="job-1 has ended")) == "job-1 has ended"
    assert impact_line(None) == "not computed"
    measures = [{"measure": "ended", "predicted": {"low": 31, "mid": 36, "high": 42}, "measured": 47}]
    score = ScoreDocument.model_validate({"at_ms": 0, "measures": measures})
    assert score_lines(score) == ["ended: foretold 36 (31 to 42), came 47, outside"]
    assert score_lines(ScoreDocument(at_ms=0, measures=[])) == ["nobody looked when its horizon was over"]
