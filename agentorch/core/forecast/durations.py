"""How long work will run, from runs like it.

The runs of the finest kind count, and beside them each coarser kind lends some of its newest: a quarter of what is
there already, and as many as it takes to have `LEAST_RUNS`. Lent runs play the part of the prior's weight in a
Dirichlet process (Ferguson, Annals of Statistics 1973) whose base is the coarser kind: few runs are held against a
wider world, many speak for themselves.

Of n runs, the chance that the next is not longer than the k-th shortest is k / (n + 1). With runs that were cut off,
this becomes the product-limit estimate with the next run itself among those that still run: each end leaves
r / (r + 1) of it, r being those not over before (Berliner and Hill, JASA 1988; Kaplan and Meier, JASA 1958). What lies
beyond the longest run is unknown, and not answered. Work that has run for t is compared with the runs longer than t.
If those are too few, what lies beyond the longest, or beyond t, is taken to be as long again as likely as not: what has
lasted for m lasts longer than x with m / x (Gott, Nature 363, 1993).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from agentorch.core.facts import Facts
from agentorch.core.forecast.memory import EVERYTHING, describe, kinds
from agentorch.model.jobs import Job

#: Fewer runs say nothing of the middle 80 %: the shortest and the longest of nine are its ends.
LEAST_RUNS = 9
#: Of what is there already, the share that a coarser kind lends.
LENT_SHARE = 4


class Expectation:
    """How much longer work will run. `runs` is how many like it are known, 0 when those are too few to say."""

    __slots__ = ("_cut", "_ordered", "_outlived", "basis", "most_ms", "ran_ms", "runs")

    def __init__(
        self, ordered: Sequence[int], runs: int, basis: str, ran_ms: int, most_ms: int | None, *, outlived: bool = False
    ) -> None:
        self._ordered = ordered
        self._outlived = outlived  # it has run longer than nearly all that is known
        self._cut = 1 in map((1).__and__, ordered)
        self.runs = runs
        self.basis = basis  # in words
        self.ran_ms = ran_ms
        self.most_ms = most_ms  # it will be stopped after so much more

    @property
    def known(self) -> bool:
        """Whether anything is known but the longest that it may run."""
        return bool(self._ordered) or self._outlived

    def quantile_ms(self, percent: int) -> int | None:
        """The time that so many percent of such work do not exceed, rounded away from the median; None = unknown.

        `percent` is 1 to 99. It never falls as `percent` grows.
        """
        if self._cut:
            found = self._product_limit(percent)
        else:
            places = percent * (len(self._ordered) + 1)
            found = self._place(places // 100 if percent < 50 else -(-places // 100))
        if found is None and self._outlived:
            found = self._beyond((100 - percent) / 100)
        return self._left_ms(found)

    def after(self, ran_ms: int) -> Expectation | None:
        """The same once it has run for that long, from those of these runs that were longer; None if too few were."""
        longer = self._ordered[bisect_right(self._ordered, 2 * ran_ms + 1) :]
        if len(longer) < LEAST_RUNS:
            return None
        most_ms = None if self.most_ms is None else max(0, self.most_ms - ran_ms)
        return Expectation(longer, self.runs, self.basis, ran_ms, most_ms)

    def draw_ms(self, chance: int) -> int | None:
        """One of the run times, chosen by `chance` in 0 to 2**32 - 1; None = longer than is known.

        A run that was cut off stands for the next longer one that was not, as if its weight went to its right
        (Efron, Berkeley Symposium 1967).
        """
        ordered = self._ordered
        places = len(ordered) + self._outlived
        at = chance * places >> 32
        while at < len(ordered) and ordered[at] & 1:
            at += 1
        if at < len(ordered):
            return self._left_ms(ordered[at])
        return self._left_ms(self._beyond((2**32 - chance) / 2**32) if self._outlived else None)

    def _left_ms(self, run: int | None) -> int | None:
        if run is None:
            return self.most_ms
        left_ms = (run >> 1) - self.ran_ms
        return left_ms if self.most_ms is None else min(left_ms, self.most_ms)

    def _place(self, rank: int) -> int | None:
        if rank > len(self._ordered) or not self._ordered:
            return None
        return self._ordered[max(0, rank - 1)]

    def _beyond(self, chance: float) -> int:
        """A run that is exceeded with this chance, where all that is known is exceeded with a greater one."""
        left = 1.0
        for at, run in enumerate(self._ordered):
            if not run & 1:
                still = len(self._ordered) - at
                left *= still / (still + 1)
        longest = self._ordered[-1] >> 1 if self._ordered else self.ran_ms
        return 2 * int(longest * max(1.0, left / chance))

    def _product_limit(self, percent: int) -> int | None:
        left, before = 1.0, None
        for at, run in enumerate(self._ordered):
            if run & 1:
                continue
            still = len(self._ordered) - at
            left *= still / (still + 1)
            over = 100 * (1 - left)
            if percent < 50 and over > percent + 1e-9:
                return before if before is not None else run
            if percent >= 50 and over >= percent - 1e-9:
                return run
            before = run
        return before if percent < 50 else None


def expect(facts: Facts, job: Job, ran_ms: int = 0) -> Expectation:
    """How much longer the job will run once it has run for `ran_ms`. It need not be in the facts."""
    most_ms = None if job.spec.max_duration_ms is None else max(0, job.spec.max_duration_ms - ran_ms)
    return expect_kinds(facts, kinds(job.tenant, job.spec, job.resources), ran_ms, most_ms)


def expect_kinds(facts: Facts, of: Sequence[str], ran_ms: int = 0, most_ms: int | None = None) -> Expectation:
    """As `expect`, for any work of these kinds, the finest first, that will be stopped after `most_ms`."""
    longer = 2 * ran_ms + 1
    pooled: list[int] = []
    known = 0  # a coarser kind holds the same runs again, so that many are known as the largest holds
    basis = EVERYTHING
    finer: Sequence[int] = ()
    for kind in of:
        found: Sequence[int] = facts.runs.get(kind, ())
        if ran_ms:
            found = [run for run in found if run > longer]
        if not pooled:
            pooled += found
        elif found != finer:  # the same runs tell nothing more
            pooled += found[-max(LEAST_RUNS - len(pooled), len(pooled) // LENT_SHARE) :]
        if known < LEAST_RUNS and len(found) > known:
            known, basis = len(found), kind
        finer = found
    if known < LEAST_RUNS and (not ran_ms or len(facts.runs.get(EVERYTHING, ())) < LEAST_RUNS):
        return Expectation((), 0, _unknown(known, ran_ms, most_ms), ran_ms, most_ms)
    pooled.sort()
    if known < LEAST_RUNS:
        text = f"{known or 'no'} runs longer than it so far, and that what has lasted may last as long again"
        return Expectation(pooled, known, text, ran_ms, most_ms, outlived=True)
    after = " that ran longer" if ran_ms else ""
    return Expectation(pooled, known, f"{known} runs of {describe(basis)}{after}", ran_ms, most_ms)


def _unknown(known: int, ran_ms: int, most_ms: int | None) -> str:
    few = "no run" if not known else "only 1 run" if known == 1 else f"only {known} runs"
    text = f"{few} {'longer than it so far' if ran_ms else 'like it'} known, and it takes {LEAST_RUNS}"
    return text if most_ms is None else f"its longest duration, for {text}"
