"""What stands before every route: bounded bodies, JSON only, and requests that were really meant for this server.

A page in a browser can post to a server on loopback. Such a request carries a foreign Host (a rebound DNS name), a
foreign Origin, or a content type that needs no preflight: each of these is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentorch.api.problems import problem
from agentorch.model import limits

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether a server bound to this address can only be reached from its own machine."""
    return host in _LOOPBACK_NAMES or host.startswith("127.")


@lru_cache(maxsize=256)
def host_of(header: str) -> str:
    """`[::1]:80` -> `::1`, `Example.org:80` -> `example.org`; "" for what is no host."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


_TOO_LARGE = f"a body may have {limits.BODY_MAX_BYTES} bytes"


class Guard:
    """ASGI middleware. `loopback`: only loopback's own names and `allowed_hosts` are answered."""

    def __init__(self, app: ASGIApp, *, loopback: bool, allowed_hosts: Iterable[str] = ()) -> None:
        self.app = app
        self._loopback = loopback
        self._hosts = _LOOPBACK_NAMES | {name.lower() for name in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        refusal = self._misdirected(headers) or self._unreadable(headers, scope["method"])
        if refusal is not None:
            status, code, detail = refusal
            await problem(status, code, detail)(scope, receive, send)
            return
        await self.app(scope, _bounded(receive), send)

    def _misdirected(self, headers: dict[bytes, bytes]) -> tuple[int, str, str] | None:
        host = host_of(headers.get(b"host", b"").decode("latin-1"))
        if self._loopback and host not in self._hosts and not is_loopback(host):
            return 421, "misdirected", f"this server does not answer for host {host!r} (see server.allowed_hosts)"
        origin = headers.get(b"origin")
        if origin is not None and host_of(origin.decode("latin-1").partition("://")[2]) not in {host, *self._hosts}:
            return 403, "cross_origin", "requests from other origins are refused"
        return None

    def _unreadable(self, headers: dict[bytes, bytes], method: str) -> tuple[int, str, str] | None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limits.BODY_MAX_BYTES:
            return 413, "too_large", _TOO_LARGE
        has_body = int(length) > 0 or b"transfer-encoding" in headers
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if has_body and method in ("POST", "PUT", "PATCH") and kind != b"application/json":
            return 415, "unsupported_media_type", "a body must be application/json"
        return None


def _bounded(receive: Receive) -> Receive:
    """A body without a length is counted as it comes."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limits.BODY_MAX_BYTES:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return counted
