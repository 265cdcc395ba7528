"""Snapshots: encoded states to begin a fold from. They are a cache, so they lie in files of their own beside the
ledger: the ledger's file is only ever appended to, and writing a large snapshot holds up no commit.

A snapshot is bound to its ledger and to the hash of the chain at its sequence: one of another history is never used.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import zstandard

from agentorch.ledger.chain import HASH_BYTES

KEPT = 2
LEVEL = 3
SUFFIX = ".snapshot"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    ledger_id: str
    seq: int
    chain_hash: bytes  # of the segment that ends with `seq`
    schema: str
    digest: str
    body: bytes


class DamagedSnapshot(ValueError):
    """A stored snapshot is not what was written."""


def pack(snapshot: Snapshot) -> bytes:
    """A hash, then everything else; the body is compressed."""
    small = msgspec.structs.replace(snapshot, body=zstandard.ZstdCompressor(level=LEVEL).compress(snapshot.body))
    packed = msgspec.msgpack.encode(small)
    return hashlib.sha256(packed).digest() + packed


def unpack(stored: bytes) -> Snapshot:
    """Raises DamagedSnapshot."""
    said, packed = stored[:HASH_BYTES], stored[HASH_BYTES:]
    if hashlib.sha256(packed).digest() != said:
        raise DamagedSnapshot("its bytes are not those that were written")
    try:
        small = msgspec.msgpack.decode(packed, type=Snapshot)
        body = zstandard.ZstdDecompressor().decompress(small.body)
    except (msgspec.DecodeError, zstandard.ZstdError) as error:
        raise DamagedSnapshot(f"it can't be read: {error}") from error
    return msgspec.structs.replace(small, body=body)


def load(file: Path) -> Snapshot:
    """Raises DamagedSnapshot, OSError."""
    return unpack(file.read_bytes())


class SnapshotFolder:
    """The snapshots of one ledger file, newest last by name. Every method blocks."""

    def __init__(self, ledger_path: Path) -> None:
        self.path = ledger_path.with_name(ledger_path.name + ".snapshots")

    def files(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.path.glob(f"*{SUFFIX}"))

    def save(self, snapshot: Snapshot) -> None:
        """Write one whole or not at all, and drop all but the newest KEPT. Raises OSError."""
        self.path.mkdir(exist_ok=True)
        name = f"{snapshot.seq:020d}{SUFFIX}"
        fresh = self.path / f"{name}.tmp"
        with fresh.open("wb") as file:
            file.write(pack(snapshot))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / name)
        for old in self.files()[:-KEPT]:
            old.unlink()

    def newest_first(self) -> list[Path]:
        return self.files()[::-1]

    def drop_after(self, last_seq: int) -> None:
        """Drop those of a history that this ledger does not have any more."""
        for file in self.files():
            if file.stem.isdecimal() and int(file.stem) > last_seq:
                file.unlink()
