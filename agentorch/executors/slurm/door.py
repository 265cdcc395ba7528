"""Who may speak to a pilot: whoever has read the token file, which lies on the shared file system.

Both sides prove it, and neither sends it: HMAC-SHA256 over nonces of both. What follows is not encrypted; like Slurm's
own messages, it belongs on the cluster's network.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

TOKEN: Final = "token"
_NONCE_BYTES: Final = 32
_PATIENCE_S: Final = 10.0


def make_token(folder: Path) -> bytes:
    """The token of this folder, made when there is none yet; readable for its owner alone."""
    path = folder / TOKEN
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(fd, "wb") as file:
        file.write(secrets.token_bytes(_NONCE_BYTES))
    return path.read_bytes()


async def knock(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: bytes) -> None:
    """The runtime's side. Raises ConnectionError if the other side has not the same token."""
    mine = secrets.token_bytes(_NONCE_BYTES)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            theirs = await reader.readexactly(_NONCE_BYTES)
            writer.write(mine + _proof(token, b"runtime", theirs, mine))
            proof = await reader.readexactly(_NONCE_BYTES)
    except (asyncio.IncompleteReadError, TimeoutError) as error:
        raise ConnectionError("the pilot did not let us in: another token?") from error
    if not hmac.compare_digest(proof, _proof(token, b"pilot", mine, theirs)):
        raise ConnectionError("what answers there is not our pilot: it has another token")


async def let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: bytes) -> bool:
    """The pilot's side; False = whoever is there may not come in."""
    mine = secrets.token_bytes(_NONCE_BYTES)
    writer.write(mine)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            theirs = await reader.readexactly(_NONCE_BYTES)
            proof = await reader.readexactly(_NONCE_BYTES)
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        return False
    if not hmac.compare_digest(proof, _proof(token, b"runtime", mine, theirs)):
        return False
    writer.write(_proof(token, b"pilot", theirs, mine))
    return True


def _proof(token: bytes, side: bytes, first: bytes, second: bytes) -> bytes:
    return hmac.digest(token, side + first + second, "sha256")
