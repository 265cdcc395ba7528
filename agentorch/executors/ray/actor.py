"""The agent of a node as a Ray actor: it lives in a worker of that node, and Ray starts it again when it dies.

Ray is not told what it does: it carries bytes. What runs on the node are shims, which outlive this process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from agentorch import __version__
from agentorch.executors import lease
from agentorch.executors.ray.wire import Plan
from agentorch.executors.remote.node import serving
from agentorch.model.attempts import NodeInfo

AGENT_PREFIX: Final = "agent-"
#: Long polls, log pages and orders of a node at a time.
_CALLS_AT_ONCE: Final = 256
_KEEP_ROOTS_S: Final = 7 * 86_400.0


class Agent:
    """`handle` is `NodeAgent.handle`."""

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, root: str, namespace: str, node: str, cpus: float, gpus: float
    ) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        roots = (Path(root).expanduser() if root else _state_directory()) / namespace
        roots.mkdir(mode=0o700, parents=True, exist_ok=True)
        _tidy(roots, node)

        def offered(info: NodeInfo) -> NodeInfo:
            """Of this machine, what Ray was told that the node has: several nodes may share one."""
            count = int(gpus)
            return msgspec.structs.replace(
                info,
                cpu_milli=int(cpus * 1_000),
                devices=info.devices[:count],
                device_names=info.device_names[:count],
                device_memory_bytes=info.device_memory_bytes[:count],
            )

        self._stack = contextlib.AsyncExitStack()  # never left: the process is killed, and nothing minds
        self._agent = await self._stack.enter_async_context(serving(roots / node, node, offered=offered))

    async def handle(self, method: str, body: bytes) -> bytes:
        return await self._agent.handle(method, body)

    async def about(self) -> tuple[str, int]:
        """(version, pid)."""
        return __version__, os.getpid()


def agent_of(node: str, plan: Plan, cpus: float, gpus: float) -> Any:
    """A handle of the agent of this node, which is started there, and nowhere else, if there is none."""
    options: dict[str, Any] = {
        "name": f"{AGENT_PREFIX}{node}",
        "namespace": plan.namespace,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,  # a call whose fate is unknown is asked again by who knows what it was
        "max_concurrency": _CALLS_AT_ONCE,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
    }
    return ray.remote(Agent).options(**options).remote(plan.agent_root, plan.namespace, node, cpus, gpus)


def _state_directory() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local/state") / "agentorch" / "agents"


def _tidy(roots: Path, node: str) -> None:
    """A machine that joins again is another node: what its earlier ones left goes a week after their lease."""
    for root in roots.iterdir():
        mark = root / "attempts" / lease.LEASE
        try:
            old = time.time() - mark.stat().st_mtime > _KEEP_ROOTS_S
        except OSError:
            continue  # it has never held a lease: it is being made
        if root.name != node and old:
            shutil.rmtree(root, ignore_errors=True)
