"""`agentorch verify DIR|FILE`: proof that a ledger is whole."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import msgspec

from agentorch.errors import ConfigError
from agentorch.ledger.sqlite import SqliteLedger
from agentorch.ledger.verify import verify_file as chain_of_file
from agentorch.runtime import verification
from agentorch.runtime.source import Verification

LEDGER_FILE = "ledger.db"


def ledger_file(path: Path) -> Path:
    """The ledger in a data directory, or the file itself. Raises ConfigError when there is none."""
    file = path / LEDGER_FILE if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"{file}: there is no ledger; name a data directory or a ledger file")
    return file


async def verify_file(path: Path) -> Verification:
    """Verify a ledger file, also of a running server. Reports what is wrong instead of raising."""
    file = ledger_file(path)
    chain = await chain_of_file(file)
    if not chain.ok:
        return Verification(
            ok=False,
            last_seq=chain.last_seq,
            head_hash=chain.head_hash,
            segments=chain.segments,
            events=chain.last_seq,
            first_bad_seq=chain.first_bad_seq,
            why=chain.why,
        )
    ledger = SqliteLedger(file, read_only=True)
    try:
        await ledger.open()
        return await verification.verify(ledger)
    finally:
        await ledger.close()


def verify(path: Path, *, output: str = "table") -> int:
    """Check the hash chain, the fold, the invariants and the verdicts of a ledger. Exit code 0: whole, 1: not.

    Parameters
    ----------
    path
        A data directory or a ledger file.
    output
        table or json.
    """
    report = asyncio.run(verify_file(path))
    if output == "json":
        print(json.dumps(msgspec.to_builtins(report)))
        return 0 if report.ok else 1
    if not report.ok:
        print(f"NOT OK at sequence {report.first_bad_seq}: {report.why}")
        return 1
    print(f"ok: {report.events} events in {report.segments} segments, head {report.head_hash}")
    print(
        f"{report.verdicts_judged_again} verdicts judged again and the same, "
        f"{report.verdicts_of_older_rules} of older rules not judged again",
        file=sys.stderr,
    )
    return 0
