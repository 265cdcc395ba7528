"""Exit codes, and which of them an error means. Scripts rely on these numbers."""

from __future__ import annotations

from typing import Final

from agentorch.errors import AgentorchError, ConfigError, Refused, ServerRefused, ServerUnreachable

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
NOT_AUTHORISED: Final = 4
NOT_FOUND: Final = 5
GUARDRAIL: Final = 6
NOT_APPROVED: Final = 7
PENDING: Final = 8
TIMED_OUT: Final = 124
INTERRUPTED: Final = 130

_OF_CODE: Final = {
    "unauthorized": NOT_AUTHORISED,
    "forbidden": NOT_AUTHORISED,
    "not_found": NOT_FOUND,
    "guardrail": GUARDRAIL,
    "widened": GUARDRAIL,
    "expired": NOT_APPROVED,
    "already_answered": NOT_APPROVED,
    "changed": NOT_APPROVED,
    "invalid": USAGE,
    "unsupported": USAGE,
    "malformed": USAGE,
    "idempotency_mismatch": USAGE,
}


def exit_code_of(error: AgentorchError) -> int:
    match error:
        case ServerUnreachable():
            return UNREACHABLE
        case ConfigError():
            return USAGE
        case ServerRefused(code=code) | Refused(code=code):
            return _OF_CODE.get(code, FAILED)
        case _:
            return FAILED


def exit_code_of_job(state: str, cause: str | None) -> int:
    """Of a job that was waited for."""
    if state == "succeeded":
        return OK
    if state in ("failed", "cancelled"):
        return TIMED_OUT if cause == "timeout" else FAILED
    return PENDING


def exit_code_of_proposal(state: str) -> int:
    """Of a proposal after its answer."""
    if state in ("rejected", "expired", "superseded", "lapsed"):
        return NOT_APPROVED
    if state == "denied":
        return GUARDRAIL
    return FAILED if state == "failed" else OK
