"""Reading what a brain handed in. Nothing in it is trusted to be an action, or even to be sayable in JSON."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import msgspec

from agentorch.core.guardrails.describe import clean
from agentorch.model import limits
from agentorch.model.proposals import Action, BrainReport, Draft

_decoder = msgspec.json.Decoder(Action, strict=True)


def read_action(draft: Draft) -> tuple[Action | None, str]:
    """(the action, ""), or (None, why it is none). It goes through JSON, so that no look-alike slips past the types."""
    try:
        encoded = msgspec.json.encode(draft.action)
        if len(encoded) > limits.DRAFT_MAX_BYTES:
            return None, f"{len(encoded)} bytes are no action; at most {limits.DRAFT_MAX_BYTES}"
        action = _decoder.decode(encoded)
        msgspec.msgpack.encode(action)  # a snapshot must be able to say it: no integers over 64 bits
        return action, ""
    except Exception as error:
        return None, clean(f"not an action: {error}", 300)


def recordable(report: BrainReport) -> BrainReport:
    """The report as it can be kept: bounded text, bounded numbers of parts, and only what JSON can say."""
    return BrainReport(
        brain=_text(report.brain, limits.NAME_MAX_CHARS),
        drafts=tuple(recordable_draft(draft) for draft in report.drafts[: 2 * limits.PROPOSALS_PER_CYCLE]),
        hold=_text(report.hold, limits.REASON_MAX_CHARS),
        error=_text(report.error, limits.REASON_MAX_CHARS),
        fallback_from=_text(report.fallback_from, limits.NAME_MAX_CHARS),
        exchanges=report.exchanges[: limits.BRAIN_EXCHANGES_MAX],
        took_ms=report.took_ms,
    )


def recordable_draft(draft: Draft) -> Draft:
    return Draft(
        action=recordable_value(draft.action),
        reason=_text(draft.reason, limits.REASON_MAX_CHARS),
        evidence=_texts(draft.evidence),
        alternatives=_texts(draft.alternatives),
    )


def _texts(texts: Any) -> tuple[str, ...]:
    return tuple(_text(text, limits.REASON_MAX_CHARS) for text in list(texts)[: limits.EVIDENCE_MAX])


def _text(value: Any, limit: int) -> str:
    return clean(value if isinstance(value, str) else f"<{type(value).__name__}>", limit)


def recordable_value(value: Any) -> Any:
    """A JSON value that says what `value` was, in at most `DRAFT_VALUES_MAX` parts and `DRAFT_DEPTH_MAX` levels."""
    return _Copy().of(value, 0)


class _Copy:
    def __init__(self) -> None:
        self.left = limits.DRAFT_VALUES_MAX
        self.characters = limits.DRAFT_MAX_BYTES

    def of(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0 or depth > limits.DRAFT_DEPTH_MAX:
            return "…"
        if isinstance(value, msgspec.Struct):
            kind = value.__struct_config__.tag
            fields = {name: getattr(value, name, None) for name in value.__struct_fields__}
            return self.of({**({"kind": kind} if kind else {}), **fields}, depth)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if abs(value) < 2**63 else f"{'-' if value < 0 else ''}huge integer"
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(float(value))
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            items = islice(value.items(), limits.DRAFT_VALUES_MAX)
            return {
                self.text(key) if isinstance(key, str) else _text(key, 80): self.of(v, depth + 1) for key, v in items
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.of(one, depth + 1) for one in islice(value, limits.DRAFT_VALUES_MAX)]
        return f"<{type(value).__name__}>"

    def text(self, value: str) -> str:
        kept = clean(str(value), max(1, min(limits.REASON_MAX_CHARS, self.characters)))
        self.characters -= len(kept)
        return kept
