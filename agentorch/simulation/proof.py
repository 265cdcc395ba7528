"""Proof that a recording decides again as it did, without model or network: its verdicts, and its models' talks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from agentorch.core.evolve import evolve
from agentorch.core.guardrails.drafts import recordable
from agentorch.core.state import State
from agentorch.errors import ConfigError, Refused
from agentorch.model import events as ev
from agentorch.model.brain import Brain
from agentorch.model.proposals import BrainReport, Draft
from agentorch.model.twin import Outlook
from agentorch.simulation.asking import ask

Replayed = Callable[[BrainReport], Brain]


class Talks(msgspec.Struct):
    """Recorded talks with models, each held again from its record."""

    talks_held_again: int = 0
    talks_same: int = 0  # that ended in the same drafts, hold or error
    talks_not_again: int = 0  # whose record can't be read by this version, or needs what is not installed
    first_talk_different: int | None = None  # its sequence
    why: str = ""


def unforeseen(state: State, drafts: tuple[Draft, ...], now_ms: int) -> Outlook:
    """A recorded talk holds what the twin answered."""
    raise Refused("unreachable", "the record says what was foreseen")


async def hold_again(events: Sequence[ev.Event], replayed: Replayed) -> Talks:
    """Every talk with a model, from its recorded exchanges. `replayed` makes a brain of a report; raises ValueError or
    ConfigError for one that it can't."""
    state = State()
    found = Talks()
    seen: ev.CycleObserved | None = None
    for seq, event in enumerate(events, 1):
        if isinstance(event, ev.CycleObserved):
            seen = event
        elif isinstance(event, ev.CycleDecided) and event.report.exchanges and seen is not None:
            await _talk(found, state, seq, event, seen, replayed)
        evolve(state, event)
    return found


async def _talk(
    found: Talks, state: State, seq: int, event: ev.CycleDecided, seen: ev.CycleObserved, replayed: Replayed
) -> None:
    try:
        brain = replayed(event.report)
    except (ValueError, ConfigError) as error:
        found.talks_not_again += 1
        found.why = found.why or f"sequence {seq}: {error}"
        return
    again = recordable(await ask(brain, seen.observation, state, event.at_ms, unforeseen))
    found.talks_held_again += 1
    if _essence(again) == _essence(event.report):
        found.talks_same += 1
    elif found.first_talk_different is None:
        found.first_talk_different = seq
        found.why = f"sequence {seq}: {again.error}" if again.error else found.why


def _essence(report: BrainReport) -> bytes:
    said = (report.brain, report.drafts, report.hold, report.error)
    return msgspec.json.encode(said, order="deterministic")
