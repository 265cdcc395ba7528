"""A cluster whose nodes Ray's own autoscaler adds and takes, all on this machine. Run inside a network namespace that
has only loopback: its provider of pretended machines binds the machine's own address otherwise."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import psutil

from agentorch.executors.ray.machines import Machines
from agentorch.executors.ray.options import RayOptions
from agentorch.executors.ray.transport import RayTransport
from agentorch.executors.remote.executor import RemoteExecutor
from tests.executors.ends import Ends
from tests.executors.remote.cluster import until
from tests.executors.rigs import shell
from tests.ray.cluster import until_up

PORT = 6379
#: What ray.autoscaler._private.fake_multi_node calls its head.
_HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
_VARIABLES = {
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_FAKE_CLUSTER": "1",
    "RAY_CLOUD_INSTANCE_ID": _HEAD,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD,
}


def configuration() -> dict[str, object]:
    grown = {"resources": {"CPU": 1, "agentorch.io.node.grown": 1}, "labels": {"agentorch.io/pool": "grown"}}
    return {
        "cluster_name": "fake_multinode",
        "max_workers": 8,
        "idle_timeout_minutes": 10,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "head_node_id": _HEAD,
            "gcs_address": f"127.0.0.1:{PORT}",
            "launch_multiple": True,
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "grown": {**grown, "node_config": {}, "min_workers": 0, "max_workers": 5},
        },
        "head_node_type": "ray.head.default",
        "auth": {},
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
        "file_mounts": {},
        "cluster_synced_files": [],
        "rsync_exclude": [],
        "rsync_filter": [],
        "initialization_commands": [],
        "upscaling_speed": 1.0,
    }


async def run(root: Path) -> dict[str, float]:
    options = RayOptions(state=root / "ray", agent_root=str(root / "agents"), provider="autoscaler")
    machines, config = Machines(options), root / "autoscaling.json"
    config.write_text(json.dumps(configuration()))
    took: dict[str, float] = {}
    await asyncio.to_thread(machines.start_head, port=PORT, autoscaling=config, variables=_VARIABLES)
    executor = RemoteExecutor(RayTransport(options), root / "control", name="ray", lease_s=4.0)
    await executor.open(1)
    try:
        began = time.monotonic()
        await executor.scale("grown", 3, [])
        nodes = await until_up(executor, 3)
        took["0 to 3"] = time.monotonic() - began
        assert {node.type for node in nodes} == {"grown"}
        async with Ends(executor) as ends:
            for node in nodes:
                await executor.launch([shell(node.id[-6:], "exit 0", node=node.id)])
                assert (await ends.of(f"{node.id[-6:]}.1")).exit_code == 0
        began = time.monotonic()
        await executor.scale("grown", 1, [node.id for node in nodes[1:]])
        left = await until_up(executor, 1)

        async def gone() -> bool:
            return raylets(machines) == 2  # the head's, and that of the node that stays

        await until(gone, "two machines to be taken")
        took["3 to 1"] = time.monotonic() - began
        assert left[0].id == nodes[0].id
    finally:
        await executor.close()
        await asyncio.to_thread(machines.stop_all)
    return took


def raylets(machines: Machines) -> int:
    below = [child for one in machines.running() for child in psutil.Process(one.pid).children(recursive=True)]
    return sum(_name(child) == "raylet" for child in below)


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""  # it went while we looked


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Path(sys.argv[1])))))
