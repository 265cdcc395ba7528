"""The tools of one cycle, for a brain that calls tools by name: reads answer, proposals are only collected.

Nothing that a caller sends raises: a call that is not understood is answered with what is wrong with it, so that a
model can correct itself, and so that no call can end a cycle.
"""

from __future__ import annotations

import msgspec
from pydantic import ValidationError

from agentorch.errors import AgentorchError
from agentorch.model.brain import BrainContext
from agentorch.model.limits import BRAIN_FORESIGHTS_PER_CYCLE, PROPOSALS_PER_CYCLE
from agentorch.model.observation import Observation
from agentorch.model.proposals import Draft
from agentorch.tools.arguments import Foresee, Hold, ListUnsettled, Preview, Proposing, ReadObservation
from agentorch.tools.catalogue import ALL_TOOLS
from agentorch.tools.foresight import compact
from agentorch.tools.text import clean_text, describe

CALL_NAME_MAX_CHARS = 100


class ToolAnswer(msgspec.Struct, frozen=True):
    """`content` is JSON text for the caller; `ok` is false when the call did nothing."""

    ok: bool
    content: str


class Toolbox:
    """Bound to one observation. `drafts` and `hold` are what the calls so far amount to."""

    def __init__(self, observation: Observation, context: BrainContext) -> None:
        self._observation = observation
        self._context = context
        self._drafts: list[Draft] = []
        self._foreseen = 0
        self.hold = ""

    @property
    def drafts(self) -> tuple[Draft, ...]:
        return tuple(self._drafts)

    async def call(self, name: object, arguments: object) -> ToolAnswer:
        """One tool call. `arguments` is a JSON object, as text or parsed."""
        model = ALL_TOOLS.get(name) if isinstance(name, str) else None
        if model is None:
            return _refusal(f"there is no tool {clean_text(str(name), CALL_NAME_MAX_CHARS)!r}")
        try:
            # JSON text is read by the same strict rules: "3" is not 3, and NaN is not a number.
            parsed = model.model_validate_json(arguments) if isinstance(arguments, str) else None
            return await self._answer(parsed or model.model_validate(arguments))
        except ValidationError as error:
            return _refusal(_what_is_wrong(error))
        except (AgentorchError, UnicodeError) as error:
            return _refusal(describe(error))

    async def _answer(self, arguments: object) -> ToolAnswer:
        match arguments:
            case ReadObservation():
                rows = getattr(self._observation, arguments.section)
                return _content({"rows": rows[: arguments.at_most], "of": len(rows)})
            case ListUnsettled():
                seen = self._observation
                return _content({"open_targets": seen.open_targets, "recent_targets": seen.recent_targets})
            case Preview():
                return _content(await self._context.preview(tuple(Draft(action=each) for each in arguments.actions)))
            case Foresee():
                return await self._foresee(tuple(Draft(action=each) for each in arguments.actions))
            case Proposing():
                return self._collect(arguments.draft())
            case Hold():
                self.hold = arguments.reason
                return _content("noted")
        raise AssertionError(f"a tool without an answer: {type(arguments).__name__}")

    async def _foresee(self, drafts: tuple[Draft, ...]) -> ToolAnswer:
        if self._foreseen >= BRAIN_FORESIGHTS_PER_CYCLE:
            return _refusal(
                f"at most {BRAIN_FORESIGHTS_PER_CYCLE} questions to the twin a cycle; decide by what is known"
            )
        self._foreseen += 1
        return _content(compact(await self._context.foresee(drafts)))

    def _collect(self, draft: Draft) -> ToolAnswer:
        if len(self._drafts) >= PROPOSALS_PER_CYCLE:
            return _refusal(f"at most {PROPOSALS_PER_CYCLE} proposals a cycle; this one was not noted")
        self._drafts.append(draft)
        return _content("noted; guardrails judge it when the cycle's report is handed in")


def _content(value: object) -> ToolAnswer:
    return ToolAnswer(ok=True, content=msgspec.json.encode(value).decode())


def _refusal(why: str) -> ToolAnswer:
    return ToolAnswer(ok=False, content=msgspec.json.encode({"error": why}).decode())


def _what_is_wrong(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return clean_text(f"{where or 'arguments'}: {first['msg']}{more}", 500)
