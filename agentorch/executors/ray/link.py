"""The runtime's end of the bridge: starts it, asks it, and replaces it when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import time
from collections.abc import Callable
from typing import Final

import msgspec

from agentorch.errors import ExecutorError, NodeUnreachable
from agentorch.executors.ray.options import RayOptions, is_loopback
from agentorch.executors.ray.wire import HELLO, Plan, Told
from agentorch.executors.remote import frames
from agentorch.executors.remote.frames import Question, Reply

log = logging.getLogger(__name__)

_MODULE: Final = "agentorch.executors.ray.bridge"
_LOG: Final = "bridge.log"
_LOG_BYTES: Final = 4 << 20
_START_S: Final = 30.0
_END_S: Final = 5.0
_PAUSE_S: Final = 0.25
_PAUSE_MAX_S: Final = 10.0
_STEADY_S: Final = 30.0  # one that lived this long was no failed start: the pauses begin anew
_SPARE_S: Final = 1.0  # the bridge gives up by itself; this much later so do we


class BridgeLink:
    """One bridge at a time. While there is none, every question fails with NodeUnreachable."""

    def __init__(self, options: RayOptions) -> None:
        self._options = options
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._numbers = itertools.count(HELLO + 1)
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._address = ""
        self._why = "the bridge to Ray has not been started"

    @property
    def pid(self) -> int:
        """Of the bridge; 0 = there is none just now."""
        return self._process.pid if self._process is not None and self._writer is not None else 0

    async def open(self) -> None:
        """Raises ExecutorError if no bridge can be: no token, no ray. A cluster that does not answer is asked again."""
        if self._keeper is not None:
            raise ExecutorError("the bridge to Ray has been opened already")
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(first), name="ray-bridge")
        try:
            await asyncio.wait([first, self._keeper], return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                self._keeper.result()  # its defect
            first.result()
        except BaseException:
            await self.close()
            raise

    async def ask(self, method: str, body: bytes, timeout_s: float) -> bytes:
        """Raises NodeUnreachable when there is no answer, ExecutorError when it was not done."""
        writer = self._writer
        if writer is None:
            raise NodeUnreachable(self._why)
        number = next(self._numbers)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s + _SPARE_S):
                frames.write(writer, Question(number, method, body))
                told = msgspec.msgpack.decode((await reply).body, type=Told)
        except TimeoutError as error:
            raise NodeUnreachable(f"the bridge to Ray gave no answer within {timeout_s:g} s") from error
        finally:
            del self._replies[number]
        if told.error:
            raise (NodeUnreachable if told.error == "unreachable" else ExecutorError)(told.words)
        return told.body

    def follow_head(self) -> None:
        """The head does not answer: if another one has been started meanwhile, speak to that one.

        To nodes of a cluster whose head is away the bridge can speak on for a minute, so it is not ended for less.
        """
        if self._process is not None and self._writer is not None and self._options.where() != self._address:
            self._process.kill()

    async def close(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    # -- the process

    async def _keep(self, first: asyncio.Future[None]) -> None:
        pause_s = _PAUSE_S
        while True:
            began = time.monotonic()
            try:
                await self._serve(lambda: None if first.done() else first.set_result(None))
            except ExecutorError as error:
                self._why = f"no bridge to Ray: {error}"
                if not first.done() and not isinstance(error, NodeUnreachable):
                    first.set_exception(error)
                    return
                if not first.done():
                    log.warning("%s; trying again", self._why)
                    first.set_result(None)
            pause_s = _PAUSE_S if time.monotonic() - began > _STEADY_S else min(2 * pause_s, _PAUSE_MAX_S)
            await asyncio.sleep(pause_s)

    async def _serve(self, ready: Callable[[], None]) -> None:
        """Start one and deliver its answers until it dies. Raises ExecutorError, also when it has served."""
        process = await self._start()
        reader, writer = process.stdout, process.stdin
        assert reader is not None
        assert writer is not None
        self._process = process
        try:
            await self._greeted(reader)
            self._writer = writer
            ready()
            while True:
                reply = await frames.read(reader, Reply)
                waiting = self._replies.get(reply.number)
                if waiting is not None and not waiting.done():
                    waiting.set_result(reply)
        except OSError as error:
            raise ExecutorError(f"the bridge (pid {process.pid}) has died: {self._last_words()}") from error
        finally:
            self._writer = None
            self._fail("the bridge to Ray died; another one is being started")
            writer.close()  # an end of its stdin is the order to go
            await _end(process)

    async def _start(self) -> asyncio.subprocess.Process:
        options = self._options
        address = self._address = options.where()
        plan = Plan(
            address=address,
            namespace=options.namespace,
            agent_root=options.agent_root,
            loopback=is_loopback(address.rpartition(":")[0]),
        )
        path = options.state / _LOG
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > _LOG_BYTES:
                path.replace(path.with_suffix(".old"))
            sink = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                return await asyncio.create_subprocess_exec(
                    options.interpreter,
                    "-m",
                    _MODULE,
                    msgspec.json.encode(plan).decode(),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=sink,
                    env=options.environment(),
                    start_new_session=True,  # Ctrl-C is for the runtime, which closes in order
                )
            finally:
                os.close(sink)
        except OSError as error:
            raise ExecutorError(f"the bridge to Ray can't be started with {options.interpreter}: {error}") from error

    async def _greeted(self, reader: asyncio.StreamReader) -> None:
        try:
            async with asyncio.timeout(_START_S):
                hello = msgspec.msgpack.decode((await frames.read(reader, Reply)).body, type=Told)
        except TimeoutError as error:
            raise NodeUnreachable(f"the cluster was not reached within {_START_S:g} s: see {_LOG}") from error
        if hello.error:
            raise NodeUnreachable(f"the cluster can't be reached: {hello.words}")

    def _fail(self, words: str) -> None:
        for waiting in self._replies.values():
            if not waiting.done():
                waiting.set_exception(NodeUnreachable(words))

    def _last_words(self) -> str:
        """The last line of its log: where ray is missing, that is what Python said."""
        try:
            lines = (self._options.state / _LOG).read_text(errors="replace").strip().splitlines()
        except OSError as error:
            return str(error)
        return lines[-1] if lines else "it said nothing"


async def _end(process: asyncio.subprocess.Process) -> None:
    """It goes by itself when its stdin is closed; what does not is killed."""
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
