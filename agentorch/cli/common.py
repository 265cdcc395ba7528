"""What every client command shares: where the server is, who asks, how to print."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from agentorch.cli.output import Printer
from agentorch.client import Client
from agentorch.config import load


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command that speaks to a server."""

    url: Annotated[str | None, Parameter(help="The server; default: AGENTORCH_URL, else client.url.")] = None
    key: Annotated[str | None, Parameter(help="The key to use; better in AGENTORCH_KEY.")] = None
    config: Annotated[Path | None, Parameter(help="A configuration file, instead of agentorch.toml.")] = None
    output: Annotated[
        Literal["table", "json", "jsonl"], Parameter(name=["--output", "-o"], help="How to print what comes back.")
    ] = "table"


def connect(common: Common | None) -> Client:
    """A client as configured. Raises ConfigError."""
    common = common or Common()
    settings = load(config_file=common.config, flags={"client.url": common.url, "client.key": common.key})
    return Client(settings.client.url, settings.client.key)


def call(common: Common | None, work: Callable[[Client, Printer], Awaitable[int | None]]) -> int:
    """Run a command's work with a client that is closed afterwards. Returns its exit code; None means 0."""
    common = common or Common()

    async def run() -> int:
        async with connect(common) as client:
            return await work(client, Printer(common.output)) or 0

    return asyncio.run(run())


def pairs(items: list[str] | None, what: str) -> dict[str, str]:
    """`["A=1", "B=2"]` as a dict. Raises ConfigError."""
    from agentorch.errors import ConfigError

    found = {}
    for item in items or []:
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise ConfigError(f"{what} {item!r}: expected KEY=VALUE")
        found[key] = value
    return found
