"""One command in a process that may open no connection: `python -m tests.cli.offline COMMAND ...`."""

from __future__ import annotations

import sys
from typing import Any

from agentorch.cli import main


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"):
        raise OSError(f"the network is gone: {event} {arguments}")


if __name__ == "__main__":
    sys.addaudithook(watch)
    sys.exit(main(sys.argv[1:]))
