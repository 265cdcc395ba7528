"""A recording against another mind: its decisions side by side, and the whole time again in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from agentorch.config.overrides import Overrides
from agentorch.core.state import State
from agentorch.core.twin import foresee_together
from agentorch.errors import ConfigError
from agentorch.model import commands as cmd
from agentorch.model import events as ev
from agentorch.model.brain import Brain
from agentorch.model.proposals import BrainReport, Draft
from agentorch.model.twin import Outlook
from agentorch.model.units import seconds
from agentorch.runtime.fold import decode, encode
from agentorch.runtime.recording import Recording
from agentorch.schemas.replay import MeasureDocument, ReplayDocument, SeriesDocument
from agentorch.simulation.asking import Bounded, Recorded
from agentorch.simulation.day import Day
from agentorch.simulation.decisions import Compared, Window, side_by_side
from agentorch.simulation.lives import Lengths, Lives, lengths
from agentorch.simulation.outside import Outside, outside
from agentorch.simulation.supervised import BRAIN_TIMEOUT_S, Foresee, Supervisor, no_twin, twin
from agentorch.simulation.tally import POINTS, UNITS, Measures, Tally

#: (cycles done, of so many), over everything that is driven.
Progress = Callable[[int, int], None]
#: Measures are told to so many places; money to more.
PLACES: Final = 3


def untold(done: int, total: int) -> None:
    """Nobody asks how far it is."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording is replayed with. The window is sequence numbers; `upto` None = to the end."""

    overrides: Overrides = Overrides()
    after: int = 0
    upto: int | None = None
    day: bool = True  # also drive the whole time again
    twin: bool = True  # the brain may ask it
    timeout_s: float = BRAIN_TIMEOUT_S

    @property
    def foresee(self) -> Foresee:
        return twin if self.twin else no_twin


def reports_of(events: Sequence[ev.Event]) -> dict[int, BrainReport]:
    """What was reported in each cycle."""
    return {event.cycle: event.report for event in events if isinstance(event, ev.CycleDecided)}


def predict(state: State, courses: tuple[tuple[Draft, ...], ...], now_ms: int) -> Outlook:
    return foresee_together(state, courses, now_ms)


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
    cycles = sum(isinstance(event, ev.CycleDecided) for event in events[window.after : window.upto])
    total = 3 * cycles if asked.day else cycles
    bounded = Bounded(brain, asked.timeout_s)
    compared = await side_by_side(
        events,
        window,
        bounded,
        asked.overrides,
        foresee=asked.foresee,
        predict=predict,
        tell=lambda done: progress(done, total),
    )
    document = _document(recording, bounded, asked, window, compared)
    if asked.day:
        courses = Courses(recording, window)
        recorded = Recorded(reports_of(events))
        was = await courses.again(recorded, lambda done: progress(cycles + done, total))
        would = await courses.otherwise(bounded, asked, lambda done: progress(2 * cycles + done, total))
        _tell(document, courses, was, would)
    return document


class Courses:
    """One window of a recording, and how it is driven again."""

    def __init__(self, recording: Recording, window: Window) -> None:
        events = recording.events[window.after : window.upto]
        self.before = encode(recording.state_at(window.after).facts)
        self.outside: Outside = outside(decode(self.before), events)
        self.submits = [event.job for event in events if isinstance(event, ev.JobSubmitted)]
        self.lengths: Lengths = lengths(self.outside, recording.state_at(window.upto).facts)
        self.measured = Tally(decode(self.before))
        for event in events:
            self.measured.take(event)
        self.restarts = sum(isinstance(event, ev.RuntimeStarted) for event in events[1:])

    async def again(self, brain: Recorded, tell: Callable[[int], None]) -> Day:
        """As it was: what the recorded brain said, it says again. Without recorded cycles nobody decides."""
        return await self._drive(brain if self.outside.cycles else None, Overrides(), self.outside.foreseen, tell)

    async def otherwise(self, brain: Brain, asked: Asked, tell: Callable[[int], None]) -> Day:
        return await self._drive(brain, asked.overrides, asked.foresee, tell)

    async def _drive(
        self, brain: Brain | None, overrides: Overrides, foresee: Foresee, tell: Callable[[int], None]
    ) -> Day:
        lives = Lives(self.outside, self.lengths, self.submits)
        day = Day(decode(self.before), self.outside, lives, overrides)
        look = day.devices if self.outside.devices else None
        await day.run(None if brain is None else Supervisor(brain, foresee=foresee, look=look), tell)
        return day


# -- the document


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


def _tell(document: ReplayDocument, courses: Courses, was: Day, would: Day) -> None:
    end_ms = courses.outside.end_ms
    measures = [tally.measures(end_ms) for tally in (courses.measured, was.tally, would.tally)]
    document.summary = [_measure(name, *measures) for name in Measures.__struct_fields__]
    document.series = _series(courses, was, would)
    document.notes += _notes(courses, was, would)


def _measure(name: str, measured: Measures, was: Measures, would: Measures) -> MeasureDocument:
    values = [round(float(getattr(one, name)), PLACES) for one in (measured, was, would)]
    return MeasureDocument(
        measure=name,
        unit=UNITS[name],
        measured=values[0],
        was=values[1],
        would=values[2],
        difference=round(values[2] - values[1], PLACES),
    )


def _series(courses: Courses, was: Day, would: Day) -> SeriesDocument:
    begin_ms, end_ms = courses.outside.begin_ms, courses.outside.end_ms
    times = [begin_ms + (end_ms - begin_ms) * at // (POINTS - 1) for at in range(POINTS)]
    found = [tally.at(times) for tally in (courses.measured, was.tally, would.tally)]
    return SeriesDocument(
        at=[seconds(at_ms) for at_ms in times],
        queued_measured=found[0][0],
        queued_was=found[1][0],
        queued_would=found[2][0],
        running_measured=found[0][1],
        running_was=found[1][1],
        running_would=found[2][1],
    )


def _notes(courses: Courses, was: Day, would: Day) -> list[str]:
    """What was assumed, and what could not be as it was."""
    out = []
    if courses.lengths.expected:
        out.append(
            f"{courses.lengths.expected} jobs had not ended by themselves: they last as the forecast says at the end "
            "of the recording (its median)"
        )
    if courses.lengths.unknown:
        out.append(
            f"{courses.lengths.unknown} jobs had not ended by themselves, and nothing is known to tell how long they "
            "last: they run until the end"
        )
    if courses.restarts:
        out.append(f"the server was started {courses.restarts} times more: the time without it is not driven again")
    if not courses.outside.cycles:
        out.append("nobody supervised the recording")
    for label, day in (("driven again", was), ("with the other", would)):
        said = ", ".join(f"{count} {name}" for name, count in day.refused.items())
        if said:
            out.append(f"{label}: what happened then could not happen: {said}")
    nodes = any(isinstance(command, cmd.ReportNodes) for _, command in courses.outside.happenings)
    if nodes:
        out.append("machines came and went as they did: another course can't have more of them")
    return out
