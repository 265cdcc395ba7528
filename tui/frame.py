"""The frame around every page: top bar, navigation, banner, notice and footer, each one line."""

from __future__ import annotations

from agentorch.tui import glyphs, words
from agentorch.tui.actions import GLOBAL, SCREENS, Act
from agentorch.tui.feed import Feed
from agentorch.tui.spans import Line, Span, clip_line, line, spread, width_of
from agentorch.tui.view import View
from agentorch.tui.widgets.bars import spark

URGENT_S = 60.0
SOON_S = 300.0


def urgency(left_s: float) -> str:
    """The look of a time that runs out."""
    return "error" if left_s <= URGENT_S else "warning" if left_s <= SOON_S else "dim"


def top_bar(feed: Feed, view: View | None, width: int) -> list[Line]:
    """Parts fall away from the right as room gets short; the badge of what waits for an answer never does."""
    parts = [_brand(view), _link(feed, long=width >= 110)]
    if view is not None:
        parts += [_mode(view, long=width >= 100), _queue(view, chart=width >= 110), _busy(view), _spend(view)]
    badge = _badge(view)
    room = width - width_of(badge) - 1
    bar: Line = [Span(" ")]
    for at, part in enumerate(parts):
        piece = [Span(f"  {glyphs.SEPARATOR}  ", "track"), *part] if at else part
        if width_of(bar) + width_of(piece) > room:
            break
        bar += piece
    return [spread(bar, badge, width)]


def _brand(view: View | None) -> Line:
    name = view.snapshot.server.removeprefix("agentorch").strip() if view else ""
    return line(
        (f"{glyphs.BRAND} ", "primary"), ("agentorch", "primary bold", "app.go('dashboard')"), (f" {name}", "dim")
    )


def _link(feed: Feed, *, long: bool) -> Line:
    link, snapshot = feed.link, feed.snapshot
    if link.state != "live":
        word = "connecting" if link.state == "connecting" else "reconnecting"
        return line((f"{glyphs.LOST} {word}", "error" if link.tries else "warning"))
    if snapshot is not None and snapshot.read_only:
        return line((f"{glyphs.PAST} recording", "warning"))
    lag = f" {link.round_trip_s * 1000:.0f} ms" if long and link.round_trip_s is not None else ""
    missing = feed.newest_seq - (snapshot.seq if snapshot else 0)
    behind = f" {words.count(missing)} behind" if missing > 100 else ""
    only = " read-only" if feed.read_only else ""
    return line((f"{glyphs.LIVE} live", "success"), (lag, "dim"), (behind, "warning"), (only, "warning"))


def _mode(view: View, *, long: bool) -> Line:
    mode = view.snapshot.mode
    look = "warning bold" if mode.mode == "paused" else "agent bold"
    brain = f" brain {mode.brain}" if long and mode.brain else ""
    failing = f" {glyphs.HIGH} failing" if mode.brain_failures else ""
    return line((mode.mode.upper(), look, "app.perform('app.pause')"), (brain, "dim"), (failing, "error"))


def _queue(view: View, *, chart: bool) -> Line:
    text = line(("queue ", "dim"), (words.count(view.snapshot.queued), "bold"))
    history = view.snapshot.history.queued
    return [*text, Span(" "), *spark(history, 8, "primary")] if chart and len(history) > 1 else text


def _busy(view: View) -> Line:
    gpu = view.snapshot.gpu_utilization_percent
    if gpu is None:
        return line(("busy ", "dim"), (words.percent(view.snapshot.utilization_percent), "bold"))
    return line(("gpu ", "dim"), (words.percent(gpu), "bold"))


def _spend(view: View) -> Line:
    cap = view.cap_usd
    return line(
        ("spend ", "dim"),
        (words.usd(view.snapshot.spent_usd), "bold"),
        (f" of {words.usd(cap)}" if cap is not None else "", "dim"),
    )


