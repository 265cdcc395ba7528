"""The terminal UI: a pure client that shows what a server says and sends what a person decides.

Owns the screens, their keys, themes and glyphs. Must never import anything but `agentorch.client`, `agentorch.schemas`,
`agentorch.model` and `agentorch.errors`; only `agentorch.tui.feed` may speak HTTP. Must never invent a number: what the
server did not say is shown as unknown. It never ends because the server went away.

How it is built: every picture is a list of `Line`s (`spans.py`) made by a function of the newest snapshot and a width;
widgets (`widgets/`) only turn lines into strips and repaint those that changed; pages (`screens/`) arrange widgets and
own their keys; dialogs (`dialogs/`) ask. The feed (`feed.py`) keeps the snapshot new; the app (`app.py`) composes.
The wire documents are imported for types alone, because reading them needs pydantic, and the frame is painted before
that and the HTTP library are loaded.
"""
