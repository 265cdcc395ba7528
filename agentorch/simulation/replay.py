"""A recording against another mind: its decisions side by side, and the whole time again in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agentorch.config.overrides import Overrides
from agentorch.errors import ConfigError
from agentorch.model import events as ev
from agentorch.model.brain import Brain
from agentorch.model.units import seconds
from agentorch.runtime.recording import Recording
from agentorch.schemas.replay import ReplayDocument
from agentorch.simulation.asking import Bounded
from agentorch.simulation.decisions import Compared, Window, side_by_side
from agentorch.simulation.supervised import BRAIN_TIMEOUT_S, no_twin

#: (cycles done, of so many), over everything that is driven.
Progress = Callable[[int, int], None]


def untold(done: int, total: int) -> None:
    """Nobody asks how far it is."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording is replayed with. The window is sequence numbers; `upto` None = to the end."""

    overrides: Overrides = Overrides()
    after: int = 0
    upto: int | None = None
    day: bool = True  # also drive the whole time again
    timeout_s: float = BRAIN_TIMEOUT_S


def reports_of(events: Sequence[ev.Event]) -> dict[int, ev.CycleDecided]:
    """What was reported in each cycle."""
    return {event.cycle: event for event in events if isinstance(event, ev.CycleDecided)}


async def replay(recording: Recording, brain: Brain, asked: Asked, progress: Progress = untold) -> ReplayDocument:
    """The same recording, brain and settings give the same document, if the brain does.

    Raises ConfigError for a window that is none, or for settings of what the recording does not have.
    """
    events = recording.events
    window = Window(asked.after, len(events) if asked.upto is None else asked.upto)
    if not 0 <= window.after < window.upto <= len(events):
        raise ConfigError(
            f"the recording has sequences 1 to {len(events)}; {window.after + 1} to {window.upto} is no part of it"
        )
    pools = (event.spec.name for event in events if isinstance(event, ev.PoolConfigured))
    tenants = (event.spec.name for event in events if isinstance(event, ev.TenantConfigured))
    asked.overrides.check_names(dict.fromkeys(pools), dict.fromkeys(tenants))
    total = sum(isinstance(event, ev.CycleDecided) for event in events[window.after : window.upto])
    bounded = Bounded(brain, asked.timeout_s)
    compared = await side_by_side(
        events, window, bounded, asked.overrides, foresee=no_twin, tell=lambda done: progress(done, total)
    )
    return _document(recording, bounded, asked, window, compared)


def _document(recording: Recording, brain: Brain, asked: Asked, window: Window, compared: Compared) -> ReplayDocument:
    events = recording.events
    same = sum(cycle.same for cycle in compared.cycles)
    notes = []
    if compared.undecided:
        notes.append(f"{compared.undecided} cycles were observed and never decided; they are left out")
    return ReplayDocument(
        ledger=Path(recording.name).name,
        head_hash=recording.head_hash,
        brain=brain.id,
        was_brains=compared.brains,
        settings=asked.overrides.given,
        from_seq=window.after + 1,
        to_seq=window.upto,
        from_at=seconds(events[window.after].at_ms),
        to_at=seconds(events[window.upto - 1].at_ms),
        cycles=compared.cycles,
        same=same,
        different=len(compared.cycles) - same,
        notes=notes,
    )
