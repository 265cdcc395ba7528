"""The only place of the terminal UI that speaks to a server: one snapshot, kept new by one stream of events.

The stream's ids are ledger sequence numbers. An event only says that something changed; what is shown is always a whole
snapshot as of one sequence, so a reconnect, a missed event and a look back are the same thing. Snapshots are fetched at
most every `EAGER_S` after a quiet time and every `STEADY_S` under load.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from agentorch.errors import ClientError, ServerRefused, ServerUnreachable

if TYPE_CHECKING:
    from agentorch.schemas.documents import ExplainDocument, JobDocument, JobPage, TenantDocument, WorkerDocument
    from agentorch.schemas.replay import BranchDocument
    from agentorch.schemas.supervision import (
        DecisionDocument,
        DecisionPage,
        ForeseenDocument,
        ModeDocument,
        ProposalDocument,
        SnapshotDocument,
    )

EAGER_S: Final = 0.25  # a change after a quiet time is shown this soon
STEADY_S: Final = 1.0  # while events pour in, one snapshot in this time
STALE_S: Final = 5.0  # telemetry makes no events: with nothing else to do, a heartbeat fetches it
ANSWER_S: Final = 15.0  # longer without a snapshot counts as lost
BACKOFF_S: Final = 0.5
BACKOFF_CAP_S: Final = 10.0


class Api(Protocol):
    """What the terminal UI asks of a server. `agentorch.client.Client` is one; `recorded.RecordedApi` another.

    Every call raises `ServerUnreachable` when there is no answer and `ServerRefused` when the answer is no.
    """

    async def aclose(self) -> None: ...
    async def snapshot(self, at: int | None = None) -> SnapshotDocument: ...
    def events(self, after: int | None) -> AsyncGenerator[dict[str, Any], None]: ...
    async def jobs(
        self,
        *,
        state: str = "",
        tenant: str = "",
        pool: str = "",
        label: str = "",
        q: str = "",
        cursor: str = "",
        limit: int = 100,
    ) -> JobPage: ...
    async def job(self, job_id: str, /) -> JobDocument: ...
    async def explain(self, job_id: str, /) -> ExplainDocument: ...
    async def cancel(self, job_id: str, /) -> JobDocument: ...
    async def patch_job(self, job_id: str, /, **changes: Any) -> JobDocument: ...
    async def logs(
        self, job_id: str, /, attempt: int | None = None, stream: str = "stdout", offset: int = 0, *, rank: int = 0
    ) -> tuple[str, int]: ...
    def follow_logs(
        self, job_id: str, /, attempt: int | None = None, stream: str = "stdout", *, rank: int = 0
    ) -> AsyncGenerator[str, None]: ...
    async def job_events(self, job_id: str, /) -> list[dict[str, Any]]: ...
    async def answer(
        self,
        proposal_id: str,
        answer: str,
        /,
        *,
        edits: dict[str, int | str] | None = None,
        reason: str = "",
        proposal_hash: str = "",
    ) -> ProposalDocument: ...
    async def answer_batch(self, answers: list[dict[str, Any]], /) -> list[dict[str, Any]]: ...
    async def foresee(self, action: dict[str, Any], /) -> ForeseenDocument: ...
    async def branch(self, body: dict[str, Any], /) -> BranchDocument: ...
    async def decisions(self, cursor: str = "", limit: int = 50) -> DecisionPage: ...
    async def decision(self, cycle: int, /) -> DecisionDocument: ...
    async def set_mode(self, mode: str, /, reason: str = "") -> ModeDocument: ...
    async def cordon(self, worker: str, cordoned: bool, /, reason: str = "") -> WorkerDocument: ...
    async def set_budget(self, tenant: str, /, **fields: Any) -> TenantDocument: ...


@dataclass(frozen=True)
class Link:
    """How the connection stands. Times are on the feed's clock, seconds."""

    state: Literal["connecting", "live", "lost"] = "connecting"
    since: float = 0.0
    tries: int = 0  # failed ones since the last that worked
    retry_at: float | None = None
    why: str = ""
    round_trip_s: float | None = None  # of the newest snapshot


