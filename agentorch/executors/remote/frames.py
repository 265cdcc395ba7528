"""Questions and answers on one stream: a length of four bytes, then msgpack. Many may be under way at once."""

from __future__ import annotations

import asyncio
import struct
from typing import Final, TypeVar

import msgspec

from agentorch.model import limits

_LENGTH: Final = struct.Struct(">I")

Frame = TypeVar("Frame")


class Question(msgspec.Struct, frozen=True, array_like=True):
    number: int
    method: str
    body: bytes


class Reply(msgspec.Struct, frozen=True, array_like=True):
    number: int
    body: bytes


def pack(frame: Question | Reply) -> bytes:
    data = msgspec.msgpack.encode(frame)
    return _LENGTH.pack(len(data)) + data


def write(writer: asyncio.StreamWriter, frame: Question | Reply) -> None:
    writer.write(pack(frame))


async def read(reader: asyncio.StreamReader, kind: type[Frame]) -> Frame:
    """The next frame. Raises ConnectionError when the stream has ended or holds anything else."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > limits.NODE_FRAME_MAX_BYTES:
            raise ConnectionError(f"a frame of {length} bytes: at most {limits.NODE_FRAME_MAX_BYTES} are allowed")
        return msgspec.msgpack.decode(await reader.readexactly(length), type=kind)
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("the other side has closed the connection") from error
    except msgspec.DecodeError as error:
        raise ConnectionError(f"not a frame: {error}") from error
