"""What the HTTP API is served from: a living runtime, or a recording looked at as of some sequence number."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import msgspec

from agentorch.core.state import State
from agentorch.model.commands import Command
from agentorch.model.events import Event
from agentorch.model.observation import DeviceSample


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify` found. `first_bad_seq` and `why` are set when it is not ok."""

    ok: bool
    last_seq: int
    head_hash: str
    segments: int
    events: int
    verdicts_judged_again: int = 0
    verdicts_of_older_rules: int = 0
    reports_handed_in_again: int = 0  # recorded reports of brains
    proposals_same: int = 0  # that came of them again byte for byte, hashes and all
    proposals_not_again: int = 0  # drafts that were no action: they are recorded cleaned, and denied
    first_different: int | None = None  # sequence of the first proposal that came out otherwise
    first_bad_seq: int | None = None
    why: str = ""


class Source(Protocol):
    read_only: bool
    name: str

    def now_ms(self) -> int:
        """The runtime's clock; of a recording, the time of the event looked at."""

    async def view(self, at: int | None = None) -> State:
        """The state; `at` = as of that sequence (recordings only). What is built from it leaves after `settled()`.

        The caller must not keep it across an await: the loop goes on changing it. Raises Refused("invalid").
        """

    async def settled(self) -> None:
        """Wait until everything in memory now is durable: an answer built from it may then leave.

        Raises RuntimeStopped.
        """

    @property
    def last_seq(self) -> int:
        """The newest durable sequence number."""

    @property
    def head_hash(self) -> str: ...

    async def ask(self, command: Command) -> Any:
        """Decide a command. Returns when its events are durable; raises Refused, RuntimeStopped.

        Results: SubmitJob -> (job id, created: bool); CancelJob -> the job's state after it (JobState); Observe ->
        Observation; HandIn -> list[Proposal]; AnswerApproval and CarryOut -> Proposal; all else None.
        """

    async def ask_all(self, commands: Sequence[Command]) -> list[Any]:
        """Decide many commands in order; each result is as of `ask`, or the Refused that one command met.

        Returns when all that was decided is durable; raises RuntimeStopped.
        """

    def follow(self, after: int) -> AsyncIterator[list[tuple[int, Event]]]:
        """Durable events with sequence > `after`, the past first and then live, in batches; ends when it closes.

        An empty batch is a heartbeat: nothing happened for a while. Raises Refused("overloaded") for a reader that
        falls too far behind.
        """

    def devices(self) -> tuple[DeviceSample, ...]: ...

    def device_history(self, device: str) -> list[DeviceSample]: ...

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool]:
        """As `executors.contract.Executor.logs`. Raises Refused("not_found")."""

    async def verify(self) -> Verification: ...
