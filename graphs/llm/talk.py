"""One cycle's talk: the model reads as often as it may, proposes or holds. Every way it can end badly is an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final

import msgspec
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from agentorch.errors import BrainError
from agentorch.graphs.llm.prompt import observed, system
from agentorch.graphs.llm.replies import Call, Reply, read_reply
from agentorch.model.observation import Observation
from agentorch.tools.toolbox import ToolAnswer

#: A longer answer of a tool is not sent: the model is to ask for less.
ANSWER_MAX_CHARS: Final = 16_000

AskModel = Callable[[list[BaseMessage]], Awaitable[AIMessage]]
CallTool = Callable[[str, object], Awaitable[ToolAnswer]]


class Talk:
    """`ask` sends the messages so far, `call` carries out one tool call, `tools` are the names there are."""

    def __init__(self, ask: AskModel, call: CallTool, tools: Collection[str], rounds: int) -> None:
        self._ask = ask
        self._call = call
        self._tools = tools
        self._rounds = rounds
        self._messages: list[BaseMessage] = []

    async def run(self, observation: Observation, settled: Callable[[], str]) -> str:
        """Talk until the model is done; returns its last words. `settled` says what was held for, once it was.

        Raises BrainError when it spoke nonsense twice, called no tool, or never came to an end.
        """
        self._messages = [SystemMessage(system(self._rounds)), HumanMessage(observed(observation))]
        corrected, useful = False, False
        for number in range(self._rounds):
            reply = read_reply(await self._ask(self._messages), self._tools)
            if reply.wrong:
                if corrected:
                    raise BrainError(f"the model called what can't be read, twice: {reply.wrong}")
                corrected = True
                self._messages += _correction(reply)
            elif not reply.calls:
                if not useful:
                    raise BrainError(f"the model called no tool; it said: {reply.text[:300]!r}")
                return reply.text
            else:
                useful = await self._carry_out(reply, number) or useful
                if settled():
                    return settled()
        if reply.wrong:
            raise BrainError(f"the model called what can't be read, and had no round left: {reply.wrong}")
        return ""

    async def _carry_out(self, reply: Reply, number: int) -> bool:
        """Every call of a reply, in order; whether one of them did anything. Ids are ours, not the server's."""
        named = [(f"r{number}c{at}", call) for at, call in enumerate(reply.calls)]
        calls = [{"name": call.name, "args": call.arguments, "id": ident} for ident, call in named]
        answers = [(ident, await self._answer(call)) for ident, call in named]
        self._messages.append(AIMessage(reply.text, tool_calls=calls))
        self._messages += [ToolMessage(answer.content, tool_call_id=ident) for ident, answer in answers]
        return any(answer.ok for _, answer in answers)

    async def _answer(self, call: Call) -> ToolAnswer:
        answer = await self._call(call.name, call.arguments)
        if len(answer.content) <= ANSWER_MAX_CHARS:
            return answer
        why = f"the answer has {len(answer.content)} characters, {ANSWER_MAX_CHARS} are sent: ask for fewer rows"
        return ToolAnswer(ok=False, content=msgspec.json.encode({"error": why}).decode())


def _correction(reply: Reply) -> list[BaseMessage]:
    """The reply without its calls, and what was wrong with them."""
    said = reply.text or "(calls that could not be read)"
    return [AIMessage(said), HumanMessage(f"None of your calls was carried out: {reply.wrong}. Call again, correctly.")]
