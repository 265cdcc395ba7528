"""Logs that outlive their node: fetched before it is released, kept beside the runtime.

A log stays where it was written for as long as its node is there; copying each at the end of its attempt would cost
two files per attempt here for what is mostly never read. So they are fetched when a node is about to go: it is
released, or its provider has announced its end. What was on a node that vanished without notice is gone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final, Protocol

from agentorch.errors import ExecutorError
from agentorch.executors.records import STREAMS
from agentorch.executors.remote.wire import LogPage
from agentorch.model import limits

log = logging.getLogger(__name__)

_SCRATCH: Final = ".new"
_AT_ONCE: Final = 8


class Source(Protocol):
    """Where logs are: the link to a node. Both raise ExecutorError."""

    async def attempts(self) -> list[str]: ...

    async def logs(self, attempt: str, stream: str, offset: int, limit: int) -> LogPage: ...


class Archive:
    """One directory for each attempt; in it a file for each stream, and where that begins."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._room = asyncio.Semaphore(_AT_ONCE)

    def open(self) -> None:
        """Raises OSError."""
        shutil.rmtree(self._directory / _SCRATCH, ignore_errors=True)  # what a killed runtime was fetching
        (self._directory / _SCRATCH).mkdir(mode=0o700, parents=True)

    async def take_all(self, source: Source, node: str, known: Iterable[str], running: Collection[str]) -> None:
        """Keep the logs of every attempt that has ended on a node; `known` are those that may have no directory there.

        What can't be fetched is lost with the node; that is said, and keeps nobody from releasing it.
        """
        try:
            attempts = {*await source.attempts(), *known}.difference(running)
        except ExecutorError as error:
            log.warning("the logs on node %s can't be fetched: %s", node, error)
            return
        missing = await asyncio.to_thread(self._missing, attempts)
        await asyncio.gather(*(self.take(source, attempt) for attempt in missing))
        await asyncio.to_thread(self._prune)

    async def take(self, source: Source, attempt: str) -> None:
        """Keep the logs of one attempt as they are now, whole or not at all."""
        async with self._room:
            try:
                await self._take(source, attempt)
            except (ExecutorError, OSError) as error:
                log.warning("the log of %s can't be kept: %s", attempt, error)

    async def _take(self, source: Source, attempt: str) -> None:
        scratch = self._directory / _SCRATCH / attempt
        await asyncio.to_thread(_make_empty, scratch)
        for stream in STREAMS:
            begin, offset = -1, 0
            while True:
                page = await source.logs(attempt, stream, offset, limits.LOG_PAGE_BYTES)
                begin = begin if begin >= 0 else page.following - len(page.data)
                await asyncio.to_thread(_append, scratch / stream, page.data)
                offset = page.following
                if page.whole or not page.data:
                    break
            await asyncio.to_thread((scratch / f"{stream}.from").write_text, str(begin))
        await asyncio.to_thread(self._keep, scratch, attempt)

    def read(self, attempt: str, stream: str, offset: int, limit: int) -> tuple[bytes, int, bool] | None:
        """See `Executor.logs`; None = nothing of this attempt is kept here. Raises OSError."""
        directory = self._directory / attempt
        try:
            begin = int((directory / f"{stream}.from").read_text())
            with (directory / stream).open("rb") as file:
                start = max(offset, begin)
                file.seek(start - begin)
                data = file.read(limit)
                end = begin + os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return None
        return data, start + len(data), start + len(data) >= end

    def _missing(self, attempts: Iterable[str]) -> list[str]:
        return [attempt for attempt in attempts if not (self._directory / attempt).exists()]

    def _prune(self) -> None:
        kept = [entry for entry in self._directory.iterdir() if entry.name != _SCRATCH]
        kept.sort(key=lambda entry: entry.stat().st_mtime)
        for entry in kept[: -limits.ARCHIVED_ATTEMPTS_KEPT]:
            shutil.rmtree(entry)

    def _keep(self, scratch: Path, attempt: str) -> None:
        target = self._directory / attempt
        if target.exists():
            shutil.rmtree(scratch)  # another fetch was first
        else:
            scratch.rename(target)


def _make_empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
