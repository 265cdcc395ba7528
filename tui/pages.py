"""Makes pages when they are first asked for, because what is not shown should not slow the start; and finds places."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from agentorch.tui.actions import SCREENS, Entry
from agentorch.tui.screens.page import Page
from agentorch.tui.spans import plain
from agentorch.tui.stage import Stage
from agentorch.tui.view import View

if TYPE_CHECKING:
    from agentorch.tui.branching import Asked


def make(screen: str) -> Page:
    """A fresh page of a screen by its id. Raises ValueError for an unknown one."""
    match screen:
        case "dashboard":
            from agentorch.tui.screens.dashboard import Dashboard

            return Dashboard()
        case "jobs":
            from agentorch.tui.screens.jobs import Jobs

            return Jobs()
        case "pools":
            from agentorch.tui.screens.pools import Pools

            return Pools()
        case "routes":
            from agentorch.tui.screens.routes import Routes

            return Routes()
        case "costs":
            from agentorch.tui.screens.costs import Costs

            return Costs()
        case "inbox":
            from agentorch.tui.screens.inbox import Inbox

            return Inbox()
        case "log":
            from agentorch.tui.screens.log import Log

            return Log()
        case "replay":
            from agentorch.tui.screens.replay import Replay

            return Replay()
    raise ValueError(f"there is no screen {screen!r}: {', '.join(name for name, _, _ in SCREENS)}")


def job(job_id: str, *, logs: bool = False) -> Page:
    from agentorch.tui.screens.job import Job

    return Job(job_id, logs=logs)


def decision(cycle: int) -> Page:
    from agentorch.tui.screens.decision import Decision

    return Decision(cycle)


async def what_if(on_top: Page | None, action: dict[str, Any], push: Callable[[Page], Awaitable[None]]) -> None:
    from agentorch.tui.screens.what_if import WhatIf

    if isinstance(on_top, WhatIf):
        on_top.ask(action)
    else:
        await push(WhatIf(action))


def ask_branch(app: Stage, before: Asked | None, then: Callable[[Asked], None]) -> None:
    from agentorch.tui.branching import Asked
    from agentorch.tui.dialogs.branch import BranchForm

    def typed(asked: Asked | None) -> None:
        if asked is not None:
            then(asked)

    app.push_screen(BranchForm(before or Asked(), max(1, app.feed.newest_seq)), typed)


async def branch(on_top: Page | None, asked: Asked, push: Callable[[Page], Awaitable[None]]) -> None:
    from agentorch.tui.screens.branch import Branch

    if isinstance(on_top, Branch):
        on_top.ask(asked)
    else:
        await push(Branch(asked))


def select_proposal(page: Page, proposal_id: str) -> None:
    from agentorch.tui.screens.inbox import Inbox

    if isinstance(page, Inbox):
        page.select(proposal_id)


def places(view: View | None) -> list[Entry]:
    """Everything with a name that the snapshot knows: `kind:name` as the id."""
    entries = [Entry(f"screen:{name}", label, does, "screen") for name, label, does in SCREENS]
    if view is None:
        return entries
    snapshot = view.snapshot
    entries += [Entry(f"approval:{one.id}", one.id, plain(one.title), "approval") for one in snapshot.approvals]
    entries += [Entry(f"pool:{one.name}", one.name, "", "pool") for one in snapshot.pools]
    entries += [Entry(f"worker:{one.id}", one.id, f"of {one.pool}", "worker") for one in snapshot.workers]
    entries += [Entry(f"job:{one.id}", one.id, plain(one.name), f"job, {one.state}") for one in snapshot.recent_jobs]
    return entries


def jump(app: Stage, known: dict[str, Page], place: str) -> None:
    """Go to a place of `places`, or to the job with the id that was typed."""
    kind, colon, name = place.partition(":")
    if kind == "screen":
        app.go(name)
    elif kind == "approval":
        app.open_proposal(name)
    elif kind in ("pool", "worker"):
        app.go("pools")
        app.call_later(_select_in_fleet, known, place)
    else:
        app.open_job(name if colon else place)


def _select_in_fleet(known: dict[str, Page], key: str) -> None:
    from agentorch.tui.screens.pools import Pools

    page = known.get("pools")
    if isinstance(page, Pools):
        page.select(key)
