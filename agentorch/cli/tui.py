"""`agentorch tui`."""

from __future__ import annotations

from typing import Literal

from agentorch.cli.common import Common
from agentorch.config import load


def tui(
    *,
    read_only: bool = False,
    theme: Literal["night", "day", "colour-blind", "ansi"] = "night",
    ascii: bool = False,
    common: Common | None = None,
) -> int:
    """Open the terminal UI on a running server.

    Parameters
    ----------
    read_only
        Look, change nothing.
    theme
        night, day, colour-blind or ansi.
    ascii
        No glyphs beyond ASCII.
    """
    common = common or Common()
    settings = load(config_file=common.config, flags={"client.url": common.url, "client.key": common.key})

    from agentorch.tui.app import run

    return run(settings.client.url, settings.client.key, read_only=read_only, theme=theme, ascii=ascii)
