"""`agentorch doctor`."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentorch.cli.common import Common, connect
from agentorch.cli.output import Printer, size
from agentorch.config import Settings, SupervisorSettings, load
from agentorch.config.brains import OPENAI_KEY, OPENAI_URL
from agentorch.errors import AgentorchError, ServerRefused, ServerUnreachable

#: A ledger and its logs soon need this much.
FREE_BYTES_WANTED = 10**9


@dataclass(frozen=True)
class Finding:
    what: str
    verdict: str  # ok | warning | FAILED
    text: str


def doctor(*, common: Common | None = None) -> int:
    """Check this machine and the way to the server. Exit code 1 when something is broken."""
    common = common or Common()
    settings = load(config_file=common.config, flags={"client.url": common.url, "client.key": common.key})
    here = [*_machine(), _nvml(), *_data_dir(settings.server.data_dir), brain_finding(settings.supervisor)]
    found = [*here, asyncio.run(_server(common, settings))]
    Printer(common.output).rows(
        [{"what": one.what, "verdict": one.verdict, "text": one.text} for one in found],
        [("what", _field("what")), ("verdict", _field("verdict")), ("", _field("text"))],
    )
    return 1 if any(one.verdict == "FAILED" for one in found) else 0


def _field(name: str) -> Callable[[dict[str, str]], Any]:
    return lambda row: row[name]


def _machine() -> Iterator[Finding]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if good else "FAILED", version if good else f"{version}; 3.11 or newer is needed")
    system = f"{platform.system()} {platform.release()}"
    linux = sys.platform == "linux"
    yield Finding(
        "system", "ok" if linux else "warning", system if linux else f"{system}; process trees are best effort"
    )
    import psutil

    cores = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
    yield Finding("hardware", "ok", f"{cores} cores, {size(psutil.virtual_memory().total)} memory")


def _nvml() -> Finding:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Finding("gpu", "ok", f"none that NVML can read: {error}")
    try:
        names = [
            str(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index)))
            for index in range(pynvml.nvmlDeviceGetCount())
        ]
        return Finding("gpu", "ok", f"driver {pynvml.nvmlSystemGetDriverVersion()}: {', '.join(names) or 'no device'}")
    except pynvml.NVMLError as error:
        return Finding("gpu", "warning", f"NVML answers, a device does not: {error}")
    finally:
        pynvml.nvmlShutdown()


def _data_dir(folder: Path) -> Iterator[Finding]:
    nearest = folder
    while not nearest.exists():
        nearest = nearest.parent
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding("data", "FAILED", f"{folder}: {nearest} is not writable; set server.data_dir")
        return
    free = shutil.disk_usage(nearest).free
    verdict = "ok" if free >= FREE_BYTES_WANTED else "warning"
    yield Finding("data", verdict, f"{folder}{'' if folder.exists() else ' (not made yet)'}, {size(free)} free")


def brain_finding(settings: SupervisorSettings) -> Finding:
    """Whether the configured brain could be asked; nothing is sent."""
    llm = settings.llm
    if settings.brain != "openai":
        return Finding("brain", "ok", "the rules")
    if not llm.model:
        return Finding("brain", "FAILED", "openai without a model; set supervisor.llm.model")
    if find_spec("langchain_openai") is None:
        return Finding("brain", "FAILED", f"{llm.model} needs the extra llm: pip install 'agentorch[llm]'")
    if llm.base_url == OPENAI_URL and not llm.api_key:
        return Finding("brain", "FAILED", f"{llm.model} needs a key; set {OPENAI_KEY}, or supervisor.llm.api_key_env")
    cap = "no cap on money" if llm.max_usd_micros_per_hour is None else "capped"
    return Finding("brain", "ok", f"{llm.model} at {llm.base_url}, {'with a' if llm.api_key else 'no'} key, {cap}")


async def _server(common: Common, settings: Settings) -> Finding:
    url = settings.client.url
    async with connect(common) as client:
        try:
            await client.alive()
            found = await client.mode()
        except ServerUnreachable as error:
            return Finding("server", "warning", f"{error}; start one with agentorch up")
        except ServerRefused as refused:
            return Finding("server", "FAILED", f"{url} answers, and refuses: {refused}")
        except AgentorchError as error:
            return Finding("server", "FAILED", f"{url}: {error}")
    return Finding("server", "ok", f"{url}, mode {found.mode}, brain {found.brain}")
