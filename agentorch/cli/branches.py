"""Replays that a recording's server is asked for: each in a process of its own, so that the server stays responsive.

The process is the very command, so the document is the same. By HTTP a brain can only be named, never be a file: those
from files, and those that send anything elsewhere, are asked only if they were named when the server was started.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Collection
from pathlib import Path
from typing import Final

from agentorch.cli.other_brain import RECORDED
from agentorch.config.overrides import read_overrides
from agentorch.errors import ConfigError, Refused
from agentorch.model import limits
from agentorch.schemas.replay import BranchDocument, BranchRequest, ReplayDocument

#: Those that run here, and send nothing anywhere.
OWN_BRAINS: Final = ("rules", RECORDED)
#: How a replay tells another process how far it is, a line at a time on stderr.
PROGRESS: Final = "progress"
SAID_MAX: Final = 500


class Branches:
    """Fulfils `api.settings.Branch` over a ledger file, once `last_seq` says how long it is."""

    def __init__(self, file: Path, brains: Collection[str] = (), config: Path | None = None) -> None:
        self.last_seq = 0
        self._file = file
        self._config = [] if config is None else [f"--config={config}"]
        self._brains = {*OWN_BRAINS, *brains}
        self._found: dict[str, _Branch] = {}

    async def __call__(self, request: BranchRequest) -> BranchDocument:
        """Raises Refused. A failure is told once: whoever asks again has it tried again."""
        arguments = self._arguments(request)
        key = "\0".join(arguments)
        branch = self._found.get(key)
        if branch is None:
            running = sum(not one.task.done() for one in self._found.values())
            if running >= limits.BRANCHES_AT_ONCE:
                raise Refused(
                    "overloaded", f"{running} replays run already; try again when one has ended", retry_after_s=2
                )
            branch = self._found[key] = _Branch(arguments)
            self._forget()
        if not branch.task.done() and request.wait_s:
            await asyncio.wait({branch.task}, timeout=request.wait_s)
        if branch.document.state == "failed" and self._found.get(key) is branch:
            del self._found[key]
        return branch.document

    def _arguments(self, request: BranchRequest) -> list[str]:
        if request.brain not in self._brains:
            raise Refused("invalid", f"brain: {request.brain!r} is none of {', '.join(sorted(self._brains))}")
        if request.seq is not None and (request.from_seq is not None or request.to_seq is not None):
            raise Refused("invalid", "seq: name either seq, or from and to")
        first = request.seq if request.seq is not None else request.from_seq
        first, last = max(1, first or 1), self.last_seq if request.to_seq is None else request.to_seq
        if not first <= last <= self.last_seq:
            raise Refused("invalid", f"from, to: the recording has sequences 1 to {self.last_seq}")
        try:
            read_overrides(request.settings)
        except ConfigError as error:
            raise Refused("invalid", str(error)) from error
        settings = [f"--set={key}={value}" for key, value in sorted(request.settings.items())]
        window = [f"--from=#{first}", f"--to=#{last}"]
        return [
            str(self._file),
            f"--brain={request.brain}",
            *self._config,
            *settings,
            *window,
            "--output=json",
            "--progress",
        ]

    def _forget(self) -> None:
        """The oldest that have ended go first."""
        ended = [key for key, one in self._found.items() if one.task.done()]
        for key in ended[: max(0, len(self._found) - limits.BRANCHES_KEPT)]:
            del self._found[key]

    async def aclose(self) -> None:
        """End what still runs."""
        for one in self._found.values():
            one.task.cancel()
        await asyncio.gather(*(one.task for one in self._found.values()), return_exceptions=True)


class _Branch:
    """One replay. Made on the event loop that it runs on."""

    def __init__(self, arguments: list[str]) -> None:
        self.document = BranchDocument(state="running")
        self.task = asyncio.create_task(self._run(arguments), name="branch")

    async def _run(self, arguments: list[str]) -> None:
        try:
            await self._replay(arguments)
        except Exception as error:  # noqa: BLE001 - whoever asked is told, and the server goes on
            problem = f"the replay could not be run: {type(error).__name__}: {error}"
            self._fail(problem[:SAID_MAX])

    def _fail(self, problem: str) -> None:
        self.document = self.document.model_copy(update={"state": "failed", "problem": problem})

    async def _replay(self, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "agentorch.cli", "replay", *arguments]
        process = await asyncio.create_subprocess_exec(*command, stdin=None, stdout=PIPE, stderr=PIPE)
        try:
            assert process.stdout is not None, "it is a pipe"
            body, said = await asyncio.gather(process.stdout.read(), self._listen(process))
            code = await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if code == 0:
            replay = ReplayDocument.model_validate_json(body)
            self.document = self.document.model_copy(update={"state": "done", "replay": replay})
        else:
            self._fail(said[-SAID_MAX:] or f"the replay ended with exit code {code}")

    async def _listen(self, process: Process) -> str:
        """Follow its progress; returns everything else that it said."""
        assert process.stderr is not None, "it is a pipe"
        said: list[str] = []
        async for line in process.stderr:
            words = line.decode(errors="replace").split()
            if len(words) == 3 and words[0] == PROGRESS and words[1].isdecimal() and words[2].isdecimal():
                self.document = self.document.model_copy(update={"done": int(words[1]), "total": int(words[2])})
            else:
                said.append(" ".join(words))
        return " ".join(said)
