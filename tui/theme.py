"""Nine colour tokens by meaning, four themes, and how a look's name becomes a terminal style.

Tokens: foreground, dim, primary, success, warning, error; agent (violet), human (blue), guard (amber: guardrails and
the system itself). Hue never decorates, and a word or a shape always says the same. Every token has a contrast of at
least 4.5 to 1 on each background of its theme; a test computes it.

A look is a token and attributes: `"error bold"`. Attributes: `bold`, `muted` (half way to the background: history),
`chip` (text cut out of a block of the colour), `on` (on the selection's background).
"""

from __future__ import annotations

from rich.style import Style
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

TOKENS = ("foreground", "dim", "primary", "success", "warning", "error", "agent", "human", "guard")
SURFACES = ("background", "surface", "panel")
THEMES = ("night", "day", "colour-blind", "ansi")
MUTED = 0.5
SELECTED = 0.18

_NIGHT = {
    "foreground": "#d9dee5",
    "dim": "#8792a0",
    "track": "#2d3742",
    "primary": "#56c7d6",
    "success": "#74c991",
    "warning": "#e6b866",
    "error": "#f2747b",
    "agent": "#c79bf0",
    "human": "#6eabf7",
    "guard": "#e6b866",
    "background": "#0d1116",
    "surface": "#11171d",
    "panel": "#1a222b",
}
_DAY = {
    "foreground": "#1b232c",
    "dim": "#586473",
    "track": "#c9d1da",
    "primary": "#0a6a78",
    "success": "#1c7038",
    "warning": "#875400",
    "error": "#b3202f",
    "agent": "#7434b3",
    "human": "#1a5bb0",
    "guard": "#875400",
    "background": "#f2f5f8",
    "surface": "#ffffff",
    "panel": "#e6ebf1",
}
# Blue and orange instead of green and red, after the palette of Okabe and Ito (2008), lightened for a dark ground.
_COLOUR_BLIND = _NIGHT | {
    "primary": "#6fd3ea",
    "success": "#56a8ff",
    "warning": "#f0e04c",
    "error": "#ff8a3d",
    "agent": "#d7a3e8",
    "human": "#8fc4ff",
    "guard": "#f0e04c",
}
_ANSI = {
    "foreground": "ansi_default",
    "dim": "ansi_bright_black",
    "track": "ansi_bright_black",
    "primary": "ansi_cyan",
    "success": "ansi_green",
    "warning": "ansi_yellow",
    "error": "ansi_red",
    "agent": "ansi_magenta",
    "human": "ansi_bright_blue",
    "guard": "ansi_yellow",
    "background": "ansi_default",
    "surface": "ansi_default",
    "panel": "ansi_default",
}
COLOURS: dict[str, dict[str, str]] = {"night": _NIGHT, "day": _DAY, "colour-blind": _COLOUR_BLIND, "ansi": _ANSI}


def theme(name: str) -> Theme:
    """The theme in the terms of Textual; its style sheet uses `$dim`, `$track`, `$agent` and so on."""
    colours = COLOURS[name]
    # Textual's own style sheets name more variables where colours are the terminal's.
    base = BUILTIN_THEMES["ansi-dark"].variables if name == "ansi" else {}
    own = {key: colours[key] for key in ("dim", "track", "agent", "human", "guard")}
    quiet = {
        "scrollbar": colours["track"],
        "scrollbar-hover": colours["dim"],
        "scrollbar-active": colours["primary"],
        "scrollbar-background": colours["surface"],
        "scrollbar-background-hover": colours["surface"],
        "scrollbar-background-active": colours["surface"],
        "scrollbar-corner-color": colours["surface"],
        "input-cursor-background": colours["foreground"],
        "input-cursor-foreground": colours["background"],
        "input-selection-background": colours["track"],
    }
    return Theme(
        name=name,
        primary=colours["primary"],
        secondary=colours["human"],
        accent=colours["agent"],
        success=colours["success"],
        warning=colours["warning"],
        error=colours["error"],
        foreground=colours["foreground"],
        background=colours["background"],
        surface=colours["surface"],
        panel=colours["panel"],
        dark=name != "day",
        ansi=name == "ansi",
        variables=base | own | quiet,
    )


class Palette:
    """Looks of one theme as terminal styles, each computed once per background."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._colours = {key: Color.parse(value) for key, value in COLOURS[name].items()}
        self._ansi = name == "ansi"
        self._styles: dict[tuple[str, Color, bool], Style] = {}

    def style(self, look: str, ground: Color, *, selected: bool = False) -> Style:
        """The style of `look` on `ground`, on the selection's background where `selected`."""
        key = (look, ground, selected)
        style = self._styles.get(key)
        if style is None:
            style = self._styles[key] = self._make(look.split(), ground, selected)
        return style

    def _make(self, words: list[str], ground: Color, selected: bool) -> Style:
        token = next((word for word in words if word in self._colours), "foreground")
        colour = self._colours[token]
        bold = "bold" in words
        if self._ansi:
            # The sixteen colours can't be mixed: reverse marks chips and the selection, dim marks history.
            reverse = "chip" in words or selected
            return Style(color=colour.rich_color, bold=bold or selected, dim="muted" in words, reverse=reverse)
        if selected:
            ground = ground.blend(self._colours["primary"], SELECTED, 1)
        if "muted" in words:
            colour = ground.blend(colour, MUTED, 1)
        if "chip" in words:
            ink = self._colours["background"] if self.name != "day" else self._colours["surface"]
            return Style(color=ink.rich_color, bgcolor=colour.rich_color, bold=True)
        return Style(color=colour.rich_color, bgcolor=ground.rich_color, bold=bold)
