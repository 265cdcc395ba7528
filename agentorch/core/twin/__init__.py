"""The twin: a fork of the state, run ahead in virtual time by the very core, with and without an action.

Owns how a state is forked, what is drawn (run times, arrivals, nodes that come), and how draws become ranges. Must
never change the state that it was given, have rules of its own, or give the same question two answers: draws come
from a seed, and the budget is a number of simulated events.
"""

from __future__ import annotations

from agentorch.core.twin.question import compare, foresee, foresee_together

__all__ = ["compare", "foresee", "foresee_together"]
