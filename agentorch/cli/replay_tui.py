"""The terminal UI on a ledger file: a read-only server on loopback, started for it and ended with it."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from agentorch.api.app import create_app
from agentorch.cli.branches import Branches
from agentorch.cli.compose import http_server, listening_socket
from agentorch.config import load
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.runtime.recording import Recording


def show(file: Path, brains: Collection[str] = (), config: Path | None = None) -> int:
    """Run the terminal UI on a ledger file. `brains` may be asked besides the usual ones, all as `config` has them.
    Raises LedgerError when the file can't be trusted."""
    from agentorch.tui.app import run

    with served(file, brains, config) as url:
        return run(url, None, read_only=True)


@contextmanager
def served(file: Path, brains: Collection[str] = (), config: Path | None = None) -> Iterator[str]:
    """The file's read-only server in a thread of its own, because the terminal UI needs the main one; its URL."""
    up: Future[str] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def work() -> None:
        try:
            loop.run_until_complete(_serve(file, Branches(file, brains, config), up, stop))
        except BaseException as error:  # it is raised where the caller waits
            if up.done():
                raise
            up.set_exception(error)
        finally:
            loop.close()

    thread = threading.Thread(target=work, name="recording", daemon=True)
    thread.start()
    url = up.result()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)


async def _serve(file: Path, branches: Branches, up: Future[str], stop: asyncio.Event) -> None:
    recording = Recording(SqliteLedger(file, read_only=True), str(file))
    await recording.open()
    listener = listening_socket("127.0.0.1", 0)
    settings = load(flags={"server.host": "127.0.0.1"}).server
    branches.last_seq = recording.last_seq
    app = create_app(recording, secret=secrets.token_bytes(32), settings=settings, branch=branches)
    try:
        async with http_server(app, listener):
            up.set_result(f"http://127.0.0.1:{listener.getsockname()[1]}")
            await stop.wait()
    finally:
        await branches.aclose()
        await recording.close()
        listener.close()
