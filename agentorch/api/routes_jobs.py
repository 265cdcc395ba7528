"""Jobs: plan, list, look, explain, change, report, cancel; their logs and their events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel

from agentorch.api.access import Caller, Permission
from agentorch.api.logs import followed, log_page
from agentorch.api.paging import job_filter, job_page
from agentorch.api.services import Services, caller_with, find_job, job_caller_with, services_of, tenant_for
from agentorch.api.submitting import submit, submit_batch
from agentorch.api.timeline import earliest_seq
from agentorch.api.views.jobs import explain_document, job_document, plan_document
from agentorch.core.plan import plan, unsubmitted
from agentorch.core.prospect import prospect
from agentorch.errors import Refused
from agentorch.model import limits
from agentorch.model.commands import CancelJob, PatchJob, ReportProgress
from agentorch.model.jobs import FINISHED
from agentorch.schemas.documents import (
    BatchDocument,
    ExplainDocument,
    JobDocument,
    JobEventsDocument,
    JobPage,
    PlanDocument,
)
from agentorch.schemas.jobs import BatchRequest, JobRequest
from agentorch.schemas.requests import JobPatch, ProgressRequest
from agentorch.schemas.times import parse_time_ms

router = APIRouter(tags=["jobs"])

JobId = Annotated[str, Path(alias="job", max_length=limits.NAME_MAX_CHARS)]
Reader = Annotated[Caller, Depends(caller_with(Permission.jobs_read))]
JobReader = Annotated[Caller, Depends(job_caller_with(Permission.jobs_read))]
JobWriter = Annotated[Caller, Depends(job_caller_with(Permission.jobs_write))]
Writer = Annotated[Caller, Depends(caller_with(Permission.jobs_write))]
Short = Annotated[str, Query(max_length=limits.NAME_MAX_CHARS)]


def _takes(model: type[BaseModel], *headers: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of a route that reads its request itself."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "parameters": [*headers],
    }


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body give the first job; another body is refused. Kept for a day.",
    "schema": {"type": "string", "maxLength": limits.IDEMPOTENCY_KEY_MAX_CHARS - 4, "pattern": "^[!-~]*$"},
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "The `seq` of a plan: refused with 412 when jobs or workers changed since.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"},
}


@router.post(
    "/v1/jobs",
    status_code=201,
    response_model=JobDocument,
    responses={200: {"model": JobDocument, "description": "Known by its Idempotency-Key"}},
    openapi_extra=_takes(JobRequest, _IDEMPOTENCY_KEY, _IF_MATCH),
)
async def submit_job(request: Request) -> Response:
    """Submit a job. Answered when it is durable."""
    return await submit(services_of(request), request)


@router.post(
    "/v1/jobs:batch",
    status_code=201,
    response_model=BatchDocument,
    responses={200: {"model": BatchDocument, "description": "Some were known or refused: see each item"}},
    openapi_extra=_takes(BatchRequest, _IDEMPOTENCY_KEY, _IF_MATCH),
)
async def submit_jobs(request: Request) -> Response:
    """Submit up to a thousand jobs in one commit. Each is accepted or refused by itself."""
    return await submit_batch(services_of(request), request)


@router.post("/v1/jobs:plan", openapi_extra=_takes(JobRequest))
async def plan_job(request: Request, caller: Writer) -> PlanDocument:
    """What would become of this job: per pool whether it fits, what it costs, who goes first; and when it would start
    and end. Changes nothing."""
    services = services_of(request)
    job = JobRequest.model_validate_json(await request.body())
    tenant = tenant_for(caller, job.tenant)
    state = await services.source.view()
    if tenant not in state.facts.tenants:
        raise Refused("invalid", f"there is no tenant {tenant!r}")
    now_ms = services.source.now_ms()
    spec = job.to_spec(now_ms)
    ahead = prospect(state, unsubmitted(state, tenant, spec, now_ms), now_ms)
    return plan_document(state.facts.seq, plan(state, tenant, spec, now_ms), ahead)


@router.get("/v1/jobs")
async def list_jobs(
    request: Request,
    caller: Reader,
    state: Short = "",
    tenant: Short = "",
    pool: Short = "",
    label: Short = "",
    q: Short = "",
    cursor: Annotated[str, Query(pattern="^[0-9]{0,15}$")] = "",
    limit: Annotated[int, Query(ge=1, le=limits.PAGE_MAX)] = limits.PAGE_DEFAULT,
) -> JobPage:
    """Jobs, newest first."""
    wanted = job_filter(caller, state=state, tenant=tenant, pool=pool, label=label, q=q)
    return await job_page(services_of(request).source, wanted, cursor, limit)


@router.get("/v1/jobs/{job}")
async def get_job(request: Request, job_id: JobId, caller: JobReader) -> JobDocument:
    """One job, whole."""
    return await _document(services_of(request), caller, job_id)


@router.get("/v1/jobs/{job}/explain")
async def explain_job(request: Request, job_id: JobId, caller: JobReader) -> ExplainDocument:
    """Every predicate of the scheduler about this job: passes, or why not."""
    source = services_of(request).source
    state = await source.view()
    return explain_document(state, find_job(state, caller, job_id), source.now_ms())


@router.get("/v1/jobs/{job}/events")
async def job_events(request: Request, job_id: JobId, caller: Reader) -> JobEventsDocument:
    """Its life, from the ledger."""
    services = services_of(request)
    state = await services.source.view()
    start, upto = earliest_seq(state, find_job(state, caller, job_id)), state.facts.seq
    return await services.timelines.of(job_id, start, upto)


_LOG_HEADERS = {
    "X-Next-Offset": {"description": "Where to read on", "schema": {"type": "integer"}},
    "X-Log-Complete": {"description": "1: the attempt has ended and nothing follows", "schema": {"type": "string"}},
}


@router.get(
    "/v1/jobs/{job}/logs",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "text/event-stream": {}}, "headers": _LOG_HEADERS}},
)
async def job_logs(
    request: Request,
    job_id: JobId,
    caller: Reader,
    attempt: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
    rank: Annotated[int, Query(ge=0, lt=limits.GANG_MAX)] = 0,
    stream: Literal["stdout", "stderr"] = "stdout",
    offset: Annotated[int, Query(ge=0, le=2**62)] = 0,
    follow: bool = False,
) -> Response:
    """What an attempt (default: the newest), or one rank of a gang's, wrote, as text; with `follow` as events while it
    is written."""
    services = services_of(request)
    job = find_job(await services.source.view(), caller, job_id)
    if rank >= job.spec.gang:
        raise Refused("not_found", f"{job.id} has no rank {rank}: it has {job.spec.gang}, from 0")
    if follow:
        return followed(services, job.id, attempt, rank, stream, offset)
    return await log_page(services.source, job, attempt, rank, stream, offset)


@router.patch("/v1/jobs/{job}")
async def patch_job(request: Request, job_id: JobId, body: JobPatch, caller: JobWriter) -> JobDocument:
    """Change its place in time, hold or release it, move it. Work moves only where its constraints allow."""
    services = services_of(request)
    now_ms = services.source.now_ms()
    deadline_ms = None if body.deadline is None else parse_time_ms(body.deadline, now_ms)
    start_ms = None if body.start_at is None else parse_time_ms(body.start_at, now_ms)
    await services.source.ask(
        PatchJob(
            job=job_id,
            by=caller.by,
            tenant=caller.tenant,
            priority=body.priority,
            deadline_ms=deadline_ms,
            not_before_ms=start_ms,
            hold=body.hold,
            pool=body.pool,
            reason=body.reason,
        )
    )
    return await _document(services, caller, job_id)


@router.post("/v1/jobs/{job}/progress")
async def report_progress(request: Request, job_id: JobId, body: ProgressRequest, caller: JobWriter) -> JobDocument:
    """A running job reports progress or a checkpoint, or asks to be moved."""
    services = services_of(request)
    await services.source.ask(
        ReportProgress(
            job=job_id,
            by=caller.by,
            tenant=caller.tenant,
            percent=body.percent,
            message=body.message,
            checkpointed=body.checkpoint,
            move_to=body.move_to,
        )
    )
    return await _document(services, caller, job_id)


@router.delete(
    "/v1/jobs/{job}",
    response_model=JobDocument,
    responses={202: {"model": JobDocument, "description": "It is being stopped; its end will say how that went"}},
)
async def cancel_job(request: Request, response: Response, job_id: JobId, caller: Writer) -> JobDocument:
    """Cancel. A waiting job is cancelled at once; a running one is asked to end, then killed, whole tree."""
    services = services_of(request)
    state = await services.source.ask(CancelJob(job=job_id, by=caller.by, tenant=caller.tenant))
    response.status_code = 200 if state in FINISHED else 202
    return await _document(services, caller, job_id)


async def _document(services: Services, caller: Caller, job_id: str) -> JobDocument:
    state = await services.source.view()
    job = find_job(state, caller, job_id)
    return job_document(state, job, services.source.now_ms(), whole=True)
