"""Power cuts: every write and sync of a ledger's files is recorded; an image of the disk at any moment keeps what was
synced, and of what was not yet, a random part of its sectors."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import apsw

SECTOR_BYTES = 512


class Operation(NamedTuple):
    """`kind` is write, truncate, sync, delete or acknowledge; `number` an offset, a size or a sequence."""

    kind: str
    file: str = ""
    number: int = 0
    data: bytes = b""


class Recorder(apsw.VFS):
    """A file system layer that notes what passes through it. Registered under `name` while it lives."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.operations: list[Operation] = []
        super().__init__(name, "unix")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _RecordedFile(self.operations, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.operations.append(Operation("delete", Path(filename).name))
        super().xDelete(filename, syncdir)

    def acknowledge(self, seq: int) -> None:
        self.operations.append(Operation("acknowledge", number=seq))


class _RecordedFile(apsw.VFSFile):
    def __init__(self, operations: list[Operation], name: Any, flags: list[int]) -> None:
        self._operations = operations
        self._file = Path(str(name.filename() if isinstance(name, apsw.URIFilename) else name)).name
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._operations.append(Operation("write", self._file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._operations.append(Operation("truncate", self._file, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._operations.append(Operation("sync", self._file))
        super().xSync(flags)


class RecordedConnection:
    """What a ledger uses of a connection, through a recorder. `synchronous` replaces the ledger's own choice, and
    checkpoints come often, so that crashes fall into them too."""

    def __init__(self, recorder: Recorder, uri: str, synchronous: str) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI
        self._connection = apsw.Connection(uri, vfs=recorder.name, flags=flags)
        self._replaced = {
            "PRAGMA synchronous=FULL": f"PRAGMA synchronous={synchronous}",
            "PRAGMA wal_autocheckpoint=1000": "PRAGMA wal_autocheckpoint=25",
        }
        self.asked: set[str] = set()

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> apsw.Cursor:
        self.asked.add(sql)
        return self._connection.execute(self._replaced.get(sql, sql), parameters)

    def close(self) -> None:
        self._connection.close()


def _apply(disk: dict[str, bytearray], operation: Operation) -> None:
    content = disk.setdefault(operation.file, bytearray())
    end = operation.number + len(operation.data)
    if operation.kind == "write":
        content.extend(bytes(max(0, end - len(content))))
        content[operation.number : end] = operation.data
    else:
        del content[operation.number :]


def image(
    start: dict[str, bytes], operations: list[Operation], moment: int, rng: random.Random
) -> tuple[dict[str, bytearray], int]:
    """(the disk after a power cut before operation `moment`, the last sequence acknowledged by then)"""
    disk = {name: bytearray(content) for name, content in start.items()}
    waiting: dict[str, list[Operation]] = {}
    acknowledged = 0
    for operation in operations[:moment]:
        match operation.kind:
            case "acknowledge":
                acknowledged = operation.number
            case "sync":
                for done in waiting.pop(operation.file, []):
                    _apply(disk, done)
            case "delete":
                disk.pop(operation.file, None)
                waiting.pop(operation.file, None)
            case _:
                waiting.setdefault(operation.file, []).append(operation)
    keep = rng.choice([0.0, 0.5, 0.9, 1.0])
    for operation in (operation for unsynced in waiting.values() for operation in unsynced):
        if operation.kind == "truncate":
            if rng.random() < keep:
                _apply(disk, operation)
            continue
        for begin in range(0, len(operation.data), SECTOR_BYTES):
            if rng.random() < keep:
                sector = operation.data[begin : begin + SECTOR_BYTES]
                _apply(disk, Operation("write", operation.file, operation.number + begin, sector))
    return disk, acknowledged
