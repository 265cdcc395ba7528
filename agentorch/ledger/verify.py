"""Proof that a ledger's bytes are those that were written. Nothing raises for what it finds: it is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from agentorch.errors import LedgerCorrupt, LedgerError
from agentorch.ledger.contract import Ledger
from agentorch.ledger.sqlite import SqliteLedger


class ChainReport(msgspec.Struct, frozen=True, kw_only=True):
    """`last_seq`, `head_hash` and `segments` say what was verified; `first_bad_seq` and `why` are set when not ok.

    Damage that touches no event (the file's structure, a snapshot) names the sequence after the last.
    """

    ok: bool
    last_seq: int
    head_hash: str
    segments: int
    first_bad_seq: int | None = None
    why: str = ""


@runtime_checkable
class Inspectable(Protocol):
    async def flaws(self) -> list[str]:
        """What is wrong with the store beside its chain, in words."""


async def verify_chain(ledger: Ledger) -> ChainReport:
    """Verify everything committed in an open ledger: chain, encoding, and what the store can say of itself."""
    last_seq = segments = 0
    bad_seq: int | None = None
    why = ""
    head_hash = ""
    try:
        async for batch in ledger.read():
            last_seq = batch[-1][0]
            segments += 1
        head_hash = (await ledger.info()).head_hash
        if isinstance(ledger, Inspectable) and (flaws := await ledger.flaws()):
            bad_seq, why = last_seq + 1, "; ".join(flaws)
    except LedgerCorrupt as error:
        bad_seq, why = error.seq, error.why
    except LedgerError as error:
        bad_seq, why = last_seq + 1, str(error)
    return ChainReport(
        ok=bad_seq is None,
        last_seq=last_seq,
        head_hash=head_hash,
        segments=segments,
        first_bad_seq=bad_seq,
        why=why,
    )


async def verify_file(path: Path) -> ChainReport:
    """Verify a ledger file, of a living writer or of none, without changing it."""
    ledger = SqliteLedger(path, read_only=True)
    try:
        await ledger.open()
    except LedgerError as error:
        bad_seq = error.seq if isinstance(error, LedgerCorrupt) else 1
        return ChainReport(
            ok=False, last_seq=bad_seq - 1, head_hash="", segments=0, first_bad_seq=bad_seq, why=str(error)
        )
    try:
        return await verify_chain(ledger)
    finally:
        await ledger.close()
