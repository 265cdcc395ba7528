"""The rule brain: what a careful operator would want, from the numbers of one observation and of the twin.

Like any brain it only proposes. It must never act, remember anything between cycles, read a clock or roll dice: it is a
function of the observation and of what guardrails and twin answer.
"""

from agentorch.core.policy.brain import BRAIN_ID, RuleBrain, candidates, decide, hold_reason, problems
from agentorch.core.policy.weighing import Weights

__all__ = ["BRAIN_ID", "RuleBrain", "Weights", "candidates", "decide", "hold_reason", "problems"]
