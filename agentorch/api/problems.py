"""Every error of the API as an RFC 9457 problem document with a stable `code`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from agentorch.errors import Refused, RuntimeStopped

log = logging.getLogger(__name__)

#: Refusal code of the core -> HTTP status. A test proves that none is missing.
STATUS_OF_REFUSAL: Final[dict[str, int]] = {
    "invalid": 422,
    "not_found": 404,
    "forbidden": 403,
    "conflict": 409,
    "idempotency_mismatch": 422,
    "precondition_failed": 412,
    "unreachable": 503,
    "quota": 429,
    "overloaded": 429,
    "changed": 409,
    "already_answered": 409,
    "expired": 410,
    "widened": 422,
    "guardrail": 403,
    "paused": 409,
}

#: Codes of what HTTP itself refuses, by status.
CODE_OF_STATUS: Final[dict[int, str]] = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    421: "misdirected",
    422: "invalid",
    500: "internal",
    503: "unavailable",
}

_TITLES: Final[dict[int, str]] = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    410: "Gone",
    412: "Precondition failed",
    413: "Too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Can't be processed",
    429: "Too many",
    500: "Internal error",
    503: "Unavailable",
}

#: Said with every 429 and 503 that names no better time.
DEFAULT_RETRY_S: Final = 1.0


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    retry_after_s: float | None = None,
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> Response:
    """A problem document; `extra` are members that help a program to act on it."""
    if retry_after_s is None and status in (429, 503):
        retry_after_s = DEFAULT_RETRY_S
    document = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status, "detail": detail}
    document |= {"code": code, "retry_after": retry_after_s, **extra}
    sent = dict(headers or {})
    if retry_after_s is not None:
        sent["retry-after"] = str(max(1, round(retry_after_s)))
    return Response(msgspec.json.encode(document), status, sent, media_type="application/problem+json")


def of_refusal(refused: Refused) -> Response:
    status = STATUS_OF_REFUSAL[refused.code]
    extra = {key: value for key, value in refused.detail.items() if key not in ("status", "code", "detail")}
    return problem(status, refused.code, refused.message, retry_after_s=refused.retry_after_s, **extra)


def of_stopped(stopped: RuntimeStopped) -> Response:
    return problem(503, "unavailable", str(stopped), retry_after_s=5)


def of_validation(errors: Iterable[Any]) -> Response:
    """422 with one entry per mistake. The values themselves are not repeated: they may be secrets."""
    found = [{"at": _where(error["loc"]), "message": error["msg"].removeprefix("Value error, ")} for error in errors]
    kinds = {error["type"] for error in errors}
    if "json_invalid" in kinds:
        return problem(400, "malformed", f"the body is not JSON: {found[0]['message']}")
    code = "unsupported" if "unsupported" in kinds else "invalid"
    text = "; ".join(f"{one['at']}: {one['message']}" if one["at"] else one["message"] for one in found[:5])
    return problem(422, code, text, errors=found[:50])


def _where(location: tuple[Any, ...]) -> str:
    parts = [str(part) for part in location if not str(part).startswith(("function-", "list[", "str", "constrained-"))]
    return ".".join(parts[1:] if parts[:1] in (["body"], ["query"], ["path"], ["header"]) else parts)


def of_http(error: HTTPException) -> Response:
    return problem(
        error.status_code,
        CODE_OF_STATUS.get(error.status_code, "error"),
        str(error.detail),
        headers=error.headers,
    )


def of_exception(error: Exception) -> Response:
    """Any exception as the answer to its request; what nobody expected is logged and says nothing of itself."""
    match error:
        case Refused():
            return of_refusal(error)
        case RuntimeStopped():
            return of_stopped(error)
        case RequestValidationError() | ValidationError():
            return of_validation(error.errors())
        case HTTPException():
            return of_http(error)
        case _:
            log.error("a request failed", exc_info=error)
            return problem(500, "internal", "this is a defect of the server; its log says more")


async def _handle(request: Request, error: Exception) -> Response:
    answer = of_exception(error)
    if answer.status_code == 405:
        answer.headers["allow"] = ", ".join(_allowed_methods(request))
    return answer


def _allowed_methods(request: Request) -> list[str]:
    """Of every route with this path: Starlette itself names those of the first one only."""
    found: set[str] = set()
    for route in request.app.state.routes:
        if route.path_regex.match(request.url.path):
            found |= route.methods
    return sorted(found)


def install(app: FastAPI) -> None:
    for kind in (Refused, RuntimeStopped, RequestValidationError, ValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _handle)
