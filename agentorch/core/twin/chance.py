"""Chance, from a seed: the same numbers for the same question, with an action and without it.

Common random numbers (Glasserman and Yao, Management Science 38, 1992): a job lasts equally long in both courses of a
draw, so that their difference is the action's and not that of the dice.
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

_MASK = 2**64 - 1
_NORMAL = NormalDist()
#: How much the run times of one draw have in common: the correlation of a one-factor Gaussian copula (Li, Journal of
#: Fixed Income 9, 2000). What runs at one time is often of one campaign: its runs are long together, or short together.
TOGETHER = 0.1

#: What is drawn; each has numbers of its own.
RUN_TIME, ARRIVALS, PROVISIONING = range(3)


def mixed(seed: int, what: int, draw: int, number: int) -> int:
    """0 to 2**64 - 1: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = number * 0x9E3779B97F4A7C15 + (draw + 1) * 0xD1B54A32D192ED03 + (3 * seed + what) * 0x8CB92BA72F3D8DD7
    value &= _MASK
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


class Dice:
    """Of one draw of so many. The common part is spread evenly over the draws, each taking its share of the range."""

    __slots__ = ("_common", "_own", "draw", "seed")

    def __init__(self, seed: int, draw: int, draws: int) -> None:
        self.seed = seed
        self.draw = draw
        place = (7 * draw + 3) % draws if draws % 7 else draw  # a permutation: few draws are not the short ones alone
        self._common = sqrt(TOGETHER) * _NORMAL.inv_cdf((place + 0.5) / draws)
        self._own = sqrt(1 - TOGETHER)

    def run_time(self, number: int) -> int:
        """Of a job, by its number: 0 to 2**32 - 1, as `Expectation.draw_ms` takes it."""
        own = (mixed(self.seed, RUN_TIME, self.draw, number) >> 11 | 1) / 2**53
        return min(2**32 - 1, int(_NORMAL.cdf(self._common + self._own * _NORMAL.inv_cdf(own)) * 2**32))

    def below(self, what: int, number: int, count: int) -> int:
        """One of `count`, each as likely."""
        return mixed(self.seed, what, self.draw, number) * count >> 64
