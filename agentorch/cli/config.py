"""`agentorch config show|validate|schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from agentorch.cli.output import Printer, note
from agentorch.config import Shown, json_schema, load, user_file

app = App(name="config", help="Show, validate or describe the configuration.")

_File = Annotated[Path | None, Parameter(help="A configuration file, instead of agentorch.toml.")]
_Output = Annotated[Literal["table", "json", "jsonl"], Parameter(name=["--output", "-o"])]


@app.default
@app.command
def show(*, config: _File = None, output: _Output = "table") -> int:
    """Every setting, with where its value comes from."""
    settings = load(config_file=config)
    if not settings.files:
        note(f"no configuration file; looked for ./agentorch.toml and {user_file()}")
    out = Printer(output)
    if output == "table":
        out.rows(
            settings.shown,
            [
                ("key", lambda one: one.key),
                ("value", _value),
                ("source", lambda one: one.source),
            ],
        )
    else:
        out.rows([{"key": one.key, "value": one.value, "source": one.source} for one in settings.shown], [])
    return 0


@app.command
def validate(file: Path | None = None) -> int:
    """Read the configuration as a server would; exit code 2 with file, key and expectation when something is wrong."""
    settings = load(config_file=file)
    note(f"ok: {', '.join(str(one) for one in settings.files) or 'no file, defaults only'}")
    return 0


@app.command
def schema() -> int:
    """JSON Schema of agentorch.toml, for editors."""
    print(json.dumps(json_schema(), indent=2))
    return 0


def _value(one: Shown) -> str:
    return json.dumps(one.value) if isinstance(one.value, bool | list | dict) else str(one.value)
