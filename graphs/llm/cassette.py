"""A recorded brain decides again: every answer comes from the record, and no server, key or network is needed.

What a model read on the way (previews, what the twin foresaw) comes from the record too, so that the same talk comes
out on any state. Needs the extra `llm`: its code is part of what is being proved.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agentorch.config.brains import LlmSettings
from agentorch.errors import ConfigError
from agentorch.graphs.llm.brain import LLMBrain
from agentorch.graphs.llm.talk import CallTool
from agentorch.graphs.llm.tape import Tape, requests_of
from agentorch.model.brain import BrainContext
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport, Exchange
from agentorch.tools.catalogue import READ_TOOLS
from agentorch.tools.toolbox import ToolAnswer

if TYPE_CHECKING:
    import httpx2

#: Nothing is waited for; a record that takes this long is not read to its end.
PLAYING_TIMEOUT_S: Final = 60.0


class CassetteBrain:
    """Fulfils `model.brain.Brain` for the one observation that the report was made on.

    `differs` counts the requests that would not be sent as they were recorded: 0 proves that nothing but the answers
    came from outside. It is only known after `decide`.
    """

    def __init__(self, report: BrainReport) -> None:
        self.id = report.brain
        self.differs = 0
        self._report = report

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        """The report again, as the code of today makes it from the recorded answers.

        A recording that ended because time, money or a connection did ends again there, with the same error.
        Raises ValueError for a damaged record.
        """
        if not self._report.exchanges:  # no model was asked: there is nothing to say again
            return msgspec.structs.replace(self._report, fallback_from="", took_ms=0)
        wire = _CassetteWire(self._report)
        unhurried = msgspec.structs.replace(context, timeout_s=PLAYING_TIMEOUT_S)
        again = await LLMBrain(wire.settings, wire).decide(observation, unhurried)
        self.differs = wire.differs
        if wire.over and again.error:
            again = msgspec.structs.replace(again, error=self._report.error or again.error)
        return msgspec.structs.replace(again, brain=self.id)


def replayed(report: BrainReport) -> CassetteBrain:
    """What a recorded report says again when asked.

    Raises ValueError when its exchanges are not an LLM brain's, ConfigError when the extra `llm` is not installed.
    """
    if report.exchanges:
        _CassetteWire(report)
        try:
            import agentorch.graphs.llm.player  # noqa: F401
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"replaying a model's answers needs {error.name}: pip install 'agentorch[llm]'"
            ) from error
    return CassetteBrain(report)


class _CassetteWire:
    """Answers requests in their recorded order."""

    def __init__(self, report: BrainReport) -> None:
        self._exchanges = report.exchanges
        self._requests = [_parsed(one) for one in requests_of(report.exchanges)]
        self._answers = _tool_answers(self._requests[-1])
        parameters = report.exchanges[0].parameters
        try:
            self.settings = msgspec.json.decode(parameters, type=LlmSettings)
        except msgspec.DecodeError as error:
            raise ValueError(f"exchanges without the parameters of an LLM brain: {error}") from error
        self.differs = 0
        self.over = False  # the recording ended before the talk did

    def tape(self) -> Tape:
        first = self._exchanges[0]
        return Tape(first.model, parameters=first.parameters, libraries=first.libraries)

    def transport(self, tape: Tape, tools_sha256: str) -> httpx2.AsyncBaseTransport:
        from agentorch.graphs.llm.player import Player

        return Player(self.next, tape, tools_sha256)

    def tools(self, call: CallTool) -> CallTool:
        recorded = iter(self._answers)

        async def again(name: str, arguments: object) -> ToolAnswer:
            content = next(recorded, None)  # every call has one, so that the order holds
            if name in READ_TOOLS and content is not None:
                return ToolAnswer(ok=not content.startswith('{"error":'), content=content)
            return await call(name, arguments)

        return again

    def next(self, number: int, request: str) -> Exchange | None:
        """The exchange that answers the request of this number; None when the recording ends before it."""
        if number >= len(self._exchanges):
            self.over = True
            return None
        self.differs += _parsed(request) != self._requests[number]
        self.over = bool(self._exchanges[number].fault)
        return self._exchanges[number]


def _parsed(request: str) -> Any:
    # Compared as JSON: spaces and the order of keys are the client library's business.
    try:
        return json.loads(request)
    except ValueError as error:
        raise ValueError(f"a recorded request is no JSON: {error}") from error


def _tool_answers(request: Any) -> list[str]:
    """Contents of the tool messages in the last request, which repeats all before it."""
    messages = request.get("messages", []) if isinstance(request, dict) else []
    return [str(message.get("content", "")) for message in messages if message.get("role") == "tool"]
