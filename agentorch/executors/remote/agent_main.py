"""An agent as a process of its own: `python -m agentorch.executors.remote.agent_main ROOT NODE`.

It goes to the background and returns once it answers on `ROOT/agent.sock`; one runs in each root. It outlives whoever
started it, and ends by itself when nobody has spoken to it, and nothing has been allowed to run, for ten minutes.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

from agentorch.executors.remote import frames
from agentorch.executors.remote.agent import NodeAgent
from agentorch.executors.remote.frames import Question, Reply
from agentorch.executors.remote.node import serving

SOCKET: Final = "agent.sock"
LOCK: Final = "agent.lock"  # held for the agent's life; holds its pid
LOG: Final = "agent.log"
EXIT: Final = "exit"  # a question to the process, not to the agent
READY: Final = b"ready"
_ORPHANED_S: Final = 600.0


class Server:
    """Carries questions to the agent. After `orphaned_s` without one, and without a lease, it has been forgotten."""

    def __init__(self, agent: NodeAgent, *, orphaned_s: float = _ORPHANED_S) -> None:
        self._agent = agent
        self._orphaned_s = orphaned_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard_s = time.monotonic()
        self.over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer whoever has connected, until they leave."""
        try:
            while True:
                question = await frames.read(reader, Question)
                self._heard_s = time.monotonic()
                task = asyncio.create_task(self._answer(question, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except ConnectionError:
            pass  # they are gone: what they asked for is done all the same
        finally:
            writer.close()

    async def _answer(self, question: Question, writer: asyncio.StreamWriter) -> None:
        if question.method == EXIT:
            self.over.set()
            body = b""
        else:
            body = await self._agent.handle(question.method, question.body)
        if not writer.is_closing():
            frames.write(writer, Reply(question.number, body))

    async def until_over(self) -> None:
        """Returns when it is told to end, or has been forgotten."""
        while not self.over.is_set():
            if time.monotonic() - self._heard_s > self._orphaned_s and self._agent.is_idle():
                return
            try:
                async with asyncio.timeout(self._orphaned_s / 10):
                    await self.over.wait()
            except TimeoutError:
                continue


async def run(root: Path, node: str, ready: int) -> None:
    async with serving(root, node) as agent:
        server = Server(agent)
        directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # Through the descriptor, because the path of a socket has room for 107 bytes only.
        listening = await asyncio.start_unix_server(server.serve, f"/proc/self/fd/{directory}/{SOCKET}")
        os.write(ready, READY)
        os.close(ready)
        await server.until_over()
        listening.close()
        os.close(directory)


def main() -> None:
    root, node = Path(sys.argv[1]).absolute(), sys.argv[2]
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        answered = os.read(reading, len(READY)) == READY
        if not answered:
            print(f"the agent of {node} did not start: see {root / LOG}", file=sys.stderr)  # noqa: T201 - a command
        sys.exit(0 if answered else 1)
    os.close(reading)
    os.setsid()
    log = os.open(root / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"another agent runs in {root}")
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    uvloop.run(run(root, node, writing))


if __name__ == "__main__":
    main()
