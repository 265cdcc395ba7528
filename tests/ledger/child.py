"""Writers in processes of their own, to be killed or starved: `python -m tests.ledger.child MODE PATH`."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from pathlib import Path

from agentorch.errors import LedgerError, LedgerFailed
from agentorch.ledger.sqlite import SqliteLedger
from tests.ledger.samples import events

NOBODY = 65534


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def write_forever(path: Path) -> None:
    """Say the last sequence after each commit, until killed."""
    ledger = SqliteLedger(path)
    last = (await ledger.open()).last_seq
    while True:
        last = await ledger.commit(events(last + 1, 1 + last % 40, "x" * 80), last)
        say(last)


async def write_until_full(path: Path) -> None:
    """Let no file grow beyond a limit; say the last sequence, then what follows a failed commit once there is room."""
    ledger = SqliteLedger(path)
    last = (await ledger.open()).last_seq
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        while True:
            last = await ledger.commit(events(last + 1, 10, "x" * 80), last)
    except LedgerFailed as error:
        say(last)
        say(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    try:
        say(await ledger.commit(events(last + 1, 1), last))
    except LedgerFailed as error:
        say(str(error))
    say((await ledger.info()).last_seq)
    await ledger.close()
    say("closed")


async def hold(path: Path) -> None:
    """Open, say so, and stay open until stdin ends."""
    ledger = SqliteLedger(path)
    await ledger.open()
    say("open")
    await asyncio.to_thread(sys.stdin.read)
    await ledger.close()


async def read_as_nobody(path: Path) -> None:
    """Read everything there is with no right to write anywhere; say the last sequence, or why not."""
    if os.getuid() == 0:
        os.setuid(NOBODY)
    ledger = SqliteLedger(path, read_only=True)
    last = 0
    try:
        await ledger.open()
        async for batch in ledger.read():
            last = batch[-1][0]
        say(last)
    except LedgerError as error:
        say(error)
    await ledger.close()


MODES = {
    "write-forever": write_forever,
    "write-until-full": write_until_full,
    "hold": hold,
    "read-as-nobody": read_as_nobody,
}

if __name__ == "__main__":
    asyncio.run(MODES[sys.argv[1]](Path(sys.argv[2])))
