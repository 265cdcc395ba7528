"""Recovers a ledger whose file was cut short: every whole commit before the first that is missing is kept.

What is recovered becomes a new file that takes the old one's place in one step; the damaged file stays beside it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections import defaultdict
from pathlib import Path

from agentorch.errors import LedgerCorrupt
from agentorch.ledger import chain, layout, pages, wal
from agentorch.ledger.chain import Position, Row

log = logging.getLogger(__name__)


def whole_commits(path: Path) -> tuple[str, list[Row]]:
    """(ledger id, the longest chain of segments from the first that lies whole in the file and its -wal).

    Raises LedgerCorrupt when not even the ledger's identity is left, OSError.
    """
    ledger_id = ""
    found: defaultdict[int, list[Row]] = defaultdict(list)
    on_file = pages.file_pages(path)
    for version in (on_file, on_file | wal.newest_pages(path)):
        for record in pages.records(version):
            match record:
                case [1, None, int(), str(said), bytes(genesis)] if genesis == chain.genesis(said):
                    ledger_id = said
                case [int(first), None, int(), int(), int(), bytes(), bytes(), bytes(), bytes()]:
                    found[first].append(Row(first, *record[2:]))
    if not ledger_id:
        raise LedgerCorrupt(1, f"{path} is cut before its first commit; nothing is left to recover")
    rows: list[Row] = []
    at = chain.start(ledger_id)
    while (row := _next(ledger_id, at, found)) is not None:
        rows.append(row)
        at = chain.after(at, row)
    return ledger_id, rows


def _next(ledger_id: str, at: Position, found: dict[int, list[Row]]) -> Row | None:
    for row in found.get(at.last_seq + 1, ()):
        if chain.flaw(ledger_id, at, row, hashlib.sha256(row.body).digest()) is None:
            return row
    return None


def recover(path: Path) -> None:
    """Put a whole ledger of the commits that are left in the place of a cut one. Raises LedgerCorrupt, OSError."""
    ledger_id, rows = whole_commits(path)
    last_seq = rows[-1].first + rows[-1].count - 1 if rows else 0
    layout.make(layout.beside(path, ".recovered"), ledger_id, rows)
    finish(path)
    log.warning("%s was cut short: recovered up to sequence %d; the damaged file is kept beside it", path, last_seq)


def finish(path: Path) -> None:
    """Put a recovered ledger in place, if one waits. A crash anywhere in here is repaired by the next call."""
    recovered = layout.beside(path, ".recovered")
    if not recovered.exists():
        return
    log_file = layout.beside(path, "-wal")
    kept = _free_name(path)
    if path.exists():
        os.link(path, kept)
    if log_file.exists():
        shutil.copyfile(log_file, layout.beside(kept, "-wal"))
        log_file.unlink()  # the old log must never meet the new file
    layout.beside(path, "-shm").unlink(missing_ok=True)
    layout.sync(path.parent)
    recovered.replace(path)
    layout.sync(path.parent)


def _free_name(path: Path) -> Path:
    number = 1
    while (name := layout.beside(path, f".damaged-{number}")).exists():
        number += 1
    return name
