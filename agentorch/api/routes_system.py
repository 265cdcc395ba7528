"""The snapshot, the event stream, the ledger's proof, health and metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import StreamingResponse

from agentorch import __version__
from agentorch.api import metrics
from agentorch.api.access import Caller, Permission
from agentorch.api.logs import STREAM_HEADERS
from agentorch.api.services import Services, caller_with, services_of
from agentorch.api.stream import audience_of, log_as_of
from agentorch.api.views.snapshot import snapshot_document
from agentorch.errors import Refused, RuntimeStopped
from agentorch.model import limits
from agentorch.schemas.documents import HealthDocument, VerifyDocument
from agentorch.schemas.supervision import SnapshotDocument

router = APIRouter(tags=["system"])

Reader = Annotated[Caller, Depends(caller_with(Permission.jobs_read))]
Watcher = Annotated[Caller, Depends(caller_with(Permission.supervisor_read))]
Sequence = Annotated[int | None, Query(ge=0, le=2**53)]

#: Where events are streamed; the application answers it without FastAPI in between.
EVENTS_PATH = "/v1/events"


@router.get("/v1/snapshot")
async def get_snapshot(request: Request, caller: Reader, at: Sequence = None) -> SnapshotDocument:
    """Everything that a screen shows, as of one sequence; `at` looks back, in recordings only."""
    services = services_of(request)
    source = services.source
    if source.read_only:
        log = await log_as_of(source, source.last_seq if at is None else at)
    else:
        log = list(reversed(services.hub.log))
    state = await source.view(at)
    server = f"{source.name} {__version__}"
    return snapshot_document(state, source, caller, brain=services.settings.brain(), log=log, server=server)


async def stream_events(services: Services, request: Request) -> Response:
    """GET /v1/events: SSE from `after` or `Last-Event-ID` on."""
    caller = services.keys.caller(request.headers.get("authorization"))
    if caller.job:
        raise Refused("forbidden", f"the token of {caller.job} speaks for that job alone")
    caller.need(Permission.jobs_read)
    after = _after(request)
    if after is not None and after > services.source.last_seq:
        raise Refused("invalid", f"after: this ledger ends at {services.source.last_seq}, before {after}")
    if services.hub.subscribers >= limits.SSE_CLIENTS_MAX:
        raise Refused("overloaded", f"{limits.SSE_CLIENTS_MAX} streams are open", retry_after_s=5)
    body = services.hub.stream(after, audience_of(caller))
    return StreamingResponse(body, headers=STREAM_HEADERS, media_type="text/event-stream")


def _after(request: Request) -> int | None:
    """A reconnecting client says where it got to in `Last-Event-ID`; that wins over what its address says."""
    text = request.headers.get("last-event-id") or request.query_params.get("after") or ""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Refused("invalid", f"after: expected a ledger sequence, not {text!r}")
    return int(text)


@router.get(
    EVENTS_PATH,
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events, and heartbeats in quiet times"}},
    openapi_extra={
        "parameters": [
            {"name": "after", "in": "query", "schema": {"type": "integer", "minimum": 0, "maximum": 2**53}},
            {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"}},
        ]
    },
)
async def get_events(request: Request) -> Response:
    """Events of the ledger; `id` is their sequence. A key bound to a tenant gets those of its own jobs."""
    return await stream_events(services_of(request), request)


@router.get("/v1/ledger/verify")
async def verify_ledger(request: Request, caller: Watcher) -> VerifyDocument:
    """Walk the whole ledger: the hash chain, and every verdict of the present rules judged again."""
    found = await services_of(request).source.verify()
    return VerifyDocument(**{name: getattr(found, name) for name in found.__struct_fields__})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def get_metrics(request: Request, caller: Watcher) -> Response:
    """For Prometheus."""
    services = services_of(request)
    state = await services.source.view()
    return Response(metrics.render(services, state), media_type=metrics.CONTENT_TYPE)


@router.get("/healthz")
async def healthz() -> HealthDocument:
    """The process is alive. Needs no key."""
    return HealthDocument(status="alive")


@router.get("/readyz")
async def readyz(request: Request) -> HealthDocument:
    """Everything known is durable and more is accepted; 503 when the runtime has stopped. Needs no key."""
    services = services_of(request)
    await services.source.view()
    if services.hub.closed:
        raise RuntimeStopped("the runtime has stopped")
    return HealthDocument(status="ready")
