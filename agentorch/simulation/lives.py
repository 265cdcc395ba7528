"""How long the attempts of one course run: as they did, as far as that is known; else as is to be expected."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agentorch.core.facts import Facts
from agentorch.core.forecast.durations import expect
from agentorch.model import events as ev
from agentorch.model.jobs import Cause
from agentorch.simulation.outside import Ending, Life, Outside

COMPLETED = Ending(Cause.completed, None, exit_code=0)


class Lengths(msgspec.Struct, frozen=True):
    """Run times of what had not ended by itself, by the recording's job: expected, or None where nothing is known."""

    whole_ms: dict[str, int | None]

    @property
    def expected(self) -> int:
        return sum(length_ms is not None for length_ms in self.whole_ms.values())

    @property
    def unknown(self) -> int:
        return sum(length_ms is None for length_ms in self.whole_ms.values())


def lengths(outside: Outside, end: Facts) -> Lengths:
    """What runs like those in the recording last, given how long each ran already: medians, at its end."""
    found: dict[str, int | None] = {}
    for name, life in outside.lives.items():
        job = end.jobs.get(name)
        if life.over or job is None:
            continue
        left_ms = expect(end, job, life.least_ms).quantile_ms(50)
        found[name] = None if left_ms is None else life.least_ms + max(0, left_ms)
    return Lengths(found)


class Run(msgspec.Struct, frozen=True):
    """One attempt from its first sign on. `never`: it never ran, and why. `end_ms` None: not within what is known."""

    end_ms: int | None = None
    never: Cause | None = None
    said: Sequence[tuple[int, ev.JobProgressed]] = ()


class _Now(msgspec.Struct):
    """How far one job is in one course."""

    ending: int = 0  # which is next
    done_ms: int = 0  # of it, in attempts that were stopped
    began_ms: int | None = None
    launches: int = 0


class Lives:
    """Names are those of the recording."""

    def __init__(self, outside: Outside, of: Lengths, submits: Sequence[str]) -> None:
        self.outside = outside
        self.of = of
        self._submits = iter(submits)
        self._now: dict[str, _Now] = {}

    def submitted(self) -> str:
        """The job of the next submit."""
        return next(self._submits)

    def now(self, job: str) -> _Now:
        return self._now.setdefault(job, _Now())

    def life(self, job: str) -> Life:
        return self.outside.lives[job]

    def launch_ms(self, job: str) -> int:
        """From the order to the first sign of the next attempt."""
        now, known = self.now(job), self.life(job).launch_ms
        now.launches += 1
        return known[now.launches - 1] if now.launches <= len(known) else self.outside.launch_ms

    def begins(self, job: str, at_ms: int) -> Run:
        now, ending = self.now(job), self.ending(job)
        if ending is not COMPLETED and ending.run_ms is None:
            now.ending += 1
            return Run(never=ending.cause)
        whole_ms = self.of.whole_ms.get(job) if ending is COMPLETED else ending.run_ms
        now.began_ms = at_ms
        begin_ms = at_ms - now.done_ms
        said = [(begin_ms + after_ms, event) for after_ms, event in self.life(job).marks if after_ms >= now.done_ms]
        return Run(end_ms=None if whole_ms is None else begin_ms + whole_ms, said=said)

    def ending(self, job: str) -> Ending:
        """How the present attempt ends if nobody stops it. After the last that is known: as is to be expected."""
        life, now = self.life(job), self.now(job)
        if now.ending < len(life.endings):
            return life.endings[now.ending]
        return life.endings[-1] if life.over and life.endings else COMPLETED

    def ends(self, job: str) -> Ending:
        now, ending = self.now(job), self.ending(job)
        now.ending += 1
        now.done_ms = 0
        now.began_ms = None
        return ending

    def stops(self, job: str, at_ms: int) -> None:
        """What it has done is kept if it goes on from a checkpoint: up to the last that it told of, else all of it."""
        now, life = self.now(job), self.life(job)
        if now.began_ms is None:
            return
        done_ms = now.done_ms + max(0, at_ms - now.began_ms)
        now.began_ms = None
        if not life.resumes:
            now.done_ms = 0
            return
        saved = [after_ms for after_ms, event in life.marks if event.checkpointed and after_ms <= done_ms]
        told = any(event.checkpointed for _, event in life.marks)
        now.done_ms = max([now.done_ms, *saved]) if told else done_ms
