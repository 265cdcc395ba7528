"""`!`: pause the supervisor at once, or let it go on as far as a person says."""

from __future__ import annotations

from agentorch.tui.dialogs.dialog import Choice, Option
from agentorch.tui.spans import Line, line, wrap
from agentorch.tui.stage import Stage

MEANING = {
    "observe": "decides and records; nothing acts",
    "approve": "asks a person before every action",
    "guarded": "acts where the guardrails allow it, asks where they ask",
}


def ask_mode(app: Stage) -> None:
    view = app.view()
    if view is None:
        return
    mode = view.snapshot.mode

    def answered(option: str | None) -> None:
        if option is not None and option != "keep":
            app.send("changing the mode", f"the supervisor is in mode {option}", lambda: app.feed.api.set_mode(option))

    if mode.mode == "paused":
        why = f", by {mode.by}" + (f": {mode.reason}" if mode.reason else "")

        def resume(width: int) -> list[Line]:
            rows = [line(("The supervisor is paused", "warning bold"), (why, "dim")), []]
            return rows + [line((f"{name:<8}", "agent bold"), f"  {text}") for name, text in MEANING.items()]

        options = (Option("keep", "Stay paused", "dim"), *(Option(name, name, "agent") for name in MEANING))
        app.push_screen(Choice(resume, options), answered)
        return

    def pause(width: int) -> list[Line]:
        text = (
            "It stops deciding and acting until a person lets it go on. Jobs run, queue and finish as before; "
            "open approvals stay open until they expire."
        )
        rows = wrap(text, width)
        return [line(("Pause the supervisor?", "warning bold")), [], *(line((row, "dim")) for row in rows)]

    options = (Option("paused", "Pause", "warning"), Option("keep", "Go on", "dim"))
    app.push_screen(Choice(pause, options), answered)
