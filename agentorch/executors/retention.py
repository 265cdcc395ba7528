"""How long the directories of ended attempts are kept: by number and by age, newest first.

A directory is what makes an end known after a crash, so it goes only when everybody who needs it has it: its end was
told by this incarnation, or lies so far back that the runtime, which asks for what it believes alive as soon as it has
opened, has asked. So nothing goes sooner than `least_ms` after the opening, nor sooner than that after its end; and
the newest stay, which are all there is to tell to a runtime that was away for long. What never said an end stays.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from concurrent.futures import Executor as Pool
from typing import Final

from agentorch.errors import EpochOver
from agentorch.executors.store import AttemptStore
from agentorch.executors.stream import EventStream
from agentorch.model import limits

_AT_ONCE: Final = 200  # a batch small enough that others get their turn in the threads


@dataclasses.dataclass(frozen=True)
class Keep:
    """At most `count` attempts that ended, none for longer than `age_ms`, each for `least_ms` whatever their number."""

    count: int = limits.ATTEMPT_DIRECTORIES_KEPT
    age_ms: int = limits.ATTEMPT_DIRECTORIES_KEPT_MS
    least_ms: int = limits.ATTEMPT_DIRECTORY_LEAST_MS


KEEP: Final = Keep()


def due(store: AttemptStore, keep: Keep, now_ms: int) -> list[str]:
    """Attempts whose directory has been still for too long, oldest first; maybe some among them that have not ended.

    The last thing that a directory gets is the verdict; so its own time is that of the end. Raises OSError.
    """
    with os.scandir(store.root) as entries:
        found = [
            (entry.stat().st_mtime_ns // 1_000_000, entry.name)
            for entry in entries
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        ]
    found.sort()
    surplus = len(found) - keep.count
    return [
        name
        for index, (at_ms, name) in enumerate(found)
        if now_ms - at_ms >= (keep.least_ms if index < surplus else max(keep.age_ms, keep.least_ms))
    ]


async def keep_tidy(store: AttemptStore, stream: EventStream, keep: Keep, pool: Pool) -> None:
    """Forget, every `least_ms`, what is due; runs until it is cancelled. What goes wrong is told to the loop."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(keep.least_ms / 1000)
        try:
            names = await loop.run_in_executor(pool, due, store, keep, time.time_ns() // 1_000_000)
            untold = stream.untold()
            names = [name for name in names if name not in untold]
            for start in range(0, len(names), _AT_ONCE):
                await loop.run_in_executor(pool, store.forget, names[start : start + _AT_ONCE])
        except EpochOver:
            return  # its ends are for the newer runtime to be told
        except OSError as error:
            loop.call_exception_handler({"message": "old attempts could not be removed", "exception": error})
