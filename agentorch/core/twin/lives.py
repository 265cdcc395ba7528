"""How long work will last in each draw, and what work will come."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from math import ceil
from typing import NamedTuple

import msgspec

from agentorch.core.facts import Facts
from agentorch.core.forecast.durations import Expectation, expect
from agentorch.core.forecast.memory import carried_ms, kinds, ran_ms
from agentorch.core.twin.chance import ARRIVALS, Dice
from agentorch.model import limits
from agentorch.model.jobs import ON_WORKER, Job, JobSpec

#: Work like which nothing ever ended lasts from this to that, each factor as likely: half of it not ten minutes.
UNKNOWN_LEAST_MS = 10 * limits.SECOND_MS
UNKNOWN_MOST_MS = 10 * limits.HOUR_MS
#: What was preempted saves its work and starts again, and that takes so long. The simulator counts the same.
RESTART_MS = limits.MINUTE_MS
#: What comes is what came lately: blocks of this part of the horizon, from so many horizons back, so that bursts stay
#: bursts and kinds of work stay together: the circular block bootstrap (Politis and Romano, in: Exploring the Limits of
#: Bootstrap, 1992).
BLOCKS_PER_HORIZON = 6
HORIZONS_BACK = 3
#: A past shorter than this tells no rate: all that came in it may have been one burst.
LEAST_PAST_MS = limits.TWIN_HORIZON_MS // BLOCKS_PER_HORIZON


class Lives:
    """Run times, in one place for all courses. What a job has run when the twin forks counts towards its time."""

    def __init__(self, facts: Facts, now_ms: int) -> None:
        self.facts = facts
        self.now_ms = now_ms
        self.known: dict[tuple[tuple[str, ...], int | None], Expectation] = {}
        self.left: dict[str, tuple[Expectation, int]] = {}  # of a job that has run already: what is left, and its age
        self.unknown = 0  # jobs like which nothing is known

    def look(self, job: Job) -> None:
        """Learn what is to be expected of a job that has run, before anything is drawn."""
        ran = ran_ms(job, self.now_ms) if job.state in ON_WORKER else carried_ms(job)
        if ran or job.state in ON_WORKER:
            left = self.whole(job).after(ran) or expect(self.facts, job, ran)
            self.left[job.id] = left, ran
            self.unknown += not left.known
        else:
            self.unknown += not self.whole(job).known

    def whole(self, job: Job) -> Expectation:
        """Of a whole run. Jobs of one kind share it."""
        key = kinds(job.tenant, job.spec, job.resources), job.spec.max_duration_ms
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = expect(self.facts, job)
        return found

    def lasts_ms(self, job: Job, dice: Dice) -> int | None:
        """How long it runs in this draw, all that it ran before included; None = longer than anybody knows."""
        chance = dice.run_time(job.number)
        left, ran = self.left.get(job.id) or (self.whole(job), 0)
        drawn = left.draw_ms(chance)
        if not left.known:
            guess = _unknown_ms(chance, ran)
            drawn = guess if drawn is None else min(guess, drawn)
        return None if drawn is None else ran + max(1, drawn)


def _unknown_ms(chance: int, ran: int) -> int:
    """Nothing is known: what has lasted may last as long again (Gott, Nature 363, 1993), else any length."""
    share = (chance + 0.5) / 2**32
    if ran >= UNKNOWN_LEAST_MS:
        return int(ran * share / (1 - share))
    return int(UNKNOWN_LEAST_MS * (UNKNOWN_MOST_MS / UNKNOWN_LEAST_MS) ** share)


def before_ms(job: Job) -> int:
    """What a job on a worker had run before its newest attempt, if it goes on from there."""
    return job.ran_before_ms if job.spec.checkpoint is not None else 0


class Arrival(NamedTuple):
    """A job that came, or will have come."""

    at_ms: int
    tenant: str
    spec: JobSpec


class Comers:
    """What came lately, to be drawn from. Taken from the state itself: a fork has forgotten what has ended."""

    def __init__(self, facts: Facts, now_ms: int) -> None:
        newest = [facts.jobs[name] for name in islice(reversed(facts.jobs), limits.TWIN_ARRIVALS_MAX)]
        self.now_ms = now_ms
        self.recent = [Arrival(job.submitted_ms, job.tenant, job.spec) for job in reversed(newest)]
        self.times = [one.at_ms for one in self.recent]
        whole = len(newest) < limits.TWIN_ARRIVALS_MAX  # else it reaches back no further than the oldest of them
        oldest_ms = self.recent[0].at_ms if self.recent else now_ms
        self.since_ms = min(facts.arrivals_since_ms or oldest_ms, oldest_ms) if whole else oldest_ms
        #: How far back it is known who came; None: all the way, as before the first nobody came.
        self.reach_ms = None if whole else now_ms - oldest_ms

    @property
    def too_few_s(self) -> int | None:
        """The seconds that the past has, if they are too few to tell how much will come; None when nobody came."""
        past_ms = self.now_ms - self.since_ms
        return past_ms // 1000 if self.recent and past_ms < LEAST_PAST_MS and self.reach_ms is None else None

    def drawn(self, dice: Dice, horizon_ms: int) -> Iterator[Arrival]:
        """Those of one draw, in order. The past is bent into a ring, so that all of it counts alike.

        A past shorter than the horizon, or than `LEAST_PAST_MS`, is not stretched: who came in it came once in so long.
        """
        block_ms = max(1, ceil(horizon_ms / BLOCKS_PER_HORIZON))
        least_ms = horizon_ms if self.reach_ms is not None else max(horizon_ms, LEAST_PAST_MS)
        begin_ms = min(max(self.since_ms, self.now_ms - HORIZONS_BACK * horizon_ms), self.now_ms - least_ms)
        ring_ms = self.now_ms - begin_ms
        end_ms = self.now_ms + horizon_ms
        for block in range(BLOCKS_PER_HORIZON):
            from_ms = begin_ms + dice.below(ARRIVALS, block, ring_ms)
            shift_ms = self.now_ms + block * block_ms - from_ms
            yield from self._later(from_ms, min(from_ms + block_ms, self.now_ms, end_ms - shift_ms), shift_ms)
            over_ms = min(from_ms + block_ms - self.now_ms, end_ms - shift_ms - self.now_ms)
            if over_ms > 0:
                yield from self._later(begin_ms, begin_ms + over_ms, shift_ms + ring_ms)

    def _later(self, after_ms: int, upto_ms: int, shift_ms: int) -> Iterator[Arrival]:
        first, last = bisect_right(self.times, after_ms), bisect_right(self.times, upto_ms)
        for one in self.recent[first:last]:
            yield Arrival(one.at_ms + shift_ms, one.tenant, _as_new(one.spec, shift_ms))


def _as_new(spec: JobSpec, shift_ms: int) -> JobSpec:
    """The same asked for so much later; of which other jobs it needs the end is not known."""
    if spec.deadline_ms is None and not spec.not_before_ms and not spec.depends_on:
        return spec
    return msgspec.structs.replace(
        spec,
        deadline_ms=None if spec.deadline_ms is None else spec.deadline_ms + shift_ms,
        not_before_ms=spec.not_before_ms + shift_ms if spec.not_before_ms else 0,
        depends_on=(),
    )
