"""A runtime of three nodes, to be killed: `python -m tests.executors.remote.runtime_under_fire ROOT EPOCH COUNT`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from agentorch.model.attempts import AttemptSpec
from tests.executors.remote.cluster import Cluster
from tests.executors.runtime_under_fire import Runtime

NODES = 3


def node_of(attempt: str) -> str:
    """`j17.1` -> `node-3`."""
    return f"node-{int(attempt[1:-2]) % NODES + 1}"


class OfManyNodes(Runtime):
    def spec(self, number: int) -> AttemptSpec:
        spec = super().spec(number)
        return msgspec.structs.replace(spec, node=node_of(spec.id))


def main() -> None:
    root, epoch, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    executor = Cluster(root, NODES).executor(placement=node_of)
    with (root / "ledger").open("a") as ledger:
        asyncio.run(OfManyNodes(root, ledger, count, executor, at_once=24).run(epoch))


if __name__ == "__main__":
    main()
