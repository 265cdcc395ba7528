"""Which tools a model may be given: reads, which are free, and proposals, which are judged. There are no others.

No tool approves, or changes the mode, a guardrail, a key, a budget or the ledger (G16); none carries anything out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from agentorch.tools.arguments import (
    Arguments,
    Foresee,
    Hold,
    ListUnsettled,
    Preview,
    ProposeAlert,
    ProposeCordon,
    ProposeReroute,
    ProposeReschedule,
    ProposeScale,
    ProposeUncordon,
    Proposing,
    ReadObservation,
)

READ_TOOLS: Final[Mapping[str, type[Arguments]]] = MappingProxyType(
    {"read_observation": ReadObservation, "list_unsettled": ListUnsettled, "preview": Preview, "foresee": Foresee}
)
PROPOSAL_TOOLS: Final[Mapping[str, type[Proposing]]] = MappingProxyType(
    {
        "propose_scale": ProposeScale,
        "propose_reschedule": ProposeReschedule,
        "propose_reroute": ProposeReroute,
        "propose_cordon": ProposeCordon,
        "propose_uncordon": ProposeUncordon,
        "propose_alert": ProposeAlert,
    }
)
HOLD_TOOL: Final = "hold"
ALL_TOOLS: Final[Mapping[str, type[Arguments]]] = MappingProxyType({**READ_TOOLS, **PROPOSAL_TOOLS, HOLD_TOOL: Hold})


def _schema(name: str, arguments: type[Arguments]) -> dict[str, Any]:
    parameters = _without_titles(arguments.model_json_schema())
    description = parameters.pop("description")
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def _without_titles(schema: Any) -> Any:
    # Pydantic titles every field with its own name: words that a model would pay for and learn nothing from.
    match schema:
        case dict():
            return {
                key: _without_titles(value)
                for key, value in schema.items()
                if not (key == "title" and isinstance(value, str))
            }
        case list():
            return [_without_titles(value) for value in schema]
        case _:
            return schema


#: In the shape that OpenAI-compatible servers take as `tools`.
TOOL_SCHEMAS: Final[tuple[dict[str, Any], ...]] = tuple(_schema(name, model) for name, model in ALL_TOOLS.items())
