"""What widgets and pages may ask of the app they are on, without knowing how it is composed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, cast

from textual.app import App
from textual.dom import DOMNode

from agentorch.tui.feed import Feed
from agentorch.tui.theme import Palette
from agentorch.tui.view import View

if TYPE_CHECKING:
    from agentorch.schemas.supervision import ProposalDocument
    from agentorch.tui.branching import Asked


class Stage(App[int]):
    """The base of the app."""

    feed: Feed
    palette: Palette
    ascii_only: bool
    zone: tzinfo | None
    grace_s: float  # how long an approval of low or medium risk can be undone before it is sent

    @abstractmethod
    def view(self) -> View | None:
        """What to draw from; None before the first snapshot."""

    @abstractmethod
    def say(self, text: str, look: str = "") -> None:
        """Tell the person something on the notice line above the footer."""

    @abstractmethod
    def send(self, doing: str, done: str | Callable[[Any], str], work: Callable[[], Awaitable[Any]]) -> None:
        """Do `work` in the background; says `doing`, then `done` (of the result) or what went wrong."""

    @abstractmethod
    def hold_answer(self, proposal: ProposalDocument, edits: dict[str, int | str] | None) -> None:
        """Approve after the grace, unless it is undone."""

    @abstractmethod
    def open_job(self, job_id: str, *, logs: bool = False) -> None: ...

    @abstractmethod
    def open_decision(self, cycle: int) -> None: ...

    @abstractmethod
    def open_what_if(self, action: dict[str, Any]) -> None:
        """What the twin says of an action; on a page that asks already, another question."""

    @abstractmethod
    def ask_branch(self, before: Asked | None = None) -> None:
        """Ask the person how to branch the recording, then show what comes of it."""

    @abstractmethod
    def go(self, screen: str) -> None:
        """Show a screen by its id: `jobs`."""

    @abstractmethod
    def open_proposal(self, proposal_id: str) -> None: ...


def stage(node: DOMNode) -> Stage:
    return cast(Stage, node.app)
