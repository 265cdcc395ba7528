"""Every error agentorch raises, in one tree.

    AgentorchError
    |-- Refused                  the core said no to a command: `code`, what is wrong, what to do
    |-- ConfigError              a setting is wrong: file, key, what was expected
    |-- LedgerError
    |   |-- LedgerCorrupt        a stored segment does not verify: first bad sequence and why
    |   |-- LedgerLocked         another process writes this ledger
    |   |-- LedgerFailed         a commit failed: the runtime stops and refolds at the next start
    |   `-- LedgerTooNew         an event written by a newer version: unknown tags are never skipped
    |-- ExecutorError            an attempt could not be launched, stopped or inspected
    |   |-- EpochOver            a newer incarnation of the runtime has taken over
    |   |-- NodeUnreachable      the node does not answer just now: what it does is unknown
    |   `-- ProvisioningError    nodes could not be added or released
    |-- BrainError               a brain raised, hung or spoke nonsense: recorded, and nothing acts
    |-- RuntimeStopped           the runtime is shutting down or has failed; nothing is accepted
    `-- ClientError              the typed client: the server refused, or could not be reached
        |-- ServerUnreachable
        `-- ServerRefused        carries the problem document: status, code, detail, retry_after_s

Messages say what is wrong, where, and what to do. Callers raise `from` the cause.
"""

from __future__ import annotations

from typing import Any


class AgentorchError(Exception):
    """The root of the tree."""


class Refused(AgentorchError):
    """The core refuses a command; nothing has changed.

    `code` is stable and machine-readable (see `REFUSAL_CODES`); `retry_after_s` is set where trying again helps;
    `detail` carries what a program needs to act on the refusal, JSON-compatible.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: float | None = None, **detail: Any) -> None:
        assert code in REFUSAL_CODES, f"unknown refusal code {code!r}"
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.detail = detail


#: code -> what it means. The HTTP layer maps each to a status; tests prove that none is missing there.
REFUSAL_CODES: dict[str, str] = {
    "invalid": "the request contradicts itself or names something impossible",
    "not_found": "no such thing, or it belongs to another tenant",
    "forbidden": "the key has no role for this",
    "conflict": "the thing is not in a state that permits this",
    "idempotency_mismatch": "the idempotency key was used with another body",
    "precondition_failed": "the world moved since the sequence that the caller named",
    "unreachable": "the node that knows does not answer just now; try again later",
    "quota": "the tenant has as many live jobs as it may have",
    "overloaded": "a bounded queue is full; try again later",
    "changed": "the proposal changed since it was looked at; look again",
    "already_answered": "somebody answered first",
    "expired": "the approval expired; nothing happened",
    "widened": "an edit may narrow a proposal, never widen it",
    "guardrail": "a guardrail denies it",
    "paused": "the supervisor is paused",
}


class ConfigError(AgentorchError):
    """A setting is wrong. The message names the file, the key and what was expected."""


class LedgerError(AgentorchError):
    """The ledger can't be read or written."""


class LedgerCorrupt(LedgerError):
    """A stored segment does not verify. `seq` is the first sequence number that can't be trusted."""

    def __init__(self, seq: int, why: str) -> None:
        super().__init__(f"ledger is corrupt at sequence {seq}: {why}")
        self.seq = seq
        self.why = why


class LedgerLocked(LedgerError):
    """Another process writes this ledger."""


class LedgerFailed(LedgerError):
    """A commit failed. Nothing after it was acknowledged; the process must stop and refold."""


class LedgerTooNew(LedgerError):
    """An event carries a tag or an encoding that this version does not know."""


class ExecutorError(AgentorchError):
    """An executor could not do what it was told; the message names the attempt."""


class EpochOver(ExecutorError):
    """A newer incarnation of the runtime has opened the executor: this one is over, and is refused from now on."""


class NodeUnreachable(ExecutorError):
    """A node does not answer just now. What runs there may go on: nothing may be concluded from it."""


class ProvisioningError(ExecutorError):
    """Nodes could not be added or released; the message says what the provider said."""


class BrainError(AgentorchError):
    """A brain raised, hung, or answered with what can't be recorded; the message says which."""


class RuntimeStopped(AgentorchError):
    """The runtime accepts nothing any more: it is closing, or a commit failed."""


class ClientError(AgentorchError):
    """Something went wrong between the client and the server."""


class ServerUnreachable(ClientError):
    """No answer: nothing listens there, or the connection broke."""


class ServerRefused(ClientError):
    """The server answered with a problem document (RFC 9457)."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None = None, **detail: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.detail = detail
