"""What a person can do: each action has a stable id, by which keys are remapped, help is written and tests press.

A page lists its actions; the app lists the global ones. One place (`App.perform`) checks whether an action is on at
this moment and says why it is not, whether it was a key, the palette or the mouse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True)
class Act:
    """`method` is the page's (or the app's) `do_...`; `role` is what the server will ask for."""

    id: str
    keys: str  # as Textual names them, the first one is shown
    label: str  # one or two words, in the footer
    does: str  # a sentence without its full stop, in the help
    role: str = ""
    command: str = ""  # the same on the command line
    footer: bool = True
    look: str = "primary"

    @property
    def method(self) -> str:
        return "do_" + self.id.partition(".")[2].replace("-", "_")

    @property
    def key(self) -> str:
        return shown_key(self.keys.split(",")[0])


_SHOWN = {
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "slash": "/",
    "colon": ":",
    "question_mark": "?",
    "exclamation_mark": "!",
    "escape": "esc",
    "plus": "+",
    "minus": "-",
    "pagedown": "pgdn",
    "pageup": "pgup",
}


def shown_key(key: str) -> str:
    return _SHOWN.get(key, key.replace("ctrl+", "^"))


@dataclass(frozen=True)
class Entry:
    """What the palette or a jump can find."""

    id: str
    name: str
    does: str = ""
    note: str = ""  # the key, or what kind of thing it is
    why_not: str = ""


def bindings(acts: Iterable[Act]) -> list[BindingType]:
    return [Binding(act.keys, f"app.perform('{act.id}')", act.label, show=False, id=act.id) for act in acts]


SCREENS = (
    ("dashboard", "Dash", "what matters now, on one page"),
    ("jobs", "Jobs", "every job, why it waits, what it costs"),
    ("pools", "Pools", "pools, workers and devices"),
    ("routes", "Routes", "inference routes"),
    ("costs", "Costs", "spend and budgets by tenant"),
    ("inbox", "Inbox", "what waits for your answer"),
    ("log", "Log", "who decided what, and how it went"),
    ("replay", "Replay", "look back through a ledger"),
)

GLOBAL = (
    *(
        Act(f"go.{name}", str(number), label, does, footer=False)
        for number, (name, label, does) in enumerate(SCREENS, 1)
    ),
    Act("app.palette", "ctrl+p", "palette", "find any action by name"),
    Act("app.jump", "colon", "jump", "go to a screen, job, pool, worker or approval by name"),
    Act("app.help", "question_mark", "help", "what this screen shows and which keys it has"),
    Act(
        "app.pause",
        "exclamation_mark",
        "pause",
        "pause the supervisor, or let it go on; jobs are not touched",
        role="approve",  # to pause; who lets it go on needs admin, which the server says
        command="agentorch mode paused",
        footer=False,
    ),
    Act("app.theme", "ctrl+t", "theme", "next theme: night, day, colour-blind, ansi", footer=False),
    Act("app.reconnect", "ctrl+r", "reconnect", "try to reach the server now", footer=False),
    Act("app.undo", "u", "undo", "take back an answer that was not sent yet", footer=False),
    Act("app.back", "escape", "back", "close what is on top, or go back", footer=False),
    Act("app.quit", "q", "quit", "leave; the server goes on", footer=False),
)
