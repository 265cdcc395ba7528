"""Reading what a model answered. Nothing in it is trusted: a reply with one bad call is void as a whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from langchain_core.messages import AIMessage

from agentorch.errors import BrainError
from agentorch.model.limits import REASON_MAX_CHARS
from agentorch.tools.text import clean_text

CALLS_MAX: Final = 32  # in one reply
FAULTS_SHOWN: Final = 3
TOKENS_MAX: Final = 10**9  # more than any server can have counted


class Call(msgspec.Struct, frozen=True):
    """`arguments` holds clean text only, so that it can be sent again."""

    name: str
    arguments: dict[str, Any]


class Reply(msgspec.Struct, frozen=True):
    """`wrong` says why the calls are void, "" when they are not."""

    text: str
    calls: tuple[Call, ...]
    wrong: str


def read_reply(message: AIMessage, tools: Collection[str]) -> Reply:
    """Raises BrainError for a reply that was cut off or withheld: there is nothing to correct in those."""
    finish = message.response_metadata.get("finish_reason")
    if finish in ("length", "content_filter"):
        raise BrainError(f"the model's reply is not whole (finish_reason {finish})")
    if message.additional_kwargs.get("refusal"):
        raise BrainError(f"the model refused: {clean_text(str(message.additional_kwargs['refusal']), 300)}")
    wrong = _what_is_wrong(message, tools)
    calls = () if wrong else tuple(Call(call["name"], _cleaned(call["args"])) for call in message.tool_calls)
    return Reply(_words(message), calls, wrong)


def _what_is_wrong(message: AIMessage, tools: Collection[str]) -> str:
    count = len(message.tool_calls) + len(message.invalid_tool_calls)
    if count > CALLS_MAX:
        return f"{count} calls in one reply; at most {CALLS_MAX} are read"
    faults = [f"arguments of {_name(call.get('name'))} are no JSON object" for call in message.invalid_tool_calls]
    seen: set[str] = set()
    for call in message.tool_calls:
        ident = call.get("id")
        if call["name"] not in tools:
            faults.append(f"there is no tool {_name(call['name'])}")
        if not isinstance(ident, str) or not ident:
            faults.append(f"a call of {_name(call['name'])} has no id")
        elif ident in seen:
            faults.append(f"two calls have the id {_name(ident)}")
        else:
            seen.add(ident)
    more = f", and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
    return "; ".join(faults[:FAULTS_SHOWN]) + more


def _name(value: object) -> str:
    return repr(clean_text(str(value), 60))


def _cleaned(value: Any) -> Any:
    """A JSON value without what a text must not hold. Raises RecursionError for one that is too deep for Python."""
    match value:
        case str():
            return clean_text(value, REASON_MAX_CHARS)
        case dict():
            return {clean_text(str(key), REASON_MAX_CHARS): _cleaned(item) for key, item in value.items()}
        case list():
            return [_cleaned(item) for item in value]
        case _:
            return value


def _words(message: AIMessage) -> str:
    content = message.content
    parts = [content] if isinstance(content, str) else [_part(part) for part in content]
    return clean_text("".join(parts).strip(), REASON_MAX_CHARS)


def _part(part: object) -> str:
    if isinstance(part, Mapping):
        part = part.get("text", "")
    return part if isinstance(part, str) else ""


def tokens_of(message: AIMessage) -> tuple[int, int] | None:
    """Tokens in and out as the server counted them; None when it did not say, or said nonsense."""
    usage: Mapping[str, Any] = message.usage_metadata or {}
    counts = [usage.get(name) for name in ("input_tokens", "output_tokens")]
    if not all(type(count) is int and count >= 0 for count in counts) or not any(counts):
        return None
    tokens_in, tokens_out = (min(int(count or 0), TOKENS_MAX) for count in counts)
    return tokens_in, tokens_out
