"""What an option is worth by the twin's numbers: waiting saved and deadlines met, less work lost and money wasted.

All in seconds of one job's waiting, so that a worth is compared with what waiting is worth, and with nothing else.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agentorch.core.policy.options import Option
from agentorch.core.policy.words import dollars, span, spread
from agentorch.model import limits
from agentorch.model.twin import NOTHING, Calibrated, Impact, Range

#: Under a minute of waiting saved, of all jobs together, nobody notices; an action costs a share of what G5 lets pass.
LEAST_GAIN_S: Final = 60.0
#: A missed deadline is as bad as an hour of waiting: whoever set it said that being late is worse than waiting.
MISS_S: Final = 3_600.0
#: Of expected misses: one of the three numbers that a range has must move by at least one deadline.
LEAST_MISSES: Final = 0.25
#: A stop costs this beside the work that is lost: the grace, the place in the line, the start anew.
STOP_S: Final = 60.0
#: Of options whose worth comes this near to the best, the one that adds least is taken.
NEARLY: Final = 0.95
#: What must be asked is worth half: a person looks at it later, or never, and then it was for nothing.
ASKED: Final = 0.5
#: A range is to hold eight of ten outcomes. Where it held fewer, gains count as much less, and must be as much higher.
NOMINAL: Final = 0.8
DOUBT_MOST: Final = 4.0


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """`waiting_usd_micros_per_hour`: what it is worth that one job waits an hour less."""

    waiting_usd_micros_per_hour: int = 2_000_000


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """An option with its numbers. `clear`: the gain is outside of the noise. `net_s`: what is left of it."""

    option: Option
    impact: Impact
    gain_s: Range
    misses: float  # deadlines met that would be missed, as expected
    cost_usd_micros: float | None  # wasted or dearer, below zero what is saved; None = unknown
    net_s: float
    doubt: float
    clear: bool
    asks: bool = False  # a person would have to say yes

    @property
    def ranks_s(self) -> float:
        """Its worth beside others."""
        return self.net_s * ASKED if self.asks else self.net_s

    @property
    def harms(self) -> bool:
        """Waits or misses would clearly grow, by more than what is saved is worth."""
        waits = self.gain_s.high < 0 and self.gain_s.mid <= -LEAST_GAIN_S
        return (waits or self.misses <= -LEAST_MISSES) and self.net_s < 0

    def said(self) -> str:
        """Its numbers in words."""
        saved = f"{spread(self.gain_s)} of waiting saved in {span(self.impact.horizon_s)}"
        misses = f", {self.misses:.1f} deadlines met" if self.misses else ""
        money = "" if self.cost_usd_micros == 0 else f", {self._money()}"
        doubted = f", gains count {100 / self.doubt:.0f} % for past errors" if self.doubt > 1 else ""
        early = ", stopped early" if self.impact.stopped_early else ""
        asked = ", counted half: a person must be asked" if self.asks else ""
        return f"{saved}{misses}{self._lost()}{money}; worth {span(self.net_s)}{asked}{doubted}{early}"

    def _money(self) -> str:
        cost = self.cost_usd_micros
        if cost is None:
            return "wastes an unknown sum"
        return f"wastes {dollars(cost)}" if cost > 0 else f"saves {dollars(-cost)}"

    def _lost(self) -> str:
        lost_s = _change(self.impact, "lost_s")
        return f", {span(lost_s)} of work lost" if lost_s > 0 else ""

    def verdict(self) -> str:
        """Why it was not chosen, where it is not the best."""
        if self.clear:
            return ""
        if self.net_s <= 0 < self.gain_s.low:
            return "not worth its price"
        if self.gain_s.low <= 0 <= self.gain_s.high:
            return "inside the noise"
        return f"under the least that counts, {span(LEAST_GAIN_S * self.doubt)}" if self.gain_s.mid > 0 else "harmful"


def has_numbers(impact: Impact | None) -> bool:
    return impact is not None and impact.idle is not None and impact.acted is not None and impact.draws > 0


def expected(value: Range) -> float:
    """The mean, by the 30-40-30 rule (Hurst, Brown and Swanson, AAPG Bulletin 84(12), 2000): what rarely happens and
    then counts much has a middle of zero, and its mean is not."""
    return 0.3 * value.low + 0.4 * value.mid + 0.3 * value.high


def doubt_of(calibration: Calibrated | None) -> float:
    """By how much gains must be higher: 1 when enough outcomes lay inside, or when there are too few to tell."""
    if calibration is None or calibration.scored < limits.CALIBRATION_LEAST:
        return 1.0
    inside = calibration.inside / calibration.scored
    return min(DOUBT_MOST, max(1.0, NOMINAL / max(inside, NOMINAL / DOUBT_MOST)))


def weigh(
    option: Option, impact: Impact, weights: Weights, *, doubt: float, committed_s: float, asks: bool = False
) -> Worth:
    """`impact` must have numbers. `committed_s`: how long what was added can't be given back."""
    gain = impact.gain_s
    misses = -_change(impact, "misses")
    cost = _wasted(option, impact, committed_s)
    lost = max(0.0, _change(impact, "lost_s")) + STOP_S * max(0.0, _change(impact, "preempted"))
    paid_s = 3_600 * (cost or 0.0) / max(1, weights.waiting_usd_micros_per_hour)
    saved_s = expected(gain) + MISS_S * misses
    net_s = (saved_s / doubt if saved_s > 0 else saved_s) - lost - paid_s
    saves = gain.low > 0 and gain.mid >= LEAST_GAIN_S * doubt
    return Worth(
        option=option,
        impact=impact,
        gain_s=gain,
        misses=misses,
        cost_usd_micros=cost,
        net_s=net_s,
        doubt=doubt,
        clear=(saves or misses >= LEAST_MISSES * doubt) and net_s > 0,
        asks=asks,
    )


def best(worths: list[Worth]) -> Worth | None:
    """Of the clear ones the one with the highest worth, or the smallest that is nearly worth as much. What a person
    would be asked for counts half."""
    clear = [worth for worth in worths if worth.clear]
    if not clear:
        return None
    enough = NEARLY * max(worth.ranks_s for worth in clear)
    return min(
        (worth for worth in clear if worth.ranks_s >= enough), key=lambda worth: (worth.option.adds, -worth.ranks_s)
    )


def _change(impact: Impact, measure: str) -> float:
    """Acted less idle, as expected: draw by draw where the twin says that, else of the two courses."""
    changed = impact.changed.get(measure)
    if changed is not None:
        return expected(changed)
    before: Range = getattr(impact.idle, measure, NOTHING)
    after: Range = getattr(impact.acted, measure, NOTHING)
    return expected(after) - expected(before)


def _wasted(option: Option, impact: Impact, committed_s: float) -> float | None:
    """Micro-dollars that would not be spent otherwise: of what is added, what work does not use while it can't be given
    back; of what work uses, what it would cost less elsewhere. Work that is only done earlier costs what it costs.
    Below zero: what giving back saves."""
    if option.hourly_usd_micros is None:
        return None
    if option.hourly_usd_micros < 0:  # what is given back can be had again at any time, so all of it is saved
        return option.hourly_usd_micros * impact.horizon_s / 3_600
    used = max(0.0, _change(impact, "cost_usd_micros"))
    added = option.hourly_usd_micros * min(committed_s, impact.horizon_s) / 3_600
    return max(0.0, added - used) + used * option.dearer
