"""What the twin says: how things go on if nothing is done, and if an action is; and how it came out afterwards.

The twin forks the state and runs the core ahead in virtual time, several times, with run times and arrivals drawn from
what is known. Each number is a range over those draws.
"""

from __future__ import annotations

import msgspec


class Range(msgspec.Struct, frozen=True, gc=False):
    """Of one number over all draws: 10 %, 50 % and 90 % of them are not above these."""

    low: float
    mid: float
    high: float


NOTHING = Range(0.0, 0.0, 0.0)


class Waits(msgspec.Struct, frozen=True, gc=False):
    """How long the jobs of a pool and tier waited, those included that still wait at the horizon. Seconds."""

    pool: str
    tier: str
    p50_s: Range
    p95_s: Range


class Course(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How it goes from now until the horizon."""

    wait_p50_s: Range = NOTHING  # of the jobs that wait now or come, over all pools
    wait_p95_s: Range = NOTHING
    queued: Range = NOTHING  # jobs that wait at the horizon
    ended: Range = NOTHING  # jobs that ended by then
    misses: Range = NOTHING  # deadlines missed by then
    cost_usd_micros: Range = NOTHING  # spent by then, workers that idle not counted
    utilization_percent: Range = NOTHING  # of all workers, GPUs where a pool has any, else cpus
    preempted: Range = NOTHING  # jobs that were stopped for others
    lost_s: Range = NOTHING  # work that was done and will be done again, in seconds of a worker
    waits: tuple[Waits, ...] = ()
    # Medians of the draws at equally spaced times up to the horizon: how many wait then, and what nineteen of twenty of
    # those have not waited longer than, as observations measure it, per pool too.
    queue: tuple[float, ...] = ()
    waited_s: tuple[float, ...] = ()
    pool_waited_s: dict[str, tuple[float, ...]] = {}


#: The numbers of a course, by name, that are compared draw by draw and told to a model. The waits of each pool and what
#: is plotted are not among them.
MEASURES = (
    "wait_p50_s",
    "wait_p95_s",
    "queued",
    "ended",
    "misses",
    "cost_usd_micros",
    "utilization_percent",
    "preempted",
    "lost_s",
)


class Impact(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an action changes: the same draws without it and with it.

    `text` says why there are no numbers, or what is to be known about them.
    """

    at_ms: int = 0  # when it was computed
    horizon_s: float = 0.0
    draws: int = 0
    steps: int = 0  # simulated events with the action; the idle course took its own
    stopped_early: bool = False  # the budget of events was used up: fewer draws, or a nearer horizon, than wanted
    idle: Course | None = None  # nothing is done
    acted: Course | None = None
    gain_s: Range = NOTHING  # waiting time saved until the horizon, of all jobs together, draw by draw: idle - acted
    # Of each measure of a course, by its field's name: what the action changes, draw by draw: acted - idle. Chance is
    # the same in both, so this tells a small change from noise where the two ranges can't.
    changed: dict[str, Range] = {}
    text: str = ""

    def marked(self, text: str) -> Impact:
        """With what is to be known about its numbers, if it has any."""
        return self if self.idle is None else msgspec.structs.replace(self, text=text)


#: The text of an impact under which the world has moved since.
OUTDATED = "computed before the world moved"
#: And of one whose action was another then.
EDITED = "computed for the action as it was before it was edited"


class Outlook(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The answer to one question: one impact for each action asked about, in order, beside the same idle course."""

    horizon_s: float
    idle: Course
    impacts: tuple[Impact, ...] = ()
    draws: int = 0
    steps: int = 0
    stopped_early: bool = False
    text: str = ""


class Measured(msgspec.Struct, frozen=True, gc=False):
    """One predicted number and what it really was at the horizon."""

    measure: str  # a field of `Course`
    predicted: Range
    measured: float

    @property
    def inside(self) -> bool:
        return self.predicted.low <= self.measured <= self.predicted.high


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How an action came out, as of its horizon."""

    at_ms: int
    measures: tuple[Measured, ...]


class Watched(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How it stood when an action began whose impact will be scored. Counts are of everything ever."""

    at_ms: int
    until_ms: int  # the horizon of the impact, counted from here
    ended: int = 0
    misses: int = 0
    cost_usd_micros: int = 0
    preempted: int = 0


class Calibration(msgspec.Struct, frozen=True, gc=False):
    """Of one brain and kind of action: predictions that were scored, and how many lay inside their range."""

    scored: int = 0
    inside: int = 0


class Calibrated(msgspec.Struct, frozen=True, gc=False):
    """`Calibration`, with whose it is."""

    brain: str
    kind: str
    scored: int
    inside: int
