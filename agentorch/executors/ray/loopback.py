"""Keeping Ray on the loopback device where it was told to be there."""

from __future__ import annotations

from typing import Any

from agentorch.executors.ray.options import LOOPBACK


def keep_loopback(services: Any) -> None:
    """Make `ray._private.services` take loopback addresses as they are.

    `ray start --node-ip-address 127.0.0.1` and `ray.init` replace the address by the machine's public one, and its
    processes then listen on every device (`resolve_ip_for_localhost` in ray/_private/services.py, 2.52 to 2.60).
    """
    services.resolve_ip_for_localhost = lambda host: host
    services.get_node_ip_address = lambda address=None: LOOPBACK
