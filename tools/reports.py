"""What a brain hands in is checked here, before it reaches the ledger: shape, size, JSON, text.

Whether an action makes sense is not asked here: guardrails judge that, and a draft that is no action at all is
recorded as denied. Here a report is refused only when it can't be recorded honestly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from agentorch.errors import BrainError
from agentorch.model.limits import (
    BRAIN_EXCHANGE_MAX_CHARS,
    BRAIN_EXCHANGES_MAX,
    BRAIN_TEXT_MAX_CHARS,
    DRAFT_DEPTH_MAX,
    DRAFT_VALUES_MAX,
    EVIDENCE_MAX,
    PROPOSALS_PER_CYCLE,
    REASON_MAX_CHARS,
)
from agentorch.model.proposals import BrainReport, Draft, Exchange
from agentorch.tools.text import clean_text, encodable_text

INTEGER_MAX: Final = 2**63 - 1
_EXCHANGE_TEXTS: Final = (
    "model", "request", "response", "content_type", "fault", "tools_sha256", "parameters", "libraries"
)  # fmt: skip
_EXCHANGE_COUNTS: Final = ("tokens_in", "tokens_out", "took_ms", "same_start", "same_end", "status")


def checked_report(answer: object, brain: str) -> BrainReport:
    """`answer` as a report of `brain` that can be recorded; a report with an error of its own has no drafts.

    Raises BrainError when it is no report, has too many drafts, values that JSON can't say, or too much text.
    """
    if not isinstance(answer, BrainReport):
        raise BrainError(f"brain {brain} answered with {type(answer).__name__}, not with a report")
    budget = _Budget(BRAIN_TEXT_MAX_CHARS)
    hold, error = budget.prose(answer.hold, "hold"), budget.prose(answer.error, "error")
    return BrainReport(
        brain=brain,
        drafts=() if error else _checked(answer.drafts, PROPOSALS_PER_CYCLE, budget),
        hold=hold,
        error=error,
        exchanges=_exchanges(answer.exchanges),
    )


def checked_drafts(drafts: object, at_most: int) -> tuple[Draft, ...]:
    """Drafts that can be sent on and recorded. Raises BrainError like `checked_report`."""
    return _checked(drafts, at_most, _Budget(BRAIN_TEXT_MAX_CHARS))


def _checked(drafts: object, at_most: int, budget: _Budget) -> tuple[Draft, ...]:
    return tuple(_draft(draft, budget) for draft in _sequence(drafts, at_most, "drafts"))


def _draft(draft: object, budget: _Budget) -> Draft:
    if not isinstance(draft, Draft):
        raise BrainError(f"a draft is {type(draft).__name__}, not a draft")
    action = msgspec.to_builtins(draft.action) if isinstance(draft.action, msgspec.Struct) else draft.action
    return Draft(
        action=_Json(budget).checked(action),
        reason=budget.prose(draft.reason, "reason"),
        evidence=budget.lines(draft.evidence, "evidence"),
        alternatives=budget.lines(draft.alternatives, "alternatives"),
    )


def _exchanges(exchanges: object) -> tuple[Exchange, ...]:
    return tuple(_exchange(exchange) for exchange in _sequence(exchanges, BRAIN_EXCHANGES_MAX, "exchanges"))


def _exchange(exchange: object) -> Exchange:
    if not isinstance(exchange, Exchange):
        raise BrainError(f"an exchange is {type(exchange).__name__}, not an exchange")
    texts: dict[str, Any] = {name: getattr(exchange, name) for name in _EXCHANGE_TEXTS}
    if not all(isinstance(text, str) and len(text) <= BRAIN_EXCHANGE_MAX_CHARS for text in texts.values()):
        raise BrainError("an exchange holds something else than text, or too much of it")
    counts = {name: getattr(exchange, name) for name in _EXCHANGE_COUNTS}
    if not all(type(count) is int and 0 <= count <= INTEGER_MAX for count in counts.values()):
        raise BrainError("an exchange counts tokens or milliseconds that are no numbers")
    kept: dict[str, Any] = {name: encodable_text(text) for name, text in texts.items()}
    return Exchange(**kept, **counts, base64=exchange.base64 is True)


def _sequence(values: object, at_most: int, what: str) -> Iterable[object]:
    if not isinstance(values, (tuple, list)):
        raise BrainError(f"{what} are {type(values).__name__}, not a list")
    if len(values) > at_most:
        raise BrainError(f"{len(values)} {what}; at most {at_most} are taken")
    return values


class _Budget:
    """Counts the characters of one report, so that many long texts are caught as surely as one."""

    def __init__(self, characters: int) -> None:
        self._left = characters

    def prose(self, text: object, what: str) -> str:
        return clean_text(self.take(text, what), REASON_MAX_CHARS)

    def lines(self, texts: object, what: str) -> tuple[str, ...]:
        kept = list(_sequence(texts, DRAFT_VALUES_MAX, what))[:EVIDENCE_MAX]
        return tuple(self.prose(text, what) for text in kept)

    def take(self, text: object, what: str) -> str:
        if not isinstance(text, str):
            raise BrainError(f"{what} is {type(text).__name__}, not text")
        self._left -= len(text)
        if self._left < 0:
            raise BrainError(f"more than {BRAIN_TEXT_MAX_CHARS} characters of text in one report")
        return text


class _Json:
    """Copies one value, bounded in depth and number of parts: a list that holds itself ends as an error, not a hang."""

    def __init__(self, budget: _Budget) -> None:
        self._budget = budget
        self._parts = 0

    def checked(self, value: object, depth: int = 0) -> Any:
        self._parts += 1
        if depth > DRAFT_DEPTH_MAX or self._parts > DRAFT_VALUES_MAX:
            raise BrainError(f"an action is deeper than {DRAFT_DEPTH_MAX} or has more than {DRAFT_VALUES_MAX} parts")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (int, float)):
            return _number(value)
        if isinstance(value, dict):
            return {self._key(key): self.checked(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.checked(item, depth + 1) for item in value]
        raise BrainError(f"an action holds {type(value).__name__}, which JSON can't say")

    def _key(self, key: object) -> str:
        if not isinstance(key, str):
            raise BrainError(f"an action has a key of type {type(key).__name__}; JSON keys are text")
        return self._text(key)

    def _text(self, text: str) -> str:
        return clean_text(self._budget.take(text, "an action's text"), REASON_MAX_CHARS)


def _number(value: int | float) -> int | float:
    if isinstance(value, float) and not math.isfinite(value):
        raise BrainError(f"an action holds {value}, which JSON can't say")
    if isinstance(value, int) and abs(value) > INTEGER_MAX:
        raise BrainError("an action holds an integer of more than 64 bits")
    return value
