"""The transport without an engine: every node is a directory of this machine, its agent a process with a socket in it.

For tests, demonstrations and small installs: many nodes on one machine. An agent that is not there is started; one
that was killed is started again; one that is stopped is a node that can't be reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from agentorch.errors import ExecutorError, NodeUnreachable, ProvisioningError
from agentorch.executors.remote.agent_main import EXIT, LOCK, SOCKET
from agentorch.executors.remote.line import Line, Streams
from agentorch.executors.remote.transport import Member

_BOOK: Final = "nodes.json"
_START_PATIENCE_S: Final = 30.0
_EXIT_PATIENCE_S: Final = 10.0


class PipeTransport:
    """Keeps `Transport`. `directory` holds the nodes; `nodes` says how many of each type are there at first."""

    def __init__(self, directory: Path, nodes: Mapping[str, int] | None = None) -> None:
        self._directory = directory
        self._at_first = dict(nodes or {})
        self._book = directory / _BOOK
        self._next = 1
        self._types: dict[str, str] = {}  # node -> type
        self._lines: dict[str, Line] = {}

    async def open(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._book.exists():
                book: dict[str, Any] = json.loads(self._book.read_text())
                self._next, self._types = int(book["next"]), dict(book["nodes"])
            else:
                for node_type, count in self._at_first.items():
                    self._add(node_type, count)
                self._write_book()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExecutorError(f"{self._book} can't be read or written: {error}") from error

    async def members(self) -> list[Member]:
        return [Member(id=node, type=kind, address="127.0.0.1") for node, kind in self._types.items()]

    async def call(self, node: str, method: str, body: bytes, timeout_s: float) -> bytes:
        if node not in self._types:
            raise NodeUnreachable(f"node {node} is not there any more")
        line = self._lines.setdefault(node, Line(partial(_connect, self.root_of(node), node)))
        try:
            async with asyncio.timeout(timeout_s):
                return await line.ask(method, body)
        except TimeoutError as error:
            raise NodeUnreachable(f"node {node} did not answer {method!r} within {timeout_s:g} s") from error
        except OSError as error:
            raise NodeUnreachable(f"node {node}: {error}") from error

    async def resize(self, node_type: str, target: int, remove: Sequence[str]) -> None:
        for node in remove:
            if node in self._types:
                await self._remove(node)
        standing = sum(kind == node_type for kind in self._types.values())
        self._add(node_type, max(0, target - standing))
        try:
            self._write_book()
        except OSError as error:
            raise ProvisioningError(f"{self._book} can't be written: {error}") from error

    async def close(self) -> None:
        for line in self._lines.values():
            await line.close()
        self._lines.clear()

    # -- nodes

    def root_of(self, node: str) -> Path:
        return self._directory / node

    def agent_pid(self, node: str) -> int:
        """Of the agent that runs there, or ran there last."""
        return int((self.root_of(node) / LOCK).read_text())

    def _add(self, node_type: str, count: int) -> None:
        for _ in range(count):
            self._types[f"node-{self._next}"] = node_type
            self._next += 1

    async def _remove(self, node: str) -> None:
        with contextlib.suppress(NodeUnreachable):
            await self.call(node, EXIT, b"", _EXIT_PATIENCE_S)
        del self._types[node]
        line = self._lines.pop(node, None)
        if line is not None:
            await line.close()
        # With its lease goes all that may still run there.
        await asyncio.to_thread(shutil.rmtree, self.root_of(node), ignore_errors=True)

    def _write_book(self) -> None:
        temporary = self._book.with_suffix(".new")
        temporary.write_text(json.dumps({"next": self._next, "nodes": self._types}))
        temporary.rename(self._book)


async def _connect(root: Path, node: str) -> Streams:
    try:
        return await _open(root)
    except (FileNotFoundError, ConnectionRefusedError):
        await asyncio.to_thread(_start_agent, root, node)
        return await _open(root)


async def _open(root: Path) -> Streams:
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{directory}/{SOCKET}")
    finally:
        os.close(directory)


def _start_agent(root: Path, node: str) -> None:
    """Returns when it answers. Raises OSError if it does not, or another one runs there."""
    command = [sys.executable, "-m", "agentorch.executors.remote.agent_main", str(root), node]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_START_PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(f"its agent did not start within {_START_PATIENCE_S:g} s") from error
    if done.returncode:
        raise ConnectionError(done.stderr.strip() or "its agent did not start")