def _badge(view: View | None) -> Line:
    if view is None:
        return []
    waiting = view.snapshot.approvals
    if not waiting:
        return line(("inbox empty ", "dim"))
    total = view.snapshot.truncated.get("approvals", len(waiting))
    left = min(proposal.expires_at for proposal in waiting) - view.now
    look = urgency(left)
    chip = "error" if look == "error" else "warning"
    click = "app.go('inbox')"
    return [
        Span(f" {total} to approve ", f"{chip} chip", click),
        Span(f" {words.countdown(left)} ", f"{look} bold", click),
    ]


def navigation(view: View | None, current: str, width: int) -> list[Line]:
    spans: Line = []
    for number, (name, label, _) in enumerate(SCREENS, 1):
        click = f"app.go('{name}')"
        if name == current:
            spans.append(Span(f" {number} {label} ", "primary chip", click))
        else:
            spans += [Span(f" {number}", "primary", click), Span(f" {label} ", "dim", click)]
        if name == "inbox" and view is not None and view.snapshot.approvals and name != current:
            spans.append(Span(f"{glyphs.BADGE}{len(view.snapshot.approvals)} ", "warning", click))
    return [clip_line([Span(" "), *spans] if width_of(spans) < width else spans, width)]


def banner(feed: Feed, view: View | None, width: int) -> list[Line]:
    """One line when what is shown is not the present, else none."""
    link = feed.link
    if link.state != "live":
        age = max(0.0, feed.clock() - link.since)
        head = f" server lost {words.duration(age)} ago " if view else f" no answer for {words.duration(age)} "
        if not link.tries and view is None:
            return []
        shown = f"  showing the state of {view.clock(view.snapshot.at)} {glyphs.DOT}" if view else ""
        retry = (
            f"retry {link.tries + 1} in {max(0.0, link.retry_at - feed.clock()):.0f} s" if link.retry_at else "trying"
        )
        tail = line(
            (f"{shown} actions are off {glyphs.DOT} {retry} {glyphs.DOT} ", ""), (" ctrl+r ", "dim chip"), " now"
        )
        return [clip_line([Span(head, "error chip"), *tail], width)]
    if view is not None and view.snapshot.read_only:
        snapshot = view.snapshot
        where = f" seq {words.count(snapshot.seq)} of {words.count(max(feed.newest_seq, snapshot.last_seq))} "
        text = f" recording as of {view.moment(snapshot.at)} {glyphs.DOT} actions are off {glyphs.DOT} "
        keys = line(text, (" [ ] ", "dim chip"), " step ", (" { } ", "dim chip"), " decision")
        return [clip_line([Span(where, "warning chip"), *keys], width)]
    return []


def footer(acts: tuple[Act, ...], why_not: dict[str, str], width: int) -> list[Line]:
    """The page's keys and the global ones; those that do not fit are under `? more`. What is off is dim."""
    wanted = [act for act in acts if act.footer]
    tail = [act for act in GLOBAL if act.footer and act.id != "app.palette"]
    right = line(("^p", "primary bold", "app.perform('app.palette')"), (" palette ", "", "app.perform('app.palette')"))
    room = width - width_of(right) - 2
    spans: Line = [Span(" ")]
    more = line(("?", "primary bold", "app.perform('app.help')"), (" more", "", "app.perform('app.help')"))
    everything = [*wanted, *tail]
    for at, act in enumerate(everything):
        piece = _key(act, off=bool(why_not.get(act.id)))
        reserve = 0 if at == len(everything) - 1 else width_of(more)
        if width_of(spans) + width_of(piece) + reserve > room:
            spans += more
            break
        spans += piece
    return [spread(spans, right, width)]


def _key(act: Act, *, off: bool) -> Line:
    click = f"app.perform('{act.id}')"
    if off:
        return [Span(f"{act.key} {act.label}  ", "dim muted", click)]
    return [Span(act.key, "primary bold", click), Span(f" {act.label}  ", "", click)]
