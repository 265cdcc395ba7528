"""A node's own process: `python -m agentorch.executors.ray.host HOST [arguments of ray start]`.

`ray start --block`, in the foreground: whoever ends this process ends exactly this node.
"""

from __future__ import annotations

import sys

from ray._private import services
from ray.scripts import scripts

from agentorch.executors.ray.loopback import keep_loopback
from agentorch.executors.ray.options import is_loopback


def main() -> None:
    host, *arguments = sys.argv[1:]
    if is_loopback(host):
        keep_loopback(services)
    place = ["--node-ip-address", host] if host else []
    scripts.cli(["start", "--block", *place, *arguments])


if __name__ == "__main__":
    main()