class Feed:
    """The newest snapshot and how the connection stands; calls `changed` whenever either is new."""

    def __init__(
        self,
        make_api: Callable[[], Api],
        *,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self._make_api = make_api
        self.read_only = read_only
        self.snapshot: SnapshotDocument | None = None
        self.link = Link(since=clock())
        self.at: int | None = None  # looking back at this sequence; None: the newest
        self.newest_seq = 0
        self.changed: Callable[[], None] = lambda: None
        self.clock = clock
        self._chance = chance or random.Random()  # jitter only: servers must not be hit by all at once
        self._skew_s = 0.0
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()

    @cached_property
    def api(self) -> Api:
        """Made when it is first needed: the frame is painted before the HTTP library is even imported."""
        return self._make_api()

    def now(self) -> float:
        """The server's time, seconds since the epoch; of a recording, the time of what is shown."""
        if self.snapshot is not None and self.snapshot.read_only:
            return self.snapshot.server_time
        return self.clock() + self._skew_s

    def why_not(self, role: str) -> str:
        """Why an action that needs `role` ("" = none) is off at this moment; "" when it is on."""
        if not role:
            return ""
        if self.snapshot is None:
            return "there is no connection yet"
        if self.link.state != "live":
            return f"the server is lost since {self.clock() - self.link.since:.0f} s"
        if self.snapshot.read_only:
            return "this is a recording: it can be looked at, not changed"
        if self.read_only:
            return "started with --read-only"
        roles = self.snapshot.key_roles
        if role not in roles and "admin" not in roles:
            return f"this key lacks the role {role!r}"
        return ""

    async def run(self) -> None:
        """Keeps the snapshot new until cancelled; whatever the server does, it tries again."""
        while True:
            try:
                await self.refresh()
                await self._follow()
            except ClientError as error:
                self._lost(str(error))
            except ValueError as error:
                # A server of another version: say so and go on trying, as with one that is gone.
                self._lost(f"its answer can't be read: {error}")
            await self._pause()

    async def refresh(self) -> None:
        """Fetch the snapshot once."""
        began = self.clock()
        try:
            async with asyncio.timeout(ANSWER_S):
                snapshot = await self.api.snapshot(self.at)
        except TimeoutError as error:
            raise ServerUnreachable(f"no snapshot within {ANSWER_S:.0f} s") from error
        took = self.clock() - began
        self._skew_s = snapshot.server_time - (began + took / 2)
        self.newest_seq = max(self.newest_seq, snapshot.seq, snapshot.last_seq)
        since = self.link.since if self.link.state == "live" else self.clock()
        self.link = Link("live", since, round_trip_s=took)
        self.snapshot = snapshot
        self.changed()

    async def look_at(self, seq: int | None) -> None:
        """Show the state as of `seq`; None shows the newest again. Raises ClientError."""
        before, self.at = self.at, seq
        try:
            await self.refresh()
        except ClientError:
            self.at = before
            raise

    def poke(self) -> None:
        """Something was sent: fetch soon, without waiting for its event."""
        self._news.set()

    def retry_now(self) -> None:
        self._hurry.set()

    async def _follow(self) -> None:
        # Not a TaskGroup: on 3.11 one that fails leaves its parent marked as being cancelled.
        both = {asyncio.create_task(self._read()), asyncio.create_task(self._fetch())}
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _read(self) -> None:
        async with contextlib.aclosing(self.api.events(self.newest_seq)) as events:
            async for event in events:
                seq = event.get("seq")
                if seq is not None:
                    self.newest_seq = max(self.newest_seq, int(seq))
                    self._news.set()
                elif self.snapshot is not None and self.now() - self.snapshot.server_time >= STALE_S:
                    self._news.set()
        raise ServerUnreachable("the server closed the stream of events")

    async def _fetch(self) -> None:
        quiet = True
        while True:
            await self._news.wait()
            # What comes in during this pause is in the same snapshot.
            await asyncio.sleep(EAGER_S if quiet else STEADY_S)
            self._news.clear()
            await self.refresh()
            quiet = not self._news.is_set()

    def _lost(self, why: str) -> None:
        tries = self.link.tries + 1
        since = self.link.since if self.link.state != "live" else self.clock()
        delay = min(BACKOFF_CAP_S, BACKOFF_S * 2 ** min(tries - 1, 10)) * self._chance.uniform(0.8, 1.2)
        state: Literal["connecting", "lost"] = "connecting" if self.snapshot is None else "lost"
        self.link = Link(state, since, tries, self.clock() + delay, why)
        self.changed()

    async def _pause(self) -> None:
        assert self.link.retry_at is not None
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self.link.retry_at - self.clock())):
                await self._hurry.wait()
        self.link = replace(self.link, retry_at=None)
        self.changed()


def is_gone(error: ClientError) -> bool:
    """The server says that there is no such thing, rather than that something went wrong."""
    return isinstance(error, ServerRefused) and error.status == 404


def connect(base_url: str, key: str | None, *, read_only: bool = False) -> Feed:
    """A feed from a real server; nothing is sent before `run`."""

    def make() -> Api:
        from agentorch.client import Client

        return Client(base_url, key)

    return Feed(make, read_only=read_only)
