"""Which tools there are: reads and proposals, apart, described for a model, and none that could act."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import get_args

from agentorch.model.brain import BrainContext
from agentorch.model.proposals import Action
from agentorch.tools import port, steps, toolbox
from agentorch.tools.catalogue import ALL_TOOLS, HOLD_TOOL, PROPOSAL_TOOLS, READ_TOOLS, TOOL_SCHEMAS


def test_reads_and_proposals_are_apart_and_complete() -> None:
    assert not set(READ_TOOLS) & set(PROPOSAL_TOOLS)
    assert set(ALL_TOOLS) == {*READ_TOOLS, *PROPOSAL_TOOLS, HOLD_TOOL}
    kinds = {action.__struct_config__.tag for action in get_args(Action)}
    assert {tool.kind for tool in PROPOSAL_TOOLS.values()} == kinds


def test_no_tool_acts_approves_or_changes_the_supervisor() -> None:
    words = {"approve", "answer", "mode", "key", "budget", "guardrail", "ledger", "carry", "hand", "act", "tenant"}
    assert [name for name in ALL_TOOLS if words & set(name.split("_"))] == []
    # What a toolbox holds can't act either: all it has is an observation, a preview and a look ahead.
    assert set(inspect.signature(toolbox.Toolbox).parameters) == {"observation", "context"}
    assert set(BrainContext.__struct_fields__) == {"preview", "foresee", "timeout_s"}


def test_the_steps_are_exactly_those_of_the_port() -> None:
    def public(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}

    assert public(steps.Steps) == public(port.ControlPort)


def test_schemas_are_what_openai_compatible_servers_take() -> None:
    assert [schema["function"]["name"] for schema in TOOL_SCHEMAS] == list(ALL_TOOLS)
    for schema in TOOL_SCHEMAS:
        function = schema["function"]
        assert schema["type"] == "function"
        assert function["description"]
        assert function["parameters"]["type"] == "object"
        assert function["parameters"]["additionalProperties"] is False
        assert '"title": "' not in json.dumps(function)
        assert set(function["parameters"].get("properties", {})) == set(ALL_TOOLS[function["name"]].model_fields)


def test_tools_and_the_name_of_the_graphs_are_light() -> None:
    code = "import sys, agentorch.graphs, agentorch.tools.toolbox, agentorch.tools.steps; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "agentorch.tools.toolbox" in loaded
    assert [name for name in loaded if name.partition(".")[0] in ("langgraph", "langchain_core", "langsmith")] == []
