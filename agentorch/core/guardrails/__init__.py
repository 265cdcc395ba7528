"""The guardrails: what may be done at all, by whom it must be asked, and why.

Owns the rules G1 to G17 as pure functions of a state, an action and a time, and what an answer is bound to. A rule says
allow, ask or deny with its id and numbers; the strictest wins; a rule that fails is a deny. It must never read a clock,
trust a word of a brain, change the state, or be skipped: what is proposed is judged when it is handed in and again, on
the state of that moment, when it is carried out. Settings only tighten it.
"""

from agentorch.core.guardrails.binding import fingerprint, proposal_hash
from agentorch.core.guardrails.edits import edit_fields, narrowed
from agentorch.core.guardrails.judge import RULES, judge, preview, rejudge
from agentorch.core.guardrails.selection import affected_jobs

__all__ = [
    "RULES",
    "affected_jobs",
    "edit_fields",
    "fingerprint",
    "judge",
    "narrowed",
    "preview",
    "proposal_hash",
    "rejudge",
]
