"""A replay with another mind, as lines: decisions side by side, both courses in numbers and over time."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from agentorch.tui import glyphs, words
from agentorch.tui.screens.card import settled_sign
from agentorch.tui.screens.impact import written
from agentorch.tui.screens.trends import short
from agentorch.tui.spans import Line, Span, cells, clip, fit, line, plain, spread, width_of, wrap
from agentorch.tui.view import View
from agentorch.tui.widgets.plot import Axes, Series, plot

if TYPE_CHECKING:
    from agentorch.schemas.replay import (
        CycleDocument,
        MeasureDocument,
        PredictedDocument,
        ReplayDocument,
        StanceDocument,
        WantedDocument,
    )

WAS: Final = "primary"
WOULD: Final = "agent"
#: measure -> its label, and whether less (True) or more (False) is better; None where nobody can say.
MEASURES: Final[dict[str, tuple[str, bool | None]]] = {
    "wait_avg_s": ("average wait", True),
    "wait_p50_s": ("median wait", True),
    "wait_p95_s": ("p95 wait", True),
    "wait_p99_s": ("p99 wait", True),
    "deadlines_missed": ("jobs late", True),
    "succeeded": ("succeeded", False),
    "failed": ("failed", True),
    "unfinished": ("unfinished", True),
    "preemptions": ("preempted", True),
    "cost_usd": ("cost", True),
    "actions": ("actions", None),
    "asked": ("asked people", None),
    "denied": ("denied", None),
}
_RULED: Final = {"allow": (glyphs.DONE, "agent"), "ask": (glyphs.ASK, "guard"), "deny": (glyphs.HELD, "guard")}
FOLDED_FROM: Final = 3
INDENT: Final = 20  # cells before an action: mark, sequence, time
NARROW: Final = 66  # cells below which the sequence number goes


# -- decisions side by side


def decisions(
    view: View, cycles: list[CycleDocument], width: int, *, only_different: bool = False
) -> tuple[list[Line], list[tuple[int, CycleDocument]]]:
    """The lines, and at which of them each cycle that is shown begins. Where both only held, many are one line."""
    lines: list[Line] = []
    places: list[tuple[int, CycleDocument]] = []
    for uneventful, group in groupby(cycles, key=_uneventful):
        run = list(group)
        if uneventful and not only_different and len(run) >= FOLDED_FROM:
            places.append((len(lines), run[0]))
            lines.append(_folded(view, run, width))
            continue
        for cycle in run:
            if not (only_different and cycle.same):
                places.append((len(lines), cycle))
                lines += _cycle(view, cycle, width)
    return lines, places


def _uneventful(cycle: CycleDocument) -> bool:
    return cycle.same and not cycle.was.actions and not cycle.was.error


def _folded(view: View, run: list[CycleDocument], width: int) -> Line:
    text = f"{glyphs.HOLD} both hold {words.count(len(run))} times, until {view.clock(run[-1].at)}"
    return [*_head(view, run[0], width), Span(clip(text, width - _indent(width)), "dim")]


def _indent(width: int) -> int:
    return INDENT if width >= NARROW else INDENT - 9


def _head(view: View, cycle: CycleDocument, width: int) -> Line:
    """Mark, sequence where there is room, and time."""
    mark = Span("= ", "dim") if cycle.same else Span(f"{glyphs.DIFFERS} ", f"{WOULD} bold")
    seq = [Span(f"{words.count(cycle.seq):>8} ", "dim")] if width >= NARROW else []
    head = [mark, *seq, Span(f"{view.clock(cycle.at)} ", "dim")]
    return [*head, Span(" " * (_indent(width) - width_of(head)))]


def _cycle(view: View, cycle: CycleDocument, width: int) -> list[Line]:
    indent, head = _indent(width), _head(view, cycle, width)
    lines: list[Line] = []
    for row in _stance(cycle.was, width - indent, "" if not cycle.same else "dim"):
        lines.append([*(head if not lines else [Span(" " * indent)]), *row])
    if cycle.same:
        return lines
    label = Span(fit("would ", indent, right=True), WOULD)
    for at, row in enumerate(_stance(cycle.would, width - indent, WOULD)):
        lines.append([label if not at else Span(" " * indent), *row])
    told = _predicted(cycle.predicted)
    lines += [[Span(" " * indent), Span(row, "dim")] for row in wrap(told, max(10, width - indent))] if told else []
    return lines


def _stance(stance: StanceDocument, width: int, look: str) -> list[Line]:
    """One line for each action; what it said where it wanted none."""
    if stance.error:
        return [line((f"{glyphs.FAILED} ", "error"), (clip(plain(f"failed: {stance.error}"), width - 2), "error"))]
    if not stance.actions:
        text = f"holds: {stance.hold}" if stance.hold else "holds"
        return [line((f"{glyphs.HOLD} ", "dim"), (clip(plain(text), width - 2), look or "dim"))]
    return [_wanted(one, width, look) for one in stance.actions]


def _wanted(one: WantedDocument, width: int, look: str) -> Line:
    sign, sign_look = settled_sign(one.state) if one.state else _RULED.get(one.ruling, (glyphs.HOLD, "dim"))
    word = f" {one.state or one.ruling}"
    title = clip(plain(one.title), max(4, width - 2 - cells(word)))
    return spread([Span(f"{sign} ", sign_look), Span(title, look)], [Span(word, sign_look)], width)


def _predicted(found: PredictedDocument) -> str:
    """`the twin, 40m on: p95 wait 4m12s, would 1m36s · cost $26.70, would $31.90`; "" where it said nothing."""
    if found.was is None or found.would is None:
        return ""
    parts = []
    for measure, label in (("wait_p95_s", "p95 wait"), ("misses", "jobs late"), ("cost_usd_micros", "cost")):
        was, would = (written(measure, getattr(course, measure).mid) for course in (found.was, found.would))
        if was != would:
            parts.append(f"{label} {was}, would {would}")
    ahead = f"the twin, {short(found.horizon_s)} on: "
    return ahead + (f" {glyphs.DOT} ".join(parts) or "no difference that it can tell")


def assumptions(replay: ReplayDocument, width: int) -> list[Line]:
    if not replay.notes:
        return []
    lines: list[Line] = [[], line(("What was assumed", "dim bold"))]
    for note in replay.notes:
        lines += [line((row, "dim")) for row in wrap(f"{glyphs.DOT} {note}", width, indent=2, hanging=2)]
    return lines


# -- both courses in numbers


def table(replay: ReplayDocument, width: int) -> list[Line]:
    """Then and otherwise, and what really happened where there is room. Measures without any value fall away."""
    rows = [one for one in replay.summary if one.measure in MEASURES and (one.measured or one.was or one.would)]
    rows.sort(key=lambda one: list(MEASURES).index(one.measure))
    if not rows:
        return [line(("the whole time was not driven again", "dim"))]
    name = max(cells(MEASURES[one.measure][0]) for one in rows)
    columns = [[_value(one, value) for one in rows] for value in ("measured", "was", "would")]
    columns.append([_difference(one) for one in rows])
    heads = ["really", "again", "would", "difference"]
    sizes = [max(map(cells, [head, *column])) for head, column in zip(heads, columns, strict=True)]
    shown = [at for at in range(4) if at or name + sum(sizes) + 8 <= width]
    lines = [line((" " * name, ""), *(("  " + fit(heads[at], sizes[at], right=True), "dim") for at in shown))]
    for row, one in enumerate(rows):
        look = _look(one)
        looks = ("dim", WAS, f"{WOULD} bold", f"{look} bold" if look != "dim" else "dim")
        cells_of = (("  " + fit(columns[at][row], sizes[at], right=True), looks[at]) for at in shown)
        lines.append(line((fit(MEASURES[one.measure][0], name), "dim"), *cells_of))
    return lines


def _value(one: MeasureDocument, which: str) -> str:
    value: float | None = getattr(one, which)
    if value is None:
        return words.UNKNOWN
    if one.unit == "s":
        return words.duration(value)
    return words.usd(value) if one.unit == "usd" else words.count(round(value))


def _difference(one: MeasureDocument) -> str:
    if not one.difference:
        return words.UNKNOWN if one.difference is None else "same"
    text = _value(one, "difference")
    return text if one.difference < 0 else f"+{text}"


def _look(one: MeasureDocument) -> str:
    less = MEASURES[one.measure][1]
    if less is None or not one.difference:
        return "dim"
    return "success" if (one.difference < 0) == less else "warning"


# -- both courses over time


def courses(view: View, replay: ReplayDocument, kind: str, width: int, height: int) -> list[Line]:
    """`kind` is queued or running."""
    found = replay.series
    if len(found.at) < 2:
        return [line(("the whole time was not driven again", "dim"))]
    series = [
        Series(getattr(found, f"{kind}_measured"), "dim"),
        Series(getattr(found, f"{kind}_was"), WAS),
        Series(getattr(found, f"{kind}_would"), WOULD),
    ]
    labels = (view.clock(found.at[0], seconds=False), view.clock(found.at[-1], seconds=False))
    return plot(series, Axes(lambda value: f"{value:.0f}", labels), width, height or 10)


def legend(brain: str) -> Line:
    return line(
        (glyphs.BAR, "dim"),
        (" really  ", "dim"),
        (glyphs.BAR, WAS),
        (" driven again  ", "dim"),
        (glyphs.BAR, WOULD),
        (f" {clip(plain(brain), 24)}", "dim"),
    )
