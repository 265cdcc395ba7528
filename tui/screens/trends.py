"""The key figures and plots of the dashboard, from the history of observations."""

from __future__ import annotations

from collections.abc import Sequence

from agentorch.tui import glyphs, words
from agentorch.tui.spans import Line, Span, clip_line, line, pad_line
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import level, spark
from agentorch.tui.widgets.plot import Axes, Series, plot

OTHER_LOOKS = ("primary", "foreground")  # of the pools whose wait is not the longest
DELTA_POINTS = 10  # a delta compares with this many observations ago
PLOTTED_POOLS = 3


def wait_look(wait_s: float, target_s: float) -> str:
    return "error" if wait_s > target_s else "warning" if wait_s > 0.75 * target_s else "success"


def target_wait_s(view: View) -> float | None:
    """The target of the pool that is furthest over its own, or nearest to it; None without pools."""
    worst = max(view.snapshot.pools, key=lambda pool: pool.wait_s_p95 / max(pool.target_wait_s, 0.001), default=None)
    return worst.target_wait_s if worst is not None else None


def key_figures(view: View, width: int, height: int) -> list[Line]:
    """Value, delta and history of five figures: three lines, two where the screen is narrow."""
    snapshot = view.snapshot
    history = snapshot.history
    target = target_wait_s(view)
    look = wait_look(snapshot.wait_s_p95, target) if target else ""
    up = sum(pool.available for pool in snapshot.pools)
    total = sum(pool.workers for pool in snapshot.pools)
    gpu = snapshot.gpu_utilization_percent
    cap = view.cap_usd
    busy_look = level(snapshot.utilization_percent / 100)
    figures: list[tuple[str, str, str, str, Sequence[float | None]]] = [
        ("p95 wait", words.duration(snapshot.wait_s_p95), look, _delta_s(history.wait_s_p95), history.wait_s_p95),
        ("queued", words.count(snapshot.queued), "", _delta(history.queued), history.queued),
        ("running", words.count(snapshot.running), "primary", _delta(history.running), history.running),
        (
            "busy",
            words.percent(snapshot.utilization_percent),
            busy_look,
            f"{up} of {total} up" if gpu is None else f"gpu {words.percent(gpu)}",
            history.utilization_percent,
        ),
        (
            "spend",
            words.rate(snapshot.burn_usd_per_hour),
            level(snapshot.spent_usd / cap) if cap else "",
            words.usd(snapshot.spent_usd) + (f" of {words.usd(cap)}" if cap is not None else ""),
            history.burn_usd_per_hour,
        ),
    ]
    narrow = width < 100
    shown = figures[:4] if narrow else figures
    room = (width - 1) // len(shown)
    rows: list[Line] = [[] for _ in range(2 if narrow else 3)]
    for name, value, look, note, values in shown:
        if narrow:
            head = line((f"{name} ", "dim"), (value, f"{look} bold".strip()))
            rows[0] += _cell(head, room)
            rows[1] += _cell(spark(values, room - 3, look), room)
        else:
            rows[0] += _cell(line((name, "dim")), room)
            rows[1] += _cell(line((value, f"{look} bold".strip()), (f" {note}", "dim")), room)
            rows[2] += _cell(spark(values, min(room - 3, 44), look), room)
    return [[Span(" "), *row] for row in rows]


def _cell(spans: Line, room: int) -> Line:
    return pad_line(clip_line(spans, room - 1), room)


def _delta(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    change = values[-1] - values[-min(len(values), DELTA_POINTS)]
    if not change:
        return "steady"
    return f"{glyphs.UP if change > 0 else glyphs.DOWN} {words.count(abs(int(change)))}"


def _delta_s(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    change = values[-1] - values[-min(len(values), DELTA_POINTS)]
    if abs(change) < 1:
        return "steady"
    return f"{glyphs.UP if change > 0 else glyphs.DOWN} {words.duration(abs(change))}"


def plotted_pools(view: View) -> list[tuple[str, str]]:
    """Names and looks of the pools with the longest waits, the longest first."""
    waits = view.snapshot.history.pool_wait_s_p95

    def worst(name: str) -> float:
        return max((value for value in waits[name] if value is not None), default=0.0)

    chosen = sorted(waits, key=lambda name: (-worst(name), name))[:PLOTTED_POOLS]
    if not chosen:
        return []
    newest = next((value for value in reversed(waits[chosen[0]]) if value is not None), 0.0)
    pool = view.pool(chosen[0])
    first = wait_look(newest, pool.target_wait_s) if pool is not None else "error"
    return list(zip(chosen, (first, *OTHER_LOOKS), strict=False))


def short(seconds: float) -> str:
    """How long a plot reaches, in one unit: `4m`."""
    return (
        f"{seconds / 3600:.0f}h" if seconds >= 7200 else f"{seconds / 60:.0f}m" if seconds >= 60 else f"{seconds:.0f}s"
    )


def span_label(view: View) -> str:
    """How far back the history goes, `-4m`."""
    at = view.snapshot.history.at
    return f"-{short(at[-1] - at[0])}" if len(at) > 1 else ""


def wait_plot(view: View, width: int, height: int) -> list[Line]:
    history = view.snapshot.history
    if len(history.at) < 2:
        return [line(("no history yet: the supervisor has observed less than twice", "dim"))]
    series = [Series(history.pool_wait_s_p95[name], look) for name, look in plotted_pools(view)]
    if not series:
        series = [Series(history.wait_s_p95, "error")]
    axes = Axes(words.duration, (span_label(view), "now"), goal=target_wait_s(view))
    # The longest wait is drawn last, on top.
    return plot(list(reversed(series)), axes, width, height or 10)


def wait_legend(view: View) -> Line:
    spans: Line = []
    for name, look in plotted_pools(view):
        spans += line((glyphs.BAR, look), (f" {name}  ", "dim"))
    goal = target_wait_s(view)
    if goal is not None:
        spans += line((glyphs.GOAL * 2, "warning"), (f" target {words.duration(goal)}", "dim"))
    return spans


def load_plot(view: View, width: int, height: int) -> list[Line]:
    history = view.snapshot.history
    if len(history.at) < 2:
        return [line(("no history yet", "dim"))]
    series = [Series(history.queued, "warning"), Series(history.running, "primary")]
    return plot(series, Axes(lambda value: f"{value:.0f}", (span_label(view), "now")), width, height or 10)


def load_legend(view: View) -> Line:
    return line((glyphs.BAR, "warning"), (" queued  ", "dim"), (glyphs.BAR, "primary"), (" running", "dim"))
