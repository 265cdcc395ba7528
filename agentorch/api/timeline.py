"""The life of one job, read from the ledger: what really happened, in order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec

from agentorch.api.views.log import job_line
from agentorch.core.state import State
from agentorch.model.events import EVENT_NAMES, Event
from agentorch.model.jobs import Job
from agentorch.model.units import seconds
from agentorch.runtime.source import Source
from agentorch.schemas.documents import JobEventDocument, JobEventsDocument

#: Timelines kept in memory, so that looking at a job again reads only what is new.
TIMELINES_KEPT = 64
EVENTS_SHOWN = 500


class _Timeline:
    __slots__ = ("events", "read_to")

    def __init__(self, read_to: int) -> None:
        self.read_to = read_to
        self.events: list[tuple[int, Event]] = []


class Timelines:
    """Reads at most one ledger range at a time: a walk over a long ledger must not crowd out everything else."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: OrderedDict[str, _Timeline] = OrderedDict()
        self._one = asyncio.Lock()

    async def of(self, job_id: str, start_seq: int, upto_seq: int) -> JobEventsDocument:
        """Events of the job within (start, upto]. `start_seq`: a sequence before which it can't have been submitted."""
        async with self._one:
            kept = self._kept.get(job_id) or _Timeline(start_seq)
            self._kept[job_id] = kept
            self._kept.move_to_end(job_id)
            if len(self._kept) > TIMELINES_KEPT:
                self._kept.popitem(last=False)
            if kept.read_to < upto_seq:
                await self._read(job_id, kept, upto_seq)
        found = [(seq, event) for seq, event in kept.events if seq <= upto_seq]
        return JobEventsDocument(
            items=[_document(seq, event) for seq, event in found[-EVENTS_SHOWN:]], truncated=len(found) > EVENTS_SHOWN
        )

    async def _read(self, job_id: str, kept: _Timeline, upto_seq: int) -> None:
        async for batch in self._source.follow(kept.read_to):
            for seq, event in batch:
                if getattr(event, "job", None) == job_id:
                    kept.events.append((seq, event))
            if batch:
                kept.read_to = batch[-1][0]
            if not batch or kept.read_to >= upto_seq:
                return


def earliest_seq(state: State, job: Job) -> int:
    """A sequence at or before the job's submission: that of the newest decision taken before it."""
    found = 0
    for decision in state.facts.decisions.values():
        if decision.at_ms >= job.submitted_ms:
            break
        found = decision.seq
    return found


def _document(seq: int, event: Event) -> JobEventDocument:
    return JobEventDocument(
        seq=seq,
        at=seconds(event.at_ms),
        event=EVENT_NAMES[type(event)],
        text=job_line(event),
        body=msgspec.to_builtins(event),
    )
