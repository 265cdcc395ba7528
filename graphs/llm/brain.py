"""The LLM brain: a talk with a model within limits of time, tokens and money, recorded whole.

Nothing that a server does raises: what went wrong is the report's error, with the exchanges that led to it, and a
report with an error has no drafts. Which brain decides after several of those is `graphs.deciding`'s to say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.runnables import Runnable

from agentorch.config.brains import LlmSettings
from agentorch.errors import BrainError, ConfigError
from agentorch.graphs.llm.budget import Allowance, Purse, estimate
from agentorch.graphs.llm.offers import offered, schemas_sha256, unknown_tools
from agentorch.graphs.llm.replies import tokens_of
from agentorch.graphs.llm.talk import Talk
from agentorch.graphs.llm.tape import Tape
from agentorch.graphs.tracing import switch_tracing_off
from agentorch.model.brain import BrainContext
from agentorch.model.limits import BRAIN_EXCHANGE_MAX_CHARS, NAME_MAX_CHARS
from agentorch.model.observation import Observation
from agentorch.model.proposals import BrainReport
from agentorch.tools.catalogue import ALL_TOOLS
from agentorch.tools.text import clean_text, describe
from agentorch.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from agentorch.graphs.llm.wire import Wire

#: Of a cycle's time: what is left is for saying what was asked until then.
TIME_SHARE: Final = 0.9
#: Of all messages of one request, whatever the limit on tokens allows: they must fit into an exchange.
TALK_MAX_BYTES: Final = BRAIN_EXCHANGE_MAX_CHARS // 2


def llm_brain(settings: LlmSettings, *, clock: Callable[[], float] = time.monotonic) -> LLMBrain:
    """A brain on the server that the settings name; nothing is sent yet. `clock`: seconds, for the hour's money.

    Raises ConfigError for tools that there are not, and when the extra `llm` is not installed.
    """
    if unknown := unknown_tools(settings.tools):
        raise ConfigError(f"supervisor.llm.tools: there is no {', '.join(unknown)}; there is {', '.join(ALL_TOOLS)}")
    try:
        from agentorch.graphs.llm.wire import LiveWire
    except ModuleNotFoundError as error:
        raise ConfigError(f"the brain openai needs {error.name}: pip install 'agentorch[llm]'") from error
    return LLMBrain(settings, LiveWire(settings), clock=clock)


class LLMBrain:
    """Fulfils `model.brain.Brain`. Make it with `llm_brain`, or with `cassette.replayed`."""

    def __init__(self, settings: LlmSettings, wire: Wire, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.id = clean_text(f"openai:{settings.model}", NAME_MAX_CHARS)
        self._settings = settings
        self._wire = wire
        self._clock = clock
        self._purse = Purse(settings)
        switch_tracing_off()

    async def decide(self, observation: Observation, context: BrainContext) -> BrainReport:
        tape, toolbox = self._wire.tape(), Toolbox(observation, context)
        within_s = TIME_SHARE * context.timeout_s
        try:
            async with asyncio.timeout(within_s) as limit:
                words = await self._talk(observation, toolbox, tape)
            if not (toolbox.drafts or toolbox.hold or words):
                raise BrainError(f"neither a proposal nor a reason to hold in {self._settings.max_rounds} rounds")
        except Exception as error:  # noqa: BLE001 - whatever a server does is a held cycle, and recorded
            why = f"no decision within {within_s:g} s" if limit.expired() else _told(error)
            return BrainReport(brain=self.id, error=tape.hidden(why), exchanges=tuple(tape.exchanges))
        drafts = toolbox.drafts
        hold = "" if drafts else toolbox.hold or words
        return BrainReport(brain=self.id, drafts=drafts, hold=tape.hidden(hold), exchanges=tuple(tape.exchanges))

    async def _talk(self, observation: Observation, toolbox: Toolbox, tape: Tape) -> str:
        """Returns the model's last words."""
        from agentorch.graphs.llm.chat import chat_model

        schemas = offered(observation, tools=self._settings.tools, names=self._settings.name_enums)
        transport = self._wire.transport(tape, schemas_sha256(schemas))
        model, client = chat_model(self._settings, schemas, transport, observation.cycle)
        ask = _Asking(model, tape, self._settings, self._purse, self._clock, schemas)
        names = {schema["function"]["name"] for schema in schemas}
        async with client:
            talk = Talk(ask, self._wire.tools(toolbox.call), names, self._settings.max_rounds)
            return await talk.run(observation, lambda: toolbox.hold)


class _Asking:
    """Sends one request after another, as long as tokens and money last. Raises BrainError when they don't."""

    def __init__(
        self,
        model: Runnable[LanguageModelInput, AIMessage],
        tape: Tape,
        settings: LlmSettings,
        purse: Purse,
        clock: Callable[[], float],
        schemas: list[dict[str, Any]],
    ) -> None:
        self._model = model
        self._tape = tape
        self._allowance = Allowance(settings)
        self._purse = purse
        self._clock = clock
        self._schemas_chars = len(msgspec.json.encode(schemas))

    async def __call__(self, messages: list[BaseMessage]) -> AIMessage:
        said = msgspec.json.encode(convert_to_openai_messages(messages))
        if len(said) > TALK_MAX_BYTES:
            raise BrainError(f"the talk has grown to {len(said):,} bytes; at most {TALK_MAX_BYTES:,} are sent")
        tokens_in = estimate(self._schemas_chars + len(said))
        most = self._allowance.next_reply(tokens_in)
        self._purse.check(self._clock(), tokens_in, most)
        # Until the server says what it took, a request is reckoned as dear as it may be: failing saves nothing.
        took = (tokens_in, most)
        try:
            answer = await self._model.ainvoke(messages, max_tokens=most)
            took = tokens_of(answer) or took
            self._tape.count(*took)
            return answer
        finally:
            self._allowance.use(*took)
            self._purse.pay(self._clock(), *took)


def _told(error: Exception) -> str:
    """What went wrong, and what that came from: the client library's own words say little."""
    if isinstance(error, BrainError):
        return str(error)
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    said = describe(error) if root is error else f"{describe(error)} ({describe(root)})"
    return " ".join(said.split())
